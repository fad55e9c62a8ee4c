r"""What sampling costs: Lipschitz constants, the deviation of a sample from its population, and the Bellman noise.

**Two samplings.**  The global agent sees k of n agents; G-LEARN draws m next states for each Bellman update.

Of k among n. Theorem B.18 says that Q_k changes by at most L TV(F, F') when the histogram it reads changes from F to
F', with L = 2 |r_l| sum_{t<T} gamma^t (true for one k; printed, and false, for two different ones), and Theorem B.26
that no frequency in the sample deviates by eps or more from that in the population, but for a chance of

    2 |S_l| exp( -2 k n eps^2 / (n-k+1) ).

Together they are Theorem B.27. Its proof equates TV <= eps with a largest deviation below 2 eps; but TV is never
smaller than the largest deviation, and up to |S_l|/2 times larger: the constant 8 of the statement is not proved. With
two states and non-negative rewards, where half of L is enough, it is true all the same.

Of m draws. By Hoeffding's inequality for variables in [-b, b] and a union bound over the N entries of Q, the two fixed
points differ, but for a chance of rho, by at most

    epsilon_{k,m}  <=  gamma b/(1-gamma) sqrt( 2 ln(2N/rho) / m ),        b = max |Q_k*|.

Lemma B.35 takes b = |r_l|/(1-gamma), "by Lemma B.4"; but Lemma B.4 has r~ = |r_g| + |r_l| in place of |r_l|. A game
with r_l = 0 has noise, and the printed bound 0. `noise_lemma_b35` is as printed,
`noise_lemma_b35_corrected` has r~; the tests show a game that violates the first.
"""

import math
from typing import NamedTuple

from altmarl_torch.games.game import Game
from altmarl_torch.theory.arguments import (
    as_count,
    as_positive,
    as_probability,
    horizon,
    scaled,
    unsampled,
    warn_of_signs,
)
from altmarl_torch.theory.sizes import q_entries_counts, q_entries_lemma_b36, q_entries_tuples

__all__ = [
    "ByForm",
    "approximation_theorem_b27",
    "confidence_theorem_b26",
    "deviation_theorem_b26",
    "draws_corollary_b37",
    "draws_lemma_4_3",
    "draws_lemma_b36",
    "error_corollary_b11",
    "lipschitz_proposition_e3",
    "lipschitz_theorem_b18",
    "noise_lemma_b35",
    "noise_lemma_b35_corrected",
    "value_bound_lemma_b4",
]


class ByForm(NamedTuple):
    """A number for each parameterization of Q."""

    tuples: float  # "standard": Q over k-tuples of local states
    counts: float  # "mean-field": Q over counts


def value_bound_lemma_b4(game: Game) -> float:
    """r~/(1-gamma), which no iterate of T-hat_k from zero exceeds (Lemma B.4); the game's v_max."""
    warn_of_signs(game, "Lemma B.4")
    return game.v_max


def error_corollary_b11(game: Game, *, sweeps: int) -> float:
    """gamma^T r~/(1-gamma), the distance from the fixed point after T sweeps from zero (Corollary B.11, Eq. 18, 19)."""
    return float(game.gamma ** as_count("sweeps", sweeps)) * game.v_max


def lipschitz_theorem_b18(game: Game, *, sweeps: int | None = None) -> float:
    """(sum_{t<T} 2 gamma^t) |r_l|, Lipschitz constant of Q_k^T in the total variation of the histogram (Theorem B.18).

    Args:
        game: the game.
        sweeps: T; None for the fixed point, 2 |r_l|/(1-gamma).

    Proposition E.3 quotes it without the factor 2.
    """
    rest = 0.0 if sweeps is None else game.gamma ** as_count("sweeps", sweeps)
    return 2 * game.r_l_max * (1 - rest) * horizon(game)


def lipschitz_proposition_e3(game: Game) -> float:
    """|r_l|/(1-gamma), the constant that Proposition E.3 attributes to Theorem B.18, without its factor 2.

    For rewards of both signs it is wrong: r_l = +-1 on two states, k = 1 and gamma = 0 change Q by 2 at TV 1.
    """
    warn_of_signs(game, "Proposition E.3")
    return game.r_l_max * horizon(game)


def confidence_theorem_b26(game: Game, k: int, *, epsilon: float) -> float:
    """1 - 2 |S_l| exp( -2 k n eps^2 / (n-k+1) ), a lower bound on the chance that no frequency is off by epsilon.

    Of k agents drawn from n without replacement (Theorem B.26). As printed: negative where it says nothing.
    """
    exponent = 2 * as_positive("epsilon", epsilon) ** 2 / unsampled(game, k)
    return 1 - 2 * game.num_sl * math.exp(-exponent)


