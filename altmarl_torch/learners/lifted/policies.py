"""The greedy policy of lifted action values: read at any counts, without a table.

Q is lifted as a whole (`surrogate`), so its coefficients A [sg, ag, N_J] are the policy; where the reward sees the
crowd, with that function, which is read at the same counts. At counts of k agents it is the polynomial in h / k that
was learned for k; it may be read at fractional counts as well (a belief's mean), and a policy for k = inf reads the
proportions of whatever counts it is shown. Ties go to the smallest action, as everywhere.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.counts.lifted import Basis, of_groups
from altmarl_torch.games.crowd import CrowdReward
from altmarl_torch.learners.lifted.crowd import plus, seen_at, seen_everywhere
from altmarl_torch.policies.tabular import greedy_actions, one_hot
from altmarl_torch.support.showing import brief

__all__ = ["LiftedPolicy"]

ENTRIES_AT_ONCE = 2**22
"""Features that are computed at once."""


@dataclass(frozen=True, eq=False)
class LiftedPolicy:
    """Greedy in a lifted Q.

    Attributes:
        coefficients: `[sg, ag, N_J]`, of Q, but for r_g_mu.
        degree: J.
        num_sl: number of local states.
        k: how many agents the counts count, or infinity: any number.
        r_g_mu: the game's, or None.
    """

    coefficients: Tensor
    degree: int
    num_sl: int
    k: float
    r_g_mu: CrowdReward | None = None

    __repr__ = brief

    @cached_property
    def basis(self) -> Basis:
        """Of the coefficients."""
        return Basis(self.degree, self.num_sl, self.coefficients.device)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of global states and actions."""
        return self.coefficients.shape[0], self.coefficients.shape[1]

    def actions(self, counts: Tensor, s_g: Tensor | None = None) -> Tensor:
        """The greedy action in every global state, `[b, sg]`, or in one each, s_g `[b]`: `[b]`; counts `[b, sl]`."""
        rows = max(1, ENTRIES_AT_ONCE // self.basis.size)
        parts = [slice(start, start + rows) for start in range(0, max(len(counts), 1), rows)]
        if s_g is None:
            return torch.cat([self.greedy(self._values(counts[part])) for part in parts])
        return torch.cat([self.greedy(self._values_at(s_g[part], counts[part])) for part in parts])

    def _values(self, counts: Tensor) -> Tensor:
        """Q(., h, .) `[b, sg, ag]` at counts `[b, sl]`."""
        seen = seen_everywhere(self.r_g_mu, self.sizes, counts, self.k)
        Q = torch.einsum("bj,gaj->bga", self.basis.features(counts, self.k), self.coefficients)
        return plus(Q, None if seen is None else seen.transpose(0, 1))

    def _values_at(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """Q(s_g, h, .) `[b, ag]` at s_g `[b]` and counts `[b, sl]`."""
        Q = of_groups(s_g, self.basis.features(counts, self.k), self.coefficients)
        return plus(Q, seen_at(self.r_g_mu, self.sizes[1], s_g, counts, self.k))

    def greedy(self, Q: Tensor) -> Tensor:
        """The greedy actions for values `[..., ag]`; none for none."""
        return greedy_actions(Q) if Q.numel() else torch.zeros(Q.shape[:-1], dtype=torch.int64, device=Q.device)

    def laws(self, counts: Tensor) -> Tensor:
        """The greedy law in every global state: `[b, sg, ag]`, float32."""
        return one_hot(self.actions(counts), self.sizes[1]).float()

    def average(self, counts: Tensor, Q: Tensor) -> Tensor:
        """Q of the greedy action in every global state: `[b, sg]`."""
        return Q.gather(-1, self.actions(counts).unsqueeze(-1)).squeeze(-1)

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The greedy law: s_g `[...]` and counts `[..., sl]` to `[..., ag]`, float64."""
        chosen = self.actions(counts.reshape(-1, counts.shape[-1]), s_g.reshape(-1))
        return one_hot(chosen.reshape(s_g.shape), self.sizes[1])
