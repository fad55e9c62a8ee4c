"""G-LEARN reaches the same best response by every road, with the error it states."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.surrogate import global_best_response

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, ware, warehouse
from altmarl_torch.games.named.toys import beacon, beacon_value
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, table
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import approx_value, g_learn, l_learn
from altmarl_torch.theory import sweeps_algorithm_3

LEARNED_ROWS = [[0, 2, 1, 1, 1], [1, 0, 2, 1, 1], [1, 1, 0, 2, 1], [1, 1, 1, 0, 2], [2, 1, 1, 1, 0]]
"""pi_l of `docs/oracle-values.md` on the warehouse: rows s_g, columns z."""


def surrogate_of(game, k, pi_l=None):
    return Surrogate.build(
        game, uniform_local(game) if pi_l is None else pi_l, PairPlan(am.CountSimplex(k, game.num_sl))
    )


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from(["paper", "auto", "tuples", "counts"]))
def test_q_is_within_its_error_of_brute_force(seed, k, parameterization):
    game = random_game(seed=seed)
    found = g_learn(surrogate_of(game, k), parameterization=parameterization)
    exact = global_best_response(game, uniform_local(game), k, sweeps=400)
    assert np.abs(found.Q.numpy() - exact).max() <= found.error + 1e-9
    torch.testing.assert_close(found.values, approx_value(found.pi_g, found.Q))


def test_the_papers_schedule_is_carried_out_and_within_its_bound():
    """T = 2/(1-gamma) log(r~ sqrt(k)/(1-gamma)) sweeps from zero leave at most gamma^T V_max (Corollary B.11)."""
    game = ware()
    surrogate, exact = surrogate_of(game, 3), global_best_response(game, uniform_local(game), 3, sweeps=400)
    counted = []
    found = g_learn(surrogate, sweeps="paper", progress=lambda sweep, error: counted.append(sweep))
    assert found.sweeps == sweeps_algorithm_3(game, 3) == len(counted) + 1
    assert np.abs(found.Q.numpy() - exact).max() <= game.gamma**found.sweeps * game.v_max


def test_a_count_of_sweeps_gives_that_iterate():
    surrogate = surrogate_of(ware(), 2)
    one = g_learn(surrogate, sweeps=1, parameterization="counts").Q
    torch.testing.assert_close(one, surrogate.game.r_g[:, None] + surrogate.local_reward[:, :, None])


@pytest.mark.parametrize("parameterization", ["tuples", "counts"])
def test_the_sampled_operator_comes_near_and_repeats_with_its_seed(parameterization):
    surrogate = surrogate_of(ware(), 2)
    exact = g_learn(surrogate).Q

    def sample(m, seed):
        generator = torch.Generator().manual_seed(seed)
        return g_learn(surrogate, m=m, generator=generator, parameterization=parameterization).Q

    assert torch.equal(sample(30, 1), sample(30, 1))
    assert not torch.equal(sample(30, 1), sample(30, 2))
    noise = [float((sample(m, 0) - exact).abs().max()) for m in (30, 3000)]
    assert noise[1] < noise[0] / 4
    assert noise[1] < 0.05 * float(exact.max())


def test_sampling_needs_a_generator():
    with pytest.raises(am.ArgumentError, match="generator"):
        g_learn(surrogate_of(ware(), 2), m=3)


def test_the_coarse_start_changes_the_way_and_not_the_answer():
    game = warehouse()
    surrogate = surrogate_of(game, 11)
    coarse = g_learn(surrogate)
    cold = g_learn(surrogate, start=surrogate.start)
    assert coarse.sweeps < cold.sweeps
    assert float((coarse.values - cold.values).abs().max()) <= coarse.error + cold.error
    assert torch.equal(coarse.pi_g, cold.pi_g)


@pytest.mark.parametrize(("k", "value"), [(2, 193.036), (5, 177.945), (10, 173.005), (20, 170.832)])
def test_the_known_surrogate_values_on_the_warehouse(k, value):
    """Averaged over all (s_g, h) with equal weight, prototype accuracy +-0.003."""
    pi_l = deterministic_local(torch.tensor(LEARNED_ROWS).T, 3)
    surrogate = surrogate_of(warehouse(), k, pi_l)
    found = g_learn(surrogate)
    assert float(found.values.mean()) == pytest.approx(value, abs=0.003)
    assert float(joint_value(surrogate, found.pi_g, start=found.values).values.mean()) == pytest.approx(
        value, abs=0.003
    )


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_the_hand_solved_game_is_solved(k):
    """Beacon: against a dispatcher that stands still, L-LEARN walks; G-LEARN then has the value derived on paper."""
    game = beacon()
    plan = PairPlan(am.CountSimplex(k, game.num_sl))
    pi_g = table(game, RULES["hold"](game), plan.simplex)
    pi_l = l_learn(game, pi_g, uniform_local(game), plan).pi_l
    values = g_learn(Surrogate.build(game, pi_l, plan)).values
    torch.testing.assert_close(values, beacon_value(plan.simplex.counts), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{"parameterization": "foo"}, {"sweeps": 0}, {"sweeps": -3}, {"sweeps": 1.5}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(am.ArgumentError, match=r"parameterization|sweeps"):
        g_learn(surrogate_of(ware(), 2), **options)


@pytest.mark.parametrize("game", [warehouse(), random_game(4, 4, seed=3)])
def test_the_value_of_the_greedy_pair_comes_with_its_own_bound(game):
    """From G-LEARN's last update, against an evaluation that knows nothing of it; a loose tolerance, a loose bound."""
    surrogate = surrogate_of(game, 9)
    for tolerance in (None, 1e-2 * game.v_max):
        found = g_learn(surrogate, tolerance=tolerance, parameterization="counts")
        exact = joint_value(surrogate, found.pi_g)
        assert float((found.joint.values - exact.values).abs().max()) <= found.joint.error + exact.error
        assert found.joint.mean == pytest.approx(exact.mean, abs=found.joint.error + exact.error)


