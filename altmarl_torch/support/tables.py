"""Reading tables at the door: any array in, float64 out, and errors that name the entry.

Every table of this library is a dense array over finite sets, and it has one axis order, written as words:
`"sl sg al sl'"` are the axes of P_l(s_l' | s_l, s_g, a_l). A prime marks the next state; it counts the same set as
the unprimed word.

A *law* is a table whose last axis holds probabilities: non-negative entries that sum to one. Floating-point inputs
miss one by a little, so there are three cases, told apart by the drift |sum - 1| of a row of length L:

* above `LAW_TOLERANCE` (1e-5, and 1e-6 L if that is more: six printed decimals) the row is somebody's mistake: it is
  refused, with its indices and its sum;
* between L * 2^-52 and the tolerance (float32 inputs, printed decimals) the row is divided by its sum; a drift that is
  more than float32's rounding is told in the log, once for each table;
* below, the row is left alone. The bound is what one division and one summation can lose, so a row that was divided
  once is never divided again: reading a stored law gives back the same bits.

An entry between -`NEGATIVE_TOLERANCE` (1e-9) and 0 is what 1 - 0.9 - 0.1 leaves, and read as 0. Nothing else is mended:
a more negative, infinite or missing entry is always an error, and so is a masked one: what lies under a mask is no
number.
"""

import logging
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError, SizeError
from altmarl_torch.support.scalars import (
    LARGEST_COUNT,
    LARGEST_SEED,
    ErrorType,
    as_integer,
    as_number,
    as_seed,
    as_tolerance,
    check_callable,
    check_kind,
)

__all__ = [
    "LARGEST_COUNT",
    "LARGEST_SEED",
    "LAW_TOLERANCE",
    "as_device",
    "as_finite",
    "as_float64",
    "as_indices",
    "as_integer",
    "as_law",
    "as_number",
    "as_numbers",
    "as_seed",
    "as_table",
    "as_tolerance",
    "as_whole",
    "check_callable",
    "check_devices",
    "check_entries",
    "check_indices",
    "check_kind",
    "check_whole",
    "place",
    "refuse_booleans",
    "refuse_first",
    "refuse_masked",
]

LAW_TOLERANCE, DECIMALS = 1e-5, 1e-6
"""How far a row may miss a sum of one, and how far for each of its entries."""

NEGATIVE_TOLERANCE = 1e-9
FLOAT32_ROUNDING = 1e-6
LARGEST_TABULATED = 2**25
"""Entries of the largest table that a formula or a function is tabulated into: 256 MiB of float64."""
WHOLE = "every entry must be a whole number, at least 0"
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
_NUMERIC_KINDS = "fiub"  # numpy's letters for float, signed and unsigned integer, boolean
_ULP = torch.finfo(torch.float64).eps

Called = Mapping[str, Sequence[str]] | None
"""Names of the elements of an axis, by its word; None or without the word: elements are called by their number."""

logger = logging.getLogger(__name__)


def as_table(name: str, values: object, axes: str, error: ErrorType = GameError) -> Tensor:
    """Copy `values` (tensor, array or nested list) into a new float64 tensor with the given axes, on its own device.

    Raises `error` if the values are not real numbers, or if an axis is missing, surplus or empty.
    """
    table = as_float64(name, values, error)
    words = axes.split()
    if table.ndim != len(words):
        shape = list(table.shape)
        raise error(f"{name} has shape {shape}, that is {table.ndim} axes; expected {len(words)}: [{', '.join(words)}]")
    for word, size in zip(words, table.shape, strict=True):
        if size == 0:
            raise error(f"{name} has shape {list(table.shape)}: axis {word} is empty; every set needs one element")
    return table


def as_float64(name: str, values: object, error: ErrorType) -> Tensor:
    """Copy `values` into a new float64 tensor of the same shape, a tensor on its own device, all else on the CPU.

    Raises `error` if the values are not real numbers, or a tensor is not dense.
    """
    if isinstance(values, Tensor):
        if values.is_complex():
            raise error(f"{name} holds {values.dtype}; expected real numbers")
        if values.layout is not torch.strided:
            raise error(f"{name} has the layout {values.layout}; expected a dense tensor (use .to_dense())")
        return values.detach().to(torch.float64, copy=True).contiguous()
    refuse_masked(name, values, error)
    try:
        array = np.asarray(values)
    except (ValueError, TypeError) as cause:
        raise error(f"{name} is not an array of numbers: {cause}") from cause
    if array.dtype.kind not in _NUMERIC_KINDS:
        raise error(f"{name} holds {array.dtype}; expected an array of real numbers")
    return torch.from_numpy(np.array(array, dtype=np.float64, order="C"))


