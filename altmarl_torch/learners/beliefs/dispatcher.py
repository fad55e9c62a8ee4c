"""A dispatcher that decides by values of its belief: what to do, and how many to ask before it looks.

Where there are several numbers of questions to choose from, it says before each look how many it wants to hear (`ask`),
and hears no more: of a larger sample it draws as many and forgets the rest.
"""

import math
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.beliefs.values import BeliefValues
from altmarl_torch.policies.base import Sight, for_one_too
from altmarl_torch.support.sampling import count_labels, distinct_labels
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = ["AskingDispatcher"]


class AskingDispatcher:
    """`reset(batch)`, then at each step `ask(s_g)` and `act(s_g, counts)`; whoever does not ask is asked for.

    Args:
        values: of beliefs.
        sight: what is sampled.
        seed: of draws.

    Attributes:
        asked: `[batch]`, how many it wanted to hear in the last step.
    """

    def __init__(self, values: BeliefValues, sight: Sight, seed: int = 0) -> None:
        self._values, self._sight = values, sight
        self._generator = torch.Generator(device=sight.device).manual_seed(as_seed(seed))
        self.reset(0)

    def reset(self, batch: int) -> None:
        """Forget all samples: `batch` new episodes."""
        self._mean, self._strength = self._values.belief.begin(as_integer("batch", batch, 0, math.inf, ArgumentError))
        self.asked: Tensor | None = None
        self._is_asking = False

    def ask(self, s_g: object) -> Tensor:
        """How many to ask at this step: `[batch]` int64, for s_g `[batch]`."""
        nobody = torch.zeros(len(self._mean), self._sight.num_sl, dtype=torch.int64, device=self._sight.device)
        states, _ = self._sight.read(s_g, nobody)
        self.asked = self._values.ask(states, self._mean, self._strength, self._generator)
        self._is_asking = True
        return self.asked

    @for_one_too
    def act(self, s_g: Any, counts: Any) -> Tensor:
        """Look at no more than was asked for, act, predict: actions `[batch]` int64."""
        states, h = self._sight.read(s_g, counts)
        if len(states) != len(self._mean):
            raise ArgumentError(f"the belief is of {len(self._mean)} systems, s_g of {len(states)}: call reset first")
        asked = self.asked if self._is_asking and self.asked is not None else self.ask(states)
        self._is_asking = False
        belief = self._values.belief
        heard = self._heard(h, asked) if len(self._values.asks) > 1 else h  # with one number, whoever answers is heard
        looked = belief.look(self._mean, self._strength, heard)
        chosen = self._values.act(states, *looked)
        self._mean, self._strength = belief.predict(*looked, states)
        return chosen

    def _heard(self, counts: Tensor, asked: Tensor) -> Tensor:
        """As many of each row of counts as were asked, drawn uniformly."""
        total, heard = counts.sum(-1), counts.clone()
        wide = self._sight.k + 1  # one number for each pair (size, q): sorting rows takes longer
        for pair in torch.unique((total * wide + asked)[total > asked]).tolist():
            size, q = divmod(pair, wide)
            here = (total == size) & (asked == q)
            labels = distinct_labels(int(here.sum()), min(q, size - q), size, self._generator)
            heard[here] = count_labels(labels, counts[here].double(), q)
        return heard
