"""Trajectories: what a behaviour policy did in the k-agent game, as off-policy learning reads it (Appendix E).

Follow the same k agents Delta from the first step to the last. Given (s_g, a_g) every local agent moves independently
of all others, by P_l(. | s_i, s_g, a_i) with a_i ~ pi_l(. | s_i, s_g); so where a_g is chosen by looking at Delta,
(s_g, s_Delta) is a Markov chain by itself, the same for n = k and for n = 10^9. It is the chain of Assumption E.1,
whose transitions Eq. 46 learns from. (Algorithm 4 looks at a fresh sample in every step; from those, no two steps in
a row show the same agents, and no transition of s_Delta is seen.)

E trajectories of T steps, step t from t to t + 1:

    array   shape          meaning
    s_g     [E, T + 1]     states of the global agent
    s_l     [E, T + 1, k]  states of the k agents
    a_g     [E, T]         actions of the global agent
    a_l     [E, T, k]      actions of the k agents
    r_g     [E, T]         what the system earned globally, per step
    r_l     [E, T, k]      what each agent earned, per step, not divided by k

The order of the agents means nothing; the global agent's table is over their counts.

**The file** is an npz archive, `format` = "altmarl-trajectories", `version` = 1, with these arrays and the scalars
below; nothing in it is run (`support.npz`), and everything is checked when it is read.
"""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, FileFormatError, GameError, SizeError
from altmarl_torch.games.game import LARGEST_N
from altmarl_torch.offline.minari_sets import read_minari, write_minari
from altmarl_torch.support.npz import as_scalar, read_npz, write_npz
from altmarl_torch.support.tables import as_integer, as_number, refuse_masked
from altmarl_torch.support.torch_state import door

__all__ = ["LARGEST_DATA", "Trajectories", "check_data_size"]

FILE_FORMAT, FILE_VERSION = "altmarl-trajectories", 1
ARRAYS = {"s_g": "sg", "s_l": "sl", "a_g": "ag", "a_l": "al", "r_g": "", "r_l": ""}
"""Each array, and the set that its entries count; rewards are numbers."""

SIZES = ("num_sg", "num_sl", "num_ag", "num_al")
SCALARS = ("gamma", "n", *SIZES, "name", "behaviour")

LARGEST_DATA = 10**8
"""Numbers that trajectories hold at most: about half a gigabyte of them."""

LARGEST_SIZE = 2**31 - 1

