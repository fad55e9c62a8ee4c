"""Gaps of pairs in a simulator, found by deviations: a gap of known size, and what cannot be known."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.simulators.pairs import MixedPair


def still(pay_g, pay_l):
    """A game in which nothing moves: each player's action earns its number."""
    return am.SimulatedGame(
        start=lambda e, n, g: (torch.zeros(e, 1), torch.zeros(e, n, 1)),
        move_g=lambda s, a, g: s,
        move_l=lambda s, sg, a, g: s,
        r_g=lambda s, a: pay_g * a.float(),
        r_l=lambda s, sg, a: pay_l * a.float(),
        global_state=am.Box(0, 1),
        local_state=am.Box(0, 1),
        global_action=am.Discrete(3),
        local_action=am.Discrete(4),
        gamma=0.5,
        n=5,
    )


def always(k, a_g, a_l):
    def rule(action):
        return lambda states, other: torch.full(states.shape[:-1], action)

    return am.simulators.RulePair(k, rule(a_g), rule(a_l))


def test_the_best_constants_are_found_and_their_gains_are_known():
    game = still(2.0, 3.0)
    gaps = am.rollout_gaps(game, always(2, 0, 1), episodes=8, horizon=3)
    assert (gaps.global_gap.deviation, gaps.local_gap.deviation) == ("always 2", "always 3")
    assert gaps.global_gap.lower == pytest.approx(4 * 1.75)
    assert gaps.local_gap.lower == pytest.approx(6 * 1.75)
    best = am.rollout_gaps(game, always(2, 2, 3), episodes=8, horizon=3)
    assert (best.global_gap.lower, best.local_gap.lower) == (0, 0)


def test_rules_of_the_zones_are_tried_and_tables_are_bounded_as_before():
    game = am.games.continuous_warehouse(n=30)
    gaps = am.rollout_gaps(game, am.simulators.uniform_pair(game, 4), episodes=60, horizon=20)
    assert {"hold", "mode", "sticky", "uniform", "always 4"} <= set(gaps.global_gap.tried)
    assert {"walk", "uniform", "always 2"} <= set(gaps.local_gap.tried)
    assert gaps.global_gap.lower > 0
    steer = am.games.steer(n=5)
    assert am.rollout_gaps(steer, am.solve(steer, 2), episodes=20).k == 2


def test_continuous_actions_have_ends_and_a_middle():
    game = still(0.0, 0.0).replace(
        local_action=am.Box(-1, 3), global_action=am.Box(0, float("inf")),
        r_g=lambda s, a: -a.squeeze(-1), r_l=lambda s, sg, a: a.squeeze(-1),
    )  # fmt: skip
    uniform = am.simulators.uniform_pair(game, 2)
    gaps = am.rollout_gaps(game, uniform, episodes=8, horizon=2)
    assert gaps.local_gap.deviation == "always the highest"
    assert gaps.global_gap.deviation == "always 0"


def test_two_pairs_are_compared_on_the_same_episodes():
    game = still(2.0, 3.0)
    mixed = MixedPair(always(2, 1, 0), always(2, 0, 1))
    difference = am.paired_difference(game, mixed, always(2, 0, 0), episodes=4, horizon=2)
    assert difference.mean == pytest.approx(5 * 1.5)
    assert difference.sem == 0
