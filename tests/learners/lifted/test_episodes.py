"""What episodes say of a pair: many coefficients are read in float32, to what fits are worth."""

import pytest
import torch

from altmarl_torch.alternation.solving import solve
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.learners.lifted import episodes
from altmarl_torch.learners.lifted.episodes import Contender, play
from altmarl_torch.learners.lifted.fitting import fit_best_response
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate


def test_a_high_degree_is_worth_a_number():
    """J! is no float32, and wide bases are read in it."""
    game = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, n=100, seed=1)
    low, high = (solve(game, 60, solver="lifted", degree=degree) for degree in (16, 44))
    assert Basis(44, 3).size >= episodes.WIDE
    assert high.value == pytest.approx(low.value, rel=1e-4)


def test_a_wide_basis_is_read_in_float32_to_the_same_values(monkeypatch):
    game, k, basis = warehouse(), 20.0, Basis(4, 5)
    solution = solve(game, 20, solver="lifted", degree=4)
    surrogate = LiftedSurrogate.build(game, solution.pi_l, k, basis)
    found = fit_best_response(surrogate, Points.draw(basis, k, torch.Generator().manual_seed(0)))
    pair = Contender(surrogate, solution.policy, found)
    (exact,) = play([pair], seed=1)
    monkeypatch.setattr(episodes, "WIDE", 1)
    (wide,) = play([pair], seed=1)
    assert exact.corrections.dtype == wide.corrections.dtype == torch.float64
    torch.testing.assert_close(wide.corrections, exact.corrections, rtol=0, atol=1e-3)
    assert wide.residual == pytest.approx(exact.residual, rel=1e-3)
    torch.testing.assert_close(wide.moments, exact.moments, rtol=1e-4, atol=1e-5)
