r"""The expectation after one step, on coefficients: E_J, exact for every kernel.

Under s_g each of J agents moves by P = P_l_pi[:, s_g, :] (Eq. 5). As a matrix over the counts of J agents that is the
dense kernel of `counts.kernels`, N_J x N_J, made by adding one agent at a time: sums of products of probabilities, no
factorization, no sampling. Where there are many states and few agents, the J agents are told apart instead, and P is
applied to each of them in turn: J S^(J+1) products, fewer than N_J^2 for 20 states and J = 3, and nothing is kept.
"""

from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import dense_kernel
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.tuples import counts_to_tuples, rank_tuples

__all__ = ["Moves"]


class Moves:
    """E_J under every global state.

    Args:
        P_l_pi: `[sl, sg, sl']`, law of an agent's next state (Eq. 5).
        basis: of the functions of J agents.
    """

    def __init__(self, P_l_pi: Tensor, basis: Basis) -> None:
        self.P_l_pi, self.basis = P_l_pi, basis
        states, degree = basis.simplex.num_sl, basis.degree
        self._tells_apart = degree > 0 and degree * states ** (degree + 1) < basis.size**2
        self._dense: dict[int, Tensor] = {}

    def expect(self, sg: int, coefficients: Tensor) -> Tensor:
        """E_J c while the global state is sg, `[N_J, columns]` to the same."""
        if self._tells_apart:
            return self._one_by_one(self.P_l_pi[:, sg], coefficients)
        if sg not in self._dense:
            self._dense[sg] = dense_kernel(self.P_l_pi[:, sg].contiguous(), self.basis.simplex)
        return self._dense[sg] @ coefficients

    @cached_property
    def _tuples(self) -> tuple[Tensor, Tensor]:
        """The rank of the counts of every J-tuple, and one tuple of each count vector, as a place in their list."""
        simplex = self.basis.simplex
        weights = simplex.num_sl ** torch.arange(simplex.k - 1, -1, -1, device=simplex.device)
        return rank_tuples(simplex), (counts_to_tuples(simplex.counts) * weights).sum(-1)

    def _one_by_one(self, P: Tensor, coefficients: Tensor) -> Tensor:
        ranks, places = self._tuples
        values = coefficients[ranks]
        for _ in range(self.basis.degree):
            moved = P @ rearrange(values, "(l rest) c -> l (rest c)", l=len(P))
            values = rearrange(moved, "l (rest c) -> (rest l) c", c=coefficients.shape[1])
        return values[places]
