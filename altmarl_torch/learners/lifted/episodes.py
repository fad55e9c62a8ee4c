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
on. All pairs are played with the same random numbers, so that differences are paired.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.learners.lifted.fitting import LiftedFit
from altmarl_torch.learners.lifted.policies import LiftedPolicy, by_state
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.policies.tabular import one_hot
from altmarl_torch.support.sampling import split, split_shares

__all__ = ["Played", "Rule", "play", "visit"]

Rule = Callable[[Tensor, Tensor], Tensor]
"""pi_g: s_g `[b]` and counts `[b, sl]` to laws `[b, ag]`, float64."""

EPISODES, VISITING, LONGEST = 256, 128, 300
"""Episodes that judge a pair, and that show where it goes; their steps at most."""

HORIZONS = 2
"""Length of an episode in units of 1/(1-gamma): beyond it lies e^-2 of the occupancy."""


@dataclass(frozen=True, eq=False)
class Played:
    """What episodes say of a pair and of a fit to its values."""

    starts: tuple[Tensor, Tensor]  # s_g [E] and counts [E, sl] in which the episodes begin
    corrections: Tensor  # [E] discounted sum of residuals
    residual: float  # root mean square of e over the occupancy
    moments: Tensor  # [sg, sg', N_J] see the module
    drift: float  # what the tail would change by if it were estimated by the quarter before


class _Walk:
    """Episodes of the k-agent game, step by step."""

    def __init__(self, surrogate: LiftedSurrogate, seed: int, starts: int, repeats: int = 1) -> None:
        device = surrogate.game.device
        seeds = np.random.SeedSequence(seed).generate_state(4).tolist()
        begin, *self._streams = (torch.Generator(device).manual_seed(number) for number in seeds)
        self.surrogate, game = surrogate, surrogate.game
        self._shares = split_shares(rearrange(surrogate.P_l_pi, "l g L -> g l L")).contiguous()
        self._moves = rearrange(surrogate.P_l_pi, "l g L -> g l L").contiguous()
        self._sums = cumulative(game.P_g)
        s_g, mu = game.initial.sample_sg(starts, begin), game.initial.sample_mu(starts, begin)
        self.s_g, self.counts = s_g.repeat_interleave(repeats), mu.repeat_interleave(repeats, 0)
        if not math.isinf(surrogate.k):
            everyone = torch.full((starts, 1), float(surrogate.k), dtype=torch.float64, device=device)
            self.counts = split(everyone, split_shares(mu).unsqueeze(1), begin).repeat_interleave(repeats, 0)
        self.steps = min(LONGEST, max(1, round(HORIZONS / (1 - game.gamma))))

    def step(self, law: Tensor) -> None:
        """Draw the actions from `law [E, ag]`, and move."""
        acts, moves, global_moves = self._streams
        a_g = draw(cumulative(law), acts)
        self.counts = self._moved(moves)  # under the current s_g (Eq. 3)
        self.s_g = draw(self._sums[self.s_g, a_g], global_moves)

    def _moved(self, generator: torch.Generator) -> Tensor:
        k, prior = self.surrogate.k, self.surrogate.prior
        if math.isinf(k):
            return einsum(self.counts, self._moves[self.s_g], "b l, b l L -> b L")
        counts = self.counts if prior is None else prior.resample(self.s_g, self.counts, int(k), generator)
        return split(counts, self._shares[self.s_g], generator)


def play(
    surrogate: LiftedSurrogate,
    policy: Rule,
    fit: LiftedFit,
    seed: int,
    *,
    starts: int = EPISODES,
    repeats: int = 1,
    moments: bool = True,
) -> Played:
    """Play the pair of `policy` and the surrogate's pi_l, and hold `fit` against it.

    Args:
        surrogate: the k-agent game under pi_l.
        policy: pi_g.
        fit: of V and Q under this pi_l.
        seed: of the episodes.
        starts: how many starts are drawn.
        repeats: episodes from each.
        moments: whether they are added up; zero otherwise.
    """
    walk, gamma = _Walk(surrogate, seed, starts, repeats), surrogate.game.gamma
    first, means = (walk.s_g, walk.counts), []
    total = torch.zeros(starts * repeats, dtype=torch.float64, device=walk.counts.device)
    found = total.new_zeros(surrogate.game.num_sg, surrogate.game.num_sg, surrogate.basis.size)
    squares, weights = 0.0, 0.0
    tables = torch.cat([fit.coefficients.unsqueeze(1), fit.action_coefficients], 1)
    for t in range(walk.steps):
        order, weight = walk.s_g.argsort(stable=True), gamma**t
        s_g, counts = walk.s_g[order], walk.counts[order]
        features = surrogate.features(counts)
        values, law = by_state(s_g, features, tables), _law(policy, surrogate, s_g, counts, features)
        residual = (law * values[:, 1:]).sum(-1) - values[:, 0]
        total.index_add_(0, order, residual, alpha=weight)
        if moments:
            _add_moments(found, surrogate, s_g, law, features, weight / len(total))
        means.append(residual.mean())
        squares, weights = squares + weight * float(residual.square().mean()), weights + weight
        walk.step(torch.empty_like(law).index_copy_(0, order, law))
    last, before = _last_quarters(torch.stack(means))
    tail = gamma**walk.steps / (1 - gamma)
    return Played(first, total + tail * last, math.sqrt(squares / weights), found, tail * float(last - before))


def visit(surrogate: LiftedSurrogate, policy: Rule, seed: int, number: int) -> Tensor:
    """Counts `[number, sl]` that a pair goes through, drawn by their discounted occupancy."""
    walk, met = _Walk(surrogate, seed, VISITING), []
    for _ in range(walk.steps):
        met.append(walk.counts)
        walk.step(policy(walk.s_g, walk.counts))
    generator = torch.Generator(walk.counts.device).manual_seed(seed)
    weights = surrogate.game.gamma ** torch.arange(walk.steps, dtype=torch.float64, device=walk.counts.device)
    age = torch.multinomial(weights, number, replacement=True, generator=generator)
    episode = torch.randint(VISITING, (number,), generator=generator, device=age.device)
    return torch.stack(met)[age, episode]


def _law(policy: Rule, surrogate: LiftedSurrogate, s_g: Tensor, counts: Tensor, features: Tensor) -> Tensor:
    """pi_g at states `[b]` and counts `[b, sl]`; a lifted policy of the same degree reads the features at hand."""
    if not isinstance(policy, LiftedPolicy) or (policy.degree, policy.k) != (surrogate.basis.degree, surrogate.k):
        return policy(s_g, counts)
    return one_hot(policy.greedy(policy.values(s_g, features)), policy.sizes[1])


def _add_moments(
    moments: Tensor, surrogate: LiftedSurrogate, s_g: Tensor, law: Tensor, features: Tensor, weight: float
) -> None:
    """Add one step's part to the moments, in place; rows come in the order of s_g."""
    sizes = torch.bincount(s_g, minlength=len(moments)).tolist()
    for sg, (own, part) in enumerate(zip(torch.split(law, sizes), torch.split(features, sizes), strict=True)):
        moments[sg].addmm_((own @ surrogate.game.P_g[sg]).T, part, alpha=weight)


def _last_quarters(means: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the last quarter of the steps, and of the quarter before."""
    quarter = max(1, len(means) // 4)
    return means[-quarter:].mean(), means[-2 * quarter :][:quarter].mean()
