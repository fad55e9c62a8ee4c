"""Global policies on batches of counts: greedy in a network, uniform, and their tables."""

import numpy as np
import pytest
import torch
from oracles.networks import AG, SG, SL, generator, trained
from torch import nn

import altmarl_torch as am
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.learners.neural import policies
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, UniformPolicy, tabulate
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import StartedNetwork, columns
from altmarl_torch.policies.base import Sight
from altmarl_torch.policies.rules import RuleDispatcher

K, GAMMA, SCALE = 6, 0.9, 2.5
SIMPLEX = am.CountSimplex(K, SL)
R_G = torch.rand(SG, AG, generator=generator(9))


@pytest.fixture(scope="module")
def greedy():
    return NetworkPolicy(trained(seed=1), R_G, GAMMA, SCALE, K)


def expected_actions(policy):
    """argmax_a r_g(s_g, a) + gamma C(s_g, h, a) at every (s_g, h), one by one in numpy: `[sg, N]`."""
    C = policy.network(SIMPLEX.counts.float() / K).detach().double().numpy() * policy.scale
    return np.array([[int(np.argmax(R_G[g].numpy() + GAMMA * heads[g])) for heads in C] for g in range(SG)])


def test_a_network_policy_is_greedy_in_reward_and_continuation(greedy):
    expected = expected_actions(greedy)
    assert len(np.unique(expected)) == AG
    assert greedy.actions(SIMPLEX.counts.float()).T.tolist() == expected.tolist()
    assert greedy.actions(SIMPLEX.counts).T.tolist() == expected.tolist()  # counts of the control loop are integers


@pytest.mark.parametrize("sizes", [12, (1, 2, 5, 12)])
@pytest.mark.parametrize("kind", ["count", "started"])
def test_of_many_heads_only_those_of_its_own_s_g_are_worked_out(sizes, kind):
    """And they say what they say among all; 15 x 14 of them here, rows of one s_g and of none."""
    num_sg, num_ag, samples = 15, 14, SampleSizes.of(sizes)
    network = CountNetwork(SL, num_sg, num_ag, width=8, extra=int(samples.several), generator=generator(1))
    with torch.no_grad():
        for weight in (network.head.weight, network.head.bias, network.skip.weight):
            weight.normal_(generator=generator(2))
    if kind == "started":
        start = torch.randn(num_sg, num_ag, columns(3, SL, SampleSizes.of((5, 12))), generator=generator(3))
        start = start if samples.several else start[..., : Basis(3, SL).size]
        network = StartedNetwork(network, start, 3, SampleSizes((5, 12), True) if samples.several else 12)
    policy = NetworkPolicy(network, torch.zeros(num_sg, num_ag), GAMMA, SCALE, samples.plain)
    counts = torch.cat([am.CountSimplex(k, SL).counts for k in samples.numbers]).float()
    s_g = torch.randint(num_sg - 1, (len(counts),), generator=generator(4))
    every = policy.actions(counts)
    assert len(every.unique()) > 10
    assert torch.equal(policy.actions(counts, s_g), every[torch.arange(len(s_g)), s_g])
    assert policy.actions(counts[:0], s_g[:0]).shape == (0,)
    with torch.no_grad():
        inputs = samples.inputs(counts)
        among_all = network(inputs)[torch.arange(len(s_g)), s_g]
        torch.testing.assert_close(network.heads(inputs, s_g), among_all, rtol=1e-5, atol=1e-5)


def test_reward_discount_and_scale_each_count():
    """C prefers action 0 by one unit of the network, the reward action 1 by 1."""
    network = nn.Linear(SL, SG * AG)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([1.0, 0.0] * SG))
    network = nn.Sequential(network, nn.Unflatten(-1, (SG, AG)))
    r_g = torch.tensor([[0.0, 1.0]] * SG)
    for gamma, scale, action in ((0.9, 1.0, 1), (0.9, 1.2, 0), (0.5, 1.2, 1), (0.0, 100.0, 1)):
        policy = NetworkPolicy(network, r_g, gamma, scale, K)
        assert (policy.actions(SIMPLEX.counts) == action).all()


