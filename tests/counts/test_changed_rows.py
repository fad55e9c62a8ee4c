"""Agents in one state move otherwise: without a kernel of its own, against the kernel."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.changed_rows import ChangedRows, prefers_levels
from altmarl_torch.counts.pair_moves import PairPlan


@pytest.mark.parametrize(("k", "num_sl"), [(1, 2), (5, 2), (4, 3), (3, 5), (2, 1), (6, 4)])
def test_the_difference_is_that_of_both_kernels(k, num_sl):
    """For three changes at once, of any states, some rows with zeros."""
    generator = torch.Generator().manual_seed(k)
    laws = torch.rand(num_sl + 3, num_sl, generator=generator, dtype=torch.float64) ** 3
    laws[laws < 0.05] = 0.0
    laws = (laws + 1e-9) / (laws + 1e-9).sum(-1, keepdim=True)
    P, rows, states = laws[:num_sl], laws[num_sl:], torch.tensor([0, num_sl - 1, num_sl // 2])
    plan = PairPlan(am.CountSimplex(k, num_sl))
    assert prefers_levels(plan)
    before = am.CountKernel(P, k, plan=plan)
    values = torch.rand(plan.simplex.size, 3, 2, generator=generator, dtype=torch.float64)
    found = ChangedRows(before, P, states, rows).apart(values, before.expect(values))
    for index in range(3):
        changed = P.clone()
        changed[states[index]] = rows[index]
        after = am.CountKernel(changed, k, plan=plan).expect(values[:, index].contiguous())
        torch.testing.assert_close(found[:, index], after - before.expect(values)[:, index], rtol=0, atol=1e-14)


def test_the_lists_of_fewer_agents_hold_what_is_left_without_one_state():
    """h = (2, 1): without its agents in 0 it is (0, 1), in 1 it is (2, 0); lists begin at 0, 1, 3 and 6."""
    plan = PairPlan(am.CountSimplex(3, 2))
    assert plan.simplex.level_sizes == [1, 2, 3, 4]
    assert plan.emptied.tolist() == [[0, 6], [2, 3], [5, 1], [9, 0]]


def test_many_agents_are_left_to_kernels_of_their_own():
    assert not prefers_levels(PairPlan(am.CountSimplex(50, 2)))
    assert not prefers_levels(PairPlan(am.CountSimplex(20, 5)))
