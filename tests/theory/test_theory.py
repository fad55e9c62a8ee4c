"""Schedules, bounds and sizes against hand-worked numbers, against each other, and against what can be measured."""

import inspect
import math
import re
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch import theory
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.operators.bellman import policy_backup
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.tabular import g_learn

ROOT = Path(__file__).parents[2]
sqrt, ln = math.sqrt, math.log


@pytest.fixture(scope="module")
def game():
    """gamma .95, r~ = 4 + 10.5, |S_g| = |S_l| = |A_g| = 5, |A_l| = 3, n = 1000."""
    return warehouse()


def refuse_warnings():
    warnings.simplefilter("error")


class TestHandWorked:
    def test_the_known_vacuous_eta(self, game):
        """2 * 14.5 / .05^2 * (sqrt(ln(50 sqrt 50) / 100) + 5 / sqrt 50) = 11,012."""
        by_hand = 2 * 14.5 / 0.05**2 * (sqrt(ln(50 * sqrt(50)) / 100) + 5 / sqrt(50))
        assert by_hand == pytest.approx(11012, abs=1)
        assert theory.eta_algorithm_3(game, 50) == pytest.approx(by_hand)
        assert theory.eta_theorem_4_8(game, 50) == pytest.approx(by_hand)

    def test_eta_of_d17_has_n_and_the_logarithm_outside_the_root(self, game):
        gap = 11600 * (sqrt(951 / 100_000) * ln(50 * sqrt(50)) + 1 / sqrt(50))
        assert theory.eta_theorem_d17(game, 50) == pytest.approx(gap + 80 / sqrt(50) + 1 / sqrt(50))
        assert theory.gap_corollary_b33(game, 50, bellman_noise=3) == pytest.approx(gap + 120)

    def test_the_gaps(self, game):
        spread = sqrt(951 / 100_000 * ln(50 * sqrt(50)))
        assert theory.gap_theorem_4_2(game, 50, bellman_noise=1) == pytest.approx(
            2 * 20 + 11600 / 50 + 11600 * sqrt(ln(2 * 50 * 25) / 100)
        )
        assert theory.gap_theorem_b16(game, 50) == pytest.approx(11600 * (spread + 1 / sqrt(50)))
        assert theory.gap_corollary_b37(game, 50) == pytest.approx(11600 * (spread + 1 / sqrt(50)) + 80 / sqrt(50))
        assert theory.gap_theorem_b30(game, 50, delta=0.1) == pytest.approx(
            2 * 10.5 * 400 * sqrt(951 / 100_000 * ln(100)) + 11600 * 5 * 0.1
        )
        assert theory.gap_theorem_4_4(game, 50) == pytest.approx(
            5800 / sqrt(50) * sqrt(ln(50 * sqrt(50))) + 2 / sqrt(50)
        )

    def test_the_off_policy_gaps(self, game):
        e2 = ln(40 * 14.5 * 125 * 50**5.5 * 400)
        e7 = ln(40 * 14.5 * 25 * 400) + 50 * ln(5)
        for found, log in ((theory.gap_theorem_e2, e2), (theory.gap_corollary_e7, e7)):
            assert found(game, 50) == pytest.approx(5800 * sqrt(951 / 100_000 * log) + 0.1 / sqrt(50))

    def test_the_number_of_sweeps(self, game):
        """T = 40 ln(14.5 sqrt(k) / .05): 227 at k = 1, 306 at k = 50."""
        assert theory.sweeps_algorithm_3(game, 1) == math.ceil(40 * ln(290)) == 227
        assert theory.sweeps_algorithm_3(game, 50) == math.ceil(40 * ln(290 * sqrt(50))) == 306

    def test_the_three_numbers_of_alternations(self, game):
        assert theory.steps_theorem_4_8(game, 3) == 2 * 25 * 15 * 5**4
        assert theory.steps_lemma_d16(game, 3, eta=1e-9) == pytest.approx(25 * 15 * 5**4)
        assert theory.steps_lemma_d16(game, 3, eta=29.0) == pytest.approx(10)
        assert theory.steps_lemma_d16(random_game(num_sl=1), 1, eta=1e-9) == pytest.approx(54)
        assert theory.steps_table_2() == 10

    def test_horizons(self, game):
        assert theory.horizon_lemma_c1(game, epsilon=0.1) == math.ceil(20 * ln(2900)) == 160
        assert theory.horizon_lemma_c1(game, epsilon=1000) == 1
        H = theory.horizon_algorithm_2(game, 4)
        assert math.ceil(20 * ln(290 * 2)) == H
        assert theory.micro_horizon_algorithm_8(game, 4) == 4 * H
        assert theory.micro_horizon_algorithm_9(game, 4) == 6 * H
        assert theory.truncation_lemma_c1(game, steps=10) == pytest.approx(0.95**10 * 290)

    def test_xi(self, game):
        wide = float(game.r_g.max() - game.r_g.min() + game.r_l.max() - game.r_l.min())
        assert theory.xi_lemma_f4(game, 16) == math.ceil(10 * wide * 2 * sqrt(ln(800)))
        assert theory.xi_lemma_f4(game, 16, reward_range=1) == math.ceil(20 * sqrt(ln(800)))

    def test_the_draws_are_exchanged_between_b36_and_b37(self, game):
        scale = 2 * 100 * 0.95**2 * 10.5**2 / 0.05**4
        tuples = scale * (ln(200 * 25) + 10 + 10 * ln(5))
        counts = scale * (ln(200 * 25) + 10 + ln(5) + 5 * ln(10))
        assert theory.draws_lemma_b36(game, 10) == pytest.approx((tuples, counts))
        assert theory.draws_corollary_b37(game, 10) == pytest.approx((counts, tuples))
        shared = 100 * 0.95**2 / 0.05**4
        assert theory.draws_lemma_4_3(game, 10) == pytest.approx((14.5 * shared, 14.5**2 * 5 * shared))

    def test_the_noise(self, game):
        shared = 0.95 / 0.05**2
        printed = [10.5 * shared * sqrt(2 * (ln(2 * 25 / 0.05) + power * ln(5)) / 30) for power in (10, 11)]
        assert theory.noise_lemma_b35(game, 10, m=30, rho=0.05) == pytest.approx(tuple(printed))
        sizes = 5**10, math.comb(14, 4)
        corrected = [14.5 * shared * sqrt(2 * ln(2 * 25 * size / 0.05) / 30) for size in sizes]
        assert theory.noise_lemma_b35_corrected(game, 10, m=30, rho=0.05) == pytest.approx(tuple(corrected))

    def test_lipschitz_constants_and_deviations(self, game):
        assert theory.lipschitz_theorem_b18(game) == pytest.approx(420)
        assert theory.lipschitz_theorem_b18(game, sweeps=2) == pytest.approx(2 * 10.5 * 1.95)
        assert theory.lipschitz_proposition_e3(game) == pytest.approx(210)
        assert theory.confidence_theorem_b26(game, 50, epsilon=0.3) == pytest.approx(
            1 - 10 * math.exp(-2 * 50 * 1000 * 0.09 / 951)
        )
        assert theory.approximation_theorem_b27(game, 50, delta=0.1) == pytest.approx(
            420 * sqrt(951 / 400_000 * ln(100))
        )
        assert theory.approximation_corollary_e6(game, 50, delta=0.1) == pytest.approx(
            210 * ln(100) * sqrt(951 / 400_000)
        )
        assert theory.value_bound_lemma_b4(game) == pytest.approx(290)
        assert theory.error_corollary_b11(game, sweeps=3) == pytest.approx(0.95**3 * 290)

    def test_the_confidence_at_the_deviation_is_what_was_asked(self, game):
        epsilon = theory.deviation_theorem_b26(game, 20, delta=0.03)
        assert theory.confidence_theorem_b26(game, 20, epsilon=epsilon) == pytest.approx(0.97)

    def test_lemma_b36_whole(self, game):
        found = theory.lemma_b36(game, 4)
        log = ln(580) * ln(200 * 4 * math.e * 125)
        samples = 2 * 64 * 0.95**2 * 10.5**2 * 25 / 0.05**5 * log * min(25 * 4**5, 4 * 5**4)
        assert found.samples == pytest.approx(samples)
        assert (found.sweeps, found.noise) == (math.ceil(40 * ln(580)), 1.0)
        assert found.failure == pytest.approx(math.exp(-4) / 100)
        assert found.draws == theory.draws_lemma_b36(game, 4)

    def test_sample_complexities(self, game):
        g2, far = 0.95**2, 20.0**5
        assert theory.samples_theorem_4_4(game, 2) == pytest.approx(
            (16 * g2 * 14.5**2 * 25 * 25 * far, 2**8 * g2 * 10.5**2 * 25 * 25 * far)
        )
        branches = 5**5 * 25 * 2**10 * 3 * 400 / 0.04 * ln(20), 32 * 25 * 25 * 3 * 8000 / 0.04 * ln(20)
        for name in ("samples_theorem_4_6", "samples_theorem_c4"):
            assert getattr(theory, name)(game, 2, epsilon=0.2, delta=0.05) == pytest.approx(min(branches))
        logs = ln(20) * ln(5) * 8000 / 0.04
        assert theory.runtime_theorem_c4(game, 2, epsilon=0.2, delta=0.05) == pytest.approx(
            (32 * 625 * 5**4 * 9 * logs, 5**9 * 625 * 2**20 * 9 * logs)
        )
        for name, power in (("samples_theorem_4_8", 4), ("samples_theorem_d17", 2)):
            expected = 625 * 5**5 * 25 * 3**power * 128 * 14.5**2 * far * ln(20)
            assert getattr(theory, name)(game, 2, delta=0.05) == pytest.approx(expected)
        assert theory.samples_corollary_e5(game, 2) == pytest.approx(2 * 125 * 32 * ln(2) ** 2 * far)

    def test_algorithm_5(self):
        """S = 24, A = 2, H = 20, C = 4 at epsilon = .5, delta = .1, worked out in steps."""
        found = theory.algorithm_5(24, 2, 20, 4, epsilon=0.5, delta=0.1)
        assert found.w_min == pytest.approx(0.5 / 1920)
        assert found.updates == pytest.approx(48 * math.log2(480 * 1920 / 0.5))
        assert found.delta_1 == pytest.approx(0.1 / (8 * found.updates))
        first = 512 * math.log2(math.log2(20)) ** 2 * 4 * 400 / 0.25
        second = math.log(8 * 400 * 576 / 0.5) ** 2 * math.log(6 * 48 * 4 * math.log2(4 * 576 * 400 / 0.5) ** 2 / 0.1)
        assert found.m == pytest.approx(first * second)
        assert (found.first_update, found.most_visits) == pytest.approx((found.m * found.w_min, 480 * found.m))
        assert theory.algorithm_5(24, 2, 1, 4, epsilon=0.5, delta=0.1).m > 0  # log2 log2 H is not taken below 1
        with pytest.raises(am.ArgumentError, match="epsilon must be a number in"):
            theory.algorithm_5(24, 2, 20, 4, epsilon=1.5, delta=0.1)

    def test_theorem_c3(self):
        found = theory.theorem_c3(24, 2, 20, epsilon=0.5, delta=0.1)
        assert found == pytest.approx((400 * 48 * 4 * ln(10), 8000 * 48 * 4 * ln(10), 20 * 48**2 * ln(2)), abs=1)

    def test_theorem_e4(self, game):
        c1, c2, log = 3 * 291**2, 912 * math.e * 871**2, ln(2 * 5 * 25 * 5)
        expected = c1 * (1 - 0.05 * 0.1 / 2) ** 40 + c2 * log / 0.05**2 * 0.1 * 10
        assert theory.error_theorem_e4(game, 2, alpha=0.1, steps=50, mixing_steps=10) == pytest.approx(expected)

    def test_sizes(self, game):
        """24 states of steer at k = 2 (`docs/oracle-values.md`), and the warehouse at k = 3."""
        assert theory.states_algorithm_8_reachable(steer(), 2) == 24
        expected = {
            "count_vectors": 35,
            "count_vectors_algorithm_1": 5 * 3**5,
            "q_entries_tuples": 25 * 125,
            "q_entries_counts": 25 * 35,
            "q_entries_lemma_b36": 25 * 5 * 3**5,
            "states_algorithm_8": 3 * 5 * 6 * 125,
            "states_algorithm_8_reachable": 5 * 125 * 11,
            "states_algorithm_9": 6 * 5 * 6 * 5 * 6 * 15**2,
            "states_theorem_c4_tuples": 3 * 25 * 125,
            "states_theorem_c4_counts": 25 * 125 * 3**10,
        }
        assert {name: getattr(theory, name)(game, 3) for name in expected} == expected
        assert len(am.CountSimplex(3, 5)) == 35


