"""Numbers that others have published or produced: data with their source, to stand beside a sweep, never in it.

`published.csv` has one row per curve and k:

    curve                      its name, as a legend says it
    preset, horizon            of `warehouse`, and the steps of an episode
    k, return                  mean discounted return of n = 1000 agents, gamma = 0.95
    seconds_low, seconds_high  wall seconds of the training on two cores, where known
    source                     where the row is from, and in what it differs from a run of this library

A curve is *comparable* with a sweep if it is about the same game, to the last table, and the same horizon. A warehouse
with ten zones, with another n or gamma, or with one reward changed has no published curve, whatever its name.
"""

import csv
from dataclasses import dataclass
from importlib import resources
from itertools import groupby

import torch
from torch import Tensor

from altmarl_torch.games import warehouse
from altmarl_torch.games.game import Game

__all__ = ["Curve", "Point", "all_curves", "published_curves"]

FILE = "published.csv"


@dataclass(frozen=True)
class Point:
    """One sample size of a curve.

    Attributes:
        k: the sample size.
        value: mean discounted return.
        seconds: least and most wall seconds of training on two cores; None where nobody has said.
    """

    k: int
    value: float
    seconds: tuple[float, float] | None


@dataclass(frozen=True)
class Curve:
    """A return against k that somebody else has produced.

    Attributes:
        name: as a legend says it.
        preset, horizon: of the warehouse it is about.
        points: by k.
        source: where the numbers are from, and in what they differ from a run of this library.
    """

    name: str
    preset: str
    horizon: int
    points: tuple[Point, ...]
    source: str


def published_curves(game: Game, horizon: int) -> tuple[Curve, ...]:
    """The curves that are comparable with returns of `horizon` steps on `game`; often none."""
    return tuple(
        curve for curve in all_curves() if curve.horizon == horizon and _same(game, warehouse(preset=curve.preset))
    )


def all_curves() -> tuple[Curve, ...]:
    """Every curve of published.csv, in its order."""
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(_curve(list(group)) for _, group in groupby(rows, key=lambda row: row["curve"]))


def _curve(rows: list[dict[str, str]]) -> Curve:
    first = rows[0]
    return Curve(first["curve"], first["preset"], int(first["horizon"]), tuple(map(_point, rows)), first["source"])


def _point(row: dict[str, str]) -> Point:
    seconds = (float(row["seconds_low"]), float(row["seconds_high"])) if row["seconds_low"] else None
    return Point(int(row["k"]), float(row["return"]), seconds)


def _same(one: Game, other: Game) -> bool:
    """Whether two games are the same up to their names; a file's rounding is no difference."""
    if (one.n, one.gamma, one.initial.strength) != (other.n, other.gamma, other.initial.strength):
        return False
    pairs = zip(_tables(one), _tables(other), strict=True)
    return all(mine.shape == theirs.shape and torch.allclose(mine, theirs) for mine, theirs in pairs)


def _tables(game: Game) -> tuple[Tensor, ...]:
    tables = (game.P_g, game.P_l, game.r_g, game.r_l, game.initial.sg, game.initial.local_mean)
    return tuple(table.cpu() for table in tables)
