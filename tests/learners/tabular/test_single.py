"""Single changes of pi_l are passed over only where their exact value does not gain."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.learners.tabular import single
from altmarl_torch.learners.turns import single_changes
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.tabular import g_learn, l_learn


def judged(game, k, margin, prior=None):
    """A pair whose pi_l is nearly a best response, every single change of it, and those that are said to gain."""
    plan = PairPlan(am.CountSimplex(k, game.num_sl))
    first = Surrogate.build(game, uniform_local(game), plan, prior)
    pi_g = g_learn(first).pi_g
    pi_l = l_learn(game, pi_g, uniform_local(game), plan, prior=prior).pi_l
    pi_l[0, 0] = pi_l[0, 0].roll(1)  # so that one change gains
    before = Surrogate.build(game, pi_l, plan, prior)
    value, law = joint_value(before, pi_g, tolerance=1e-11), occupancy(before, pi_g, relative_error=1e-10)
    changes = single_changes(pi_l, torch.zeros_like(pi_l), every=True)
    kept = list(single.gaining(before, pi_g, value.values, law, changes, margin))
    gains = [
        joint_value(Surrogate.build(game, change, plan, prior), pi_g, tolerance=1e-11).mean - value.mean
        for change in changes
    ]
    return [any(change is one for one in kept) for change in changes], gains


@pytest.mark.parametrize("small", [0, 10**6])
@pytest.mark.parametrize("seed", range(6))
def test_just_the_changes_that_gain_are_kept(monkeypatch, seed, small):
    """By factors on small chains, by sweeps on others: both agree with the value of every change."""
    monkeypatch.setattr(single, "FACTORED", small)
    game = warehouse(num_zones=4) if seed == 0 else random_game(3, 3, 2, 3, gamma=0.9, seed=seed)
    kept, gains = judged(game, 1 + seed % 4, margin=1e-6)
    assert any(kept)
    assert kept == [gain > 1e-6 for gain in gains]


@pytest.mark.parametrize("small", [0, 10**6])
def test_under_the_posterior_correction(monkeypatch, small):
    monkeypatch.setattr(single, "FACTORED", small)
    game = random_game(2, 3, 2, 2, gamma=0.9, seed=4)
    kept, gains = judged(game, 3, 1e-6, Prior(torch.full((2, 3), 0.7, dtype=torch.float64), game.n))
    assert any(kept)
    assert kept == [gain > 1e-6 for gain in gains]


def test_a_changed_surrogate_is_that_of_its_policy_and_keeps_the_kernels_of_other_states():
    game = random_game(3, 3, 2, 2, gamma=0.9, seed=1)
    plan, pi_l = PairPlan(am.CountSimplex(4, 3)), uniform_local(game)
    before, changed = Surrogate.build(game, pi_l, plan), pi_l.clone()
    changed[1, 2] = torch.tensor([1.0, 0.0])
    after, afresh = before.changed(changed), Surrogate.build(game, changed, plan)
    assert after.kernels[0] is before.kernels[0]
    assert after.kernels[2] is not before.kernels[2]
    eye = torch.eye(plan.simplex.size, dtype=torch.float64)
    assert torch.equal(after.kernels[2].expect(eye), afresh.kernels[2].expect(eye))
    assert torch.equal(after.local_reward, afresh.local_reward)


@pytest.mark.parametrize("by_levels", [True, False])
@pytest.mark.parametrize("with_prior", [True, False])
def test_what_changes_with_a_row_is_that_of_the_changed_kernel(monkeypatch, by_levels, with_prior):
    """Reward, moves, and the bound on how far the laws of the next counts are apart, of two changes under one s_g."""
    monkeypatch.setattr(single, "prefers_levels", lambda plan: by_levels)
    game = random_game(2, 3, 2, 3, gamma=0.9, seed=5)
    plan, pi_l = PairPlan(am.CountSimplex(4, 3)), uniform_local(game)
    prior = Prior(torch.full((2, 3), 0.7, dtype=torch.float64), game.n) if with_prior else None
    before, policies = Surrogate.build(game, pi_l, plan, prior), [pi_l.clone(), pi_l.clone()]
    policies[0][2, 1], policies[1][0, 1] = torch.tensor([0.0, 0.3, 0.7]), torch.tensor([1.0, 0.0, 0.0])
    found, eye = single._changed(before, 1, policies), torch.eye(plan.simplex.size, dtype=torch.float64)
    columns = eye.unsqueeze(1).expand(-1, 2, -1).contiguous()
    moved = found.moved(columns, before.kernels[1].expect(columns))
    for index, policy in enumerate(policies):
        after = Surrogate.build(game, policy, plan, prior)
        difference = after.kernels[1].expect(eye) - before.kernels[1].expect(eye)
        torch.testing.assert_close(moved[:, index], difference, rtol=0, atol=1e-14)
        torch.testing.assert_close(found.reward[index], after.local_reward[1] - before.local_reward[1])
        assert bool((difference.abs().sum(-1) / 2 <= found.apart[index] + 1e-12).all())
