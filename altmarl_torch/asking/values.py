r"""Values of beliefs: when to act, and how many to ask, where answers add up.

A dispatcher with a memory that acts at its belief's mean (`policies.belief`) takes what it does not know for granted.
Where an action cannot be taken back, or a question has a price, it matters how much is known. Here the belief itself is
the state, Dirichlet(c m) with mean m and strength c:

    U(s_g, m, c)  =  max_q  -p q + E_h W(s_g, look(m, c, h)),        h ~ DirichletMultinomial(q, c m)
    W(s_g, m, c)  =  max_a  r_g(s_g, a) + sum_z m_z r_l_pi(z, s_g) + gamma sum_s' P_g(s' | s_g, a) U(s', m', c')

with (m', c') = predict(m, c, s_g), q among the numbers that may be asked and p the price of a question. With one number
to choose from it is the problem of a dispatcher that is shown so many, and *acts to learn*; with several it also *asks
when it pays*. Both are beyond the paper, and beyond certainty equivalence. pi_l is given.

**Fitted value iteration.** U is linear in the functions of `asking.beliefs`, fitted by least squares at beliefs that
random play meets. Sweeps stop when the span of the change says that the actions do: a common offset of all values
changes none of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.alternation.solving import solve
from altmarl_torch.asking.beliefs import BeliefFeatures, answers, beliefs_met
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.policies.belief import Belief
from altmarl_torch.policies.tabular import check_pi_l, greedy_actions
from altmarl_torch.support.tables import as_integer, as_number, as_seed

__all__ = ["BeliefValues", "fit_belief_values"]

SWEEPS, TOLERANCE = 2_000, 1e-4
"""Sweeps at most, and the span of their change, relative to that of the values, at which they stop."""

RIDGE = 1e-7
"""Of the least squares, relative to the features' squares."""


