"""The lifted learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `learners.lifted`. What passes from one turn to the next is a `LiftedMemory`: the
degree, the points, and the coefficients of the values that were fitted last, from which the next fit starts. A turn
works on it in a `LiftedWorkspace`.

**The degree** climbs a ladder. G-LEARN responds in the present one. Once that gains less than `SMALL_GAIN` of the span
of values over the current pair, nothing more is to be had there, and it responds in the next, until the greedy pair of
one degree is worth what that of the one before is, within `STILL` of the span or a standard error, both played side by
side and held against the same fit. (Where it is for sure worth less, it is not taken. What a degree gains is several
times what the next one would, so that `STILL` may be several times the loss that is left.) So the first turns, whose
pairs will not last, cost next to nothing; pi_l is tried for small gains only at the end.

Rewards are centred (`games.centring`), and values told as they are.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import AUTO_ETA, Player, Players, Proposal
from altmarl_torch.alternation.players.announcing import announce
from altmarl_torch.alternation.players.lifted_memory import LiftedMemories, LiftedWorkspace, of_coefficients
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.games.centring import centre_rewards
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.lifted.episodes import Contender, Rule
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_best_response, fit_value, proven_error
from altmarl_torch.learners.lifted.judging import Judged, laws_at
from altmarl_torch.learners.lifted.l_learn import expected_seconds, local_gains, shares
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.turns import single_changes, turns
from altmarl_torch.operators.joint_value import DIRECT, JointValue, gain_error
from altmarl_torch.policies.base import Pair

__all__ = ["LiftedEvaluator", "LiftedGlobalLearner", "LiftedLocalLearner", "lifted_players", "lifted_workspace"]

SMALL_GAIN, STILL = 2 * AUTO_ETA, 3e-4
"""Gains, relative to the span of values: below the first UPDATE finds none, below the second a degree is not higher."""

SELDOM, MOST_SINGLES, ABREAST = 1e-3, 16, 4
"""Part of all steps in which a state is met below which pi_l is not changed there alone; changes that are tried so, and
side by side."""

MAX_ROUNDS = 50
"""A cap on the improvements of pi_l in one turn."""


@dataclass
class LiftedEvaluator:
    """Scores the first pair by its lifted value, corrected by episodes, exactly where J = k; learners score theirs."""

    workspace: LiftedWorkspace

    def evaluate(self, pair: Pair[Rule], start: Tensor | None) -> JointValue:
        """The joint value of the pair."""
        surrogate, found = self.workspace.fitted(pair, "evaluation")
        return self.workspace.known(pair, surrogate, found).value


@dataclass(frozen=True, eq=False)
class _Response:
    """A greedy pair in one degree."""

    pair: Pair[Rule]
    surrogate: LiftedSurrogate
    fit: LiftedFit
    judged: Judged


def _difference(higher: Judged, lower: Judged) -> tuple[float, float]:
    """What a response gains over the one in a lower degree, and its standard error."""
    return higher.value.mean - lower.value.mean, gain_error(higher.value, lower.value, of_mean=True)


def _is_small(value: JointValue, current: JointValue, scale: float) -> bool:
    """Whether UPDATE would find nothing to gain."""
    return value.mean - current.mean < max(SMALL_GAIN * scale, 4 * gain_error(value, current, of_mean=True))


@dataclass
class LiftedGlobalLearner:
    """Proposes the greedy policy of a lifted Q (G-LEARN, Algorithm 1)."""

    workspace: LiftedWorkspace
    player: Player = "global"
    phase: str = "g_learn"

    def propose(
        self, pair: Pair[Rule], value: JointValue, memory: LiftedMemories
    ) -> tuple[Proposal[Rule], LiftedMemories]:
        """The best response to `pair.pi_l`."""
        work, scale = self.workspace, self.workspace.span
        work.take_up(memory.team)
        again = [pair.pi_g] if isinstance(pair.pi_g, LiftedPolicy) else []
        best, judged = self._respond(pair, again)
        current, sweeps = judged[0].value if judged else value, best.fit.sweeps
        while not work.ends and _is_small(best.judged.value, current, scale):
            work.climb()
            higher, judged = self._respond(best.pair, [best.pair.pi_g, *again])
            gained, error = _difference(higher.judged, judged[0])
            work.settled = abs(gained) < max(STILL * scale, error)
            best = replace(higher, pair=best.pair, judged=judged[0]) if gained < -2 * error else higher
            current, sweeps = judged[1].value if again else current, sweeps + higher.fit.sweeps
        work.remember(best.pair, best.judged)
        proposal = Proposal(best.pair, None, best.judged.value, sweeps, self._details(best), current)
        return proposal, replace(memory, team=work.leave())

    def _respond(self, pair: Pair[Rule], rivals: Sequence[Rule]) -> tuple[_Response, list[Judged]]:
        """The greedy pair in the present degree, fitted where the pair that it answers goes; its rivals on its footing.

        Rivals are other pi_g, played beside it and held against its fit: what they differ by is exact. Where J = k
        values are exact, and they are not judged.
        """
        work = self.workspace
        surrogate = work.surrogate(pair.pi_l)
        points = work.choose_points(surrogate, pair)
        found = fit_best_response(surrogate, points, work.coefficients, work.watch(self.phase))
        work.coefficients = found.coefficients
        policy = LiftedPolicy(found.action_coefficients, surrogate.basis.degree, work.game.num_sl, work.k)
        played: list[Rule] = [policy, *([] if points.is_exact else rivals)]
        own, *others = work.judged([Contender(surrogate, rule, found) for rule in played])
        return _Response(Pair(policy, pair.pi_l), surrogate, found, own), others

    def _details(self, best: _Response) -> dict[str, float | int | str]:
        details: dict[str, float | int | str] = {
            "g_learn/degree": best.surrogate.basis.degree,
            "g_learn/coefficients": best.surrogate.basis.size,
            "g_learn/sweeps": best.fit.sweeps,
            "g_learn/held_out_residual": best.judged.residual,
        }
        bound = proven_error(best.surrogate, best.pair.pi_l, best.fit) if self.workspace.ends else None
        return details if bound is None else details | {"g_learn/proven_error": bound}


@dataclass
class LiftedLocalLearner:
    """Proposes by the derivative of the value in pi_l (L-LEARN, model-based).

    Attributes:
        workspace: of the objective's values; the global learner's own for the team's.
        team: the global learner's workspace.
    """

    workspace: LiftedWorkspace
    team: LiftedWorkspace
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Rule], value: JointValue, memory: LiftedMemories
    ) -> tuple[Proposal[Rule], LiftedMemories]:
        """The best response to `pair.pi_g`, from `pair.pi_l`."""
        self.team.take_up(memory.team)
        work = self._at_work(memory)
        best, rounds, tried = pair, 0, 0
        surrogate, found = work.fitted(best, self.phase)
        judged = first = work.known(best, surrogate, found)
        while rounds < MAX_ROUNDS:
            gains = local_gains(surrogate, best.pi_l, found.coefficients, judged.moments)
            improved, count = self._improved(best, found, judged, gains, self.team.ends or not rounds)
            tried += count
            if improved is None:
                break
            gained, rounds = improved[1].mean - judged.value.mean, rounds + 1
            best, judged = improved[0], replace(judged, value=improved[1])
            if gained < STILL * work.span and not self._is_exact:
                break  # what is left is not worth another fit
            surrogate, found = work.fitted(best, self.phase)
            judged = work.known(best, surrogate, found)
        details: dict[str, float | int | str] = {
            "l_learn/rounds": rounds,
            "l_learn/changes_tried": tried,
            "l_learn/objective_value": judged.value.mean,
        }
        joint = value if judged is first else self._joint_value(best, judged)
        own = memory.own if self.is_team else work.leave()
        return Proposal(best, None, joint, 0, details), LiftedMemories(self.team.leave(), own)

    @property
    def _is_exact(self) -> bool:
        """Whether J = k."""
        return self.workspace.points is not None and self.workspace.points.is_exact

    @property
    def is_team(self) -> bool:
        """Whether the objective is the joint value."""
        return self.workspace is self.team

    def _at_work(self, memory: LiftedMemories) -> LiftedWorkspace:
        """The workspace of the objective, in the degree that the global learner has reached."""
        if not self.is_team:
            self.workspace.take_up(memory.own)
            while self.workspace.place < self.team.place:
                self.workspace.climb()
        return self.workspace

    def _joint_value(self, pair: Pair[Rule], judged: Judged) -> JointValue:
        """The joint value of a pair, which has been judged by the objective."""
        return judged.value if self.is_team else self.team.known(pair, *self.team.fitted(pair, self.phase)).value

    def _improved(
        self, best: Pair[Rule], found: LiftedFit, judged: Judged, gains: Tensor, thorough: bool
    ) -> tuple[tuple[Pair[Rule], JointValue] | None, int]:
        """A change that raises the value for sure, with its value, and how many were tried."""
        tried = 0
        for batch in self._batches(best, judged, gains, thorough):
            changed = [pi_l for pi_l in batch if not torch.equal(pi_l, best.pi_l)]
            tried += len(changed)
            values = self._values(best.pi_g, changed, found) if changed else []
            sure = [self._sure_gain(value, judged.value) for value in values]
            if sure and max(sure) > 0:
                index = sure.index(max(sure))
                return (Pair(best.pi_g, changed[index]), values[index]), tried
        return None, tried

    def _batches(self, best: Pair[Rule], judged: Judged, gains: Tensor, thorough: bool) -> Iterator[list[Tensor]]:
        """What pi_l is tried for, in the order in which it is: those of a batch side by side, and the best is taken.

        The turn of most states, the smaller ones, then changes of single states; once a turn has gained, and the last
        degree is not reached, only turns that promise what counts there. Where J = k, where trying is exact and takes a
        fit, one after another.
        """
        work, candidates = self.workspace, list(turns(best.pi_l, gains))
        if self._is_exact:
            yield from ([pi_l] for pi_l in candidates)
            every = work.basis(work.place).size * work.game.num_sg <= DIRECT
            yield from ([pi_l] for pi_l in single_changes(best.pi_l, gains, every=every))
        elif thorough:
            yield from (candidates[:1], candidates[1:])
            singles = self._singles(best, judged, gains)
            yield from (singles[first : first + ABREAST] for first in range(0, len(singles), ABREAST))
        else:
            least = SMALL_GAIN * work.span
            candidates = [pi_l for pi_l in candidates if float(((pi_l - best.pi_l) * gains).sum()) > least]
            yield from (candidates[:1], candidates[1:])

    def _singles(self, best: Pair[Rule], judged: Judged, gains: Tensor) -> list[Tensor]:
        """Changes of pi_l in single states that matter, a few.

        A state that is met in less than `SELDOM` of all steps can gain or lose no more than that part of the span.
        """
        work = self.workspace
        met = shares(work.surrogate(best.pi_l), judged.moments) * (1 - work.game.gamma)
        likely = torch.where(met.unsqueeze(-1) >= SELDOM, gains, -gains.abs().max())
        return single_changes(best.pi_l, likely, every=False)[:MOST_SINGLES]

    def _values(self, pi_g: Rule, changed: list[Tensor], found: LiftedFit) -> list[JointValue]:
        """The values of pi_g with each pi_l, held against the present fit on the same episodes; from fits at J = k."""
        work, surrogates = self.workspace, [self.workspace.surrogate(pi_l) for pi_l in changed]
        if work.points is None or not work.points.is_exact:
            played = [Contender(one, pi_g, of_coefficients(one, found.coefficients)) for one in surrogates]
            return [own.value for own in work.judged(played, moments=False)]
        laws = laws_at(pi_g, work.points, work.game.num_sg)
        fits = [fit_value(one, work.points, laws, found.coefficients) for one in surrogates]
        means = [one.initial_mean(fit.coefficients) for one, fit in zip(surrogates, fits, strict=True)]
        exact = [JointValue(fit.coefficients, mean, fit.error, 0) for fit, mean in zip(fits, means, strict=True)]
        return [work.told(value) for value in exact]

    def _sure_gain(self, value: JointValue, current: JointValue) -> float:
        """What a value gains over another, less what may be luck, or rounding."""
        least = 1e-9 * self.workspace.span if self._is_exact else 2 * gain_error(value, current, of_mean=True)
        return value.mean - current.mean - max(least, 1e-300)


def lifted_players(run: AlternationRun) -> Players[Rule, LiftedMemories]:
    """Learners and evaluator on lifted functions, for k agents, or for infinitely many where everybody is seen.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    local = team = lifted_workspace(run)
    if run.options.problem.objective == "own":
        own, lowered = centre_rewards(run.game.replace(r_g=torch.zeros_like(run.game.r_g)))
        local = replace(team, game=own, lowered=lowered)
    seconds = expected_seconds(run.game, team.k, team.degrees[-1])
    announce(run, seconds, f"functions of degree {team.degrees[-1]}", "a lower degree takes less")
    learners = LiftedGlobalLearner(team), LiftedLocalLearner(local, team)
    return Players(learners, LiftedEvaluator(team), run.first_pair, LiftedMemories())


def lifted_workspace(run: AlternationRun) -> LiftedWorkspace:
    """Where a run's learners work on the joint values."""
    options, (game, lowered) = run.options, centre_rewards(run.game)
    k = math.inf if run.sees_all else float(run.k)
    degree = options.learning.degree
    degrees = ladder(game.num_sl, k) if degree is None else [degree]
    by_state, seed = options.stopping.accept == "all-states", options.learning.seed
    return LiftedWorkspace(game, k, degrees, seed, by_state, run.prior, options.keeping.progress, lowered)
