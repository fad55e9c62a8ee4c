"""Binomial numbers by the million: the same cost for 10^9 agents as for 10, and a third of an exact sampler's.

Write X ~ Binomial(m, p), q = 1 - p and s^2 = m p q - 1/12. To third order, Cornish and Fisher's expansion of the
quantiles of X about those of the normal law is

    x(z) = m p + s z + (q - p) (z^2 - 1) / 6 + ((1 + 14 p q) z - (1 + 2 p q) z^3) / (72 s),

where the 1/12 is Sheppard's correction for a law that lives on whole numbers. X is drawn as x(Z), Z normal, rounded to
the nearest whole number. Its law differs from the binomial one by less than 2.5 10^-6 in total variation where
m p q = `WIDE`, and by less in proportion to (m p q)^(-3/2) beyond (a test adds the difference up): of a million
numbers, two would have been others. Where m p q is smaller, NumPy's exact sampler is used.

Z comes from 32 random bits: one is its sign, and the others are a whole number v, the tail's chance being
p = (v + 1/2) / 2^32. Its quantile is read from a table of cubics, which are within 10^-7 of it.

Reference: E. A. Cornish and R. A. Fisher, *Moments and cumulants in the specification of distributions*, Revue de
l'Institut International de Statistique 5, 1938.
"""

import ctypes
import functools
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.support.native.library import address, library

__all__ = ["WIDE", "Floats", "Whole", "binomials", "deal_agents", "normals"]

WIDE = 400.0
"""The variance from which numbers are drawn by the expansion."""

CELLS = 16
"""Cells of an octave of y in the table of quantiles."""

CELL_BITS, FIRST_CELL = 52 - 4, 1022 * CELLS
"""Digits of a float64 behind those that number its cell, and the number that those of 1/2 give."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def binomials(number: Floats, chance: Floats, rng: np.random.Generator) -> Floats:
    """Binomial(number, chance) in the shape of both, in float64; the numbers are whole, up to 2^53."""
    number, chance = np.ascontiguousarray(number), np.ascontiguousarray(chance)
    luck = rng.integers(2**64 - 1, size=(number.size + 1) // 2, dtype=np.uint64, endpoint=True)
    made, words = library(), luck.view(np.uint32)[: number.size].reshape(number.shape)
    drawn, narrow = _drawn(number, chance, words) if made is None else _drawn_by(made, number, chance, words)
    if len(narrow):
        drawn.flat[narrow] = rng.binomial(number.flat[narrow].astype(np.int64), chance.flat[narrow])
    return drawn


def _drawn(number: Floats, chance: Floats, words: NDArray[np.uint32]) -> tuple[Floats, Whole]:
    """x(z) rounded, z by the words; and where the variance is too small for it, in the arrays laid flat."""
    pq = chance * (1 - chance)
    variance = number * pq
    narrow = np.flatnonzero(variance < WIDE)
    drawn = _expand(variance, chance, pq, normals(words))
    drawn += number * chance
    return np.rint(drawn, out=drawn), narrow


def _drawn_by(made: ctypes.CDLL, number: Floats, chance: Floats, words: NDArray[np.uint32]) -> tuple[Floats, Whole]:
    """The same, compiled (`drawing.cpp`), to the bit; what is of no use may differ."""
    drawn, narrow = np.empty_like(number), np.empty(number.size, dtype=np.int64)
    places = [address(array) for array in (number, chance, words, quantiles(), drawn, narrow)]
    return drawn, narrow[: made.draw_binomials(number.size, ctypes.c_double(WIDE), *places)]


@functools.cache
def quantiles() -> Floats:
    """The cubics `[cells, 4]` that `normals` reads, lowest power first, one to a cell of y = v + 1/2 = 2^32 p.

    A cell is a 16th of an octave, from y = 1/2 to 2^31; its cubic has the quantile's values and slopes at both ends.
    """
    octave, part = np.divmod(np.arange(32 * CELLS + 1), CELLS)
    edges = 2.0 ** (octave - 33) * (1 + part / CELLS)
    law = NormalDist()
    at = np.array([law.inv_cdf(p) for p in edges])
    slope = np.sqrt(2 * np.pi) * np.exp(at * at / 2)
    width, rise = np.diff(edges), np.diff(at)
    first, last = slope[:-1] * width, slope[1:] * width
    return np.stack([at[:-1], first, 3 * rise - 2 * first - last, first + last - 2 * rise], axis=1)


def normals(words: NDArray[np.uint32]) -> Floats:
    """Normal numbers in the shape of 32-bit words (module docstring)."""
    # exponent and leading digits number the cell, the others are where in it
    bits = ((words >> 1) + 0.5).view(np.int64)
    cubic = quantiles()[(bits >> CELL_BITS) - FIRST_CELL]
    f = (bits & (2**CELL_BITS - 1)) * 2.0**-CELL_BITS
    lower: Floats = cubic[..., 0] + f * (cubic[..., 1] + f * (cubic[..., 2] + f * cubic[..., 3]))
    return np.where(words & 1, -lower, lower)


def _expand(variance: Floats, chance: Floats, pq: Floats, z: Floats) -> Floats:
    """x(z) - m p of the module's page, with as few passes over memory as it takes; the last digits of narrow ones are
    of no use."""
    s = np.maximum(variance, WIDE, out=variance)
    s -= 1 / 12
    np.sqrt(s, out=s)
    square = z * z
    third = pq * 14  # (1 + 14 pq) - (1 + 2 pq) z^2, times z / (72 s)
    third += 1
    pq *= 2
    pq += 1
    pq *= square
    third -= pq
    third *= z
    third /= s
    third *= 1 / 72
    s *= z
    s += third
    square -= 1
    square *= (0.5 - chance) / 3
    s += square
    return s


def deal_agents(counts: Floats, shares: Floats, rng: np.random.Generator) -> list[Floats]:
    """Multinomial(counts, .): for each of d destinations, how many arrive, in the shape of `counts [...]`.

    `shares [d, ...]` are those of those left (`sampling.split_shares`); the last destination takes whoever is left.
    """
    arrived, left = [], counts
    for share in shares[:-1]:
        arrived.append(binomials(left, share, rng))
        left = left - arrived[-1]
    return [*arrived, left]
