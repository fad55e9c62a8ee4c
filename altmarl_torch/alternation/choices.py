"""The record of a selection: which pairs there were to choose from, and by how much the chosen one won."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from altmarl_torch.support.intervals import Difference

__all__ = ["Choice", "Select", "Selection"]

Select = Literal["value", "rollout"]
"""What decides between candidates: the joint value on the surrogate, or the returns of n agents."""


@dataclass(frozen=True)
class Choice:
    """A candidate."""

    name: str
    value: float  # its own model's joint value
    return_mean: float | None  # of n agents, on episodes that all candidates share; None where values decide
    return_sem: float | None


@dataclass(frozen=True)
class Selection:
    """Who was chosen, and from what."""

    by: Select
    choices: tuple[Choice, ...]  # the best first
    margin: Difference | None  # return of the first over the best that differs, on fresh episodes; None without one

    def as_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return dataclasses.asdict(self)
