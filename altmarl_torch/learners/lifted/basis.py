r"""Lifted functions: the mean of a function of J agents over the J-subsamples of k.

Let c be a function of the counts g of J agents, one number for each of the C(J + S - 1, S - 1) count vectors. For
counts h of k >= J agents,

    (lift c)(h) = E c(g),      g the counts of J of the k agents, drawn without replacement
                = sum_g c(g) prod_z C(h_z, g_z) / C(k, J),

a polynomial of degree J in the frequencies h / k. As k grows it tends to the Bernstein polynomial with coefficients c,

    (lift c)(mu) = sum_g c(g) J! prod_z mu_z^{g_z} / g_z!,        J draws with replacement from mu.

Three facts are all that the learners rest on (proofs in `docs/lifted.md`):

* The weights of c are a law: a constant is lifted to itself, an inequality stays one.
* Degrees are nested: whoever draws J of the k agents may draw J + 1 first (`counts.simplex.lift`).
* **E_k lift(c) = lift(E_J c)** for every k, infinity included: J of k agents that move independently are J agents that
  move (`moves`). At J = k a lifted function is any function of the counts.

**Numbers.** The weight of g is J! / prod_{i<J} (1 - i/k) times prod_z prod_{i<g_z} (h_z - i)/k / g_z!. Every factor is
at most one in size and correct to rounding, whether k is 3 or 10^9, and no large binomials meet; k = inf is i/k = 0.
The product is taken over the states, or, where they are more than J, over the J agents in ascending order of state.
"""

import math
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.counts.tuples import counts_to_tuples
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.support.tables import as_integer

__all__ = ["MOST_COEFFICIENTS", "Basis", "as_frequencies"]

MOST_COEFFICIENTS = 3_000
"""The most coefficients of one lifted function: their least squares take seconds, and 72 MB for each matrix."""

MOST_DEGREE = 64
"""The largest degree: multinomial coefficients are then below 10^58, and all products far from the ends of a double."""


class Basis:
    """The lifted functions of one degree.

    Args:
        degree: J, at least 0 (the constants).
        num_sl: number of local states.
        device: where features live.

    Attributes:
        degree: J.
        simplex: the counts of J agents, which number the coefficients.

    Raises:
        ArgumentError: the degree is no integer of at least 0.
        SizeError: there are more than 3,000 coefficients.
    """

    def __init__(self, degree: int, num_sl: int, device: torch.device | str = "cpu") -> None:
        self.degree = as_integer("degree", degree, 0, math.inf, ArgumentError)
        self.simplex = CountSimplex(self.degree, num_sl, device)
        if self.degree > MOST_DEGREE:
            raise ArgumentError(f"degree = {self.degree} is above {MOST_DEGREE}, the largest that is computed with")
        if not fits(self.degree, num_sl):
            raise SizeError(
                f"degree = {self.degree} over {num_sl} local states has {self.simplex._size_in_words} coefficients, "
                f"more than the {MOST_COEFFICIENTS:,} that are fitted; use degree <= {largest_degree(num_sl)}"
            )

    @property
    def size(self) -> int:
        """How many coefficients a function has."""
        return self.simplex.size

    @cached_property
    def frequencies(self) -> Tensor:
        """g / J, `[N_J, sl]`: the coefficients of the frequencies themselves, which are lifted to h / k."""
        return self.simplex.frequencies

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        """Which factors make up each weight, `[min(sl, J), N_J]` rows of `_table`, and J! / prod_z g_z!, `[N_J, 1]`."""
        counts, width = self.simplex.counts, self.degree + 1
        ways = torch.lgamma(torch.tensor(width, dtype=torch.float64)) - torch.lgamma(counts.double() + 1).sum(-1)
        exact = torch.exp(ways).round().unsqueeze(-1)
        if self._by_state:
            return (torch.arange(self.simplex.num_sl, device=counts.device) * width + counts).T.contiguous(), exact
        agents = counts_to_tuples(counts)
        earlier = torch.stack([(agents[:, :j] == agents[:, j : j + 1]).sum(-1) for j in range(self.degree)])
        return agents.T * self.degree + earlier, exact

    @property
    def _by_state(self) -> bool:
        return self.simplex.num_sl <= max(self.degree, 1)

    def _table(self, counts: Tensor, k: float) -> Tensor:
        """Factors at counts `[sl, b]`: over i < g of (h_z - i)/k for row (z, g), or (h_z - i)/k for row (z, i)."""
        unit, step = (counts.sum(0), 0.0) if math.isinf(k) else (k, 1.0)
        single = torch.stack([(counts - i * step) / unit for i in range(self.degree)], 1)
        if not self._by_state:
            return single.flatten(0, 1)
        first = torch.ones_like(counts).unsqueeze(1)
        return torch.cat([first, single.cumprod(1)], 1).flatten(0, 1)

    def features(self, counts: Tensor, k: float) -> Tensor:
        """The weights of the coefficients at `counts [b, sl]` of k agents: `[b, N_J]`, float64, rows that sum to one.

        At k = inf counts are of any sum, and only their proportions are read.

        Raises:
            ArgumentError: the degree is above k.
        """
        if self.degree > k:
            raise ArgumentError(f"degree = {self.degree} is above k = {k}: J of the k agents are drawn")
        if self.degree == 0:
            return torch.ones(len(counts), 1, dtype=torch.float64, device=counts.device)
        factors, ways = self._factors
        table = self._table(counts.to(torch.float64).T.contiguous(), k)
        weights = ways / (1.0 if math.isinf(k) else math.prod(1 - i / k for i in range(self.degree)))
        product = table.index_select(0, factors[0]).mul_(weights)
        for row in factors[1:]:
            product.mul_(table.index_select(0, row))
        return product.T

    def elevate(self, coefficients: Tensor, higher: "Basis") -> Tensor:
        """The same functions in a higher degree: `[..., N_J]` to `[..., N_J']`."""
        if higher.degree == self.degree:
            return coefficients
        rows = lift(coefficients.reshape(-1, self.size), self.simplex, higher.simplex)
        return rows.reshape(*coefficients.shape[:-1], higher.size)


def as_frequencies(counts: Tensor, k: float) -> Tensor:
    """`counts [..., sl]` of k agents as frequencies, float64; at k = inf counts of any sum."""
    counts = counts.to(torch.float64)
    return counts / (counts.sum(-1, keepdim=True) if math.isinf(k) else k)


def fits(degree: int, num_sl: int) -> bool:
    """Whether a lifted function of this degree has at most `MOST_COEFFICIENTS` coefficients."""
    simplex = CountSimplex(degree, num_sl)
    if degree > MOST_DEGREE:
        return False
    return simplex.log10_size < 15 and simplex.size <= MOST_COEFFICIENTS


def largest_degree(num_sl: int, k: float = math.inf) -> int:
    """The largest degree, at most k, whose coefficients fit; at least 1."""
    degree = 1
    while degree + 1 <= min(k, MOST_DEGREE) and fits(degree + 1, num_sl):
        degree += 1
    return degree
