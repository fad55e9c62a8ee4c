"""The winner's curse of a fitted game, and what it comes to: a pair is judged by data that it was not chosen on.

The pair that is best in a game counted from a log is best for the log's noise as well, so that the game promises more
than the true one keeps. To see how much, let the log fall into two halves by lot: solve the game of one, and play the
pair in the game of the other, which knows nothing of that noise,

    promised   what the halves' pairs earn in the games that they were chosen in
    kept       what they earn in the other half's.

The difference is the optimism of half a log. Where many pairs are alike but for noise it is a maximum of noise, and
falls like 1/sqrt(rows); where one is clearly best it falls like 1/rows. The slower is taken, so that the whole log's is
0.71 of the difference: an estimate, with noise of its own, to be read beside the spread of `FittedGame.returns`.
"""

import math
from dataclasses import dataclass

import numpy as np

from altmarl_torch.alternation.solving import solve
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.offline.fitted_game import FittedGame
from altmarl_torch.support.tables import as_seed

__all__ = ["HeldOut", "held_out"]


@dataclass(frozen=True)
class HeldOut:
    """What pairs chosen on half a log earn.

    Attributes:
        promised: in the game counted from that half, mean return.
        kept: in the game counted from the other half.
    """

    promised: float
    kept: float

    @property
    def optimism(self) -> float:
        """By how much the whole log's game promises too much, about: its halves' too much, over the root of two."""
        return (self.promised - self.kept) / math.sqrt(2)


def held_out(fitted: FittedGame, k: int, *, episodes: int = 750, horizon: int = 100, seed: int = 0) -> HeldOut:
    """Solve each half's game for k agents, and play its pair in both (module docstring).

    Raises:
        ArgumentError: a number is outside its range.
    """
    first, second = fitted.halves(seed)
    promised, kept = list[float](), list[float]()
    for chosen, other in ((first, second), (second, first)):
        pair = solve(chosen, k, seed=as_seed(seed))
        for earned, game in ((promised, chosen), (kept, other)):
            earned.append(rollout(game, pair, episodes=episodes, horizon=horizon, seed=seed).mean)
    return HeldOut(float(np.mean(promised)), float(np.mean(kept)))
