"""The exact operator against brute force, in each of its forms, and the sampled one against the exact."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.surrogate import count_kernel

import altmarl_torch as am
from altmarl_torch.counts import factoring, kernels, pair_moves
from altmarl_torch.games import warehouse
from altmarl_torch.policies.tabular import uniform_local

EXACT = {"rtol": 0, "atol": 1e-12}


def random_law(num_sl, seed, laziness=0.0):
    generator = torch.Generator().manual_seed(seed)
    law = torch.rand(num_sl, num_sl, dtype=torch.float64, generator=generator) ** 3
    return laziness * torch.eye(num_sl, dtype=torch.float64) + (1 - laziness) * law / law.sum(-1, keepdim=True)


def check(P, k, form=None):
    kernel, exact = am.CountKernel(P, k), torch.from_numpy(count_kernel(P, k))
    values = torch.rand(kernel.simplex.size, 2, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(kernel.expect(values), torch.einsum("hH,Hxy->hxy", exact, values), **EXACT)
    torch.testing.assert_close(kernel.push(values), torch.einsum("hH,hxy->Hxy", exact, values), **EXACT)
    torch.testing.assert_close(kernel.expect(values[:, 0, 0]), exact @ values[:, 0, 0], **EXACT)
    assert form in (None, kernel.form)


@pytest.fixture
def only_pair_moves(monkeypatch):
    monkeypatch.setattr(kernels, "PREFERRED_DENSE", 0)


@pytest.mark.parametrize("laziness", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_sl", [2, 3, 4])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_dense_equals_brute_force(k, num_sl, laziness):
    check(random_law(num_sl, k, laziness), k, "dense")


@pytest.mark.parametrize("laziness", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("num_sl", [2, 3, 4])
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.usefixtures("only_pair_moves")
def test_pair_moves_or_their_fallback_equal_brute_force(k, num_sl, laziness):
    check(random_law(num_sl, 10 + k, laziness), k, "pair moves" if laziness == 0.9 and num_sl > 2 else None)


@pytest.mark.parametrize("sg", range(5))
@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.usefixtures("only_pair_moves")
def test_the_warehouse_moves_in_pairs(k, sg):
    game = warehouse()
    check(game.induced(uniform_local(game)).P_l_pi[:, sg], k, "pair moves")
    for action in range(3):
        check(game.P_l[:, sg, action], k, "pair moves")


@pytest.mark.parametrize("shift", [1, 2])
@pytest.mark.usefixtures("only_pair_moves")
def test_a_conveyor_belt_is_lazy_after_relabelling(shift):
    check(random_law(4, 3, 0.9).roll(shift, 1), 4, "pair moves")


@pytest.mark.usefixtures("only_pair_moves")
def test_pair_moves_also_by_machine_words(monkeypatch):
    """The form that large tables take: columns gathered 16, 8 and 4 bytes at a time."""
    monkeypatch.setattr(pair_moves, "MANY_COUNTS", 0)
    check(random_law(4, 5, 0.9), 4, "pair moves")


@pytest.mark.parametrize(
    "P",
    [
        [[1.0]],
        [[0.0, 1.0], [1.0, 0.0]],
        [[1.0, 0.0], [1.0, 0.0]],
        [[0.5, 0.5], [0.5, 0.5]],
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
        [[0.0, 0.0, 1.0]] * 3,
        [[1 / 3] * 3] * 3,
    ],
)
@pytest.mark.usefixtures("only_pair_moves")
def test_degenerate_laws(P):
    for k in (1, 2, 5):
        check(torch.tensor(P, dtype=torch.float64), k)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 5), st.integers(1, 12), st.floats(0.6, 1.0))
def test_expectations_of_counts_are_known_at_every_k(seed, num_sl, k, laziness):
    """E[h'] = h P, E[1] = 1; and pushing a law keeps its mass."""
    P = random_law(num_sl, seed, laziness)
    kernel = am.CountKernel(P, k)
    counts = kernel.simplex.counts.double()
    torch.testing.assert_close(kernel.expect(counts), counts @ P, rtol=0, atol=1e-10 * k)
    torch.testing.assert_close(
        kernel.push(torch.ones(len(counts), dtype=torch.float64)).sum().item(), float(len(counts))
    )


def test_float32_values_stay_float32():
    kernel = am.CountKernel(random_law(5, 0, 0.9), 12)
    values = torch.rand(kernel.simplex.size, 3, dtype=torch.float64)
    assert kernel.form == "pair moves"
    assert kernel.expect(values.float()).dtype == torch.float32
    torch.testing.assert_close(kernel.expect(values.float()).double(), kernel.expect(values), rtol=0, atol=1e-5)


def test_factors_multiply_to_the_matrix_and_are_laws():
    game = warehouse()
    for sg in range(5):
        P = game.P_l[:, sg, 1]
        moves = factoring.factor_pairs(P, 50)
        product = factoring.multiply_moves(5, moves.pairs, moves.chances)[0][-1]
        torch.testing.assert_close(product[:, torch.tensor(moves.relabel).argsort()], P, rtol=0, atol=1e-14)
        assert bool((moves.chances >= 0).all())
        assert bool((moves.chances <= 1).all())
        assert moves.error_bound(50) < 1e-15


def test_where_no_exact_form_fits_the_error_says_what_to_use():
    with pytest.raises(am.KernelError, match=r"k = 40 agents over 5 local states \(135,751 counts\).*sampled operator"):
        am.CountKernel(random_law(5, 0), 40)


def test_the_fallback_to_sampling_is_announced(monkeypatch, caplog):
    monkeypatch.setattr(kernels, "PREFERRED_DENSE", 1)
    monkeypatch.setattr(kernels, "LARGEST_DENSE", 1)
    plan = pair_moves.PairPlan(am.CountSimplex(3, 2))
    with caplog.at_level(logging.WARNING, logger="altmarl_torch"):
        made = kernels.make_kernels(torch.full((2, 1, 2), 0.5, dtype=torch.float64), plan)
    assert made[0].form == "sampled"
    assert "sampling 30 draws in place of the exact kernel under s_g = 0" in caplog.text


@pytest.mark.parametrize(
    ("P", "message"),
    [
        ([[0.5, 0.5]], "square"),
        ([[0.5, 0.4], [0.5, 0.5]], r"P\[sl=0\].*0\.9"),
        ([[1.0, 0.0], [1.5, -0.5]], r"P\[sl=1.*-0\.5"),
        ([[1.0, 0.0], [float("nan"), 1.0]], r"P\[sl=1.*nan"),
    ],
)
def test_malformed_matrices_are_refused(P, message):
    with pytest.raises(am.ArgumentError, match=message):
        am.CountKernel(torch.tensor(P), 2)


@pytest.mark.parametrize("num_sl", [3, 4, 5])
def test_moderately_lazy_and_sparse_kernels_have_exact_factors(num_sl):
    """Most agents stay, the rest go anywhere; and a birth-death chain. Checked by E[h'] = h P at k = 30."""
    for P in [*(random_law(num_sl, seed, 0.6) for seed in range(4)), birth_death(num_sl, 0.7)]:
        kernel = am.CountKernel(P, 30)
        counts = kernel.simplex.counts.double()
        assert kernel.form == "pair moves"
        torch.testing.assert_close(kernel.expect(counts), counts @ P, rtol=0, atol=1e-8)


def birth_death(num_sl, stay):
    P = (torch.ones(num_sl - 1).diag(1) + torch.ones(num_sl - 1).diag(-1)).double() * (1 - stay) / 2
    return P + torch.diag(1 - P.sum(-1))


@pytest.mark.usefixtures("only_pair_moves")
def test_row_factors_equal_brute_force(monkeypatch):
    monkeypatch.setattr(factoring, "_newton", lambda P, pairs: None)
    for P in (random_law(3, 2, 0.7), random_law(4, 1, 0.8), birth_death(4, 0.8), torch.eye(3).double()):
        check(P, 4, "pair moves")


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16])
def test_values_of_other_types_are_taken_as_float64(dtype):
    kernel, values = am.CountKernel(random_law(3, 0), 3), torch.arange(10).to(dtype)
    torch.testing.assert_close(kernel.expect(values), kernel.expect(values.double()))


