"""Ambulances: what coverage pays, how they drive, and that the crowd is what it pays for."""

import pytest
import torch

import altmarl_torch as am


def test_it_is_a_right_simulator_and_known_by_its_name():
    am.check_simulator(am.games.make("ambulances", n=20), steps=30)


def test_coverage_is_daskins_formula():
    game = am.games.ambulances(n=10)
    s_l = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2, 2]).float().reshape(1, 10, 1)  # by district 5, 3, 2, 0, 0
    mu = game.crowd(s_l)
    assert mu.tolist() == [pytest.approx([0.5, 0.3, 0.2, 0, 0])]
    hot = torch.tensor(
        [[1.0 * 5 + 3]]
    )  # district 1 is hot, 3 is called; 10 vehicles in all, each busy half of the time
    expected = 0.5 * (1 - 0.5**3) + 0.125 * (1 - 0.5**5 + 1 - 0.5**2)
    assert float(game.under(mu).r_g(hot, torch.tensor([2]))) == pytest.approx(expected)


def test_they_drive_to_neighbours_at_half_the_chance_and_the_call_is_remembered():
    game, generator = am.games.ambulances(), torch.Generator().manual_seed(0)
    s_l, s_g = torch.zeros(20_000, 1), torch.full((20_000, 1), 7.0)
    for a_l, there in ((0, 0), (1, 1), (2, 4)):
        moved = game.move_l(s_l, s_g, torch.full((20_000,), a_l), generator)
        share = float((moved == there).float().mean())
        assert share == pytest.approx(1 if a_l == 0 else 0.5, abs=0.02)
    after = game.move_g(s_g, torch.full((20_000,), 4), generator).long()
    assert set((after % 5).flatten().tolist()) == {4}
    assert float((after // 5 == 1).float().mean()) == pytest.approx(0.95, abs=0.01)
