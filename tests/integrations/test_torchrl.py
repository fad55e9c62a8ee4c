"""TorchRL's wrapper and SuperSuit on the PettingZoo environment, and TorchRL's native one."""

import pytest
import torch

pytest.importorskip("pettingzoo")

import altmarl_torch as am
from altmarl_torch.envs import parallel_env


@pytest.mark.parametrize("name", am.games.names())
@pytest.mark.parametrize("n", [3, 1000])
def test_torchrl_finds_its_specs_right(name, n):
    envs = pytest.importorskip("torchrl.envs")
    env = envs.PettingZooWrapper(parallel_env(am.games.make(name), 2, n, horizon=5))
    assert set(env.group_map) == {"global", "local"}
    envs.utils.check_env_specs(env)


@pytest.mark.parametrize("padded", [True, False])
def test_supersuit_takes_a_thousand_local_agents_to_sb3(padded):
    supersuit, sb3 = pytest.importorskip("supersuit"), pytest.importorskip("stable_baselines3")
    game = am.games.warehouse()
    coordinator = None if padded else am.heuristics.heuristic_pair(game, 20, "mode", "walk").dispatcher()
    env = parallel_env(game, 20, padded=padded, coordinator=coordinator, horizon=8)
    venv = supersuit.concat_vec_envs_v1(
        supersuit.pettingzoo_env_to_vec_env_v1(env), 1, num_cpus=0, base_class="stable_baselines3"
    )
    assert venv.num_envs == 1000 + padded
    sb3.PPO("MlpPolicy", venv, n_steps=4, batch_size=1024, n_epochs=1, device="cpu").learn(2 * 4 * venv.num_envs)


@pytest.fixture
def group_env():
    pytest.importorskip("torchrl.envs")
    from altmarl_torch.integrations.torchrl import group_env

    return group_env


@pytest.mark.parametrize("name", am.games.names())
@pytest.mark.parametrize(("k", "n", "num_envs"), [(2, 3, None), (20, 1000, None), (7, 7, 4), (1, 1, 2)])
def test_torchrl_finds_the_specs_of_the_native_environment_right(group_env, name, k, n, num_envs):
    from torchrl.envs.utils import check_env_specs

    env = group_env(am.games.make(name), k, n, num_envs=num_envs, horizon=5)
    assert {group: len(agents) for group, agents in env.group_map.items()} == {"global": 1, "local": n}
    check_env_specs(env)


@pytest.mark.parametrize("name", ["warehouse", "steer", "ware", "hash", "beacon", "two_speed_warehouse"])
def test_the_native_environment_earns_what_a_rollout_earns(group_env, name):
    game = am.games.make(name).replace(n=6)
    pair = am.heuristics.heuristic_pair(game, 3, "uniform", "uniform")
    rewards = group_env(game, 3, num_envs=4000, horizon=12).rollout(12)["next", "global", "reward"]
    found = (rewards.flatten(1) * game.gamma ** torch.arange(12)).sum(1)
    expected = am.rollout(game, pair, episodes=4000, horizon=12).returns
    error = (found.var() / len(found) + expected.var() / len(expected)) ** 0.5
    assert abs(found.mean() - expected.mean()) < 4 * error


@pytest.mark.parametrize("k", [3, 5, 6])
def test_the_coordinator_s_sample_is_drawn_without_replacement_and_steers_as_in_a_rollout(group_env, k):
    game = am.games.steer(n=6)
    pair = am.heuristics.heuristic_pair(game, k, "mode", "uniform")
    env, dispatcher, total = group_env(game, k, num_envs=4000, horizon=10), pair.dispatcher(), 0.0
    seen = env.reset()
    for t in range(10):
        s_g, frequencies = seen["global", "observation"].squeeze(1).split([game.num_sg, game.num_sl], -1)
        counts = (frequencies * k).round().long()
        population = seen["local", "observation"][..., : game.num_sl].sum(1)
        assert (counts.sum(-1) == k).all()
        assert (counts <= population).all()
        seen = env.rand_action(seen)
        seen["global", "action"] = dispatcher.act(s_g.argmax(-1), counts).unsqueeze(-1)
        seen = env.step(seen)["next"]
        total = total + game.gamma**t * seen["local", "reward"][:, 2, 0]
    expected = am.rollout(game, pair, episodes=4000, horizon=10).returns
    error = (total.var() / len(total) + expected.var() / len(expected)) ** 0.5
    assert abs(total.mean() - expected.mean()) < 4 * error
    assert seen["done"].all()


def test_own_rewards_seeds_and_partial_resets(group_env):
    game = am.games.warehouse(n=8)
    env = group_env(game, 4, objective="own", num_envs=3, horizon=9)
    runs = []
    for _ in range(2):
        env.set_seed(5)
        torch.manual_seed(1)
        runs.append(env.rollout(4))
    assert (runs[0] == runs[1]).all()
    s_l, s_g = runs[0]["local", "observation"].split([game.num_sl, game.num_sg], -1)
    earned = game.r_l[s_l.argmax(-1), s_g.argmax(-1), runs[0]["local", "action"]].float()
    assert torch.equal(runs[0]["next", "local", "reward"].squeeze(-1), earned)
    now = runs[0][:, -1]["next"].clone()
    now["_reset"] = torch.tensor([[True], [False], [False]])
    again = env.reset(now.clone())
    assert torch.equal(again["local", "observation"][1:], now["local", "observation"][1:])
    assert not torch.equal(again["local", "observation"][0], now["local", "observation"][0])


@pytest.mark.parametrize("num_envs", [None, 3])
def test_episodes_follow_on_one_another_where_the_trainer_goes_on(group_env, num_envs):
    env = group_env(am.games.steer(n=4), 2, num_envs=num_envs, horizon=3)
    run = env.rollout(7, break_when_any_done=False)
    ended = run["next", "done"].reshape(num_envs or 1, 7)
    assert (ended == torch.tensor([False, False, True, False, False, True, False])).all()
    following, began = run["next", "local", "observation"], run["local", "observation"]
    time = 0 if num_envs is None else 1
    assert torch.equal(following.select(time, 0), began.select(time, 1))


def test_what_is_wrong_with_a_native_environment_is_said(group_env):
    game = am.games.steer(n=3)
    for wrong in ({"k": 4}, {"k": 2, "objective": "mine"}, {"k": 2, "num_envs": 0}, {"k": 2, "horizon": 0}):
        with pytest.raises(am.ArgumentError):
            group_env(game, **wrong)
    with pytest.raises(am.ArgumentError, match="too many"):
        group_env(game, 2, 10**9)
