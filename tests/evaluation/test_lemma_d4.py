"""The potential never falls; Lemma D.4 holds for the team's payoff, for the own one where pi_g reads no sample."""

import itertools

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.evaluation.lemma_d4 import deviation_changes
from altmarl_torch.games import random_game, steer, ware
from altmarl_torch.policies.rules import RULES, table
from altmarl_torch.policies.tabular import deterministic_local, uniform_global, uniform_local

GAMES = [steer(), ware(3, 2), *(random_game(2, 3, 2, 2, gamma=0.8, seed=seed) for seed in range(4))]


def random_laws(seed, *shape):
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) ** 3
    return weights / weights.sum(-1, keepdim=True)


def random_setting(k, seed, num_sl=2):
    game = random_game(2, num_sl, 2, 2, gamma=0.8, seed=seed)
    pi_g = random_laws(seed, 2, am.CountSimplex(k, num_sl).size, 2)
    return game, pi_g, random_laws(seed + 100, num_sl, 2, 2), random_laws(seed + 200, num_sl, 2, 2)


def payoffs(game, pi_g, pi_l, first, k):
    """Own payoff of agent 1 and the potential, from each (s_g, s_1..s_k), when agent 1 plays `first`: every tuple."""
    P_g, P_l, r_g, r_l, pi_g = (np.asarray(one) for one in (game.P_g, game.P_l, game.r_g, game.r_l, pi_g))
    policies = [np.asarray(first)] + [np.asarray(pi_l)] * (k - 1)
    states = list(itertools.product(range(game.num_sg), *[range(game.num_sl)] * k))
    simplex = am.CountSimplex(k, game.num_sl)
    matrix, own, team = np.zeros((len(states), len(states))), [], []
    for i, (g, *agents) in enumerate(states):
        h = int(simplex.rank(torch.bincount(torch.tensor(agents), minlength=game.num_sl)))
        moves = pi_g[g, h] @ P_g[g]
        rewards = [policy[z, g] @ r_l[z, g] for policy, z in zip(policies, agents, strict=True)]
        for policy, z in zip(policies, agents, strict=True):
            moves = np.kron(moves, policy[z, g] @ P_l[z, g])
        matrix[i] = moves
        own.append(rewards[0] / k)
        team.append(pi_g[g, h] @ r_g[g] + np.mean(rewards))
    return states, np.linalg.solve(np.eye(len(states)) - game.gamma * matrix, np.array([own, team]).T)


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
@pytest.mark.parametrize("options", [{}, {"objective": "own"}, {"accept": "all-states", "eta": 0.0}], ids=str)
def test_the_potential_never_falls(game, options):
    solution = am.solve(game, 3, **options)
    values = [solution.history[0].value_before, *(update.value for update in solution.history)]
    assert values == sorted(values)
    assert values[-1] > values[0]


@pytest.mark.parametrize(("k", "num_sl"), [(1, 3), (2, 3), (3, 2)])
def test_changes_equal_enumeration_over_every_agent(k, num_sl):
    game, pi_g, pi_l, deviation = random_setting(k, 7, num_sl)
    found = deviation_changes(game, pi_g, pi_l, deviation, k)
    states, before = payoffs(game, pi_g, pi_l, pi_l, k)
    _, after = payoffs(game, pi_g, pi_l, deviation, k)
    companions = am.CountSimplex(k - 1, num_sl)
    for (g, z, *others), (own, team) in zip(states, after - before, strict=True):
        c = int(companions.rank(torch.tensor([others.count(y) for y in range(num_sl)])))
        assert float(found.own_by_state[g, z, c]) == pytest.approx(own, abs=1e-11)
        assert float(found.team_by_state[g, z, c]) == pytest.approx(team, abs=1e-11)
        assert float(found.potential_by_state[g, z, c]) == pytest.approx(team, abs=1e-11)
    # the initial law is uniform over the tuples
    averages = (after - before).mean(0)
    assert [found.own, found.team, found.potential] == pytest.approx([*averages, averages[1]], abs=1e-11)


@pytest.mark.parametrize("seed", range(5))
def test_lemma_d4_holds_for_the_team(seed):
    game, pi_g, pi_l, deviation = random_setting(4, seed)
    changes = deviation_changes(game, pi_g, pi_l, deviation, 4)
    assert changes.team_violation < 1e-10
    assert changes.team == pytest.approx(changes.potential, abs=1e-10)
    assert abs(changes.potential) > 1e-4


def test_lemma_d4_fails_for_the_own_payoff_where_pi_g_reacts():
    """Steer, dispatcher by mode: one of two agents that always crosses drags the global agent along."""
    game = steer()
    pi_g = table(game, RULES["mode"](game), am.CountSimplex(2, 2))
    cross = deterministic_local(torch.ones(2, 2, dtype=torch.int64), 2)
    changes = deviation_changes(game, pi_g, uniform_local(game), cross, 2)
    assert changes.team_violation < 1e-10
    assert changes.own_violation > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_it_holds_where_pi_g_reads_no_sample(seed):
    game, pi_g, pi_l, deviation = random_setting(3, seed)
    blind = pi_g[:, :1].expand_as(pi_g).contiguous()
    changes = deviation_changes(game, blind, pi_l, deviation, 3)
    assert changes.own_violation < 1e-10
    assert abs(changes.own) > 1e-4


def test_no_deviation_changes_nothing():
    game, pi_g, pi_l, _ = random_setting(3, 1)
    changes = deviation_changes(game, pi_g, pi_l, pi_l, 3)
    assert [changes.own, changes.team, changes.potential] == pytest.approx([0, 0, 0], abs=1e-11)


def test_a_chain_too_large_is_refused_with_its_size():
    game = ware(3, 2)
    k = 60
    with pytest.raises(am.SizeError, match=r"59 companions.*16,470 states.*smaller k"):
        deviation_changes(
            game, uniform_global(game, am.CountSimplex(k, 3)), uniform_local(game), uniform_local(game), k
        )
