"""Other people's learners at work on a game, each an extra of its own: `sb3` for Stable-Baselines3, `torchrl`."""
