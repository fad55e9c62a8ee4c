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
R has N^2 entries. Draw the unseen agents one after the other from Polya's urn: each stands where a uniformly chosen one
of the agents before it stands, or in a new place by alpha. So every agent of the next sample descends from one of the k
seen agents (which it may be itself), or from alpha. Say that j of those k have descendants among them. They are any j
of the k alike; and given these j, of counts g, the next sample is g and k - j more from the urn that holds alpha + g
(that a seen agent has m >= 1 descendants weighs the same for every m, as it does when the urn grows from it). Hence

    R = sum_j w_j D^(k-j) U^(k-j),

where D takes an agent away, drawn uniformly, U adds one, in z with probability (alpha_z + g_z) / (|alpha| + j), and w_j
is the law of the number of ancestors. With s of the next k among those seen (hypergeometric),

    w_j = sum_{s<=j} P(s) C(k-s, j-s) (|alpha| + j)^(k-j) / (k-j)!  /  [ (|alpha| + k)^(k-s) / (k-s)! ],

x^(m) = x (x+1) ... (x+m-1). All terms are positive and every D, U and w is a law: rows of R are laws to rounding, under
any prior. It takes two look-ups per state and level between k and the fewest ancestors that matter: V_j = U V_{j+1}
down from V_k = V, and back S_j = w_j V_j + D S_{j-1} up to S_k = R V.

Ranks of counts do not depend on h_0 (`counts.simplex`), so the tables of k agents begin with those of fewer.