class TestShape:
    @pytest.mark.parametrize(("states", "actions", "first"), [(1, 1, 656), (2, 2, 705), (5, 5, 763)])
    def test_eta_is_vacuous_up_to_k_704_at_any_gamma(self, states, actions, first):
        """2 eta < V_max first holds at k = 705 with |S_l||A_g| = 4 and gamma = 0; a larger gamma asks for more."""
        for gamma in (0.0, 0.5, 0.95):
            game = random_game(num_sl=states, num_ag=actions, gamma=gamma)
            assert all(2 * theory.eta_algorithm_3(game, k) >= game.v_max for k in (1, 2, 50, 300, first - 1))
        game = game.replace(gamma=0.0)
        assert 2 * theory.eta_algorithm_3(game, first) < game.v_max

    @pytest.mark.parametrize(
        "name",
        [name for name in theory.__all__ if name.startswith(("eta_", "gap_"))],
    )
    def test_tolerances_and_gaps_fall_with_k_and_rise_with_gamma(self, name, game):
        given = {"delta": 0.05} if name == "gap_theorem_b30" else {}
        formula = getattr(theory, name)
        values = [formula(game, k, **given) for k in (1, 2, 5, 50, 500)]
        assert values == sorted(values, reverse=True)
        values = [formula(game.replace(gamma=gamma), 5, **given) for gamma in (0, 0.5, 0.9, 0.99)]
        assert values == sorted(values)

    def test_the_other_directions(self, game):
        def rises(values):
            found = list(values)
            return found == sorted(set(found))

        noise = [theory.noise_lemma_b35(game, 5, m=m, rho=0.1)[0] for m in (100, 10, 1)]
        assert rises(noise)
        assert rises(theory.noise_lemma_b35(game, 5, m=9, rho=rho)[1] for rho in (0.5, 0.1, 0.01))
        assert rises(theory.deviation_theorem_b26(game, 5, delta=delta) for delta in (0.5, 0.1, 0.01))
        assert rises(theory.samples_theorem_4_8(game, 5, delta=delta) for delta in (0.5, 0.1, 0.01))
        assert rises(theory.sweeps_algorithm_3(game, k) for k in (1, 5, 50, 500))
        assert rises(theory.horizon_lemma_c1(game, epsilon=epsilon) for epsilon in (1, 0.1, 0.01))

    def test_e7_does_not_fall_to_zero(self, game):
        """r~/(1-gamma)^2 sqrt( ln|S_l| / 2 ) is its limit, where the statement claims O~(1/sqrt k)."""
        many = game.replace(n=10**15)
        assert theory.gap_corollary_e7(many, 10**4) > 5800 * sqrt(ln(5) / 2) > game.v_max
        assert theory.gap_theorem_e2(many, 10**12) < game.v_max

    def test_lemma_f4_promises_more_than_its_xi_gives(self):
        """Equation 57 at the printed Xi: 1/sqrt(200 sqrt k), not 1/sqrt(200 k)."""
        k, xi = 16, 10 * 2 * sqrt(ln(800))
        assert sqrt(ln(800) / (2 * xi**2)) == pytest.approx(1 / sqrt(200 * sqrt(k)))

    @pytest.mark.parametrize("name", [name for name in theory.__all__ if inspect.isfunction(getattr(theory, name))])
    def test_nothing_overflows(self, name):
        large = random_game(num_sl=20, n=2000)
        given = {"m": 30, "rho": 0.1, "epsilon": 0.1, "delta": 0.1, "eta": 1.0, "alpha": 0.1, "mixing_steps": 9}
        given |= {
            "game": large,
            "k": 1000,
            "steps": 100,
            "num_states": 10**30,
            "num_actions": 2,
            "successors": 4,
            "sweeps": 9,
        }
        formula = getattr(theory, name)
        found = formula(**{word: given[word] for word in inspect.signature(formula).parameters if word in given})
        flat = torch.utils._pytree.tree_leaves(found)
        assert all(isinstance(value, int) or math.isfinite(value) for value in flat)


