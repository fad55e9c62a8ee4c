"""Policies that are tables: greedy laws, the tables that learning starts from, and the dispatcher that plays one.

A policy is a table of conditional laws over its last axis,

    pi_g [sg, h, ag]  with h the rank of the counts,          pi_l [sl, sg, al].

Greedy laws and ties
--------------------
pi(argmax_a Q(., a)) = 1. Two exact operators may differ in the last bits of Q, and an argmax by bits would turn that
into different policies. Ties are therefore read with a tolerance: the greedy action is the smallest index whose value
is within 1e-10 (max Q - min Q) of the row's maximum.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex, rank_known
from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.games.game import Game
from altmarl_torch.policies.answers import Answers
from altmarl_torch.policies.base import Dispatcher, Player, PolicyPair, Sight, cumulative, draw, for_one_too
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import (
    as_integer,
    as_law,
    as_seed,
    as_table,
    as_whole,
    check_indices,
    check_kind,
    refuse_booleans,
)

__all__ = [
    "TabularDispatcher",
    "TabularPair",
    "TabularPolicies",
    "check_pi_g",
    "check_pi_l",
    "check_tables",
    "deterministic_local",
    "greedy",
    "greedy_actions",
    "one_hot",
    "read_policy",
    "table_player",
    "uniform_global",
    "uniform_local",
]

Names = Mapping[str, Sequence[str]]

TIE_TOLERANCE = 1e-10  # relative to max Q - min Q: far above rounding, far below any gap that matters
TIE_ROUNDING = 2.0**-46  # relative to max|Q|: what sums in another order may differ by
ROWS_TOGETHER = 2**20  # compared at once: beside a table of gigabytes there is no second one


def one_hot(actions: Tensor, size: int) -> Tensor:
    """The law [..., size] that plays `actions` [...] (int64, in 0..size-1, or an ArgumentError) for certain."""
    check_indices("actions", actions, size)
    law = torch.zeros(*actions.shape, size, dtype=torch.float64, device=actions.device)
    return law.scatter_(-1, actions.unsqueeze(-1).to(torch.int64), 1.0)  # no table of integers beside it


def greedy_actions(Q: Tensor) -> Tensor:
    """Greedy actions [...] int64 for values Q [..., a].

    The smallest index whose value is within 1e-10 of the table's span of its row's maximum, or within what rounding can
    do at the size of the values: the actions of c Q + d are those of Q.

    Raises:
        ArgumentError: Q holds a value that is not finite.
    """
    low, high = torch.aminmax(Q)
    largest = torch.maximum(low.abs(), high.abs())
    if not torch.isfinite(largest):
        raise ArgumentError(f"greedy needs finite values; Q of shape {list(Q.shape)} has an infinite or undefined one")
    slack = torch.maximum(TIE_TOLERANCE * (high - low), TIE_ROUNDING * largest)

    def first_near_best(rows: Tensor) -> Tensor:
        return (rows.amax(-1, keepdim=True) - rows <= slack).to(torch.uint8).argmax(-1)

    blocks = torch.split(Q.reshape(-1, Q.shape[-1]), ROWS_TOGETHER)
    return torch.cat([first_near_best(rows) for rows in blocks]).reshape(Q.shape[:-1])


def greedy(Q: Tensor) -> Tensor:
    """The greedy law [..., a] (one-hot, float64) for values Q [..., a], ties as in `greedy_actions`."""
    return one_hot(greedy_actions(Q), Q.shape[-1])


def uniform_global(game: Game, simplex: CountSimplex) -> Tensor:
    """The uniform pi_g [sg, N, ag]: Algorithm 3's initial global policy."""
    check_kind("simplex", simplex, CountSimplex)
    shape = (game.num_sg, simplex.size, game.num_ag)
    return torch.full(shape, 1.0 / game.num_ag, dtype=torch.float64, device=game.device)


def uniform_local(game: Game) -> Tensor:
    """The uniform pi_l [sl, sg, al]: Algorithm 3's initial local policy."""
    shape = (game.num_sl, game.num_sg, game.num_al)
    return torch.full(shape, 1.0 / game.num_al, dtype=torch.float64, device=game.device)


def deterministic_local(actions: Tensor, num_al: int) -> Tensor:
    """The local policy [sl, sg, al] that plays `actions` [sl, sg] (integers in 0..num_al-1).

    Raises:
        PolicyError: an action is no integer in 0..num_al-1, or the actions are no table.
        ArgumentError: num_al is below 1.
    """
    num_al = as_integer("num_al", num_al, 1, math.inf, ArgumentError)
    refuse_booleans("actions", actions, PolicyError)
    table = as_table("actions", actions, "sl sg", PolicyError)
    low, high = float(table.min()), float(table.max())
    if low < 0 or high >= num_al:
        raise PolicyError(f"local actions must be in 0..{num_al - 1}; got {low:g}..{high:g}")
    return one_hot(as_whole("actions", table, "sl sg", PolicyError), num_al)


def check_pi_l(game: Game, pi_l: Tensor) -> Tensor:
    """Return `pi_l` as a float64 local policy [sl, sg, al] of `game`, or refuse it.

    Raises:
        PolicyError: wrong shape, or a row that is no law; the message names the row and what it sums to.
    """
    return read_policy("pi_l", pi_l, "sl sg al", (game.num_sl, game.num_sg, game.num_al))


