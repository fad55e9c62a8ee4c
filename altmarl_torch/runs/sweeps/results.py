"""What a sweep has found: its finished cells, their means with intervals over seeds, and the two files that hold them.

**Intervals** are Student's t over seeds: with x_1..x_R the numbers of R seeds at one k, mean +- t s / sqrt(R), t the
quantile of R - 1 degrees of freedom (`scipy.special.stdtrit`). A seed's number is one observation, however many
episodes are behind it, since episodes of one seed share its training. Where training draws no random numbers (exact
tables, fewer than four starts) seeds differ in their episodes alone, and so does what the interval is about.

`results.csv` holds what the options determine: broken off and called again, or computed by a cluster, a sweep gives
the same file to the byte. Seconds and memory, which no two runs share, are in `summary.json`.
"""

import csv
import io
import os
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import methodcaller
from pathlib import Path
from typing import Any

import torch

from altmarl_torch.policies.rules import pair_word
from altmarl_torch.runs.folder import CERTIFICATE, versions
from altmarl_torch.runs.sweeps.plan import Cell, Plan, shared_options
from altmarl_torch.support.files import read_json, write_json, write_text
from altmarl_torch.support.intervals import Difference
from altmarl_torch.support.showing import as_html, as_plain, in_columns

__all__ = ["METHOD", "Finished", "Sweep", "open_sweep", "write_results"]

LEVEL = 0.95
METHOD = f"Student's t interval over seeds, {LEVEL:.0%}"
RESULTS, SUMMARY = "results.csv", "summary.json"

OPTIONS = ("game", "preset", "solver", "l_learner", "objective", "observation", "m", "starts", "select")
FACTS = ("k", "n", "seed", "episodes", "horizon")
FOUND = ("return_mean", "return_sem", "mode_accuracy", "value", "eta", "updates", "converged")
GAPS = ("global_gap", "local_gap", "nash_gap")
LEARNING = ("g_learn", "l_learn", "evaluation")
"""The phases of a run in which it learns; the others measure."""


@dataclass(frozen=True)
class Finished:
    """A finished cell.

    Attributes:
        cell: which one.
        summary: its summary.json.
        certificate: its certificate.json, empty where nothing was certified; later than the summary after ``altmarl
            certify``.
    """

    cell: Cell
    summary: Mapping[str, Any]
    certificate: Mapping[str, Any]

    @classmethod
    def read(cls, cell: Cell) -> "Finished | None":
        """The cell as its folder has it; None unless it is finished.

        Raises:
            FileFormatError: a file of it is malformed.
        """
        summary, certificate = cell.summary(), cell.folder / CERTIFICATE
        if summary is None:
            return None
        return cls(cell, summary, read_json(certificate) if certificate.is_file() else {})

    @property
    def learning_seconds(self) -> float:
        """Wall seconds to the end of the alternation."""
        return float(sum(self.summary["phase_seconds"].get(phase, 0.0) for phase in LEARNING))

    def heuristic(self, name: str) -> float:
        """The return of a pair that needs no learning, on the same episodes."""
        return float(self.summary["heuristics"][name]["return_mean"])


@dataclass(frozen=True)
class Sweep:
    """A sweep, as far as it has come.

    Attributes:
        plan: what was asked.
        finished: by (k, seed).
    """

    plan: Plan
    finished: tuple[Finished, ...]

    @classmethod
    def read(cls, plan: Plan) -> "Sweep":
        """What is finished of `plan`.

        Raises:
            FileFormatError: a file of a cell is malformed.
        """
        return cls(plan, ()).later()

    def later(self, certified: bool = False) -> "Sweep":
        """The sweep as it is now; what was finished is not read again, unless it may have been `certified` since.

        Raises:
            FileFormatError: a file of a cell is malformed.
        """
        known = {} if certified else self.by_name
        found = map(Finished.read, self.plan.begun(known))
        finished = [*known.values(), *(one for one in found if one is not None)]
        return Sweep(self.plan, tuple(sorted(finished, key=lambda one: (one.cell.config.k, one.cell.config.seed))))

    @cached_property
    def by_name(self) -> dict[str, Finished]:
        """The finished cells by name."""
        return {one.cell.name: one for one in self.finished}

    @cached_property
    def _by_k(self) -> dict[int, tuple[Finished, ...]]:
        return {k: tuple(cells) for k, cells in groupby(self.finished, key=lambda one: one.cell.config.k)}

    @property
    def ks(self) -> tuple[int, ...]:
        """The sample sizes of which at least one cell is finished, ascending."""
        return tuple(self._by_k)

    @property
    def heuristics(self) -> tuple[str, ...]:
        """Names of the pairs that were measured beside the learned ones."""
        return tuple(self.finished[0].summary["heuristics"]) if self.finished else ()

    def at(self, k: int) -> tuple[Finished, ...]:
        """The finished cells of one k, by seed."""
        return self._by_k.get(k, ())

    def to_dict(self) -> dict[str, Any]:
        """What the sweep has found as JSON's types: intervals over seeds by k, seconds, versions (summary.json)."""
        return dict(as_plain(_summary(self)))

    def to_columns(self) -> dict[str, list[Any]]:
        """The finished cells as columns of equal length, as data frames take them (results.csv)."""
        return in_columns(_rows(self))

    def _repr_html_(self) -> str:
        found = _summary(self)
        facts = {"game": found["game"], "finished": f"{len(self.finished)} of {self.plan.size} cells"}
        shown = ("return_mean", "value", "nash_gap")
        rows = [
            {"k": at["k"], "seeds": len(at["seeds"])} | {name: _short(at[name]) for name in shown}
            for at in found["by_k"]
        ]
        return as_html("Sweep", facts | {"interval": METHOD}, in_columns(rows))

    def estimate(self, k: int, number: Callable[[Finished], float | None]) -> Difference | None:
        """Mean of a number over the seeds of one k, with its interval; None where no seed has it.

        A single seed has no interval: its ends are the mean.
        """
        values = [value for value in map(number, self.at(k)) if value is not None]
        if not values:
            return None
        if len(values) == 1:
            return Difference(values[0], 0.0, values[0], values[0], LEVEL)
        return Difference.of(torch.tensor(values, dtype=torch.float64), LEVEL)


