"""Runs of simulators on the command line: from one's own file to a folder, its reading, killing and resuming."""

import json
import random

import pytest
from oracles.killer import Killed
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players, team_learner
from altmarl_torch.learners.simulated import experience
from altmarl_torch.runs import training as tables
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.folder import read_metrics, read_summary
from altmarl_torch.runs.simulated import training

SIMULATOR = """
import torch
import altmarl_torch as am


def build():
    return am.SimulatedGame(
        start=lambda e, n, g: (torch.zeros(e, 1), torch.rand(e, n, 1, generator=g)),
        move_g=lambda s, a, g: (s + 0.1 * (a.unsqueeze(-1) - 1)).clamp(0, 1),
        move_l=lambda s, sg, a, g: (s + 0.05 * a.unsqueeze(-1) * (sg - s).sign()).clamp(0, 1),
        r_g=lambda s, a: -0.1 * (a != 1).float(),
        r_l=lambda s, sg, a: REWARD,
        global_state=am.Box(0, 1),
        local_state=am.Box(0, 1),
        global_action=am.Discrete(3),
        local_action=am.Discrete(2),
        gamma=0.9,
        n=NUMBER,
        name="truck",
    )
"""
REWARD = "-(s - sg).abs().squeeze(-1)"
SMALL = ["--episodes", "12", "--horizon", "20", "--steps", "2", "--k", "3"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(players, "GLOBAL_STEPS", (60, 60))
    monkeypatch.setattr(players, "LOCAL_STEPS", 60)
    monkeypatch.setattr(players, "EPISODES", 32)
    monkeypatch.setattr(experience, "EPISODES", 16)


def write(path, reward=REWARD, n=24):
    path.write_text(SIMULATOR.replace("REWARD", reward).replace("NUMBER", str(n)))
    return f"{path}:build"


def the_only(runs):
    (folder,) = runs.iterdir()
    return folder


def test_from_a_file_to_a_folder_that_can_be_read_evaluated_and_certified(tmp_path, capsys):
    word, runs = write(tmp_path / "my_sim.py"), tmp_path / "runs"
    assert main(["train", "--game", word, "--runs-dir", str(runs), *SMALL]) == 0
    out = capsys.readouterr().out
    assert "SimulatedGame('truck'" in out
    assert "uniform + uniform" in out
    assert "has no tables" in out
    folder = the_only(runs)
    assert folder.name.startswith("truck__neural__k3__seed0__")
    summary = read_summary(folder)
    assert (summary["game"], summary["k"], summary["n"], summary["interrupted"]) == ("truck", 3, 24, False)
    assert summary["eta_paper"] is None
    assert {line["player"] for line in read_metrics(folder)} == {"global", "local"}
    config = json.loads((folder / "config.json").read_text())
    assert config["observation"] == "population"
    there = {path.name for path in folder.iterdir()}
    assert {"simulator.json", "policy.npz", "occupation.png", "value_history.png"} <= there
    assert not {"game.npz", "checkpoints"} & there
    for command in ("evaluate", "certify"):
        assert main([command, str(folder), "--game", word]) == 0
    out = capsys.readouterr().out
    assert "learned (k = 3)" in out
    assert "deviations tried by rollouts" in out
    again = am.SimulatedSolution.load(folder / "policy.npz", am.games.from_file.call_function(word))
    assert again.value == summary["value"]


def test_tensorboard_has_the_tags(tmp_path):
    runs = tmp_path / "runs"
    words = ["--game", "continuous_warehouse", "--n", "30", "--quiet", "--runs-dir", str(runs)]
    assert main(["train", *words, *SMALL]) == 0
    (file,) = the_only(runs).glob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"alternation/value", "g_learn/loss", "l_learn/steps", "eval/return_mean"} <= tags
    assert {"eval/return_hold_walk", "eval/return_sticky_walk", "time/total"} <= tags
    assert set(events.Tags()["images"]) == {"alternation/value_history", "eval/occupation"}


