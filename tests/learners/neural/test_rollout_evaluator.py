"""Joint values by paired episodes: those of the exact evaluator within their errors, and differences far closer."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles.neural import TablePolicy, exact, exact_mean, random_global, random_local

from altmarl_torch.alternation.loop import automatic_eta
from altmarl_torch.games import hash_game, random_game, steer, ware
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.learners.neural import rollout_evaluator as evaluation
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.operators.joint_value import JointValue, gain_error, joint_value
from altmarl_torch.policies.base import Pair

SKEWED = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, gamma=0.9, seed=3).replace(
    initial=InitialLaw([0.7, 0.2, 0.1], [0.1, 0.3, 0.6], 2.0), name="skewed"
)
INSTANCES = [(game, k) for game in (steer(), hash_game(), ware(), SKEWED) for k in (1, 3)] + [(SKEWED, 6)]
NAMES = [f"{game.name}-k{k}" for game, k in INSTANCES]


def pair_of(game, k, seed):
    """A random pair, as a table and as the evaluator wants it."""
    pi_g, pi_l = random_global(game, k, seed), random_local(game, seed + 1)
    return pi_g, Pair(TablePolicy(pi_g, k, game.num_sl), pi_l)


@pytest.mark.parametrize(("game", "k"), INSTANCES, ids=NAMES)
def test_the_mean_is_the_exact_joint_value(game, k):
    """Three random pairs, within 4 standard errors and the bound on what is beyond the horizon."""
    evaluator = RolloutEvaluator(game, k, "mean", seed=k)
    for seed in range(3):
        pi_g, pair = pair_of(game, k, seed)
        found = evaluator.evaluate(pair, None)
        assert found.standard_error > 0
        assert found.error <= 1e-5 * game.v_max
        expected = exact_mean(game, pi_g, pair.pi_l, k)
        assert abs(found.mean - expected) <= 4 * found.standard_error + found.error


def test_standard_errors_are_right():
    """Over 40 seeds the error of the mean, in its own standard errors, has a standard deviation near one."""
    game, k = random_game(gamma=0.6, seed=2), 2
    pi_g, pair = pair_of(game, k, 0)
    expected = exact_mean(game, pi_g, pair.pi_l, k)
    found = [RolloutEvaluator(game, k, "mean", seed).evaluate(pair, None) for seed in range(40)]
    z = np.array([(value.mean - expected) / value.standard_error for value in found])
    assert abs(z.mean()) <= 4.5 / 40**0.5
    assert 0.6 <= z.std() <= 1.45


@pytest.mark.parametrize(("game", "k"), [(steer(), 3), (SKEWED, 2)], ids=["steer", "skewed"])
def test_by_all_states_each_start_has_its_exact_value(game, k):
    """An initial law of one point makes it the only start; its value is V(s_g, h) there, whatever the point."""
    pi_g, pair = pair_of(game, k, 1)
    surrogate = exact(game, pair.pi_l, k)
    expected = joint_value(surrogate, pi_g).values
    for s_g, z in itertools.product(range(game.num_sg), range(game.num_sl)):
        point = game.replace(
            initial=InitialLaw(*(torch.eye(size)[i] for size, i in ((game.num_sg, s_g), (game.num_sl, z))))
        )
        found = RolloutEvaluator(point, k, "all-states", seed=5).evaluate(pair, None)
        assert found.returns.shape == (len(found.values), 32)
        torch.testing.assert_close(found.returns.mean(-1), found.values)
        h = surrogate.simplex.rank(k * torch.nn.functional.one_hot(torch.tensor(z), game.num_sl))
        apart = found.values - expected[s_g, h]
        assert abs(float(apart.mean())) <= 4 * found.standard_error + found.error
        z_values = apart / (found.returns.std(-1) / 32**0.5)
        assert float(z_values.abs().max()) <= 6  # of at most 128 t-variables with 31 degrees of freedom
        assert float(z_values.std()) == pytest.approx(1, abs=0.3)


def test_by_all_states_starts_differ_and_their_mean_is_the_joint_value():
    pi_g, pair = pair_of(SKEWED, 3, 1)
    found = RolloutEvaluator(SKEWED, 3, "all-states", seed=5).evaluate(pair, None)
    assert float(found.values.std()) > 1.5 * float(found.returns.std(-1).mean()) / 32**0.5
    assert found.mean == pytest.approx(float(found.values.mean()))
    assert abs(found.mean - exact_mean(SKEWED, pi_g, pair.pi_l, 3)) <= 4 * found.standard_error + found.error


@pytest.mark.parametrize("accept", ["mean", "all-states"])
def test_a_seed_fixes_the_episodes(accept):
    game, k = SKEWED, 2
    _, pair = pair_of(game, k, 0)
    one, two, other = (RolloutEvaluator(game, k, accept, seed).evaluate(pair, None) for seed in (0, 0, 1))
    assert torch.equal(one.returns, two.returns)
    assert not torch.equal(one.returns, other.returns)
    evaluator = RolloutEvaluator(game, k, accept, 0)
    evaluator.evaluate(pair_of(game, k, 7)[1], None)  # what was evaluated before leaves no trace
    assert torch.equal(evaluator.evaluate(pair, None).returns, one.returns)


@pytest.mark.parametrize("accept", ["mean", "all-states"])
def test_a_rival_has_the_value_that_it_has_alone_and_is_given_up_where_half_the_episodes_show_no_gain(accept):
    """Of two pairs the better one is a rival of the worse; neither the worse, nor a pair of itself, of another."""
    pairs = [pair_of(SKEWED, 3, seed)[1] for seed in (0, 2)]
    low, high = sorted(pairs, key=lambda pair: RolloutEvaluator(SKEWED, 3, accept, 0).evaluate(pair, None).mean)
    evaluator = RolloutEvaluator(SKEWED, 3, accept, 0)
    worse, better = evaluator.evaluate(low, None), evaluator.evaluate(high, None)
    rival = RolloutEvaluator(SKEWED, 3, accept, 0).evaluate_rival(high, worse)
    assert torch.equal(rival.returns, better.returns)
    assert (rival.mean, rival.standard_error, rival.error) == (better.mean, better.standard_error, better.error)
    played = []
    evaluator._play = lambda *block, play=evaluator._play: played.append(block) or play(*block)
    assert evaluator.evaluate_rival(low, better) is None
    assert len(played) == evaluation.BLOCKS / 2
    assert evaluator.evaluate_rival(Pair(high.pi_g, high.pi_l.clone()), better) is better  # the last is remembered
    assert RolloutEvaluator(SKEWED, 3, accept, 0).evaluate_rival(high, better) is None


@pytest.mark.parametrize("accept", ["mean", "all-states"])
@pytest.mark.parametrize("of_mean", [True, False])
def test_equal_pairs_are_told_apart_by_nothing(accept, of_mean):
    _, pair = pair_of(SKEWED, 3, 0)
    evaluator = RolloutEvaluator(SKEWED, 3, accept, 0)
    one, two = evaluator.evaluate(pair, None), evaluator.evaluate(Pair(pair.pi_g, pair.pi_l.clone()), None)
    assert gain_error(one, two, of_mean=of_mean) == 0
    assert one.mean == two.mean
    assert automatic_eta(SKEWED.v_max, one, two, accept) == 1e-3 * SKEWED.v_max


@pytest.mark.parametrize("player", ["global", "local"])
def test_the_difference_of_similar_pairs_is_known_far_better_than_their_values(player):
    """They differ in one row: paired, the error of the gain is less than a third of the unpaired, and it is honest."""
    game, k = SKEWED, 3
    pi_g, pair = pair_of(game, k, 0)
    other_g, other_l = pi_g.clone(), pair.pi_l.clone()
    if player == "global":
        other_g[1, 4] = other_g[1, 4].flip(-1)
    else:
        other_l[0, 2] = other_l[0, 2].flip(-1)
    evaluator = RolloutEvaluator(game, k, "mean", 3)
    one, two = evaluator.evaluate(pair, None), evaluator.evaluate(Pair(TablePolicy(other_g, k, 3), other_l), None)
    paired = gain_error(two, one, of_mean=True)
    assert 0 < paired < math.hypot(one.standard_error, two.standard_error) / 3
    gain = exact_mean(game, other_g, other_l, k) - exact_mean(game, pi_g, pair.pi_l, k)
    assert abs(two.mean - one.mean - gain) <= 4 * paired + one.error + two.error


def test_the_error_of_a_gain_is_that_of_the_differences():
    """Common luck of 100 cancels; the gains 1 and 3 (twice each) have the standard error sqrt(4/3)/2."""
    luck = torch.tensor([[100.0], [-100.0], [50.0], [7.0]], dtype=torch.float64)
    gains = torch.tensor([[1.0], [3.0], [1.0], [3.0]], dtype=torch.float64)

    def value(returns):
        return JointValue(returns.mean(-1), float(returns.mean()), 0.0, 0, float(returns.std()) / 2, returns)

    assert gain_error(value(luck + gains), value(luck), of_mean=True) == pytest.approx((4 / 3) ** 0.5 / 2)
    assert gain_error(value(luck + gains), value(luck), of_mean=False) == 0  # one return from each start says nothing
    spread = torch.tensor([[0.0, 0.0], [1.0, 3.0]], dtype=torch.float64)
    assert gain_error(value(spread), value(0 * spread), of_mean=False) == pytest.approx(1.0)
    assert gain_error(value(spread), value(0 * spread), of_mean=True) == pytest.approx(1.0)


def test_values_without_returns_are_compared_by_their_own_errors():
    one, two = (JointValue(torch.zeros(1), 0.0, 0.0, 0, error) for error in (3.0, 4.0))
    measured = JointValue(torch.zeros(1), 0.0, 0.0, 0, 4.0, torch.zeros(2, 1))
    assert gain_error(one, two, of_mean=True) == gain_error(one, measured, of_mean=True) == 5.0


def test_gamma_zero_is_the_first_reward():
    game = random_game(gamma=0.0, seed=1)
    pi_g, pair = pair_of(game, 2, 0)
    found = RolloutEvaluator(game, 2, "mean", 0).evaluate(pair, None)
    assert found.error == 0
    assert abs(found.mean - exact_mean(game, pi_g, pair.pi_l, 2)) <= 4 * found.standard_error


@pytest.mark.parametrize("accept", ["mean", "all-states"])
@pytest.mark.parametrize("gamma", [0.5, 0.99, 0.9999])
def test_episodes_last_until_little_is_left(gamma, accept):
    game = random_game(gamma=gamma, seed=1)
    evaluator = RolloutEvaluator(game, 1, accept, 0)
    episodes = evaluator.starts * evaluator.repeats * evaluation.BLOCKS
    assert evaluator.horizon == min(10_000, math.ceil(math.log(1e-3) / math.log(gamma)))
    assert episodes >= 128
    assert episodes * evaluator.horizon <= max(1_000_000, 128 * evaluator.horizon)


def test_the_rest_of_an_endless_game_is_estimated(monkeypatch):
    """A horizon far too short for gamma: with constant rewards the estimate is exact all the same."""
    monkeypatch.setattr(evaluation, "LONGEST", 100)
    game = random_game(gamma=0.99999, seed=1).replace(r_g=torch.ones(3, 3), r_l=torch.zeros(3, 3, 2))
    _, pair = pair_of(game, 1, 0)
    found = RolloutEvaluator(game, 1, "mean", 0).evaluate(pair, None)
    assert found.mean == pytest.approx(1e5, rel=1e-4)
    assert found.error == 0  # the rewards do not drift


def test_a_common_offset_of_the_rewards_costs_no_precision():
    """In float32 an offset of 10^6 would leave nothing of differences of 1."""
    game = random_game(gamma=0.9, seed=1)
    _, pair = pair_of(game, 2, 0)
    plain = RolloutEvaluator(game, 2, "mean", 0).evaluate(pair, None)
    moved = RolloutEvaluator(game.replace(r_g=game.r_g + 1e6), 2, "mean", 0).evaluate(pair, None)
    assert moved.mean - 1e7 == pytest.approx(plain.mean, abs=1e-4)
    assert moved.error < 1e-2
