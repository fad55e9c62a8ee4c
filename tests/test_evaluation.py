"""Joint values against brute force, by both ways of solving; occupancies against values."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles import joint_value as brute_force_value

import altmarl_torch as am
from altmarl_torch import evaluation
from altmarl_torch.bellman import Surrogate, surrogate_reward
from altmarl_torch.evaluation import joint_value, occupancy
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.heuristics import RULES, table
from altmarl_torch.pair_moves import PairPlan
from altmarl_torch.policies import uniform_local


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
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation, "DIRECT", 0)
        iterated = joint_value(surrogate, pi_g, tolerance=1e-10)
    np.testing.assert_allclose(direct.values, expected, rtol=0, atol=1e-11)
    np.testing.assert_allclose(iterated.values, expected, rtol=0, atol=1e-9)
    assert direct.sweeps == 0 < iterated.sweeps


def test_the_notes_uniform_local_policy_on_steer():
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
