"""Laws sum to one, counts to their number, nothing overflows, and what ends an iteration early is told."""

import logging
import math
import sys

import numpy as np
import pytest
import torch
from oracles.neural import cut_short, random_local, seeded
from oracles.surrogate import count_kernel
from scipy import stats

import altmarl_torch as am
from altmarl_torch.counts import kernels
from altmarl_torch.counts.factoring import factor_pairs
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior, fit_alpha
from altmarl_torch.counts.resampling import PosteriorKernel, ResamplingKernel
from altmarl_torch.evaluation.rollouts import visits
from altmarl_torch.games import beacon, hash_game, random_game, steer, ware, warehouse
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.learners.chains import projection
from altmarl_torch.operators import fixed_point
from altmarl_torch.operators import joint_value as evaluation
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate, exact_surrogate
from altmarl_torch.policies import rules as heuristics
from altmarl_torch.policies import walkers
from altmarl_torch.policies.belief import Belief
from altmarl_torch.support.native.mover import CountMover
from altmarl_torch.support.sampling import count_labels, distinct_labels
from altmarl_torch.tabular import g_learn, l_learn

MANY = 10**9
SMALL = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=40, seed=2, laziness=0.5)


def is_law(law, tolerance=1e-12):
    law = torch.as_tensor(law).double()
    assert float(law.min()) >= 0
    assert float((law.sum(-1) - 1).abs().max()) <= tolerance


def rows(kernel):
    """The matrix of a kernel, by its expectations; each column is that of one h'."""
    return kernel.expect(torch.eye(kernel.simplex.size, dtype=torch.float64))


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="altmarl_torch")
    return caplog


class TestConservation:
    """Every law that the library makes."""

    @pytest.mark.parametrize("zones", [2, 3, 5, 20, 50])
    @pytest.mark.parametrize("preset", ["paper", "code"])
    def test_laws_of_the_warehouse(self, zones, preset):
        game = warehouse(preset, num_zones=zones)
        for law in (game.P_g, game.P_l, game.induced(am.policies.uniform_local(game)).P_l_pi):
            is_law(law)

    @pytest.mark.parametrize("game", [steer(), ware(), hash_game(), beacon(), SMALL], ids=lambda game: game.name)
    def test_laws_of_the_other_games(self, game):
        for law in (game.P_g, game.P_l, game.initial.sg, game.initial.local_mean):
            is_law(law)
        is_law(game.induced(random_local(game)).P_l_pi)

    @pytest.mark.parametrize(("k", "num_sl"), [(4, 3), (50, 2), (60, 3), (12, 5), (300, 2)])
    def test_count_kernels(self, k, num_sl):
        game = random_game(num_sg=1, num_sl=num_sl, seed=k, laziness=0.8)
        P = game.P_l[:, 0, 0]
        exact = am.CountKernel(P, k)
        sampled = am.SampledCountKernel(P, k, 7, seeded(0))
        for kernel in (exact, sampled):
            is_law(rows(kernel))
            one = torch.ones(kernel.simplex.size, 1, dtype=torch.float64)
            assert float(kernel.push(one / len(one)).sum()) == pytest.approx(1, abs=1e-12)

    @pytest.mark.parametrize(("k", "n"), [(1, 2), (12, 12), (12, 40), (50, 1000), (50, MANY), (200, MANY)])
    def test_posterior_kernels(self, k, n):
        simplex, alpha = am.CountSimplex(k, 2), torch.tensor([0.6, 2.0], dtype=torch.float64)
        resampling = ResamplingKernel(simplex, alpha, n)
        P = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
        moving = PosteriorKernel(resampling, am.CountKernel(P, k))
        eye = torch.eye(simplex.size, dtype=torch.float64)
        for kernel in (resampling, moving):
            law = kernel.expect(eye)
            assert float(law.min()) >= -1e-12
            assert float((law.sum(-1) - 1).abs().max()) <= 1e-12
            torch.testing.assert_close(kernel.push(eye), law.T, rtol=0, atol=1e-12)

    def test_the_law_of_initial_counts(self):
        """Multinomial, and Dirichlet-multinomial."""
        for strength in (0.1, 3.0, math.inf):
            law = InitialLaw([1.0], [0.2, 0.5, 0.3], strength)
            is_law(law.count_law(am.CountSimplex(40, 3).counts))
            is_law(law.count_law(am.CountSimplex(1000, 3).counts), 1e-11)  # 500,000 of them, through log-gammas
            is_law(law.sample_mu(100, seeded(1)))

    def test_policies_of_heuristics(self):
        game, simplex = warehouse(), am.CountSimplex(6, 5)
        for pair in (am.heuristics.heuristic_pair(game, 6, rule, "walk") for rule in heuristics.RULES):
            is_law(heuristics.table(game, pair.rule, simplex))
        for walker in heuristics.WALKERS.values():
            is_law(walker(game))

    def test_policies_of_solutions_and_networks(self):
        for solution in (am.solve(SMALL, 4), am.solve(SMALL, 4, observation="posterior", alpha=1.0)):
            is_law(solution.pi_g)
            is_law(solution.pi_l)
        with cut_short():
            quick = am.solve(SMALL, 4, solver="neural", steps=1)
        is_law(quick.pi_l)
        is_law(quick.pi_g)
        is_law(quick.policy.laws(am.CountSimplex(4, 3).counts))

    def test_occupancy_and_next_laws(self):
        surrogate = Surrogate.build(SMALL, random_local(SMALL), PairPlan(am.CountSimplex(5, 3)))
        pi_g = am.policies.uniform_global(SMALL, surrogate.simplex)
        is_law(next_sg_law(surrogate, pi_g))
        is_law(surrogate.initial_law.flatten())
        law = occupancy(surrogate, pi_g, relative_error=1e-13)
        is_law(law.flatten() * (1 - SMALL.gamma))

    def test_beliefs_after_a_thousand_updates(self):
        game, generator = warehouse(n=MANY), seeded(0)
        belief = Belief.of(game, walkers.walk_walker(game))
        mean = belief.mean.expand(50, -1)
        strength = torch.full((50, 1), belief.strength, dtype=torch.float64)
        for _ in range(1000):
            counts = torch.nn.functional.one_hot(torch.randint(5, (50,), generator=generator), 5)
            mean, strength = belief.look(mean, strength, counts)
            mean, strength = belief.predict(mean, strength, torch.randint(5, (50,), generator=generator))
        is_law(mean)
        assert bool((strength > 0).all())
        assert bool(strength.isfinite().all())


