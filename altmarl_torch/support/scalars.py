"""Reading numbers, seeds and functions at the door: what is wrong, by name, and what would be right.

Nothing here imports torch, so that the command line can refuse a wrong option at once. `support.tables`, which reads
arrays, offers these functions as well.
"""

import math
import numbers
from collections.abc import Callable, Sequence

from altmarl_torch.errors import AltMarlError, ArgumentError

__all__ = [
    "LARGEST_COUNT",
    "LARGEST_SEED",
    "ErrorType",
    "as_integer",
    "as_number",
    "as_seed",
    "as_share",
    "as_tolerance",
    "check_callable",
    "check_kind",
    "check_word",
    "not_tiny",
]

LARGEST_COUNT = 2**53
"""Up to here a float64 counts one by one."""

LARGEST_SEED = 2**63 - 1  # what a torch.Generator takes
SMALLEST = 1e-100
"""Of a positive number of which powers are taken."""

ErrorType = type[AltMarlError]


def as_integer(name: str, value: object, low: int, high: float, error: ErrorType) -> int:
    """Return `value` as an int within low..high; booleans and floats are refused, numpy's integers are welcome."""
    whole = int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else None
    if whole is None or not low <= whole <= high:
        span = f"at least {low}" if math.isinf(high) else f"in {low}..{high}"
        raise error(f"{name} must be an integer {span}, not {value!r}")
    return whole


def as_number(name: str, value: object, allowed: str, fits: Callable[[float], bool], error: ErrorType) -> float:
    """Return `value` as a float that `fits`; `allowed` says in words what fits. NaN fits no comparison."""
    try:
        number = float(value) if isinstance(value, numbers.Real) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer beyond every float
        number = math.nan
    if not fits(number):
        raise error(f"{name} must be a number in {allowed}, not {value!r}")
    return number


def as_share(name: str, value: float) -> float:
    """A number in (0, 1], or an ArgumentError."""
    return not_tiny(name, as_number(name, value, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError))


def not_tiny(name: str, value: float) -> float:
    """A positive number whose powers are floats, or an ArgumentError."""
    if value < SMALLEST:
        raise ArgumentError(f"{name} must be at least {SMALLEST:g}, not {value!r}")
    return value


def as_tolerance(tolerance: object) -> float:
    """Return a numerical tolerance in (0, inf], or raise an ArgumentError."""
    return as_number("tolerance", tolerance, "(0, inf]", lambda x: x > 0, ArgumentError)


def as_seed(seed: object) -> int:
    """Return `seed` as an int that a `torch.Generator` takes, or raise an ArgumentError."""
    return as_integer("seed", seed, 0, LARGEST_SEED, ArgumentError)


def check_kind(name: str, value: object, kind: type, hint: str = "") -> None:
    """Raise an ArgumentError unless `value` is a `kind`; `hint` says where one comes from."""
    if not isinstance(value, kind):
        more = f"; {hint}" if hint else ""
        article = "an" if kind.__name__[0] in "AEIO" else "a"
        raise ArgumentError(f"{name} must be {article} {kind.__name__}, not {type(value).__name__}{more}")


def check_word(name: str, value: object, words: Sequence[str]) -> None:
    """Raise an ArgumentError unless `value` is one of the words."""
    if value not in words:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, words))}, not {value!r}")


def check_callable(name: str, value: object) -> None:
    """Raise an ArgumentError unless `value` can be called, or is None."""
    if value is not None and not callable(value):
        raise ArgumentError(f"{name} must be a function or None, not {value!r}")
