r"""The constants of UCFH (Algorithm 5 of Dann and Brunskill, NeurIPS 2015, which the paper uses and does not print).

For |S| states, |A| actions, episodes of H micro steps with rewards in [0, 1] and at most C successors of a row (s, a),

    w_min    eps / (4 H |S|)                                    rows that matter less are not explored
    U_max    |S x A| log2( |S| H / w_min )                      updates at most
    delta_1  delta / (2 U_max C)                                failure probability of one confidence set
    m        512 (log2 log2 H)^2 (C H^2 / eps^2) ln^2( 8 H^2 |S|^2 / eps )
                 ln( 6 |S x A| C log2^2( 4 |S|^2 H^2 / eps ) / delta )

A row's first update waits for m w_min visits, and there is no more than |S| m H of them. For H < 4, where log2 log2 H
is below 1 and would make m vanish, 1 stands in its place.
"""

import math
from typing import NamedTuple

from altmarl_torch.support.scalars import as_share
from altmarl_torch.theory.arguments import as_count

__all__ = ["Algorithm5", "algorithm_5"]


class Algorithm5(NamedTuple):
    """The constants of UCFH."""

    w_min: float  # occupancy below which a row is of no account
    updates: float  # U_max
    delta_1: float  # failure probability of one confidence set
    m: float  # visits, in units of 1/w_min, that make a row known
    first_update: float  # m w_min, visits before a row's first update
    most_visits: float  # |S| m H, visits that are counted at most


def algorithm_5(
    num_states: int, num_actions: int, steps: int, successors: int, *, epsilon: float, delta: float
) -> Algorithm5:
    """The constants of UCFH for an episodic MDP of `num_states`, `num_actions` and `successors` = C, `steps` = H.

    `epsilon` in (0, 1] is in units of a value whose rewards lie in [0, 1] in each step.
    """
    S, A, H, C = (
        as_count(name, value)
        for name, value in (
            *(("num_states", num_states), ("num_actions", num_actions)),
            *(("steps", steps), ("successors", successors)),
        )
    )
    as_share("epsilon", epsilon)
    as_share("delta", delta)
    w_min = epsilon / (4 * H * S)
    updates = S * A * math.log2(S * H / w_min)
    loglog = max(1.0, math.log2(math.log2(H))) if H > 2 else 1.0
    confidence = math.log(6 * S * A * C * math.log2(4 * S**2 * H**2 / epsilon) ** 2 / delta)
    m = 512 * loglog**2 * (C * H**2 / epsilon**2) * math.log(8 * H**2 * S**2 / epsilon) ** 2 * confidence
    return Algorithm5(w_min, updates, delta / (2 * updates * C), m, m * w_min, S * m * H)
