"""Stable-Baselines3 on a game (extra `sb3`): its VecEnv, and its algorithms as a local agent's best response.

`Sb3VecEnv` shows a vectorised environment of `envs` to SB3: observations flattened to numbers in [0, 1], counts as
frequencies and states one-hot. A local agent's two states are one-hot *together*: what it should do depends on where
s_l lies relative to s_g, and a network that is shown each by itself learns first, for all s_g alike, what is good on
average, and is sure of it before it learns more.

`learner` makes a best response of any of SB3's algorithms for finitely many actions, for `l_learner=` and `g_learner=`
of `solve`: the induced problem is learned from episodes alone, and the greedy policy is read off wherever it can be
asked. The reward of a team is learned from its differences (`envs.tagged.DifferenceProcess`), and SB3's `VecNormalize`
scales rewards. `respond` is a single response of the local agents.
"""

import contextlib
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.alternation.players.problems import GlobalProblem, LocalProblem
from altmarl_torch.envs import SystemVectorEnv
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.tabular import one_hot
from altmarl_torch.support.extras import require
from altmarl_torch.support.tables import as_integer

sb3, sb3_contrib = require("stable_baselines3", "sb3"), require("sb3_contrib", "sb3")
spaces = require("gymnasium.spaces", "envs")
VecEnv: Any = sb3.common.vec_env.VecEnv

__all__ = ["ALGORITHMS", "Sb3Learner", "Sb3VecEnv", "learner", "respond"]

MOST_STEPS, MOST_SYSTEMS = 10**12, 10**6

MOST_TOGETHER = 4096
"""The most pairs of states that are one-hot together; where there are more, each state is by itself."""

ALGORITHMS: dict[str, Any] = {"PPO": sb3.PPO, "A2C": sb3.A2C, "DQN": sb3.DQN, "TRPO": sb3_contrib.TRPO}


def falling(rate: float) -> Callable[[float], float]:
    """A learning rate that falls along a line to zero, as SB3 asks for it: of the part of the steps that is left."""
    return lambda left: rate * left


SETTINGS: dict[str, dict[str, Any]] = {
    "PPO": {"n_steps": 32, "batch_size": 8192, "n_epochs": 2, "learning_rate": falling(3e-3)},
    "A2C": {"learning_rate": 1e-3},
    "DQN": {"batch_size": 1024, "train_freq": 1, "gradient_steps": 2},
    "TRPO": {"n_steps": 32, "batch_size": 8192},
}
"""Where SB3's own are for a few systems, and not for two thousand: one's own words go first. (PPO's rate falls to zero,
as its authors' does on Atari: at 3e-3 to the end the policy of the last update is as noisy as that update.)
"""


class Sb3VecEnv(VecEnv):
    """A vectorised environment of `envs` as SB3 wants it.

    Args:
        venv: what `vector_env` or `local_vector_env` made.
        scale: what rewards are divided by.
    """

    def __init__(self, venv: SystemVectorEnv, scale: float = 1.0) -> None:
        self._venv, self._scale = venv, scale
        self._parts = dict(venv.single_observation_space.spaces.items())
        self._states = {name: int(part.n) for name, part in self._parts.items() if isinstance(part, spaces.Discrete)}
        sizes = self._states.values()
        self._together = math.prod(sizes) <= MOST_TOGETHER
        width = math.prod(sizes) if self._together else sum(sizes)
        width += sum(part.shape[0] for name, part in self._parts.items() if name not in self._states)
        self._actions: Any = None
        super().__init__(venv.num_envs, spaces.Box(0, 1, (width,), np.float32), venv.single_action_space)

    def flatten(self, seen: dict[str, Any]) -> Any:
        """Observations `[B, ...]` by name as rows `[B, width]` float32."""
        counts = [np.asarray(seen[name]) / part.high for name, part in self._parts.items() if name not in self._states]
        return np.concatenate([*self._one_hot(seen), *counts], -1, dtype=np.float32)

    def _one_hot(self, seen: dict[str, Any]) -> list[Any]:
        sizes, states = tuple(self._states.values()), [np.asarray(seen[name]) for name in self._states]
        if self._together:
            sizes, states = (math.prod(sizes),), [np.ravel_multi_index(states, sizes)]
        return [np.eye(size, dtype=np.float32)[state] for size, state in zip(sizes, states, strict=True)]

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


