"""Lifted action values against tables: Q, the posterior's resampling, initial means, derivatives, corrected values."""

import math
from dataclasses import replace

import pytest
import torch
from oracles.neural import random_global, random_local

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.resampling import ResamplingKernel
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.learners.lifted import episodes
from altmarl_torch.learners.lifted.episodes import Contender, play
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_best_response, fit_value, proven_error
from altmarl_torch.learners.lifted.judging import judge, laws_at
from altmarl_torch.learners.lifted.l_learn import local_gains
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import visit
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.learners.tabular.l_learn import agent_values
from altmarl_torch.operators.bellman import action_values, next_sg_law
from altmarl_torch.operators.joint_value import gain_error, joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate

GAME = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=40, seed=5)
ALPHA = torch.tensor([[0.4, 1.5, 0.2], [2.0, 0.3, 0.7]], dtype=torch.float64)
K = 6


def both(degree, prior=None, k=K):
    pi_l = random_local(GAME, seed=1)
    simplex = CountSimplex(k, 3)
    table = Surrogate.build(GAME, pi_l, PairPlan(simplex), prior)
    return pi_l, simplex, table, LiftedSurrogate.build(GAME, pi_l, k, Basis(degree, 3), prior)


def rule(pi_g, simplex):
    return lambda s_g, counts: pi_g[s_g, simplex.rank(counts.long())]


@pytest.mark.parametrize("prior", [None, Prior(ALPHA, 40)], ids=["surrogate", "posterior"])
@pytest.mark.parametrize("degree", [1, 3, K])
def test_action_values_of_lifted_values_are_lifted(degree, prior):
    _, simplex, table, lifted = both(degree, prior)
    c = torch.rand(2, lifted.basis.size, dtype=torch.float64)
    features = lifted.features(simplex.counts)
    found = (lifted.action_coefficients(c) @ features.T).mT
    torch.testing.assert_close(found, action_values(table, c @ features.T), rtol=0.0, atol=1e-10)
    assert lifted.initial_mean(c) == pytest.approx(float((table.initial_law * (c @ features.T)).sum()), abs=1e-13)


@pytest.mark.parametrize(("k", "degree", "n"), [(6, 3, 12), (5, 2, 1000), (4, 4, 9), (7, 3, 10**9)])
def test_resampling_stays_in_the_space(k, degree, n):
    basis, simplex, alpha = Basis(degree, 3), CountSimplex(k, 3), ALPHA[0]
    c, features = torch.rand(basis.size, 2, dtype=torch.float64), basis.features(simplex.counts, k)
    wanted = ResamplingKernel(simplex, alpha, n).expect(features @ c)
    found = features @ ResamplingKernel(basis.simplex, alpha, n, k).expect(c)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("prior", [None, Prior(ALPHA, 40)], ids=["surrogate", "posterior"])
@pytest.mark.parametrize("degree", [1, 3, K])
def test_the_derivative_is_that_of_the_tables(degree, prior):
    pi_l, simplex, table, lifted = both(degree, prior)
    pi_g = random_global(GAME, K, seed=2)
    c, features = torch.rand(2, lifted.basis.size, dtype=torch.float64), lifted.features(simplex.counts)
    law = occupancy(table, pi_g, relative_error=1e-12)
    wanted = agent_values(table, pi_g, law, c @ features.T)
    wanted = wanted - (pi_l * wanted).sum(-1, keepdim=True)
    to_sg = next_sg_law(table, pi_g)
    moments = torch.einsum("gh,ghG,hj->gGj", law, to_sg, features)
    torch.testing.assert_close(local_gains(lifted, pi_l, c, moments), wanted, rtol=1e-8, atol=1e-9)


def test_degree_k_is_g_learn():
    _, simplex, table, lifted = both(K)
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    found = fit_best_response(lifted, points)
    wanted = g_learn(table, tolerance=1e-12)
    torch.testing.assert_close(found.coefficients, wanted.values, rtol=0.0, atol=1e-9)
    policy = LiftedPolicy(found.action_coefficients, K, 3, K)
    pi_g = torch.stack([policy(torch.full((simplex.size,), g), simplex.counts) for g in range(2)])
    assert torch.equal(pi_g, wanted.pi_g)
    value = judge([Contender(lifted, policy, found)], points, 0)[0].value
    assert value.mean == pytest.approx(joint_value(table, pi_g).mean, abs=1e-9)
    assert value.error < 1e-9


@pytest.mark.parametrize("prior", [None, Prior(ALPHA, 40)], ids=["surrogate", "posterior"])
def test_corrected_values_have_no_bias_whatever_the_fit(prior):
    _, simplex, table, lifted = both(2, prior)
    pi_g = random_global(GAME, K, seed=4)
    wanted = joint_value(table, pi_g).mean
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    policy = rule(pi_g, simplex)
    good = fit_value(lifted, points, laws_at(policy, points, 2))
    rng = torch.Generator().manual_seed(7)
    poor = good.coefficients + 0.5 * torch.rand(good.coefficients.shape, generator=rng, dtype=torch.float64)
    errors = []
    for coefficients in (good.coefficients, poor):
        fit = LiftedFit(coefficients, lifted.action_coefficients(coefficients), 0.0, 0)
        played = [play([Contender(lifted, policy, fit)], seed, starts=512)[0] for seed in range(8)]
        means = torch.stack([one.corrections.mean() for one in played]) + lifted.initial_mean(coefficients)
        errors.append(float(means.std()) / 8**0.5)
        assert abs(float(means.mean()) - wanted) < 4 * errors[-1] + 0.02 * abs(float(played[0].corrections.mean()))
    assert errors[0] < errors[1]


