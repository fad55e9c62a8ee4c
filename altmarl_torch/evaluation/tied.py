r"""The best deviator that cannot see h: a search over local policies with a proven bound.

A local policy chooses one action for each (s_l, s_g), whatever the counts are: the states of a deviator's decision
problem (`deviations`) are *tied*. The best tied policy is that of a partially observed problem without memory, which
is NP-hard in general (Littman, *Memoryless policies: theoretical limitations and practical results*, 1994), and found
by branch and bound:

* **Bound.** Untied, the deviator sees (s_g, h) as well; its problem is an MDP, which policy iteration solves exactly
  (a factorization of I - gamma K in each of a handful of steps), and whose value no tied policy exceeds. MacQueen's
  bound (`operators.fixed_point`) at the last values makes it proven.
* **Candidate.** Each (s_l, s_g) takes the action that loses least of the untied value, weighed by the occupancy d of
  the untied policy: the derivative. Its value is exact, by one factorization.
* **Branch.** Where the bound exceeds the best candidate, the (s_l, s_g) whose common action loses most is decided,
  one branch for each of its actions. The branch with the highest bound is next.

It ends where no bound exceeds the best candidate by more than the tolerance, and then equals the enumeration of all
policies; or where its work is done: the highest bound is then still proven.
"""

import heapq
import itertools
import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.operators.fixed_point import Progress

__all__ = ["Found", "Optimum", "TiedProblem", "best_tied", "best_values", "mean_value", "step_work", "untied_optimum"]

WORK = 2e10
"""Multiplications of one search: a few seconds of a core."""

MOST_STEPS = 60
"""Of one policy iteration; a handful is usual."""

ROUNDING = 2.0**-44
"""Relative to the largest value: what a factorization may leave of a row's equation; smaller gains turn no policy."""

OVERHEAD = 2e6
"""What a step costs at any size, as multiplications."""


@dataclass(frozen=True)
class TiedProblem:
    """A decision problem whose states are tied: rows are what can be done, and each names the decisions it rests on.

    Rows of one state follow each other; every state has one at least for each choice of the decisions.
    """

    reward: Tensor  # [R] expected reward of each row
    law: Tensor  # [R, states] where it leads
    state: Tensor  # [R] int64 the state it is chosen in, rising
    decisions: Tensor  # [R, V] int64 the option of each decision that it takes; -1: whatever it is
    options: int  # of each decision
    initial: Tensor  # [states] law of the first state
    gamma: float

    @cached_property
    def rows(self) -> Tensor:
        """The rows of each state, `[states, most]`; R where it has fewer."""
        count = torch.bincount(self.state, minlength=self.states)
        first = count.cumsum(0) - count
        place = torch.arange(len(self.state), device=self.state.device) - first[self.state]
        rows = torch.full((self.states, int(count.max())), len(self.state), device=self.state.device)
        rows[self.state, place] = torch.arange(len(self.state), device=self.state.device)
        return rows

    @cached_property
    def takes(self) -> Tensor:
        """Whether a row takes a decision's option, `[V, options, states, most]`; also where it rests on another."""
        padded = torch.cat([self.decisions, self.decisions.new_full((1, self.decisions.shape[1]), -2)])[self.rows]
        option = torch.arange(self.options, device=padded.device)[None, :, None, None]
        chosen = padded.movedim(-1, 0).unsqueeze(1)
        return (chosen == option) | (chosen == -1)

    @property
    def states(self) -> int:
        """How many there are."""
        return len(self.initial)

    @property
    def work(self) -> float:
        """Multiplications of one step of policy iteration: a factorization, and the values of all rows."""
        return step_work(self.states) + 2 * self.law.numel() + self.takes.numel()

    def allowed(self, choices: Tensor) -> Tensor:
        """The rows that decisions within `choices [V, options]` may take, `[states, most]`."""
        return (self.takes & choices[:, :, None, None]).any(1).all(0)

    def row_values(self, values: Tensor) -> Tensor:
        """What each row is worth if it goes on with `values [states]`, `[states, most]`; -inf where there is none."""
        worth = torch.addmv(self.reward, self.law, values, alpha=self.gamma)
        return torch.cat([worth, worth.new_full((1,), -math.inf)])[self.rows]

    def occupancy(self, factors: tuple[Tensor, Tensor]) -> Tensor:
        """The discounted occupancy `[states]` of the policy that the factors of I - gamma K belong to."""
        occupied: Tensor = torch.linalg.lu_solve(*factors, self.initial[:, None], adjoint=True)[:, 0]
        return occupied

    def centred(self) -> tuple["TiedProblem", float]:
        """The same problem with rewards around zero, where no digits are lost, and what that takes off every value."""
        middle = float(self.reward.max() + self.reward.min()) / 2
        return replace(self, reward=self.reward - middle), middle / (1 - self.gamma)


