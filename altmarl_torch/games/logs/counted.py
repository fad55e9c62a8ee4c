"""Counting: from a log of transitions to the tables of a game, with what is known of each entry.

Every row of a kernel is the law of a die that the log has thrown some times. With x a state-action pair, y a next
state out of S, N(x, y) how often the log has it, and a symmetric Dirichlet prior of a pseudo-counts per next state
(`smoothing`), the law given the log is Dirichlet(N(x, .) + a), with mean and standard error

    p(y | x) = (N(x, y) + a) / (N(x) + a S),        se = sqrt( p (1 - p) / (N(x) + a S + 1) ),

N(x) the sum over y. The means are the kernel; at a = 0 they are the frequencies, the maximum of the likelihood. A
reward's estimate is the mean of what was earned at x, and its standard error sqrt(v(x) / N(x)) with

    v(x) = (sum of squares about the mean at x + v) / N(x),        v the variance within all x together,

so that few observations at x borrow what they lack from the others (N(x) = 1 says nothing of a variance). Rewards that
never vary have error 0.

**What the log does not say.**  At a pair that was never seen, a > 0 makes the law uniform and the reward the mean over
the pairs that were, with their spread as its standard error. At a = 0 there is no estimate, and the game is *refused*
if such a pair can be reached: from the states that the log has (and those where the first state may lie, if that is
given), by any actions, along transitions that were seen. What cannot be reached does not matter; it stays where it is.

**Ends.**  A state s_l' that a row marks as `terminated` is absorbing: agents stay in it, whatever they do, and earn
nothing. So is a state s_g that is entered in such rows only and never left: all stay where they are. A state that is
reached at the end of the log's episodes and never left *may* be an end; without the mark it is refused, or under
smoothing, which takes the next state for uniform, told in the report.

**Rows that stand twice** (one agent in one step) are counted once; where every row of a log without the column `agent`
has an equal, the report says so. A step that shows more agents than n is refused.

**The first state.**  Its law is read off the first steps of the episodes, where there are `FEWEST_EPISODES` at least:
the frequencies of s_g, those of the agents' states, and the Dirichlet strength A from how often two agents of one
episode begin alike: with m the mean law, that has probability sum m^2 + (1 - sum m^2) / (A + 1). Where no episode shows
two agents nothing is known of A; agents are taken for independent, and the report says so. Otherwise it is uniform over
the states that the log has.

References: Gelman et al., *Bayesian Data Analysis*, section 3.4, for the Dirichlet law; Rubin, *The Bayesian Bootstrap*
(1981), for a = 0.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.logs.ends import SHOWN, Flags, Floats, absorbed, end_hint, ends_of
from altmarl_torch.games.logs.files import as_log
from altmarl_torch.games.logs.starts import first_state, starts_of
from altmarl_torch.games.logs.transitions import Table, Transitions
from altmarl_torch.games.naming import NAMES
from altmarl_torch.games.tables import TABLE_AXES
from altmarl_torch.support.tables import as_integer, as_number, check_entries, place
from altmarl_torch.support.torch_state import door

__all__ = ["Counted", "Sizes", "count_log", "count_transitions"]

ROUNDING = 1e-11
"""Relative to the largest reward: what sums of many millions of terms lose."""

EXACT = 8 * float(np.finfo(np.float64).eps)
"""A mean below this times the root of the observations, relative to that of the absolute values, is 0."""

Sizes = Mapping[str, int | None]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Counted:
    """What a log says of a game; tables by name, their axes as everywhere.

    Attributes:
        tables: the estimates P_g, P_l, r_g, r_l.
        errors: their standard errors, of the same shapes.
        counts: N(x, y), of P_g `[sg, ag, sg']` and P_l `[sl, sg, al, sl']`.
        unseen: for P_g `[sg, ag]` and P_l `[sl, sg, al]`, the pairs that can be reached and were never seen.
        initial: the law of the first state.
        smoothing: a, 0 without a prior.
        rows, steps, episodes: of the log; episodes is None where it does not number them.
        ends: for P_g `[sg]` and P_l `[sl]`, the states that are absorbing because the log says so.
        absent: for `sg`, `sl`, `ag`, `al`, the indices that are never seen.
        never_left: for P_g and P_l, the states that are reached, never left, and not marked as ends.
        pairs_at_start: whether an episode's first step shows two agents; None where too few episodes are numbered.
        dropped: rows that stood there twice.
        repeats: how often the whole log stands there.
        given_initial: whether the law of the first state was given.
        names: of states and actions, by `sg_names` and so on, where the log has text in place of numbers.
    """

    tables: dict[str, Floats]
    errors: dict[str, Floats]
    counts: dict[str, Floats]
    unseen: dict[str, Flags]
    initial: InitialLaw
    smoothing: float
    rows: int
    steps: int
    episodes: int | None
    ends: dict[str, Flags]
    absent: dict[str, list[int]]
    never_left: dict[str, list[int]]
    pairs_at_start: bool | None
    dropped: int
    repeats: int
    given_initial: bool
    names: dict[str, tuple[str, ...]]


@door
def count_log(
    table: Table | str | os.PathLike[str],
    sizes: Sizes,
    smoothing: float | None = None,
    initial: InitialLaw | None = None,
    n: int | None = None,
) -> Counted:
    """As `count_transitions`, from a log's path or its columns by name; LogError where it is malformed."""
    return count_transitions(as_log(table, sizes), sizes, smoothing, initial, n)