Integers = NDArray[np.int32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Trajectories:
    """What was done, met and earned (module docstring), checked.

    Attributes:
        s_g: `[E, T + 1]`, in 0..num_sg-1.
        s_l: `[E, T + 1, k]`, in 0..num_sl-1.
        a_g: `[E, T]`, in 0..num_ag-1.
        a_l: `[E, T, k]`, in 0..num_al-1.
        r_g: `[E, T]`, reward per step.
        r_l: `[E, T, k]`, reward per step and agent.
        gamma: discount factor per step, in [0, 1).
        n: how many local agents there are, at least k.
        num_sg, num_sl, num_ag, num_al: how many states and actions there are.
        name: of the game.
        behaviour: of the policy that acted, a printable word.

    Arrays and lists are stored as int32 and float64.

    Raises:
        ArgumentError: an array has the wrong shape or kind, an entry is out of its range or not finite (the message
            gives its place), or a scalar is out of its range.
            Values of such rewards that no float holds are out of range as well.
        SizeError: there are more than 10^8 numbers.
    """

    s_g: Integers  # [E, T + 1]
    s_l: Integers  # [E, T + 1, k]
    a_g: Integers  # [E, T]
    a_l: Integers  # [E, T, k]
    r_g: Floats  # [E, T]
    r_l: Floats  # [E, T, k]
    gamma: float
    n: int
    num_sg: int
    num_sl: int
    num_ag: int
    num_al: int
    name: str = "game"
    behaviour: str = "unknown"

    def __post_init__(self) -> None:
        for name in SIZES:
            object.__setattr__(self, name, as_integer(name, getattr(self, name), 1, LARGEST_SIZE, ArgumentError))
        for name, word in ARRAYS.items():
            object.__setattr__(self, name, self._read(name, word))
        self._check_shapes()
        object.__setattr__(self, "gamma", as_number("gamma", self.gamma, "[0, 1)", lambda x: 0 <= x < 1, ArgumentError))
        object.__setattr__(self, "n", as_integer("n", self.n, self.k, LARGEST_N, ArgumentError))
        self._check_bound()
        for name in ("name", "behaviour"):
            text = getattr(self, name)
            if not isinstance(text, str) or not text or not text.isprintable():
                raise ArgumentError(f"{name} must be a non-empty, printable string, not {text!r}")

    def __repr__(self) -> str:
        shape = f"{self.trajectories:,} of {self.steps:,} steps"
        return f"Trajectories({self.name!r}, k={self.k}, n={self.n:,}: {shape}, by {self.behaviour!r})"

    @property
    def trajectories(self) -> int:
        """E, how many trajectories there are."""
        return int(self.a_g.shape[0])

    @property
    def steps(self) -> int:
        """T, how many steps each has."""
        return int(self.a_g.shape[1])

    @property
    def k(self) -> int:
        """How many agents are followed."""
        return int(self.a_l.shape[2])

    @property
    def simplex(self) -> CountSimplex:
        """The count vectors of the k agents."""
        return CountSimplex(self.k, self.num_sl)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many of the k agents are in each state: `[E, T + 1, sl]`.

        Raises:
            SizeError: these would be more than 10^8 numbers.
        """
        places, size = self.s_g.size, self.s_g.size * self.num_sl
        if size > LARGEST_DATA:
            raise SizeError(
                f"{places:,} counts over {self.num_sl} states are {size:,} numbers; at most {LARGEST_DATA:,}"
            )
        index = np.arange(places).reshape(*self.s_g.shape, 1) * self.num_sl + self.s_l
        return np.bincount(index.ravel(), minlength=size).reshape(*self.s_g.shape, self.num_sl)

    @property
    def states(self) -> NDArray[np.int64]:
        """The rank of (s_g, h), s_g N + rank(h): `[E, T + 1]`.

        Raises:
            SizeError: the counts of k agents are too many to list.
        """
        simplex = self.simplex
        simplex.require_listed()
        ranks: NDArray[np.int64] = simplex.rank(torch.from_numpy(self.counts)).numpy()
        return self.s_g.astype(np.int64) * simplex.size + ranks

    @property
    def rewards(self) -> Floats:
        """What the k-agent system earned, r_g + (1/k) sum_i r_l: `[E, T]`."""
        earned: Floats = self.r_g + self.r_l.mean(-1)
        return earned

    def transitions(self) -> dict[str, NDArray[Any]]:
        """Flat columns, one row per step and agent, as `altmarl_torch.Transitions` reads them."""
        shape = self.a_l.shape
        episode, step = (np.indices(shape)[axis] for axis in (0, 1))
        wide: dict[str, NDArray[Any]] = {
            "sg": self.s_g[:, :-1],
            "ag": self.a_g,
            "r_g": self.r_g,
            "sg_next": self.s_g[:, 1:],
        }
        columns: dict[str, NDArray[Any]] = {"episode": episode, "step": step}
        columns |= {name: np.broadcast_to(array[..., None], shape) for name, array in wide.items()}
        columns |= {"sl": self.s_l[:, :-1], "al": self.a_l, "r_l": self.r_l, "sl_next": self.s_l[:, 1:]}
        return {name: column.ravel() for name, column in columns.items()}

    to_columns = transitions  # the name under which every table gives its columns

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to exactly `path`, whole or not at all; `load` gives back the same bits."""
        write_npz(path, FILE_FORMAT, FILE_VERSION, {name: getattr(self, name) for name in (*ARRAYS, *SCALARS)})

    @classmethod
    @door
    def load(cls, path: str | os.PathLike[str]) -> "Trajectories":
        """Read what `save` wrote, without running code from the file.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is not of this format or version, is damaged, or holds no trajectories; the
                message says why.
        """
        arrays: dict[str, Any] = dict(read_npz(path, FILE_FORMAT, FILE_VERSION, (*ARRAYS, *SCALARS)))
        try:
            scalars = {name: as_scalar(name, arrays[name], GameError) for name in SCALARS}
            return cls(**{name: arrays[name] for name in ARRAYS}, **scalars)
        except (ArgumentError, GameError, SizeError) as cause:
            raise FileFormatError(f"{path} holds no trajectories: {cause}") from cause

    def to_minari(self, dataset_id: str, **about: Any) -> Any:
        """Keep them as a local Minari data set (extra `minari`; `offline.minari_sets`), which is returned.

        Args:
            dataset_id: its name, such as "fleet/explored-v0".
            about: what Minari's `create_dataset_from_buffers` is told besides: author, description, ...

        Raises:
            ArgumentError: there is a data set of that name already, or Minari refuses the name.
            MissingExtraError: Minari is not installed.
        """
        arrays = {name: getattr(self, name) for name in ARRAYS}
        return write_minari(dataset_id, arrays, {name: getattr(self, name) for name in SCALARS}, about)

    @classmethod
    def from_minari(cls, dataset: Any, *, gamma: float | None = None, n: int | None = None) -> "Trajectories":
        """Read a Minari data set, or the local one of that id, of the form that `to_minari` writes.

        Args:
            dataset: a `MinariDataset`, or its id.
            gamma, n: discount factor and number of agents; None for those that `to_minari` has put down.

        Raises:
            ArgumentError: there is no such data set, or it has other spaces, no rewards of its own for agents, episodes
                of different lengths, or entries out of their range.
            MissingExtraError: Minari is not installed.
        """
        return cls(**read_minari(dataset, {"gamma": gamma, "n": n}))

    def _read(self, name: str, word: str) -> NDArray[Any]:
        """One array, of numbers in their range: int32, or float64 for rewards (where `word` is empty)."""
        refuse_masked(name, getattr(self, name), ArgumentError)
        try:
            array = np.asarray(getattr(self, name))
        except ValueError as cause:  # nested lists of different lengths
            raise ArgumentError(f"{name} is no array: {cause}") from cause
        if array.dtype.kind not in "fiu" and array.size:
            raise ArgumentError(f"{name} must hold {'integers' if word else 'numbers'}, not {array.dtype}")
        if array.size > LARGEST_DATA:
            raise SizeError(f"{name} has {array.size:,} numbers; at most {LARGEST_DATA:,} are kept")
        if not word:
            _refuse(name, array, ~np.isfinite(array), "expected a finite number")
            return array.astype(np.float64)
        size = getattr(self, f"num_{word}")
        if array.dtype.kind == "f":  # 1.0, as pandas has it
            _refuse(name, array, ~(array == np.floor(array)), "expected a whole number")
        _refuse(name, array, (array < 0) | (array >= size), f"num_{word} = {size}: expected 0..{size - 1}")
        return array.astype(np.int32)

    def _check_bound(self) -> None:
        """Values of such rewards are finite."""
        with np.errstate(over="ignore"):
            v_max = (np.abs(self.r_g).max() + np.abs(self.r_l).max()) / (1 - self.gamma)
        if not math.isfinite(v_max):
            raise ArgumentError("rewards must be so small that (max|r_g| + max|r_l|) / (1 - gamma) is finite")

    def _check_shapes(self) -> None:
        if self.a_l.ndim != 3 or not self.a_l.size:
            raise ArgumentError(f"a_l must have the shape [E, T, k], none of them 0, not {list(self.a_l.shape)}")
        episodes, steps, k = self.a_l.shape
        check_data_size(episodes, steps, k)
        wanted = {"s_g": (episodes, steps + 1), "s_l": (episodes, steps + 1, k), "a_g": (episodes, steps)}
        wanted |= {"r_g": (episodes, steps), "r_l": (episodes, steps, k)}
        for name, shape in wanted.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ArgumentError(f"{name} must have the shape {list(shape)}, as a_l has it, not {list(found)}")


def check_data_size(trajectories: int, steps: int, k: int) -> None:
    """Raise a SizeError where so many trajectories of so many steps hold more than 10^8 numbers."""
    numbers = trajectories * (steps + 1) * 3 * (k + 1)
    if numbers > LARGEST_DATA:
        most = max(1, math.floor(LARGEST_DATA / (3 * (k + 1))))
        raise SizeError(
            f"{trajectories:,} trajectories of {steps:,} steps with k = {k} agents are {numbers:,} numbers; at most "
            f"{LARGEST_DATA:,} are kept: {most:,} steps in all"
        )


def _refuse(name: str, array: NDArray[Any], bad: NDArray[np.bool_], rule: str) -> None:
    """Raise an ArgumentError for the first entry marked in `bad`."""
    if bad.any():
        first = [int(index) for index in np.argwhere(bad)[0]]
        more = f" (and {int(bad.sum()) - 1:,} more like it)" if bad.sum() > 1 else ""
        raise ArgumentError(f"{name}{first} is {array[tuple(first)]}{more}; {rule}")
