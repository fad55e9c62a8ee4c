"""Local policies to try next, given what turning pi_l promises: shared by the learners that take its derivative."""

from collections.abc import Iterator

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.policies.tabular import one_hot

__all__ = ["all_lose_clearly", "single_changes", "turns"]

RELATIVE_GAIN = 1e-3
"""Derivatives below this part of the largest are taken for zero; single changes look closer."""

CLOSE = 0.02
"""On large chains, single changes whose derivative loses more than this part of the largest are not evaluated."""

CLEAR = 1.5 * CLOSE
"""With derivatives for fewer agents, which near it are off by up to 15 % of themselves: where all changes lose more
than this part of the largest, none would be evaluated with those of all k."""


def all_lose_clearly(pi_l: Tensor, gains: Tensor) -> bool:
    """Whether every change of pi_l loses so much that none is worth trying, going by derivatives for fewer agents."""
    return bool(((pi_l >= 1) | (gains < -CLEAR * gains.abs().max())).all())


def turns(pi_l: Tensor, gains: Tensor) -> Iterator[Tensor]:
    """Policies that turn to their best actions: in every state that promises a gain, in the best half, and so on."""
    gain, action = rearrange(gains, "l g a -> (l g) a").max(-1)
    order = gain.argsort(descending=True, stable=True)
    count = int((gain > RELATIVE_GAIN * gains.abs().max()).sum())
    while count:
        turned = rearrange(pi_l, "l g a -> (l g) a").clone()
        turned[order[:count]] = one_hot(action[order[:count]], pi_l.shape[-1])
        yield turned.reshape(pi_l.shape)
        count //= 2


def single_changes(pi_l: Tensor, gains: Tensor, *, every: bool) -> list[Tensor]:
    """Policies that differ from pi_l in one state, the most promising first.

    On a small chain, every one. On a large one, where an evaluation takes seconds, those whose derivative is above
    -CLOSE of the largest: a single change moves pi_l all the way, so its value need not have the sign of the
    derivative, but where the derivative is clearly negative it does.
    """
    flat = gains.flatten()
    wanted = (pi_l < 1).flatten() & (every | (flat > -CLOSE * flat.abs().max()))
    order = flat.argsort(descending=True, stable=True)
    changes = []
    for index in order[wanted[order]].tolist():
        row, action = divmod(index, pi_l.shape[-1])
        changed = rearrange(pi_l, "l g a -> (l g) a").clone()
        changed[row] = one_hot(torch.tensor(action, device=pi_l.device), pi_l.shape[-1])
        changes.append(changed.reshape(pi_l.shape))
    return changes
