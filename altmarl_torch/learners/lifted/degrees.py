"""Which degrees are tried: the ladder that accuracy climbs."""

import math

from altmarl_torch.counts.lifted import Basis, largest_degree
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import as_integer

__all__ = ["EXACT", "check_degree", "ladder"]

EXACT = 500
"""Where the counts of k agents are at most so many, J = k: the solution is exact, and as quick."""

FIRST, LAST = 80, 1_600
"""Coefficients of the first degree at most, and of the last."""

LOWEST_FIRST, HIGHEST_FIRST = 2, 8


def ladder(num_sl: int, k: float) -> list[int]:
    """The degrees that are tried one after another for k agents, from the cheapest to the last that is cheap enough."""
    top = largest_degree(num_sl, k)
    if top == k and CountSimplex(int(k), num_sl).size <= EXACT:
        return [top]
    top = top if math.isinf(k) else max(1, min(top, int(k) - 1))  # of J = k only the whole alternation is exact
    sizes = {degree: CountSimplex(degree, num_sl).size for degree in range(1, top + 1)}
    small = [degree for degree in sizes if sizes[degree] <= FIRST]
    first = min(top, max(LOWEST_FIRST, min(HIGHEST_FIRST, max(small, default=1))))
    degrees = [first]
    while True:
        step = 2 if sizes.get(degrees[-1] + 2, LAST) <= 4 * sizes[degrees[-1]] else 1
        following = degrees[-1] + step
        if following > top or sizes[following] > LAST:
            return degrees
        degrees.append(following)


def check_degree(degree: object, num_sl: int, k: float) -> int:
    """Return `degree` if it is one for k agents; an ArgumentError or SizeError says what would be."""
    number = as_integer("degree", degree, 1, math.inf, ArgumentError)
    if number > k:
        raise ArgumentError(f"degree = {number} is above k = {k}: a lifted function is a mean over J of the k agents")
    return Basis(number, num_sl).degree