class TestManyAgents:
    """n = 10^9, k = 1000."""

    @pytest.mark.parametrize("n", [1000, 1500, 2001, MANY, 2**53])
    def test_a_sample_holds_k_agents_of_those_there_are(self, n):
        k, counts = 1000, torch.tensor([[0.25, 0.5, 0.25, 0.0]]).double().mul(n).floor()
        counts[:, 0] += n - counts.sum()
        labels = distinct_labels(50, min(k, n - k), n, seeded(n % 97))
        sample = count_labels(labels, counts.expand(50, -1).contiguous(), k)
        assert sample.dtype == torch.int64
        assert (sample.sum(-1) == k).all()
        assert bool(((sample >= 0) & (sample <= counts)).all())

    def test_counts_stay_whole_over_a_long_rollout(self):
        game = warehouse(n=MANY)
        pair = am.heuristics.heuristic_pair(game, 1000, "sticky", "walk")
        _, counts = visits(game, pair, episodes=3, horizon=400)
        assert torch.equal(counts, counts.round())
        assert float(counts.min()) >= 0
        assert (counts.to(torch.int64).sum(-1) == MANY).all()

    def test_a_sample_of_a_thousand_moves_whole(self):
        game = warehouse()
        P = game.induced(walkers.walk_walker(game)).P_l_pi.transpose(0, 1)
        mover, counts, generator = CountMover(P, 1000), torch.full((40, 5), 200.0), seeded(0)
        for step in range(300):
            counts = mover(torch.full((40,), step % 5), counts, generator)
        assert torch.equal(counts, counts.round())
        assert (counts.sum(-1) == 1000).all()
        assert float(counts.min()) >= 0

    def test_a_billion_agents_earn_what_a_million_do(self):
        game = warehouse()
        pair = am.heuristics.heuristic_pair(game, 1000, "sticky", "walk")
        few, many = (am.rollout(game, pair, episodes=150, horizon=100, n=n, seed=s) for n, s in ((10**6, 0), (MANY, 1)))
        assert bool(many.returns.isfinite().all())
        assert abs(many.mean - few.mean) <= 4 * math.hypot(few.sem, many.sem)

    def test_the_kernel_of_a_thousand_agents_in_two_states_is_binomial(self):
        """Against scipy at both ends and in the middle; what is below 1e-308 is zero, and no row loses anything."""
        P = torch.tensor([[0.9, 0.1], [1e-9, 1 - 1e-9]], dtype=torch.float64)
        kernel = am.CountKernel(P, 1000)
        law, first = rows(kernel), kernel.simplex.counts[:, 0].numpy()
        assert kernel.simplex.size == 1001
        is_law(law)
        for row in (0, 1, 500, 999, 1000):
            stay, come = stats.binom(first[row], 0.9), stats.binom(1000 - first[row], 1e-9)
            expected = np.convolve(stay.pmf(np.arange(first[row] + 1)), come.pmf(np.arange(1001 - first[row])))
            np.testing.assert_allclose(law[row].numpy(), expected[first], rtol=1e-8, atol=1e-250)
        counts = kernel.simplex.counts.double()
        torch.testing.assert_close(kernel.expect(counts), counts @ P, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("P", [[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]], [[0.5, 0.5], [1e-300, 1.0]]])
    def test_degenerate_kernels_of_a_thousand_agents(self, P):
        is_law(rows(am.CountKernel(torch.tensor(P, dtype=torch.float64), 1000)))

    def test_a_thousand_agents_are_solved_and_worth_what_a_billion_earn(self):
        game = steer(n=MANY)
        solution = am.solve(game, 1000)
        assert solution.converged
        found = am.rollout(game, solution, episodes=200, horizon=60, seed=1)
        assert found.mean == pytest.approx(solution.value, abs=4 * found.sem + 0.02 * abs(solution.value))

    def test_a_posterior_pushes_where_its_prior_underflows(self):
        """(1e-8)^50 is no float32; the law that is pushed has its mass there."""
        kernel = ResamplingKernel(am.CountSimplex(8, 2), torch.tensor([1e-6, 1e9], dtype=torch.float64), MANY)
        law = torch.zeros(9, dtype=torch.float32)
        law[0] = 1
        assert bool(kernel.push(law).isfinite().all())
        assert float(kernel.push(law).sum()) == pytest.approx(1, abs=1e-5)


