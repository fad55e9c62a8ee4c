"""Episodes of the k-agent game, step by step, of several pairs side by side.

All pairs are played with the same random numbers. Up to 256 agents are moved one by one, each by a number of its own
(`support.native.mover`): two pairs go the same way until they act differently, and each episode for itself. Near pairs
are together most of the time; as long as an episode of a pair is where the first pair's is, and both move alike, it is
not worked out again.

An episode lasts 2/(1-gamma) steps, at most `LONGEST`.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.policies.base import cumulative
from altmarl_torch.support.native.mover import ONE_BY_ONE, CountMover
from altmarl_torch.support.sampling import split, split_shares

__all__ = ["HORIZONS", "LONGEST", "Rule", "Walk", "visit"]

Rule = Callable[[Tensor, Tensor], Tensor]
"""pi_g: s_g `[b]` and counts `[b, sl]` to laws `[b, ag]`, float64."""

VISITING, LONGEST = 128, 300
"""Episodes that show where a pair goes; steps of an episode at most."""

HORIZONS = 2
"""Length of an episode in units of 1/(1-gamma): beyond it lies e^-2 of the occupancy."""


class Walk:
    """Episodes of the k-agent game, step by step: rows of the first pair, of the second, and so on.

    Attributes:
        s_g: `[rows]`.
        counts: `[rows, sl]`.
        place: `[rows]`, which pair, and in which s_g: pair * num_sg + s_g.
        apart: `[rows]`, whether an episode is elsewhere than the first pair's.
    """

    def __init__(self, surrogates: Sequence[LiftedSurrogate], seed: int, starts: int, repeats: int = 1) -> None:
        self.game, self.k, self.prior = surrogates[0].game, surrogates[0].k, surrogates[0].prior
        seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
        begin, *self._streams = (torch.Generator(self.game.device).manual_seed(number) for number in seeds)
        self.pairs, self.episodes = len(surrogates), starts * repeats
        self._moves = torch.cat([rearrange(one.P_l_pi, "l g L -> g l L") for one in surrogates]).contiguous()
        self._mover = CountMover(self._moves, int(self.k)) if self.k <= ONE_BY_ONE else None
        first_moves = self._moves[: self.game.num_sg].repeat(self.pairs, 1, 1)
        self._alike = (self._moves == first_moves).flatten(1).all(1)  # [pairs * sg], whether pi_l moves as the first
        self._shares, self._sums = split_shares(self._moves), cumulative(self.game.P_g)
        first = torch.arange(self.pairs, device=self.game.device).repeat_interleave(self.episodes)
        self._first_places = first * self.game.num_sg
        s_g, counts = self._begin(begin, starts, repeats)
        self._arrive(s_g.repeat(self.pairs), counts.repeat(self.pairs, 1))
        self.steps = min(LONGEST, max(1, round(HORIZONS / (1 - self.game.gamma))))

    def rows(self, pair: int) -> slice:
        """Those of a pair."""
        return slice(pair * self.episodes, (pair + 1) * self.episodes)

    def draw(self, law: Tensor) -> Tensor:
        """Actions from the rows' `law [rows, ag]`; the numbers are the same for every pair."""
        return (self._chance(self._streams[0]) >= cumulative(law)[..., :-1]).sum(-1)

    def act(self, policy: Rule) -> Tensor:
        """What one pi_g does in all rows: `[rows]`."""
        if isinstance(policy, LiftedPolicy):
            return policy.actions(self.counts, self.s_g)
        return self.draw(policy(self.s_g, self.counts))

    def step(self, a_g: Tensor) -> None:
        """Move under the actions `[rows]`."""
        _, moves, global_moves = self._streams
        counts = self._moved(moves)  # under the current s_g (Eq. 3)
        chance = self._chance(global_moves)
        self._arrive((chance >= self._sums[self.s_g, a_g, :-1]).sum(-1), counts)

    def _begin(self, generator: torch.Generator, starts: int, repeats: int) -> tuple[Tensor, Tensor]:
        initial = self.game.initial
        s_g, counts = initial.sample_sg(starts, generator), initial.sample_mu(starts, generator)
        if not math.isinf(self.k):
            everyone = torch.full((starts, 1), float(self.k), dtype=torch.float64, device=counts.device)
            counts = split(everyone, split_shares(counts).unsqueeze(1), generator)
        return s_g.repeat_interleave(repeats), counts.repeat_interleave(repeats, 0)

    def _arrive(self, s_g: Tensor, counts: Tensor) -> None:
        self.s_g, self.counts, self.place = s_g, counts, self._first_places + s_g
        first = slice(self.episodes)
        elsewhere = counts.reshape(self.pairs, self.episodes, -1).ne(counts[first]).any(-1).flatten()
        self.apart = elsewhere | s_g.ne(s_g[first].repeat(self.pairs))

    def own(self, alike: Tensor) -> Tensor:
        """Rows to be worked out, those of the first pair and where one is apart or not `alike [rows]`: `[own]`."""
        own = self.apart | ~alike
        own[: self.episodes] = True
        return own.nonzero().squeeze(-1)

    def filled(self, own: Tensor, found: Tensor) -> Tensor:
        """What was found for its `own` rows, `[own, ...]`, for all: the others have the first pair's, `[rows, ...]`."""
        first = found[: self.episodes]
        every = first.repeat(self.pairs, *[1] * (first.ndim - 1))
        return every.index_copy_(0, own, found)

    def _chance(self, generator: torch.Generator) -> Tensor:
        """A number for each row, `[rows, 1]`, the same for every pair."""
        chance = torch.rand(self.episodes, 1, generator=generator, dtype=torch.float64, device=self.game.device)
        return chance if self.pairs == 1 else chance.repeat(self.pairs, 1)

    def _moved(self, generator: torch.Generator) -> Tensor:
        if math.isinf(self.k):
            return einsum(self.counts, self._moves[self.place], "b l, b l L -> b L")
        if self.pairs == 1:
            return self._moved_rows(self.rows(0), generator)
        if self._mover is not None and self.prior is None:
            return self._moved_one_by_one(self._mover, generator)
        before, moved = generator.get_state(), []
        for pair in range(self.pairs):
            generator.set_state(before)
            moved.append(self._moved_rows(self.rows(pair), generator))
        return torch.cat(moved)

    def _moved_one_by_one(self, mover: CountMover, generator: torch.Generator) -> Tensor:
        own = self.own(self._alike[self.place])
        numbers = mover.numbers(self.episodes * int(self.k), generator).reshape(self.episodes, -1)
        return self.filled(own, mover.moved(self.place[own], self.counts[own], numbers[own % self.episodes].flatten()))

    def _moved_rows(self, rows: slice, generator: torch.Generator) -> Tensor:
        place, counts = self.place[rows], self.counts[rows]
        if self.prior is not None:
            counts = self.prior.resample(self.s_g[rows], counts, int(self.k), generator)
        if self._mover is not None:
            return self._mover(place, counts, generator)
        return split(counts, self._shares[place], generator)


def visit(surrogate: LiftedSurrogate, policy: Rule, seed: int, number: int) -> Tensor:
    """Counts `[number, sl]` that a pair goes through, drawn by their discounted occupancy."""
    walk, met = Walk([surrogate], seed, VISITING), []
    for _ in range(walk.steps):
        met.append(walk.counts)
        walk.step(walk.act(policy))
    generator = torch.Generator(walk.counts.device).manual_seed(seed)
    weights = surrogate.game.gamma ** torch.arange(walk.steps, dtype=torch.float64, device=walk.counts.device)
    age = torch.multinomial(weights, number, replacement=True, generator=generator)
    episode = torch.randint(VISITING, (number,), generator=generator, device=age.device)
    return torch.stack(met)[age, episode]
