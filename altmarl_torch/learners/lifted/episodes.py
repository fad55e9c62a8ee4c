r"""What a pair is worth, without bias, from few episodes: the lifted value as a control variate.

For any function V of (s_g, h), with e = T_pi V - V its Bellman residual under the pair,

    J(pair) = <rho, V> + E sum_t gamma^t e(s_g(t), h(t))

along episodes of the pair (the telescoping sum behind the performance difference lemma). For V = lift(c) everything on
the right but the outer expectation is exact: <rho, V> by `LiftedSurrogate.initial_mean`, and T_pi V by the identity,
with no draw of the next state. So the episodes only average the residual, which is small: a hundred of them give a
standard error that plain returns reach with a million. The estimate has no bias whatever the fit; a poor one only makes
it noisy. The same episodes give

* the *held-out residual*: e at counts that the fit has not seen (they have their own random numbers);
* the moments sum_t gamma^t E[ L_g(h) 1{s_g} pi(s_g' | s_g, h) ] of the occupancy, all that L-LEARN needs (`l_learn`).

An episode lasts 2/(1-gamma) steps, at most `LONGEST`; for the rest the mean residual of the last quarter is taken to go
on.

All pairs are played with the same random numbers, several of them side by side. Up to 256 agents are moved one by one,
each by a number of its own (`support.native.mover`): two pairs go the same way until they act differently, and each
episode for itself, so that differences, paired episode by episode, are known far better than values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.learners.lifted.fitting import LiftedFit
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.policies.base import cumulative
from altmarl_torch.support.native.mover import ONE_BY_ONE, CountMover
from altmarl_torch.support.sampling import split, split_shares

__all__ = ["Contender", "PlayedPair", "Rule", "play", "visit"]

Rule = Callable[[Tensor, Tensor], Tensor]
"""pi_g: s_g `[b]` and counts `[b, sl]` to laws `[b, ag]`, float64."""

EPISODES, VISITING, LONGEST = 128, 128, 300
"""Episodes that judge a pair, and that show where it goes; their steps at most."""

HORIZONS = 2
"""Length of an episode in units of 1/(1-gamma): beyond it lies e^-2 of the occupancy."""


ENTRIES_AT_ONCE = 2**17
"""Features that are computed at once: they fit the processor's own memory."""

WIDE = 1_000
"""Coefficients from which on features and what is read from them are float32: twice as quick, and right to 1e-6 of the
largest coefficient, where so many fit to a few 1e-3 of it."""


@dataclass(frozen=True, eq=False)
class Contender:
    """A pair that is played: its pi_l in the surrogate, pi_g, and the fit that it is held against."""

    surrogate: LiftedSurrogate
    policy: Rule
    fit: LiftedFit


@dataclass(frozen=True, eq=False)
class PlayedPair:
    """What episodes say of a pair and of a fit to its values."""

    starts: tuple[Tensor, Tensor]  # s_g [E] and counts [E, sl] in which the episodes begin
    corrections: Tensor  # [E] discounted sum of residuals
    residual: float  # root mean square of e over the occupancy
    moments: Tensor  # [sg, sg', N_J] see the module
    drift: float  # what the tail would change by if it were estimated by the quarter before


