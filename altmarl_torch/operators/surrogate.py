r"""The k-agent surrogate: the MDP of the global agent and k local agents that play a frozen pi_l.

Its state is (s_g, h), h the counts of the k agents, its action a_g, its reward that of Eq. 6,

    r_Delta(s_g, h, a_g) = r_g(s_g, a_g) + sum_z (h_z / k) r_l_pi(z, s_g),

(and r_g_mu(s_g, a_g, h / k), where the game has one: `games.crowd`),

and the next state has s_g' ~ P_g(. | s_g, a_g) and, independently, h' from the kernel of k agents that move by P_l_pi
(Eq. 5) under the *current* s_g (Eq. 3).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import einsum
from torch import Tensor

from altmarl_torch.counts.kernels import PREFERRED_DENSE, CountKernel, Kernel, make_kernels
from altmarl_torch.counts.pair_moves import MANY_COUNTS, PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.resampling import PosteriorKernel
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.crowd import global_rewards
from altmarl_torch.games.game import Game
from altmarl_torch.support.threads import one_thread, run

__all__ = ["Surrogate", "SurrogateCache", "exact_surrogate", "surrogate_reward"]


@dataclass(frozen=True)
class Surrogate:
    """The k-agent MDP under a frozen pi_l, in counts."""

    game: Game
    plan: PairPlan  # the simplex of counts and its layouts
    P_l_pi: Tensor  # [sl, sg, sl'] law of an agent's next state (Eq. 5)
    r_l_pi: Tensor  # [sl, sg] an agent's expected reward (Eq. 6)
    kernels: tuple[Kernel, ...]  # law of the next counts under each s_g
    local_reward: Tensor  # [sg, N] sum_z mean_z r_l_pi(z, s_g), the mean that of `frequencies`
    prior: Prior | None = None  # of the posterior correction (`posterior`); None: the k agents are the population
    pi_l: Tensor | None = None  # [sl, sg, al], where it is known; draws of rewards need it
    crowd: Tensor | None = None  # [sg, N, ag] r_g + r_g_mu, where r_g sees the counts

    @classmethod
    def build(cls, game: Game, pi_l: Tensor, plan: PairPlan, prior: Prior | None = None) -> "Surrogate":
        """Form the surrogate of `plan.simplex.k` agents under `pi_l [sl, sg, al]`; with a prior, the corrected one."""
        return replace(cls.from_tables(game, *game.induced(pi_l), plan, prior), pi_l=pi_l)

    @classmethod
    @one_thread()
    def from_tables(
        cls,
        game: Game,
        P_l_pi: Tensor,
        r_l_pi: Tensor,
        plan: PairPlan,
        prior: Prior | None = None,
        moves: tuple[Kernel, ...] | None = None,
        crowd: Tensor | None = None,
    ) -> "Surrogate":
        """Form the surrogate from the induced tables of Eq. 5 and 6, with `make_kernels` for its moves by default, and
        the global rewards of the counts, where they are at hand.
        """
        moves = make_kernels(P_l_pi, plan) if moves is None else moves
        if prior is None:
            local_reward = einsum(plan.simplex.frequencies, r_l_pi, "h l, l g -> g h")
            if crowd is None and game.r_g_mu is not None:
                crowd = global_rewards(game, plan.simplex.frequencies)
            return cls(game, plan, P_l_pi, r_l_pi, moves, local_reward, crowd=crowd)
        kernels = tuple(map(PosteriorKernel, prior.kernels(plan.simplex), moves))
        local_reward = einsum(prior.mean(plan.simplex.counts, plan.simplex.k), r_l_pi, "g h l, l g -> g h")
        return cls(game, plan, P_l_pi, r_l_pi, kernels, local_reward, prior)

    @property
    def moves(self) -> tuple[Kernel, ...]:
        """The law of the next counts of those that move, under each s_g: the kernels without the resampling before."""
        return tuple(kernel.moves if isinstance(kernel, PosteriorKernel) else kernel for kernel in self.kernels)

    @cached_property
    def half(self) -> "Surrogate":
        """The surrogate of half as many agents (of at least two), under the same pi_l."""
        plan, moves = self.plan.half, make_kernels(self.P_l_pi, self.plan.half, self.moves)
        return replace(
            Surrogate.from_tables(self.game, self.P_l_pi, self.r_l_pi, plan, self.prior, moves), pi_l=self.pi_l
        )

    def occupation(self, law: Tensor) -> Tensor:
        """How many of all agents are in z while s_g, for a law `[sg, N]`, as shares: `[sl, sg]`, in its type."""
        if self.prior is None:
            return einsum(law, self.simplex.frequencies.to(law.dtype), "g h, h l -> l g")
        return einsum(law, self.prior.mean(self.simplex.counts, self.simplex.k).to(law.dtype), "g h, g h l -> l g")

    def share(self, sg: int) -> Tensor:
        """How large a share of all agents is in each state while (s_g, h), as it is seen: `[N, sl]`."""
        if self.prior is None:
            return self.simplex.frequencies
        return self.prior.mean(self.simplex.counts, self.simplex.k)[sg]

    def movers(self, sg: int, law: Tensor) -> Tensor:
        """The law of the counts that move, `[N, ...]`, where those that are seen under sg have the given law."""
        return law if self.prior is None else self.prior.kernels(self.simplex)[sg].push(law)

    def changed(self, pi_l: Tensor) -> "Surrogate":
        """The surrogate under another `pi_l [sl, sg, al]`; the kernels of s_g where agents move as before are kept."""
        P_l_pi, r_l_pi = self.game.induced(pi_l)
        same = (P_l_pi == self.P_l_pi).all(0).all(-1).tolist()
        moves = [kernel.moves if isinstance(kernel, PosteriorKernel) else kernel for kernel in self.kernels]
        for sg in (sg for sg, alike in enumerate(same) if not alike):
            moves[sg] = make_kernels(P_l_pi[:, sg : sg + 1], self.plan)[0]
        tables = P_l_pi, r_l_pi, self.plan, self.prior, tuple(moves), self.crowd
        return replace(Surrogate.from_tables(self.game, *tables), pi_l=pi_l)

    def global_reward(self, sg: int) -> Tensor:
        """r_g of every action under s_g: `[ag]`, or `[N, ag]` where it sees the counts."""
        return self.game.r_g[sg] if self.crowd is None else self.crowd[sg]

    def led(self, pi_g: Tensor) -> Tensor:
        """What `pi_g [sg, N, ag]` earns of r_g: `[sg, N]`."""
        if self.crowd is None:
            return einsum(pi_g, self.game.r_g, "g h a, g a -> g h")
        return einsum(pi_g, self.crowd, "g h a, g h a -> g h")

    @property
    def simplex(self) -> CountSimplex:
        """The simplex of the surrogate's counts."""
        return self.plan.simplex

    def dense(self, dtype: torch.dtype) -> Tensor | None:
        """All kernels as one table `[sg, N, N]`, where they are small matrices; else None."""
        if dtype not in self._dense:
            small = self.simplex.size <= PREFERRED_DENSE
            exact = [kernel for kernel in self.kernels if isinstance(kernel, CountKernel)] if small else []
            matrices = [kernel.matrix(dtype) for kernel in exact if kernel.form == "dense"]
            self._dense[dtype] = torch.stack(matrices) if len(matrices) == len(self.kernels) else None
        return self._dense[dtype]

    @cached_property
    def _dense(self) -> dict[torch.dtype, Tensor | None]:
        return {}

    def map_sg(self, function: Callable[[int], Tensor]) -> list[Tensor]:
        """`function(s_g)` for every s_g, in order; where the tables are large, by several workers (`parallel`)."""
        states = range(self.game.num_sg)
        with one_thread():
            return run(function, states) if self.simplex.size >= MANY_COUNTS else [function(sg) for sg in states]

    @property
    def start(self) -> Tensor:
        """A first guess of the values, `[sg, N]`: zero, where the paper starts."""
        return torch.zeros_like(self.local_reward)

    @property
    def initial_law(self) -> Tensor:
        """The law rho of (s_g, h) at the start, `[sg, N]`: that of the game, with k agents."""
        law = self.game.initial
        return einsum(law.sg, self.plan.listed(law), "g, h -> g h")


