"""The compiled sweep against torch's form, over sizes, strides, instruction sets and threads; and life without it."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch.counts import compiled, kernels
from altmarl_torch.counts.pair_moves import PairPlan, apply_moves, binomial_matrices
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import warehouse
from altmarl_torch.support.native.library import library

MOST_AGENTS = {2: 40, 3: 30, 4: 14, 5: 9, 6: 6, 7: 4}
built = pytest.mark.skipif(library() is None, reason="not built: python setup.py build_ext --inplace")


def by_torch(plan, pairs, chances, values, adjoint):
    """The oracle: torch's matrix products, layout after layout."""
    exact = binomial_matrices(chances, plan.simplex.k)
    laws = [[(law[m].mT if adjoint else law[m]).to(values.dtype) for law in exact] for m in range(len(pairs))]
    return apply_moves(plan, pairs, laws, values, adjoint=adjoint)


def some_moves(num_sl, number, seed):
    generator = torch.Generator().manual_seed(seed)
    every = list(itertools.combinations(range(num_sl), 2))
    chosen = torch.randint(len(every), (number,), generator=generator).tolist()
    chances = torch.rand(number, 2, dtype=torch.float64, generator=generator)
    one_way = torch.rand(number, 2, generator=generator) < 0.2  # moves of row factors, whose laws are triangular
    return tuple(every[index] for index in chosen), chances.masked_fill(one_way, 0.0)


@built
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_compiled_moves_equal_torchs(data):
    """Any number of states, agents, columns and moves; each set of instructions; rows and transposed, both types."""
    num_sl = data.draw(st.integers(2, 7))
    k, columns = data.draw(st.integers(1, MOST_AGENTS[num_sl])), data.draw(st.integers(1, 70))
    pairs, chances = some_moves(num_sl, data.draw(st.integers(1, 8)), data.draw(st.integers(0, 10**6)))
    dtype, adjoint = data.draw(st.sampled_from([torch.float32, torch.float64])), data.draw(st.booleans())
    plan = PairPlan(CountSimplex(k, num_sl))
    values = torch.rand(plan.simplex.size, columns, dtype=dtype)
    packed = compiled.pack_laws(pairs, chances, k, dtype, adjoint=adjoint)
    found = compiled.apply_packed(plan.simplex, packed, values, level=data.draw(st.integers(0, 2)))
    wanted = by_torch(plan, pairs, chances, values, adjoint)
    allowed = 100 * torch.finfo(dtype).eps * max(1.0, float(wanted.abs().max()))
    torch.testing.assert_close(found, wanted, rtol=0, atol=allowed)


@built
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_tables_are_taken_in_slices_with_the_same_result(dtype):
    """More than a core's cache holds: every pair of five states, one after the other."""
    plan = PairPlan(CountSimplex(22, 5))
    pairs = tuple(itertools.combinations(range(5), 2))
    chances = torch.rand(10, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = torch.rand(plan.simplex.size, 20, dtype=dtype)
    packed = compiled.pack_laws(pairs, chances, 22, dtype, adjoint=False)
    found, wanted = compiled.apply_packed(plan.simplex, packed, values), by_torch(plan, pairs, chances, values, False)
    torch.testing.assert_close(found, wanted, rtol=0, atol=100 * torch.finfo(dtype).eps)


@built
def test_nothing_to_move_and_nothing_to_fill():
    """No moves, no columns, a single agent: what comes in comes out, in a tensor of its own."""
    simplex = CountSimplex(1, 3)
    none = compiled.pack_laws((), torch.zeros(0, 2), 1, torch.float64, adjoint=False)
    values = torch.rand(3, 2, dtype=torch.float64)
    moved = compiled.apply_packed(simplex, none, values)
    assert torch.equal(moved, values)
    assert moved.data_ptr() != values.data_ptr()
    one = compiled.pack_laws(((0, 2),), torch.tensor([[0.25, 0.5]]), 1, torch.float64, adjoint=False)
    assert compiled.apply_packed(simplex, one, values[:, :0]).shape == (3, 0)
    by_hand = torch.tensor([[0.75, 0.0, 0.25], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(compiled.apply_packed(simplex, one, torch.eye(3, dtype=torch.float64)), by_hand)


@built
def test_strided_values_are_read_as_what_they_are():
    kernel = am.CountKernel(warehouse().P_l[:, 0, 0], 10)
    values = torch.rand(kernel.simplex.size, 12, dtype=torch.float64)
    assert kernel.form == "pair moves"
    torch.testing.assert_close(kernel.expect(values[:, ::3]), kernel.expect(values)[:, ::3], rtol=0, atol=1e-14)
    torch.testing.assert_close(kernel.expect(values.T.contiguous().T), kernel.expect(values), rtol=0, atol=0)


@built
def test_any_number_of_threads_gives_the_same_bits():
    kernel = am.CountKernel(warehouse().P_l[:, 0, 0], 15)
    values = torch.rand(kernel.simplex.size, 5)
    alone = kernel.expect(values)
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(alone, found) for found in pool.map(kernel.expect, [values] * 16))


@built
def test_values_of_another_size_or_type_never_reach_the_compiled_code():
    packed = compiled.pack_laws(((0, 1),), torch.full((1, 2), 0.5), 4, torch.float32, adjoint=False)
    for values in (torch.zeros(14, 1), torch.zeros(15, 1, dtype=torch.float64), torch.zeros(15, 1, dtype=torch.int64)):
        with pytest.raises(AssertionError):
            compiled.apply_packed(CountSimplex(4, 3), packed, values)


def test_without_the_library_torch_does_the_same(monkeypatch):
    P, values = warehouse().P_l[:, 1, 1], torch.rand(1001, 3, dtype=torch.float64)
    usual = am.CountKernel(P, 10)
    monkeypatch.setattr(kernels, "library", lambda: None)
    plain = am.CountKernel(P, 10)
    torch.testing.assert_close(plain.expect(values), usual.expect(values), rtol=0, atol=1e-14)
    torch.testing.assert_close(plain.push(values), usual.push(values), rtol=0, atol=1e-13)
