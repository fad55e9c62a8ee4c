"""Counts of exchangeable agents: moves and samples against scipy's laws, and no agent lost."""

import numpy as np
import pytest
import torch
from oracles.surrogate import count_kernel, count_vectors
from scipy import stats

from altmarl_torch.support.sampling import (
    CountMover,
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


class TestCountMover:
    """The law of the next counts, one by one up to 256 agents and by binomials beyond."""

    P = torch.tensor(
        [[[0.5, 0.2, 0.3], [0.1, 0.6, 0.3], [0.0, 0.5, 0.5]], [[0.2, 0.7, 0.1], [0.0, 0.0, 1.0], [0.4, 0.3, 0.3]]],
        dtype=torch.float64,
    )  # [sg, sl, sl']

    @pytest.mark.parametrize("counts", [[1, 0, 0], [0, 1, 1], [2, 0, 1], [1, 2, 1], [0, 4, 0], [3, 1, 2]])
    @pytest.mark.parametrize("s_g", [0, 1])
    def test_a_few_agents_move_by_the_law_of_brute_force(self, s_g, counts):
        k, draws = sum(counts), 20_000
        start = torch.tensor([counts], dtype=torch.float32).expand(draws, -1)
        moved = CountMover(self.P, k)(torch.full((draws,), s_g), start, torch.Generator().manual_seed(k))
        assert moved.dtype == torch.float32
        vectors = count_vectors(k, 3)
        law = count_kernel(self.P[s_g], k)[vectors.index(tuple(counts))]
        place = {vector: index for index, vector in enumerate(vectors)}
        seen = np.bincount([place[tuple(row)] for row in moved.int().tolist()], minlength=len(vectors))
        assert not seen[law == 0].any()
        common = draws * law >= 5
        seen, expected = (np.append(row[common], row[~common].sum()) for row in (seen, draws * law))
        if (expected > 0).sum() > 1:
            assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-4

    @pytest.mark.parametrize("counts", [[100, 56, 100], [100, 57, 100], [1000, 9000, 0], [700_000, 200_000, 100_000]])
    def test_many_agents_have_the_mean_and_covariance_of_multinomials(self, counts):
        """k = 256 goes one by one, k = 257 and more by binomials; both within 4.5 standard errors."""
        draws, h = 20_000, torch.tensor(counts, dtype=torch.float64)
        s_g = torch.arange(draws) % 2
        mover, generator = CountMover(self.P, sum(counts)), torch.Generator().manual_seed(1)
        moved = mover(s_g, h.float().expand(draws, -1), generator).double()
        assert (moved.sum(-1) == h.sum()).all()
        for sg in (0, 1):
            sample, P = moved[s_g == sg], self.P[sg]
            covariance = torch.diag(h @ P) - torch.einsum("u,uj,ui->ji", h, P, P)
            error = covariance.diagonal().sqrt() / len(sample) ** 0.5
            assert bool(((sample.mean(0) - h @ P).abs() <= 4.5 * error + 1e-9).all())
            scale = torch.outer(covariance.diagonal(), covariance.diagonal()).sqrt()
            apart = (torch.cov(sample.T) - covariance).abs() / scale.clamp_min(1e-9)
            assert float(apart.max()) <= 4.5 * (2 / len(sample)) ** 0.5

    @pytest.mark.parametrize(("num_sl", "width"), [(5, 2), (5, 5), (12, 9), (12, 12), (60, 3)])
    @pytest.mark.parametrize("fixed", [True, False])
    def test_agents_move_one_by_one_to_where_their_numbers_lie(self, num_sl, width, fixed):
        """Agent by agent, in the order of their states: the first j whose running sum exceeds the number."""
        draw = np.random.default_rng(num_sl + width)
        P = np.zeros((2, num_sl, num_sl))
        for sg, u in np.ndindex(2, num_sl):
            P[sg, u, draw.permutation(num_sl)[:width]] = draw.dirichlet(np.ones(width))
        k, s_g = 7, torch.tensor([0, 1, 1, 0])
        counts = torch.from_numpy(draw.multinomial(k, np.full(num_sl, 1 / num_sl), len(s_g))).float()
        counts[1] *= 1 if fixed else 0
        moved = CountMover(torch.from_numpy(P), k, fixed=fixed)(s_g, counts, torch.Generator().manual_seed(3))
        agents = int(counts.sum())
        luck = iter(torch.rand(agents, generator=torch.Generator().manual_seed(3), dtype=torch.float64).tolist())
        expected = torch.zeros_like(counts)
        for row, sg in enumerate(s_g.tolist()):
            for u in range(num_sl):
                for _ in range(int(counts[row, u])):
                    expected[row, np.searchsorted(P[sg, u].cumsum(), next(luck), side="right")] += 1
        assert torch.equal(moved, expected)

    @pytest.mark.parametrize("k", [3, 250, 300, 10**6])
    def test_impossible_moves_never_happen(self, k):
        """From state 1 under s_g = 1 everybody goes to state 2; from state 2 under s_g = 0 nobody goes to state 0."""
        mover, generator = CountMover(self.P, k), torch.Generator().manual_seed(0)
        draws = 2000 if k < 256 else 200
        one, two = (torch.tensor([row], dtype=torch.float32).expand(draws, -1) for row in ([0, k, 0], [0, 0, k]))
        assert torch.equal(mover(torch.ones(draws, dtype=torch.int64), one, generator), two)
        assert not mover(torch.zeros(draws, dtype=torch.int64), two, generator)[:, 0].any()

    @pytest.mark.parametrize("k", [5, 256, 257, 2000])
    def test_equal_generators_give_equal_draws_and_others_do_not(self, k):
        s_g, counts = torch.tensor([0, 1, 1] * 20), torch.tensor([[k - 2.0, 0.0, 2.0]]).expand(60, -1)
        mover = CountMover(self.P, k)
        one, two, other = (mover(s_g, counts, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
        assert torch.equal(one, two)
        assert not torch.equal(one, other)
        assert (one.sum(-1) == k).all()

    @pytest.mark.parametrize("most", [6, 300])
    def test_systems_of_several_sizes_move_by_the_law_of_each(self, most):
        """Rows of 1, 3 and `most` agents in one batch: nobody is lost, and means are within 4.5 standard errors."""
        rows, draws = torch.tensor([[1.0, 0.0, 0.0], [1.0, 2.0, 0.0], [0.0, most - 1.0, 1.0], [0.0, 0.0, 0.0]]), 20_000
        mover = CountMover(self.P, most, fixed=False)
        moved = mover(
            torch.zeros(4 * draws, dtype=torch.int64), rows.repeat(draws, 1), torch.Generator().manual_seed(2)
        )
        for row, sample in zip(rows, moved.view(draws, 4, 3).transpose(0, 1).double(), strict=True):
            assert (sample.sum(-1) == row.sum()).all()
            mean = row.double() @ self.P[0]
            error = (row.double() @ (self.P[0] * (1 - self.P[0]))).sqrt() / draws**0.5
            assert bool(((sample.mean(0) - mean).abs() <= 4.5 * error + 1e-9).all())

    def test_a_few_agents_stay_coupled_where_laws_differ(self):
        """The law of one state changes: at most the agents that stand there end elsewhere, whatever stands behind."""
        changed = self.P.clone()
        changed[0, 0] = torch.tensor([0.3, 0.4, 0.3])  # a fifth of its agents now arrive in 1 instead of 0
        s_g, counts = torch.zeros(500, dtype=torch.int64), torch.tensor([[4.0, 30.0, 30.0]]).expand(500, -1)
        one, two = (CountMover(P, 64)(s_g, counts, torch.Generator().manual_seed(0)) for P in (self.P, changed))
        apart = two - one
        assert not apart[:, 2].any()
        assert (apart[:, 1] >= 0).all()
        assert float(apart[:, 1].mean()) == pytest.approx(4 * 0.2, rel=0.2)

    def test_nobody_and_nowhere_else(self):
        generator = torch.Generator().manual_seed(0)
        nobody = torch.zeros(5, 3)
        assert torch.equal(CountMover(self.P, 0)(torch.zeros(5, dtype=torch.int64), nobody, generator), nobody)
        alone = torch.full((5, 1), 9.0)
        mover = CountMover(torch.ones(2, 1, 1, dtype=torch.float64), 9)
        assert torch.equal(mover(torch.ones(5, dtype=torch.int64), alone, generator), alone)

    def test_rounded_laws_send_everybody_somewhere(self):
        """Rows whose running sums end a rounding error away from one, many states, and agents in the last of them."""
        P = torch.rand(4, 30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 8
        P = P / P.sum(-1, keepdim=True)
        P[..., -1] = 0  # the rows now sum to a little less than one
        counts = torch.zeros(3000, 30)
        counts[:, -1] = 50
        mover = CountMover(P, 50)
        moved = mover(torch.full((3000,), 3), counts, torch.Generator().manual_seed(1))
        assert (moved.sum(-1) == 50).all()
        assert not moved[:, -1].any()


def laws_of_types(num_types, num_x, num_sg=2, seed=0):
    """Laws `[sg, sl, sl']` of agents who never change their type, with impossible moves within it."""
    laws = torch.zeros(num_sg, num_types * num_x, num_types * num_x, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    for kind in range(num_types):
        own = slice(kind * num_x, (kind + 1) * num_x)
        block = torch.rand(num_sg, num_x, num_x, generator=generator, dtype=torch.float64)
        block *= (block > 0.4) | torch.eye(num_x, dtype=torch.bool)
        laws[:, own, own] = block / block.sum(-1, keepdim=True)
    return laws


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


def test_agents_of_many_types_move_one_by_one_under_their_own_laws():
    P, draws = laws_of_types(5, 4), 4000
    counts = torch.zeros(draws, 20)
    counts[:, [0, 6, 19]] = torch.tensor([5.0, 2.0, 3.0])
    moved = CountMover(P, 10)(torch.ones(draws, dtype=torch.int64), counts, torch.Generator().manual_seed(0))
    expected = counts[0].double() @ P[1]
    spread = (counts[0].double() @ (P[1] * (1 - P[1])) / draws).sqrt()
    assert ((moved.double().mean(0) - expected).abs() <= 4.5 * spread).all()
    assert (moved[:, P[1][[0, 6, 19]].sum(0) == 0] == 0).all()
