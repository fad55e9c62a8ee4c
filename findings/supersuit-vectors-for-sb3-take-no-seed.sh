#!/usr/bin/env bash
# SuperSuit 3.11.0: the vector environment that it makes for Stable-Baselines3 cannot be seeded.
#
# `concat_vec_envs_v1(..., base_class="stable_baselines3")` is the documented way from PettingZoo to Stable-Baselines3. One
# would guess that `PPO(..., seed=0)` then trains reproducibly. PPO asks the environment to `seed` itself, SuperSuit's
# wrapper hands that on to a vector that has no such method, and an AttributeError ends it before the first step; so
# examples leave the seed out and cannot be repeated. The vector can be seeded underneath, by Gymnasium's own way: build
# it with base_class="gymnasium", `reset(seed=...)` it once, and keep to one's own `set_random_seed`.
#
# Seen with supersuit 3.11.0, stable-baselines3 2.9.2, pettingzoo 1.27.0, gymnasium 1.4.0, torch 2.13.0, Python 3.11:
#   PPO with a seed: AttributeError 'ConcatVecEnv' object has no attribute 'seed'
#   PPO without: trained
#   base_class="gymnasium", reset with one seed twice: the same observations True
# (supersuit/vector/sb3_vector_wrapper.py, seed; supersuit/vector/concat_vec_env.py)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 pettingzoo==1.27.0 \
    stable-baselines3==2.9.2 supersuit==3.11.0
cat >"$scratch/look.py" <<'PY'
import numpy as np
import supersuit
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv
from stable_baselines3 import PPO


class Noise(ParallelEnv):
    metadata = {"name": "noise_v0"}
    render_mode = None

    def __init__(self):
        self.possible_agents, self.agents = ["one", "other"], []
        self.generator = np.random.default_rng()

    def observation_space(self, agent):
        return Box(0, 1, (1,), np.float32)

    def action_space(self, agent):
        return Discrete(2)

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        return self.seen(), {agent: {} for agent in self.agents}

    def seen(self):
        return {agent: self.generator.random(1).astype(np.float32) for agent in self.agents}

    def step(self, actions):
        no = dict.fromkeys(self.agents, False)
        return self.seen(), dict.fromkeys(self.agents, 0.0), no, no.copy(), {agent: {} for agent in self.agents}


def vector(base_class):
    single = supersuit.pettingzoo_env_to_vec_env_v1(Noise())
    return supersuit.concat_vec_envs_v1(single, 2, num_cpus=0, base_class=base_class)


def train(**options):
    PPO("MlpPolicy", vector("stable_baselines3"), n_steps=8, batch_size=8, **options).learn(8)
    return "trained"


try:
    with_seed = train(seed=0)
except AttributeError as error:
    with_seed = f"AttributeError {error}"
print("PPO with a seed:", with_seed)
print("PPO without:", train())
environment = vector("gymnasium")
same = np.array_equal(environment.reset(seed=5)[0], environment.reset(seed=5)[0])
print('base_class="gymnasium", reset with one seed twice: the same observations', same)
raise SystemExit(not with_seed.startswith("AttributeError") or not same)
PY
cd "$scratch" && venv/bin/python -W ignore look.py 2>/dev/null
