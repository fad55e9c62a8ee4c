r"""One driver for every fixed point: Anderson's acceleration, stopped by MacQueen's bounds.

Let T be a discounted Bellman operator, of a best response (a maximum) or of a policy (an average), exact or with frozen
samples: it is monotone, and T(V + c) = T V + gamma c for a constant c. Then for *any* V, with U = T V,

    U + gamma/(1-gamma) min(U - V)  <=  V*  <=  U + gamma/(1-gamma) max(U - V)

at every state (MacQueen, *A modified dynamic programming method for Markovian decision problems*, 1966; Puterman,
*Markov Decision Processes*, 1994, Theorem 6.6.3). The middle of the two is therefore within

    error = gamma/(1-gamma) span(U - V)/2

of the fixed point, and the iteration stops when that is at most the tolerance. Only the span counts: the drift common
to all states, which decays like gamma^t and which T = 2/(1-gamma) log(...) sweeps of Algorithm 3 must wait for, costs
nothing here.

Since the bounds hold for any V, the next V need not be U. Anderson's mixing takes the combination of the last few U
whose residual U - V is smallest modulo constants (Anderson 1965; Walker and Ni, *SIAM J. Numer. Anal.* 49, 2011): for a
fixed policy that is GMRES. It starts afresh, from a plain sweep, if the error ever rises far above its best. Where
agents go round in circles, few U are not enough: whenever the error stands still, twice as many are remembered, up to a
limit, and beyond it sweeps are plain. A plain sweep multiplies the span by at most gamma; where it no longer does,
rounding is what is left, and the iteration ends.

Where a coarser problem is at hand (`operators.two_grid`), U is corrected before it is mixed by what that problem says
of the residual. The bounds are of V and U alone, so nothing coarse enters them; an iteration that is not much faster
for it, or stands still, goes on without.

Large tables are first iterated in float32, centred so that no digits are lost to the mean, and finished in float64:
twice as fast, and the bounds are still those of float64.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.errors import ArgumentError

__all__ = ["Correction", "FixedPoint", "History", "Progress", "Step", "anderson_mix", "solve_fixed_point"]

logger = logging.getLogger(__name__)

Progress = Callable[[int, float], None]
"""Told (sweeps, error) after every sweep."""

Step = Callable[[Tensor], Tensor]
"""V to T V, in the type of V."""

Correction = Callable[[Tensor, Tensor], Tensor]
"""U and U - V to a better guess than U."""

MEMORY, LONGEST_MEMORY, LARGEST_HISTORY = 5, 80, 2**25
"""Past sweeps that Anderson's mixing combines, to begin with and at most; and how many entries they have at most."""

MAX_SWEEPS = 10_000
"""A cap for what mixes too slowly; reaching it is told in the log."""

RESTART = 10.0
"""The mixing starts afresh, and is no longer corrected, when the error is this many times the best so far; smaller
rises are part of its way."""

PATIENCE, PROGRESS = 20, 0.9
"""Sweeps in which the error must fall to this part of what it was, or the iteration stands still."""

LARGE_TABLE = 200_000
"""Tables with at least so many entries start in float32."""

WORTH, WORTH_SWEEPS = 1 / 8, 3
"""Corrections must make the error this part of what it was, in so many sweeps; sweeps alone take less than others."""

FLOAT32_RELATIVE = 1e-4
"""Where float32 stops paying: span of the residual relative to the span of the values."""


@dataclass(frozen=True)
class FixedPoint:
    """What the driver found."""

    values: Tensor  # within `error` of the fixed point at every state
    error: float  # MacQueen's bound, in the units of the values
    sweeps: int  # applications of T, in either precision
    converged: bool  # whether error <= tolerance


def solve_fixed_point(
    step: Step,
    start: Tensor,
    gamma: float,
    tolerance: float,
    *,
    max_sweeps: int = MAX_SWEEPS,
    progress: Progress | None = None,
    warn: bool = True,
    correct: Correction | None = None,
) -> FixedPoint:
    """Iterate T from `start` until MacQueen's error is at most `tolerance`, in units of value, or for `max_sweeps`.

    `progress(sweeps, error)` is called after every sweep. A warning in the log says so where `max_sweeps` ends it, if
    `warn`. `correct` betters what a sweep gives before it is mixed.
    """
    if not tolerance > 0:
        raise ArgumentError(f"tolerance must be positive, got {tolerance!r}")
    sweeps, centre = 0, start.mean()
    if start.numel() >= LARGE_TABLE and start.dtype == torch.float64:
        first = (start - centre).float()
        coarse = _iterate(step, first, gamma, tolerance, max_sweeps, progress, FLOAT32_RELATIVE, correct=correct)
        start, sweeps, max_sweeps = coarse.values.double(), coarse.sweeps, max(max_sweeps - coarse.sweeps, 1)
    found = _iterate(step, start, gamma, tolerance, max_sweeps, progress, 0.0, sweeps, correct)
    if warn and found.error > tolerance and found.sweeps - sweeps == max_sweeps:
        told = "the fixed point is known within %.3g instead of %.3g after %d sweeps, the most that are made"
        logger.warning(told, found.error, tolerance, found.sweeps)
    return FixedPoint(found.values, found.error, found.sweeps, found.error <= tolerance)


