r"""The k-agent surrogate on lifted functions: Q is lifted wherever V is, without a draw and without a table of k.

For V = lift(c) with coefficients c [sg, N_J],

    Q(s_g, ., a) = lift(A[s_g, a]),       A[s_g, a] = r[s_g, a] + gamma E_J^{s_g} sum_{s_g'} P_g(s_g' | s_g, a) c[s_g'],

where r is the reward of Eq. 6, linear in the frequencies and so lifted itself. Only the maximum over a leaves the
space.

**A reward that sees the crowd** (`games.crowd`) is no polynomial, and need not be one: what is lifted is V, so that

    Q(s_g, h, a) = r_g_mu(s_g, a, h/k) + lift(A[s_g, a])(h),        A as above, without it,

whatever the function is, with r_g_mu read where Q is (`learners.lifted.crowd`). The expectation is as exact as before;
the maximum leaves the space as it did, and by what r_g_mu adds to it.

**The posterior correction** (`counts.resampling`) stays in it as well. Its resampling R takes k seen agents for a
fresh sample of k. A function of J agents asks of that sample only where J of them stand. These have some j of the k for
ancestors, any j alike, and j uniformly drawn ones of the k are what lift draws: so

    R lift(c) = lift(R_J c),      R_J = sum_j w_j D^(J-j) U^(J-j),

with w the law of the number of ancestors of J agents among the k. It costs the same at every k.
"""

import math
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.resampling import ResamplingKernel
from altmarl_torch.games.game import Game
from altmarl_torch.learners.lifted.crowd import seen_everywhere
from altmarl_torch.learners.lifted.moves import Moves

__all__ = ["LiftedSurrogate"]


@dataclass(frozen=True, eq=False)
class LiftedSurrogate:
    """The k-agent MDP under a frozen pi_l, on functions of one degree.

    Attributes:
        game: the game.
        k: number of agents, or infinity.
        basis: of the values.
        P_l_pi: `[sl, sg, sl']`, law of an agent's next state (Eq. 5).
        r_l_pi: `[sl, sg]`, an agent's expected reward (Eq. 6).
        moves: E_J.
        reward: `[sg, ag, N_J]`, coefficients of the reward, but for r_g_mu.
        resampling: R_J under every s_g; None without the posterior correction.
        prior: of the posterior correction.
    """

    game: Game
    k: float
    basis: Basis
    P_l_pi: Tensor
    r_l_pi: Tensor
    moves: Moves
    reward: Tensor
    resampling: tuple[ResamplingKernel, ...] | None = None
    prior: Prior | None = None

    @classmethod
    def build(cls, game: Game, pi_l: Tensor, k: float, basis: Basis, prior: Prior | None = None) -> "LiftedSurrogate":
        """Form the surrogate under `pi_l [sl, sg, al]`; with a prior, the corrected one."""
        P_l_pi, r_l_pi = game.induced(pi_l)
        local = einsum(basis.frequencies, r_l_pi, "j l, l g -> g j")
        resampling = None
        if prior is not None and not math.isinf(k):
            resampling = prior.kernels(basis.simplex, seen=int(k))
            mean = prior.mean(basis.frequencies * k, int(k))  # linear in the frequencies, like the reward
            local = einsum(mean, r_l_pi, "g j l, l g -> g j")
        reward = rearrange(game.r_g, "g a -> g a 1") + rearrange(local, "g j -> g 1 j")
        return cls(game, k, basis, P_l_pi, r_l_pi, Moves(P_l_pi, basis), reward, resampling, prior)

    def onward(self, sg: int, coefficients: Tensor) -> Tensor:
        """What the next counts make of functions while the global state is sg, `[N_J, columns]` to the same."""
        moved = self.moves.expect(sg, coefficients)
        return moved if self.resampling is None else self.resampling[sg].expect(moved)

    def action_coefficients(self, coefficients: Tensor) -> Tensor:
        """A: the coefficients of Q (but for r_g_mu), `[sg, ag, N_J]`, from those of V, `[sg, N_J]`."""
        return self.reward + self.game.gamma * self.continuation(coefficients)

    def changed_coefficients(self, near: "LiftedSurrogate", known: Tensor, coefficients: Tensor) -> Tensor:
        """The same where `known` is that of a surrogate near it: only what differs is computed anew."""
        same = (self.P_l_pi == near.P_l_pi).all(-1).all(0) & (self.r_l_pi == near.r_l_pi).all(0)
        found, columns = known.clone(), coefficients.T.contiguous()
        for sg in (~same).nonzero().squeeze(-1).tolist():
            found[sg] = self.reward[sg] + self.game.gamma * (self.game.P_g[sg] @ self.onward(sg, columns).T)
        return found

    def continuation(self, coefficients: Tensor) -> Tensor:
        """P_g E_J c: the coefficients of what follows (s_g, h, a), `[sg, ag, N_J]`, from those of V, `[sg, N_J]`."""
        columns = coefficients.T.contiguous()
        onward = torch.stack([self.onward(sg, columns) for sg in range(self.game.num_sg)])
        return einsum(self.game.P_g, onward, "g a G, g j G -> g a j")

    def crowd(self, counts: Tensor) -> Tensor | None:
        """r_g_mu at counts `[b, sl]`, `[sg, ag, b]`; None where the game has none."""
        seen = seen_everywhere(self.game.r_g_mu, (self.game.num_sg, self.game.num_ag), counts, self.k)
        return None if seen is None else seen.mT.contiguous()

    def features(self, counts: Tensor) -> Tensor:
        """`[b, N_J]` at counts `[b, sl]` of k agents (or, at k = inf, of any number)."""
        return self.basis.features(counts, self.k)

    def initial_mean(self, coefficients: Tensor) -> float:
        """The mean of lift(c) over the initial law, exactly: J of k agents of that law are J agents of that law."""
        law = self.game.initial
        return float(law.sg @ coefficients @ law.count_law(self.basis.simplex.counts))
