"""The posterior correction against sums over every population, simulations, derivatives, and its limits."""

import math

import pytest
import torch
from oracles.neural import TablePolicy, random_global, random_local, seeded

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior, fit_alpha
from altmarl_torch.counts.resampling import ResamplingKernel
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games import random_game
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.operators.bellman import action_values
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Pair
from altmarl_torch.tabular import agent_values, g_learn

MANY = 10**9
GAME = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=12, seed=5)
ALPHA = torch.tensor([0.4, 1.5, 0.2], dtype=torch.float64)
BY_SG = torch.tensor([[0.4, 1.5, 0.2], [2.0, 0.3, 0.7]], dtype=torch.float64)


def dirichlet_multinomial(alpha, counts):
    """P(h) = k! / prod h_i! prod (alpha_i)_(h_i) / (|alpha|)_k, by gamma functions."""
    strength, k = sum(alpha), sum(counts)
    ways = math.lgamma(k + 1) + math.lgamma(strength) - math.lgamma(strength + k)
    parts = (math.lgamma(a + h) - math.lgamma(a) - math.lgamma(h + 1) for a, h in zip(alpha, counts, strict=True))
    return math.exp(ways + sum(parts))


def dense(k, alpha, n=None):
    """R(h, h') from its definition: every population of the unseen, every sample; without n, an endless one."""
    simplex, alpha = am.CountSimplex(k, len(alpha)), alpha.tolist()
    samples, rows = simplex.counts.tolist(), []
    for h in samples:
        after = [a + x for a, x in zip(alpha, h, strict=True)]
        if n is None:
            rows.append([dirichlet_multinomial(after, g) for g in samples])
            continue
        row = [0.0] * len(samples)
        for unseen in am.CountSimplex(n - k, len(alpha)).counts.tolist():
            weight = dirichlet_multinomial(after, unseen)
            everyone = [x + u for x, u in zip(h, unseen, strict=True)]
            for index, g in enumerate(samples):
                ways = math.prod(math.comb(c, x) for c, x in zip(everyone, g, strict=True))
                row[index] += weight * ways / math.comb(n, k)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def resampling(k, alpha, n):
    simplex = am.CountSimplex(k, len(alpha))
    kernel = ResamplingKernel(simplex, alpha, n)
    return kernel, kernel.expect(torch.eye(simplex.size, dtype=torch.float64))


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_resampling_is_the_dirichlet_multinomial_of_the_posterior(k):
    _, R = resampling(k, ALPHA, 10**13)
    assert torch.allclose(R, dense(k, ALPHA), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("k", "n"), [(1, 2), (2, 3), (3, 7), (4, 5), (4, 9)])
def test_of_n_agents_k_are_drawn_without_replacement(k, n):
    _, R = resampling(k, ALPHA, n)
    assert torch.allclose(R, dense(k, ALPHA, n), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("k", "n"), [(1, 5), (6, 12), (6, MANY), (20, 1000)])
def test_rows_are_laws_reversible_and_pushed_forward_by_the_adjoint(k, n):
    kernel, R = resampling(k, ALPHA, n)
    simplex = kernel.simplex
    assert float(R.min()) > -1e-10
    assert torch.allclose(R.sum(-1), torch.ones(simplex.size, dtype=torch.float64), rtol=0, atol=1e-10)
    pi = torch.tensor([dirichlet_multinomial(ALPHA.tolist(), h) for h in simplex.counts.tolist()])
    flow = pi.double().unsqueeze(-1) * R
    assert torch.allclose(flow, flow.T, rtol=0, atol=1e-8)
    law = torch.rand(simplex.size, dtype=torch.float64, generator=seeded(1))
    assert torch.allclose(kernel.push(law), R.T @ law, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("k", "n"), [(3, 8), (5, MANY)])
