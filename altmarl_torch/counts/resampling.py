r"""The posterior correction: a dispatcher that knows how little k sampled agents say about n.

The paper's surrogate takes the k agents that it sees for the whole population and expects the next sample where those k
have moved. With few of them that is chasing noise. Here the population's distribution mu has a prior, Dirichlet(alpha)
with |alpha| = sum_z alpha_z, and a sample h of k agents leaves

    mu | h  ~  Dirichlet(alpha + h),        E[mu | h] = (alpha + h) / (|alpha| + k).

The next sample is drawn afresh: first another k agents where the population stands now, then they move. So the law of
the next counts is that of two kernels in a row,

    h  --R-->  h~ ~ DirichletMultinomial(k, alpha + h)  --K-->  h' = sum_u Multinomial(h~_u, P_l_pi[u, .]),

and the reward takes the posterior mean in place of h / k. Operators, loop and learners stay what they are. alpha may
differ from one s_g to another: where agents follow s_g, the state itself says much about where they are. This is an
addition to the paper, which has R = 1.

Finite n
--------
Of n agents, k are seen, and the other n - k are DirichletMultinomial(n - k, alpha + h); the next k are drawn from all n
without replacement. As k goes to n, R goes to the identity and the posterior mean to h / k: nothing is left to guess.

R without its matrix
--------------------
R has N^2 entries, but it is reversible with respect to pi = DirichletMultinomial(k, alpha), and so is the chain

    M:  one agent leaves, drawn uniformly; one joins, in state y with probability proportional to alpha_y + h_y,

and both map polynomials of degree d in h to polynomials of degree d. In each degree they act on the new part as a
number (the Hahn polynomials of several variables are their common eigenfunctions), for d = 0, ..., k,

    mu_d     = 1 - d (d + |alpha| - 1) / ( k (k + |alpha| - 1) ),
    lambda_d = k_(d) / n_(d)  sum_i  C(d, i) (n-k)_(i) / (|alpha| + k)^(i),

which tends to k_(d) / (|alpha| + k)^(d) as n grows; x_(d) are falling and x^(d) rising factorials. (lambda_d is the
leading coefficient of E[h~_(d) | h]: the factorial moments of a sample are those of the population it is drawn from.)
So R = p(M) for any polynomial with p(mu_d) = lambda_d, and since lambda falls fast, one of low degree will do: at
k = 50 some 30 steps of M, each of 2 |S_l| look-ups. Its error is known, max_d |p(mu_d) - lambda_d|, as an operator on
L2(pi). The steps are summed in Chebyshev's basis, in which they cannot grow.

At a count that pi all but excludes, an error in L2(pi) says little. Where the prior is strong and k large (at k = 50,
|alpha| = 50 nearly all in one of two states), expectations there are wrong; a warning in the log says so.

References: Karlin and McGregor, *Linear growth models with many types and multidimensional Hahn polynomials* (1975);
Diaconis, Khare and Saloff-Coste, *Gibbs sampling, exponential families and orthogonal polynomials* (2008).
"""

import logging

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.counts.kernels import Kernel, check_values
from altmarl_torch.counts.simplex import CountSimplex

__all__ = ["PosteriorKernel", "ResamplingKernel", "sample_eigenvalues"]

logger = logging.getLogger(__name__)

TOLERANCE = 1e-11
"""Error of R as an operator on L2(pi)."""

PROBES, VISIBLE = 4, 1e-6
"""Values whose expectations are looked at; one that leaves their range by more is told in the log."""


