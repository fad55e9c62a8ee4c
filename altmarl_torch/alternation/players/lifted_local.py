"""The local learner on lifted functions, as the alternation loop knows it: what is tried for pi_l, how it is judged.

The derivative (`learners.lifted.paths`, or `l_learn`) promises gains, and what it promises is tried. *Turns* change
many states at once. Changes of *single states* come last, in a race (as in Maron and Moore's Hoeffding races, with
standard errors for their bounds): all are played beside the present pi_l on few episodes, those that may gain on more,
and those that gain for sure are made together.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Player, Proposal
from altmarl_torch.alternation.players.lifted_memory import (
    STILL,
    LiftedMemories,
    LiftedWorkspace,
    fits_of,
)
from altmarl_torch.learners.lifted.episodes import Contender
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_value
from altmarl_torch.learners.lifted.judging import Judged, laws_at
from altmarl_torch.learners.lifted.l_learn import local_gains, shares
from altmarl_torch.learners.lifted.paths import path_gains
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule
from altmarl_torch.learners.turns import single_changes, turns
from altmarl_torch.operators.joint_value import DIRECT, JointValue, gain_error
from altmarl_torch.policies.base import Pair

__all__ = ["LiftedLocalLearner"]

SELDOM, MOST_SINGLES, MOST_FINALISTS = 1e-3, 16, 8
"""Part of all steps in which a state is met below which pi_l is not changed there alone; changes that are tried so, and
those of them that are looked at twice."""

MAX_ROUNDS = 50
"""A cap on the improvements of pi_l in one turn."""


@dataclass(frozen=True, eq=False)
class _Change:
    """Another pi_l, what it is worth, and what the present one is on the same footing."""

    pi_l: Tensor
    value: JointValue
    current: JointValue
    rounding: float  # gains below it are none
    is_last: bool = False  # a race in the last degree costs as much as a fit

    @property
    def gain(self) -> float:
        """By how much it is worth more."""
        return self.value.mean - self.current.mean

    @property
    def luck(self) -> float:
        """Two standard errors of that, or rounding where values are exact."""
        return max(2 * gain_error(self.value, self.current, of_mean=True), self.rounding, 1e-300)

    @property
    def sure(self) -> float:
        """What it gains beyond luck."""
        return self.gain - self.luck


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
        judged = work.known(best, surrogate, found)
        while rounds < MAX_ROUNDS:
            gains = self._gains(best, surrogate, found, judged)
            change, count = self._improved(best, found, judged, gains)
            tried += count
            if change is None:
                break
            rounds += 1
            best, judged = Pair(best.pi_g, change.pi_l), replace(judged, value=change.value)
            if change.is_last or (change.gain < STILL * work.span and not self._is_exact):
                break  # what is left is not worth another fit
            surrogate, found = work.fitted(best, self.phase)
            judged = work.known(best, surrogate, found)
        details: dict[str, float | int | str] = {
            "l_learn/rounds": rounds,
            "l_learn/changes_tried": tried,
            "l_learn/objective_value": judged.value.mean,
        }
        joint, current = self._joint_values(best, judged, found, pair, value)
        own = memory.own if self.is_team else work.leave()
        proposal = Proposal(best, None, joint, 0, details, current)
        return proposal, LiftedMemories(self.team.leave(), own)

    def _gains(self, best: Pair[Rule], surrogate: LiftedSurrogate, found: LiftedFit, judged: Judged) -> Tensor:
        """The derivative in pi_l; from episodes, where pi_g answers by the same objective and nobody sees the crowd.

        What an agent adds to r_g_mu is more of a reason for pi_g to act otherwise, which episodes leave out.
        """
        closed = self._is_exact or not self.is_team
        if closed or surrogate.prior is not None or surrogate.game.r_g_mu is not None:
            return local_gains(surrogate, best.pi_l, found.coefficients, judged.moments)
        return path_gains(surrogate, best.pi_l, best.pi_g, found.coefficients, self.workspace.seeds[4])

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

    def _joint_values(
        self, best: Pair[Rule], judged: Judged, found: LiftedFit, pair: Pair[Rule], value: JointValue
    ) -> tuple[JointValue, JointValue | None]:
        """The joint value of the pair that is proposed and, where it is measured anew, of the one that it answers.

        UPDATE is to find what the race has found: both are played as finely. Where pi_g is no lifted one, both are
        played roughly, as G-LEARN's response to them will be: values of other episodes cannot be compared.
        """
        if best is pair:
            return value, None
        if not self.is_team:
            return self.team.known(best, *self.team.fitted(best, self.phase)).value, None
        if self._is_exact:
            return judged.value, None
        (change,) = self._changes(pair, [best.pi_l], found, finely=isinstance(pair.pi_g, LiftedPolicy))
        return change.value, change.current

    def _improved(
        self, best: Pair[Rule], found: LiftedFit, judged: Judged, gains: Tensor
    ) -> tuple[_Change | None, int]:
        """A change that raises the value for sure, and how many were tried."""
        tried = 0
        for batch in self._batches(best, gains):
            changed = [pi_l for pi_l in batch if not torch.equal(pi_l, best.pi_l)]
            tried += len(changed)
            found_better = _best(self._changes(best, changed, found, judged.value))
            if found_better:
                return found_better, tried
        if self._is_exact:
            return None, tried
        singles = self._singles(best, judged, gains)
        return self._raced(best, singles, found, judged.value), tried + len(singles)

    def _batches(self, best: Pair[Rule], gains: Tensor) -> Iterator[list[Tensor]]:
        """What pi_l is tried for, in the order in which it is: those of a batch side by side, and the best is taken.

        The turn of most states, then the smaller ones. Where J = k, where trying is exact and takes a fit, one after
        another, and then changes of single states.
        """
        work, candidates = self.workspace, list(turns(best.pi_l, gains))
        if self._is_exact:
            yield from ([pi_l] for pi_l in candidates)
            every = work.basis(work.place).size * work.game.num_sg <= DIRECT
            yield from ([pi_l] for pi_l in single_changes(best.pi_l, gains, every=every))
        else:
            yield from (candidates[:1], candidates[1:])

    def _singles(self, best: Pair[Rule], judged: Judged, gains: Tensor) -> list[Tensor]:
        """Changes of pi_l in single states that matter, a few.

        A state that is met in less than `SELDOM` of all steps can gain or lose no more than that part of the span.
        """
        work = self.workspace
        met = shares(work.surrogate(best.pi_l), judged.moments) * (1 - work.game.gamma)
        likely = torch.where(met.unsqueeze(-1) >= SELDOM, gains, -gains.abs().max())
        return single_changes(best.pi_l, likely, every=False)[:MOST_SINGLES]

    def _raced(self, best: Pair[Rule], singles: list[Tensor], found: LiftedFit, value: JointValue) -> _Change | None:
        """Changes of single states, those that gain for sure together, or the best of them alone; None if none does."""
        first = sorted(self._changes(best, singles, found, value), key=lambda one: one.gain, reverse=True)
        finalists = [one.pi_l for one in first[:MOST_FINALISTS] if one.gain > 0]
        second = [one for one in self._changes(best, finalists, found, finely=True) if one.sure > 0]
        together = _merged(best.pi_l, sorted(second, key=lambda one: one.gain))
        merged = self._changes(best, [together], found, finely=True) if len(second) > 1 else []
        winner = _best([*second, *merged])
        return winner and replace(winner, is_last=self.team.ends)

    def _changes(
        self,
        best: Pair[Rule],
        changed: list[Tensor],
        found: LiftedFit,
        current: JointValue | None = None,
        *,
        finely: bool = False,
    ) -> list[_Change]:
        """What pi_g is worth with each pi_l, and with the present one, unless that `current` value is given."""
        if not changed:
            return []
        played = changed if current else [best.pi_l, *changed]
        values = self._values(best.pi_g, played, found, finely)
        present, own = (current, values) if current else (values[0], values[1:])
        rounding = 1e-9 * self.workspace.span if self._is_exact else 0.0
        return [_Change(pi_l, one, present, rounding) for pi_l, one in zip(changed, own, strict=True)]

    def _values(self, pi_g: Rule, changed: Sequence[Tensor], found: LiftedFit, finely: bool) -> list[JointValue]:
        """The values of pi_g with each pi_l, held against the present fit on the same episodes; from fits at J = k."""
        work, surrogates = self.workspace, [self.workspace.surrogate(pi_l) for pi_l in changed]
        if work.points is None or not work.points.is_exact:
            near = fits_of(surrogates, found.coefficients)
            played = [Contender(one, pi_g, fit) for one, fit in zip(surrogates, near, strict=True)]
            return [own.value for own in work.judged(played, moments=False, finely=finely)]
        laws = laws_at(pi_g, work.points, work.game.num_sg)
        fits = [fit_value(one, work.points, laws, found.coefficients) for one in surrogates]
        means = [one.initial_mean(fit.coefficients) for one, fit in zip(surrogates, fits, strict=True)]
        exact = [JointValue(fit.coefficients, mean, fit.error, 0) for fit, mean in zip(fits, means, strict=True)]
        return [work.told(value) for value in exact]


def _best(changes: Sequence[_Change]) -> _Change | None:
    """The one that gains most for sure."""
    best = max(changes, key=lambda one: one.sure, default=None)
    return best if best is not None and best.sure > 0 else None


def _merged(pi_l: Tensor, changes: Sequence[_Change]) -> Tensor:
    """pi_l with all the changes, of which later ones win."""
    merged = pi_l
    for change in changes:
        merged = torch.where((change.pi_l != pi_l).any(-1, keepdim=True), change.pi_l, merged)
    return merged
