"""How large: every table and every chain of the paper, as exact integers.

    Q over k-tuples          |S_g| |A_g| |S_l|^k                    Algorithm 1, Lemma B.35
    Q over counts            |S_g| |A_g| C(k+|S_l|-1, |S_l|-1)      what there is
                             |S_g| |A_g| |S_l| k^|S_l|              what the paper counts (Algorithm 1, Lemma B.36)
    chain of Algorithm 8     k |S_g| (|S_g|+1) |S_l|^k              the box that it declares
                             |S_g| |S_l|^k (1 + (k-1) |S_g|)        what can be reached
                             k |S_g|^2 |S_l|^(k+1) |A_l|            its transitions
    chain of Algorithm 9     (|S_l|+1) |S_g| (|S_g|+1) |S_l| (|S_l|+1) C(k+|S_l|-2, |S_l|-1)^2      its box
                             `states_algorithm_9_literal`, `_reduced`           what can be reached, of it and without
                                                                    what is not used again

**Counts.**  There are C(k+|S_l|-1, |S_l|-1) vectors of |S_l| counts with sum k (stars and bars). The paper bounds them
by |S_l| k^|S_l| in its switch rule, |S_l|^k <= |S_l| k^|S_l|, and by k^|S_l| inside Lemma D.16. The truth is far less,
and below |S_l|^k from k = 2 on.

**Reachable.**  In Algorithm 8 nothing is pending at stage 1, and something at each of the k-1 others: of the box's
|S_g|+1 values of the pending state, one or |S_g| occur. At k = 1 the chain is the surrogate itself. In Algorithm 9 the
states of a bin are vectors of the k-1 companions over the bins that have yet to move and those where agents have
arrived; and their transitions, vectors over one more set of bins, those of the agents who move now (`chain_forms`).
These numbers are exact where every law has full support, and bounds where some successors are impossible.
"""

import math

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.games.game import Game
from altmarl_torch.support.tables import as_integer
from altmarl_torch.theory.arguments import as_count, power

__all__ = [
    "count_vectors",
    "count_vectors_algorithm_1",
    "q_entries_counts",
    "q_entries_lemma_b36",
    "q_entries_tuples",
    "states_algorithm_8",
    "states_algorithm_8_reachable",
    "states_algorithm_9",
    "states_algorithm_9_literal",
    "states_algorithm_9_reduced",
    "states_theorem_c4_counts",
    "states_theorem_c4_tuples",
    "transitions_algorithm_8_reachable",
    "transitions_algorithm_9_literal",
    "transitions_algorithm_9_reduced",
]

MOST_AGENTS = 10**6
"""The most companions over whom the states of a literal bin are summed."""


def count_vectors(game: Game, k: int) -> int:
    """C(k+|S_l|-1, |S_l|-1), the vectors of counts with sum k; k = 0 has one."""
    return math.comb(as_integer("k", k, 0, math.inf, ArgumentError) + game.num_sl - 1, game.num_sl - 1)


def count_vectors_algorithm_1(game: Game, k: int) -> int:
    """|S_l| k^|S_l|, for which Algorithm 1 compares |S_l|^k when it chooses its parameterization."""
    return int(game.num_sl * as_count("k", k) ** game.num_sl)


def q_entries_tuples(game: Game, k: int) -> int:
    """N_k = |S_g| |A_g| |S_l|^k, the table of Q over k-tuples (Algorithm 1, Lemma B.35)."""
    return game.num_sg * game.num_ag * power(game.num_sl, as_count("k", k))


def q_entries_counts(game: Game, k: int) -> int:
    """|S_g| |A_g| C(k+|S_l|-1, |S_l|-1), the table of Q over counts."""
    return game.num_sg * game.num_ag * count_vectors(game, as_count("k", k))


def q_entries_lemma_b36(game: Game, k: int) -> int:
    """|S_g| |A_g| |S_l| k^|S_l|, the proof of Lemma B.36's bound on the table of Q over counts.

    Lemma B.35 prints |S_g| |A_g| |S_l|^k |S_l| for the same table, which is larger than that over tuples.
    """
    return game.num_sg * game.num_ag * count_vectors_algorithm_1(game, k)


def states_algorithm_8(game: Game, k: int) -> int:
    """k |S_g| (|S_g|+1) |S_l|^k, the box [k] x S_g x (S_g + pending) x S_l^k that Algorithm 8 declares."""
    return as_count("k", k) * game.num_sg * (game.num_sg + 1) * power(game.num_sl, k)


def states_algorithm_8_reachable(game: Game, k: int) -> int:
    """|S_g| |S_l|^k (1 + (k-1) |S_g|), the states of Algorithm 8 that can occur."""
    return game.num_sg * power(game.num_sl, as_count("k", k)) * (1 + (k - 1) * game.num_sg)


