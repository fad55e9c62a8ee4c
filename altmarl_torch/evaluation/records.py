"""What a rollout keeps: returns, the first episode step by step, and what the agents of each type did."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.games.game import Game
from altmarl_torch.games.types import fold_types
from altmarl_torch.support.intervals import Returns
from altmarl_torch.support.showing import brief

__all__ = ["Rollouts", "Trace", "TypeReport"]


@dataclass(frozen=True, eq=False)
class Trace:
    """The first episode, step by step: what Figure 4 of the paper draws.

    Attributes:
        occupation: [T, sl], fraction of the n local agents in each state.
        s_g: [T], global states.
        a_g: [T], global actions.
        mode: [T], the state with most agents (the smallest on ties), of whatever type they are (`fold_types`).
    """

    occupation: Tensor  # [T, sl] float64
    s_g: Tensor  # [T] int64
    a_g: Tensor  # [T] int64
    mode: Tensor  # [T] int64

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class TypeReport:
    """What the agents of each type do, where there are several (`games.types`).

    Attributes:
        returns: [episodes, e], discounted local reward per agent of the type; 0 in an episode that has none of them.
        held: [episodes, e], fraction of the n agents that are of the type, from the first step to the last (where
            agents are replaced, in the last).
        occupation: [e, x], fraction of the type's agents in each state, over all episodes and steps.
    """

    returns: Tensor  # [episodes, e] float64
    held: Tensor  # [episodes, e] float64
    occupation: Tensor  # [e, x] float64

    __repr__ = brief

    @property
    def shares(self) -> Tensor:
        """Fraction of all agents that are of each type: `[e]`."""
        return self.held.mean(0)

    @property
    def mean(self) -> Tensor:
        """Mean return over the agents of each type: `[e]`; undefined (nan) if there was none."""
        return (self.held * self.returns).mean(0) / self.shares

    @property
    def sem(self) -> Tensor:
        """Standard errors of `mean`, a ratio of two means; undefined (nan) for a single episode."""
        off = self.held * (self.returns - self.mean) / self.shares
        return off.std(0) / len(off) ** 0.5 if len(off) > 1 else torch.full_like(self.mean, math.nan)


@dataclass(frozen=True, eq=False)
class Rollouts(Returns):
    """Independent episodes of Algorithm 4.

    Attributes:
        returns: [episodes], discounted from t = 0 (reward units of the game).
        trace: the first episode.
        mode_accuracy: fraction of all steps at which a_g is a state (without its type) of maximal true count; None
            unless the game's actions are its local states (`Game.actions_are_states`: they bear the same names).
        n, k, horizon, seed: what was rolled out; n of the first step, where it changes.
        types: by type of agent; None where all are of one.
        num_ag: how many global actions there are.
        names: of states and actions, by `sg`, `sl` (without types), `ag`, `al`, where the game has them.
    """

    returns: Tensor  # [episodes] float64
    trace: Trace
    mode_accuracy: float | None
    n: int
    k: int
    horizon: int
    seed: int
    types: TypeReport | None = None
    num_ag: int = 0
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return self.line(self.n, self.k, self.horizon)


@dataclass(eq=False)
class Record:
    """What is collected on the way."""

    returns: Tensor  # [episodes]
    num_types: int
    hits: Tensor | None  # [], number of (episode, step) whose action is a state of maximal count
    trace: Trace
    types: TypeReport | None
    discount: float
    gamma: float

    @classmethod
    def empty(cls, game: Game, episodes: int, horizon: int) -> "Record":
        def numbers(*shape: int) -> Tensor:
            return torch.zeros(shape, dtype=torch.float64, device=game.device)

        def indices() -> Tensor:
            return torch.zeros(horizon, dtype=torch.int64, device=game.device)

        trace = Trace(numbers(horizon, game.num_sl), indices(), indices(), indices())
        several, places = game.num_types, game.num_sl // game.num_types
        hits = numbers() if game.actions_are_states else None
        types = TypeReport(numbers(episodes, several), numbers(episodes, several), numbers(several, places))
        return cls(numbers(episodes), several, hits, trace, types if several > 1 else None, 1.0, game.gamma)

    def add(self, t: int, s_g: Tensor, a_g: Tensor, counts: Tensor, r_g: Tensor, r_l: Tensor) -> None:
        """Book one step: rewards (Eq. 1 and 6) as `rollouts` found them, hits, and the first episode."""
        occupation = counts / counts.sum(-1, keepdim=True)
        self.returns += self.discount * (r_g + r_l.sum(-1))
        if self.types is not None:
            self._add_types(self.types, occupation, r_l)
        self.discount *= self.gamma
        places = fold_types(counts, self.num_types)
        if self.hits is not None:
            self.hits += (places.gather(-1, a_g.unsqueeze(-1)).squeeze(-1) == places.amax(-1)).sum()
        self.trace.occupation[t], self.trace.mode[t] = occupation[0], places[0].argmax()
        self.trace.s_g[t], self.trace.a_g[t] = s_g[0], a_g[0]

    def _add_types(self, types: TypeReport, occupation: Tensor, r_l: Tensor) -> None:
        """Book one step by type; `finish` divides the occupation that is summed here."""
        there = rearrange(occupation, "b (e x) -> b e x", e=self.num_types)
        earned = rearrange(r_l, "b (e x) -> b e x", e=self.num_types).sum(-1)
        types.held.copy_(there.sum(-1))
        types.returns.add_(torch.where(types.held > 0, self.discount * earned / types.held, 0.0))
        types.occupation.add_(there.sum(0))

    def finish(self, game: Game, k: int, seed: int) -> Rollouts:
        """Sum up."""
        horizon = len(self.trace.s_g)
        accuracy = None if self.hits is None else float(self.hits) / (len(self.returns) * horizon)
        if self.types is not None:
            self.types.occupation.div_(horizon * self.types.held.sum(0).unsqueeze(-1))
        return Rollouts(
            self.returns, self.trace, accuracy, game.n, k, horizon, seed, self.types, game.num_ag, game.names
        )
