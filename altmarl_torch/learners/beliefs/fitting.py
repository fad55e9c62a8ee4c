r"""Values of beliefs: when to act, and how many to ask, where answers add up.

A dispatcher with a memory that acts at its belief's mean (`policies.belief`) takes what it does not know for granted.
Where an action cannot be taken back, or a question has a price, it matters how much is known. Here the belief itself is
the state, Dirichlet(c m) with mean m and strength c:

    U(s_g, m, c)  =  max_q  -p q + E_h W(s_g, look(m, c, h)),        h ~ DirichletMultinomial(q, c m)
    W(s_g, m, c)  =  max_a  r_g(s_g, a) + sum_z m_z r_l_pi(z, s_g) + gamma sum_s' P_g(s' | s_g, a) U(s', m', c')

with (m', c') = predict(m, c, s_g), q among the numbers that may be asked and p the price of a question. With one number
to choose from it is the problem of a dispatcher that is shown so many, and *acts to learn*; with several it also *asks
when it pays*. Both are beyond the paper, and beyond certainty equivalence. pi_l is given.

**Fitted value iteration.** U is linear in the functions of `learners.beliefs.points`, fitted by least squares at
beliefs that random play meets. A sweep over all answers finds what is best after each of them; then what is best stays
as it is for a few evaluations, which need no more than its expected features (modified policy iteration: Puterman and
Shin, 1978). Sweeps stop when the span of the change says that the actions do: a common offset of all values changes
none of them.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.beliefs.points import (
    EPISODES,
    SPREAD,
    STEPS,
    BeliefFeatures,
    answers,
    beliefs_met,
    combined,
    number_of_answers,
)
from altmarl_torch.learners.beliefs.values import BeliefValues
from altmarl_torch.policies.belief import Belief
from altmarl_torch.policies.tabular import check_pi_l
from altmarl_torch.support.tables import as_integer, as_number, as_seed

__all__ = ["fit_belief_values", "numbers_to_ask", "work_of"]

SWEEPS, TOLERANCE = 200, 1e-4
"""Sweeps at most, and the span of their change, relative to that of the values, at which they stop."""

EVALUATIONS = 30
"""Of what a sweep finds best."""

RIDGE = 1e-7
"""Of the least squares, relative to the features' squares."""


def fit_belief_values(
    game: Game,
    asks: int | Sequence[int],
    *,
    price: float = 0.0,
    pi_l: Tensor,
    seed: int = 0,
    told: Callable[[int, float], None] | None = None,
) -> BeliefValues:
    """Fitted value iteration on beliefs.

    Args:
        game: the game, on the CPU.
        asks: the number of agents that is asked, or the numbers to choose from at each step, 0 included if nobody need
            be asked.
        price: of each question, at least 0.
        pi_l: `[sl, sg, al]`, what the local agents play.
        seed: of the beliefs that are met, and of draws.
        told: called with (sweeps, span of the change).

    Raises:
        ArgumentError: a number to ask is outside 0..n or nobody ever would be, the price is negative, or the seed is
            none.
        PolicyError: pi_l is no local policy of this game.
    """
    check_game(game, "decide_by_belief")
    numbers = numbers_to_ask(game, asks)
    price = as_number("price", price, "[0, inf)", lambda x: 0 <= x < math.inf, ArgumentError)
    pi_l, generator = check_pi_l(game, pi_l), torch.Generator(game.device).manual_seed(as_seed(seed))
    belief, r_l, features = Belief.of(game, pi_l), game.induced(pi_l).r_l_pi.T.contiguous(), BeliefFeatures.of(game)
    mean, strength = beliefs_met(game, belief, numbers, generator)
    tried = numbers if price > 0 else numbers[-1:]  # what costs nothing is asked
    ahead = [_Ahead.of(game, belief, r_l, features, q, price, mean, strength, generator) for q in tried]
    coefficients = _iterate(game, _fitter(features(mean, strength)), ahead, told)
    return BeliefValues(game.P_g, game.r_g, game.gamma, r_l, belief, numbers, price, features, coefficients)