def states_algorithm_9(game: Game, k: int) -> int:
    """(|S_l|+1) |S_g| (|S_g|+1) |S_l| (|S_l|+1) C(k+|S_l|-2, |S_l|-1)^2, the box that Algorithm 9 declares.

    It holds two histograms of k-1 agents. The second starts at zero and fills up, so it is not "in mu_{k-1}" until the
    last bin: the box has room for states that never occur, and none for some that do.
    """
    pending = (game.num_sg + 1) * (game.num_sl + 1)
    return (game.num_sl + 1) * game.num_sg * game.num_sl * pending * count_vectors(game, as_count("k", k) - 1) ** 2


def states_algorithm_9_reduced(game: Game, k: int) -> int:
    """|S_g| |S_l| N_S + |S_g|^2 |S_l| (N_S + sum over u = 2..|S_l| of N_(2|S_l|-u+1)), without what has been used.

    N_B = C(k-1+B-1, B-1) is the number of vectors of k-1 counts over B bins.
    """
    num_sg, num_sl, bins = game.num_sg, game.num_sl, _bins(game)
    vectors = [_vectors(as_count("k", k) - 1, width) for width in bins]
    return num_sg * num_sl * vectors[0] + num_sg**2 * num_sl * sum(vectors)


def transitions_algorithm_9_reduced(game: Game, k: int) -> int:
    """Triples (s, a, s') of the reduced chain: |S_g|^2 |S_l|^2 |A_l| N_S in stage 0, N_(B+|S_l|-1) for N_B later on."""
    num_sg, num_sl, bins = game.num_sg, game.num_sl, _bins(game)
    moves = [_vectors(as_count("k", k) - 1, width + num_sl - 1) for width in bins]
    first = num_sg**2 * num_sl**2 * _vectors(k - 1, num_sl)
    return game.num_al * (first + num_sg**2 * num_sl * sum(moves))


def states_algorithm_9_literal(game: Game, k: int) -> int:
    """Reachable states of Algorithm 9 as printed, which keeps s_l and the histogram to the end of the macro step."""
    num_sg, num_sl, others = game.num_sg, game.num_sl, as_count("k", k) - 1
    later = sum(_literal_vectors(others, num_sl, stage, 0) for stage in range(1, num_sl + 1))
    return num_sg * num_sl * _vectors(others, num_sl) + num_sg**2 * num_sl**2 * later


def transitions_algorithm_9_literal(game: Game, k: int) -> int:
    """Triples (s, a, s') of Algorithm 9 as printed."""
    num_sg, num_sl, others = game.num_sg, game.num_sl, as_count("k", k) - 1
    later = sum(_literal_vectors(others, num_sl, stage, 1) for stage in range(1, num_sl + 1))
    return game.num_al * num_sg**2 * num_sl**2 * (_vectors(others, num_sl) + later)


def transitions_algorithm_8_reachable(game: Game, k: int) -> int:
    """Triples (s, a, s') of Algorithm 8: |S_g|^2 |S_l|^(k+1) |A_l| in each of the k stages."""
    return int(game.num_sg**2 * power(game.num_sl, as_count("k", k) + 1) * game.num_al * k)


def _bins(game: Game) -> list[int]:
    """The number of bins in which the reduced Algorithm 9 holds its companions, for stages 1 .. |S_l|."""
    return [game.num_sl, *(2 * game.num_sl - stage + 1 for stage in range(2, game.num_sl + 1))]


def _vectors(agents: int, bins: int) -> int:
    """Vectors of `bins` counts with sum `agents`."""
    return math.comb(agents + bins - 1, bins - 1)


def _literal_vectors(agents: int, num_sl: int, stage: int, moving: int) -> int:
    """Pairs of a histogram and a scratch histogram in a stage; with moving = 1, with where its bin's agents go.

    Those in the bins before have arrived somewhere, which leaves the rest for the bins from this one on.
    """
    if agents > MOST_AGENTS:
        raise SizeError(
            f"the chain of Algorithm 9 as printed is counted up to k = {MOST_AGENTS + 1:,}; use a smaller k"
        )
    bins = num_sl - stage + (num_sl if moving else 1)
    if stage == 1:
        return _vectors(agents, bins)
    return sum(
        _vectors(moved, stage - 1) * _vectors(moved, num_sl) * _vectors(agents - moved, bins)
        for moved in range(agents + 1)
    )


def states_theorem_c4_tuples(game: Game, k: int) -> int:
    """k |S_g|^2 |S_l|^k, the size of Algorithm 8's chain in the proof of Theorem C.4: less the pending mark."""
    return int(as_count("k", k) * game.num_sg**2 * power(game.num_sl, k))


def states_theorem_c4_counts(game: Game, k: int) -> int:
    """|S_g|^2 |S_l|^3 k^(2|S_l|), the size of Algorithm 9's chain in the proof of Theorem C.4."""
    return int(game.num_sg**2 * game.num_sl**3 * as_count("k", k) ** (2 * game.num_sl))
