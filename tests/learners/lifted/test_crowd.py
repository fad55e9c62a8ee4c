"""Lifted functions of games whose reward sees the frequencies, against tables of the same games."""

import math

import pytest
import torch
from oracles.neural import random_global, random_local

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import GameError
from altmarl_torch.games import random_game
from altmarl_torch.games.crowd import crowd_rewards_at, global_rewards, without_global_rewards
from altmarl_torch.learners.lifted.crowd import plus
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
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.digests import digest

K = 6


def covered(s_g, a_g, mu):
    """No polynomial: coverage of the states, which weigh by s_g and a_g."""
    weights = 1 + s_g.unsqueeze(-1) + a_g.unsqueeze(-1) * torch.arange(mu.shape[-1], device=mu.device)
    return (weights * (1 - 0.3 ** (4 * mu))).sum(-1) / 4


GAME = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=40, seed=5).replace(r_g_mu=covered)


def both(degree, k=K, seed=1):
    pi_l, simplex = random_local(GAME, seed=seed), CountSimplex(k, 3)
    table = Surrogate.build(GAME, pi_l, PairPlan(simplex))
    return pi_l, simplex, table, LiftedSurrogate.build(GAME, pi_l, k, Basis(degree, 3))


def points_of(lifted):
    return Points.draw(lifted.basis, lifted.k, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("degree", [1, 3, K])
def test_action_values_of_lifted_values_are_exact(degree):
    _, simplex, table, lifted = both(degree)
    c, features = torch.rand(2, lifted.basis.size, dtype=torch.float64), lifted.features(simplex.counts)
    found = plus(lifted.action_coefficients(c) @ features.T, lifted.crowd(simplex.counts)).mT
    torch.testing.assert_close(found, action_values(table, c @ features.T), rtol=0.0, atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_degree_k_is_g_learn(seed):
    pi_l, simplex, table, lifted = both(K, seed=seed)
    points = points_of(lifted)
    found, wanted = fit_best_response(lifted, points), g_learn(table, tolerance=1e-12)
    torch.testing.assert_close(found.coefficients, wanted.values, rtol=0.0, atol=1e-9)
    policy = LiftedPolicy(found.action_coefficients, K, 3, K, covered)
    pi_g = torch.stack([policy(torch.full((simplex.size,), g), simplex.counts) for g in range(2)])
    assert torch.equal(pi_g, wanted.pi_g)
    assert torch.equal(policy.laws(simplex.counts).transpose(0, 1).double(), wanted.pi_g)
    value = judge([Contender(lifted, policy, found)], points, 0)[0].value
    assert value.mean == pytest.approx(joint_value(table, pi_g, tolerance=1e-12).mean, abs=1e-9)
    assert value.error < 1e-9
    assert proven_error(lifted, pi_l, found) < 1e-9


def test_the_derivative_needs_v_alone():
    pi_l, simplex, table, lifted = both(3)
    pi_g, features = random_global(GAME, K, seed=2), lifted.features(simplex.counts)
    c, law = torch.rand(2, lifted.basis.size, dtype=torch.float64), occupancy(table, pi_g, relative_error=1e-12)
    wanted = agent_values(table, pi_g, law, c @ features.T)
    wanted = wanted - (pi_l * wanted).sum(-1, keepdim=True)
    moments = torch.einsum("gh,ghG,hj->gGj", law, next_sg_law(table, pi_g), features)
    torch.testing.assert_close(local_gains(lifted, pi_l, c, moments), wanted, rtol=1e-8, atol=1e-9)


def test_corrected_values_have_no_bias_whatever_the_fit():
    _, simplex, table, lifted = both(2)
    points, pi_g = points_of(lifted), random_global(GAME, K, seed=4)
    fit = fit_best_response(lifted, points)
    greedy = LiftedPolicy(fit.action_coefficients, 2, 3, K, covered)
    for policy in (greedy, lambda s_g, counts: pi_g[s_g, simplex.rank(counts.long())]):
        laws = laws_at(policy, Points(lifted.basis, K, simplex.counts.double()), 2)
        wanted = joint_value(table, laws.mT).mean
        played = [play([Contender(lifted, policy, fit)], seed, starts=512)[0] for seed in range(8)]
        means = torch.stack([one.corrections.mean() for one in played]) + lifted.initial_mean(fit.coefficients)
        assert abs(float(means.mean()) - wanted) < 4 * float(means.std()) / 8**0.5 + 1e-3


def test_the_residual_is_that_of_the_tables():
    """At held-out counts, the reward read there: T V - V by the tables' own operator."""
    _, simplex, table, lifted = both(2)
    fit = fit_value(lifted, points_of(lifted), torch.full((2, 2, len(points_of(lifted))), 0.5, dtype=torch.float64))
    V, even = fit.coefficients @ lifted.features(simplex.counts).T, torch.full((2, simplex.size, 2), 0.5)
    error = action_values(table, V).mean(-1) - V
    law = occupancy(table, even.double(), relative_error=1e-12) * (1 - GAME.gamma)
    told = play([Contender(lifted, lambda s_g, counts: even[0, 0].double().expand(len(s_g), -1), fit)], 0)[0].residual
    assert told == pytest.approx(float((law * error.square()).sum().sqrt()), rel=0.1)


def test_policies_read_fractions_and_proportions():
    _, _, _, lifted = both(3)
    table = fit_best_response(lifted, points_of(lifted)).action_coefficients
    counts, s_g = torch.tensor([[1.5, 2.25, 2.25], [0.0, 0.5, 5.5]], dtype=torch.float64), torch.tensor([1, 0])
    seen = crowd_rewards_at(covered, 2, s_g, counts / K)
    Q = torch.einsum("bj,baj->ba", lifted.features(counts), table[s_g]) + seen
    assert torch.equal(LiftedPolicy(table, 3, 3, K, covered).actions(counts, s_g), Q.argmax(-1))
    everybody = LiftedPolicy(table, 3, 3, math.inf, covered)
    assert torch.equal(everybody.actions(counts), everybody.actions(counts * 10**6))
    torch.testing.assert_close(seen, global_of(s_g, counts / K))


def global_of(s_g, mu):
    """The same from the tables' own reader."""
    return (global_rewards(GAME, mu) - GAME.r_g[:, None])[s_g, torch.arange(len(s_g))]


def test_agents_of_their_own_earn_none_of_what_pi_g_reads():
    """pi_g sees the crowd, in a game that pays nothing for it: by its law, or read along."""
    pi_l, _, _, lifted = both(3)
    fit = fit_best_response(lifted, points_of(lifted))
    policy = LiftedPolicy(fit.action_coefficients, 3, 3, K, covered)
    own = LiftedSurrogate.build(without_global_rewards(GAME), pi_l, K, lifted.basis)
    zero = torch.zeros_like(fit.coefficients)
    nothing = LiftedFit(zero, own.action_coefficients(zero), 0.0, 0)
    read, by_law = (play([Contender(own, rule, nothing)], 3)[0] for rule in (policy, lambda *seen: policy(*seen)))
    torch.testing.assert_close(read.corrections, by_law.corrections, rtol=0.0, atol=1e-10)
    assert visit(own, policy, 0, 10).shape == (10, 3)


def test_what_is_wrong_beyond_what_was_tried_is_told_in_one_line():
    """A reward that is no number at counts that nobody tried: as tables say it."""
    _, simplex, _, lifted = both(3)
    broken = GAME.replace(r_g_mu=lambda s_g, a_g, mu: torch.where(mu[..., 0] == 0.5, math.nan, 1.0) + 0 * a_g)
    for door in (
        lambda: Surrogate.build(broken, random_local(GAME), PairPlan(simplex)),
        lambda: LiftedSurrogate.build(broken, random_local(GAME), K, lifted.basis).crowd(simplex.counts),
        lambda: LiftedPolicy(torch.zeros(2, 2, 10), 3, 3, K, broken.r_g_mu).laws(simplex.counts),
    ):
        with pytest.raises(GameError, match=r"r_g_mu is nan at s_g = 0, a_g = 0, mu = \[0\.5,") as told:
            door()
        assert "\n" not in str(told.value)


def test_digests_of_rewards_that_are_objects_are_those_of_other_processes():
    class Reward:
        def __init__(self, scale):
            self.scale = scale

        def __call__(self, s_g, a_g, mu):
            return self.scale * mu[..., 0]

    policies = [LiftedPolicy(torch.zeros(2, 2, 3), 1, 3, K, Reward(scale)) for scale in (1.0, 1.0, 2.0)]
    assert digest(policies[0]) == digest(policies[1]) != digest(policies[2])
