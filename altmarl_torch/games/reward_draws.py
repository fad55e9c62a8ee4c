r"""What counts of agents earn under a frozen pi_l, drawn: R(s, a) of Eq. 52 and R_Delta(s, a) of Eq. 53 (Appendix F).

The c(z) agents in state z choose their actions, Multinomial(c(z), pi_l(. | z, s_g)), and those with one state and
action earn one sum of i.i.d. rewards (`games.reward_laws`): a draw costs the same for any number of agents. An
action decides both what an agent earns and where it goes, so that once it is known who went where, actions are drawn
given that: pi_l(a | z, s_g) P_l(z' | z, s_g, a), in proportion, for those that went from z to z'. Xi
independent draws of R_Delta for k agents add up like one draw for Xi k agents, so that Xi is free as well.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.support.sampling import deal, split_shares

__all__ = ["RewardSampler"]


@dataclass(frozen=True, eq=False)
class RewardSampler:
    """Draws what counts of agents earn under a frozen pi_l; where a reward has no law, its mean.

    Attributes:
        r_g: `[sg, ag]`, means.
        local_means: `[sg, sl]`, r_l_pi of Eq. 6 with a row for each s_g.
        action_shares: `[sg, sl, al]`, `split_shares` of pi_l.
        moved_shares: `[sg, sl, sl', al]`, the same given the move.
        r_g_law, r_l_law: the laws, or None.
    """

    r_g: Tensor
    local_means: Tensor
    action_shares: Tensor
    moved_shares: Tensor
    r_g_law: RewardLaw | None
    r_l_law: RewardLaw | None

    @classmethod
    def of(
        cls,
        r_g: Tensor,
        r_l_pi: Tensor,
        P_l: Tensor,
        pi_l: Tensor,
        r_g_law: RewardLaw | None,
        r_l_law: RewardLaw | None,
    ) -> "RewardSampler":
        """From the means, `r_l_pi [sl, sg]`, `P_l [sl, sg, al, sl']` and `pi_l [sl, sg, al]`, and the laws."""
        shares = rearrange(split_shares(pi_l), "l g a -> g l a").contiguous()
        moved = split_shares(einsum(pi_l, P_l, "l g a, l g a next -> g l next a"))  # ratios: the sums do not matter
        return cls(r_g, r_l_pi.T.contiguous(), shares, moved, r_g_law, r_l_law)

    def draw_global(self, s_g: Tensor, a_g: Tensor, generator: torch.Generator, *, xi: int = 1) -> Tensor:
        """The average of `xi` draws of r_g(s_g, a_g), in the shape of the indices."""
        if self.r_g_law is None:
            return self.r_g[s_g, a_g]
        number = torch.tensor(float(xi), dtype=torch.float64, device=self.r_g.device)
        return self.r_g_law.draw_sum(number, s_g, a_g, generator=generator) / xi

    def draw_local(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """What all agents in each state earn together, actions drawn: `[b, sl]` for counts `[b, sl]` (float64).

        Where r_l has no law, its expectation over the actions (Eq. 6), as for a game without laws.
        """
        if self.r_l_law is None:
            return counts * self.local_means[s_g]
        return self._earned(s_g, deal(counts, self.action_shares[s_g], generator), generator)

    def draw_moved(self, s_g: Tensor, flows: Tensor, generator: torch.Generator) -> Tensor:
        """As `draw_local`, for agents of whom `flows [b, sl, sl']` says where they went in the same step."""
        if self.r_l_law is None:
            return flows.sum(-1) * self.local_means[s_g]
        return self._earned(s_g, deal(flows, self.moved_shares[s_g], generator).sum(-2), generator)

    def _earned(self, s_g: Tensor, acting: Tensor, generator: torch.Generator) -> Tensor:
        """What `acting [b, sl, al]` agents earn, by state: `[b, sl]`."""
        assert self.r_l_law is not None
        device = acting.device
        sl = torch.arange(acting.shape[-2], device=device).unsqueeze(-1)
        al = torch.arange(acting.shape[-1], device=device)
        return self.r_l_law.draw_sum(acting, sl, s_g[:, None, None], al, generator=generator).sum(-1)

    def noise(self, s_g: Tensor, counts: Tensor, xi: int, generator: torch.Generator) -> Tensor:
        """The average of `xi` draws of R_Delta (Eq. 53) less its mean: `[b, ag]`, for `[b]` and `[b, sl]`.

        Every action has draws of its own; `xi` draws for k agents are one draw for xi k agents.
        """
        num_ag = self.r_g.shape[1]
        a_g = torch.arange(num_ag, device=s_g.device)
        noise = self.draw_global(s_g.unsqueeze(-1), a_g, generator, xi=xi) - self.r_g[s_g]
        if self.r_l_law is None:
            return noise
        rows, agents = s_g.repeat_interleave(num_ag), counts.double().repeat_interleave(num_ag, 0)
        local = self.draw_local(rows, agents * xi, generator) / xi - agents * self.local_means[rows]
        return noise + rearrange(local.sum(-1) / agents.sum(-1), "(b a) -> b a", a=num_ag)
