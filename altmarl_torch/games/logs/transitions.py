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
    agent      (optional) number of the agent                              whole number from 0
    terminated (optional) whether s_l' is an end: nothing follows           0 or 1

Columns may stand in any order, and others between them. Agents need no number; where they have one, a row that stands
twice is counted once, which the log tells.

**Several agents in one step.**  The global columns of a step are the same for all its agents, and are counted once.
`episode` and `step` say which rows those are: rows that share both must agree in sg, ag, r_g and sg_next, and where
the log has the next step as well, it must begin where this one ended. Without the two columns every row is a step of
its own, which is right where each row is one.

r_g may stand on one row of a step and be missing (NaN, None, NA, an empty cell) on the others; nothing else may. In a
step r_g may differ by rounding, a millionth of the largest: sums in another order do.

**Ends.**  An agent that broke down, or a case that was closed, is logged up to there. `terminated` marks the row in
which it got there: s_l' is *absorbing*, and earns nothing (`games.logs.ends`). A log that merely stops is not marked.

**Files** are read by `games.logs.files`; `save` writes CSV and npz. Words may stand for numbers (`games.logs.labels`).

**Errors** name the first line at fault (of a CSV file as an editor counts them, from 1; of an array its row, from 0),
what is there, and what would be right.
"""

import csv
import io
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from altmarl_torch.errors import LogError
from altmarl_torch.games.logs.frames import known, opened
from altmarl_torch.games.logs.labels import numbers_of, texts_of
from altmarl_torch.support.files import whole
from altmarl_torch.support.npz import write_npz
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import refuse_masked

__all__ = ["COLUMNS", "OPTIONAL", "Table", "Transitions"]

logger = logging.getLogger(__name__)

FILE_FORMAT, FILE_VERSION = "altmarl-transitions", 1
GLOBAL, LOCAL = ("sg", "ag", "r_g", "sg_next"), ("sl", "al", "r_l", "sl_next")
COLUMNS = (*GLOBAL, *LOCAL)
"""The columns that every log has."""

NUMBERS = ("episode", "step")
"""Those that it may have, both or neither."""

OPTIONAL = (*NUMBERS, "agent", "terminated")
"""Those that it may have."""

REWARDS = ("r_g", "r_l")
SUFFIX = ".csv"
LARGEST_INDEX = 2**31 - 2
"""The largest state, action, episode or step."""

ROUNDING = 1e-6
"""By how much r_g may differ between the rows of a step, relative to the largest."""

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Transitions:
    """A log, checked: arrays of one length, row by row one step of one agent (module docstring).

    Attributes:
        sg, ag, r_g, sg_next: `[rows]`, the global agent's part of the step.
        sl, al, r_l, sl_next: `[rows]`, an agent's.
        episode, step: `[rows]`, or None for both.
        agent: `[rows]`, or None.
        terminated: `[rows]`, 1 where s_l' is an end; None where no row is.
        lines: `[rows]`, the line of each row in its file; None where there is none, and rows are counted from 0.
        source: what messages call the log.
        labels: by `sg`, `sl`, `ag`, `al`, the text that stands for each number, where the log had text; else empty.

    Columns may be lists or arrays of any numeric type; they are stored as int64 and float64. States and actions may be
    text (`games.logs.labels`), which is then numbered.

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
    agent: Integers | None = None
    terminated: Integers | None = None
    lines: Integers | None = None
    source: str = "the log"
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    dropped: int = field(default=0, init=False)
    """Rows that stood there twice."""

    __repr__ = brief

    def __post_init__(self) -> None:
        given = {name: getattr(self, name) for name in (*COLUMNS, *OPTIONAL) if getattr(self, name) is not None}
        if len(given.keys() & NUMBERS) == 1:
            raise LogError(f"{self.source} has only one of the columns episode and step; give both or neither")
        numbered, labels = numbers_of(given, self.source)
        object.__setattr__(self, "labels", {**self.labels, **labels})
        for name, column in (given | numbered).items():
            object.__setattr__(self, name, self._as_column(name, column))
        lengths = {name: len(column) for name, column in self.to_columns().items()}
        if len(set(lengths.values())) > 1:
            raise LogError(f"{self.source} has columns of different lengths: {lengths}")
        if not len(self):
            raise LogError(f"{self.source} holds no transitions")
        for name in given:
            if name not in REWARDS:
                self._whole(name)
        if self.terminated is not None:
            self._refuse(self.terminated > 1, "terminated", "expected 0 or 1")
        if "step" in given:
            self._drop_repeated()
            self._check_steps()
        self._refuse(
            ~np.isfinite(self.r_g), "r_g", f"expected a finite number{', on one row of a step' * ('step' in given)}"
        )

    def __len__(self) -> int:
        return len(self.sg)

    @classmethod
    def of(cls, table: "Table", source: str = "the log", **more: Integers) -> "Transitions":
        """A log from columns by name: a dict of arrays or lists, a frame (pandas, polars), an Arrow table or stream.

        Columns of other names are left out.

        Raises:
            ArgumentError: the table has no columns by name.
            MissingExtraError: it is an Arrow stream, and pyarrow is not there to read it.
            LogError: as for the class.
        """
        if isinstance(table, Transitions):
            return table
        columns, there = opened(table)
        missing = [name for name in COLUMNS if name not in there]
        if missing:
            raise LogError(f"{source} lacks the columns {', '.join(missing)}; it has {', '.join(there) or 'none'}")
        return cls(**{name: columns[name] for name in (*COLUMNS, *OPTIONAL) if name in there}, **more, source=source)  # type: ignore[arg-type]

    @cached_property
    def first_of_step(self) -> Integers:
        """The rows that stand for the steps, one for each, in all that is global: `[steps]`."""
        if self.episode is None or self.step is None:
            return np.arange(len(self))
        return np.unique(_places(self.episode, self.step), return_index=True)[1]

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """The columns that there are, by name, as data frames take them."""
        found = {name: getattr(self, name) for name in (*COLUMNS, *OPTIONAL)}
        return {name: column for name, column in found.items() if column is not None}

    columns = to_columns  # its name in 0.1

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write to exactly `path`, whole or not at all: CSV where it ends in `.csv`, an npz archive elsewhere.

        `read_log` gives back the same numbers.
        """
        columns = self.to_columns() | texts_of(self.to_columns(), self.labels)
        if not str(path).endswith(SUFFIX):
            write_npz(path, FILE_FORMAT, FILE_VERSION, columns)
            return
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(zip(*(c.tolist() for c in columns.values()), strict=True))
        with whole(path) as file:
            file.write(f"# {FILE_FORMAT} {FILE_VERSION}\n{','.join(columns)}\n".encode() + text.getvalue().encode())

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
        refuse_masked(f"{self.source}: column {name}", column, LogError)
        array = np.asarray(column)
        if array.dtype.kind == "O":
            array = np.array([known(entry) for entry in array.tolist()])
        if array.dtype.kind not in "fiub" or array.ndim != 1:
            found = f"an array of {array.dtype} and shape {list(array.shape)}"
            raise LogError(f"{self.source}: column {name} is {found}; expected numbers, one for each row")
        floats = array.astype(np.float64)
        missing = np.isnan(floats) if name == "r_g" else False
        self._refuse(~(np.isfinite(floats) | missing), name, "expected a finite number", floats)
        return floats

    def _whole(self, name: str) -> None:
        """Turn a column of states, actions, episodes or steps into integers."""
        column = getattr(self, name)
        bad = (column < 0) | (column > LARGEST_INDEX) | (column != np.floor(column))
        self._refuse(bad, name, f"expected a whole number in 0..{LARGEST_INDEX}")
        object.__setattr__(self, name, column.astype(np.int64))

    def check_population(self, n: int) -> None:
        """Raise a LogError where a step shows more agents than there are."""
        if self.episode is None or self.step is None:
            return
        _, first, shown = np.unique(_places(self.episode, self.step), return_index=True, return_counts=True)
        if shown.max() > n:
            row = int(first[shown.argmax()])
            place = f"{self.source}, {self._line(row)}: episode {self.episode[row]}, step {self.step[row]}"
            raise LogError(f"{place} shows {shown.max():,} agents, of n = {n:,}; does a row stand there twice?")

    def refuse_leaving(self, ends: NDArray[np.bool_]) -> None:
        """Raise a LogError where an agent leaves a state that is an end, `ends [sl]`."""
        rule = "a row with terminated = 1 leads there, and nothing follows an end"
        self._refuse(ends[self.sl] & (self.sl_next != self.sl), "sl", rule)

    @property
    def repeats(self) -> int:
        """How often the whole log stands there: 2 if every row has an equal, or three of them, and so on; else 1."""
        code = np.zeros(len(self), dtype=np.uint64)
        for number, column in enumerate(self.to_columns().values()):
            bits = np.ascontiguousarray(column.astype(np.float64)).view(np.uint64)
            code = (code ^ bits) * np.uint64(0x9E3779B97F4A7C15 + 2 * number)  # a hash; products wrap around
        return int(np.gcd.reduce(np.unique(code, return_counts=True)[1])) if len(self) > 1 else 1

    def _drop_repeated(self) -> None:
        """Of rows of one agent in one step keep the first, if they say the same."""
        if self.agent is None or self.episode is None or self.step is None:
            return
        key = np.stack([self.episode, self.step, self.agent])
        _, first, which = np.unique(key, axis=1, return_index=True, return_inverse=True)
        if len(first) == len(self):
            return
        same_as = first[which.reshape(-1)]
        for name, column in self.to_columns().items():
            bad = (column != column[same_as]) & ~((column != column) & (column[same_as] != column[same_as]))
            if bad.any():
                row = int(bad.argmax())
                self._refuse(bad, name, f"{self._line(int(same_as[row]))}, of the same step and agent, says otherwise")
        kept = np.sort(first)
        object.__setattr__(self, "dropped", len(self) - len(kept))
        lines = {} if self.lines is None else {"lines": self.lines}
        for name, column in (self.to_columns() | lines).items():
            object.__setattr__(self, name, column[kept])
        logger.warning("%s: %s rows stand there twice, and are counted once", self.source, f"{self.dropped:,}")

    def _share_reward(self, step_of: Integers, steps: int) -> None:
        """Put the r_g of each step, which may stand on one row of it, on all of them."""
        known = np.flatnonzero(~np.isnan(self.r_g))
        row_of = np.full(steps, -1)
        row_of[step_of[known[::-1]]] = known[::-1]  # the first that has it
        row_of = row_of[step_of]
        self._refuse(row_of < 0, "r_g", "expected a finite number on one row of each step")
        shared, allowed = self.r_g[row_of], ROUNDING * float(np.nanmax(np.abs(self.r_g)))
        bad = np.abs(self.r_g - shared) > allowed
        if bad.any():
            other = int(row_of[bad.argmax()])
            self._refuse(
                bad, "r_g", f"{self._line(other)}, of the same episode and step, has {_exact(self.r_g[other])}"
            )
        object.__setattr__(self, "r_g", shared)

    def _check_steps(self) -> None:
        """Rows of one step agree in what is global, and the next step begins where this one ended."""
        assert self.episode is not None
        assert self.step is not None
        steps, first, step_of = np.unique(_places(self.episode, self.step), return_index=True, return_inverse=True)
        self._share_reward(step_of, len(steps))
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
            raise LogError(f"{self.source}, {self._line(row)}: {name} is {_exact(value)}{also}; {rule}")

    def _line(self, row: int) -> str:
        return f"row {row}" if self.lines is None else f"line {self.lines[row]}"


Table = Mapping[str, ArrayLike] | Transitions
"""A log, or its columns by name."""


def _exact(value: float) -> str:
    """A number in digits that tell it from its neighbours, and no more."""
    short = f"{value:.15g}"
    return short if float(short) == value or value != value else repr(float(value))


def _places(episode: Integers, step: Integers) -> Integers:
    """One number for each (episode, step), such that the next step's is the next; indices are below 2^31."""
    return episode * (LARGEST_INDEX + 1) + step