@dataclass(frozen=True)
class Found:
    """Where the best tied value lies, to the tolerance; `choices [V, options]` is one-hot and earns the lower."""

    lower: float
    upper: float
    choices: Tensor
    tolerance: float


@dataclass(frozen=True)
class Optimum:
    """The best untied policy."""

    values: Tensor  # [states]
    policy: Tensor  # [states] the place of its row
    worth: Tensor  # [states, most] of each row, -inf where it may not be taken
    factors: tuple[Tensor, Tensor]  # of I - gamma K under the policy
    slack: float  # no policy is worth more, from any state, than `values` and this
    spent: float  # multiplications


@dataclass(frozen=True)
class _Solved:
    """The untied optimum within some choices."""

    upper: float  # proven bound on its mean value
    policy: Tensor  # [states]
    losses: Tensor  # [V, options] what taking an option everywhere loses, weighed by the occupancy
    spent: float


@dataclass(order=True)
class _Branch:
    """Choices that are still open, the most promising first."""

    rank: tuple[float, int]
    choices: Tensor = field(compare=False)
    solved: _Solved = field(compare=False)


def best_tied(
    problem: TiedProblem, tolerance: float, progress: Progress | None = None, work: float | None = None
) -> Found:
    """Search the tied policies until their best mean value is known to `tolerance`, or for `work` multiplications.

    `work` is `WORK` where it is None.

    The first bound and candidate are always computed. `progress(branches, distance)` is told how far apart the bound
    and the best candidate are, in units of value as the tolerance is.
    """
    (problem, offset), work = problem.centred(), WORK if work is None else work
    everything = torch.ones(problem.decisions.shape[1], problem.options, dtype=torch.bool, device=problem.law.device)
    order, solved = itertools.count(), _solve(problem, everything, None)
    best, choices, spent = _improved(problem, _nearest(everything, solved.losses))
    tolerance = max(tolerance, 4 * ROUNDING * float(problem.reward.abs().max()) / (1 - problem.gamma) ** 2)
    branches, spent = [_Branch((-solved.upper, next(order)), everything, solved)], spent + solved.spent
    while branches and -branches[0].rank[0] > best + tolerance and spent < work:
        branch = heapq.heappop(branches)
        if progress:
            progress(branch.rank[1] + 1, -branch.rank[0] - best)
        for narrower in _split(branch.choices, branch.solved.losses):
            part = _solve(problem, narrower, branch.solved.policy)
            upper, spent = min(part.upper, -branch.rank[0]), spent + part.spent
            if upper <= best + tolerance:
                continue
            value, candidate, more = _improved(problem, _nearest(narrower, part.losses), best)
            spent += more
            if value > best:
                best, choices = value, candidate
            if int(narrower.sum()) > len(narrower):
                heapq.heappush(branches, _Branch((-upper, next(order)), narrower, part))
    upper = -branches[0].rank[0] if branches else best
    exact = upper <= best + tolerance
    return Found(best + offset, (best if exact else upper) + offset, choices, tolerance)


def untied_optimum(problem: TiedProblem, allowed: Tensor, policy: Tensor | None = None) -> Optimum:
    """The best policy among the rows `allowed [states, most]`, each state for itself: policy iteration."""
    first, steps = allowed.to(torch.uint8).argmax(-1), 0
    if policy is not None:
        first = torch.where(allowed.gather(1, policy[:, None])[:, 0], policy, first)
    policy = first
    while True:
        factors, values = _evaluate(problem, policy)
        steps += 1
        worth = problem.row_values(values).masked_fill(~allowed, -math.inf)
        best, turned = worth.max(-1)
        change, rounding = best - values, _rounding(values)
        if float(change.max()) <= rounding or steps == MOST_STEPS:
            break
        policy = torch.where(change > rounding, turned, policy)
    slack = (max(0.0, float(change.max())) + rounding) / (1 - problem.gamma)
    return Optimum(values, policy, worth, factors, slack, steps * problem.work)


def step_work(states: int) -> float:
    """Multiplications of a factorization."""
    return OVERHEAD + states**3 / 3


