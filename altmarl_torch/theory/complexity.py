r"""How many samples: the paper's sample complexities and running times.

Most are **orders**, O~(...): what is inside is returned, with every constant and every hidden logarithm taken as 1.
They say how the cost grows, not what it is, and no two can be compared. Lemma B.36 alone has constants.

    G-LEARN            4.4 (order), B.36, E.5 (off-policy, order)
    L-LEARN            4.6, C.4 (orders), from UCFH's C.3 (order) on the chains of Algorithms 8 and 9
    ALTERNATING-MARL   4.8, D.17 (orders): N_steps (samples of G-LEARN + samples of L-LEARN)

"In tuples" and "in counts" are the paper's standard and mean-field parameterizations; where a statement takes the
smaller of the two, so does the function. Numbers are integers, rounded up, of any number of digits.

**What is lost on the way.**  C.4 prints k^5/(1-gamma)^3 for Algorithm 8's chain; its proof gives k^3/(1-gamma)^2 (a
chain of k |S_g|^2 |S_l|^k states, and a horizon of k/(1-gamma) squared): the exponents are the running time's. C.3
lacks the factor C, the largest number of successors, of Dann and Brunskill's Theorem 1. 4.8 prints |A_l|^(2k) where
D.17 prints |A_l|^2, which Remark 4.9 presupposes. Both have r~ in one branch and r~^2 in the other.
"""

import math
from typing import NamedTuple

from altmarl_torch.games.game import Game
from altmarl_torch.theory.arguments import (
    as_count,
    as_positive,
    as_probability,
    as_size,
    effective_log,
    horizon,
    power,
    scaled,
    unsampled,
)
from altmarl_torch.theory.noise import ByForm, draws_lemma_b36
from altmarl_torch.theory.schedules import sweeps_algorithm_3

__all__ = [
    "LemmaB36",
    "TheoremC3",
    "approximation_corollary_e6",
    "error_theorem_e4",
    "lemma_b36",
    "runtime_theorem_c4",
    "samples_corollary_e5",
    "samples_lemma_b36",
    "samples_theorem_4_4",
    "samples_theorem_4_6",
    "samples_theorem_4_8",
    "samples_theorem_c4",
    "samples_theorem_d17",
    "theorem_c3",
]


class LemmaB36(NamedTuple):
    """What Lemma B.36 says, whole: after `sweeps` updates with `draws`, the noise is at most `noise`."""

    sweeps: int  # T, Bellman updates
    draws: ByForm  # m_2 over tuples, m_1 over counts
    samples: int  # the printed sample complexity
    noise: float  # 2/sqrt(k)
    failure: float  # 1/(100 e^k), the chance of a larger noise


class TheoremC3(NamedTuple):
    """The orders of Theorem C.3, for UCFH on an episodic MDP."""

    episodes: int  # H^2 |S x A| / eps^2 log(1/delta)
    sampling: int  # H^3 |S| |A| / eps^2 log(1/delta), running time of the episodes
    updates: int  # H |S|^2 |A|^2 log(1/eps), running time of the plans


def lemma_b36(game: Game, k: int) -> LemmaB36:
    """All of Lemma B.36: T, the draws m_1 and m_2 of its proof, the sample complexity, the noise and its chance."""
    failure = math.exp(-as_count("k", k)) / 100
    return LemmaB36(
        sweeps_algorithm_3(game, k), draws_lemma_b36(game, k), samples_lemma_b36(game, k), 2 / math.sqrt(k), failure
    )


def samples_lemma_b36(game: Game, k: int) -> int:
    """2 k^3 gamma^2 |r_l|^2 |S_g| |A_g|/(1-gamma)^5 log(r~ sqrt(k)/(1-gamma)) ln(200 k e |S_g| |A_g| |S_l|) min{...}.

    With min{ |S_l|^2 k^|S_l|, k |S_l|^k }: not an order, it has constants. As printed; T m times the size of the table,
    which it is said to equal, has a 4 for the 2, k^2 for k^3, and ln(200 e^k B) for the last logarithm.
    """
    table = min(game.num_sl**2 * as_count("k", k) ** game.num_sl, k * power(game.num_sl, k))
    log = effective_log(game, k) * math.log(200 * k * math.e * game.num_sg * game.num_ag * game.num_sl)
    factor = 2 * game.gamma**2 * _square(game.r_l_max) * horizon(game) ** 5 * log
    return scaled(factor, k**3 * game.num_sg * game.num_ag * table)


