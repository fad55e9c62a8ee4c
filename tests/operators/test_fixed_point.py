"""The driver: its bounds hold at every sweep, and acceleration changes the way, not the end."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch.operators import fixed_point
from altmarl_torch.operators.fixed_point import History, anderson_mix, solve_fixed_point


def random_mdp(seed, states=30, actions=3, gamma=0.9):
    generator = torch.Generator().manual_seed(seed)
    P = torch.rand(states, actions, states, dtype=torch.float64, generator=generator) ** 8
    P, r = P / P.sum(-1, keepdim=True), torch.rand(states, actions, dtype=torch.float64, generator=generator)

    def step(values):
        return (r.to(values.dtype) + gamma * P.to(values.dtype) @ values).amax(-1)

    return step, torch.zeros(states, dtype=torch.float64)


def plain(step, values, sweeps=4000):
    for _ in range(sweeps):
        values = step(values)
    return values


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 0.9, 0.99]))
def test_the_error_is_a_bound_and_within_the_tolerance(seed, gamma):
    step, start = random_mdp(seed, gamma=gamma)
    exact = plain(step, start)
    for tolerance in (1.0, 1e-2, 1e-8):
        found = solve_fixed_point(step, start, gamma, tolerance)
        assert found.converged
        assert found.error <= tolerance
        assert float((found.values - exact).abs().max()) <= found.error + 1e-9


def test_macqueen_bounds_hold_after_every_sweep(monkeypatch):
    """Stopped anywhere, the values are within the reported error."""
    step, start = random_mdp(3, gamma=0.95)
    exact = plain(step, start)
    for sweeps in range(1, 15):
        found = solve_fixed_point(step, start, 0.95, 1e-12, max_sweeps=sweeps)
        assert float((found.values - exact).abs().max()) <= found.error * (1 + 1e-9)


def test_a_common_drift_costs_no_sweeps():
    """Rewards that are the same everywhere: the first sweep knows the answer, r/(1-gamma), at any gamma."""
    found = solve_fixed_point(lambda v: 1.0 + 0.999999 * v.mean().expand(4), torch.zeros(4).double(), 0.999999, 1e-6)
    assert found.sweeps == 1
    torch.testing.assert_close(found.values, torch.full((4,), 1e6, dtype=torch.float64))


def test_acceleration_saves_sweeps():
    """On a ring whose agents mostly stay, where plain sweeps mix slowly."""
    ring = 0.8 * torch.eye(30, dtype=torch.float64) + 0.2 * torch.eye(30, dtype=torch.float64).roll(1, 0)
    reward, start = torch.arange(30, dtype=torch.float64).sin(), torch.zeros(30, dtype=torch.float64)

    def step(values):
        return reward + 0.99 * ring @ values

    accelerated = solve_fixed_point(step, start, 0.99, 1e-8).sweeps
    values, sweeps, error = start, 0, 1.0
    while error > 1e-8:
        change = step(values) - values
        values, sweeps, error = values + change, sweeps + 1, 99 * float(change.max() - change.min()) / 2
    assert accelerated < 0.7 * sweeps


def test_float32_first_float64_last(monkeypatch):
    monkeypatch.setattr(fixed_point, "LARGE_TABLE", 1)
    step, start = random_mdp(6)
    types = []

    def watched(values):
        types.append(values.dtype)
        return step(values)

    found = solve_fixed_point(watched, start, 0.9, 1e-9)
    assert types[0] == torch.float32
    assert types[-1] == torch.float64
    assert found.values.dtype == torch.float64
    assert float((found.values - plain(step, start)).abs().max()) <= found.error + 1e-12


def test_a_tolerance_below_rounding_ends_and_says_so():
    step, start = random_mdp(7, gamma=0.99)
    found = solve_fixed_point(step, start, 0.99, 1e-300)
    assert not found.converged
    assert found.sweeps < 500
    assert found.error < 1e-9


@pytest.mark.parametrize("tolerance", [0.0, -1.0, float("nan")])
def test_a_tolerance_must_be_positive(tolerance):
    with pytest.raises(am.ArgumentError, match="positive"):
        solve_fixed_point(lambda v: v, torch.zeros(2), 0.5, tolerance)


@pytest.mark.parametrize("scale", [1.0, 1e200, 1e-200])
def test_mixing_remembers_the_last_few_sweeps(scale):
    """Against lists that are kept whole; the memory is widened once, in the middle of going around."""
    generator, history, swept = torch.Generator().manual_seed(0), History(), []
    draw = lambda: scale * torch.rand(3, 20, dtype=torch.float64, generator=generator)  # noqa: E731
    for number in range(30):
        values, updated = draw(), draw()
        swept.append((updated, (updated - values).flatten()))
        memory = fixed_point.MEMORY if number <= 12 else 2 * fixed_point.MEMORY
        swept = swept[-memory:]
        residuals = torch.stack([residual - residual.mean() for _, residual in swept]) / scale
        weights = anderson_mix((residuals @ residuals.T).numpy())
        expected = sum(weight * candidate for weight, (candidate, _) in zip(weights, swept, strict=True))
        torch.testing.assert_close(history.mix(values, updated), expected, rtol=1e-6, atol=1e-6 * scale)
        if number == 12:
            history.widen()