class _Walk:
    """Episodes of the k-agent game, step by step: rows of the first pair, of the second, and so on.

    Attributes:
        s_g: `[rows]`.
        counts: `[rows, sl]`.
        place: `[rows]`, which pair, and in which s_g: pair * num_sg + s_g.
    """

    def __init__(self, surrogates: Sequence[LiftedSurrogate], seed: int, starts: int, repeats: int = 1) -> None:
        self.game, self.k, self.prior = surrogates[0].game, surrogates[0].k, surrogates[0].prior
        seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
        begin, *self._streams = (torch.Generator(self.game.device).manual_seed(number) for number in seeds)
        self.pairs, self.episodes = len(surrogates), starts * repeats
        self._moves = torch.cat([rearrange(one.P_l_pi, "l g L -> g l L") for one in surrogates]).contiguous()
        self._mover = CountMover(self._moves, int(self.k)) if self.k <= ONE_BY_ONE else None
        self._shares, self._sums = split_shares(self._moves), cumulative(self.game.P_g)
        first = torch.arange(self.pairs, device=self.game.device).repeat_interleave(self.episodes)
        self._first_places = first * self.game.num_sg
        self._luck: Tensor | None = None
        s_g, counts = self._begin(begin, starts, repeats)
        self._arrive(s_g.repeat(self.pairs), counts.repeat(self.pairs, 1))
        self.steps = min(LONGEST, max(1, round(HORIZONS / (1 - self.game.gamma))))

    def rows(self, pair: int, pairs: int = 1) -> slice:
        """Those of a pair, or of several from it on."""
        return slice(pair * self.episodes, (pair + pairs) * self.episodes)

    def draw(self, law: Tensor, rows: slice) -> Tensor:
        """Actions of some rows from their `law [b, ag]`; the numbers are the same for every pair."""
        if self._luck is None:
            self._luck = self._chance(self._streams[0])
        return (self._luck[rows] >= cumulative(law)[..., :-1]).sum(-1)

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
        self._luck = None

    def _chance(self, generator: torch.Generator) -> Tensor:
        """A number for each row, `[rows, 1]`, the same for every pair."""
        chance = torch.rand(self.episodes, 1, generator=generator, dtype=torch.float64, device=self.game.device)
        return chance if self.pairs == 1 else chance.repeat(self.pairs, 1)

    def _moved(self, generator: torch.Generator) -> Tensor:
        if math.isinf(self.k):
            return einsum(self.counts, self._moves[self.place], "b l, b l L -> b L")
        if self.pairs == 1:
            return self._moved_rows(self.rows(0), generator)
        before, moved = generator.get_state(), []
        for pair in range(self.pairs):
            generator.set_state(before)
            moved.append(self._moved_rows(self.rows(pair), generator))
        return torch.cat(moved)

    def _moved_rows(self, rows: slice, generator: torch.Generator) -> Tensor:
        place, counts = self.place[rows], self.counts[rows]
        if self.prior is not None:
            counts = self.prior.resample(self.s_g[rows], counts, int(self.k), generator)
        if self._mover is not None:
            return self._mover(place, counts, generator)
        return split(counts, self._shares[place], generator)


class _Reader:
    """What pairs do and fits say at the counts of a walk.

    Where every pi_g is greedy in a lifted Q of at most the fits' degree, it is read along with them, from the same
    features.
    """

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self.contenders, self.surrogate = contenders, contenders[0].surrogate
        self._certain = all(self._is_read(one.policy) for one in contenders)
        self._type = torch.float64 if self.surrogate.basis.size < WIDE else torch.float32
        self._tables = torch.stack([self._table(one) for one in contenders]).to(self._type)  # [pair, sg, values, N_J]

    def _is_read(self, policy: Rule) -> bool:
        surrogate = self.surrogate
        return isinstance(policy, LiftedPolicy) and policy.k == surrogate.k and policy.degree <= surrogate.basis.degree

    def _table(self, one: Contender) -> Tensor:
        tables = [one.fit.coefficients.unsqueeze(1), one.fit.action_coefficients]
        if self._certain and isinstance(one.policy, LiftedPolicy):
            tables.append(one.policy.basis.elevate(one.policy.coefficients, self.surrogate.basis))
        return torch.cat(tables, 1)

    def read(self, walk: _Walk, pair: int, pairs: int) -> "_Read":
        """What so many pairs, from one on, do and say."""
        rows, game = walk.rows(pair, pairs), self.surrogate.game
        order, tables = walk.place[rows].argsort(stable=True), self._tables[pair : pair + pairs]
        sizes = torch.bincount(walk.place[rows] - pair * game.num_sg, minlength=pairs * game.num_sg).tolist()
        s_g, counts = walk.s_g[rows], walk.counts[rows]
        features = self.surrogate.basis.features(counts[order], self.surrogate.k, self._type)
        parts = zip(torch.split(features, sizes), tables.flatten(0, 1), strict=True)
        values = torch.cat([(table @ part.T).T for part, table in parts]).double()  # features are made by columns
        V, Q = values[:, 0], values[:, 1 : game.num_ag + 1]
        if self._certain:
            chosen = values[:, game.num_ag + 1 :].argmax(-1)
            residual, onward = Q.gather(-1, chosen.unsqueeze(-1)).squeeze(-1) - V, game.P_g[s_g[order], chosen]
            a_g = torch.empty_like(chosen).index_copy_(0, order, chosen)
        else:
            shown = zip(torch.split(s_g, walk.episodes), torch.split(counts, walk.episodes), strict=True)
            law = torch.cat([self.contenders[pair + i].policy(*seen) for i, seen in enumerate(shown)])
            residual, a_g = (law[order] * Q).sum(-1) - V, walk.draw(law, rows)
            onward = einsum(law[order], game.P_g[s_g[order]], "b a, b a G -> b G")
        residual = torch.empty_like(residual).index_copy_(0, order, residual)
        return _Read(residual, a_g, features, onward, sizes)


