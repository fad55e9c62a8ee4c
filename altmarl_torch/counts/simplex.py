r"""Count vectors: the states of k exchangeable agents.

The global agent may not tell its k sampled agents apart, so what it sees is the histogram of Definition 3.1,
F_{s_Delta}. Multiplied by k it is a *count vector* h = (h_0, ..., h_{S-1}) of non-negative integers with sum k, and
integers are what this package computes with: they can be compared, ranked and used as indices. There are

    N = C(k + S - 1, S - 1)

of them, in place of S^k tuples. They are numbered by how many of the k agents have *not* been placed yet. With
t_i = h_{i+1} + ... + h_{S-1}, the agents that remain after coordinate i,

    rank(h) = sum_{i=0}^{S-2} C(t_i + S - 2 - i, S - 1 - i),

which runs from 0 for (k, 0, ..., 0) to N - 1 for (0, ..., 0, k) in descending lexicographic order. The i-th term counts
the vectors that agree with h before coordinate i and hold more there (the combinatorial number system; Knuth, *The Art
of Computer Programming* 4A, section 7.2.1.3). Since the terms are greedy-decodable, unranking is one table search per
coordinate. Both need only binomials, hence work where the simplex is far too large to list.
"""

import math
import numbers
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.support.tables import as_device, as_integer, check_whole, refuse_booleans, refuse_first

__all__ = ["CountSimplex", "check_rows", "lift", "rank_known", "round_to_counts", "scale_up"]

MAX_LISTED_ENTRIES = 10**8
"""Entries of the largest table of counts or tuples that is listed: 800 MB of int64."""

INT64_MAX = 2**63 - 1

LARGEST_LOG10 = 100_000
"""Sizes of more digits are not computed exactly."""

LARGEST_BINOMIALS = 10**7
"""The most entries of the table of binomials that ranks are read from."""


