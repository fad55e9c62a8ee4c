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
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import StartedNetwork, columns, few_agents, own_heads
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


@pytest.mark.parametrize("layer", ["head", "skip"])
def test_a_network_that_answers_zero_is_not_asked(layer):
    """Until a last layer answers otherwise, or is to learn to."""
    network, asked = started(trained=False), []
    network.added.register_forward_hook(lambda *call: asked.append(call))
    with torch.no_grad():
        network(torch.eye(SL))
        assert asked == []
        getattr(network.added, layer).weight[-1, -1] = 1e-30
        network(torch.eye(SL))
    network(torch.eye(SL))
    assert len(asked) == 2


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


# ---- several sizes

ANCHORS = SampleSizes.of([5, 8, 20])


def started_of_several(degree=4):
    """One whose network adds nothing."""
    added = CountNetwork(SL, SG, AG, width=8, extra=1, generator=seeded(1))
    start = torch.randn(SG, AG, columns(degree, SL, ANCHORS), dtype=torch.float64, generator=seeded(3))
    return StartedNetwork(added, start, degree, ANCHORS)


def played(network, k):
    """Its values at every count vector of k agents, read as one of 1..20 agents, `[N, sg ag]`."""
    counts = am.CountSimplex(k, SL).counts
    with torch.no_grad():
        return counts, network(SampleSizes.of(range(1, 21)).inputs(counts.float())).flatten(1).double()


def lifted_by(network, number, counts, k):
    """Those of one anchor's lifted function at counts of k agents."""
    few, each = few_agents(4, SL).size, Basis(4, SL).size
    table = network.start.flatten(0, 1)[:, few:].split(each, -1)[number]
    return Basis(4, SL).features(counts, k) @ table.double().T


@pytest.mark.parametrize(("k", "number"), [(5, 0), (8, 1), (20, 2)])
def test_at_an_anchor_it_is_that_ones_lifted_function(k, number):
    network = started_of_several()
    counts, values = played(network, k)
    torch.testing.assert_close(values, lifted_by(network, number, counts, k), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("k", "low", "high", "weight"), [(6, 0, 1, (1 / 5 - 1 / 6) / (1 / 5 - 1 / 8)), (10, 1, 2, 1 / 3)]
)
def test_between_two_anchors_it_mixes_theirs(k, low, high, weight):
    network = started_of_several()
    counts, values = played(network, k)
    first, last = (lifted_by(network, number, counts, k) for number in (low, high))
    torch.testing.assert_close(values, (1 - weight) * first + weight * last, rtol=0, atol=1e-5)


def test_below_the_first_anchor_it_is_the_first_ones():
    network = started_of_several()
    counts, values = played(network, 4)
    torch.testing.assert_close(values, lifted_by(network, 0, counts, 4), rtol=0, atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_of_fewer_than_the_degree_it_is_a_table(k):
    """Every count vector has an entry of its own."""
    network = started_of_several()
    counts, values = played(network, k)
    nowhere = torch.full((len(counts), 1), 3 - k)
    places = few_agents(4, SL).rank(torch.cat([counts, nowhere], -1))
    torch.testing.assert_close(values, network.start.flatten(0, 1)[:, places].T.double(), rtol=0, atol=1e-6)
    assert len(places.unique()) == len(counts)


def test_a_batch_of_several_sizes_is_read_row_by_row():
    network, sizes = started_of_several(), SampleSizes.of(range(1, 21))
    counts = torch.cat([am.CountSimplex(k, SL).counts for k in (20, 3, 6, 1, 10, 4)])
    order = torch.randperm(len(counts), generator=seeded(6))
    with torch.no_grad():
        together = network(sizes.inputs(counts[order].float()))
        for row, values in zip(order, together, strict=True):
            alone = network(sizes.inputs(counts[row : row + 1].float()))[0]
            torch.testing.assert_close(values, alone, rtol=0, atol=1e-6)


def test_a_file_gives_back_one_for_several_sizes():
    network = started_of_several()
    back = unpack_network(pack_network(network))
    assert back.spec == network.spec
    assert back.anchors == ANCHORS
    assert torch.equal(played(back, 10)[1], played(network, 10)[1])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": [5, 8]}, r"network/start has shape \[2, 4, 65\]; expected \[2, 4, 50\]"),
        ({"k": [8, 5, 20]}, "k must list whole numbers, the smallest first"),
        ({"k": [5, 8, 2**25]}, "k must be an integer in"),
        ({"k": [3, 8, 20]}, "k of several sizes must be at least degree = 4 each"),
        ({"k": 20}, "k must list whole numbers"),
        ({"degree": 21}, "degree must be an integer in 1..20"),
    ],
)
def test_a_malformed_one_for_several_sizes_is_refused_by_name(changes, said):
    packed = dict(pack_network(started_of_several()))
    packed["network/spec"] = json.dumps(json.loads(packed["network/spec"]) | changes)
    with pytest.raises(FileFormatError, match=said):
        unpack_network(packed)


# ---- files


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


@pytest.mark.parametrize("make", [lambda: CountNetwork(SL, 20, 10, generator=seeded(1)), lambda: wide()])
def test_own_heads_are_those_among_all_and_have_their_gradients(make):
    """Of 200 heads; a class that is derived from such a network is asked for everything."""
    network, s_g = make(), torch.randint(20, (60,), generator=seeded(6))
    for weights in network.parameters():
        weights.data = torch.randn(weights.shape, generator=seeded(9))
    laws = torch.rand(60, SL, generator=seeded(7))
    frequencies = laws / laws.sum(-1, keepdim=True)
    found, wanted = own_heads(network, frequencies, s_g), network(frequencies)[torch.arange(60), s_g]
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)
    own, every = (torch.autograd.grad(one.mean(), list(network.parameters())) for one in (found, wanted))
    for one, other in zip(own, every, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_derived_network_is_asked_for_everything():
    class Doubled(CountNetwork):
        def forward(self, frequencies):
            return 2 * super().forward(frequencies)

    network = Doubled(SL, 20, 10, generator=seeded(1))
    network.head.weight.data.normal_(generator=seeded(2))
    frequencies, s_g = torch.eye(SL), torch.tensor([0, 7, 19])
    wanted = network(frequencies)[torch.arange(3), s_g]
    torch.testing.assert_close(own_heads(network, frequencies, s_g), wanted, rtol=0, atol=0)


def wide():
    """Lifted functions under a network with 200 heads."""
    added = CountNetwork(SL, 20, 10, width=8, generator=seeded(1))
    start = torch.randn(20, 10, Basis(4, SL).size, dtype=torch.float64, generator=seeded(3))
    return StartedNetwork(added, start, 4, K)
