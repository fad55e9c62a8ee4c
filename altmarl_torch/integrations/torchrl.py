"""All agents of a game in TorchRL (extra `torchrl`): a native `EnvBase` with the groups `global` and `local`.

TorchRL's own wrapper of `parallel_env` handles agents by name, a dictionary entry each; here a group is a tensor, and
systems come in batches. For a batch `[B]`, or `[]` for one system, and n local agents:

    ("global", "observation")   [B, 1, sg + sl] float32   s_g one-hot, the frequencies of k of n agents, drawn afresh
    ("local", "observation")    [B, n, sl + sg] float32   s_l and s_g, one-hot each
    ("global", "action")        [B, 1] int64              a_g
    ("local", "action")         [B, n] int64              a_l
    (group, "reward")           [B, 1 or n, 1] float32    the game's (Eq. 1), or under "own" r_l for a local agent

`done`, `terminated` and `truncated` stand at the root, `[B, 1]`, and in each group, `[B, 1 or n, 1]`, as the wrapper
has them. The law is that of `parallel_env`: agents are simulated one by one, and rewards with laws are earned by their
means.
"""

from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from altmarl_torch.envs.base import as_horizon, with_agents
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.support.extras import require
from altmarl_torch.support.sampling import distinct_labels
from altmarl_torch.support.scalars import as_integer, check_word

specs, tensordict = require("torchrl.data", "torchrl"), require("tensordict", "torchrl")
EnvBase: Any = require("torchrl.envs", "torchrl").EnvBase

__all__ = ["GroupEnv", "group_env"]

MOST_AGENTS = 2**26
"""The most local agents, of all systems together."""

DONE = ("done", "terminated", "truncated")