class CountSimplex:
    """All ways of spreading k agents over num_sl local states.

    Args:
        k: number of agents, at least 0.
        num_sl: number of local states, at least 1.
        device: where `counts`, ranks and neighbour tables live.

    Raises:
        ArgumentError: k or num_sl is no integer of its range, or the device is not here.

    Examples:
        >>> import altmarl_torch as am
        >>> am.CountSimplex(k=3, num_sl=2).counts.tolist()
        [[3, 0], [2, 1], [1, 2], [0, 3]]
    """

    def __init__(self, k: int, num_sl: int, device: torch.device | str = "cpu") -> None:
        self.k = as_integer("k", k, 0, INT64_MAX, ArgumentError)
        self.num_sl = as_integer("num_sl", num_sl, 1, INT64_MAX, ArgumentError)
        self.device = as_device(device)

    @cached_property
    def size(self) -> int:
        """N = C(k + S - 1, S - 1), exactly."""
        if self.log10_size > LARGEST_LOG10:
            raise SizeError(f"{self!r}: too many to count exactly; use a smaller k")
        return math.comb(self.k + self.num_sl - 1, self.num_sl - 1)

    @cached_property
    def log10_size(self) -> float:
        """log10 N, for sizes that no number holds."""
        k, rest = self.k, self.num_sl - 1
        return (math.lgamma(k + rest + 1) - math.lgamma(k + 1) - math.lgamma(rest + 1)) / math.log(10)

    def __repr__(self) -> str:
        size = f"{self.size:,}" if self.log10_size < 15 else f"about 10^{self.log10_size:,.0f}"
        return f"CountSimplex(k={self.k}, num_sl={self.num_sl}): {size} count vectors"

    def __len__(self) -> int:
        if self.size > sys.maxsize:
            raise SizeError(f"{self!r} is more than len() can return; use .size")
        return self.size

    @property
    def size_in_words(self) -> str:
        """How many there are, as messages say it."""
        return f"{self.size:.3g}" if self.log10_size < 300 else f"about 10^{self.log10_size:,.0f}"

    @property
    def can_be_listed(self) -> bool:
        """Whether `counts` fits in memory (its entries number at most `MAX_LISTED_ENTRIES`)."""
        return self.log10_size < 15 and self.size * self.num_sl <= MAX_LISTED_ENTRIES and self.k <= MAX_LISTED_ENTRIES

    def require_listed(self) -> None:
        """Raise a SizeError, with the size and the way out, where the simplex is too large to list."""
        if not self.can_be_listed:
            raise SizeError(
                f"the simplex of k = {self.k} agents over {self.num_sl} local states has {self.size_in_words} count "
                f"vectors, too many to list (at most {MAX_LISTED_ENTRIES // self.num_sl:,}); use a smaller k"
            )

    @cached_property
    def counts(self) -> Tensor:
        """Every count vector, `[N, sl]` int64, in rank order. SizeError where there are too many."""
        self.require_listed()
        counts: Tensor = self.unrank(torch.arange(self.size, device=self.device))
        return counts

    @cached_property
    def frequencies(self) -> Tensor:
        """`counts / k`, `[N, sl]` float64: the histograms F_{s_Delta} of Definition 3.1. ArgumentError at k = 0."""
        if self.k == 0:
            raise ArgumentError(f"{self!r}: no agents have no frequencies; k must be at least 1")
        return self.counts.to(torch.float64) / self.k

    def rank(self, counts: Tensor) -> Any:
        """Number each count vector `[..., sl]` by its place in the list: `[...]`.

        An int64 tensor; for a simplex of more than 2^63 - 1 vectors, a NumPy array of Python integers.
        Counts that do not sum to k are in no list.

        Raises:
            ArgumentError: the counts are no integers of this width, or a row holds a negative one or has another sum.
        """
        self.check(counts)
        return rank_known(self, counts)

    def check(self, counts: object) -> None:
        """Raise an ArgumentError unless `counts [..., sl]` are integers of this simplex; it names the first bad row."""
        if not isinstance(counts, Tensor):
            raise ArgumentError(f"{self!r}: counts must be a tensor of integers, not {type(counts).__name__}")
        integers = not (counts.is_floating_point() or counts.is_complex() or counts.dtype is torch.bool)
        if counts.shape[-1:] != (self.num_sl,) or not integers:
            raise ArgumentError(
                f"{self!r}: counts must be integers [..., {self.num_sl}], not {list(counts.shape)} of {counts.dtype}"
            )
        check_rows(counts, self.k)

    def unrank(self, index: Any) -> Tensor:
        """Invert `rank`: an int64 tensor (or, beyond 2^63 - 1, an array of Python integers) `[...]` to `[..., sl]`.

        Raises:
            ArgumentError: an index is no integer, or lies outside 0..N-1.
        """
        if self.size > INT64_MAX:
            places = self._integers(index, lambda: np.asarray(index, dtype=object))
            return self._unrank_big(places.reshape(-1)).reshape(*places.shape, self.num_sl)
        rest = self._integers(index, lambda: torch.as_tensor(index, device=self.device)).to(torch.int64, copy=True)
        if rest.numel() and (int(rest.min()) < 0 or int(rest.max()) >= self.size):
            raise ArgumentError(f"{self!r}: an index lies outside 0..{self.size - 1}")
        tails = [torch.full_like(rest, self.k)]
        for i in range(self.num_sl - 1):
            column = self._binomials[:, i].contiguous()
            tails.append(torch.searchsorted(column, rest, right=True) - 1)
            rest -= column[tails[-1]]
        tails.append(torch.zeros_like(rest))
        stacked = torch.stack(tails, -1)
        return stacked[..., :-1] - stacked[..., 1:]

    def _integers(self, index: object, read: Callable[[], Any]) -> Any:
        """`index` as `read` reads it, if these are integers."""
        refuse_booleans("index", index, ArgumentError)
        try:
            found = read()
        except (TypeError, ValueError, RuntimeError, OverflowError):
            found = None
        if isinstance(found, Tensor):
            whole = found.numel() == 0 or not (
                found.is_floating_point() or found.is_complex() or found.dtype is torch.bool
            )
        else:
            whole = found is not None and all(isinstance(entry, numbers.Integral) for entry in found.flat)
        if not whole:
            raise ArgumentError(f"{self!r}: an index must be an integer in 0..{self.size - 1}, not {index!r}")
        return found

    def _unrank_big(self, index: Any) -> Tensor:
        rest = index.copy()
        if rest.size and (rest.min() < 0 or rest.max() >= self.size):
            raise ArgumentError(f"{self!r}: an index lies outside 0..{self.size - 1}")
        tails = [np.full(rest.shape, self.k, dtype=np.int64)]
        for i in range(self.num_sl - 1):
            column = self._big_binomials[:, i]
            tails.append(np.searchsorted(column, rest, side="right") - 1)
            rest = rest - column[tails[-1]]
        tails.append(np.zeros(rest.shape, dtype=np.int64))
        return torch.as_tensor(-np.diff(np.stack(tails, -1), axis=-1), device=self.device)

    @cached_property
    def _big_binomials(self) -> Any:
        """`[k + 1, sl - 1]` Python integers: entry (t, i) is C(t + S - 2 - i, S - 1 - i)."""
        if (self.k + 1) * (self.num_sl - 1) > LARGEST_BINOMIALS:
            raise SizeError(f"{self!r}: ranks need {self.k + 1:,} x {self.num_sl - 1:,} binomials; use a smaller k")
        if self.num_sl == 1:
            return np.empty((self.k + 1, 0), dtype=object)
        last = self.num_sl - 2
        rows = [[math.comb(t + last - i, last + 1 - i) for i in range(last + 1)] for t in range(self.k + 1)]
        return np.array(rows, dtype=object).reshape(self.k + 1, last + 1)

    @cached_property
    def _binomials(self) -> Tensor:
        return torch.as_tensor(self._big_binomials.astype(np.int64), device=self.device)

    @cached_property
    def _columns(self) -> tuple[Tensor, Tensor]:
        """The binomials one column behind the other, `[sl - 1, k + 1]`, and where in them t = k stands, `[sl - 1]`."""
        columns = torch.arange(1, self.num_sl, device=self.device)
        return self._binomials.T.contiguous(), columns * (self.k + 1) - 1

    @cached_property
    def tail_ranks(self) -> Tensor:
        """`[sl - 1, k + 1]` int32 on the CPU: what t agents behind coordinate i add to a rank, C(t + S-2-i, S-1-i)."""
        return self._binomials.T.to("cpu", torch.int32).contiguous()

    @cached_property
    def one_by_one(self) -> list[tuple[Tensor, Tensor, Tensor]]:
        """For j = 1..k agents: a state u that each h occupies `[N_j]`, the rank of h - e_u, and those of h' + e_y."""
        ranks = []
        for j in range(1, self.k + 1):
            larger = CountSimplex(j, self.num_sl, self.device)
            smaller, without = larger.remove_one()
            occupied = larger.counts.argmax(-1)
            ranks.append((occupied, without.gather(-1, occupied[:, None])[:, 0], smaller.add_one()[1]))
        return ranks

    @property
    def level_sizes(self) -> list[int]:
        """How many count vectors 0, 1, ..., k agents have."""
        return [math.comb(j + self.num_sl - 1, self.num_sl - 1) for j in range(self.k + 1)]

    def coarser(self, size: int) -> "CountSimplex":
        """The simplex of the most agents, at most k, with at most `size` count vectors (of one agent at the least)."""
        fits = (CountSimplex(k, self.num_sl, self.device) for k in range(self.k, 0, -1))
        return next((simplex for simplex in fits if simplex.size <= size or simplex.k == 1), self)

    def remove_one(self) -> tuple["CountSimplex", Tensor]:
        """The simplex of k - 1 agents, and where each h lands when one agent of state z leaves.

        Returns the smaller simplex and `[N, sl]` int64, the rank of h - e_z there; 0 where h_z = 0 (weigh it by h_z).
        """
        ranks = self._neighbours(-1)
        return CountSimplex(self.k - 1, self.num_sl, self.device), ranks.masked_fill(self.counts == 0, 0)

    def add_one(self) -> tuple["CountSimplex", Tensor]:
        """The simplex of k + 1 agents, and `[N, sl]` int64, the rank there of h + e_z."""
        return CountSimplex(self.k + 1, self.num_sl, self.device), self._neighbours(1)

    def _neighbours(self, change: int) -> Tensor:
        """Ranks of h + change e_z among the vectors of k + change agents, `[N, sl]`.

        One agent more or less in state z changes the tails t_i of i < z and no others, so two table look-ups for each
        coordinate serve all z.
        """
        tails = self.k - self.counts.cumsum(-1)[:, :-1]
        columns = torch.arange(self.num_sl - 1, device=self.device)
        table = CountSimplex(self.k + 1, self.num_sl, self.device)._binomials
        same, shifted = table[tails, columns], table[(tails + change).clamp_min(0), columns]
        before, nothing = shifted.cumsum(-1), torch.zeros_like(self.counts[:, :1])
        after = same.sum(-1, keepdim=True) - same.cumsum(-1)
        total = same.sum(-1, keepdim=True)
        return torch.cat([nothing, before], -1) + torch.cat([total, after], -1)


