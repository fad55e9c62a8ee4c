"""What the caller has set torch to does not reach into a game: default devices, inference mode."""

import subprocess
import sys
from contextlib import contextmanager

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players, team_learner
from altmarl_torch.learners.simulated import experience, policies
from altmarl_torch.support.torch_state import door, ordinary

EVERYTHING = """
import torch, altmarl_torch as am
torch.set_default_device("meta")  # stands for any device that a game does not lie on
game = am.games.steer(n=4)
solution = am.solve(game, 2)
game.save("game.npz"), solution.save("solution.npz")
game, solution = am.Game.load("game.npz"), am.Solution.load("solution.npz")
solution.dispatcher().act([0, 1], [[1, 1], [2, 0]])
am.certify(game, solution), am.rollout(game, solution, episodes=3, horizon=5), am.population_value(game, solution)
am.rollout_gaps(game, solution, episodes=20, horizon=5), am.coverage_of_game(game, 2)
data = am.collect(game, 2, trajectories=2, steps=20)
am.coverage_of_data(data), am.learn_from_data(data)
for name in am.games.names(): assert am.games.make(name).device.type == "cpu", name
for name in am.games.simulators(): am.check_simulator(am.games.make(name))
line = am.SimulatedGame.from_tables(game)
pair = am.solve(line, 2, steps=1, objective='team')
am.rollout(line, pair, episodes=3, horizon=5), am.rollout_gaps(line, pair, episodes=8, horizon=5)
assert am.solve(game, 2, solver="neural", steps=1).pi_l.device.type == "cpu"
remembering = am.solve(game, 2, observation="filter").dispatcher()
remembering.reset(2), remembering.act([0, 1], [[1, 1], [2, 0]])
assert am.CountSimplex(3, 2).rank(am.CountSimplex(3, 2).counts).tolist() == [0, 1, 2, 3]
"""


def test_another_default_device_changes_nothing(tmp_path):
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_float64_by_default_makes_no_other_simulators(tmp_path):
    """Their states are float32, whatever numbers are made of elsewhere."""
    code = "import torch, altmarl_torch as am; torch.set_default_dtype(torch.float64)\n"
    code += "for name in am.games.simulators(): am.check_simulator(am.games.make(name))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


SOLVED = {
    "values": lambda: am.solve(am.games.continuous_warehouse(n=40), 3, steps=1),
    "a memory": lambda: am.solve(am.games.continuous_warehouse(n=40), 3, steps=1, observation="filter"),
    "the team": lambda: am.solve(am.games.continuous_warehouse(n=40), 3, steps=1, objective="team"),
    "actors": lambda: am.solve(am.games.linear_quadratic(n=20), 3, steps=1, observation="filter"),
    "a crowd": lambda: am.solve(am.games.simulated_ambulances(n=20), 3, steps=1),
    "a learner of one's own": lambda: am.solve(
        am.games.continuous_warehouse(n=40), 3, steps=1, l_learner=lambda problem, pi_l: problem.network()
    ),
    "tables": lambda: am.solve(am.games.smart_grid(n=20), 2, steps=1),
    "lifted": lambda: am.solve(am.games.steer(n=20), 3, solver="lifted", steps=1),
}


def everything(name, folder):
    """The bytes of a solution's file, what it earns and answers, and what is found of it."""
    solution = SOLVED[name]()
    game = MADE[solution.game_name]()
    solution.save(folder / "solution.npz")
    played = am.rollout(game, solution, episodes=6, horizon=6)
    gaps = am.rollout_gaps(game, solution, episodes=8, horizon=4)
    found = [
        (folder / "solution.npz").read_bytes(),
        played.returns,
        gaps.global_gap.gain.mean,
        gaps.local_gap.gain.mean,
    ]
    if isinstance(game, am.SimulatedGame):
        am.check_simulator(game)
        again = am.SimulatedSolution.load(folder / "solution.npz", game)
        luck = torch.Generator().manual_seed(1)
        s_g, s_l = game.start(3, 7, luck)
        dispatcher = again.dispatcher()
        dispatcher.reset(3)
        found += [dispatcher.act(s_g, s_l[:, :3]), again.local_actions(s_l, s_g.unsqueeze(1), luck)]
        found += [played.trace.occupation, played.trace.s_g]
    return found


MADE = {
    "continuous_warehouse": lambda: am.games.continuous_warehouse(n=40),
    "linear_quadratic": lambda: am.games.linear_quadratic(n=20),
    "simulated_ambulances": lambda: am.games.simulated_ambulances(n=20),
    "smart_grid": lambda: am.games.smart_grid(n=20),
    "steer": lambda: am.games.steer(n=20),
}


@contextmanager
def float64_by_default():
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize("name", [name for name in am.games.names() if name not in am.games.simulators()])
def test_named_tables_are_the_same(name):
    usual = am.games.make(name)
    with float64_by_default():
        found = am.games.make(name)
    for table in ("P_g", "P_l", "r_g", "r_l"):
        assert torch.equal(getattr(found, table), getattr(usual, table)), table


@pytest.mark.parametrize("name", SOLVED)
def test_float64_by_default_changes_nothing(name, tmp_path, monkeypatch):
    hurry(monkeypatch)
    usual = everything(name, tmp_path)
    with float64_by_default():
        found = everything(name, tmp_path)
    for ours, theirs in zip(found, usual, strict=True):
        if isinstance(ours, torch.Tensor):
            assert ours.dtype == theirs.dtype
            assert torch.equal(ours, theirs)
        else:
            assert ours == theirs


def test_simulators_draw_from_their_seed_alone(monkeypatch):
    hurry(monkeypatch)
    before = torch.get_rng_state()
    for name in ("values", "the team", "actors"):
        SOLVED[name]()
    assert torch.equal(torch.get_rng_state(), before)


def hurry(monkeypatch):
    """Turns of a few gradient steps."""
    for module, name, short in (
        (players, "GLOBAL_STEPS", (20, 20)), (players, "LOCAL_STEPS", 20), (players, "EPISODES", 16),
        (players, "PATH_STEPS", 4), (team_learner, "VALUE_STEPS", 10), (team_learner, "STEPS", 10),
        (experience, "EPISODES", 16), (policies, "NODES_LOCAL", 41), (policies, "NODES_LEADER", 17),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, short)


def test_networks_are_trained_under_inference_mode():
    with torch.inference_mode():
        found = am.solve(am.games.steer(), 2, solver="neural", steps=1)
    assert found.history


def test_the_state_of_the_caller_comes_back():
    with torch.inference_mode(), torch.device("meta"):
        with ordinary():
            assert not torch.is_inference_mode_enabled()
            assert torch.ones(1).device.type == "cpu"
        assert torch.is_inference_mode_enabled()
        assert torch.ones(1).device.type == "meta"


def test_a_door_is_on_the_device_of_its_game():
    class Somewhere:
        device = torch.device("meta")

    assert door(lambda game: torch.ones(1))(Somewhere()).device.type == "meta"
    assert door(lambda game: torch.ones(1))(None).device.type == "cpu"
