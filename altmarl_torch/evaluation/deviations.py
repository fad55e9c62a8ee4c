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
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel, Kernel, make_kernels
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.threads import run

__all__ = ["Active", "Payoff", "SharedDeviation", "TaggedAgent"]

Payoff = Literal["team", "own"]

Active = list[list[int]]
"""Of each s_g, the indices of the choices that are tried."""


@dataclass(frozen=True)
class TaggedAgent:
    """One agent singled out of the surrogate, on states (s_g, z, c): c the counts of its k - 1 companions.

    Counts stand last: every product over them then runs along the memory, and a sweep takes half the time.
    """

    surrogate: Surrogate
    reward: Tensor  # [sg, sl, al, M] payoff per macro step
    to_sg: Tensor  # [sg, sg', sl, M] law of s_g' given (s_g, c + e_z)
    law: Tensor  # [sg, sl, M] initial law
    joined: Tensor  # [sl, M] rank of c + e_z among the counts of k agents
    kernels: tuple[Kernel, ...]  # law of the companions' next counts under each s_g

    @classmethod
    def build(cls, surrogate: Surrogate, pi_g: Tensor, payoff: Payoff) -> "TaggedAgent":
        """Single one agent out of the surrogate under `pi_g [sg, N, ag]`."""
        game, companions, k = surrogate.game, surrogate.plan.companions, surrogate.simplex.k
        joined = companions.simplex.add_one()[1].T.contiguous()
        reward = rearrange(game.r_l, "l g a -> g l a 1").expand(-1, -1, -1, joined.shape[-1])
        if payoff == "team":
            others = einsum(companions.simplex.counts.to(torch.float64), surrogate.r_l_pi, "c l, l g -> g c")
            globally = surrogate.led(pi_g)[:, joined]
            reward = globally.unsqueeze(2) + (others[:, None, None] + reward) / k
        # the chance that an agent drawn from c + e_z is in z
        chance = (companions.simplex.counts.T + 1).to(torch.float64) / k
        return cls(
            surrogate,
            reward,
            rearrange(next_sg_law(surrogate, pi_g)[:, joined], "g l c G -> g G l c").contiguous(),
            surrogate.initial_law[:, joined] * chance,
            joined,
            make_kernels(surrogate.P_l_pi, companions),
        )

    def action_values(self, values: Tensor) -> Tensor:
        """The payoff of each action from (s_g, z, c), `[sg, sl, al, M]`, if it goes on with values `[sg, sl, M]`."""
        return self._ahead(values, self.reward, rearrange(self.surrogate.game.P_l, "l g a y -> g l a y"))

    def best_backup(self, values: Tensor) -> Tensor:
        """The relaxed agent's Bellman operator, on `[sg, sl, M]`."""
        return self.action_values(values).amax(2)

    def policy_backup(self, pi_l: Tensor) -> Callable[[Tensor], Tensor]:
        """The Bellman operator of an agent that plays `pi_l [sl, sg, al]`, on `[sg, sl, M]`."""
        reward = einsum(pi_l, self.reward, "l g a, g l a c -> g l c").unsqueeze(2)
        moves = einsum(pi_l, self.surrogate.game.P_l, "l g a, l g a y -> g l y").unsqueeze(2)
        return lambda values: self._ahead(values, reward, moves).squeeze(2)

    def _ahead(self, values: Tensor, reward: Tensor, moves: Tensor) -> Tensor:
        """reward `[sg, sl, x, M]`, and the values after the agent has moved by `moves [sg, sl, x, sl']`."""
        columns, dtype = rearrange(values, "G y c -> c G y").contiguous(), values.dtype
        to_sg, moves = self.to_sg.to(dtype), moves.to(dtype)

        def one(sg: int) -> Tensor:
            arrived = rearrange(self.kernels[sg].expect(columns), "c G y -> G y c").contiguous()
            onward = torch.zeros_like(arrived[0]).expand(len(moves[sg]), -1, -1).clone()  # [sl, sl', M]
            for law, following in zip(to_sg[sg], arrived, strict=True):
                onward.addcmul_(law.unsqueeze(1), following)
            return moves[sg] @ onward

        following = torch.stack(self.surrogate.map_sg(one))
        return torch.add(reward.to(dtype), following, alpha=self.surrogate.game.gamma)


