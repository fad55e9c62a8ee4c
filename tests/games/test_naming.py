"""Names of states and actions: what they may be, where they are kept, and what equal names say."""

import dataclasses

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.errors import GameError
from altmarl_torch.games.naming import NAMES
from altmarl_torch.policies.rules import heuristic_pairs

GAME = am.games.random_game(3, 3, 3, 2)
WORDS = {"sg_names": ["calm", "busy", "late"], "sl_names": ["idle", "out", "home"], "al_names": ["wait", "go"]}


def test_names_are_kept_and_read_back(tmp_path):
    game = GAME.replace(**WORDS)
    assert game.sl_names == ("idle", "out", "home")
    assert game.ag_names is None
    assert [game.name_of("sl", 2), game.name_of("ag", 2)] == ["home", "2"]
    game.save(tmp_path / "game.npz")
    assert am.Game.load(tmp_path / "game.npz").names == game.names
    GAME.save(tmp_path / "plain.npz")
    assert am.Game.load(tmp_path / "plain.npz").names == {}


@pytest.mark.parametrize("name", am.games.names())
def test_every_named_game_keeps_its_names(name, tmp_path):
    game = am.games.make(name)
    game.save(tmp_path / "game.npz")
    assert am.Game.load(tmp_path / "game.npz").names == game.names
    assert game.to("cpu").names == game.names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a", "b"], "sl_names has 2 names, but there are 3"),
        (["a", "b", "a"], "sl_names has 'a' twice, at 0 and 2"),
        (["a", "", "c"], r"sl_names\[1\] must be 1 to 60 printable characters"),
        (["a", "b", "c\n"], r"sl_names\[2\] must be"),
        ("abc", "sl_names must be a list of 3 names"),
        ([0, 1, 2], "sl_names must be a list of 3 names"),
    ],
)
def test_names_that_are_none_are_refused(names, message):
    with pytest.raises(GameError, match=message):
        GAME.replace(sl_names=names)


def test_a_set_of_another_size_loses_its_names():
    other = am.games.random_game(3, 4, 3, 2)
    game = GAME.replace(**WORDS).replace(P_l=other.P_l, r_l=other.r_l, initial=other.initial)
    assert game.sl_names is None
    assert game.sg_names == ("calm", "busy", "late")


def test_types_share_the_names_of_their_states():
    game = am.games.two_speed_warehouse()
    assert game.sl_names == ("zone 0", "zone 1", "zone 2")
    assert game.name_of("sl", 4) == "zone 1, type 1"
    assert game.has_places
    plain = am.games.warehouse(num_zones=3)
    mixed = am.with_types([plain, plain.replace(al_names=["rest", "left", "right"])], [0.5, 0.5])
    assert mixed.al_names is None  # the types' names differ


def test_from_functions_takes_names():
    game = am.Game.from_functions(
        P_g=lambda g, a: [0.5, 0.5], P_l=lambda z, g, a: [1.0], r_g=lambda g, a: 0, r_l=lambda z, g, a: 0,
        num_sg=2, num_sl=1, num_ag=1, num_al=1, gamma=0.5, n=2, sg_names=["day", "night"],
    )  # fmt: skip
    assert game.sg_names == ("day", "night")


class TestPlaces:
    def test_equal_sizes_say_nothing(self):
        assert not GAME.has_places
        assert am.rollout(GAME, heuristic_pairs(GAME, 2)["hold + greedy"], episodes=3).mode_accuracy is None

    def test_equal_names_say_that_states_are_places(self):
        zones = ["here", "there", "away"]
        game = GAME.replace(sg_names=zones, sl_names=zones, ag_names=zones)
        assert game.has_places
        pairs = heuristic_pairs(game, 2)
        assert am.rollout(game, pairs["mode + walk"], episodes=3).mode_accuracy is not None
        only_actions = game.replace(sg_names=None)
        assert (only_actions.actions_are_states, only_actions.has_places) == (True, False)

    @pytest.mark.parametrize(
        ("name", "places"), [("warehouse", True), ("steer", True), ("beacon", True), ("smart_grid", False)]
    )
    def test_rules_that_read_places_are_for_places(self, name, places):
        game = am.games.make(name)
        assert game.has_places == places
        assert ("mode + walk" in heuristic_pairs(game, 2)) == places
        assert ("greedy + greedy" in heuristic_pairs(game, 2)) != places

    def test_the_greedy_rule_takes_the_best_reward_now(self):
        pair = heuristic_pairs(GAME, 2)["greedy + greedy"]
        s_g = torch.arange(3)
        assert torch.equal(pair.rule(s_g, torch.tensor([[2, 0, 0]] * 3)).argmax(-1), GAME.r_g.argmax(-1))
        assert torch.equal(pair.pi_l.argmax(-1), GAME.r_l.argmax(-1))


def test_the_four_attributes_are_fields_of_a_game():
    assert set(NAMES.values()) <= {field.name for field in dataclasses.fields(am.Game)}


def test_a_dispatcher_speaks_of_states_by_their_names(tmp_path):
    """So does one that was read from a file, and one of networks."""
    game = am.games.steer().replace(sg_names=["calm", "storm"], sl_names=["idle", "busy"])
    solution = am.solve(game, 3)
    solution.save(tmp_path / "policy.npz")
    others = am.Solution.load(tmp_path / "policy.npz"), am.solve(game, 3, solver="lifted")
    for one in (solution, *others):
        act = one.dispatcher().act
        with pytest.raises(am.ArgumentError, match=r"s_g\[batch=0\] is 7; global states are 0\.\.1 \(calm, storm\)"):
            act([7], [[3, 0]])
        with pytest.raises(am.ArgumentError, match=r"counts\[batch=0, sl=1 \(busy\)\] is -1; "):
            act([0], [[4, -1]])
        with pytest.raises(am.ArgumentError, match=r"counts\[batch=0, sl=0 \(idle\)\] is 1\.5 "):
            act([0], [[1.5, 1.5]])
        with pytest.raises(am.ArgumentError, match=r"\[1, 2\] \(idle, busy\), not \[1, 3\]"):
            act([0], [[1, 1, 1]])
        with pytest.raises(am.ArgumentError, match=r"counts has shape \[2\], that is 1 axes; expected 2"):
            act([0], [torch.tensor(1), torch.tensor(2)])
    nameless = am.solve(am.games.random_game(seed=0), 2).dispatcher()
    with pytest.raises(am.ArgumentError, match=r"s_g\[batch=0\] is 7; global states are 0\.\.2$"):
        nameless.act([7], [[2, 0, 0]])
