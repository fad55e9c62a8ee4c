"""`rollout` for every kind of game: counts where there are tables, agents one by one where there is a simulator."""

from typing import Any, overload

from altmarl_torch.evaluation import rollouts
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import SimulatedPair
from altmarl_torch.simulators.rollouts import SimulatedRollouts, rollout_simulator

__all__ = ["rollout"]


@overload
def rollout(
    game: Game, pair: PolicyPair, *, episodes: int = 750, horizon: int = 100, n: int | None = None, seed: int = 0
) -> Rollouts: ...


@overload
def rollout(
    game: SimulatedGame,
    pair: SimulatedPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
) -> SimulatedRollouts: ...


def rollout(
    game: Game | SimulatedGame,
    pair: Any,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
) -> Rollouts | SimulatedRollouts:
    """Run Algorithm 4: `episodes` independent systems of `n` local agents for `horizon` steps.

    Args:
        game: a `Game`, whose agents are kept as counts at a cost that does not depend on n
            (`evaluation.rollouts.rollout`), or a `SimulatedGame`, whose agents are played one by one
            (`simulators.rollout_simulator`).
        pair: k, a dispatcher and a local policy, as `solve` returns them.
        episodes: number of independent episodes, at least 1.
        horizon: number of steps T, at least 1.
        n: population size instead of `game.n`.
        seed: non-negative; equal seeds give identical results.

    Returns:
        Returns, their mean and standard error, and the first episode.

    Raises:
        GameError: a law or function of the caller's own misbehaves.
        ArgumentError: `game` is no game, k > n, or a number is out of range.
        PolicyError: the pair is no pair, or not of this game.
        SizeError: more episodes, steps or agents than fit in memory.
    """
    if isinstance(game, SimulatedGame):
        return rollout_simulator(game, pair, episodes=episodes, horizon=horizon, n=n, seed=seed)
    return rollouts.rollout(game, pair, episodes=episodes, horizon=horizon, n=n, seed=seed)
