"""Two-grid corrections: fewer updates to the same fixed point, and bounds that know nothing of them."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.operators import fixed_point, two_grid
from altmarl_torch.operators.bellman import next_sg_law, policy_backup, pull_values, push_law
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value, value_after_update
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.operators.two_grid import TwoGrid
from altmarl_torch.policies.tabular import uniform_global, uniform_local


def surrogate_of(game, k):
    return Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(k, game.num_sl)))


def random_laws(*shape):
    table = torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return table / table.sum(-1, keepdim=True)


def test_values_are_pulled_by_the_transpose_of_what_pushes_laws():
    surrogate = surrogate_of(random_game(3, 3, seed=2), 6)
    shape = surrogate.local_reward.shape
    to_sg = next_sg_law(surrogate, random_laws(*shape, 3))
    law, values = random_laws(*shape), torch.rand(shape, dtype=torch.float64)
    pulled, pushed = pull_values(surrogate, to_sg, values), push_law(surrogate, to_sg, law)
    assert float((law * pulled).sum()) == pytest.approx(float((pushed * values).sum()))


@pytest.mark.parametrize(
    ("game", "k", "fewer"), [(warehouse(), 9, 1), (random_game(3, 3, seed=4), 30, 5), (random_game(2, 2), 101, 1)]
)
def test_corrected_updates_end_in_the_same_place(monkeypatch, game, k, fewer):
    """After fewer of them, where corrections go on to the end."""
    monkeypatch.setattr(fixed_point, "WORTH", float("inf"))
    surrogate = surrogate_of(game, k)
    pi_g = uniform_global(game, surrogate.simplex)
    step, tolerance = (lambda V: policy_backup(surrogate, pi_g, V)), 1e-7
    correct = TwoGrid(surrogate, uniform_global(game, surrogate.half.simplex))
    plain = solve_fixed_point(step, surrogate.start, game.gamma, tolerance)
    found = solve_fixed_point(step, surrogate.start, game.gamma, tolerance, correct=correct)
    assert found.sweeps <= plain.sweeps - fewer
    assert found.converged
    assert float((found.values - plain.values).abs().max()) <= found.error + plain.error


def test_a_correction_that_leads_astray_costs_updates_and_no_truth():
    surrogate = surrogate_of(warehouse(), 5)
    pi_g = uniform_global(surrogate.game, surrogate.simplex)
    step = lambda V: policy_backup(surrogate, pi_g, V)  # noqa: E731
    generator = torch.Generator().manual_seed(0)

    def astray(updated, change):
        return updated + 10 * change.abs().max() * torch.rand(updated.shape, generator=generator, dtype=torch.float64)

    plain = solve_fixed_point(step, surrogate.start, 0.95, 1e-6)
    found = solve_fixed_point(step, surrogate.start, 0.95, 1e-6, correct=astray)
    assert found.converged
    assert found.sweeps > plain.sweeps
    assert float((found.values - plain.values).abs().max()) <= found.error + plain.error


def test_corrections_that_are_not_worth_their_time_are_given_up():
    """One that changes nothing is asked for the first few updates; the rest is as without it."""
    surrogate, asked = surrogate_of(random_game(3, 3, seed=1, laziness=0.97), 6), []
    pi_g = random_laws(*surrogate.local_reward.shape, surrogate.game.num_ag) ** 4
    step = lambda V: policy_backup(surrogate, pi_g / pi_g.sum(-1, keepdim=True), V)  # noqa: E731
    plain = solve_fixed_point(step, surrogate.start, 0.9, 1e-9)
    found = solve_fixed_point(step, surrogate.start, 0.9, 1e-9, correct=lambda U, change: asked.append(1) or U)
    assert len(asked) == fixed_point.WORTH_SWEEPS < plain.sweeps / 4
    assert torch.equal(found.values, plain.values)


def test_nothing_is_corrected_where_nothing_is_left():
    surrogate = surrogate_of(random_game(2, 3, seed=1), 8)
    correct = TwoGrid(surrogate, uniform_global(surrogate.game, surrogate.half.simplex))
    values = torch.rand_like(surrogate.start)
    assert torch.equal(correct(values, torch.zeros_like(values)), values)


def test_coarse_equations_are_solved_by_factors_or_by_sweeps(monkeypatch):
    surrogate = surrogate_of(warehouse(num_zones=3), 8)
    correct = TwoGrid(surrogate, random_laws(3, surrogate.half.simplex.size, surrogate.game.num_ag))
    updated, change = torch.rand_like(surrogate.start), torch.rand_like(surrogate.start)
    by_factors = correct(updated, change)
    monkeypatch.setattr(two_grid, "DIRECT", 0)
    monkeypatch.setattr(two_grid, "RELATIVE_ERROR", 1e-6)
    torch.testing.assert_close(by_factors, correct(updated, change), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_one_update_of_anything_bounds_the_joint_value(seed):
    """MacQueen: of zero, of noise, and of the value itself; the error falls to zero with the residual."""
    game = random_game(3, 3, seed=seed)
    surrogate = surrogate_of(game, 7)
    pi_g = random_laws(3, surrogate.simplex.size, game.num_ag)
    exact = joint_value(surrogate, pi_g)
    for start in (surrogate.start, torch.rand_like(surrogate.start), exact.values):
        found = value_after_update(surrogate, pi_g, start, policy_backup(surrogate, pi_g, start), 1)
        assert float((found.values - exact.values).abs().max()) <= found.error + exact.error
        assert abs(found.mean - exact.mean) <= found.error + exact.error
    assert found.error <= 1e-9 * game.v_max
