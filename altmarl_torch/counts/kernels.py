r"""The law of the next counts, and what it does to functions of counts.

Under a frozen local policy, and while the global state is s_g, each of the k sampled agents moves by the same matrix
P = P_l_pi[:, s_g, :] (Eq. 5). If h_u agents are in state u, then

    h' = sum over u of Multinomial(h_u, P[u, :]).

A kernel turns values V(h') into expectations, (E V)(h) = E[V(h') | h], and, transposed, laws of h into laws of h'.
There are three ways to do it, from exact for few counts to sampled for many:

`dense`
    The N x N matrix, built by adding one agent at a time: with any u that h occupies,
    K_k(h, h') = sum over y of P[u, y] K_{k-1}(h - e_u, h' - e_y). Only sums of products of probabilities, hence exact
    to rounding for every P. For small N. Of two states, row by row: Binomial(h_0, P[0, 0]) + Binomial(h_1, P[1, 0]).
`pair moves`
    P factored into moves between two states (`pair_moves`): exact, and the cost grows like N k S instead of N^2. Used
    where its bound on the rounding error is below `TOLERANCE`; otherwise a dense matrix is tried up to
    `LARGEST_DENSE`. On the CPU, compiled code applies the moves (`compiled`) where it was built, else torch does. Where
    neither form will do, `KernelError` says so, and sampling remains:
`sampled`
    m draws of h' for each h, frozen: the law that the paper's T-hat_{k,m} (Definition B.3) puts in place of the exact
    one. Unbiased over the draws.

All of them compute in the type of the values: float64, or float32 where speed matters more than the last digits.
"""

import logging
from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.counts.compiled import PackedLaws, apply_packed, pack_laws
from altmarl_torch.counts.factoring import PairMoves, factor_pairs
from altmarl_torch.counts.pair_moves import PairPlan, apply_moves, binomial_matrices
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, KernelError
from altmarl_torch.support.native.library import library
from altmarl_torch.support.sampling import split, split_shares
from altmarl_torch.support.tables import as_integer, as_law, as_table, check_kind
from altmarl_torch.support.threads import one_thread

__all__ = ["CountKernel", "Kernel", "SampledCountKernel", "make_kernels"]

logger = logging.getLogger(__name__)

TOLERANCE = 1e-10
"""Largest bound on the relative rounding error at which pair moves are used."""

PREFERRED_DENSE = 256
"""Up to this many counts a dense matrix is faster than pair moves."""

MOST_TOGETHER = 2**20
"""Entries that are added to a dense matrix together."""

LARGEST_DENSE = 3000
"""The most counts for which a dense matrix is built: 72 MB in float64, and seconds to build."""

FALLBACK_DRAWS = 30
"""m of the sampled kernel that takes the place of an exact one that cannot be had: Table 2's."""

FLOATS = (torch.float32, torch.float64)

LARGEST_M = 10**6
"""The most draws of a sampled kernel."""

LARGEST_LAWS = 2**27
"""The most entries of the binomial matrices of a kernel: 1 GB in float64."""


class Kernel(Protocol):
    """What the Bellman operators ask of the law of the next counts."""

    form: str

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h') | h]: `[N, ...]` to `[N, ...]`."""

    def push(self, law: Tensor) -> Tensor:
        """The law of h' when h has the given law (any weights will do): `[N, ...]` to `[N, ...]`."""


