r"""Lower bounds on the gaps of any pair on the n-agent system, by paired rollouts.

Where the counts of k agents are too many to list, or a dispatcher is no table, `certify` has nothing to compute with.
What remains is to try deviations and measure what they gain: each is rolled out against the pair itself under common
random numbers, so that the difference has a small error, and the gap is at least the gain of any of them:

    Gap_1 >= V^{pi_g', pi_l} - V,        Gap_2 >= V^{pi_g, pi_l'} - V.

The deviations are the named rules and walkers (`heuristics`) and one that is made for the occasion: the exact best
response to pi_l of a global agent that sees only k' of the k, for the largest k' whose table costs little. The Bellman
operator alone makes it; no learner is involved.

**Choosing and measuring are kept apart.** The best of several noisy gains is too high on average. So the deviation is
chosen on one half of the episodes and measured on the other, with fresh random numbers: the interval that is reported
is an honest one for the deviation that is named. A negative gain means that nothing was found; the gap is then only
known to be at least 0.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.paired import paired_difference
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.operators.bellman import action_values, max_backup
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.joint_value import value_tolerance
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Dispatcher, PolicyPair, check_pair
from altmarl_torch.policies.rules import RULES, WALKERS, HeuristicPair
from altmarl_torch.policies.tabular import TabularDispatcher, greedy
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.support.intervals import Difference
from altmarl_torch.support.sampling import draw_sample
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = [
    "ReplacedWalker",
    "RolloutGap",
    "RolloutGaps",
    "ThinnedPair",
    "best_deviations",
    "best_response_to",
    "rollout_gaps",
]

RESPONSE_COUNTS = 500
"""The made deviation reads a table of at most so many counts."""


@dataclass(frozen=True)
class RolloutGap:
    """An estimate of a lower bound: what one named deviation gains."""

    deviation: str  # which one
    gain: Difference  # its gain over the pair, with an interval
    tried: dict[str, float] = field(default_factory=dict)  # gains on the episodes that chose it, by name

    @property
    def lower(self) -> float:
        """The gap is at least this, at the confidence of the interval."""
        return max(0.0, self.gain.low)


@dataclass(frozen=True)
class RolloutGaps:
    """Lower bounds on both gaps of a pair; estimates, with intervals."""

    global_gap: RolloutGap
    local_gap: RolloutGap
    n: int
    k: int
    horizon: int


@dataclass(frozen=True)
class ReplacedWalker:
    """A pair with another local policy."""

    pair: PolicyPair
    pi_l: Tensor  # [sl, sg, al]

    @property
    def k(self) -> int:
        """How many local agents the dispatcher sees."""
        return self.pair.k

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """The pair's own dispatcher."""
        return self.pair.dispatcher(seed)


@dataclass(frozen=True)
class ThinnedPair:
    """A table for few agents, read by a global agent that sees more: it looks at some of its sample, drawn anew."""

    k: int
    pi_l: Tensor  # [sl, sg, al]
    pi_g: Tensor  # [sg, N, ag] on the counts of `simplex`
    simplex: CountSimplex

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """Draws simplex.k of the k agents without replacement and plays the table."""
        return _ThinningDispatcher(TabularDispatcher(self.pi_g, self.simplex, seed), self.k, self.simplex, seed)


class _ThinningDispatcher:
    def __init__(self, table: TabularDispatcher, k: int, simplex: CountSimplex, seed: int) -> None:
        self._table, self._k, self._simplex = table, k, simplex
        self._generator = torch.Generator(simplex.device).manual_seed(seed)

    def reset(self, batch: int) -> None:
        """Nothing to forget."""

    def act(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """Actions [batch] for s_g [batch] and the sampled agents' counts [batch, sl]."""
        return self._table.act(s_g, draw_sample(counts, self._simplex.k, self._k, self._generator))


@one_thread()
@door
def rollout_gaps(
    game: Game, pair: PolicyPair, *, episodes: int = 2_000, horizon: int = 100, n: int | None = None, seed: int = 0
) -> RolloutGaps:
    """Bound both gaps of a pair from below, on n agents.

    Args:
        game: the tables, gamma, the initial law, and n unless given.
        pair: any pair that can be rolled out.
        episodes: half of them choose a deviation, the other half measure it; at least 4.
        horizon: steps of each.
        n: population size instead of `game.n`.
        seed: of everything random.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: a policy does not fit the game.
    """
    check_game(game, "rollout_gaps")
    check_pair("pair", pair)
    dispatchers: dict[str, PolicyPair] = {
        name: HeuristicPair(name, pair.k, rule(game), pair.pi_l) for name, rule in RULES.items()
    }
    dispatchers["best response of fewer"] = best_response_to(game, pair.pi_l, pair.k)
    walkers: dict[str, PolicyPair] = {name: ReplacedWalker(pair, walker(game)) for name, walker in WALKERS.items()}
    return best_deviations(game, pair, dispatchers, walkers, episodes=episodes, horizon=horizon, n=n, seed=seed)


def best_deviations(
    game: Game | SimulatedGame,
    pair: Any,
    dispatchers: Mapping[str, Any],
    walkers: Mapping[str, Any],
    *,
    episodes: int,
    horizon: int,
    n: int | None,
    seed: int,
) -> RolloutGaps:
    """What the best of some pairs gains over `pair`, of either player: lower bounds on the gaps.

    Args:
        game: tables, or a simulator.
        pair: the pair that is left.
        dispatchers: by name, pairs in which the global agent does something else.
        walkers: pairs in which the local agents do.
        episodes, horizon, n, seed: as for `rollout_gaps`.

    Raises:
        ArgumentError: an argument is outside its range.
    """
    half = as_integer("episodes", episodes, 4, math.inf, ArgumentError) // 2
    options = {"episodes": half, "horizon": horizon, "n": n}
    return RolloutGaps(
        global_gap=_best_deviation(game, pair, dispatchers, options, seed),
        local_gap=_best_deviation(game, pair, walkers, options, seed),
        n=game.n if n is None else n,
        k=pair.k,
        horizon=horizon,
    )


def best_response_to(game: Game, pi_l: Tensor, k: int) -> ThinnedPair:
    """The exact best response to pi_l of a global agent that looks at as many of its k agents as a small table can."""
    simplex = CountSimplex(k, game.num_sl, game.device).coarser(RESPONSE_COUNTS)
    surrogate = Surrogate.build(game, pi_l, PairPlan(simplex))
    tolerance = value_tolerance(surrogate)
    found = solve_fixed_point(lambda V: max_backup(surrogate, V), surrogate.start, game.gamma, tolerance)
    return ThinnedPair(k, pi_l, greedy(action_values(surrogate, found.values)), simplex)


def _best_deviation(
    game: Game | SimulatedGame, pair: Any, deviations: Mapping[str, Any], options: Mapping[str, Any], seed: int
) -> RolloutGap:
    """What the best of some pairs gains over `pair`: chosen on one set of episodes, measured on another.

    Args:
        game: tables, or a simulator.
        pair: the pair that is left.
        deviations: by name, pairs in which one player does something else.
        options: of the rollouts: `episodes`, `horizon`, `n`.
        seed: of those that choose; the next one measures.
    """

    def gain(name: str, at: int) -> Difference:
        return paired_difference(game, deviations[name], pair, seed=at, **options)

    tried = {name: gain(name, seed).mean for name in deviations}
    chosen = max(tried, key=tried.__getitem__)
    return RolloutGap(chosen, gain(chosen, seed + 1), tried)