@door
def count_transitions(
    log: Transitions,
    sizes: Sizes,
    smoothing: float | None = None,
    initial: InitialLaw | None = None,
    n: int | None = None,
) -> Counted:
    """Estimate the four tables of a game from a log (module docstring).

    Args:
        log: the log.
        sizes: how many states and actions there are, by `sg`, `sl`, `ag`, `al`; None: as many as the log has.
        smoothing: pseudo-counts per next state, a > 0; None for none.
        initial: the law of the first state, if it is known.
        n: how many agents there are, if that is known.

    Raises:
        LogError: the log has a state or action beyond the sizes, a step of more than n agents, or an end that is left.
        GameError: a pair that can be reached was never seen, and there is no smoothing; the message lists them.
        SizeError: a table would have more than 2^25 entries.
    """
    a, found = _pseudo_counts(smoothing), _checked_sizes(log, sizes, n)
    rows, first = log.to_columns(), log.first_of_step
    steps = {name: column[first] for name, column in rows.items()}
    seen = {"P_g": _Sightings(steps, ("sg", "ag"), found), "P_l": _Sightings(rows, ("sl", "sg", "al"), found)}
    counts, visits = ({name: getattr(pairs, what) for name, pairs in seen.items()} for what in ("counts", "visits"))
    met, ends = _reached(counts, rows, found, initial), ends_of(log, found)
    met[ends["P_l"], :] = met[:, ends["P_g"]] = False
    unseen, never_left = _unseen(met, visits), _never_left(met, visits)
    if not a:
        _refuse_unseen(unseen, never_left, log.labels)
    laws = {name: _law(table, a) for name, table in counts.items()}
    both = absorbed(laws | {"r_g": seen["P_g"].reward("r_g"), "r_l": seen["P_l"].reward("r_l")}, ends)
    return Counted(
        tables={name: pair[0] for name, pair in both.items()},
        errors={name: pair[1] for name, pair in both.items()},
        counts=counts,
        unseen=unseen,
        initial=initial or first_state(log, found, met),
        smoothing=a,
        rows=len(log),
        steps=len(first),
        ends=ends,
        never_left=never_left,
        **_remarks(log, found, initial),
    )