@dataclass(frozen=True)
class Sb3Learner:
    """A best response of one of SB3's algorithms, for `l_learner=` and `g_learner=` of `solve`; `learner` makes it.

    Attributes:
        algorithm: "PPO", "A2C", "DQN" or "TRPO".
        total_steps: of all systems together, in each turn.
        num_envs: systems at once.
        settings: handed to the algorithm's class, before those of `SETTINGS`.
        difference: whether the reward of a team is learned from its differences; a step costs O(k) then.

    Raises:
        ArgumentError: there is no such algorithm, or a number is out of range.
    """

    algorithm: str = "PPO"
    total_steps: int = 2**21
    num_envs: int = 2048
    settings: Mapping[str, Any] = field(default_factory=dict)
    difference: bool = True

    def __post_init__(self) -> None:
        if self.algorithm not in ALGORITHMS:
            raise ArgumentError(f"algorithm must be one of {', '.join(ALGORITHMS)}, not {self.algorithm!r}")
        as_integer("total_steps", self.total_steps, 1, MOST_STEPS, ArgumentError)
        as_integer("num_envs", self.num_envs, 1, MOST_SYSTEMS, ArgumentError)

    def __call__(self, problem: LocalProblem | GlobalProblem, start: Tensor) -> Tensor:
        """The greedy policy that is learned, in the shape of the problem's; SB3 begins anew, not at `start`."""
        given = {"gamma": problem.game.gamma, "seed": problem.seed, "device": "cpu"} | self._settings()
        venv = Sb3VecEnv(self._systems(problem))
        with own_randomness():
            scaled = sb3.common.vec_env.VecNormalize(venv, norm_obs=False, gamma=given["gamma"])
            model = ALGORITHMS[self.algorithm]("MlpPolicy", scaled, **given)
            model.learn(self.total_steps)
            actions, _ = model.predict(venv.flatten(problem.observations()), deterministic=True)
        venv.close()
        *rows, number = problem.shape
        return one_hot(torch.as_tensor(actions).reshape(rows), number)

    def _settings(self) -> dict[str, Any]:
        """The algorithm's: a batch is at most what is collected between two updates."""
        given = SETTINGS[self.algorithm] | dict(self.settings)
        if "n_steps" in given and "batch_size" in given and "batch_size" not in self.settings:
            given["batch_size"] = min(given["batch_size"], given["n_steps"] * self.num_envs)
        return given

    def _systems(self, problem: LocalProblem | GlobalProblem) -> SystemVectorEnv:
        if isinstance(problem, LocalProblem):
            return problem.vector(self.num_envs, difference=self.difference and problem.objective == "team")
        return problem.vector(self.num_envs)


@contextlib.contextmanager
def own_randomness() -> Iterator[None]:
    """SB3 seeds the global generators of Python, NumPy and torch; they are the caller's, and are put back."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # read and restored, never drawn from
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def learner(
    algorithm: str = "PPO",
    *,
    total_steps: int = 2**21,
    num_envs: int = 2048,
    difference: bool = True,
    **settings: Any,
) -> Sb3Learner:
    """A learner for `l_learner=` and `g_learner=` of `solve`; arguments and errors as for `Sb3Learner`.

    Examples:
        >>> import altmarl_torch as am
        >>> from altmarl_torch.integrations import sb3
        >>> ppo = sb3.learner("PPO", total_steps=2_000, num_envs=16, n_steps=32)
        >>> am.solve(am.games.steer(), k=2, l_learner=ppo, steps=1).history[1].player
        'local'
    """
    return Sb3Learner(algorithm, total_steps, num_envs, settings, difference)


def respond(
    game: Game,
    pi_g: Tensor,
    pi_l: Tensor,
    k: int,
    *,
    algorithm: str = "PPO",
    objective: Objective = "team",
    total_steps: int = 2**21,
    num_envs: int = 2048,
    seed: int = 0,
    **settings: Any,
) -> Tensor:
    """A local policy `[sl, sg, al]` that responds to pi_g and companions who play pi_l, by an algorithm of SB3's.

    Args:
        game, pi_g, pi_l, k, objective: as for `LocalEnv`; pi_g is a table.
        algorithm, total_steps, num_envs, settings: as for `Sb3Learner`.
        seed: of SB3 and of the systems.

    Raises:
        ArgumentError: there is no such algorithm, or an argument is out of range.
        PolicyError: pi_g or pi_l is no policy of this game.
    """
    problem = LocalProblem(game, pi_g, pi_l, k, objective, seed)
    return learner(algorithm, total_steps=total_steps, num_envs=num_envs, **settings)(problem, pi_l)
