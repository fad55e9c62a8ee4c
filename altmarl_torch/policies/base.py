"""Policies of the two players: what they may see, and the dispatcher that is deployed.

The constrained policy classes
------------------------------
The global agent sees its own state and `k` of the `n` local agents; a local agent sees its own state and s_g
(section 2 of the paper):

    pi_g(. | s_g, s_Delta),  |Delta| = k,          pi_l(. | s_l, s_g),   shared by all n local agents.

Local agents are exchangeable, so pi_g may read the sample through its counts h(z) = #{i in Delta : s_i = z} alone. The
counts with sum k are the points of `CountSimplex(k, num_sl)`, N = C(k + |S_l| - 1, |S_l| - 1) of them, and the
policies are tables of conditional laws (over the last axis):

    pi_g [sg, h, ag]  with h the rank of the counts,          pi_l [sl, sg, al].

Dispatchers
-----------
A `Dispatcher` is what runs in a control loop: it is told s_g and the counts of the k sampled agents of a batch
of systems, and answers with one action each. It may remember (`reset` forgets), it may draw random numbers (from its
own generator, seeded when it is made), and it never sees more than the sample. A `PolicyPair` is a dispatcher
factory next to a local policy: all that Algorithm 4 needs (`evaluation.rollouts`).

A draw from a law p over {0, .., A-1} inverts the distribution function: with U uniform on [0, 1),

    a = #{b < A-1 : U >= p_0 + .. + p_b},           so P(a = b) = p_b, and an impossible action is never drawn.
"""

import functools
import numbers
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_indices, refuse_first

__all__ = [
    "CertainRule",
    "Dispatcher",
    "Pair",
    "Player",
    "PolicyPair",
    "Rule",
    "Sight",
    "check_pair",
    "cumulative",
    "draw",
    "player",
]

LAW_ROUNDING = 1e-4
"""What the rows of a float32 law may miss a sum of one by."""

Actor = TypeVar("Actor")
GlobalPolicy = TypeVar("GlobalPolicy")

Rule = Callable[[Tensor, Tensor], Tensor]
"""A law of a_g: from s_g `[...]` and counts `[..., sl]` to a law `[..., ag]`, float64."""

Player = Callable[[Tensor, Tensor, torch.Generator], Tensor]
"""An action of pi_g: from s_g `[b]` and counts `[b, sl]` to a_g `[b]`, drawn by the generator where it is random."""


@dataclass(frozen=True)
class Pair(Generic[GlobalPolicy]):
    """The policies of both players."""

    pi_g: GlobalPolicy  # law of a_g given (s_g, h): a table [sg, N, ag], or whatever the learners agree on
    pi_l: Tensor  # [sl, sg, al] law of a_l given (s_l, s_g)

    __repr__ = brief


class Dispatcher(Protocol):
    """The deployable global agent for a batch of systems, each seen through k sampled local agents."""

    def reset(self, batch: int) -> None:
        """Begin `batch` new episodes: forget whatever was remembered. The random stream goes on."""

    def act(self, s_g: Any, counts: Any) -> Tensor:
        """Choose a_g [batch] from s_g [batch] and the counts [batch, sl] of the sampled agents; all int64.

        Those of this package take tensors, arrays and lists, and of a single system one s_g and its counts [sl].

        A row sums to k, or to less where some of the k did not answer (`policies.answers`).
        """


def for_one_too(act: Callable[[Actor, Any, Any], Tensor]) -> Callable[[Actor, Any, Any], Tensor]:
    """Let `act` take a single system as well as a batch: s_g, its counts `[sl]`, and one action `[]` back."""

    @functools.wraps(act)
    def either(self: Actor, s_g: Any, counts: Any) -> Tensor:
        if not (isinstance(s_g, numbers.Integral) or getattr(s_g, "ndim", 1) == 0):
            return act(self, s_g, counts)
        is_row = counts.ndim == 1 if hasattr(counts, "ndim") else _is_flat(counts)
        if not is_row:
            raise ArgumentError(
                f"s_g is of one system: its counts are a row [sl], not {counts!r:.60}; several systems take "
                "s_g [batch] and counts [batch, sl]"
            )
        one = counts[None] if hasattr(counts, "ndim") else [counts]
        return act(self, s_g.reshape(1) if hasattr(s_g, "reshape") else [s_g], one)[0]

    return either


def _is_flat(row: object) -> bool:
    return isinstance(row, (list, tuple)) and not any(isinstance(entry, (list, tuple)) for entry in row)


@runtime_checkable
class PolicyPair(Protocol):
    """A global and a local policy, as Algorithm 4 uses them."""

    @property
    def k(self) -> int:
        """How many local agents the dispatcher sees at each step."""

    @property
    def pi_l(self) -> Tensor:
        """The local policy [sl, sg, al]: law of the local action given (s_l, s_g)."""

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """A new dispatcher whose draws, if any, come from its own generator seeded with `seed`."""


def check_pair(name: str, pair: object) -> None:
    """Raise a PolicyError unless `pair` is a `PolicyPair`."""
    if not isinstance(pair, PolicyPair):
        raise PolicyError(
            f"{name} must have k, pi_l and dispatcher(seed), as a Solution or a TabularPair has; {type(pair).__name__} "
            "does not"
        )


