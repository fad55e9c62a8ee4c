"""The model-based L-LEARN: known optima, exact derivatives, and no single change that helps."""

import dataclasses
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.games import INSTANCES, KNOWN
from oracles.surrogate import joint_value as brute_force_value
from oracles.surrogate import uniform_mean

import altmarl_torch as am
from altmarl_torch.alternation.options import Keeping, Learning, Options, Problem, Stopping
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import PLAYERS
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import random_game, ware, warehouse
from altmarl_torch.learners.tabular.l_learn import expected_seconds
from altmarl_torch.learners.turns import all_lose_clearly
from altmarl_torch.operators.bellman import max_backup
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.joint_value import joint_value, span_tolerance
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, table
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import agent_values, g_learn, l_learn

# docs/oracle-values.md: game, k, J* and its pi_l (rows z, columns s), T*; the dispatcher goes to the sample's mode


def by_mode(game, k):
    plan = PairPlan(am.CountSimplex(k, game.num_sl))
    return plan, table(game, RULES["mode"](game), plan.simplex)


def every_policy(game):
    for actions in itertools.product(range(game.num_al), repeat=game.num_sl * game.num_sg):
        yield deterministic_local(torch.tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)


@INSTANCES
def test_the_known_optima_are_reached_from_the_uniform_policy(game, k, team, rows, own):
    plan, pi_g = by_mode(game, k)
    found = l_learn(game, pi_g, uniform_local(game), plan)
    assert found.value == pytest.approx(team, abs=5e-7)
    assert found.pi_l.argmax(-1).tolist() == rows
    assert l_learn(game, pi_g, uniform_local(game), plan, objective="own").value == pytest.approx(own, abs=5e-7)


@INSTANCES
def test_the_known_optima_are_those_of_enumeration(game, k, team, rows, own):
    """By the package's evaluator over every deterministic policy, and by brute force at the best one."""
    plan, pi_g = by_mode(game, k)
    best = max(every_policy(game), key=lambda pi_l: joint_value(Surrogate.build(game, pi_l, plan), pi_g).mean)
    assert best.argmax(-1).tolist() == rows
    assert uniform_mean(brute_force_value(game, pi_g, best, k), k, game.num_sl) == pytest.approx(team, abs=5e-7)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_random_games_end_where_no_single_change_helps(seed, k):
    game = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=3, gamma=0.8, seed=seed)
    plan, pi_g = by_mode(game, k)
    found = l_learn(game, pi_g, uniform_local(game), plan)
    actions = found.pi_l.argmax(-1)
    assert found.value == pytest.approx(uniform_mean(brute_force_value(game, pi_g, found.pi_l, k), k, 2), rel=1e-9)
    for z, s, action in itertools.product(range(2), range(2), range(3)):
        changed = actions.clone()
        changed[z, s] = action
        value = brute_force_value(game, pi_g, deterministic_local(changed, 3), k)
        assert uniform_mean(value, k, 2) <= found.value + 1e-6 * game.v_max


@pytest.mark.parametrize("k", [1, 3])
def test_the_derivative_is_that_of_finite_differences(k):
    game, generator = ware(), torch.Generator().manual_seed(0)
    plan, pi_g = by_mode(game, k)
    pi_l = torch.rand(3, 3, 2, dtype=torch.float64, generator=generator) + 0.2
    pi_l = pi_l / pi_l.sum(-1, keepdim=True)
    surrogate = Surrogate.build(game, pi_l, plan)
    law, values = occupancy(surrogate, pi_g, relative_error=1e-12), joint_value(surrogate, pi_g).values
    worth = agent_values(surrogate, pi_g, law, values)
    for z, s in itertools.product(range(3), range(3)):
        toward = torch.zeros_like(pi_l)
        toward[z, s] = torch.tensor([1e-5, -1e-5])
        ahead, behind = (joint_value(Surrogate.build(game, pi_l + sign * toward, plan), pi_g).mean for sign in (1, -1))
        assert (ahead - behind) / 2e-5 == pytest.approx(float(worth[z, s, 0] - worth[z, s, 1]), rel=1e-5, abs=1e-7)


def test_the_start_is_returned_unchanged_where_nothing_helps():
    game, k, _, rows, _ = KNOWN[1]
    plan, pi_g = by_mode(game, k)
    best = deterministic_local(torch.tensor(rows), 2)
    found = l_learn(game, pi_g, best, plan)
    assert found.rounds == 0
    assert torch.equal(found.pi_l, best)
    assert found.changes_tried == 4


@pytest.mark.parametrize(("relative", "tried"), [(None, 50), (1e-12, 50), (1e-5, 0)])
def test_every_change_of_a_small_chain_is_judged_unless_values_are_coarse(relative, tried):
    """All 5 x 5 x 2 of the warehouse, of which the derivative leaves none open; a small tolerance asks for no less."""
    game, pair = warehouse(), am.solve(warehouse(), 3)
    tolerance = None if relative is None else span_tolerance(game, relative)
    found = l_learn(game, pair.pi_g, pair.pi_l, PairPlan(am.CountSimplex(3, 5)), tolerance=tolerance)
    assert found.changes_tried == tried
    assert torch.equal(found.pi_l, pair.pi_l)


