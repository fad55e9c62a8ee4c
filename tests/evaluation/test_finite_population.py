"""The n-agent system: exact values against enumeration and rollouts; intervals; what the surrogate promises."""

import numpy as np
import pytest
import torch
from oracles.agents import exact_return
from scipy import stats

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.evaluation.finite_population import population_policy
from altmarl_torch.evaluation.paired import surrogate_promise
from altmarl_torch.games import beacon, hash_game, random_game, steer, warehouse
from altmarl_torch.games.named.toys import beacon_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, heuristic_pair, table
from altmarl_torch.policies.tabular import TabularPair, deterministic_local, uniform_local
from altmarl_torch.support.intervals import Difference


def random_pair(game, k, seed=0):
    generator, simplex = torch.Generator().manual_seed(seed), am.CountSimplex(k, game.num_sl)

    def laws(*shape):
        weights = torch.rand(shape, generator=generator, dtype=torch.float64) ** 3
        return weights / weights.sum(-1, keepdim=True)

    pi_g, pi_l = laws(game.num_sg, simplex.size, game.num_ag), laws(game.num_sl, game.num_sg, game.num_al)
    return TabularPair(pi_g, pi_l, simplex)


def law_of(pair):
    index = {tuple(counts): h for h, counts in enumerate(pair.simplex.counts.tolist())}
    return lambda s_g, counts: pair.pi_g.numpy()[s_g, [index[tuple(row)] for row in counts.tolist()]]


def mode_pair(game, k):
    simplex = am.CountSimplex(k, game.num_sl)
    return TabularPair(table(game, RULES["mode"](game), simplex), uniform_local(game), simplex)


@pytest.mark.parametrize(("k", "n", "num_sl"), [(1, 1, 3), (1, 6, 3), (2, 5, 3), (3, 3, 2), (4, 7, 4)])
def test_mixing_is_the_multivariate_hypergeometric_law(k, n, num_sl):
    """Policies that name the sample they see: pi_n is then H(h | c)."""
    sampled, population = am.CountSimplex(k, num_sl), am.CountSimplex(n, num_sl)
    mixed = population_policy(torch.eye(sampled.size, dtype=torch.float64).unsqueeze(0), sampled, population)[0]
    h, c = sampled.counts.numpy(), population.counts.numpy()
    expected = stats.multivariate_hypergeom.pmf(x=h[None], m=c[:, None], n=k)
    np.testing.assert_allclose(mixed, np.nan_to_num(expected), rtol=0, atol=1e-12)
    np.testing.assert_allclose(mixed.sum(-1), 1, rtol=0, atol=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_a_population_of_k_is_the_surrogate(seed):
    game = random_game(seed=seed)
    pair = random_pair(game, 4, seed)
    found = am.population_value(game, pair, n=4)
    expected = am.joint_value(Surrogate.build(game, pair.pi_l, PairPlan(pair.simplex)), pair.pi_g)
    torch.testing.assert_close(found.values, expected.values, rtol=0, atol=1e-11)
    assert (found.n, found.k, found.mean) == (4, 4, pytest.approx(expected.mean, abs=1e-11))


@pytest.mark.parametrize("seed", range(3))
def test_three_agents_of_whom_two_are_seen_by_enumeration(seed):
    """Every tuple, every subset, backward from far away: gamma^60 is 1e-18."""
    game = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, gamma=0.5, n=3, seed=seed).replace(
        initial=am.InitialLaw([0.3, 0.7], [0.2, 0.8], 0.7)
    )
    pair = random_pair(game, 2, seed)
    expected = exact_return(game, law_of(pair), pair.pi_l, k=2, n=3, horizon=60)
    assert am.population_value(game, pair).mean == pytest.approx(expected, abs=1e-12)


def test_it_is_what_rollouts_measure():
    game, n = warehouse(), 8
    pair = am.solve(game, 1)
    exact = am.population_value(game, pair, n=n)
    rollouts = am.rollout(game, pair, episodes=2000, horizon=250, n=n, seed=1)  # gamma^250 V_max = 8e-4
    assert abs(rollouts.mean - exact.mean) < 4 * rollouts.sem
    assert abs(rollouts.mean - pair.value) > 100 * rollouts.sem  # the surrogate's value is another number


def test_a_dispatcher_that_reads_no_sample_is_worth_the_same_on_any_number():
    """Beacon, solved by hand: V = 2/(1-gamma) - (1-f)/(1-gamma q), with f the share at the beacon."""
    game = beacon()
    k, n = 2, 6
    simplex = am.CountSimplex(k, game.num_sl)
    stay = torch.eye(game.num_ag, dtype=torch.float64).unsqueeze(1).expand(-1, simplex.size, -1).contiguous()
    walk = deterministic_local(torch.ones(game.num_sl, game.num_sg, dtype=torch.int64), game.num_al)
    found = am.population_value(game, TabularPair(stay, walk, simplex), n=n)
    expected = beacon_value(am.CountSimplex(n, game.num_sl).counts)
    torch.testing.assert_close(found.values, expected, rtol=0, atol=1e-10)


