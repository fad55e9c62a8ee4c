"""Digests: equal for equal values, other for anything else, wherever it lies in memory."""

import pytest
import torch

from altmarl_torch import games
from altmarl_torch.neural import CountNetwork
from altmarl_torch.support.digests import digest

TABLE = torch.arange(6.0).reshape(2, 3)


def network(seed):
    return CountNetwork(2, 2, 2, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("one", "same"),
    [
        (TABLE, TABLE.T.contiguous().T),
        (games.steer(), games.steer()),
        (network(1), network(1)),
        (torch.tensor(3), torch.tensor(3)),
    ],
)
def test_equal_values_have_equal_digests(one, same):
    assert digest(one) == digest(same)


def test_other_values_have_other_digests():
    values = [
        *(TABLE, TABLE.T.contiguous(), TABLE.double(), TABLE + 1e-6, TABLE.reshape(3, 2), torch.zeros(0)),
        *(1, 1.0, "1", None, True, {}, {"a": 1}, {"b": 1}, {"a": {"b": 1}}),
        *(network(1), network(2), games.steer(), games.steer(0.5), games.beacon()),
        games.steer().replace(r_g=-games.steer().r_g),
    ]
    assert len({digest(value) for value in values}) == len(values)