class GroupEnv(EnvBase):
    """A game with its agents in two groups; `group_env` makes it.

    Attributes:
        group_map: the agents' names by group, as TorchRL's trainers ask for them.
    """

    def __init__(self, game: Game, k: int, objective: Objective, batch: tuple[int, ...], horizon: int) -> None:
        super().__init__(device=game.device, batch_size=torch.Size(batch))
        self._game, self._k, self._team, self._horizon = game, k, objective == "team", horizon
        self.group_map = {"global": ["global"], "local": [f"local_{i}" for i in range(game.n)]}
        self._sums_l, self._sums_g = cumulative(game.P_l), cumulative(game.P_g)
        self._systems = batch[0] if batch else 1
        self._set_specs({"global": 1, "local": game.n})
        self._set_seed(int(torch.randint(2**62, ())))
        self._state: tuple[Tensor, Tensor, Tensor] = self._drawn()

    def _set_specs(self, sizes: dict[str, int]) -> None:
        width, actions = (
            self._game.num_sg + self._game.num_sl,
            {"global": self._game.num_ag, "local": self._game.num_al},
        )
        seen, act, earn, done = {}, {}, {}, {}
        for group, size in sizes.items():
            shape = torch.Size((*self.batch_size, size))
            seen[group] = {"observation": specs.Bounded(0, 1, (*shape, width), dtype=torch.float32)}
            act[group] = {"action": specs.Categorical(actions[group], shape)}
            earn[group] = {"reward": specs.Unbounded((*shape, 1))}
            done[group] = self._flags(shape)
        composed = [self._composed(parts, sizes) for parts in (seen, act, earn, done)]
        self.observation_spec, self.action_spec, self.reward_spec, groups_done = composed
        groups_done.update(self._flags(self.batch_size))
        self.done_spec = groups_done

    def _flags(self, shape: torch.Size) -> dict[str, Any]:
        return {name: specs.Categorical(2, (*shape, 1), dtype=torch.bool, device=self.device) for name in DONE}

    def _composed(self, parts: dict[str, dict[str, Any]], sizes: dict[str, int]) -> Any:
        groups = {group: specs.Composite(part, shape=(*self.batch_size, sizes[group])) for group, part in parts.items()}
        return specs.Composite(groups, shape=self.batch_size).to(self.device)

    def _set_seed(self, seed: int | None) -> None:
        self._generator = torch.Generator(self._game.device)
        self._generator.manual_seed(0 if seed is None else seed)

    def _reset(self, asked: Any = None, **_: Any) -> Any:
        """Begin an episode, where `_reset` asks for one."""
        fresh, asked_for = self._drawn(), None if asked is None else asked.get("_reset", None)
        if asked_for is not None:
            where = asked_for.reshape(self._systems, 1)
            s_l, s_g, steps = (torch.where(where, new, old) for new, old in zip(fresh, self._state, strict=True))
            fresh = s_l, s_g, steps
        self._state = fresh
        return self._told(self._observed(), torch.zeros(self._systems, 1, dtype=torch.bool, device=self.device))

    def _drawn(self) -> tuple[Tensor, Tensor, Tensor]:
        """s_l `[B, n]`, s_g `[B, 1]` and the steps so far `[B, 1]`, at the beginning."""
        initial, systems = self._game.initial, self._systems
        mu = initial.sample_mu(systems, self._generator)
        s_l = draw(cumulative(mu).unsqueeze(1).expand(-1, self._game.n, -1), self._generator)
        s_g = initial.sample_sg(systems, self._generator).unsqueeze(-1)
        return s_l, s_g, torch.zeros_like(s_g)

    def _step(self, asked: Any) -> Any:
        """Everybody acts, earns and moves."""
        (s_l, s_g, steps), game = self._state, self._game
        a_g = asked["global", "action"].reshape(s_g.shape)
        a_l = asked["local", "action"].reshape(s_l.shape)
        own = game.r_l[s_l, s_g, a_l]
        team = game.r_g[s_g, a_g] + own.mean(-1, keepdim=True)
        s_l = draw(self._sums_l[s_l, s_g, a_l], self._generator)
        self._state = s_l, draw(self._sums_g[s_g, a_g], self._generator), steps + 1
        told = self._observed()
        told["global"]["reward"] = team.unsqueeze(-1)
        told["local"]["reward"] = (team.expand_as(own) if self._team else own).unsqueeze(-1)
        return self._told(told, self._state[2] >= self._horizon)

    def _observed(self) -> dict[str, dict[str, Tensor]]:
        s_l, s_g, _ = self._state
        game = self._game
        s_g_shown = one_hot(s_g, game.num_sg).float()  # [B, 1, sg]
        local = torch.cat([one_hot(s_l, game.num_sl).float(), s_g_shown.expand(-1, game.n, -1)], -1)
        frequencies = self._sample().float().unsqueeze(1) / self._k
        return {
            "global": {"observation": torch.cat([s_g_shown, frequencies], -1)},
            "local": {"observation": local},
        }

    def _sample(self) -> Tensor:
        """The counts of k of the n agents, drawn without replacement: `[B, sl]`."""
        s_l, n = self._state[0], self._game.n
        everybody = self._counted(s_l) if 2 * self._k > n else None
        if self._k == n and everybody is not None:
            return everybody
        labels = distinct_labels(len(s_l), min(self._k, n - self._k), n, self._generator).long()
        drawn = self._counted(s_l.gather(-1, labels))
        return drawn if everybody is None else everybody - drawn

    def _counted(self, s_l: Tensor) -> Tensor:
        counts = s_l.new_zeros(len(s_l), self._game.num_sl)
        return counts.scatter_add_(-1, s_l, torch.ones_like(s_l))

    def _told(self, groups: dict[str, dict[str, Tensor]], over: Tensor) -> Any:
        """The tensors of the groups as one TensorDict, with the flags `over [B, 1]`."""
        never, batch = torch.zeros_like(over), self.batch_size
        flags = dict(zip(DONE, (over, never, over), strict=True))
        told = {name: flag.reshape(*batch, 1) for name, flag in flags.items()}
        for group, size in (("global", 1), ("local", self._game.n)):
            rows = {name: part.float().reshape(*batch, size, -1) for name, part in groups[group].items()}
            rows |= {
                name: flag.unsqueeze(1).expand(-1, size, 1).reshape(*batch, size, 1) for name, flag in flags.items()
            }
            told[group] = tensordict.TensorDict(rows, batch_size=(*batch, size), device=self.device)
        return tensordict.TensorDict(told, batch_size=batch, device=self.device)


def group_env(
    game: Game,
    k: int,
    n: int | None = None,
    *,
    objective: Objective = "team",
    num_envs: int | None = None,
    horizon: int = 100,
) -> GroupEnv:
    """All agents of a game in two groups, as a TorchRL `EnvBase` on the game's device (module docstring).

    Args:
        game: the game; rewards with laws are earned by their means.
        k: how many agents the coordinator sees.
        n: number of local agents; None for `game.n`.
        objective: what local agents earn, "team" or "own".
        num_envs: systems at once, the batch `[B]`; None for one, whose batch is `[]`.
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: k, n, the objective, the horizon or the number of systems is out of range.

    Examples:
        >>> import altmarl_torch as am
        >>> from altmarl_torch.integrations.torchrl import group_env
        >>> env = group_env(am.games.warehouse(), k=20, n=50, num_envs=4)
        >>> env.rollout(3)["next", "local", "reward"].shape
        torch.Size([4, 3, 50, 1])
    """
    check_word("objective", objective, get_args(Objective))
    game = with_agents(game, n)
    most = MOST_AGENTS // game.n
    if most == 0:
        raise ArgumentError(f"n = {game.n:,} agents are too many to simulate one by one, at most {MOST_AGENTS:,}")
    batch = () if num_envs is None else (as_integer("num_envs", num_envs, 1, most, ArgumentError),)
    return GroupEnv(game, game.check_k(k), objective, batch, as_horizon(horizon))
