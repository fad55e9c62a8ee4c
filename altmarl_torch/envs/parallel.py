"""All agents of a game by name, as a PettingZoo `ParallelEnv`: `global`, and `local_0`, ..., `local_{n-1}`.

    agent     sees                                   as                                  does
    global    s_g, counts of k of n, drawn afresh    MultiDiscrete [1 + |S_l|]           a_g
    local_i   s_i, s_g                               MultiDiscrete [2]                   a_i

Everybody earns the reward of the game (Eq. 1), or under `objective="own"` a local agent its own r_l and the coordinator
that of the game. Local agents are simulated one by one, in arrays: all moves of a step are one look-up.

Tools that want all agents alike get them in two ways. `padded=True` gives everybody a Box of 1 + |S_g| + |S_l| numbers,
(1 for the coordinator, s_g one-hot, the frequencies of the states that are seen: k agents', or one's own), and
max(|A_g|, |A_l|) actions, of which those beyond an agent's last are its last. `coordinator=` takes a dispatcher that
sees k agents, and leaves the local agents alone in the environment.
"""

from typing import Any, get_args

import numpy as np
import torch

from altmarl_torch.envs.base import as_horizon, with_agents
from altmarl_torch.envs.process import generator_from
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Dispatcher, cumulative, draw
from altmarl_torch.support.extras import require
from altmarl_torch.support.native.binomials import Whole
from altmarl_torch.support.scalars import check_word

pettingzoo, spaces = require("pettingzoo", "envs"), require("gymnasium.spaces", "envs")
ParallelEnv: Any = pettingzoo.ParallelEnv

__all__ = ["GameParallelEnv", "parallel_env"]

MOST_AGENTS = 100_000
"""The most local agents that are given names."""


