"""Networks on samples: order does not matter, shared work gives the same answers, features are what they say."""

import math

import pytest
import torch
from torch import nn

import altmarl_torch as am
from altmarl_torch.learners.simulated.experience import Experience
from altmarl_torch.learners.simulated.features import Features, Frame
from altmarl_torch.learners.simulated.g_learn import GlobalBatches
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork, check_set_network, values_at
from altmarl_torch.learners.simulated.policies import GreedyLocal, UniformLocal, local_action_rewards
from altmarl_torch.learners.simulated.units import Units
from altmarl_torch.simulators.play import take


def frames():
    return Frame(am.Box([-1, 0], [1, 2]), torch.zeros(2, 2)), Frame(am.Box(-2, 2), torch.zeros(2, 1))


def generator():
    return torch.Generator().manual_seed(0)


def test_features_are_the_scaled_state_and_its_waves():
    frame = Frame(am.Box(-2, 6), torch.zeros(2, 1))
    u = torch.tensor([-1.0, -0.3, 0.0, 0.8])
    found = Features(frame)(4 * u.unsqueeze(-1) + 2)
    waves = [wave(math.pi / 2 * 2**j * u) for j in range(4) for wave in (torch.sin, torch.cos)]
    assert torch.allclose(found, torch.stack([u, *waves], -1), atol=1e-5)


def test_finite_states_are_one_hot_and_unbounded_ones_are_scaled_to_where_they_were_met():
    assert Features(Frame(am.Discrete(3), torch.zeros(1)))(torch.tensor([[2.0]])).tolist() == [[0, 0, 1]]
    frame = Frame(am.Box(0, math.inf), 5 + torch.randn(1000, 1, generator=generator()))
    assert frame.low.item() == 0
    assert frame.high.item() == pytest.approx(8, abs=0.3)


@pytest.mark.parametrize("unit", [2.0**-40, 2.0**40])
@pytest.mark.parametrize("space", [(0, 1), (-math.inf, math.inf), (0, math.inf)])
def test_features_do_not_follow_the_unit_that_states_are_counted_in(space, unit):
    met = torch.rand(1000, 1, generator=generator())
    low, high = space
    frame, other = Frame(am.Box(low, high), met), Frame(am.Box(low * unit, high * unit), met * unit)
    assert torch.equal(other.low, frame.low * unit)
    assert torch.equal(Features(other)(met * unit), Features(frame)(met))


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e9])
def test_a_feature_that_never_changes_has_a_frame(value):
    frame = Frame(am.Box(-math.inf, math.inf), torch.full((10, 1), value))
    assert bool((frame.low < frame.high).all())
    assert bool(Features(frame)(torch.full((10, 1), value)).isfinite().all())


def test_about_a_share_of_states_is_scattered_over_the_box():
    states = torch.full((4000, 1), 5.0)
    found = Frame(am.Box(0, 1), torch.zeros(2, 1)).scattered(states, 0.25, generator())
    moved = found[found != 5]
    assert len(moved) == pytest.approx(1000, abs=120)
    assert moved.mean().item() == pytest.approx(0.5, abs=0.05)


def test_the_order_of_the_sample_does_not_matter_and_shared_work_changes_nothing():
    network = SetNetwork(*frames(), 4, generator())
    s_g, sample = torch.rand(6, 3, 2), torch.randn(6, 7, 1)
    order = torch.rand(6, 7).argsort(-1)
    assert torch.allclose(network(s_g[:, 0], sample), network(s_g[:, 0], take(sample, order)), atol=1e-6)

    class Plain(nn.Module):
        def forward(self, s_g, sample):
            return network(s_g, sample)

    found = values_at(network, s_g, sample)
    assert found.shape == (6, 3, 4)
    assert torch.allclose(found, values_at(Plain(), s_g, sample), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "message"),
    [(3, "must be a torch"), (nn.Linear(2, 4), "network raised TypeError"), (nn.Bilinear(2, 2, 4), "network raised")],
)
def test_a_network_that_does_not_fit_is_refused(network, message):
    with pytest.raises(am.ArgumentError, match=message):
        check_set_network(network, torch.zeros(2, 2), torch.zeros(2, 5, 1), 4)


def test_the_local_policy_is_its_network_at_the_nodes():
    game = am.games.continuous_warehouse()
    space = Frame(game.local_state, torch.zeros(2, 1))
    network = LocalValues(space, space, 3, generator())
    policy = GreedyLocal(game, network, Units(2.0), space, space)
    drawn = generator()
    s_l = -2 + 0.01 * torch.randint(401, (500, 1), generator=drawn)
    s_g = -2 + 0.025 * torch.randint(161, (500, 1), generator=drawn)
    values = local_action_rewards(game, s_l, s_g) + game.gamma * 2 * network(s_l, s_g)
    gaps = values.amax(-1) - values.gather(-1, policy.actions(s_l, s_g).unsqueeze(-1)).squeeze(-1)
    assert gaps.max() < 1e-4
    assert policy.actions(torch.tensor([-9.0]), torch.tensor([9.0])).shape == ()


def test_half_of_the_states_are_from_the_beginnings_of_episodes():
    game = am.games.continuous_warehouse(n=10)
    batches = GlobalBatches(game, 2, UniformLocal(game), 1.0, generator())
    states = torch.arange(1000.0).unsqueeze(-1)
    rows = torch.cat([batches._rows(Experience(states, states, states)) for _ in range(40)])
    assert (rows.min(), rows.max()) == (0, 999)
    assert float((rows < 200).float().mean()) == pytest.approx(0.5 + 0.5 * 0.2, abs=0.02)
    one = batches._rows(Experience(states[:1], states[:1], states[:1]))
    assert int(one.max()) == 0
