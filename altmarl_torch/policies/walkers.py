"""Local policies that need no learning, beside the rules of the global agent (`policies.rules`).

Laws of a_l given (s_l, s_g):

=========  ============================================================================================================
uniform    every action with probability 1 / |A_l|
stay       argmax_a P_l(z | z, s_g, a): stays where it is
greedy     argmax_a r_l(z, s_g, a): the best reward now, blind to where it leads
walk       goes to z* = s_g mod |S_l| and remains: maximises W(z) = E[sum_t gamma^t 1{z_t = z*}] while s_g stands still
=========  ============================================================================================================

Where agents are of several types, h(z) and z mean the states without the type (`games.types`): rules add up the types,
and an agent walks to s_g modulo the states of its own. All ties go to the smallest index. `walk` solves, for every
s_g, the small decision problem

    W(z) = 1{z = z*} + gamma max_a sum_z' P_l(z' | z, s_g, a) W(z')

by policy iteration: evaluate by one linear solve, improve wherever an action is better by more than rounding, stop
when none is. Each round improves the policy strictly, so it ends, at the optimum; rounding could keep it from ending,
so that after `MAX_ROUNDS` it is stopped, with a warning. In the warehouse of five zones the
answer is "the shorter way round to the prioritised zone, then stay"; next to `hold` it earns about 160.6 at n = 1000
and any k. With ten zones or more the farthest robots do otherwise: they stay and wait for a leap, whose chance is
higher for those who stay than for those who walk.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from altmarl_torch.games.game import Game
from altmarl_torch.policies.tabular import greedy, greedy_actions, one_hot, uniform_local

__all__ = ["WALKERS"]

logger = logging.getLogger(__name__)

IMPROVEMENT = 1e-12  # times the largest value: what policy iteration takes for more than rounding

MAX_ROUNDS = 1_000
"""A cap for gamma so close to 1 that rounding is more than `IMPROVEMENT`; a handful of rounds is usual."""


def stay_walker(game: Game) -> Tensor:
    """The local policy [sl, sg, al] most likely to remain: argmax_a P_l(z | z, s_g, a)."""
    return greedy(game.P_l.diagonal(dim1=0, dim2=3).permute(2, 0, 1))  # diagonal [sg, al, sl] -> [sl, sg, al]


def greedy_walker(game: Game) -> Tensor:
    """The local policy [sl, sg, al] with the best reward now: argmax_a r_l(z, s_g, a)."""
    return greedy(game.r_l)


def walk_walker(game: Game) -> Tensor:
    """The local policy [sl, sg, al] that goes to z* = s_g mod |S_l| and remains (module docstring)."""
    P = game.P_l.transpose(0, 1)  # [sg, sl, al, sl']: one decision problem for every s_g
    target = torch.arange(game.num_sg, device=game.device) % (game.num_sl // game.num_types)
    reward = one_hot(target, game.num_sl // game.num_types).repeat(1, game.num_types)  # [sg, sl]
    actions = torch.zeros(game.num_sg, game.num_sl, dtype=torch.int64, device=game.device)
    for _ in range(MAX_ROUNDS):
        Q = _time_at_target(P, reward, actions, game.gamma)  # [sg, sl, al]
        best = greedy_actions(Q)
        gain = Q.gather(-1, best.unsqueeze(-1)) - Q.gather(-1, actions.unsqueeze(-1))
        better = gain.squeeze(-1) > IMPROVEMENT * Q.abs().max()
        if not better.any():
            break
        actions = torch.where(better, best, actions)
    else:
        logger.warning("the walker still changes after %d rounds of policy iteration, the most there are", MAX_ROUNDS)
    return greedy(Q).transpose(0, 1)


def _time_at_target(P: Tensor, reward: Tensor, actions: Tensor, gamma: float) -> Tensor:
    """Q [sg, sl, al] of W's equation under `actions` [sg, sl]: one linear solve per s_g, then one look ahead."""
    index = actions[..., None, None].expand(-1, -1, 1, P.shape[-1])
    P_actions = P.gather(2, index).squeeze(2)  # [sg, sl, sl']
    identity = torch.eye(P.shape[-1], dtype=P.dtype, device=P.device)
    W = torch.linalg.solve(identity - gamma * P_actions, reward)
    return reward.unsqueeze(-1) + gamma * torch.einsum("gzaZ,gZ->gza", P, W)


WALKERS: dict[str, Callable[[Game], Tensor]] = {
    "uniform": uniform_local,
    "stay": stay_walker,
    "greedy": greedy_walker,
    "walk": walk_walker,
}
