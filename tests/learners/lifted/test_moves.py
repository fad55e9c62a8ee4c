"""E_k lift(c) = lift(E_J c), for kernels of every kind, and E_J itself against the library's kernels."""

import math

import pytest
import torch

from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.learners.lifted.moves import Moves

CYCLE = torch.eye(4, dtype=torch.float64).roll(1, 1)


def any_law(num_sl, kind, seed=0):
    generator = torch.Generator().manual_seed(seed)
    P = torch.rand(num_sl, num_sl, generator=generator, dtype=torch.float64)
    if kind == "sparse":
        P *= torch.rand(num_sl, num_sl, generator=generator) < 0.5
        P[:, 0] += 1e-3
    if kind == "absorbing":
        P[-1] = 0
        P[-1, -1] = 1
    return P / P.sum(-1, keepdim=True)


def brute_force(P, k):
    """The kernel of k agents by convolving their moves one by one, `[N, N]`."""
    simplex = CountSimplex(k, len(P))
    rows = torch.zeros(simplex.size, simplex.size, dtype=torch.float64)
    for row, h in enumerate(simplex.counts.tolist()):
        law = {(0,) * len(P): 1.0}
        for z, number in enumerate(h):
            for _ in range(number):
                following = {}
                for counts, chance in law.items():
                    for y in range(len(P)):
                        arrived = tuple(c + (y == i) for i, c in enumerate(counts))
                        following[arrived] = following.get(arrived, 0.0) + chance * float(P[z, y])
                law = following
        for counts, chance in law.items():
            rows[row, simplex.rank(torch.tensor(counts))] = chance
    return simplex, rows


LAWS = {f"{kind}-{S}": any_law(S, kind) for kind in ("full", "sparse", "absorbing") for S in (2, 3, 4)} | {
    "cycle": CYCLE
}


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize(("degree", "k"), [(1, 4), (2, 5), (3, 5), (4, 4)])
def test_the_expectation_does_not_leave_the_space(name, degree, k):
    P = LAWS[name]
    simplex, kernel = brute_force(P, k)
    basis = Basis(degree, len(P))
    features = basis.features(simplex.counts, k)
    coefficients = torch.rand(basis.size, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moves = Moves(P.unsqueeze(1), basis)
    for tells_apart in (False, True):
        moves._tells_apart = tells_apart
        found = features @ moves.expect(0, coefficients)
        assert float((found - kernel @ features @ coefficients).abs().max()) < 1e-12


def test_infinitely_many_agents_move_by_their_mean():
    P, basis = any_law(4, "full"), Basis(3, 4)
    coefficients = torch.rand(basis.size, 1, dtype=torch.float64)
    mu = torch.tensor([[0.1, 0.2, 0.3, 0.4]], dtype=torch.float64)
    moved = Moves(P.unsqueeze(1), basis).expect(0, coefficients)
    torch.testing.assert_close(
        basis.features(mu, math.inf) @ moved, basis.features(mu @ P, math.inf) @ coefficients, rtol=1e-13, atol=0.0
    )


@pytest.mark.parametrize(("num_sl", "degree"), [(3, 6), (5, 4), (8, 2)])
def test_e_j_is_the_library_s_kernel(num_sl, degree):
    P, basis = any_law(num_sl, "full", seed=3), Basis(degree, num_sl)
    coefficients = torch.rand(basis.size, 3, dtype=torch.float64)
    wanted = CountKernel(P, degree).expect(coefficients)
    torch.testing.assert_close(Moves(P.unsqueeze(1), basis).expect(0, coefficients), wanted, rtol=0.0, atol=1e-10)


def test_no_agents_do_not_move():
    basis = Basis(0, 3)
    one = torch.ones(1, 2, dtype=torch.float64)
    assert torch.equal(Moves(any_law(3, "full").unsqueeze(1), basis).expect(0, one), one)
