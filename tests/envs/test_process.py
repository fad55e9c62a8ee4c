"""What is seen of a population: exact laws, without replacement."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_hypergeom

pytest.importorskip("gymnasium")

from altmarl_torch.envs import process
from altmarl_torch.envs.process import sample_counts


def drawn(counts, k, times, seed=0):
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    column = np.array(counts, dtype=np.float64)[:, None] * np.ones(times)
    return sample_counts(column, k, int(sum(counts)), rng, generator)


@pytest.mark.parametrize(("counts", "k"), [([3, 2, 4, 0], 3), ([3, 2, 4, 0], 7), ([1, 1, 20], 4), ([40, 2, 30], 8)])
def test_the_counts_have_the_hypergeometric_law(counts, k):
    times = 200_000
    seen, numbers = np.unique(drawn(counts, k, times), axis=0, return_counts=True)
    law = multivariate_hypergeom(counts, k).pmf(seen)
    assert abs(law.sum() - 1) < 1e-3
    assert (np.abs(numbers / times - law) <= 5 * (law * (1 - law) / times) ** 0.5 + 1e-12).all()


def test_k_equal_to_n_sees_everybody():
    assert (drawn([3, 0, 5], 8, 10) == [3, 0, 5]).all()


@pytest.mark.parametrize("n", [10**6, 2**53])
def test_huge_populations(n):
    h = drawn([n // 2, n - n // 2], 300, 20_000)
    assert (h.sum(1) == 300).all()
    assert abs(h[:, 0].mean() - 150) < 4 * (75 / 20_000) ** 0.5


@pytest.mark.skipif(process.library() is None, reason="not built: python setup.py build_ext --inplace")
@pytest.mark.parametrize(("n", "k"), [(30, 5), (1000, 20), (10**6, 1), (10**6, 300)])
def test_compiled_samples_are_those_of_numpy_to_the_bit(n, k, monkeypatch):
    rng = np.random.default_rng(n)
    counts = rng.multinomial(n, rng.dirichlet([0.5] * 4, 999)).T.astype(np.float64)
    compiled = sample_counts(counts, k, n, np.random.default_rng(1), torch.Generator())
    monkeypatch.setattr(process, "library", lambda: None)
    assert np.array_equal(compiled, sample_counts(counts, k, n, np.random.default_rng(1), torch.Generator()))
