r"""The joint value of a pair (pi_g, pi_l) on the k-agent surrogate: the one number both players are judged by.

For a pair the surrogate is a Markov chain on (s_g, h), and its value solves the linear equation

    V(s_g, h) = sum_a pi_g(a | s_g, h) ( r_Delta(s_g, h, a) + gamma E V(s_g', h') ).

G-LEARN's own estimate is the value of its Q; L-LEARN's is r_l/n of one agent; comparing them compares unlike things
(`docs/differences-from-the-paper.md`, row 2). So every proposal, of either player, is scored here, and the averages
over the initial law rho are what UPDATE and the certificate speak of.

Small chains are solved directly, with the error that their residual proves; larger ones by `fixed_point`, whose bound
holds at every state.
"""

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.kernels import FLOATS, SampledCountKernel
from altmarl_torch.errors import PolicyError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.bellman import next_sg_law, policy_backup, transition_matrix
from altmarl_torch.operators.fixed_point import LARGE_TABLE, Progress, solve_fixed_point
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.operators.two_grid import two_grid
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import LAW_TOLERANCE, as_law, as_tolerance, check_kind
from altmarl_torch.support.threads import one_thread

__all__ = [
    "JointValue",
    "gain_error",
    "joint_value",
    "solves_directly",
    "span_tolerance",
    "value_after_update",
    "value_span",
    "value_tolerance",
]

logger = logging.getLogger(__name__)

ROUNDING = 2.0**-46
"""Relative to V_max: the error that sums in float64 may leave in a value."""

RELATIVE_TOLERANCE, RELATIVE_TOLERANCE_LARGE = 1e-7, 1e-4
"""Default error of a value, relative to the span of values; the second for tables of `LARGE_TABLE` size."""

DIRECT = 400
"""Chains with at most so many states are solved directly."""

DIRECT_WORK, LARGEST_DIRECT = 1e8, 2_000
"""So are those of many s_g and few counts (N <= |S_g|^2), among which agents may go round, with at most so many states
and |S_g|^2 N^3 up to the first."""


@dataclass(frozen=True)
class JointValue:
    """The value of a pair on the surrogate."""

    values: Tensor  # [sg, N] discounted return from each (s_g, h), or [states] from a common set of them
    mean: float  # its average over the initial law
    error: float  # bound on the numerical error of every entry
    sweeps: int  # operator applications spent
    standard_error: float = 0.0  # of the mean, where kernels are sampled; the error bound does not cover it
    returns: Tensor | None = None  # [states, repeats], where values are means of measured returns

    __repr__ = brief


def gain_error(proposed: JointValue, current: JointValue, *, of_mean: bool) -> float:
    """The standard error of a comparison of two values: of their means, or of the state where it is largest.

    Returns that were measured on common episodes (the same starts, the same random numbers) are compared pair by pair;
    zero where both values are exact.
    """
    if proposed.returns is None or current.returns is None:
        return math.hypot(proposed.standard_error, current.standard_error)
    gains = proposed.returns - current.returns
    errors = _mean_error(gains.mean(-1), 0) if of_mean else _mean_error(gains, -1)
    return float(errors.max())


def _mean_error(samples: Tensor, dim: int) -> Tensor:
    """Standard error of the mean of independent samples; zero for a single one, of which nothing is known."""
    if samples.shape[dim] == 1:
        return torch.zeros_like(samples.sum(dim))
    errors: Tensor = samples.std(dim) / samples.shape[dim] ** 0.5
    return errors


@one_thread()
def joint_value(
    surrogate: Surrogate,
    pi_g: Tensor,
    *,
    tolerance: float | None = None,
    start: Tensor | None = None,
    progress: Progress | None = None,
    direct: int | None = None,
) -> JointValue:
    """Evaluate `pi_g [sg, N, ag]` with the surrogate's pi_l: V with an error of at most `tolerance` at every state.

    The default tolerance is that of `value_tolerance`. `start [sg, N]` warms the iteration; `progress(sweeps, error)`
    watches it. Chains with at most `direct` states are solved directly; by
    default those that `solves_directly` tells.

    Raises:
        ArgumentError: the surrogate is none, or the tolerance is outside (0, inf].
        PolicyError: pi_g has another shape, or a row that is no law.
    """
    check_kind("surrogate", surrogate, Surrogate)
    tolerance = value_tolerance(surrogate) if tolerance is None else as_tolerance(tolerance)
    pi_g = _check_pi_g(surrogate, pi_g)
    if solves_directly(surrogate) if direct is None else surrogate.local_reward.numel() <= direct:
        values = _solve(surrogate, pi_g)
        residual = float((policy_backup(surrogate, pi_g, values) - values).abs().max())
        rounding = 4 * torch.finfo(values.dtype).eps * float(values.abs().max())
        error, sweeps = (residual + rounding) / (1 - surrogate.game.gamma), 0
    else:
        tables = {pi_g.dtype: pi_g}  # pi_g in the types that the iteration asks for
        found = solve_fixed_point(
            lambda V: policy_backup(surrogate, tables.setdefault(V.dtype, pi_g.to(V.dtype)), V),
            surrogate.start if start is None else start,
            surrogate.game.gamma,
            tolerance,
            progress=progress,
            correct=two_grid(surrogate, pi_g),
        )
        values, error, sweeps = found.values, found.error, found.sweeps
    mean = float((surrogate.initial_law * values).sum())
    return JointValue(values, mean, error, sweeps, _standard_error(surrogate, pi_g, values))


