"""How large rewards and values of a game can be (Assumptions 2.2 and F.1)."""

from functools import cached_property

from torch import Tensor

from altmarl_torch.games.crowd import CrowdReward, crowd_range
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.storage import LAWS

__all__ = ["Bounded"]


class Bounded:
    """What follows from a game's rewards and gamma alone."""

    r_g: Tensor  # [sg, ag]
    r_l: Tensor  # [sl, sg, al]
    gamma: float
    r_g_law: RewardLaw | None
    r_l_law: RewardLaw | None
    r_g_mu: CrowdReward | None

    @property
    def r_g_max(self) -> float:
        """The largest |r_g| (Assumption 2.2), with r_g_mu as far as it was tried."""
        return float(self.r_g.abs().max()) + max(map(abs, self.crowd_range))

    @cached_property
    def crowd_range(self) -> tuple[float, float]:
        """The least and the largest r_g_mu (`games.crowd`), as far as it was tried."""
        return (0.0, 0.0) if self.r_g_mu is None else crowd_range(self)

    @property
    def r_l_max(self) -> float:
        """The largest |r_l| (Assumption 2.2)."""
        return float(self.r_l.abs().max())

    @property
    def r_tilde(self) -> float:
        """r_g_max + r_l_max, a bound on every stage reward (Assumption 2.2)."""
        return self.r_g_max + self.r_l_max

    @property
    def v_max(self) -> float:
        """r_tilde / (1 - gamma), a bound on every value."""
        return self.r_tilde / (1 - self.gamma)

    @property
    def has_random_rewards(self) -> bool:
        """Whether a reward has a law."""
        return self.r_g_law is not None or self.r_l_law is not None

    @property
    def reward_range(self) -> float:
        """sup G + sup L - inf G - inf L (Assumption F.1), by the laws' bounds, or a table's where it has no law."""
        total = 0.0
        for name, kept in LAWS.items():
            law, table = getattr(self, kept), getattr(self, name)
            total += float(table.max() - table.min()) if law is None else law.high - law.low
        return total