def samples_theorem_4_4(game: Game, k: int) -> ByForm:
    """Orders: k^4 gamma^2 r~^2 |S_g| |S_l|^k |A_g|/(1-gamma)^5 in tuples.

    In counts, k^(3+|S_l|) gamma^2 |r_l|^2 |S_g| |S_l|^2 |A_g|/(1-gamma)^5: |r_l| where the other has r~, as printed.
    """
    shared = as_count("k", k) ** 3 * game.num_sg * game.num_ag
    factor = game.gamma**2 * horizon(game) ** 5
    tuples = scaled(factor * _square(game.r_tilde), shared * k * power(game.num_sl, k))
    return ByForm(tuples, scaled(factor * _square(game.r_l_max), shared * k**game.num_sl * game.num_sl**2))


def samples_theorem_4_6(game: Game, k: int, *, epsilon: float, delta: float) -> int:
    """An order, the smaller of the two of Theorem C.4, which Theorem 4.6 restates.

    The exponents of its first branch are run together in print (|S_l|^(5 |S_g|^2 k^...)); they are read as C.4's.
    """
    return min(_local_samples(game, k, epsilon, delta))


def samples_theorem_c4(game: Game, k: int, *, epsilon: float, delta: float) -> int:
    """An order: the smaller of a sample complexity in counts (Algorithm 9) and one in tuples (Algorithm 8).

    Counts: |S_l|^5 |S_g|^2 k^(2|S_l|) |A_l| ln(1/delta)/(eps^2 (1-gamma)^2). Tuples: k^5 |S_g|^2 |S_l|^k |A_l|
    ln(1/delta)/(eps^2 (1-gamma)^3).
    """
    return min(_local_samples(game, k, epsilon, delta))


def runtime_theorem_c4(game: Game, k: int, *, epsilon: float, delta: float) -> ByForm:
    """Orders, k^5 |S_g|^4 |S_l|^(2k) |A_l|^2/(eps^2 (1-gamma)^3) log(1/delta) log(1/eps) in tuples.

    In counts, |S_l|^9 |S_g|^4 k^(4|S_l|) for k^5 |S_g|^4 |S_l|^(2k). Zero for epsilon >= 1.
    """
    factor = _log_confidence(delta) * max(0.0, -math.log(as_positive("epsilon", epsilon)))
    factor *= horizon(game) ** 3 / epsilon**2
    shared = game.num_sg**4 * game.num_al**2
    tuples = scaled(factor, shared * as_count("k", k) ** 5 * power(game.num_sl, 2 * k))
    return ByForm(tuples, scaled(factor, shared * game.num_sl**9 * k ** (4 * game.num_sl)))


def theorem_c3(num_states: int, num_actions: int, steps: int, *, epsilon: float, delta: float) -> TheoremC3:
    """The orders of Theorem C.3 for an episodic MDP with `num_states`, `num_actions` and episodes of `steps`.

    Dann and Brunskill's theorem, without its factor C, the largest number of successors of a state and action, and for
    rewards in [0, 1].
    """
    pairs = as_size("num_states", num_states) * as_size("num_actions", num_actions)
    factor = _log_confidence(delta) / as_positive("epsilon", epsilon) ** 2
    episodes, sampling = (scaled(factor, as_count("steps", steps) ** power * pairs) for power in (2, 3))
    return TheoremC3(episodes, sampling, scaled(max(0.0, -math.log(epsilon)), steps * pairs**2))


def samples_theorem_4_8(game: Game, k: int, *, delta: float) -> int:
    """An order: min{ counts, tuples } log(1/delta)/(1-gamma)^5, as printed.

    Counts: |S_g|^4 |A_g|^2 |A_l|^2 |S_l|^8 k^(3+3|S_l|) r~. Tuples: |S_g|^4 |S_l|^(2k+1) |A_g|^2 |A_l|^(2k) k^7 r~^2;
    Theorem D.17 has |A_l|^2.
    """
    return _total_samples(game, k, delta, power(game.num_al, 2 * as_count("k", k)))


