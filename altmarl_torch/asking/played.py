r"""What asking k agents earns: the pairs that are tried for a k, and their episodes.

For every k two ways are played, on the same episodes of n agents:

    with memory       one pair, learned once for as many agents as are cheap, read at a belief fed with k answers a step
    without memory    whatever earns most of a pair learned for k (tables where they are small, lifted functions
                      beyond) and the rules that people write by hand

and asking nobody, k = 0, is one of the choices: a belief that hears nothing still moves with the agents, and some rules
never look. Asking costs price * k at each step, discounted like everything else,

    net = return - price k sum_{t < T} gamma^t.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solving import solve
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.policies.rules import NEVER_LOOK
from altmarl_torch.policies.yardsticks import yardsticks
from altmarl_torch.support.intervals import Returns

__all__ = ["Asking", "Played", "Plays"]

UNPLAYED = ("uniform + uniform",)
"""Rules that nobody would choose."""


@dataclass(frozen=True, eq=False)
class Asking(Returns):
    """A way of asking, and what it earns.

    Attributes:
        k: how many agents are asked at each step; 0 for nobody.
        remembers: whether the dispatcher has a memory.
        method: "filter", the solver of a learned pair, or a rule's name.
        pair: of policies; where nobody is asked, it is a pair of one agent who never answers.
        returns: `[episodes]`, before anything is paid; equal episodes in all ways.
        asked: k sum_t gamma^t, discounted questions per episode.
    """

    k: int
    remembers: bool
    method: str
    pair: PolicyPair
    returns: Tensor
    asked: float

    def paid(self, price: float) -> float:
        """What asking costs, discounted, at a price for each agent and step."""
        return price * self.asked

    def net(self, price: float) -> float:
        """What is left."""
        return self.mean - self.paid(price)


@dataclass(frozen=True)
class Plays:
    """How episodes are played: arguments of `rollout`."""

    episodes: int
    horizon: int
    seed: int
    answer_rate: float

    def questions(self, gamma: float) -> float:
        """sum_t gamma^t: what one agent asked at every step counts for."""
        return float((1 - gamma**self.horizon) / (1 - gamma))


@dataclass(eq=False)
class Played:
    """Every way of asking that has been played, each pair learned once.

    Attributes:
        game: whose agents are asked.
        plays: how.
        memory: whether dispatchers may remember.
        told: called with one line for every way that was played.
    """

    game: Game
    plays: Plays
    memory: bool
    told: Callable[[str], None] | None = None
    ways: dict[tuple[int, bool], Asking] = field(default_factory=dict, init=False)

    def way(self, k: int, remembers: bool) -> Asking:
        """What asking k agents earns, played where it has not been."""
        if (k, remembers) not in self.ways:
            found = self._remembering(k) if remembers else self._forgetting(k)
            self.ways[k, remembers] = found
            if self.told:
                self.told(f"k = {k}, {found.method}: {found.mean:.5g} +- {found.sem:.2g}")
        return self.ways[k, remembers]

    def everybody(self) -> Asking:
        """What would be earned if everybody were seen."""
        return self.way(self.game.n, self.memory)

    @cached_property
    def remembering(self) -> Solution:
        """The pair with a memory: one for any k."""
        return solve(self.game, 1, observation="filter", solver="auto", seed=self.plays.seed)

    def _remembering(self, k: int) -> Asking:
        return self._play(k, True, "filter", dataclasses.replace(self.remembering, k=max(k, 1)))

    def _forgetting(self, k: int) -> Asking:
        """The best of a learned pair and the rules; of the rules alone where nobody is asked."""
        rules = yardsticks(self.game, max(k, 1))
        named = {
            name: pair for name, pair in rules.items() if name not in UNPLAYED and (name in NEVER_LOOK) == (k == 0)
        }
        found = [self._play(k, False, name, pair) for name, pair in named.items()]
        if k > 0:
            learned = solve(self.game, k, solver="auto", seed=self.plays.seed)
            found.append(self._play(k, False, learned.solver, learned))
        return max(found, key=lambda one: one.mean)

    def _play(self, k: int, remembers: bool, method: str, pair: PolicyPair) -> Asking:
        # a rule that never looks has no use for silence
        rate = self.plays.answer_rate if k > 0 else float(not remembers)
        played: Rollouts = rollout(self.game, pair, **self._settings(rate))
        return Asking(k, remembers, method, pair, played.returns, k * self.plays.questions(self.game.gamma))

    def _settings(self, answer_rate: float) -> dict[str, Any]:
        plays = self.plays
        settings = {"episodes": plays.episodes, "horizon": plays.horizon, "seed": plays.seed}
        return settings | {"answer_rate": answer_rate}
