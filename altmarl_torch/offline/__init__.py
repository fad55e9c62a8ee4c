"""Learning from data: trajectories, what they cover, games counted from logs, Q-learning."""
