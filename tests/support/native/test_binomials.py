"""Binomial numbers: the law of the expansion added up, and that of what is drawn."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from altmarl_torch.support.native import binomials as module
from altmarl_torch.support.native.binomials import WIDE, _expand, binomials, deal_agents, normals

built = pytest.mark.skipif(module.library() is None, reason="not built: python setup.py build_ext --inplace")


def test_normal_numbers_are_the_quantiles_of_their_words():
    """The smallest and the largest tails, the ends of cells, and many others."""
    ends = (2 ** np.arange(1, 32)[:, None] + np.arange(-2, 3)).ravel().clip(0)
    some = np.random.default_rng(0).integers(2**32, size=200_000)
    words = np.concatenate([np.arange(4_000), 2**32 - 1 - np.arange(4_000), ends, some]).astype(np.uint32)
    sign = 2.0 * (words & 1) - 1
    quantile = sign * norm.isf(((words >> 1) + 0.5) * 2.0**-32)
    assert np.abs(normals(words) - quantile).max() < 1e-7


@built
@pytest.mark.parametrize("size", [1, 7, 300, 2048])
def test_compiled_numbers_are_those_of_numpy_to_the_bit(size, monkeypatch):
    """Small and large, certain and impossible, some below `WIDE` and all of them."""
    rng = np.random.default_rng(size)
    number = np.rint(10 ** rng.uniform(0, 15.9, (3, size)))
    chance = rng.random((3, size)).round(1)
    for agents in (number, number.clip(max=500)):
        compiled = binomials(agents, chance, np.random.default_rng(1))
        with monkeypatch.context() as patch:
            patch.setattr(module, "library", lambda: None)
            assert np.array_equal(compiled, binomials(agents, chance, np.random.default_rng(1)))


@pytest.mark.parametrize("chance", [0.5, 0.3, 0.1, 0.98, 1e-3, 1e-6])
@pytest.mark.parametrize("variance", [WIDE, 1000.0, 10_000.0])
def test_the_expansion_is_as_close_as_promised_to_the_binomial_law(variance, chance):
    pq = chance * (1 - chance)
    number = np.ceil(variance / pq)
    z = np.linspace(-8, 8, 1_000_001)
    x = _expand(np.full_like(z, number * pq), np.full_like(z, chance), np.full_like(z, pq), z) + number * chance
    assert (np.diff(x) > 0).all()
    spread = 9 * variance**0.5
    k = np.arange(int(number * chance - spread), int(number * chance + spread))
    found = np.diff(norm.cdf(np.interp(k + 0.5, x, z)))
    assert np.abs(found - binom.pmf(k[1:], number, chance)).sum() / 2 < 2.5e-6 * (WIDE / variance) ** 1.5


@pytest.mark.parametrize("number", [3, 50, 3_000, 10**6, 2**53])
def test_draws_have_the_right_mean_and_variance_and_stay_within_bounds(number):
    rng, chance = np.random.default_rng(number), 0.3
    drawn = binomials(np.full(200_000, float(number)), np.full(200_000, chance), rng)
    assert (drawn == np.rint(drawn)).all()
    assert drawn.min() >= 0
    assert drawn.max() <= number
    z = (drawn - number * chance) / (number * chance * (1 - chance)) ** 0.5
    assert abs(z.mean()) < 4 / 200_000**0.5
    assert abs(z.var() - 1) < 4 * (2.5 / 200_000) ** 0.5


def test_chances_of_nothing_and_of_certainty_and_mixed_sizes():
    number, chance = np.array([[1e6, 1e6, 5.0, 0.0, 1e6]]), np.array([[0.0, 1.0, 1.0, 0.5, 0.5]])
    drawn = binomials(number, chance, np.random.default_rng(0))
    assert drawn[0, :4].tolist() == [0, 1e6, 5, 0]
    assert abs(drawn[0, 4] - 5e5) < 5_000


def test_no_agent_is_lost_and_means_are_those_of_the_law():
    law = np.array([0.2, 0.05, 0.0, 0.75])
    shares = np.array([0.2, 0.0625, 0.0, 1.0])[:, None] * np.ones(10_000)
    arrived = np.stack(deal_agents(np.full(10_000, 1e5), shares, np.random.default_rng(1)))
    assert (arrived.sum(0) == 1e5).all()
    error = (1e5 * law * (1 - law) / 10_000) ** 0.5
    assert (np.abs(arrived.mean(1) - 1e5 * law) <= 4.5 * error).all()