def rank_known(simplex: CountSimplex, counts: Tensor) -> Any:
    """As `CountSimplex.rank`, for counts that are known to be of this simplex: they are not checked."""
    before = counts.cumsum(-1)[..., :-1]
    if simplex.size > INT64_MAX:
        columns = range(simplex.num_sl - 1)
        big, tails = simplex._big_binomials, (simplex.k - before).cpu().numpy()
        return sum((big[tails[..., i], i] for i in columns), np.zeros(tails.shape[:-1], dtype=object))
    table, full = simplex._columns
    return table.to(before.device).take(full.to(before.device) - before).sum(-1)


def check_rows(counts: Tensor, k: int, slack: float = 0.0) -> None:
    """Raise an ArgumentError unless the rows of `counts [..., sl]` are counts of k agents.

    Without slack they are whole numbers, of any type, from 0 on with sum k; with it, k times frequencies, to `slack` k.
    """
    refuse_booleans("counts", counts, ArgumentError)
    if not counts.numel():
        return
    rows = counts.reshape(-1, counts.shape[-1])
    total = rows.sum(-1)
    short = ~((total - k).abs() <= slack * k)
    if not bool(rows.min() >= -slack * k) or bool(short.any()):  # the least of all is found faster than that of each
        rule, least = f"the counts of k agents are at least 0 and sum to k = {k}", rows.amin(-1)
        refuse_first("counts", least, "row", ~(least >= -slack * k), rule, ArgumentError, verb="holds")
        refuse_first("counts", total, "row", short, rule, ArgumentError, verb="sums to")
    if counts.is_floating_point() and not slack:
        check_whole("counts", rows, "row sl", ArgumentError)


