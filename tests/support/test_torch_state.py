"""What the caller has set torch to does not reach into a game: default devices, inference mode."""

import subprocess
import sys

import torch

import altmarl_torch as am
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
