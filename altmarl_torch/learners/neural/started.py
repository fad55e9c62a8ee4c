r"""Where a count network starts: lifted functions, and what the network adds to them.

The lifted solver finds continuation values that are polynomials of the frequencies (`counts.lifted`), in a small part
of a network's time. A `StartedNetwork` keeps them, as numbers that are not trained, and adds the answers of a
`CountNetwork`, which begins at zero:

    C(f) = lift(start)(k f) + network(f).

So its first greedy policy is that of the lifted functions, and training has only to find what a polynomial of their
degree cannot say.
"""

import torch
from torch import Tensor, nn

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.learners.neural.networks import CountNetwork

__all__ = ["StartedNetwork"]

WHOLE = 1e-3
"""Counts that are k times frequencies in float32 are whole where they miss a whole number by less."""

SINGLE = 20
"""The largest degree whose weights are computed in float32: they are positive, so that rounding stays small."""


class StartedNetwork(nn.Module):
    """Lifted continuation values and a count network, added.

    Args:
        added: the network.
        start: `[sg, ag, N_J]`, coefficients of degree J, in units of the network.
        degree: J, at most k.
        k: how many agents the frequencies are of.

    Raises:
        ArgumentError: the degree is out of range.
        SizeError: it has too many coefficients.
    """

    def __init__(self, added: CountNetwork, start: Tensor, degree: int, k: int) -> None:
        super().__init__()
        self.added, self.degree, self.k = added, degree, k
        self.register_buffer("start", start.to(torch.float32).contiguous())
        self._basis = Basis(degree, added.spec["num_sl"], start.device)

    @property
    def spec(self) -> dict[str, int]:
        """The sizes of the network, the degree, and k."""
        return self.added.spec | {"degree": self.degree, "k": self.k}

    def forward(self, frequencies: Tensor) -> Tensor:
        """Values `[batch, sg, ag]` for frequencies h/k `[batch, sl]`, float32."""
        start = self.get_buffer("start")
        if self._basis.simplex.device != start.device:  # the module has been moved
            self._basis = Basis(self.degree, self.added.spec["num_sl"], start.device)
        precision = torch.float32 if self.degree <= SINGLE else torch.float64
        counts = frequencies.to(precision) * self.k
        whole = counts.round()
        counts = torch.where((counts - whole).abs() < WHOLE, whole, counts)
        features = self._basis.features(counts, self.k, precision).float()
        values: Tensor = self.added(frequencies)
        return values + (features @ start.flatten(0, 1).T).reshape(values.shape)
