"""What is believed of the population before it is sampled: a Dirichlet law for each global state.

`counts.resampling` tells what a sample leaves of it, and how the next sample is drawn.
"""

import logging
from dataclasses import dataclass, field

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.resampling import ResamplingKernel
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.sampling import dirichlet, draw_sample, split, split_shares
from altmarl_torch.support.tables import as_table, refuse_first

__all__ = ["LARGEST_ALPHA", "SMALLEST_ALPHA", "Prior", "fit_alpha"]

logger = logging.getLogger(__name__)

LARGEST_ALPHA, SMALLEST_ALPHA = 1e9, 1e-6
"""The range of a prior's parameters."""

FIT_STEPS, FIT_TOLERANCE = 2_000, 1e-6
"""Fixed-point steps of `fit_alpha` at most, and the change of log alpha below which it stops before."""


@dataclass(frozen=True, eq=False)
class Prior:
    """What is believed of the population before it is sampled.

    Attributes:
        alpha: `[sg, sl]`, parameters of the Dirichlet law of mu under each global state, in [1e-6, 1e9].
        n: how many agents the population has.

    Raises:
        ArgumentError: an entry of alpha is outside its range.
    """

    alpha: Tensor
    n: int
    _kernels: dict[tuple[int, int], tuple["ResamplingKernel", ...]] = field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        alpha = as_table("alpha", self.alpha, "sg sl", ArgumentError)
        outside = ~((alpha >= SMALLEST_ALPHA) & (alpha <= LARGEST_ALPHA))  # NaN is no parameter either
        rule = f"parameters of a Dirichlet law are in [{SMALLEST_ALPHA:g}, {LARGEST_ALPHA:g}]"
        refuse_first("alpha", alpha, "sg sl", outside, rule, ArgumentError)
        object.__setattr__(self, "alpha", alpha)

    def mean(self, counts: Tensor, k: int) -> Tensor:
        """E[mu | s_g, h] of the n agents, for counts `[b, sl]` with sum k: `[sg, b, sl]`, float64."""
        h = counts.to(torch.float64)
        after = rearrange(self.alpha, "g l -> g 1 l") + h
        return (h + (self.n - k) * after / after.sum(-1, keepdim=True)) / self.n

    def kernels(self, simplex: CountSimplex, seen: int | None = None) -> tuple["ResamplingKernel", ...]:
        """R under each s_g, for counts of `simplex`: made once, since every pi_l needs the same.

        `seen` is how many agents are seen, where the simplex counts only some of them (`ResamplingKernel`).
        """
        key = simplex.k, seen or simplex.k
        if key not in self._kernels:
            distinct, which = torch.unique(self.alpha, dim=0, return_inverse=True)
            made = [ResamplingKernel(simplex, row, self.n, seen) for row in distinct]
            self._kernels[key] = tuple(made[index] for index in which.tolist())
        return self._kernels[key]

    def resample(self, s_g: Tensor, counts: Tensor, k: int, generator: torch.Generator) -> Tensor:
        """Another k of the n agents, given s_g `[b]` and the counts `[b, sl]` of k: `[b, sl]`, of the same type."""
        after = self.alpha[s_g] + counts.to(torch.float64)
        mu = dirichlet(after, generator)
        unseen = torch.full((len(mu), 1), float(self.n - k), dtype=torch.float64, device=mu.device)
        population = counts.to(torch.float64) + split(unseen, split_shares(mu).unsqueeze(1), generator)
        return draw_sample(population, k, self.n, generator).to(counts.dtype)


def fit_alpha(counts: Tensor, weights: Tensor) -> Tensor:
    """The Dirichlet-multinomial law most likely to give populations `counts [rows, sl]`, `weights [rows]`: `[sl]`.

    By Minka's fixed point (2000), in which the likelihood never falls. Where the populations are all alike it would run
    off to infinity; it is stopped after `FIT_STEPS` steps, which the log tells, and alpha kept within the range of
    `Prior`.
    """
    n, share = counts[0].sum(), weights / weights.sum()
    mean = (share.unsqueeze(-1) * counts).sum(0) / n
    alpha = (mean + 1e-3) * counts.shape[1]
    for _ in range(FIT_STEPS):
        above = (share.unsqueeze(-1) * (torch.digamma(counts + alpha) - torch.digamma(alpha))).sum(0)
        below = torch.digamma(n + alpha.sum()) - torch.digamma(alpha.sum())
        following = (alpha * above / below).clamp(SMALLEST_ALPHA, LARGEST_ALPHA)
        change = float((following / alpha).log().abs().max())
        alpha = following
        if change < FIT_TOLERANCE:
            break
    else:
        logger.info("alpha still changes by %.2g after %d steps, the most that are made", change, FIT_STEPS)
    return alpha
