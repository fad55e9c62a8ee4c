"""What a belief is worth, and what is best by it; how values are fitted is told in `learners.beliefs.fitting`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import FileFormatError
from altmarl_torch.learners.beliefs.points import MOST_DEGREE, BeliefFeatures, answers, combined
from altmarl_torch.policies.belief import Belief
from altmarl_torch.policies.tabular import greedy_actions
from altmarl_torch.support.npz import as_scalar
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_finite, as_integer, as_law, as_number, as_table, as_whole

__all__ = ["BeliefValues"]

FOLDER, FACTS = "values/", ("gamma", "price", "degree")
TABLES = {"P_g": "sg ag sg'", "r_g": "sg ag", "r_l": "sg sl", "coefficients": "f sg", "asks": "q"}

AT_ONCE = 2**10
"""Beliefs that are read at once: of tens of thousands, features are made four times as slowly."""
"""Its entries in a file: where they stand, numbers, and tables with their axes."""


@dataclass(frozen=True, eq=False)
class BeliefValues:
    """Values of beliefs, and what is best by them.

    Attributes:
        P_g: `[sg, ag, sg']`, of the game.
        r_g: `[sg, ag]`, of the game.
        gamma: of the game.
        r_l: `[sg, sl]`, the local reward under the local policy.
        belief: how a belief begins and moves under that policy.
        asks: how many may be asked, the fewest first.
        price: of a question.
        features: functions of beliefs.
        coefficients: `[features, sg]`, of U.
    """

    P_g: Tensor
    r_g: Tensor
    gamma: float
    r_l: Tensor
    belief: Belief
    asks: tuple[int, ...]
    price: float
    features: BeliefFeatures
    coefficients: Tensor

    __repr__ = brief

    def pack(self) -> dict[str, Any]:
        """Its entries in a file; the belief has entries of its own."""
        tables = {name: getattr(self, name).cpu().numpy() for name in TABLES if name != "asks"}
        facts = {"asks": list(self.asks), "gamma": self.gamma, "price": self.price}
        degree = {"degree": self.features.basis.degree}
        return {f"{FOLDER}{name}": entry for name, entry in (tables | facts | degree).items()}

    @classmethod
    def is_in(cls, arrays: Mapping[str, Any]) -> bool:
        """Whether a file holds values of beliefs."""
        return any(name.startswith(FOLDER) for name in arrays)

    @classmethod
    def unpack(cls, arrays: Mapping[str, Any], belief: Belief) -> "BeliefValues":
        """The values that `pack` wrote, on the CPU; a FileFormatError where an entry is missing or malformed."""
        missing = [name for name in (*TABLES, *FACTS) if f"{FOLDER}{name}" not in arrays]
        if missing:
            raise FileFormatError(f"its values of beliefs lack {', '.join(missing)}")
        tables = {name: _read_table(name, arrays, axes) for name, axes in TABLES.items()}
        gamma, price, degree = (as_scalar(name, arrays[f"{FOLDER}{name}"], FileFormatError) for name in FACTS)
        degree = as_integer("degree", degree, 0, MOST_DEGREE, FileFormatError)
        num_sg, num_sl, num_ag = *belief.moves.shape[:2], tables["r_g"].shape[-1]
        rows = 3 * CountSimplex(degree, num_sl).size
        shapes = ((num_sg, num_ag, num_sg), (num_sg, num_ag), (num_sg, num_sl), (rows, num_sg))
        for (name, table), shape in zip(tables.items(), shapes, strict=False):
            if table.shape != shape:
                raise FileFormatError(f"{name} of the values has shape {list(table.shape)}; {list(shape)} is needed")
        numbers = as_whole("asks", tables.pop("asks"), "q", FileFormatError).tolist()
        asks = tuple(as_integer("asks", q, 0, belief.n, FileFormatError) for q in numbers)
        return cls(
            **tables | {"P_g": as_law("P_g", tables["P_g"], TABLES["P_g"], FileFormatError)},
            gamma=as_number("gamma", gamma, "[0, 1)", lambda x: 0 <= x < 1, FileFormatError),
            belief=belief,
            asks=asks,
            price=as_number("price", price, "[0, inf)", lambda x: 0 <= x < math.inf, FileFormatError),
            features=BeliefFeatures(Basis(degree, num_sl)),
        )

    def act(self, s_g: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
        """The best action after looking, for s_g `[b]`, means `[b, sl]` and strengths `[b, 1]`: `[b]`."""
        return greedy_actions(self._action_values(s_g, mean, strength))

    def ask(self, s_g: Tensor, mean: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
        """How many to ask, before looking: `[b]` int64, among `asks`.

        More answers are worth no less, whatever a few draws say of them: where they cost nothing, all are asked.
        """
        if len(self.asks) == 1 or self.price == 0:
            return torch.full_like(s_g, self.asks[-1])
        worth = []
        for q in self.asks:
            counts, weights = answers(q, mean, strength, generator)
            after, stronger = self.belief.look(mean.unsqueeze(1), strength.unsqueeze(1), counts)
            each = s_g.repeat_interleave(counts.shape[1])
            best = self._action_values(each, after.flatten(0, 1), stronger.flatten(0, 1)).amax(-1)
            worth.append((weights * best.view_as(weights)).sum(-1))
        numbers = torch.tensor(self.asks, device=s_g.device)
        return numbers[(torch.stack(worth, -1).cummax(-1).values - self.price * numbers).argmax(-1)]

    def _action_values(self, s_g: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
        """What each action is worth after looking: `[b, ag]`."""
        parts = zip(*(torch.split(rows, AT_ONCE) for rows in (s_g, mean, strength)), strict=True)
        return torch.cat([self._some_action_values(*part) for part in parts])

    def _some_action_values(self, s_g: Tensor, mean: Tensor, strength: Tensor) -> Tensor:
        """The same of rows whose features fit the processor's own memory."""
        later = combined(*self.features.parts(*self.belief.predict(mean, strength, s_g)), self.coefficients)
        expected = torch.bmm(self.P_g.index_select(0, s_g), later.unsqueeze(-1)).squeeze(-1)
        local = (mean * self.r_l.index_select(0, s_g)).sum(-1, keepdim=True)
        return self.r_g.index_select(0, s_g) + local + self.gamma * expected


def _read_table(name: str, arrays: Mapping[str, Any], axes: str) -> Tensor:
    return as_finite(name, as_table(name, arrays[f"{FOLDER}{name}"], axes, FileFormatError), axes, FileFormatError)
