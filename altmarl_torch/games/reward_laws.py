r"""Stochastic rewards: laws over the entries of r_g and r_l (Appendix F), their moments, draws, and draws of sums.

A reward law puts one distribution on every entry of a table: G(s_g, a_g) on `[sg, ag]`, L(s_l, s_g, a_l) on
`[sl, sg, al]`. One macro step earns (Eq. 52), with all draws independent,

    R(s, a) = r_g + (1/n) sum_i r_l,i,        r_g ~ G(s_g, a_g),        r_l,i ~ L(s_i, s_g, a_i).

Values are expectations, so a value function sees the means alone; what chance in the rewards changes is what one
learns from draws, and how far returns scatter. **Assumption F.1** asks for bounds that are finite and known: every law
has `low` and `high`, and whatever would lie outside is refused.

    law                draw                                      mean, variance
    DiscreteReward     one of v values                           sums
    GaussianReward     clip(N(location, scale^2), low, high)     closed form (`clipped_normal`)
    SampledReward      a function of yours                       given by you

**Sums.** n agents in few states earn few different sums of i.i.d. rewards, and the sum of c of them must not cost c:

* discrete: how often each value falls is multinomial; exact for every c;
* otherwise: up to 64 rewards are drawn one by one, exact; more are drawn as one number from the beta law on
  [c low, c high] with the exact mean and variance of the sum, so that returns have the right mean and spread. Its shape
  is an approximation. Both the sum and the beta law tend to the normal one; by Berry and Esseen (Shevtsova's constant,
  and E|Y-mu|^3 <= (high - low) sigma^2) the sum's distribution function is within 0.4748 (high - low) / (sigma sqrt(c))
  of it. Of rare rewards, whose sum is at a bound with some chance, the beta law has no such atom.

Xi samples of R_Delta (Algorithm 10) are sums too, over Xi k agents, so that Xi costs nothing either.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.clipped_normal import clipped_moments
from altmarl_torch.games.reward_base import (
    AXES,
    RewardLaw,
    TabulatedLaw,
    as_bounds,
    as_entries,
    as_terms,
    broadcast,
    check_alike,
    set_fields,
)
from altmarl_torch.support.sampling import deal, split_shares
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_float64, as_law, place, refuse_first

__all__ = ["DiscreteReward", "GaussianReward", "SampledReward", "law_from_arrays"]

WIDEST = 1e3
"""The largest scale of a clipped Gaussian, in units of high - low."""


@dataclass(frozen=True, eq=False)
class DiscreteReward(TabulatedLaw):
    """Finitely many values per entry.

    Attributes:
        values: `[..., v]`, what each entry may pay.
        probabilities: `[..., v]`, a law over v for each entry.
        low, high: bounds; None takes the smallest and largest value that has a positive probability.

    `...` are the axes `[sg, ag]` of r_g or `[sl, sg, al]` of r_l.

    Raises:
        GameError: shapes or devices disagree, a row is no law, or a value lies outside the bounds.
    """

    values: Tensor
    probabilities: Tensor
    low: float = None  # type: ignore[assignment]  # readers always find a number
    high: float = None  # type: ignore[assignment]
    mean: Tensor = field(init=False)
    variance: Tensor = field(init=False)
    kind: ClassVar[str] = "discrete"
    tables: ClassVar[tuple[str, ...]] = ("values", "probabilities")

    __repr__ = brief

    def __post_init__(self) -> None:
        values = as_entries("values", self.values, outcome=True)
        weights = as_entries("probabilities", self.probabilities, outcome=True)
        check_alike({"values": values, "probabilities": weights})
        axes = AXES[values.ndim - 1] + " v"
        weights = as_law("probabilities", weights, axes)
        held = values[weights > 0]
        low = float(held.min()) if self.low is None else self.low
        high = float(held.max()) if self.high is None else self.high
        low, high = as_bounds(low, high)
        rule = f"rewards lie in [low, high] = [{low:g}, {high:g}] (Assumption F.1)"
        refuse_first("values", values, axes, (weights > 0) & ((values < low) | (values > high)), rule, GameError)
        mean = (values * weights).sum(-1).clamp(low, high)
        variance = ((values - mean.unsqueeze(-1)).square() * weights).sum(-1)
        set_fields(self, values=values, probabilities=weights, low=low, high=high, mean=mean, variance=variance)

    def draw(self, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """One reward for each entry (`RewardLaw.draw`)."""
        one = torch.ones((), dtype=torch.float64, device=self.device)
        return self.draw_sum(one, *indices, generator=generator)

    def draw_sum(self, counts: Tensor, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """The sum of `counts` rewards of each entry, exact: how often each value falls is multinomial."""
        counts, *rest = broadcast(as_terms(counts), *self._check_entries(indices))
        entries = tuple(rest)
        fallen = deal(counts.contiguous(), split_shares(self.probabilities[entries]), generator)
        return (fallen * self.values[entries]).sum(-1)


@dataclass(frozen=True, eq=False)
class GaussianReward(TabulatedLaw):
    """clip(N(location, scale^2), low, high) at every entry; `mean` and `variance` are those after the clipping.

    Attributes:
        location: `[...]`, mean of the normal law before it is clipped.
        scale: `[...]`, its standard deviation, at least 0.
        low, high: the bounds, which are atoms.

    Raises:
        GameError: shapes or devices disagree, a scale is negative or above 1000 (high - low), or the bounds are not
            finite and in order.
    """

    location: Tensor
    scale: Tensor
    low: float
    high: float
    mean: Tensor = field(init=False)
    variance: Tensor = field(init=False)
    kind: ClassVar[str] = "gaussian"
    tables: ClassVar[tuple[str, ...]] = ("location", "scale")

    __repr__ = brief

    def __post_init__(self) -> None:
        location, scale = as_entries("location", self.location), as_entries("scale", self.scale)
        check_alike({"location": location, "scale": scale})
        low, high = as_bounds(self.low, self.high)
        refuse_first("scale", scale, AXES[scale.ndim], scale < 0, "standard deviations are at least 0", GameError)
        rule = f"clipped to [{low:g}, {high:g}], so wide a law is a coin between the bounds; use DiscreteReward"
        refuse_first("scale", scale, AXES[scale.ndim], scale > WIDEST * (high - low), rule, GameError)
        mean, variance = clipped_moments(location, scale, low, high)
        set_fields(self, location=location, scale=scale, low=low, high=high, mean=mean, variance=variance)

    def draw(self, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """One reward for each entry (`RewardLaw.draw`)."""
        entries = tuple(broadcast(*self._check_entries(indices)))
        noise = torch.randn(entries[0].shape, generator=generator, dtype=torch.float64, device=self.device)
        return (self.location[entries] + self.scale[entries] * noise).clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class SampledReward(RewardLaw):
    """Rewards from a function of the caller's.

    Attributes:
        function: `function(*indices, generator)` returns one reward per entry; the indices, (s_g, a_g) or (s_l, s_g,
            a_l), are int64 tensors of one axis, the generator is the only chance it may use.
        low, high: bounds, which every draw is held against.
        mean: `[...]`, the exact mean of each entry; it is believed.
        std: `[...]`, the exact standard deviation; None where it is not known: then more than 64 agents of an entry
            cannot be drawn at once.

    Raises:
        GameError: shapes or devices disagree, a mean lies outside the bounds, or a std is larger than they allow.
    """

    function: Callable[..., object]
    low: float
    high: float
    mean: Tensor
    std: Tensor | None = None
    variance: Tensor | None = field(init=False)
    kind: ClassVar[str] = "sampled"

    __repr__ = brief

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise GameError(f"function must be callable, not {self.function!r}")
        low, high = as_bounds(self.low, self.high)
        mean = as_entries("mean", self.mean)
        axes = AXES[mean.ndim]
        rule = f"means lie in [low, high] = [{low:g}, {high:g}] (Assumption F.1)"
        refuse_first("mean", mean, axes, (mean < low) | (mean > high), rule, GameError)
        set_fields(self, low=low, high=high, mean=mean, variance=None)
        if self.std is not None:
            std = as_entries("std", self.std)
            check_alike({"mean": mean, "std": std})
            most = ((high - mean) * (mean - low)).sqrt()  # Bhatia and Davis: no law with this mean spreads further
            rule = "a reward with this mean and these bounds has a std in [0, sqrt((high - mean)(mean - low))]"
            refuse_first("std", std, axes, (std < 0) | (std > most * (1 + 1e-9)), rule, GameError)
            set_fields(self, std=std, variance=std.square())

    def draw(self, *indices: Tensor, generator: torch.Generator) -> Tensor:
        """One reward for each entry (`RewardLaw.draw`), checked against the bounds."""
        names = broadcast(*self._check_entries(indices))
        flat = [name.reshape(-1) for name in names]
        try:
            values = self.function(*flat, generator)
        except Exception as cause:
            raise GameError(f"the reward's function raised {type(cause).__name__}: {cause}") from cause
        drawn = as_float64("what the reward's function returned", values, GameError).to(self.device)
        if drawn.shape != flat[0].shape:
            wanted = f"one reward per entry, shape {list(flat[0].shape)}"
            raise GameError(f"the reward's function returned an array of shape {list(drawn.shape)}; expected {wanted}")
        self._refuse_outside(drawn, flat)
        return drawn.reshape(names[0].shape)

    def _refuse_outside(self, drawn: Tensor, indices: list[Tensor]) -> None:
        outside = ~((drawn >= self.low) & (drawn <= self.high))
        if bool(outside.any()):
            first = int(outside.nonzero()[0])
            entry = place("reward", AXES[self.mean.ndim], [int(index[first]) for index in indices])
            raise GameError(
                f"{entry} was drawn as {float(drawn[first]):.12g}; rewards lie in [low, high] = "
                f"[{self.low:g}, {self.high:g}] (Assumption F.1)"
            )

    def to(self, device: torch.device | str) -> "SampledReward":
        """The same law on `device`; the function is handed indices and a generator from there."""
        std = None if self.std is None else self.std.to(device)
        return SampledReward(self.function, self.low, self.high, self.mean.to(device), std)

    def arrays(self) -> dict[str, Any]:
        """Refused: a file holds numbers, and no functions."""
        raise ArgumentError(
            "a SampledReward cannot be stored: a file holds numbers, and no functions; build the game in a file of "
            "your own, or use DiscreteReward or GaussianReward"
        )


def law_from_arrays(arrays: Mapping[str, Any]) -> RewardLaw:
    """The law that `RewardLaw.arrays` described.

    Raises:
        GameError: there is no such kind of law, an entry is missing, or the entries are no law.
    """
    kinds: dict[str, type[TabulatedLaw]] = {law.kind: law for law in (DiscreteReward, GaussianReward)}
    kind = arrays.get("kind")
    if kind not in kinds:
        raise GameError(f"a stored reward law is of kind {' or '.join(kinds)}, not {kind!r}")
    make: Callable[..., RewardLaw] = kinds[kind]
    tables = kinds[kind].tables
    missing = [name for name in (*tables, "low", "high") if name not in arrays]
    if missing:
        raise GameError(f"a stored {kind} reward law lacks {', '.join(missing)}")
    return make(*(arrays[name] for name in tables), arrays["low"], arrays["high"])