class CountKernel:
    """The exact law of the next counts of k agents that move independently by P.

    Args:
        P: `[sl, sl']`, law of one agent's next state given its state.
        k: number of agents, at least 0.
        plan: shared by kernels on one simplex; made here when missing.
        keep: keep the binomial matrices of pair moves between applications, instead of making them each time (they
            are cheap to make, but a thousand kernels of k = 50 would hold gigabytes).
        like: a kernel of more agents by the same P: its form, and its factors, are taken over.

    Attributes:
        form: "dense" or "pair moves".
        error_bound: bound on the relative rounding error of one expectation.
        fewer: the matrices of 0, 1, ..., k - 1 agents, `[N_j, N_j]`, where they are small and `keep`; else none.

    Raises:
        ArgumentError: P is no square matrix of laws, or k is no integer of its range.
        SizeError: the simplex cannot be listed.
        KernelError: P has no accurate factors, and the simplex is too large for a dense matrix.

    Examples:
        >>> import altmarl_torch as am, torch
        >>> kernel = am.CountKernel([[0.9, 0.1], [0.5, 0.5]], k=2)  # two agents, each moving by itself
        >>> in_first = kernel.simplex.counts[:, :1].double()
        >>> kernel.expect(in_first).squeeze().tolist()  # how many will be in state 0, from each count
        [1.8, 1.4, 1.0]
    """

    def __init__(
        self, P: Tensor, k: int, *, plan: PairPlan | None = None, keep: bool = True, like: "CountKernel | None" = None
    ) -> None:
        P = check_matrix(P)
        if plan is not None:
            check_kind("plan", plan, PairPlan)
        self.plan = plan or PairPlan(CountSimplex(k, len(P), P.device))
        self.simplex = self.plan.simplex
        if (self.simplex.k, self.simplex.num_sl) != (k, len(P)):
            raise ArgumentError(f"the plan is of {self.simplex!r}, not of k = {k} agents over {len(P)} local states")
        self.simplex.require_listed()
        self.form, self.error_bound, self._keep = "dense", torch.finfo(torch.float64).eps, keep
        self._tables: dict[tuple[torch.dtype, bool], list[list[Tensor]] | PackedLaws] = {}
        self._moves = self._factor(P, like) if self.simplex.size > PREFERRED_DENSE else None
        self.fewer: list[Tensor] = []
        if self._moves is None:
            self._dense = self._list(P, like)

    def _list(self, P: Tensor, like: "CountKernel | None") -> Tensor:
        """The dense matrix; on the way there are those of fewer agents."""
        if like is not None and self.simplex.k < len(like.fewer):
            return like.fewer[self.simplex.k]
        if len(P) == 2 or not self._keep or self.simplex.size > PREFERRED_DENSE or self.simplex.size == 1:
            return dense_kernel(P, self.simplex)
        *self.fewer, matrix = dense_levels(P, self.simplex)
        return matrix.contiguous()

    def _factor(self, P: Tensor, like: "CountKernel | None") -> PairMoves | None:
        """Pair moves where they are accurate and fit, None for a dense matrix; refused where neither will do."""
        k = self.simplex.k
        fits = len(P) > 2 and len(P) * (len(P) - 1) * (k + 1) ** 3 // 6 <= LARGEST_LAWS
        moves = like._moves if like else factor_pairs(P, k, TOLERANCE) if fits else None
        if moves is not None and moves.error_bound(k) <= TOLERANCE:
            self.form, self.error_bound = "pair moves", moves.error_bound(k)
            # E_Pi renames the states that the moves arrive in: the value at h' is that of the relabelled counts
            inverse = sorted(range(len(P)), key=moves.relabel.__getitem__)
            self._renamed = None if inverse == sorted(inverse) else self.simplex.rank(self.simplex.counts[:, inverse])
            return moves
        if self.simplex.size > LARGEST_DENSE:
            bound = "none was found" if moves is None else f"its error bound is {moves.error_bound(k):.1g}"
            raise KernelError(
                f"no exact kernel for k = {k} agents over {len(P)} local states ({self.simplex.size:,} counts): a "
                f"factorization into pair moves must have an error bound of at most {TOLERANCE:.0e} ({bound}), and a "
                f"dense matrix at most {LARGEST_DENSE:,} rows; use the sampled operator (an integer m) or a smaller k"
            )
        return None

    def _laws(self, moves: PairMoves, dtype: torch.dtype, adjoint: bool) -> list[list[Tensor]] | PackedLaws:
        """The binomial matrices in the type of the values, transposed for laws: packed, or `[move][d]` for torch."""
        if (dtype, adjoint) in self._tables:
            return self._tables[dtype, adjoint]
        if self.simplex.device.type == "cpu" and library() is not None:
            table: list[list[Tensor]] | PackedLaws
            table = pack_laws(moves.pairs, moves.chances, self.simplex.k, dtype, adjoint=adjoint)
        else:
            exact = binomial_matrices(moves.chances.to(self.simplex.device), self.simplex.k)
            laws = [(law.mT if adjoint else law).to(dtype) for law in exact]
            table = [[law[m] for law in laws] for m in range(len(moves.pairs))]
        if self._keep:
            self._tables[dtype, adjoint] = table
        return table

    def expect(self, values: Tensor) -> Tensor:
        """E[values(h') | h]: `[N, ...]` to `[N, ...]`, in the type of the values."""
        return self._apply(values, adjoint=False)

    def push(self, law: Tensor) -> Tensor:
        """The law of h' when h has the given law: `[N, ...]` to `[N, ...]`; the transpose of `expect`."""
        return self._apply(law, adjoint=True)

    def matrix(self, dtype: torch.dtype) -> Tensor:
        """The law of h' given h, `[N, N]`; only where the form is dense."""
        return self._dense.to(dtype)

    def _apply(self, values: Tensor, *, adjoint: bool) -> Tensor:
        check_values(values, self.simplex)
        values = values if values.dtype in FLOATS else values.to(torch.float64)
        flat = values.reshape(self.simplex.size, -1).contiguous()
        with one_thread():
            moved = self._move(flat, adjoint) if self._moves else self._multiply(flat, adjoint)
        return moved.reshape(values.shape)

    def _multiply(self, values: Tensor, adjoint: bool) -> Tensor:
        dense = self._dense.to(values.dtype)
        return (dense.T if adjoint else dense) @ values

    def _move(self, values: Tensor, adjoint: bool) -> Tensor:
        assert self._moves is not None
        laws = self._laws(self._moves, values.dtype, adjoint)
        if self._renamed is not None and not adjoint:
            values = values[self._renamed]
        if isinstance(laws, PackedLaws):
            moved = apply_packed(self.simplex, laws, values)
        else:
            moved = apply_moves(self.plan, self._moves.pairs, laws, values, adjoint=adjoint)
        if self._renamed is not None and adjoint:
            moved = torch.empty_like(moved).index_copy_(0, self._renamed, moved)
        return moved


