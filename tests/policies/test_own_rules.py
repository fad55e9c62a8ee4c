"""Rules of one's own: what they are asked, what they may answer, and what is said where they cannot."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError
from altmarl_torch.policies.own_rules import check_rules, own_pairs
from altmarl_torch.policies.rules import heuristic_pairs
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.policies.walkers import WALKERS

GAME = am.games.warehouse(num_zones=3)
RULES = """\
import numpy as np


def mode(s_g, counts):
    return counts.index(max(counts))


def law(s_g, counts):
    return [0.25, 0.25, 0.5]


def array(s_g, counts):
    return np.argmax(counts)


def work(s_l, s_g):
    return 0 if s_l == s_g else 1


def lottery(s_l, s_g):
    return [0.5, 0.5, 0]


def beyond(s_g, counts):
    return 3


def words(s_g, counts):
    return "zone 1"


def short(s_g, counts):
    return [0.5, 0.5]


def unlawful(s_g, counts):
    return [0.5, 0.5, 0.5]


def fails(s_g, counts):
    return counts[3]
"""


@pytest.fixture
def file(tmp_path):
    (tmp_path / "mine.py").write_text(RULES)
    return tmp_path / "mine.py"


def pair(file, word, k=4):
    return next(iter(own_pairs(f"{file}:{word}", GAME, k, uniform_local(GAME)).values()))


def test_a_rule_written_anew_is_the_rule(file):
    own, known = pair(file, "mode + walk", k=5), heuristic_pairs(GAME, 5)["mode + walk"]
    assert own.name == "mode + walk"
    played = [am.rollout(GAME, one, episodes=20, horizon=15).returns for one in (own, known)]
    assert torch.equal(*played)


def test_answers_may_be_numbers_arrays_and_laws(file):
    s_g, counts = torch.tensor([0, 1]), torch.tensor([[1, 0, 3], [4, 0, 0]])
    assert pair(file, "mode").rule(s_g, counts).argmax(-1).tolist() == [2, 0]
    assert pair(file, "array").rule(s_g, counts).argmax(-1).tolist() == [2, 0]
    assert pair(file, "law").rule(s_g, counts).tolist() == [[0.25, 0.25, 0.5]] * 2
    assert pair(file, "law").rule(s_g[0], counts[0]).tolist() == [0.25, 0.25, 0.5]


def test_the_local_policy_is_the_learned_one_or_as_said(file):
    assert torch.equal(pair(file, "mode").pi_l, uniform_local(GAME))
    assert pair(file, "mode").name == "mode + learned"
    assert torch.equal(pair(file, "mode + stay").pi_l, WALKERS["stay"](GAME))
    own = pair(file, "mode + work")
    assert own.name == "mode + work"
    assert own.pi_l.argmax(-1).tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert pair(file, "mode+lottery").pi_l[0, 0].tolist() == [0.5, 0.5, 0]


def test_several_stand_with_commas_between(file):
    found = own_pairs(f"{file}:mode, {file}:law + stay", GAME, 2, uniform_local(GAME))
    assert list(found) == ["mode + learned", "law + stay"]
    with pytest.raises(ArgumentError, match="names one pair twice"):
        own_pairs(f"{file}:mode,{file}:mode", GAME, 2, uniform_local(GAME))


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("beyond", r"beyond\(s_g=0, counts=\[4, 0, 0\]\) returned 3; expected an action in 0..2, or a law of 3"),
        ("words", "returned 'zone 1'; expected"),
        ("short", r"returned \[0.5, 0.5\]; expected"),
        ("unlawful", "sums to 1.5"),
        ("fails", "mine.py, line 41: IndexError"),
        ("absent", "has no function absent; it has mode, law, array"),
        ("mode + absent", "has no function absent"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_learned(file, word, message):
    with pytest.raises(ArgumentError, match=message):
        check_rules(f"{file}:{word}", GAME, 4)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="no such file"):
        check_rules(f"{tmp_path}/none.py:f", GAME, 4)
    with pytest.raises(ArgumentError, match="is no function in a file"):
        check_rules("hold + walk", GAME, 4)
