r"""What fewer agents say about the error of an iterate: two-grid corrections of Bellman updates.

After one update, U = T V, the fixed point of a policy's operator is

    V* = U + gamma P e,        e = (U - V) + gamma P e,

P being the pair's kernel on (s_g, h). Updates wear down what differs between neighbouring counts by themselves; what is
left after a few of them is smooth in the frequencies, and hardly depends on k. So the equation for e is solved for half
as many agents, where it costs a fraction, and gamma P e is carried up (`counts.interpolation`). For the maximum over
actions the policy is frozen: the best one for half as many agents. (Two-grid methods: Hackbusch, *Multi-Grid Methods
and Applications*, 1985; for Markov decision processes Hoppe, *SIAM J. Numer. Anal.* 23, 1986.)

A correction only chooses where the next update begins: bounds are those of the update itself (`fixed_point`).
"""

from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.interpolation import Interpolation
from altmarl_torch.counts.simplex import scale_up
from altmarl_torch.operators.bellman import next_sg_law, pull_values, transition_matrix
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["COARSEST", "TwoGrid", "two_grid"]

COARSEST = 300
"""Tables with at most so many counts are not corrected."""

DIRECT = 700
"""Coarse equations with at most so many unknowns are solved by factors, which all corrections of a policy share."""

RELATIVE_ERROR = 0.02
"""How well the coarse equation is solved, relative to the span of gamma/(1-gamma) times its right side."""

MOST_SWEEPS = 40
"""Coarse updates for one correction at most; what mixes more slowly is corrected in part."""


class TwoGrid:
    """Corrects updates of a surrogate of k agents by its own kind for half as many (a `fixed_point.Correction`).

    Args:
        surrogate: of k agents, at least 2.
        pi_g: `[sg, N of k // 2, ag]`, the policy that is played there.
        deeper: corrects the coarse updates in turn.
    """

    def __init__(self, surrogate: Surrogate, pi_g: Tensor, deeper: "TwoGrid | None" = None) -> None:
        self._plan, self._half, self._deeper = surrogate.plan, surrogate.half, deeper
        self._to_sg = next_sg_law(self._half, pi_g.float())  # of a correction a few digits are enough

    def __call__(self, updated: Tensor, change: Tensor) -> Tensor:
        """U `[sg, N]` and U - V to U + gamma P e, in their type."""
        gamma, scale = self._half.game.gamma, float(change.max() - change.min())
        if not scale > 0:
            return updated
        residual = _read(self._plan.to_half, (change - change.mean()) / scale)
        further = self._solve(residual, gamma) - residual
        return torch.add(updated, _read(self._plan.from_half, further - further.mean()), alpha=scale)

    def _solve(self, residual: Tensor, gamma: float) -> Tensor:
        """e = residual + gamma P e for half as many agents, `[sg, N]`."""
        if residual.numel() <= DIRECT:
            found: Tensor = torch.linalg.lu_solve(*self._factors, residual.reshape(-1, 1))
            return found.reshape(residual.shape)
        return solve_fixed_point(
            lambda e: torch.add(residual, pull_values(self._half, self._to_sg, e), alpha=gamma),
            residual,
            gamma,
            RELATIVE_ERROR * gamma / (1 - gamma) * max(float(residual.max() - residual.min()), RELATIVE_ERROR),
            max_sweeps=MOST_SWEEPS,
            warn=False,
            correct=self._deeper,
        ).values

    @cached_property
    def _factors(self) -> tuple[Tensor, Tensor]:
        """Those of I - gamma P, and their pivots."""
        matrix = transition_matrix(self._half, self._to_sg).mul_(-self._half.game.gamma)
        matrix.diagonal().add_(1)
        factors, pivots = torch.linalg.lu_factor(matrix)
        return factors, pivots


def two_grid(surrogate: Surrogate, pi_g: Tensor) -> TwoGrid | None:
    """What corrects updates of the policy `pi_g [sg, N, ag]`, shown on scaled counts; None on small tables."""
    if surrogate.simplex.size <= COARSEST or surrogate.simplex.k < 2:
        return None
    half = surrogate.half
    few = pi_g[:, scale_up(half.simplex, surrogate.simplex)]
    return TwoGrid(surrogate, few, two_grid(half, few))


def _read(interpolation: Interpolation, values: Tensor) -> Tensor:
    """Values `[sg, N]` at the counts that read them, in float32: of a correction a few digits are enough."""
    return rearrange(interpolation(rearrange(values.float(), "g h -> h g")), "h g -> g h").contiguous()