class SampledCountKernel:
    """m draws of the next counts for each count vector, frozen: the sampled counterpart of `CountKernel`.

    Args:
        P: `[sl, sl']`, law of one agent's next state given its state.
        k: number of agents, at least 0.
        m: number of draws, at least 1.
        generator: source of the draws.
        plan: only its simplex is used; made here when missing.

    Attributes:
        draws: `[N, m]`, rank of the j-th draw of h' given h.
    """

    form = "sampled"

    def __init__(self, P: Tensor, k: int, m: int, generator: torch.Generator, *, plan: PairPlan | None = None) -> None:
        P = check_matrix(P)
        m = as_integer("m", m, 1, LARGEST_M, ArgumentError)
        check_kind("generator", generator, torch.Generator)
        self.simplex = plan.simplex if plan else CountSimplex(k, len(P), P.device)
        counts, shares = self.simplex.counts.to(torch.float64), split_shares(P).expand(self.simplex.size, -1, -1)
        drawn = [self.simplex.rank(split(counts, shares, generator).to(torch.int64)) for _ in range(m)]
        self.draws = torch.stack(drawn, -1)

    def expect(self, values: Tensor) -> Tensor:
        """Mean of values(h') over the draws: `[N, ...]` to `[N, ...]`."""
        values = self._checked(values)
        total = torch.zeros_like(values)
        for column in self.draws.unbind(-1):
            total += values[column]
        return total / self.draws.shape[1]

    def push(self, law: Tensor) -> Tensor:
        """The law of h' when h has the given law: `[N, ...]` to `[N, ...]`; the transpose of `expect`."""
        law = self._checked(law)
        total = torch.zeros_like(law)
        for column in self.draws.unbind(-1):
            total.index_add_(0, column, law)
        return total / self.draws.shape[1]

    def _checked(self, values: Tensor) -> Tensor:
        check_values(values, self.simplex)
        return values if values.dtype in FLOATS else values.to(torch.float64)