def deviation_theorem_b26(game: Game, k: int, *, delta: float) -> float:
    """sqrt( (n-k+1)/(2nk) ln(2 |S_l|/delta) ): the epsilon at which Theorem B.26 has confidence 1 - delta."""
    return math.sqrt(unsampled(game, k) / 2 * math.log(2 * game.num_sl / as_probability("delta", delta)))


def approximation_theorem_b27(game: Game, k: int, *, delta: float) -> float:
    """2 |r_l|/(1-gamma) sqrt( (n-k+1)/(8nk) ln(2 |S_l|/delta) ), a bound on |Q_k - Q_n| with confidence 1 - delta.

    As printed: half of what Theorems B.18 and B.26 give where TV is the largest deviation (|S_l| = 2), and less than
    that where |S_l| > 2; the page above says why.
    """
    return lipschitz_theorem_b18(game) * deviation_theorem_b26(game, k, delta=delta) / 2


def noise_lemma_b35(game: Game, k: int, *, m: int, rho: float) -> ByForm:
    """gamma |r_l|/(1-gamma)^2 sqrt( 2 ln(2N/rho) / m ), with N = |S_g| |A_g| |S_l|^k, or M = N |S_l| over counts.

    As printed, and not true: it needs r~ for |r_l|. M is printed as |S_g| |A_g| |S_l|^k |S_l|; Lemma B.36 uses
    |S_g| |A_g| |S_l| k^|S_l| for it.
    """
    tuples = q_entries_tuples(game, k)
    return ByForm(*(_noise(game, game.r_l_max, size, m, rho) for size in (tuples, tuples * game.num_sl)))


def noise_lemma_b35_corrected(game: Game, k: int, *, m: int, rho: float) -> ByForm:
    """gamma r~/(1-gamma)^2 sqrt( 2 ln(2N/rho) / m ): Lemma B.35 with Lemma B.4's r~, and the true N over counts."""
    sizes = q_entries_tuples(game, k), q_entries_counts(game, k)
    return ByForm(*(_noise(game, game.r_tilde, size, m, rho) for size in sizes))


def draws_lemma_4_3(game: Game, k: int) -> ByForm:
    """An order: m_2 = r~ k^2 gamma^2/(1-gamma)^4 over tuples, m_1 = k^2 gamma^2 r~^2 |S_l|/(1-gamma)^4 over counts.

    As printed: r~ is squared in one and not in the other, and a reward that is measured in other units changes their
    ratio. Lemma B.36 has |r_l|^2 in both, and the logarithms, which grow with k.
    """
    shared = as_count("k", k) ** 2 * game.gamma**2 * horizon(game) ** 4 * game.r_tilde
    return ByForm(scaled(shared, 1), scaled(shared * game.r_tilde * game.num_sl, 1))


def draws_lemma_b36(game: Game, k: int) -> ByForm:
    """m = 2 k^2 gamma^2 |r_l|^2/(1-gamma)^4 ln(200 e^k B): m_2 over tuples, m_1 over counts (Eq. 31), rounded up.

    B = |S_g| |A_g| |S_l|^k over tuples and |S_g| |A_g| |S_l| k^|S_l| over counts; for a noise of at most 2/sqrt(k) with
    probability at least 1 - 1/(100 e^k). Corollary B.37 exchanges the two. Lemma B.35 asks for a factor k, not k^2.
    """
    return ByForm(*(_draws(game, k, size) for size in (q_entries_tuples(game, k), q_entries_lemma_b36(game, k))))


def draws_corollary_b37(game: Game, k: int) -> ByForm:
    """m of Corollary B.37: those of Lemma B.36 with the two parameterizations exchanged, as printed."""
    return ByForm(*(_draws(game, k, size) for size in (q_entries_lemma_b36(game, k), q_entries_tuples(game, k))))


def _noise(game: Game, reward: float, size: int, m: int, rho: float) -> float:
    """gamma reward/(1-gamma)^2 sqrt( 2 ln(2 size/rho) / m )."""
    log = math.log(2 * size) - math.log(as_probability("rho", rho))
    return game.gamma * reward * horizon(game) ** 2 * math.sqrt(2 * log / as_count("m", m))


def _draws(game: Game, k: int, size: int) -> int:
    """2 k^2 gamma^2 |r_l|^2/(1-gamma)^4 ln(200 e^k size), at least 1."""
    root = game.gamma * game.r_l_max * horizon(game) ** 2
    scale = 2 * root * root
    return max(1, scaled(scale * (k + math.log(200 * size)), k**2))
