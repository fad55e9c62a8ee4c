"""What the environments share: one episode, or many at once, of a process that is asked one step at a time.

Episodes never terminate by themselves; they are truncated after `horizon` steps. The vectorised form simulates its
systems in blocks of 2,048, each with a random stream of its own, on two threads: equal seeds give equal runs on any
number of cores.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import LARGEST_N, Game, check_game
from altmarl_torch.support.extras import require
from altmarl_torch.support.native.binomials import Floats, Whole
from altmarl_torch.support.tables import as_integer

gymnasium = require("gymnasium", "envs")
Env: Any = gymnasium.Env
VectorEnv: Any = gymnasium.vector.VectorEnv

__all__ = ["Observation", "Process", "SystemEnv", "SystemVectorEnv", "as_horizon", "check_actions", "with_agents"]

EPISODES_AT_ONCE = 2048
"""Episodes of a block: few enough for a processor's cache, many enough to be worth a call."""

MOST_EPISODES, LONGEST = 10**6, 10**9

Observation = dict[str, Any]


class Process(Protocol):
    """A batch of B systems."""

    def start(self) -> None:
        """Begin anew in every system."""

    def look(self) -> Observation:
        """What is seen of every system, arrays whose first axis is B."""

    def step(self, actions: Whole) -> Floats:
        """Play `actions [B]`; the rewards `[B]`."""


Make = Callable[[int, np.random.Generator], Process]
"""(number of systems, source of chance) to a process."""


class SystemEnv(Env):
    """One system; `DispatcherEnv` and `LocalEnv` say what is seen and done."""

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own form

    def __init__(self, make: Make, observation_space: Any, num_actions: int, horizon: int) -> None:
        self._make, self._horizon = make, as_horizon(horizon)
        self._process: Process | None = None
        self.observation_space, self.action_space = observation_space, gymnasium.spaces.Discrete(num_actions)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode; `options` are ignored."""
        super().reset(seed=seed)
        if self._process is None or seed is not None:
            self._process = self._make(1, self.np_random)
        self._process.start()
        self._steps = 0
        return self._look(), {}

    def step(self, action: int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one action for one macro step; an ArgumentError before the first `reset`, or where it is none."""
        if self._process is None:
            raise ArgumentError("call reset before the first step")
        actions = check_actions(np.asarray([action]), int(self.action_space.n))
        reward = float(self._process.step(actions)[0])
        self._steps += 1
        return self._look(), reward, False, self._steps >= self._horizon, {}

    def _look(self) -> Observation:
        assert self._process is not None
        return {name: values[0] for name, values in self._process.look().items()}


class SystemVectorEnv(VectorEnv):
    """Many systems at once, as one `gymnasium.vector.VectorEnv`.

    Observations are those of the single environment with a first axis B, and actions `[B]`, all int64. Episodes begin
    and are truncated together. The autoreset mode is SAME_STEP: the step that truncates returns the first observations
    of the next episodes, and the last ones of these in `infos["final_obs"]`, an array of dictionaries.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own form
        "render_modes": [],
        "autoreset_mode": gymnasium.vector.AutoresetMode.SAME_STEP,
    }

    def __init__(self, make: Make, observation_space: Any, num_actions: int, num_envs: int, horizon: int) -> None:
        self.num_envs = as_integer("num_envs", num_envs, 1, MOST_EPISODES, ArgumentError)
        self._make, self._horizon = make, as_horizon(horizon)
        self.single_observation_space = observation_space
        self.single_action_space = gymnasium.spaces.Discrete(num_actions)
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, num_envs)
        self.action_space = batch(self.single_action_space, num_envs)
        self._edges = [*range(0, num_envs, EPISODES_AT_ONCE), num_envs]
        self._blocks: list[Process] = []
        self._pool = ThreadPoolExecutor(2) if len(self._edges) > 2 else None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin an episode in every system; `options` are ignored."""
        super().reset(seed=seed)
        if not self._blocks or seed is not None:
            sizes = np.diff(self._edges).tolist()
            streams = np.random.SeedSequence(int(self.np_random.integers(2**63 - 1))).spawn(len(sizes))
            rngs = [np.random.Generator(np.random.SFC64(stream)) for stream in streams]
            self._blocks = [self._make(size, rng) for size, rng in zip(sizes, rngs, strict=True)]
        return self._begin(), {}

    def step(self, actions: Any) -> tuple[Observation, Any, Any, Any, dict[str, Any]]:
        """Play `actions [B]` for one macro step in every system; errors as for a single one."""
        if not self._blocks:
            raise ArgumentError("call reset before the first step")
        actions = check_actions(np.asarray(actions), int(self.single_action_space.n))
        if actions.shape != (self.num_envs,):
            raise ArgumentError(f"actions have shape {list(actions.shape)}; one per system is [{self.num_envs}]")
        parts = self._map(lambda i: self._advance(i, actions[self._edges[i] : self._edges[i + 1]]))
        rewards, observation = np.concatenate([reward for reward, _ in parts]), _joined([seen for _, seen in parts])
        self._steps += 1
        over = self._steps >= self._horizon
        infos = self._final(observation) if over else {}
        observation = self._begin() if over else observation
        flags = np.zeros((2, self.num_envs), dtype=np.bool_)
        flags[1] = over
        return observation, rewards, flags[0], flags[1], infos

    def close_extras(self, **kwargs: Any) -> None:
        """Let the threads go."""
        if self._pool is not None:
            self._pool.shutdown()

    def _begin(self) -> Observation:
        self._steps = 0
        return _joined(self._map(self._first))

    def _first(self, block: int) -> Observation:
        self._blocks[block].start()
        return self._blocks[block].look()

    def _advance(self, block: int, actions: Whole) -> tuple[Floats, Observation]:
        return self._blocks[block].step(actions), self._blocks[block].look()

    def _map(self, function: Callable[[int], Any]) -> list[Any]:
        blocks = range(len(self._blocks))
        return list(map(function, blocks) if self._pool is None else self._pool.map(function, blocks))

    def _final(self, last: Observation) -> dict[str, Any]:
        final = np.empty(self.num_envs, dtype=object)
        final[:] = [{name: values[i] for name, values in last.items()} for i in range(self.num_envs)]
        everyone = np.ones(self.num_envs, dtype=np.bool_)
        return {"final_obs": final, "_final_obs": everyone, "final_info": {}, "_final_info": everyone.copy()}


def _joined(seen: list[Observation]) -> Observation:
    return {name: np.concatenate([part[name] for part in seen]) for name in seen[0]}


def check_actions(actions: Any, number: int) -> Whole:
    """Actions as int64, or an ArgumentError: they are whole numbers in 0..number-1."""
    if actions.dtype.kind not in "iu" or (actions.size and not 0 <= actions.min() <= actions.max() < number):
        raise ArgumentError(f"actions are integers in 0..{number - 1}, not {actions.tolist()!r:.60}")
    checked: Whole = actions.astype(np.int64, copy=False)
    return checked


def as_horizon(horizon: int) -> int:
    """The number of steps of an episode, checked."""
    return as_integer("horizon", horizon, 1, LONGEST, ArgumentError)


def with_agents(game: Game, n: int | None) -> Game:
    """The game with n agents; None leaves it as it is."""
    check_game(game, "an environment")
    return game if n is None else game.replace(n=as_integer("n", n, 1, LARGEST_N, ArgumentError))
