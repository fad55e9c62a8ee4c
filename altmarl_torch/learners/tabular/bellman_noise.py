r"""The Bellman noise epsilon_{k,m} (Definition 4.1), measured.

The paper replaces the expectation in T-hat_k (Definition B.2) by the mean of m draws, T-hat_{k,m} (Definition B.3).
Both are gamma-contractions in the supremum norm, with fixed points Q* and Q*_m, and what sampling does to Q is

    epsilon_{k,m} = max over (s_g, h, a_g) of | Q*_m(s_g, h, a_g) - Q*(s_g, h, a_g) |.

Lemmas 4.3 and B.35 bound it with high probability over the draws (`theory`); here it is measured. The draws are frozen
within one Q*_m, so epsilon is a random number, and each independent set of draws gives one value of it.

Since Q* = T-hat_k Q*, and T-hat_{k,m} Q* misses it by a mean of m centred terms, epsilon <= |T-hat_{k,m} Q* - Q*| /
(1 - gamma) falls like 1/sqrt(m). It is zero where the next state is certain: deterministic laws leave nothing to draw.

Both fixed points are found on counts (the paper's mean-field parameterization) with MacQueen's error bounds, which add
up to a bound on the error of the measurement itself.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.operators.joint_value import span_tolerance
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.threads import one_thread

__all__ = ["BellmanNoise", "bellman_noise"]

RELATIVE_TOLERANCE = 1e-9
"""Error of either fixed point, relative to the span of values: far below any noise worth measuring."""


@dataclass(frozen=True)
class BellmanNoise:
    """Measured epsilon_{k,m}, in units of value."""

    samples: tuple[float, ...]  # one for each independent set of draws
    mean: float  # their mean
    max: float  # the largest
    error: float  # bound on the numerical error of every one of them
    k: int
    m: int


@one_thread()
def bellman_noise(game: Game, pi_l: Tensor, k: int, m: int, *, seed: int = 0, draws: int = 1) -> BellmanNoise:
    """Measure the distance between the fixed points of T-hat_{k,m} and T-hat_k under `pi_l [sl, sg, al]`.

    Args:
        game: the game.
        pi_l: the frozen local policy.
        k: how many agents the surrogate has, in 1..n.
        m: draws of the sampled operator, at least 1.
        seed: of all draws.
        draws: how many independent sets of draws.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: pi_l is no local policy of the game.
        SizeError: the simplex of k agents is too large to list.
        KernelError: the k agents have no exact kernel to compare with.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> few, many = (am.bellman_noise(game, am.policies.uniform_local(game), k=3, m=m).mean for m in (10, 1_000))
        >>> many < few
        True
    """
    check_game(game, "the lemma on Bellman noise")
    k, m = game.check_k(k), as_integer("m", m, 1, 10**6, ArgumentError)
    draws = as_integer("draws", draws, 1, 10**6, ArgumentError)
    generator = torch.Generator(game.device).manual_seed(as_integer("seed", seed, 0, 2**63 - 1, ArgumentError))
    surrogate = exact_surrogate(game, pi_l, PairPlan(CountSimplex(k, game.num_sl, game.device)))
    tolerance = span_tolerance(game, RELATIVE_TOLERANCE)
    exact = g_learn(surrogate, tolerance=tolerance, parameterization="counts")
    samples, errors = [], []
    for _ in range(draws):
        found = g_learn(
            surrogate, m=m, generator=generator, tolerance=tolerance, parameterization="counts", start=exact.values
        )
        samples.append(float((found.Q - exact.Q).abs().max()))
        errors.append(found.error + exact.error)
    return BellmanNoise(tuple(samples), sum(samples) / draws, max(samples), max(errors), k, m)
