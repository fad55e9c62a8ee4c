"""Logs: what agents were seen to do, as a table that anybody can write, and a reader that says what is wrong with it.

People who run a fleet have no kernels, they have a log. A row of it is one step of one agent: where it and the
coordinator were, what both did, what both earned, and where both were next.

    column     meaning                                                     type
    sg         s_g, state of the global agent                              whole number from 0
    ag         a_g, its action                                             whole number from 0
    r_g        what the system earned globally in this step                finite number
    sg_next    s_g', its next state                                        whole number from 0
    sl         s_l, state of the agent of this row                         whole number from 0
    al         a_l, its action                                             whole number from 0
    r_l        what this agent earned in this step (not divided by n)      finite number
    sl_next    s_l', its next state                                        whole number from 0
    episode    (optional) number of the episode                            whole number from 0
    step       (optional, with episode) number of the step in it           whole number from 0

Columns may stand in any order, and other columns may stand between them. Agents need no number: they are alike.

**Several agents in one step.**  The global columns of a step are the same for all its agents, and must be counted once.
`episode` and `step` say which rows those are: rows that share both must agree in sg, ag, r_g and sg_next, and where
the log has the next step as well, it must begin where this one ended. Without the two columns every row is a step of
its own, which is right where each row is one.

**Two formats.**  *CSV*: UTF-8, a header with the names above, numbers with a decimal point, commas between them; the
first line may be `# altmarl-transitions 1`, the format and its version, which is taken for granted where it is
missing. *npz*: an archive with `format` = "altmarl-transitions", `version` = 1 and one array per column, as
`Transitions.save` writes it; nothing in it is run (`support.npz`).

**Errors** name the first line at fault (of a CSV file as an editor counts them, from 1; of an array its row, from 0),
what is there, and what would be right.
"""

import csv
import os
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from altmarl_torch.errors import ArgumentError, LogError
from altmarl_torch.support.files import read_text, whole
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.tables import as_integer

__all__ = ["COLUMNS", "OPTIONAL", "Table", "Transitions", "as_log", "read_log"]

FILE_FORMAT, FILE_VERSION = "altmarl-transitions", 1
GLOBAL, LOCAL = ("sg", "ag", "r_g", "sg_next"), ("sl", "al", "r_l", "sl_next")
COLUMNS = (*GLOBAL, *LOCAL)
"""The columns that every log has."""

OPTIONAL = ("episode", "step")
"""Those that it may have, both or neither."""

REWARDS = ("r_g", "r_l")
SUFFIX = ".csv"
LARGEST_INDEX = 2**31 - 2
"""The largest state, action, episode or step."""

