"""`--game file.py:function`: what is run, what it may import, and what is said where it fails."""

import sys

import pytest

from altmarl_torch.errors import ArgumentError
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import open_run

MINE = """\
from dataclasses import dataclass

import altmarl_torch as am
from neighbour import N


@dataclass
class Settings:
    n: int = N


def build(settings=Settings()):
    return am.games.steer(n=settings.n).replace(name="mine")


def raises():
    return [][1]


def malformed():
    return am.Game(P_g=[[1]], P_l=[[[[1]]]], r_g=[[1]], r_l=[[[1]]], gamma=0.5, n=2)


def five():
    return 5


def asks(for_more):
    return for_more
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "neighbour.py").write_text("N = 77\n")
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path / "mine.py"


def test_the_function_s_game_is_built_with_its_neighbours_and_nothing_is_left_behind(file):
    before = list(sys.path)
    game = TrainConfig(game=f"{file}:build", k=3, gamma=0.7).build_game()
    assert (game.name, game.n, game.gamma) == ("mine", 77, 0.7)
    assert sys.path == before
    assert not [name for name in sys.modules if name.startswith("altmarl_user")]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("raises", r"mine\.py, line 17: IndexError: list index out of range"),
        ("malformed", r"mine\.py, line 21: GameError: P_g has shape \[1, 1\]"),
        ("five", r"mine\.py:five returned int; expected an altmarl_torch.Game"),
        ("asks", r"mine\.py: TypeError: asks\(\) missing 1 required"),
        ("nowhere", r"mine\.py has no function nowhere; it has dataclass, Settings, build, raises, malformed"),
        ("", r"names no function; write .*mine\.py:build"),
    ],
)
def test_what_goes_wrong_in_it_is_one_line(file, function, message):
    with pytest.raises(ArgumentError, match=message) as caught:
        TrainConfig(game=f"{file}:{function}").build_game()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = (\n", r"mine\.py, line 1: SyntaxError"),
        ("\nimport nothing_of_that_name\n", r"mine\.py, line 2: ModuleNotFoundError"),
        ("raise SystemExit(3)\n", r"mine\.py, line 1: SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_run_is_one_line(file, text, message):
    file.write_text(text)
    with pytest.raises(ArgumentError, match=message):
        TrainConfig(game=f"{file}:build").build_game()


def test_no_such_file_and_no_preset(file):
    with pytest.raises(ArgumentError, match=r"no such file: none\.py"):
        TrainConfig(game="none.py:build").build_game()
    with pytest.raises(ArgumentError, match="preset must be paper"):
        TrainConfig(game=f"{file}:build", preset="code").build_game()


def test_a_run_is_read_again_without_running_the_file(file, tmp_path, capsys):
    options = f"--k 2 --solver tabular --episodes 5 --horizon 5 --quiet --runs-dir {tmp_path / 'runs'}".split()
    assert main(["train", "--game", f"{file}:build", *options]) == 0
    file.write_text("raise AssertionError('it was run again')\n")
    (folder,) = (tmp_path / "runs").iterdir()
    assert open_run(folder).game.name == "mine"
    assert main(["evaluate", str(folder)]) == 0
    assert main(["certify", str(folder)]) == 0
    assert folder.name.startswith("mine__tabular__k2")
