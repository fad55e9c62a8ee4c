"""Counts of exchangeable agents: moves and samples against scipy's laws, and no agent lost."""

import numpy as np
import pytest
import torch
from oracles.sampling import laws_of_types
from scipy import stats

from altmarl_torch.support.sampling import (
    Dealer,
    count_labels,
    deal,
    distinct_labels,
    split,
    split_shares,
)


@pytest.mark.parametrize("k", [1, 3, 4, 6, 7])
def test_the_sample_is_multivariate_hypergeometric(k):
    population, draws = torch.tensor([4.0, 0.0, 1.0, 2.0], dtype=torch.float64), 20_000
    labels = distinct_labels(draws, min(k, 7 - k), 7, torch.Generator().manual_seed(k))
    sample = count_labels(labels, population.repeat(draws, 1), k)
    law = stats.multivariate_hypergeom(population.int().tolist(), k)
    cells, seen = np.unique(sample.numpy(), axis=0, return_counts=True)
    expected = draws * law.pmf(cells)
    assert expected.sum() == pytest.approx(draws)  # every cell of positive probability was seen, and no other
    if len(cells) > 1:
        assert stats.chisquare(seen, expected * seen.sum() / expected.sum()).pvalue > 1e-4


def test_every_subset_of_labels_is_as_probable_as_any_other():
    labels = distinct_labels(40_000, 3, 6, torch.Generator().manual_seed(0)).numpy()
    subsets, seen = np.unique(labels, axis=0, return_counts=True)
    assert len(subsets) == 20
    assert (np.diff(subsets) > 0).all()
    assert stats.chisquare(seen).pvalue > 1e-4


def test_next_counts_are_multinomial():
    law, draws = torch.tensor([[0.5, 0.0, 0.2, 0.3]], dtype=torch.float64), 20_000
    generator = torch.Generator().manual_seed(1)
    counts = split(torch.full((draws, 1), 4.0).double(), split_shares(law).expand(draws, 1, 4), generator)
    cells, seen = np.unique(counts.numpy(), axis=0, return_counts=True)
    expected = draws * stats.multinomial(4, law[0].numpy()).pmf(cells)
    assert expected.sum() == pytest.approx(draws, rel=1e-3)
    assert stats.chisquare(seen, expected * draws / expected.sum()).pvalue > 1e-4


@pytest.mark.parametrize("n", [1, 2, 1000, 10**9, 2**53])
def test_splitting_keeps_every_agent(n):
    generator = torch.Generator().manual_seed(n % 1000)
    law = torch.rand(200, 7, 7, generator=generator, dtype=torch.float64) ** 40  # shares down to 1e-80 and up to 1
    law[:, :, ::3] *= (torch.rand(200, 7, 3, generator=generator) < 0.5).double()
    law[..., 1] += 1e-300
    law = law / law.sum(-1, keepdim=True)
    counts = torch.full((200, 7), float(n // 7), dtype=torch.float64)
    counts[:, 0] += n - 7 * (n // 7)
    moved = split(counts, split_shares(law), generator)
    assert (moved >= 0).all()
    assert (moved == moved.round()).all()
    assert (moved.to(torch.int64).sum(-1) == n).all()


def test_impossible_destinations_stay_empty_under_rounding():
    law = torch.tensor([1 / 3, 1 / 3, 1 / 3, 0.0, 0.0], dtype=torch.float64)
    counts = split(torch.full((100, 1), 1e9).double(), split_shares(law).expand(100, 1, 5), torch.Generator())
    assert counts[:, 3:].max() == 0


@pytest.mark.parametrize("num_types", [1, 3, 12])
def test_agents_of_many_types_are_dealt_as_if_all_moves_had_a_chance(num_types):
    """To the bit: what is not drawn because it has no chance uses up no random numbers."""
    P, draws = laws_of_types(num_types, 4), 50
    s_g = torch.randint(2, (draws,), generator=torch.Generator().manual_seed(1))
    counts = torch.randint(9, (draws, 4 * num_types), generator=torch.Generator().manual_seed(2)).double()
    plain = deal(counts, split_shares(P)[s_g], torch.Generator().manual_seed(3))
    dealer = Dealer(P)
    assert torch.equal(dealer.flows(s_g, counts, torch.Generator().manual_seed(3)), plain)
    assert torch.equal(dealer.arrivals(s_g, counts, torch.Generator().manual_seed(3)), plain.sum(-2))
