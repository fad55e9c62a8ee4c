"""What a sweep is: one experiment, asked of many sample sizes k under many seeds.

A *cell* is one (k, seed), and its result is a run folder like that of `altmarl train`. A *sweep* is a folder of
cells that share everything else:

    runs/sweep__{game}__{solver}[__{option}-{value} ...]/
        sweep.json             what was asked: the shared options, all k, all seeds
        k0020__seed0003/       a cell: the run folder of k = 20 and seed 3
        results.csv            one row per finished cell: only what the options determine, so that it is the same file
                               however, in which order and on how many machines the cells were computed
        summary.json           per k: means, intervals over seeds, seconds, memory; which cells are missing
        logs/, failures/       what a cell printed; why one failed
        figures/               what `altmarl plot` draws

The folder's name is made of what was asked, so that the same command finds it again. A further command with other k
or more seeds enlarges the sweep; one with another option goes to a folder of its own.

**Seeds** are seeds of the training. Each trained pair is measured on episodes that its seed determines, the same ones
for every k ("common random numbers"): differences between two k have less noise than the returns.
"""

import dataclasses
import math
import os
import re
import reprlib
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altmarl_torch.errors import AltMarlError, ArgumentError, FileFormatError
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import SUMMARY, file_word, read_summary
from altmarl_torch.runs.named_game import as_of_tables
from altmarl_torch.runs.sweeps.words import DEFAULTS, MOST_NUMBERS
from altmarl_torch.support.files import read_json, write_json
from altmarl_torch.support.tables import LARGEST_SEED, as_integer

__all__ = ["Cell", "Plan", "shared_options"]

SWEEP, FORMAT, VERSION = "sweep.json", "altmarl-sweep", 1
CELL = re.compile(r"k(?P<k>\d{4}|[1-9]\d{4,})__seed(?P<seed>\d{4}|[1-9]\d{4,})", re.ASCII)
"""The name of a cell's folder."""

OF_A_CELL = ("k", "seed", "runs_dir", "quiet")
"""Options in which the cells of a sweep may differ, or that change no result."""


@dataclass(frozen=True)
class Cell:
    """One (k, seed) of a sweep.

    Attributes:
        config: what is trained; its `runs_dir` is the sweep's folder.
    """

    config: TrainConfig

    @property
    def name(self) -> str:
        """The name of its run folder; alphabetical order is the order of (k, seed)."""
        return f"k{self.config.k:04d}__seed{self.config.seed:04d}"

    @property
    def folder(self) -> Path:
        """Its run folder, which may not exist yet."""
        return Path(self.config.runs_dir) / self.name

    @property
    def log(self) -> Path:
        """What it printed."""
        return Path(self.config.runs_dir) / "logs" / f"{self.name}.txt"

    @property
    def failure(self) -> Path:
        """Why it failed, if it did: `{"kind": ..., "message": ...}`."""
        return Path(self.config.runs_dir) / "failures" / f"{self.name}.json"

    def summary(self) -> dict[str, Any] | None:
        """Its summary.json; None unless it is finished.

        Raises:
            FileFormatError: the file is malformed.
        """
        if not (self.folder / SUMMARY).is_file():
            return None
        summary = read_summary(self.folder)
        return None if summary["interrupted"] else summary