class TestRefusals:
    @pytest.mark.parametrize(
        "call",
        [
            lambda game: theory.eta_algorithm_3(game, 0),
            lambda game: theory.gap_theorem_4_2(game, 1.5),
            lambda game: theory.gap_theorem_b16(game, 1001),
            lambda game: theory.eta_theorem_d17(game, 1001),
            lambda game: theory.deviation_theorem_b26(game, 5, delta=0.0),
            lambda game: theory.approximation_theorem_b27(game, 5, delta=1.0),
            lambda game: theory.confidence_theorem_b26(game, 5, epsilon=0),
            lambda game: theory.noise_lemma_b35(game, 5, m=0, rho=0.1),
            lambda game: theory.noise_lemma_b35(game, 5, m=1, rho=math.nan),
            lambda game: theory.horizon_lemma_c1(game, epsilon=-1),
            lambda game: theory.steps_lemma_d16(game, 5, eta=0),
        ],
    )
    def test_out_of_range(self, call, game):
        with pytest.raises(am.ArgumentError):
            call(game)

    @pytest.mark.parametrize(
        "name",
        ["eta_theorem_4_8", "eta_theorem_d17", "gap_theorem_4_2", "gap_theorem_b16", "gap_corollary_b33"],
    )
    def test_negative_rewards_warn_where_the_proof_needs_the_sign(self, name, game):
        formula = getattr(theory, name)
        with warnings.catch_warnings():
            refuse_warnings()
            formula(game, 5)
            theory.sweeps_algorithm_3(game.replace(r_g=game.r_g - 9), 5)
            theory.lipschitz_theorem_b18(game.replace(r_g=game.r_g - 9))
        with pytest.warns(UserWarning, match="needs non-negative rewards"):
            formula(game.replace(r_g=game.r_g - 9), 5)

    def test_no_rewards_at_all(self):
        zero = steer().replace(r_g=torch.zeros(2, 2), r_l=torch.zeros(2, 2, 2))
        assert theory.sweeps_algorithm_3(zero, 3) == theory.horizon_algorithm_2(zero, 3) == 1
        assert theory.steps_lemma_d16(zero, 3, eta=1.0) == 0
        assert theory.gap_theorem_e2(zero, 4) == pytest.approx(0.05)


