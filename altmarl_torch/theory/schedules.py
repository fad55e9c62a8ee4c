"""How often, and how far: the numbers of sweeps, alternations and steps that the paper prescribes.

    T         Bellman updates of G-LEARN               2/(1-gamma) log( r~ sqrt(k) / (1-gamma) )     Algorithm 3
    N_steps   alternations                             three statements, three formulas             4.8, D.16, Table 2
    H         macro steps of L-LEARN's episodes        1/(1-gamma) log( |r| / (epsilon (1-gamma)) ) Lemma C.1
    Xi        draws of a stochastic reward             10 R k^(1/4) sqrt( ln(200 sqrt k) )          Lemma F.4

**Why T and H.**  T-hat_k is a gamma-contraction, so T sweeps from zero leave an error of gamma^T r~/(1-gamma)
(Corollary B.11), and gamma^T <= exp(-(1-gamma) T). A value cut off after H steps loses gamma^H |r|/(1-gamma) at most
(Lemma C.1). Both are the same estimate; T has a factor 2 more than the proof of Lemma B.36 needs.

**Why N_steps.**  The joint value is a potential that lies in [0, r~/(1-gamma)], and an accepted update raises it by eta
or more; hence the first term of Lemma D.16. Its other two terms count policies, 2 |Pi_g| |Pi_l|, but what they
multiply are entries of tables: there are |A_g|^(|S_g| |S_l|^k) deterministic policies pi_g, not |S_g| |S_l|^k |A_g|.

Numbers of steps are rounded up and at least 1 (notes of `docs/differences-from-the-paper.md`, row 12).
"""

import math

from altmarl_torch.games.game import Game
from altmarl_torch.theory.arguments import (
    as_count,
    as_noise,
    as_positive,
    effective_log,
    horizon,
    power,
    scaled,
    warn_of_signs,
)

__all__ = [
    "horizon_algorithm_2",
    "horizon_lemma_c1",
    "micro_horizon_algorithm_8",
    "micro_horizon_algorithm_9",
    "steps_lemma_d16",
    "steps_table_2",
    "steps_theorem_4_8",
    "sweeps_algorithm_3",
    "truncation_lemma_c1",
    "xi_lemma_f4",
]


def sweeps_algorithm_3(game: Game, k: int) -> int:
    """T of Algorithm 3, rounded up, at least 1: 2/(1-gamma) log( r~ sqrt(k) / (1-gamma) ) Bellman updates.

    Theorem 4.2 asks for as many or more; Lemma B.36 for exactly as many, though half of them suffice for its proof.
    """
    return max(1, math.ceil(2 * horizon(game) * effective_log(game, as_count("k", k))))


def steps_theorem_4_8(game: Game, k: int) -> int:
    """N_steps = 2 |S_g|^2 |A_g| |A_l| min{ |S_l|^(2k) k^|S_g|, |S_l|^(k+1) } of Theorem 4.8.

    As printed. Lemma D.16, from which it is taken, derives |S_l|^2 k^|S_l| for the first term in its proof; the one
    printed here is never the smaller of the two, so that it has no effect.
    """
    k = as_count("k", k)
    terms = power(game.num_sl, 2 * k) * k**game.num_sg, power(game.num_sl, k + 1)
    return int(2 * game.num_sg**2 * game.num_ag * game.num_al * min(terms))


def steps_lemma_d16(game: Game, k: int, *, eta: float) -> float:
    """N_steps <= min{ r~/(eta (1-gamma)), 2 |S_g|^2 |S_l|^(2 k^|S_l|) |A_g| |A_l|, |S_g|^2 |S_l|^(k+1) |A_g| |A_l| }.

    As printed. The second exponent is |S_l|^2 k^|S_l| in the proof; the third lacks the factor 2 that the proof and
    Theorem 4.8 give it. With eta of Theorem 4.8 the first term is below 1 wherever that eta is vacuous. Computed by
    logarithms; infinite where the least term itself exceeds every float.
    """
    k = as_count("k", k)
    warn_of_signs(game, "Lemma D.16")
    if game.r_tilde == 0:
        return 0.0
    first = math.log(game.v_max) - math.log(as_positive("eta", eta))
    shared = math.log(game.num_sg**2 * game.num_ag * game.num_al)
    # k^|S_l| is an integer of any size: its product with log 1 = 0 is 0
    exponent = 2 * k**game.num_sl if game.num_sl > 1 else 0
    second = math.log(2) + shared + (math.inf if exponent > 10**300 else exponent * math.log(game.num_sl))
    least = min(first, second, shared + (k + 1) * math.log(game.num_sl))
    return math.exp(least) if least < 709 else math.inf


def steps_table_2() -> int:
    """N_steps = 10, the alternations of the paper's experiments (Table 2); no formula of the paper gives it."""
    return 10


def horizon_lemma_c1(game: Game, *, epsilon: float) -> int:
    """H = 1/(1-gamma) log( |r| / (epsilon (1-gamma)) ) of Lemma C.1, rounded up, at least 1, with |r| = r~.

    Steps 0 .. H (printed), and 0 .. H-1 as well, hold all but epsilon of every discounted sum. Algorithms 8 and 9 scale
    the reward by 1/n; H is computed with the unscaled one, which is the larger.
    """
    scale = game.v_max / as_positive("epsilon", epsilon)
    return max(1, math.ceil(horizon(game) * math.log(scale))) if scale > 0 else 1


def horizon_algorithm_2(game: Game, k: int) -> int:
    """H = 1/(1-gamma) log( |r| sqrt(k) / (1-gamma) ) of Algorithm 2: that of Lemma C.1 at epsilon = 1/sqrt(k)."""
    return max(1, math.ceil(horizon(game) * effective_log(game, as_count("k", k))))


def micro_horizon_algorithm_8(game: Game, k: int) -> int:
    """H k, the micro steps of an episode of Algorithm 8: each of k replicas acts once per macro step."""
    return horizon_algorithm_2(game, k) * k


def micro_horizon_algorithm_9(game: Game, k: int) -> int:
    """H (|S_l| + 1), the micro steps of an episode of Algorithm 9: the tagged agent, then every bin.

    The return line of Algorithm 9 indexes its rewards up to H - 1 instead.
    """
    return horizon_algorithm_2(game, k) * (game.num_sl + 1)


def truncation_lemma_c1(game: Game, *, steps: int) -> float:
    """gamma^steps r~/(1-gamma): what the first `steps` macro steps leave of a discounted sum (proof of Lemma C.1).

    The lemma's sum runs over 0 .. H, that is steps = H + 1.
    """
    warn_of_signs(game, "Lemma C.1")
    return float(game.gamma ** as_count("steps", steps)) * game.v_max


def xi_lemma_f4(game: Game, k: int, *, reward_range: float | None = None) -> int:
    """Xi = 10 R k^(1/4) sqrt( ln(200 sqrt k) ) draws of a stochastic reward (proof of Lemma F.4), at least 1.

    R = sup G + sup L - inf G - inf L is the range of a stage reward over all its laws; by default that of the game's
    laws, or of a table that has none. As printed, which is too few: Equation 57 divides by Xi^2 where Hoeffding's
    inequality divides by Xi, and even with Equation 57 this Xi gives a deviation of 1/sqrt(200 sqrt k) instead of the
    1/sqrt(200 k) that is claimed.
    """
    k = as_count("k", k)
    if reward_range is None:
        reward_range = game.reward_range
    draws = 10 * as_noise("reward_range", reward_range) * math.sqrt(math.sqrt(k) * math.log(200 * math.sqrt(k)))
    return max(1, scaled(draws, 1))
