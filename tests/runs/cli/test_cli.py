"""The command line from end to end, on a game that is solved in no time."""

import dataclasses
import functools
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles.neural import cut_short, small_batches
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from altmarl_torch import games
from altmarl_torch.alternation.solving import solve
from altmarl_torch.evaluation import simulated_gaps
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.policies import NetworkPolicy
from altmarl_torch.runs import measuring, training
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.folder import SUMMARY_KEYS, open_run, read_metrics
from altmarl_torch.runs.tensorboard import CURVE_TAGS, Tag

ROOT = Path(__file__).parents[3]
SMALL = ["--game", "steer", "--k", "2", "--solver", "tabular", "--episodes", "20", "--horizon", "10"]
FILES = {
    "config.json",
    "game.npz",
    "metrics.jsonl",
    "policy.npz",
    "certificate.json",
    "summary.json",
    "occupation.png",
    "policy_slice.png",
    "value_history.png",
}


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


def train(runs, *words):
    return main(["train", *SMALL, "--runs-dir", str(runs), *words])


def the_only_run(runs):
    (folder,) = runs.iterdir()
    return folder


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


class TestTrain:
    def test_the_script_runs_the_main_job(self, runs):
        words = [sys.executable, ROOT / "train.py", *SMALL, "--runs-dir", runs]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""  # no terminal, no bar
        folder = the_only_run(runs)
        assert str(folder) in done.stdout
        assert "tensorboard" in done.stdout
        assert {path.name for path in folder.iterdir() if not path.name.startswith("events.")} == FILES

    def test_it_prints_the_configuration_each_update_and_the_table(self, runs, capsys):
        assert train(runs, "--seed", "3") == 0
        text = capsys.readouterr().out
        assert re.search(r"^  seed +3$", text, flags=re.MULTILINE)
        assert len(re.findall(r"^step +\d+  (global|local)", text, flags=re.MULTILINE)) == len(
            read_metrics(the_only_run(runs))
        )
        for name in ("learned (k = 2)", "hold + walk", "mode + walk", "uniform + uniform"):
            assert re.search(rf"^  {re.escape(name)} +-?\d+\.\d+ +\d+\.\d+", text, flags=re.MULTILINE)

    def test_quiet_prints_the_results_alone(self, runs, capsys):
        assert train(runs, "--quiet") == 0
        text = capsys.readouterr().out
        assert "learned (k = 2)" in text
        assert "step " not in text.replace("steps", "")

    def test_the_summary_says_what_the_policy_is_worth(self, runs, capsys):
        train(runs)
        folder = the_only_run(runs)
        summary = summary_of(folder)
        assert list(summary) == list(SUMMARY_KEYS)
        run = open_run(folder)
        again = measuring.measure(run.game, run.solution, episodes=20, horizon=10, seed=0)
        assert summary["return_mean"] == again.learned.mean
        assert summary["return_sem"] == again.learned.sem
        assert summary["updates"] == len(read_metrics(folder))
        assert (summary["k"], summary["n"], summary["solver"]) == (2, 100, "tabular")
        assert summary["nash_gap"] == pytest.approx(0.0, abs=1e-9)
        assert not summary["interrupted"]
        assert set(summary["phase_seconds"]) == {"g_learn", "l_learn", "evaluation", "rollout", "certificate"}

    @pytest.mark.parametrize(("asked", "gap"), [("never", None), ("always", 0.0)])
    def test_the_certificate_is_made_when_asked_for(self, runs, capsys, asked, gap):
        train(runs, "--certify", asked)
        folder = the_only_run(runs)
        assert summary_of(folder)["nash_gap"] == (None if gap is None else pytest.approx(gap, abs=1e-9))
        assert (folder / "certificate.json").exists() == (asked == "always")
        assert ("epsilon-equilibrium" in capsys.readouterr().out) == (asked == "always")

    def test_one_episode_has_no_standard_error(self, runs, capsys):
        assert train(runs, "--episodes", "1") == 0
        assert summary_of(the_only_run(runs))["return_sem"] is None

    def test_a_seed_fixes_the_policy(self, runs, capsys):
        train(runs / "a", "--seed", "5")
        train(runs / "b", "--seed", "5")
        first, second = (np.load(the_only_run(runs / x) / "policy.npz") for x in "ab")
        for name in ("pi_g", "pi_l", "counts"):
            np.testing.assert_array_equal(first[name], second[name])

    def test_the_papers_eta_is_used_with_a_warning(self, runs, capsys):
        assert train(runs, "--eta", "paper") == 0
        streams = capsys.readouterr()
        assert streams.err.startswith("warning: eta='paper' is vacuous here")
        assert summary_of(the_only_run(runs))["eta"] == summary_of(the_only_run(runs))["eta_paper"]

    def test_a_terminal_shows_a_bar(self, runs):
        """The bar is drawn on a pseudo-terminal, and wiped away."""
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 100))
        words = [sys.executable, ROOT / "train.py", *SMALL, "--game", "warehouse", "--k", "8", "--runs-dir", runs]
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=theirs, cwd=ROOT)
        os.close(theirs)
        shown = b""
        try:
            while block := os.read(ours, 4096):
                shown += block
        except OSError:  # the other end is closed
            pass
        assert child.wait() == 0
        assert b" steps" in shown


