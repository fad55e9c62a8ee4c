"""Ambulances: what coverage pays, how they drive, and that a dispatcher who sees more of them covers better."""

import pytest
import torch

import altmarl_torch as am


def test_coverage_is_daskins_formula():
    game = am.games.ambulances()
    mu = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)  # 10 vehicles in all, each busy half of the time
    earned = game.r_g_mu(torch.tensor(1 * 3 + 2), torch.tensor(0), mu)  # district 1 is hot
    assert float(earned) == pytest.approx(0.5 * (1 - 0.5**3) + 0.25 * (1 - 0.5**5 + 1 - 0.5**2))


def test_they_drive_to_neighbours_at_half_the_chance_and_the_call_is_remembered():
    game = am.games.ambulances(districts=5)
    assert game.P_l[0, 7].tolist() == [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0.5, 0, 0, 0, 0.5]]
    law = game.P_g[7, 4].reshape(5, 5)  # hot 1 and called 2; 4 is called
    assert law[:, 4].tolist() == pytest.approx([0.0125, 0.95, 0.0125, 0.0125, 0.0125])
    assert float(law[:, :4].sum()) == 0


def test_looking_at_more_of_them_pays_and_the_simulator_is_the_same_game():
    game = am.games.ambulances()
    earned = [am.rollout(game, am.solve(game, k), episodes=300, horizon=60).mean for k in (1, 3)]
    assert earned[1] > 1.05 * earned[0]
    am.check_simulator(am.games.simulated_ambulances(n=20), steps=20)
    with pytest.raises(am.ArgumentError, match="districts"):
        am.games.ambulances(districts=2)
