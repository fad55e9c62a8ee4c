"""A population of exchangeable agents, kept as counts: moving all of it, and drawing a few of it.

Agents that share their laws need no names. c(z), the number of agents in state z, is kept as a whole number in float64
(exact up to 2^53, the largest n of a game), for a batch of systems at once: `counts [B, sl]`. Two random operations
are all that Algorithm 4 asks for, and neither costs more for 10^9 agents than for 10.

Moving: a sum of multinomials
-----------------------------
The c(u) agents in state u move independently with law P[u, .], so c' = sum_u Multinomial(c(u), P[u, .]). A multinomial
is drawn one destination at a time: of the agents of u that are left, each goes to j = 0, 1, .. with probability

    share(u, j) = P[u, j] / (P[u, j] + P[u, j+1] + ..),

so their number is Binomial(left, share), and the last destination takes the remainder: no agent is ever lost. All
sources and all systems share the call, |S_l| - 1 calls per move. Many states have sparse laws, those of several types
above all, and then only sources from where j can be reached take part in its call (`Dealer`).

A few hundred agents are as cheap to move one by one, each by a uniform number of its own that is looked up in the
running sums of its law (`mover.CountMover`). Two systems that are fed by equal generators then stay coupled agent by
agent, while binomials, which use up random numbers according to their luck, fall out of step at the first difference.

Drawing without replacement: a multivariate hypergeometric
----------------------------------------------------------
The states of k agents out of n, drawn without replacement, are k balls out of an urn with c(z) balls of colour z.
Number the agents 0, .., n-1 in the order of their states; draw k distinct numbers uniformly; count how many fall into
the stretch [c(0) + .. + c(z-1), c(0) + .. + c(z)) of each state. The numbers do not depend on c, so those of
many draws are found at once, and the counting is a search of |S_l| ends in k sorted numbers. For k > n/2 the n - k
agents that are *left out* are drawn instead: there are fewer of them.

Distinct numbers come by rejection. Draw k independent numbers, keep one of each, draw anew in place of those that
repeat, until none does. How many are drawn anew depends on which numbers are equal and never on what they are.
Permuting the names 0, .., n-1 therefore permutes the outcomes; every subset of size k is as probable as any other; the
subset is exactly uniform. With 2k <= n a new number repeats another with probability below 1/2, so each round at
least halves the work that is left, on average.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

__all__ = [
    "Dealer",
    "broad_laws",
    "count_labels",
    "deal",
    "dirichlet",
    "distinct_labels",
    "draw_sample",
    "split",
    "split_shares",
]

BROAD = -1.5, 1.5
"""Powers of ten between which the concentrations of broad laws lie."""


def split_shares(law: Tensor) -> Tensor:
    """For a law p [..., d]: p_j / (p_j + p_{j+1} + ..), the share of those left that go to j.

    Summed from the tail, the denominator of the last possible destination is exactly its numerator: its share is 1 and
    nobody is left over. Where nobody can be left the share is 0.
    """
    tail = law.flip(-1).cumsum(-1).flip(-1)
    return torch.where(tail > 0, law / tail, torch.zeros_like(law)).clamp(0.0, 1.0)


def split(counts: Tensor, shares: Tensor, generator: torch.Generator) -> Tensor:
    """Move counts [B, u] (whole numbers, float64) by shares [B, u, d]: sum_u Multinomial(counts_u, .), as [B, d].

    `shares` come from `split_shares` of the laws P[u, .]. The last destination takes whoever is left, so the
    total is kept to the last agent.
    """
    return deal(counts, shares, generator).sum(-2)


def deal(counts: Tensor, shares: Tensor, generator: torch.Generator) -> Tensor:
    """Deal counts [...] over d destinations by shares [..., d]: Multinomial(counts, .), as [..., d]."""
    left, arrived = counts, []
    for j in range(shares.shape[-1] - 1):
        # torch counts geometric waiting times; a uniform draw of exactly 1 waits for nothing and can overshoot by one
        moved = torch.binomial(left, shares[..., j].contiguous(), generator=generator).minimum(left)
        arrived.append(moved)
        left = left - moved
    return torch.stack([*arrived, left], dim=-1)


SPARSE = 0.25
"""Share of the pairs (u, j) with a chance up to which they are dealt pair by pair."""


class Dealer:
    """Deals agents over their next states in a batch of systems, each under the laws of its own global state.

    Where few pairs (u, j) have a chance in any global state, no others are touched. `torch.binomial` uses up no random
    numbers where nothing is left to chance, so that the draws are those of `deal`, to the bit.

    Args:
        P: `[sg, sl, sl']`, law of one agent's next state.
        dtype: of counts.
    """

    def __init__(self, P: Tensor, dtype: torch.dtype = torch.float64) -> None:
        self._shares = split_shares(P).to(dtype).contiguous()
        chance = (self._shares > 0).any(0)
        self._columns: list[tuple[Tensor, Tensor]] = []
        if int(chance.sum()) <= SPARSE * chance.numel():
            sources = [column.nonzero().squeeze(-1) for column in chance.T]
            self._columns = [(u, self._shares[:, u, j].contiguous()) for j, u in enumerate(sources)]

    def flows(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """How many agents go from each state to each, of counts `[b, sl]` under s_g `[b]`: `[b, sl, sl']`."""
        if not self._columns:
            return deal(counts, self._shares.index_select(0, s_g), generator)
        flows = counts.new_zeros(*counts.shape, counts.shape[-1])
        for j, (sources, moved) in enumerate(self._moves(s_g, counts, generator)):
            flows[:, sources, j] = moved
        return flows

    def arrivals(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """The next counts `[b, sl']`: the sum of `flows` over where agents come from."""
        if not self._columns:
            return self.flows(s_g, counts, generator).sum(-2)
        return torch.stack([moved.sum(-1) for _, moved in self._moves(s_g, counts, generator)], -1)

    def _moves(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """For each destination, where agents can come from, and how many do: `[b, sources]`."""
        left = counts.clone()
        for sources, shares in self._columns:
            there = left[:, sources]
            moved = torch.binomial(there, shares.index_select(0, s_g), generator=generator).minimum(there)
            left[:, sources] = there - moved
            yield sources, moved


def distinct_labels(rows: int, size: int, n: int, generator: torch.Generator) -> Tensor:
    """Uniform subsets of {0, .., n-1}: sorted distinct whole numbers [rows, size] float64, 2 size <= n.

    By rejection, as the module's page tells. Numbers are floor(n U) with U of 53 bits: none is favoured by more than a
    factor 1 + n 2^-53, and populations of different n under one seed share their luck.
    """
    labels = part = _labels((rows, size), n, generator).sort(-1).values
    where = torch.arange(rows, device=labels.device)
    while True:
        repeated = part[:, 1:] == part[:, :-1]
        again = repeated.any(-1).nonzero().squeeze(-1)
        if len(again) == 0:
            return labels
        where, part, repeated = where[again], part[again], repeated[again]
        part[:, 1:][repeated] = _labels((int(repeated.sum()),), n, generator)
        part = part.sort(-1).values
        labels[where] = part


def _labels(shape: tuple[int, ...], n: int, generator: torch.Generator) -> Tensor:
    uniform = torch.rand(shape, generator=generator, dtype=torch.float64, device=generator.device)
    return uniform.mul_(n).floor_()


def count_labels(labels: Tensor, counts: Tensor, k: int) -> Tensor:
    """How many of the k sampled agents are in each state: [B, sl] int64 from labels [B, min(k, n-k)], counts [B, sl].

    Agents are numbered in the order of their states: those in z have the numbers from c(0) + .. + c(z-1) on.
    """
    stretch_ends = counts.cumsum(-1)
    below = torch.searchsorted(labels, stretch_ends)  # [B, sl], how many labels are < each end
    chosen = below.diff(dim=-1, prepend=torch.zeros_like(below[:, :1]))
    return chosen if labels.shape[-1] == k else counts.to(torch.int64) - chosen


def draw_sample(counts: Tensor, k: int, n: int, generator: torch.Generator) -> Tensor:
    """The states of k agents drawn without replacement, for each row of counts `[B, sl]` of n agents: `[B, sl]`."""
    labels = distinct_labels(len(counts), min(k, n - k), n, generator)
    return count_labels(labels, counts.double(), k).to(counts.dtype)


def dirichlet(alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Laws `[..., d]` drawn from Dirichlet laws with parameters `alpha [..., d]` above 0."""
    weight = torch._standard_gamma(alpha.contiguous(), generator=generator) + torch.finfo(alpha.dtype).tiny
    return weight / weight.sum(-1, keepdim=True)


def broad_laws(rows: int, d: int, generator: torch.Generator) -> Tensor:
    """Laws `[rows, d]` from almost pure to almost uniform: symmetric Dirichlet, of log-uniform strength."""
    low, high = BROAD
    span = torch.rand(rows, 1, generator=generator, dtype=torch.float64, device=generator.device)
    return dirichlet((10 ** (low + (high - low) * span)).expand(-1, d), generator)
