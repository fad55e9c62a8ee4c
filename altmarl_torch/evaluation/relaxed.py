r"""Local agents that deviate together and see (s_g, h), on large simplices: an upper end for Gap_2.

The relaxed problem (`deviations.SharedDeviation`) maximises over |A_l|^|S_l| kernels at every state, 243 on the
warehouse, of which a dozen do for almost the best everywhere. So it is solved for fewer agents first, where all kernels
are matrices; those that cover its best values go up with the values, and the iteration at k is over them alone. A sweep
over *all* choices then proves the bound (MacQueen's, for the whole operator at the values that were found), and names
what was missed, if anything.

The proving sweep of a large simplex is in float32 where the kernels' own bound on the rounding error, at that
precision, is small beside the tolerance; it is added to the error.
"""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex, lift, scale_up
from altmarl_torch.evaluation.deviations import Active, SharedDeviation
from altmarl_torch.operators.fixed_point import FixedPoint, Progress, solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value, span_tolerance
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["Relaxed", "relaxed_values"]

RELATIVE_TOLERANCE, RELATIVE_TOLERANCE_LARGE = 1e-4, 1e-3
"""Numerical error, relative to the span of values; it is added to the upper end, so that the bound stays proven. The
second is for more than `LARGE` counts."""

LARGE, COARSEST = 20_000, 256
"""Simplices of more counts than the first begin from a third as many agents, others from one of at most the second."""

SINGLE = torch.finfo(torch.float32).eps

MOST_PROOFS = 5
"""Sweeps over all choices, after each of which those that were missed are added."""


@dataclass(frozen=True)
class Relaxed:
    """The relaxed values, and the choices that they need."""

    found: FixedPoint
    active: Active


def relaxed_values(
    surrogate: Surrogate, pi_g: Tensor, present: Tensor, tolerance: float, progress: Progress | None = None
) -> Relaxed:
    """Solve the relaxed problem against `pi_g [sg, N, ag]`, from the pair's own values `present [sg, N]`.

    The numerical error is at most `tolerance`, or what `RELATIVE_TOLERANCE` says if that is more.

    Raises:
        KernelError: some choice of actions has no exact kernel.
    """
    game, simplex = surrogate.game, surrogate.simplex
    relative = RELATIVE_TOLERANCE_LARGE if simplex.size > LARGE else RELATIVE_TOLERANCE
    tolerance, problem = max(tolerance, span_tolerance(game, relative)), SharedDeviation(surrogate, pi_g)
    if simplex.size <= COARSEST or simplex.k == 1:
        step = functools.partial(problem.best_backup, active=problem.everything)
        found = solve_fixed_point(step, present, game.gamma, tolerance, progress=progress)
        return Relaxed(found, problem.cover(found.values, tolerance * (1 - game.gamma)))
    gain, active = _from_fewer(surrogate, pi_g, tolerance, progress)
    values = present + gain
    for _ in range(MOST_PROOFS):
        step = functools.partial(problem.best_backup, active=active)
        values = solve_fixed_point(step, values, game.gamma, tolerance / 2, progress=progress).values
        proven, winners = _prove(problem, values, active, tolerance)
        active = _joined(active, winners)
        if proven.converged:
            break
        values = proven.values
    return Relaxed(proven, active)


def _from_fewer(
    surrogate: Surrogate, pi_g: Tensor, tolerance: float, progress: Progress | None
) -> tuple[Tensor, Active]:
    """What relaxed agents gain where pi_g sees few of them, lifted to `[sg, N]`, and the choices they need for it."""
    simplex = surrogate.simplex
    third = CountSimplex(max(simplex.k // 3, 1), simplex.num_sl, simplex.device)
    coarse = third if simplex.size > LARGE else simplex.coarser(COARSEST)
    plan, seen = PairPlan(coarse), pi_g[:, scale_up(coarse, simplex)]
    moves = tuple(CountKernel(P, coarse.k, plan=plan) for P in surrogate.P_l_pi.unbind(1))
    few = Surrogate.from_tables(surrogate.game, surrogate.P_l_pi, surrogate.r_l_pi, plan, moves=moves)
    present = joint_value(few, seen).values
    relaxed = relaxed_values(few, seen, present, tolerance / 10, progress)
    return lift(relaxed.found.values - present, coarse, simplex), relaxed.active


def _prove(problem: SharedDeviation, values: Tensor, active: Active, tolerance: float) -> tuple[FixedPoint, Active]:
    """The bound of one sweep over all choices, the active ones first, and those that beat them somewhere."""
    gamma, order = problem.surrogate.game.gamma, _joined(active, problem.everything)
    scale, rounding = gamma / (1 - gamma), 0.0
    centred = values - values.mean()
    if values.shape[1] > LARGE:
        worst = problem.error_bound(order) * SINGLE / torch.finfo(torch.float64).eps
        rounding = float(centred.abs().max() + problem.surrogate.game.v_max * (1 - gamma)) * (worst + 8 * SINGLE)
        single = scale * rounding <= tolerance / 4
        centred, rounding = (centred.float(), rounding) if single else (centred, 0.0)
    swept, winners = problem.improve(centred, order, tolerance * (1 - gamma) / 4)
    change = swept.double() - centred.double()
    error = scale * (float(change.max() - change.min()) / 2 + rounding)
    middle = scale * float(change.max() + change.min()) / 2
    return FixedPoint(swept.double() + middle, error, 1, error <= tolerance), winners


def _joined(first: Active, more: Active) -> Active:
    """Both, the first of them first."""
    return [
        [*these, *(choice for choice in those if choice not in these)] for these, those in zip(first, more, strict=True)
    ]
