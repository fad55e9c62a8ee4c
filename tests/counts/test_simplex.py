"""Counts, ranks, tuples, and carrying values from fewer agents to more."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.surrogate import count_vectors

import altmarl_torch as am
from altmarl_torch.counts.simplex import lift, round_to_counts, scale_up
from altmarl_torch.counts.tuples import counts_to_tuples, list_tuples, tuples_to_counts

SMALL = [(k, num_sl) for k in range(7) for num_sl in range(1, 5)]


@pytest.mark.parametrize(("k", "num_sl"), SMALL)
def test_the_list_is_every_count_vector_in_descending_order(k, num_sl):
    simplex = am.CountSimplex(k, num_sl)
    assert [tuple(row) for row in simplex.counts.tolist()] == count_vectors(k, num_sl)
    assert len(simplex) == simplex.size == math.comb(k + num_sl - 1, num_sl - 1)


@pytest.mark.parametrize(("k", "num_sl"), SMALL)
def test_rank_inverts_unrank(k, num_sl):
    simplex = am.CountSimplex(k, num_sl)
    index = torch.arange(simplex.size)
    assert torch.equal(simplex.rank(simplex.counts), index)
    assert torch.equal(simplex.unrank(index), simplex.counts)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.integers(1, 30), st.data())
def test_rank_and_unrank_need_no_list(k, num_sl, data):
    """Also beyond 2^63 vectors, where indices are Python integers."""
    simplex = am.CountSimplex(k, num_sl)
    index = data.draw(st.integers(0, simplex.size - 1))
    indices = np.array([index, 0, simplex.size - 1], dtype=object if simplex.size > 2**63 - 1 else np.int64)
    counts = simplex.unrank(indices)
    assert bool((counts >= 0).all())
    assert bool((counts.sum(-1) == k).all())
    assert [int(i) for i in simplex.rank(counts)] == [int(i) for i in indices]


def test_ranks_keep_the_shape_of_a_batch():
    simplex = am.CountSimplex(4, 3)
    batch = simplex.counts.reshape(3, 5, 3)
    assert simplex.rank(batch).shape == (3, 5)
    assert torch.equal(simplex.unrank(simplex.rank(batch)), batch)


def test_a_simplex_too_large_to_list_says_so_and_what_to_do():
    simplex = am.CountSimplex(100, 20)
    with pytest.raises(am.SizeError, match=r"k = 100 agents over 20 local states has 4\.91e\+21.*smaller k"):
        _ = simplex.counts
    with pytest.raises(am.SizeError, match=r"use \.size"):
        len(simplex)


@pytest.mark.parametrize(("k", "num_sl"), [(-1, 3), (2.5, 3), (True, 3), (3, 0), (3, "a")])
def test_sizes_out_of_range_are_refused(k, num_sl):
    with pytest.raises(am.ArgumentError, match=r"k|num_sl"):
        am.CountSimplex(k, num_sl)


@pytest.mark.parametrize("index", [-1, 15])
def test_an_index_outside_the_list_is_refused(index):
    with pytest.raises(am.ArgumentError, match=r"outside 0\.\.14"):
        am.CountSimplex(4, 3).unrank(torch.tensor([index]))


@pytest.mark.parametrize(("k", "num_sl"), [(1, 1), (1, 3), (4, 2), (5, 4)])
def test_neighbours_are_one_agent_away(k, num_sl):
    simplex, units = am.CountSimplex(k, num_sl), torch.eye(num_sl, dtype=torch.int64)
    smaller, without = simplex.remove_one()
    larger, with_one_more = simplex.add_one()
    for z in range(num_sl):
        there = simplex.counts[:, z] > 0
        assert torch.equal(smaller.counts[without[there, z]], simplex.counts[there] - units[z])
        assert bool((without[~there, z] == 0).all())
        assert torch.equal(larger.counts[with_one_more[:, z]], simplex.counts + units[z])


def test_tuples_and_counts_go_both_ways():
    tuples = list_tuples(4, 3)
    assert tuples.shape == (81, 4)
    assert tuples[1].tolist() == [0, 0, 0, 1]
    counts = tuples_to_counts(tuples, 3)
    assert torch.equal(counts_to_tuples(counts), tuples.sort(-1).values)
    with pytest.raises(am.SizeError, match=r"20\^20"):
        list_tuples(20, 20)


def test_lifting_is_the_mean_over_subsamples():
    """V_5(h) against the mean of V_2 over all pairs of the five agents."""
    small, large = am.CountSimplex(2, 3), am.CountSimplex(5, 3)
    values = torch.rand(2, small.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pairs = torch.combinations(torch.arange(5), 2)
    for h, lifted in zip(large.counts, lift(values, small, large).T, strict=True):
        samples = tuples_to_counts(counts_to_tuples(h)[pairs], 3)
        torch.testing.assert_close(lifted, values[:, small.rank(samples)].mean(-1))


def test_lifting_a_single_agent_is_linear_in_the_counts_and_agrees_with_going_step_by_step():
    one, two, many = am.CountSimplex(1, 4), am.CountSimplex(2, 4), am.CountSimplex(6, 4)
    values = torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(lift(values, one, many), lift(lift(values, one, two), two, many))


def test_scaling_up_multiplies_where_it_can_and_keeps_the_sum():
    small, large = am.CountSimplex(5, 3), am.CountSimplex(20, 3)
    assert torch.equal(large.counts[scale_up(small, large)], 4 * small.counts)
    odd = am.CountSimplex(7, 3)
    scaled = odd.counts[scale_up(small, odd)]
    assert bool(((scaled - small.counts * 7 / 5).abs() < 1).all())


def test_the_coarser_simplex_is_the_largest_that_fits():
    assert am.CountSimplex(50, 5).coarser(1000).k == 9
    assert am.CountSimplex(3, 5).coarser(1000).k == 3
    assert am.CountSimplex(3, 500).coarser(10).k == 1


@pytest.mark.parametrize(("k", "num_sl"), [(2000, 2000), (10**9, 10**9), (2**62, 2**62)])
def test_sizes_of_any_length_are_said_in_words(k, num_sl):
    simplex = am.CountSimplex(k, num_sl)
    assert "about 10^" in repr(simplex)
    assert not simplex.can_be_listed
    with pytest.raises(am.SizeError, match=r"about 10\^"):
        simplex.require_listed()


def test_ranks_that_need_too_large_a_table_are_refused():
    with pytest.raises(am.SizeError, match="smaller k"):
        am.CountSimplex(10**9, 3).rank(torch.tensor([[10**9, 0, 0]]))


@pytest.mark.parametrize("counts", [torch.tensor([[1, 1]]), torch.tensor([[1.0, 1.0, 2.0]])])
def test_counts_of_another_width_or_type_are_refused(counts):
    with pytest.raises(am.ArgumentError, match=r"integers \[\.\.\., 3\]"):
        am.CountSimplex(4, 3).rank(counts)


@settings(deadline=None)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=7).filter(any), st.integers(0, 200))
def test_rounding_gives_what_is_left_to_the_largest_remainders_the_first_of_equal_ones(weights, k):
    total = sum(weights)
    whole = [k * weight // total for weight in weights]
    order = sorted(range(len(weights)), key=lambda z: (-(k * weights[z] % total), z))
    expected = [count + (z in order[: k - sum(whole)]) for z, count in enumerate(whole)]
    assert round_to_counts(torch.tensor(weights, dtype=torch.float64) / total, k).tolist() == expected


def test_rounding_of_single_precision_keeps_the_sum():
    halves = torch.tensor([[0.375, 0.625], [0.5, 0.5]])
    assert round_to_counts(halves, 4).tolist() == [[2, 2], [2, 2]]
    assert round_to_counts(halves.double(), 4).tolist() == [[2, 2], [2, 2]]
