r"""A transition matrix as a product of moves between two states, and what that does to functions of counts.

Let k agents move independently, each by the same law P [sl, sl']. On functions of the count vector h this is the
operator (E_P f)(h) = E[f(h') | h]. It respects products: if P = B_1 B_2 ... B_M, then
E_P = E_{B_1} E_{B_2} ... E_{B_M}, since to move by P is to move by B_1, then by B_2, and so on. So take for the B's the
simplest matrices there are, *pair moves*: B is the identity but for two states i < j, where an agent in i goes to j
with probability a and one in j to i with probability b. A pair move leaves d = h_i + h_j and every other count alone,
and for given d the law of h_i' is that of Binomial(h_i, 1 - a) + Binomial(d - h_i, b): one (d+1) x (d+1) matrix for
all the counts that share d.

**Cost.** With one pair move for each of the S(S-1)/2 pairs, E_P is that many rounds of k + 1 matrix products, about
N k S flops in all instead of the N^2 of a dense kernel, and N itself is never squared in memory. At k = 50 and S = 5,
N = 316,251.

How a matrix is factored is told in `factoring`.

**Accuracy.** Moves with a, b in [0, 1] are stochastic, so rounding errors are averaged, never amplified. A move outside
that range is no law but still an exact factor; it can amplify errors by at most c^k, where
c = max(|a| + |1 - a|, |b| + |1 - b|). The product of these factors times machine epsilon bounds the relative error
(`PairMoves.error_bound`), and a factorization is only used where that stays below a tolerance.
"""

import math
from functools import cached_property
from itertools import accumulate
from typing import Protocol

import torch
from torch import Tensor

from altmarl_torch.counts.interpolation import Interpolation
from altmarl_torch.counts.simplex import CountSimplex

__all__ = ["PairPlan", "apply_moves", "binomial_matrices"]

MANY_COUNTS = 30_000
"""With at least so many counts, gathers cost more than the calls of the small matrix products."""

WORDS = {4: torch.float32, 8: torch.float64, 16: torch.complex128}
"""A number of each size in bytes, to move a row of values as."""

NATURAL = (-1, -1)
"""The layout of values in rank order, beside the layouts of the pairs."""


def binomial_matrices(chances: Tensor, k: int) -> list[Tensor]:
    """The laws of h_i' for every number d = h_i + h_j of agents in a pair: for d = 0..k, `[..., d + 1, d + 1]`.

    `chances [..., 2]` are those of a move. Entry (x, y) of the d-th matrix is the chance that Binomial(x, 1 - a) +
    Binomial(d - x, b) is y. Adding one agent to state i (x > 0) or to state j (x = 0) gives each matrix from the last.
    """
    a, b = chances[..., 0, None], chances[..., 1, None]
    laws = [chances.new_ones(*chances.shape[:-1], 1, 1)]
    for d in range(1, k + 1):
        last, law = laws[-1], chances.new_zeros(*chances.shape[:-1], d + 1, d + 1)
        law[..., 1:, 1:] += (1 - a[..., None]) * last
        law[..., 1:, :-1] += a[..., None] * last
        law[..., 0, 1:] += b * last[..., 0, :]
        law[..., 0, :-1] += (1 - b) * last[..., 0, :]
        laws.append(law)
    return laws


class CountLaw(Protocol):
    """A law of counts, as a game's initial one (`games.InitialLaw`)."""

    def count_law(self, counts: Tensor) -> Tensor:
        """P(h) for each row h of `counts [N, sl]`: `[N]`."""


