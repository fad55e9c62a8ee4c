"""Stable-Baselines3 as L-LEARN of a simulator: what it learns is what the network that comes back does."""

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.alternation.simulated.own_learners import SimulatedLocalProblem
from altmarl_torch.integrations import sb3_simulators
from altmarl_torch.integrations.sb3 import ALGORITHMS
from altmarl_torch.learners.simulated.features import Frame

GAME = am.games.continuous_warehouse(n=40)
SETTINGS = {"PPO": {"n_steps": 8}, "TRPO": {"n_steps": 8}, "A2C": {}, "DQN": {"learning_starts": 64}}
FRAME = Frame(am.Box(-2, 2), torch.zeros(2, 1))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_network_acts_as_the_model_does(algorithm, monkeypatch):
    models, original = [], ALGORITHMS[algorithm]
    monkeypatch.setitem(ALGORITHMS, algorithm, lambda *a, **b: models.append(original(*a, **b)) or models[-1])
    pair = am.simulators.heuristic_pairs(GAME, 3)["hold + walk"]
    problem = SimulatedLocalProblem(GAME, pair, FRAME, FRAME, 5)
    learn = sb3_simulators.learner(algorithm, total_steps=512, num_envs=32, **SETTINGS[algorithm])
    network = learn(problem, None)
    s_l, s_g = (FRAME.draw((200,), torch.Generator().manual_seed(seed)) for seed in (0, 1))
    told, _ = models[0].predict(torch.cat([s_l, s_g], -1).numpy(), deterministic=True)
    with torch.no_grad():
        assert np.array_equal(network(s_l, s_g).argmax(-1).numpy(), told)


@pytest.mark.parametrize(("settings", "rate"), [({}, 3e-3 / 4), ({"learning_rate": 1e-3}, 1e-3)])
def test_the_rate_of_ppo_falls_unless_another_is_asked_for(monkeypatch, settings, rate):
    """Four collections; before the last update but one a quarter of the steps is left."""
    rates, train = [], ALGORITHMS["PPO"].train

    def told(model):
        train(model)
        rates.append(model.policy.optimizer.param_groups[0]["lr"])

    monkeypatch.setattr(ALGORITHMS["PPO"], "train", told)
    pair = am.simulators.heuristic_pairs(GAME, 3)["hold + walk"]
    learn = sb3_simulators.learner("PPO", total_steps=4 * 256, num_envs=32, n_steps=8, **settings)
    learn(SimulatedLocalProblem(GAME, pair, FRAME, FRAME, 5), None)
    assert len(rates) == 4
    assert rates[2] == pytest.approx(rate)


def test_ppo_learns_to_walk(monkeypatch):
    """Beside a dispatcher that holds; standing still earns 60 less."""
    for name, value in (("GLOBAL_STEPS", (10, 10)), ("EPISODES", 128)):
        monkeypatch.setattr(players, name, value)
    walk = am.simulators.heuristic_pairs(GAME, 3)["hold + walk"]
    start = am.simulators.RulePair(3, walk.rule_g, lambda s_l, s_g: torch.zeros(s_l.shape[:-1], dtype=torch.int64))
    ppo = sb3_simulators.learner("PPO", total_steps=2**18, num_envs=512)
    solution = am.solve(GAME, 3, start=start, turns="local", steps=1, l_learner=ppo)
    both = [am.rollout(GAME, pair, episodes=400, horizon=50).mean for pair in (start, solution, walk)]
    assert both[1] - both[0] > 0.9 * (both[2] - both[0])
