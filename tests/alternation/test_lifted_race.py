"""Changes of pi_l in single states race: those that gain for sure are made together, and UPDATE is told so."""

import dataclasses

import pytest
import torch

from altmarl_torch.alternation.players import lifted_local
from altmarl_torch.alternation.players.lifted_local import LiftedLocalLearner
from altmarl_torch.alternation.players.lifted_memory import LiftedMemories, LiftedWorkspace
from altmarl_torch.alternation.solving import solve
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.operators.joint_value import gain_error, joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Pair

K = 10
SPOILED = [(0, 1), (3, 2), (2, 4)]
"""States (s_l, s_g) in which the best pi_l is made to do something else."""


@pytest.fixture(scope="module")
def solved():
    """The lifted solution of the warehouse, in one degree, and its pair."""
    solution = solve(warehouse(), K, solver="lifted", degree=4)
    return solution, Pair(solution.policy, solution.pi_l)


def spoiled(pi_l, states):
    changed = pi_l.clone()
    for s_l, s_g in states:
        changed[s_l, s_g] = changed[s_l, s_g].roll(1)
    return changed


def proposed(pair, seed=0):
    work = LiftedWorkspace(warehouse(), float(K), [4], seed)
    value = work.known(pair, *work.fitted(pair, "l_learn")).value
    learner = LiftedLocalLearner(work, work)
    return learner.propose(pair, value, LiftedMemories(work.leave(), work.leave()))[0]


def exact_values(game, pi_g, *policies, k=K):
    plan = PairPlan(CountSimplex(k, game.num_sl))
    return [joint_value(Surrogate.build(game, pi_l, plan), pi_g, tolerance=1e-8).mean for pi_l in policies]


@pytest.mark.parametrize("seed", range(3))
def test_a_race_mends_several_states_at_once(solved, monkeypatch, seed):
    monkeypatch.setattr(lifted_local, "turns", lambda pi_l, gains: iter(()))
    _, pair = solved
    found = proposed(dataclasses.replace(pair, pi_l=spoiled(pair.pi_l, SPOILED)), seed)
    for s_l, s_g in SPOILED:
        assert torch.equal(found.pair.pi_l[s_l, s_g], pair.pi_l[s_l, s_g])
    assert found.details["l_learn/rounds"] == 1


def test_what_the_race_promises_is_what_tables_say(solved, monkeypatch):
    monkeypatch.setattr(lifted_local, "turns", lambda pi_l, gains: iter(()))
    solution, pair = solved
    worse = spoiled(pair.pi_l, SPOILED)
    found = proposed(dataclasses.replace(pair, pi_l=worse))
    before, after = exact_values(warehouse(), solution.pi_g, worse, found.pair.pi_l)
    told = found.value.mean - found.current.mean
    assert told == pytest.approx(after - before, abs=4 * gain_error(found.value, found.current, of_mean=True))
    assert after > before


def test_where_nothing_is_to_be_gained_nothing_is_proposed(solved):
    _, pair = solved
    found = proposed(pair)
    assert found.pair is pair
    assert found.current is None


@pytest.mark.parametrize("seed", [0, 5])
def test_where_g_learn_finds_nothing_to_gain_what_the_race_finds_is_judged_all_the_same(seed):
    """One action: pi_g stays what it was, and is no lifted function; finer episodes are not its value's."""
    game = random_game(seed=248757, num_sg=2, num_sl=3, num_ag=1, num_al=3, gamma=0.3, n=60)
    stays = game.P_l.clone()
    stays[0] = torch.eye(3, dtype=torch.float64)[0]
    game = game.replace(P_l=stays)
    lifted, tables = solve(game, 20, solver="lifted", degree=2, seed=seed), solve(game, 20)
    assert lifted.value == pytest.approx(tables.value, rel=1e-3)
    (value,) = exact_values(game, lifted.pi_g, lifted.pi_l, k=20)
    assert value == pytest.approx(tables.value, rel=1e-4)