class TestKernelsWithoutFactors:
    """Some laws are no product of pair moves that rounding forgives: a dense matrix, or a sample and a message."""

    AMPLIFYING = random_game(num_sg=1, num_sl=3, seed=29).P_l[:, 0, 0]  # a chance of -13
    NONE = random_game(num_sg=1, num_sl=4, seed=9).P_l[:, 0, 0]

    @pytest.fixture(autouse=True)
    def only_pair_moves(self, monkeypatch):
        monkeypatch.setattr(kernels, "PREFERRED_DENSE", 0)

    @pytest.mark.parametrize("P", [AMPLIFYING, NONE], ids=["amplifying", "none"])
    def test_a_dense_matrix_takes_their_place(self, P):
        moves = factor_pairs(P, 5)
        assert moves is None or moves.error_bound(5) > kernels.TOLERANCE
        kernel, exact = am.CountKernel(P, 5), torch.from_numpy(count_kernel(P, 5))
        assert kernel.form == "dense"
        torch.testing.assert_close(rows(kernel), exact, rtol=0, atol=1e-13)

    @pytest.mark.parametrize("P", [AMPLIFYING, NONE], ids=["amplifying", "none"])
    def test_or_a_sample_which_is_told_and_is_right_on_average(self, P, monkeypatch, told):
        monkeypatch.setattr(kernels, "LARGEST_DENSE", 1)
        monkeypatch.setattr(kernels, "FALLBACK_DRAWS", 4000)
        plan = PairPlan(am.CountSimplex(5, len(P)))
        (kernel,) = kernels.make_kernels(P.unsqueeze(1), plan)
        exact = torch.from_numpy(count_kernel(P, 5))
        assert kernel.form == "sampled"
        assert told.text.count("sampling 4000 draws in place of the exact kernel under s_g = 0") == 1
        assert bool(((rows(kernel) - exact).abs() <= 5 * (exact * (1 - exact) / 4000).sqrt() + 1e-3).all())

    def test_negative_factors_that_rounding_forgives_are_used_and_exact(self):
        found = 0
        for seed in range(30):
            P = random_game(num_sg=1, num_sl=3, seed=seed, laziness=0.3).P_l[:, 0, 0]
            kernel = am.CountKernel(P, 4)
            if kernel.form == "pair moves" and bool((kernel._moves.chances < 0).any()):
                found, exact = found + 1, torch.from_numpy(count_kernel(P, 4))
                torch.testing.assert_close(rows(kernel), exact, rtol=0, atol=kernel.error_bound + 1e-12)
        assert found > 0


