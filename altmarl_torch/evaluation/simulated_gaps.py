"""Lower bounds on the gaps of a pair in a simulator, by paired rollouts; and `rollout_gaps` for every kind of game.

A simulator has no tables to certify anything with, so that nothing bounds a gap from above. What is found here is what
some deviation gains: every constant action of either player, uniform ones, and the rules that the game's `zones` and
`offsets` make. Chosen on one half of the episodes and measured on the other, as in `evaluation.gaps_by_rollout`.
"""

from typing import Any

import torch
from torch import Tensor

from altmarl_torch.evaluation import gaps_by_rollout
from altmarl_torch.evaluation.gaps_by_rollout import RolloutGaps, best_deviations
from altmarl_torch.games.game import Game
from altmarl_torch.simulators.game import SimulatedGame, check_simulated
from altmarl_torch.simulators.pairs import MixedPair, RulePair, SimulatedPair, check_simulated_pair
from altmarl_torch.simulators.rules import heuristic_pairs
from altmarl_torch.simulators.spaces import Discrete, Space
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["rollout_gaps", "simulated_rollout_gaps"]

MOST_CONSTANTS = 16
"""Constant actions that are tried of each player."""


def rollout_gaps(
    game: Game | SimulatedGame,
    pair: Any,
    *,
    episodes: int = 2_000,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
) -> RolloutGaps:
    """Bound both gaps of a pair from below, on n agents.

    The deviations that are tried are named rules; for tables also an exact best response of a global agent that sees
    fewer (`evaluation.gaps_by_rollout`), for simulators constant actions (`simulated_rollout_gaps`).

    Args:
        game: a `Game` or a `SimulatedGame`.
        pair: any pair that can be rolled out.
        episodes: half of them choose a deviation, the other half measure it; at least 4.
        horizon: steps of each.
        n: population size instead of `game.n`.
        seed: of everything random.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: a policy does not fit the game.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> am.rollout_gaps(game, am.solve(game, k=3), episodes=200).local_gap.gain.mean < 0.1
        True
    """
    bound: Any = simulated_rollout_gaps if isinstance(game, SimulatedGame) else gaps_by_rollout.rollout_gaps
    gaps: RolloutGaps = bound(game, pair, episodes=episodes, horizon=horizon, n=n, seed=seed)
    return gaps


@one_thread()
@door
def simulated_rollout_gaps(
    game: SimulatedGame,
    pair: SimulatedPair,
    *,
    episodes: int = 2_000,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
) -> RolloutGaps:
    """Bound both gaps of a pair from below, on n agents of a simulator; `rollout_gaps` calls it.

    Args:
        game: the simulator.
        pair: any pair that can be rolled out.
        episodes: half of them choose a deviation, the other half measure it; at least 4.
        horizon: steps of each.
        n: population size instead of `game.n`.
        seed: of everything random.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: the pair is no pair of this game.
    """
    check_simulated(game)
    check_simulated_pair(pair)
    rules = heuristic_pairs(game, pair.k)
    leaders = {name.partition(" + ")[0]: MixedPair(rule, pair) for name, rule in rules.items()}
    followers = {name.partition(" + ")[2]: MixedPair(pair, rule) for name, rule in rules.items()}
    leaders |= {name: MixedPair(rule, pair) for name, rule in _constants(game, pair.k, game.global_action).items()}
    followers |= {name: MixedPair(pair, rule) for name, rule in _constants(game, pair.k, game.local_action).items()}
    return best_deviations(game, pair, leaders, followers, episodes=episodes, horizon=horizon, n=n, seed=seed)


def _constants(game: SimulatedGame, k: int, space: Space) -> dict[str, SimulatedPair]:
    """Pairs of which either player repeats one action of `space`, whoever's it is."""
    if isinstance(space, Discrete):
        actions = {f"always {j}": torch.tensor(j) for j in range(min(space.num, MOST_CONSTANTS))}
    elif space.is_bounded:
        ends = {"lowest": space.low, "middle": (space.low + space.high) / 2, "highest": space.high}
        actions = {f"always the {name}": end for name, end in ends.items()}
    else:
        actions = {"always 0": torch.zeros(space.d, dtype=torch.float32).clamp(space.low, space.high)}
    return {name: RulePair(k, _always(action), _always(action)) for name, action in actions.items()}


def _always(action: Tensor) -> Any:
    """A rule of either player, for states `[..., d]`."""

    def rule(states: Tensor, other: Tensor) -> Tensor:
        return action.to(states.device).expand(*states.shape[:-1], *action.shape)

    return rule
