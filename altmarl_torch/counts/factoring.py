r"""Factors of a transition matrix: moves between two states each, and how they are found.

P = B_1 B_2 ... B_M Pi, with *pair moves* B, the identity but for two states i < j, where an agent in i goes to j with
probability a and one in j to i with probability b, and a permutation Pi. (`pair_moves` says what they are good for.)

**Factors.** S(S-1)/2 pair moves have S(S-1) free numbers, exactly as many as P. Near the identity the map from the
moves to their product is invertible (its derivative there is the identity), so Newton's method from a = P[i, j],
b = P[j, i] finds them in four or five steps whenever agents are lazy enough. Where they are not, they may be lazy
*after relabelling* (a conveyor belt moves everyone by one): P = B_1 ... B_M Pi with a permutation Pi, and E_Pi only
renames the counts. And there is a second way: *row factors*, P = R_1 R_2 ... R_S with R_i the identity but for row i,
found by back substitution in some order of the states; R_i is S - 1 pair moves out of i. That takes twice as many
moves, but some order of the states succeeds for many kernels that are only moderately lazy, or sparse.

Where P falls into blocks, as it does for agents of several types (`games.types`), moves within the blocks are enough:
20 instead of 45 for two types of five states.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["PairMoves", "factor_pairs", "multiply_moves"]

NEWTON_STEPS = 25
NEWTON_TOLERANCE = 1e-14
ACCEPTED_MISS = 1e-12
"""The largest error of an entry of the product of the factors."""

LARGEST_CHANCE = 1e3
"""Factors with larger entries are useless."""

MOST_ORDERS = 120
"""Orders of the states in which row factors are tried."""


@dataclass(frozen=True)
class PairMoves:
    """P = B_1 ... B_M Pi: moves between pairs of states, in the order of `pairs`, then a relabelling."""

    pairs: tuple[tuple[int, int], ...]  # M pairs (i, j) with i < j
    chances: Tensor  # [M, 2] chance of i -> j and of j -> i
    relabel: tuple[int, ...]  # an agent that the moves bring to state u ends in state relabel[u]

    def error_bound(self, k: int) -> float:
        """Bound on the relative rounding error of one application to k agents."""
        growth = (self.chances.abs() + (1 - self.chances).abs()).amax(-1) if self.pairs else self.chances.new_ones(1)
        exponent = k * float(growth.log().sum())
        return torch.finfo(torch.float64).eps * math.exp(min(exponent, 700.0))


def multiply_moves(num_sl: int, pairs: tuple[tuple[int, int], ...], chances: Tensor) -> tuple[Tensor, Tensor]:
    """The products B_1 ... B_m and B_{m+1} ... B_M for m = 0..M, of moves with `chances [M, 2]`: `[M + 1, sl, sl]`."""
    moves = torch.eye(num_sl, dtype=chances.dtype).repeat(len(pairs), 1, 1)
    m, (i, j), (a, b) = torch.arange(len(pairs)), torch.tensor(pairs).T, chances.T
    moves[m, i, i], moves[m, i, j], moves[m, j, i], moves[m, j, j] = 1 - a, a, b, 1 - b
    before = [torch.eye(num_sl, dtype=chances.dtype)]
    after = [torch.eye(num_sl, dtype=chances.dtype)]
    for move, last in zip(moves, moves.flip(0), strict=True):
        before.append(before[-1] @ move)
        after.append(last @ after[-1])
    return torch.stack(before), torch.stack(after[::-1])


def _newton(P: Tensor, pairs: tuple[tuple[int, int], ...]) -> Tensor | None:
    """Solve B_1 ... B_M = P for the chances `[M, 2]`; None where Newton's method does not converge."""
    i, j = torch.tensor(pairs).T
    off = torch.zeros_like(P, dtype=torch.bool).index_put((torch.cat([i, j]), torch.cat([j, i])), torch.tensor(True))
    chances = torch.stack([P[i, j], P[j, i]], -1)
    for _ in range(NEWTON_STEPS):
        before, after = multiply_moves(len(P), pairs, chances)
        residual = (before[-1] - P)[off]
        if float(residual.abs().max()) < NEWTON_TOLERANCE:
            return chances
        m = torch.arange(len(pairs))
        # d(B_m)/da = e_i (e_j - e_i)^T and d(B_m)/db = e_j (e_i - e_j)^T
        change = after[m + 1, j] - after[m + 1, i]
        slopes = torch.stack(
            [
                before[m, :, i].unsqueeze(-1) * change.unsqueeze(-2),
                -before[m, :, j].unsqueeze(-1) * change.unsqueeze(-2),
            ],
            dim=1,
        )
        step, info = torch.linalg.solve_ex(slopes[..., off].reshape(chances.numel(), -1).T, residual)
        chances = chances - step.reshape(chances.shape)
        if int(info) or not bool(torch.isfinite(chances).all()) or float(chances.abs().max()) > LARGEST_CHANCE:
            return None
    miss = float((multiply_moves(len(P), pairs, chances)[0][-1] - P).abs().max())
    return chances if miss < ACCEPTED_MISS else None


