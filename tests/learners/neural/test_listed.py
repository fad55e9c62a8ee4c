"""Choices of a network of several sizes that are looked up: those that it makes, to the last one."""

import pytest
import torch
from oracles.neural import exact_mean, random_local, seeded

import altmarl_torch as am
from altmarl_torch.games import random_game
from altmarl_torch.learners.neural import rollout_evaluator as evaluation
from altmarl_torch.learners.neural.listed import look_up_small
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, tabulate
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.policies.base import CertainRule, Pair

GAME = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, gamma=0.8, laziness=0.7, seed=5)
SIZES = SampleSizes.of([1, 2, 4, 9])


def network_policy(samples=SIZES):
    """Greedy in a random network."""
    network = CountNetwork(GAME.num_sl, GAME.num_sg, GAME.num_ag, width=16, extra=1, generator=seeded(1)).eval()
    with torch.no_grad():
        network.head.weight.normal_(generator=seeded(2))
        network.skip.weight.normal_(generator=seeded(3))
    return NetworkPolicy(network, GAME.r_g.float(), GAME.gamma, 1.0, samples)


def rows():
    """Every (s_g, h) of every size, in no order."""
    counts = torch.cat([am.CountSimplex(k, GAME.num_sl).counts for k in SIZES.numbers]).float()
    counts = counts.repeat(GAME.num_sg, 1)
    s_g = torch.arange(GAME.num_sg).repeat_interleave(len(counts) // GAME.num_sg)
    order = torch.randperm(len(counts), generator=seeded(4))
    return s_g[order], counts[order]


@pytest.mark.parametrize(("most", "largest"), [(4, 1), (11, 2), (40, 4), (300, 9)])
def test_it_chooses_what_the_policy_chooses(most, largest):
    """All counts of up to 2 agents over three states are 10, of up to 4 are 35, of up to 9 are 220."""
    policy, (s_g, counts) = network_policy(), rows()
    rule = look_up_small(policy, SIZES, GAME.num_sl, most)
    assert rule.simplex.k == largest
    assert isinstance(rule, CertainRule)
    chosen = policy.choose(s_g, counts)
    assert 0 < int(chosen.sum()) < 2 * len(chosen)
    assert torch.equal(rule.choose(s_g, counts), chosen)
    assert torch.equal(rule(s_g, counts), policy(s_g, counts))


def test_the_network_is_not_asked_for_what_is_listed():
    policy, asked = network_policy(), []
    policy.network.register_forward_hook(lambda network, inputs, values: asked.append(len(values)))
    rule = look_up_small(policy, SIZES, GAME.num_sl, 40)
    assert sum(asked) == sum(am.CountSimplex(k, GAME.num_sl).size for k in (1, 2, 4))
    asked.clear()
    s_g, counts = rows()
    rule.choose(s_g, counts)
    assert sum(asked) == int((counts.sum(-1) == 9).sum())


def test_of_many_actions_the_last_are_listed_too():
    """More than a byte holds."""
    actions = 300
    network = CountNetwork(GAME.num_sl, 1, actions, width=16, extra=1, generator=seeded(1)).eval()
    policy = NetworkPolicy(network, torch.arange(float(actions)).unsqueeze(0), GAME.gamma, 1.0, SIZES)
    rule, counts = look_up_small(policy, SIZES, GAME.num_sl, 40), torch.tensor([[1.0, 0.0, 1.0]])
    assert rule.choose(torch.tensor([0]), counts).tolist() == [actions - 1]


def test_where_every_size_has_many_counts_none_is_listed():
    policy = network_policy()
    assert look_up_small(policy, SIZES, GAME.num_sl, 3) is policy


def test_an_evaluation_does_not_depend_on_what_is_listed(monkeypatch):
    pair, found = Pair(network_policy(), random_local(GAME)), []
    for fewer in (1, 10**4, 10**9):
        monkeypatch.setattr(evaluation, "FEWER", fewer)
        found.append(RolloutEvaluator(GAME, SIZES, "mean", seed=1).evaluate(pair, None))
    for other in found[1:]:
        assert torch.equal(other.returns, found[0].returns)


def test_the_value_of_several_sizes_is_the_mean_of_the_exact_ones():
    pair = Pair(network_policy(), random_local(GAME))
    found = RolloutEvaluator(GAME, SIZES, "mean", seed=1).evaluate(pair, None)
    tables = {k: tabulate(pair.pi_g, am.CountSimplex(k, GAME.num_sl)) for k in SIZES.numbers}
    values = [exact_mean(GAME, table, pair.pi_l, k) for k, table in tables.items()]
    assert abs(found.mean - sum(values) / len(values)) <= 4 * found.standard_error + found.error