def surrogate_of(game, k):
    return Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(k, game.num_sl)))


def measured_noise(game, k, m, seed, form):
    surrogate = surrogate_of(game, k)
    exact = g_learn(surrogate, tolerance=1e-10 * game.v_max, parameterization="counts")
    generator = torch.Generator().manual_seed(seed)
    found = g_learn(surrogate, m=m, generator=generator, tolerance=1e-10 * game.v_max, parameterization=form)
    return float((found.Q - exact.Q).abs().max())


class TestMeasured:
    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from([1, 5, 30]), st.sampled_from([0.5, 0.9]))
    def test_noise_is_below_lemma_b35_corrected(self, seed, k, m, gamma):
        game = random_game(seed=seed, gamma=gamma)
        bound = theory.noise_lemma_b35_corrected(game, k, m=m, rho=0.01)
        assert measured_noise(game, k, m, seed, "tuples") <= bound.tuples
        assert measured_noise(game, k, m, seed, "counts") <= bound.counts

    def test_lemma_b35_as_printed_is_violated_where_r_g_dominates(self):
        """r_l = 0 makes the printed bound zero, but s_g' is still drawn and r_g depends on it."""
        game = random_game(seed=1, gamma=0.9)
        game = game.replace(r_l=0 * game.r_l)
        noise = measured_noise(game, 2, 5, 0, "counts")
        assert theory.noise_lemma_b35(game, 2, m=5, rho=0.01) == (0, 0)
        assert 0.01 < noise <= theory.noise_lemma_b35_corrected(game, 2, m=5, rho=0.01).counts

    @pytest.mark.parametrize(("n", "k"), [(20, 3), (20, 15), (20, 20), (500, 40)])
    def test_samples_deviate_no_more_often_than_theorem_b26_allows(self, n, k):
        """20,000 samples without replacement; four standard errors of the frequency are granted."""
        game = random_game(num_sl=3, n=n)
        generator, draws = torch.Generator().manual_seed(n + k), 20_000
        states = torch.arange(n) % 3
        chosen = torch.rand(draws, n, generator=generator).argsort(-1)[:, :k]
        sampled = torch.nn.functional.one_hot(states[chosen], 3).double().mean(1)
        population = torch.nn.functional.one_hot(states, 3).double().mean(0)
        deviation = (sampled - population).abs().amax(-1)
        for epsilon in (0.05, 0.1, 0.2, 0.3):
            allowed = 1 - theory.confidence_theorem_b26(game, k, epsilon=epsilon)
            assert float((deviation >= epsilon).double().mean()) <= allowed + 4 * sqrt(min(1, allowed) / draws)

    @settings(max_examples=15, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from([0.5, 0.9]), st.sampled_from([1.0, 0.1, 0.01]))
    def test_what_lies_beyond_h_steps_is_below_lemma_c1(self, seed, gamma, epsilon):
        """The value of one policy in 0..H-1 steps against its value for ever, from every state."""
        game = random_game(seed=seed, gamma=gamma)
        surrogate = surrogate_of(game, 2)
        pi_g = torch.full((3, len(surrogate.simplex), 3), 1 / 3, dtype=torch.float64)
        values, H = surrogate.start, theory.horizon_lemma_c1(game, epsilon=epsilon)
        for step in range(1, 600):
            values = policy_backup(surrogate, pi_g, values)
            if step == H:
                cut = values
        beyond = values - cut
        assert float(beyond.min()) >= -1e-9
        assert float(beyond.max()) <= theory.truncation_lemma_c1(game, steps=H) + 1e-9 <= epsilon + 2e-9

    def test_proposition_e3_needs_non_negative_rewards(self):
        """r_l = +-1 on two states, k = 1, gamma = 0: Q changes by 2 at TV 1; E.3 allows 1, B.18 allows 2."""
        game = steer(gamma=0.0)
        sign = torch.tensor([1.0, -1.0], dtype=torch.float64)[:, None, None].expand(2, 2, 2)
        game = game.replace(r_l=sign, r_g=0 * game.r_g)
        reward = surrogate_reward(surrogate_of(game, 1))
        assert float((reward[:, 0] - reward[:, 1]).abs().max()) == 2 == theory.lipschitz_theorem_b18(game)
        with pytest.warns(UserWarning, match="E.3"):
            assert theory.lipschitz_proposition_e3(game) == 1


def test_every_public_name_is_in_the_docs():
    text = (ROOT / "docs" / "bounds.md").read_text()
    documented = set(re.findall(r"`(\w+)`", text))
    assert set(theory.__all__) <= documented


def test_each_docstring_names_its_statement():
    for name in theory.__all__:
        statement = re.search(r"(theorem|lemma|corollary|proposition|algorithm|table)_([a-f]?)(\d+)(?:_(\d+))?", name)
        if statement and inspect.isfunction(getattr(theory, name)):
            assert inspect.getdoc(getattr(theory, name)), name
