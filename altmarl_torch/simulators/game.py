r"""A game that is a simulator: four functions on tensors, and a start.

The game is the paper's (Eq. 1 to 3), its states and actions no longer numbers of tables but vectors:

    r(s, a) = r_g(s_g, a_g) + (1/n) sum_i r_l(s_i, s_g, a_i),
    s_g' = move_g(s_g, a_g, generator),        s_i' = move_l(s_i, s_g, a_i, generator)   for every i,

both moves from the *current* states, independently given them. The functions are pure and batched:

* any number of leading dimensions, the same for all arguments, and one trailing dimension for features; s_g comes
  already broadcast against the agents. So one `move_l` serves `[episodes, n]` agents, the k of a sample, one agent
  under each of its actions;
* random numbers come from the `torch.Generator` they are given, on its device, and from nowhere else: so that equal
  seeds give equal episodes, and two policies can be compared under the same luck;
* nothing is reset and nothing ends inside: the game has no end. Horizons belong to evaluation.

Where the crowd matters, `population` is a function of one agent's state, and its mean over all n is handed to those
functions that have an argument `mu` (`simulators.crowd`).

A `SimulatedGame` checks itself on a few episodes when it is made (`check_simulator`), so that what is wrong is
told in words at the door.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.simulators.binning import Binning
from altmarl_torch.simulators.check import check_simulator
from altmarl_torch.simulators.crowd import Laws, crowd_mean, seeing
from altmarl_torch.simulators.from_tables import functions
from altmarl_torch.simulators.spaces import Discrete, Space, as_space
from altmarl_torch.support.tables import as_float64, as_integer, as_number, check_kind

__all__ = ["Function", "SimulatedGame", "Start", "beside", "check_simulated", "unchecked"]

LARGEST_N = 10**8
"""Agents are played one by one."""


class Start(Protocol):
    """The first states."""

    def __call__(self, episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """s_g `[episodes, dg]` and s_l `[episodes, n, dl]`."""


Function = Callable[..., Tensor]


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedGame:
    """A cooperative game between a global agent and n local agents, given by functions.

    Attributes:
        start: `(episodes, n, generator)` to s_g `[episodes, dg]` and s_l `[episodes, n, dl]`, float32.
        move_g: `(s_g [..., dg], a_g, generator)` to the next s_g `[..., dg]`. Finite actions are `[...]` int64,
            continuous ones `[..., ug]`.
        move_l: `(s_l [..., dl], s_g [..., dg], a_l, generator)` to the next s_l `[..., dl]`.
        r_g: `(s_g, a_g)` to the global reward per macro step `[...]`.
        r_l: `(s_l, s_g, a_l)` to the local reward per macro step `[...]`; the system earns its mean over the n agents.
        global_state, local_state, global_action, local_action: spaces (`Box`, `Discrete`, or Gymnasium's).
        gamma: discount factor per macro step, in [0, 1).
        n: number of local agents, at least 1.
        name: a printable word for run folders and plots.
        zones: cells of one feature that both states have, where global action j steers to cell j; they make rules
            written by hand (`heuristic_pairs`) and are counted in figures.
        offsets: by how much each local action moves that feature on average, for the rule "walk".
        population: s_l `[..., dl]` to features `[..., p]`. Their mean over all agents goes to those of the four
            functions that have an argument `mu`: `[..., p]`, broadcast as s_g is.
        sees: the names of those functions.

    Raises:
        GameError: a field is malformed, or the functions do not do what they promise on 4 episodes of 6 agents.
    """

    start: Start
    move_g: Function
    move_l: Function
    r_g: Function
    r_l: Function
    global_state: Space
    local_state: Space
    global_action: Space
    local_action: Space
    gamma: float
    n: int
    name: str = "simulator"
    zones: Binning | None = None
    offsets: Sequence[float] | None = None
    population: Function | None = None
    sees: frozenset[str] = field(init=False, default=frozenset())

    def __post_init__(self) -> None:
        for function in ("start", "move_g", "move_l", "r_g", "r_l"):
            if not callable(getattr(self, function)):
                raise GameError(f"{function} must be a function, not {type(getattr(self, function)).__name__}")
        if self.population is not None and not callable(self.population):
            raise GameError(f"population must be a function of s_l, not {type(self.population).__name__}")
        object.__setattr__(self, "sees", seeing(self))
        for space in ("global_state", "local_state", "global_action", "local_action"):
            object.__setattr__(self, space, as_space(space, getattr(self, space)))
        object.__setattr__(self, "gamma", as_number("gamma", self.gamma, "[0, 1)", lambda x: 0 <= x < 1, GameError))
        object.__setattr__(self, "n", as_integer("n", self.n, 1, LARGEST_N, GameError))
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise GameError(f"name must be a non-empty, printable string, not {self.name!r}")
        self._check_hints()
        check_simulator(self, episodes=4, agents=6, steps=3)

    def _check_hints(self) -> None:
        """Zones and offsets are of this game's states and actions."""
        zones, offsets = self.zones, self.offsets
        if zones is not None:
            if not isinstance(zones, Binning):
                raise GameError(
                    f"zones must be a Binning, not {type(zones).__name__}; simulators.Binning(edges) is one"
                )
            features = min(self.global_state.d, self.local_state.d)
            if zones.feature >= features:
                raise GameError(f"zones are of feature {zones.feature}; the states share {features}")
            if self.global_action != Discrete(zones.cells):
                raise GameError(f"zones has {zones.cells} cells, and global_action is {self.global_action}")
        if offsets is not None:
            moves = as_float64("offsets", offsets, GameError)
            if moves.ndim != 1 or self.local_action != Discrete(len(moves)):
                raise GameError(f"offsets has the shape {list(moves.shape)}, and local_action is {self.local_action}")
            object.__setattr__(self, "offsets", tuple(moves.tolist()))

    def __repr__(self) -> str:
        spaces = f"{self.global_state} x {self.local_state} states, {self.global_action} x {self.local_action} actions"
        return f"SimulatedGame({self.name!r}: {spaces} (global x local), gamma={self.gamma:g}, n={self.n})"

    @classmethod
    def from_tables(cls, game: Any) -> "SimulatedGame":
        """A `Game` of tables as a simulator: the oracle of the tests. States are the numbers of the tables' rows."""
        check = [name for name in ("P_g", "P_l", "r_g", "r_l", "initial") if not hasattr(game, name)]
        if check:
            raise ArgumentError(f"from_tables takes a Game; {type(game).__name__} has no {check[0]}")
        num_sg, num_ag, _ = game.P_g.shape
        num_sl, _, num_al, _ = game.P_l.shape
        return cls(
            **functions(game),
            global_state=Discrete(num_sg),
            local_state=Discrete(num_sl),
            global_action=Discrete(num_ag),
            local_action=Discrete(num_al),
            gamma=game.gamma,
            n=game.n,
            name=game.name,
        )

    def replace(self, **changes: Any) -> "SimulatedGame":
        """A game with other fields."""
        return dataclasses.replace(self, **changes)

    def check_k(self, k: object) -> int:
        """Return `k` as an int in 1..n, or raise an ArgumentError."""
        return as_integer("k", k, 1, self.n, ArgumentError)

    def crowd(self, s_l: Tensor) -> Tensor | None:
        """mu `[..., p]` of the agents s_l `[..., m, dl]`; None where the game does not see it."""
        return crowd_mean(self.population, s_l)

    def under(self, mu: Tensor | None) -> Laws:
        """Moves and rewards under a crowd mu `[b.., p]`, which is broadcast over agents and actions."""
        return Laws(self, mu)


def beside(s_g: Tensor, s_l: Tensor) -> Tensor:
    """s_g `[..., dg]` broadcast against the agents of s_l `[..., m, dl]`: `[..., m, dg]`."""
    return s_g.unsqueeze(-2).expand(*s_l.shape[:-1], s_g.shape[-1])


def unchecked(game: SimulatedGame, **changes: object) -> SimulatedGame:
    """The game with other fields, without trying it again."""
    other = object.__new__(SimulatedGame)
    for name, value in {**vars(game), **changes}.items():
        object.__setattr__(other, name, value)
    return other


def check_simulated(game: object) -> None:
    """Raise an ArgumentError unless `game` is a SimulatedGame."""
    check_kind("game", game, SimulatedGame, "altmarl_torch.SimulatedGame(start=..., move_g=..., ...) makes one")
