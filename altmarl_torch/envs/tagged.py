"""One tagged agent among companions who play pi_l, under a fixed pi_g: what `LocalEnv` steps.

`TaggedProcess` keeps the companions as counts. `DifferenceProcess` runs each system next to a twin; there every agent
is simulated by itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.envs.process import Laws, draw_columns, generator_from
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Dispatcher, cumulative
from altmarl_torch.policies.tabular import TabularDispatcher
from altmarl_torch.support.native.binomials import Floats, Whole, deal_agents
from altmarl_torch.support.sampling import split_shares

__all__ = ["DifferenceProcess", "Tagged", "TaggedProcess"]


@dataclass(frozen=True, eq=False)
class Tagged:
    """The laws of the tagged agent, next to those of its companions.

    Attributes:
        laws: of a game of k agents under the companions' pi_l.
        pi_g: `[sg, N, ag]`, or a dispatcher of one's own.
        P_l_sums: `[sl' - 1, (sl sg al)]`, running sums over s_l', without the last.
        P_l_pi_sums: `[sl' - 1, (sl sg)]`, the same of the companions.
        r_l: `[(sl sg al)]`.
        objective: "team" or "own".
    """

    laws: Laws
    pi_g: Tensor | Dispatcher
    P_l_sums: Floats
    P_l_pi_sums: Floats
    r_l: Floats
    objective: Objective

    @classmethod
    def of(cls, game: Game, pi_g: Tensor | Dispatcher, pi_l: Tensor, objective: Objective) -> "Tagged":
        """Of a game of k agents on the CPU, and policies that are checked."""
        own = rearrange(cumulative(game.P_l)[..., :-1], "l g a next -> next (l g a)").contiguous()
        companions = rearrange(cumulative(game.induced(pi_l).P_l_pi)[..., :-1], "l g next -> next (l g)").contiguous()
        r_l = game.r_l.flatten().numpy()
        return cls(Laws.of(game, pi_l), pi_g, own.numpy(), companions.numpy(), r_l, objective)

    def dispatcher(self, seed: int) -> Dispatcher:
        """What plays pi_g; a table's draws, if any, are seeded."""
        if not isinstance(self.pi_g, Tensor):
            return self.pi_g
        return TabularDispatcher(self.pi_g, CountSimplex(self.laws.game.n, self.laws.game.num_sl), seed)


class TaggedProcess:
    """A batch of systems of k agents, one of them tagged (`base.Process`)."""

    def __init__(self, tagged: Tagged, episodes: int, rng: np.random.Generator) -> None:
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


class DifferenceProcess:
    """The same (`base.Process`), but the tagged agent earns what it earns beyond its twin, on common random numbers.

    The reward of a team of k says little of what one agent did: its own part is a k-th of it, and the rest is the
    companions' luck. Here each system has a *twin*, which starts in the same state and meets the same chance, but in
    which the tagged agent plays pi_l, as its companions do; the reward is

        D(t) = (reward in the system) - (reward in the twin)

    (difference rewards: Wolpert and Tumer, Advances in Complex Systems 2001).

    **Best responses stay the same.** Nothing that the tagged agent does enters the twin, whose law is that of everybody
    playing pi_l. So for *every* policy pi of the tagged agent, one with a memory too,

        E sum_t gamma^t D(t) = J(pi) - J(pi_l) :

    returns differ from those of the reward itself by one constant, and best responses and policy gradients not at all.

    **The coupling.** States are `[w, i, B]`: world w = 0 is the system and 1 the twin, agent i = 0 the tagged one. Both
    worlds look up the same uniform number per agent, and per s_g, in the running sums of their own laws: agents in the
    same state under the same s_g move alike. Where a table pi_g sees the same in both, they share a_g. A step costs
    O(k |S_l|) per system.
    """

    def __init__(self, tagged: Tagged, episodes: int, rng: np.random.Generator) -> None:
        self._tagged, self._episodes, self._rng = tagged, episodes, rng
        self._generator = generator_from(rng)
        self._dispatcher = tagged.dispatcher(int(rng.integers(2**63 - 1)))
        self._every_sl = np.arange(tagged.laws.game.num_sl)[:, None, None, None]

    def start(self) -> None:
        """Draw s_g(0) and the agents' states from the game's initial law, the same in both worlds."""
        game, episodes = self._tagged.laws.game, self._episodes
        sums = cumulative(game.initial.sample_mu(episodes, self._generator))[:, None, :-1]
        s_l = (self._rng.random((game.n, episodes)) >= sums.permute(2, 1, 0).numpy()).sum(0)
        s_g = game.initial.sample_sg(episodes, self._generator).numpy()
        self._s_l, self._s_g = np.stack([s_l, s_l]), np.stack([s_g, s_g])
        self._dispatcher.reset(2 * episodes)

    def look(self) -> dict[str, Whole]:
        """What the tagged agents see: s_l and s_g, `[B]` each."""
        return {"s_l": self._s_l[0, 0], "s_g": self._s_g[0]}

    def step(self, actions: Whole) -> Floats:
        """Play a_l `[B]`; D(t) `[B]`."""
        tagged, game, s_g, s_l = self._tagged, self._tagged.laws.game, self._s_g, self._s_l
        rows = s_g * game.num_ag + self._dispatch()
        places = s_l * game.num_sg + s_g[:, None]
        own = places[0, 0] * game.num_al + actions
        system, twin = self._earned(rows, places, own)
        sums = tagged.P_l_pi_sums.take(places, axis=1)
        sums[:, 0, 0] = tagged.P_l_sums.take(own, axis=1)
        self._s_l = (self._rng.random(s_l.shape[1:]) >= sums).sum(0)
        self._s_g = (self._rng.random(self._episodes) >= tagged.laws.P_g_sums.take(rows, axis=1)).sum(0)
        difference: Floats = system - twin
        return difference

    def _dispatch(self) -> Whole:
        """a_g `[w, B]`."""
        counts = (self._s_l == self._every_sl).sum(2)  # [sl, w, B]
        seen = torch.from_numpy(rearrange(counts, "sl w b -> (w b) sl").copy())
        told = self._dispatcher.act(torch.from_numpy(self._s_g.reshape(-1)), seen).numpy()
        a_g: Any = told.reshape(self._s_g.shape)
        if isinstance(self._tagged.pi_g, Tensor):  # one that remembers may answer differently to the same
            same = (self._s_g[0] == self._s_g[1]) & (counts[:, 0] == counts[:, 1]).all(0)
            a_g = np.stack([a_g[0], np.where(same, a_g[0], a_g[1])])
        drawn: Whole = a_g
        return drawn

    def _earned(self, rows: Whole, places: Whole, own: Whole) -> Floats:
        """What the tagged agent earns in either world, `[w, B]`."""
        laws = self._tagged.laws
        local = laws.r_l_pi.take(places)
        local[0, 0] = self._tagged.r_l.take(own)
        if self._tagged.objective == "own":
            alone: Floats = local[:, 0]
            return alone
        team: Floats = laws.r_g.take(rows) + local.sum(1) / laws.game.n
        return team
