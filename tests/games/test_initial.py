"""The initial law: its count law against other derivations, its draws against their moments, its checks."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.initial import InitialLaw


def simplex(k: int, num_sl: int) -> torch.Tensor:
    """All count vectors with sum k, by brute force."""
    rows = itertools.product(range(k + 1), repeat=num_sl)
    return torch.tensor([row for row in rows if sum(row) == k])


def law(local_mean: list[float], strength: float = math.inf) -> InitialLaw:
    return InitialLaw([1.0], local_mean, strength)


means = st.lists(st.integers(0, 5), min_size=2, max_size=3).filter(any).map(lambda x: (np.array(x) / sum(x)).tolist())
strengths = st.one_of(st.floats(1e-3, 1e6), st.sampled_from([1e-150, 1e-12, 1e12, 1e300, math.inf]))


@given(mean=means, strength=strengths, k=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_count_law_is_a_law_with_the_right_mean(mean: list[float], strength: float, k: int) -> None:
    counts = simplex(k, len(mean))
    p = law(mean, strength).count_law(counts)
    assert (p >= 0).all()
    assert float(p.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(p @ counts.double(), k * torch.tensor(mean, dtype=torch.float64), atol=1e-11, rtol=0)


@pytest.mark.parametrize("strength", [0.01, 1.5, 40.0, math.inf])
def test_one_agent_has_the_mean_as_its_law(strength: float) -> None:
    mean = [0.5, 0.2, 0.0, 0.3]
    p = law(mean, strength).count_law(torch.eye(4, dtype=torch.int64))
    torch.testing.assert_close(p, torch.tensor(mean, dtype=torch.float64), atol=1e-15, rtol=0)


@pytest.mark.parametrize("strength", [0.05, 1.5, 30.0])
def test_count_law_agrees_with_scipy(strength: float) -> None:
    mean, k = np.array([0.6, 0.3, 0.1]), 7
    counts = simplex(k, 3)
    expected = stats.dirichlet_multinomial(strength * mean, k).pmf(counts.numpy())
    np.testing.assert_allclose(law(mean.tolist(), strength).count_law(counts), expected, rtol=1e-11)


def test_count_law_agrees_with_the_urn() -> None:
    """Polya's urn: agent j + 1 copies state i with probability (A m_i + number already in i) / (A + j)."""
    mean, strength, k = [0.7, 0.3], 1.2, 5
    urn: dict[tuple[int, ...], float] = {(0, 0): 1.0}
    for j in range(k):
        after: dict[tuple[int, ...], float] = {}
        for (a, b), p in urn.items():
            for i, key in enumerate([(a + 1, b), (a, b + 1)]):
                after[key] = after.get(key, 0) + p * (strength * mean[i] + (a, b)[i]) / (strength + j)
        urn = after
    p = law(mean, strength).count_law(torch.tensor(list(urn)))
    np.testing.assert_allclose(p, list(urn.values()), rtol=1e-13)


def test_infinite_strength_is_the_multinomial_law_and_the_limit() -> None:
    mean, counts = [0.2, 0.8, 0.0], simplex(6, 3)
    expected = stats.multinomial(6, mean).pmf(counts.numpy())
    np.testing.assert_allclose(law(mean).count_law(counts), expected, atol=1e-15)
    np.testing.assert_allclose(law(mean, 1e13).count_law(counts), expected, atol=1e-11)


def test_count_law_keeps_leading_axes_and_takes_whole_floats() -> None:
    counts = simplex(3, 2).reshape(2, 2, 2)
    p = law([0.5, 0.5]).count_law(counts)
    assert p.shape == (2, 2)
    torch.testing.assert_close(law([0.5, 0.5]).count_law(counts.double()), p, atol=0, rtol=0)


def test_count_law_stays_accurate_at_large_k() -> None:
    k = 2000
    counts = torch.stack([torch.arange(k + 1), k - torch.arange(k + 1)], -1)
    p = law([0.5, 0.5], 2.0).count_law(counts)  # Dirichlet(1, 1): every count is equally likely
    torch.testing.assert_close(p, torch.full_like(p, 1 / (k + 1)), rtol=1e-10, atol=0)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (torch.tensor([[1, 2, 0]]), r"shape \[1, 3\]; expected \[\.\.\., 2\]"),
        (torch.zeros((0, 2), dtype=torch.int64), "at least one row"),
        (torch.tensor([[1, -1]]), r"counts\[row=0, sl=1\] is -1; every entry must be a whole number"),
        (torch.tensor([[0.5, 0.5]]), r"counts\[row=0, sl=0\] is 0\.5 .*; every entry must be a whole number"),
        (torch.tensor([[1, 2], [2, 2]]), r"sum to 3\.\.4"),
    ],
)
def test_count_law_refuses(counts: torch.Tensor, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        law([0.5, 0.5]).count_law(counts)


@pytest.mark.parametrize("strength", [1e-200, 1e-4, 0.01, 1.5, 1e6, 1e300])
def test_sampled_mu_is_a_law_at_every_strength(strength: float) -> None:
    mu = law([0.25, 0.0, 0.5, 0.25], strength).sample_mu(2000, torch.Generator().manual_seed(1))
    assert mu.shape == (2000, 4)
    assert mu.dtype == torch.float64
    assert mu.isfinite().all()
    assert (mu >= 0).all()
    assert (mu[:, 1] == 0).all()
    torch.testing.assert_close(mu.sum(-1), torch.ones(2000, dtype=torch.float64), atol=1e-14, rtol=0)


@pytest.mark.parametrize("strength", [0.01, 0.5, 8.0])
def test_sampled_mu_has_the_dirichlet_moments(strength: float) -> None:
    mean, draws = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), 40_000
    mu = law(mean.tolist(), strength).sample_mu(draws, torch.Generator().manual_seed(2))
    variance = mean * (1 - mean) / (strength + 1)
    standard_error = (variance / draws).sqrt()
    assert ((mu.mean(0) - mean).abs() < 5 * standard_error).all()
    torch.testing.assert_close(mu.var(0), variance, rtol=0.05, atol=0)


