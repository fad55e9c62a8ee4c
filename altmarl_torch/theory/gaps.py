r"""How far from a best response: the gaps that the paper promises, and the eta that UPDATE takes from them.

All of them say that the policy learned for k of n agents loses little in the game of n agents,

    V^pi*(s) - V^pi_k(s)  <=  2 r~/(1-gamma)^2 ( spread(k) + 1/sqrt(k) )  +  2 noise/(1-gamma),

where noise is epsilon_{k,m}, the Bellman noise of the sampled operator (`noise`; 0 for the
exact one), and differ in the spread, the price of seeing a sample. With c = 2 |S_l| |A_g| and u = (n-k+1)/(n k):

    B.16, B.37       sqrt( u/2 ln(c sqrt k) )         delta_1 = 1/(sqrt(k) |A_g|) in Theorem B.30
    B.33, D.17       sqrt(u/2) ln(c sqrt k)           the logarithm outside the root, from the same proof
    4.2              sqrt( ln(c k) / (2k) )           delta_1 = 1/(k |A_g|), without n, and 1/k for 1/sqrt(k)
    4.8, Alg. 3      sqrt( ln(c sqrt k) / (2k) )      B.16 without n, and 5/sqrt(k) for the noise and epsilon_l
    E.2, E.7         another constant                 off-policy learning

None are merged (`docs/differences-from-the-paper.md`, row 14).

**Vacuous.**  No gap exceeds V_max = r~/(1-gamma). A gap of V_max or more, or an eta with 2 eta >= V_max, says nothing.
Algorithm 3's says something only once spread + 5/sqrt(k) < (1-gamma)/4: with two local states and two global actions,
or more, for no k <= 704, at any gamma (with |S_l| = |A_g| = 1, for none to 655).
"""

import math

from altmarl_torch.games.game import Game
from altmarl_torch.theory.arguments import as_count, as_noise, as_probability, horizon, unsampled, warn_of_signs

__all__ = [
    "eta_algorithm_3",
    "eta_theorem_4_8",
    "eta_theorem_d17",
    "gap_corollary_b33",
    "gap_corollary_b37",
    "gap_corollary_e7",
    "gap_theorem_4_2",
    "gap_theorem_4_4",
    "gap_theorem_b16",
    "gap_theorem_b30",
    "gap_theorem_e2",
]


def eta_algorithm_3(game: Game, k: int) -> float:
    """UPDATE's tolerance in Algorithm 3, in units of value; `ALTERNATING-MARL` accepts gains of more than 2 eta.

    eta = 2 r~/(1-gamma)^2 ( sqrt( ln(2 |S_l| |A_g| sqrt(k)) / (2k) ) + 5/sqrt(k) ).

    It is vacuous, 2 eta >= V_max, for every k <= 704 at any gamma, wherever |S_l| |A_g| >= 4 (for every k <= 655 where
    it is 1): the warehouse at k = 50 has 11,012. Theorem D.17 has another eta for the same algorithm, with n, and the
    logarithm outside the root.
    """
    k = as_count("k", k)
    return _outer(game) * (math.sqrt(_log(game, math.sqrt(k)) / (2 * k)) + 5 / math.sqrt(k))


def eta_theorem_4_8(game: Game, k: int) -> float:
    """eta of Theorem 4.8: 2 r~/(1-gamma)^2 ( sqrt( ln(2 |S_l| |A_g| sqrt(k)) / (2k) ) + 5/sqrt(k) ).

    The same formula as in Algorithm 3. Its 5/sqrt(k) stands for three terms of Theorem D.17: 1/sqrt(k) of the gap, the
    noise and the local agents' error. It covers them where r~ >= (1-gamma)/2 + (1-gamma)^2/8.
    """
    k = as_count("k", k)
    warn_of_signs(game, "Theorem 4.8")
    return _outer(game) * (math.sqrt(_log(game, math.sqrt(k)) / (2 * k)) + 5 / math.sqrt(k))


def eta_theorem_d17(game: Game, k: int) -> float:
    """eta of Theorem D.17: the gap of Corollary B.33, 4/(sqrt(k) (1-gamma)) for the noise, 1/sqrt(k) for epsilon_l.

    eta = 2 r~/(1-gamma)^2 ( sqrt( (n-k+1)/(2nk) ) ln(2 |S_l| |A_g| sqrt(k)) + 1/sqrt(k) ) + 4/(sqrt(k) (1-gamma))
          + 1/sqrt(k).

    As printed, with the logarithm outside the root; Theorem 4.8 has it inside, and no n. The last term is a sum where
    the definition, eta = max{epsilon_g, epsilon_l}, has a maximum.
    """
    warn_of_signs(game, "Theorem D.17")
    root = math.sqrt(game.check_k(k))
    spread = math.sqrt(unsampled(game, k) / 2) * _log(game, root)
    return _outer(game) * (spread + 1 / root) + 4 * horizon(game) / root + 1 / root


def gap_theorem_4_2(game: Game, k: int, *, bellman_noise: float = 0.0) -> float:
    """2 noise/(1-gamma) + 2 r~/(k (1-gamma)^2) + 2 r~/(1-gamma)^2 sqrt( ln(2 k |S_l| |A_g|) / (2k) ).

    Theorem B.16, which is meant to prove it, has sqrt(k) for k in the logarithm, 1/sqrt(k) for 1/k, and n.
    """
    noise = as_noise("bellman_noise", bellman_noise)
    k = as_count("k", k)
    warn_of_signs(game, "Theorem 4.2")
    return _outer(game) * (1 / k + math.sqrt(_log(game, k) / (2 * k))) + 2 * noise * horizon(game)


