r"""Fitted continuation values: gradient steps on targets that a running average of the network gives.

The target of a continuation value C(x, a) is one draw of what follows, under the running average (Polyak and
Juditsky, 1992). Its mean distance from the network is taken out of every target, as in relative value iteration: a
common offset changes no action, and learning it would take 1/(1-gamma) times as long. The step size is annealed to
zero along a cosine over the second half.
"""

import copy
import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from altmarl_torch.errors import LearningError

__all__ = ["annealed", "common_draws", "follow", "regress"]

AVERAGING = 0.02
CHECK_EVERY = 50

Network = TypeVar("Network", bound=nn.Module)
Draw = Callable[[Network, Network], tuple[Tensor, Tensor]]
"""(online, average) to the online network's answers and their targets, in units of the network, of one batch."""


def regress(
    network: Network,
    draw: Draw[Network],
    steps: int,
    learning_rate: float,
    monitor: Callable[[int, dict[str, float]], None],
    what: str,
) -> Network:
    """Take gradient steps from a copy of `network`; return the running average.

    Args:
        network: where to start.
        draw: one batch.
        steps: gradient steps.
        learning_rate: of Adam.
        monitor: told (steps so far, numbers by name) every 50 of them.
        what: the turn, for errors.

    Raises:
        LearningError: the loss is not finite.
    """
    online, average = copy.deepcopy(network).train(), copy.deepcopy(network).eval()
    optimizer = torch.optim.Adam(online.parameters(), lr=learning_rate)
    total = torch.zeros((), dtype=torch.float32)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * annealed(step / steps)
        answers, targets = draw(online, average)
        error = targets - answers
        loss = error.sub(error.detach().mean()).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        follow(average, online)
        total = total.to(loss.device) + loss.detach()
        if (step + 1) % CHECK_EVERY == 0 or step + 1 == steps:
            mean = float(total) / ((step % CHECK_EVERY) + 1)
            if not math.isfinite(mean):
                raise LearningError(
                    f"{what}: the loss is not finite after {step + 1} gradient steps at a learning rate of "
                    f"{learning_rate:g}; use a smaller one, or a network whose outputs stay bounded"
                )
            monitor(step + 1, {"loss": mean, "learning_rate": optimizer.param_groups[0]["lr"]})
            total = torch.zeros((), dtype=torch.float32)
    return average


def annealed(part: float) -> float:
    """1 for the first half, then a cosine to 0."""
    return 1.0 if part < 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * part - 1)))


@torch.no_grad()
def follow(average: nn.Module, online: nn.Module, rate: float = AVERAGING) -> None:
    """Take the running average a step towards the newest weights."""
    ours, newest = ([parameter.detach() for parameter in each.parameters()] for each in (average, online))
    torch._foreach_lerp_(ours, newest, rate)
    for buffer, new in zip(average.buffers(), online.buffers(), strict=True):
        buffer.copy_(new)


def common_draws(function: Callable[[int], Tensor], number: int, generator: torch.Generator) -> Tensor:
    """`function(0)`, .., `function(number - 1)`, each with the same random numbers, stacked along a new axis 1."""
    state = generator.get_state()
    found = []
    for index in range(number):
        generator.set_state(state)
        found.append(function(index))
    return torch.stack(found, 1)
