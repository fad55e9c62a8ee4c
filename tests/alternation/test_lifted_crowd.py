"""`solve(solver="lifted")` of games whose reward sees the frequencies: the tables' solution, beyond it, and options."""

import dataclasses
import logging
import math

import pytest
import torch
from oracles.killer import Killed, Killer

import altmarl_torch as am
from altmarl_torch.alternation import solution as solution_module
from altmarl_torch.alternation import solution_files
from altmarl_torch.alternation.players.lifted_local import LiftedLocalLearner
from altmarl_torch.alternation.players.lifted_memory import LiftedWorkspace
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solving import solve
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import ambulances, random_game
from altmarl_torch.learners.lifted.fitting import fit_best_response
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.tabular.l_learn import agent_values
from altmarl_torch.operators.joint_value import joint_value, value_span
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.support.npz import read_npz

RESIDUAL = "g_learn/held_out_residual"


def wanted(s_g, a_g, mu):
    """Smooth, no polynomial, and other actions are best at other frequencies."""
    s_g, a_g = s_g.to(mu), a_g.to(mu)
    return torch.exp(-4 * (mu[..., 0] - 0.2 - 0.3 * s_g).square()) - 0.4 * a_g * (mu[..., 1] - 0.3)


def threshold(s_g, a_g, mu):
    """Paid where more than half of the agents are in state 0, if that is called."""
    return ((mu[..., 0] > 0.5) == (s_g == a_g)).double()


def small(seed, function=wanted, **changes):
    sizes = {"num_sg": 2, "num_sl": 3, "num_ag": 2, "num_al": 2, "gamma": 0.8, "n": 60}
    return random_game(seed=seed, **sizes | changes).replace(r_g_mu=function)


def value_of(game, solution, k):
    table = Surrogate.build(game, solution.pi_l, PairPlan(CountSimplex(k, game.num_sl)))
    return joint_value(table, solution.pi_g, tolerance=1e-11).mean


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("objective", ["team", "own"])
def test_degree_k_is_the_exact_solution(seed, objective):
    game = small(seed)
    lifted, tables = (solve(game, 5, solver=solver, objective=objective) for solver in ("lifted", "tabular"))
    assert torch.equal(lifted.pi_l, tables.pi_l)
    assert torch.equal(lifted.pi_g, tables.pi_g)
    assert lifted.value == pytest.approx(value_of(game, tables, 5), abs=1e-9)
    assert lifted.policy.degree == 5


def test_degree_k_is_the_exact_solution_of_the_ambulances():
    game = ambulances(gamma=0.6)
    lifted, tables = (solve(game, 2, solver=solver) for solver in ("lifted", "tabular"))
    assert torch.equal(lifted.pi_l, tables.pi_l)
    assert torch.equal(lifted.pi_g, tables.pi_g)
    assert lifted.value == pytest.approx(value_of(game, tables, 2), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_small_degrees_lose_a_few_ten_thousandths(seed):
    """From where the tables end: what is lost is what the degree loses."""
    game = small(seed)
    tables = solve(game, 20, solver="tabular")
    lifted = solve(game, 20, solver="lifted", degree=6, start=tables)
    assert 1 - value_of(game, lifted, 20) / tables.value < 2e-4
    assert lifted.value == pytest.approx(tables.value, rel=2e-3)


def test_a_threshold_is_told_by_the_residual(caplog):
    caplog.set_level(logging.WARNING)
    told = {}
    for function in (wanted, threshold):
        game = small(3, function)
        solution = solve(game, 50, solver="lifted", degree=6)
        details = [update.details for update in solution.history if RESIDUAL in update.details][-1]
        told[function] = details[RESIDUAL] / value_span(game)
        assert details["g_learn/proven_error"] > 0
    assert told[threshold] > 2e-3
    assert told[threshold] > 20 * told[wanted]


def test_auto_stays_with_lifted_functions_and_says_where_they_fail(caplog):
    """Networks do not see the crowd."""
    caplog.set_level(logging.INFO)
    game = small(3, lambda s_g, a_g, mu: 9 * torch.sin(60 * mu[..., 0] + a_g).sign(), gamma=0.3)
    solution = solve(game, 60, solver="auto", steps=2)
    assert solution.solver == "lifted"
    assert "r_g_mu may jump or bend" in caplog.text
    assert solve(game, 4, solver="auto", steps=1).solver == "tabular"


@pytest.mark.parametrize("k", [1000, 10**6, math.inf])
def test_any_number_of_agents(k, tmp_path):
    game = small(1, n=1000 if math.isinf(k) else k)
    solution = solve(game, k, solver="lifted")
    few = solve(small(1), 50, solver="tabular").seeing(1000)
    ours, theirs = (
        am.rollout(game.replace(n=1000), pair, episodes=300, seed=3) for pair in (solution.seeing(1000), few)
    )
    assert ours.mean > theirs.mean - 2 * (ours.sem**2 + theirs.sem**2) ** 0.5


def test_a_memory_reads_it_at_fractions():
    game = small(2)
    for solver in ("lifted", "tabular"):
        remembered = solve(game, 2, solver=solver, observation="filter")
        assert remembered.belief is not None
        blind = solve(game, 2, solver=solver)
        episodes = {"episodes": 400, "horizon": 25, "seed": 1}
        assert am.rollout(game, remembered, **episodes).mean > am.rollout(game, blind, **episodes).mean


def test_an_offset_of_the_reward_changes_nothing_else():
    game = small(4)
    plain = solve(game, 40, solver="lifted", degree=4)
    raised = solve(game.replace(r_g_mu=lambda *seen: wanted(*seen) + 1e4), 40, solver="lifted", degree=4)
    assert torch.equal(plain.pi_l, raised.pi_l)
    assert raised.value - 1e4 / (1 - game.gamma) == pytest.approx(plain.value, abs=1e-4)


def test_torch_s_default_type_does_not_matter():
    game = small(4)
    plain = solve(game, 40, solver="lifted", degree=4)
    torch.set_default_dtype(torch.float64)
    try:
        other = solve(game, 40, solver="lifted", degree=4)
    finally:
        torch.set_default_dtype(torch.float32)
    assert torch.equal(plain.policy.coefficients, other.policy.coefficients)
    assert other.value == plain.value


@pytest.mark.parametrize("options", [{}, {"objective": "own"}, {"accept": "all-states"}])
def test_a_run_that_is_broken_off_goes_on_to_the_same_end(options, tmp_path, monkeypatch):
    game, options = small(4), {"solver": "lifted", "degree": 3, "steps": 3} | options
    whole = solve(game, 30, **options)
    for files in (1, 2, 3):
        folder = tmp_path / str(files)
        with monkeypatch.context() as patch:
            Killer(patch, files)
            with pytest.raises(Killed):
                solve(game, 30, **options, checkpoints=folder)
        for _ in range(2):  # and once more, when it is over
            again = solve(game, 30, **options, checkpoints=folder)
            assert torch.equal(again.pi_l, whole.pi_l)
            assert torch.equal(again.policy.coefficients, whole.policy.coefficients)
            assert torch.equal(again.pi_g, whole.pi_g)
            assert again.policy.r_g_mu is game.r_g_mu
            assert again.value == whole.value
            lines = [[dataclasses.replace(update, seconds=0.0) for update in one.history] for one in (again, whole)]
            assert lines[0] == lines[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"solver": "lifted", "observation": "posterior"}, "observation='posterior' does not"),
        ({"solver": "lifted", "select": "rollout"}, "select='rollout' does not"),
        ({"solver": "neural"}, "solver='neural' does not"),
    ],
)
def test_what_does_not_know_of_it_says_so(options, message):
    with pytest.raises(am.ArgumentError, match=message) as told:
        solve(small(1), 4, **options)
    assert "\n" not in str(told.value)


