#!/usr/bin/env bash
# Stable-Baselines3 2.9.2 and TorchRL 0.14.1: actions of Gymnasium's Discrete(3, start=2) arrive as 0, 1, 2.
#
# `Discrete(n, start=s)` is the space {s, ..., s + n - 1}: its `contains` and `sample` say so. One would guess that a
# trainer either sends such actions or refuses the space. Both send 0 ... n - 1, without a word: every action that the
# environment gets is outside its own space, unless it checks for itself (Gymnasium's PassiveEnvChecker, part of
# `gymnasium.make`, does; an environment that is built by its class has none). With observations both stop, though with
# messages from the depths ("Class values must be smaller than num_classes", "Value must be less than action space").
# So an environment whose actions have numbers of their own maps them itself, and shows Discrete(n).
#
# Seen with stable-baselines3 2.9.2, torchrl 0.14.1, gymnasium 1.4.0, torch 2.13.0, Python 3.11:
#   Stable-Baselines3: sent 0 1 2 in the space: 2
#   TorchRL, categorical: sent 0 1 2 in the space: 2
#   TorchRL, one-hot: sent 0 1 2 in the space: 2
# (stable_baselines3/common/distributions.py; torchrl/envs/libs/gym.py, _gym_to_torchrl_spec_transform)
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6 gymnasium==1.4.0 stable-baselines3==2.9.2 \
    torchrl==0.14.1 tensordict==0.14.3
cat >"$scratch/look.py" <<'PY'
import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from stable_baselines3 import PPO
from torchrl.envs import GymWrapper


class Counter(gymnasium.Env):
    observation_space, action_space = Box(0, 1, (1,), np.float32), Discrete(3, start=2)

    def __init__(self):
        self.sent = set()

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.sent.add(int(action))
        return np.zeros(1, np.float32), 0.0, False, False, {}


def by_sb3(environment):
    PPO("MlpPolicy", environment, n_steps=64, batch_size=64, seed=0).learn(64)


def by_torchrl(categorical):
    def play(environment):
        wrapped = GymWrapper(environment, categorical_action_encoding=categorical)
        wrapped.set_seed(0)
        wrapped.rollout(64)

    return play


trainers = {"Stable-Baselines3": by_sb3, "TorchRL, categorical": by_torchrl(True), "TorchRL, one-hot": by_torchrl(False)}
changed = False
for name, play in trainers.items():
    environment = Counter()
    play(environment)
    inside = [action for action in sorted(environment.sent) if environment.action_space.contains(action)]
    print(f"{name}: sent", *sorted(environment.sent), "in the space:", *inside, sep=" ")
    changed = changed or sorted(environment.sent) != [0, 1, 2]
raise SystemExit(changed)
PY
cd "$scratch" && venv/bin/python -W ignore look.py 2>/dev/null
