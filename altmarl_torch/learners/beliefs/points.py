r"""Beliefs as states: what values of them are made of, which answers may come, and which beliefs are met.

A belief is Dirichlet(c m), m the mean over local states and c its strength (`policies.belief`).

*Functions.* Bernstein polynomials of m, times 1, s and s^2 with s = (c + 1)^(-1/2): the size of the belief's standard
deviation, in which the expectation of a maximum grows where nothing is known.

*Answers.* Of q agents who are asked, h are in each state, h ~ DirichletMultinomial(q, c m). Where the count vectors are
few all of them are listed with their probabilities; elsewhere they are drawn.

*Points.* Beliefs that random play meets: actions that are repeated for a while, and a number of questions for each
episode. Dirichlet(1) means of all strengths are added.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.policies.belief import Belief
from altmarl_torch.support.sampling import dirichlet

__all__ = ["BeliefFeatures", "answers", "beliefs_met", "combined", "number_of_answers"]

MOST_FEATURES, MOST_DEGREE = 400, 8
"""Of a value function: in number, and degree in the mean."""

MOST_LISTED, DRAWS = 40, 32
"""Answers that are listed, and how many are drawn where there are more."""

EPISODES, STEPS, SPREAD, ANEW = 40, 40, 500, 0.1
"""Of random play, how many and how long; means that are added; the chance of another action."""


@dataclass(frozen=True, eq=False)
class BeliefFeatures:
    """Functions of beliefs.

    Attributes:
        basis: of the mean.
    """

    basis: Basis

    @classmethod
    def of(cls, game: Game) -> "BeliefFeatures":
        """As many as are fitted in seconds."""
        degree = 1
        while degree < MOST_DEGREE and 3 * CountSimplex(degree + 1, game.num_sl).size <= MOST_FEATURES:
            degree += 1
        return cls(Basis(degree, game.num_sl, game.device))

    def __call__(self, mean: Tensor, strength: Tensor) -> Tensor:
        """Means `[b, sl]` and strengths `[b, 1]` to `[b, features]`."""
        of_mean, powers = self.parts(mean, strength)
        return (powers.unsqueeze(-1) * of_mean.unsqueeze(1)).flatten(1)

    def parts(self, mean: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
        """The functions of the mean `[b, f]` and of the strength `[b, 3]`, whose products the features are."""
        s = (strength + 1).rsqrt()
        return self.basis.features(mean, math.inf), torch.cat([torch.ones_like(s), s, s.square()], -1)


def combined(of_mean: Tensor, powers: Tensor, coefficients: Tensor) -> Tensor:
    """Values `[b, v]` of coefficients `[features, v]` at the `parts` of b beliefs, without forming their features."""
    apart = coefficients.view(powers.shape[-1], of_mean.shape[-1], -1).transpose(0, 1).flatten(1)  # [f, 3 v]
    values: Tensor = torch.bmm(powers.unsqueeze(1), (of_mean @ apart).view(*powers.shape, -1)).squeeze(1)
    return values


def answers(q: int, mean: Tensor, strength: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """What q agents may answer: counts `[b, d, sl]` and their probabilities `[b, d]`, of all or of draws."""
    if q == 0:
        return torch.zeros_like(mean).unsqueeze(1), torch.ones_like(mean[:, :1])
    alpha, simplex = (strength * mean).clamp_min(1e-9).unsqueeze(1), CountSimplex(q, mean.shape[-1], mean.device)
    if number_of_answers(q, simplex.num_sl) == simplex.size:
        counts = simplex.counts.to(mean.dtype)
        logs = torch.lgamma(alpha + counts) - torch.lgamma(alpha) - torch.lgamma(counts + 1)
        return counts.expand(len(mean), -1, -1), torch.softmax(logs.sum(-1), -1)
    drawn = _asked(q, alpha.expand(-1, DRAWS, -1).flatten(0, 1), generator).view(len(mean), DRAWS, -1)
    return drawn, torch.full_like(drawn[..., 0], 1 / DRAWS)


def number_of_answers(q: int, num_sl: int) -> int:
    """How many `answers` gives for each belief."""
    listed = CountSimplex(q, num_sl).size
    return listed if listed <= MOST_LISTED else DRAWS


def beliefs_met(game: Game, belief: Belief, asks: tuple[int, ...], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Means `[p, sl]` and strengths `[p, 1]` of beliefs before and after looking, and some that nobody met."""
    mean, strength = belief.begin(EPISODES)
    asked = torch.tensor(asks, device=game.device)[_whole(len(asks), generator)]
    s_g, a_g = _whole(game.num_sg, generator), _whole(game.num_ag, generator)
    sums, found = cumulative(game.P_g).flatten(0, 1), []
    for _ in range(STEPS):
        found.append((mean, strength))
        counts = torch.zeros_like(mean)
        for q in set(asks) - {0}:
            here = asked == q
            counts[here] = _asked(q, (strength * mean)[here].clamp_min(1e-9), generator)
        found.append(belief.look(mean, strength, counts))
        mean, strength = belief.predict(*found[-1], s_g)
        a_g = torch.where(_unit(len(a_g), generator) < ANEW, _whole(game.num_ag, generator), a_g)
        s_g = draw(sums.index_select(0, s_g * game.num_ag + a_g), generator)
    means, strengths = (torch.cat(parts) for parts in zip(*found, strict=True))
    anywhere = dirichlet(torch.ones(SPREAD, game.num_sl, dtype=mean.dtype, device=game.device), generator)
    low, high = math.log(min(float(strengths.min()), 1.0)), math.log(float(strengths.max()) + 1)
    any_strength = torch.exp(low + (high - low) * _unit(SPREAD, generator)).unsqueeze(-1)
    return torch.cat([means, anywhere]), torch.cat([strengths, any_strength])


def _asked(q: int, alpha: Tensor, generator: torch.Generator) -> Tensor:
    """Counts `[b, sl]` of q agents of populations that are Dirichlet(alpha `[b, sl]`)."""
    if not len(alpha):
        return torch.zeros_like(alpha)
    which = torch.multinomial(dirichlet(alpha, generator), q, replacement=True, generator=generator)
    return torch.nn.functional.one_hot(which, alpha.shape[-1]).sum(1).to(alpha.dtype)


def _whole(number: int, generator: torch.Generator) -> Tensor:
    return torch.randint(number, (EPISODES,), generator=generator, device=generator.device)


def _unit(rows: int, generator: torch.Generator) -> Tensor:
    return torch.rand(rows, generator=generator, dtype=torch.float64, device=generator.device)
