"""What every law of rewards can do: be drawn, be drawn in sums of many, move between devices, be stored."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.support.tables import as_finite, as_float64, as_number, check_devices, check_indices, refuse_booleans

__all__ = ["RewardLaw", "TabulatedLaw"]

ONE_BY_ONE = 64
"""Sums of at most so many rewards are drawn term by term, where no exact shortcut exists."""

AXES = {2: "sg ag", 3: "sl sg al"}
"""The axes of a law, by their number: r_g's or r_l's."""


class RewardLaw(ABC):
    """A distribution on every entry of a reward table.

    Attributes:
        mean: `[...]`, expected reward of each entry, exact; the table that a game computes with.
        variance: `[...]` of each entry, exact; None where nobody knows it.
        low, high: finite bounds on every reward (Assumption F.1).
    """

    mean: Tensor
    variance: Tensor | None
    low: float
    high: float
    kind: ClassVar[str]

    @property
    def device(self) -> torch.device:
        """Where the tables lie."""
        return self.mean.device

    def _check_entries(self, indices: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return `indices`, one for each axis of the table, or raise an ArgumentError: -1 is not the last state."""
        words = AXES[self.mean.ndim].split()
        if len(indices) != len(words):
            raise ArgumentError(f"an entry is named by {len(words)} indices, {', '.join(words)}; not {len(indices)}")
        for word, index, size in zip(words, indices, self.mean.shape, strict=True):
            check_indices(word, index, size)
        return indices

    @abstractmethod
    def draw(self, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """One reward for each entry that the index tensors name (int64, broadcast together), in their shape.

        Raises:
            ArgumentError: an index is none of the table's.
            GameError: a sampler of the caller's draws something outside its bounds; the message names the entry.
        """

    def draw_sum(self, counts: Tensor, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """The sum of `counts` (whole numbers, float64) i.i.d. rewards of each entry, at a cost free of the counts.

        Shapes as in `draw`. Exact up to 64 terms, by a beta law beyond (the module's page says how good).

        Raises:
            ArgumentError: a count is negative, or an index none of the table's.
            GameError: as for `draw`; or a sum of many is asked of a law whose variance nobody knows.
        """
        counts, *entries = broadcast(as_terms(counts), *self._check_entries(indices))
        few = counts <= ONE_BY_ONE
        total = torch.where(few, 0.0, self._sum_of_many(counts, entries, few, generator))
        for term in range(int(counts.where(few, 0.0).max()) if counts.numel() else 0):
            here = few & (term < counts)
            total[here] += self.draw(*(index[here] for index in entries), generator=generator)
        return total

    def _sum_of_many(self, counts: Tensor, entries: list[Tensor], few: Tensor, generator: torch.Generator) -> Tensor:
        """A number from the beta law with the bounds, the mean and the variance of the sum."""
        if bool(few.all()):
            return torch.zeros_like(counts)
        if self.variance is None:
            raise GameError(
                f"sums of more than {ONE_BY_ONE} rewards are drawn by their mean and variance, and this SampledReward "
                "has no std; give it one"
            )
        mean, variance = self.mean[tuple(entries)], self.variance[tuple(entries)]
        certain, width = few | (variance == 0), (self.high - self.low) or 1.0
        share = (mean - self.low) / width
        # Bhatia and Davis: variance <= share (1 - share) width^2, so that the weight is at least counts - 1
        weight = counts * share * (1 - share) * width**2 / torch.where(certain, 1.0, variance) - 1
        parts = [torch.where(certain, 1.0, part * weight) for part in (share, 1 - share)]
        up, down = (torch._standard_gamma(part, generator) for part in parts)
        return counts * torch.where(certain, mean, self.low + width * up / (up + down))

    @abstractmethod
    def to(self, device: torch.device | str) -> "RewardLaw":
        """The same law on `device`."""

    @abstractmethod
    def arrays(self) -> dict[str, Any]:
        """What `law_from_arrays` makes the same law from; an ArgumentError where it cannot be stored."""


class TabulatedLaw(RewardLaw):
    """A law that tables and its bounds describe, in this order.

    Attributes:
        tables: their names.
    """

    tables: ClassVar[tuple[str, ...]]

    def to(self, device: torch.device | str) -> Self:
        """The same law on `device`."""
        make: Callable[..., Self] = type(self)
        return make(*(getattr(self, name).to(device) for name in self.tables), self.low, self.high)

    def arrays(self) -> dict[str, Any]:
        """The tables and bounds."""
        tables = {name: getattr(self, name).cpu().numpy() for name in self.tables}
        return {"kind": self.kind, "low": self.low, "high": self.high, **tables}


def as_terms(counts: Tensor) -> Tensor:
    """How many rewards to add up, as float64; an ArgumentError where one is negative, or a truth value."""
    refuse_booleans("counts", counts, ArgumentError)
    if bool((counts < 0).any()):
        raise ArgumentError(f"counts must be at least 0; the least is {float(counts.min()):g}")
    return counts.to(torch.float64)


def broadcast(*tensors: Tensor) -> list[Tensor]:
    """The tensors in their common shape."""
    return list(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]


def set_fields(law: RewardLaw, **values: object) -> None:
    """Set fields of a frozen law, while it is being made."""
    for name, value in values.items():
        object.__setattr__(law, name, value)


def as_entries(name: str, values: object, outcome: bool = False) -> Tensor:
    """A float64 table over the entries of r_g or r_l, finite, with a last axis v where `outcome`."""
    table = as_float64(name, values, GameError)
    axes = AXES.get(table.ndim - outcome)
    more = " v" if outcome else ""
    if axes is None or table.numel() == 0:
        tail = ", v" if outcome else ""
        raise GameError(f"{name} has shape {list(table.shape)}; expected [sg, ag{tail}] or [sl, sg, al{tail}]")
    return as_finite(name, table, axes + more)


def check_alike(tables: dict[str, Tensor]) -> None:
    """Refuse two tables of different shapes or devices."""
    check_devices(tables)
    (first, one), (second, other) = tables.items()
    if one.shape != other.shape:
        raise GameError(f"{first} has shape {list(one.shape)}, but {second} {list(other.shape)}; they must agree")


def as_bounds(low: object, high: object) -> tuple[float, float]:
    """Finite bounds in order."""
    least = as_number("low", low, "(-inf, inf)", math.isfinite, GameError)
    most = as_number("high", high, "(-inf, inf)", math.isfinite, GameError)
    if least > most:
        raise GameError(f"low = {least:g} is above high = {most:g}")
    return least, most