class ResamplingKernel:
    """R: the law of a fresh sample of k agents, given one.

    Args:
        simplex: counts of k agents, listed.
        alpha: `[sl]`, the Dirichlet prior.
        n: how many agents there are to draw from.
        seen: how many are seen, k >= J, where the simplex counts J of them; by default J. Then this is R on functions
            that are lifted from J to k agents: M of k agents is, but for its speed, M of J agents there, so that the
            same polynomial rule holds with the first J eigenvalues of k (`docs/lifted.md`).

    Attributes:
        degree: of the polynomial in M.
        error: of R as an operator on L2(pi).
    """

    def __init__(self, simplex: CountSimplex, alpha: Tensor, n: int, seen: int | None = None) -> None:
        self.simplex, k = simplex, simplex.k
        strength = float(alpha.sum())
        wanted = sample_eigenvalues(seen or k, strength, n, k)
        of_step = 1 - np.arange(k + 1) * (np.arange(k + 1) + strength - 1) / max(k * (k + strength - 1), 1e-300)
        self._weights, self.error = _chebyshev(of_step, wanted)
        self.degree = len(self._weights) - 1
        smaller, self._without = simplex.remove_one()
        _, self._joined = smaller.add_one()
        self._leave = simplex.frequencies
        self._join = (alpha + smaller.counts) / (strength + k - 1)
        # the transpose of M: whoever joined leaves again, with the weights of the counts that they had come from
        self._left = (smaller.counts + 1).to(torch.float64) / max(k, 1)
        self._had_joined = torch.where(simplex.counts > 0, alpha + simplex.counts - 1, 0.0) / (strength + k - 1)
        if seen is None:
            self._check(strength)

    def _check(self, strength: float) -> None:
        """Say so where expectations of values in [-1, 1] are not in it: at counts that the prior all but excludes."""
        generator = torch.Generator(self._leave.device).manual_seed(0)
        shape = (self.simplex.size, PROBES)
        values = torch.randint(2, shape, generator=generator, device=generator.device).to(torch.float64) * 2 - 1
        excess = float(self.expect(values).abs().max()) - 1
        if not excess <= VISIBLE:
            logger.warning(
                "fresh samples of k = %d agents under so strong a prior, |alpha| = %.3g, have expectations that "
                "are wrong by %.2g of the values or more; use a smaller k or alpha",
                *(self.simplex.k, strength, excess),
            )

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h~) | h]: `[N, ...]` to `[N, ...]`, in the type of the values."""
        return self._apply(values, self._leave, self._join)

    def push(self, law: Tensor) -> Tensor:
        """The law of h~ when h has the given law: `[N, ...]` to `[N, ...]`; the transpose of `expect`."""
        return self._apply(law, self._had_joined, self._left)

    def _apply(self, values: Tensor, leave: Tensor, join: Tensor) -> Tensor:
        """p(M), or of M's transpose: p and Chebyshev's recursion are the same."""
        check_values(values, self.simplex)
        flat = values.reshape(self.simplex.size, -1)
        leave, join = leave.to(flat.dtype), join.to(flat.dtype)
        total, before, last = self._weights[0] * flat, flat, flat
        for number, weight in enumerate(self._weights[1:]):
            moved = 2 * self._step(last, leave, join) - last  # M has eigenvalues in [0, 1], 2 M - 1 in [-1, 1]
            before, last = last, moved if number == 0 else 2 * moved - before
            total = total.add(last, alpha=weight)
        return total.reshape(values.shape)

    def _step(self, values: Tensor, leave: Tensor, join: Tensor) -> Tensor:
        """M: one agent joins those that one has left."""
        joined = _weighted(values, self._joined, join)
        return _weighted(joined, self._without, leave)


def _weighted(values: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    """sum_z weights[:, z] values[columns[:, z]]: `[N', c]` from values `[N, c]`, columns and weights `[N', sl]`."""
    total = torch.zeros(len(columns), values.shape[1], dtype=values.dtype, device=values.device)
    for z in range(columns.shape[1]):
        total.addcmul_(values.index_select(0, columns[:, z]), weights[:, z, None])
    return total


def sample_eigenvalues(k: int, strength: float, n: int, degrees: int | None = None) -> NDArray[np.float64]:
    """R's eigenvalues lambda_0, ..., lambda_k, or up to `degrees`, for k of n agents and |alpha| = `strength`."""
    degrees = k if degrees is None else degrees
    i = np.arange(degrees, dtype=np.float64)
    with np.errstate(divide="ignore"):  # of n - k unseen agents no more than n - k can be drawn
        drawn = _sums(np.log(np.maximum(n - k - i, 0.0)) - np.log(strength + k + i))
    share, factorial = _sums(np.log(k - i) - np.log(n - i)), _sums(np.log(i + 1))
    values = []
    for d in range(degrees + 1):  # logarithms: the terms are as large as n^k, and k_(d) / n_(d) as small as n^-k
        choices = factorial[d] - factorial[: d + 1] - factorial[d::-1]
        values.append(np.exp(share[d] + choices + drawn[: d + 1]).sum())
    return np.array(values)


def _sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """0, and the running sums."""
    return np.concatenate([[0.0], np.cumsum(terms)])


def _chebyshev(points: NDArray[np.float64], wanted: NDArray[np.float64]) -> tuple[list[float], float]:
    """The polynomial of lowest degree with values `wanted` at `points` in [0, 1]: weights of T_d(2x - 1), and error."""
    for degree in range(len(points)):
        basis = np.polynomial.chebyshev.chebvander(2 * points - 1, degree)
        weights = np.linalg.lstsq(basis, wanted, rcond=None)[0]
        error = float(np.abs(basis @ weights - wanted).max())
        if error <= TOLERANCE:
            break
    else:
        logger.warning("fresh samples are computed with an error of %.2g instead of %.2g", error, TOLERANCE)
    return (weights / weights.sum()).tolist(), error  # T_d(1) = 1: rows sum to one to the last digits


class PosteriorKernel:
    """R, then K: the law of the next sample, given one (a `Kernel`)."""

    def __init__(self, resampling: ResamplingKernel, moves: Kernel) -> None:
        self.form, self._resampling, self.moves = f"resampling, then {moves.form}", resampling, moves

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h') | h]: `[N, ...]` to `[N, ...]`."""
        return self._resampling.expect(self.moves.expect(values))

    def push(self, law: Tensor) -> Tensor:
        """The law of h' when h has the given law: `[N, ...]` to `[N, ...]`."""
        return self.moves.push(self._resampling.push(law))
