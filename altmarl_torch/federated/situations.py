"""The simulation as a game: what the server decides, what a client decides, what both see, and what a round is worth.

    the game        the federation
    s_g             the mode of this round: which share C of the clients is averaged (`MODES`: none, a quarter, all)
    a_g             the mode of the next round, announced now; so s_g' = a_g, exactly
    s_l             a client's situation: whether its model is near the server's or far, and the level of its loss
    a_l             its local steps in this round (`STEPS`: none, a few, many)
    r_g(s_g)        minus `PRICE_SHARE` x C, the communication of the round
    r_l             what the round has come to for this client, minus `PRICE_STEP` x its steps:

                        1 - min(L_val(w_i), ln 10) / ln 10 - PRICE_STEP E_i        with w_i after the round

**Situations.**  A client is *far* if its drift |w_i - w| is at or above a threshold: state 4. Those who are near are
told apart by their loss in four levels: states 0 to 3, with rising loss. A grid of four by two would have states that
are next to never seen, such as far away with a low loss. The loss is measured on a small public probe set, which
everybody has (as in Zhao et al., *Federated Learning with Non-IID Data*, 2018); a client's loss on its own data says
little, since a client with one class has next to none. Thresholds are quantiles of a pilot run
(`federated.building`).

**Units.**  ln 10 is the loss of somebody who guesses among ten digits. So the first part of r_l is the share of
ignorance that is gone: 0 for a guesser and for anything worse, 1 for a model that is never wrong or unsure. All
rewards are known to lie in [-PRICE_STEP max E, 1] and [-PRICE_SHARE, 0]. The loss is that on the validation set, and
the mean of the clients' losses bounds the loss of the mean of their models (`federated.simulation`):
where nobody is worse than a guesser, what the agents earn together is such a bound, less what it costs.

**Prices.**  Communication is what federated learning is short of, so a round of all costs as much as sixty local steps.
At a third of that price there is next to nothing to decide: the best constant schedule, all averaged after sixteen
steps, earns 8.97 in the counted game, and a learned pair 8.99 (k = 4).

**Where this is only nearly a game of the paper.**  After an average a client's model depends on what the others did,
so s_l' depends on more than (s_l, s_g, a_l). The effect of one client on it is 1/n, but that of all is not; and the
clients of this game share one policy. The log is therefore written with *shared* exploration: clients in the same
situation do the same. Then the counted P_l(. | s_l, s_g, a_l) says what happens where all in this situation do a_l,
and not what happens where one does, which would make every client wait for the others' work.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.federated.simulation import Federation, losses
from altmarl_torch.support.tables import as_number

__all__ = ["MODES", "PRICE_SHARE", "PRICE_STEP", "START", "STEPS", "Observer", "global_reward", "local_rewards"]

MODES = (0.0, 0.25, 1.0)
"""C, the share of the clients that are averaged, by global state."""

STEPS = (0, 4, 16)
"""E, the local steps, by local action."""

START = 2
"""The first round's mode: all take part."""

PRICE_SHARE = 0.3
"""Of a round in which all communicate, in shares of ignorance."""

PRICE_STEP = 0.005
"""Of a client's local step, in shares of ignorance."""

GUESSING = math.log(10)


@dataclass(frozen=True)
class Observer:
    """Which situation a client with a given loss and drift is in.

    Attributes:
        drift: from where on a client is far, in the norm of weights; infinity: nobody is.
        loss: thresholds of the loss of those who are near, in nats, ascending.

    Raises:
        ArgumentError: thresholds are no numbers, or do not ascend.
    """

    drift: float
    loss: tuple[float, ...]

    def __post_init__(self) -> None:
        as_number("drift", self.drift, "(0, inf]", lambda x: x > 0, ArgumentError)
        if not all(map(math.isfinite, self.loss)) or any(a >= b for a, b in itertools.pairwise(self.loss)):
            raise ArgumentError(f"thresholds of the loss must be finite and ascend; they are {list(self.loss)}")

    @property
    def num_sl(self) -> int:
        """|S_l|, the number of situations."""
        return len(self.loss) + 2

    def states(self, loss: Tensor, drift: Tensor) -> Tensor:
        """s_l of clients with the given losses and drifts: `[...]`, whole numbers."""
        level = torch.bucketize(loss, torch.tensor(self.loss, dtype=loss.dtype), right=True)
        return torch.where(drift < self.drift, level, self.num_sl - 1)

    def look(self, federation: Federation) -> Tensor:
        """s_l of every client: `[clients]`."""
        return self.states(losses(federation.models, federation.probe), federation.drift())


def global_reward(s_g: int) -> float:
    """r_g of a round in mode s_g."""
    return -PRICE_SHARE * MODES[s_g]


def local_rewards(loss: Tensor, steps: Tensor) -> Tensor:
    """r_l of clients with these validation losses after the round, and these numbers of steps in it: `[...]`."""
    return 1 - loss.clamp(max=GUESSING) / GUESSING - PRICE_STEP * steps
