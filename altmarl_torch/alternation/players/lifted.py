"""The lifted learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `learners.lifted`. What passes from one turn to the next is a `LiftedMemory`: the
degree, the points, and the coefficients of the values that were fitted last, from which the next fit starts.

**The degree** climbs a ladder. G-LEARN responds in the present one. Once that gains less than `SMALL_GAIN` of V_max
over the current pair, nothing more is to be had there, and it responds in the next, until a greedy pair is no better
than the one before by `STILL` of V_max, both played on the same episodes and held against the same fit. So the first
turns, whose pairs will not last, cost next to nothing.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import AUTO_ETA, Player, Players, Proposal
from altmarl_torch.alternation.players.lifted_memory import LiftedMemory, of_coefficients
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.lifted.episodes import Rule
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_best_response, fit_value, proven_error
from altmarl_torch.learners.lifted.judging import Judged, laws_at
from altmarl_torch.learners.lifted.l_learn import local_gains
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.turns import single_changes, turns
from altmarl_torch.operators.joint_value import DIRECT, JointValue, gain_error
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.snapshots import Arrays

__all__ = ["LiftedEvaluator", "LiftedGlobalLearner", "LiftedLocalLearner", "lifted_players"]

SMALL_GAIN, STILL = 2 * AUTO_ETA, 1e-4
"""Gains, relative to V_max: below the first UPDATE finds nothing to gain, below the second a higher degree is none."""

MAX_ROUNDS = 50
"""A cap on the improvements of pi_l in one turn."""


@dataclass
class LiftedEvaluator:
    """Scores pairs by their lifted value, corrected by episodes; exactly where J = k."""

    memory: LiftedMemory

    def evaluate(self, pair: Pair[Rule], start: Tensor | None) -> JointValue:
        """The joint value of the pair."""
        surrogate, found = self.memory.fitted(pair, "evaluation")
        return self.memory.known(pair, surrogate, found).value


@dataclass(frozen=True, eq=False)
class _Response:
    """A greedy pair in one degree."""

    pair: Pair[Rule]
    surrogate: LiftedSurrogate
    fit: LiftedFit
    judged: Judged


def _difference(proposed: _Response, lower: Judged) -> tuple[float, float]:
    """What a response gains over the one in a lower degree, and its standard error."""
    gain = proposed.judged.value.mean - lower.value.mean
    return gain, gain_error(proposed.judged.value, lower.value, of_mean=True)


@dataclass
class LiftedGlobalLearner:
    """Proposes the greedy policy of a lifted Q (G-LEARN, Algorithm 1)."""

    memory: LiftedMemory
    player: Player = "global"
    phase: str = "g_learn"

    def propose(self, pair: Pair[Rule], value: JointValue) -> Proposal[Rule]:
        """The best response to `pair.pi_l`."""
        memory, scale = self.memory, self.memory.game.v_max
        best, sweeps = self._respond(pair, pair.pi_g), 0
        while True:
            sweeps += best.fit.sweeps
            current = self._again(best, pair, value)
            gain = best.judged.value.mean - current.mean
            last = memory.settled or memory.place + 1 == len(memory.degrees)
            if last or gain >= SMALL_GAIN * scale:
                break
            memory.climb()
            higher = self._respond(best.pair, best.pair.pi_g, closely=True)
            gained, error = _difference(higher, memory.judged(higher.surrogate, best.pair.pi_g, higher.fit))
            memory.settled = gained < max(STILL * scale, error)
            best = higher
        return Proposal(best.pair, None, best.judged.value, sweeps, self._details(best), current)

    def _again(self, best: _Response, pair: Pair[Rule], value: JointValue) -> JointValue:
        """The value of the pair that is answered, held against the fit of the answer: what they differ by is exact."""
        points = self.memory.points
        if not isinstance(pair.pi_g, LiftedPolicy) or points is None or points.is_exact:
            return value
        return self.memory.judged(best.surrogate, pair.pi_g, best.fit, moments=False).value

    def _respond(self, pair: Pair[Rule], policy: Rule, closely: bool = False) -> _Response:
        """The greedy pair in the present degree; the points follow the policy it replaces, then itself."""
        memory = self.memory
        surrogate = memory.surrogate(pair.pi_l)
        again = closely or not isinstance(policy, LiftedPolicy)
        rounds = 2 if surrogate.basis.degree < memory.k and again else 1
        for _ in range(rounds):
            points = memory.choose_points(surrogate, policy)
            found = fit_best_response(surrogate, points, memory.coefficients, memory.watch(self.phase))
            memory.coefficients = found.coefficients
            degree, num_sl = surrogate.basis.degree, memory.game.num_sl
            policy = LiftedPolicy(found.action_coefficients, degree, num_sl, memory.k)
        proposed = Pair(policy, pair.pi_l)
        memory.pair = proposed
        return _Response(proposed, surrogate, found, memory.known(proposed, surrogate, found))

    def _details(self, best: _Response) -> dict[str, float | int | str]:
        details: dict[str, float | int | str] = {
            "g_learn/degree": best.surrogate.basis.degree,
            "g_learn/coefficients": best.surrogate.basis.size,
            "g_learn/sweeps": best.fit.sweeps,
            "g_learn/held_out_residual": best.judged.residual,
        }
        at_end = self.memory.settled or self.memory.place + 1 == len(self.memory.degrees)
        bound = proven_error(best.surrogate, best.pair.pi_l, best.fit) if at_end else None
        return details if bound is None else details | {"g_learn/proven_error": bound}

    def state(self, pair: Pair[Rule]) -> Arrays:
        """The memory."""
        return self.memory.state(pair)

    def restore(self, state: Arrays, pair: Pair[Rule]) -> None:
        """Go on from what `state` returned."""
        self.memory.restore(state, pair)


@dataclass
class LiftedLocalLearner:
    """Proposes by the derivative of the value in pi_l (L-LEARN, model-based).

    Attributes:
        memory: of the objective's values; the global learner's own for the team's.
        is_team: whether the objective is the joint value.
        source: the global learner's memory, whose degree is followed.
    """

    memory: LiftedMemory
    is_team: bool
    source: LiftedMemory
    player: Player = "local"
    phase: str = "l_learn"

    def propose(self, pair: Pair[Rule], value: JointValue) -> Proposal[Rule]:
        """The best response to `pair.pi_g`, from `pair.pi_l`."""
        while self.memory.place < self.source.place:
            self.memory.climb()
        best, rounds, tried = pair, 0, 0
        surrogate, found = self.memory.fitted(best, self.phase)
        judged = self.memory.known(best, surrogate, found)
        first = judged
        while rounds < MAX_ROUNDS:
            gains = local_gains(surrogate, best.pi_l, found.coefficients, judged.moments)
            improved, count = self._improved(best, found, judged, gains)
            tried += count
            if improved is None:
                break
            best, rounds = improved, rounds + 1
            surrogate, found = self.memory.fitted(best, self.phase)
            judged = self.memory.known(best, surrogate, found)
        details: dict[str, float | int | str] = {
            "l_learn/rounds": rounds,
            "l_learn/changes_tried": tried,
            "l_learn/objective_value": judged.value.mean,
        }
        joint = None if not self.is_team else (value if judged is first else judged.value)
        return Proposal(best, None, joint, 0, details)

    def _improved(
        self, best: Pair[Rule], found: LiftedFit, judged: Judged, gains: Tensor
    ) -> tuple[Pair[Rule] | None, int]:
        """The first change that raises the value for sure, and how many were tried."""
        small = self.memory.basis(self.memory.place).size * self.memory.game.num_sg <= DIRECT
        every = small and self.memory.degrees[self.memory.place] == self.memory.k
        tried = 0
        for pi_l in (*turns(best.pi_l, gains), *single_changes(best.pi_l, gains, every=every)):
            if torch.equal(pi_l, best.pi_l):
                continue
            candidate, tried = Pair(best.pi_g, pi_l), tried + 1
            if self._gains(candidate, found, judged):
                return candidate, tried
        return None, tried

    def _gains(self, candidate: Pair[Rule], found: LiftedFit, judged: Judged) -> bool:
        """Whether a pair is better than the present one, held against the present fit on the same episodes."""
        memory = self.memory
        surrogate = memory.surrogate(candidate.pi_l)
        if memory.points is not None and memory.points.is_exact:
            laws = laws_at(candidate.pi_g, memory.points, memory.game.num_sg)
            own = fit_value(surrogate, memory.points, laws, found.coefficients)
            mean = surrogate.initial_mean(own.coefficients)
            return mean - judged.value.mean > 1e-9 * max(memory.game.v_max, 1e-300)
        same = of_coefficients(surrogate, found.coefficients)
        value = memory.judged(surrogate, candidate.pi_g, same, moments=False).value
        return value.mean - judged.value.mean > 2 * gain_error(value, judged.value, of_mean=True)

    def state(self, pair: Pair[Rule]) -> Arrays:
        """The memory, where it is not the global learner's."""
        return {} if self.is_team else self.memory.state(pair)

    def restore(self, state: Arrays, pair: Pair[Rule]) -> None:
        """Go on from what `state` returned."""
        if not self.is_team:
            self.memory.restore(state, pair)


def lifted_players(run: AlternationRun) -> Players[Rule]:
    """Learners and evaluator on lifted functions, for k agents, or for infinitely many where everybody is seen.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    options, game = run.options, run.game
    k = math.inf if run.sees_all else float(run.k)
    degree = options.learning.degree
    degrees = ladder(game.num_sl, k) if degree is None else [degree]
    by_state, seed = options.stopping.accept == "all-states", options.learning.seed
    memory = LiftedMemory(game, k, degrees, seed, by_state, run.prior, options.keeping.progress)
    is_team, local = options.problem.objective == "team", memory
    if not is_team:
        local = replace(memory, game=game.replace(r_g=torch.zeros_like(game.r_g)))
    learners = LiftedGlobalLearner(memory), LiftedLocalLearner(local, is_team, memory)
    return Players(learners, LiftedEvaluator(memory), run.first_pair)