LARGEST_CSV = 2**30
"""Bytes of the largest CSV file that is read."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transitions:
    """A log, checked: arrays of one length, row by row one step of one agent (module docstring).

    Attributes:
        sg, ag, r_g, sg_next: `[rows]`, the global agent's part of the step.
        sl, al, r_l, sl_next: `[rows]`, an agent's.
        episode, step: `[rows]`, or None for both.
        lines: `[rows]`, the line of each row in its file; None where there is none, and rows are counted from 0.
        source: what messages call the log.

    Columns may be lists or arrays of any numeric type; they are stored as int64 and float64.

    Raises:
        LogError: a column is empty or of another length, or an entry is out of its range or contradicts another; the
            message names the row.
    """

    sg: Integers
    ag: Integers
    r_g: Floats
    sg_next: Integers
    sl: Integers
    al: Integers
    r_l: Floats
    sl_next: Integers
    episode: Integers | None = None
    step: Integers | None = None
    lines: Integers | None = None
    source: str = "the log"

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in (*COLUMNS, *OPTIONAL) if getattr(self, name) is not None}
        if len(given.keys() & OPTIONAL) == 1:
            raise LogError(f"{self.source} has only one of the columns episode and step; give both or neither")
        for name, column in given.items():
            object.__setattr__(self, name, self._as_column(name, column))
        lengths = {name: len(column) for name, column in self.columns().items()}
        if len(set(lengths.values())) > 1:
            raise LogError(f"{self.source} has columns of different lengths: {lengths}")
        if not len(self):
            raise LogError(f"{self.source} holds no transitions")
        for name in given:
            if name not in REWARDS:
                self._whole(name)
        if "step" in given:
            self._check_steps()

    def __len__(self) -> int:
        return len(self.sg)

    @classmethod
    def of(cls, table: "Table", source: str = "the log", **more: Integers) -> "Transitions":
        """A log from columns by name: a dict of arrays or lists, or whatever has columns, like a pandas DataFrame.

        Columns of other names are left out.

        Raises:
            ArgumentError: the table has no columns by name.
            LogError: as for the class.
        """
        if isinstance(table, Transitions):
            return table
        if not hasattr(table, "keys"):
            raise ArgumentError(f"a log is a mapping of names to columns, not {type(table).__name__}")
        there = [str(name) for name in table.keys()]  # noqa: SIM118  # a DataFrame is no Mapping
        missing = [name for name in COLUMNS if name not in there]
        if missing:
            raise LogError(f"{source} lacks the columns {', '.join(missing)}; it has {', '.join(there) or 'none'}")
        return cls(**{name: table[name] for name in (*COLUMNS, *OPTIONAL) if name in there}, **more, source=source)  # type: ignore[arg-type]

    @cached_property
    def first_of_step(self) -> Integers:
        """The rows that stand for the steps, one for each, in all that is global: `[steps]`."""
        if self.episode is None or self.step is None:
            return np.arange(len(self))
        return np.unique(_places(self.episode, self.step), return_index=True)[1]

    def columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are, by name."""
        found = {name: getattr(self, name) for name in (*COLUMNS, *OPTIONAL)}
        return {name: column for name, column in found.items() if column is not None}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to exactly `path`, whole or not at all: CSV where it ends in `.csv`, an npz archive elsewhere.

        `read_log` gives back the same numbers.
        """
        columns = self.columns()
        if not str(path).endswith(SUFFIX):
            write_npz(path, FILE_FORMAT, FILE_VERSION, columns)
            return
        rows = zip(*(map(repr, column.tolist()) for column in columns.values()), strict=True)
        with whole(path) as file:
            file.write(f"# {FILE_FORMAT} {FILE_VERSION}\n{','.join(columns)}\n".encode())
            file.writelines(f"{','.join(row)}\n".encode() for row in rows)

    def sizes(self, given: Mapping[str, int | None]) -> dict[str, int]:
        """How many states and actions there are: as given, and for None one more than the largest index in the log.

        Args:
            given: sizes by `sg`, `sl`, `ag`, `al`.

        Raises:
            LogError: the log has a state or an action that a given size leaves no room for.
        """
        found = {}
        for word, size in given.items():
            names = [name for name in (word, f"{word}_next") if name in COLUMNS]
            found[word] = max(int(getattr(self, name).max()) for name in names) + 1 if size is None else size
            kind = "states" if word.startswith("s") else "actions"
            for name in names:
                rule = f"num_{word} = {found[word]}: the {kind} are 0..{found[word] - 1}"
                self._refuse(getattr(self, name) >= found[word], name, rule)
        return found

    def _as_column(self, name: str, column: object) -> NDArray[Any]:
        """A column as finite numbers, float64 `[rows]`."""
        array = np.asarray(column)
        if array.dtype.kind not in "fiub" or array.ndim != 1:
            found = f"an array of {array.dtype} and shape {list(array.shape)}"
            raise LogError(f"{self.source}: column {name} is {found}; expected numbers, one for each row")
        floats = array.astype(np.float64)
        self._refuse(~np.isfinite(floats), name, "expected a finite number", floats)
        return floats

    def _whole(self, name: str) -> None:
        """Turn a column of states, actions, episodes or steps into integers."""
        column = getattr(self, name)
        bad = (column < 0) | (column > LARGEST_INDEX) | (column != np.floor(column))
        self._refuse(bad, name, f"expected a whole number in 0..{LARGEST_INDEX}")
        object.__setattr__(self, name, column.astype(np.int64))

    def _check_steps(self) -> None:
        """Rows of one step agree in what is global, and the next step begins where this one ended."""
        assert self.episode is not None
        assert self.step is not None
        steps, first, step_of = np.unique(_places(self.episode, self.step), return_index=True, return_inverse=True)
        for name in GLOBAL:
            column = getattr(self, name)
            bad = column != column[first[step_of]]
            if bad.any():
                row = int(bad.argmax())
                other = int(first[step_of[row]])
                self._refuse(bad, name, f"{self._line(other)}, of the same episode and step, has {column[other]}")
        after = np.searchsorted(steps, steps + 1).clip(max=len(steps) - 1)
        broken = (steps[after] == steps + 1) & (self.sg[first[after]] != self.sg_next[first])
        if broken.any():
            here, there = int(first[broken.argmax()]), int(first[after[broken.argmax()]])
            ended = f"the step before, {self._line(here)}, ended in sg_next = {self.sg_next[here]}"
            place = f"{self.source}, {self._line(there)}"
            raise LogError(f"{place}: sg is {self.sg[there]}, but {ended}; give each episode a number of its own")

    def _refuse(self, bad: NDArray[np.bool_], name: str, rule: str, column: NDArray[Any] | None = None) -> None:
        """Raise a LogError for the first row marked in `bad`."""
        if bad.any():
            row, more = int(bad.argmax()), int(bad.sum()) - 1
            value = (getattr(self, name) if column is None else column)[row]
            also = f" (and {more:,} more like it)" if more else ""
            raise LogError(f"{self.source}, {self._line(row)}: {name} is {value:.15g}{also}; {rule}")

    def _line(self, row: int) -> str:
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"


Table = Mapping[str, ArrayLike] | Transitions
"""A log, or its columns by name."""


def read_log(path: str | os.PathLike[str], sizes: Mapping[str, int | None] | None = None) -> Transitions:
    """Read a log from a CSV file (whose name ends in `.csv`) or an npz archive.

    Args:
        path: the file.
        sizes: of the four sets, where they are known (`Transitions.sizes`).

    Raises:
        LogError: the log is malformed; the message names the first line at fault.
        FileFormatError: it is no file of this kind at all.
        OSError: there is no such file, or it cannot be read.
    """
    log = _read_csv(path) if str(path).endswith(SUFFIX) else _read_npz(path)
    log.sizes(sizes or {})
    return log


def as_log(table: Table | str | os.PathLike[str], sizes: Mapping[str, int | None]) -> Transitions:
    """A log from a path or from columns; errors as for `read_log` and `Transitions.of`."""
    for word, size in sizes.items():
        if size is not None:
            as_integer(f"num_{word}", size, 1, LARGEST_INDEX, ArgumentError)
    return read_log(table, sizes) if isinstance(table, str | os.PathLike) else Transitions.of(table)


def _read_npz(path: str | os.PathLike[str]) -> Transitions:
    arrays: dict[str, Any] = dict(read_npz(path, FILE_FORMAT, FILE_VERSION, (), (*COLUMNS, *OPTIONAL)))
    return Transitions.of(arrays, str(path))


def _read_csv(path: str | os.PathLike[str]) -> Transitions:
    """A CSV file by numpy's reader, which is fast; where that stumbles, a slow one finds the line."""
    source, lines = str(path), read_text(path, LARGEST_CSV).removeprefix("\ufeff").splitlines()
    names, begin = _header(lines, source)
    wanted = [names.index(name) for name in (*COLUMNS, *OPTIONAL) if name in names]
    numbers = np.array([number for number in range(begin, len(lines)) if lines[number].strip()], dtype=np.int64)
    rows = lines[begin:] if len(numbers) == len(lines) - begin else [lines[number] for number in numbers]
    if not rows:
        raise LogError(f"{source} holds no transitions: there is nothing below the header")
    try:
        table = np.loadtxt(rows, delimiter=",", usecols=wanted, ndmin=2, comments=None, quotechar='"')
    except ValueError as cause:
        raise LogError(_fault(rows, numbers, names, wanted, source) or f"{source}: {cause}") from None
    columns = dict(zip([names[index] for index in wanted], table.T, strict=True))
    return Transitions.of(columns, source, lines=numbers + 1)


