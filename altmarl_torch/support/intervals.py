r"""Student's interval for the mean of independent samples.

With E samples it is

    mean +- t_{E-1} sem,        sem = std / sqrt(E),

t_{E-1} being Student's quantile (Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 26.7.5).
"""

import math
from dataclasses import dataclass

from scipy.special import stdtrit
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import as_integer, as_number

__all__ = ["LEVEL", "Difference", "Returns"]

LEVEL = 0.95
"""Default level of the intervals."""


class Returns:
    """Episodes, told by their returns.

    Attributes:
        returns: `[episodes]`, independent of each other, float64.
    """

    returns: Tensor

    @property
    def mean(self) -> float:
        """Mean return over the episodes."""
        return float(self.returns.mean())

    @property
    def sem(self) -> float:
        """Standard error of `mean`; undefined (nan) for a single episode."""
        episodes = len(self.returns)
        return float(self.returns.std()) / math.sqrt(episodes) if episodes > 1 else math.nan

    def line(self, n: int, k: int, horizon: int) -> str:
        """What a person reads of episodes of n agents, k of them seen."""
        episodes = len(self.returns)
        told = f"mean return {self.mean:.6g}" + (f" +- {self.sem:.2g}" if episodes > 1 else "")
        played = f"{episodes} episode{'s' * (episodes > 1)} of {horizon} steps"
        return f"{type(self).__name__}(n={n}, k={k}: {told} over {played})"


@dataclass(frozen=True)
class Difference:
    """An estimated difference of mean returns, in units of discounted reward, with its confidence interval."""

    mean: float  # the estimate
    sem: float  # its standard error
    low: float  # lower end of the interval
    high: float  # upper end
    level: float  # chance with which such an interval covers the truth

    @classmethod
    def of(cls, samples: Tensor, level: float = LEVEL) -> "Difference":
        """The mean of independent `samples [episodes]` with Student's interval.

        Raises:
            ArgumentError: fewer than two samples, or a level outside (0, 1).
        """
        episodes = as_integer("episodes", len(samples), 2, math.inf, ArgumentError)
        level = as_number("level", level, "(0, 1)", lambda x: 0 < x < 1, ArgumentError)
        mean, sem = float(samples.mean()), float(samples.std()) / math.sqrt(episodes)
        reach = float(stdtrit(episodes - 1, (1 + level) / 2)) * sem
        return cls(mean, sem, mean - reach, mean + reach, level)
