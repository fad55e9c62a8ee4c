"""One run of a federation under somebody's decisions: the loop that writes the logs, and judges what was learned.

At each round t, as in Algorithm 4,

    look      the controller gets the clients' states s_l and the mode s_g of this round
    act       it says a_g, the next mode, and a_i, the local steps of every client
    round     train, average, come and go (`federated.simulation`)
    collect   r_g(s_g) and r_l of every client, by its model after the round
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from altmarl_torch.federated.simulation import Federation, losses
from altmarl_torch.federated.situations import MODES, START, STEPS, Observer, global_reward, local_rewards

__all__ = ["Controller", "Episode", "play"]


class Controller(Protocol):
    """Who decides: the server's mode and the clients' steps."""

    @property
    def name(self) -> str:
        """What tables call it."""

    def begin(self, seed: int) -> None:
        """A new run; all draws of this run come from `seed`."""

    def mode(self, time: int, s_g: int, s_l: Tensor) -> int:
        """a_g, given the states `s_l [clients]`."""

    def steps(self, time: int, s_g: int, s_l: Tensor) -> Tensor:
        """a_l of every client: `[clients]`."""


@dataclass(frozen=True, eq=False)
class Episode:
    """What happened in T rounds; the states have a row more than the rest.

    Attributes:
        s_g: `[T + 1]`.
        a_g: `[T]`.
        r_g: `[T]`.
        s_l: `[T + 1, clients]`.
        a_l: `[T, clients]`.
        r_l: `[T, clients]`.
        client_loss: `[T]`, mean validation loss of the clients' models after the round, in nats.
        server_loss: `[T]`, of the server's model.
        accuracy: `[T]`, of the server's model.
    """

    s_g: Tensor
    a_g: Tensor
    r_g: Tensor
    s_l: Tensor
    a_l: Tensor
    r_l: Tensor
    client_loss: Tensor
    server_loss: Tensor
    accuracy: Tensor

    def discounted(self, gamma: float) -> float:
        """sum_t gamma^t (r_g + mean_i r_l), Eq. 4."""
        weights = gamma ** torch.arange(len(self.r_g), dtype=torch.float64)
        return float((weights * (self.r_g + self.r_l.mean(1))).sum())


def play(federation: Federation, observer: Observer, controller: Controller, rounds: int) -> Episode:
    """Run a fresh federation for `rounds` rounds; the controller's draws come from the federation's seed."""
    controller.begin(federation.seed)
    s_g, s_l, lines = START, observer.look(federation), []
    states = [(s_g, s_l)]
    for time in range(rounds):
        a_g, a_l = controller.mode(time, s_g, s_l), controller.steps(time, s_g, s_l)
        steps = torch.tensor(STEPS)[a_l]
        federation.round(steps, MODES[s_g])
        loss = losses(federation.models, federation.validation)
        server = float(losses(federation.server, federation.validation)), federation.accuracy()
        lines.append((a_g, global_reward(s_g), a_l, local_rewards(loss, steps), float(loss.mean()), *server))
        s_g, s_l = a_g, observer.look(federation)
        states.append((s_g, s_l))
    return _episode(states, lines)


def _episode(
    states: list[tuple[int, Tensor]], lines: list[tuple[int, float, Tensor, Tensor, float, float, float]]
) -> Episode:
    """The rounds' numbers, column by column."""
    s_g, s_l = zip(*states, strict=True)
    a_g, r_g, a_l, r_l, client_loss, server_loss, accuracy = zip(*lines, strict=True)
    numbers = (torch.tensor(column, dtype=torch.float64) for column in (r_g, client_loss, server_loss, accuracy))
    earned, client, server, right = numbers
    return Episode(
        s_g=torch.tensor(s_g),
        a_g=torch.tensor(a_g),
        r_g=earned,
        s_l=torch.stack(s_l),
        a_l=torch.stack(a_l),
        r_l=torch.stack(r_l),
        client_loss=client,
        server_loss=server,
        accuracy=right,
    )
