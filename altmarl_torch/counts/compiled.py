"""Pair moves in compiled code: what `pair_moves.apply_moves` does, in place and several times as fast.

`sweep.cpp` is part of the compiled library (`support.native`). Values stay in rank order: in a move of two states the
runs of values that belong together are copied into small panels, multiplied in registers and copied back, where torch
would lay the whole table out anew for each pair. It picks the instructions (AVX-512, AVX2 or what every processor of
its kind has) when it is called. Where it was not built, on other devices than the CPU, and as the test of it, torch's
form is what runs.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.support.native.library import SUFFIXES, address, library

__all__ = ["PackedLaws", "apply_packed", "describe", "pack_laws"]

NEWEST = 2
"""The best instructions that may be used: 0 is what every processor has, 1 AVX2, 2 AVX-512."""

LEVELS = ("portable", "AVX2", "AVX-512")


def describe() -> str:
    """One line that says how pair moves are applied on this machine."""
    found = library()
    return "torch (not compiled)" if found is None else f"compiled ({LEVELS[found.sweep_level()]})"


@dataclass(frozen=True)
class PackedLaws:
    """The binomial matrices of some moves, in the order in which they are applied."""

    pairs: Tensor  # [M, 2] int32
    laws: Tensor  # [M, sum over d of (d + 1)^2], float32 or float64
    bands: Tensor  # [M, sum over d of 2 (d + 1)] int32, the first entry of each row that is not zero and the last


def pack_laws(
    pairs: Sequence[tuple[int, int]], chances: Tensor, k: int, dtype: torch.dtype, *, adjoint: bool
) -> PackedLaws:
    """The laws of moves B_1 ... B_M with `chances [M, 2]`, ready to be applied to values, or to laws if `adjoint`.

    Entries below a thousandth of what rounding leaves are zero.
    """
    made = library()
    assert made is not None
    order = range(len(pairs)) if adjoint else range(len(pairs) - 1, -1, -1)
    laws = torch.empty(len(pairs), (k + 1) * (k + 2) * (2 * k + 3) // 6, dtype=dtype)
    bands = torch.empty(len(pairs), (k + 1) * (k + 2), dtype=torch.int32)
    function = made[f"sweep_laws_{SUFFIXES[dtype]}"]
    for place, m in enumerate(order):
        a, b = (ctypes.c_double(float(chance)) for chance in chances[m])
        function(k, a, b, int(adjoint), address(laws[place]), address(bands[place]))
    return PackedLaws(torch.tensor([pairs[m] for m in order], dtype=torch.int32).reshape(-1, 2), laws, bands)


def apply_packed(simplex: CountSimplex, packed: PackedLaws, values: Tensor, *, level: int = NEWEST) -> Tensor:
    """Apply the moves to values `[N, columns]` in rank order, of the type of the laws: `[N, columns]`, a new tensor.

    `level` caps the instructions used (see `NEWEST`). The result does not depend on how many threads call.
    """
    made = library()
    assert made is not None
    if values.shape[0] != simplex.size or values.dtype != packed.laws.dtype or values.device.type != "cpu":
        raise AssertionError("values and laws of different sizes, types or devices")
    moved = values.clone(memory_format=torch.contiguous_format)
    if moved.numel() == 0 or len(packed.pairs) == 0:
        return moved
    made[f"sweep_apply_{SUFFIXES[values.dtype]}"](
        simplex.k,
        simplex.num_sl,
        address(simplex.tail_ranks),
        len(packed.pairs),
        address(packed.pairs),
        address(packed.laws),
        address(packed.bands),
        address(moved),
        ctypes.c_int64(moved.shape[1]),
        level,
    )
    return moved
