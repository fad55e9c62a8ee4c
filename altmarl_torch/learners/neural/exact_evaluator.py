"""The joint value of a pair where the pairs (s_g, h) are few: computed, from what pi_g does at each of them.

There `rollout_evaluator` would meet the same few states again and again. The value is that of `operators.joint_value`,
with its bound on the error and no standard error; for samples of several sizes it is their mean.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.policies import BatchPolicy, tabulate
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.operators.joint_value import JointValue, joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Pair

__all__ = ["ExactEvaluator"]


@dataclass
class ExactEvaluator:
    """Scores pairs by their values.

    Attributes:
        game: the game, its rewards those that are judged.
        k: number of agents, or several.
        prior: of the posterior correction.
    """

    game: Game
    k: SampleSizes
    prior: Prior | None = None

    @cached_property
    def _plans(self) -> list[PairPlan]:
        return [PairPlan(CountSimplex(k, self.game.num_sl, self.game.device)) for k in self.k.numbers]

    def evaluate(self, pair: Pair[BatchPolicy], start: Tensor | None) -> JointValue:
        """The joint value of the pair; `start` is of no use here."""
        found = []
        for plan in self._plans:
            surrogate = Surrogate.build(self.game, pair.pi_l, plan, self.prior)
            found.append(joint_value(surrogate, tabulate(pair.pi_g, plan.simplex).double()))
        if len(found) == 1:
            return found[0]
        values = torch.cat([one.values for one in found], -1)
        mean, error = sum(one.mean for one in found) / len(found), max(one.error for one in found)
        return JointValue(values, mean, error, sum(one.sweeps for one in found))

    def evaluate_rival(self, pair: Pair[BatchPolicy], value: JointValue) -> JointValue:
        """As `evaluate`: nothing is saved by giving up."""
        return self.evaluate(pair, None)
