"""TorchRL and SuperSuit on the PettingZoo environment."""

import pytest

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
