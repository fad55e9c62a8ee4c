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

All pairs are played with the same random numbers, several of them side by side (`walk`), so that differences, paired
episode by episode, are known far better than values.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from torch import Tensor

from altmarl_torch.counts.lifted import add_products, of_groups
from altmarl_torch.learners.lifted.crowd import plus, seen_at
from altmarl_torch.learners.lifted.fitting import LiftedFit
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule, Walk
from altmarl_torch.policies.tabular import one_hot

__all__ = ["EPISODES", "Contender", "PlayedPair", "play"]

EPISODES = 128
"""Those that judge a pair."""

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


class _Reader:
    """What pairs do and fits say at the counts of a walk.

    Where every pi_g is greedy in a lifted Q of at most the fits' degree, it is read along with them, from the same
    features. Pairs that differ in a few states have most tables in common. So rows are read table by table, whichever
    pair they are of: each table passes through the processor's own memory once a step. All have r_g_mu in common.
    (Local agents with an objective of their own earn none of it, while pi_g is greedy in what sees it.)
    """

    def __init__(self, contenders: Sequence[Contender]) -> None:
        self.contenders, self.surrogate = contenders, contenders[0].surrogate
        earned, led = self.surrogate.game.r_g_mu, getattr(contenders[0].policy, "r_g_mu", None)
        self._r_g_mu = led if earned is None else earned
        self._certain = all(self._is_read(one.policy) for one in contenders)
        self._type = torch.float64 if self.surrogate.basis.size < WIDE else torch.float32
        self._tables, self._numbers = self._distinct()

    def _is_read(self, policy: Rule) -> bool:
        if not isinstance(policy, LiftedPolicy) or policy.r_g_mu is not self._r_g_mu:
            return False
        return policy.k == self.surrogate.k and policy.degree <= self.surrogate.basis.degree

    def _distinct(self) -> tuple[list[Tensor], Tensor]:
        """Tables `[values, N_J]` of which no other pair's equals the first's, and the number of each pair and s_g."""
        first, *others = self.contenders
        tables, numbers = list(self._table(first)), list(range(self.surrogate.game.num_sg))
        for one in others:
            alike = self._alike(first, one)
            for sg, own in enumerate([] if all(alike) else self._table(one)):
                numbers.append(sg if alike[sg] else len(tables))
                tables += [] if alike[sg] else [own]
            numbers += range(len(alike)) if all(alike) else []
        return tables, torch.tensor(numbers, device=self.surrogate.game.device)

    def _alike(self, first: Contender, other: Contender) -> list[bool]:
        """In which s_g two pairs have one table."""
        if self._certain and first.policy is not other.policy:
            return [False] * self.surrogate.game.num_sg
        V, Q = (own == others for own, others in zip(_coefficients(first), _coefficients(other), strict=True))
        return (V.all(1) & Q.flatten(1).all(1)).tolist()

    def _table(self, one: Contender) -> Tensor:
        """V, Q and, where it is certain, that of the policy: `[sg, values, N_J]`."""
        V, Q = _coefficients(one)
        tables = [V.unsqueeze(1), Q]
        if self._certain and isinstance(one.policy, LiftedPolicy):
            tables.append(one.policy.basis.elevate(one.policy.coefficients, self.surrogate.basis))
        return torch.cat(tables, 1).to(self._type)

    def read(self, walk: Walk, moments: Tensor | None, weight: float) -> tuple[Tensor, Tensor]:
        """Residuals and actions, `[rows]`; what the first pair adds to its `moments`, times a weight, is added."""
        laws, numbers = None if self._certain else self._laws(walk), self._numbers[walk.place]
        alike = numbers == walk.s_g if laws is None else torch.zeros_like(walk.apart)
        own, basis = walk.own(alike), self.surrogate.basis
        order = own[numbers[own].argsort(stable=True)]
        residual = torch.empty(len(numbers), dtype=torch.float64, device=order.device)
        a_g = torch.empty_like(numbers) if laws is None else walk.draw(laws)
        for rows in torch.split(order, max(1, ENTRIES_AT_ONCE // basis.size)):
            features = basis.features(walk.counts[rows], self.surrogate.k, self._type)
            V, Q, greedy = self._values(numbers[rows], features)
            seen = seen_at(self._r_g_mu, Q.shape[-1], walk.s_g[rows], walk.counts[rows], self.surrogate.k)
            Q = plus(Q, None if self.surrogate.game.r_g_mu is None else seen)
            if laws is None:
                a_g[rows] = plus(greedy, seen).argmax(-1)
            law = one_hot(a_g[rows], Q.shape[-1]) if laws is None else laws[rows]
            residual[rows] = (law * Q).sum(-1) - V
            if moments is not None:
                onward = einsum(law, self.surrogate.game.P_g[walk.s_g[rows]], "b a, b a G -> b G")
                first = (rows < walk.episodes).unsqueeze(-1)  # the rows of the first pair
                add_products(moments, walk.s_g[rows], onward * first * weight, features)
        return walk.filled(own, residual[own]), walk.filled(own, a_g[own])

    def _laws(self, walk: Walk) -> Tensor:
        """Of all pairs, `[rows, ag]`."""
        shown = zip(torch.split(walk.s_g, walk.episodes), torch.split(walk.counts, walk.episodes), strict=True)
        return torch.cat([one.policy(*seen) for one, seen in zip(self.contenders, shown, strict=True)])

    def _values(self, numbers: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """V `[b]`, Q and the policy's own `[b, ag]` (or none) by the tables of rows, which come in their order."""
        values = of_groups(numbers, features, self._tables).double()
        num_ag = self.surrogate.game.num_ag
        return values[:, 0], values[:, 1 : num_ag + 1], values[:, num_ag + 1 :]


def _coefficients(one: Contender) -> tuple[Tensor, Tensor]:
    return one.fit.coefficients, one.fit.action_coefficients


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
    walk, reader = Walk([one.surrogate for one in contenders], seed, starts, repeats), _Reader(contenders)
    gamma, num_sg = surrogate.game.gamma, surrogate.game.num_sg
    first, residuals = (walk.s_g[walk.rows(0)], walk.counts[walk.rows(0)]), []
    found = walk.counts.new_zeros(num_sg, num_sg, surrogate.basis.size)
    for t in range(walk.steps):
        residual, a_g = reader.read(walk, found if moments else None, gamma**t / walk.episodes)
        residuals.append(residual)
        walk.step(a_g)
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


def _last_quarters(means: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the last quarter of the steps, and of the quarter before."""
    quarter = max(1, len(means) // 4)
    return means[-quarter:].mean(), means[-2 * quarter :][:quarter].mean()
