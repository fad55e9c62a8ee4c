"""From a game to a Solution: the loop (Algorithm 3), its players, starts, observation models, checkpoints."""
