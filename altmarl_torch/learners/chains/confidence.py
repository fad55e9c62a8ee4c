r"""UCFH's confidence sets, and the best and the worst expectation over them (Algorithm 6).

**The set.** After n visits of a row (s, a), of which a share p led to s', its probability is taken to be any p' with

    |sqrt(p'(1-p')) - sqrt(p(1-p))| <= sqrt( 2L / (n-1) )                                     (spread)
    |p' - p| <= min( sqrt( L / (2n) ),  sqrt( 2 p(1-p) L / n ) + 7L / (3(n-1)) )              (mean)

with L = ln(6/delta_1): Hoeffding's and the empirical Bernstein inequality, and one for the standard deviation. For n <=
1 it is all of [0, 1]. The first condition allows two intervals, one on either side of 1/2, so the set is cut from

    ( [x(lo), x(hi)]  or  [1 - x(hi), 1 - x(lo)] )  and  [p - w, p + w],        x(g) = (1 - sqrt(1 - 4g^2)) / 2,

lo and hi being the ends of what the spread may be. What is used is its smallest enclosing interval. (It is the set
itself: the second of two intervals would begin farther from p than w reaches, since sqrt(L/(2n)) is less than half the
spread's slack. What the spread forbids still cuts the ends of the first.) A row with one successor is known: p' = 1.

**The expectation** (Algorithm 6). Over all p' in the intervals that sum to one, E V is largest where each successor has
its lower end and the rest of the mass goes to the best successors first, as far as each has room: sort by V, and fill
by cumulative sums. Only the row's own successors take part. (Printed, `i' := i + 1` stands for `i := i + 1`.) The worst
expectation is that of -V with its sign turned.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.learners.chains.episodic import Block

__all__ = ["ConfidenceSets", "confidence_interval"]


def confidence_interval(share: Tensor, visits: Tensor, log_term: float) -> tuple[Tensor, Tensor]:
    """The ends of the set's enclosing interval.

    Args:
        share: p, how often the successor came, of all visits.
        visits: n, of the same shape or one that broadcasts.
        log_term: L = ln(6/delta_1), or less for a heuristic.
    """
    n = visits.clamp_min(2)
    variance = share * (1 - share)
    bernstein = (2 * variance * log_term / n).sqrt() + 7 * log_term / (3 * (n - 1))
    width = torch.minimum((log_term / (2 * n)).sqrt(), bernstein)
    slack, spread = (2 * log_term / (n - 1)).sqrt(), variance.sqrt()
    inner, outer = _where_spread_is((spread + slack).clamp_max(0.5)), _where_spread_is((spread - slack).clamp_min(0))
    lower, upper = torch.maximum(share - width, outer), torch.minimum(share + width, 1 - outer)
    # an end in the gap (inner, 1 - inner), which the spread forbids, moves to the gap's edge on the side of the set
    lower = torch.where((lower > inner) & (lower < 1 - inner), 1 - inner, lower)
    upper = torch.where((upper > inner) & (upper < 1 - inner), inner, upper)
    unknown = visits <= 1
    # rounding must not push p out: then the intervals hold a law, p itself
    return lower.minimum(share).masked_fill(unknown, 0.0), upper.maximum(share).masked_fill(unknown, 1.0)


def _where_spread_is(spread: Tensor) -> Tensor:
    """The p in [0, 1/2] with sqrt(p(1-p)) = spread."""
    return 2 * spread**2 / (1 + (1 - 4 * spread**2).clamp_min(0).sqrt())


@dataclass(frozen=True, eq=False)
class ConfidenceSets:
    """Intervals for the probability of every transition: the laws that UCFH holds possible."""

    lower: Tensor  # [transitions]
    upper: Tensor  # [transitions]

    def best(self, block: Block, values: Tensor) -> Tensor:
        """The largest E V(s') over the sets, for the rows of a block: `[R]`."""
        lower = self.lower[block.edges]
        found, order = values[block.successors].sort(-1, descending=True)
        room = (self.upper[block.edges] - lower).gather(-1, order)
        before = room.cumsum(-1) - room
        given = (1 - lower.sum(-1, keepdim=True) - before).clamp_min(0).minimum(room)
        return ((lower.gather(-1, order) + given) * found).sum(-1)

    def worst(self, block: Block, values: Tensor) -> Tensor:
        """The smallest E V(s') over the sets: `[R]`."""
        return -self.best(block, -values)
