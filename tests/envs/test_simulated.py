"""A tagged agent of a simulator as an environment: Gymnasium's check, what it earns, and where it begins."""

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env

import altmarl_torch as am
from altmarl_torch.envs import SimulatedLocalEnv, simulated, simulated_local_vector_env

WAREHOUSE = am.games.continuous_warehouse(n=40)
WALK = am.simulators.heuristic_pairs(WAREHOUSE, 5)["hold + walk"]


def test_gymnasium_finds_nothing_wrong():
    check_env(SimulatedLocalEnv(WAREHOUSE, WALK), skip_render_check=True)
    thermostats = am.games.thermostats(n=20)
    pair = am.simulators.uniform_pair(thermostats, 3)
    check_env(SimulatedLocalEnv(thermostats, pair, horizon=5), skip_render_check=True)


def discounted(venv, gamma, steps, choose):
    """Mean return of the tagged agents over one episode, and its standard error."""
    seen, _ = venv.reset(seed=3)
    total = np.zeros(venv.num_envs)
    for t in range(steps):
        seen, reward, _, truncated, infos = venv.step(choose(seen))
        total += gamma**t * reward
    assert truncated.all()
    assert infos["final_obs"][0]["s_l"].shape == seen["s_l"][0].shape
    return total.mean(), total.reshape(-1, simulated.TAGGED).mean(1).std() / (len(total) / simulated.TAGGED) ** 0.5


def test_who_plays_as_the_crowd_earns_what_it_earns(monkeypatch):
    """Nobody strays: a tagged agent that walks earns the local part of the walking crowd's return."""
    monkeypatch.setattr(simulated, "ANYWHERE", 0.0)
    venv = simulated_local_vector_env(WAREHOUSE, WALK, num_envs=4096, horizon=30)

    def walk(seen):
        s_l, s_g = (torch.from_numpy(seen[name]) for name in ("s_l", "s_g"))
        return WALK.local_actions(s_l, s_g).numpy()

    mean, error = discounted(venv, WAREHOUSE.gamma, 30, walk)
    silent = WAREHOUSE.replace(r_g=lambda s_g, a_g: 0 * s_g.squeeze(-1))
    whole = am.rollout(silent, WALK, episodes=1000, horizon=30)
    assert abs(mean - whole.mean) < 4 * (error**2 + whole.sem**2) ** 0.5


def test_agents_of_one_population_share_s_g_and_some_begin_anywhere():
    venv = simulated_local_vector_env(WAREHOUSE, WALK, num_envs=640, horizon=3)
    seen, _ = venv.reset(seed=1)
    together = seen["s_g"].reshape(-1, simulated.TAGGED)
    assert (together == together[:, :1]).all()
    assert len(np.unique(together[:, 0])) == 40
    between = np.abs(seen["s_l"][:, 0] - np.round(seen["s_l"][:, 0] / 0.8) * 0.8) > 0.35  # no cluster comes so far
    assert 0.02 < between.mean() < 0.1
    again, _ = simulated_local_vector_env(WAREHOUSE, WALK, num_envs=640, horizon=3).reset(seed=1)
    assert all(np.array_equal(again[name], seen[name]) for name in seen)


def test_finite_states_and_a_crowd_that_is_seen():
    game = am.games.simulated_ambulances(n=10)
    venv = simulated_local_vector_env(game, am.simulators.uniform_pair(game, 2), num_envs=33, horizon=4)
    seen, _ = venv.reset(seed=0)
    assert seen["s_l"].shape == (33, game.local_state.d)
    _, reward, *_ = venv.step(np.zeros(33, dtype=np.int64))
    assert np.isfinite(reward).all()


def test_a_step_behind_the_end_is_refused():
    env = SimulatedLocalEnv(WAREHOUSE, WALK, horizon=2)
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(2)] == [False, True]
    with pytest.raises(am.ArgumentError, match="the episode of 2 steps is over: call reset"):
        env.step(0)
    env.reset()
    assert not env.step(0)[3]


def test_continuous_actions_are_refused():
    game = am.games.linear_quadratic(n=10)
    with pytest.raises(am.ArgumentError, match="local_action is"):
        SimulatedLocalEnv(game, am.simulators.uniform_pair(game, 2))
