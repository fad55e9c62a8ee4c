r"""Best responses in continuous actions: the return of n-agent episodes, differentiated through moves and rewards.

With theta the weights of one player's actor and the other player frozen, the gradient of

    J(theta) = E sum_{t < T} gamma^t ( r_g(s_g, a_g) + (1/N) sum_i r_l(s_i, s_g, a_i) )

is that of a sampled episode, the random numbers held (the pathwise derivative), as long as `move_g`, `move_l`, `r_g`
and `r_l` are differentiable functions of states and actions. T is where gamma^T falls below 1/100, at most 60.

L-LEARN has two objectives. "team" differentiates all of it. "own" is that of one agent among many, which moves nothing
but itself: the sample that the dispatcher sees is held, so that a policy's effect on s_g does not count, and so is the
crowd where the game sees it.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from altmarl_torch.errors import ArgumentError, LearningError
from altmarl_torch.learners.simulated.training import annealed, follow
from altmarl_torch.simulators.game import SimulatedGame, beside
from altmarl_torch.simulators.play import draw_subsets, take

__all__ = ["Paths", "ascend"]

BATCH, MOST_STEPS, LEFT = 64, 60, 1e-2
"""Episodes of a gradient step, and when they end."""

LARGEST_GRADIENT = 10.0
"""Norm, in units of the return's scale, beyond which a gradient is shortened."""

CHECK_EVERY, AVERAGING = 10, 0.1


@dataclass(frozen=True, eq=False)
class Paths:
    """Episodes that can be differentiated.

    Attributes:
        game: with the N agents that are played.
        k: how many of them the dispatcher sees.
        own: whether the sample is held.
        generator: of every draw.
    """

    game: SimulatedGame
    k: int
    own: bool
    generator: torch.Generator

    def mean_return(self, pi_g: Any, pi_l: Any) -> Tensor:
        """The mean discounted return of a batch of episodes under two policies."""
        game, generator = self.game, self.generator
        horizon = 1 if game.gamma == 0 else min(MOST_STEPS, math.ceil(math.log(LEFT) / math.log(game.gamma)))
        s_g, s_l = game.start(BATCH, game.n, generator)
        total, belief = torch.zeros((), dtype=torch.float32, device=s_g.device), getattr(pi_g, "belief", None)
        memory = None if belief is None else belief.first(BATCH, s_g.device)
        for t in range(horizon):
            sample = take(s_l, draw_subsets(BATCH, self.k, game.n, generator))
            sample = sample.detach() if self.own else sample
            memory = None if belief is None else belief.seen(memory, sample)
            a_g = pi_g.actions(s_g if memory is None else torch.cat([s_g, memory], -1), sample, generator)
            near, laws = beside(s_g, s_l), game.under(self._crowd(s_l))
            a_l = pi_l.actions(s_l, near, generator)
            reward = laws.r_g(s_g, a_g) + laws.r_l(s_l, near, a_l).mean(-1)
            total = total + game.gamma**t * reward.mean()
            s_g, s_l = laws.move_g(s_g, a_g, generator), laws.move_l(s_l, near, a_l, generator)
        return total

    def _crowd(self, s_l: Tensor) -> Tensor | None:
        """The crowd, which one agent among many does not move."""
        mu = self.game.crowd(s_l)
        return mu.detach() if self.own and mu is not None else mu


def ascend(
    network: nn.Module,
    mean_return: Callable[[nn.Module], Tensor],
    steps: int,
    learning_rate: float,
    scale: float,
    monitor: Callable[[int, float, float], None],
    what: str,
) -> nn.Module:
    """Ascend the return from a copy of `network`; return the running average.

    Args:
        network: where to start.
        mean_return: of one batch of episodes under an actor.
        steps: gradient steps.
        learning_rate: of Adam, annealed over the second half.
        scale: of returns.
        monitor: told (steps so far, return, norm of the gradient) every 10 of them.
        what: the turn, for errors.

    Raises:
        ArgumentError: the return does not depend on the actor's actions in a way that can be differentiated.
        LearningError: the return or its gradient is not finite.
    """
    online, average = copy.deepcopy(network).train(), copy.deepcopy(network).eval()
    optimizer = torch.optim.Adam(online.parameters(), lr=learning_rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * annealed(step / steps)
        earned = mean_return(online)
        if not earned.requires_grad:
            raise ArgumentError(
                f"{what}: continuous actions are learned through the derivatives of moves and rewards, and here they "
                "have none; use differentiable torch operations, or Discrete actions"
            )
        optimizer.zero_grad()
        (-earned / scale).backward()  # type: ignore[no-untyped-call]
        norm, gained = float(nn.utils.clip_grad_norm_(online.parameters(), LARGEST_GRADIENT)), float(earned.detach())
        if not math.isfinite(norm) or not math.isfinite(gained):
            raise LearningError(
                f"{what}: the return or its gradient is not finite after {step + 1} gradient steps: states explode "
                "under these actions, or a reward has no derivative there"
            )
        optimizer.step()
        follow(average, online, AVERAGING)
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            monitor(step + 1, gained, norm)
    return average