class SurrogateCache:
    """Builds surrogates of one game and plan, and remembers the last: the players take turns on the same pi_l."""

    def __init__(self, game: Game, plan: PairPlan, prior: Prior | None = None, known: Surrogate | None = None) -> None:
        self.game, self.plan, self.prior = game, plan, prior
        self._last = None if known is None or known.pi_l is None else (known.pi_l, known)

    def __call__(self, pi_l: Tensor) -> Surrogate:
        """The surrogate under `pi_l [sl, sg, al]`."""
        if self._last is None or not torch.equal(self._last[0], pi_l):
            last = None if self._last is None else self._last[1]
            built = last.changed(pi_l) if last else Surrogate.build(self.game, pi_l, self.plan, self.prior)
            self._last = pi_l, built
        return self._last[1]


def surrogate_reward(surrogate: Surrogate) -> Tensor:
    """r_Delta of Eq. 6 on counts: `[sg, N, ag]`."""
    globally = surrogate.game.r_g[:, None, :] if surrogate.crowd is None else surrogate.crowd
    return globally + surrogate.local_reward[:, :, None]


def exact_surrogate(game: Game, pi_l: Tensor, plan: PairPlan) -> Surrogate:
    """The surrogate of `plan.simplex.k` agents under `pi_l [sl, sg, al]`, never with sampled kernels.

    Raises:
        KernelError: some s_g has no exact kernel.
    """
    P_l_pi, r_l_pi = game.induced(pi_l)
    moves = tuple(CountKernel(P_l_pi[:, sg], plan.simplex.k, plan=plan) for sg in range(game.num_sg))
    return Surrogate.from_tables(game, P_l_pi, r_l_pi, plan, moves=moves)
