"""The alternation for simulators: its players, what it finds, and `solve` for every kind of game."""
