"""UCFH: the constants of Algorithm 5, bounds that hold in every run, the printed loop, and learning by simulator."""

import itertools
import math
import time
from dataclasses import replace

import pytest
import torch
from oracles.chains import OneByOne, any_pi_g, by_mode
from scipy import stats

import altmarl_torch as am
from altmarl_torch.games import hash_game, steer
from altmarl_torch.policies.tabular import uniform_global
from altmarl_torch.tabular import EpisodicMDP, chained_mdp, ucfh
from altmarl_torch.theory import algorithm_5


def small(objective="own"):
    """The chain of steer at k = 1: 4 states, 8 rows."""
    return chained_mdp(steer(), by_mode(steer(), 1), 1, "tuple", objective, 9)


def staged():
    """A chain of two agents, with rewards that are whole 64ths."""
    mdp = chained_mdp(hash_game(), by_mode(hash_game(), 2), 2, "tuple", "team", 5)
    return replace(mdp, rewards=(64 * mdp.rewards).round() / 64)


def same(first, second):
    """Whether two runs are equal, bit for bit."""
    first, second = (vars(run) | {"seconds": None} for run in (first, second))
    return all(
        torch.equal(value, second[name]) if isinstance(value, torch.Tensor) else value == second[name]
        for name, value in first.items()
    )


def agree(first, second):
    """Whether two samples of a number have the same mean, by Welch's test."""
    return stats.ttest_ind(first, second, equal_var=False).pvalue > 1e-3


def test_the_constants_worked_by_hand():
    """S = 4, A = 2, H = 16, C = 2, eps = delta = 1, where all logarithms are of powers of two.

    w_min = 1/256; U = 8 log2(64 256) = 112; delta_1 = 1/448; log2 log2 16 = 2;
    m = 512 4 (2 256) (15 ln 2)^2 ln(96 14^2), from 8 H^2 S^2 = 2^15 and 4 S^2 H^2 = 2^14.
    """
    m = 512 * 4 * 512 * (15 * math.log(2)) ** 2 * math.log(96 * 14**2)
    expected = (1 / 256, 112, 1 / 448, m, m / 256, 64 * m)
    assert algorithm_5(4, 2, 16, 2, epsilon=1, delta=1) == pytest.approx(expected, rel=1e-14)


def test_the_constants_of_short_episodes_take_1_for_log_log():
    """S = A = C = 1, H = 2: w_min = 1/8, U = log2(2 8) = 4, m = 512 4 (5 ln 2)^2 ln(6 4^2)."""
    m = 512 * 4 * (5 * math.log(2)) ** 2 * math.log(96)
    found = algorithm_5(1, 1, 2, 1, epsilon=1, delta=1)
    assert found == pytest.approx((1 / 8, 4, 1 / 8, m, m / 8, 2 * m), rel=1e-14)
    assert all(value > 0 for value in algorithm_5(1, 1, 1, 1, epsilon=1, delta=1))


def check_bounds(mdp, result, epsilon, lowest=0.0):
    best, slack = mdp.optimal_value(), 1e-9
    for policy in (result.policy, result.optimistic_policy):
        assert mdp.value(policy) <= best + slack
    assert result.value_lower <= mdp.value(result.policy) + slack
    assert best <= result.value_upper + slack
    for bounds in result.history:
        assert bounds.lower <= best + slack
        assert bounds.upper >= best - slack
    assert (result.history[-1].lower, result.history[-1].upper) == (result.value_lower, result.value_upper)
    within = result.value_upper - result.value_lower <= epsilon * (result.value_lower - lowest) + slack
    assert result.converged == within


DISPATCHERS = {
    "mode": by_mode,
    "uniform": lambda game, k: uniform_global(game, am.CountSimplex(k, game.num_sl)),
    "random": lambda game, k: any_pi_g(game, k, 7),
}


