"""L-LEARN of Algorithm 2 from end to end: known optima, certificates, what is lost and what is given up."""

import itertools

import pytest
import torch
from oracles.chains import by_mode
from oracles.games import INSTANCES

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, steer, ware, warehouse
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import deterministic_local, uniform_global, uniform_local
from altmarl_torch.tabular import ChainSettings, chain_l_learn, l_learn

QUICK = ChainSettings(epsilon=0.2, confidence=0.1)


@INSTANCES
@pytest.mark.parametrize("form", ["tuple", "mean-field"])
def test_the_team_objective_reaches_the_known_optimum(game, k, team, rows, own, form):
    found = chain_l_learn(game, by_mode(game, k), k, settings=ChainSettings(form=form))
    assert found.value == pytest.approx(team, abs=5e-7)
    assert found.joint.mean == found.value
    assert found.pi_l.argmax(-1).tolist() == rows
    assert found.given_up == 0
    assert found.chain.form == form


@INSTANCES
def test_the_own_objective_reaches_the_known_optimum_and_says_what_it_gives_up(game, k, team, rows, own):
    found = chain_l_learn(game, by_mode(game, k), k, objective="own")
    assert found.value == pytest.approx(own, abs=5e-7)
    assert found.given_up == pytest.approx(team - found.joint.mean, abs=1e-6)
    assert (found.given_up > 0.1) == (game.name == "steer")


@INSTANCES
@pytest.mark.parametrize("objective", ["own", "team"])
def test_bounds_policy_and_optimum_stand_in_their_order(game, k, team, rows, own, objective):
    found = chain_l_learn(game, by_mode(game, k), k, objective=objective, seed=5)
    learned, chain = found.learned, found.chain
    assert learned.certified
    assert learned.converged
    assert learned.value_lower <= found.chain_value <= chain.optimal_value() <= learned.value_upper
    assert found.chain_value == pytest.approx(chain.value(learned.policy))
    assert learned.value_upper - learned.value_lower <= 0.05 * learned.value_lower


def test_what_projecting_loses_is_the_difference_on_the_chain():
    game, k = ware(), 2
    found = chain_l_learn(game, by_mode(game, k), k, settings=ChainSettings(ascent=False))
    assert found.lost == pytest.approx(found.chain_value - found.chain.value(found.chain.spread(found.pi_l)))
    assert found.lost > 0
    climbed = chain_l_learn(game, by_mode(game, k), k)
    assert climbed.lost == found.lost
    assert climbed.value >= found.value


def test_the_papers_epsilon_is_one_over_root_k_in_units_of_value():
    game, k = steer(), 3
    found = chain_l_learn(game, by_mode(game, k), k, settings=ChainSettings(epsilon="paper"))
    assert found.learned.converged
    assert found.learned.value_upper - found.learned.value_lower <= k**-0.5
    assert found.learned.episodes < chain_l_learn(game, by_mode(game, k), k).learned.episodes


@pytest.mark.parametrize("seed", range(6))
def test_random_games_end_where_no_single_change_helps(seed):
    game, k = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=3, gamma=0.7, seed=seed), 1 + seed % 3
    plan, pi_g = PairPlan(am.CountSimplex(k, 2)), by_mode(game, k)
    found = chain_l_learn(game, pi_g, k, settings=QUICK)
    for sl, sg, action in itertools.product(range(2), range(2), range(3)):
        changed = found.pi_l.argmax(-1)
        changed[sl, sg] = action
        pi_l = deterministic_local(changed, 3)
        assert joint_value(Surrogate.build(game, pi_l, plan), pi_g).mean <= found.value + 1e-6 * game.v_max
    assert found.value == pytest.approx(l_learn(game, pi_g, uniform_local(game), plan).value, rel=0.01)


def test_the_start_is_the_games_own():
    """Nearly all agents start together: the value is that of the evaluator, which starts so too."""
    game, k = warehouse(num_zones=2), 2
    pi_g = by_mode(game, k)
    found = chain_l_learn(game, pi_g, k, settings=QUICK)
    surrogate = Surrogate.build(game, found.pi_l, PairPlan(am.CountSimplex(k, 2)))
    assert found.value == pytest.approx(joint_value(surrogate, pi_g).mean)
    spread = found.chain.value(found.chain.spread(found.pi_l))
    assert spread == pytest.approx(found.value, abs=game.gamma**found.chain.rounds * game.v_max)


def test_equal_seeds_give_equal_responses():
    game = steer()
    first, second = (chain_l_learn(game, by_mode(game, 2), 2, settings=QUICK, seed=4) for _ in range(2))
    assert first.learned.history == second.learned.history
    assert torch.equal(first.learned.policy, second.learned.policy)
    other = chain_l_learn(game, by_mode(game, 2), 2, settings=QUICK, seed=5)
    assert other.learned.history != first.learned.history


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epsilon": 0}, "epsilon"),
        ({"epsilon": 1.5}, "epsilon"),
        ({"epsilon": "x"}, "epsilon"),
        ({"delta": 0.0}, "delta"),
        ({"confidence": 2}, "confidence"),
        ({"form": "x"}, "form"),
        ({"max_episodes": 0}, "max_episodes"),
    ],
)
def test_settings_out_of_range_are_refused(wrong, message):
    with pytest.raises(am.ArgumentError, match=message):
        chain_l_learn(steer(), by_mode(steer(), 1), 1, settings=ChainSettings(**wrong))


def test_a_chain_too_large_to_list_is_refused_with_its_size():
    game = warehouse()
    with pytest.raises(am.SizeError, match=r"5.45e\+06 states and 2.37e\+08 transitions.*l_learner='dp'"):
        chain_l_learn(game, uniform_global(game, am.CountSimplex(10, 5)), 10)
