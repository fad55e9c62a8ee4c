"""Projection against dense matrices and finite differences, and ascent on tables of values made up for it."""

import itertools

import numpy as np
import pytest
import torch
from oracles.chains import any_game, any_pi_g, any_pi_l, dense, dense_occupancy

from altmarl_torch.learners.chains.projection import ascend, projections
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import chained_mdp

FORMS = pytest.mark.parametrize("form", ["tuple", "mean-field"])


def votes(chain, policy):
    """Both sums over the states of each (s_l, s_g), `[sl, sg, al]` each, state by state, step by step."""
    P, r = dense(chain), chain.rewards.numpy()
    law = np.eye(chain.num_actions)[policy.numpy()]
    reach, V = dense_occupancy(chain, law), np.zeros(chain.num_states)
    acting, sg, stage = chain.acting.numpy(), chain.sg.numpy(), chain.stage.numpy()
    shape = (acting.max() + 1, sg.max() + 1, chain.num_actions)
    worth, majority = np.zeros(shape), np.zeros(shape)
    for tau in reversed(range(chain.steps)):
        t = tau // chain.num_stages
        Q = float(chain.discounts[t]) * r + P @ V
        V = (law[t] * Q).sum(-1)
        np.add.at(worth, (acting, sg), reach[tau][:, None] * Q)
        first = (stage == 0) * reach[tau] * (tau % chain.num_stages == 0)
        np.add.at(majority, (acting, sg), float(chain.discounts[t]) * first[:, None] * law[t])
    return worth, majority


@FORMS
@pytest.mark.parametrize("seed", range(6))
def test_both_candidates_are_the_sums_of_the_modules_page(form, seed):
    """Under any policy of the chain, an optimal one among them."""
    game, k = any_game(seed, (2, 2, 2, 3), "full", 0.5), 1 + seed % 4
    chain = chained_mdp(game, any_pi_g(game, k, seed), k, form, "team", 4, initial=game.initial)
    drawn = torch.randint(3, (chain.rounds, chain.num_states), generator=torch.Generator().manual_seed(seed))
    for policy in (drawn, chain.optimal_policy()):
        found = projections(chain, policy, chain.probabilities, uniform_local(game))
        for candidate, total in zip(found, votes(chain, policy), strict=True):
            assert candidate.argmax(-1).tolist() == total.argmax(-1).tolist()
            assert bool(((candidate == 1).sum(-1) == 1).all() & (candidate.sum(-1) == 1).all())


@FORMS
@pytest.mark.parametrize("k", [1, 3])
def test_by_value_is_where_the_derivative_of_the_value_is_largest(form, k):
    """For a pi_l that everybody plays: the chain's value in the direction of each action, by differences."""
    game = any_game(k, (2, 2, 2, 3))
    pi_l = any_pi_l(game, 3, "certain")
    chain = chained_mdp(game, any_pi_g(game, k, 1), k, form, "team", 5, initial=game.initial)
    actions = chain.spread(pi_l).argmax(-1).expand(chain.rounds, -1)
    by_value, _ = projections(chain, actions, chain.probabilities, uniform_local(game))
    for sl, sg in itertools.product(range(2), range(2)):
        slopes = []
        for action in range(3):
            moved = pi_l.clone()
            moved[sl, sg, action] += 1e-6
            slopes.append(chain.value(chain.spread(moved)))
        assert int(by_value[sl, sg].argmax()) == int(np.argmax(slopes))


def test_ascent_takes_the_first_improvement_and_counts_what_it_evaluates():
    """One state of two, three actions each, values by hand: 00 -> 10 -> 12, past 02, which is better than 00 alone."""
    worth = {(0, 0): 1.0, (1, 0): 2.0, (2, 0): 1.5, (1, 1): 1.9, (1, 2): 3.0, (0, 2): 2.5, (2, 2): 3.0}
    asked = []

    def evaluate(pi_l):
        asked.append(tuple(pi_l.argmax(-1).flatten().tolist()))
        return worth[asked[-1]]

    start = deterministic_local(torch.zeros(2, 1, dtype=torch.int64), 3)
    found = ascend(evaluate, start, margin=1e-9)
    assert (found.pi_l.argmax(-1).flatten().tolist(), found.value) == ([1, 2], 3.0)
    assert len(asked) == 9
    assert start.argmax(-1).flatten().tolist() == [0, 0]  # as it was


def test_a_gain_within_the_margin_is_none():
    start = deterministic_local(torch.zeros(1, 1, dtype=torch.int64), 2)
    for margin, action in ((0.1, 1), (0.3, 0)):
        found = ascend(lambda pi_l: 0.2 * float(pi_l[0, 0, 1]), start, margin=margin)
        assert int(found.pi_l.argmax()) == action


@pytest.mark.parametrize("seed", range(20))
def test_ascent_on_any_table_of_values_ends_where_no_single_change_helps(seed):
    table = torch.rand(3, 3, 3, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

    def evaluate(pi_l):
        return float(table[tuple(pi_l.argmax(-1).flatten().tolist())])

    found = ascend(evaluate, deterministic_local(torch.zeros(2, 2, dtype=torch.int64), 3), margin=0)
    assert found.value == evaluate(found.pi_l)
    for sl, sg, action in itertools.product(range(2), range(2), range(3)):
        actions = found.pi_l.argmax(-1)
        actions[sl, sg] = action
        assert evaluate(deterministic_local(actions, 3)) <= found.value