def samples_theorem_d17(game: Game, k: int, *, delta: float) -> int:
    """An order: min{ counts, tuples } log(1/delta)/(1-gamma)^5, as printed.

    Counts: |S_g|^4 |A_g|^2 |A_l|^2 |S_l|^8 k^(3+3|S_l|) r~. Tuples: |S_g|^4 |S_l|^(2k+1) |A_g|^2 |A_l|^2 k^7 r~^2. The
    last line of the proof has |S_l|^(8 k^3 + 3) in the first.
    """
    return _total_samples(game, k, delta, game.num_al**2)


def samples_corollary_e5(game: Game, k: int) -> int:
    """An order, of off-policy steps: k |S_g| |S_l| |A_g| k^|S_l| log^2(k)/(1-gamma)^5 (Eq. 49); 0 at k = 1.

    For an expected error of at most 1/(100 sqrt k).
    """
    table = game.num_sg * game.num_sl * game.num_ag * as_count("k", k) ** (game.num_sl + 1)
    return scaled(math.log(k) ** 2 * horizon(game) ** 5, table)


def error_theorem_e4(game: Game, k: int, *, alpha: float, steps: int, mixing_steps: int) -> float:
    """E|Q^t - Q*|^2 <= c1 (1 - (1-gamma) alpha/2)^(t - t_a) + c2 log(k |S| |A|)/(1-gamma)^2 alpha t_a (Eq. 48).

    With c1 = 3 (r~/(1-gamma) + 1)^2 and c2 = 912 e (3 r~/(1-gamma) + 1)^2, and |S| |A| = |S_g| |S_l|^k |A_g|. It holds
    for t >= t_a and alpha t_a below a multiple of 1/log(|S| |A|) whose constant the paper does not give: unchecked.

    Args:
        game: the game.
        k: number of agents in the surrogate.
        alpha: the constant step size, in (0, 1).
        steps: t, updates made.
        mixing_steps: t_a, the mixing time of the behaviour policy's chain at accuracy alpha.
    """
    alpha, mixing = as_probability("alpha", alpha), as_count("mixing_steps", mixing_steps)
    decay = (1 - alpha / (2 * horizon(game))) ** max(0, as_count("steps", steps) - mixing)
    log = math.log(as_count("k", k) * game.num_sg * game.num_ag * power(game.num_sl, k))
    noise = 912 * math.e * _square(3 * game.v_max + 1) * log * horizon(game) ** 2 * alpha * mixing
    return 3 * _square(game.v_max + 1) * decay + noise


def approximation_corollary_e6(game: Game, k: int, *, delta: float) -> float:
    """ln(2 |S_l|/delta)/(1-gamma) sqrt( (n-k+1)/(8kn) ) |r_l|, a bound on E[Q_k* - Q_n*] with confidence 1 - delta.

    As printed: the logarithm of Theorem B.27 stands outside the root, and its factor 2 is gone.
    """
    log = math.log(2 * game.num_sl / as_probability("delta", delta))
    return log * horizon(game) * math.sqrt(unsampled(game, k) / 8) * game.r_l_max


def _square(number: float) -> float:
    """number^2; infinite, not an error, where no float holds it."""
    return number * number


def _log_confidence(delta: float) -> float:
    """ln(1/delta)."""
    return -math.log(as_probability("delta", delta))


def _local_samples(game: Game, k: int, epsilon: float, delta: float) -> tuple[int, int]:
    """The two branches of Theorem C.4: tuples, counts."""
    factor = _log_confidence(delta) * (horizon(game) / as_positive("epsilon", epsilon)) ** 2
    shared = game.num_sg**2 * game.num_al
    tuples = scaled(factor * horizon(game), shared * as_count("k", k) ** 5 * power(game.num_sl, k))
    return tuples, scaled(factor, shared * game.num_sl**5 * k ** (2 * game.num_sl))


def _total_samples(game: Game, k: int, delta: float, local_actions: int) -> int:
    """The smaller branch of Theorems 4.8 and D.17, which differ in the power of |A_l| over tuples."""
    factor = _log_confidence(delta) * horizon(game) ** 5
    shared = game.num_sg**4 * game.num_ag**2
    in_counts = game.num_al**2 * game.num_sl**8 * as_count("k", k) ** (3 + 3 * game.num_sl)
    in_tuples = power(game.num_sl, 2 * k + 1) * local_actions * k**7
    r = game.r_tilde
    return min(scaled(factor * r, shared * in_counts), scaled(factor * _square(r), shared * in_tuples))
