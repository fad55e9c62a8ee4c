"""What deviations from one pair gain: each of the certificate's numbers, with how it was found.

`certificate` says what the numbers mean, and which of them are exact.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.errors import KernelError
from altmarl_torch.evaluation.deviations import Payoff, TaggedAgent
from altmarl_torch.evaluation.relaxed import relaxed_values
from altmarl_torch.evaluation.tied import TiedProblem, best_tied, best_values, mean_value
from altmarl_torch.evaluation.tied_rows import MOST_STATES, global_rows, shared_rows, tagged_rows
from altmarl_torch.operators.bellman import max_backup
from altmarl_torch.operators.fixed_point import FixedPoint, solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate, exact_surrogate
from altmarl_torch.policies.tabular import greedy

__all__ = ["LARGEST_CHOICE", "DeviationJudge", "Gap", "Progress"]

LARGEST_CHOICE = 1_024
"""The most assignments of actions to local states over which the relaxed shared deviation maximises."""

Progress = Callable[[str, int, float], None]
"""Told (part, sweeps, error)."""


@dataclass(frozen=True)
class Gap:
    """What a deviation gains, averaged over the initial law: somewhere in [lower, upper].

    Attributes:
        lower: gain of a deviation that exists; 0 if none was found that gains.
        upper: no deviation gains more; infinite where no bound was computed.
        kind: "exact" (lower = upper), "bound" (upper is proven), or "lower end" (upper was not computed).
        error: bound on the numerical error of either end, in units of value.
        seconds: what it took.
        worst: the largest gain at any single state, where that is meaningful.
    """

    lower: float
    upper: float
    kind: Literal["exact", "bound", "lower end"]
    error: float
    seconds: float
    worst: float | None = None

    @property
    def words(self) -> str:
        """The gain, or between which it lies."""
        if self.kind == "exact":
            return f"{self.upper:.3g}"
        return f"{self.lower:.3g}..{self.upper:.3g}" if math.isfinite(self.upper) else f"at least {self.lower:.3g}"


@dataclass(eq=False)
class DeviationJudge:
    """Evaluates deviations from one pair; values to within `tolerance`, searches within `work` multiplications."""

    surrogate: Surrogate
    pi_g: Tensor
    pi_l: Tensor
    tolerance: float
    work: float | None
    progress: Progress | None

    def __post_init__(self) -> None:
        self.value = joint_value(self.surrogate, self.pi_g, tolerance=self.tolerance, direct=MOST_STATES)

    def global_deviation(self) -> Gap:
        """Gap_1: the fixed point of T-hat_k against the value of the pair."""
        begun = time.perf_counter()
        problem = global_rows(self.surrogate)
        if problem is not None:
            values, error = best_values(problem)
        else:
            best = self._solve("global", lambda V: max_backup(self.surrogate, V), self.value.values)
            values, error = best.values, best.error
        gains = values.reshape(self.value.values.shape) - self.value.values
        gain = max(0.0, float((self.surrogate.initial_law * gains).sum()))
        worst = max(0.0, float(gains.max()))
        return Gap(gain, gain, "exact", error + self.value.error, time.perf_counter() - begun, worst)

    def single_deviation(self, payoff: Payoff) -> Gap:
        """One agent deviates: the best local policy where the chain is small, else an interval."""
        begun = time.perf_counter()
        problem = tagged_rows(self.surrogate, self.pi_g, payoff)
        if problem is not None:
            present = self.value.mean if payoff == "team" else mean_value(problem, self.pi_l.flatten(0, 1))
            return self._searched(f"single, {payoff}", problem, present, begun)
        tagged = TaggedAgent.build(self.surrogate, self.pi_g, payoff)
        stay = self._tagged_value(tagged, self.pi_l, payoff)
        present = float((tagged.law * stay.values).sum())

        def gain(pi_l: Tensor) -> float:
            return float((tagged.law * self._tagged_value(tagged, pi_l, payoff, stay.values).values).sum()) - present

        relaxed = self._solve(f"single, {payoff}", tagged.best_backup, stay.values)
        upper = max(0.0, float((tagged.law * relaxed.values).sum()) - present)
        lower = max([0.0, *map(gain, self._candidates(tagged, stay.values))])
        return Gap(lower, max(lower, upper), "bound", relaxed.error + stay.error, time.perf_counter() - begun)

    def shared_deviation(self) -> Gap:
        """Gap_2: the best pi_l where the chain is small, else an interval; no upper end where choices are too many."""
        begun = time.perf_counter()
        problem = shared_rows(self.surrogate, self.pi_g)
        if problem is not None:
            return self._searched("shared", problem, self.value.mean, begun)
        tagged = TaggedAgent.build(self.surrogate, self.pi_g, "team")
        lower = 0.0
        try:
            candidates = self._candidates(tagged, self.value.values[:, tagged.joined])
            lower = max([0.0, *map(self._shared_gain, candidates)])
            if self.surrogate.game.num_al ** len(self.pi_l) > LARGEST_CHOICE:
                return Gap(lower, math.inf, "lower end", 2 * self.value.error, time.perf_counter() - begun)
            told = self._watch("shared")
            best = relaxed_values(self.surrogate, self.pi_g, self.value.values, self.tolerance, told).found
        except KernelError:  # some deviation moves agents by a law without an exact kernel: no end can be proven
            return Gap(lower, math.inf, "lower end", 2 * self.value.error, time.perf_counter() - begun)
        gain = float((self.surrogate.initial_law * (best.values - self.value.values)).sum())
        upper = max(lower, gain + best.error)
        return Gap(lower, upper, "bound", self.value.error, time.perf_counter() - begun)

    def _searched(self, part: str, problem: TiedProblem, present: float, begun: float) -> Gap:
        """The best local policy of a problem against what is earned now; an interval where the search is too long."""
        found = best_tied(problem, self.tolerance, self._watch(part), self.work)
        lower, upper = max(0.0, found.lower - present), max(0.0, found.upper - present)
        error = self.value.error + found.tolerance
        return Gap(lower, upper, "exact" if lower == upper else "bound", error, time.perf_counter() - begun)

    def _shared_gain(self, pi_l: Tensor) -> float:
        deviated = exact_surrogate(self.surrogate.game, pi_l, self.surrogate.plan)
        return (
            joint_value(deviated, self.pi_g, tolerance=self.tolerance, start=self.value.values).mean - self.value.mean
        )

    def _tagged_value(
        self, tagged: TaggedAgent, pi_l: Tensor, payoff: Payoff, start: Tensor | None = None
    ) -> FixedPoint:
        """The value of a tagged agent that plays pi_l, on `[sg, sl, M]`."""
        if start is None:
            start = self.value.values[:, tagged.joined] if payoff == "team" else torch.zeros_like(tagged.law)
        return self._solve(f"single, {payoff}", tagged.policy_backup(pi_l), start)

    def _candidates(self, tagged: TaggedAgent, values: Tensor) -> list[Tensor]:
        """Promising deviations inside the class: turn to the best actions, as weighed by how often a state is visited.

        In every state; in the one that promises most; and in the two. Those that promise less than the numerical error
        are left out: no value could tell them from what is played.
        """
        present = self.surrogate.plan.companions.simplex.counts.T + 1
        share = present.to(torch.float64) / self.surrogate.simplex.k
        law = self._occupancy[:, tagged.joined] * share
        worth = einsum(law, tagged.action_values(values), "g l c, g l a c -> l g a")
        gain = rearrange(worth.amax(-1) - (self.pi_l * worth).sum(-1), "l g -> (l g)")
        turned, order = rearrange(greedy(worth), "l g a -> (l g) a"), gain.argsort(descending=True)
        deviations = []
        for states in (order, order[:1], order[:2]):
            if gain[states].sum() > self.tolerance:
                deviation = rearrange(self.pi_l, "l g a -> (l g) a").clone()
                deviation[states] = turned[states]
                deviations.append(deviation.reshape(self.pi_l.shape))
        return deviations

    @cached_property
    def _occupancy(self) -> Tensor:
        """How much each (s_g, h) counts for the value of the pair, `[sg, N]`: the same whatever is judged."""
        return occupancy(self.surrogate, self.pi_g)

    def _watch(self, part: str) -> Callable[[int, float], None] | None:
        """The progress of one part."""
        watch = self.progress
        return None if watch is None else lambda sweeps, error: watch(part, sweeps, error)

    def _solve(self, part: str, step: Callable[[Tensor], Tensor], start: Tensor) -> FixedPoint:
        return solve_fixed_point(step, start, self.surrogate.game.gamma, self.tolerance, progress=self._watch(part))