def check_values(values: Tensor, simplex: CountSimplex) -> None:
    """Refuse values that are not real and `[N, ...]` for this simplex."""
    if not isinstance(values, Tensor) or values.is_complex():
        kind = values.dtype if isinstance(values, Tensor) else type(values).__name__
        raise ArgumentError(f"{simplex!r}: the values must be a tensor of real numbers, not {kind}")
    if values.shape[:1] != (simplex.size,):
        raise ArgumentError(f"{simplex!r}: the values have the shape {list(values.shape)}, [N, ...] is needed")


def make_kernels(P_l_pi: Tensor, plan: PairPlan, like: Sequence[Kernel] = ()) -> tuple[Kernel, ...]:
    """The kernel under each global state: `P_l_pi [sl, sg, sl']`.

    Exact; where that cannot be, sampled with `FALLBACK_DRAWS` draws of a fixed seed, and a warning in the log says so.
    `like` are those of more agents, whose factors save finding new ones.
    """
    known = [kernel if isinstance(kernel, CountKernel) else None for kernel in like] or [None] * P_l_pi.shape[1]
    return tuple(_kernel(P_l_pi[:, sg], plan, f"s_g = {sg}", known[sg]) for sg in range(P_l_pi.shape[1]))


def _kernel(P: Tensor, plan: PairPlan, where: str, like: CountKernel | None) -> Kernel:
    try:
        return CountKernel(P, plan.simplex.k, plan=plan, like=like)
    except KernelError as reason:
        if not plan.fallback_announced:
            logger.warning("sampling %d draws in place of the exact kernel under %s: %s", FALLBACK_DRAWS, where, reason)
            plan.fallback_announced = True
        generator = torch.Generator(P.device).manual_seed(0)
        return SampledCountKernel(P, plan.simplex.k, FALLBACK_DRAWS, generator, plan=plan)


def dense_kernel(P: Tensor, simplex: CountSimplex) -> Tensor:
    """The matrix of P(h' | h), `[N, N]`."""
    if len(P) == 2:
        return _two_state_kernel(P, simplex.k)
    if simplex.size == 1:
        return P.new_ones(1, 1)
    for last in dense_levels(P, simplex):
        kernel = last
    return kernel.contiguous()


def dense_levels(P: Tensor, simplex: CountSimplex) -> Iterator[Tensor]:
    """The matrices of P(h' | h) for 0, 1, ..., k agents, each made from the last by adding one: `[N_j, N_j]`."""
    kernel, laws = P.new_ones(1, 1), P.T.unsqueeze(1)
    yield kernel
    for occupied, without, with_one_more in simplex.one_by_one:
        others, transposed = kernel.T[:, without], P.new_zeros(len(occupied), len(occupied))
        together = max(1, MOST_TOGETHER // others.numel())
        for joined, law in zip(torch.split(with_one_more.T, together), torch.split(laws, together), strict=True):
            added = law[..., occupied] * others  # [y, h', h] of one agent less
            transposed.index_add_(0, joined.flatten(), added.flatten(0, 1))
        kernel = transposed.T
        yield kernel


def _two_state_kernel(P: Tensor, k: int) -> Tensor:
    """The same for two states, whose counts are listed by falling h_0: the law of h_0' is that of two binomials."""
    stay, come = (_binomials(k, float(chance)) for chance in P[:, 0])
    rows = [np.convolve(stay[x, : x + 1], come[k - x, : k - x + 1])[::-1] for x in range(k, -1, -1)]
    return torch.from_numpy(np.stack(rows)).to(P)


def _binomials(k: int, chance: float) -> NDArray[np.float64]:
    """P(Binomial(x, chance) = y) for x, y in 0..k, by adding one trial at a time."""
    law = np.zeros((k + 1, k + 1))
    law[0, 0] = 1.0
    for x in range(k):
        law[x + 1] = (1 - chance) * law[x]
        law[x + 1, 1:] += chance * law[x, :-1]
    return law


def check_matrix(P: Tensor | Sequence[Sequence[float]]) -> Tensor:
    """Check that P is a square matrix of laws (ArgumentError) and return it in float64."""
    matrix = as_table("P", P, "sl sl'", ArgumentError)
    if matrix.shape[0] != matrix.shape[1]:
        raise ArgumentError(f"a kernel needs a square matrix P [sl, sl'], got the shape {list(matrix.shape)}")
    return as_law("P", matrix, "sl sl'", ArgumentError)
