"""What L-LEARN will take, said before it begins where that is long: one line, in the same words whatever the solver."""

import logging

from altmarl_torch.alternation.run import AlternationRun

__all__ = ["announce"]

logger = logging.getLogger(__name__)

LONG = 20.0
"""Seconds of a core from which it is said."""


def announce(run: AlternationRun, seconds: float, on: str, advice: str) -> None:
    """Say how long L-LEARN is expected to take, on what it weighs the changes of pi_l, and what takes less."""
    if seconds > LONG and not run.only_global:
        game = run.game
        told = "L-LEARN weighs %s single changes of pi_l on %s: about %.0f s of a core; %s"
        changes = game.num_sl * game.num_sg * (game.num_al - 1)
        logger.warning(told, f"{changes:,}", on, seconds, advice)
