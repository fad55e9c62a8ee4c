r"""The paper's schedules and bounds, one function for each numbered statement.

Statements that differ only in their constants stay apart (`docs/differences-from-the-paper.md`, row 14): a function is
named after the statement it implements and merges nothing.
"""

import math

from altmarl_torch.game import Game

__all__ = ["eta_algorithm_3", "sweeps_algorithm_3"]


def sweeps_algorithm_3(game: Game, k: int) -> int:
    """T of Algorithm 3, rounded up, at least 1: 2/(1-gamma) log( r~ sqrt(k) / (1-gamma) ) Bellman updates."""
    if game.r_tilde == 0.0:
        return 1
    horizon = 1.0 / (1.0 - game.gamma)
    return max(1, math.ceil(2.0 * horizon * math.log(game.r_tilde * math.sqrt(k) * horizon)))


def eta_algorithm_3(game: Game, k: int) -> float:
    """UPDATE's tolerance in Algorithm 3, in units of value; `ALTERNATING-MARL` accepts gains of more than 2 eta.

    eta = 2 r~/(1-gamma)^2 ( sqrt( ln(2 |S_l| |A_g| sqrt(k)) / (2k) ) + 5/sqrt(k) ).

    It is vacuous, 2 eta >= V_max, for every k <= 704 at any gamma: the warehouse at k = 50 has 11,012.
    """
    spread = math.sqrt(math.log(2 * game.num_sl * game.num_ag * math.sqrt(k)) / (2 * k))
    return 2 * game.r_tilde / (1 - game.gamma) ** 2 * (spread + 5 / math.sqrt(k))