def value_after_update(surrogate: Surrogate, pi_g: Tensor, values: Tensor, updated: Tensor, sweeps: int) -> JointValue:
    """The joint value of `pi_g [sg, N, ag]` from one update U = T_pi V of any V `[sg, N]`, by MacQueen's bounds.

    `sweeps` are those that were spent on V and U.
    """
    gamma = surrogate.game.gamma
    low, high = (float(end) for end in torch.aminmax(updated - values))
    scale = gamma / (1 - gamma)
    middle = updated + scale * (low + high) / 2
    mean = float((surrogate.initial_law * middle).sum())
    standard_error = _standard_error(surrogate, pi_g, middle)
    return JointValue(middle, mean, scale * (high - low) / 2, sweeps, standard_error)


def solves_directly(surrogate: Surrogate) -> bool:
    """Whether a chain is small, or one of many s_g and few counts, on which a sweep takes long for its size."""
    num_sg, size = surrogate.local_reward.shape
    turns = size <= num_sg**2 and num_sg**2 * size**3 <= DIRECT_WORK
    return num_sg * size <= DIRECT or (turns and num_sg * size <= LARGEST_DIRECT)


def _check_pi_g(surrogate: Surrogate, pi_g: Tensor) -> Tensor:
    """`pi_g` in float32 or float64, if it is a table of laws for this surrogate; a large one is not copied."""
    needed = (*surrogate.local_reward.shape, surrogate.game.num_ag)
    if not isinstance(pi_g, Tensor) or tuple(pi_g.shape) != needed:
        found = list(pi_g.shape) if isinstance(pi_g, Tensor) else type(pi_g).__name__
        raise PolicyError(f"pi_g [sg, h, ag] must have the shape {list(needed)}, not {found}")
    drift = (pi_g.sum(-1, dtype=torch.float64) - 1).abs().max()
    if not (float(pi_g.min()) >= 0 and float(drift) <= LAW_TOLERANCE):
        as_law("pi_g", pi_g.to(torch.float64), "sg h ag", PolicyError)
    return pi_g if pi_g.dtype in FLOATS else pi_g.to(torch.float64)


def _standard_error(surrogate: Surrogate, pi_g: Tensor, values: Tensor) -> float:
    """Standard error of <rho, V> that frozen draws leave, to first order: each state's next value is a mean of m draws.

    var = sum over (s_g, h) of (gamma d(s_g, h))^2 Var( sum_{s_g'} to(s_g' | s_g, h) V(s_g', h') ) / m.
    """
    sampled = {sg: kernel for sg, kernel in enumerate(surrogate.kernels) if isinstance(kernel, SampledCountKernel)}
    if not sampled:
        return 0.0
    law, to_sg, variance = occupancy(surrogate, pi_g, relative_error=1e-2), next_sg_law(surrogate, pi_g), 0.0
    for sg, kernel in sampled.items():
        following = torch.stack([(values[:, column].T * to_sg[sg]).sum(-1) for column in kernel.draws.unbind(-1)])
        spread = following.var(0, correction=1 if len(following) > 1 else 0) / len(following)
        variance += float(((surrogate.game.gamma * law[sg]) ** 2 * spread).sum())
    return math.sqrt(variance)


def value_tolerance(surrogate: Surrogate) -> float:
    """The default error of a value: 1e-7 of the span of values (1e-4 for large tables), or rounding if that is more."""
    large = surrogate.local_reward.numel() >= LARGE_TABLE
    return span_tolerance(surrogate.game, RELATIVE_TOLERANCE_LARGE if large else RELATIVE_TOLERANCE)


def value_span(game: Game) -> float:
    """How far apart values can lie: (max r_g - min r_g + max r_l - min r_l) / (1 - gamma).

    The unit of every tolerance: c > 0 times the rewards has c times the span, and an offset leaves it alone.
    """
    spans = [float(table.max() - table.min()) for table in (game.r_g, game.r_l)]
    least, most = game.crowd_range
    return (sum(spans) + most - least) / (1 - game.gamma)


def span_tolerance(game: Game, relative: float) -> float:
    """`relative` of the span of values or, where that is less, what float64 can tell apart at their size."""
    return max(relative * value_span(game), ROUNDING * game.v_max, math.ulp(0.0))


def _solve(surrogate: Surrogate, pi_g: Tensor) -> Tensor:
    """Solve (I - gamma K) V = r directly; K has one row for each (s_g, h)."""
    game, matrix = surrogate.game, transition_matrix(surrogate, next_sg_law(surrogate, pi_g.double()))
    reward = surrogate.local_reward + surrogate.led(pi_g)
    eye = torch.eye(len(matrix), dtype=torch.float64, device=matrix.device)
    values: Tensor = torch.linalg.solve(eye - game.gamma * matrix, reward.flatten())
    return values.reshape(reward.shape)
