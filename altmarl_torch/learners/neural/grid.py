r"""Samples of few kinds: every count vector once, with the exact law of the next counts.

A batch of a thousand pairs (s_g, h) is wasted on a game in which there are eight. Where the counts of a sample (of
every size that is learned) and the global states make at most `FEW` pairs, they are listed, and what is drawn
elsewhere is computed: the expectation over the next counts by the kernels of `operators.surrogate`, the shares of the
pairs by pushing their law through the same kernels, and functions of the counts, like a network, are evaluated once at
each count vector and looked up.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex, rank_known
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["FEW", "CountGrid", "TablePolicy", "few_counts"]

FEW = 1024
"""Pairs (s_g, h) that are listed at most: as many as a gradient step would draw."""

Function = Callable[[Tensor], Tensor]
"""Of counts `[b, sl]`, row by row, to `[b, ...]`."""


@dataclass(frozen=True, eq=False)
class CountGrid:
    """Every count vector of the samples of a game.

    Attributes:
        surrogates: the exact k-agent game of each size.
        counts: `[N, sl]`, float32: those of the smallest size first, in rank order.
        kernel: `[sg, N, N]`, float32, law of the next counts.
    """

    surrogates: tuple[Surrogate, ...]
    counts: Tensor
    kernel: Tensor

    @classmethod
    def of(
        cls, game: Game, tables: tuple[Tensor, Tensor], samples: SampleSizes, prior: Prior | None
    ) -> "CountGrid | None":
        """The grid under the induced `tables` of Eq. 5 and 6; None where the pairs are not few."""
        if not few_counts(game, samples):
            return None
        plans = [PairPlan(CountSimplex(k, game.num_sl, game.device)) for k in samples.numbers]
        surrogates = tuple(Surrogate.from_tables(game, *tables, plan, prior) for plan in plans)
        counts = torch.cat([one.simplex.counts for one in surrogates]).float()
        kernel = counts.new_zeros(game.num_sg, len(counts), len(counts))
        for first, one in zip(_firsts(surrogates), surrogates, strict=True):
            own = slice(first, first + one.simplex.size)
            for sg in range(game.num_sg):
                kernel[sg, own, own] = _matrix(one, sg).float()
        return cls(surrogates, counts, kernel)

    @property
    def num_sg(self) -> int:
        """Number of global states."""
        return len(self.kernel)

    @property
    def size(self) -> int:
        """N, the number of count vectors."""
        return len(self.counts)

    def pairs(self) -> tuple[Tensor, Tensor]:
        """Every (s_g, h), in the order of a table `[sg, N]`: s_g `[sg N]` and counts `[sg N, sl]`."""
        s_g = torch.arange(self.num_sg, device=self.counts.device).repeat_interleave(self.size)
        return s_g, self.counts.repeat(self.num_sg, 1)

    def rank(self, counts: Tensor) -> Tensor:
        """The place in `counts` of each row of counts `[b, sl]`."""
        whole = counts.long()
        if len(self.surrogates) == 1:
            return rank_known(self.surrogates[0].simplex, whole)  # type: ignore[no-any-return]
        sizes, place = whole.sum(-1), torch.zeros_like(whole[:, 0])
        for first, one in zip(_firsts(self.surrogates), self.surrogates, strict=True):
            rows = sizes == one.simplex.k
            place[rows] = first + rank_known(one.simplex, whole[rows])
        return place

    def looked_up(self, function: Function) -> Function:
        """The same function of counts, evaluated at every count vector now, and looked up from then on."""
        table = function(self.counts)
        return lambda counts: table[self.rank(counts)]

    def broad_law(self) -> Tensor:
        """Every (s_g, h) of a size alike, and every size: `[sg, N]`."""
        sizes = [one.simplex.size for one in self.surrogates]
        law = torch.cat([self.counts.new_full((size,), 1 / (size * len(sizes) * self.num_sg)) for size in sizes])
        return law.expand(self.num_sg, -1)

    def visited(self, begin: Tensor, to_sg: Tensor, steps: int) -> Tensor:
        """The mean law of (s_g, h) over so many steps and the beginning, where s_g' follows `to_sg [sg, N, sg']`.

        `begin` and the answer are `[sg, N]`.
        """
        law = total = begin
        for _ in range(steps):
            law = rearrange((self.kernel.mT @ (law.unsqueeze(-1) * to_sg)).sum(0), "n G -> G n")
            total = total + law
        return total / (steps + 1)

    def initial_law(self) -> Tensor:
        """The law of (s_g, h) at the start, every size alike: `[sg, N]`, float32."""
        each = torch.cat([one.initial_law for one in self.surrogates], -1)
        return each.float() / len(self.surrogates)


def few_counts(game: Game, samples: SampleSizes) -> bool:
    """Whether the pairs (s_g, h) of all sizes are at most `FEW`."""
    simplexes = [CountSimplex(k, game.num_sl) for k in samples.numbers]
    if len(simplexes) > FEW or simplexes[-1].log10_size > math.log10(FEW) + 1:
        return False
    return game.num_sg * sum(simplex.size for simplex in simplexes) <= FEW


def _firsts(surrogates: Sequence[Surrogate]) -> Iterator[int]:
    """Where the counts of each begin."""
    return itertools.accumulate((one.simplex.size for one in surrogates[:-1]), initial=0)


def _matrix(surrogate: Surrogate, sg: int) -> Tensor:
    """The law of the next counts under s_g as a table `[N, N]`."""
    eye = torch.eye(surrogate.simplex.size, dtype=torch.float64, device=surrogate.simplex.device)
    return surrogate.kernels[sg].expect(eye)


@dataclass(frozen=True, eq=False)
class TablePolicy:
    """A pi_g that is looked up: a `learners.neural.policies.BatchPolicy`.

    Attributes:
        grid: the counts.
        table: `[N, sg, ag]`, float32.
    """

    grid: CountGrid
    table: Tensor

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of global states and actions."""
        return self.table.shape[1], self.table.shape[2]

    def laws(self, counts: Tensor) -> Tensor:
        """pi_g(. | s_g, h) for every s_g: `[b, sg, ag]`."""
        return self.table[self.grid.rank(counts)]

    def average(self, counts: Tensor, Q: Tensor) -> Tensor:
        """sum_a pi_g(a | s_g, h) Q(s_g, h, a) for every s_g: `[b, sg]`."""
        return (self.laws(counts) * Q).sum(-1)

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """pi_g(. | s_g, h): s_g `[b]` and counts `[b, sl]` to `[b, ag]`, float64."""
        return self.table[self.grid.rank(counts), s_g].double()