@pytest.mark.parametrize("objective", ["own", "team"])
@pytest.mark.parametrize("dispatcher", DISPATCHERS)
@pytest.mark.parametrize(("k", "form", "seeds"), [(1, "tuple", 12), (2, "tuple", 3), (2, "mean-field", 2)])
def test_the_truth_lies_between_the_bounds_in_every_run(objective, dispatcher, k, form, seeds):
    mdp = chained_mdp(steer(), DISPATCHERS[dispatcher](steer(), k), k, form, objective, 5)
    lowest = float(mdp.discounts.sum()) * sum(float(mdp.rewards[mdp.states_of(j)].min()) for j in range(mdp.num_stages))
    for seed in range(seeds):
        result = ucfh(mdp, 0.25, seed=seed)
        check_bounds(mdp, result, 0.25, lowest)
        assert result.converged
        assert result.certified
        assert not result.guaranteed


def test_with_its_own_m_the_smallest_game_finishes_and_meets_its_epsilon():
    """More than 10^7 episodes, for a chain of 4 states. The optimum is 3.625640 (`docs/oracle-values.md`)."""
    mdp = small()
    result = ucfh(mdp, 0.05, 0.1, faithful=True, max_episodes=10**12)
    assert (result.guaranteed, result.certified, result.converged) == (True, True, True)
    assert mdp.value(result.policy) >= 0.95 * 3.625640
    check_bounds(mdp, result, 0.05)
    largest = (1 - 0.8**9) / 0.2  # rewards of one stage in 0 .. 1, counted with gamma^t
    assert result.constants == pytest.approx(algorithm_5(4, 2, 9, 4, epsilon=0.05 * largest, delta=0.1))
    assert result.episodes * mdp.rounds > result.constants.first_update > 1e7
    assert result.plans == result.updates + 1


@pytest.mark.parametrize("settings", [{"m_scale": 0.5}, {"first_update": 10**7}, {"confidence": 0.1}])
def test_theorem_c3_is_claimed_for_the_papers_settings_alone(settings):
    result = ucfh(small(), 0.05, faithful=True, max_episodes=10**12, **settings)
    assert (result.converged, result.guaranteed) == (True, False)
    assert result.certified == ("confidence" not in settings)


def test_more_updates_than_the_failure_probability_was_shared_among_certify_nothing():
    """U_max grows with log2(1/eps), the doublings of the visits with 2 log2(1/eps)."""
    mdp = EpisodicMDP.from_tables([[[0.5, 0.5]]] * 2, [[0.0], [1.0]], 2)
    result = ucfh(mdp, 0.001, max_episodes=10**13)
    assert result.converged
    assert result.updates > result.constants.updates
    assert not result.certified


def test_the_printed_loop_and_the_batched_one_agree():
    """After the same number of episodes, and in how many they need."""

    def found(faithful, *names, **settings):
        runs = [ucfh(small(), first_update=1, faithful=faithful, seed=seed, **settings) for seed in range(10)]
        return [[getattr(run, name) for run in runs] for name in names]

    for names, settings in (
        (("value_lower", "value_upper"), {"epsilon": 0.01, "max_episodes": 200}),
        (("episodes",), {"epsilon": 0.3}),
    ):
        loop, batched = (found(faithful, *names, **settings) for faithful in (True, False))
        assert all(map(agree, loop, batched))


class Watcher:
    """Plays one by one, keeps its own n and v of the rows, and checks that no row was ready while it played."""

    def __init__(self, mdp, first):
        self.mdp, self.first, self.play, self.policy, self.updates = mdp, first, OneByOne(mdp, 3), None, 0
        self.n, self.v = torch.zeros(2, len(mdp.widths), dtype=torch.float64)

    def ready(self):
        return (self.v >= self.n.clamp_min(self.first)).nonzero().flatten().tolist()

    def __call__(self, policy, episodes):
        while policy is not self.policy and self.ready():
            row = self.ready()[0]  # one row a plan
            self.n[row] += self.v[row]
            self.v[row] = 0
            self.updates += 1
        self.policy, total = policy, torch.zeros(self.mdp.num_transitions, dtype=torch.float64)
        for _ in range(episodes):
            assert not self.ready()
            visits = self.play(policy, 1)
            self.v.index_add_(0, self.mdp.edge_rows, visits)
            total += visits
        return total


