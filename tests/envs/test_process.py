"""What is seen of a population: exact laws, without replacement."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_hypergeom

pytest.importorskip("gymnasium")

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