def _laziest_labels(P: Tensor) -> tuple[int, ...]:
    """A relabelling under which agents tend to stay: state u is renamed to where it most likely goes (greedily)."""
    chance, label = P.clone(), [0] * len(P)
    for _ in range(len(P)):
        u, v = divmod(int(chance.argmax()), len(P))
        label[u] = v
        chance[u, :], chance[:, v] = -1.0, -1.0
    return tuple(label)


def _row_moves(P: Tensor, order: tuple[int, ...], relabel: tuple[int, ...]) -> PairMoves | None:
    """Factor P into one move of each state to all others, taken apart into pair moves; None where that fails.

    P = R_1 R_2 ... in the given order of the states, R_i being the identity but for row i; the rows come from back
    substitution. Agents of i decide target by target, negative chances first: what remains then only shrinks.
    """
    rows = _row_factors(P, order)
    if rows is None:
        return None
    moves = [move for i in order for move in _one_by_one(i, rows[i], order)]
    chances = torch.tensor([chance for _, chance in moves], dtype=P.dtype).reshape(-1, 2)
    found = PairMoves(tuple(pair for pair, _ in moves), chances, relabel)
    return found if _misses(P, found) < ACCEPTED_MISS else None


def _row_factors(P: Tensor, order: tuple[int, ...]) -> dict[int, list[float]] | None:
    """Row i of R_i for every state, by back substitution; None where a row cannot be solved for."""
    product, rows = torch.eye(len(P), dtype=P.dtype), dict[int, list[float]]()
    for i in reversed(order):
        row, info = torch.linalg.solve_ex(product.T, P[i])
        if int(info) or not bool(torch.isfinite(row).all()) or float(row.abs().max()) > LARGEST_CHANCE:
            return None
        factor = torch.eye(len(P), dtype=P.dtype)
        factor[i] = row
        product, rows[i] = factor @ product, row.tolist()
    return rows


def _one_by_one(i: int, row: list[float], order: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], list[float]]]:
    """The law `row` of the agents of i as pair moves: of those who have not left yet, some leave for each target."""
    undecided = 1.0
    for j in sorted(set(order) - {i}, key=row.__getitem__):
        chance = min(row[j] / undecided, 1.0) if abs(row[j]) > NEWTON_TOLERANCE else 0.0
        undecided = max(undecided - row[j], NEWTON_TOLERANCE)
        if chance != 0.0:
            yield (min(i, j), max(i, j)), [chance, 0.0] if i < j else [0.0, chance]


def _misses(P: Tensor, moves: PairMoves) -> float:
    if not moves.pairs:
        return float((torch.eye(len(P), dtype=P.dtype) - P).abs().max())
    return float((multiply_moves(len(P), moves.pairs, moves.chances)[0][-1] - P).abs().max())


def factor_pairs(P: Tensor, k: int, tolerance: float = 0.0) -> PairMoves | None:
    """Factor a transition matrix `[sl, sl']` into pair moves, as accurately as can be for k agents.

    Tries the states as they are and relabelled: first by Newton's method, with one move for each pair; then by row
    factors, with up to two, in many orders of the states. Returns the first factorization that is made of laws or has
    an `error_bound` of at most `tolerance`, else the best, else None.
    """
    P = P.detach().to("cpu", torch.float64)
    best: PairMoves | None = None
    for found in _factorizations(P):
        if best is None or found.error_bound(k) < best.error_bound(k):
            best = found
        if best.error_bound(k) <= max(tolerance, torch.finfo(P.dtype).eps):
            return best
    return best


def _factorizations(P: Tensor) -> Iterator[PairMoves]:
    """Candidates, the cheapest to apply first."""
    identity = tuple(range(len(P)))
    labels = dict.fromkeys([identity, _laziest_labels(P)])
    for relabel in labels:
        relabelled = P[:, list(relabel)]
        ascending = _pairs_within_blocks(relabelled)
        for pairs in (ascending, ascending[::-1]):
            chances = _newton(relabelled, pairs) if pairs else None
            if chances is not None:
                yield PairMoves(pairs, chances, relabel)
    for relabel, order in itertools.product(labels, _orders(len(P))):
        moves = _row_moves(P[:, list(relabel)], order, relabel)
        if moves is not None:
            yield moves


def _pairs_within_blocks(P: Tensor) -> tuple[tuple[int, int], ...]:
    """The pairs i < j of states that some path joins, whichever way its steps lead."""
    joined = (P > 0) | (P > 0).T | torch.eye(len(P), dtype=torch.bool)
    for _ in range(len(P).bit_length()):  # squaring doubles the length of the paths
        joined = joined.double() @ joined.double() > 0
    return tuple((i, j) for i, j in itertools.combinations(range(len(P)), 2) if joined[i, j])


def _orders(num_sl: int) -> list[tuple[int, ...]]:
    """All orders of few states; of many, `MOST_ORDERS` of them drawn with a fixed seed."""
    if math.factorial(num_sl) <= MOST_ORDERS:
        return list(itertools.permutations(range(num_sl)))
    generator = torch.Generator().manual_seed(0)
    drawn = [tuple(torch.randperm(num_sl, generator=generator).tolist()) for _ in range(MOST_ORDERS - 2)]
    return [tuple(range(num_sl)), tuple(reversed(range(num_sl))), *drawn]
