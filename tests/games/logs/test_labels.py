"""Logs whose states and actions are words."""

import numpy as np
import pytest

import altmarl_torch as am
from altmarl_torch.errors import GameError, LogError
from altmarl_torch.games.logs.files import read_log
from altmarl_torch.games.logs.transitions import Transitions

TEXT = """sg,ag,r_g,sg_next,sl,al,r_l,sl_next,episode,step
low,hold,1,high,idle,go,1,busy,0,0
high,hold,1,low,busy,wait,0,idle,0,1
low,hold,1,high,idle,wait,1.5,idle,0,2
high,hold,1,low,idle,none,0,idle,0,3
"""
LABELS = {"sg": ("high", "low"), "sl": ("busy", "idle"), "ag": ("hold",), "al": ("go", "none", "wait")}


@pytest.fixture
def log(tmp_path):
    file = tmp_path / "fleet.csv"
    file.write_text(TEXT)
    return read_log(file)


def test_words_are_numbered_in_their_order(log):
    assert log.labels == LABELS
    assert log.sg.tolist() == [1, 0, 1, 0]
    assert log.sl_next.tolist() == [0, 1, 1, 1]
    assert log.al.tolist() == [0, 2, 2, 1]


@pytest.mark.parametrize("name", ["again.csv", "again.npz"])
def test_words_survive_saving(log, name, tmp_path):
    log.save(tmp_path / name)
    again = read_log(tmp_path / name)
    assert again.labels == LABELS
    for column, kept in log.to_columns().items():
        assert np.array_equal(again.to_columns()[column], kept)


def test_words_become_the_names_of_the_game(log):
    game = am.Game.from_transitions(log, gamma=0.9, n=10, smoothing=0.5)
    assert (game.sg_names, game.sl_names, game.al_names) == (LABELS["sg"], LABELS["sl"], LABELS["al"])
    numbers = log.to_columns()
    plain = am.Game.from_transitions(numbers, gamma=0.9, n=10, smoothing=0.5)
    assert plain.names == {}
    assert (plain.P_l == game.P_l).all()


def test_messages_and_reports_say_the_words(log):
    with pytest.raises(GameError, match=r"P_l\[sl=0 \(busy\), sg=0 \(high\), al=0 \(go\)\]"):
        am.Game.from_transitions(log, gamma=0.9, n=10)
    assert "P_l[sl=1 (idle), sg=0 (high), al=0 (go)]" in am.estimate(log, gamma=0.9, n=10, smoothing=1).report()


def test_columns_of_a_frame_may_be_words():
    columns = {name: np.zeros(3) for name in ("sg", "ag", "r_g", "sg_next", "r_l")}
    words = {"sl": ["a", "b", "a"], "sl_next": ["b", "a", "c"], "al": np.array(["x", "x", "y"], dtype=object)}
    log = Transitions.of(columns | words)
    assert log.labels == {"sl": ("a", "b", "c"), "al": ("x", "y")}
    assert log.sl_next.tolist() == [1, 0, 2]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\nhigh,hold,1,low,busy", "\nhigh,hold,1,low,3", "line 3: sl is '3'; expected a word"),
        ("\nhigh,hold,1,low,busy", "\nhigh,hold,1,low,", "line 3: sl is ''; expected a word"),
        ("\nhigh,hold,1,low,busy", "\nhigh,hold,one,low,busy", "line 3: r_g is 'one'; expected a number"),
    ],
)
def test_columns_of_words_and_numbers_are_not_guessed_at(old, new, message, tmp_path):
    file = tmp_path / "mixed.csv"
    file.write_text(TEXT.replace(old, new))
    with pytest.raises(LogError, match=message):
        read_log(file)


def test_both_columns_of_a_set_are_words_or_none(tmp_path):
    columns = {name: np.zeros(2) for name in ("sg", "ag", "r_g", "sg_next", "al", "r_l", "sl_next")}
    with pytest.raises(LogError, match="column sl has words and sl_next has not"):
        Transitions.of(columns | {"sl": ["a", "b"]})
