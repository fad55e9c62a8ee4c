r"""Where G-LEARN begins on large tables: from its own solutions for fewer agents.

As a function of the frequencies h / k, Q of k agents tends to a limit like 1/k. So it is solved for ..., k/4, k/2
agents in turn, and at each level begins from the two before: Q for k/2, interpolated (`counts.interpolation`), plus
what the step from k/4 to k/2 says of that from k/2 to k (Richardson's extrapolation in 1/k). It is Q that is carried
up, and the maximum taken afterwards, since V has kinks where the best action changes. What is then left is smooth, and
the same levels correct it (`operators.two_grid`).

Nothing of it enters bounds or values at k: it is where the iteration begins, and how it goes on.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from altmarl_torch.operators.bellman import action_values, max_backup
from altmarl_torch.operators.fixed_point import LARGE_TABLE, solve_fixed_point
from altmarl_torch.operators.joint_value import span_tolerance
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.operators.two_grid import COARSEST, TwoGrid
from altmarl_torch.policies.tabular import greedy

__all__ = ["CoarseStart", "coarse_start"]

COARSE_TOLERANCE = 1e-4
"""Error of a coarse solution, relative to the span of values: well below what interpolating it loses."""


@dataclass(frozen=True)
class CoarseStart:
    """Where an iteration begins, and what corrects it."""

    values: Tensor  # [sg, N]
    correct: TwoGrid | None  # None on small tables


def coarse_start(surrogate: Surrogate) -> CoarseStart:
    """The start for a best response to the surrogate's pi_l: zero where the table is small."""
    levels = [surrogate]
    while levels[-1].simplex.size > COARSEST and levels[-1].simplex.k > 1:
        levels.append(levels[-1].half)
    if len(levels) > 1 and levels[-1].simplex.k > 1:
        levels.append(levels[-1].half)  # for the extrapolation
    start, tables = CoarseStart(surrogate.start, None), list[Tensor]()
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        found = solve_fixed_point(
            partial(max_backup, coarse),
            start.values if tables else coarse.start,
            surrogate.game.gamma,
            span_tolerance(surrogate.game, COARSE_TOLERANCE),
            correct=start.correct,
        )
        tables = [*tables[-1:], action_values(coarse, found.values)]
        start = CoarseStart(_first_values(fine, tables), TwoGrid(fine, greedy(tables[-1]), start.correct))
    return start


def _first_values(fine: Surrogate, tables: list[Tensor]) -> Tensor:
    """max_a Q of the level `fine`, from the tables Q `[sg, N_j, ag]` of the one or two levels below it: `[sg, N]`."""
    Q, k, j = tables[-1], fine.simplex.k, fine.half.simplex.k
    if len(tables) == 2:
        i, read = fine.half.half.simplex.k, fine.half.plan.from_half
        share = (1 / j - 1 / k) / (1 / i - 1 / j)
        Q = torch.stack([near + share * (near - read(far)) for near, far in zip(Q, tables[0], strict=True)])
    middle = Q.mean()
    centred = (Q - middle).float() if fine.local_reward.numel() >= LARGE_TABLE else Q - middle
    values = fine.map_sg(lambda sg: fine.plan.from_half(centred[sg]).amax(-1))
    return torch.stack(values).double() + middle
