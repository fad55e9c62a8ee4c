"""Fresh samples under any prior, weak or strong: against exact fractions, and against logarithms of gamma functions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.special import gammaln

import altmarl_torch as am
from altmarl_torch.counts.resampling import ResamplingKernel, ancestor_law

ENDLESS = 10**15


def rising(x, m):
    return math.prod((x + i for i in range(m)), start=Fraction(1))


def exact_row(h, alpha, n):
    """R(h, .) in fractions, from its definition: every composition of the unseen, every sample of k of all n."""
    k, states = sum(h), len(h)
    samples = am.CountSimplex(k, states).counts.tolist()
    row = [Fraction(0)] * len(samples)
    for unseen in am.CountSimplex(n - k, states).counts.tolist():
        weight = Fraction(math.factorial(n - k)) / rising(sum(alpha) + k, n - k)
        for a, x, u in zip(alpha, h, unseen, strict=True):
            weight *= rising(a + x, u) / math.factorial(u)
        for index, g in enumerate(samples):
            ways = math.prod(math.comb(x + u, y) for x, u, y in zip(h, unseen, g, strict=True))
            row[index] += weight * Fraction(ways, math.comb(n, k))
    return [float(entry) for entry in row]


def log_dirichlet_multinomial(counts, alpha):
    """log P(counts) for counts `[..., sl]` and alpha `[..., sl]`."""
    k, strength = counts.sum(-1), alpha.sum(-1)
    ways = gammaln(k + 1) - gammaln(strength + k) + gammaln(strength)
    return ways + (gammaln(alpha + counts) - gammaln(alpha) - gammaln(counts + 1)).sum(-1)


def found_rows(kernel, rows):
    """R(h, .) for the counts of some ranks, `[rows, N]`."""
    law = torch.zeros(kernel.simplex.size, len(rows), dtype=torch.float64)
    law[rows, range(len(rows))] = 1
    return kernel.push(law).T.numpy()


@pytest.mark.parametrize("seed", range(16))
def test_rows_are_those_of_exact_arithmetic(seed):
    draw = np.random.default_rng(seed)
    states = int(draw.integers(2, 4))
    k = int(draw.integers(1, 7 if states == 2 else 4))
    n = k + int(draw.integers(0, 5))
    alpha = [Fraction(int(10 ** draw.uniform(0, 7)), 10**4) for _ in range(states)]  # 1e-4 to 1e3
    simplex = am.CountSimplex(k, states)
    kernel = ResamplingKernel(simplex, torch.tensor([float(a) for a in alpha], dtype=torch.float64), n)
    wanted = np.array([exact_row(h, alpha, n) for h in simplex.counts.tolist()])
    found = kernel.expect(torch.eye(simplex.size, dtype=torch.float64)).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(found_rows(kernel, range(simplex.size)), wanted, rtol=1e-9, atol=1e-15)


def random_kernel(number):
    """The `number`-th of the 416: 2 to 4 states, k to 100 (40 for four states), alpha from 0.01 to 1000."""
    draw = np.random.default_rng(number)
    states = int(draw.integers(2, 5))
    k = int(draw.integers(1, 41 if states == 4 else 101))
    alpha = torch.from_numpy(10 ** draw.uniform(-2, 3, states))
    simplex = am.CountSimplex(k, states)
    rows = np.unique(np.r_[0, simplex.size - 1, draw.integers(simplex.size, size=4)])
    return simplex, alpha, rows


@pytest.mark.parametrize("block", range(8))
def test_of_416_kernels_every_row_is_the_dirichlet_multinomial(block):
    """80 of such had rows off by more than 1e-6, one by 0.6, where R was a polynomial in one matrix."""
    for number in range(52 * block, 52 * block + 52):
        simplex, alpha, rows = random_kernel(number)
        found = found_rows(ResamplingKernel(simplex, alpha, ENDLESS), rows)
        counts = simplex.counts.numpy()
        wanted = np.exp(log_dirichlet_multinomial(counts, (alpha.numpy() + counts[rows])[:, None]))
        assert np.abs(found - wanted).max() < 1e-9, (number, simplex, alpha)
        assert found.min() >= 0
        assert np.abs(found.sum(-1) - 1).max() < 1e-12


@pytest.mark.parametrize("alpha", [(0.01, 50.0), (0.01, 1000.0), (1e-6, 1e9), (1e9, 1e-6), (0.02, 1.0)])
@pytest.mark.parametrize("k", [40, 100])
def test_where_nearly_all_are_in_one_of_two_states(k, alpha):
    simplex, prior = am.CountSimplex(k, 2), torch.tensor(alpha, dtype=torch.float64)
    kernel = ResamplingKernel(simplex, prior, ENDLESS)
    counts = simplex.counts.numpy()
    wanted = np.exp(log_dirichlet_multinomial(counts, (prior.numpy() + counts)[:, None]))
    np.testing.assert_allclose(kernel.expect(torch.eye(k + 1, dtype=torch.float64)), wanted, rtol=0, atol=1e-5)
    if max(alpha) < 1e6:  # where the oracle's gamma functions keep their digits
        np.testing.assert_allclose(found_rows(kernel, range(k + 1)), wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_of_n_agents_k_are_drawn_without_replacement(seed):
    """Two states: every number of the unseen in the first, beta-binomial, times a hypergeometric sample."""
    draw = np.random.default_rng(seed)
    k = int(draw.integers(1, 101))
    n = k + int(draw.choice([0, 1, 3, k, 900]))
    alpha = 10 ** draw.uniform(-2, 3, 2)
    kernel = ResamplingKernel(am.CountSimplex(k, 2), torch.from_numpy(alpha), n)
    rows = np.unique(draw.integers(k + 1, size=4))
    h = kernel.simplex.counts.numpy()
    unseen = np.stack([np.arange(n - k + 1), n - k - np.arange(n - k + 1)], -1)
    choose = lambda m, x: gammaln(m + 1) - gammaln(x + 1) - gammaln(m - x + 1)  # noqa: E731
    for row, found in zip(rows, found_rows(kernel, rows), strict=True):
        weight = log_dirichlet_multinomial(unseen, alpha + h[row])
        everyone = (h[row] + unseen)[:, None]
        inside = (h <= everyone).all(-1)
        drawn = np.where(inside, choose(everyone, np.minimum(h, everyone)).sum(-1) - choose(n, k), -np.inf)
        assert np.abs(found - np.exp(weight[:, None] + drawn).sum(0)).max() < 1e-9


@pytest.mark.parametrize(
    ("k", "strength", "n", "seen"), [(9, 3, 12, 9), (9, 3, 10**6, 9), (5, 1, 40, 30), (4, 7, 6, 5)]
)
def test_the_law_of_ancestors_in_exact_arithmetic(k, strength, n, seen):
    wanted = []
    for j in range(k + 1):
        total = Fraction(0)
        for s in range(j + 1):
            overlap = Fraction(math.comb(seen, s) * math.comb(n - seen, k - s), math.comb(n, k))
            more = Fraction(math.comb(seen - s, j - s) * math.factorial(k - s), math.factorial(k - j))
            total += overlap * more * rising(strength + j, k - j) / rising(strength + seen, k - s)
        wanted.append(float(total))
    assert sum(wanted) == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(ancestor_law(k, strength, n, seen), wanted, rtol=1e-10, atol=0)


@pytest.mark.parametrize("n", [1000, 1001, 2000, 10**6, 10**9, 10**13])
def test_ancestors_of_a_thousand_agents(n):
    """n^k overflows and n^-k underflows; their mean is known: E[h~ | h] has the slope (1 + (n-k)/(|alpha|+k)) k/n."""
    law = ancestor_law(1000, 2.5, n, 1000)
    assert np.isfinite(law).all()
    j = np.arange(1001)
    slope = (law * j / 1000 * 1002.5 / (2.5 + j)).sum()
    assert slope == pytest.approx((1000 + (n - 1000) * 1000 / 1002.5) / n, rel=1e-9)


def test_many_columns_are_taken_in_turns(monkeypatch):
    kernel = ResamplingKernel(am.CountSimplex(6, 3), torch.tensor([0.3, 1.0, 4.0], dtype=torch.float64), 50)
    values = torch.rand(28, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = kernel.expect(values)
    monkeypatch.setattr("altmarl_torch.counts.resampling.LARGEST_KEPT", 200)
    assert torch.equal(kernel.expect(values), whole)
    assert torch.allclose(kernel.expect(values.float()), whole.float(), rtol=0, atol=1e-6)
