r"""The training of a network on samples of few kinds: every pair (s_g, h) in every gradient step, and no draws.

Where the pairs are few (`grid`), a step is taken on all of them, each weighed by its share of what would be drawn, and
its target is the expectation over the next counts instead of a draw. The fixed point is the same; there is no noise
but that of stochastic rewards, so a fit ends as soon as its residual is small.
"""

from functools import cached_property

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from altmarl_torch.learners.neural.grid import CountGrid
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import BatchPolicy
from altmarl_torch.learners.neural.sampled import SeenThroughSamples
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.neural.training import BROAD, EPISODE_STEPS, EXPLORATION, Training

__all__ = ["FullBatch", "kind_of_training"]

SMALL, IMPROVEMENT = 3e-4, 0.8
"""What ends the first phase: a residual this small, relative to the span of the rewards (UPDATE calls a gain of 1e-3 of
the span of values none), or one whose lowest value has hardly fallen over the last third of the checks.
"""

AVERAGING, NOISELESS = 0.1, 1024
"""Weight of the newest network in the running average at least: there is no noise to be averaged away, but that of
rewards, of which so many draws are taken in all.
"""


def kind_of_training(surrogate: BatchSurrogate, network: nn.Module, policy: BatchPolicy | None) -> type[Training]:
    """On all pairs, where these are few and the network answers each row by itself; else on draws.

    A network of another kind may look at its batch as a whole, as batch normalisation does. Of a population that is
    seen through samples, a best response knows the sample alone.
    """
    if surrogate.shown is not None and policy is None:
        return SeenThroughSamples
    return FullBatch if isinstance(network, CountNetwork) and surrogate.grid is not None else Training


class FullBatch(Training):
    """The network on its way, on every pair."""

    shares: Tensor  # [sg N] of the pairs
    improvement, least_averaging = IMPROVEMENT, AVERAGING

    @property
    def grid(self) -> CountGrid:
        """The pairs."""
        assert self.surrogate.grid is not None
        return self.surrogate.grid

    @cached_property
    def inputs(self) -> Tensor:
        """What the network reads of every count vector, `[N, sl]`."""
        return self.surrogate.samples.inputs(self.grid.counts)

    @cached_property
    def rewards(self) -> Tensor:
        """Those of every (h, s_g, a), `[N, sg, ag]`."""
        return self.surrogate.action_values(self.grid.counts, torch.zeros_like(self.surrogate.r_g))

    @cached_property
    def laws(self) -> Tensor | None:
        """What the policy does at every count vector, `[N, sg, ag]`; None for the greedy one."""
        return None if self.policy is None else self.policy.laws(self.grid.counts)

    @property
    def rows(self) -> int:
        """Pairs in a gradient step."""
        return len(self.shares)

    @property
    def settled(self) -> bool:
        """Whether the residual is small, or hardly falls any more."""
        return self.idle > 0 or super().settled

    def _draw_pairs(self) -> None:
        """Set `pairs` and their `shares`: of what the current policy meets, some actions at random, and of all."""
        self.pairs, surrogate, grid = self.grid.pairs(), self.surrogate, self.grid
        laws = (1 - EXPLORATION) * self._laws(grid.counts) + EXPLORATION / surrogate.game.num_ag
        to_sg = einsum(laws, surrogate.P_g, "n g a, g a G -> g n G")
        visited = grid.visited(grid.initial_law(), to_sg, EPISODE_STEPS)
        self.shares = ((visited + BROAD * grid.broad_law()) / (1 + BROAD)).flatten()

    def _hold_out(self) -> tuple[Tensor, Tensor]:
        """The pairs on which residuals are measured: all."""
        return self.pairs

    def _loss(self) -> Tensor:
        """The mean square error at all pairs, in units of the network."""
        error = self._errors(self.online)
        offset = self.surrogate.samples.offsets(self.pairs[1], error.detach(), self.shares)
        return self._mean(error.sub(offset).square())

    def _errors(self, network: nn.Module) -> Tensor:
        """Target less the network's answer, in its units: `[sg N, ag]`."""
        heads = network(self.inputs).float() + self.baseline / self.scale
        error: Tensor = self.targets() / self.scale - rearrange(heads, "n g a -> (g n) a")
        return error

    @torch.no_grad()
    def targets(self) -> Tensor:
        """Those of C at every pair, by the running average: `[sg N, ag]`."""
        Q = self.rewards + self.surrogate.game.gamma * (self.scale * self.average(self.inputs).float() + self.baseline)
        V = Q.amax(-1) if self.laws is None else (self.laws * Q).sum(-1)
        target: Tensor = ((self.grid.kernel @ V) @ self.surrogate.P_g.mT).flatten(0, 1)
        if self.surrogate.rewards is None:
            return target
        draws = max(1, NOISELESS // len(target))
        return target + self.surrogate.reward_noise(*self.pairs, draws, self.generator)

    def _held_out_errors(self) -> tuple[Tensor, Tensor]:
        """The error at every pair, twice: nothing is drawn."""
        error = self.scale * self._errors(self.average)
        return error, error

    def mean_square(self, product: Tensor) -> tuple[float, float]:
        """The residual's square, and its standard error: every pair is here."""
        return self.surrogate.game.gamma**2 * float(self._mean(product)), 0.0

    def _vanishes(self, product: Tensor) -> bool:
        """Whether the residual is small."""
        return self.residual <= SMALL * self.scale