class Moment:
    """Counts the moves of the agents, and ends the training at one of them."""

    def __init__(self, monkeypatch, at=None):
        self.calls, self.at, build = 0, at, training.TrainConfig.named_game
        monkeypatch.setattr(training.TrainConfig, "named_game", lambda config: self.watched(build(config)))

    def watched(self, game):
        def counted(*arguments):
            self.calls += 1
            if self.calls == self.at:
                raise Killed
            return game.move_l(*arguments)

        return game.replace(move_l=counted)


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_a_random_moment_and_resumed_it_is_the_unbroken_run_to_the_bit(seed, tmp_path, monkeypatch):
    word = write(tmp_path / "my_sim.py")
    words = ["train", "--game", word, "--quiet", "--seed", str(seed), *SMALL]
    with monkeypatch.context() as patch:
        whole = Moment(patch)
        assert main([*words, "--runs-dir", str(tmp_path / "whole")]) == 0
    learning = whole.calls - 2 * 20  # the rollouts of the end move agents as well
    with monkeypatch.context() as patch:
        Moment(patch, at=random.Random(seed).randrange(30, learning))
        with pytest.raises(Killed):
            main([*words, "--runs-dir", str(tmp_path / "broken")])
    folder = the_only(tmp_path / "broken")
    assert not (folder / "policy.npz").exists()
    assert main(["train", "--quiet", "--resume", str(folder), "--game", word]) == 0
    for name in ("policy.npz", "metrics.jsonl"):
        assert (folder / name).read_bytes() == (the_only(tmp_path / "whole") / name).read_bytes()


@pytest.mark.parametrize(
    ("game", "objective", "learned"),
    [
        ("linear_quadratic", ["--objective", "own"], "own"),
        ("linear_quadratic", [], "team"),
        ("continuous_warehouse", ["--objective", "team"], "team"),
        ("continuous_warehouse", [], "own"),
    ],
)
def test_the_objective_is_what_was_asked_for_or_that_of_the_actions(tmp_path, monkeypatch, game, objective, learned):
    asked = []
    for module, name in ((players, "PATH_STEPS"), (team_learner, "VALUE_STEPS"), (team_learner, "STEPS")):
        monkeypatch.setattr(module, name, 2)

    def told(game, k, **options):
        asked.append(options["objective"])
        return am.solve(game, k, **options)

    monkeypatch.setattr(training, "solve_simulator", told)
    words = ["--game", game, "--n", "8", *objective, "--quiet"]
    assert main(["train", *words, "--runs-dir", str(tmp_path), *SMALL]) == 0
    assert asked == [learned]
    assert json.loads((the_only(tmp_path) / "config.json").read_text())["objective"] == learned


RULES = """
def follow(s_g, sample):
    return 1 + (sample.mean(1) > s_g).squeeze(-1).long()


def work(s_l, s_g):
    return (s_l < s_g).squeeze(-1).long()


def lazy(s_g, sample):
    return [1]


def wild(s_l, s_g):
    return (s_l < 2).squeeze(-1).long() * 7
"""


