"""Algorithm 4 step by step, for whoever chooses a_g himself: many episodes at once, on counts, in NumPy.

The process is that of `evaluation.rollouts`, which explains why counts are enough: s_g' ~ P_g(. | s_g, a_g), the c(u)
agents in state u move by Multinomial(c(u), P_l_pi(. | u, s_g)) under the *current* s_g (Eq. 3), and what is seen are
the counts h of k agents drawn afresh from n, without replacement. Here a caller asks for one step at a time, and wants
millions of them in a second, so that

* binomial numbers are those of `support.binomials`, exact for few agents and to 2.5 10^-6 in total variation for many;
* h is drawn by rejection. Let h ~ Multinomial(k, c / n), which is drawing *with* replacement, and keep it with chance

      prod_z  c_z (c_z - 1) .. (c_z - h_z + 1) / c_z^(h_z)   >=   1 - sum_z h_z (h_z - 1) / (2 c_z),

  the chance that no agent was drawn twice: what is kept has the law without replacement, exactly. The right-hand side
  settles all but a few draws without the product. From k (k - 1) > n on, too many would be thrown away, and labels
  are drawn instead (`support.sampling`).

Arrays have the episodes as their *last* axis, so that each operation runs along memory: counts `[sl, B]`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.games.game import Game
from altmarl_torch.games.reward_draws import RewardSampler
from altmarl_torch.policies.base import cumulative
from altmarl_torch.support.binomials import Floats, Whole, deal_agents
from altmarl_torch.support.sampling import count_labels, distinct_labels, split_shares

__all__ = ["CountProcess", "Laws", "draw_columns", "generator_from", "sample_counts"]


@dataclass(frozen=True, eq=False)
class Laws:
    """A game under a frozen pi_l, laid out so that one column per episode is what a step needs.

    Attributes:
        game: the tables they were made from.
        P_g_sums: `[sg' - 1, (sg ag)]`, running sums over s_g', without the last, which is 1.
        shares: `[sl', sl, sg]`, shares of those left of P_l_pi (`split_shares`).
        r_g: `[(sg ag)]`.
        r_l_pi: `[sl, sg]`.
        sampler: draws of stochastic rewards; None where rewards have no laws.
    """

    game: Game
    P_g_sums: Floats
    shares: Floats
    r_g: Floats
    r_l_pi: Floats
    sampler: RewardSampler | None

    @classmethod
    def of(cls, game: Game, pi_l: Tensor) -> "Laws":
        """From `pi_l [sl, sg, al]`, which is checked."""
        game, pi_l = game.to("cpu"), torch.as_tensor(pi_l).cpu()
        induced = game.induced(pi_l)
        sums = rearrange(cumulative(game.P_g)[..., :-1], "g a next -> next (g a)")
        shares = rearrange(split_shares(induced.P_l_pi), "l g next -> next l g")
        sampler = game.reward_sampler(pi_l) if game.has_random_rewards else None
        sums, shares, r_l_pi = sums.contiguous(), shares.contiguous(), induced.r_l_pi
        return cls(game, sums.numpy(), shares.numpy(), game.r_g.flatten().numpy(), r_l_pi.numpy(), sampler)


class CountProcess:
    """A batch of systems of n agents; `start`, then `step` as often as one likes.

    Args:
        laws: the game and pi_l.
        k: how many agents are seen.
        episodes: how many systems.
        rng: the source of all chance.

    Attributes:
        s_g: `[B]`, global states.
        counts: `[sl, B]`, how many of the n agents are in each state (whole numbers).
    """

    def __init__(self, laws: Laws, k: int, episodes: int, rng: np.random.Generator) -> None:
        self._laws, self._k, self._episodes, self._rng = laws, k, episodes, rng
        self._generator = generator_from(rng)

    def start(self) -> None:
        """Draw s_g(0) and the counts of the n agents from the game's initial law."""
        game = self._laws.game
        self.s_g = game.initial.sample_sg(self._episodes, self._generator).numpy()
        shares = split_shares(game.initial.sample_mu(self._episodes, self._generator)).T.numpy()
        everyone = np.full(self._episodes, float(game.n))
        self.counts = np.stack(deal_agents(everyone, np.ascontiguousarray(shares), self._rng))

    def look(self) -> dict[str, Whole]:
        """s_g `[B]`, and the counts of k agents, drawn afresh from each system without replacement: `[B, sl]`."""
        counts = sample_counts(self.counts, self._k, self._laws.game.n, self._rng, self._generator)
        return {"s_g": self.s_g, "counts": counts}

    def step(self, a_g: Whole) -> Floats:
        """Play `a_g [B]`: what the systems earn `[B]` (Eq. 1; the local part is its expectation, Eq. 6); they move."""
        laws, s_g = self._laws, self.s_g
        rows = s_g * laws.game.num_ag + a_g
        arrived = deal_agents(self.counts, laws.shares.take(s_g, axis=2), self._rng)
        reward = self._earned(rows, arrived)
        self.counts = np.stack([coming.sum(0) for coming in arrived])
        self.s_g = draw_columns(laws.P_g_sums.take(rows, axis=1), self._rng)
        return reward

    def _earned(self, rows: Whole, arrived: list[Floats]) -> Floats:
        laws, n = self._laws, self._laws.game.n
        if laws.sampler is None:
            earned: Floats = laws.r_g.take(rows) + (self.counts * laws.r_l_pi.take(self.s_g, axis=1)).sum(0) / n
            return earned
        s_g, a_g = torch.from_numpy(self.s_g), torch.from_numpy(rows % laws.game.num_ag)
        flows = torch.from_numpy(np.stack(arrived, -1)).transpose(0, 1).contiguous()  # [B, sl, sl']
        local = laws.sampler.draw_moved(s_g, flows, self._generator).sum(-1) / n
        return (laws.sampler.draw_global(s_g, a_g, self._generator) + local).numpy()