@pytest.mark.parametrize("first", [1, 7, 60])
def test_the_printed_loop_stops_at_the_episode_in_which_a_row_is_ready(first):
    mdp = small()
    watcher = Watcher(mdp, first)
    result = ucfh(mdp, 0.3, faithful=True, first_update=first, sample=watcher)
    assert result.plans == result.updates + 1
    assert 0 < result.updates - watcher.updates <= len(mdp.widths)  # those after the last episode


@pytest.mark.parametrize("mdp", [small(), staged()], ids=["small", "staged"])
def test_episodes_one_by_one_teach_the_same(mdp):
    own = [ucfh(mdp, 0.3, seed=seed) for seed in range(12)]
    played = [ucfh(mdp, 0.3, sample=OneByOne(mdp, seed)) for seed in range(12)]
    for name in ("episodes", "value_lower", "value_upper", "updates"):
        assert agree(*([getattr(run, name) for run in runs] for runs in (own, played)))


@pytest.mark.parametrize("settings", [{}, {"faithful": True, "first_update": 3}])
def test_a_learner_with_a_simulator_does_not_look_at_the_probabilities(settings):
    mdp = small("team")
    unknown = replace(mdp, probabilities=torch.full_like(mdp.probabilities, math.nan))
    other = replace(mdp, probabilities=1 / mdp.widths.double()[mdp.edge_rows])
    runs = [ucfh(blind, 0.3, sample=OneByOne(mdp, 5), **settings) for blind in (mdp, unknown, other)]
    assert same(runs[0], runs[1])
    assert same(runs[0], runs[2])


@pytest.mark.parametrize("settings", [{}, {"faithful": True, "first_update": 2}])
def test_the_same_seed_gives_the_same_run(settings):
    first, again, other = (ucfh(small(), 0.3, seed=seed, **settings) for seed in (4, 4, 5))
    assert same(first, again)
    assert not torch.equal(first.shares, other.shares)


@pytest.mark.parametrize("budget", [1, 5, 300])
@pytest.mark.parametrize("settings", [{}, {"faithful": True, "first_update": 1}, {"faithful": True}])
def test_a_spent_budget_ends_the_run_with_bounds_that_hold(budget, settings, caplog):
    mdp = staged()
    result = ucfh(mdp, 0.01, max_episodes=budget, **settings)
    assert result.episodes == budget
    assert f"stopped after {budget} episodes" in caplog.text
    check_bounds(mdp, result, 0.01)
    assert not result.converged


def test_time_that_has_run_out_ends_the_run_with_bounds_that_hold():
    mdp = small("team")
    result = ucfh(mdp, 0.001, faithful=True, first_update=1, max_seconds=0.3)
    assert 0.3 < result.seconds < 5
    assert not result.converged
    check_bounds(mdp, result, 0.001)


def test_bounds_only_improve_and_are_told_as_they_are_found():
    told = []
    result = ucfh(small(), 0.1, progress=told.append)
    assert tuple(told) == result.history
    lower, upper, episodes = ([getattr(bounds, name) for bounds in told] for name in ("lower", "upper", "episodes"))
    assert lower == sorted(lower)
    assert upper == sorted(upper, reverse=True)
    assert episodes == sorted(episodes)


@pytest.mark.parametrize(("scale", "shifts"), [(4.0, (0.0, 0.0)), (1.0, (3.0, -8.0)), (0.25, (-2.0, -0.5))])
def test_the_units_of_the_rewards_change_nothing_but_the_units(scale, shifts):
    """r -> scale r + shift of the stage; exact, since all numbers are binary fractions."""
    mdp = staged()
    shift = torch.tensor(shifts).double()[mdp.stage].unsqueeze(-1)
    changed = replace(mdp, rewards=scale * mdp.rewards + shift)
    before, after = ucfh(mdp, 0.3), ucfh(changed, 0.3)
    assert torch.equal(before.policy, after.policy)
    assert torch.equal(before.shares, after.shares)
    assert (before.episodes, before.plans, before.constants) == (after.episodes, after.plans, after.constants)
    offset = float(mdp.discounts.sum()) * sum(shifts)
    for name in ("value_lower", "value_upper"):
        assert getattr(after, name) == pytest.approx(scale * getattr(before, name) + offset, abs=1e-12)


