r"""Actors for continuous actions: networks of (s_g, sample) and of (s_l, s_g) to an action.

    u = into( A [mean of scaled s_i, scaled s_g] + body([mean of phi(s_i), psi(s_g)]) ),
    v = into( B [scaled s_l, scaled s_g] + body(features of s_l, s_g and s_l - s_g) ).

A memory m (`learners.simulated.memory`) comes behind s_g, and the linear part sees m and m / (t+2), so that it can
shrink the mean of few samples, as a filter does. The linear parts are exact for linear-quadratic games; the bodies see
the rest, and begin at zero, so that the first action is the middle of its box. `into` squashes each bounded feature of
an action into its box, and leaves one without bounds as it is. Waves (`learners.simulated.features`) are for states
with bounds.
"""

import torch
from torch import Tensor, nn

from altmarl_torch.learners.simulated.features import OCTAVES, Features, Frame, difference
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import dense, initialise
from altmarl_torch.simulators.spaces import Box

__all__ = ["ActorGlobal", "ActorLocal", "GlobalActor", "LocalActor", "into", "octaves_of"]

POOLED, WIDTH, WIDTH_LOCAL = 16, 64, 32


def into(space: Box, free: Tensor) -> Tensor:
    """Numbers `[..., u]` without bounds as actions of the box: the middle for 0."""
    if space.is_free:
        return free
    low, high = space.low.to(free.device), space.high.to(free.device)
    both = low.isfinite() & high.isfinite()
    middle, half = (torch.where(both, part, torch.ones_like(low)) for part in ((low + high) / 2, (high - low) / 2))
    squashed = middle + half * torch.tanh(free)
    above = low + nn.functional.softplus(free)
    below = high - nn.functional.softplus(free)
    one_sided = torch.where(low.isfinite(), above, torch.where(high.isfinite(), below, free))
    return torch.where(both, squashed, one_sided)


class GlobalActor(nn.Module):
    """u of the module's page.

    Args:
        leader, local: where the states lie.
        space: of the action.
        generator: of the first weights.
        remembered: numbers of a memory that come behind s_g.
    """

    def __init__(
        self, leader: Frame, local: Frame, space: Box, generator: torch.Generator, remembered: int = 0
    ) -> None:
        super().__init__()
        self.psi, self.phi, self.space = _features(leader), _features(local), space
        self.dg, inputs = leader.space.d, POOLED + self.psi.width + remembered
        self.agent = nn.Sequential(dense(self.phi.width, POOLED), nn.SiLU(), dense(POOLED, POOLED))
        self.body = nn.Sequential(dense(inputs, WIDTH), nn.SiLU(), dense(WIDTH, space.d))
        self.linear = dense(_plain(leader) + _plain(local) + 2 * remembered, space.d)
        _begin(self, generator)

    def forward(self, s_g: Tensor, sample: Tensor) -> Tensor:
        """a_g `[b, ug]` at s_g `[b, dg]` for samples `[b, k, dl]`."""
        local, leader, memory = self.phi.scaled(sample), self.psi.scaled(s_g[..., : self.dg]), s_g[..., self.dg :]
        plain = torch.cat([local.mean(-2), leader, memory, memory * memory[..., -1:]], -1)
        seen = torch.cat([self.agent(self.phi.waves(local)).mean(-2), self.psi.waves(leader), memory], -1)
        return into(self.space, self.linear(plain) + self.body(seen))


class LocalActor(nn.Module):
    """v of the module's page; arguments as of `GlobalActor`."""

    def __init__(self, leader: Frame, local: Frame, space: Box, generator: torch.Generator) -> None:
        super().__init__()
        apart = difference(local, leader)
        self.psi, self.phi, self.space = _features(leader), _features(local), space
        self.apart = None if apart is None else _features(apart)
        width = self.psi.width + self.phi.width + (0 if self.apart is None else self.apart.width)
        self.body = nn.Sequential(dense(width, WIDTH_LOCAL), nn.SiLU(), dense(WIDTH_LOCAL, space.d))
        self.linear = dense(_plain(leader) + _plain(local), space.d)
        _begin(self, generator)

    def forward(self, s_l: Tensor, s_g: Tensor) -> Tensor:
        """a_l `[..., ul]` of agents s_l `[..., dl]` under s_g `[..., dg]`."""
        local, leader = self.phi.scaled(s_l), self.psi.scaled(s_g)
        parts = [self.phi.waves(local), self.psi.waves(leader)]
        if self.apart is not None:
            parts.append(self.apart(s_l - s_g))
        plain = torch.cat([local, leader], -1)
        return into(self.space, self.linear(plain) + self.body(torch.cat(parts, -1)))


class ActorGlobal:
    """pi_g that an actor answers; `belief` is None without a memory."""

    def __init__(self, network: nn.Module, belief: RunningMeans | None = None) -> None:
        self.network, self.belief = network, belief

    def actions(self, s_g: Tensor, sample: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """a_g `[b, ug]` for s_g `[b, dg]`, and the memory behind it, and samples `[b, k, dl]`."""
        chosen: Tensor = self.network(s_g, sample)
        return chosen


class ActorLocal:
    """pi_l that an actor answers."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """a_l `[..., ul]` for s_l `[..., dl]` and s_g `[..., dg]`."""
        chosen: Tensor = self.network(s_l, s_g)
        return chosen


def octaves_of(frame: Frame) -> int:
    """Waves are for states with bounds."""
    return OCTAVES if isinstance(frame.space, Box) and frame.space.is_bounded else 0


def _features(frame: Frame) -> Features:
    return Features(frame, octaves_of(frame))


def _plain(frame: Frame) -> int:
    """How many scaled numbers a state has."""
    return frame.space.d if isinstance(frame.space, Box) else frame.space.num


def _begin(actor: GlobalActor | LocalActor, generator: torch.Generator) -> None:
    """First weights; the last layers are zero."""
    initialise(actor, generator)
    for layer in (actor.linear, actor.body[-1]):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
