#!/usr/bin/env bash
# TorchRL 0.14.1: what becomes of a MultiDiscrete observation depends on whether its sizes are equal.
#
# One would guess that a Gymnasium observation of MultiDiscrete([3, 4]) and one of MultiDiscrete([3, 3]) arrive in the same
# form. With unequal sizes TorchRL makes one vector, the one-hot codes side by side: 3 + 4 = 7 numbers. With equal sizes
# it makes a table, one row an entry: [2, 3]. So a network that reads `observation.shape[-1]` inputs reads 7 of the first
# and 3, row by row, of the second, and a game with as many places as moods takes another path than its neighbour. With
# `categorical_action_encoding=True`, whose name speaks of actions alone, GymWrapper leaves observations whole numbers
# too, [2] both; PettingZooWrapper's `categorical_actions=True` does not. Shown as Box the numbers arrive as they are.
#
# Seen with torchrl 0.14.1, gymnasium 1.4.0, torch 2.13.0, Python 3.11:
#   MultiDiscrete [3, 4]: MultiOneHot [7]
#   MultiDiscrete [3, 3]: OneHot [2, 3]
# (torchrl/envs/libs/gym.py, _gym_to_torchrl_spec_transform)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 torchrl==0.14.1 tensordict==0.14.3
cat >"$scratch/look.py" <<'PY'
import gymnasium
from gymnasium.spaces import Discrete, MultiDiscrete
from torchrl.envs import GymWrapper


class Still(gymnasium.Env):
    action_space = Discrete(2)

    def __init__(self, sizes):
        self.observation_space = MultiDiscrete(sizes)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.observation_space.nvec - 1, {}

    def step(self, action):
        return self.observation_space.nvec - 1, 0.0, False, False, {}


shapes = []
for sizes in ([3, 4], [3, 3]):
    environment = GymWrapper(Still(sizes))
    seen, spec = environment.reset()["observation"], environment.observation_spec["observation"]
    print(f"MultiDiscrete {sizes}: {type(spec).__name__} {list(seen.shape)}")
    shapes.append(list(seen.shape))
raise SystemExit(shapes != [[7], [2, 3]])
PY
cd "$scratch" && venv/bin/python -W ignore look.py 2>/dev/null
