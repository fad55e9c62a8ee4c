"""The game: one global agent, n identical local agents, and the four tables that say how they move and earn.

The global agent has a state s_g and an action a_g; each local agent i has a state s_i and an action a_i, all from
finite sets (Assumption 2.1 of Anand and Karmarkar, *Learning Approximate Nash Equilibria in Cooperative Multi-Agent
Reinforcement Learning via Mean-Field Subsampling*). In one macro step the system earns (Eq. 1)

    r(s, a) = r_g(s_g, a_g) + (1/n) sum_i r_l(s_i, s_g, a_i)

and then moves, given (s, a) independently (Eq. 2, 3):

    s_g' ~ P_g(. | s_g, a_g),        s_i' ~ P_l(. | s_i, s_g, a_i)   for every i.

Local agents move under the *current* s_g. The value of a pair of policies is E[sum_t gamma^t r(s(t), a(t))] (Eq. 4),
from a first state whose law is part of the game (`games.initial`). The tables' axes, and what freezing a local policy
makes of them (Eq. 5, 6), are in `games.tables`.

**Bounds.**  Every stage reward is at most r_tilde = r_g_max + r_l_max (Assumption 2.2), every value v_max = r_tilde /
(1 - gamma), with r_g_max = max |r_g| and r_l_max = max |r_l|. Bounds check that rewards have their sign.

**Stochastic rewards.**  r_g and r_l may be given as laws (`games.reward_laws`, Appendix F): the tables are then their
means, with which every expectation is computed, and the laws stand beside them for draws. r_g may also see the crowd,
the frequencies of the local states (`games.crowd`).

A game is immutable, holds float64 tensors on one device, and is checked once, here; messages name table and indices.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.bounds import Bounded
from altmarl_torch.games.checks import check_bound, check_types, fitting_initial, split_law
from altmarl_torch.games.crowd import CrowdReward, refuse_crowd
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.logs.counted import Counted, count_log
from altmarl_torch.games.logs.transitions import Table
from altmarl_torch.games.naming import NAMES, Named
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.reward_draws import RewardSampler
from altmarl_torch.games.storage import LAWS, naming_the_file, read_game, write_game
from altmarl_torch.games.tables import TABLE_AXES, InducedTables, check_sizes, induce, tabulate_all
from altmarl_torch.support.tables import (
    LARGEST_COUNT,
    as_device,
    as_finite,
    as_integer,
    as_law,
    as_number,
    as_table,
    check_devices,
    check_kind,
)
from altmarl_torch.support.torch_state import door

__all__ = ["LARGEST_N", "Game", "check_game"]

LARGEST_N = LARGEST_COUNT  # counts are whole numbers in float64, exact up to here


@dataclass(frozen=True, eq=False, repr=False)
class Game(Bounded, Named):
    """A cooperative game between a global agent and n local agents, checked and immutable.

    Attributes:
        P_g: `[sg, ag, sg']`, law of s_g' given (s_g, a_g).
        P_l: `[sl, sg, al, sl']`, law of s_l' given (s_l, s_g, a_l).
        r_g: `[sg, ag]`, the global reward per macro step.
        r_l: `[sl, sg, al]`, the local reward per macro step; the system earns its mean over the n agents.
        gamma: discount factor per macro step, in [0, 1).
        n: number of local agents, at least 1.
        initial: law of the first state; `None` gives uniform s_g and independent, uniform local states.
        name: a printable word for run folders and plots.
        r_g_law, r_l_law: laws of stochastic rewards, None where they are deterministic. Give a law as `r_g` or
            `r_l`: it is found here, and its mean there.
        r_g_mu: what r_g earns besides, from the frequencies mu of the local states (`games.crowd`): a function of s_g
            `[...]`, a_g `[...]` and mu `[..., sl]` to `[...]`.
        sg_names, sl_names, ag_names, al_names: names of the states and actions, or None (`games.naming`).

    Tables may be tensors, arrays or nested lists of any real dtype; they are copied to float64. Rows that miss a sum
    of one by at most 1e-5 (1e-6 for each entry, if that is more) are renormalised, and entries down to -1e-9 read as 0.

    Raises:
        GameError: shapes or devices disagree, a row is no law, an entry or v_max is not finite, or gamma, n (at most
            2^53, where counts are exact), initial or name is out of range, or a law's mean is not the table.

    Examples:
        >>> import altmarl_torch as am
        >>> choose = [[1, 0], [0, 1]]  # the law of the next state, by action
        >>> P_l, r_l = [[choose, choose], [choose, choose]], [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]
        >>> am.Game(P_g=[choose, choose], P_l=P_l, r_g=[[0, 1], [0, 1]], r_l=r_l, gamma=0.9, n=100, name="meet")
        Game('meet': 2 x 2 states, 2 x 2 actions (global x local), gamma=0.9, n=100)
    """

    P_g: Tensor  # [sg, ag, sg']
    P_l: Tensor  # [sl, sg, al, sl']
    r_g: Tensor  # [sg, ag]
    r_l: Tensor  # [sl, sg, al]
    gamma: float
    n: int
    initial: InitialLaw = None  # type: ignore[assignment]  # None asks for the default; readers always find a law
    name: str = "game"
    r_g_law: RewardLaw | None = None
    r_l_law: RewardLaw | None = None
    r_g_mu: CrowdReward | None = None

    if TYPE_CHECKING:  # tables may be arrays or lists; readers find tensors

        def __init__(self, P_g: Any, P_l: Any, r_g: Any, r_l: Any, gamma: float, n: int, **more: Any) -> None: ...

    @door
    def __post_init__(self) -> None:
        for name, kept in LAWS.items():
            law, mean = split_law(name, getattr(self, name), kept, getattr(self, kept))
            object.__setattr__(self, kept, law)
            object.__setattr__(self, name, mean)
        tables = {name: as_table(name, getattr(self, name), axes) for name, axes in TABLE_AXES.items()}
        check_devices(tables)
        check_sizes(tables, TABLE_AXES)
        for name, axes in TABLE_AXES.items():
            check = as_law if axes.endswith("'") else as_finite
            object.__setattr__(self, name, check(name, tables[name], axes))
        object.__setattr__(self, "gamma", as_number("gamma", self.gamma, "[0, 1)", lambda x: 0 <= x < 1, GameError))
        check_bound(self.r_g, self.r_l, self.v_max)  # which tries r_g_mu
        object.__setattr__(self, "n", as_integer("n", self.n, 1, LARGEST_N, GameError))
        object.__setattr__(self, "initial", fitting_initial(self.initial, self.num_sg, self.num_sl, self.device))
        check_types(self.P_l, self.num_types)
        self._check_names(self._sizes | {"sl": self.num_sl // self.num_types})
        if not isinstance(self.name, str) or not self.name or not self.name.isprintable():
            raise GameError(f"name must be a non-empty, printable string, not {self.name!r}")

    def __repr__(self) -> str:
        states, actions = f"{self.num_sg} x {self.num_sl} states", f"{self.num_ag} x {self.num_al} actions"
        return f"Game({self.name!r}: {states}, {actions} (global x local), gamma={self.gamma:g}, n={self.n})"

    @property
    def device(self) -> torch.device:
        """Where every table lies."""
        return self.P_g.device

    @property
    def num_sg(self) -> int:
        """|S_g|, the number of global states."""
        return self.P_g.shape[0]

    @property
    def num_ag(self) -> int:
        """|A_g|, the number of global actions."""
        return self.P_g.shape[1]

    @property
    def num_sl(self) -> int:
        """|S_l|, the number of local states."""
        return self.P_l.shape[0]

    @property
    def num_al(self) -> int:
        """|A_l|, the number of local actions."""
        return self.P_l.shape[2]

    @property
    def _sizes(self) -> dict[str, int]:
        return {"sg": self.num_sg, "sl": self.num_sl, "ag": self.num_ag, "al": self.num_al}

    @property
    def num_types(self) -> int:
        """How many types of agents there are; local state e |S_l| / num_types + x is x of type e (`games.types`)."""
        return self.initial.num_types

    def reward_sampler(self, pi_l: Tensor, induced: InducedTables | None = None) -> RewardSampler:
        """Draws of the rewards under `pi_l [sl, sg, al]`; its induced tables may be at hand. Errors as in `induced`."""
        found = induced or self.induced(pi_l)
        return RewardSampler.of(self.r_g, found.r_l_pi, self.P_l, pi_l, self.r_g_law, self.r_l_law)

    def induced(self, pi_l: Tensor) -> InducedTables:
        """Average the local tables over the local action (Eq. 5, 6): `P_l_pi [sl, sg, sl']` and `r_l_pi [sl, sg]`.

        `pi_l [sl, sg, al]` is the conditional law of a_l given (s_l, s_g). A deterministic pi_l picks entries of the
        tables exactly.

        Raises:
            PolicyError: pi_l has another shape or device, or a row that is no law.
        """
        return induce(self.P_l, self.r_l, pi_l)

    def check_k(self, k: int) -> int:
        """Return the sample size k as an int; raise ArgumentError unless it is a whole number of agents in 1..n."""
        return as_integer("k", k, 1, self.n, ArgumentError)

    def to(self, device: torch.device | str) -> "Game":
        """Return the same game with every table on `device`; an ArgumentError lists the devices that are here."""
        device = as_device(device)
        moved = {name: getattr(self, name).to(device) for name in TABLE_AXES}
        laws = {name: getattr(self, kept) for name, kept in LAWS.items()}
        return self.replace(**moved | {name: law.to(device) for name, law in laws.items() if law is not None})

    def replace(self, **changes: Any) -> "Game":
        """Return a game with some attributes changed, checked anew: `game.replace(n=10**9, name="large")`.

        A new r_g or r_l takes the place of the old one's law; a table may be a function, as in `from_functions`. Names
        of a set that gets another size are left out, unless new ones are given.

        Raises:
            ArgumentError, GameError: a game has no such attribute; as for a new game.
        """
        fields = [attribute.name for attribute in dataclasses.fields(self)]
        known = sorted(fields, key=lambda name: name in NAMES.values())  # the tables first
        if unknown := [name for name in changes if name not in known]:
            raise ArgumentError(f"a game has the attributes {', '.join(known)}; not {', '.join(unknown)}")
        functions = {name: changes[name] for name in TABLE_AXES if callable(changes.get(name))}
        changes |= tabulate_all(functions, self._sizes)
        dropped = {kept: None for name, kept in LAWS.items() if name in changes and kept not in changes}
        unfit: dict[str, Any] = dict.fromkeys(self._unfit_names(changes))
        return dataclasses.replace(self, **unfit | dropped | changes)

    @classmethod
    def from_functions(
        cls,
        *,
        P_g: Callable[[int, int], object],
        P_l: Callable[[int, int, int], object],
        r_g: Callable[[int, int], object],
        r_l: Callable[[int, int, int], object],
        num_sg: int,
        num_sl: int,
        num_ag: int,
        num_al: int,
        gamma: float,
        n: int,
        initial: InitialLaw | None = None,
        name: str = "game",
        **names: Sequence[str] | None,
    ) -> "Game":
        """Tabulate `P_g(sg, ag)`, `P_l(sl, sg, al)` (laws) and `r_g(sg, ag)`, `r_l(sl, sg, al)` (numbers).

        Each is called once per combination of indices, from 0; a law is any sequence of numbers, one per next state.
        `names`: `sg_names`, `sl_names`, `ag_names`, `al_names`, as of `Game`.

        Raises:
            GameError: a function raised, or returned another number of values, or the tables are no game.
            SizeError: a table would have more than 2^25 entries.
        """
        sizes = {"sg": num_sg, "sl": num_sl, "ag": num_ag, "al": num_al}
        tables = tabulate_all({"P_g": P_g, "P_l": P_l, "r_g": r_g, "r_l": r_l}, sizes)
        start = InitialLaw.uniform(num_sg, num_sl) if initial is None else initial
        return cls(**tables, gamma=gamma, n=n, initial=start, name=name, **names)

    @classmethod
    def from_transitions(
        cls,
        table: Table | str | os.PathLike[str],
        *,
        gamma: float,
        n: int,
        num_sg: int | None = None,
        num_sl: int | None = None,
        num_ag: int | None = None,
        num_al: int | None = None,
        smoothing: float | None = None,
        initial: InitialLaw | None = None,
        name: str = "game",
    ) -> "Game":
        """Count the tables of a game from a log of what agents did (`games.logs.counted`).

        Args:
            table: a log's path (CSV or npz), or its columns by name (`games.logs.transitions`).
            gamma: discount factor per step of the log.
            n: number of local agents, of which the log may show any.
            num_sg, num_sl, num_ag, num_al: how many states and actions there are; None: as many as the log has.
            smoothing: pseudo-counts per next state (a Dirichlet prior); None for frequencies, and a refusal where a
                pair that can be reached was never seen.
            initial: law of the first state; None: from the first steps of many episodes, or uniform.
            name: of the game.

        `altmarl_torch.estimate` returns standard errors besides.

        Raises:
            LogError: the log is malformed; the message names the line.
            GameError: a pair that can be reached was never seen, or gamma, n or name is out of range.
        """
        sizes = {"sg": num_sg, "sl": num_sl, "ag": num_ag, "al": num_al}
        return cls.from_counts(count_log(table, sizes, smoothing, initial, n), gamma=gamma, n=n, name=name)

    @classmethod
    def from_counts(cls, counted: Counted, *, gamma: float, n: int, name: str = "game") -> "Game":
        """The game of the tables that were counted from a log; errors as for a new game."""
        tables: dict[str, Any] = counted.tables
        return cls(**tables, gamma=gamma, n=n, initial=counted.initial, name=name, **counted.names)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an `.npz` archive to exactly `path`, atomically; `load` gives back the same bits.

        Raises:
            ArgumentError: a reward is a SampledReward, or there is r_g_mu; a file holds no functions.
        """
        refuse_crowd(self, "a file, which holds no functions,")
        tables = {name: getattr(self, name) for name in TABLE_AXES}
        laws = {kept: getattr(self, kept) for kept in LAWS.values()}
        scalars = {"gamma": self.gamma, "n": self.n, "name": self.name}
        write_game(path, tables, laws, self.initial, scalars, {NAMES[word]: kept for word, kept in self.names.items()})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Game":
        """Read a game that `save` wrote, onto the CPU, without running code from the file.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is not of this format or version, is damaged, or lacks an entry.
            GameError: its tables are no game; the message names the path. It is a FileFormatError as well.
        """
        with naming_the_file(path):
            return cls(**read_game(path))


def check_game(game: object, crowd: str | None = None) -> None:
    """Raise an ArgumentError unless `game` is a `Game`; with `crowd`, who is asked, also if it has r_g_mu."""
    check_kind("game", game, Game, "altmarl_torch.games makes named ones")
    if crowd is not None:
        refuse_crowd(game, crowd)
