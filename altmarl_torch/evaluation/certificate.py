r"""The certificate: how far a pair is from an equilibrium of the k-agent game.

For a pair (pi_g, pi_l) with joint value V on the surrogate, Definition D.1 asks what either player could gain alone:

    Gap_1 = max over pi_g' of V^{pi_g', pi_l} - V,      Gap_2 = max over pi_l' of V^{pi_g, pi_l'} - V,      G = max,

and the pair is an epsilon-equilibrium for every epsilon >= G. Here the gains are averages over the initial law rho of
(s_g, h); the largest gain at any state, which the definition prints, is reported beside Gap_1 (for pi_l', which cannot
see h, no single policy is best at every state).

* **Gap_1** is exact: the best response is one fixed point of the exact operator.
* **Gap_2** is exact where the chain is small, by branch and bound over the deterministic pi_l (`tied`), as far as that
  ends within its work. Elsewhere it is an interval: its lower end is the best deviation that was found inside the
  class, evaluated exactly; its upper end a proven bound, the gain of deviators that see (s_g, h) too (`deviations`).
  The slack between them is the worth of that information, and of the freedom to act on it, to the local agents; it does
  not vanish for a perfect equilibrium.
* **One agent** that deviates alone (Definition 2.4), for the team's payoff and for its own, in the same two ways. The
  paper's factor 1/n on the own payoff is left out: the number is in units of one agent's reward.

Nothing here imports a learner, so a mistake in learning cannot hide itself. Numbers of the type `Gap` say whether they
are "exact" or a "bound", and how large the numerical error is; nash_gap is at least the true G, up to that error.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, KernelError, PolicyError, SizeError
from altmarl_torch.evaluation.deviations import Payoff, TaggedAgent
from altmarl_torch.evaluation.relaxed import relaxed_values
from altmarl_torch.evaluation.tied import TiedProblem, best_tied, best_values, mean_value
from altmarl_torch.evaluation.tied_rows import MOST_STATES, global_rows, shared_rows, tagged_rows
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.operators.bellman import max_backup
from altmarl_torch.operators.fixed_point import FixedPoint, solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value, span_tolerance, value_tolerance
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate, exact_surrogate
from altmarl_torch.policies.tabular import TabularPolicies, check_pi_g, check_pi_l, greedy
from altmarl_torch.support.showing import as_html, as_plain, in_columns
from altmarl_torch.support.tables import as_number, as_tolerance, check_callable
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["PARTS", "Certificate", "Gap", "certify"]

Part = Literal["global", "single", "shared"]
PARTS: tuple[Part, ...] = ("global", "single", "shared")

LARGEST_CHOICE = 1_024
"""The most assignments of actions to local states over which the relaxed shared deviation maximises."""

SMALL = 20_000
"""Tables with at most so many entries are certified to `SMALL_TOLERANCE`, relative to the span of values."""

SMALL_TOLERANCE = 1e-11

Progress = Callable[[str, int, float], None]


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


@dataclass(frozen=True)
class Certificate:
    """How far a pair is from an equilibrium; None where a part was not asked for.

    Attributes:
        value: joint value of the pair, averaged over the initial law.
        value_error: bound on its numerical error.
        global_deviation: Gap_1.
        shared_deviation: Gap_2, all local agents deviating together.
        single_team, single_own: one local agent deviating alone, for the team's payoff and for its own.
        k, initial_law: what the numbers refer to.
    """

    value: float
    value_error: float
    global_deviation: Gap | None
    shared_deviation: Gap | None
    single_team: Gap | None
    single_own: Gap | None
    k: int
    initial_law: str = "averages over the game's initial law of (s_g, h)"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON's types; an end that was not computed is None."""
        gaps = {"global_gap": self.global_gap, "local_gap": self.local_gap, "nash_gap": self.nash_gap}
        return gaps | dict(as_plain(self))

    as_dict = to_dict  # its name in 0.1

    def __repr__(self) -> str:
        gaps = {
            "global agent": self.global_deviation,
            "all local agents": self.shared_deviation,
            "one for the team": self.single_team,
            "one for itself": self.single_own,
        }
        told = ", ".join(f"{who} {gap.words}" for who, gap in gaps.items() if gap is not None)
        nash = "" if self.nash_gap is None else f", nash_gap {self.nash_gap:.3g}"
        return f"Certificate(k={self.k}: value {self.value:.6g}{nash}{'; gains: ' if told else ''}{told})"

    def _repr_html_(self) -> str:
        found = self.to_dict()
        facts = {name: found[name] for name in ("k", "value", "global_gap", "local_gap", "nash_gap")}
        parts = ("global_deviation", "shared_deviation", "single_team", "single_own")
        rows = [{"deviation": part} | found[part] for part in parts if found[part] is not None]
        return as_html("Certificate", facts, in_columns(rows))

    @property
    def seconds(self) -> float:
        """Wall seconds of all parts."""
        gaps = (self.global_deviation, self.shared_deviation, self.single_team, self.single_own)
        return sum(gap.seconds for gap in gaps if gap is not None)

    @property
    def global_gap(self) -> float | None:
        """Gap_1; exact."""
        return None if self.global_deviation is None else self.global_deviation.upper

    @property
    def local_gap(self) -> float | None:
        """Gap_2, or a proven bound on it; None where neither was computed."""
        gap = self.shared_deviation
        return None if gap is None or math.isinf(gap.upper) else gap.upper

    @property
    def nash_gap(self) -> float | None:
        """G = max(Gap_1, Gap_2), or a proven bound on it: the pair is an epsilon-equilibrium for this epsilon."""
        if self.global_gap is None or self.local_gap is None:
            return None
        return max(self.global_gap, self.local_gap)