class PairPlan:
    """How to lay the values on a simplex out so that a pair move is k + 1 plain matrix products.

    In the layout of the pair (i, j) the count vectors are sorted by d = h_i + h_j, then by h_i, then by the rest: the
    vectors of one d form a block `[d + 1, others]`. One plan serves every kernel on its simplex.
    """

    def __init__(self, simplex: CountSimplex) -> None:
        self.simplex = simplex
        self.fallback_announced = False  # whether the log says that a kernel on this simplex is sampled
        self._orders: dict[tuple[int, int], Tensor] = {}
        self._hops: dict[tuple[tuple[int, int], tuple[int, int]], Tensor] = {}
        self._listed: tuple[CountLaw, Tensor] | None = None

    def listed(self, law: CountLaw) -> Tensor:
        """A law of the counts as a table `[N]`, made once: what starts there asks for the same one again and again."""
        if self._listed is None or self._listed[0] is not law:
            self._listed = law, law.count_law(self.simplex.counts)
        return self._listed[1]

    @cached_property
    def companions(self) -> "PairPlan":
        """The plan of one agent's k - 1 companions."""
        simplex = self.simplex
        return PairPlan(CountSimplex(simplex.k - 1, simplex.num_sl, simplex.device))

    @cached_property
    def half(self) -> "PairPlan":
        """The plan of half as many agents."""
        simplex = self.simplex
        return PairPlan(CountSimplex(simplex.k // 2, simplex.num_sl, simplex.device))

    @cached_property
    def from_half(self) -> Interpolation:
        """Reads tables over half as many agents (of at least two)."""
        return Interpolation(self.half.simplex, self.simplex)

    @cached_property
    def to_half(self) -> Interpolation:
        """Reads tables over these counts at those of half as many agents (of at least two)."""
        return Interpolation(self.simplex, self.half.simplex)

    @cached_property
    def emptied(self) -> Tensor:
        """Where h without its agents in z is in the lists of 0, 1, ..., k agents, one behind the other: `[N, sl]`."""
        starts = list(accumulate(self.simplex.level_sizes, initial=0))
        states = torch.arange(self.simplex.num_sl, device=self.simplex.device)
        places = torch.zeros_like(states[None])
        for start, (occupied, _, joined) in zip(starts[1:-1], self.simplex.one_by_one, strict=True):
            here = torch.arange(start, start + len(occupied), device=states.device)
            fewer, places = places, here[:, None].repeat(1, len(states))
            places[joined, states] = fewer  # h = g + e_z loses its agents in z as g does
        return places

    @cached_property
    def block_sizes(self) -> list[int]:
        """How many count vectors have h_i + h_j = d, for d = 0..k; the same for every pair."""
        k, rest = self.simplex.k, self.simplex.num_sl - 2
        return [(d + 1) * (math.comb(k - d + rest - 1, rest - 1) if rest else int(d == k)) for d in range(k + 1)]

    def blocks(self, values: Tensor) -> list[Tensor]:
        """Views of values `[N, batch]` in the layout of a pair: for d = 0..k, `[d + 1, others * batch]`."""
        parts = torch.split(values, self.block_sizes)
        return [part.view(d + 1, -1) for d, part in enumerate(parts)]

    def order(self, pair: tuple[int, int]) -> Tensor:
        """The ranks of the count vectors in the layout of a pair, `[N]`."""
        if pair not in self._orders:
            counts = self.simplex.counts
            if pair == NATURAL:
                order = torch.arange(len(counts), device=counts.device)
            else:
                within, other = counts[:, pair[0]], counts[:, pair[0]] + counts[:, pair[1]]
                order = torch.argsort(other * (self.simplex.k + 1) + within, stable=True)
            self._orders[pair] = order
        return self._orders[pair]

    def hop(self, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
        """The gather that takes values from one layout to another: `[N]` int32."""
        if (old, new) not in self._hops:
            place = torch.empty_like(self.order(old))
            place[self.order(old)] = torch.arange(len(place), device=place.device)
            self._hops[old, new] = place[self.order(new)].to(torch.int32)
        return self._hops[old, new]


def apply_moves(
    plan: PairPlan, pairs: tuple[tuple[int, int], ...], laws: list[list[Tensor]], values: Tensor, *, adjoint: bool
) -> Tensor:
    """Apply E_{B_1} ... E_{B_M} to values `[N, batch]` in rank order, or its transpose to laws.

    `laws[m][d]` is the binomial matrix of move m for d agents, transposed if `adjoint`. Large tables are taken a few
    columns at a time, so many as fill one machine word (see `_gather`).
    """
    if len(values) < MANY_COUNTS:
        return _apply_to_columns(plan, pairs, laws, values, adjoint)
    groups, start = [], 0
    while start < values.shape[1]:
        width = next(w for w in (16, 8, 4) if w <= (values.shape[1] - start) * values.itemsize) // values.itemsize
        columns = values[:, start : start + width].contiguous()
        groups.append(_apply_to_columns(plan, pairs, laws, columns, adjoint))
        start += width
    return torch.cat(groups, -1)


def _apply_to_columns(
    plan: PairPlan, pairs: tuple[tuple[int, int], ...], laws: list[list[Tensor]], values: Tensor, adjoint: bool
) -> Tensor:
    here, done = NATURAL, values
    laid_out, moved = torch.empty_like(values), torch.empty_like(values)
    sources, targets = plan.blocks(laid_out), plan.blocks(moved)
    for m in range(len(pairs)) if adjoint else reversed(range(len(pairs))):
        _gather(done, plan.hop(here, pairs[m]), laid_out)
        for law, source, target in zip(laws[m], sources, targets, strict=True):
            torch.mm(law, source, out=target)
        here, done = pairs[m], moved
    return _gather(done, plan.hop(here, NATURAL), laid_out)


def _gather(values: Tensor, index: Tensor, out: Tensor) -> Tensor:
    """`out[i] = values[index[i]]` for rows of `[N, batch]`.

    A row of 4, 8 or 16 bytes is moved as a single number: gathering numbers is several times faster than rows.
    """
    word = WORDS.get(values.shape[1] * values.itemsize)
    if word is None:
        torch.index_select(values, 0, index, out=out)
    else:
        torch.index_select(values.view(word).squeeze(-1), 0, index, out=out.view(word).squeeze(-1))
    return out
