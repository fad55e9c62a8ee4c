"""Spaces of states and actions: a box of real features, or finitely many.

Every tensor of states or continuous actions has the features last, `[..., d]`. A finite *state* is one feature that
holds its number, `[..., 1]`; a finite *action* is the number itself, `[...]`, int64.

Gymnasium's spaces are taken as they are, by their attributes: nothing is imported.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.errors import GameError
from altmarl_torch.support.tables import as_float64, as_integer

__all__ = ["Box", "Discrete", "Space", "as_space", "outside", "random_actions"]

LARGEST_DISCRETE = 10**6


class Box:
    """Real features between bounds, each inclusive; an infinite bound is none.

    Args:
        low, high: one number for all features, or one per feature.
        features: how many there are, where both bounds are numbers; None for one.

    Attributes:
        low, high: `[d]`, float32.
        is_free: whether no bound is finite.

    Raises:
        GameError: the bounds differ in length, are no numbers, or low is not below high.

    >>> Box(-2, 2)
    Box(low=[-2.0], high=[2.0])
    >>> Box([0, -1], [10, 1]).d
    2
    """

    def __init__(self, low: ArrayLike | Tensor, high: ArrayLike | Tensor, features: int | None = None) -> None:
        d = None if features is None else as_integer("features", features, 1, 10**4, GameError)
        lows, highs = as_float64("Box low", low, GameError), as_float64("Box high", high, GameError)
        sizes = {bound.numel() for bound in (lows, highs) if bound.ndim} | ({d} if d else set())
        if len(sizes) > 1 or max(lows.ndim, highs.ndim) > 1:
            shapes, many = f"{list(lows.shape)} and {list(highs.shape)}", d or "any number of"
            raise GameError(f"a Box has one low and one high per feature, not {shapes} for {many} of them")
        size = next(iter(sizes), 1)
        self.low, self.high = (bound.float().expand(size).clone() for bound in (lows, highs))
        self.is_free = not bool((self.low.isfinite() | self.high.isfinite()).any())
        if not bool((self.low < self.high).all()):
            raise GameError(f"a Box needs low < high in every feature; it is {self}")

    def __repr__(self) -> str:
        return f"Box(low={_list(self.low)}, high={_list(self.high)})"

    @property
    def d(self) -> int:
        """Number of features."""
        return len(self.low)

    @property
    def is_bounded(self) -> bool:
        """Whether every bound is finite."""
        return bool(self.low.isfinite().all() and self.high.isfinite().all())


@dataclass(frozen=True)
class Discrete:
    """The numbers 0..num-1.

    Raises:
        GameError: `num` is no integer in 1..10^6.
    """

    num: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "num", as_integer("Discrete", self.num, 1, LARGEST_DISCRETE, GameError))

    @property
    def d(self) -> int:
        """Number of features of a state."""
        return 1


Space = Box | Discrete


def as_space(name: str, space: Any) -> Space:
    """A Box or Discrete, from one of ours or of Gymnasium's.

    Raises:
        GameError: it is neither, a Gymnasium Box of several axes, or a Gymnasium Discrete that does not begin at 0.
    """
    if isinstance(space, Box | Discrete):
        return space
    if hasattr(space, "low") and hasattr(space, "high"):
        return Box(space.low, space.high)
    if hasattr(space, "n") and not hasattr(space, "nvec"):
        if getattr(space, "start", 0) != 0:
            raise GameError(f"{name} begins at {space.start}; number the elements from 0")
        return Discrete(int(space.n) if math.isfinite(space.n) else 0)
    raise GameError(f"{name} must be a Box or a Discrete, also Gymnasium's; not {type(space).__name__}")


def random_actions(space: Space, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Uniform actions: `[*shape]` int64 or `[*shape, u]`; of unbounded boxes, normal ones within the bounds."""
    device = generator.device
    if isinstance(space, Discrete):
        return torch.randint(space.num, shape, generator=generator, device=device)
    low, high = space.low.to(device), space.high.to(device)
    if space.is_bounded:
        return low + (high - low) * torch.rand(*shape, space.d, generator=generator, dtype=torch.float32, device=device)
    return torch.randn(*shape, space.d, generator=generator, dtype=torch.float32, device=device).clamp(low, high)


def outside(space: Space, values: Tensor) -> Tensor:
    """Which of the values `[..., d]` (finite actions: `[...]`) are no element of the space, same shape."""
    if isinstance(space, Discrete):
        return (values < 0) | (values >= space.num) | (values != values.round())
    low, high = space.low.to(values.device), space.high.to(values.device)
    slack = 1e-5 * torch.where((high - low).isfinite(), high - low, torch.ones_like(low))
    return (values < low - slack) | (values > high + slack) | values.isnan()


def _list(bound: Tensor) -> list[float]:
    return [round(float(number), 6) for number in bound]
