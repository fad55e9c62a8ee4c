"""Binomial numbers by the million: the same cost for 10^9 agents as for 10, and a third of an exact sampler's.

Write X ~ Binomial(m, p), q = 1 - p and s^2 = m p q - 1/12. To third order, Cornish and Fisher's expansion of the
quantiles of X about those of the normal law is

    x(z) = m p + s z + (q - p) (z^2 - 1) / 6 + ((1 + 14 p q) z - (1 + 2 p q) z^3) / (72 s),

where the 1/12 is Sheppard's correction for a law that lives on whole numbers. X is drawn as x(Z), Z normal, rounded to
the nearest whole number. Its law differs from the binomial one by less than 2.5 10^-6 in total variation where
m p q = `WIDE`, and by less in proportion to (m p q)^(-3/2) beyond (a test adds the difference up): of a million
numbers, two would have been others. Where m p q is smaller, NumPy's exact sampler is used.

Reference: E. A. Cornish and R. A. Fisher, *Moments and cumulants in the specification of distributions*, Revue de
l'Institut International de Statistique 5, 1938.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["WIDE", "Floats", "Whole", "binomials", "deal_agents"]

WIDE = 400.0
"""The variance from which numbers are drawn by the expansion."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def binomials(number: Floats, chance: Floats, rng: np.random.Generator) -> Floats:
    """Binomial(number, chance) in the shape of both, in float64; the numbers are whole, up to 2^53."""
    pq = chance * (1 - chance)
    variance = number * pq
    least = variance.min()
    if variance.max() < WIDE:
        return rng.binomial(number.astype(np.int64), chance).astype(np.float64)
    narrow = variance < WIDE if least < WIDE else None
    drawn = _expand(variance, chance, pq, rng.standard_normal(number.shape))
    drawn += number * chance
    np.rint(drawn, out=drawn)
    if narrow is not None:
        drawn[narrow] = rng.binomial(number[narrow].astype(np.int64), chance[narrow])
    return drawn


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
