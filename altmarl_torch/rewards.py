"""Public names of `games.reward_laws`."""

from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.reward_laws import DiscreteReward, GaussianReward, SampledReward, law_from_arrays

__all__ = ["DiscreteReward", "GaussianReward", "RewardLaw", "SampledReward", "law_from_arrays"]
