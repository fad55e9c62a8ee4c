"""Lifted functions under a network: what they add, that they stay, and that a file gives them back."""

import copy
import json

import numpy as np
import pytest
import torch
from oracles.neural import seeded

import altmarl_torch as am
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.learners.neural.networks import CountNetwork, check_network
from altmarl_torch.learners.neural.started import StartedNetwork
from altmarl_torch.learners.neural.storage import pack_network, unpack_network

SL, SG, AG, K = 3, 2, 4, 30


def started(degree=4, k=K, trained=True):
    added = CountNetwork(SL, SG, AG, width=8, generator=seeded(1))
    if trained:
        with torch.no_grad():
            added.head.weight.normal_(generator=seeded(2))
    start = torch.randn(SG, AG, Basis(degree, SL).size, dtype=torch.float64, generator=seeded(3))
    return StartedNetwork(added, start, degree, k)


@pytest.mark.parametrize(("degree", "k"), [(1, 1), (4, 30), (24, 30), (30, 30), (6, 10**6)])
def test_it_is_the_lifted_function_and_the_network(degree, k):
    network = started(degree, k)
    laws = torch.rand(50, SL, dtype=torch.float64, generator=seeded(4))
    counts = torch.multinomial(laws, k, replacement=True, generator=seeded(5)) if k < 100 else None
    if counts is None:
        whole = (laws / laws.sum(-1, keepdim=True) * k).floor()
        whole[:, 0] += k - whole.sum(-1)
    else:
        whole = torch.nn.functional.one_hot(counts, SL).sum(1).double()
    lifted = Basis(degree, SL).features(whole, k) @ network.start.double().flatten(0, 1).T
    frequencies = (whole / k).float()
    with torch.no_grad():
        found, added = network(frequencies), network.added(frequencies)
    torch.testing.assert_close((found - added).double(), lifted.reshape(found.shape), rtol=0, atol=2e-4)


def test_before_it_is_trained_it_is_the_lifted_function():
    network = started(trained=False)
    counts = am.CountSimplex(K, SL).counts
    lifted = Basis(4, SL).features(counts, K) @ network.start.double().flatten(0, 1).T
    with torch.no_grad():
        torch.testing.assert_close(network((counts / K).float()).flatten(1).double(), lifted, rtol=0, atol=1e-5)


def test_the_start_is_not_trained():
    network = started()
    check_network(network, SL, SG, AG, torch.device("cpu"))
    assert all(name.startswith("added.") for name, _ in network.named_parameters())
    twin = copy.deepcopy(network)
    network(torch.eye(SL)).sum().backward()
    assert torch.equal(network.start, twin.start)


def test_a_file_gives_it_back():
    network = started()
    back = unpack_network(pack_network(network))
    assert isinstance(back, StartedNetwork)
    assert back.spec == network.spec
    frequencies = am.CountSimplex(K, SL).frequencies.float()
    assert torch.equal(back(frequencies), network(frequencies))


def test_a_start_that_is_not_finite_is_no_file():
    network = started()
    network.start[0, 0, 0] = torch.nan
    with pytest.raises(ArgumentError, match="network/start holds a number that is not finite"):
        pack_network(network)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"degree": 31}, "degree must be an integer in 1..30"),
        ({"degree": 0}, "degree must be an integer in 1..30"),
        ({"degree": True}, "degree must be an integer"),
        ({"degree": 5}, r"network/start has shape \[2, 4, 15\]; expected \[2, 4, 21\]"),
        ({"degree": 64, "k": 10**6, "num_sl": 100}, "has too many coefficients"),
        ({"k": 0}, "k must be an integer in"),
        ({"k": 2**25}, "k must be an integer in"),
        ({"k": None}, "k must be an integer in"),
        ({"more": 1}, "network/spec of a StartedNetwork has"),
        ({"family": "CountNetwork"}, "network/spec of a CountNetwork has"),
    ],
)
def test_a_malformed_one_is_refused_by_name(changes, said):
    packed = dict(pack_network(started()))
    packed["network/spec"] = json.dumps(json.loads(packed["network/spec"]) | changes)
    with pytest.raises(FileFormatError, match=said):
        unpack_network(packed)


def test_a_start_of_infinities_is_refused():
    packed = dict(pack_network(started()))
    packed["network/start"] = np.full_like(packed["network/start"], np.inf)
    with pytest.raises(FileFormatError, match="network/start holds a number that is not finite"):
        unpack_network(packed)