def best_values(problem: TiedProblem) -> tuple[Tensor, float]:
    """The best values of deciding in each state for itself, `[states]`, and a bound on their error."""
    centred, offset = problem.centred()
    found = untied_optimum(centred, centred.rows < len(centred.state))
    return found.values + offset, found.slack


def mean_value(problem: TiedProblem, chances: Tensor) -> float:
    """The mean value of a policy that draws its options: `chances [V, options]`, where a row rests on one decision."""
    centred, offset = problem.centred()
    decision = (problem.decisions >= 0).to(torch.uint8).argmax(-1)
    weight = chances[decision, problem.decisions.gather(1, decision[:, None])[:, 0]]
    law = torch.zeros(problem.states, problem.states, dtype=weight.dtype, device=weight.device)
    law.index_add_(0, problem.state, weight[:, None] * problem.law)
    reward = torch.zeros_like(law[0]).index_add_(0, problem.state, weight * centred.reward)
    eye = torch.eye(problem.states, dtype=law.dtype, device=law.device)
    return float(problem.initial @ torch.linalg.solve(eye - problem.gamma * law, reward)) + offset


def _rounding(values: Tensor) -> float:
    """What a sum of a row may be off by."""
    return ROUNDING * float(values.abs().max())


def _solve(problem: TiedProblem, choices: Tensor, policy: Tensor | None) -> _Solved:
    """The untied optimum within `choices [V, options]`."""
    found = untied_optimum(problem, problem.allowed(choices), policy)
    losses = _losses(problem, found.worth, found.values, problem.occupancy(found.factors))
    upper = float(problem.initial @ found.values) + found.slack
    return _Solved(upper, found.policy, losses.masked_fill(~choices, math.inf), found.spent)


def _evaluate(problem: TiedProblem, policy: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """The factors of I - gamma K under the rows at the places `policy [states]`, and the value from each state."""
    rows = problem.rows.gather(1, policy[:, None])[:, 0]
    matrix = problem.law[rows].mul_(-problem.gamma)
    matrix.diagonal().add_(1.0)
    factors = torch.linalg.lu_factor(matrix)
    return factors, torch.linalg.lu_solve(*factors, problem.reward[rows, None])[:, 0]


def _losses(problem: TiedProblem, worth: Tensor, values: Tensor, occupancy: Tensor) -> Tensor:
    """What each option of each decision loses of `values` where all states take it, `[V, options]`."""
    common = torch.where(problem.takes, worth, -math.inf).amax(-1)  # [V, options, states]
    return torch.where(common > -math.inf, values - common, 0.0) @ occupancy


def _nearest(choices: Tensor, losses: Tensor) -> Tensor:
    """The option of each decision that loses least, one-hot `[V, options]`."""
    taken = losses.masked_fill(~choices, math.inf).argmin(-1)
    return torch.nn.functional.one_hot(taken, choices.shape[-1]).bool()


def _improved(problem: TiedProblem, choices: Tensor, least: float = -math.inf) -> tuple[float, Tensor, float]:
    """The value of one-hot choices, those choices, and the work; better ones near by where the value exceeds `least`.

    Each step turns every decision to its best option under the derivative, as long as the value rises.
    """
    everything, best, spent = torch.ones_like(choices), (-math.inf, choices), 0.0
    while True:
        policy = problem.allowed(choices).to(torch.uint8).argmax(-1)
        factors, values = _evaluate(problem, policy)
        value, spent = float(problem.initial @ values), spent + problem.work
        if not value > max(best[0], least):
            return (*max(best, (value, choices), key=lambda pair: pair[0]), spent)
        best = value, choices
        worth = problem.row_values(values).masked_fill(~_one_turn(problem, choices), -math.inf)
        choices = _nearest(everything, _losses(problem, worth, values, problem.occupancy(factors)))
        if torch.equal(choices, best[1]):
            return (*best, spent)


def _one_turn(problem: TiedProblem, choices: Tensor) -> Tensor:
    """The rows that differ from one-hot choices in at most one decision, `[states, most]`."""
    others = ~(problem.takes & choices[:, :, None, None]).any(1)
    real = problem.rows < len(problem.state)
    return (others.sum(0) <= 1) & real


def _split(choices: Tensor, losses: Tensor) -> list[Tensor]:
    """Decide the open decision whose best common option loses most, one branch for each option."""
    open_ones = choices.sum(-1) > 1
    decision = int(losses.amin(-1).masked_fill(~open_ones, -1.0).argmax())
    parts = []
    for option in choices[decision].nonzero()[:, 0].tolist():
        part = choices.clone()
        part[decision] = False
        part[decision, option] = True
        parts.append(part)
    return parts