class TestInterrupt:
    def check(self, folder):
        summary = summary_of(folder)
        assert summary["interrupted"]
        assert summary["return_mean"] is None
        run = open_run(folder)
        assert run.solution.pi_g.shape == (2, 3, 2)
        assert (folder / "value_history.png").exists()
        return summary

    def test_while_learning_what_was_learned_is_saved(self, runs, capsys, monkeypatch):
        seen = []

        def press(line):
            seen.append(line)
            raise KeyboardInterrupt

        monkeypatch.setattr(training, "update_line", press)
        assert train(runs) == 130
        summary = self.check(the_only_run(runs))
        assert len(seen) == summary["updates"] == 1
        assert "interrupted" in capsys.readouterr().out

    def test_while_measuring_the_policy_is_saved(self, runs, capsys, monkeypatch):
        def press(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(measuring, "rollout", press)
        assert train(runs) == 130
        self.check(the_only_run(runs))

    def test_while_measuring_the_way_to_make_up_for_it_is_said(self, runs, capsys, monkeypatch):
        def press(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(measuring, "rollout", press)
        train(runs, "--quiet")
        text = capsys.readouterr().out
        assert (
            f"interrupted while measuring: the pair was not measured; `altmarl evaluate {the_only_run(runs)}`" in text
        )

    def test_before_there_is_a_pair_no_folder_is_left(self, runs, capsys, monkeypatch):
        def press(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setattr(training, "solve_with", press)
        assert train(runs) == 130
        assert list(runs.iterdir()) == []
        streams = capsys.readouterr()
        assert "interrupted before there was a pair to save" in streams.out
        assert streams.err == "error: interrupted\n"

    def test_one_that_comes_while_the_last_files_are_written_changes_nothing(self, runs, monkeypatch):
        def press(*args):
            os.kill(os.getpid(), signal.SIGINT)

        handler = signal.getsignal(signal.SIGINT)
        monkeypatch.setattr(training, "_draw", press)
        assert train(runs) == 0
        assert not summary_of(the_only_run(runs))["interrupted"]
        assert signal.getsignal(signal.SIGINT) is handler

    def test_while_importing_the_script_says_no_more_than_a_line(self, tmp_path):
        (tmp_path / "torch.py").write_text("raise KeyboardInterrupt")
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        words = [sys.executable, ROOT / "train.py"]
        done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, env=environment)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "error: interrupted\n")

    def test_elsewhere_it_is_one_line(self, capsys, monkeypatch):
        def press():
            raise KeyboardInterrupt

        monkeypatch.setattr(games, "describe", press)
        assert main(["games"]) == 130
        assert capsys.readouterr().err == "error: interrupted\n"

    def test_a_signal_to_the_process_ends_it_cleanly(self, runs):
        words = [sys.executable, ROOT / "train.py", "--solver", "tabular", "--k", "25", "--runs-dir", runs]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        while not list(runs.glob("*/checkpoints/*.npz")):  # a turn is over: there is a pair to save
            time.sleep(0.05)
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        _, errors = child.communicate(timeout=60)
        assert (child.returncode, errors) == (130, "")
        assert summary_of(the_only_run(runs))["interrupted"]
        open_run(the_only_run(runs))


class TestEvaluate:
    @pytest.fixture
    def folder(self, runs, capsys):
        train(runs)
        capsys.readouterr()
        return the_only_run(runs)

    def test_it_gives_the_runs_own_result_again(self, folder, capsys):
        assert main(["evaluate", str(folder)]) == 0
        text = capsys.readouterr().out
        assert "n = 100 agents over 10 steps, 20 episodes" in text
        assert f"{summary_of(folder)['return_mean']:.3f}" in text

    def test_it_takes_another_n_horizon_and_number_of_episodes(self, folder, capsys):
        words = ["--n", "1000000", "--horizon", "5", "--episodes", "7", "--seed", "1"]
        before = sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir())
        assert main(["evaluate", str(folder), *words]) == 0
        assert "n = 1,000,000 agents over 5 steps, 7 episodes" in capsys.readouterr().out
        assert sorted((path.name, path.stat().st_mtime_ns) for path in folder.iterdir()) == before

    @pytest.mark.parametrize(
        ("words", "code", "message"),
        [
            (["--n", "1"], 2, "error: k must be an integer in 1..1, not 2"),
            (["--horizon", "0"], 2, "error: horizon must be an integer at least 1, not 0"),
            (["--episodes", "few"], 2, "error: argument --episodes: invalid int value: 'few'"),
        ],
    )
    def test_wrong_arguments(self, folder, capsys, words, code, message):
        assert main(["evaluate", str(folder), *words]) == code
        assert capsys.readouterr().err.startswith(message)

    def test_no_run_there(self, tmp_path, capsys):
        assert main(["evaluate", str(tmp_path / "nowhere")]) == 1
        assert "is no run folder" in capsys.readouterr().err