@dataclass(frozen=True, eq=False)
class _Read:
    """Residuals and actions of rows as they stand; features and laws of the next s_g in the order of pairs and s_g."""

    residual: Tensor  # [b]
    a_g: Tensor  # [b]
    features: Tensor  # [b, N_J]
    onward: Tensor  # [b, sg]
    sizes: list[int]  # rows of each pair and s_g

    def add_moments(self, moments: Tensor, weight: float) -> None:
        """Add the first pair's part to its moments `[sg, sg', N_J]`, in place."""
        sizes = self.sizes[: len(moments)]
        laws, parts = (torch.split(rows[: sum(sizes)], sizes) for rows in (self.onward * weight, self.features))
        for own, law, part in zip(moments, laws, parts, strict=True):
            if len(part):
                own.add_(law.T.to(part.dtype) @ part)


def play(
    contenders: Sequence[Contender], seed: int, *, starts: int = EPISODES, repeats: int = 1, moments: bool = True
) -> list[PlayedPair]:
    """Play pairs of one game and one degree, and hold their fits against them.

    Args:
        contenders: the pairs.
        seed: of the episodes.
        starts: how many starts are drawn.
        repeats: episodes from each.
        moments: whether those of the first pair are added up; zero otherwise.
    """
    surrogate, pairs = contenders[0].surrogate, len(contenders)
    walk, reader = _Walk([one.surrogate for one in contenders], seed, starts, repeats), _Reader(contenders)
    gamma, num_sg = surrogate.game.gamma, surrogate.game.num_sg
    first, residuals = (walk.s_g[walk.rows(0)], walk.counts[walk.rows(0)]), []
    found = walk.counts.new_zeros(num_sg, num_sg, surrogate.basis.size)
    together = min(pairs, max(1, ENTRIES_AT_ONCE // (walk.episodes * surrogate.basis.size)))
    for t in range(walk.steps):
        seen = [reader.read(walk, pair, min(together, pairs - pair)) for pair in range(0, pairs, together)]
        if moments:
            seen[0].add_moments(found, gamma**t / walk.episodes)
        residuals.append(torch.cat([one.residual for one in seen]))
        walk.step(torch.cat([one.a_g for one in seen]))
    by_pair, none = torch.stack(residuals).reshape(walk.steps, pairs, walk.episodes), torch.zeros_like(found)
    return [_played(first, by_pair[:, pair], none if pair else found, gamma) for pair in range(pairs)]


def _played(first: tuple[Tensor, Tensor], residuals: Tensor, moments: Tensor, gamma: float) -> PlayedPair:
    """What residuals `[steps, E]` amount to."""
    weights = gamma ** torch.arange(len(residuals), dtype=torch.float64, device=residuals.device)
    last, before = _last_quarters(residuals.mean(1))
    tail = gamma ** len(residuals) / (1 - gamma)
    mean_square = float(weights @ residuals.square().mean(1) / weights.sum())
    return PlayedPair(
        first, weights @ residuals + tail * last, math.sqrt(mean_square), moments, tail * float(last - before)
    )


def visit(surrogate: LiftedSurrogate, policy: Rule, seed: int, number: int) -> Tensor:
    """Counts `[number, sl]` that a pair goes through, drawn by their discounted occupancy."""
    walk, met = _Walk([surrogate], seed, VISITING), []
    for _ in range(walk.steps):
        met.append(walk.counts)
        if isinstance(policy, LiftedPolicy):
            walk.step(policy.actions(walk.counts, walk.s_g))
        else:
            walk.step(walk.draw(policy(walk.s_g, walk.counts), walk.rows(0)))
    generator = torch.Generator(walk.counts.device).manual_seed(seed)
    weights = surrogate.game.gamma ** torch.arange(walk.steps, dtype=torch.float64, device=walk.counts.device)
    age = torch.multinomial(weights, number, replacement=True, generator=generator)
    episode = torch.randint(VISITING, (number,), generator=generator, device=age.device)
    return torch.stack(met)[age, episode]


def _last_quarters(means: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the last quarter of the steps, and of the quarter before."""
    quarter = max(1, len(means) // 4)
    return means[-quarter:].mean(), means[-2 * quarter :][:quarter].mean()