References: Hoppe, *Polya-like urns and the Ewens' sampling formula* (J. Math. Biology 20, 1984); Diaconis, Khare and
Saloff-Coste, *Gibbs sampling, exponential families and orthogonal polynomials* (2008), who diagonalise R.
"""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.counts.kernels import Kernel, check_values
from altmarl_torch.counts.simplex import CountSimplex

__all__ = ["PosteriorKernel", "ResamplingKernel", "ancestor_law"]

NEGLIGIBLE = 1e-18
"""Numbers of ancestors that are less likely than this, at either end of their law, are left out."""

LARGEST_KEPT = 2**26
"""Entries of values that are kept between the way down and the way up; more columns are taken in turns."""


class ResamplingKernel:
    """R: the law of a fresh sample of k agents, given one.

    Args:
        simplex: counts of k agents, listed.
        alpha: `[sl]`, the Dirichlet prior.
        n: how many agents there are to draw from.
        seen: how many are seen, k >= J, where the simplex counts J of them; by default J. Then this is R on functions
            that are lifted from J to k agents: J of the next sample have their ancestors among the k.

    Attributes:
        fewest, most: numbers of ancestors that matter, between which values are kept.
    """

    def __init__(self, simplex: CountSimplex, alpha: Tensor, n: int, seen: int | None = None) -> None:
        self.simplex, k, strength = simplex, simplex.k, float(alpha.sum())
        law = ancestor_law(k, strength, n, seen or k)
        (likely,) = np.nonzero(law > NEGLIGIBLE)
        self.fewest, self.most = int(likely[0]), int(likely[-1])
        law = law[self.fewest : self.most + 1]
        self._law: list[float] = (law / law.sum()).tolist()
        self._sizes = [CountSimplex(j, simplex.num_sl).size for j in range(k + 1)]
        self._h_0 = simplex.counts[:, 0].to(torch.float64)  # of k agents; of j it is k - j less
        smaller, without = simplex.remove_one()
        without = without.T[1:].contiguous()  # [sl - 1, N] the rank of h - e_z, z > 0; that of h - e_0 is that of h
        joined = smaller.add_one()[1].T[1:].contiguous()  # [sl - 1, N'] the rank of h + e_z, of k - 1 agents and fewer
        h, prior = simplex.counts.T[1:].to(torch.float64), alpha[1:, None]
        few, no_prior, a_prior = h[:, : smaller.size], (0, 0.0, 0.0), (1, float(alpha[0]), strength)
        self._leaves = _Step(without, h, *no_prior)
        self._joins = _Step(joined, few + prior, *a_prior)
        self._had_left = _Step(joined, few + 1, *no_prior)  # the transposes
        self._had_joined = _Step(without, torch.where(h > 0, h - 1 + prior, 0.0), *a_prior)

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h~) | h]: `[N, ...]` to `[N, ...]`, in the type of the values."""
        return self._apply(values, self._joins, self._leaves)

    def push(self, law: Tensor) -> Tensor:
        """The law of h~ when h has the given law: `[N, ...]` to `[N, ...]`; the transpose of `expect`."""
        return self._apply(law, self._had_left, self._had_joined)

    def _apply(self, values: Tensor, down: "_Step", up: "_Step") -> Tensor:
        """sum_j w_j up^(k-j) down^(k-j) of the values, some columns at a time."""
        check_values(values, self.simplex)
        flat = values.reshape(self.simplex.size, -1)
        kept = self._sizes[self.most] * (self.most - self.fewest + 1)
        down, up, h_0 = down.to(values.dtype), up.to(values.dtype), self._h_0.to(values.dtype)
        parts = torch.split(flat, max(1, LARGEST_KEPT // kept), dim=1)
        return torch.cat([self._carry(part, down, up, h_0) for part in parts], 1).reshape(values.shape)

    def _carry(self, values: Tensor, down: "_Step", up: "_Step", h_0: Tensor) -> Tensor:
        """Columns `[N, c]` to fewer and fewer agents, and back."""
        k, kept = self.simplex.k, []
        for j in range(k, self.fewest, -1):
            if j <= self.most:
                kept.append(values)
            values = down.take(values, j, h_0[: self._sizes[j - 1]] - (k - j))
        values = self._law[0] * values
        for j in range(self.fewest + 1, k + 1):
            values = up.take(values, j, h_0[: self._sizes[j]] - (k - j))
            if j <= self.most:
                values.add_(kept.pop(), alpha=self._law[j - self.fewest])
        return values


class _Step(NamedTuple):
    """An agent leaves or joins, between j - 1 and j agents: for every number of them at once, since ranks do not tell.

    In z > 0 it does so with weight `weights[z]` from the values at `columns[z]`; in z = 0, which moves no rank, with
    weight h_0 - lag + alpha_0, h that of j agents; all weights sum to j - lag + strength.
    """

    columns: Tensor  # [sl - 1, N] ranks
    weights: Tensor  # [sl - 1, N]
    lag: int
    alpha_0: float
    strength: float

    def to(self, dtype: torch.dtype) -> "_Step":
        """With weights of another type."""
        return self._replace(weights=self.weights.to(dtype))

    def take(self, values: Tensor, j: int, h_0: Tensor) -> Tensor:
        """The step on columns `[N_j, c]` or `[N_{j-1}, c]`, to those of which `h_0` is given."""
        rows, both = len(h_0), min(len(h_0), len(values))
        found = values.new_zeros(rows, values.shape[1])
        torch.mul(values[:both], (h_0[:both] - self.lag + self.alpha_0)[:, None], out=found[:both])
        for columns, weights in zip(self.columns, self.weights, strict=True):
            found.addcmul_(values.index_select(0, columns[:rows]), weights[:rows, None])
        return found.div_(j - self.lag + self.strength)


def ancestor_law(k: int, strength: float, n: int, seen: int) -> NDArray[np.float64]:
    """w: of how many of the `seen` agents do k others of the n descend, who are drawn afresh, `[k + 1]`.

    Computed from sums of logarithms: w_j is the sum over s <= j of

        (n-K)_(k-s) / (K + |alpha|)^(k-s) / (s! (j-s)!)    times    K_(j) (|alpha| + j)^(k-j) k! / ((k-j)! n_(k)),

    K agents being seen; x_(m) are falling and x^(m) rising factorials.
    """
    i = np.arange(k, dtype=np.float64)
    with np.errstate(divide="ignore"):  # of n - K unseen agents no more than n - K can be drawn
        unseen = _sums(np.log(np.maximum(n - seen - i, 0.0)) - np.log(seen + strength + i))[::-1]  # by s
    ancestors, urn = _sums(np.log(seen - i)), _sums(np.log(strength + i))
    everyone, factorial = _sums(np.log(n - i))[-1], _sums(np.log(i + 1))
    outside = ancestors + urn[-1] - urn + factorial[-1] - factorial[::-1] - everyone
    logs = np.empty(k + 1)
    for j in range(k + 1):
        terms = unseen[: j + 1] - factorial[: j + 1] - factorial[j::-1]
        logs[j] = outside[j] + np.logaddexp.reduce(terms)
    law: NDArray[np.float64] = np.exp(logs) / np.exp(logs).sum()
    return law


def _sums(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """0, and the running sums."""
    return np.concatenate([[0.0], np.cumsum(terms)])


class PosteriorKernel:
    """R, then K, which is `moves`: the law of the next sample, given one (a `Kernel`)."""

    def __init__(self, resampling: ResamplingKernel, moves: Kernel) -> None:
        self.form, self.resampling, self.moves = f"resampling, then {moves.form}", resampling, moves

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h') | h]: `[N, ...]` to `[N, ...]`."""
        return self.resampling.expect(self.moves.expect(values))

    def push(self, law: Tensor) -> Tensor:
        """The law of h' when h has the given law: `[N, ...]` to `[N, ...]`."""
        return self.moves.push(self.resampling.push(law))
