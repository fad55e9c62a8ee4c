"""Stable-Baselines3's algorithms as L-LEARN of a simulator (extra `sb3`).

`learner("PPO")` or `learner("TRPO")` is a function for `l_learner=` of `solve(simulator, k)`: tagged agents among a
crowd that plays pi_l (`envs.simulated`) learn from episodes alone, for their own reward. Their network is that of
fitted values, with its waves of the box, so that what SB3 has learned goes into a `LocalValues` as it is, and into
files.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation.simulated.own_learners import SimulatedLocalProblem
from altmarl_torch.envs import SystemVectorEnv
from altmarl_torch.integrations.sb3 import ALGORITHMS, Sb3Learner, Sb3VecEnv, own_randomness
from altmarl_torch.learners.simulated.networks import WIDTH, LocalValues
from altmarl_torch.support.extras import require

sb3 = require("stable_baselines3", "sb3")
Extractor: Any = sb3.common.torch_layers.BaseFeaturesExtractor
spaces = require("gymnasium.spaces", "envs")

__all__ = ["Sb3SimulatedLearner", "TaggedVecEnv", "learner"]


class TaggedVecEnv(Sb3VecEnv):
    """Tagged agents as SB3 wants them: s_l and s_g side by side, in one row.

    Args:
        venv: what `simulated_local_vector_env` made.
    """

    def __init__(self, venv: SystemVectorEnv) -> None:
        super().__init__(venv)
        width = sum(part.shape[0] for part in self._parts.values())
        self.observation_space = spaces.Box(-np.inf, np.inf, (width,), np.float32)

    def flatten(self, seen: dict[str, Any]) -> Any:
        """Observations by name as rows `[B, dl + dg]` float32."""
        return np.concatenate([seen["s_l"], seen["s_g"]], -1, dtype=np.float32)


class _Waves(Extractor):
    """What a `LocalValues` sees of both states, of rows of them."""

    def __init__(self, observation_space: Any, network: LocalValues) -> None:
        super().__init__(observation_space, network.body[0].in_features)
        self.network, self.dl = network, network.dl

    def forward(self, rows: Tensor) -> Tensor:
        return self.network.features(rows[..., : self.dl], rows[..., self.dl :])


@dataclass(frozen=True)
class Sb3SimulatedLearner(Sb3Learner):
    """A best response of one of SB3's algorithms in a simulator; `learner` makes it. Attributes as of `Sb3Learner`."""

    def __call__(self, problem: SimulatedLocalProblem, start: Any) -> LocalValues:  # type: ignore[override]
        """The network whose largest answer is the action; SB3 begins anew, not at `start`."""
        network = problem.network()
        given = {"gamma": problem.game.gamma, "seed": problem.seed, "device": "cpu"} | self._settings()
        shape = {"net_arch": [WIDTH, WIDTH], "activation_fn": nn.SiLU}
        looks = {"features_extractor_class": _Waves, "features_extractor_kwargs": {"network": network}}
        venv = TaggedVecEnv(problem.vector(self.num_envs))
        with own_randomness():
            scaled = sb3.common.vec_env.VecNormalize(venv, norm_obs=False, gamma=given["gamma"])
            model = ALGORITHMS[self.algorithm]("MlpPolicy", scaled, policy_kwargs=shape | looks, **given)
            model.learn(self.total_steps)
        venv.close()
        _fill(network, model.policy)
        return network


def _fill(network: LocalValues, policy: Any) -> None:
    """Take over the actor of an SB3 policy, or its values of actions."""
    has_values = hasattr(policy, "q_net")
    layers = [policy.q_net.q_net] if has_values else [policy.mlp_extractor.policy_net, policy.action_net]
    theirs = [layer for part in layers for layer in part.modules() if isinstance(layer, nn.Linear)]
    ours = [layer for layer in network.body if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for mine, learned in zip(ours, theirs, strict=True):
            mine.weight.copy_(learned.weight)
            mine.bias.copy_(learned.bias)


def learner(
    algorithm: str = "PPO", *, total_steps: int = 2**20, num_envs: int = 2048, **settings: Any
) -> Sb3SimulatedLearner:
    """A learner for `l_learner=` of `solve(simulator, k)`.

    Args:
        algorithm: "PPO", "TRPO", "A2C" or "DQN".
        total_steps: of all tagged agents together, in each turn.
        num_envs: tagged agents at once.
        settings: handed to the algorithm's class.

    Raises:
        ArgumentError: there is no such algorithm, or a number is out of range.
    """
    return Sb3SimulatedLearner(algorithm, total_steps, num_envs, settings)
