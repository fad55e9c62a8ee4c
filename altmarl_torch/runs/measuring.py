"""What a run measures when it has learned: which certificates it can afford, and what n agents earn."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.any_game import AnyRollouts, rollout
from altmarl_torch.evaluation.certificate import PARTS, Part
from altmarl_torch.evaluation.judge import LARGEST_CHOICE
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import rollout as table_rollout
from altmarl_torch.evaluation.tied import WORK, step_work
from altmarl_torch.evaluation.tied_rows import MOST_STATES
from altmarl_torch.games.game import Game
from altmarl_torch.policies.own_rules import own_pairs
from altmarl_torch.policies.own_simulated_rules import own_simulated_pairs
from altmarl_torch.policies.yardsticks import yardsticks
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.rules import heuristic_pairs
from altmarl_torch.support.intervals import Difference

__all__ = ["AUTOMATIC_WORK", "Measurement", "affordable_parts", "measure", "returns_by_k"]

SWEEPS_PER_PROBLEM = 15
"""Bellman updates that one more fixed point takes, from a start as good as the learned values."""

OPERATIONS_PER_SWEEP = 2e6
"""What a Bellman update takes at any size, as an equal number of multiplications; a core makes about 10^9 a second."""

OPERATIONS_PER_STEP = 1e7
"""One gradient step of a network, likewise."""

STEPS_PER_SEARCH = 60
"""Factorizations of a search for the best local policy, on a chain that is small enough for one."""

FACTORED_AT_ONCE = 10
"""How many multiplications of a factorization take as long as one of a sweep."""

AUTOMATIC_WORK = WORK / 16
"""Multiplications of a search that nobody asked for: under half a second of a core; `altmarl certify` takes `WORK`."""

AFFORDABLE = 4e9
"""A certificate that should take no more operations than this is always made: a few seconds."""


MOST_SIZES = 50
"""Sizes of samples at which a network of several is played, at most."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """What pairs earn on the n-agent system.

    Attributes:
        learned: the learned pair's episodes.
        heuristics: the yardsticks' episodes by name, under the same seed.
        seconds: wall seconds for all of them.
    """

    learned: AnyRollouts
    heuristics: Mapping[str, AnyRollouts]
    seconds: float

    @property
    def best_rule(self) -> str | None:
        """The yardstick with the highest mean return; None where there is none."""
        return max(self.heuristics, key=lambda name: self.heuristics[name].mean, default=None)

    @property
    def lead(self) -> Difference | None:
        """What the learned pair earns more than the best rule, episode by episode; None where nothing is to compare.

        All pairs play under one seed, so that they share starts and samples, and the difference of the means is known
        better than either mean. The best of several rules is itself chosen by these episodes: a lead is understated.
        """
        if self.best_rule is None or len(self.learned.returns) < 2:
            return None
        return Difference.of(self.learned.returns - self.heuristics[self.best_rule].returns)


def measure(
    game: Game | SimulatedGame,
    pair: Any,
    *,
    episodes: int,
    horizon: int,
    seed: int,
    n: int | None = None,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    rule: str | None = None,
) -> Measurement:
    """Roll out `pair` and the heuristics of the same k, all under one seed (see `evaluation.rollouts`).

    `rule` names more of them, which are the user's own (`policies.own_rules`).

    Raises:
        ArgumentError: k > n, or a number is out of range.
    """
    started = time.perf_counter()

    options: dict[str, Any] = {"episodes": episodes, "horizon": horizon, "n": n, "seed": seed}
    if not isinstance(game, SimulatedGame):
        options |= {"answer_rate": answer_rate, "turnover": turnover}
    elif (answer_rate, turnover) != (1, 0):
        raise ArgumentError("answer_rate and turnover are of tables; agents of a simulator all answer, and stay")

    def run(candidate: Any) -> AnyRollouts:
        return rollout(game, candidate, **options)

    learned = run(pair)
    heuristics = {name: run(one) for name, one in _rules(game, pair, rule).items()}
    return Measurement(learned, heuristics, time.perf_counter() - started)


def _rules(game: Game | SimulatedGame, pair: Any, own: str | None) -> Mapping[str, Any]:
    """What a pair is compared with, by name."""
    if isinstance(game, SimulatedGame):
        return heuristic_pairs(game, pair.k) | ({} if own is None else own_simulated_pairs(own, game, pair))
    known = yardsticks(game, pair.k) if game.r_g_mu is None else {}  # which know nothing of the crowd
    return known | ({} if own is None else own_pairs(own, game, pair.k, pair.pi_l))


def returns_by_k(game: Game, solution: Solution, **evaluation: Any) -> dict[int, Rollouts]:
    """What a pair that was learned for several k earns at each, `MOST_SIZES` of them at most; none of a pair of one k.

    `evaluation` are arguments of `rollout`; every k meets the same episodes.
    """
    sizes = solution.sizes or ()
    step = max(1, math.ceil(len(sizes) / MOST_SIZES))
    return {k: table_rollout(game, solution.seeing(k), **evaluation) for k in sizes[::-1][::step][::-1]}


def affordable_parts(game: Game, solution: Solution) -> tuple[Part, ...]:
    """The parts of a certificate that should cost less, together, than the training did (or than a few seconds).

    Costs are counted in multiplications, not timed, so that equal trainings are certified alike on any machine. The
    unit is a fixed point of the surrogate: one agent's deviation works on |S_l| times as many values, for two payoffs;
    the shared one maximises over |A_l|^|S_l| kernels. Small chains are searched instead, for `AUTOMATIC_WORK` at most.
    """
    if solution.pi_g is None:
        return ()
    sweep = _operations_per_sweep(game, solution)
    spent = sum(update.sweeps for update in solution.history)
    left = max(spent * (sweep if solution.policy is None else OPERATIONS_PER_STEP), AFFORDABLE)
    fixed_point = SWEEPS_PER_PROBLEM * sweep
    choices, states = game.num_al**game.num_sl, game.num_sg * game.num_sl * solution.simplex.size
    costs: dict[Part, float] = {"global": fixed_point, "shared": choices * fixed_point}
    costs["single"] = 2 * game.num_sl * fixed_point
    if states <= MOST_STATES:
        search = min(AUTOMATIC_WORK, STEPS_PER_SEARCH * step_work(states)) / FACTORED_AT_ONCE
        costs |= {"shared": search, "single": 2 * search}
    parts = []
    for part in PARTS:
        if costs[part] <= left and (part != "shared" or choices <= LARGEST_CHOICE or states <= MOST_STATES):
            left -= costs[part]
            parts.append(part)
    return tuple(parts)


def _operations_per_sweep(game: Game, solution: Solution) -> float:
    """Multiplications of one Bellman update: |S_l| - 1 pair moves for each of k agents, count vector, s_g and a_g."""
    moves = solution.simplex.size * (game.num_sl - 1) * solution.sample_size
    return OPERATIONS_PER_SWEEP + game.num_sg * game.num_ag * moves