@dataclass(frozen=True, eq=False)
class BeliefValues:
    """Values of beliefs, and what is best by them.

    Attributes:
        game: whose agents are believed in.
        pi_l: `[sl, sg, al]`, what the local agents play.
        belief: how a belief begins and moves, under pi_l.
        r_l: `[sg, sl]`, the local reward under pi_l.
        asks: how many may be asked.
        price: of a question.
        features: functions of beliefs.
        coefficients: `[features, sg]`, of U.
    """

    game: Game
    pi_l: Tensor
    belief: Belief
    r_l: Tensor
    asks: tuple[int, ...]
    price: float
    features: BeliefFeatures
    coefficients: Tensor

    def act(self, s_g: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
        """The best action after looking, for s_g `[b]`, means `[b, sl]` and strengths `[b, 1]`: `[b]`."""
        return greedy_actions(self._action_values(s_g, mean, strength))

    def ask(self, s_g: Tensor, mean: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """How many to ask, before looking: `[b]` int64, among `asks`."""
        if len(self.asks) == 1:
            return torch.full_like(s_g, self.asks[0])
        worth = []
        for q in self.asks:
            counts, weights = answers(q, mean, strength, generator)
            after, stronger = self.belief.look(mean.unsqueeze(1), strength.unsqueeze(1), counts)
            each = s_g.repeat_interleave(counts.shape[1])
            best = self._action_values(each, after.flatten(0, 1), stronger.flatten(0, 1)).amax(-1)
            worth.append((weights * best.view_as(weights)).sum(-1) - self.price * q)
        return torch.tensor(self.asks, device=s_g.device)[torch.stack(worth, -1).argmax(-1)]

    def _action_values(self, s_g: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
        """What each action is worth after looking: `[b, ag]`."""
        later = self.features(*self.belief.predict(mean, strength, s_g)) @ self.coefficients
        expected = torch.bmm(self.game.P_g.index_select(0, s_g), later.unsqueeze(-1)).squeeze(-1)
        local = (mean * self.r_l.index_select(0, s_g)).sum(-1, keepdim=True)
        return self.game.r_g.index_select(0, s_g) + local + self.game.gamma * expected


def fit_belief_values(
    game: Game,
    asks: int | Sequence[int],
    *,
    price: float = 0.0,
    pi_l: Tensor | None = None,
    seed: int = 0,
    told: Callable[[int, float], None] | None = None,
) -> BeliefValues:
    """Fitted value iteration on beliefs.

    Args:
        game: the game, on the CPU.
        asks: the number of agents that is asked, or the numbers to choose from at each step, 0 included if nobody need
            be asked.
        price: of each question, at least 0.
        pi_l: `[sl, sg, al]`, what the local agents play; None learns it as `observation="filter"` does.
        seed: of the beliefs that are met, and of draws.
        told: called with (sweeps, span of the change).

    Raises:
        ArgumentError: a number to ask is outside 0..n or nobody ever would be, the price is negative, or the seed is
            none.
        PolicyError: pi_l is no local policy of this game.
    """
    check_game(game, "decide_by_belief")
    numbers = _numbers(game, asks)
    price = as_number("price", price, "[0, inf)", lambda x: 0 <= x < math.inf, ArgumentError)
    if pi_l is None:
        pi_l = solve(game, max(numbers), observation="filter", solver="auto", seed=as_seed(seed)).pi_l
    pi_l, generator = check_pi_l(game, pi_l), torch.Generator(game.device).manual_seed(as_seed(seed))
    belief, r_l, features = Belief.of(game, pi_l), game.induced(pi_l).r_l_pi.T.contiguous(), BeliefFeatures.of(game)
    mean, strength = beliefs_met(game, belief, numbers, generator)
    ahead = [_Ahead.of(game, belief, r_l, features, q, price, mean, strength, generator) for q in numbers]
    coefficients = _iterate(game, _fitter(features(mean, strength)), ahead, told)
    return BeliefValues(game, pi_l, belief, r_l, numbers, price, features, coefficients)


def _numbers(game: Game, asks: object) -> tuple[int, ...]:
    listed = list(asks) if isinstance(asks, Sequence | range) and not isinstance(asks, str) else [asks]
    numbers = tuple(sorted({as_integer("asks", q, 0, game.n, ArgumentError) for q in listed}))
    if not numbers or numbers == (0,):
        raise ArgumentError("asks must name a number of agents above 0")
    return numbers


def _fitter(features: Tensor) -> Tensor:
    """The matrix `[features, p]` that fits values at p points."""
    gram = features.T @ features
    ridge = RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    fitter: Tensor = torch.linalg.solve(gram + ridge, features.T)
    return fitter


@dataclass(frozen=True, eq=False)
class _Ahead:
    """What may come of q questions at every point: all that a sweep needs."""

    paid: float
    weights: Tensor  # [p, d], of the answers
    local: Tensor  # [p, d, sg], the local reward after looking, less what was paid
    features: list[Tensor]  # for each s_g [p d, features], of the belief that moved under it; float32

    @classmethod
    def of(
        cls,
        game: Game,
        belief: Belief,
        r_l: Tensor,
        features: BeliefFeatures,
        q: int,
        price: float,
        mean: Tensor,
        strength: Tensor,
        generator: torch.Generator,
    ) -> "_Ahead":
        counts, weights = answers(q, mean, strength, generator)
        after, stronger = (part.flatten(0, 1) for part in belief.look(mean.unsqueeze(1), strength.unsqueeze(1), counts))
        states = (torch.full((len(after),), s, device=game.device) for s in range(game.num_sg))
        moved = [features(*belief.predict(after, stronger, s_g)).float() for s_g in states]
        local = (after @ r_l.T - price * q).view(*weights.shape, game.num_sg)
        return cls(price * q, weights, local, moved)

    def values(self, game: Game, coefficients: Tensor) -> Tensor:
        """What q questions are worth: `[p, sg]`."""
        best = []
        for s, features in enumerate(self.features):
            later = (features @ coefficients.float()).double() @ game.P_g[s].T
            best.append((game.r_g[s] + game.gamma * later).amax(-1).view_as(self.weights))
        return (self.weights.unsqueeze(-1) * (torch.stack(best, -1) + self.local)).sum(1)


def _iterate(game: Game, fitter: Tensor, ahead: Sequence[_Ahead], told: Callable[[int, float], None] | None) -> Tensor:
    """Coefficients of the fixed point, `[features, sg]`."""
    coefficients = torch.zeros(len(fitter), game.num_sg, dtype=fitter.dtype, device=fitter.device)
    values = torch.zeros(fitter.shape[1], game.num_sg, dtype=fitter.dtype, device=fitter.device)
    most = game.v_max + max(one.paid for one in ahead) / (1 - game.gamma)  # no value is larger; a fit could be
    for sweep in range(SWEEPS):
        following = torch.stack([one.values(game, coefficients) for one in ahead]).amax(0).clamp(-most, most)
        change = following - values
        span, values = float(change.max() - change.min()), following
        coefficients = fitter @ values
        if told:
            told(sweep + 1, span)
        if span <= TOLERANCE * float(values.max() - values.min()):
            break
    return coefficients
