#!/usr/bin/env bash
# SuperSuit 3.11.0: the environments of a vector that it makes draw the same random numbers.
#
# One asks `concat_vec_envs_v1(environment, 4)` for four environments in order to see four times as much. They are copies
# of the one that was handed in, with its generator as it stands; reset without a seed they keep it, as PettingZoo says
# they should. So where a generator is made with the environment, or by a first `reset(seed=0)`, all four have the same luck
# for ever, and under the same actions the same data, without a warning. Reset the vector once with a seed, which gives
# each its own (base_class="gymnasium"; the form for Stable-Baselines3 takes none), or let `reset` make a new generator.
#
# Seen with supersuit 3.11.0, pettingzoo 1.27.0, gymnasium 1.4.0, stable-baselines3 2.9.2, numpy 2.4.6, Python 3.11, four
# environments, ten steps of the same actions:
#   for Stable-Baselines3: 1 different of 4
#   for Gymnasium: 1 different of 4
#   for Gymnasium, reset with a seed: 4 different of 4
# (supersuit/vector/vector_constructors.py, vec_env_args)
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


class Dice(ParallelEnv):
    metadata = {"name": "dice_v0"}
    render_mode = None

    def __init__(self):
        self.possible_agents, self.agents = ["player"], []
        self.generator = np.random.default_rng()

    def observation_space(self, agent):
        return Box(0, 1, (1,), np.float32)

    def action_space(self, agent):
        return Discrete(2)

    def reset(self, seed=None, options=None):
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.agents = self.possible_agents[:]
        return self.thrown(), {"player": {}}

    def thrown(self):
        return {"player": self.generator.random(1, dtype=np.float32)}

    def step(self, actions):
        return self.thrown(), {"player": 0.0}, {"player": False}, {"player": False}, {"player": {}}


def different(base_class, **options):
    single = supersuit.pettingzoo_env_to_vec_env_v1(Dice())
    vector = supersuit.concat_vec_envs_v1(single, 4, num_cpus=0, base_class=base_class)
    vector.reset(**options)
    seen = np.stack([vector.step(np.zeros(4, dtype=np.int64))[0][:, 0] for _ in range(10)])
    return len(np.unique(seen, axis=1).T)


found = different("stable_baselines3"), different("gymnasium"), different("gymnasium", seed=0)
for name, number in zip(("Stable-Baselines3", "Gymnasium", "Gymnasium, reset with a seed"), found, strict=True):
    print(f"for {name}: {number} different of 4")
raise SystemExit(found != (1, 1, 4))
PY
cd "$scratch" && venv/bin/python -W ignore look.py 2>/dev/null