def _iterate(
    step: Step,
    values: Tensor,
    gamma: float,
    tolerance: float,
    max_sweeps: int,
    progress: Progress | None,
    relative: float,
    sweeps: int = 0,
    correct: Correction | None = None,
) -> FixedPoint:
    """Sweep until the error is at most `tolerance`, or `relative` times the span of the values, or does not fall."""
    scale, best = gamma / (1 - gamma), float("inf")
    errors = list[float]()
    history, stall = History(min(LONGEST_MEMORY, LARGEST_HISTORY // values.numel())), Stall(gamma)
    for _ in range(max_sweeps):
        updated = step(values)
        change = updated - values
        low, high = (float(end) for end in torch.aminmax(change))
        sweeps, error = sweeps + 1, scale * (high - low) / 2
        if progress:
            progress(sweeps, error)
        floor = relative * float(updated.max() - updated.min()) if relative else 0.0
        stands_still = stall.after(error, history.is_plain)
        if error <= max(tolerance, floor) or (stands_still and (history.is_plain or relative)):
            break
        if stands_still:
            stall.begin(error)
            history.widen()
            correct = None
        if error > RESTART * best:
            history.clear()
            correct = None  # which leads astray, or values would grow until their rounding shows in the bounds
        errors = [*errors[-WORTH_SWEEPS:], error]
        if error > WORTH * errors[0] and len(errors) > WORTH_SWEEPS:
            correct = None
        best = min(best, error)
        values = history.next(values, updated if correct is None else correct(updated, change))
    return FixedPoint(updated + scale * (high + low) / 2, error, sweeps, error <= tolerance)


class Stall:
    """Whether the error still falls: it must, to `PROGRESS` of what it was, in `PATIENCE` sweeps.

    Plain sweeps lower it by gamma each at worst; then half of that is enough.
    """

    def __init__(self, gamma: float) -> None:
        self._slow = (1 + gamma) / 2
        self.begin(float("inf"))

    def begin(self, error: float) -> None:
        """Count from here."""
        self._mark, self._sweeps = error, 0

    def after(self, error: float, is_plain: bool) -> bool:
        """Count a sweep; whether the iteration stands still."""
        self._sweeps += 1
        is_last = self._sweeps == PATIENCE
        if error < PROGRESS * self._mark or (is_plain and is_last and error < self._slow * self._mark):
            self.begin(error)
        return self._sweeps >= PATIENCE


class History:
    """The last few sweeps, and the combination of them whose residual is smallest.

    Residuals are kept divided by their largest entry, whose squares fit any float, with their inner products: a sweep
    adds one row.

    Args:
        longest: sweeps that may be remembered; where more would be wanted, plain updates are made.
    """

    def __init__(self, longest: int = LONGEST_MEMORY) -> None:
        self._longest, self._memory, self.is_plain = longest, MEMORY, False
        self._products, self._sizes = np.zeros((0, 0)), np.zeros(0)
        self._updated = self._residuals = torch.zeros(0, 0, dtype=torch.float64)
        self.clear()

    def clear(self) -> None:
        """Forget all sweeps."""
        self._count = 0

    def widen(self) -> None:
        """Remember twice as many sweeps, or none."""
        self._memory *= 2
        self.is_plain = self._memory > self._longest

    def next(self, values: Tensor, updated: Tensor) -> Tensor:
        """The next values to try, after a sweep from values to updated."""
        return updated if self.is_plain else self.mix(values, updated)

    def mix(self, values: Tensor, updated: Tensor) -> Tensor:
        """Add a sweep, values to updated, and return the next values to try."""
        self._make_room(updated)
        residual = (updated - values).flatten()
        residual -= residual.mean()
        low, high = (float(end) for end in torch.aminmax(residual))
        size, slot = max(high, -low, torch.finfo(residual.dtype).tiny), self._count % self._memory
        torch.div(residual, size, out=self._residuals[slot])
        self._updated[slot], self._sizes[slot] = updated.flatten(), size
        self._count += 1
        known = min(self._count, self._memory)
        products = (self._residuals[:known] @ self._residuals[slot]).cpu().numpy()
        self._products[slot, :known] = self._products[:known, slot] = products
        sizes = self._sizes[:known] / self._sizes[:known].max()
        weights = torch.from_numpy(anderson_mix(self._products[:known, :known] * sizes * sizes[:, None]))
        return (weights.to(updated) @ self._updated[:known]).reshape(updated.shape)

    def _make_room(self, updated: Tensor) -> None:
        """Tables for as many sweeps as are remembered now; those that are known come first, in their order."""
        if len(self._sizes) == self._memory:
            return
        known, before = min(self._count, len(self._sizes)), len(self._sizes)
        order = [(self._count - known + index) % before for index in range(known)] if before else []
        rows = updated.new_empty(2, self._memory, updated.numel())
        products, sizes = np.zeros((self._memory, self._memory)), np.zeros(self._memory)
        if known:
            rows[0, :known], rows[1, :known] = self._updated[order], self._residuals[order]
            products[:known, :known], sizes[:known] = self._products[np.ix_(order, order)], self._sizes[order]
        self._updated, self._residuals = rows
        self._products, self._sizes, self._count = products, sizes, known


def anderson_mix(products: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights `[m]` with sum 1 that minimise |sum of weights times residuals|, from their inner products `[m, m]`.

    A ridge of 1e-10 of the largest product keeps nearly parallel residuals from cancelling.
    """
    gram = products / max(products.diagonal().max(), np.finfo(np.float64).tiny)
    weights: NDArray[np.float64] = np.linalg.solve(gram + 1e-10 * np.eye(len(gram)), np.ones(len(gram)))
    weights /= weights.sum()
    return weights
