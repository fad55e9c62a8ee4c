r"""Tables of j agents read by k: linear interpolation in the frequencies h / k.

What a surrogate of few agents tells about one of many is a function of frequencies. The point h j / k between the count
vectors of j agents lies in one simplex of Kuhn's triangulation (*Some combinatorial lemmas in topology*, 1960), and a
table is read there as the mean of its values at the corners, with the point's barycentric weights. In tails
t_i = h_{i+1} + ... + h_{S-1} the corners are easy to name: all tails rounded down, then one after the other rounded up,
the largest remainder first. That keeps them in falling order, so that every corner is a count vector.

It is exact for functions that are linear in the frequencies, and where j divides h j / k nothing is averaged. It serves
both ways: from coarse to fine, and from fine to coarse.
"""

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex

__all__ = ["Interpolation"]


class Interpolation:
    """How the counts `target` read tables over the counts `source`, of other numbers of agents (each at least 1).

    Attributes:
        ranks: `[N, sl]` int32, the corners around each count vector of the target, by rank in the source.
        parts: `[N, sl]` int32, their weights in units of 1 / (the target's k).
    """

    def __init__(self, source: CountSimplex, target: CountSimplex) -> None:
        self.source, self.target = source, target
        binomials = source.tail_ranks.to(torch.int64).to(target.device).T  # [k + 1, sl - 1]
        columns = torch.arange(source.num_sl - 1, device=target.device)
        scaled = (target.k - target.counts.cumsum(-1)[:, :-1]) * source.k
        whole = torch.div(scaled, target.k, rounding_mode="floor")
        rest, order = torch.sort(scaled - whole * target.k, dim=-1, descending=True, stable=True)
        here = binomials[whole, columns]
        higher = binomials[(whole + 1).clamp_max(source.k), columns] - here
        first = here.sum(-1, keepdim=True)
        self.ranks = torch.cat([first, first + higher.gather(-1, order).cumsum(-1)], -1).to(torch.int32)
        one, nothing = torch.full_like(first, target.k), torch.zeros_like(first)
        self.parts = -torch.cat([one, rest, nothing], -1).diff(dim=-1).to(torch.int32)

    def __call__(self, table: Tensor) -> Tensor:
        """Read a table `[N of the source, columns]` at the counts of the target: `[N, columns]`, in its type."""
        weights = self.parts.to(table.dtype) / self.target.k
        read: Tensor = torch.nn.functional.embedding_bag(
            self.ranks, table.contiguous(), per_sample_weights=weights, mode="sum"
        )
        return read
