"""Runs that survive: resumed, told to stop, locked, and never in two hands; and the same again under the same seed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from oracles.killer import Killed, Killer
from oracles.neural import cut_short
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from altmarl_torch import games
from altmarl_torch.runs import training
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.folder import open_run
from altmarl_torch.runs.interrupts import Interrupts

ROOT = Path(__file__).parents[2]
SMALL = ["train", "--game", "steer", "--episodes", "20", "--horizon", "10", "--quiet"]
SOLVERS = {
    "tabular": ["--solver", "tabular", "--k", "3"],
    "ucfh": ["--l-learner", "ucfh", "--k", "2"],
    "neural": ["--solver", "neural", "--k", "3", "--steps", "2"],
}
RESULTS = ("policy.npz", "metrics.jsonl")


def train(runs, *words):
    with cut_short():
        return main([*SMALL, "--runs-dir", str(runs), *words])


def resume(folder):
    with cut_short():
        return main(["train", "--quiet", "--resume", str(folder)])


def the_only_run(runs):
    (folder,) = runs.iterdir()
    return folder


def results(folder):
    return [(folder / name).read_bytes() for name in RESULTS]


def scalars(folder):
    """Every curve of TensorBoard but the times: steps and values."""
    (file,) = folder.glob("events.out.tfevents.*")
    events = EventAccumulator(str(file), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("time/") and "per_second" not in tag]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def killed(runs, monkeypatch, files, words):
    """A run that ended when it had written so many checkpoints."""
    with monkeypatch.context() as patch:
        Killer(patch, files)
        with pytest.raises(Killed):
            train(runs, *words)
    return the_only_run(runs)


@pytest.fixture(scope="module", params=SOLVERS)
def solver(request):
    return request.param


@pytest.fixture(scope="module")
def unbroken(solver, tmp_path_factory):
    runs = tmp_path_factory.mktemp("unbroken")
    assert train(runs, *SOLVERS[solver]) == 0
    return the_only_run(runs)


class TestResume:
    def test_a_killed_run_goes_on_to_the_same_files_and_one_unbroken_curve(
        self, solver, unbroken, tmp_path, monkeypatch
    ):
        folder = killed(tmp_path, monkeypatch, 2, SOLVERS[solver])
        assert resume(folder) == 0
        assert results(folder) == results(unbroken)
        assert scalars(folder) == scalars(unbroken)
        mine, theirs = open_run(folder).summary, open_run(unbroken).summary
        for key in mine.keys() - {"wall_seconds", "phase_seconds", "update_seconds", "peak_memory_bytes"}:
            assert mine[key] == theirs[key], key
        assert {file.name for file in folder.iterdir() if "events" not in file.name} == {
            file.name for file in unbroken.iterdir() if "events" not in file.name
        }

    @pytest.mark.parametrize("function", ["_certify", "measure", "_draw"])
    def test_a_run_that_is_killed_after_learning_learns_nothing_again(self, tmp_path, monkeypatch, function):
        def die(*arguments, **named):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(training, function, die)
            with pytest.raises(Killed):
                train(tmp_path, *SOLVERS["tabular"])
        folder = the_only_run(tmp_path)
        before = results(folder)
        monkeypatch.setattr("altmarl_torch.alternation.players.tabular.g_learn", die)
        assert resume(folder) == 0
        assert results(folder) == before
        assert open_run(folder).summary["return_mean"] is not None

    def test_what_ctrl_c_ended_goes_on_too(self, solver, unbroken, tmp_path, monkeypatch, capsys):
        def press(line):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(training, "update_line", press)
            assert train(tmp_path, *SOLVERS[solver]) == 130
        folder = the_only_run(tmp_path)
        assert f"`altmarl train --resume {folder}` goes on" in capsys.readouterr().out
        assert open_run(folder).solution.interrupted
        assert resume(folder) == 0
        assert results(folder) == results(unbroken)
        assert not open_run(folder).summary["interrupted"]

    def test_a_finished_run_is_not_touched(self, unbroken, capsys):
        before = {file: file.stat().st_mtime_ns for file in unbroken.iterdir()}
        assert resume(unbroken) == 2
        assert f"{unbroken} is finished; `altmarl evaluate` simulates it again" in capsys.readouterr().err
        assert {file: file.stat().st_mtime_ns for file in unbroken.iterdir()} == before

    def test_it_needs_neither_the_game_s_file_nor_the_folder_s_old_place(self, tmp_path, monkeypatch):
        game = tmp_path / "my.npz"
        games.steer().save(game)
        words = [*SOLVERS["tabular"], "--game", str(game)]
        folder = killed(tmp_path / "runs", monkeypatch, 2, words)
        game.unlink()
        moved = folder.rename(tmp_path / "moved")
        assert resume(moved) == 0
        assert open_run(moved).summary["game"] == "steer"

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda folder: (folder / "config.json").unlink(), "cannot be resumed; train anew: it lacks config.json"),
            (lambda folder: (folder / "config.json").write_text("{"), "config.json is no JSON"),
            (lambda folder: (folder / "config.json").write_text('{"speed": 9}'), "no option is called speed"),
            (lambda folder: (folder / "game.npz").write_text("no game"), "game.npz is no readable .npz archive"),
        ],
    )
    def test_what_cannot_be_resumed_says_why(self, tmp_path, monkeypatch, capsys, spoil, message):
        folder = killed(tmp_path, monkeypatch, 1, SOLVERS["tabular"])
        spoil(folder)
        assert resume(folder) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert message in line

    def test_a_folder_that_is_not_there(self, tmp_path, capsys):
        assert resume(tmp_path / "nowhere") == 1
        assert "nowhere is no run folder: there is no such directory" in capsys.readouterr().err

    def test_an_older_record_takes_today_s_defaults(self, tmp_path, monkeypatch):
        folder = killed(tmp_path, monkeypatch, 1, SOLVERS["tabular"])
        file = folder / "config.json"
        file.write_text(file.read_text().replace('  "preset": "paper",\n', "").replace('  "starts": 1,\n', ""))
        assert resume(folder) == 0


class TestOneAtATime:
    def test_two_trainings_in_one_folder_are_refused(self, tmp_path, monkeypatch, capsys):
        folder = killed(tmp_path, monkeypatch, 1, SOLVERS["tabular"])
        before = (folder / "metrics.jsonl").read_bytes()
        with FileLock(folder / ".lock"):
            assert resume(folder) == 2
        assert f"{folder} is being written by another process" in capsys.readouterr().err
        assert (folder / "metrics.jsonl").read_bytes() == before


class TestSignals:
    def test_the_first_raises_and_the_handlers_come_back(self):
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        for number in (signal.SIGINT, signal.SIGTERM):
            with pytest.raises(KeyboardInterrupt), Interrupts():
                signal.raise_signal(number)
        assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers

    def test_while_the_last_files_are_written_it_waits(self):
        with Interrupts() as interrupts, interrupts.held():
            os.kill(os.getpid(), signal.SIGTERM)
            written = True
        assert written

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_second_one_quits(self, number):
        code = (
            "import os, signal, sys\n"
            "from altmarl_torch.runs.interrupts import Interrupts\n"
            "with Interrupts():\n"
            "    try:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "    except KeyboardInterrupt:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "sys.exit('still here')"
        )
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == -number

    def test_sigterm_saves_first_and_the_run_goes_on(self, tmp_path):
        words = [sys.executable, "train.py", "--solver", "tabular", "--k", "20", "--episodes", "20"]
        child = subprocess.Popen([*words, "--runs-dir", tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        while not list(tmp_path.glob("*/checkpoints/0001.part.npz")):
            time.sleep(0.02)
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        text, _ = child.communicate(timeout=60)
        assert child.returncode == 130
        folder = the_only_run(tmp_path)
        assert f"`altmarl train --resume {folder}` goes on" in text
        assert open_run(folder).summary["interrupted"]


class TestDeterminism:
    def test_training_twice_gives_equal_files_and_curves(self, solver, unbroken, tmp_path):
        assert train(tmp_path, *SOLVERS[solver]) == 0
        folder = the_only_run(tmp_path)
        assert results(folder) == results(unbroken)
        assert scalars(folder) == scalars(unbroken)
        assert open_run(folder).summary["return_mean"] == open_run(unbroken).summary["return_mean"]

    def test_a_diagnostic_changes_no_result(self, solver, unbroken, tmp_path):
        assert train(tmp_path, *SOLVERS[solver], "--certify", "never", "--episodes", "30") == 0
        assert results(the_only_run(tmp_path)) == results(unbroken)

    def test_the_caller_s_random_state_type_and_threads_are_left_alone(self, solver, tmp_path):
        torch.manual_seed(5)
        np.random.seed(5)  # noqa: NPY002  (the global state is what this is about)
        random.seed(5)
        before = global_state()
        assert train(tmp_path, *SOLVERS[solver]) == 0
        assert global_state() == before

    def test_the_caller_s_random_state_does_not_matter(self, solver, unbroken, tmp_path):
        torch.manual_seed(99)
        assert train(tmp_path, *SOLVERS[solver]) == 0
        assert results(the_only_run(tmp_path)) == results(unbroken)


def global_state():
    return (
        torch.get_rng_state().tolist(),
        repr(np.random.get_state()),  # noqa: NPY002
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
    )


@pytest.mark.campaign
@pytest.mark.parametrize("name", SOLVERS)
def test_kill_9_at_random_moments(name, tmp_path):
    """17 kills for each solver, some killed again while they go on: policy and metrics to the byte."""
    words = {
        "tabular": ["--game", "warehouse", "--solver", "tabular", "--k", "12"],
        "ucfh": ["--game", "steer", "--l-learner", "ucfh", "--k", "3", "--epsilon", "0.02"],
        "neural": ["--game", "steer", "--solver", "neural", "--k", "3", "--steps", "1"],
    }[name]
    command = [sys.executable, "train.py", *words, "--episodes", "20", "--horizon", "10", "--quiet"]
    begun = time.monotonic()
    subprocess.run([*command, "--runs-dir", tmp_path / "unbroken"], cwd=ROOT, check=True)
    seconds, moments = time.monotonic() - begun, random.Random(1)
    wanted, done = results(the_only_run(tmp_path / "unbroken")), 0
    while done < 17:
        runs = tmp_path / f"killed-{done}"
        run_for(moments.uniform(1.5, seconds), [*command, "--runs-dir", runs])
        if not runs.exists() or not list(runs.glob("*/game.npz")):
            continue  # it had not begun
        again = [sys.executable, "train.py", "--quiet", "--resume", the_only_run(runs)]
        if done % 3 == 0:
            run_for(moments.uniform(1.5, seconds), again)
        subprocess.run(again, cwd=ROOT, stderr=subprocess.DEVNULL, check=False)  # 2 where it had finished
        assert results(the_only_run(runs)) == wanted
        done += 1


def run_for(seconds, command):
    """Kill -9 after so many seconds, or not at all where it ends before."""
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
