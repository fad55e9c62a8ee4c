"""Tables of j agents read by k: linear interpolation in the frequencies."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altmarl_torch.counts.interpolation import Interpolation
from altmarl_torch.counts.simplex import CountSimplex

SIZES = [(1, 1), (1, 7), (2, 5), (3, 6), (5, 11), (7, 3), (8, 8), (25, 12)]


def by_hand(simplex, h, k):
    """The corners around h j / k and their weights, by fractions of the tails, one tail after the other rounded up."""
    j, tails = simplex.k, [sum(h[i + 1 :]) for i in range(len(h) - 1)]
    whole, rest = [t * j // k for t in tails], [t * j % k for t in tails]
    order = sorted(range(len(tails)), key=lambda i: (-rest[i], i))
    marks = [k, *(rest[i] for i in order), 0]
    corners, here = [], list(whole)
    for step in range(len(tails) + 1):
        if step:
            here[order[step - 1]] += 1
        weight = (marks[step] - marks[step + 1]) / k
        if weight:
            ends = [j, *here, 0]
            corners.append(([ends[i] - ends[i + 1] for i in range(len(h))], weight))
    return corners


@pytest.mark.parametrize("num_sl", [1, 2, 3, 4])
@pytest.mark.parametrize(("j", "k"), SIZES)
def test_every_count_vector_reads_the_corners_around_it(num_sl, j, k):
    source, target = CountSimplex(j, num_sl), CountSimplex(k, num_sl)
    table = torch.rand(source.size, 2, dtype=torch.float64)
    read = Interpolation(source, target)(table)
    for rank, h in itertools.islice(enumerate(target.counts.tolist()), 0, None, 1 + target.size // 50):
        corners = by_hand(source, h, k)
        assert all(min(corner) >= 0 for corner, _ in corners)
        wanted = sum(weight * table[int(source.rank(torch.tensor(corner)))] for corner, weight in corners)
        torch.testing.assert_close(read[rank], wanted)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 1000))
def test_what_is_linear_in_the_frequencies_is_kept(num_sl, j, k, seed):
    source, target = CountSimplex(j, num_sl), CountSimplex(k, num_sl)
    slopes = torch.rand(num_sl, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    read = Interpolation(source, target)(source.frequencies @ slopes)
    torch.testing.assert_close(read, target.frequencies @ slopes)


def test_a_table_of_as_many_agents_is_read_as_it_is():
    simplex = CountSimplex(6, 4)
    table = torch.rand(simplex.size, 1)
    assert torch.equal(Interpolation(simplex, simplex)(table), table)


def test_half_as_many_agents_stand_where_they_stood():
    """From k = 8 to 4 the points h / 4 are on the finer grid: nothing is averaged, on the way back to them neither."""
    few, many = CountSimplex(4, 3), CountSimplex(8, 3)
    table = torch.rand(few.size, 1)
    assert torch.equal(Interpolation(many, few)(Interpolation(few, many)(table)), table)
