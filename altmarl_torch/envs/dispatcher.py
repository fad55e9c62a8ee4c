"""The dispatcher's side of the game as a Gymnasium environment, alone or thousands at once.

An observation is s_g and the counts of the k agents that are seen, an action is a_g, the reward that of the game
(Eq. 1), and the n local agents play a frozen pi_l. Episodes are those of `am.rollout`, of 100 steps unless told
otherwise; the discount is the learner's: `game.gamma`.
"""

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from altmarl_torch.envs.base import Make, SystemEnv, SystemVectorEnv, with_agents
from altmarl_torch.envs.process import CountProcess, Laws
from altmarl_torch.games.game import Game
from altmarl_torch.policies.tabular import check_pi_l
from altmarl_torch.support.extras import require

spaces = require("gymnasium.spaces", "envs")

__all__ = ["DispatcherEnv", "vector_env"]


class DispatcherEnv(SystemEnv):
    """One system of n local agents, steered by whoever chooses a_g: a `gymnasium.Env`.

    Observations are `{"s_g": int, "counts": [sl] int64}`, the counts with sum k drawn afresh from the n agents without
    replacement; actions are 0..num_ag-1.

    Args:
        game: the game.
        pi_l: `[sl, sg, al]`, what the local agents play.
        k: how many of them are seen.
        n: number of local agents; None for `game.n`. The cost of a step does not depend on it.
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: k, n or the horizon is out of range.
        PolicyError: pi_l is no local policy of this game.

    Examples:
        >>> import altmarl_torch as am
        >>> from altmarl_torch.envs import DispatcherEnv
        >>> game = am.games.warehouse()
        >>> env = DispatcherEnv(game, am.policies.uniform_local(game), k=20)
        >>> observation, info = env.reset(seed=0)
        >>> int(observation["counts"].sum())
        20
    """

    def __init__(self, game: Game, pi_l: Tensor, k: int, n: int | None = None, *, horizon: int = 100) -> None:
        super().__init__(*_dispatching(game, pi_l, k, n), horizon)


def vector_env(
    game: Game, pi_l: Tensor, k: int, n: int | None = None, *, num_envs: int = 1024, horizon: int = 100
) -> SystemVectorEnv:
    """`num_envs` systems of n agents at once: `DispatcherEnv` as one `gymnasium.vector.VectorEnv`.

    Other arguments and errors as there; how episodes follow on one another, in `SystemVectorEnv`. A step of a system
    costs O(k + |S_l|^2), whatever n.
    """
    return SystemVectorEnv(*_dispatching(game, pi_l, k, n), num_envs, horizon)


def _dispatching(game: Game, pi_l: Tensor, k: int, n: int | None) -> tuple[Make, Any, int]:
    """How a process is made, what is seen of it, and the number of actions."""
    game = with_agents(game, n)
    laws, k = Laws.of(game, check_pi_l(game, pi_l)), game.check_k(k)
    counts = spaces.Box(0, k, (game.num_sl,), np.int64)
    seen = spaces.Dict({"s_g": spaces.Discrete(game.num_sg), "counts": counts})
    return partial(CountProcess, laws, k), seen, game.num_ag
