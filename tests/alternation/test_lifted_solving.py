"""`solve(solver="lifted")`: exact where J = k, accurate beyond, any k, and every option that goes with it."""

import dataclasses
import logging
import math

import pytest
import torch
from oracles.games import DEGENERATE, KNOWN
from oracles.killer import Killed, Killer

import altmarl_torch as am
from altmarl_torch.alternation import solution as solution_module
from altmarl_torch.alternation import solution_files
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solving import solve
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, FileFormatError, SizeError
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.npz import read_npz, write_npz


def exact_value(game, solution, k):
    plan = PairPlan(CountSimplex(k, game.num_sl))
    return joint_value(Surrogate.build(game, solution.pi_l, plan), solution.pi_g, tolerance=1e-10).mean


@pytest.mark.parametrize(
    ("game", "k"), [(game, k) for game, k, *_ in KNOWN], ids=[f"{g.name}-{k}" for g, k, *_ in KNOWN]
)
def test_degree_k_is_the_exact_solution(game, k):
    lifted, tables = solve(game, k, solver="lifted", degree=k), solve(game, k, solver="tabular")
    assert torch.equal(lifted.pi_l, tables.pi_l)
    assert torch.equal(lifted.pi_g, tables.pi_g)
    assert lifted.value == pytest.approx(tables.value, abs=1e-9)
    assert lifted.converged


@pytest.mark.parametrize("name", DEGENERATE)
def test_games_at_the_edge(name):
    game = DEGENERATE[name]
    for k in (1, min(4, game.n)):
        lifted, tables = solve(game, k, solver="lifted"), solve(game, k, solver="tabular")
        assert lifted.value == pytest.approx(tables.value, abs=2e-3 * max(game.v_max, 1e-3))


def test_the_warehouse_within_a_few_ten_thousandths():
    game = warehouse()
    lifted, tables = solve(game, 10, solver="lifted"), solve(game, 10, solver="tabular")
    assert torch.equal(lifted.pi_l, tables.pi_l)
    loss = 1 - exact_value(game, lifted, 10) / tables.value
    assert loss < 2e-4
    assert lifted.value == pytest.approx(tables.value, rel=2e-3)
    last = [update.details for update in lifted.history if update.player == "global"][-1]
    assert last["g_learn/degree"] >= 6
    assert 0 < last["g_learn/held_out_residual"] < 1
    assert last["g_learn/proven_error"] > 0


@pytest.mark.parametrize("k", [1000, 10**9, math.inf])
def test_any_number_of_agents(k, tmp_path):
    game = warehouse(n=max(1000, k) if k < math.inf else 1000)
    solution = solve(game, k, solver="lifted", degree=4)
    assert solution.k == (1000 if math.isinf(k) else k)
    assert solution.pi_g is None
    played = am.rollout(game, solution, episodes=200, seed=1)
    assert played.mean > 168
    solution.save(tmp_path / "policy.npz")
    again = Solution.load(tmp_path / "policy.npz")
    assert torch.equal(am.rollout(game, again, episodes=200, seed=1).returns, played.returns)
    assert again.policy.k == k


def test_the_table_of_pi_g_is_made_when_it_is_asked_for(monkeypatch):
    game, made = warehouse(num_zones=3), []
    table = solution_files.tabulate_within
    monkeypatch.setattr(solution_files, "tabulate_within", lambda *given: made.append(given) or table(*given))
    monkeypatch.setattr(solution_module, "LARGEST_PLAYED", 10)
    solution = solve(game, 40, solver="lifted", degree=3, steps=1)
    am.rollout(game, solution, episodes=5, horizon=5)
    assert not made
    simplex = CountSimplex(40, 3)
    assert torch.equal(solution.pi_g, solution.policy.laws(simplex.counts).movedim(1, 0).double())
    assert solution.pi_g is solution.pi_g
    assert dataclasses.replace(solution, value=0.0).pi_g is solution.pi_g
    assert len(made) == 1


def test_a_response_that_is_better_by_little_is_adopted():
    """Its tail is as uncertain as that of the pair it answers, and in the same way."""
    solution = solve(warehouse(), 24, solver="lifted")
    response = [update for update in solution.history if update.player == "global"][-1]
    assert response.value_proposed > response.value_before
    assert response.adopted
    assert solution.policy.degree == response.details["g_learn/degree"]


def test_of_many_states_few_single_changes_are_tried():
    """Beyond J = k each try costs episodes: turns, and single changes where agents often are."""
    solution = solve(warehouse(num_zones=8), 30, solver="lifted", degree=2)
    lifted = [update for update in solution.history if "nested/k" not in update.details]
    turns = [update.details for update in lifted if update.player == "local"]
    for details in turns:
        assert details["l_learn/changes_tried"] <= (details["l_learn/rounds"] + 1) * (7 + 16)
    assert solution.value > 140


def test_equal_seeds_give_equal_files(tmp_path):
    for name in ("a", "b"):
        solve(warehouse(), 12, solver="lifted", degree=4, seed=3).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("options", [{}, {"objective": "own"}, {"accept": "all-states"}, {"degree": 3}, {"starts": 2}])