def gap_theorem_4_4(game: Game, k: int) -> float:
    """An order, without constant: r~ / (sqrt(k) (1-gamma)^2) sqrt( ln(2 |S_l| |A_g| sqrt k) ) + 2/sqrt(k).

    The noise 2/sqrt(k) enters without the 1/(1-gamma) that Corollary B.37 gives it.
    """
    root = math.sqrt(as_count("k", k))
    return _outer(game) / 2 / root * math.sqrt(_log(game, root)) + 2 / root


def gap_theorem_b16(game: Game, k: int, *, bellman_noise: float = 0.0) -> float:
    """2 r~/(1-gamma)^2 ( sqrt( (n-k+1)/(2nk) ln(2 |S_l| |A_g| sqrt k) ) + 1/sqrt(k) ) + 2 noise/(1-gamma).

    Theorem 4.2 and Corollary B.33 state it with other constants.
    """
    noise = as_noise("bellman_noise", bellman_noise)
    warn_of_signs(game, "Theorem B.16")
    return _gap_b16(game, k) + 2 * noise * horizon(game)


def gap_theorem_b30(game: Game, k: int, *, delta: float, bellman_noise: float = 0.0) -> float:
    """2 |r_l|/(1-gamma)^2 sqrt( (n-k+1)/(2nk) ln(2 |S_l|/delta) ) + 2 r~/(1-gamma)^2 |A_g| delta + 2 noise/(1-gamma).

    The parent of Theorems 4.2 and B.16, and the one that tells |r_l| from r~. The proof of Corollary B.33 quotes it as
    "Theorem 4.4" and with |r_l| in both terms.
    """
    noise = as_noise("bellman_noise", bellman_noise)
    warn_of_signs(game, "Theorem B.30")
    delta = as_probability("delta", delta)
    spread = math.sqrt(unsampled(game, k) / 2 * math.log(2 * game.num_sl / delta))
    return 2 * horizon(game) * (horizon(game) * (game.r_l_max * spread + game.r_tilde * game.num_ag * delta) + noise)


def gap_corollary_b33(game: Game, k: int, *, bellman_noise: float = 0.0) -> float:
    """2 r~/(1-gamma)^2 ( sqrt( (n-k+1)/(2nk) ) ln(2 |S_l| |A_g| sqrt k) + 1/sqrt(k) ) + 2 noise/(1-gamma).

    As printed, with the logarithm outside the root. Its own proof has it inside, as Theorem B.16 does; where the
    logarithm exceeds 1, this is the weaker bound.
    """
    noise = as_noise("bellman_noise", bellman_noise)
    warn_of_signs(game, "Corollary B.33")
    root = math.sqrt(game.check_k(k))
    spread = math.sqrt(unsampled(game, k) / 2) * _log(game, root)
    return _outer(game) * (spread + 1 / root) + 2 * noise * horizon(game)


def gap_corollary_b37(game: Game, k: int) -> float:
    """The gap of Theorem B.16 at a noise of 2/sqrt(k): ... + 4/(sqrt(k) (1-gamma)), with enough draws.

    Enough are `draws_corollary_b37`. Said to follow from Corollary B.33, but with the
    logarithm inside the root. Holds with probability at least 1 - 1/(100 e^k).
    """
    warn_of_signs(game, "Corollary B.37")
    return _gap_b16(game, k) + 4 * horizon(game) / math.sqrt(k)


def gap_theorem_e2(game: Game, k: int) -> float:
    """Off-policy, counts: r~/(1-gamma)^2 sqrt( (n-k+1)/(2nk) ln X ) + 1/(10 sqrt k), in expectation.

    X = 40 r~ |S_g| |S_l| |A_g| k^(|S_l|+1/2) / (1-gamma)^2; ln X is taken as 0 where X < 1. A reward inside a logarithm
    makes the bound depend on the unit of the rewards.
    """
    k = game.check_k(k)
    return _off_policy(game, k, math.log(game.num_sl) + (game.num_sl + 0.5) * math.log(k))


def gap_corollary_e7(game: Game, k: int) -> float:
    """Off-policy, tuples: r~/(1-gamma)^2 sqrt( (n-k+1)/(2nk) ln X ) + 1/(10 sqrt k), in expectation.

    X = 40 r~ |S_g| |S_l|^k |A_g| / (1-gamma)^2; ln X is taken as 0 where X < 1. As printed; but ln X grows like
    k ln |S_l|, so that the bound tends to r~/(1-gamma)^2 sqrt( ln|S_l| / 2 ) for k much below n, not to 0 like the
    O~(1/sqrt k) that the statement claims. Vacuous at every such k if sqrt( ln|S_l| / 2 ) >= 1-gamma.
    """
    k = game.check_k(k)
    return _off_policy(game, k, k * math.log(game.num_sl))


def _outer(game: Game) -> float:
    """2 r~/(1-gamma)^2."""
    return 2 * game.r_tilde * horizon(game) ** 2


def _log(game: Game, factor: float) -> float:
    """ln(2 |S_l| |A_g| factor)."""
    return math.log(2 * game.num_sl * game.num_ag * factor)


def _gap_b16(game: Game, k: int) -> float:
    """The part of Theorem B.16 that is not noise."""
    root = math.sqrt(game.check_k(k))
    return _outer(game) * (math.sqrt(unsampled(game, k) / 2 * _log(game, root)) + 1 / root)


def _off_policy(game: Game, k: int, log_states: float) -> float:
    """Equations 47 and 51, which differ in the logarithm of the number of local parts of a state."""
    if game.r_tilde == 0:
        return 1 / (10 * math.sqrt(k))
    log = math.log(40 * game.num_sg * game.num_ag * game.r_tilde * horizon(game) ** 2) + log_states
    spread = math.sqrt(unsampled(game, k) / 2 * max(0.0, log))
    return _outer(game) / 2 * spread + 1 / (10 * math.sqrt(k))
