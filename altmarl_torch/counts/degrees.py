"""How far degrees of lifted functions go; without torch, for whoever only reads options."""

__all__ = ["MOST_DEGREE"]

MOST_DEGREE = 64
"""Of lifted functions: J! is then below 10^90, far from the largest double."""
