"""Pairs of policies for simulators: what a rollout asks of them.

The dispatcher sees s_g and the *states* of the k sampled agents, not their counts; every local agent sees its own
state and s_g. A pair answers batches of both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Discrete, random_actions
from altmarl_torch.support.showing import brief

__all__ = [
    "MixedPair",
    "RulePair",
    "SampleDispatcher",
    "SimulatedPair",
    "check_simulated_pair",
    "uniform_pair",
]

GlobalRule = Callable[[Tensor, Tensor], Tensor]
"""s_g `[b, dg]` and the sample `[b, k, dl]` to a_g `[b]` int64, or `[b, ug]`."""

LocalRule = Callable[[Tensor, Tensor], Tensor]
"""s_l `[..., dl]` and s_g `[..., dg]` to a_l `[...]` int64, or `[..., ul]`."""


class SampleDispatcher(Protocol):
    """The deployable global agent for a batch of systems, each seen through the states of k sampled agents."""

    def reset(self, batch: int) -> None:
        """Begin `batch` new episodes: forget whatever was remembered. The random stream goes on."""

    def act(self, s_g: Tensor, sample: Tensor) -> Tensor:
        """Choose a_g `[batch]` (or `[batch, ug]`) from s_g `[batch, dg]` and the sample `[batch, k, dl]`."""


@runtime_checkable
class SimulatedPair(Protocol):
    """A global and a local policy of a simulated game."""

    @property
    def k(self) -> int:
        """How many local agents the dispatcher sees at each step."""

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """A new dispatcher whose draws, if any, come from its own generator seeded with `seed`."""

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions of agents s_l `[..., dl]` under s_g `[..., dg]`: `[...]` int64, or `[..., ul]`."""


def check_simulated_pair(pair: object) -> None:
    """Raise a PolicyError unless `pair` is a `SimulatedPair`."""
    if not isinstance(pair, SimulatedPair):
        raise PolicyError(
            "the pair of a simulated game must have k, dispatcher(seed) and local_actions(s_l, s_g, generator), as "
            f"what solve(game, k) returns and RulePair have; {type(pair).__name__} does not"
        )


@dataclass(frozen=True, eq=False)
class RulePair:
    """Two rules without memory or chance as a pair.

    Attributes:
        k: how many agents the global rule is shown.
        rule_g: s_g `[b, dg]` and the sample `[b, k, dl]` to a_g.
        rule_l: s_l `[..., dl]` and s_g `[..., dg]` to a_l.
    """

    k: int
    rule_g: GlobalRule
    rule_l: LocalRule

    __repr__ = brief

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """The global rule; nothing is drawn."""
        return _RuleDispatcher(self.rule_g)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The local rule's actions."""
        return self.rule_l(s_l, s_g)


@dataclass(frozen=True, eq=False)
class MixedPair:
    """The global policy of one pair, and the local policy of another."""

    leader: SimulatedPair
    follower: SimulatedPair

    @property
    def k(self) -> int:
        """How many local agents the dispatcher sees."""
        return self.leader.k

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """The first pair's."""
        return self.leader.dispatcher(seed)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The second pair's."""
        return self.follower.local_actions(s_l, s_g, generator)


@dataclass(frozen=True)
class _RuleDispatcher:
    rule: GlobalRule

    def reset(self, batch: int) -> None:
        pass

    def act(self, s_g: Tensor, sample: Tensor) -> Tensor:
        return self.rule(s_g, sample)


@dataclass(frozen=True, eq=False)
class uniform_pair:  # noqa: N801  # used like a function
    """Every action alike, for both players: where the alternation starts.

    Attributes:
        game: whose actions.
        k: how many agents the dispatcher is shown.
    """

    game: SimulatedGame
    k: int

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """Draws from a generator of its own."""
        return _UniformDispatcher(self.game, seed)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Independent uniform actions; a generator is needed."""
        if generator is None:
            raise ArgumentError("uniform actions are drawn: give local_actions a torch.Generator")
        return random_actions(self.game.local_action, s_l.shape[:-1], generator)


class _UniformDispatcher:
    def __init__(self, game: SimulatedGame, seed: int) -> None:
        self._space, self._seed = game.global_action, seed
        self._generator: torch.Generator | None = None

    def reset(self, batch: int) -> None:
        pass

    def act(self, s_g: Tensor, sample: Tensor) -> Tensor:
        if self._generator is None:
            self._generator = torch.Generator(s_g.device).manual_seed(self._seed)
        return random_actions(self._space, s_g.shape[:-1], self._generator)


def number_of(name: str, game: SimulatedGame) -> int:
    """How many actions there are, `name` being "global_action" or "local_action".

    Raises:
        ArgumentError: they are continuous.
    """
    space = getattr(game, name)
    if not isinstance(space, Discrete):
        raise ArgumentError(f"{name} is {space}: values of actions need finitely many of them; use Discrete")
    return space.num
