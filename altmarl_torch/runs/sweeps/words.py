"""What the options of a sweep may be; without torch, for whoever only reads options."""

import itertools
from collections.abc import Sequence
from typing import Any, Literal

from altmarl_torch.errors import ArgumentError

__all__ = ["DEFAULTS", "MOST_NUMBERS", "Backend", "numbers"]

Backend = Literal["processes", "ray", "dask"]
"""Who computes the cells."""

DEFAULTS: dict[str, Any] = {"solver": "tabular", "episodes": 50}
"""Where a sweep's defaults are not those of one training: the paper's tables, and its 50 rollouts per seed."""

MOST_NUMBERS = 100_000


def numbers(text: str) -> list[int]:
    """Whole numbers: `"1,10,20"`, the inclusive range `"1:50"`, one with a step `"10:50:10"`, or a mixture.

    Raises:
        ArgumentError: the text is none of these, or describes more than 100,000 numbers.
    """
    if not isinstance(text, str):
        raise ArgumentError(f"{text!r} is no text that lists whole numbers")
    found: list[int] = []
    for part in text.split(","):
        found += itertools.islice(_range(part, text), MOST_NUMBERS + 1)
        if len(found) > MOST_NUMBERS:
            raise ArgumentError(f"{text!r} describes more than {MOST_NUMBERS:,} numbers")
    return found


def _range(part: str, text: str) -> Sequence[int]:
    """One part of `numbers`: a number, low:high or low:high:step."""
    try:
        ends = [int(word) for word in part.split(":")]
    except ValueError:
        ends = []
    if len(ends) == 1:
        return ends
    if len(ends) not in (2, 3) or ends[1] < ends[0] or ends[2:] == [0] or min(ends[2:], default=1) < 1:
        raise ArgumentError(f"{text!r} is no list of whole numbers like 1,10,20, 1:50 or 10:50:10")
    return range(ends[0], ends[1] + 1, *ends[2:])