class GameParallelEnv(ParallelEnv):
    """A game with n named local agents; `parallel_env` makes it.

    Attributes:
        possible_agents: the names.
        agents: those who are there: all until the episode is truncated, and none after.
    """

    metadata: dict[str, Any] = {"name": "altmarl_v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012

    def __init__(
        self, game: Game, k: int, objective: Objective, padded: bool, coordinator: Dispatcher | None, horizon: int
    ) -> None:
        self._game, self._k, self._team, self._padded = game.to("cpu"), k, objective == "team", padded
        self._coordinator, self._horizon, self.render_mode = coordinator, horizon, None
        self._locals = [f"local_{i}" for i in range(game.n)]
        self.possible_agents = self._locals if coordinator is not None else ["global", *self._locals]
        self.agents: list[str] = []
        self._P_l = cumulative(self._game.P_l)[..., :-1].contiguous().numpy()
        self._P_g = cumulative(self._game.P_g)
        self._r_g, self._r_l = self._game.r_g.numpy(), self._game.r_l.numpy()
        self._rng = np.random.default_rng()
        self._generator = generator_from(self._rng)
        self.observation_spaces = {name: self._seen_by(name) for name in self.possible_agents}
        self.action_spaces = {name: spaces.Discrete(self._actions_of(name)) for name in self.possible_agents}

    def observation_space(self, agent: str) -> Any:
        """What an agent sees."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Any:
        """What an agent may do."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        """Begin an episode; `options` are ignored."""
        if seed is not None:
            self._rng = np.random.default_rng(seed)
            self._generator = generator_from(self._rng)
        initial, n = self._game.initial, self._game.n
        mu = initial.sample_mu(1, self._generator)
        self._s_l = draw(cumulative(mu).expand(n, -1), self._generator).numpy()
        self._s_g = int(initial.sample_sg(1, self._generator))
        self.agents, self._steps = self.possible_agents[:], 0
        if self._coordinator is not None:
            self._coordinator.reset(1)
        return self._observations(), {name: {} for name in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Any], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Everybody acts, earns and moves.

        Raises:
            ArgumentError: an agent's action is missing, or none of its own.
        """
        a_g, a_l = self._read(actions)
        s_g, s_l, agents = self._s_g, self._s_l, self.agents
        earned = self._r_l[s_l, s_g, a_l]
        team = float(self._r_g[s_g, a_g] + earned.mean())
        rewards = (
            dict.fromkeys(agents, team)
            if self._team
            else {"global": team, **dict(zip(self._locals, earned.tolist(), strict=True))}
        )
        sums = self._P_l[s_l, s_g, a_l]
        self._s_l = (self._rng.random((len(s_l), 1)) >= sums).sum(1, dtype=np.int64)
        self._s_g = int(draw(self._P_g[s_g, a_g], self._generator))
        self._steps += 1
        over = self._steps >= self._horizon
        observations = self._observations()
        self.agents = [] if over else agents
        never, truncated = dict.fromkeys(agents, False), dict.fromkeys(agents, over)
        return observations, {name: rewards[name] for name in agents}, never, truncated, {name: {} for name in agents}

    def _read(self, actions: dict[str, int]) -> tuple[int, Whole]:
        """a_g, and a_l `[n]`."""
        try:
            a_l = np.array([actions[name] for name in self._locals], dtype=np.int64)
            a_g = self._dispatch() if self._coordinator is not None else int(actions["global"])
        except KeyError as cause:
            raise ArgumentError(f"the action of {cause.args[0]} is missing") from cause
        most_g, most_l = self._game.num_ag, self._game.num_al
        if self._padded:
            a_l, a_g = np.minimum(a_l, most_l - 1), min(a_g, most_g - 1)
        if a_l.min() < 0 or a_l.max() >= most_l or not 0 <= a_g < most_g:
            raise ArgumentError(f"local actions are 0..{most_l - 1} and global ones 0..{most_g - 1}")
        return a_g, a_l

    def _dispatch(self) -> int:
        assert self._coordinator is not None
        return int(self._coordinator.act(torch.tensor([self._s_g]), torch.from_numpy(self._sample())[None]))

    def _sample(self) -> Whole:
        """The counts of k of the n agents, drawn without replacement: `[sl]`."""
        drawn = self._s_l if self._k == self._game.n else self._rng.choice(self._s_l, self._k, replace=False)
        return np.bincount(drawn, minlength=self._game.num_sl)

    def _observations(self) -> dict[str, Any]:
        seen: dict[str, Any] = {}
        if self._coordinator is None:
            counts = self._sample()
            seen["global"] = (
                self._padded_rows(counts[None] / self._k, 1)[0] if self._padded else np.array([self._s_g, *counts])
            )
        if self._padded:
            rows = self._padded_rows(np.eye(self._game.num_sl)[self._s_l], 0)
        else:
            rows = np.stack([self._s_l, np.full_like(self._s_l, self._s_g)], 1)
        return seen | dict(zip(self._locals, rows, strict=True))

    def _padded_rows(self, frequencies: Any, leads: int) -> Any:
        """`[rows, 1 + sg + sl]` float32."""
        rows = np.zeros((len(frequencies), 1 + self._game.num_sg + self._game.num_sl), np.float32)
        rows[:, 0], rows[:, 1 + self._s_g], rows[:, 1 + self._game.num_sg :] = leads, 1, frequencies
        return rows

    def _seen_by(self, name: str) -> Any:
        game = self._game
        if self._padded:
            return spaces.Box(0, 1, (1 + game.num_sg + game.num_sl,), np.float32)
        return spaces.MultiDiscrete(
            [game.num_sg, *[self._k + 1] * game.num_sl] if name == "global" else [game.num_sl, game.num_sg]
        )

    def _actions_of(self, name: str) -> int:
        game = self._game
        return max(game.num_ag, game.num_al) if self._padded else game.num_ag if name == "global" else game.num_al


def parallel_env(
    game: Game,
    k: int,
    n: int | None = None,
    *,
    objective: Objective = "team",
    padded: bool = False,
    coordinator: Dispatcher | None = None,
    horizon: int = 100,
) -> GameParallelEnv:
    """All agents of a game by name, as a PettingZoo `ParallelEnv` (module docstring).

    Args:
        game: the game; rewards with laws are earned by their means.
        k: how many agents the coordinator sees.
        n: number of local agents, at most 100,000; None for `game.n`.
        objective: what local agents earn, "team" or "own".
        padded: whether all agents are given spaces alike.
        coordinator: plays a_g, and is no agent then: `pair.dispatcher()`.
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: k, n, the objective, the horizon or the coordinator is out of range.
    """
    check_word("objective", objective, get_args(Objective))
    if coordinator is not None and not (hasattr(coordinator, "act") and hasattr(coordinator, "reset")):
        raise ArgumentError(f"coordinator must be a dispatcher, as pair.dispatcher() returns, not {coordinator!r}")
    game = with_agents(game, n)
    if game.n > MOST_AGENTS:
        raise ArgumentError(f"n = {game.n:,} agents are too many to name, at most {MOST_AGENTS:,}; use vector_env")
    return GameParallelEnv(game, game.check_k(k), objective, padded, coordinator, as_horizon(horizon))