def work_of(game: Game, q: int) -> int:
    """How many numbers a fit for q questions a step keeps."""
    points = 2 * EPISODES * STEPS + SPREAD
    return points * number_of_answers(q, game.num_sl) * BeliefFeatures.of(game).basis.size * game.num_sg


def numbers_to_ask(game: Game, asks: object) -> tuple[int, ...]:
    """The numbers to choose from, the fewest first; an ArgumentError where one is none, or nobody ever is asked."""
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
    parts: list[tuple[Tensor, Tensor]]  # for each s_g, of the belief that moved under it: [p d, f], [p d, 3]; float32

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
        moved = (features.parts(*belief.predict(after, stronger, s_g)) for s_g in states)
        local = (after @ r_l.T - price * q).view(*weights.shape, game.num_sg)
        return cls(price * q, weights, local, [(of_mean.float(), powers.float()) for of_mean, powers in moved])

    def best(self, game: Game, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """What q questions are worth `[p, sg]`, and the best action after each answer `[p, d, sg]`."""
        values, actions = [], []
        for s, parts in enumerate(self.parts):
            later = combined(*parts, (coefficients @ game.P_g[s].T).float()).double()
            best = (game.r_g[s] + game.gamma * later).max(-1)
            values.append(best.values.view_as(self.weights))
            actions.append(best.indices.view_as(self.weights))
        worth = (self.weights.unsqueeze(-1) * (torch.stack(values, -1) + self.local)).sum(1)
        return worth, torch.stack(actions, -1)

    def expected(self, game: Game, s: int, rows: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Reward `[r]` and features `[r, features, sg']` to come, at some rows, of actions `[r, d]` in s."""
        weights = self.weights[rows]
        reward = (weights * (self.local[rows, :, s] + game.r_g[s][actions])).sum(-1)
        of_mean, powers = (part.view(*self.weights.shape, -1)[rows] for part in self.parts[s])
        laws = (weights.unsqueeze(-1) * game.P_g[s][actions]).float()  # [r, d, sg']
        apart = [of_mean.transpose(1, 2) @ (laws * power.unsqueeze(-1)) for power in powers.unbind(-1)]
        return reward, torch.cat(apart, 1)


def _iterate(game: Game, fitter: Tensor, ahead: Sequence[_Ahead], told: Callable[[int, float], None] | None) -> Tensor:
    """Coefficients of the fixed point, `[features, sg]`."""
    coefficients = torch.zeros(len(fitter), game.num_sg, dtype=fitter.dtype, device=fitter.device)
    values = torch.zeros(fitter.shape[1], game.num_sg, dtype=fitter.dtype, device=fitter.device)
    most = game.v_max + max(one.paid for one in ahead) / (1 - game.gamma)  # no value is larger; a fit could be
    for sweep in range(SWEEPS):
        worth, actions = zip(*(one.best(game, coefficients) for one in ahead), strict=True)
        following, asked = torch.stack(worth).max(0)
        change = following.clamp(-most, most) - values
        span, values = float(change.max() - change.min()), following.clamp(-most, most)
        if told:
            told(sweep + 1, span)
        if span <= TOLERANCE * float(values.max() - values.min()):
            break
        reward, features = _chosen(game, ahead, asked, actions)
        for _ in range(EVALUATIONS):
            coefficients = fitter @ values
            later = (features @ coefficients.T.float().flatten()).T.double()
            values = (reward + game.gamma * later).clamp(-most, most)
        coefficients = fitter @ values
    return fitter @ values


def _chosen(game: Game, ahead: Sequence[_Ahead], asked: Tensor, actions: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Reward `[p, sg]` and features `[sg, p, sg' features]` to come of what is best: `asked [p, sg]`, an index."""
    reward = torch.empty_like(asked, dtype=torch.float64)
    features = []
    for s in range(game.num_sg):
        here = None
        for index, one in enumerate(ahead):
            rows = (asked[:, s] == index).nonzero().squeeze(-1)
            reward[rows, s], found = one.expected(game, s, rows, actions[index][rows, :, s])
            here = found.new_empty(len(asked), *found.shape[1:]) if here is None else here
            here[rows] = found
        assert here is not None
        features.append(here.transpose(1, 2).flatten(1))
    return reward, torch.stack(features)