def test_the_search_through_fewer_agents_ends_at_the_same_policy():
    """k = 11 on the warehouse is first searched with k = 9; the result is that of the notes."""
    game = warehouse()
    plan = PairPlan(am.CountSimplex(11, 5))
    pi_g = g_learn(Surrogate.build(game, uniform_local(game), plan)).pi_g
    found = l_learn(game, pi_g, uniform_local(game), plan)
    rows = [[0, 2, 1, 1, 1], [1, 0, 2, 1, 1], [1, 1, 0, 2, 1], [1, 1, 1, 0, 2], [2, 1, 1, 1, 0]]
    assert found.pi_l.argmax(-1).T.tolist() == rows


def test_an_unknown_objective_is_refused():
    game, k, *_ = KNOWN[1]
    plan, pi_g = by_mode(game, k)
    with pytest.raises(am.ArgumentError, match="objective"):
        l_learn(game, pi_g, uniform_local(game), plan, objective="x")


def test_where_every_change_clearly_loses_for_fewer_agents_the_derivative_is_not_taken_again(monkeypatch):
    """The equilibrium of the warehouse at k = 13: the same answer as with the derivative of all k, at no full sweep."""
    game = warehouse()
    plan = PairPlan(am.CountSimplex(13, game.num_sl))
    pi_l = am.solve(game, 9).pi_l
    found = g_learn(Surrogate.build(game, pi_l, plan))
    quick = l_learn(game, found.pi_g, pi_l, plan, value=found.joint)
    assert quick.gains is None
    assert quick.sweeps == 0
    monkeypatch.setattr("altmarl_torch.learners.tabular.l_learn.all_lose_clearly", lambda pi_l, gains: False)
    whole = l_learn(game, found.pi_g, pi_l, plan, value=found.joint)
    assert whole.gains is not None
    assert torch.equal(quick.pi_l, whole.pi_l)
    assert quick.value == whole.value


def test_one_change_that_hardly_loses_asks_for_the_derivative_at_k():
    pi_l = deterministic_local(torch.zeros(2, 1, dtype=torch.int64), 2)
    losses = torch.tensor([[[0.0, -1.0]], [[0.0, -0.05]]], dtype=torch.float64)
    assert all_lose_clearly(pi_l, losses)
    losses[1, 0, 1] = -0.02
    assert not all_lose_clearly(pi_l, losses)
    assert not all_lose_clearly(pi_l, torch.zeros_like(losses))
    assert not all_lose_clearly(torch.full_like(losses, 0.5), losses)


def test_the_time_of_day_in_s_g_is_solved_by_policy_iteration():
    """48 hours that go round, gamma .99: thousands of sweeps, or a handful of factorizations; the value is the same."""
    hours, random = 48, torch.Generator().manual_seed(0)
    P_g = torch.eye(hours).roll(1, 1).unsqueeze(1).expand(-1, 2, -1).double()
    laws = torch.rand(3, hours, 2, 3, generator=random, dtype=torch.float64) + 0.1
    game = am.Game(
        P_g=P_g,
        P_l=laws / laws.sum(-1, keepdim=True),
        r_g=torch.rand(hours, 2, generator=random, dtype=torch.float64),
        r_l=torch.rand(3, hours, 2, generator=random, dtype=torch.float64),
        gamma=0.99,
        n=10,
    )
    plan = PairPlan(am.CountSimplex(3, 3))
    surrogate = Surrogate.build(game, uniform_local(game), plan)
    found = g_learn(surrogate)
    plain = solve_fixed_point(lambda V: max_backup(surrogate, V), surrogate.start, game.gamma, 1e-6)
    assert found.sweeps <= 3
    torch.testing.assert_close(found.values, plain.values, atol=1e-4, rtol=0)


def test_what_will_take_long_is_said_before_it_begins():
    game = warehouse(num_zones=18)
    assert expected_seconds(game, PairPlan(am.CountSimplex(2, 18))) > 1
    assert expected_seconds(game, PairPlan(am.CountSimplex(3, 18))) > 20
    assert expected_seconds(warehouse(), PairPlan(am.CountSimplex(10, 5))) < 1


@pytest.mark.parametrize(
    ("solver", "on"),
    [
        ("tabular", "3 counts: about 0 s of a core; a smaller k takes less"),
        ("neural", "episodes of 2 agents: about 4 s of a core; fewer local states take less"),
        ("lifted", "functions of degree 2: about 0 s of a core; a lower degree takes less"),
    ],
)
def test_and_every_solver_says_it(monkeypatch, caplog, solver, on):
    monkeypatch.setattr("altmarl_torch.alternation.players.neural.few_counts", lambda game, samples: False)
    game, learning = am.games.steer().replace(gamma=0.1), Learning(solver=solver, nested="off")
    run = AlternationRun.of(game, Options(Problem(2), learning, Stopping(), Keeping()))
    PLAYERS[solver](run)
    assert "single changes" not in caplog.text
    monkeypatch.setattr("altmarl_torch.alternation.players.announcing.LONG", -1.0)
    PLAYERS[solver](dataclasses.replace(run, only_global=True))
    assert "single changes" not in caplog.text  # pi_l stays as it is
    PLAYERS[solver](run)
    assert f"L-LEARN weighs 4 single changes of pi_l on {on}" in caplog.text