def refuse_masked(name: str, values: object, error: ErrorType) -> None:
    """Raise `error` for a NumPy array with masked entries, or a nested list that holds one: they would be unmasked."""
    if isinstance(values, list | tuple):
        for index, part in enumerate(values):
            if isinstance(part, list | tuple | np.ma.MaskedArray):
                refuse_masked(f"{name}[{index}]", part, error)
    elif isinstance(values, np.ma.MaskedArray) and bool(np.ma.getmaskarray(values).any()):
        first = np.argwhere(np.ma.getmaskarray(values))[0].tolist()
        raise error(f"{name}{first if first else ''} is masked: not known is no number; fill it in, or leave it out")


def refuse_booleans(name: str, values: object, error: ErrorType) -> None:
    """Raise `error` for truth values in the place of indices or counts, in lists too: they would pass for 0 and 1."""
    if _holds_booleans(values):
        raise error(f"{name} holds True or False; {WHOLE}")


def as_numbers(name: str, values: object, error: ErrorType) -> Tensor:
    """As `as_float64`, of indices or counts: True and False are none."""
    refuse_booleans(name, values, error)
    return as_float64(name, values, error)


def _holds_booleans(values: object) -> bool:
    if isinstance(values, list | tuple):
        return any(map(_holds_booleans, values))
    return isinstance(values, bool) or getattr(values, "dtype", None) in (torch.bool, np.dtype(bool))


def place(name: str, axes: str, indices: list[int], called: Mapping[str, Sequence[str]] | None = None) -> str:
    """Name an entry or a row: `place("P_l", "sl sg al sl'", [2, 0, 1])` is `P_l[sl=2, sg=0, al=1]`.

    With names by axis in `called`, `{"sg": ["low", "high"]}`, that is `P_l[sl=2, sg=0 (low), al=1]`.
    """
    pairs = []
    for word, index in zip(axes.split(), indices, strict=False):
        names = (called or {}).get(word.rstrip("'"))
        pairs.append(f"{word}={index}" + ("" if names is None else f" ({names[index]})"))
    return f"{name}[{', '.join(pairs)}]" if pairs else name


def as_finite(name: str, table: Tensor, axes: str, error: ErrorType = GameError) -> Tensor:
    """Return `table` if it holds neither NaN nor infinity; otherwise raise `error` naming the first such entry."""
    if table.is_meta:
        raise error(f"{name} is a tensor on the meta device, which holds no numbers")
    refuse_first(name, table, axes, ~table.isfinite(), "every entry must be a finite number", error)
    return table


def as_whole(name: str, table: Tensor, axes: str, error: ErrorType, called: Called = None) -> Tensor:
    """Return `table` (float64) as int64; raise `error` naming its first entry that is no whole number from 0 on."""
    check_whole(name, table, axes, error, called)
    return table.to(torch.int64)


def check_whole(name: str, table: Tensor, axes: str, error: ErrorType, called: Called = None) -> None:
    """Raise `error` naming the first entry of a float table that is no whole number from 0 on."""
    if not table.numel():
        return
    least, most = table.aminmax()
    if bool((least >= 0) & (most < math.inf)) and float(table.frac().amax()) == 0:  # without a mask of each kind
        return
    bad = (table != table.floor()) | (table < 0) | ~table.isfinite()
    refuse_first(name, table, axes, bad, WHOLE, error, called=called)


def as_indices(name: str, values: object, axes: str, error: ErrorType, called: Called = None) -> Tensor:
    """Return whole numbers from 0 on as an int64 tensor with the given axes; integers are neither copied nor converted.

    Raises `error` where an axis is missing, surplus or empty, or an entry is no whole number of at least 0, by its name
    in `called`.
    """
    refuse_booleans(name, values, error)
    given = values if isinstance(values, Tensor) else _as_integers(values)
    if given is None or given.dtype is not torch.int64 or given.layout is not torch.strided or given.is_meta:
        return as_whole(name, as_finite(name, as_table(name, values, axes, error), axes, error), axes, error, called)
    if given.ndim != len(axes.split()) or not given.numel():
        as_table(name, given, axes, error)
    if int(given.min()) < 0:
        refuse_first(name, given, axes, given < 0, WHOLE, error, called=called)
    return given