@dataclass(frozen=True)
class Plan:
    """A sweep as it is asked for.

    Attributes:
        folder: the sweep's folder.
        config: what all cells share; its k and seed are the first ones.
        ks: the sample sizes, ascending.
        seeds: the seeds, ascending.
    """

    folder: Path
    config: TrainConfig
    ks: tuple[int, ...]
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, config: TrainConfig, ks: Sequence[int], seeds: int | Sequence[int], name: str | None = None) -> "Plan":
        """The sweep of `config` over `ks`.

        Args:
            config: what all cells share; its k is ignored.
            ks: sample sizes.
            seeds: how many, from `config.seed` on; or which.
            name: of the folder within `config.runs_dir`; by default made of what is asked.

        Raises:
            ArgumentError: no k or seed is given, one is repeated or out of range, or the name is a path.
        """
        if not isinstance(seeds, Sequence):
            seeds = range(config.seed, config.seed + as_integer("seeds", seeds, 1, MOST_NUMBERS, ArgumentError))
        _check_distinct("k", ks, 1, math.inf)
        _check_distinct("seeds", seeds, 0, LARGEST_SEED)
        _check_name(name)
        shared = dataclasses.replace(as_of_tables(config), k=min(ks), seed=min(seeds))
        folder = Path(config.runs_dir) / (name or _name(shared))
        return cls(folder, shared, tuple(sorted(ks)), tuple(sorted(seeds)))

    @property
    def size(self) -> int:
        """How many cells there are."""
        return len(self.ks) * len(self.seeds)

    def cells(self) -> Iterator[Cell]:
        """All cells, by (k, seed)."""
        return (self.cell(k, seed) for k in self.ks for seed in self.seeds)

    def cell(self, k: int, seed: int) -> Cell:
        """One of them."""
        return Cell(dataclasses.replace(self.config, k=k, seed=seed, runs_dir=str(self.folder), quiet=False))

    def begun(self, but: Container[str] = ()) -> Iterator[Cell]:
        """The cells that have a folder, but those of these names; it does not matter how many were asked for."""
        if not self.folder.is_dir():
            return
        ks, seeds = set(self.ks), set(self.seeds)
        found = (CELL.fullmatch(name) for name in os.listdir(self.folder) if name not in but)
        for k, seed in ((int(one["k"]), int(one["seed"])) for one in found if one):
            if k in ks and seed in seeds:
                yield self.cell(k, seed)

    def check(self) -> None:
        """Refuse what no cell could compute, before any is begun.

        Raises:
            AltMarlError: as `TrainConfig.build_game` of a cell.
        """
        for k in self.ks:
            self.cell(k, self.seeds[0]).config.build_game()

    def merged(self) -> "Plan":
        """This plan and what its folder was asked for before.

        Raises:
            ArgumentError: the folder's cells were asked for with other options.
            FileFormatError: its sweep.json is malformed.
        """
        if not (self.folder / SWEEP).is_file():
            return self
        before = Plan.load(self.folder)
        mine, theirs = shared_options(self.config), shared_options(before.config)
        other = [f"{name} = {theirs[name]} (asked: {mine[name]})" for name in mine if mine[name] != theirs[name]]
        if other:
            raise ArgumentError(f"{self.folder} is a sweep with {', '.join(other)}; choose another --name")
        return dataclasses.replace(self, ks=_union(self.ks, before.ks), seeds=_union(self.seeds, before.seeds))

    def save(self) -> None:
        """Write sweep.json."""
        record = {"format": FORMAT, "version": VERSION, "k": self.ks, "seeds": self.seeds}
        write_json(self.folder / SWEEP, record | {"config": self.config.as_dict()})

    @classmethod
    def load(cls, folder: Path) -> "Plan":
        """Read sweep.json.

        Raises:
            FileFormatError: there is no sweep in `folder`, or its record is malformed.
        """
        file = folder / SWEEP
        if not file.is_file():
            raise FileFormatError(f"{folder} is no sweep: it has no {SWEEP}")
        record = read_json(file)
        if (record.get("format"), record.get("version")) != (FORMAT, VERSION):
            raise FileFormatError(f"{file} is not of format {FORMAT!r}, version {VERSION}")
        try:
            config = TrainConfig.from_dict(record["config"])
            plan = cls.of(config, _integers(record["k"]), _integers(record["seeds"]))
        except (AltMarlError, KeyError, TypeError) as cause:
            raise FileFormatError(f"{file} is malformed: {str(cause)[:500]}") from cause
        return dataclasses.replace(plan, folder=folder)


def _check_distinct(kind: str, values: object, low: int, high: float) -> None:
    """Raise an ArgumentError unless `values` are different whole numbers in their range, at least one."""
    found = values if isinstance(values, Sequence) else ()
    for value in found:
        as_integer(kind, value, low, high, ArgumentError)
    if not found or len(set(found)) < len(found):
        raise ArgumentError(f"{kind} must be different whole numbers, at least one; not {values!r}")


def _check_name(name: object) -> None:
    """Raise an ArgumentError unless `name` can be that of a folder, or is None."""
    if name is None:
        return
    if not isinstance(name, str) or not name.isprintable() or name in ("", ".", "..") or Path(name).name != name:
        raise ArgumentError(f"name must be the name of a folder, without its path; not {name!r}")


def _name(config: TrainConfig) -> str:
    """What is asked, as a folder's name: options at their defaults are left out."""
    usual = TrainConfig(game=config.game, **DEFAULTS | {"solver": config.solver, "preset": config.preset})
    plain = dataclasses.asdict(as_of_tables(usual))
    words = [f"{name}-{value}" for name, value in shared_options(config).items() if value != plain[name]]
    if config.preset != "paper":
        words.insert(0, f"preset-{config.preset}")
    game = Path(config.game).stem if config.game.endswith(".npz") else config.game
    return "__".join(file_word(part) for part in ("sweep", game, config.solver, *words))


def shared_options(config: TrainConfig) -> dict[str, Any]:
    """The options that the cells of one sweep have in common."""
    return {name: value for name, value in config.as_dict().items() if name not in OF_A_CELL}


def _union(mine: Iterable[int], theirs: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted({*mine, *theirs}))


def _integers(values: object) -> list[int]:
    """A list of non-negative integers from JSON, of at most `MOST_NUMBERS`, and nothing else."""
    if not isinstance(values, list) or any(type(value) is not int or value < 0 for value in values):
        raise ArgumentError(f"expected a list of whole numbers, not {reprlib.repr(values)}")
    if len(values) > MOST_NUMBERS:
        raise ArgumentError(f"expected at most {MOST_NUMBERS:,} numbers, not {len(values):,}")
    return values
