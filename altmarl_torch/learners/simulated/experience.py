"""What is learned from: states that the n-agent system goes through under a pair, some actions held at random.

Populations are kept whole, `[states, N, dl]`, so that fresh samples can be drawn from them at every gradient step.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.policies import PlayedPair
from altmarl_torch.learners.simulated.units import Met, met_rewards
from altmarl_torch.simulators.game import SimulatedGame, unchecked
from altmarl_torch.simulators.pairs import SampleDispatcher
from altmarl_torch.simulators.play import Step, fresh_seed, play
from altmarl_torch.simulators.spaces import random_actions

__all__ = ["Experience", "broad_play", "collect", "probe"]

EPISODES, STEPS = 256, 40
EXPLORING, BROAD_STARTS = 0.25, 0.5
"""Shares of episodes in which actions are random, each held for some steps, and whose s_g starts anywhere."""

HOLD = 0.1
"""Chance of a new random action at each step of an exploring episode."""

MOST_KEPT = 2**24
"""Numbers of all populations that are kept at once: 64 MB."""


@dataclass(frozen=True, eq=False)
class Experience:
    """States met, and what followed."""

    s_g: Tensor  # [states, dg]
    crowd: Tensor  # [states, N, dl]
    next_s_g: Tensor  # [states, dg]
    memory: Tensor | None = None  # [states, width], before the sample of that state is seen
    mu: Tensor | None = None  # [states, p], where the game sees the crowd
    next_crowd: Tensor | None = None  # [states, N, dl], and then only
    next_mu: Tensor | None = None  # [states, p]


def collect(
    game: SimulatedGame,
    pair: PlayedPair,
    leader: Frame,
    generator: torch.Generator,
    *,
    exploring: bool,
    belief: RunningMeans | None = None,
) -> Experience:
    """What is met in `broad_play`."""
    steps = broad_play(game, pair, leader, generator, exploring=exploring)
    s_g = torch.stack([step.s_g for step in steps])
    crowd = torch.stack([step.s_l for step in steps])
    memory = None if belief is None else _remembered(belief, steps[:-1])
    met = Experience(s_g[:-1].flatten(0, 1), crowd[:-1].flatten(0, 1), s_g[1:].flatten(0, 1), memory)
    mu = [step.mu for step in steps if step.mu is not None]
    if not mu:
        return met
    before, after = torch.stack(mu[:-1]).flatten(0, 1), torch.stack(mu[1:]).flatten(0, 1)
    return replace(met, mu=before, next_crowd=crowd[1:].flatten(0, 1), next_mu=after)


def broad_play(
    game: SimulatedGame, pair: PlayedPair, leader: Frame, generator: torch.Generator, *, exploring: bool = False
) -> list[Step]:
    """Play `game.n` agents under the pair, s_g starting anywhere in some of the episodes.

    `exploring`: some of them are played under random global actions.
    """
    seed, begin = fresh_seed(generator), game.start
    fit = max(1, MOST_KEPT // (STEPS * game.n * game.local_state.d))

    def start(episodes: int, n: int, own: torch.Generator) -> tuple[Tensor, Tensor]:
        s_g, s_l = begin(episodes, n, own)
        return leader.scattered(s_g, BROAD_STARTS, own), s_l

    wide = unchecked(game, start=start)
    played = _Exploring(pair, wide, seed) if exploring else pair
    return list(play(wide, played, min(EPISODES, fit), STEPS, np.random.SeedSequence(seed), generator.device))


@torch.no_grad()
def _remembered(belief: RunningMeans, steps: list[Step]) -> Tensor:
    """What is remembered before the sample of each step is seen: `[states, width]`."""
    memories = [belief.first(len(steps[0].s_g), steps[0].s_g.device)]
    for step in steps[:-1]:
        memories.append(belief.seen(memories[-1], step.sample))
    return torch.cat(memories)


@torch.no_grad()
def probe(game: SimulatedGame, pair: PlayedPair, generator: torch.Generator) -> tuple[Frame, Frame, Met]:
    """Where the states of both players lie, and where the rewards do, over some episodes."""
    seed = np.random.SeedSequence(fresh_seed(generator))
    few = unchecked(game, n=min(game.n, max(pair.k, 32)))
    steps = list(play(few, pair, 64, STEPS, seed, generator.device))
    leader, local = (torch.stack([getattr(step, name) for step in steps]) for name in ("s_g", "s_l"))
    return Frame(game.global_state, leader), Frame(game.local_state, local), met_rewards(game, steps, generator)


class _Exploring:
    """The pair, its dispatcher replaced in some episodes by actions that are held for a while."""

    def __init__(self, pair: PlayedPair, game: SimulatedGame, seed: int) -> None:
        self.k, self._pair, self._game, self._seed = pair.k, pair, game, seed
        self.local_actions = pair.local_actions

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        return _ExploringDispatcher(self._pair.dispatcher(seed), self._game, self._seed)


class _ExploringDispatcher:
    def __init__(self, inner: SampleDispatcher, game: SimulatedGame, seed: int) -> None:
        self._inner, self._space, self._seed = inner, game.global_action, seed
        self._held: Tensor | None = None
        self._generator: torch.Generator | None = None

    def reset(self, batch: int) -> None:
        self._inner.reset(batch)
        self._held = None

    def act(self, s_g: Tensor, sample: Tensor) -> Tensor:
        if self._generator is None:
            self._generator = torch.Generator(s_g.device).manual_seed(self._seed)
        rows, fresh = len(s_g), random_actions(self._space, s_g.shape[:-1], self._generator)
        new = torch.rand(rows, generator=self._generator, dtype=torch.float32, device=s_g.device) < HOLD
        self._held = fresh if self._held is None else torch.where(new, fresh, self._held)
        chosen = self._inner.act(s_g, sample)
        return torch.where(torch.arange(rows, device=s_g.device) < EXPLORING * rows, self._held, chosen)
