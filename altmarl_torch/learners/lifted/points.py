r"""Where the maximum is projected: count vectors, and the least squares on them.

V = max_a Q is a lifted function no more; the nearest one in the mean square over a set of count vectors takes its
place. The set is two sets. *Broad* points are frequencies from Dirichlet laws of concentrations between 0.03 and 30 for
each state, from nearly pure to nearly uniform, and the corners, where all agents are in one state: a polynomial that is
not held there runs off, and what runs off comes back in the next sweep. *Visited* points are counts that the current
pair goes through, drawn by their discounted occupancy: that is where a wrong action costs something. They all weigh
alike; there are `number_of_points`, several for every coefficient. Where all counts of the k agents are as few,
they are the broad points.
"""

import math

import torch
from torch import Tensor

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.simplex import CountSimplex, round_to_counts
from altmarl_torch.support.sampling import broad_laws

__all__ = ["Points", "broad_points", "number_of_points"]

FEWEST, PER_COEFFICIENT, VISITED = 2_000, 4, 0.5
"""Points at least, points for each coefficient, and the part of them that is visited ones."""

LARGE = 2**21
"""Features from which on they are summed in float32."""

COLUMNS = 256
"""Of a triangle that are computed at once."""

RIDGE = 3e-5
"""Of the least squares, relative to the largest diagonal entry. It draws coefficients that the points hardly tell apart
to the mean of the values: without it they follow the points, and what is fitted misses by up to twice as much between
them, where pairs go."""


class Points:
    """Count vectors, their features, and the least squares on them.

    Args:
        basis: of the functions that are fitted.
        k: number of agents, or infinity.
        counts: `[M, sl]`, of k agents; frequencies at k = inf.

    Attributes:
        features: `[M, N_J]`.
    """

    def __init__(self, basis: Basis, k: float, counts: Tensor) -> None:
        self.basis, self.k, self.counts = basis, k, counts
        self.is_exact = basis.degree == k
        self.features = basis.features(counts, k).contiguous()
        if not self.is_exact:
            gram = _products(self.features)
            gram.diagonal().add_(RIDGE * gram.diagonal().max())
            self._factor = torch.linalg.cholesky(gram)
            self._single = self.features.float() if self.features.numel() >= LARGE else None

    @classmethod
    def draw(cls, basis: Basis, k: float, generator: torch.Generator, visited: Tensor | None = None) -> "Points":
        """Broad points, and the first of `visited [v, sl]` that are wanted; every count vector where J = k."""
        number = number_of_points(basis)
        wanted = 0 if visited is None or basis.degree == k else int(VISITED * number)
        counts = broad_points(basis.simplex, k, number, number - wanted, generator)
        return cls(basis, k, counts if not wanted or visited is None else torch.cat([counts, visited[:wanted]]))

    def __len__(self) -> int:
        return len(self.counts)

    def fit(self, values: Tensor) -> Tensor:
        """The coefficients `[rows, N_J]` of the lifted functions nearest to `values [rows, M]`."""
        if self.is_exact:
            return values
        mean = values.mean(-1, keepdim=True)
        return mean + torch.cholesky_solve(((values - mean) @ self.features).T, self._factor).T

    def lift(self, coefficients: Tensor) -> Tensor:
        """The lifted functions at the points: `[..., N_J]` to `[..., M]`.

        Of many, float32 sums make them in half the time: weights are a law, so that they are right to 1e-6 of the
        largest coefficient.
        """
        features = self.features if self.is_exact or self._single is None else self._single
        flat = coefficients.reshape(-1, coefficients.shape[-1]).to(features.dtype)
        return (flat @ features.T).reshape(*coefficients.shape[:-1], len(self)).to(coefficients.dtype)


def _products(features: Tensor) -> Tensor:
    """The lower triangle of F^T F, for features F `[M, N]`: all that a Cholesky factor is read from."""
    products = features.new_zeros(features.shape[1], features.shape[1])
    for first in range(0, len(products), COLUMNS):
        columns = slice(first, first + COLUMNS)
        products[first:, columns] = features[:, first:].T @ features[:, columns]
    return products


def number_of_points(basis: Basis) -> int:
    """How many a fit in a basis is made at."""
    return max(FEWEST, PER_COEFFICIENT * basis.size)


def broad_points(states: CountSimplex, k: float, few: int, number: int, generator: torch.Generator) -> Tensor:
    """All counts of k agents over the states of `states` where there are at most `few`; else `number` of them."""
    num_sl = states.num_sl
    if not math.isinf(k):
        simplex = CountSimplex(int(k), num_sl, states.device)
        if simplex.can_be_listed and simplex.size <= few:
            return simplex.counts.to(torch.float64)
    corners = torch.eye(num_sl, dtype=torch.float64, device=states.device)
    frequencies = torch.cat([broad_laws(max(number - num_sl, 0), num_sl, generator), corners])
    return frequencies if math.isinf(k) else round_to_counts(frequencies, int(k)).to(torch.float64)
