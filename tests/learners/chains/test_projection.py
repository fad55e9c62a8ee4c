"""From a policy of the chain to a local one, and coordinate ascent."""

import itertools

import pytest
import torch
from oracles.chains import by_mode

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import hash_game, random_game, steer, ware
from altmarl_torch.learners.chains.projection import ascend, projections
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import chained_mdp

KNOWN = [
    (steer(), 1, [[1, 1], [0, 0]]),
    (steer(), 2, [[1, 1], [0, 0]]),
    (steer(), 3, [[1, 1], [0, 0]]),
    (hash_game(), 2, [[1, 0], [1, 1]]),
    (ware(), 2, [[0, 0, 0], [1, 0, 1], [1, 1, 0]]),
]
INSTANCES = pytest.mark.parametrize(("game", "k", "rows"), KNOWN, ids=[f"{game.name}-k{k}" for game, k, _ in KNOWN])
FORMS = pytest.mark.parametrize("form", ["tuple", "mean-field"])


def policies(game):
    for actions in itertools.product(range(game.num_al), repeat=game.num_sl * game.num_sg):
        yield deterministic_local(torch.tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)


def evaluator(game, k):
    plan, pi_g = PairPlan(am.CountSimplex(k, game.num_sl)), by_mode(game, k)
    return lambda pi_l: joint_value(Surrogate.build(game, pi_l, plan), pi_g).mean


@INSTANCES
@FORMS
def test_the_optimal_policy_of_the_chain_projects_near_the_best_local_policy(game, k, rows, form):
    """By value, before any ascent: onto it in the four games of two states, within 0.1 % of its value in the other."""
    chain = chained_mdp(game, by_mode(game, k), k, form, "team")
    by_value, _ = projections(chain, chain.optimal_policy(), chain.probabilities, uniform_local(game))
    evaluate, best = evaluator(game, k), deterministic_local(torch.tensor(rows), game.num_al)
    assert evaluate(by_value) >= evaluate(best) * 0.999
    assert game.num_sl > 2 or torch.equal(by_value, best)


@INSTANCES
def test_ascent_ends_where_no_single_change_helps_and_reaches_the_known_optimum(game, k, rows):
    evaluate = evaluator(game, k)
    found = ascend(
        evaluate, deterministic_local(torch.zeros(game.num_sl, game.num_sg).long(), game.num_al), margin=1e-9
    )
    assert found.value == evaluate(found.pi_l)
    for sl, sg, action in itertools.product(range(game.num_sl), range(game.num_sg), range(game.num_al)):
        changed = found.pi_l.argmax(-1)
        changed[sl, sg] = action
        assert evaluate(deterministic_local(changed, game.num_al)) <= found.value + 1e-9
    best = (
        max(map(evaluate, policies(game)))
        if game.num_sl == 2
        else evaluate(deterministic_local(torch.tensor(rows), game.num_al))
    )
    assert found.value == pytest.approx(best, abs=1e-9)


def test_ascent_leaves_an_optimum_as_it_is():
    best = deterministic_local(torch.tensor([[1, 1], [0, 0]]), 2)
    evaluate, asked = evaluator(steer(), 2), []
    found = ascend(lambda pi_l: asked.append(pi_l) or evaluate(pi_l), best, margin=1e-9)
    assert torch.equal(found.pi_l, best)
    assert len(asked) == 5  # itself, and every single change once


@FORMS
def test_a_local_policy_of_the_chain_is_its_own_majority(form):
    game = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=3, seed=1)
    chain = chained_mdp(game, by_mode(game, 3), 3, form, "team", 5)
    for pi_l in itertools.islice(policies(game), 0, 81, 8):
        actions = chain.spread(pi_l).argmax(-1).expand(chain.rounds, -1)
        _, majority = projections(chain, actions, chain.probabilities, uniform_local(game))
        assert torch.equal(majority, pi_l)


def test_where_nobody_comes_the_given_policy_stays():
    """Agents never leave state 0 and s_g never leaves 1: all other rows are left alone."""
    game = am.Game(
        P_g=[[[0.0, 1.0]], [[0.0, 1.0]]],
        P_l=[[[[1.0, 0.0]] * 2] * 2, [[[1.0, 0.0]] * 2] * 2],
        r_g=[[0.0], [0.0]],
        r_l=[[[1.0, 0.0]] * 2, [[1.0, 0.0]] * 2],
        gamma=0.9,
        n=5,
        initial=am.InitialLaw([0.0, 1.0], [1.0, 0.0]),
    )
    chain = chained_mdp(game, by_mode(game, 2), 2, "tuple", "team", 4, initial=game.initial)
    assert chain.num_states == 2
    given = deterministic_local(torch.tensor([[1, 1], [1, 1]]), 2)
    for candidate in projections(chain, chain.optimal_policy(), chain.probabilities, given):
        assert candidate.argmax(-1).tolist() == [[1, 0], [1, 1]]
