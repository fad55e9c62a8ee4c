"""The operators: special cases, both parameterizations, contraction, bounds, and the sampled against the exact."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.surrogate import global_best_response

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.tuples import list_tuples, tuples_to_counts
from altmarl_torch.games import random_game, steer, ware
from altmarl_torch.operators import surrogate as surrogate_module
from altmarl_torch.operators.bellman import (
    action_values,
    adapted_bellman,
    draw_next,
    empirical_adapted_bellman,
    max_backup,
    next_sg_law,
    policy_backup,
    pull_values,
    push_law,
)
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.operators.tuples import adapted_bellman_tuples, draw_next_tuples, tuple_reward, uses_tuples
from altmarl_torch.policies.tabular import greedy, uniform_local

GAMES = st.builds(
    random_game,
    num_sg=st.integers(1, 3),
    num_sl=st.integers(1, 3),
    num_ag=st.integers(1, 3),
    num_al=st.integers(1, 2),
    gamma=st.sampled_from([0.0, 0.5, 0.9]),
    seed=st.integers(0, 10**6),
)


def surrogate_of(game, k):
    return Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(k, game.num_sl)))


def random_q(surrogate, seed, scale=1.0):
    shape = surrogate_reward(surrogate).shape
    return scale * torch.rand(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def iterate(surrogate, sweeps):
    Q = torch.zeros_like(surrogate_reward(surrogate))
    for _ in range(sweeps):
        Q = adapted_bellman(Q, surrogate)
    return Q


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("game", [steer(), ware()], ids=lambda game: game.name)
def test_the_fixed_point_is_that_of_brute_force(game, k):
    surrogate = surrogate_of(game, k)
    expected = global_best_response(game, uniform_local(game), k, sweeps=150)
    np.testing.assert_allclose(iterate(surrogate, 150).numpy(), expected, rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(GAMES, st.integers(1, 4), st.integers(0, 99))
def test_tuples_and_counts_give_the_same_q(game, k, seed):
    surrogate = surrogate_of(game, k)
    folding = surrogate.simplex.rank(tuples_to_counts(list_tuples(k, game.num_sl), game.num_sl))
    Q, reward = random_q(surrogate, seed), tuple_reward(game, surrogate.r_l_pi, k)
    on_tuples = adapted_bellman_tuples(Q[:, folding], reward, game, surrogate.P_l_pi, k)
    torch.testing.assert_close(on_tuples, adapted_bellman(Q, surrogate)[:, folding], rtol=0, atol=1e-12)


@settings(max_examples=25, deadline=None)
@given(GAMES, st.integers(1, 4), st.integers(0, 99))
def test_lemma_b6_contraction_and_constants(game, k, seed):
    surrogate = surrogate_of(game, k)
    one, two = random_q(surrogate, seed), random_q(surrogate, seed + 1, scale=5.0)
    apart = (adapted_bellman(one, surrogate) - adapted_bellman(two, surrogate)).abs().max()
    assert float(apart) <= game.gamma * float((one - two).abs().max()) + 1e-12
    torch.testing.assert_close(adapted_bellman(one + 3, surrogate), adapted_bellman(one, surrogate) + 3 * game.gamma)


@settings(max_examples=25, deadline=None)
@given(GAMES, st.integers(1, 3), st.integers(0, 99))
def test_lemma_b7_contraction_of_the_sampled_operator(game, k, seed):
    surrogate, generator = surrogate_of(game, k), torch.Generator().manual_seed(seed)
    draws = draw_next(game, surrogate.P_l_pi, surrogate.plan, 3, generator)
    one, two, reward = random_q(surrogate, seed), random_q(surrogate, seed + 1), surrogate_reward(surrogate)
    apart = [empirical_adapted_bellman(Q, reward, draws, game.gamma) for Q in (one, two)]
    assert float((apart[0] - apart[1]).abs().max()) <= game.gamma * float((one - two).abs().max()) + 1e-12


@settings(max_examples=25, deadline=None)
@given(GAMES, st.integers(1, 4), st.integers(0, 12))
def test_lemma_b4_iterates_stay_below_v_max(game, k, sweeps):
    Q = iterate(surrogate_of(game, k), sweeps)
    assert float(Q.min()) >= 0
    assert float(Q.max()) <= game.v_max + 1e-9


def lipschitz_excess(game, k, other_k, sweeps):
    """The largest |Q_k(h) - Q_k'(h')| - (sum_t 2 gamma^t) |r_l| TV(h/k, h'/k') of the T-th iterates: Theorem B.18."""
    one, two = surrogate_of(game, k), surrogate_of(game, other_k)
    apart = (iterate(one, sweeps)[:, :, None] - iterate(two, sweeps)[:, None]).abs().amax((0, 3))
    variation = (one.simplex.frequencies[:, None] - two.simplex.frequencies[None]).abs().sum(-1) / 2
    constant = sum(2 * game.gamma**t for t in range(sweeps)) * game.r_l_max
    return float((apart - constant * variation).max())


@settings(max_examples=25, deadline=None)
@given(GAMES, st.integers(1, 4), st.integers(0, 10))
def test_theorem_b18_lipschitz_in_the_histogram(game, k, sweeps):
    """For one sample size: couple the agents, and as many as differ now differ later."""
    assert lipschitz_excess(game, k, k, sweeps) <= 1e-10


def test_theorem_b18_is_false_across_sample_sizes():
    """k = 1 and k = 2 agents in one state have equal histograms now, and other laws of the next: the bound is zero."""
    game = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=1, gamma=0.5, seed=129)
    assert lipschitz_excess(game, 1, 2, sweeps=3) > 5e-4


def test_gamma_zero_gives_the_reward():
    surrogate = surrogate_of(steer(gamma=0.0), 3)
    torch.testing.assert_close(adapted_bellman(random_q(surrogate, 0), surrogate), surrogate_reward(surrogate))


def test_one_agent_is_an_ordinary_mdp():
    """k = 1: counts are one-hot and Q(s_g, z, a) solves the MDP on (s_g, z)."""
    game = ware()
    surrogate = surrogate_of(game, 1)
    P, r = game.induced(uniform_local(game))
    Q = torch.zeros_like(surrogate_reward(surrogate))
    for _ in range(5):
        expected = torch.einsum("gaG,lgL,GL->gla", game.P_g, P, Q.amax(-1))
        mdp = game.r_g[:, None] + r.T[:, :, None] + game.gamma * expected
        Q = adapted_bellman(Q, surrogate)
        torch.testing.assert_close(Q, mdp)


def test_backups_of_values_are_those_of_q():
    surrogate = surrogate_of(ware(), 3)
    Q = random_q(surrogate, 1)
    pi_g, following = greedy(Q), adapted_bellman(Q, surrogate)
    torch.testing.assert_close(max_backup(surrogate, Q.amax(-1)), following.amax(-1))
    torch.testing.assert_close(policy_backup(surrogate, pi_g, Q.amax(-1)), (pi_g * following).sum(-1))


@pytest.mark.parametrize("form", ["counts", "tuples"])
def test_the_mean_of_the_sampled_operator_is_the_exact_one(form):
    """400 independent operators with m = 10: their mean is within 4.5 standard errors of T-hat_k at every entry."""
    game, k, generator = ware(), 2, torch.Generator().manual_seed(0)
    surrogate = surrogate_of(game, k)
    Q = random_q(surrogate, 2)
    if form == "counts":
        exact, reward = adapted_bellman(Q, surrogate), surrogate_reward(surrogate)
        draws = [draw_next(game, surrogate.P_l_pi, surrogate.plan, 10, generator) for _ in range(400)]
    else:
        folding = surrogate.simplex.rank(tuples_to_counts(list_tuples(k, game.num_sl), game.num_sl))
        Q, reward = Q[:, folding], tuple_reward(game, surrogate.r_l_pi, k)
        exact = adapted_bellman_tuples(Q, reward, game, surrogate.P_l_pi, k)
        draws = [draw_next_tuples(game, surrogate.P_l_pi, k, 10, generator) for _ in range(400)]
    sampled = torch.stack([empirical_adapted_bellman(Q, reward, draw, game.gamma) for draw in draws])
    error = sampled.std(0) / 20
    assert bool(((sampled.mean(0) - exact).abs() <= 4.5 * error + 1e-12).all())
    assert float((sampled[0] - exact).abs().max()) > 0


@pytest.mark.parametrize(
    ("num_sl", "k", "tuples"), [(5, 1, True), (5, 7, True), (5, 8, False), (2, 2, True), (2, 7, False)]
)
def test_the_switch_rule(num_sl, k, tuples):
    assert uses_tuples(num_sl, k) is tuples


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_small_kernels_are_applied_together(monkeypatch, dtype):
    """One product for all s_g gives what one for each of them gives; larger tables and other kernels have no table."""
    together, alone = surrogate_of(random_game(3, 3, seed=5), 6), surrogate_of(random_game(3, 3, seed=5), 6)
    monkeypatch.setattr(surrogate_module, "PREFERRED_DENSE", 0)
    assert alone.dense(dtype) is None
    monkeypatch.undo()
    assert together.dense(dtype).shape == (3, 28, 28)
    generator = torch.Generator().manual_seed(0)
    values, law = (torch.rand(3, 28, dtype=dtype, generator=generator) for _ in range(2))
    pi_g = torch.rand(3, 28, together.game.num_ag, dtype=dtype, generator=generator)
    to_sg = next_sg_law(together, pi_g)
    for apply in (
        lambda one: max_backup(one, values),
        lambda one: action_values(one, values),
        lambda one: policy_backup(one, pi_g, values),
        lambda one: pull_values(one, to_sg, values),
        lambda one: push_law(one, to_sg, law),
    ):
        torch.testing.assert_close(apply(together), apply(alone))
    assert surrogate_of(random_game(2, 3, seed=5), 30).dense(dtype) is None
