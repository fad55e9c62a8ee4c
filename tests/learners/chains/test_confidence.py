"""UCFH's confidence sets against a grid of their inequalities, and Algorithm 6 against linear programmes."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from altmarl_torch.learners.chains.confidence import ConfidenceSets, confidence_interval
from altmarl_torch.learners.chains.episodic import Block

STEPS = 20_000
GRID = np.linspace(0, 1, STEPS + 1)


def possible(candidate, p, n, log_term, slack=0.0):
    """ConfidenceSet(p, n) of `docs/oracle-values.md`: which candidates p' are in it."""
    if n <= 1:
        return np.full(np.shape(candidate), True)
    spread = abs(np.sqrt(candidate * (1 - candidate)) - math.sqrt(p * (1 - p)))
    hoeffding = math.sqrt(log_term / (2 * n))
    bernstein = math.sqrt(2 * p * (1 - p) * log_term / n) + 7 * log_term / (3 * (n - 1))
    in_spread = spread <= math.sqrt(2 * log_term / (n - 1)) + slack
    return in_spread & (abs(p - candidate) <= min(hoeffding, bernstein) + slack)


def interval(p, n, log_term):
    ends = confidence_interval(torch.tensor(p, dtype=torch.float64), torch.tensor(n, dtype=torch.float64), log_term)
    return tuple(float(end) for end in ends)


def test_a_worked_interval():
    """p = 1/2, n = 201, L = 2: the mean allows 1/2 +- sqrt(2/402) = .0705; the spread nothing below 1/2 - sqrt(.02)."""
    width = math.sqrt(1 / 201)
    assert interval(0.5, 201, 2.0) == pytest.approx((0.5 - width, 0.5 + width), abs=1e-15)


def test_a_successor_that_never_came_is_cut_by_the_spread():
    """p = 0, n = 101, L = .5: q(1-q) <= 1/100, hence q <= (1 - sqrt(.96))/2 = .0101, which is below 7L/300 = .0117."""
    end = (1 - math.sqrt(0.96)) / 2
    assert interval(0.0, 101, 0.5) == pytest.approx((0, end), abs=1e-15)
    assert interval(1.0, 101, 0.5) == pytest.approx((1 - end, 1), abs=1e-15)


@pytest.mark.parametrize("n", [0, 1])
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_nothing_is_known_after_one_visit(p, n):
    assert interval(p, n, 0.01) == (0.0, 1.0)


@pytest.mark.parametrize("log_term", [0.05, 1.0, 11.0, 30.0])
@pytest.mark.parametrize("n", [2, 3, 7, 30, 300, 3_000, 10**5, 10**8])
def test_the_interval_is_the_hull_of_a_fine_grid_of_the_inequalities(n, log_term):
    shares = {round(share * n) / n for share in (0, 1e-3, 0.01, 0.1, 0.25, 0.4, 0.5, 0.6, 0.75, 0.99, 1)}
    for p in sorted(shares | {1 / n, 1 - 1 / n}):
        lower, upper = interval(p, n, log_term)
        assert 0 <= lower <= p <= upper <= 1
        near = np.linspace(max(0, 2 * lower - p), min(1, 2 * upper - p), STEPS + 1)  # finer where the set is short
        coarse = GRID[possible(GRID, p, n, log_term)]
        assert ((lower - 1e-12 <= coarse) & (coarse <= upper + 1e-12)).all()
        places = np.flatnonzero(possible(near, p, n, log_term))
        inside, step = near[places], near[1] - near[0] + 1e-12
        assert lower - 1e-12 <= inside[0] <= lower + step
        assert upper - step <= inside[-1] <= upper + 1e-12
        # what the module calls a hull is the set itself: with these constants it never falls in two
        assert len(places) == places[-1] - places[0] + 1


@settings(max_examples=200, deadline=None)
@given(st.integers(2, 10**6), st.floats(0, 1), st.floats(1e-3, 40))
def test_the_ends_satisfy_the_inequalities_and_nothing_beyond_them_does(n, share, log_term):
    p = round(share * n) / n
    lower, upper = interval(p, n, log_term)
    assert lower <= p <= upper
    for end, beyond in ((lower, -1), (upper, 1)):
        assert possible(end, p, n, log_term, slack=1e-9)
        outside = end + beyond * 1e-6
        assert not 0 <= outside <= 1 or not possible(outside, p, n, log_term, slack=-1e-12)