def _as_integers(values: object) -> Tensor | None:
    """An array or list of integers as int64, None for anything else."""
    try:
        array = np.asarray(values)
    except (ValueError, TypeError):
        return None
    signed = array.dtype.kind == "i" and array.dtype.isnative
    return torch.from_numpy(np.array(array, dtype=np.int64)) if signed else None


def as_law(name: str, table: Tensor, axes: str, error: ErrorType = GameError) -> Tensor:
    """Check that each row of `table [..., outcome]` is a law over its last axis; return it, small drift divided out.

    Raises `error` naming the first row at fault and what it summed to, or its first negative entry.
    """
    as_finite(name, table, axes, error)
    refuse_first(name, table, axes, table < -NEGATIVE_TOLERANCE, "probabilities are non-negative", error)
    table = torch.where(table < 0, 0.0, table)
    total = table.sum(-1, keepdim=True)
    outcome, tolerance = axes.split()[-1], max(LAW_TOLERANCE, DECIMALS * table.shape[-1])
    rule = f"each row is a law over {outcome} and must sum to 1 (within {tolerance:g})"
    off = (total - 1).abs()
    refuse_first(name, total.squeeze(-1), axes, (off > tolerance).squeeze(-1), rule, error, verb="sums to")
    if float(off.max()) > FLOAT32_ROUNDING:
        logger.warning("rows of %s miss a sum of 1 by up to %.2g; each is divided by its sum", name, float(off.max()))
    return torch.where(off > table.shape[-1] * _ULP, table / total, table)


def refuse_first(
    name: str,
    table: Tensor,
    axes: str,
    bad: Tensor,
    rule: str,
    error: ErrorType,
    verb: str = "is",
    called: Called = None,
) -> None:
    """Raise `error` for the first entry marked in `bad`, with its indices, its value and what would be right."""
    if not bool(bad.any()):
        return
    first = bad.nonzero()[0].tolist()
    value = float(table[tuple(first)])
    others = int(bad.sum()) - 1
    also = f" (and {others} more like it)" if others else ""
    raise error(f"{place(name, axes, first, called)} {verb} {value:.12g}{also}; {rule}")


def check_indices(name: str, indices: Tensor, size: int) -> None:
    """Raise an ArgumentError unless `indices [...]` are integers in 0..size-1; it names the first that is not."""
    found = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
    if found not in INTEGERS:
        raise ArgumentError(f"{name} must be a tensor of integers in 0..{size - 1}, not {found}")
    if indices.numel() and not (int(indices.min()) >= 0 and int(indices.max()) < size):
        flat = indices.reshape(-1)
        bad = (flat < 0) | (flat >= size)
        refuse_first(name, flat, "row", bad, f"expected an index in 0..{size - 1}", ArgumentError)


def check_devices(tables: Mapping[str, Tensor]) -> None:
    """Refuse tables that lie on different devices: no operation could join them later."""
    (first, table), *others = tables.items()
    for name, other in others:
        if other.device != table.device:
            raise GameError(
                f"{first} lies on {table.device}, but {name} on {other.device}; move all tables to one device"
            )


def check_entries(name: str, *sizes: int) -> None:
    """Raise a SizeError if a table of these `sizes` has more than `LARGEST_TABULATED` entries."""
    if math.prod(sizes) > LARGEST_TABULATED:
        raise SizeError(
            f"{name} would have {' x '.join(map(str, sizes))} entries; at most {LARGEST_TABULATED:,} are tabulated: "
            "use fewer states or actions"
        )


def as_device(device: object) -> torch.device:
    """Return a device that is here and computes in float64, or raise an ArgumentError that lists those.

    "auto" is the first GPU where there is one, and the CPU elsewhere.
    """
    if str(device) == "cpu":
        return torch.device("cpu")
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    present = ["cpu", *(["cuda"] if cuda else []), *cuda]
    if device == "auto":
        return torch.device("cuda" if cuda else "cpu")
    if str(device) not in present:
        raise ArgumentError(f"device must be one of auto, {', '.join(present)} on this machine; not {device!r}")
    return torch.device(str(device))