def check_pi_g(game: Game, pi_g: Tensor, simplex: CountSimplex) -> Tensor:
    """Return `pi_g` as a float64 global policy [sg, N, ag] of `game` over the counts of `simplex`, or refuse it.

    Raises:
        PolicyError: wrong shape, or a row that is no law; the message names the row and what it sums to.
    """
    return read_policy("pi_g", pi_g, "sg h ag", (game.num_sg, simplex.size, game.num_ag))


def table_player(pi_g: Tensor, simplex: CountSimplex) -> Player:
    """Plays the laws `pi_g [sg, N, ag]` at counts that are known to be of `simplex`, which are not checked.

    A table of certain actions (every row one-hot) is kept as actions `[sg, N]` and draws no random number.
    """
    if bool(((pi_g == 0.0) | (pi_g == 1.0)).all()):
        actions = pi_g.argmax(-1).flatten()
        return lambda s_g, counts, generator: actions.take(s_g * simplex.size + rank_known(simplex, counts))
    sums = cumulative(pi_g).flatten(0, 1)
    return lambda s_g, counts, generator: draw(
        sums.index_select(0, s_g * simplex.size + rank_known(simplex, counts)), generator
    )


class TabularDispatcher:
    """Plays a table pi_g [sg, N, ag]: rank the counts, look up the row, draw from it.

    A deterministic table (every row one-hot) is stored as actions [sg, N] and draws no random number. `names` are those
    of the states, by `sg` and `sl`, for messages.

    Raises:
        PolicyError: pi_g is no table of laws over the N = simplex.size count vectors.
        ArgumentError: the seed is no integer in 0..2^63-1.
    """

    def __init__(self, pi_g: Tensor, simplex: CountSimplex, seed: int = 0, names: Names | None = None) -> None:
        check_kind("simplex", simplex, CountSimplex)
        pi_g = read_policy("pi_g", pi_g, "sg h ag", (None, simplex.size, None))
        self._play = table_player(pi_g, simplex)
        self._answers = Answers(Sight(simplex.k, len(pi_g), simplex.num_sl, pi_g.device, names or {}))
        self._generator = torch.Generator(device=pi_g.device).manual_seed(as_seed(seed))

    def reset(self, batch: int) -> None:
        """A table has no memory, but of the sample before one that is incomplete (`Answers`)."""
        self._answers.reset()

    @for_one_too
    def act(self, s_g: Any, counts: Any) -> Tensor:
        """Actions [batch] int64 for s_g [batch] and the sampled agents' counts [batch, sl], checked by `Sight`."""
        return self._play(*self._answers.read(s_g, counts), self._generator)


@dataclass(frozen=True, eq=False)
class TabularPair:
    """Two tables as a `PolicyPair`.

    Attributes:
        pi_g: [sg, N, ag], law of the global action given (s_g, h), h the rank of the counts in `simplex`.
        pi_l: [sl, sg, al], law of the local action given (s_l, s_g).
        simplex: the count vectors that index pi_g.
    """

    pi_g: Tensor  # [sg, N, ag]
    pi_l: Tensor  # [sl, sg, al]
    simplex: CountSimplex

    __repr__ = brief

    @property
    def k(self) -> int:
        """How many local agents the dispatcher sees at each step."""
        return self.simplex.k

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """A new dispatcher that plays `pi_g`."""
        return TabularDispatcher(self.pi_g, self.simplex, seed)


@runtime_checkable
class TabularPolicies(PolicyPair, Protocol):
    """A pair whose global policy is a table: a `Solution` or a `TabularPair`."""

    @property
    def pi_g(self) -> Tensor | None:
        """Law of a_g given (s_g, h), `[sg, N, ag]`; None where the table would be too large."""

    @property
    def simplex(self) -> CountSimplex:
        """The counts of k agents that index `pi_g`."""


def check_tables(game: Game, pair: TabularPolicies) -> tuple[Tensor, Tensor]:
    """`pi_g [sg, N, ag]` and `pi_l [sl, sg, al]` of a pair for `game`.

    Raises:
        PolicyError: the pair has no tables, or they do not fit the game.
        ArgumentError: the pair sees more agents than there are.
    """
    if not isinstance(pair, TabularPolicies) or pair.pi_g is None:
        raise PolicyError(
            f"a {type(pair).__name__} has no table pi_g [sg, h, ag]; use a Solution, a TabularPair, or rollouts"
        )
    game.check_k(pair.k)
    return check_pi_g(game, pair.pi_g, pair.simplex), check_pi_l(game, pair.pi_l)


def read_policy(name: str, values: Tensor, axes: str, shape: tuple[int | None, int | None, int | None]) -> Tensor:
    """Return `values` as a float64 table of laws with these axes and shape (None: any size), or refuse them."""
    table = as_table(name, values, axes, PolicyError)
    wanted = [found if size is None else size for size, found in zip(shape, table.shape, strict=True)]
    if list(table.shape) != wanted:
        raise PolicyError(f"{name} [{', '.join(axes.split())}] must have shape {wanted}, not {list(table.shape)}")
    return as_law(name, table, axes, PolicyError)
