"""All agents by name: PettingZoo's own tests, the law of Algorithm 4, equal spaces, and errors."""

import numpy as np
import pytest
import torch

pytest.importorskip("pettingzoo")
from pettingzoo.test import parallel_api_test, parallel_seed_test

import altmarl_torch as am
from altmarl_torch.envs import parallel_env


@pytest.mark.parametrize("name", am.games.names())
@pytest.mark.parametrize("n", [3, 1000])
def test_pettingzoo_finds_nothing_to_say(name, n):
    game = am.games.make(name)
    parallel_api_test(parallel_env(game, 2, n, horizon=5), num_cycles=12)
    parallel_seed_test(lambda: parallel_env(game, 2, n, horizon=5), num_cycles=7)


@pytest.mark.parametrize("name", ["warehouse", "steer", "ware", "hash", "beacon", "two_speed_warehouse"])
def test_everybody_earns_what_a_rollout_earns(name):
    game = am.games.make(name).replace(n=6)
    pair = am.heuristics.heuristic_pair(game, 3, "uniform", "uniform")
    env, rng, found = parallel_env(game, 3, horizon=12), np.random.default_rng(0), []
    for episode in range(400):
        env.reset(seed=episode)
        total = 0.0
        for t in range(12):
            actions = {name: int(rng.integers(env.action_space(name).n)) for name in env.agents}
            _, rewards, _, truncations, _ = env.step(actions)
            total += game.gamma**t * rewards["global"]
            assert len(set(rewards.values())) == 1
        assert all(truncations.values())
        assert env.agents == []
        found.append(total)
    expected = am.rollout(game, pair, episodes=4000, horizon=12).returns.numpy()
    error = (np.var(found) / len(found) + expected.var() / len(expected)) ** 0.5
    assert abs(np.mean(found) - expected.mean()) < 4 * error


def test_own_rewards_and_a_coordinator_who_is_no_agent():
    game = am.games.warehouse(n=8)
    pair = am.heuristics.heuristic_pair(game, 8, "mode", "walk")
    env = parallel_env(game, 8, objective="own", coordinator=pair.dispatcher())
    seen, _ = env.reset(seed=0)
    assert list(seen) == [f"local_{i}" for i in range(8)]
    s_g = seen["local_0"][1]
    _, rewards, *_ = env.step(dict.fromkeys(env.agents, 1))
    for name, (s_l, own_s_g) in seen.items():
        assert own_s_g == s_g
        assert rewards[name] == pytest.approx(float(game.r_l[s_l, s_g, 1]))


def test_padded_agents_are_all_alike():
    game = am.games.warehouse(n=8)
    env = parallel_env(game, 4, padded=True)
    seen, _ = env.reset(seed=0)
    assert len({str(env.observation_space(name)) for name in env.agents}) == 1
    assert {env.action_space(name).n for name in env.agents} == {5}
    assert seen["global"][0] == 1
    assert seen["local_3"][0] == 0
    for row in seen.values():
        assert row[1:6].sum() == row[6:].sum() == 1
    plain = parallel_env(game, 4)
    plain.reset(seed=0)
    beyond, last = env.step(dict.fromkeys(env.agents, 4)), plain.step({"global": 4} | dict.fromkeys(env.agents[1:], 2))
    assert beyond[1] == last[1]
    parallel_api_test(parallel_env(game, 4, padded=True, horizon=5), num_cycles=12)


def test_what_is_wrong_is_said():
    game = am.games.steer(n=3)
    env = parallel_env(game, 2)
    env.reset(seed=0)
    with pytest.raises(am.ArgumentError, match="the action of local_2 is missing"):
        env.step({"global": 0, "local_0": 0, "local_1": 0})
    with pytest.raises(am.ArgumentError, match=r"local actions are 0\.\.1"):
        env.step({"global": 0, "local_0": 0, "local_1": 2, "local_2": 0})
    with pytest.raises(am.ArgumentError, match="too many to name"):
        parallel_env(game, 2, 10**6)
    with pytest.raises(am.ArgumentError, match="coordinator"):
        parallel_env(game, 2, coordinator=torch.zeros(3))