def cumulative(law: Tensor) -> Tensor:
    """Running sums of a law [..., a] over its last axis, scaled so that the last is exactly 1.

    The scaling matters when the tail of a law is zero: its running sum then is exactly 1 from the last possible
    action on, and `draw` cannot step over it.

    Raises:
        PolicyError: a row is no law: it does not sum to one within 1e-4 (laws of networks are float32), or an entry is
            negative.
    """
    sums = law.cumsum(-1)
    last = sums[..., -1:]
    if law.numel() and not bool(((last - 1).abs() <= LAW_ROUNDING).all() & (law.min() >= 0)):
        bad = ~((last[..., 0] - 1).abs() <= LAW_ROUNDING) | ~(law.amin(-1) >= 0)
        axes = " ".join(map(str, range(bad.ndim)))
        rule = "each row is a law: entries of at least 0 with sum 1"
        refuse_first("law", last[..., 0], axes, bad, rule, PolicyError, verb="sums to")
    return sums / last


def draw(sums: Tensor, generator: torch.Generator) -> Tensor:
    """One draw per row from running sums [..., a] of `cumulative`; returns indices [...] int64.

    Exactly one uniform number is used per row, whatever the law, so that two policies fed by equal generators stay
    in step (common random numbers).
    """
    uniform = torch.rand(sums.shape[:-1], generator=generator, dtype=torch.float64, device=sums.device)
    return (uniform.unsqueeze(-1) >= sums[..., :-1]).sum(-1)


@runtime_checkable
class CertainRule(Protocol):
    """A `Rule` whose action is certain, so that there is nothing to draw."""

    def __call__(self, s_g: Tensor, counts: Tensor, /) -> Tensor:
        """The law, one-hot: `[..., ag]`."""

    def choose(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The action: from s_g `[...]` and counts `[..., sl]` to a_g `[...]`, int64."""


def player(rule: Rule) -> Player:
    """Plays a rule: chooses where it is a `CertainRule`, and draws from its law elsewhere."""
    if isinstance(rule, CertainRule):
        choose = rule.choose
        return lambda s_g, counts, generator: choose(s_g, counts)
    return lambda s_g, counts, generator: draw(cumulative(rule(s_g, counts)), generator)


@dataclass(frozen=True)
class Sight:
    """What a dispatcher can be shown: the sizes that its arguments are checked against.

    Attributes:
        k: how many local agents are sampled.
        num_sg: number of global states.
        num_sl: number of local states.
        device: where the dispatcher computes.
        names: of the states, by `sg` and `sl`, for messages; empty where they have none.
    """

    k: int
    num_sg: int
    num_sl: int
    device: torch.device
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def read(self, s_g: object, counts: object) -> tuple[Tensor, Tensor]:
        """Return s_g [batch] and counts [batch, sl] as int64 tensors on `device`; lists and arrays are welcome.

        Rows of counts may sum to less than k, for agents who did not answer. Tensors of integers are handed on as they
        are.

        Raises:
            ArgumentError: an entry is no whole number of its range, a row of counts sums to more than k, or the shapes
                do not fit; the message names the first row at fault and its value.
        """
        states, h = self._read(s_g, counts)
        total = h.sum(-1)
        rule = f"at most k = {self.k} sampled agents answer"
        refuse_first("counts", total, "batch", total > self.k, rule, ArgumentError, verb="sums to")
        return states, h

    def read_all(self, s_g: object, counts: object) -> tuple[Tensor, Tensor]:
        """As `read`, for rows that sum to k: an ArgumentError where one does not."""
        states, h = self._read(s_g, counts)
        total = h.sum(-1)
        rule = f"the counts of the k sampled agents sum to k = {self.k}"
        refuse_first("counts", total, "batch", total != self.k, rule, ArgumentError, verb="sums to")
        return states, h

    def _read(self, s_g: object, counts: object) -> tuple[Tensor, Tensor]:
        """Both as tensors of this game's indices and shapes."""
        states = as_indices("s_g", s_g, "batch", ArgumentError).to(self.device)
        called = self.names if _shape(counts)[1:] == (self.num_sl,) else None
        h = as_indices("counts", counts, "batch sl", ArgumentError, called).to(self.device)
        expected = [len(states), self.num_sl]
        if list(h.shape) != expected:
            told = f"{expected}{self._listed('sl')}"
            raise ArgumentError(f"counts must have shape [batch, sl] = {told}, not {list(h.shape)}")
        if int(states.max()) >= self.num_sg:
            rule = f"global states are 0..{self.num_sg - 1}{self._listed('sg')}"
            refuse_first("s_g", states, "batch", states >= self.num_sg, rule, ArgumentError)
        return states, h

    def _listed(self, word: str) -> str:
        """The names of a set's elements in brackets, or nothing."""
        return f" ({', '.join(self.names[word])})" if word in self.names else ""


def _shape(values: Any) -> tuple[int, ...]:
    """That of an array, or of nested lists as their first elements have it."""
    if isinstance(values, list | tuple):
        return (len(values), *(_shape(values[0]) if values else ()))
    return tuple(getattr(values, "shape", ()))
