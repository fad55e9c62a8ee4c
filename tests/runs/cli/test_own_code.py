"""`--rule` and `--game-option`: kept in the run's record, and found by what follows the run."""

import json
import os

import pytest

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.runs.cli.main import _parser, main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.flags import name_and_value
from altmarl_torch.runs.folder import open_run
from altmarl_torch.runs.sweeps.results import open_sweep

QUICK = "--k 2 --solver tabular --episodes 4 --horizon 5 --quiet"
MINE = """\
import altmarl_torch as am


def build(zones=3, label="mine"):
    return am.games.ware(num_zones=zones).replace(name=label)


def middle(s_g, counts):
    return 1
"""


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    return "mine.py"


def trained(*words):
    """The run that `altmarl train` leaves."""
    assert main(["train", *QUICK.split(), *words]) == 0
    return max((os.path.join("runs", name) for name in os.listdir("runs")), key=os.path.getmtime)


def test_options_of_a_named_game_are_kept(file):
    folder = trained("--game", "ware", "--game-option", "num_zones=2", "--game-option", "num_al=3")
    run = open_run(folder)
    assert (run.game.num_sl, run.game.num_al) == (2, 3)
    assert run.config.game_option == {"num_zones": 2, "num_al": 3}
    assert run.config.build_game().num_sl == 2


def test_options_of_a_function_of_one_s_own(file):
    folder = trained("--game", "mine.py:build", "--game-option", "zones=2", "--game-option", "label=small")
    assert (open_run(folder).game.num_sl, open_run(folder).game.name) == (2, "small")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--game ware --game-option zones=4", "takes num_zones, num_al, gamma, n; not zones"),
        ("--game mine.py:build --game-option rows=4", "mine.py:build takes zones, label; not rows"),
        ("--game ware --game-option n=4", "n has an option of its own: --n 4"),
        ("--game ware --game-option num_zones", "is no NAME=VALUE"),
        ("--game ware --game-option num_zones=1", "num_zones must be"),
        ("--game ware --game-option num_zones=4 --game-option num_zones=5", "num_zones is given twice"),
        ("--game game.npz --game-option num_zones=4", "is made already"),
        ("--rule mine.py:nothing", "has no function nothing"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_no_folder(words, message, file, capsys):
    TrainConfig(game="ware", k=1).build_game().save("game.npz")
    assert main(["train", *QUICK.split(), *words.split()]) == 2
    assert message in capsys.readouterr().err
    assert not os.path.exists("runs")


@pytest.mark.parametrize("command", ["bounds --k 1", "chains --k 1"])
def test_other_commands_take_them(command, file, capsys):
    told = []
    for zones in (3, 4):
        assert main([*command.split(), "--game", "ware", "--game-option", f"num_zones={zones}"]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] != told[1]


def test_collect_takes_them(file):
    words = "collect --game ware --game-option num_zones=2 --k 2 --steps 5 --trajectories 1 --out data.npz"
    assert main(words.split()) == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=1", ("a", 1)), ("a=0.5", ("a", 0.5)), ("a=[1, 2]", ("a", [1, 2])), ("a=word", ("a", "word")),
     ("a=true", ("a", True)), ("a=NaN", ("a", "NaN")), ("a = x=y", ("a", "x=y"))],
)  # fmt: skip
def test_values_are_json_or_words(text, value):
    assert name_and_value(text) == value


def test_a_record_may_hold_options_alone_that_are_a_mapping():
    with pytest.raises(ArgumentError, match="game_option must map names"):
        TrainConfig(game_option=[1])


def test_a_rule_is_measured_beside_the_others(file, capsys):
    folder = trained("--game", "ware", "--rule", "mine.py:middle, mine.py:middle + stay")
    out = capsys.readouterr().out
    assert "middle + learned" in out
    with open(os.path.join(folder, "summary.json")) as text:
        assert {"middle + learned", "middle + stay", "hold + walk"} <= json.load(text)["heuristics"].keys()
    assert main(["evaluate", folder]) == 0
    assert "middle" not in capsys.readouterr().out  # a folder runs no code
    assert main(["evaluate", folder, "--rule", "mine.py:middle"]) == 0
    assert "middle + learned" in capsys.readouterr().out


def test_a_run_with_a_rule_goes_on_when_the_rule_is_said_anew(file, capsys):
    folder = trained("--game", "ware", "--rule", "mine.py:middle")
    path = os.path.join(folder, "summary.json")
    with open(path) as text:
        summary = json.load(text)
    with open(path, "w") as text:
        json.dump(summary | {"interrupted": True}, text)
    assert main(["train", "--resume", folder]) == 2
    assert "add --rule mine.py:middle" in capsys.readouterr().err
    assert main(["train", "--resume", folder, "--rule", "mine.py:middle"]) == 0
    assert "middle + learned" in capsys.readouterr().out


def test_a_sweep_takes_both(file):
    words = "--game ware --game-option num_zones=2 --k 1 --seeds 1 --episodes 3 --horizon 4 --jobs 1 --quiet"
    assert main(["sweep", *words.split(), "--rule", "mine.py:middle", "--name", "own"]) == 0
    sweep = open_sweep("runs/own")
    assert "middle + learned" in sweep.heuristics
    assert Game.load("runs/own/k0001__seed0000/game.npz").num_sl == 2


def test_help_of_a_sweep_lists_what_it_has(capsys):
    parser = _parser()
    with pytest.raises(SystemExit):
        parser.parse_args(["sweep", "--help"])
    told = capsys.readouterr().out
    for word in ("from-data", "passes", "step-size", "the default of simulators", "SimulatedGame", "--resume"):
        assert word not in told
    with pytest.raises(SystemExit):
        parser.parse_args(["train", "--help"])
    assert all(word in capsys.readouterr().out for word in ("--from-data",))
