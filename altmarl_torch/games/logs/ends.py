"""Ends: states that a log says nothing follows, and states of which that might be true.

A log's column `terminated` marks the rows in which an agent came to an end (`games.logs.transitions`). The state that
it came to is *absorbing*: agents stay there, whatever they do, and earn nothing. A state s_g that is entered in such
rows only, and never left, is an end of the whole system: there everybody stays where they are.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.games.logs.transitions import Transitions
from altmarl_torch.games.tables import TABLE_AXES

__all__ = ["Flags", "Floats", "absorbed", "end_hint", "ends_of"]

SHOWN = 5
"""States that a message lists."""

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def ends_of(log: Transitions, sizes: Mapping[str, int]) -> dict[str, Flags]:
    """The states that are absorbing: of agents `[sl]`, and of the global agent `[sg]`."""
    ends: dict[str, Flags] = {"P_g": np.zeros(sizes["sg"], dtype=bool), "P_l": np.zeros(sizes["sl"], dtype=bool)}
    if log.terminated is None or not log.terminated.any():
        return ends
    there = log.terminated == 1
    ends["P_g"][log.sg_next[there]] = True
    ends["P_g"][log.sg] = ends["P_g"][log.sg_next[~there]] = False
    whole = ends["P_g"][log.sg_next]  # the whole system has come to an end, and that says nothing of the agents
    ends["P_l"][log.sl_next[there & ~whole]] = True
    log.refuse_leaving(ends["P_l"])
    return ends


def absorbed(tables: dict[str, tuple[Floats, Floats]], ends: Mapping[str, Flags]) -> dict[str, tuple[Floats, Floats]]:
    """The tables, means and errors, with ends from which nobody moves, and where nothing is earned."""
    for name, (mean, error) in tables.items():
        is_local = name in ("P_l", "r_l")
        parts = [(ends["P_l"], 0), (ends["P_g"], 1)] if is_local else [(ends["P_g"], 0)]
        for flags, axis in parts:
            here = (slice(None),) * axis + (flags,)
            mean[here] = error[here] = 0.0
            if name.startswith("P_"):
                stay = np.eye(mean.shape[0]).reshape(mean.shape[0], *[1] * (mean.ndim - 2), mean.shape[0])
                mean[here] = np.broadcast_to(stay, mean.shape)[here]
    return tables


def end_hint(never_left: Mapping[str, list[int]]) -> str:
    """What to do about states that are reached and never left, in words; nothing where there are none."""
    names = [f"{TABLE_AXES[name].split()[0]}={state}" for name, states in never_left.items() for state in states]
    if not names:
        return ""
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return (
        f". No transition leaves {', '.join(names[:SHOWN])}{more}: if nothing follows there (a terminal state), mark "
        "the rows that lead to it with 1 in a column `terminated`, and it becomes absorbing; smoothing would let it be "
        "left"
    )
