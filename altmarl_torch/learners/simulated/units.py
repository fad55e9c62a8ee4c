"""Rewards of a simulator around zero, and how far they lie apart: what is learned follows neither offset nor scale.

A common offset of all rewards changes no policy, but in float32 it drowns their differences, and it is no measure of
them. A simulator does not tell its largest reward, so both are read from states that were met: the medians of r_g and
r_l under random actions are taken off (`Units.centre`), and what is left is learned in units of its spread.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.simulators.game import Function, SimulatedGame, beside, unchecked
from altmarl_torch.simulators.play import Step
from altmarl_torch.simulators.spaces import random_actions

__all__ = ["Met", "Units", "met_rewards"]

NO_SPREAD = 1e-9
"""Relative to the largest reward: what rounding may make of rewards that are all alike."""


@dataclass(frozen=True)
class Units:
    """In what rewards are learned.

    Attributes:
        scale: units of value per unit of the networks.
        middles: by which r_g and r_l are lowered.
    """

    scale: float
    middles: tuple[float, float] = (0.0, 0.0)

    @property
    def lowered(self) -> float:
        """By how much each step earns less in the centred game."""
        return sum(self.middles)

    def centre(self, game: SimulatedGame) -> SimulatedGame:
        """The game with lowered rewards, float32."""
        return unchecked(game, r_g=_lowered(game.r_g, self.middles[0]), r_l=_lowered(game.r_l, self.middles[1]))


def _lowered(rewards: Function, middle: float) -> Function:
    def lowered(*states_and_action: Any, **crowd: Any) -> Tensor:
        return (rewards(*states_and_action, **crowd).double() - middle).float()

    return lowered


@dataclass(frozen=True)
class Met:
    """Where the rewards of some episodes lie.

    Attributes:
        units: to learn them in.
        deviation: standard deviation of what the steps earned.
    """

    units: Units
    deviation: float


def met_rewards(game: SimulatedGame, steps: Sequence[Step], generator: torch.Generator) -> Met:
    """Of episodes that were played; random actions besides, for rewards that the pair does not earn."""
    r_g, r_l = (torch.stack(each) for each in zip(*(_random(game, step, generator) for step in steps), strict=True))
    earned = torch.stack([step.reward for step in steps])
    scale = _spread(earned) or _spread(r_g) + _spread(r_l) or 1.0
    return Met(Units(scale, (float(r_g.median()), float(r_l.median()))), float(earned.std()))


def _random(game: SimulatedGame, step: Step, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """r_g `[b]` and r_l `[b, n]` of random actions, float64."""
    laws, near = game.under(step.mu), beside(step.s_g, step.s_l)
    a_g = random_actions(game.global_action, step.s_g.shape[:-1], generator)
    a_l = random_actions(game.local_action, step.s_l.shape[:-1], generator)
    return laws.r_g(step.s_g, a_g).double(), laws.r_l(step.s_l, near, a_l).double()


def _spread(rewards: Tensor) -> float:
    """How far they lie apart; 0 where that may be rounding."""
    spread = float(rewards.max() - rewards.min())
    return spread if spread > NO_SPREAD * float(rewards.abs().max()) else 0.0