def test_intervals_shrink_with_visits_and_with_a_smaller_log_term():
    visits = torch.tensor([2.0, 20.0, 200.0, 2e4, 2e6], dtype=torch.float64)
    for p in (0.0, 0.05, 0.5, 1.0):
        lower, upper = confidence_interval(torch.full_like(visits, p), visits, 3.0)
        assert (lower.diff() >= 0).all()
        assert (upper.diff() <= 0).all()
        assert float((upper - lower)[-1]) < 0.005
        less = confidence_interval(torch.full_like(visits, p), visits, 0.3)
        assert (less[0] >= lower).all()
        assert (less[1] <= upper).all()


def block(rows, width, states, seed):
    """Rows with `width` different successors each, of `states`."""
    orders = torch.stack(
        [torch.randperm(states, generator=torch.Generator().manual_seed(seed + i)) for i in range(rows)]
    )
    return Block(torch.arange(rows), torch.arange(rows * width).reshape(rows, width), orders[:, :width])


def programme(lower, upper, values):
    """max p V over laws p between the ends."""
    found = linprog(-values, A_eq=np.ones((1, len(values))), b_eq=[1], bounds=list(zip(lower, upper, strict=True)))
    assert found.status == 0
    return -found.fun


def check_against_programmes(part, lower, upper, values):
    sets = ConfidenceSets(lower, upper)
    best, worst = sets.best(part, values), sets.worst(part, values)
    for row, (edges, successors) in enumerate(zip(part.edges, part.successors, strict=True)):
        low, high, worth = (table.numpy() for table in (lower[edges], upper[edges], values[successors]))
        assert float(best[row]) == pytest.approx(programme(low, high, worth), abs=1e-9)
        assert float(worst[row]) == pytest.approx(-programme(low, high, -worth), abs=1e-9)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("width", [1, 2, 3, 7])
def test_best_and_worst_expectations_are_those_of_linear_programmes(width, ties):
    generator = torch.Generator().manual_seed(width)
    for visits in (0, 2, 40, 10**4):
        part = block(12, width, 9, visits)
        weights = torch.rand(12, width, generator=generator, dtype=torch.float64) ** 2
        share = torch.round(weights / weights.sum(-1, keepdim=True) * max(visits, 1)) / max(visits, 1)
        share[:, 0] += 1 - share.sum(-1)
        share = share.clamp(0, 1)
        share = (share / share.sum(-1, keepdim=True)).flatten()
        lower, upper = confidence_interval(share, torch.full_like(share, visits), 2.0)
        values = torch.randn(9, generator=generator, dtype=torch.float64)
        check_against_programmes(part, lower, upper, values.round() if ties else values)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_also_for_sets_of_any_shape(seed, width):
    """Ends drawn at random around a law, a third of them on it: no room at all in some successors, or in all."""
    generator = torch.Generator().manual_seed(seed)
    share, down, up, free = torch.rand(4, 4, width, generator=generator, dtype=torch.float64)
    share = share / share.sum(-1, keepdim=True)
    down, up = down * (free > 0.33), up * (free < 0.67)
    lower, upper = (share * (1 - down)).flatten(), (share + (1 - share) * up).flatten()
    values = torch.randint(-2, 3, (6,), generator=generator).double()
    check_against_programmes(block(4, width, 6, seed), lower, upper, values)


def test_a_law_that_is_known_gives_its_own_expectation():
    part, law = block(1, 3, 3, 0), torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    sets, values = ConfidenceSets(law, law), torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)
    expected = float(law @ values[part.successors[0]])
    assert float(sets.best(part, values)) == pytest.approx(expected)
    assert float(sets.worst(part, values)) == pytest.approx(expected)


def test_where_nothing_is_known_the_best_and_the_worst_successor_are_taken():
    part = Block(torch.arange(1), torch.arange(3)[None], torch.tensor([[0, 2, 3]]))
    sets = ConfidenceSets(torch.zeros(3).double(), torch.ones(3).double())
    values = torch.tensor([4.0, 99.0, -2.0, 7.0], dtype=torch.float64)  # state 1 is no successor
    assert sets.best(part, values).tolist() == [7.0]
    assert sets.worst(part, values).tolist() == [-2.0]


def test_a_worked_expectation():
    """Ends .1 .. .5 each, values 3, 2, 1: the .7 that are free fill the best by .4 and the next by .3."""
    part = Block(torch.arange(1), torch.arange(3)[None], torch.tensor([[0, 1, 2]]))
    sets = ConfidenceSets(torch.full((3,), 0.1).double(), torch.full((3,), 0.5).double())
    values = torch.tensor([2.0, 3.0, 1.0], dtype=torch.float64)
    assert float(sets.best(part, values)) == pytest.approx(0.5 * 3 + 0.4 * 2 + 0.1)
    assert float(sets.worst(part, values)) == pytest.approx(0.1 * 3 + 0.4 * 2 + 0.5)
