"""The lifted learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `learners.lifted`. What passes from one turn to the next is a `LiftedMemory`: the
degree, the points, and the coefficients of the values that were fitted last, from which the next fit starts. A turn
works on it in a `LiftedWorkspace`.

**The degree** climbs a ladder. G-LEARN responds in the present one. Once that gains less than `SMALL_GAIN` of the span
of values over the current pair, nothing more is to be had there, and it responds in the next, until the greedy pair of
one degree is worth what that of the one before is, within `STILL` of the span or a standard error, both played side by
side and held against the same fit. (Where it is for sure worth less, it is not taken. What a degree gains is several
times what the next one would, so that `STILL` may be several times the loss that is left.) So the first turns, whose
pairs will not last, cost next to nothing.

Rewards are centred (`games.centring`), and values told as they are.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from altmarl_torch.alternation.loop import Player, Players, Proposal
from altmarl_torch.alternation.players.announcing import announce
from altmarl_torch.alternation.players.lifted_local import LiftedLocalLearner
from altmarl_torch.alternation.players.lifted_memory import SMALL_GAIN, STILL, LiftedMemories, LiftedWorkspace
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.games.centring import centre_rewards
from altmarl_torch.games.crowd import without_global_rewards
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.lifted.episodes import Contender
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_best_response, proven_error
from altmarl_torch.learners.lifted.judging import Judged
from altmarl_torch.learners.lifted.l_learn import expected_seconds
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule
from altmarl_torch.operators.joint_value import JointValue, gain_error
from altmarl_torch.policies.base import Pair

__all__ = ["LiftedEvaluator", "LiftedGlobalLearner", "lifted_players", "lifted_workspace"]


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
        facts = surrogate.basis.degree, work.game.num_sl, work.k, work.game.r_g_mu
        policy = LiftedPolicy(found.action_coefficients, *facts)
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


def lifted_players(run: AlternationRun) -> Players[Rule, LiftedMemories]:
    """Learners and evaluator on lifted functions, for k agents, or for infinitely many where everybody is seen.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    local = team = lifted_workspace(run)
    if run.options.problem.objective == "own":
        own, lowered = centre_rewards(without_global_rewards(run.game))
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
