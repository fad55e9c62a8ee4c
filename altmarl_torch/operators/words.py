"""The words for what is maximised and when a change is accepted; without torch, for whoever only reads options."""

from typing import Literal

__all__ = ["Acceptance", "Objective"]

Acceptance = Literal["mean", "all-states"]
"""UPDATE's rules."""

Objective = Literal["team", "own"]
"""What a local agent maximises: the reward of the game, r_g + mean r_l, or the paper's mean r_l alone."""
