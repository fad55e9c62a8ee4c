r"""Projected value iteration: the fixed point of the Bellman operator and the least squares.

With Pi the least squares on the points (`points`) and Q = lift(A) exact (`surrogate`), one sweep at the points is

    V  <-  max_a lift(A)(h),     A = r + gamma E_J P_g Pi V        (G-LEARN; sum_a pi_g(a | s_g, h) for a pair's value)

(and r_g_mu(s_g, a, h/k) within the maximum, where the game has one).

It is least-squares value iteration with features that the expectation maps to features, so that the regression has no
noise: of all of LSVI's errors, only that of fitting the maximum remains. Constants are fitted exactly, and the driver
of the tables applies (`operators.fixed_point`): Anderson's mixing, and the span of the change at the points as its
measure. As Pi may enlarge a maximum, that span is no bound, but a measure of convergence; it is a bound where J = k,
and what holds for the pair is measured by `episodes`, or proved by one exact sweep (`proven_error`).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.learners.lifted.crowd import plus
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.operators.bellman import max_backup
from altmarl_torch.operators.fixed_point import Progress, solve_fixed_point
from altmarl_torch.operators.joint_value import value_span
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["LiftedFit", "fit_best_response", "fit_value", "proven_error"]

RELATIVE_TOLERANCE, EXACT_TOLERANCE = 1e-4, 1e-13
"""Of the iteration, relative to the span of values: below what fitting loses; and where J = k, down to rounding."""

MOST_SWEEPS = 40
"""Where fitting the maximum keeps the iteration from converging, so many are enough to see it."""

CHEAP = 60_000
"""Entries of a table on which one exact sweep is made for the sake of a bound."""


@dataclass(frozen=True, eq=False)
class LiftedFit:
    """Values in the space of lifted functions."""

    coefficients: Tensor  # [sg, N_J] of V
    action_coefficients: Tensor  # [sg, ag, N_J] of Q, but for r_g_mu
    error: float  # MacQueen's span at the points; a bound on the error of V where J = k
    sweeps: int


def fit_best_response(
    surrogate: LiftedSurrogate, points: Points, start: Tensor | None = None, progress: Progress | None = None
) -> LiftedFit:
    """The optimal values against the surrogate's pi_l (G-LEARN), from coefficients `start [sg, N_J]`."""
    return _fit(surrogate, points, lambda Q: Q.amax(1), start, progress)


def fit_value(
    surrogate: LiftedSurrogate,
    points: Points,
    laws: Tensor,
    start: Tensor | None = None,
    progress: Progress | None = None,
) -> LiftedFit:
    """The values of a pair: `laws [sg, ag, M]` are pi_g at the points."""
    return _fit(surrogate, points, lambda Q: (laws * Q).sum(1), start, progress)


def _fit(
    surrogate: LiftedSurrogate,
    points: Points,
    reduce: Callable[[Tensor], Tensor],
    start: Tensor | None,
    progress: Progress | None,
) -> LiftedFit:
    game, crowd = surrogate.game, surrogate.crowd(points.counts)

    def step(values: Tensor) -> Tensor:
        coefficients = points.fit(values.double())
        return reduce(plus(points.lift(surrogate.action_coefficients(coefficients)), crowd))

    first = torch.zeros(game.num_sg, len(points), dtype=torch.float64, device=game.device)
    first = first if start is None else points.lift(start)
    relative = EXACT_TOLERANCE if points.is_exact else RELATIVE_TOLERANCE
    tolerance = max(relative * value_span(game), 1e-300)
    found = solve_fixed_point(
        step, first, game.gamma, tolerance, max_sweeps=10 * MOST_SWEEPS if points.is_exact else MOST_SWEEPS,
        progress=progress, warn=points.is_exact,
    )  # fmt: skip
    coefficients = points.fit(found.values)
    return LiftedFit(coefficients, surrogate.action_coefficients(coefficients), found.error, found.sweeps)


def proven_error(surrogate: LiftedSurrogate, pi_l: Tensor, fit: LiftedFit) -> float | None:
    """A bound on the error of V = max_a Q, Q of `fit`, at every state: one exact sweep over all counts.

    It is MacQueen's; None where the counts of k agents are no short list. V is, but for a constant, within this of the
    optimal values against pi_l.
    """
    game, k = surrogate.game, surrogate.k
    simplex = CountSimplex(int(k), game.num_sl, game.device) if k <= CHEAP else None
    if simplex is None or not simplex.can_be_listed or simplex.size * game.num_sg > CHEAP or surrogate.prior:
        return None
    exact = Surrogate.build(game, pi_l, PairPlan(simplex))
    Q = fit.action_coefficients @ surrogate.features(simplex.counts).T
    values = plus(Q, surrogate.crowd(simplex.counts)).amax(1)
    change = max_backup(exact, values) - values
    return game.gamma / (1 - game.gamma) * float(change.max() - change.min()) / 2
