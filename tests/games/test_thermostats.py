"""Rooms with temperatures: their law is the exact solution, the grid's that of the tables, rewards are the page's."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.games.named.smart_grid import AirConditioner, stress_laws


def generator():
    return torch.Generator().manual_seed(0)


def test_it_is_a_right_simulator_and_has_a_name():
    am.check_simulator(am.games.thermostats(n=20), steps=50)
    assert am.games.make("thermostats", n=7).n == 7


def test_rooms_follow_the_exact_solution_and_a_curtailment_switches_them_off():
    game, loads, many = am.games.thermostats(), AirConditioner(), 20_000
    s_l, ones = torch.full((many, 1), 23.0), torch.ones(many, dtype=torch.int64)
    for s_g, a_l, duty in ((0.0, 1, 1.0), (0.0, 0, 0.0), (3.0, 1, 0.0), (4.0, 1, 1.0)):
        moved = game.move_l(s_l, torch.full((many, 1), s_g), a_l * ones, generator())
        expected = float(loads.expected(torch.tensor(23.0), 1 / 12, duty))
        assert float(moved.mean()) == pytest.approx(expected, abs=4 * loads.deviation(1 / 12) / many**0.5)
        assert float(moved.std()) == pytest.approx(loads.deviation(1 / 12), rel=0.03)


def test_stress_moves_as_in_the_tables():
    game, many = am.games.thermostats(), 40_000
    law = stress_laws(3, 0.5, 0.25, 0.25, 1 / 12)
    for s_g in (0, 3, 5):
        for a_g in (0, 1):
            moved = game.move_g(torch.full((many, 1), float(s_g)), torch.full((many,), a_g), generator())
            found = torch.bincount(moved.long().flatten(), minlength=6) / many
            assert (found - law[s_g, a_g]).abs().max() < 5 * 0.5 / many**0.5


def test_rewards_are_money_per_load_and_step():
    game, hour = am.games.thermostats(), 1 / 12
    r_g = game.r_g(torch.tensor([[2.0], [2.0], [5.0], [5.0]]), torch.tensor([0, 1, 1, 0]))
    assert torch.allclose(r_g, torch.tensor([-2 * hour, -2 * hour - 0.5, -0.5 * hour, -0.5 * hour]))
    r_l = game.r_l(torch.tensor([[23.5], [22.5], [22.5]]), torch.tensor([[0.0], [4.0], [5.0]]), torch.tensor([1, 1, 1]))
    assert torch.allclose(r_l, torch.tensor([-hour - 0.15 * 5.6 * hour, -0.6 * 5.6 * hour, 0.0]), atol=1e-5)


def test_a_thermostat_keeps_rooms_comfortable_and_earns_more_than_chance():
    game = am.games.thermostats(n=50)

    def never(s_g, sample):
        return torch.zeros(len(s_g), dtype=torch.int64)

    rule = am.simulators.RulePair(5, never, lambda s_l, s_g: (s_l.squeeze(-1) > 22.5).long())
    ours, chance = (am.rollout(game, pair, episodes=64) for pair in (rule, am.simulators.uniform_pair(game, 5)))
    assert ours.mean > chance.mean
    with pytest.raises(am.ArgumentError, match="minutes must be a number in"):
        am.games.thermostats(minutes=0)
