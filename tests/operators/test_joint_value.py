"""Joint values against brute force, by both ways of solving; occupancies against values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.surrogate import joint_value as brute_force_value

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.policies.rules import RULES, table
from altmarl_torch.policies.tabular import uniform_local


def random_pair(seed, k=3, **sizes):
    game, generator = random_game(seed=seed, **sizes), torch.Generator().manual_seed(seed)
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(k, game.num_sl)))
    pi_g = torch.rand(surrogate_reward(surrogate).shape, dtype=torch.float64, generator=generator)
    return game, surrogate, pi_g / pi_g.sum(-1, keepdim=True)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_direct_iterated_and_brute_force_values_agree(seed):
    game, surrogate, pi_g = random_pair(seed)
    expected = brute_force_value(game, pi_g, uniform_local(game), 3)
    direct = joint_value(surrogate, pi_g)
    iterated = joint_value(surrogate, pi_g, tolerance=1e-10, direct=0)
    np.testing.assert_allclose(direct.values, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(iterated.values, expected, rtol=0, atol=1e-9)
    assert direct.sweeps == 0 < iterated.sweeps


def test_the_known_uniform_local_policy_on_steer():
    """J = 4.281469 = 1.739130 (r_g part) + 2.542339 (own part) at k = 2, gamma .8, dispatcher by mode."""
    game, plan = steer(), PairPlan(am.CountSimplex(2, 2))
    pi_g = table(game, RULES["mode"](game), plan.simplex)
    parts = [
        joint_value(Surrogate.build(part, uniform_local(game), plan), pi_g).mean
        for part in (game, game.replace(r_l=torch.zeros(2, 2, 2)), game.replace(r_g=torch.zeros(2, 2)))
    ]
    assert parts == pytest.approx([4.281469, 1.739130, 2.542339], abs=5e-7)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_occupancy_is_the_adjoint_of_the_value(seed):
    """<d, r_pi> = <rho, V>, and d sums to 1/(1-gamma)."""
    game, surrogate, pi_g = random_pair(seed)
    law = occupancy(surrogate, pi_g, relative_error=1e-12)
    assert float(law.sum()) == pytest.approx(1 / (1 - game.gamma), rel=1e-10)
    reward = (pi_g * surrogate_reward(surrogate)).sum(-1)
    assert float((law * reward).sum()) == pytest.approx(joint_value(surrogate, pi_g).mean, rel=1e-9)


def test_a_start_changes_the_way_and_not_the_value():
    game = warehouse()
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(8, 5)))
    pi_g = table(game, RULES["mode"](game), surrogate.simplex)
    cold = joint_value(surrogate, pi_g)
    warm = joint_value(surrogate, pi_g, start=cold.values)
    assert warm.sweeps < cold.sweeps
    assert warm.mean == pytest.approx(cold.mean, abs=2 * cold.error)
    law = occupancy(surrogate, pi_g, relative_error=1e-9)
    again = occupancy(surrogate, pi_g, relative_error=1e-9, start=law)
    torch.testing.assert_close(again, law, rtol=0, atol=1e-7)


@pytest.mark.parametrize("gamma", [0.9, 0.999999, 1 - 1e-9])
def test_the_error_of_a_direct_solution_holds_near_gamma_one(gamma):
    """Uniform policies on steer: V = V_1 / (1 - gamma) up to a bounded part; the stated error covers the residual."""
    game = steer(gamma=gamma)
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(2, 2)))
    pi_g = table(game, RULES["mode"](game), surrogate.simplex)
    found = joint_value(surrogate, pi_g)
    fixed = game.replace(r_g=torch.ones(2, 2), r_l=torch.zeros(2, 2, 2))  # reward 1 in every state: V = 1/(1-gamma)
    known = joint_value(Surrogate.build(fixed, uniform_local(game), surrogate.plan), pi_g)
    assert found.error < 1e-3 * game.v_max
    assert float((known.values - 1 / (1 - gamma)).abs().max()) <= known.error


def test_sampled_kernels_leave_a_standard_error(monkeypatch):
    """Over forty sets of draws, the stated standard error is that of the values, within a factor of two."""
    from altmarl_torch.counts.kernels import SampledCountKernel

    game, plan = steer(), PairPlan(am.CountSimplex(3, 2))
    exact = Surrogate.build(game, uniform_local(game), plan)
    pi_g, found = table(game, RULES["mode"](game), plan.simplex), []
    for seed in range(40):
        generator = torch.Generator().manual_seed(seed)
        kernels = tuple(SampledCountKernel(exact.P_l_pi[:, s], 3, 50, generator, plan=plan) for s in range(2))
        sampled = Surrogate(game, plan, exact.P_l_pi, exact.r_l_pi, kernels, exact.local_reward)
        found.append(joint_value(sampled, pi_g))
    spread = float(torch.tensor([value.mean for value in found]).std())
    stated = float(torch.tensor([value.standard_error for value in found]).mean())
    assert 0.5 < stated / spread < 2
    assert joint_value(exact, pi_g).standard_error == 0.0


def test_a_policy_of_another_shape_is_refused():
    game = steer()
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(3, 2)))
    with pytest.raises(am.PolicyError, match=r"\[2, 4, 2\]"):
        joint_value(surrogate, torch.ones(2, 3, 2))