def test_ties_go_to_the_smallest_action():
    network = trained()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    assert not NetworkPolicy(network, torch.ones(SG, AG), GAMMA, SCALE, K).actions(SIMPLEX.counts).any()


@pytest.mark.parametrize("uniform", [False, True])
def test_a_call_and_the_laws_agree(greedy, uniform):
    policy = UniformPolicy(SG, AG) if uniform else greedy
    laws = policy.laws(SIMPLEX.counts.float())
    assert laws.shape == (SIMPLEX.size, SG, AG)
    assert laws.dtype == torch.float32
    torch.testing.assert_close(laws.sum(-1), torch.ones(SIMPLEX.size, SG))
    s_g, h = (
        torch.randint(SG, (4, 5), generator=generator(0)),
        torch.randint(SIMPLEX.size, (4, 5), generator=generator(1)),
    )
    law = policy(s_g, SIMPLEX.counts[h])
    assert law.shape == (4, 5, AG)
    assert law.dtype == torch.float64
    assert torch.equal(law, laws[h, s_g].double())


@pytest.mark.parametrize("uniform", [False, True])
def test_an_average_is_that_of_the_laws(greedy, uniform):
    policy, counts = UniformPolicy(SG, AG) if uniform else greedy, SIMPLEX.counts.float()
    Q = torch.randn(SIMPLEX.size, SG, AG, generator=generator(3))
    torch.testing.assert_close(policy.average(counts, Q), (policy.laws(counts) * Q).sum(-1))


def test_actions_are_read_in_one_state_each_or_in_all(greedy):
    s_g = torch.arange(SIMPLEX.size) % SG
    assert torch.equal(greedy.actions(SIMPLEX.counts, s_g), greedy.actions(SIMPLEX.counts)[torch.arange(len(s_g)), s_g])


def test_no_gradient_is_recorded(greedy):
    for law in (greedy.laws(SIMPLEX.counts), greedy(torch.zeros(SIMPLEX.size, dtype=torch.int64), SIMPLEX.counts)):
        assert not law.requires_grad


@pytest.mark.parametrize("chunk", [1, 7, 10**6])
@pytest.mark.parametrize("uniform", [False, True])
def test_the_table_holds_the_law_at_every_count(greedy, uniform, chunk, monkeypatch):
    monkeypatch.setattr(policies, "CHUNK", chunk)
    policy = UniformPolicy(SG, AG) if uniform else greedy
    table = tabulate(policy, SIMPLEX)
    assert table.shape == (SG, SIMPLEX.size, AG)
    assert table.dtype == (torch.float64 if uniform else torch.uint8)
    assert torch.equal(table.double(), policy.laws(SIMPLEX.counts.float()).movedim(1, 0).double())
    s_g = torch.arange(SG).unsqueeze(-1).expand(-1, SIMPLEX.size)
    assert torch.equal(table.double(), policy(s_g, SIMPLEX.counts.expand(SG, -1, -1)))


def test_the_uniform_policy_plays_every_action_alike():
    assert (UniformPolicy(2, 4).laws(torch.zeros(3, 5)) == 0.25).all()
    assert (UniformPolicy(2, 4)(torch.zeros(3, 6, dtype=torch.int64), torch.zeros(3, 6, 5)) == 0.25).all()


def test_a_table_too_large_to_list_is_refused(greedy):
    with pytest.raises(am.SizeError, match="count vectors"):
        tabulate(greedy, am.CountSimplex(100, 20))


def test_a_policy_steers_a_control_loop(greedy):
    dispatcher = RuleDispatcher(greedy, Sight(K, SG, SL, torch.device("cpu")), seed=0)
    dispatcher.reset(SIMPLEX.size)
    for g, actions in enumerate(expected_actions(greedy)):
        assert dispatcher.act(torch.full((SIMPLEX.size,), g), SIMPLEX.counts).tolist() == actions.tolist()
