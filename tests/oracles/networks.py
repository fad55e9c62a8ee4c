"""Networks that tests share: sizes of one small game, seeded frequencies, a trained network, and a user's own."""

import math

import torch
from torch import Tensor, nn

from altmarl_torch.learners.neural.networks import CountNetwork

SL, SG, AG, AL = 4, 3, 2, 5


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frequencies(batch: int = 7, seed: int = 0) -> Tensor:
    weights = torch.rand(batch, SL, generator=generator(seed)) + 0.01
    return weights / weights.sum(-1, keepdim=True)


def trained(seed: int = 0, width: int = 8, depth: int = 2) -> CountNetwork:
    """A network with no zero left in it."""
    draws = generator(seed)
    network = CountNetwork(SL, SG, AG, width=width, depth=depth, generator=draws)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draws))
    return network


def same(a: nn.Module, b: nn.Module) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return list(left) == list(right) and all(torch.equal(left[name], right[name]) for name in left)


class Own(nn.Module):
    """A user's network: normalised, with dropout, an integer buffer, a mask of infinities and weights used twice."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(SL, width), nn.BatchNorm1d(width), nn.Dropout(0.5))
        self.head = nn.Linear(width, SG * AG)
        self.twin = self.head
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def forward(self, frequencies: Tensor) -> Tensor:
        return self.twin(self.body(frequencies)).unflatten(-1, (SG, AG))
