"""A dispatcher that decides by what it believes: when to act, and how many to ask.

With one number of questions a `BeliefPair` is a pair like any other: `rollout` plays it. Where there are several to
choose from, its dispatcher says before each look how many it wants to hear (`ask`), and hears no more: of a larger
sample it draws as many and forgets the rest, so that `rollout` plays it as well, as a pair that is shown the largest
number. `ask_and_pay` plays it and counts the questions.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.alternation.solving import solve
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.beliefs.dispatcher import AskingDispatcher
from altmarl_torch.learners.beliefs.fitting import fit_belief_values, numbers_to_ask
from altmarl_torch.learners.beliefs.values import BeliefValues
from altmarl_torch.policies.base import Sight
from altmarl_torch.policies.tabular import check_pi_l
from altmarl_torch.support.intervals import Returns
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_seed

__all__ = ["BeliefPair", "Paid", "ask_and_pay", "decide_by_belief"]


@dataclass(frozen=True, eq=False)
class BeliefPair:
    """A pair whose dispatcher decides by values of its belief; outside the paper's class Pi_g.

    Attributes:
        values: of beliefs.
        pi_l: `[sl, sg, al]`.
    """

    values: BeliefValues
    pi_l: Tensor

    __repr__ = brief

    @property
    def k(self) -> int:
        """The most agents that it asks at a step."""
        return max(self.values.asks)

    def dispatcher(self, seed: int = 0) -> "AskingDispatcher":
        """A new dispatcher, whose draws come from its own generator."""
        num_sl, num_sg, _ = self.pi_l.shape
        return AskingDispatcher(self.values, Sight(self.k, num_sg, num_sl, self.pi_l.device), seed)


def decide_by_belief(
    game: Game, asks: int | Sequence[int], *, price: float = 0.0, pi_l: Tensor | None = None, seed: int = 0
) -> BeliefPair:
    """Learn when to act, and how many to ask, from what is believed (`learners.beliefs.fitting`).

    Arguments and errors as in `fit_belief_values`; where pi_l is None it is learned as `observation="filter"` does.

    Examples:
        >>> import altmarl_torch as am
        >>> pair = am.decide_by_belief(am.games.steer(), range(3), price=0.01)
        >>> player = pair.dispatcher()
        >>> player.reset(1)
        >>> int(player.ask([0])) <= 2
        True
    """
    check_game(game, "decide_by_belief")
    if pi_l is None:
        most = max(numbers_to_ask(game, asks))
        pi_l = solve(game, most, observation="filter", solver="auto", seed=as_seed(seed)).pi_l
    return BeliefPair(fit_belief_values(game, asks, price=price, pi_l=pi_l, seed=seed), check_pi_l(game, pi_l))


@dataclass(frozen=True, eq=False)
class Paid(Returns):
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
