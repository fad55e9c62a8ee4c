"""Stable-Baselines3 on a game (extra `sb3`): its VecEnv, and its algorithms as a local agent's best response.

`Sb3VecEnv` shows a vectorised environment of `envs` to SB3: observations flattened to numbers in [0, 1] (states
one-hot, counts as frequencies), rewards divided by V_max so that values are of the order of one.

`respond` is L-LEARN by any of SB3's algorithms for finitely many actions: the induced problem of one tagged agent
(`envs.local`) is learned from episodes alone, and the policy is read off at every (s_l, s_g).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.envs import SystemVectorEnv, local_vector_env
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.joint_value import Objective
from altmarl_torch.policies.tabular import deterministic_local
from altmarl_torch.support.extras import require

sb3, sb3_contrib = require("stable_baselines3", "sb3"), require("sb3_contrib", "sb3")
spaces = require("gymnasium.spaces", "envs")
VecEnv: Any = sb3.common.vec_env.VecEnv

__all__ = ["ALGORITHMS", "Sb3VecEnv", "respond"]

ALGORITHMS: dict[str, Any] = {"PPO": sb3.PPO, "A2C": sb3.A2C, "DQN": sb3.DQN, "TRPO": sb3_contrib.TRPO}


class Sb3VecEnv(VecEnv):
    """A vectorised environment of `envs` as SB3 wants it.

    Args:
        venv: what `vector_env` or `local_vector_env` made.
        scale: what rewards are divided by.
    """

    def __init__(self, venv: SystemVectorEnv, scale: float = 1.0) -> None:
        self._venv, self._scale = venv, scale
        self._parts = dict(venv.single_observation_space.spaces.items())
        width = sum(
            int(part.n) if isinstance(part, spaces.Discrete) else part.shape[0] for part in self._parts.values()
        )
        self._actions: Any = None
        super().__init__(venv.num_envs, spaces.Box(0, 1, (width,), np.float32), venv.single_action_space)

    def flatten(self, seen: dict[str, Any]) -> Any:
        """Observations `[B, ...]` by name as rows `[B, width]` float32."""
        return np.concatenate([_unit(part, np.asarray(seen[name])) for name, part in self._parts.items()], -1)

    def reset(self) -> Any:
        """First observations."""
        seen, _ = self._venv.reset(seed=self._seeds[0])
        self._reset_seeds()
        return self.flatten(seen)

    def step_async(self, actions: Any) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, Any, Any, list[dict[str, Any]]]:
        """Play them; of a truncated episode, SB3 is told the last observation."""
        seen, rewards, terminated, truncated, infos = self._venv.step(self._actions)
        told: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if "final_obs" in infos:
            last = {name: np.stack([one[name] for one in infos["final_obs"]]) for name in self._parts}
            rows = self.flatten(last)
            told = [{"TimeLimit.truncated": True, "terminal_observation": row} for row in rows]
        return self.flatten(seen), (rewards / self._scale).astype(np.float32), terminated | truncated, told

    def close(self) -> None:
        """Close what is wrapped."""
        self._venv.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of what is wrapped, once for each system."""
        return [getattr(self._venv, attr_name)] * self._count(indices)

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of what is wrapped."""
        setattr(self._venv, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call a method of what is wrapped."""
        return [getattr(self._venv, method_name)(*args, **kwargs)] * self._count(indices)

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Nothing is wrapped by anything of SB3's."""
        return [False] * self._count(indices)

    def _count(self, indices: Any) -> int:
        return len(list(self._get_indices(indices)))


def _unit(part: Any, values: Any) -> Any:
    """One part of an observation, in [0, 1]."""
    if isinstance(part, spaces.Discrete):
        return np.eye(int(part.n), dtype=np.float32)[values]
    return (values / part.high).astype(np.float32)


def respond(
    game: Game,
    pi_g: Tensor,
    pi_l: Tensor,
    k: int,
    *,
    algorithm: str = "PPO",
    objective: Objective = "team",
    total_steps: int = 500_000,
    num_envs: int = 256,
    seed: int = 0,
    **settings: Any,
) -> Tensor:
    """A local policy `[sl, sg, al]` that responds to pi_g and companions who play pi_l, by an algorithm of SB3's.

    Args:
        game, pi_g, pi_l, k, objective: as for `LocalEnv`; pi_g is a table.
        algorithm: "PPO", "A2C", "DQN" or "TRPO".
        total_steps: of all systems together.
        num_envs: systems at once.
        seed: of SB3 and of the systems.
        settings: handed to the algorithm's class.

    Raises:
        ArgumentError: there is no such algorithm, or an argument is out of range.
        PolicyError: pi_g or pi_l is no policy of this game.
    """
    if algorithm not in ALGORITHMS:
        raise ArgumentError(f"algorithm must be one of {', '.join(ALGORITHMS)}, not {algorithm!r}")
    venv = Sb3VecEnv(local_vector_env(game, pi_g, pi_l, k, objective=objective, num_envs=num_envs), game.v_max or 1.0)
    given = {"gamma": game.gamma, "seed": seed, "device": "cpu"} | settings
    model = ALGORITHMS[algorithm]("MlpPolicy", venv, **given)
    model.learn(total_steps)
    s_l, s_g = (grid.flatten() for grid in np.meshgrid(np.arange(game.num_sl), np.arange(game.num_sg), indexing="ij"))
    actions, _ = model.predict(venv.flatten({"s_l": s_l, "s_g": s_g}), deterministic=True)
    venv.close()
    return deterministic_local(torch.as_tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)
