"""Episodes of a pair on n agents of a simulator: returns, their standard error, and the first episode."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.simulators.game import LARGEST_N, SimulatedGame, check_simulated
from altmarl_torch.simulators.pairs import SimulatedPair, check_simulated_pair
from altmarl_torch.simulators.play import blocks, play
from altmarl_torch.simulators.spaces import Discrete
from altmarl_torch.support.intervals import Returns
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_device, as_integer
from altmarl_torch.support.threads import one_thread, run
from altmarl_torch.support.torch_state import door

__all__ = ["SimulatedRollouts", "SimulatedTrace", "rollout_simulator"]

CELLS = 20
"""Of the histogram of a continuous feature."""

LARGEST_ROLLOUT = 10**8
"""Numbers that a rollout may keep at once."""


@dataclass(frozen=True, eq=False)
class SimulatedTrace:
    """The first episode, step by step.

    Attributes:
        s_g: `[T, dg]`, global states.
        a_g: `[T]` or `[T, ug]`, global actions.
        occupation: `[T, dl, cells]`, by feature, the fraction of the agents in each of 20 equal cells of its box (for
            finite states in each state); None where a feature has no bounds.
        zones: `[T, cells]`, the fraction of the agents in each cell of the game's `zones`; None where it has none.
    """

    s_g: Tensor
    a_g: Tensor
    occupation: Tensor | None
    zones: Tensor | None = None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class SimulatedRollouts(Returns):
    """Independent episodes of Algorithm 4 on a simulator.

    Attributes:
        returns: `[episodes]`, discounted from t = 0 (reward units of the game), float64.
        trace: the first episode.
        n, k, horizon, seed: what was rolled out.
    """

    returns: Tensor
    trace: SimulatedTrace
    n: int
    k: int
    horizon: int
    seed: int

    mode_accuracy: ClassVar[None] = None
    types: ClassVar[None] = None
    """What the episodes of tables have, and these have not: a mode that is hit, and types of agents."""

    def __repr__(self) -> str:
        return self.line(self.n, self.k, self.horizon)


@one_thread()
@door
def rollout_simulator(
    game: SimulatedGame,
    pair: SimulatedPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> SimulatedRollouts:
    """Run Algorithm 4: `episodes` independent systems of `n` local agents for `horizon` steps; `rollout` calls it.

    Args:
        game: the simulator.
        pair: k, a dispatcher that sees the states of k agents, and local actions (`SimulatedPair`).
        episodes: number of independent episodes, at least 1.
        horizon: number of steps T, at least 1.
        n: population size instead of `game.n`; every agent is played, memory holds one block of 2^18 of them (of one
            episode, where that has more).
        seed: non-negative; equal seeds give identical results on one device.
        device: where the states lie.

    Raises:
        GameError: a function of the game fails or returns a reward that is not finite; the step is named.
        ArgumentError: k > n, or a number is out of range.
        PolicyError: the pair is no pair, or its actions are not the game's.
        SizeError: more agents or episodes than fit in memory.
    """
    check_simulated(game)
    check_simulated_pair(pair)
    for name, value in (("episodes", episodes), ("horizon", horizon)):
        as_integer(name, value, 1, 10**9, ArgumentError)
    as_integer("seed", seed, 0, math.inf, ArgumentError)
    game = game if n is None else game.replace(n=as_integer("n", n, 1, LARGEST_N, ArgumentError))
    game.check_k(pair.k)
    kept = game.n * game.local_state.d + episodes + horizon * CELLS * game.local_state.d
    if kept > LARGEST_ROLLOUT:
        raise SizeError(
            f"n = {game.n}, episodes = {episodes}, horizon = {horizon} keep {kept:,} numbers at once, too many"
        )
    place, sizes = as_device(device), blocks(episodes, game.n)
    seeds = np.random.SeedSequence(seed).spawn(len(sizes))

    def block(index: int) -> tuple[Tensor, SimulatedTrace | None]:
        returns = torch.zeros(sizes[index], dtype=torch.float64, device=place)
        rows = []
        for t, step in enumerate(play(game, pair, sizes[index], horizon, seeds[index], place)):
            returns += game.gamma**t * step.reward
            if index == 0:
                rows.append((step.s_g[0], step.a_g[0], _histogram(game, step.s_l[0]), _zones(game, step.s_l[0])))
        return returns, _trace(rows) if index == 0 else None

    parts, traces = zip(*run(block, range(len(sizes))), strict=True)
    return SimulatedRollouts(torch.cat(parts).cpu(), traces[0], game.n, pair.k, horizon, seed)


def _trace(rows: list[tuple[Tensor, Tensor, Tensor | None, Tensor | None]]) -> SimulatedTrace:
    s_g, a_g, *counted = zip(*rows, strict=True)
    occupation, zones = (None if parts[0] is None else torch.stack(parts).cpu() for parts in counted)
    return SimulatedTrace(torch.stack(s_g).cpu(), torch.stack(a_g).cpu(), occupation, zones)


def _zones(game: SimulatedGame, s_l: Tensor) -> Tensor | None:
    """Fractions of the agents `[n, dl]` in the game's zones: `[cells]`."""
    return None if game.zones is None else game.zones.counts(s_l).float() / len(s_l)


def _histogram(game: SimulatedGame, s_l: Tensor) -> Tensor | None:
    """Fractions of the agents `[n, dl]` in the cells of each feature: `[dl, cells]`."""
    space = game.local_state
    if isinstance(space, Discrete):
        return torch.bincount(s_l.long().flatten(), minlength=space.num).float().unsqueeze(0) / len(s_l)
    if not space.is_bounded:
        return None
    low, high = space.low.to(s_l.device), space.high.to(s_l.device)
    cells = ((s_l - low) / (high - low) * CELLS).long().clamp(0, CELLS - 1)
    return torch.stack([torch.bincount(one, minlength=CELLS) for one in cells.T]).float() / len(s_l)
