"""`rollout` for every kind of game: counts where there are tables, agents one by one where there is a simulator."""

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation import rollouts
from altmarl_torch.evaluation.fleet import Sizes
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import SimulatedPair
from altmarl_torch.simulators.rollouts import SimulatedRollouts, rollout_simulator

__all__ = ["AnyGame", "AnyRollouts", "rollout"]

AnyGame = Game | SimulatedGame
AnyRollouts = Rollouts | SimulatedRollouts


@overload
def rollout(
    game: Game,
    pair: PolicyPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: Sizes = None,
    seed: int = 0,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    newcomers: ArrayLike | Tensor | None = None,
) -> Rollouts: ...


@overload
def rollout(
    game: SimulatedGame,
    pair: SimulatedPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: Sizes = None,
    seed: int = 0,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    newcomers: ArrayLike | Tensor | None = None,
) -> SimulatedRollouts: ...


def rollout(
    game: Game | SimulatedGame,
    pair: Any,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: Sizes = None,
    seed: int = 0,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    newcomers: ArrayLike | Tensor | None = None,
) -> Rollouts | SimulatedRollouts:
    """Run Algorithm 4: `episodes` independent systems of `n` local agents for `horizon` steps.

    Args:
        game: a `Game`, whose agents are kept as counts at a cost that does not depend on n
            (`evaluation.rollouts.rollout`), or a `SimulatedGame`, whose agents are played one by one
            (`simulators.rollout_simulator`).
        pair: k, a dispatcher and a local policy, as `solve` returns them.
        episodes: number of independent episodes, at least 1.
        horizon: number of steps T, at least 1.
        n: population size instead of `game.n`; for tables also one for each step.
        seed: non-negative; equal seeds give identical results.
        answer_rate: chance in [0, 1] that an asked agent answers, each independently (tables only, as what follows).
        turnover: chance in [0, 1] that an agent leaves after a step, and is replaced (`docs/how-many.md`).
        newcomers: law `[sl]` of those who join; None for the initial law's mean.

    Returns:
        Returns, their mean and standard error, and the first episode.

    Raises:
        GameError: a law or function of the caller's own misbehaves.
        ArgumentError: `game` is no game, k > n, or a number is out of range.
        PolicyError: the pair is no pair, or not of this game.
        SizeError: more episodes, steps or agents than fit in memory.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> played = am.rollout(game, am.solve(game, k=3), episodes=100)
        >>> played.sem < 0.1
        True
    """
    if isinstance(game, SimulatedGame):
        if (answer_rate, turnover) != (1.0, 0.0) or newcomers is not None or isinstance(n, Sequence | np.ndarray):
            raise ArgumentError(
                "answer_rate, turnover, newcomers and a schedule of n are for games with tables; a simulator's agents "
                "all answer and stay"
            )
        return rollout_simulator(game, pair, episodes=episodes, horizon=horizon, n=n, seed=seed)
    return rollouts.rollout(
        game,
        pair,
        episodes=episodes,
        horizon=horizon,
        n=n,
        seed=seed,
        answer_rate=answer_rate,
        turnover=turnover,
        newcomers=newcomers,
    )