class TestGammaNearOne:
    """Tiny games, against one linear system; V is near 1/(1-gamma), so that 1e-6 is asked of its size."""

    @pytest.mark.parametrize("gamma", [0.9999, 0.999999])
    @pytest.mark.parametrize("make", [steer, ware, beacon], ids=lambda make: make.__name__)
    def test_values_are_those_of_a_linear_system(self, make, gamma, told):
        game = make(gamma=gamma)
        surrogate = exact_surrogate(game, walkers.walk_walker(game), PairPlan(am.CountSimplex(4, game.num_sl)))
        pi_g = g_learn(surrogate).pi_g
        direct, swept = joint_value(surrogate, pi_g), joint_value(surrogate, pi_g, direct=0)
        scale = float(direct.values.abs().max())
        assert direct.error <= 1e-6 * scale
        assert swept.sweeps > 0
        assert float((swept.values - direct.values).abs().max()) <= 1e-6 * scale
        assert told.text == ""

    @pytest.mark.parametrize("gamma", [0.9999, 0.999999])
    def test_no_better_policy_is_overlooked(self, gamma):
        """The best response's value is that of its own linear system, and no single change of it gains."""
        game = SMALL.replace(gamma=gamma)
        surrogate = exact_surrogate(game, random_local(game), PairPlan(am.CountSimplex(2, 3)))
        found = g_learn(surrogate)
        value = joint_value(surrogate, found.pi_g)
        assert found.values.flatten().tolist() == pytest.approx(value.values.flatten().tolist(), rel=1e-6)
        for sg in range(2):
            for h in range(surrogate.simplex.size):
                changed = found.pi_g.clone()
                changed[sg, h] = changed[sg, h].flip(-1)
                assert joint_value(surrogate, changed).mean <= value.mean * (1 + 1e-9)

    @pytest.mark.parametrize("gamma", [0.9999, 0.999999, 1 - 1e-9])
    def test_the_walker_walks(self, gamma):
        assert torch.equal(walkers.walk_walker(warehouse(gamma=gamma)), walkers.walk_walker(warehouse()))

    @pytest.mark.parametrize("gamma", [0.99, 0.9999, 0.999999])
    @pytest.mark.parametrize("lazy", [0.0, 0.8, 0.99])
    def test_a_ring_is_swept_to_the_tolerance(self, lazy, gamma, told):
        """Agents that go round in circles: where the last five sweeps say too little of the next."""
        eye = torch.eye(30, dtype=torch.float64)
        ring = lazy * eye + (1 - lazy) * eye.roll(1, 0)
        reward, tolerance = torch.rand(30, dtype=torch.float64, generator=seeded(0)), 1e-7 / (1 - gamma)
        found = solve_fixed_point(lambda V: reward + gamma * ring @ V, torch.zeros_like(reward), gamma, tolerance)
        exact = torch.linalg.solve(eye - gamma * ring, reward)
        assert found.converged
        assert float((found.values - exact).abs().max()) <= found.error <= tolerance
        assert told.text == ""


