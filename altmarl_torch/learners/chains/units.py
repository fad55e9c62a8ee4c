r"""Rewards in [0, 1], which UCFH asks for.

A round passes every stage once. So a constant that is taken off all rewards of a stage takes the same from every
policy, and one factor for all stages changes no comparison:

    R'(s, a) = (R(s, a) - low_j) / scale,     low_j = min of R in stage j,     scale = max_j (max - min of R in j),
    V = scale V' + sum_t gamma_t sum_j low_j.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.chains.episodic import EpisodicMDP

__all__ = ["Units", "units_of"]


@dataclass(frozen=True)
class Units:
    """How the rewards of an MDP are brought into [0, 1]: the lowest of each stage is taken off, all are divided."""

    lowest: Tensor  # [states] the lowest reward of the state's stage
    scale: float  # the largest range of a stage
    offset: float  # value of the lowest rewards
    largest: float  # scaled value of the largest rewards

    def scaled(self, mdp: EpisodicMDP) -> Tensor:
        """The rewards in [0, 1]."""
        return (mdp.rewards - self.lowest.unsqueeze(-1)) / self.scale

    def value(self, scaled: float) -> float:
        """A value in the units of the MDP."""
        return self.scale * scaled + self.offset


def units_of(mdp: EpisodicMDP) -> Units:
    """The units of an MDP.

    Raises:
        ArgumentError: no scale brings its rewards into [0, 1]: one is not finite, or their range is not.
    """
    stages = [mdp.rewards[mdp.states_of(stage)] for stage in range(mdp.num_stages)]
    lows, highs = ([float(getattr(rewards, end)()) for rewards in stages] for end in ("min", "max"))
    ranges = [high - low for high, low in zip(highs, lows, strict=True)]
    if not math.isfinite(sum(ranges)):
        raise ArgumentError(
            "rewards must be finite, with a range that is, to be scaled to [0, 1]; they lie in "
            f"{min(lows):g} .. {max(highs):g}"
        )
    scale, rounds = max(ranges) or 1.0, float(mdp.discounts.sum())
    lengths = [len(rewards) for rewards in stages]
    lowest = torch.tensor(lows, dtype=torch.float64, device=mdp.rewards.device)
    lowest = lowest.repeat_interleave(torch.tensor(lengths, device=mdp.rewards.device))
    return Units(lowest, scale, rounds * sum(lows), rounds * sum(ranges) / scale)