@dataclass(frozen=True, eq=False)
class _Sightings:
    """The rows of a log that show one kernel.

    Attributes:
        data: its columns.
        words: those of the state and the action; the first with `_next` is where they led.
        sizes: how many there are of each.
    """

    data: Mapping[str, Integers]
    words: tuple[str, ...]
    sizes: Mapping[str, int]

    @cached_property
    def counts(self) -> Floats:
        """How often each pair led to each next state."""
        return _histogram(self.data, (*self.words, f"{self.words[0]}_next"), self.sizes)

    @cached_property
    def visits(self) -> Floats:
        """How often each pair was seen."""
        total: Floats = self.counts.sum(-1)
        return total

    def reward(self, name: str) -> tuple[Floats, Floats]:
        """Means and standard errors of the reward of each pair."""
        earned: Floats = self.data[name].astype(np.float64)
        return _reward(earned, _index(self.data, self.words, self.sizes), self.visits)


def _pseudo_counts(smoothing: float | None) -> float:
    """a, the pseudo-counts per next state."""
    if smoothing is None:
        return 0.0
    return as_number("smoothing", smoothing, "(0, inf), or None", lambda x: 0 < x < math.inf, ArgumentError)


def _checked_sizes(log: Transitions, sizes: Sizes, n: int | None) -> Mapping[str, int]:
    """How many states and actions there are; errors as `count_transitions`."""
    found = log.sizes(sizes)
    if n is not None:
        log.check_population(as_integer("n", n, 1, math.inf, GameError))
    for name in ("P_g", "P_l"):
        check_entries(name, *_shape(name, found))
    return found


def _unseen(met: Flags, visits: Mapping[str, Floats]) -> dict[str, Flags]:
    """The pairs that can be reached and were never seen, by kernel."""
    reachable = {"P_g": np.logical_or.reduce(met)[:, None], "P_l": met[:, :, None]}
    return {name: reachable[name] & (table == 0) for name, table in visits.items()}


def _never_left(met: Flags, visits: Mapping[str, Floats]) -> dict[str, list[int]]:
    """The states that are met and that no transition leaves."""
    return {
        name: np.flatnonzero(met.any(axis) & (visits[name].sum(_rest(name)) == 0)).tolist()
        for name, axis in (("P_g", 0), ("P_l", 1))
    }


def _remarks(log: Transitions, found: Mapping[str, int], initial: InitialLaw | None) -> dict[str, Any]:
    """What else the log shows: fields of `Counted`."""
    starts = starts_of(log)
    return {
        "episodes": None if log.episode is None else len(np.unique(log.episode)),
        "absent": _absent(log, found),
        "pairs_at_start": None if starts is None else bool((np.bincount(starts[1]) > 1).any()),
        "dropped": log.dropped,
        "repeats": log.repeats if log.agent is None else 1,
        "given_initial": initial is not None,
        "names": {NAMES[word]: names for word, names in log.labels.items() if len(names) == found[word]},
    }


def _rest(name: str) -> tuple[int, ...]:
    """The axes of visits beside the state's own."""
    return tuple(range(1, len(TABLE_AXES[name].split()) - 1))


def _absent(log: Transitions, sizes: Mapping[str, int]) -> dict[str, list[int]]:
    """The states and actions that the log never has."""
    columns = log.to_columns()
    seen = {word: [columns[name] for name in (word, f"{word}_next") if name in columns] for word in sizes}
    return {word: np.setdiff1d(np.arange(size), np.concatenate(seen[word])).tolist() for word, size in sizes.items()}


def _shape(name: str, sizes: Mapping[str, int]) -> list[int]:
    return [sizes[word.rstrip("'")] for word in TABLE_AXES[name].split()]


def _index(data: Mapping[str, Integers], words: tuple[str, ...], sizes: Mapping[str, int]) -> Integers:
    """The place of each row in a flattened table with the axes `words`: `[rows]`."""
    shape = tuple(sizes[word.removesuffix("_next")] for word in words)
    return np.ravel_multi_index(tuple(data[word] for word in words), shape)