class TestCaps:
    """Every iteration ends, and says so where it was not at its end."""

    def test_sweeps(self, monkeypatch, told):
        monkeypatch.setattr(evaluation, "DIRECT", 0)
        surrogate = Surrogate.build(SMALL, random_local(SMALL), PairPlan(am.CountSimplex(5, 3)))
        pi_g = am.policies.uniform_global(SMALL, surrogate.simplex)
        found = solve_fixed_point(lambda V: evaluation.policy_backup(surrogate, pi_g, V), surrogate.start, 0.8, 1e-9,
                                  max_sweeps=2)  # fmt: skip
        assert not found.converged
        assert found.error > 1e-9
        assert "after 2 sweeps, the most that are made" in told.text

    def test_sweeps_in_two_precisions(self, monkeypatch, told):
        monkeypatch.setattr(fixed_point, "LARGE_TABLE", 1)
        step = lambda V: torch.arange(9, dtype=V.dtype).sin() + 0.9 * V.roll(1)  # noqa: E731
        found = solve_fixed_point(step, torch.zeros(9, dtype=torch.float64), 0.9, 1e-9, max_sweeps=3)
        assert (found.sweeps, found.converged) == (4, False)  # three, and one to have the bound in float64
        assert "after 4 sweeps, the most that are made" in told.text

    def test_what_converges_is_not_told(self, told):
        assert solve_fixed_point(lambda V: 1 + 0.5 * V, torch.zeros(3, dtype=torch.float64), 0.5, 1e-9).converged
        assert told.text == ""

    def test_rounding_ends_an_iteration_before_its_cap(self, told):
        """Noise of 1e-6 in every sweep, and a tolerance far below."""
        generator = seeded(0)

        def step(V):
            return torch.arange(50).double().sin() + 0.9 * V.roll(1) + 1e-6 * torch.rand(50, generator=generator)

        found = solve_fixed_point(step, torch.zeros(50, dtype=torch.float64), 0.9, 1e-12)
        assert not found.converged
        assert found.sweeps < 1000
        assert found.error < 1e-4

    def test_the_occupancy(self, monkeypatch, told):
        monkeypatch.setattr(sys.modules[occupancy.__module__], "OCCUPANCY_SWEEPS", 1)
        surrogate = Surrogate.build(SMALL, random_local(SMALL), PairPlan(am.CountSimplex(5, 3)))
        occupancy(surrogate, am.policies.uniform_global(SMALL, surrogate.simplex))
        assert "the occupancy is known within" in told.text
        assert "after 1 sweeps, the most that are made" in told.text

    def test_the_walker(self, monkeypatch, told):
        monkeypatch.setattr(walkers, "MAX_ROUNDS", 1)
        is_law(walkers.walk_walker(warehouse()))
        assert "still changes after 1 rounds of policy iteration" in told.text

    def test_improvements_of_the_local_policy(self, monkeypatch, told):
        monkeypatch.setattr(sys.modules[l_learn.__module__], "MAX_ROUNDS", 1)
        game, plan = warehouse(num_zones=3), PairPlan(am.CountSimplex(4, 3))
        pi_g = am.policies.uniform_global(game, plan.simplex)
        stay = torch.eye(game.num_al, dtype=torch.float64)[0].expand(3, game.num_sg, -1).contiguous()
        found = l_learn(game, pi_g, stay, plan)
        assert found.rounds == 1
        assert "L-LEARN still gains after 1 improvements of pi_l" in told.text

    def test_passes_of_coordinate_ascent(self, monkeypatch, told):
        monkeypatch.setattr(projection, "MAX_PASSES", 1)
        start = torch.eye(2, dtype=torch.float64)[torch.zeros(2, 2, dtype=torch.int64)]
        projection.ascend(lambda pi_l: float(pi_l[..., 1].sum()), start, margin=0.0)
        assert "coordinate ascent still gains after 1 passes" in told.text

    def test_the_fit_of_a_prior(self, monkeypatch, told):
        monkeypatch.setattr(sys.modules[fit_alpha.__module__], "FIT_STEPS", 1)
        alpha = fit_alpha(torch.tensor([[3.0, 7.0], [9.0, 1.0]]).double(), torch.ones(2).double())
        assert bool((alpha > 0).all())
        assert "alpha still changes by" in told.text

    def test_populations_that_are_all_alike_have_a_prior_in_range(self):
        alpha = fit_alpha(torch.tensor([[500.0, 500.0]] * 3).double(), torch.ones(3).double())
        Prior(alpha.unsqueeze(0), 1000)

    def test_steps_of_the_alternation(self):
        solution = am.solve(hash_game(), 3, steps=1)
        assert len(solution.history) == 2
        assert not solution.converged
        assert am.solve(hash_game(), 3).converged

    def test_episodes_of_ucfh(self, told):
        pi_g = am.policies.uniform_global(steer(), am.CountSimplex(2, 2))
        found = am.tabular.ucfh(am.tabular.chained_mdp(steer(), pi_g, 2, horizon=3), max_episodes=20)
        assert not found.converged
        assert "UCFH stopped after 20 episodes" in told.text

    def test_improvements_of_pi_l_by_networks(self, monkeypatch, told):
        monkeypatch.setattr("altmarl_torch.alternation.players.neural.MAX_ROUNDS", 1)
        monkeypatch.setattr("altmarl_torch.alternation.players.neural.SMALL_GAIN", 0.0)
        with cut_short():
            solution = am.solve(steer(), 3, solver="neural", steps=1, nested="off")
        assert solution.history[1].details["l_learn/rounds"] == 1
        assert "L-LEARN still gains after 1 improvements of pi_l" in told.text

    def test_draws_of_the_rewards(self, monkeypatch, told):
        monkeypatch.setattr("altmarl_torch.alternation.run.MOST_XI", 2)
        law = am.rewards.GaussianReward(steer().r_g, torch.ones(2, 2), -5.0, 5.0)
        am.solve(steer().replace(r_g=law), 2, xi="lemma", steps=1)
        assert "2 are made" in told.text

    def test_gradient_steps(self, told):
        with cut_short():
            am.solve(SMALL, 3, solver="neural", nested="off", steps=1)
        assert "is annealed all the same" in told.text