def generator_from(rng: np.random.Generator) -> torch.Generator:
    """A torch generator whose seed is drawn from `rng`."""
    return torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))


def draw_columns(sums: Floats, rng: np.random.Generator) -> Whole:
    """One draw per column from running sums `[outcomes - 1, B]`: `[B]`."""
    drawn: Whole = (rng.random(sums.shape[1]) >= sums).sum(0, dtype=np.int64)
    return drawn


def sample_counts(counts: Floats, k: int, n: int, rng: np.random.Generator, generator: torch.Generator) -> Whole:
    """The counts of k of n agents, without replacement, from `counts [sl, B]`: `[B, sl]` (module docstring)."""
    if k == n:
        return np.ascontiguousarray(counts.T.astype(np.int64))
    if k * (k - 1) > n:
        labels = distinct_labels(counts.shape[1], min(k, n - k), n, generator)
        return count_labels(labels, torch.from_numpy(counts.T.copy()), k).numpy()
    h = _with_replacement(counts, k, n, rng)
    where = _repeated(h, counts, rng)
    while len(where):
        again = _with_replacement(counts[:, where], k, n, rng)
        h[:, where] = again
        where = where[_repeated(again, counts[:, where], rng)]
    return np.ascontiguousarray(h.T)


def _with_replacement(counts: Floats, k: int, n: int, rng: np.random.Generator) -> Whole:
    """Multinomial(k, counts / n): agents are numbered in the order of their states, and k numbers are drawn."""
    labels = rng.random((k, counts.shape[1])) * n
    ends = counts[:-1].cumsum(0)
    small: Any = np.uint8 if k < 256 else np.int64
    below = [(labels < end).view(np.uint8).sum(0, dtype=small) for end in ends]
    edges = np.stack([np.zeros(counts.shape[1], np.int64), *below, np.full(counts.shape[1], k)])
    return np.diff(edges, axis=0)


def _repeated(h: Whole, counts: Floats, rng: np.random.Generator) -> Whole:
    """The systems in which an agent was drawn twice, with the chance of that given `h [sl, B]`."""
    chance: Any = rng.random(h.shape[1])
    bound = 1 - (h * (h - 1) / np.maximum(counts, 1)).sum(0) / 2
    open_ones = np.flatnonzero(chance > bound)
    seen, there = h[:, open_ones], counts[:, open_ones]
    distinct: Any = np.ones(len(open_ones))
    for j in range(1, int(seen.max(initial=0))):
        distinct *= np.where(seen > j, 1 - j / np.maximum(there, j), 1.0).prod(0)
    twice: Whole = open_ones[chance[open_ones] > distinct]
    return twice
