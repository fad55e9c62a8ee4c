r"""The worth of a pair, and of pairs near it: fits and episodes put together.

Where J = k (`Points.is_exact`) a lifted function is a table, the fit is exact, and so is everything read from it: the
value, with the bound of MacQueen, and the occupancy, from the transposed equation. Elsewhere the value is the fit's,
corrected by episodes (`episodes`), with a standard error, of which the doubt about their tails is a part: pairs have it
in common, so that it must not keep UPDATE from the better one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.learners.lifted.crowd import plus
from altmarl_torch.learners.lifted.episodes import EPISODES, Contender, PlayedPair, play
from altmarl_torch.learners.lifted.fitting import LiftedFit
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import one_hot

__all__ = ["Judged", "judge", "laws_at"]

REPEATS = 16
"""Episodes from each start where UPDATE compares state by state."""

OCCUPANCY_ERROR = 1e-4
"""Of the occupancy where J = k, relative, in the 1-norm."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A pair's value, and what its local agents need to know of it."""

    value: JointValue
    moments: Tensor  # [sg, sg', N_J] of the occupancy
    residual: float  # root mean square Bellman residual at counts that the fit has not seen; 0 where it is exact


def laws_at(policy: Rule, points: Points, num_sg: int) -> Tensor:
    """pi_g at the points, `[sg, ag, M]`; a lifted one is read in every s_g from the same features."""
    if isinstance(policy, LiftedPolicy):
        return rearrange(one_hot(policy.actions(points.counts), policy.sizes[1]), "m g a -> g a m").contiguous()
    device = points.counts.device
    rows = [torch.full((len(points),), sg, dtype=torch.int64, device=device) for sg in range(num_sg)]
    return torch.stack([policy(row, points.counts).T for row in rows])


def judge(
    contenders: Sequence[Contender],
    points: Points,
    seed: int,
    *,
    by_state: bool = False,
    moments: bool = True,
    episodes: int = EPISODES,
) -> list[Judged]:
    """The values of pairs, each from a fit to its value or to that of a pair near it.

    Args:
        contenders: the pairs and the fits; where J = k a fit must be the pair's own.
        points: where the fits were made.
        seed: of the episodes, the same for all pairs that are compared.
        by_state: whether a few starts are played many times, for a comparison state by state.
        moments: whether those of the first pair are wanted.
        episodes: how many, in all.
    """
    if points.is_exact:
        return [_exact(one, points) for one in contenders]
    repeats = REPEATS if by_state else 1
    played = play(contenders, seed, starts=episodes // repeats, repeats=repeats, moments=moments)
    return [
        Judged(_value(one.surrogate, one.fit, own, repeats), own.moments, own.residual)
        for one, own in zip(contenders, played, strict=True)
    ]


def _value(surrogate: LiftedSurrogate, fit: LiftedFit, played: PlayedPair, repeats: int) -> JointValue:
    mean = surrogate.initial_mean(fit.coefficients)
    if repeats == 1:
        returns = (mean + played.corrections).unsqueeze(-1)
    else:
        s_g, counts = played.starts
        own = (surrogate.features(counts) * fit.coefficients[s_g]).sum(-1)
        returns = (own + played.corrections).reshape(-1, repeats)
    values = returns.mean(-1)
    luck = math.hypot(float(played.corrections.std()) / len(played.corrections) ** 0.5, played.drift)
    return JointValue(values, mean + float(played.corrections.mean()), 0.0, 0, luck, returns)


def _exact(one: Contender, points: Points) -> Judged:
    """The same from the table that a lifted function is where J = k."""
    surrogate, fit = one.surrogate, one.fit
    game, values = surrogate.game, fit.coefficients
    laws = laws_at(one.policy, points, game.num_sg)
    tables = surrogate.P_l_pi, surrogate.r_l_pi, PairPlan(surrogate.basis.simplex), surrogate.prior
    table = Surrogate.from_tables(game, *tables)
    law = occupancy(table, rearrange(laws, "g a j -> g j a"), relative_error=OCCUPANCY_ERROR)
    to_sg = einsum(laws, game.P_g, "g a j, g a G -> g G j")
    residual = (laws * plus(fit.action_coefficients, surrogate.crowd(points.counts))).sum(1) - values
    error = float(residual.abs().max()) / (1 - game.gamma)
    value = JointValue(values, surrogate.initial_mean(values), error, fit.sweeps)
    return Judged(value, rearrange(law, "g j -> g 1 j") * to_sg, 0.0)
