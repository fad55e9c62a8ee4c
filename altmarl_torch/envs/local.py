"""The local agent's side of the game: the induced problem of L-LEARN (Definition 4.3 of the paper) as an environment.

One tagged agent meets a fixed pi_g and k - 1 companions who play a fixed pi_l; pi_g sees all k. The tagged agent sees
(s_l, s_g) and chooses a_l; everybody moves under the current s_g (Eq. 3). It earns, by `objective`,

    own     r_l(s_l, s_g, a_l), the paper's local reward, whose factor 1/n changes no policy;
    team    r_g(s_g, a_g) + (r_l of the tagged agent + the companions' expected r_l) / k, the reward of the game.

Where the tagged agent plays pi_l itself, the team's discounted return is that of `am.rollout` with n = k. Rewards with
laws are earned by their means, as L-LEARN does.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, get_args

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.envs.base import Make, SystemEnv, SystemVectorEnv, with_agents
from altmarl_torch.envs.process import Laws, draw_columns, generator_from
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Dispatcher, cumulative
from altmarl_torch.policies.tabular import TabularDispatcher, check_pi_g, check_pi_l
from altmarl_torch.support.binomials import Floats, Whole, deal_agents
from altmarl_torch.support.extras import require
from altmarl_torch.support.sampling import split_shares

spaces = require("gymnasium.spaces", "envs")

__all__ = ["LocalEnv", "local_vector_env"]


@dataclass(frozen=True, eq=False)
class _Tagged:
    """The laws of the tagged agent, next to those of its companions.

    Attributes:
        laws: of a game of k agents under the companions' pi_l.
        pi_g: `[sg, N, ag]`, or a dispatcher of one's own.
        P_l_sums: `[sl' - 1, (sl sg al)]`, running sums over s_l', without the last.
        r_l: `[(sl sg al)]`.
        objective: "team" or "own".
    """

    laws: Laws
    pi_g: Tensor | Dispatcher
    P_l_sums: Floats
    r_l: Floats
    objective: Objective

    def dispatcher(self, seed: int) -> Dispatcher:
        """What plays pi_g; a table's draws, if any, are seeded."""
        if not isinstance(self.pi_g, Tensor):
            return self.pi_g
        return TabularDispatcher(self.pi_g, CountSimplex(self.laws.game.n, self.laws.game.num_sl), seed)


class _LocalProcess:
    """A batch of systems of k agents, one of them tagged (`base.Process`)."""

    def __init__(self, tagged: _Tagged, episodes: int, rng: np.random.Generator) -> None:
        self._tagged, self._episodes, self._rng = tagged, episodes, rng
        self._generator = generator_from(rng)
        self._dispatcher = tagged.dispatcher(int(rng.integers(2**63 - 1)))

    def start(self) -> None:
        """Draw s_g(0), the tagged agent's state and its companions' from the game's initial law."""
        game = self._tagged.laws.game
        mu = game.initial.sample_mu(self._episodes, self._generator)
        others, shares = np.full(self._episodes, game.n - 1.0), np.ascontiguousarray(split_shares(mu).T.numpy())
        self._s_g = game.initial.sample_sg(self._episodes, self._generator).numpy()
        self._others = np.stack(deal_agents(others, shares, self._rng))
        self._s_l = draw_columns(np.ascontiguousarray(cumulative(mu)[:, :-1].T.numpy()), self._rng)
        self._dispatcher.reset(self._episodes)

    def look(self) -> dict[str, Whole]:
        """What the tagged agents see: s_l and s_g, `[B]` each."""
        return {"s_l": self._s_l, "s_g": self._s_g}

    def step(self, actions: Whole) -> Floats:
        """Play a_l `[B]`; the tagged agents' rewards `[B]`."""
        laws, s_g, s_l = self._tagged.laws, self._s_g, self._s_l
        game = laws.game
        seen = self._others.T.astype(np.int64)
        seen[np.arange(self._episodes), s_l] += 1
        a_g = self._dispatcher.act(torch.from_numpy(s_g), torch.from_numpy(seen)).numpy()
        rows, own = s_g * game.num_ag + a_g, (s_l * game.num_sg + s_g) * game.num_al + actions
        reward: Floats = self._tagged.r_l.take(own)
        if self._tagged.objective == "team":
            companions = (self._others * laws.r_l_pi.take(s_g, axis=1)).sum(0)
            reward = laws.r_g.take(rows) + (reward + companions) / game.n
        self._others = np.stack(deal_agents(self._others, laws.shares.take(s_g, axis=2), self._rng)).sum(1)
        self._s_l = draw_columns(self._tagged.P_l_sums.take(own, axis=1), self._rng)
        self._s_g = draw_columns(laws.P_g_sums.take(rows, axis=1), self._rng)
        return reward


class LocalEnv(SystemEnv):
    """One tagged local agent against a fixed pi_g and companions who play pi_l: a `gymnasium.Env`.

    Observations are `{"s_l": int, "s_g": int}`, actions are 0..num_al-1 (module docstring).

    Args:
        game: the game; its n is of no account.
        pi_g: `[sg, N, ag]`, law of a_g given (s_g, h) with h in the rank order of `CountSimplex(k, num_sl)`; or a
            dispatcher that sees k agents.
        pi_l: `[sl, sg, al]`, what the companions play.
        k: number of agents, the tagged one among them; pi_g sees them all.
        objective: what the tagged agent earns, "team" or "own".
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: k, the objective or the horizon is out of range.
        PolicyError: pi_g or pi_l is no policy of this game.
    """

    def __init__(
        self,
        game: Game,
        pi_g: Tensor | Dispatcher,
        pi_l: Tensor,
        k: int,
        *,
        objective: Objective = "team",
        horizon: int = 100,
    ) -> None:
        super().__init__(*_tagging(game, pi_g, pi_l, k, objective), horizon)


def local_vector_env(
    game: Game,
    pi_g: Tensor,
    pi_l: Tensor,
    k: int,
    *,
    objective: Objective = "team",
    num_envs: int = 1024,
    horizon: int = 100,
) -> SystemVectorEnv:
    """`num_envs` systems at once: `LocalEnv` as one `gymnasium.vector.VectorEnv`.

    Other arguments and errors as there, but that pi_g is a table: a dispatcher of one's own remembers one batch.
    """
    if not isinstance(pi_g, Tensor):
        raise ArgumentError(f"pi_g must be a table [sg, N, ag], not {type(pi_g).__name__}")
    return SystemVectorEnv(*_tagging(game, pi_g, pi_l, k, objective), num_envs, horizon)


def _tagging(
    game: Game, pi_g: Tensor | Dispatcher, pi_l: Tensor, k: int, objective: Objective
) -> tuple[Make, Any, int]:
    """How a process is made, what is seen of it, and the number of actions."""
    if objective not in get_args(Objective):
        raise ArgumentError(f"objective must be 'team' or 'own', not {objective!r}")
    game = with_agents(game, k).to("cpu")
    laws = Laws.of(game, check_pi_l(game, pi_l))
    if not hasattr(pi_g, "act"):
        pi_g = check_pi_g(game, pi_g, CountSimplex(k, game.num_sl))
    sums = rearrange(cumulative(game.P_l)[..., :-1], "l g a next -> next (l g a)").contiguous()
    tagged = _Tagged(laws, pi_g, sums.numpy(), game.r_l.flatten().numpy(), objective)
    seen = spaces.Dict({"s_l": spaces.Discrete(game.num_sl), "s_g": spaces.Discrete(game.num_sg)})
    return partial(_LocalProcess, tagged), seen, game.num_al
