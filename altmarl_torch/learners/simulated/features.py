r"""States as a network sees them: scaled to their box, with waves of one, two, four and eight times its length.

A continuous feature x in [low, high] becomes u = (x - middle) / (half the width), in [-1, 1], and the sines and cosines
of pi u 2^j / 2, j = 0..3. (Raw inputs alone make small networks smooth: a robot's best step, which changes within a
twentieth of the box, was learned with the waves only.) A finite state becomes 0 and 1. A feature without bounds
is scaled to where it was met: its mean, and three standard deviations.
"""

import math

import torch
from torch import Tensor, nn

from altmarl_torch.simulators.spaces import Box, Discrete, Space

__all__ = ["Features", "Frame", "frame_of"]

OCTAVES = 4
WIDE = 3.0
"""Standard deviations on either side, where there are no bounds."""

NO_SPREAD = 1e-6
"""Relative to the size of a feature: what rounding may make of one that is always the same."""


class Frame:
    """Where the states of a space lie: its bounds, or where it was met."""

    def __init__(self, space: Space, met: Tensor) -> None:
        self.space = space
        if isinstance(space, Discrete):
            self.low, self.high = (torch.full((1,), end, dtype=torch.float32) for end in (0, space.num - 1))
            return
        met = met.detach().cpu().reshape(-1, space.d).double()
        mean, spread = met.mean(0), met.std(0)
        size = torch.where(mean == 0, 1.0, mean.abs())
        wide = WIDE * torch.where(spread > NO_SPREAD * size, spread, size)
        self.low = torch.where(space.low.isfinite(), space.low, (mean - wide).float())
        self.high = torch.where(space.high.isfinite(), space.high, (mean + wide).float())

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Uniform states `[*shape, d]`."""
        device = generator.device
        if isinstance(self.space, Discrete):
            return torch.randint(self.space.num, (*shape, 1), generator=generator, device=device).float()
        low, high = self.low.to(device), self.high.to(device)
        chance = torch.rand(*shape, self.space.d, generator=generator, dtype=torch.float32, device=device)
        return low + (high - low) * chance

    def scattered(self, states: Tensor, share: float, generator: torch.Generator) -> Tensor:
        """States `[..., d]`, about a share of them replaced by uniform ones."""
        rows, device = states.shape[:-1], generator.device
        anywhere = torch.rand(*rows, 1, generator=generator, dtype=torch.float32, device=device) < share
        return torch.where(anywhere, self.draw(rows, generator).to(states.dtype), states)


def frame_of(bounds: tuple[Tensor, Tensor], space: Space) -> Frame:
    """The frame with these bounds, as it was stored."""
    frame = Frame(space, torch.zeros(2, space.d, dtype=torch.float32))
    frame.low, frame.high = bounds
    return frame


class Features(nn.Module):
    """States `[..., d]` to features `[..., width]`."""

    low: Tensor
    high: Tensor

    def __init__(self, frame: Frame, octaves: int = OCTAVES) -> None:
        super().__init__()
        self.octaves = octaves
        self.num = frame.space.num if isinstance(frame.space, Discrete) else 0
        self.register_buffer("low", frame.low.clone())
        self.register_buffer("high", frame.high.clone())
        self.width = self.num or frame.low.numel() * (1 + 2 * octaves)

    def scaled(self, states: Tensor) -> Tensor:
        """u, without waves; of a finite state 0 and 1."""
        if self.num:
            return nn.functional.one_hot(states.squeeze(-1).long(), self.num).to(self.low.dtype)
        return (2 * states - (self.high + self.low)) / (self.high - self.low)

    def forward(self, states: Tensor) -> Tensor:
        """The features of each state."""
        return self.waves(self.scaled(states))

    def waves(self, u: Tensor) -> Tensor:
        """The features, of scaled states."""
        if self.num or not self.octaves:
            return u
        angle = u.clamp(-1, 1) * (math.pi / 2)
        parts, sine, cosine = [u], angle.sin(), angle.cos()
        for _ in range(self.octaves):
            parts += [sine, cosine]
            sine, cosine = 2 * sine * cosine, cosine.square() - sine.square()  # of twice the angle
        return torch.cat(parts, -1)


def difference(local: Frame, leader: Frame) -> Frame | None:
    """The frame of s_l - s_g, where the two can be subtracted."""
    spaces = local.space, leader.space
    if not all(isinstance(space, Box) for space in spaces) or spaces[0].d != spaces[1].d:
        return None
    return frame_of((local.low - leader.high, local.high - leader.low), local.space)