def test_pairs_side_by_side_are_played_as_alone(monkeypatch):
    """In chunks of pairs or all at once; greedy in Q, whose features are shared, or by a law."""
    _, simplex, _, lifted = both(2)
    other = LiftedSurrogate.build(GAME, random_local(GAME, seed=9), K, lifted.basis)
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    fits = [fit_best_response(one, points) for one in (lifted, other)]
    greedy = [LiftedPolicy(fit.action_coefficients, 2, 3, K) for fit in fits]
    for policies in (greedy, [greedy[0], rule(random_global(GAME, K, seed=2), simplex)]):
        pairs = [Contender(*pair) for pair in zip((lifted, other), policies, fits, strict=True)]
        alone = [play([pair], 3, starts=32)[0] for pair in pairs]
        for entries in (1, 2**17):
            monkeypatch.setattr(episodes, "ENTRIES_AT_ONCE", entries)
            together = play(pairs, 3, starts=32)
            for one, own in zip(together, alone, strict=True):
                torch.testing.assert_close(one.corrections, own.corrections, rtol=0.0, atol=1e-10)
                assert one.residual == pytest.approx(own.residual, abs=1e-12)
            torch.testing.assert_close(together[0].moments, alone[0].moments, rtol=0.0, atol=1e-12)


def test_near_pairs_share_tables_and_are_played_as_alone():
    """Where one pi_l is like another's, Q is taken over to the bit, and its table is read for both."""
    pi_l, _, _, lifted = both(2)
    changed = pi_l.clone()
    changed[1, 0] = changed[1, 0].roll(1)
    near = LiftedSurrogate.build(GAME, changed, K, lifted.basis)
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    fit = fit_best_response(lifted, points)
    Q = near.changed_coefficients(lifted, fit.action_coefficients, fit.coefficients)
    torch.testing.assert_close(Q, near.action_coefficients(fit.coefficients), rtol=0.0, atol=1e-12)
    assert torch.equal(Q[1], fit.action_coefficients[1])
    assert not torch.equal(Q[0], fit.action_coefficients[0])
    policy = LiftedPolicy(fit.action_coefficients, 2, 3, K)
    pairs = [Contender(lifted, policy, fit), Contender(near, policy, replace(fit, action_coefficients=Q))]
    for one, own in zip(play(pairs, 3, starts=32), [play([pair], 3, starts=32)[0] for pair in pairs], strict=True):
        torch.testing.assert_close(one.corrections, own.corrections, rtol=0.0, atol=1e-10)


def test_a_lifted_policy_is_read_at_all_points_as_at_each():
    _, _, _, lifted = both(2)
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    policy = LiftedPolicy(fit_best_response(lifted, points).action_coefficients, 2, 3, K)
    assert torch.equal(laws_at(policy, points, 2), laws_at(lambda s_g, counts: policy(s_g, counts), points, 2))


def test_differences_of_near_policies_are_known_better_than_values():
    """Agents move by numbers of their own, so episodes part only where the policies act differently."""
    game = warehouse()
    surrogate = LiftedSurrogate.build(game, game.P_l.new_full((5, 5, 3), 1 / 3), 30, Basis(4, 5))
    points = Points.draw(surrogate.basis, 30, torch.Generator().manual_seed(0))
    fit = fit_best_response(surrogate, points)
    near = fit.action_coefficients.clone()
    near[:, 0] += 0.02
    policies = [LiftedPolicy(table, 4, 5, 30) for table in (fit.action_coefficients, near)]
    values = [one.value for one in judge([Contender(surrogate, policy, fit) for policy in policies], points, 0)]
    assert 0 < gain_error(*values, of_mean=True) < 0.2 * values[0].standard_error


def test_moments_are_those_of_the_occupancy():
    _, simplex, table, lifted = both(2)
    pi_g = random_global(GAME, K, seed=4)
    c = torch.zeros(2, lifted.basis.size, dtype=torch.float64)
    fit = LiftedFit(c, lifted.action_coefficients(c), 0.0, 0)
    played = play([Contender(lifted, rule(pi_g, simplex), fit)], 1, starts=4096)[0]
    law, features = occupancy(table, pi_g), lifted.features(simplex.counts)
    wanted = torch.einsum("gh,ghG,hj->gGj", law, next_sg_law(table, pi_g), features)
    share, found = wanted / wanted.sum(), played.moments / played.moments.sum()
    assert float((share - found).abs().sum()) < 0.08


def test_the_bound_of_one_exact_sweep_holds():
    pi_l, simplex, table, lifted = both(3)
    points = Points.draw(lifted.basis, K, torch.Generator().manual_seed(0))
    fit = fit_best_response(lifted, points)
    bound = proven_error(lifted, pi_l, fit)
    values = (fit.action_coefficients @ lifted.features(simplex.counts).T).amax(1)
    off = values - g_learn(table, tolerance=1e-10).values
    assert float(off.max() - off.min()) / 2 <= bound + 1e-9


def test_visits_are_counts_of_k_agents():
    _, simplex, _, lifted = both(2)
    met = visit(lifted, rule(random_global(GAME, K), simplex), 0, 100)
    assert met.shape == (100, 3)
    assert bool((met.sum(-1) == K).all())
    assert torch.equal(met, visit(lifted, rule(random_global(GAME, K), simplex), 0, 100))
    for k in (10**6, math.inf):
        many = LiftedSurrogate.build(GAME, random_local(GAME), k, Basis(2, 3))
        total = visit(many, lambda s_g, counts: torch.full((len(s_g), 2), 0.5, dtype=torch.float64), 0, 50).sum(-1)
        torch.testing.assert_close(total, torch.full_like(total, 1.0 if math.isinf(k) else k))
