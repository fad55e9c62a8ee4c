r"""Mean and variance of a normal number that is clipped to bounds, in closed form.

Y = clip(X, low, high), X ~ N(location, scale^2), has atoms at both bounds. Let c be the location, clipped, and
Y = c + U - L with U, L >= 0, never both positive. In units of the scale U = min((Z - x)+, d), Z standard normal, and

    psi1(x) = E (Z - x)+   = phi(x) - x Phi(-x),        psi2(x) = E (Z - x)+^2 = (1 + x^2) Phi(-x) - x phi(x),

    E U = psi1(x) - psi1(x + d),        E U^2 = psi2(x) - psi2(x + d) - 2 d psi1(x + d),

and likewise L, mirrored. Measured from c, no two large numbers are subtracted, wherever the bounds lie: only a scale
far beyond high - low costs digits.
"""

import math

import torch
from torch import Tensor

__all__ = ["clipped_moments"]

FAR = 100.0
"""Standard deviations beyond which a normal density is 0 in float64."""


def clipped_moments(location: Tensor, scale: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of clip(N(location, scale^2), low, high), elementwise, for scales of at least 0.

    In units of high - low they are good to rounding errors, times the square of scale / (high - low) where that is
    above 1.
    """
    centre, unit = location.clamp(low, high), scale.clamp(min=torch.finfo(torch.float64).tiny)
    x = (centre - location) / unit
    up, up2 = _capped_excess(x, (high - centre) / unit)
    down, down2 = _capped_excess(-x, (centre - low) / unit)
    offset = up - down
    mean = (centre + scale * offset).clamp(low, high)
    return mean, (scale.square() * (up2 + down2 - offset.square())).clamp(min=0.0)


def _capped_excess(x: Tensor, most: Tensor) -> tuple[Tensor, Tensor]:
    """E U and E U^2 of U = min((Z - x)+, most) with Z standard normal."""
    x, most = x.clamp(-FAR, FAR), most.clamp(max=FAR)
    (first, second), (beyond, beyond2) = _excess(x), _excess(x + most)
    return first - beyond, second - beyond2 - 2 * most * beyond


def _excess(x: Tensor) -> tuple[Tensor, Tensor]:
    """psi1 and psi2: E (Z - x)+ and E (Z - x)+^2 of a standard normal Z."""
    density, tail = torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi), torch.erfc(x / math.sqrt(2)) / 2
    return density - x * tail, (1 + x.square()) * tail - x * density