def test_files_hold_no_function(tmp_path, monkeypatch):
    """With the game a file is the whole solution; without it the table, where that is the same."""
    game, path = small(4), tmp_path / "policy.npz"
    solution = solve(game, 40, solver="lifted", degree=3, steps=1)
    solution.save(path)
    whole, table = Solution.load(path, game=game), Solution.load(path)
    assert whole.policy.r_g_mu is game.r_g_mu
    assert table.policy is None
    played = [am.rollout(game, one, episodes=50, horizon=20).returns for one in (solution, whole, table)]
    assert torch.equal(played[0], played[1])
    assert torch.equal(played[0], played[2])
    with pytest.raises(am.FileFormatError, match=r"pi_l .* is \[3, 2, 2\]; that of the game is \[4, 2, 2\]"):
        Solution.load(path, game=small(4, num_sl=4))
    with pytest.raises(am.ArgumentError, match="with the game that it was learned for"):
        Solution.load(path, game=game.replace(r_g_mu=None))
    monkeypatch.setattr(solution_files, "LARGEST_TABLE", 10)
    monkeypatch.setattr(solution_module, "LARGEST_FILE", 10)
    for one, name in ((solution, "large"), (solve(game, 2, solver="lifted", observation="filter"), "filter")):
        fresh = dataclasses.replace(one, pi_g=None)
        fresh.save(path)
        with pytest.raises(am.ArgumentError, match=r"reads r_g_mu, a function, which is in no file: .*game=game"):
            Solution.load(path)
        again = Solution.load(path, game=game)
        returns = [am.rollout(game, own, episodes=20, horizon=10).returns for own in (one, again)]
        assert torch.equal(*returns), name


def test_files_of_other_games_say_nothing_of_it(tmp_path):
    solution = solve(small(4, None), 40, solver="lifted", degree=3, steps=1)
    solution.save(tmp_path / "policy.npz")
    entries = read_npz(tmp_path / "policy.npz", "altmarl-solution", 1, ("policy/spec",), ("",))
    assert "r_g_mu" not in str(entries["policy/spec"])


def test_what_agents_add_to_the_crowd_is_in_the_derivative_of_pi_l():
    """As it is in that of tables: agents of this game earn next to nothing themselves."""
    game, k, pi_l = ambulances(), 10, uniform_local(ambulances())
    work = LiftedWorkspace(game, float(k), [6], 0)
    surrogate, points = work.surrogate(pi_l), Points.draw(work.basis(0), float(k), torch.Generator().manual_seed(0))
    policy = LiftedPolicy(
        fit_best_response(surrogate, points).action_coefficients, 6, game.num_sl, float(k), game.r_g_mu
    )
    pair = Pair(policy, pi_l)
    surrogate, found = work.fitted(pair, "l_learn")
    gains = LiftedLocalLearner(work, work)._gains(pair, surrogate, found, work.known(pair, surrogate, found))
    table = Surrogate.build(game, pi_l, PairPlan(CountSimplex(k, game.num_sl)))
    pi_g = policy.laws(table.simplex.counts).transpose(0, 1).double()
    wanted = agent_values(table, pi_g, occupancy(table, pi_g), joint_value(table, pi_g).values)
    wanted = wanted - (pi_l * wanted).sum(-1, keepdim=True)
    assert torch.corrcoef(torch.stack([gains.flatten(), wanted.flatten()]))[0, 1] > 0.97
