"""A network of several sizes whose choices for the smaller ones are looked up: worked out once for each count vector.

The counts of up to K agents are those of K agents over one state more, in front, where whoever is not asked is: in rank
order they are the counts of one size behind those of the other, the smallest first. Of larger samples most counts are
met once, and each is sent through the network.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex, rank_known
from altmarl_torch.learners.neural.policies import NetworkPolicy
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.policies.base import Rule
from altmarl_torch.policies.tabular import one_hot

__all__ = ["look_up_small"]


@dataclass(frozen=True, eq=False)
class _Listed:
    """A policy whose choices are listed for samples of up to K agents: a `policies.base.CertainRule`.

    Attributes:
        policy: whose they are.
        simplex: the counts of K agents over one state more.
        table: `[sg, N]` int32, the actions at counts of the sizes that occur.
    """

    policy: NetworkPolicy
    simplex: CountSimplex
    table: Tensor

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The law, one-hot: s_g `[b]` and counts `[b, sl]` to `[b, ag]`, float64."""
        return one_hot(self.choose(s_g, counts), self.policy.sizes[1])

    def choose(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The action: s_g `[b]` and counts `[b, sl]` to `[b]`, int64."""
        nowhere = self.simplex.k - counts.sum(-1, keepdim=True)
        small, padded, chosen = (nowhere >= 0).squeeze(-1), torch.cat([nowhere, counts], -1), torch.empty_like(s_g)
        chosen[small] = self.table[s_g[small], rank_known(self.simplex, padded[small].long())].long()
        chosen[~small] = self.policy.choose(s_g[~small], counts[~small])
        return chosen


def look_up_small(policy: NetworkPolicy, samples: SampleSizes, num_sl: int, most: float) -> Rule:
    """The policy as a rule for several sizes, its choices listed up to the one to which there are `most` counts."""
    device, num_sg = policy.r_g.device, policy.sizes[0]
    every = [CountSimplex(k, num_sl + 1, device) for k in samples.numbers]
    if every[0].log10_size > math.log10(most):
        return policy
    largest = next(simplex for simplex in reversed(every) if simplex.log10_size <= math.log10(most))
    table = torch.zeros(num_sg, largest.size, dtype=torch.int32, device=device)
    for size in (k for k in samples.numbers if k <= largest.k):
        own, first = CountSimplex(size, num_sl, device), CountSimplex(size - 1, num_sl + 1).size
        table[:, first : first + own.size] = policy.actions(own.counts).T
    return _Listed(policy, largest, table)
