"""Cells of a feature: how continuous states are counted, for rules written by hand and for figures."""

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import as_float64, as_integer

__all__ = ["Binning"]


class Binning:
    """Cells of one feature of the states, cell j between the edges j and j+1; beyond the ends the first and the last.

    Args:
        edges: `[cells + 1]`, increasing.
        feature: which feature of local and global states is meant.

    Raises:
        ArgumentError: fewer than two edges, or edges that do not increase.
    """

    def __init__(self, edges: object, feature: int = 0) -> None:
        self.edges = as_float64("edges", edges, ArgumentError).float()
        if self.edges.ndim != 1 or len(self.edges) < 2 or not bool((self.edges.diff() > 0).all()):
            raise ArgumentError("a binning has at least two edges, which increase")
        self.feature = as_integer("feature", feature, 0, 10**4, ArgumentError)

    @property
    def cells(self) -> int:
        """How many."""
        return len(self.edges) - 1

    def cell(self, states: Tensor) -> Tensor:
        """The cell of each state `[..., d]`: `[...]` int64."""
        return torch.bucketize(states[..., self.feature].contiguous(), self.edges[1:-1].to(states.device), right=True)

    def counts(self, states: Tensor) -> Tensor:
        """How many of the agents `[..., m, d]` are in each cell: `[..., cells]` int64."""
        return torch.nn.functional.one_hot(self.cell(states), self.cells).sum(-2)