def test_a_simulated_sample_has_the_kernels_law(k, n):
    draws, (kernel, R) = 100_000, resampling(k, ALPHA, n)
    for row in (0, kernel.simplex.size // 2):
        h = kernel.simplex.counts[row].expand(draws, -1)
        s_g = torch.zeros(draws, dtype=torch.int64)
        found = Prior(ALPHA.unsqueeze(0), n).resample(s_g, h, k, seeded(row))
        assert found.dtype == h.dtype
        share = torch.bincount(kernel.simplex.rank(found), minlength=kernel.simplex.size) / draws
        assert bool(((share - R[row]).abs() <= 5 * (R[row].clamp_min(0) / draws).sqrt() + 1e-4).all())


@pytest.mark.parametrize("k", [1, 4, 12])
def test_who_sees_everybody_has_nothing_to_guess(k):
    kernel, R = resampling(k, ALPHA, k)
    assert torch.allclose(R, torch.eye(kernel.simplex.size, dtype=torch.float64), rtol=0, atol=1e-9)
    mean = Prior(ALPHA.unsqueeze(0), k).mean(kernel.simplex.counts, k)[0]
    assert torch.allclose(mean, kernel.simplex.frequencies, rtol=0, atol=1e-14)


def surrogate_of(game, k, alpha, n, pi_l=None):
    pi_l = random_local(game, 1) if pi_l is None else pi_l
    prior = None if alpha is None else Prior(alpha, n)
    return Surrogate.build(game, pi_l, PairPlan(am.CountSimplex(k, game.num_sl)), prior)


def test_who_knows_the_population_ignores_the_sample():
    surrogate = surrogate_of(am.games.warehouse(), 4, torch.full((5, 5), 1e7, dtype=torch.float64), MANY)
    pi_g = g_learn(surrogate).pi_g
    assert torch.equal(pi_g, pi_g[:, :1].expand_as(pi_g))


def test_one_agent_and_no_prior_is_the_papers_operator():
    values = torch.rand(2, 3, dtype=torch.float64, generator=seeded(3))
    weak = torch.full((2, 3), 1e-6, dtype=torch.float64)
    corrected, plain = surrogate_of(GAME, 1, weak, MANY), surrogate_of(GAME, 1, None, MANY)
    assert torch.allclose(action_values(corrected, values), action_values(plain, values), rtol=0, atol=1e-5)
    strong = surrogate_of(GAME, 1, weak * 1e6, MANY)
    assert not torch.allclose(action_values(strong, values), action_values(plain, values), rtol=0, atol=1e-2)


def test_who_sees_everybody_has_the_papers_operator():
    values = torch.rand(2, 91, dtype=torch.float64, generator=seeded(3))
    corrected, plain = surrogate_of(GAME, 12, BY_SG, 12), surrogate_of(GAME, 12, None, 12)
    assert torch.allclose(action_values(corrected, values), action_values(plain, values), rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [1, 4])
def test_the_exact_value_is_that_of_simulated_episodes(k):
    pi_g, pi_l = random_global(GAME, k, 7), random_local(GAME, 8)
    exact = joint_value(surrogate_of(GAME, k, BY_SG, GAME.n, pi_l), pi_g)
    evaluator = RolloutEvaluator(GAME, k, "mean", 3, Prior(BY_SG, GAME.n))
    found = evaluator.evaluate(Pair(TablePolicy(pi_g, k, GAME.num_sl), pi_l), None)
    assert abs(found.mean - exact.mean) <= 4 * found.standard_error + found.error


@pytest.mark.parametrize("k", [1, 3])
def test_agent_values_are_the_derivative_of_the_value(k):
    pi_g, pi_l, step = random_global(GAME, k, 2), random_local(GAME, 4), 1e-5
    surrogate = surrogate_of(GAME, k, BY_SG, GAME.n, pi_l)
    value = joint_value(surrogate, pi_g)
    Q = agent_values(surrogate, pi_g, occupancy(surrogate, pi_g, relative_error=1e-12), value.values)
    for z in range(GAME.num_sl):
        for s_g in range(GAME.num_sg):
            towards = pi_l.clone()
            towards[z, s_g] = (1 - step) * pi_l[z, s_g]
            towards[z, s_g, 0] += step
            gain = joint_value(surrogate_of(GAME, k, BY_SG, GAME.n, towards), pi_g).mean - value.mean
            expected = float(Q[z, s_g, 0] - Q[z, s_g] @ pi_l[z, s_g])
            assert gain / step == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_the_likeliest_prior_is_the_one_that_was_drawn_from():
    alpha, rows, n = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64), 4000, 200
    weight = torch._standard_gamma(alpha.repeat(rows, 1), generator=seeded(0))
    drawn = torch.multinomial(weight, n, replacement=True, generator=seeded(1))
    counts = torch.nn.functional.one_hot(drawn, 3).sum(1).double()
    found = fit_alpha(counts, torch.ones(rows, dtype=torch.float64))
    assert found.tolist() == pytest.approx(alpha.tolist(), rel=0.08)
    halved = torch.arange(rows) < rows // 2
    assert torch.allclose(
        fit_alpha(counts, halved.double()), fit_alpha(counts[halved], torch.ones(rows // 2).double()), rtol=1e-4
    )


@pytest.mark.parametrize("entry", [0.0, -1.0, 1e10, math.nan])
def test_a_prior_has_parameters_in_range(entry):
    with pytest.raises(ArgumentError, match=r"alpha\[sg=0, sl=1\] is .*parameters of a Dirichlet law are in"):
        Prior(torch.tensor([[1.0, entry]]), 10)
