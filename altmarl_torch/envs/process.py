"""Algorithm 4 step by step, for whoever chooses a_g himself: many episodes at once, on counts, in NumPy.

The process is that of `evaluation.rollouts`, which explains why counts are enough: s_g' ~ P_g(. | s_g, a_g), the c(u)
agents in state u move by Multinomial(c(u), P_l_pi(. | u, s_g)) under the *current* s_g (Eq. 3), and what is seen are
the counts h of k agents drawn afresh from n, without replacement. Here a caller asks for one step at a time, and wants
millions of them in a second, so that

* binomial numbers are those of `support.native.binomials`, exact for few agents and to 2.5 10^-6 in total variation
  for many;
* they and h come from compiled code where it was built, to the bit what NumPy makes of the same random numbers;
* h is drawn by rejection. Let h ~ Multinomial(k, c / n), which is drawing *with* replacement, and keep it with chance

      prod_z  c_z (c_z - 1) .. (c_z - h_z + 1) / c_z^(h_z)   >=   1 - sum_z h_z (h_z - 1) / (2 c_z),

  the chance that no agent was drawn twice: what is kept has the law without replacement, exactly. The right-hand side
  settles all but a few draws without the product. From k (k - 1) > n on, too many would be thrown away, and labels
  are drawn instead (`support.sampling`).

Arrays have the episodes as their *last* axis, so that each operation runs along memory: counts `[sl, B]`.
"""

from ctypes import CDLL, c_double
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.games.game import Game
from altmarl_torch.games.reward_draws import RewardSampler
from altmarl_torch.policies.base import cumulative
from altmarl_torch.support.native.binomials import Floats, Whole, deal_agents
from altmarl_torch.support.native.library import address, library
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
    h, where = _sample(counts, k, n, rng)
    while len(where):
        h[where], again = _sample(counts[:, where], k, n, rng)
        where = where[again]
    return h


def _sample(counts: Floats, k: int, n: int, rng: np.random.Generator) -> tuple[Whole, Whole]:
    """Multinomial(k, counts / n), `[B, sl]`, and the systems in which an agent was drawn twice, by chance given those.

    Agents are numbered in the order of their states, and k numbers are drawn.
    """
    labels: Floats = rng.random((k, counts.shape[1]))
    chance: Any = rng.random(counts.shape[1])
    made, given = library(), (labels, counts, n, chance)
    h, open_ones = _counted(*given) if made is None else _counted_by(made, *given)
    seen, there = h[open_ones].T, counts[:, open_ones]
    distinct: Any = np.ones(len(open_ones))
    for j in range(1, int(seen.max(initial=0))):
        distinct *= np.where(seen > j, 1 - j / np.maximum(there, j), 1.0).prod(0)
    return h, open_ones[chance[open_ones] > distinct]


def _counted(labels: Floats, counts: Floats, n: int, chance: Floats) -> tuple[Whole, Whole]:
    """How many labels fall to each state, `[B, sl]`, and the systems that the bound of `chance` does not settle."""
    k, systems = labels.shape
    labels, ends = labels * n, counts[:-1].cumsum(0)
    small: Any = np.uint8 if k < 256 else np.int64
    below = [(labels < end).view(np.uint8).sum(0, dtype=small) for end in ends]
    h = np.diff(np.stack([np.zeros(systems, np.int64), *below, np.full(systems, k)]), axis=0)
    bound = 1 - (h * (h - 1) / np.maximum(counts, 1)).sum(0) / 2
    return np.ascontiguousarray(h.T), np.flatnonzero(chance > bound)


def _counted_by(made: CDLL, labels: Floats, counts: Floats, n: int, chance: Floats) -> tuple[Whole, Whole]:
    """The same, compiled (`drawing.cpp`), to the bit."""
    (k, systems), counts = labels.shape, np.ascontiguousarray(counts)
    h, open_ones = np.empty((systems, len(counts)), np.int64), np.empty(systems, np.int64)
    places = [address(array) for array in (counts, labels, chance, h, open_ones)]
    return h, open_ones[: made.draw_samples(systems, len(counts), k, c_double(n), *places)]