def test_sampled_operators_do_not_claim_an_exact_value():
    surrogate = surrogate_of(ware(), 2)
    assert g_learn(surrogate, m=3, generator=torch.Generator(), parameterization="counts").joint is None
    assert g_learn(surrogate, parameterization="tuples").joint is None


def test_few_updates_are_left_on_large_tables(monkeypatch):
    """In float32 and float64, with Q kept from the last; the same pair and values as from zero."""
    monkeypatch.setattr("altmarl_torch.operators.fixed_point.LARGE_TABLE", 10_000)
    monkeypatch.setattr("altmarl_torch.learners.tabular.q_operators.LARGE_TABLE", 10_000)
    monkeypatch.setattr("altmarl_torch.learners.tabular.coarse_start.LARGE_TABLE", 10_000)
    surrogate = surrogate_of(warehouse(), 14)
    tolerance = 1e-4 * 283
    found, cold = g_learn(surrogate, tolerance=tolerance), g_learn(surrogate, start=surrogate.start)
    assert found.sweeps <= 8 < cold.sweeps
    assert float((found.Q - cold.Q).abs().max()) <= found.error + cold.error
    assert abs(found.joint.mean - joint_value(surrogate, found.pi_g).mean) <= 2 * found.joint.error
    torch.testing.assert_close(found.values, approx_value(found.pi_g, found.Q))


@pytest.mark.parametrize(("num_sl", "k"), [(1, 5), (2, 1500), (2, 3), (12, 4), (14, 2)])
def test_levels_fit_every_size(num_sl, k, monkeypatch):
    """One state; two, where a level is k + 1 counts; so many that two agents, or one, are the coarsest."""
    monkeypatch.setattr("altmarl_torch.learners.tabular.coarse_start.COARSEST", 100)
    game = random_game(2, num_sl, seed=5, n=2000)
    surrogate = surrogate_of(game, k)
    found = g_learn(surrogate, parameterization="counts")
    cold = g_learn(surrogate, start=surrogate.start, parameterization="counts")
    assert float((found.values - cold.values).abs().max()) <= found.error + cold.error


def test_the_number_of_threads_changes_no_bit():
    """A table that is large enough to be shared between threads, from coarse to fine, and its pair's value."""
    game, threads, found = warehouse(), torch.get_num_threads(), []
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(15, 5)))
            answer = g_learn(surrogate, tolerance=0.1, parameterization="counts")
            found.append((answer.Q, joint_value(surrogate, answer.pi_g, tolerance=0.1).values))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
