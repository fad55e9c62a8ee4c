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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, PolicyError, SizeError
from altmarl_torch.evaluation.judge import DeviationJudge, Gap, Progress
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.operators.joint_value import span_tolerance, value_tolerance
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.policies.tabular import TabularPolicies, check_pi_g, check_pi_l
from altmarl_torch.support.showing import as_html, as_plain, in_columns
from altmarl_torch.support.tables import as_number, as_tolerance, check_callable
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["PARTS", "Certificate", "certify"]

Part = Literal["global", "single", "shared"]
PARTS: tuple[Part, ...] = ("global", "single", "shared")

SMALL = 20_000
"""Tables with at most so many entries are certified to `SMALL_TOLERANCE`, relative to the span of values."""

SMALL_TOLERANCE = 1e-11


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
    judge = DeviationJudge(surrogate, pi_g, pi_l, tolerance or default, work, progress)
    return Certificate(
        value=judge.value.mean,
        value_error=judge.value.error,
        global_deviation=judge.global_deviation() if "global" in parts else None,
        shared_deviation=judge.shared_deviation() if "shared" in parts else None,
        single_team=judge.single_deviation("team") if "single" in parts else None,
        single_own=judge.single_deviation("own") if "single" in parts else None,
        k=solution.k,
    )
