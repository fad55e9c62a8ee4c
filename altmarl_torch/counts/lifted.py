r"""Lifted functions: the mean of a function of J agents over the J-subsamples of k.

Let c be a function of the counts g of J agents, one number for each of the C(J + S - 1, S - 1) count vectors. For
counts h of k >= J agents,

    (lift c)(h) = E c(g),      g the counts of J of the k agents, drawn without replacement
                = sum_g c(g) prod_z C(h_z, g_z) / C(k, J),

a polynomial of degree J in the frequencies h / k. As k grows it tends to the Bernstein polynomial with coefficients c,

    (lift c)(mu) = sum_g c(g) J! prod_z mu_z^{g_z} / g_z!,        J draws with replacement from mu.

Three facts are all that learners rest on (proofs in `docs/lifted.md`):

* The weights of c are a law: a constant is lifted to itself, an inequality stays one.
* Degrees are nested: whoever draws J of the k agents may draw J + 1 first (`counts.simplex.lift`).
* **E_k lift(c) = lift(E_J c)** for every k, infinity included: J of k agents that move independently are J agents that
  move (`learners.lifted.moves`). At J = k a lifted function is any function of the counts.

**Numbers.** The weight of g is J! / prod_{i<J} (1 - i/k) times prod_z prod_{i<g_z} (h_z - i)/(k (i + 1)). Every
factor is at most one in size and correct to rounding, whether k is 3 or 10^9, and no large binomials meet; k = inf is
i/k = 0.
The product over the states is one of two halves, each made once for all weights that share it; where states are more
than J, it is taken over the J agents in ascending order of state.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.counts.degrees import MOST_DEGREE
from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.counts.tuples import counts_to_tuples
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.support.tables import as_integer

__all__ = [
    "MOST_COEFFICIENTS",
    "SINGLE",
    "Basis",
    "add_products",
    "as_frequencies",
    "fits",
    "largest_degree",
    "of_groups",
]

MOST_COEFFICIENTS = 3_000
"""The most coefficients of one lifted function: each square matrix of their least squares takes 72 MB."""

SINGLE = 20
"""The largest degree whose weights are computed in float32: they are positive, so that rounding stays small. J! of 35
and more is no float32."""


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
                f"degree = {self.degree} over {num_sl} local states has {self.simplex.size_in_words} coefficients, "
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
    def _plan(self) -> "_Plan | None":
        """How weights are products over the states; None where agents are fewer than states."""
        by_state = self.simplex.num_sl <= max(self.degree, 1)
        return _plan(self.simplex.counts, self.degree) if by_state else None

    @cached_property
    def _agents(self) -> tuple[Tensor, Tensor]:
        """Which factors make up each weight, `[J, N_J]` rows of (h_z - i)/k, and J! / prod_z g_z!, `[N_J, 1]`."""
        counts = self.simplex.counts
        agents = counts_to_tuples(counts)
        earlier = torch.stack([(agents[:, :j] == agents[:, j : j + 1]).sum(-1) for j in range(self.degree)])
        ways = math.lgamma(self.degree + 1) - torch.lgamma(counts.double() + 1).sum(-1)
        return agents.T * self.degree + earlier, torch.exp(ways).round().unsqueeze(-1)

    def features(self, counts: Tensor, k: float | Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """The weights of the coefficients at `counts [b, sl]` of k agents: `[b, N_J]`, rows that sum to one.

        k may be another number for each row, `[b]`. At k = inf counts are of any sum, and only their proportions are
        read. Weights of float32 are computed in float64 where the degree is above `SINGLE`.

        Raises:
            ArgumentError: the degree is above k.
        """
        working = dtype if self.degree <= SINGLE else torch.float64
        if isinstance(k, Tensor):
            k = k.to(working)
        if bool(torch.as_tensor(self.degree > k).any()):
            least = float(torch.as_tensor(k).min())
            raise ArgumentError(f"degree = {self.degree} is above k = {least:g}: J of the k agents are drawn")
        if self.degree == 0:
            return torch.ones(len(counts), 1, dtype=dtype, device=counts.device)
        states = counts.to(working).T.contiguous()
        everybody = not isinstance(k, Tensor) and math.isinf(k)
        unit, step = (states.sum(0), 0.0) if everybody else (k, 1.0)
        before = torch.arange(self.degree, dtype=working, device=counts.device).unsqueeze(-1)
        single = (states.unsqueeze(1) - before * step) / unit  # [sl, J, b]
        drawn = (1 - before / k).prod(0) if isinstance(k, Tensor) else math.prod(1 - i / k for i in range(self.degree))
        weights = self._over_agents(single, drawn) if self._plan is None else self._over_states(single, drawn)
        return weights.to(dtype).T

    def _over_states(self, single: Tensor, drawn: float | Tensor) -> Tensor:
        """The weights `[N_J, b]` as products over the states, each factor with its 1/g_z!."""
        assert self._plan is not None
        single = single / torch.arange(1, self.degree + 1, dtype=single.dtype, device=single.device).unsqueeze(-1)
        table = torch.cat([torch.ones_like(single[:, :1]), single.cumprod(1)], 1)  # [sl, 0..J, b]
        table[0] *= float(math.factorial(self.degree)) / drawn
        return self._plan.product(table)

    def _over_agents(self, single: Tensor, drawn: float | Tensor) -> Tensor:
        """The weights `[N_J, b]` as products over the agents."""
        (factors, ways), table = self._agents, single.flatten(0, 1)
        product = table.index_select(0, factors[0]).mul_((ways / drawn).to(single.dtype))
        for row in factors[1:]:
            product.mul_(table.index_select(0, row))
        return product

    def elevate(self, coefficients: Tensor, higher: "Basis") -> Tensor:
        """The same functions in a higher degree: `[..., N_J]` to `[..., N_J']`."""
        if higher.degree == self.degree:
            return coefficients
        rows = lift(coefficients.reshape(-1, self.size), self.simplex, higher.simplex)
        return rows.reshape(*coefficients.shape[:-1], higher.size)


@dataclass(frozen=True, eq=False)
class _Plan:
    """A product over some states, as products over their first and their last half, each of which is made once.

    Attributes:
        rows: which product of a half goes into each product, two of `[N]`; of a single state, which count, one.
        halves: how those are made; none of a single state.
    """

    rows: tuple[Tensor, ...]
    halves: tuple["_Plan", ...] = ()

    def product(self, table: Tensor) -> Tensor:
        """The products `[N, b]` of factors `[state, count, b]`."""
        if not self.halves:
            return table[0].index_select(0, self.rows[0])
        middle = len(table) // 2
        first, last = (
            half.product(part) for half, part in zip(self.halves, (table[:middle], table[middle:]), strict=True)
        )
        return first.index_select(0, self.rows[0]).mul_(last.index_select(0, self.rows[1]))


def _plan(counts: Tensor, most: int) -> _Plan:
    """The plan of products for `counts [N, states]`, of at most so many agents in all."""
    states = counts.shape[1]
    if states == 1:
        return _Plan((counts[:, 0].contiguous(),))
    rows, halves = [], []
    for half in (counts[:, : states // 2], counts[:, states // 2 :]):
        simplex = CountSimplex(most, half.shape[1] + 1, counts.device)  # the last state: whoever is elsewhere
        rows.append(simplex.rank(torch.cat([half, most - half.sum(-1, keepdim=True)], -1)))
        halves.append(_plan(simplex.counts[:, :-1], most))
    return _Plan(tuple(rows), tuple(halves))


def of_groups(groups: Tensor, features: Tensor, coefficients: Tensor | Sequence[Tensor]) -> Tensor:
    """Functions of each row's own group: `[b, c]` from features `[b, N_J]` and coefficients `[c, N_J]` of each group.

    Rows that come in the order of their `groups [b]` are not moved.
    """
    if bool((groups[1:] < groups[:-1]).any()):
        order = groups.argsort(stable=True)
        values = of_groups(groups[order], features[order], coefficients)
        return torch.empty_like(values).index_copy_(0, order, values)
    if not len(groups):
        return features.new_empty(0, len(coefficients[0]))
    used, rows = _stretches(groups)
    parts = zip(used, torch.split(features, rows), strict=True)
    return torch.cat([(coefficients[group] @ part.T).T for group, part in parts])  # features are made by columns


def add_products(sums: Tensor, groups: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left [b, x]` times `right [b, y]`, in its type, to `sums [groups, x, y]`, each row to its group's, in place.

    Rows of one group should be neighbours: each stretch of them is one product.
    """
    used, rows = _stretches(groups)
    parts = (torch.split(part, rows) for part in (left.to(right.dtype), right))
    for group, own, other in zip(used, *parts, strict=True):
        sums[group].add_(own.T @ other)


def _stretches(groups: Tensor) -> tuple[list[int], list[int]]:
    """Which groups follow one another, and of how many rows each."""
    used, rows = torch.unique_consecutive(groups, return_counts=True)
    return used.tolist(), rows.tolist()


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
