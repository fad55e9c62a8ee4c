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

**The first state.**  Its law is read off the first steps of the episodes, where there are `FEWEST_EPISODES` at least:
the frequencies of s_g, those of the agents' states, and the Dirichlet strength A from how often two agents of one
episode begin alike: with m the mean law, that has probability sum m^2 + (1 - sum m^2) / (A + 1). Otherwise it is
uniform over the states that the log has.

References: Gelman et al., *Bayesian Data Analysis*, section 3.4, for the Dirichlet law; Rubin, *The Bayesian Bootstrap*
(1981), for a = 0.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.tables import TABLE_AXES
from altmarl_torch.games.transitions import Table, Transitions, as_log
from altmarl_torch.support.tables import as_number, check_entries, place

__all__ = ["FEWEST_EPISODES", "Counted", "Sizes", "count_log", "count_transitions"]

FEWEST_EPISODES = 30
"""Episodes that a log must have for the law of the first state to be read off it."""

ROUNDING = 1e-11
"""Relative to the largest reward: what sums of many millions of terms lose."""

SHOWN = 5
"""Entries that a message lists."""

Sizes = Mapping[str, int | None]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


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


def count_log(
    table: Table | str | os.PathLike[str],
    sizes: Sizes,
    smoothing: float | None = None,
    initial: InitialLaw | None = None,
) -> Counted:
    """As `count_transitions`, from a log's path or its columns by name; LogError where it is malformed."""
    return count_transitions(as_log(table, sizes), sizes, smoothing, initial)


def count_transitions(
    log: Transitions, sizes: Sizes, smoothing: float | None = None, initial: InitialLaw | None = None
) -> Counted:
    """Estimate the four tables of a game from a log (module docstring).

    Args:
        log: the log.
        sizes: how many states and actions there are, by `sg`, `sl`, `ag`, `al`; None: as many as the log has.
        smoothing: pseudo-counts per next state, a > 0; None for none.
        initial: the law of the first state, if it is known.

    Raises:
        LogError: the log has a state or action beyond the sizes.
        GameError: a pair that can be reached was never seen, and there is no smoothing; the message lists them.
        SizeError: a table would have more than 2^25 entries.
    """
    a = 0.0
    if smoothing is not None:
        a = as_number("smoothing", smoothing, "(0, inf), or None", lambda x: 0 < x < math.inf, ArgumentError)
    found = log.sizes(sizes)
    for name in ("P_g", "P_l"):
        check_entries(name, *_shape(name, found))
    first = log.first_of_step
    steps = {name: column[first] for name, column in log.columns().items()}
    rows = log.columns()
    pairs = {"P_g": (steps, ("sg", "ag")), "P_l": (rows, ("sl", "sg", "al"))}
    counts = {name: _histogram(data, (*words, f"{words[0]}_next"), found) for name, (data, words) in pairs.items()}
    visits = {name: table.sum(-1) for name, table in counts.items()}
    met = _reached(counts, rows, found, initial)
    reachable: dict[str, Flags] = {"P_g": np.logical_or.reduce(met)[:, None], "P_l": met[:, :, None]}
    unseen: dict[str, Flags] = {name: reachable[name] & (visits[name] == 0) for name in counts}
    if not a:
        _refuse_unseen(unseen)
    laws = {name: _law(table, a) for name, table in counts.items()}
    rewards = {
        reward: _reward(data[reward], _index(data, words, found), visits[name])
        for reward, (name, (data, words)) in zip(("r_g", "r_l"), pairs.items(), strict=True)
    }
    both = laws | rewards
    return Counted(
        tables={name: pair[0] for name, pair in both.items()},
        errors={name: pair[1] for name, pair in both.items()},
        counts=counts,
        unseen=unseen,
        initial=initial or _initial(log, found, met),
        smoothing=a,
        rows=len(log),
        steps=len(first),
        episodes=None if log.episode is None else len(np.unique(log.episode)),
    )


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


def _refuse_unseen(unseen: Mapping[str, Flags]) -> None:
    """Raise a GameError that lists pairs which can be reached and were never seen."""
    found = [
        place(name, TABLE_AXES[name], index) for name, flags in unseen.items() for index in np.argwhere(flags).tolist()
    ]
    if found:
        more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
        raise GameError(
            f"the log has no transition from {', '.join(found[:SHOWN])}{more}, which can be reached; log more, or pass "
            "smoothing (pseudo-counts per next state, for instance 0.5) to have them filled in"
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
    centre = earned.mean()  # taken off first: what is left has no digits in common with a large mean
    mean = np.bincount(index, earned - centre, visits.size).reshape(visits.shape) / times
    off = (earned - centre) - mean.flat[index]
    off[np.abs(off) < ROUNDING * np.abs(earned).max()] = 0.0  # a reward that never varies has no error at all
    squares = np.bincount(index, off**2, visits.size).reshape(visits.shape)
    freedom = (visits - 1)[seen].sum()
    spread = mean[seen].std()
    within = squares.sum() / freedom if freedom else spread**2
    error = np.where(seen, np.sqrt((squares + within) / times / times), spread)
    return centre + np.where(seen, mean, mean[seen].mean()), error


def _initial(log: Transitions, sizes: Mapping[str, int], met: Flags) -> InitialLaw:
    """The law of the first state, from the first steps of many episodes, or uniform over what was met."""
    starts = _starts(log)
    if starts is None:
        sg, sl = met.any(0).astype(np.float64), met.any(1).astype(np.float64)
        return InitialLaw(torch.from_numpy(sg / sg.sum()), torch.from_numpy(sl / sl.sum()))
    rows, episode = starts
    held = np.zeros((episode.max() + 1, sizes["sl"]))
    np.add.at(held, (episode, log.sl[rows]), 1.0)
    agents = held.sum(-1)
    mean = held.sum(0) / held.sum()
    _, one_of_each = np.unique(episode, return_index=True)
    sg = np.bincount(log.sg[rows][one_of_each], minlength=sizes["sg"]) / len(one_of_each)
    pairs = (agents * (agents - 1)).sum()
    alike = (held * (held - 1)).sum() / pairs if pairs else 0.0
    chance = (mean**2).sum()
    strength = (1 - chance) / (alike - chance) - 1 if alike > chance else math.inf
    return InitialLaw(torch.from_numpy(sg), torch.from_numpy(mean), max(strength, 1e-3))


def _starts(log: Transitions) -> tuple[Integers, Integers] | None:
    """The rows of the first step of each episode, and the episodes' numbers from 0; None where there are too few."""
    if log.episode is None or log.step is None:
        return None
    names, episode = np.unique(log.episode, return_inverse=True)
    if len(names) < FEWEST_EPISODES:
        return None
    first = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(first, episode, log.step)
    rows = np.flatnonzero(log.step == first[episode])
    return rows, episode[rows]
