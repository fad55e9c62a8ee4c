"""r_g_mu where a lifted Q is read: at counts of k agents, fractional ones too, and at k = inf at their proportions.

None stands for the rewards of a game without it, which nothing is added for.
"""

from torch import Tensor

from altmarl_torch.counts.lifted import as_frequencies
from altmarl_torch.games.crowd import CrowdReward, crowd_rewards, crowd_rewards_at

__all__ = ["plus", "seen_at", "seen_everywhere"]


def seen_everywhere(function: CrowdReward | None, sizes: tuple[int, int], counts: Tensor, k: float) -> Tensor | None:
    """r_g_mu in each of so many s_g, for each of so many a_g, at counts `[b, sl]`: `[sg, b, ag]`; errors as there."""
    return None if function is None else crowd_rewards(function, sizes, as_frequencies(counts, k))


def seen_at(function: CrowdReward | None, num_ag: int, s_g: Tensor, counts: Tensor, k: float) -> Tensor | None:
    """r_g_mu for each of so many a_g, in the s_g `[b]` of each row of counts `[b, sl]`: `[b, ag]`; errors as there."""
    return None if function is None else crowd_rewards_at(function, num_ag, s_g, as_frequencies(counts, k))


def plus(Q: Tensor, seen: Tensor | None) -> Tensor:
    """Action values with what is seen, if anything is."""
    return Q if seen is None else Q + seen