def test_a_run_that_is_broken_off_goes_on_to_the_same_end(options, tmp_path, monkeypatch):
    game, options = random_game(num_sg=2, num_sl=4, n=50, seed=8), {"solver": "lifted", "steps": 3, "seed": 2} | options
    whole = solve(game, 20, **options)
    for files in (1, 3):
        folder = tmp_path / str(files)
        with monkeypatch.context() as patch:
            Killer(patch, files)
            with pytest.raises(Killed):
                solve(game, 20, **options, checkpoints=folder)
        again = solve(game, 20, **options, checkpoints=folder)
        assert torch.equal(again.pi_l, whole.pi_l)
        assert torch.equal(again.policy.coefficients, whole.policy.coefficients)
        assert again.value == whole.value
        lines = [[dataclasses.replace(update, seconds=0.0) for update in one.history] for one in (again, whole)]
        assert lines[0] == lines[1]


def test_observation_models_read_it_like_any_policy():
    game = steer().replace(n=60)
    corrected = solve(game, 12, solver="lifted", degree=3, observation="posterior", alpha=2.0)
    assert corrected.alpha is not None
    tables = solve(game, 12, solver="tabular", observation="posterior", alpha=2.0)
    assert corrected.value == pytest.approx(tables.value, rel=5e-3)
    remembered = solve(game, 2, solver="lifted", observation="filter")
    assert remembered.reads == 60
    assert am.rollout(game, remembered, episodes=50).mean > 0


def test_types_and_stochastic_rewards_are_played_by_their_means():
    game = am.games.make("two-speed") if "two-speed" in am.games.names() else random_game(seed=1)
    k = 6
    lifted, tables = solve(game, k, solver="lifted", degree=3), solve(game, k, solver="tabular")
    assert lifted.value == pytest.approx(tables.value, rel=1e-2)


BAD = {
    "degree above k": ({"k": 3, "degree": 4}, ArgumentError, "degree = 4 is above k = 3"),
    "no degree": ({"degree": 0}, ArgumentError, "degree must be"),
    "more coefficients than memory": ({"game": warehouse(num_zones=20), "degree": 5}, SizeError, "use degree <= 3"),
    "a degree for tables": ({"degree": 2, "solver": "tabular"}, ArgumentError, "degree is of solver='lifted'"),
    "draws": ({"m": 3}, ArgumentError, "m draws samples"),
    "draws of rewards": ({"xi": 3}, ArgumentError, "xi draws samples"),
    "chains": ({"l_learner": "ucfh"}, ArgumentError, "l_learner='ucfh' needs"),
    "infinite tables": ({"k": math.inf, "solver": "tabular"}, ArgumentError, "k = inf needs solver='lifted'"),
    "infinite evidence": ({"k": math.inf, "observation": "posterior"}, ArgumentError, "leaves nothing to infer"),
    "few of infinitely many": (
        {"k": math.inf, "objective": "own", "game": steer().replace(n=5)}, ArgumentError, "n = 5: use k <= 5"
    ),
    "minus infinity": ({"k": -math.inf}, ArgumentError, "k must be"),
    "nan": ({"k": math.nan}, ArgumentError, "k must be"),
    "more than there are": ({"k": 10**4}, ArgumentError, "k must be"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_in_one_line(name):
    options, error, message = BAD[name]
    asked = {"game": warehouse(), "k": 8, "solver": "lifted"} | options
    with pytest.raises(error, match=message) as raised:
        solve(asked.pop("game"), asked.pop("k"), **asked)
    assert "\n" not in str(raised.value)


def test_files_that_do_not_fit_are_refused(tmp_path):
    solve(warehouse(), 12, solver="lifted", degree=2, steps=1).save(tmp_path / "good.npz")
    names = ("pi_l", "record")
    entries = dict(read_npz(tmp_path / "good.npz", "altmarl-solution", 1, names, ("",)))
    for entry, value in (
        ("policy/coefficients", entries["policy/coefficients"][..., :-1]),
        ("policy/spec", '{"family": "lifted", "degree": 99, "k": 100}'),
        ("policy/spec", '{"family": "lifted", "degree": 2}'),
    ):
        write_npz(tmp_path / "bad.npz", "altmarl-solution", 1, entries | {entry: value})
        with pytest.raises(FileFormatError):
            Solution.load(tmp_path / "bad.npz")


def test_auto_says_which_solver_and_why(caplog):
    caplog.set_level(logging.INFO)
    game, network = warehouse(), CountNetwork(5, 5, 5)
    for options, solver, why in (
        ({"k": 3, "steps": 1}, "tabular", "small table"),
        ({"k": 40, "steps": 1}, "lifted", "no small table"),
        ({"k": math.inf, "steps": 1}, "lifted", "infinite"),
        ({"k": 5, "degree": 3, "steps": 1}, "lifted", "degree is given"),
    ):
        caplog.clear()
        asked = dict(options)
        assert solve(game, asked.pop("k"), solver="auto", **asked).solver == solver
        lines = [record.getMessage() for record in caplog.records if "solver='auto'" in record.getMessage()]
        assert len(lines) == 1
        assert why in lines[0]
    from altmarl_torch.alternation.choosing import choose
    from altmarl_torch.alternation.options import Learning, Options, Problem

    asked = Options(Problem(5), Learning(solver="auto", network=network))
    assert choose(game, asked).learning.solver == "neural"
