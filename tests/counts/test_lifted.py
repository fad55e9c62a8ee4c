"""The basis against sums over subsamples, its limit, and numbers of agents that no table holds."""

import itertools
import math

import pytest
import torch

from altmarl_torch.counts.lifted import Basis, largest_degree
from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.learners.lifted.degrees import ladder


def hypergeometric(h, g):
    """prod C(h_z, g_z) / C(k, J), in whole numbers."""
    return math.prod(map(math.comb, h, g)) / math.comb(sum(h), sum(g))


@pytest.mark.parametrize(("num_sl", "degree", "k"), [(3, 2, 6), (4, 3, 5), (2, 4, 9), (5, 1, 4), (3, 5, 5), (6, 2, 7)])
def test_weights_are_the_law_of_a_subsample(num_sl, degree, k):
    basis, simplex = Basis(degree, num_sl), CountSimplex(k, num_sl)
    wanted = [[hypergeometric(h, g) for g in basis.simplex.counts.tolist()] for h in simplex.counts.tolist()]
    found = basis.features(simplex.counts, k)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float64), rtol=1e-13, atol=1e-16)
    coefficients = torch.rand(2, basis.size, dtype=torch.float64)
    torch.testing.assert_close(coefficients @ found.T, lift(coefficients, basis.simplex, simplex))


def test_degree_k_is_a_table():
    basis = Basis(4, 3)
    torch.testing.assert_close(basis.features(basis.simplex.counts, 4), torch.eye(basis.size, dtype=torch.float64))


@pytest.mark.parametrize("k", [10**3, 10**6, 10**9])
def test_many_agents_in_whole_numbers(k):
    basis = Basis(6, 3)
    h = [k // 3, 2, k - k // 3 - 2]
    wanted = torch.tensor([hypergeometric(h, g) for g in basis.simplex.counts.tolist()], dtype=torch.float64)
    torch.testing.assert_close(basis.features(torch.tensor([h]), k)[0], wanted, rtol=1e-13, atol=0.0)


@pytest.mark.parametrize(("num_sl", "degree"), [(3, 4), (6, 2), (2, 40)])
def test_rows_may_be_of_different_numbers_of_agents(num_sl, degree):
    basis, counts = Basis(degree, num_sl), [CountSimplex(degree + more, num_sl).counts for more in (0, 5, 1)]
    wanted = torch.cat([basis.features(rows, int(rows[0].sum())) for rows in counts])
    together = torch.cat(counts)
    assert torch.allclose(basis.features(together, together.sum(-1)), wanted, rtol=1e-13, atol=0.0)
    with pytest.raises(ArgumentError, match=f"above k = {degree - 1}:"):
        basis.features(together[:2], torch.tensor([degree, degree - 1]))


@pytest.mark.parametrize("k", [90, math.inf])
@pytest.mark.parametrize(("num_sl", "degree"), [(2, 60), (3, 44), (5, 6), (4, 3)])
def test_float32_weights_are_those_of_float64(num_sl, degree, k):
    basis, simplex = Basis(degree, num_sl), CountSimplex(90, num_sl)
    counts = simplex.counts[:: max(1, simplex.size // 200)]
    exact, single = (basis.features(counts, k, dtype) for dtype in (torch.float64, torch.float32))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=0, atol=1e-6)


def test_the_limit_is_a_bernstein_polynomial():
    basis, mu = Basis(4, 3), torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    law = torch.zeros(basis.size, dtype=torch.float64)
    for states in itertools.product(range(3), repeat=4):
        counts = torch.bincount(torch.tensor(states), minlength=3)
        law[basis.simplex.rank(counts)] += math.prod(float(mu[0, z]) for z in states)
    torch.testing.assert_close(basis.features(mu, math.inf)[0], law)
    torch.testing.assert_close(basis.features(mu * 1000, math.inf)[0], law)  # proportions alone are read
    torch.testing.assert_close(basis.features(mu * 10**9, 10**9)[0], law, rtol=1e-7, atol=0.0)


def test_degrees_are_nested():
    lower, higher = Basis(2, 4), Basis(5, 4)
    coefficients, h = torch.rand(3, lower.size, dtype=torch.float64), CountSimplex(7, 4).counts
    raised = lower.elevate(coefficients, higher)
    torch.testing.assert_close(raised @ higher.features(h, 7).T, coefficients @ lower.features(h, 7).T)


def test_what_is_refused():
    with pytest.raises(ArgumentError, match="degree = 5 is above k = 4"):
        Basis(5, 3).features(torch.tensor([[1, 1, 2]]), 4)
    with pytest.raises(SizeError, match=r"8.86e\+03 coefficients, .* use degree <= 3"):
        Basis(4, 20)
    with pytest.raises(ArgumentError, match="above 64"):
        Basis(65, 2)
    assert largest_degree(20) == 3


def test_ladders():
    assert ladder(3, 12) == [12]  # 91 counts: exact
    assert ladder(5, 20) == [4, 6, 8, 10]
    assert ladder(5, 9) == [4, 6, 8]  # 715 counts, and J = k would be something else
    assert ladder(20, 100) == [2, 3]
    assert ladder(2, math.inf)[-1] == 64
    assert ladder(1, 5) == [5]
