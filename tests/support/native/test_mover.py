"""Agents moved one step: against brute force and multinomials, the compiled form against torch's, and no agent lost."""

import numpy as np
import pytest
import torch
from oracles.sampling import laws_of_types
from oracles.surrogate import count_kernel, count_vectors
from scipy import stats

from altmarl_torch.support.native import mover
from altmarl_torch.support.native.library import library
from altmarl_torch.support.native.mover import CountMover


@pytest.fixture(params=["compiled", "torch"], autouse=True)
def form(request, monkeypatch):
    """Which form moves agents one by one."""
    if request.param == "torch":
        monkeypatch.setattr(mover, "library", lambda: None)
    elif library() is None:
        pytest.skip("not built: python setup.py build_ext --inplace")


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


def test_agents_of_many_types_move_one_by_one_under_their_own_laws():
    P, draws = laws_of_types(5, 4), 4000
    counts = torch.zeros(draws, 20)
    counts[:, [0, 6, 19]] = torch.tensor([5.0, 2.0, 3.0])
    moved = CountMover(P, 10)(torch.ones(draws, dtype=torch.int64), counts, torch.Generator().manual_seed(0))
    expected = counts[0].double() @ P[1]
    spread = (counts[0].double() @ (P[1] * (1 - P[1])) / draws).sqrt()
    assert ((moved.double().mean(0) - expected).abs() <= 4.5 * spread).all()
    assert (moved[:, P[1][[0, 6, 19]].sum(0) == 0] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("width", [1, 2, 16, 17, 24])
def test_both_forms_agree_to_the_bit(monkeypatch, width, dtype):
    """Narrow rows and wide ones, chances of nearly zero, systems without agents, tensors that are not contiguous."""
    draw = np.random.default_rng(width)
    P = np.zeros((3, 24, 24))
    for sg, u in np.ndindex(3, 24):
        P[sg, u, draw.permutation(24)[:width]] = draw.dirichlet(np.full(width, 0.1)) + 1e-15
    counts = torch.from_numpy(draw.multinomial(11, np.full(24, 1 / 24), 60)).to(dtype).T.contiguous().T
    counts[7] = 0
    s_g = torch.from_numpy(draw.integers(3, size=(60, 2)))[:, 0]
    moves = CountMover(torch.from_numpy(P), 11, fixed=False)
    moved = moves(s_g, counts, torch.Generator().manual_seed(0))
    monkeypatch.setattr(mover, "library", lambda: None)
    assert torch.equal(moves(s_g, counts, torch.Generator().manual_seed(0)), moved)
    assert torch.equal(moved.sum(-1), counts.sum(-1))