def test_negative_rewards_are_learned_from():
    mdp = replace(small(), rewards=small().rewards - 5)
    result = ucfh(mdp, 0.1)
    assert result.value_upper < 0
    check_bounds(mdp, result, 0.1, lowest=-5 * float(mdp.discounts.sum()))


@pytest.mark.parametrize("reward", [0.0, 2.0, -3.0])
def test_where_all_rewards_are_equal_there_is_nothing_to_learn(reward):
    mdp = small()
    result = ucfh(replace(mdp, rewards=torch.full_like(mdp.rewards, reward)))
    assert (result.episodes, result.plans, result.converged) == (0, 1, True)
    assert result.value_lower == result.value_upper == pytest.approx(reward * float(mdp.discounts.sum()))


def test_a_single_successor_needs_no_episode():
    mdp = EpisodicMDP.from_tables([[[1, 0], [0, 1]]] * 2, [[0, 0], [1, 1]], 5)
    result = ucfh(mdp)
    assert (result.episodes, result.value_lower, result.value_upper) == (0, mdp.optimal_value(), mdp.optimal_value())


def test_shares_out_of_range_have_no_constants():
    for name, value in itertools.product(("epsilon", "delta"), (0, -1, 1.5, math.nan)):
        with pytest.raises(am.ArgumentError, match=name):
            algorithm_5(4, 2, 9, 4, **({"epsilon": 0.1, "delta": 0.1} | {name: value}))


@pytest.mark.parametrize(
    ("name", "values"),
    [
        *((name, (0, -0.1, 1.1, math.nan, True, "x")) for name in ("epsilon", "delta", "confidence")),
        ("m_scale", (0, -1, math.inf, math.nan)),
        ("first_update", (0, -1, 1.5)),
        ("max_episodes", (0, 2.5)),
        ("max_seconds", (0, -1, math.nan)),
        ("seed", (-1, 0.5)),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(name, values):
    for value in values:
        with pytest.raises(am.ArgumentError, match=name):
            ucfh(small(), **{name: value})


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf, 1.7e308])
def test_rewards_that_no_scale_brings_into_0_to_1_are_refused(reward):
    rewards = small().rewards.clone()
    rewards[1, 0], rewards[2, 1] = reward, -abs(reward)
    with pytest.raises(am.ArgumentError, match="rewards must be finite"):
        ucfh(replace(small(), rewards=rewards))


@pytest.mark.parametrize(
    "visits", [torch.zeros(3), -torch.ones(32), torch.full((32,), math.nan), torch.ones(32, 1), None, [0.5] * 32]
)
def test_a_simulator_that_returns_no_visits_is_refused(visits):
    expected = r"sample must return visits .* \[32\]|sample\(policy, episodes\).* whole number|holds object"
    with pytest.raises(am.ArgumentError, match=expected):
        ucfh(small(), sample=lambda policy, episodes: visits)


def test_the_budget_in_seconds_is_kept_while_rows_are_waited_for():
    def slow(policy, episodes):
        time.sleep(0.05)
        return torch.zeros(32)

    result = ucfh(small(), 0.01, sample=slow, max_seconds=0.2)
    assert not result.converged
    assert result.episodes < 10**4


def test_where_every_row_within_reach_has_been_visited_enough_it_stops():
    result = ucfh(small(), 0.01, m_scale=1e-12)
    assert not result.converged
    assert result.episodes < 10**7
    assert result.value_lower <= small().optimal_value() <= result.value_upper