def lift(values: Tensor, smaller: CountSimplex, larger: CountSimplex) -> Tensor:
    """Carry values `[rows, N_j]` of j agents to k >= j: V_k(h) is the mean of V_j over the j-subsamples of h.

    One agent at a time, V_{j+1}(h) = sum_z h_z / (j + 1) V_j(h - e_z): the degree elevation of a Bernstein polynomial.
    From a single agent it is one step to any k: V_k(h) = sum_z h_z / k V_1(e_z).
    """
    if smaller.k == 1:
        return values @ larger.frequencies.T
    for j in range(smaller.k + 1, larger.k + 1):
        simplex = larger if j == larger.k else CountSimplex(j, larger.num_sl, larger.device)
        _, without = simplex.remove_one()
        columns, weights = without.T.contiguous(), simplex.frequencies.T.contiguous()
        values = torch.stack([_mean_without_one(row, columns, weights) for row in values])
    return values


def _mean_without_one(row: Tensor, columns: Tensor, weights: Tensor) -> Tensor:
    mean = torch.zeros_like(weights[0])
    for column, weight in zip(columns, weights, strict=True):
        mean.addcmul_(row.index_select(0, column), weight)
    return mean


def scale_up(smaller: CountSimplex, larger: CountSimplex) -> Tensor:
    """The rank in `larger` of each count vector of `smaller`, scaled to its k by largest remainders: `[N_j]`."""
    ranks: Tensor = larger.rank(round_to_counts(smaller.frequencies, larger.k))
    return ranks


def round_to_counts(frequencies: Tensor, k: int) -> Tensor:
    """The counts with sum k nearest to k `frequencies [..., sl]` (which sum to one), by largest remainders: int64.

    Of remainders that are equal, but for rounding, the first is rounded up first.
    """
    shares = frequencies * k
    whole = (shares + 1e-9).floor()
    missing = (k - whole.sum(-1, keepdim=True)).long()
    # whole numbers that all differ: remainders to 2^-36, and the place where these are equal
    num_sl = frequencies.shape[-1]
    order = ((shares - whole).double() * 2.0**36).round_().mul_(num_sl) - torch.arange(num_sl, device=shares.device)
    last = order.sort(-1, descending=True).values.gather(-1, missing.clamp_min_(0))
    return (whole + (order > last)).to(torch.int64)
