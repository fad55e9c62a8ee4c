"""Assumption E.1: periods, stationary laws and mixing times that are known, exactly and from data."""

import itertools

import numpy as np
import pytest
import torch
from oracles.data import one_trajectory

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.offline.behaviour import Behaviour, collect
from altmarl_torch.offline.coverage import coverage_of_data, coverage_of_game, examine
from altmarl_torch.policies.rules import heuristic_pair


def cycle(length):
    return np.roll(np.eye(length), 1, axis=1)


def test_two_states_have_a_known_law_and_mixing_time():
    """P = [[1-a, a], [b, 1-b]]: mu = (b, a)/(a+b), and the distance after t steps is max(mu) |1-a-b|^t."""
    a, b = 0.1, 0.2
    chain = examine(np.array([[1 - a, a], [b, 1 - b]]), 0.01)
    assert chain.mu == pytest.approx([2 / 3, 1 / 3])
    assert (chain.classes, chain.period) == (1, 1)
    assert chain.mixing_steps == next(t for t in itertools.count() if 2 / 3 * 0.7**t <= 0.01)


@pytest.mark.parametrize("length", [2, 3, 7])
def test_a_cycle_has_its_period_and_never_mixes(length):
    chain = examine(cycle(length))
    assert (chain.classes, chain.period, chain.mixing_steps) == (1, length, None)
    assert chain.mu == pytest.approx(np.full(length, 1 / length))


def test_a_cycle_with_a_shortcut_is_aperiodic():
    P = cycle(5)
    P[3] = [0.5, 0, 0, 0, 0.5]  # back after 4 steps or after 5
    assert examine(P).period == 1
    P = cycle(6)
    P[3] = [0.5, 0, 0, 0, 0.5, 0]  # after 4 or 6
    assert examine(P).period == 2


@pytest.mark.parametrize("delta", [0.4, 0.1, 1e-3, 1e-8])
def test_mixing_times_are_those_of_powers_one_by_one(delta):
    P = np.random.default_rng(1).dirichlet(np.full(5, 0.3), size=5)
    chain = examine(0.9 * np.eye(5) + 0.1 * P, delta)
    matrix, power = 0.9 * np.eye(5) + 0.1 * P, np.eye(5)
    steps = 0
    while np.abs(power - chain.mu).sum(-1).max() / 2 > delta:
        steps, power = steps + 1, power @ matrix
    assert chain.mixing_steps == steps
    assert chain.mu @ matrix == pytest.approx(chain.mu)


def test_one_state_is_mixed_and_two_islands_are_not_irreducible():
    one = examine(np.ones((1, 1)))
    assert (one.classes, one.period, one.mixing_steps) == (1, 1, 0)
    islands = examine(np.eye(3))
    assert (islands.classes, islands.period, islands.mu, islands.mixing_steps) == (3, None, None, None)


def test_the_chain_of_counts_is_that_of_tuples_folded():
    """mu(s_g, h) summed from the stationary law of (s_g, s_1, s_2), written down agent by agent."""
    game, k = am.games.random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, seed=4), 2
    pair = heuristic_pair(game, k, "mode", "walk")
    behaviour = Behaviour.of(game, k, pair, 0.3)
    simplex = am.CountSimplex(k, 2)
    P_l_pi = game.induced(behaviour.pi_l).P_l_pi.numpy()
    places = list(itertools.product(range(2), range(2), range(2)))
    ranks = [int(simplex.rank(torch.tensor([2 - x - y, x + y]))) for _, x, y in places]
    P = np.zeros((8, 8))
    for i, (sg, x, y) in enumerate(places):
        to_sg = behaviour.pi_g[sg, ranks[i]].numpy() @ game.P_g[sg].numpy()
        for j, (sg_next, x_next, y_next) in enumerate(places):
            P[i, j] = to_sg[sg_next] * P_l_pi[x, sg, x_next] * P_l_pi[y, sg, y_next]
    tuples = examine(P)
    found = coverage_of_game(game, k, behaviour=pair, explore=0.3)
    folded = np.bincount([sg * simplex.size + h for (sg, _, _), h in zip(places, ranks, strict=True)], tuples.mu)
    assert found.chain.mu == pytest.approx(folded)
    assert found.chain.mixing_steps <= tuples.mixing_steps
    assert found.satisfied
    assert found.least_action == pytest.approx(0.15)
    assert found.mu_min == pytest.approx((folded[:, None] * behaviour.pi_g.flatten(0, 1).numpy()).min())


def test_what_is_never_tried_is_a_problem():
    game = am.games.steer()
    pair = heuristic_pair(game, 2, "hold", "walk")
    found = coverage_of_game(game, 2, behaviour=pair)
    assert not found.satisfied
    assert "an action is never tried somewhere" in found.problems
    assert coverage_of_game(game, 2, behaviour=pair, explore=0.1).satisfied
    assert "verdict     holds" in coverage_of_game(game, 2).text()


def test_data_tell_what_the_game_knows():
    game = am.games.steer()
    exact = coverage_of_game(game, 2)
    seen = coverage_of_data(collect(game, 2, steps=20_000, trajectories=2, seed=3))
    assert seen.satisfied
    assert seen.visited == exact.states == 6
    assert seen.chain.mu == pytest.approx(exact.chain.mu, abs=0.02)
    assert seen.chain.mixing_steps == exact.chain.mixing_steps
    assert int(seen.visits.sum()) == seen.steps == 40_000
    assert "nothing seen speaks against it" in seen.text()


def test_data_of_a_walk_round_a_cycle():
    """s_g goes 0, 1, 2, 0, ... whatever is done: period 3, and the other action was never tried."""
    data = one_trajectory(np.arange(31) % 3, n=1, num_sg=4, num_ag=2)
    found = coverage_of_data(data)
    assert (found.chain.classes, found.chain.period, found.visited, found.states) == (1, 3, 3, 4)
    assert found.problems == [
        "1 of 4 states (s_g, h) were never left",
        "an action was never tried somewhere",
        "the chain has period 3",
    ]
    assert found.visits[:, 0].tolist() == [[10, 0], [10, 0], [10, 0], [0, 0]]


def test_a_trajectory_that_comes_nowhere_twice_has_as_many_classes_as_states():
    data = one_trajectory(np.arange(4), n=1, num_sg=4)
    found = coverage_of_data(data)
    assert (found.chain.classes, found.visited, found.mu_min) == (3, 3, None)
    assert "not irreducible" in found.text()


def test_what_cannot_be_checked_is_refused_in_words():
    game = am.games.steer()
    with pytest.raises(ArgumentError, match=r"delta must be a number in \(0, 1\)"):
        coverage_of_game(game, 2, delta=0.0)
    with pytest.raises(SizeError, match="at most 2,000: use coverage_of_data"):
        coverage_of_game(am.games.warehouse(), 20)
    with pytest.raises(ArgumentError, match="data must be a Trajectories, not Game"):
        coverage_of_data(game)
    with pytest.raises(ArgumentError, match="game must be a Game"):
        coverage_of_game("steer", 2)