def _header(lines: list[str], source: str) -> tuple[list[str], int]:
    """The columns' names, and the index of the first line below them."""
    label = f"# {FILE_FORMAT} "
    begin = int(bool(lines) and lines[0].startswith("#"))
    if begin and lines[0].strip() != f"{label}{FILE_VERSION}":
        raise LogError(f"{source}, line 1: {reprlib.repr(lines[0])}; expected {label}{FILE_VERSION!r}, or the header")
    if not any(line.strip() for line in lines[begin:]):
        raise LogError(f"{source} is empty; expected a header with the columns {', '.join(COLUMNS)}")
    names = [name.strip() for name in next(csv.reader([lines[begin]]))]
    place = f"{source}, line {begin + 1}"
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise LogError(f"{place} lacks the columns {', '.join(missing)}; it has {reprlib.repr(', '.join(names))}")
    twice = [name for name in (*COLUMNS, *OPTIONAL) if names.count(name) > 1]
    if twice:
        raise LogError(f"{place} has the column {twice[0]} twice")
    return names, begin + 1


def _fault(rows: list[str], numbers: Integers, names: list[str], wanted: list[int], source: str) -> str | None:
    """What is wrong in the first line that is no row of numbers."""
    for row, number in zip(rows, numbers.tolist(), strict=True):
        cells = next(csv.reader([row]))
        place = f"{source}, line {number + 1}"
        if len(cells) <= max(wanted):
            return f"{place} has {len(cells)} cells; the header has {len(names)}"
        for index in wanted:
            try:
                float(cells[index])
            except ValueError:
                return f"{place}: {names[index]} is {reprlib.repr(cells[index])}; expected a number"
    return None


def _places(episode: Integers, step: Integers) -> Integers:
    """One number for each (episode, step), such that the next step's is the next; indices are below 2^31."""
    return episode * (LARGEST_INDEX + 1) + step