def test_sampled_counts_follow_the_count_law() -> None:
    """Two agents drawn from one mu: the chance that both stand in state 0."""
    initial = law([0.4, 0.6], 0.3)
    mu = initial.sample_mu(40_000, torch.Generator().manual_seed(3))
    p = float(initial.count_law(torch.tensor([2, 0])))
    assert p == pytest.approx(0.4 * (0.12 + 1) / 1.3, abs=1e-14)
    assert float((mu[:, 0] ** 2).mean()) == pytest.approx(p, abs=0.01)


def test_infinite_strength_draws_the_mean_and_leaves_the_generator_alone() -> None:
    generator = torch.Generator().manual_seed(4)
    before = generator.get_state()
    mu = law([0.25, 0.75]).sample_mu(3, generator)
    assert mu.tolist() == [[0.25, 0.75]] * 3
    assert torch.equal(generator.get_state(), before)


def test_sampled_sg_follows_its_law_and_its_seed() -> None:
    initial = InitialLaw([0.7, 0.0, 0.3], [1.0])
    first, second = (initial.sample_sg(20_000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.dtype == torch.int64
    share = first.bincount(minlength=3).double() / 20_000
    assert share[1] == 0
    assert float(share[0]) == pytest.approx(0.7, abs=0.02)


def test_global_randomness_is_untouched() -> None:
    before = torch.random.get_rng_state()
    law([0.5, 0.5], 0.1).sample_mu(5, torch.Generator().manual_seed(0))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_uniform_and_to() -> None:
    initial = InitialLaw.uniform(3, 4, strength=2.0).to("cpu")
    assert initial.sg.tolist() == [1 / 3] * 3
    assert initial.local_mean.tolist() == [0.25] * 4
    assert initial.strength == 2.0
    assert initial.device == torch.device("cpu")


@pytest.mark.parametrize(
    ("sg", "local_mean", "strength", "message"),
    [
        ([0.5, 0.4], [1.0], 1.0, r"^initial\.sg sums to 0\.9; .* law over sg and must sum to 1"),
        ([1.0], [0.5, 0.6], 1.0, r"^initial\.local_mean sums to 1\.1"),
        ([1.0], [1.5, -0.5], 1.0, r"^initial\.local_mean\[sl=1\] is -0\.5; probabilities are non-negative"),
        ([1.0], [math.nan, 1.0], 1.0, r"^initial\.local_mean\[sl=0\] is nan"),
        ([[1.0]], [1.0], 1.0, r"^initial\.sg has shape \[1, 1\], that is 2 axes; expected 1: \[sg\]"),
        ([1.0], [], 1.0, "^initial.local_mean .* axis sl is empty"),
        ([1.0], torch.ones(1, device="meta"), 1.0, "^initial.sg lies on cpu, but initial.local_mean on meta"),
        ([1.0], [1.0], 0.0, r"^initial\.strength must be a number in \(0, inf\].*, not 0\.0"),
        ([1.0], [1.0], -1, "^initial.strength .* not -1"),
        ([1.0], [1.0], math.nan, "^initial.strength .* not nan"),
        ([1.0], [1.0], True, "^initial.strength .* not True"),
        ([1.0], [1.0], "1", "^initial.strength .* not '1'"),
    ],
)
def test_refused(sg: object, local_mean: object, strength: object, message: str) -> None:
    with pytest.raises(GameError, match=message):
        InitialLaw(sg, local_mean, strength)


def test_count_law_reads_lists():
    law = InitialLaw([1.0], [0.25, 0.75])
    assert law.count_law([[1, 0], [0, 1]]).tolist() == pytest.approx([0.25, 0.75])
    with pytest.raises(ArgumentError, match="counts holds"):
        law.count_law([["a", "b"]])
