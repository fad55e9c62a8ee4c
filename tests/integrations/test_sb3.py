"""Stable-Baselines3: its VecEnv, and its algorithms as a local agent's best response."""

import itertools
import random

import numpy as np
import pytest
import torch

pytest.importorskip("stable_baselines3")
pytest.importorskip("sb3_contrib")

from oracles.tagged import exact_return

import altmarl_torch as am
from altmarl_torch.alternation.players.problems import LocalProblem
from altmarl_torch.envs import local_vector_env, vector_env
from altmarl_torch.integrations.sb3 import ALGORITHMS, Sb3VecEnv, learner, respond
from altmarl_torch.policies import one_hot, uniform_local


def test_the_vec_env_shows_numbers_in_the_unit_interval_and_the_last_observation():
    game = am.games.warehouse(n=100)
    venv = Sb3VecEnv(vector_env(game, uniform_local(game), 4, num_envs=3, horizon=2), scale=2.0)
    venv.seed(5)
    first = venv.reset()
    assert first.shape == (3, 10)
    assert np.allclose(first[:, :5].sum(1), 1)
    assert np.allclose(first[:, 5:].sum(1), 1)
    _, rewards, done, infos = venv.step(np.zeros(3, np.int64))
    assert not done.any()
    assert infos == [{}, {}, {}]
    assert (rewards > 0).all()
    _, _, done, infos = venv.step(np.zeros(3, np.int64))
    assert done.all()
    assert all(info["terminal_observation"].shape == (10,) and info["TimeLimit.truncated"] for info in infos)
    venv.seed(5)
    assert np.array_equal(venv.reset(), first)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_gives_a_local_policy(algorithm):
    game = am.games.steer(n=3)
    pair = am.solve(game, 2)
    settings = {"PPO": {"n_steps": 16}, "TRPO": {"n_steps": 16}, "A2C": {}, "DQN": {"learning_starts": 50}}[algorithm]
    found = respond(game, pair.pi_g, pair.pi_l, 2, algorithm=algorithm, total_steps=300, num_envs=8, **settings)
    assert found.shape == game.r_l.shape
    assert (found.sum(-1) == 1).all()


def test_an_unknown_algorithm_is_named():
    game = am.games.steer(n=3)
    with pytest.raises(am.ArgumentError, match="PPO, A2C, DQN, TRPO"):
        respond(game, uniform_local(game), uniform_local(game), 2, algorithm="SAC")


def numpy_state():
    return str(np.random.get_state())  # noqa: NPY002  # read, never drawn from


@pytest.mark.parametrize("side", ["l_learner", "g_learner"])
def test_ppo_is_a_learner_of_either_player_and_leaves_the_caller_s_chance_alone(side):
    game = am.games.steer(n=5)
    before = torch.get_rng_state(), numpy_state(), random.getstate()
    ppo = learner("PPO", total_steps=2_048, num_envs=16, n_steps=32, batch_size=128)
    found = am.solve(game, 2, steps=1, **{side: ppo})
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == numpy_state()
    assert before[2] == random.getstate()
    assert [one.player for one in found.history] == ["global", "local"]
    assert torch.equal(found.pi_l, am.solve(game, 2, steps=1, **{side: ppo}).pi_l)
    assert found.value <= am.solve(game, 2).value + 1e-9


def test_a_local_agent_s_states_are_one_hot_together_where_they_are_few(monkeypatch):
    game = am.games.ware(n=3)
    pair = am.solve(game, 2, steps=1)
    env = local_vector_env(game, pair.pi_g, pair.pi_l, 2, num_envs=2)
    rows = LocalProblem(game, pair.pi_g, pair.pi_l, 2).observations()
    assert np.array_equal(Sb3VecEnv(env).flatten(rows)[:, ::-1].sum(0), np.ones(9))
    assert len(np.unique(Sb3VecEnv(env).flatten(rows), axis=0)) == 9
    assert Sb3VecEnv(env).observation_space.shape == (9,)
    monkeypatch.setattr("altmarl_torch.integrations.sb3.MOST_TOGETHER", 8)
    apart = Sb3VecEnv(env)
    assert apart.observation_space.shape == (6,)
    assert (apart.flatten(rows).sum(1) == 2).all()


@pytest.mark.parametrize("difference", [True, False])
def test_ppo_finds_the_best_response_to_a_coordinator_and_a_companion(difference):
    game = am.games.steer()
    start = uniform_local(game)
    pi_g = am.solve(game, 2).pi_g
    ppo = learner("PPO", total_steps=2**17, num_envs=128, difference=difference)
    found = ppo(LocalProblem(game, pi_g, start, 2, "team", 3), start)
    tables = (one_hot(torch.tensor(actions).reshape(2, 2), 2) for actions in itertools.product(range(2), repeat=4))
    best = max(exact_return(game, pi_g, start, pi, 60) for pi in tables)
    assert exact_return(game, pi_g, start, found, 60) > best - 0.05


@pytest.mark.parametrize("settings", [{"algorithm": "SAC"}, {"total_steps": 0}, {"num_envs": 1.5}])
def test_a_learner_checks_itself_when_it_is_made(settings):
    with pytest.raises(am.ArgumentError, match=next(iter(settings))):
        learner(**settings)