class SharedDeviation:
    """All k agents replaced: pi_g stays, and the local actions may depend on (s_g, h).

    Args:
        surrogate: the k agents under the present pi_l.
        pi_g: `[sg, N, ag]`.

    Attributes:
        choices: [alphas, sl] every assignment of an action to each local state.
    """

    def __init__(self, surrogate: Surrogate, pi_g: Tensor) -> None:
        game = surrogate.game
        self.surrogate, self.to_sg = surrogate, next_sg_law(surrogate, pi_g)
        self.global_reward = surrogate.led(pi_g)
        assignments = itertools.product(range(game.num_al), repeat=game.num_sl)
        self.choices = torch.tensor(list(assignments), device=game.device)
        self._states = torch.arange(game.num_sl, device=game.device)
        self._kernels: dict[tuple[int, int], CountKernel] = {}

    @property
    def everything(self) -> Active:
        """Every choice, for every s_g."""
        return [list(range(len(self.choices)))] * self.surrogate.game.num_sg

    def best_backup(self, values: Tensor, active: Active) -> Tensor:
        """The relaxed Bellman operator over the active choices of each s_g, on `[sg, N]`.

        Raises:
            KernelError: some choice has no exact kernel.
        """
        return self.improve(values, active, math.inf)[0]

    def improve(self, values: Tensor, order: Active, margin: float) -> tuple[Tensor, Active]:
        """The same, and the choices that win somewhere by more than `margin` over all that stand before them."""
        columns = rearrange(values, "G h -> h G").contiguous()
        best = run(lambda sg: self._best(sg, columns, order[sg], margin), range(len(values)))
        backed = torch.stack([value for value, _ in best]) + self.global_reward.to(values.dtype)
        return backed, [winners for _, winners in best]

    def cover(self, values: Tensor, margin: float) -> Active:
        """Few choices for each s_g that come within `margin` of the best at every h, the most useful first."""
        columns = rearrange(values, "G h -> h G").contiguous()
        return [self._cover(sg, columns, margin) for sg in range(len(values))]

    def _cover(self, sg: int, columns: Tensor, margin: float) -> list[int]:
        worth = torch.stack([self._value(sg, choice, columns) for choice in range(len(self.choices))])
        close, found = worth >= worth.amax(0) - margin, list[int]()
        uncovered = torch.ones_like(close[0])
        while bool(uncovered.any()):
            found.append(int((close & uncovered).sum(-1).argmax()))
            uncovered = uncovered & ~close[found[-1]]
        return found

    def _best(self, sg: int, columns: Tensor, order: list[int], margin: float) -> tuple[Tensor, list[int]]:
        best, winners = self._value(sg, order[0], columns), order[:1]
        for choice in order[1:]:
            value = self._value(sg, choice, columns)
            if float((value - best).max()) > margin:
                winners.append(choice)
            best = torch.maximum(best, value)
        return best, winners

    def kernel(self, sg: int, choice: int) -> CountKernel:
        """The law of the next counts under s_g and a choice."""
        if (sg, choice) not in self._kernels:
            P, k = self.surrogate.game.P_l[self._states, sg, self.choices[choice]], self.surrogate.simplex.k
            self._kernels[sg, choice] = CountKernel(P, k, plan=self.surrogate.plan, keep=False)
        return self._kernels[sg, choice]

    def error_bound(self, active: Active) -> float:
        """The largest bound on the relative rounding error of the kernels of some choices."""
        return max(self.kernel(sg, choice).error_bound for sg, choices in enumerate(active) for choice in choices)

    def _value(self, sg: int, choice: int, columns: Tensor) -> Tensor:
        """What a choice is worth at every h, less the global reward, if it goes on with values `[N, sg']`: `[N]`."""
        game, dtype, alpha = self.surrogate.game, columns.dtype, self.choices[choice]
        expected = self.kernel(sg, choice).expect(columns)
        reward = self.surrogate.simplex.frequencies.to(dtype) @ game.r_l[self._states, sg, alpha].to(dtype)
        return reward.add_((expected * self.to_sg[sg].to(dtype)).sum(-1), alpha=game.gamma)