def _histogram(data: Mapping[str, Integers], words: tuple[str, ...], sizes: Mapping[str, int]) -> Floats:
    """How often each combination occurs, with one axis per word."""
    shape = [sizes[word.removesuffix("_next")] for word in words]
    return np.bincount(_index(data, words, sizes), minlength=math.prod(shape)).reshape(shape).astype(np.float64)


def _reached(
    counts: Mapping[str, Floats],
    rows: Mapping[str, Integers],
    sizes: Mapping[str, int],
    initial: InitialLaw | None,
) -> Flags:
    """Which (s_l, s_g) are met, from those in the log and those where it may start, by any actions: `[sl, sg]`."""
    met: Flags = np.zeros((sizes["sl"], sizes["sg"]), dtype=bool)
    met[rows["sl"], rows["sg"]] = met[rows["sl_next"], rows["sg_next"]] = True
    if initial is not None:
        met = met | np.outer(initial.local_mean.cpu().numpy() > 0, initial.sg.cpu().numpy() > 0)
    to_sg = (counts["P_g"].sum(1) > 0).astype(np.float64)  # [sg, sg']
    to_sl = (counts["P_l"].sum(2) > 0).astype(np.float64)  # [sl, sg, sl']
    for _ in range(met.size):
        wider = met | (np.einsum("lg,lgL,gG->LG", met.astype(np.float64), to_sl, to_sg, optimize=True) > 0)
        if (wider == met).all():
            break
        met = wider
    return met


def _refuse_unseen(
    unseen: Mapping[str, Flags], never_left: Mapping[str, list[int]], labels: Mapping[str, Sequence[str]]
) -> None:
    """Raise a GameError that lists pairs which can be reached and were never seen, in the log's words."""
    found = [
        place(name, TABLE_AXES[name], index, labels)
        for name, flags in unseen.items()
        for index in np.argwhere(flags).tolist()
    ]
    if found:
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise GameError(
            f"the log has no transition from {', '.join(found[:SHOWN])}{more}, which can be reached; log more, or pass "
            "smoothing (pseudo-counts per next state, for instance 0.5) to have them filled in" + end_hint(never_left)
        )


def _law(counts: Floats, a: float) -> tuple[Floats, Floats]:
    """Means and standard errors of the rows' laws; without counts and prior, of staying in the first axis' state."""
    size = counts.shape[-1]
    weight = counts + a
    total = weight.sum(-1, keepdims=True)
    stay = np.broadcast_to(np.eye(size).reshape(size, *[1] * (counts.ndim - 2), size), counts.shape)
    law = np.where(total > 0, weight / np.maximum(total, 1e-300), stay)
    return law, np.sqrt(law * (1 - law) / (total + 1))


def _reward(earned: Floats, index: Integers, visits: Floats) -> tuple[Floats, Floats]:
    """Means and standard errors of what was earned at each pair, of the shape of `visits`."""
    seen, times = visits > 0, np.maximum(visits, 1.0)
    centre = np.zeros(visits.size)
    centre[index[::-1]] = earned[::-1]  # the first reward of each pair is taken off: what never varies is kept exactly
    over = np.bincount(index, earned - centre[index], visits.size).reshape(visits.shape) / times
    mean = centre.reshape(visits.shape) + over
    sizes = np.bincount(index, np.abs(earned), visits.size).reshape(visits.shape) / times
    cancels = np.abs(mean) <= EXACT * np.sqrt(times) * sizes
    mean[cancels] = 0.0  # and not what rounding leaves of it
    off = (earned - centre[index]) - over.flat[index]
    off[np.abs(off) < ROUNDING * np.abs(earned).max()] = 0.0  # a reward that never varies has no error at all
    squares = np.bincount(index, off**2, visits.size).reshape(visits.shape)
    freedom = (visits - 1)[seen].sum()
    spread = (mean[seen] - mean[seen][0]).std()
    within = squares.sum() / freedom if freedom else spread**2
    error = np.where(seen, np.sqrt((squares + within) / times / times), spread)
    return np.where(seen, mean, mean[seen][0] + (mean[seen] - mean[seen][0]).mean()), error
