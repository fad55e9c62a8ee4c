"""What every function of this package asks of its arguments, and how large numbers are kept exact.

**Ranges.**  k is a whole number, at least 1; where n stands in the formula, k <= n as well (`Game.check_k`).
Confidences and failure probabilities are in (0, 1), accuracies above 0, a measured noise at least 0. Everything else
is an ArgumentError; so are whole numbers above 1e100 and positive numbers below 1e-100, whose powers leave every float.

**Signs.**  Assumption 2.2 wants positive rewards. Games with negative ones are allowed (`docs/differences-from-the-
paper.md`, row 15); a bound whose proof needs the sign then warns: values then lie in an interval twice as long as it
allows for.

**Sizes.**  |S_l|^k has 1,301 digits at |S_l| = 20, k = 1000. Sizes and sample complexities are therefore exact Python
integers (`scaled` multiplies one by a real number), and logarithms of them are taken as logarithms of integers.
Nothing overflows to infinity in silence: beyond a million digits, and for rewards whose square no float holds, there is
a SizeError.
"""

import math
import warnings
from fractions import Fraction

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.games.game import Game
from altmarl_torch.support.scalars import as_integer, as_number, not_tiny

__all__ = [
    "as_count",
    "as_noise",
    "as_positive",
    "as_probability",
    "as_size",
    "effective_log",
    "horizon",
    "power",
    "scaled",
    "unsampled",
    "warn_of_signs",
]

LARGEST = 10**100
"""Of what is raised to a power."""

LARGEST_DIGITS = 10**6
"""Digits of the largest power that is computed."""


def as_size(name: str, value: int) -> int:
    """A whole number, at least 1, of any size."""
    return as_integer(name, value, 1, math.inf, ArgumentError)


def as_count(name: str, value: int) -> int:
    """A whole number, at least 1, whose powers are floats."""
    whole = as_size(name, value)
    if whole > LARGEST:
        digits = math.floor(whole.bit_length() * math.log10(2)) + 1  # str() refuses to write 4,300 of them
        raise ArgumentError(f"{name} must be at most {LARGEST:.0e}, not a number of about {digits:,} digits")
    return whole


def as_probability(name: str, value: float) -> float:
    """A number in (0, 1)."""
    return not_tiny(name, as_number(name, value, "(0, 1)", lambda x: 0 < x < 1, ArgumentError))


def as_positive(name: str, value: float) -> float:
    """A finite number above 0."""
    return not_tiny(name, as_number(name, value, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError))


def as_noise(name: str, value: float) -> float:
    """A finite number, at least 0."""
    return as_number(name, value, "[0, inf)", lambda x: 0 <= x < math.inf, ArgumentError)


def power(base: int, exponent: int) -> int:
    """base^exponent, exactly; a SizeError beyond a million digits."""
    if exponent * math.log10(base) > LARGEST_DIGITS:
        raise SizeError(f"{base}^k has more than {LARGEST_DIGITS:,} digits for a k this large; use a smaller one")
    return int(base**exponent)


def warn_of_signs(game: Game, statement: str) -> None:
    """Warn, on behalf of the caller's caller, that `statement` needs non-negative rewards, if the game has others."""
    if min(float(game.r_g.min()), float(game.r_l.min())) < 0:
        warnings.warn(f"{statement} needs non-negative rewards (Assumption 2.2); this game has others", stacklevel=3)


def horizon(game: Game) -> float:
    """1/(1-gamma)."""
    return 1 / (1 - game.gamma)


def effective_log(game: Game, k: int) -> float:
    """log( r~ sqrt(k) / (1-gamma) ), or 0 where that is negative: values are then below 1/sqrt(k) from the start."""
    scale = game.r_tilde * math.sqrt(k) * horizon(game)
    return max(0.0, math.log(scale)) if scale > 0 else 0.0


def unsampled(game: Game, k: int) -> float:
    """(n-k+1)/(n k): what sampling k of n without replacement leaves of 1/k.

    Raises:
        ArgumentError: k is outside 1..n.
    """
    k = game.check_k(k)
    return (game.n - k + 1) / (game.n * k)


def scaled(factor: float, size: int) -> int:
    """factor times size, rounded up: exact however large the size; a SizeError if the factor is infinite."""
    if math.isinf(factor):
        raise SizeError("rewards are so large that no float holds their square; measure them in larger units")
    return math.ceil(Fraction(factor) * size)
