"""The lifted learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `learners.lifted`. What passes from one turn to the next is a `LiftedMemory`: the
degree, the points, and the coefficients of the values that were fitted last, from which the next fit starts.

**The degree** climbs a ladder. G-LEARN responds in the present one. Once that gains less than `SMALL_GAIN` of V_max over
the current pair, nothing more is to be had there, and it responds in the next, until a greedy pair is no better than the
one before by `STILL` of V_max, both played on the same episodes and held against the same fit. So the first turns, whose
pairs will not last, cost next to nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.alternation.loop import PhaseProgress, Player, Proposal
from altmarl_torch.counts.resampling import Prior
from altmarl_torch.games.game import Game
from altmarl_torch.learners.lifted.basis import Basis
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.lifted.episodes import Rule, visit
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_best_response, fit_value, proven_error
from altmarl_torch.learners.lifted.judging import Judged, judge, laws_at
from altmarl_torch.learners.lifted.l_learn import local_gains
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.turns import single_changes, turns
from altmarl_torch.operators.joint_value import DIRECT, Acceptance, JointValue, gain_error
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.snapshots import Arrays, tensor_of

__all__ = ["LiftedEvaluator", "LiftedGlobalLearner", "LiftedLocalLearner", "LiftedMemory"]

SMALL_GAIN, STILL = 1e-3, 1e-4
"""Gains, relative to V_max: below the first UPDATE finds nothing to gain, below the second a higher degree is none."""

MAX_ROUNDS = 50
"""A cap on the improvements of pi_l in one turn."""

VISITS = 2_000
"""Counts that points are chosen from."""


@dataclass
class LiftedMemory:
    """What was fitted last, and for which pair.

    Attributes:
        game: with the rewards that are judged.
        k: number of agents, or infinity.
        degrees: the ladder.
        seed: of points and episodes, which are the same in every turn.
        by_state: whether UPDATE compares state by state.
        prior: of the posterior correction.
        place: on the ladder.
        settled: whether the ladder's end, for this run, has been found.
        points: where the last fit was made.
        coefficients: `[sg, N_J]`, of its values.
        pair: whose values they are.
    """

    game: Game
    k: float
    degrees: list[int]
    seed: int
    by_state: bool = False
    prior: Prior | None = None
    progress: PhaseProgress | None = None
    place: int = 0
    settled: bool = False
    points: Points | None = None
    coefficients: Tensor | None = None
    pair: Pair[Rule] | None = None
    _bases: dict[int, Basis] = field(default_factory=dict)
    _judged: tuple[Tensor, Judged] | None = None  # of which coefficients

    def __post_init__(self) -> None:
        self.seeds: list[int] = np.random.SeedSequence(self.seed).generate_state(3).tolist()

    def basis(self, place: int) -> Basis:
        """The functions of a place on the ladder."""
        if place not in self._bases:
            self._bases[place] = Basis(self.degrees[place], self.game.num_sl, self.game.device)
        return self._bases[place]

    def surrogate(self, pi_l: Tensor) -> LiftedSurrogate:
        """The k-agent MDP under `pi_l`, in the present degree."""
        return LiftedSurrogate.build(self.game, pi_l, self.k, self.basis(self.place), self.prior)

    def climb(self) -> None:
        """Go to the next degree, with everything that is known."""
        if self.coefficients is not None:
            lower, higher = self.basis(self.place), self.basis(self.place + 1)
            self.coefficients = lower.elevate(self.coefficients, higher)
        self.place, self.points = self.place + 1, None

    def choose_points(self, surrogate: LiftedSurrogate, policy: Rule | None) -> Points:
        """Points for the next fit, some of them where a pair goes."""
        generator = torch.Generator(self.game.device).manual_seed(self.seeds[0])
        exact = surrogate.basis.degree == self.k
        visited = None if policy is None or exact else visit(surrogate, policy, self.seeds[1], VISITS)
        self.points = Points.draw(surrogate.basis, self.k, generator, visited)
        return self.points

    def fitted(self, pair: Pair[Rule], phase: str) -> tuple[LiftedSurrogate, LiftedFit]:
        """A fit to the values of a pair: the one at hand, or a new one."""
        surrogate = self.surrogate(pair.pi_l)
        if not self._knows(pair) or self.coefficients is None:
            points = self.choose_points(surrogate, pair.pi_g)
            laws = laws_at(pair.pi_g, points, self.game.num_sg)
            found = fit_value(surrogate, points, laws, self.coefficients, self.watch(phase))
            self.coefficients, self.pair = found.coefficients, pair
            return surrogate, found
        return surrogate, of_coefficients(surrogate, self.coefficients)

    def known(self, pair: Pair[Rule], surrogate: LiftedSurrogate, fit: LiftedFit) -> Judged:
        """The value of the pair that was fitted, and its moments; played once."""
        if self._judged is None or self._judged[0] is not fit.coefficients:
            self._judged = fit.coefficients, self.judged(surrogate, pair.pi_g, fit)
        return self._judged[1]

    def judged(self, surrogate: LiftedSurrogate, policy: Rule, fit: LiftedFit, *, moments: bool = True) -> Judged:
        """The value of a pair near that of the fit."""
        assert self.points is not None
        return judge(surrogate, self.points, policy, fit, self.seeds[2], by_state=self.by_state, moments=moments)

    def watch(self, phase: str) -> Callable[[int, float], None] | None:
        """Told sweeps and errors."""
        told = self.progress
        return None if told is None else lambda sweeps, error: told(phase, sweeps, error)

    def _knows(self, pair: Pair[Rule]) -> bool:
        return self.pair is not None and self.pair.pi_g is pair.pi_g and torch.equal(self.pair.pi_l, pair.pi_l)

    def state(self, pair: Pair[Rule]) -> dict[str, NDArray[np.generic]]:
        """Everything that the next turn follows from."""
        arrays = {"place": np.asarray(self.place), "settled": np.asarray(self.settled)}
        if self.points is not None:
            arrays["points"] = self.points.counts.cpu().numpy()
        if self.coefficients is not None:
            arrays["coefficients"] = self.coefficients.cpu().numpy()
        if self.pair is not None and self.pair.pi_g is pair.pi_g:
            arrays["pi_l"] = self.pair.pi_l.cpu().numpy()
        return arrays

    def restore(self, state: Arrays, pair: Pair[Rule]) -> None:
        """Go on from what `state` returned."""
        device = self.game.device
        self.place, self.settled = int(state["place"]), bool(state["settled"])
        self.points = None
        if "points" in state:
            self.points = Points(self.basis(self.place), self.k, tensor_of(state["points"], device))
        self.coefficients = tensor_of(state["coefficients"], device) if "coefficients" in state else None
        self.pair = Pair(pair.pi_g, tensor_of(state["pi_l"], device)) if "pi_l" in state else None


def of_coefficients(surrogate: LiftedSurrogate, coefficients: Tensor) -> LiftedFit:
    """Values that were fitted before, with the Q that follows from them under the surrogate's pi_l."""
    return LiftedFit(coefficients, surrogate.action_coefficients(coefficients), math.nan, 0)


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
            "g_learn/residual": best.judged.residual,
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
        value = memory.judged(surrogate, candidate.pi_g, of_coefficients(surrogate, found.coefficients), moments=False).value
        return value.mean - judged.value.mean > 2 * gain_error(value, judged.value, of_mean=True)

    def state(self, pair: Pair[Rule]) -> Arrays:
        """The memory, where it is not the global learner's."""
        return {} if self.is_team else self.memory.state(pair)

    def restore(self, state: Arrays, pair: Pair[Rule]) -> None:
        """Go on from what `state` returned."""
        if not self.is_team:
            self.memory.restore(state, pair)


def lifted_players(
    game: Game,
    k: float,
    *,
    degree: int | None,
    own: bool,
    accept: Acceptance,
    seed: int,
    prior: Prior | None,
    progress: PhaseProgress | None,
) -> tuple[tuple[LiftedGlobalLearner, LiftedLocalLearner], LiftedEvaluator]:
    """Learners and evaluator on lifted functions, for k agents or infinitely many."""
    degrees = ladder(game.num_sl, k) if degree is None else [degree]
    memory = LiftedMemory(game, k, degrees, seed, accept == "all-states", prior, progress)
    local = memory
    if own:
        local = replace(memory, game=game.replace(r_g=torch.zeros_like(game.r_g)))
    return (LiftedGlobalLearner(memory), LiftedLocalLearner(local, not own, memory)), LiftedEvaluator(memory)
