r"""The discounted occupancy: how much each (s_g, h) counts for the value of a pair.

It solves the adjoint of the equation for the value (`operators.joint_value`), K being the pair's kernel on (s_g, h),

    d = rho + gamma K^T d,    sum of d = 1/(1-gamma),    <d, r> = <rho, V>,

and its error is bounded in the 1-norm by |residual|_1 / (1-gamma).
"""

import logging

import torch
from torch import Tensor

from altmarl_torch.operators.bellman import next_sg_law, push_law
from altmarl_torch.operators.fixed_point import LARGE_TABLE, History
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.threads import one_thread

__all__ = ["occupancy"]

logger = logging.getLogger(__name__)

OCCUPANCY_SWEEPS = 2_000
"""A cap for what mixes too slowly, and for tolerances below what rounding allows; reaching it is told in the log."""


@one_thread()
def occupancy(
    surrogate: Surrogate, pi_g: Tensor, *, relative_error: float = 1e-6, start: Tensor | None = None
) -> Tensor:
    """The discounted occupancy of (s_g, h) from the initial law, `[sg, N]`; its entries sum to 1/(1-gamma).

    The 1-norm of its error is at most `relative_error` of that sum. `start [sg, N]`, the occupancy of a similar pair,
    saves sweeps. Chains of many states are followed in float32. A warning in the log says so where `OCCUPANCY_SWEEPS`
    end it.
    """
    gamma, rho, history = surrogate.game.gamma, surrogate.initial_law, History()
    rho = rho.float() if rho.numel() >= LARGE_TABLE else rho
    # the right mass from the start, so that only the mixing of the chain is waited for
    law = rho / (1 - gamma) if start is None else start.to(rho.dtype)
    to_sg = next_sg_law(surrogate, pi_g.to(rho.dtype))
    for _ in range(OCCUPANCY_SWEEPS):
        following = rho + gamma * push_law(surrogate, to_sg, law)
        found = float((following - law).abs().sum())
        if found <= max(relative_error, 100 * torch.finfo(rho.dtype).eps):
            break
        law = history.mix(law, following)
    else:
        told = "the occupancy is known within %.3g of its sum instead of %.3g after %d sweeps, the most that are made"
        logger.warning(told, found, relative_error, OCCUPANCY_SWEEPS)
    return following.double()