@one_thread()
@door
def certify(
    game: Game,
    solution: TabularPolicies,
    *,
    parts: Sequence[Part] = PARTS,
    tolerance: float | None = None,
    progress: Progress | None = None,
    work: float | None = None,
) -> Certificate:
    """Certify a pair on the k-agent game.

    Args:
        game: the game.
        solution: k, pi_g `[sg, N, ag]` and pi_l `[sl, sg, al]`.
        parts: which deviations: "global", "single" (one local agent) and "shared" (all of them; takes longest).
        tolerance: numerical error of each value, in units of value; by default 1e-11 of the span of values, and that of
            `value_tolerance` for tables of more than `SMALL` entries.
        progress: told (part, sweeps, error).
        work: multiplications of a search at most, after which a gap is an interval; None for 2e10, some seconds.

    Raises:
        ArgumentError: an unknown part, k outside 1..n, or a tolerance or work outside (0, inf].
        PolicyError: a policy does not fit the game.
        SizeError: the simplex of k agents is too large to list.
        KernelError: agents that play pi_l have no exact kernel; nothing is certified by sampling.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> am.certify(game, am.solve(game, k=3)).nash_gap < 1e-6  # nobody gains by deviating alone
        True
    """
    check_game(game)
    if not isinstance(solution, TabularPolicies):
        raise PolicyError(
            f"a {type(solution).__name__} has no table pi_g [sg, h, ag]; use a Solution, a TabularPair, or rollout_gaps"
        )
    unknown = [part for part in parts if part not in PARTS] if isinstance(parts, Iterable) else [parts]
    if unknown:
        raise ArgumentError(f"parts must be among {', '.join(PARTS)}, not {', '.join(sorted(map(str, unknown)))}")
    check_callable("progress", progress)
    tolerance = tolerance if tolerance is None else as_tolerance(tolerance)
    work = work if work is None else as_number("work", work, "(0, inf]", lambda x: x > 0, ArgumentError)
    simplex = CountSimplex(game.check_k(solution.k), game.num_sl, game.device)
    if not simplex.can_be_listed or solution.pi_g is None:
        raise SizeError(f"{simplex!r}, too many to certify exactly; rollout_gaps bounds the gaps from below")
    plan = PairPlan(simplex)
    pi_g, pi_l = check_pi_g(game, solution.pi_g, plan.simplex), check_pi_l(game, solution.pi_l)
    surrogate = exact_surrogate(game, pi_l, plan)
    small = surrogate.local_reward.numel() * game.num_sl <= SMALL
    default = span_tolerance(game, SMALL_TOLERANCE) if small else value_tolerance(surrogate)
    judge = _Judge(surrogate, pi_g, pi_l, tolerance or default, work, progress)
    return Certificate(
        value=judge.value.mean,
        value_error=judge.value.error,
        global_deviation=judge.global_deviation() if "global" in parts else None,
        shared_deviation=judge.shared_deviation() if "shared" in parts else None,
        single_team=judge.single_deviation("team") if "single" in parts else None,
        single_own=judge.single_deviation("own") if "single" in parts else None,
        k=solution.k,
    )


@dataclass(eq=False)
class _Judge:
    """Evaluates deviations from one pair."""

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
        law = occupancy(self.surrogate, self.pi_g)[:, tagged.joined] * share
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

    def _watch(self, part: str) -> Callable[[int, float], None] | None:
        """The progress of one part."""
        watch = self.progress
        return None if watch is None else lambda sweeps, error: watch(part, sweeps, error)

    def _solve(
        self, part: str, step: Callable[[Tensor], Tensor], start: Tensor, tolerance: float | None = None
    ) -> FixedPoint:
        tolerance = tolerance or self.tolerance
        return solve_fixed_point(step, start, self.surrogate.game.gamma, tolerance, progress=self._watch(part))