def test_a_plan_of_another_simplex_is_refused():
    with pytest.raises(am.ArgumentError, match="plan"):
        am.CountKernel(torch.eye(2), 5, plan=pair_moves.PairPlan(am.CountSimplex(2, 2)))


def test_values_of_another_simplex_are_refused():
    with pytest.raises(am.ArgumentError, match=r"\[N, \.\.\.\] is needed"):
        am.CountKernel(torch.eye(2), 2).expect(torch.zeros(4))


def test_the_sampled_kernel_is_unbiased_and_its_adjoint_is_its_transpose():
    """The mean of 4000 draws is within 4.5 standard errors of the exact expectation at every h."""
    P, generator = random_law(3, 1), torch.Generator().manual_seed(0)
    exact, sampled = am.CountKernel(P, 4), am.SampledCountKernel(P, 4, 4000, generator)
    values = torch.rand(exact.simplex.size, dtype=torch.float64, generator=generator)
    spread = (exact.expect(values**2) - exact.expect(values) ** 2).clamp_min(0).sqrt() / np.sqrt(4000)
    assert bool(((sampled.expect(values) - exact.expect(values)).abs() <= 4.5 * spread + 1e-12).all())
    law = torch.rand(exact.simplex.size, dtype=torch.float64, generator=generator)
    torch.testing.assert_close(law @ sampled.expect(values), sampled.push(law) @ values)


@pytest.mark.parametrize("m", [0, -1, 1.5, True])
def test_the_number_of_draws_is_checked(m):
    with pytest.raises(am.ArgumentError, match="m must be"):
        am.SampledCountKernel(torch.eye(2), 2, m, torch.Generator())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_kernels_on_a_gpu_agree_with_the_cpu():
    P, values = random_law(5, 0, 0.9), torch.rand(1820, 3, dtype=torch.float64)
    on_gpu = am.CountKernel(P.cuda(), 12).expect(values.cuda())
    torch.testing.assert_close(on_gpu.cpu(), am.CountKernel(P, 12).expect(values))
