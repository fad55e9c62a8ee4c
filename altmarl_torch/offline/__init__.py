"""Learning from data: trajectories, what they cover, the game counted from them, off-policy Q-learning."""

from altmarl_torch.offline.learning import game_of_data

__all__ = ["game_of_data"]