def test_games_are_listed_one_per_line(capsys):
    assert main(["games"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == games.names() + games.crowded() + games.simulators()
    assert all(len(line.split()) > 3 for line in lines)


def test_the_package_is_a_command(capsys):
    done = subprocess.run([sys.executable, "-m", "altmarl_torch", "games"], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "warehouse" in done.stdout


def test_a_reader_that_goes_away_is_no_error():
    ours, theirs = os.pipe()
    os.close(ours)
    words = [sys.executable, "-m", "altmarl_torch", "games"]
    done = subprocess.run(words, stdout=theirs, stderr=subprocess.PIPE, cwd=ROOT)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "--runs-dir", ""], "runs_dir must not be empty"),
        (["train", "--k", "0"], "k must be an integer at least 1, not 0"),
        (["train", "--k", "1001"], "k must be an integer in 1..1000, not 1001"),
        (["train", "--k", "many"], "argument --k: invalid int value: 'many'"),
        (["train", "--k", "5,10"], "k must be an integer, or a range as 1:50, not '5,10'"),
        (["train", "--gamma", "1"], "gamma must be a number in [0, 1), not 1.0"),
        (["train", "--game", "chess"], "no game is named 'chess'; the names are warehouse, "),
        (["train", "--device", "abacus"], "device must be one of auto, cpu"),
        (["train", "--solver", "magic"], "argument --solver: invalid choice"),
        (["train", "--solver", "tabular", "--l-learner", "neural"], "l_learner='neural' needs solver='neural'"),
        (["train", "--learning-rate", "0"], "learning_rate must be a number in (0, inf), not 0.0"),
        (["train", "--speed", "9"], "unrecognized arguments: --speed 9"),
        (["evaluate"], "the following arguments are required: RUN"),
        (["fly"], "argument COMMAND: invalid choice: 'fly'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_argument_is_one_line_and_code_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_what_fails_at_run_time_is_one_line_and_code_1(tmp_path, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("")
    assert train(blocked) == 1
    assert capsys.readouterr().err == f"error: {blocked}: File exists\n"


def test_a_table_too_large_to_list_is_one_line_and_code_1(tmp_path, capsys):
    assert main(["train", "--solver", "tabular", "--k", "900", "--quiet", "--runs-dir", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help_shows_every_command(capsys):
    with pytest.raises(SystemExit) as leaving:
        main(["--help"])
    assert leaving.value.code == 0
    text = capsys.readouterr().out
    assert all(command in text for command in ("train", "evaluate", "games"))


class TestCertify:
    def test_a_finished_run_is_certified(self, runs, capsys):
        train(runs, "--certify", "never")
        folder = the_only_run(runs)
        assert main(["certify", str(folder)]) == 0
        text = capsys.readouterr().out
        assert re.search(r"^  global agent .* exact", text, flags=re.MULTILINE)
        assert "an epsilon-equilibrium for epsilon" in text
        written = json.loads((folder / "certificate.json").read_text())
        assert written["nash_gap"] == max(written["global_gap"], written["local_gap"])

    def test_quick_leaves_out_the_shared_deviation(self, runs, capsys):
        train(runs)
        assert main(["certify", str(the_only_run(runs)), "--quick"]) == 0
        written = json.loads((the_only_run(runs) / "certificate.json").read_text())
        assert written["shared_deviation"] is written["nash_gap"] is None
        assert written["single_team"]["kind"] == "exact"

    def test_only_parts_that_cost_less_than_the_training_are_made_unasked(self):
        game = games.warehouse()
        solution = solve(game, 6)
        much = dataclasses.replace(solution.history[0], sweeps=10**6)
        assert measuring.affordable_parts(game, solution) == ("global", "single")
        long = dataclasses.replace(solution, history=(much,))
        assert measuring.affordable_parts(game, long) == ("global", "single", "shared")
        slow = dataclasses.replace(solution, phase_seconds={"g_learn": 1e5})
        assert measuring.affordable_parts(game, slow) == measuring.affordable_parts(game, solution)


class TestNeural:
    """The default solver, from the command to the folder and back; from uniform policies, so that both sides train."""

    WORDS = (
        "train",
        "--solver",
        "neural",
        "--nested",
        "off",
        "--steps",
        "1",
        "--episodes",
        "20",
        "--horizon",
        "10",
        "--seed",
        "2",
    )

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory):
        """A run on steer with k = 3."""
        runs = tmp_path_factory.mktemp("runs")
        with small_batches(128):
            assert main([*cls.WORDS, "--game", "steer", "--k", "3", "--runs-dir", str(runs)]) == 0
        return the_only_run(runs)

    @pytest.fixture(scope="class")
    @classmethod
    def large(cls, tmp_path_factory):
        """A run on 20 local states with k = 30, whose counts are too many for a table, hardly trained."""
        runs = tmp_path_factory.mktemp("runs")
        games.random_game(num_sg=3, num_sl=20, num_ag=3, num_al=2, gamma=0.8, seed=1).save(runs / "game.npz")
        with cut_short():
            words = [*cls.WORDS, "--game", str(runs / "game.npz"), "--k", "30", "--runs-dir", str(runs / "runs")]
            assert main(words) == 0
        return the_only_run(runs / "runs")

    def test_the_folder_is_complete(self, folder):
        assert {path.name for path in folder.iterdir() if not path.name.startswith("events.")} == FILES
        assert folder.name.startswith("steer__neural__k3__seed2__")
        run, summary = open_run(folder), summary_of(folder)
        assert list(summary) == list(SUMMARY_KEYS)
        assert (summary["solver"], summary["k"]) == ("neural", 3)
        assert summary["value"] == pytest.approx(7.826, rel=0.005)
        assert 0 <= summary["nash_gap"] <= 0.01 * summary["value"]
        assert isinstance(run.solution.policy, NetworkPolicy)
        assert run.solution.pi_g.shape == (2, 4, 2)
        assert run.config.solver == "neural"
        assert summary["updates"] == len(read_metrics(folder)) == 2
        for line in read_metrics(folder):
            assert line["standard_error"] == 0  # pairs (s_g, h) are few: values are exact
            assert line["details"][f"{line['player'][0]}_learn/steps"] > 0

    def test_learning_curves_are_in_tensorboard(self, folder):
        (file,) = folder.rglob("events.out.tfevents.*")
        events = EventAccumulator(str(file))
        events.Reload()
        curves = CURVE_TAGS - {Tag.L_LEARN_VALUE_LOWER, Tag.L_LEARN_VALUE_UPPER}  # UCFH's
        assert set(events.Tags()["scalars"]) >= curves | {Tag.G_LEARN_STEPS, Tag.L_LEARN_STEPS, Tag.RETURN_MEAN}
        assert Tag.POLICY_SLICE in events.Tags()["images"]
        lines = read_metrics(folder)
        learned = sum(line["details"][f"{line['player'][0]}_learn/steps"] for line in lines)
        ends = []
        for tag in curves:
            points = events.Scalars(tag)
            assert [point.step for point in points] == sorted({point.step for point in points})
            assert np.isfinite([point.value for point in points]).all()
            ends.append(points[-1].step)
        assert max(ends) == learned
        assert events.Scalars("g_learn/residual")[-1].step == lines[0]["details"]["g_learn/steps"]

    def test_a_finished_run_is_evaluated_and_certified(self, folder, capsys):
        assert main(["evaluate", str(folder)]) == 0
        text = capsys.readouterr().out
        assert "learned (k = 3)" in text
        assert f"{summary_of(folder)['return_mean']:.3f}" in text
        assert main(["certify", str(folder)]) == 0
        assert "an epsilon-equilibrium for epsilon" in capsys.readouterr().out

    def test_silent_agents_cost_something_and_are_warned_of_once(self, folder, capsys):
        assert main(["evaluate", str(folder), "--answer-rate", "0.3", "--turnover", "0.1"]) == 0
        streams = capsys.readouterr()
        assert streams.err.count("fewer answers than k = 3") == 1
        assert f"{summary_of(folder)['return_mean']:.3f}" not in streams.out
        assert main(["evaluate", str(folder), "--answer-rate", "1.3"]) == 2
        assert capsys.readouterr().err == "error: answer_rate must be a number in [0, 1], not 1.3\n"

    def test_a_run_without_a_table_is_complete_but_for_the_certificate(self, large):
        files = {path.name for path in large.iterdir() if not path.name.startswith("events.")}
        assert files == FILES - {"certificate.json"}
        assert open_run(large).solution.pi_g is None
        assert summary_of(large)["nash_gap"] is None
        assert not summary_of(large)["interrupted"]

    def test_a_run_without_a_table_is_evaluated(self, large, capsys):
        assert main(["evaluate", str(large), "--n", "100000"]) == 0
        text = capsys.readouterr().out
        assert "learned (k = 30)" in text
        assert "n = 100,000 agents" in text

    def test_a_run_without_a_table_is_certified_from_below(self, large, capsys, monkeypatch):
        short = functools.partial(simulated_gaps.rollout_gaps, episodes=20, horizon=10)
        monkeypatch.setattr(simulated_gaps, "rollout_gaps", short)
        before = sorted(path.name for path in large.iterdir())
        assert main(["certify", str(large)]) == 0
        text = capsys.readouterr().out
        assert "no table of pi_g" in text
        for player in ("global agent", "all local agents"):
            assert re.search(rf"^  {player} +\d", text, flags=re.MULTILINE)
        assert sorted(path.name for path in large.iterdir()) == before

    def test_a_diverging_learning_rate_is_one_line_and_leaves_what_was_asked(self, runs, capsys):
        words = [*self.WORDS, "--game", "steer", "--k", "3", "--learning-rate", "1e30", "--quiet"]
        with small_batches():
            assert main([*words, "--runs-dir", str(runs)]) == 1
        streams = capsys.readouterr()
        assert streams.err.startswith("error: g_learn: the loss is not finite after ")
        assert "use a smaller one" in streams.err
        assert streams.err.count("\n") == 1
        folder = the_only_run(runs)
        assert json.loads((folder / "config.json").read_text())["learning_rate"] == 1e30
        assert torch.equal(Game.load(folder / "game.npz").P_l, games.steer().P_l)
        assert read_metrics(folder) == []

    def test_interrupted_while_learning_what_was_learned_is_saved(self, runs, capsys, monkeypatch):
        def press(line):
            raise KeyboardInterrupt

        monkeypatch.setattr(training, "update_line", press)
        with cut_short():
            assert main([*self.WORDS, "--game", "steer", "--k", "3", "--runs-dir", str(runs)]) == 130
        folder = the_only_run(runs)
        assert summary_of(folder)["interrupted"]
        assert isinstance(open_run(folder).solution.policy, NetworkPolicy)
        assert "interrupted" in capsys.readouterr().out


def test_a_later_certificate_is_told_everywhere(tmp_path):
    """certificate.json, summary.json and TensorBoard hold one gap, however often the run is certified."""
    options = ["--game", "steer", "--k", "2", "--solver", "tabular", "--episodes", "5", "--quiet", "--certify", "never"]
    assert main(["train", *options, "--runs-dir", str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    assert summary_of(run)["nash_gap"] is None
    for _ in range(2):
        assert main(["certify", str(run)]) == 0
    gap = json.loads((run / "certificate.json").read_text())["nash_gap"]
    assert summary_of(run)["nash_gap"] == gap
    events = EventAccumulator(str(run)).Reload()
    assert [event.value for event in events.Scalars("certificate/nash_gap")] == [pytest.approx(gap)]


def test_a_run_from_data_goes_on_with_the_file_it_was_begun_with(tmp_path, monkeypatch, capsys):
    for folder, seed in (("a", "1"), ("b", "2")):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        words = ["--game", "steer", "--k", "2", "--steps", "100", "--trajectories", "2", "--seed", seed]
        assert main(["collect", *words]) == 0
    monkeypatch.chdir(tmp_path / "a")
    words = ["--from-data", "data.npz", "--episodes", "5", "--horizon", "5", "--quiet", "--runs-dir", "runs"]
    assert main(["train", *words]) == 0
    (run,) = (tmp_path / "a" / "runs").iterdir()
    policy = (run / "policy.npz").read_bytes()
    for name in ("summary.json", "policy.npz"):
        (run / name).unlink()
    monkeypatch.chdir(tmp_path / "b")
    assert main(["train", "--resume", str(run)]) == 0
    assert (run / "policy.npz").read_bytes() == policy
    (run / "summary.json").unlink()
    (tmp_path / "a" / "data.npz").write_bytes((tmp_path / "b" / "data.npz").read_bytes())
    assert main(["train", "--resume", str(run)]) == 2
    assert "is not the file that" in capsys.readouterr().err


def test_a_backend_of_a_notebook_is_not_asked(tmp_path):
    """MPLBACKEND names a module that is not installed here: matplotlib would refuse to be imported."""
    environment = os.environ | {"MPLBACKEND": "module://nowhere.backend_inline"}
    command = [sys.executable, "-m", "altmarl_torch", "games"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_version_is_told_with_those_below_it(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    told = " ".join(capsys.readouterr().out.split())  # which argparse has wrapped
    assert re.fullmatch(r"altmarl_torch [\d.]+, torch [\d.]+\S*, python [\d.]+, pair moves: .*", told)
