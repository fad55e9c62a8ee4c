"""A dispatcher that decides by what it believes: when to act, and how many to ask.

With one number of questions a `BeliefPair` is a pair like any other: `rollout` plays it. Where there are several to
choose from, its dispatcher says before each look how many it wants to hear (`ask`), and hears no more: of a larger
sample it draws as many and forgets the rest, so that `rollout` plays it as well, as a pair that is shown the largest
number. `ask_and_pay` plays it and counts the questions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.asking.values import BeliefValues, fit_belief_values
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import Sight
from altmarl_torch.support.sampling import count_labels, distinct_labels
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = ["AskingDispatcher", "BeliefPair", "Paid", "ask_and_pay", "decide_by_belief"]


@dataclass(frozen=True, eq=False)
class BeliefPair:
    """A pair whose dispatcher decides by values of its belief; outside the paper's class Pi_g.

    Attributes:
        values: of beliefs.
        pi_l: `[sl, sg, al]`.
    """

    values: BeliefValues
    pi_l: Tensor

    @property
    def k(self) -> int:
        """The most agents that it asks at a step."""
        return max(self.values.asks)

    def dispatcher(self, seed: int = 0) -> "AskingDispatcher":
        """A new dispatcher, whose draws come from its own generator."""
        return AskingDispatcher(self, seed)


class AskingDispatcher:
    """`reset(batch)`, then at each step `ask(s_g)` and `act(s_g, counts)`; whoever does not ask is asked for.

    Attributes:
        asked: `[batch]`, how many it wanted to hear in the last step.
    """

    def __init__(self, pair: BeliefPair, seed: int = 0) -> None:
        num_sl, num_sg, _ = pair.pi_l.shape
        self._values, self._sight = pair.values, Sight(pair.k, num_sg, num_sl, pair.pi_l.device)
        self._generator = torch.Generator(device=pair.pi_l.device).manual_seed(as_seed(seed))
        self.reset(0)

    def reset(self, batch: int) -> None:
        """Forget all samples: `batch` new episodes."""
        self._mean, self._strength = self._values.belief.begin(as_integer("batch", batch, 0, math.inf, ArgumentError))
        self.asked: Tensor | None = None
        self._is_asking = False

    def ask(self, s_g: object) -> Tensor:
        """How many to ask at this step: `[batch]` int64, for s_g `[batch]`."""
        nobody = torch.zeros(len(self._mean), self._sight.num_sl, dtype=torch.int64)
        states, _ = self._sight.read(s_g, nobody)
        self.asked = self._values.ask(states, self._mean, self._strength, self._generator)
        self._is_asking = True
        return self.asked

    def act(self, s_g: object, counts: object) -> Tensor:
        """Look at no more than was asked for, act, predict: actions `[batch]` int64."""
        states, h = self._sight.read(s_g, counts)
        if len(states) != len(self._mean):
            raise ArgumentError(f"the belief is of {len(self._mean)} systems, s_g of {len(states)}: call reset first")
        asked = self.asked if self._is_asking and self.asked is not None else self.ask(states)
        self._is_asking = False
        belief = self._values.belief
        looked = belief.look(self._mean, self._strength, self._heard(h, asked))
        chosen = self._values.act(states, *looked)
        self._mean, self._strength = belief.predict(*looked, states)
        return chosen

    def _heard(self, counts: Tensor, asked: Tensor) -> Tensor:
        """As many of each row of counts as were asked, drawn uniformly."""
        total, heard = counts.sum(-1), counts.clone()
        for size, q in {(int(n), int(q)) for n, q in zip(total, asked, strict=True) if n > q}:
            here = (total == size) & (asked == q)
            labels = distinct_labels(int(here.sum()), min(q, size - q), size, self._generator)
            heard[here] = count_labels(labels, counts[here].double(), q)
        return heard


def decide_by_belief(
    game: Game, asks: int | Sequence[int], *, price: float = 0.0, pi_l: Tensor | None = None, seed: int = 0
) -> BeliefPair:
    """Learn when to act, and how many to ask, from what is believed (`asking.values`).

    Arguments and errors as in `fit_belief_values`.

    Examples:
        >>> import altmarl_torch as am
        >>> pair = am.decide_by_belief(am.games.steer(), range(3), price=0.01)
        >>> player = pair.dispatcher()
        >>> player.reset(1)
        >>> int(player.ask([0])) <= 2
        True
    """
    values = fit_belief_values(game, asks, price=price, pi_l=pi_l, seed=seed)
    return BeliefPair(values, values.pi_l)


@dataclass(frozen=True, eq=False)
class Paid:
    """Episodes of a pair that asks when it pays.

    Attributes:
        returns: `[episodes]`, before anything is paid.
        asked: `[episodes]`, questions, discounted.
        price: of each.
        mean_asked: how many were asked at a step, on average.
    """

    returns: Tensor
    asked: Tensor
    price: float
    mean_asked: float

    @property
    def net(self) -> Tensor:
        """`[episodes]`, what is left when everybody who was asked is paid."""
        return self.returns - self.price * self.asked


class _Counted:
    """A pair whose dispatcher's questions are counted."""

    def __init__(self, pair: BeliefPair, gamma: float) -> None:
        self.k, self.pi_l, self._pair, self._gamma = pair.k, pair.pi_l, pair, gamma

    def dispatcher(self, seed: int = 0) -> "_Counted":
        self._inner = self._pair.dispatcher(seed)
        return self

    def reset(self, batch: int) -> None:
        self._inner.reset(batch)
        self.asked = torch.zeros(batch, dtype=torch.float64, device=self.pi_l.device)
        self.number, self.steps, self._discount = 0.0, 0, 1.0

    def act(self, s_g: Tensor, counts: Tensor) -> Tensor:
        chosen = self._inner.act(s_g, counts)
        assert self._inner.asked is not None
        self.asked += self._discount * self._inner.asked
        self.number, self.steps = self.number + float(self._inner.asked.double().mean()), self.steps + 1
        self._discount *= self._gamma
        return chosen


def ask_and_pay(
    game: Game, pair: BeliefPair, *, episodes: int = 750, horizon: int = 100, n: int | None = None, seed: int = 0
) -> Paid:
    """Play a pair that asks when it pays on n agents, and count its questions; arguments as in `rollout`."""
    counted = _Counted(pair, game.gamma)
    played = rollout(game, counted, episodes=episodes, horizon=horizon, n=n, seed=seed)
    return Paid(played.returns, counted.asked, pair.values.price, counted.number / counted.steps)
