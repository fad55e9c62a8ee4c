r"""What a deviating local player could gain: the problems behind Gap_2, each solved exactly or bounded from above.

A local policy sees (s_l, s_g) alone, so the best deviation solves a problem of partial observation. On small chains it
is found by a search (`tied`); the bound of that search, and all that there is on large ones, is a deviator that is
*relaxed*, given more to see than the rules allow. A relaxed deviator can do all that a constrained one can, so its gain
bounds the true one from above, and its problem is an MDP again. There are two kinds of deviation:

**One agent** (Definition 2.4). A tagged agent in state z plays its own policy; its k - 1 companions, with counts c,
keep pi_l. Relaxed, it sees (z, s_g, c):

    V(z, s_g, c) = max_a r(z, s_g, c, a)
                   + gamma sum_{s_g'} to(s_g' | s_g, c + e_z) sum_{z'} P_l(z' | z, s_g, a) E[ V(z', s_g', c') | c ],

with to(. | s_g, h) = sum_a pi_g(a | s_g, h) P_g(. | s_g, a). Its payoff is its own reward, r_l, or the team's,
r_g + (r_l + companions' rewards)/k.

**All agents at once** (Gap_2 of Definition D.1). The shared policy is replaced. Relaxed, the joint choice of one action
for each local state, alpha: S_l -> A_l, may depend on (s_g, h):

    V(s_g, h) = r_g + max_alpha ( sum_z (h_z / k) r_l(z, s_g, alpha(z)) + gamma E_alpha V(s_g', h') ),

a maximum over |A_l|^|S_l| kernels. A deterministic pi_l(s_l, s_g) is one such alpha for each s_g.

Both operators are monotone and shift constants by gamma, so `fixed_point` solves them with its bound on the error.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel, Kernel, make_kernels
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.threads import run

__all__ = ["Payoff", "SharedDeviation", "TaggedAgent"]

Payoff = Literal["team", "own"]


@dataclass(frozen=True)
class TaggedAgent:
    """One agent singled out of the surrogate, on states (s_g, c, z): c the counts of its k - 1 companions."""

    surrogate: Surrogate
    reward: Tensor  # [sg, M, sl, al] payoff per macro step
    to_sg: Tensor  # [sg, M, sl, sg'] law of s_g' given (s_g, c + e_z)
    law: Tensor  # [sg, M, sl] initial law
    joined: Tensor  # [M, sl] rank of c + e_z among the counts of k agents
    kernels: tuple[Kernel, ...]  # law of the companions' next counts under each s_g

    @classmethod
    def build(cls, surrogate: Surrogate, pi_g: Tensor, payoff: Payoff) -> "TaggedAgent":
        """Single one agent out of the surrogate under `pi_g [sg, N, ag]`."""
        game, companions, k = surrogate.game, surrogate.plan.companions, surrogate.simplex.k
        _, joined = companions.simplex.add_one()
        reward = rearrange(game.r_l, "l g a -> g 1 l a").expand(-1, len(joined), -1, -1)
        if payoff == "team":
            others = einsum(companions.simplex.counts.to(torch.float64), surrogate.r_l_pi, "c l, l g -> g c")
            globally = einsum(pi_g, game.r_g, "g h a, g a -> g h")[:, joined]
            reward = globally.unsqueeze(-1) + (others[..., None, None] + reward) / k
        # the chance that an agent drawn from c + e_z is in z
        chance = (companions.simplex.counts + 1).to(torch.float64) / k
        return cls(
            surrogate,
            reward,
            next_sg_law(surrogate, pi_g)[:, joined],
            surrogate.initial_law[:, joined] * chance,
            joined,
            make_kernels(surrogate.P_l_pi, companions),
        )

    def action_values(self, values: Tensor) -> Tensor:
        """The payoff of each action from (s_g, c, z), `[sg, M, sl, al]`, if it goes on with values `[sg, M, sl]`."""
        game, dtype = self.surrogate.game, values.dtype
        columns, P_l = rearrange(values, "G c y -> c G y").contiguous(), game.P_l.to(dtype)

        def one(sg: int) -> Tensor:
            arrived = self.kernels[sg].expect(columns)
            onward = einsum(self.to_sg[sg].to(dtype), arrived, "c l G, c G y -> c l y")
            return einsum(onward, P_l[:, sg], "c l y, l a y -> c l a")

        following = torch.stack(self.surrogate.map_sg(one))
        return self.reward.to(dtype) + game.gamma * following

    def best_backup(self, values: Tensor) -> Tensor:
        """The relaxed agent's Bellman operator, on `[sg, M, sl]`."""
        return self.action_values(values).amax(-1)

    def policy_backup(self, pi_l: Tensor, values: Tensor) -> Tensor:
        """The Bellman operator of an agent that plays `pi_l [sl, sg, al]`, on `[sg, M, sl]`."""
        weights = rearrange(pi_l, "l g a -> g 1 l a").to(values.dtype)
        return (weights * self.action_values(values)).sum(-1)


@dataclass(frozen=True)
class SharedDeviation:
    """All k agents replaced: pi_g stays, and the local actions may depend on (s_g, h)."""

    surrogate: Surrogate
    global_reward: Tensor  # [sg, N] sum_a pi_g r_g
    to_sg: Tensor  # [sg, N, sg'] law of s_g' given (s_g, h)
    choices: Tensor  # [alphas, sl] every assignment of an action to each local state
    kernels: tuple[tuple[CountKernel, ...], ...]  # [sg][alphas] law of h' under each

    @classmethod
    def build(cls, surrogate: Surrogate, pi_g: Tensor) -> "SharedDeviation":
        """Form the relaxed problem under `pi_g [sg, N, ag]`. KernelError where some alpha has no exact kernel."""
        game, k = surrogate.game, surrogate.simplex.k
        assignments = itertools.product(range(game.num_al), repeat=game.num_sl)
        choices = torch.tensor(list(assignments), device=game.device)
        states = torch.arange(game.num_sl, device=game.device)
        kernels = tuple(
            tuple(CountKernel(game.P_l[states, sg, alpha], k, plan=surrogate.plan, keep=False) for alpha in choices)
            for sg in range(game.num_sg)
        )
        globally = einsum(pi_g, game.r_g, "g h a, g a -> g h")
        return cls(surrogate, globally, next_sg_law(surrogate, pi_g), choices, kernels)

    def best_backup(self, values: Tensor) -> Tensor:
        """The relaxed Bellman operator, on `[sg, N]`."""
        columns = rearrange(values, "G h -> h G").contiguous()
        best = run(lambda sg: self._best(sg, columns), range(len(values)))
        return torch.stack(best) + self.global_reward.to(values.dtype)

    def _best(self, sg: int, columns: Tensor) -> Tensor:
        game, dtype = self.surrogate.game, columns.dtype
        frequencies, to_sg = self.surrogate.simplex.frequencies.to(dtype), self.to_sg[sg].to(dtype)
        states, best = torch.arange(game.num_sl, device=game.device), None
        for alpha, kernel in zip(self.choices, self.kernels[sg], strict=True):
            reward = frequencies @ game.r_l[states, sg, alpha].to(dtype)
            value = reward.add_((kernel.expect(columns) * to_sg).sum(-1), alpha=game.gamma)
            best = value if best is None else torch.maximum(best, value)
        assert best is not None
        return best
