r"""What changes when agents in one state move otherwise: many such changes at once, without a kernel for any of them.

Let the row of state z in P become p. Agents in other states move as before, so of h, x = h_z of its k agents go by p,
and the others, h - x e_z, by P:

    (E' V)(h) = (E_{k-x} W_x)(h - x e_z),        W_0 = V,    W_x(g) = sum_y p_y W_{x-1}(g + e_y),

g being counts of k - x agents. The kernels E_j of 0..k-1 agents are those that a dense matrix is built from
(`kernels.dense_levels`), and serve all changes; W costs sums over S states. All numbers are probabilities: this is
exact to rounding for every P.
"""

from itertools import islice

import torch
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel, dense_levels
from altmarl_torch.counts.pair_moves import PairPlan

__all__ = ["ChangedRows", "prefers_levels"]

MOST_ENTRIES, MOST_AGENTS = 2**20, 40
"""Of the kernels of all fewer agents, beyond which a kernel for each change takes less."""


def prefers_levels(plan: PairPlan) -> bool:
    """Whether the kernels of all fewer agents are small."""
    simplex = plan.simplex
    return simplex.k <= MOST_AGENTS and sum(size * size for size in simplex.level_sizes[:-1]) <= MOST_ENTRIES


class ChangedRows:
    """E' - E for several changes of a row.

    Args:
        before: the kernel by P.
        P: `[sl, sl']`, law of one agent's next state before the changes.
        states: `[changes]`, the state whose row is another one.
        rows: `[changes, sl']`, which then is its law.
    """

    def __init__(self, before: CountKernel, P: Tensor, states: Tensor, rows: Tensor) -> None:
        plan, simplex = before.plan, before.simplex
        self._kernels = before.fewer or list(islice(dense_levels(P, simplex), simplex.k))
        self._joins = [joined for _, _, joined in simplex.one_by_one]
        self._places = plan.emptied[:, states]  # [N, changes]
        self._rows, self._changes = rows, torch.arange(len(rows), device=rows.device)

    def apart(self, values: Tensor, expected: Tensor) -> Tensor:
        """(E' - E) of values `[N, changes, columns]`, whose E is given: in their shape."""
        moved, carried = [expected], values
        for kernel, joined in zip(reversed(self._kernels), reversed(self._joins), strict=True):
            carried = torch.einsum("hyc...,cy->hc...", carried[joined], self._rows)
            moved.append((kernel @ carried.flatten(1)).reshape(carried.shape))
        return torch.cat(moved[::-1])[self._places, self._changes] - expected