def test_too_many_agents_are_refused_with_the_size_and_the_way_out():
    game = warehouse()
    with pytest.raises(am.SizeError, match=r"n = 1000 agents over 5 local states.*4\.21e\+10.*use rollouts"):
        am.population_value(game, mode_pair(game, 2))
    two_states = steer(n=50_000)
    with pytest.raises(am.SizeError, match=r"n = 50000 .*cannot be evaluated exactly; use rollouts"):
        am.population_value(two_states, mode_pair(two_states, 2))


def test_what_does_not_fit_is_refused():
    game = steer()
    with pytest.raises(am.ArgumentError, match="k"):
        am.population_value(game, mode_pair(game, 3), n=2)
    with pytest.raises(am.PolicyError, match="HeuristicPair has no table"):
        am.population_value(game, heuristic_pair(game, 2, "mode", "walk"))
    with pytest.raises(am.PolicyError, match="pi_g"):
        am.population_value(warehouse(), mode_pair(game, 2), n=3)
    with pytest.raises(am.ArgumentError, match="episodes"):
        am.paired_difference(game, mode_pair(game, 2), mode_pair(game, 3), episodes=1)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize("episodes", [2, 3, 31])
def test_intervals_are_students(level, episodes):
    samples = torch.arange(episodes, dtype=torch.float64) ** 2
    expected = stats.t.interval(level, episodes - 1, samples.mean(), stats.sem(samples))
    found = Difference.of(samples, level)
    assert (found.low, found.high) == pytest.approx(expected)


def test_intervals_cover_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    samples = 3 + 2 * torch.randn(2000, 12, generator=generator, dtype=torch.float64)
    found = [Difference.of(row) for row in samples]
    covered = sum(one.low <= 3 <= one.high for one in found) / len(found)
    assert covered == pytest.approx(0.95, abs=4 * (0.95 * 0.05 / 2000) ** 0.5)
    assert all(one.high - one.mean == pytest.approx(one.mean - one.low) for one in found)


def test_common_random_numbers_find_a_small_difference():
    """Less noise than two independent means, and the exact difference lies in the interval."""
    game, n = hash_game(2, 2, 2, 2), 9
    first, second = mode_pair(game, 3), random_pair(game, 2)
    second = TabularPair(second.pi_g, first.pi_l, second.simplex)
    found = am.paired_difference(game, first, second, episodes=2000, horizon=80, n=n, seed=5, level=0.999)
    exact = am.population_value(game, first, n=n).mean - am.population_value(game, second, n=n).mean
    assert found.low <= exact <= found.high
    alone = [am.rollout(game, pair, episodes=2000, horizon=80, n=n, seed=5).sem for pair in (first, second)]
    assert found.sem < np.hypot(*alone)
    same = am.paired_difference(game, first, first, episodes=10, n=n)
    assert (same.mean, same.low, same.high) == (0, 0, 0)


def test_the_promise_is_that_of_the_same_horizon():
    """Against enumeration at n = k; and what truncation leaves out is bounded by gamma^T V_max."""
    game = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, gamma=0.7, n=5, seed=2)
    pair = random_pair(game, 2)
    promise = surrogate_promise(game, pair, episodes=50, horizon=6)
    expected = exact_return(game, law_of(pair), pair.pi_l, k=2, n=2, horizon=6)
    assert promise.promised == pytest.approx(expected, abs=1e-12)
    value = am.joint_value(Surrogate.build(game, pair.pi_l, PairPlan(pair.simplex)), pair.pi_g).mean
    assert 0 <= value - promise.promised <= promise.truncation
    assert promise.difference.mean == pytest.approx(promise.promised - promise.measured)
    assert (promise.k, promise.n, promise.horizon) == (2, 5, 6)


def test_the_surrogate_overrates_a_dispatcher_that_follows_a_small_sample():
    """The warehouse at k = 1: the exact gap lies in the measured interval, far from zero."""
    game, n = warehouse(), 8
    pair = am.solve(game, 1)
    promise = surrogate_promise(game, pair, episodes=2000, horizon=250, n=n, seed=3, level=0.999)
    gap = pair.value - am.population_value(game, pair, n=n).mean
    assert 50 < promise.difference.low <= gap <= promise.difference.high


def test_the_gap_closes_as_the_sample_grows_to_the_population():
    game, n = warehouse(), 8
    gaps = []
    for k in (1, 4, 8):
        pair = am.solve(game, k)
        gaps.append(pair.value - am.population_value(game, pair, n=n, tolerance=1e-6).mean)
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=1e-4)
