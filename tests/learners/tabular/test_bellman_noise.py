"""The measured Bellman noise: its size, its rate, and where there is none."""

import pytest
import torch
from oracles.surrogate import global_best_response

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, steer
from altmarl_torch.operators.bellman import draw_next, empirical_adapted_bellman
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.policies.tabular import deterministic_local, uniform_local


def test_it_is_the_distance_of_two_plain_iterations():
    """One set of draws, both fixed points by hundreds of plain sweeps; the exact one by brute force."""
    game, k, m, seed = random_game(2, 2, 2, 2, gamma=0.7, seed=4), 2, 5, 9
    pi_l = uniform_local(game)
    surrogate = Surrogate.build(game, pi_l, PairPlan(am.CountSimplex(k, 2)))
    reward = surrogate_reward(surrogate)
    draws = draw_next(game, surrogate.P_l_pi, surrogate.plan, m, torch.Generator().manual_seed(seed))
    Q = torch.zeros_like(reward)
    for _ in range(200):
        Q = empirical_adapted_bellman(Q, reward, draws, game.gamma)
    expected = float((Q - torch.from_numpy(global_best_response(game, pi_l, k, sweeps=200))).abs().max())
    found = am.bellman_noise(game, pi_l, k, m, seed=seed)
    assert found.samples[0] == pytest.approx(expected, abs=1e-7)
    assert abs(found.samples[0] - expected) <= found.error + 1e-10
    assert found.error <= 1e-7


def test_it_falls_like_the_square_root_of_m():
    """Four times as many draws halve it; sixteen times as many quarter it."""
    game = steer()
    noise = [am.bellman_noise(game, uniform_local(game), 3, m, draws=30).mean for m in (10, 40, 160)]
    assert noise[0] / noise[1] == pytest.approx(2, rel=0.2)
    assert noise[0] / noise[2] == pytest.approx(4, rel=0.25)


def test_there_is_none_where_the_next_state_is_certain():
    step = torch.eye(3, dtype=torch.float64).roll(1, 0)
    game = random_game(3, 3, 3, 1, seed=1).replace(
        P_g=step.unsqueeze(0).expand(3, -1, -1), P_l=step[:, None, None].expand(-1, 3, -1, -1)
    )
    noise = am.bellman_noise(game, deterministic_local(torch.zeros(3, 3, dtype=torch.int64), 1), 3, 2, draws=2)
    assert noise.max <= noise.error


def test_sets_of_draws_are_independent_and_reproducible():
    game = steer()
    first = am.bellman_noise(game, uniform_local(game), 2, 10, seed=3, draws=4)
    assert first == am.bellman_noise(game, uniform_local(game), 2, 10, seed=3, draws=4)
    assert len(set(first.samples)) == 4
    assert first.max == max(first.samples)
    assert first.mean == pytest.approx(sum(first.samples) / 4)
    assert (first.k, first.m) == (2, 10)


@pytest.mark.parametrize(
    ("bad", "word"), [({"m": 0}, "m"), ({"draws": 0}, "draws"), ({"k": 101}, "k"), ({"seed": -1}, "seed")]
)
def test_arguments_out_of_range_are_refused(bad, word):
    game = steer()
    with pytest.raises(am.ArgumentError, match=word):
        am.bellman_noise(game, uniform_local(game), **{"k": 2, "m": 3} | bad)
