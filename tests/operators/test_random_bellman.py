"""T-hat^random_{k,m} (Definition F.2, Algorithm 10): draws of R_Delta, the operator, its fixed point as Xi grows, and
`solve` with draws of the rewards, by tables and by networks."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from oracles.neural import exact, exact_mean, random_local, seeded, small_batches

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games import random_game
from altmarl_torch.games.reward_laws import DiscreteReward, GaussianReward
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.operators.bellman import (
    adapted_bellman,
    draw_next,
    empirical_adapted_bellman,
    randomized_adapted_bellman,
    reward_noise,
)
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.runs.config import TrainConfig

f64 = torch.float64
PLAIN = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, seed=5)
K = 3


def coins(mean, spread):
    """mean +- spread, each with probability 1/2."""
    return DiscreteReward(torch.stack([mean - spread, mean + spread], -1), torch.full((*mean.shape, 2), 0.5))


NOISY = PLAIN.replace(r_g=coins(PLAIN.r_g, 0.5), r_l=coins(PLAIN.r_l, 1.0))
CLIPPED = PLAIN.replace(r_l=GaussianReward(PLAIN.r_l, torch.full_like(PLAIN.r_l, 0.4), -0.2, 1.2))
PI_L = random_local(PLAIN)


def noise_of(game, xi, seed=0):
    surrogate = exact(game, PI_L, K)
    return reward_noise(surrogate, surrogate.simplex.counts, xi, seeded(seed))


def noise_at(game, xi, sg, h, times, seed=0):
    """Independent draws at one state, `[times, ag]`."""
    surrogate = exact(game, PI_L, K)
    return reward_noise(surrogate, surrogate.simplex.counts[h].expand(times, -1), xi, seeded(seed))[sg]


class TestNoise:
    def test_shape_and_reproducibility(self):
        noise = noise_of(NOISY, 4)
        assert noise.shape == (2, 10, 2)
        assert torch.equal(noise, noise_of(NOISY, 4))
        assert not torch.equal(noise, noise_of(NOISY, 4, seed=1))

    @pytest.mark.parametrize("xi", [1, 7, 200])
    def test_mean_and_variance_are_those_of_averages_of_agents(self, xi):
        """Var = [Var r_g + 1/k^2 sum_z h_z Var_z] / Xi, Var_z that of the mixture over a_l ~ pi_l."""
        surrogate, repeats = exact(NOISY, PI_L, K), 40_000
        noise = noise_at(NOISY, xi, 1, 3, repeats)
        law, pi = NOISY.r_l_law, PI_L[:, 1]
        mixture_mean = (pi * law.mean[:, 1]).sum(-1)
        mixture = (pi * (law.variance[:, 1] + law.mean[:, 1].square())).sum(-1) - mixture_mean.square()
        h = surrogate.simplex.counts[3].double()
        variance = (NOISY.r_g_law.variance[1] + (h * mixture).sum() / K**2) / xi
        assert (noise.mean(0).abs() < 4.5 * (variance / repeats).sqrt()).all()
        torch.testing.assert_close(noise.var(0), variance, rtol=0.03, atol=0)

    def test_agents_one_by_one(self):
        """One R_Delta, k agents drawn one at a time with their actions, has the same distribution function."""
        surrogate, times = exact(CLIPPED, PI_L, K), 20_000
        fast = noise_at(CLIPPED, 1, 0, 4, times // 2).flatten()
        generator = seeded(9)
        states = torch.repeat_interleave(torch.arange(3), surrogate.simplex.counts[4].long()).expand(times, K)
        acts = (torch.rand(times, K, generator=generator, dtype=f64) > PI_L[states, 0, 0]).long()
        drawn = CLIPPED.r_l_law.draw(states, torch.tensor(0), acts, generator=generator).mean(-1)
        slow = drawn - surrogate.local_reward[0, 4]
        grid = torch.cat([fast, slow]).sort().values + 1e-12
        below = [torch.searchsorted(sample.sort().values, grid) for sample in (fast, slow)]
        assert (below[0] - below[1]).abs().max() / times < 2.23 * math.sqrt(2 / times)

    def test_no_law_no_draws(self):
        with pytest.raises(ArgumentError, match="need a game with a reward law"):
            noise_of(PLAIN, 1)

    def test_targets_of_networks_are_drawn_around_those_of_the_means(self):
        """Under equal draws of the next counts they differ by noise / gamma, whose mean is 0."""
        batch, size = BatchSurrogate.build(NOISY, PI_L, K), 20_000
        drawing = dataclasses.replace(batch, rewards=NOISY.reward_sampler(PI_L), xi=2)
        counts, s_g = torch.tensor([[2.0, 0.0, 1.0]]).repeat(size, 1), torch.ones(size, dtype=torch.int64)
        plain, drawn = (one.targets(lambda h: h[:, :2], s_g, counts, 1, seeded(1)).double() for one in (batch, drawing))
        noise = (drawn - plain) * NOISY.gamma
        position = int(am.CountSimplex(K, 3).rank(torch.tensor([[2, 0, 1]])))
        oracle = noise_at(NOISY, 2, 1, position, size, seed=2)
        assert (noise.mean(0).abs() < 4.5 * noise.std(0) / size**0.5).all()
        torch.testing.assert_close(noise.var(0), oracle.var(0), rtol=0.05, atol=0)


class TestOperator:
    @pytest.mark.parametrize("m", [None, 5])
    def test_it_contracts_by_gamma(self, m):
        surrogate, generator = exact(NOISY, PI_L, K), seeded(2)
        draws = None if m is None else draw_next(NOISY, surrogate.P_l_pi, surrogate.plan, m, generator)
        noise = noise_of(NOISY, 3)
        one, other = (torch.randn(2, 10, 2, generator=generator, dtype=f64) for _ in range(2))
        images = [randomized_adapted_bellman(Q, surrogate, noise, draws) for Q in (one, other)]
        assert (images[0] - images[1]).abs().max() <= NOISY.gamma * (one - other).abs().max() * (1 + 1e-12)

    def test_without_noise_it_is_the_operator_of_the_means(self):
        surrogate, Q = exact(NOISY, PI_L, K), torch.randn(2, 10, 2, generator=seeded(3), dtype=f64)
        still = torch.zeros_like(Q)
        assert torch.equal(randomized_adapted_bellman(Q, surrogate, still), adapted_bellman(Q, surrogate))
        draws = draw_next(NOISY, surrogate.P_l_pi, surrogate.plan, 4, seeded(4))
        wanted = empirical_adapted_bellman(Q, surrogate_reward(surrogate), draws, NOISY.gamma)
        assert torch.equal(randomized_adapted_bellman(Q, surrogate, still, draws), wanted)

    def test_from_zero_it_returns_the_drawn_rewards(self):
        surrogate, noise = exact(NOISY, PI_L, K), noise_of(NOISY, 1)
        image = randomized_adapted_bellman(torch.zeros(2, 10, 2, dtype=f64), surrogate, noise)
        torch.testing.assert_close(image, surrogate_reward(surrogate) + noise)


class TestGLearn:
    @pytest.mark.parametrize("m", [None, 4])
    def test_it_finds_the_fixed_point_of_the_frozen_draws(self, m):
        surrogate = exact(NOISY, PI_L, K)
        found = g_learn(surrogate, m=m, xi=2, generator=seeded(5), parameterization="counts")
        generator = seeded(5)
        noise = reward_noise(surrogate, surrogate.simplex.counts, 2, generator)
        draws = None if m is None else draw_next(NOISY, surrogate.P_l_pi, surrogate.plan, m, generator)
        Q = torch.zeros_like(noise)
        for _ in range(150):
            Q = randomized_adapted_bellman(Q, surrogate, noise, draws)
        torch.testing.assert_close(found.Q, Q, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("parameterization", ["counts", "tuples"])
    def test_many_draws_find_the_means(self, parameterization):
        surrogate = exact(NOISY, PI_L, K)
        exactly = g_learn(surrogate, parameterization=parameterization)
        found = g_learn(surrogate, xi=10**6, generator=seeded(6), parameterization=parameterization)
        torch.testing.assert_close(found.Q, exactly.Q, rtol=0, atol=0.02)

    def test_the_papers_sweeps_end_within_their_bound(self):
        surrogate = exact(NOISY, PI_L, K)
        swept = g_learn(surrogate, xi=1, sweeps=30, generator=seeded(7), parameterization="counts")
        exactly = g_learn(surrogate, xi=1, generator=seeded(7), parameterization="counts")
        assert (swept.Q - exactly.Q).abs().max() <= swept.error + exactly.error

    @pytest.mark.parametrize("xi", [0, 2.5, True, 10**6 + 1])
    def test_bad_numbers_of_draws(self, xi):
        with pytest.raises(ArgumentError, match="xi must be an integer in"):
            g_learn(exact(NOISY, PI_L, K), xi=xi, generator=seeded(0))

    def test_draws_need_a_generator_and_a_pi_l(self):
        with pytest.raises(ArgumentError, match="needs a generator"):
            g_learn(exact(NOISY, PI_L, K), xi=1)
        bare = Surrogate.from_tables(NOISY, *NOISY.induced(PI_L), exact(NOISY, PI_L, K).plan)
        with pytest.raises(ArgumentError, match=r"made by Surrogate\.build"):
            g_learn(bare, xi=1, generator=seeded(0))


@pytest.fixture(scope="module")
def errors():
    """|Q_Xi - Q| in the supremum norm, 20 seeds for each Xi from 1 to 1024: `[xi, seed]`."""
    surrogate = exact(NOISY, PI_L, K)
    means = g_learn(surrogate, parameterization="counts").Q
    found = {}
    for xi in (1, 4, 16, 64, 256, 1024):
        fixed = [g_learn(surrogate, xi=xi, generator=seeded(s), parameterization="counts").Q for s in range(20)]
        found[xi] = [float((Q - means).abs().max()) for Q in fixed]
    return found


class TestManyDraws:
    def test_the_error_falls_like_the_square_root(self, errors):
        """Slope -1/2 of the logarithm of the mean error; the tolerance is four times its standard error, 0.015."""
        logs = np.log([np.mean(errors[xi]) for xi in errors])
        slope = np.polyfit(np.log(list(errors)), logs, 1)[0]
        assert slope == pytest.approx(-0.5, abs=0.06)

    def test_the_error_stays_below_hoeffdings_bound(self, errors):
        """With the union over the E = |S_g| N |A_g| entries, at 99 %: R sqrt(ln(2E/0.01)/2Xi) / (1-gamma)."""
        entries = 2 * 10 * 2
        for xi, found in errors.items():
            bound = NOISY.reward_range * math.sqrt(math.log(2 * entries / 0.01) / (2 * xi)) / (1 - NOISY.gamma)
            assert max(found) < bound


class TestSolve:
    def test_many_draws_learn_the_pair_of_the_means(self):
        wanted = am.solve(PLAIN, K)
        found = am.solve(NOISY, K, xi=10**6, seed=1)
        assert torch.equal(found.pi_l, wanted.pi_l)
        assert torch.equal(found.pi_g, wanted.pi_g)
        assert found.value == pytest.approx(wanted.value, rel=1e-9)  # values are those of the means

    def test_one_draw_loses_what_the_evaluator_sees(self):
        """Judged by the mean rewards, a pair learned from single draws is worth no more, and here it is worth less."""
        wanted = am.solve(PLAIN, K)
        found = am.solve(NOISY, K, xi=1, seed=1)
        assert found.value < wanted.value
        assert found.value == pytest.approx(exact_mean(PLAIN, found.pi_g, found.pi_l, K), rel=1e-6)

    def test_without_draws_laws_change_nothing(self):
        wanted, found = am.solve(PLAIN, K), am.solve(NOISY, K)
        assert torch.equal(found.pi_g, wanted.pi_g)
        assert found.value == pytest.approx(wanted.value, rel=1e-12)

    def test_the_lemmas_number(self):
        number = am.theory.xi_lemma_f4(NOISY, K)
        by_word, by_number = (am.solve(NOISY, K, xi=xi, seed=2) for xi in ("lemma", number))
        assert torch.equal(by_word.pi_g, by_number.pi_g)

    @pytest.mark.parametrize(
        ("game", "options", "said"),
        [
            (PLAIN, {"xi": 3}, "this game's are deterministic"),
            (PLAIN, {"xi": "lemma"}, "this game's are deterministic"),
            (NOISY, {"xi": 0}, "xi must be an integer in"),
            (NOISY, {"xi": math.nan}, "xi must be an integer in"),
            (NOISY, {"xi": "many"}, "'lemma' or None, not 'many'"),
            (NOISY, {"xi": 3, "observation": "posterior"}, "no place in observation='posterior'"),
        ],
    )
    def test_refusals(self, game, options, said):
        with pytest.raises(ArgumentError, match=said):
            am.solve(game, K, **options)

    def test_the_configuration_knows_it(self):
        assert TrainConfig(xi=7).as_dict()["xi"] == 7
        assert TrainConfig(xi="lemma").xi == "lemma"
        with pytest.raises(ArgumentError, match="xi must be an integer"):
            TrainConfig(xi=-1)
        with pytest.raises(ArgumentError, match="this game's are deterministic"):
            TrainConfig(game="steer", k=3, solver="tabular", xi=4).build_game()

    def test_networks_find_the_pair_of_the_means(self):
        with small_batches():
            network = CountNetwork(3, 2, 2, width=32, generator=seeded(0))
            found = am.solve(NOISY, K, solver="neural", xi=64, steps=1, network=network)
        wanted = am.solve(PLAIN, K)
        assert torch.equal(found.pi_l.argmax(-1), wanted.pi_l.argmax(-1))
        assert exact_mean(PLAIN, found.pi_g, found.pi_l, K) == pytest.approx(wanted.value, rel=2e-3)
