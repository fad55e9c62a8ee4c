"""Schedules and tolerances against hand-worked numbers."""

import math

import pytest

from altmarl_torch.games import warehouse
from altmarl_torch.theory import eta_algorithm_3, sweeps_algorithm_3


def test_the_notes_vacuous_eta():
    """2 * 14.5 / .05^2 * (sqrt(ln(50 sqrt 50) / 100) + 5 / sqrt 50) = 11,012."""
    assert eta_algorithm_3(warehouse(), 50) == pytest.approx(11012, abs=1)


def test_eta_is_vacuous_up_to_k_704_at_any_gamma_and_falls_with_k():
    """2 eta < V_max first holds at k = 705 where |S_l||A_g| is smallest and gamma = 0; the warehouse needs more."""
    for gamma in (0.0, 0.5, 0.95):
        game = warehouse(gamma=gamma)
        assert 2 * eta_algorithm_3(game, 704) >= game.v_max
    etas = [eta_algorithm_3(warehouse(), k) for k in (1, 2, 5, 50, 500)]
    assert etas == sorted(etas, reverse=True)


def test_the_number_of_sweeps():
    """T = 40 ln(14.5 sqrt(k) / .05) on the warehouse: 227 at k = 1, 306 at k = 50."""
    assert sweeps_algorithm_3(warehouse(), 1) == math.ceil(40 * math.log(290)) == 227
    assert sweeps_algorithm_3(warehouse(), 50) == math.ceil(40 * math.log(290 * math.sqrt(50))) == 306