def test_rules_of_ones_own_are_measured_beside_the_others(tmp_path, capsys):
    word, runs, rules = write(tmp_path / "my_sim.py"), tmp_path / "runs", tmp_path / "my_rules.py"
    rules.write_text(RULES)
    asked = ["--game", word, "--rule", f"{rules}:follow, {rules}:follow + work, {rules}:follow + uniform"]
    assert main(["train", *asked, "--runs-dir", str(runs), *SMALL]) == 0
    out = capsys.readouterr().out
    summary = read_summary(the_only(runs))["heuristics"]
    for name in ("follow + learned", "follow + work", "follow + uniform"):
        assert name in out
        assert name in summary
    game, pair = am.games.from_file.call_function(word), am.simulators.RulePair
    scope = {}
    exec(RULES, scope)
    own = am.rollout(game, pair(3, scope["follow"], scope["work"]), episodes=12, horizon=20)
    assert summary["follow + work"]["return_mean"] == own.mean
    assert main(["evaluate", str(the_only(runs)), "--game", word, "--rule", f"{rules}:follow"]) == 0
    assert "follow + learned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("follow", "rule 'follow' is no function in a file, as my_rules.py:follow is"),
        ("RULES:none", "has no function none; it has follow, work"),
        ("RULES:lazy", "rule lazy + learned: a_g has the shape list; expected [2]"),
        ("RULES:follow + wild", "rule follow + wild: a_l holds an action that is not of Discrete(num=2)"),
        ("RULES:follow, RULES:follow", "names one pair twice"),
    ],
)
def test_what_is_wrong_with_a_rule_is_one_line_before_there_is_a_folder(tmp_path, capsys, rule, message):
    rules = tmp_path / "my_rules.py"
    rules.write_text(RULES)
    game = ["--game", write(tmp_path / "my_sim.py"), "--runs-dir", str(tmp_path / "runs")]
    assert main(["train", *game, *SMALL, "--rule", rule.replace("RULES", str(rules))]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_run_with_a_rule_goes_on_when_the_rule_is_said_anew(tmp_path, capsys, monkeypatch):
    word, rules = write(tmp_path / "my_sim.py"), tmp_path / "my_rules.py"
    rules.write_text(RULES)
    own = ["--game", word, "--rule", f"{rules}:follow"]
    with monkeypatch.context() as patch:
        Moment(patch, at=200)
        with pytest.raises(Killed):
            main(["train", *own, "--quiet", "--runs-dir", str(tmp_path / "runs"), *SMALL])
    folder = str(the_only(tmp_path / "runs"))
    assert main(["train", "--resume", folder, "--game", word]) == 2
    assert f"add --rule {rules}:follow" in capsys.readouterr().err
    assert main(["train", "--resume", folder, *own]) == 0
    assert "follow + learned" in capsys.readouterr().out


def test_what_goes_wrong_while_learning_is_one_line_and_leaves_a_readable_folder(tmp_path, capsys):
    late = "torch.where(sg.squeeze(-1) > 0.25, float('nan') * s.squeeze(-1), s.squeeze(-1))"
    word, runs = write(tmp_path / "my_sim.py", reward=late), tmp_path / "runs"
    code = main(["train", "--game", word, "--runs-dir", str(runs), "--quiet", *SMALL])
    error = capsys.readouterr().err
    assert code == 1
    assert error.startswith("error: ")
    assert "r_l" in error
    assert error.count("\n") == 1
    if runs.exists() and list(runs.iterdir()):
        assert json.loads((the_only(runs) / "config.json").read_text())["k"] == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--starts", "3"], "starts = 3: truck has 2, uniform, greedy"),
        (["--solver", "tabular"], "learned by networks"),
        (["--observation", "posterior"], "observation must be 'population' or 'surrogate' or 'filter' for a simulator"),
        (["--certify", "always"], "no tables to certify with"),
        (["--eta", "paper"], "eta = 'paper' needs the largest reward"),
        (["--k", "25"], "k must be an integer in 1..24"),
    ],
)
def test_options_of_tables_are_refused_before_there_is_a_folder(tmp_path, capsys, words, message):
    runs = tmp_path / "runs"
    game = ["--game", write(tmp_path / "my_sim.py"), "--runs-dir", str(runs)]
    assert main(["train", *game, *SMALL, *words]) == 2
    assert message in capsys.readouterr().err
    assert not runs.exists()


def test_a_run_knows_its_simulator_and_tables_stay_with_their_commands(tmp_path, capsys):
    word, runs = write(tmp_path / "my_sim.py"), tmp_path / "runs"
    assert main(["train", "--game", word, "--runs-dir", str(runs), "--quiet", *SMALL]) == 0
    folder = the_only(runs)
    assert main(["evaluate", str(folder)]) == 2
    assert "add --game" in capsys.readouterr().err
    other = write(tmp_path / "other.py", n=25)
    assert main(["evaluate", str(folder), "--game", other]) == 2
    assert "has another n than the run" in capsys.readouterr().err
    assert main(["train", "--resume", str(folder), "--game", word]) == 2
    assert "is finished" in capsys.readouterr().err
    assert main(["collect", "--game", "continuous_warehouse", "--k", "2", "--out", str(tmp_path / "log.npz")]) == 2
    assert "is a simulator" in capsys.readouterr().err
    steer = ["--game", "steer", "--k", "2", "--solver", "tabular"]
    assert main(["train", *steer, "--observation", "population"]) == 2
    assert "observation='population' is learned by networks" in capsys.readouterr().err
    assert tables.TrainedRun is training.TrainedRun