def open_sweep(path: str | os.PathLike[str]) -> Sweep:
    """Read a sweep, finished or not.

    Raises:
        FileFormatError: there is none, or a file of it is malformed.
        OSError: a file cannot be read.
    """
    return Sweep.read(Plan.load(Path(path)))


def write_results(sweep: Sweep) -> None:
    """Write results.csv and summary.json into the sweep's folder, each whole or not at all."""
    write_text(sweep.plan.folder / RESULTS, _csv(sweep))
    write_json(sweep.plan.folder / SUMMARY, _summary(sweep))


def _rows(sweep: Sweep) -> list[dict[str, Any]]:
    """One row per finished cell; a heuristic's return is a column; what was not computed is None."""
    rows = []
    for one in sweep.finished:
        options = one.cell.config.as_dict() | {"game": one.summary["game"]}
        row = {name: options[name] for name in OPTIONS} | {name: one.summary[name] for name in (*FACTS, *FOUND)}
        row |= {name: one.certificate.get(name) for name in GAPS}
        rows.append(row | {f"return_{pair_word(name)}": one.heuristic(name) for name in sweep.heuristics})
    return rows


def _csv(sweep: Sweep) -> str:
    """The rows as text; what was not computed is empty."""
    text, names = io.StringIO(), [f"return_{pair_word(name)}" for name in sweep.heuristics]
    table = csv.DictWriter(text, [*OPTIONS, *FACTS, *FOUND, *GAPS, *names], lineterminator="\n")
    table.writeheader()
    table.writerows(_rows(sweep))
    return text.getvalue()


def _summary(sweep: Sweep) -> dict[str, Any]:
    done = sweep.by_name
    return {
        "game": sweep.finished[0].summary["game"] if sweep.finished else sweep.plan.config.game,
        "config": shared_options(sweep.plan.config),
        "interval": METHOD,
        "cells": {
            "asked": sweep.plan.size,
            "finished": len(done),
            "missing": [cell.name for cell in sweep.plan.cells() if cell.name not in done],
        },
        "by_k": [_at(sweep, k) for k in sweep.ks],
        "seconds": {one.cell.name: one.summary["wall_seconds"] for one in sweep.finished},
        "versions": versions(),
    }


def _at(sweep: Sweep, k: int) -> dict[str, Any]:
    """Everything about one k."""
    cells = sweep.at(k)
    memory = [one.summary["peak_memory_bytes"] for one in cells if one.summary["peak_memory_bytes"] is not None]
    return {
        "k": k,
        "seeds": [one.cell.config.seed for one in cells],
        **{name: _interval(sweep.estimate(k, _of(name))) for name in ("return_mean", "mode_accuracy", "value")},
        **{name: _interval(sweep.estimate(k, _gap(name))) for name in GAPS},
        "heuristics": {
            name: _interval(sweep.estimate(k, methodcaller("heuristic", name))) for name in sweep.heuristics
        },
        "learning_seconds": _range(one.learning_seconds for one in cells),
        "wall_seconds": _range(one.summary["wall_seconds"] for one in cells),
        "peak_memory_bytes": max(memory, default=None),
    }


def _of(name: str) -> Callable[[Finished], float | None]:
    return lambda one: one.summary[name]


def _gap(name: str) -> Callable[[Finished], float | None]:
    return lambda one: one.certificate.get(name)


def _interval(estimate: Difference | None) -> dict[str, float] | None:
    return None if estimate is None else {"mean": estimate.mean, "low": estimate.low, "high": estimate.high}


def _short(interval: dict[str, float] | None) -> str | None:
    """An interval for a reader."""
    return None if interval is None else f"{interval['mean']:.6g} [{interval['low']:.6g}, {interval['high']:.6g}]"


def _range(values: Iterable[float]) -> dict[str, float]:
    ordered: Sequence[float] = sorted(values)
    return {"median": statistics.median(ordered), "least": ordered[0], "most": ordered[-1]}
