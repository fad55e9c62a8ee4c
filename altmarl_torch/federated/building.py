"""From runs to a game: explore, log, count, and write down where every number comes from.

1. **Pilot.**  A few runs under the exploring controller give the thresholds: the median of the drifts that are not
   zero, and the quartiles of the losses of those who are nearer.
2. **Log.**  Many runs under the same controller, each with a split, models and luck of its own, and one row for every
   client and round: `episode, step, agent, sg, ag, r_g, sg_next, sl, al, r_l, sl_next`.
3. **Count.**  `altmarl_torch.estimate`, with a hundredth of a pseudo-count per next state.

**The exploring controller** must show every situation, mode and number of steps together, in stretches as a policy
would make them. Each run draws a law of its own over the modes, from Dirichlet(1, 1, 1), and a table s_l -> a_l at
random, which all clients share; after each round the table is redrawn with probability 1/10.
(`federated.situations` says why it is shared.)

**The same again?**  All draws come from seeds. On one machine with the same versions a rebuild gives the same bytes;
on another, sums in another order differ in the last digits, and a loss that lies on a threshold may change its level:
the tables then differ by a few counts among hundreds of thousands.
"""

import hashlib
import math
import platform
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.federated.episodes import Episode, play
from altmarl_torch.federated.simulation import PROBE, VALIDATION, Digits, Federation, Setting, load_digits, losses
from altmarl_torch.federated.situations import MODES, PRICE_SHARE, PRICE_STEP, START, STEPS, Observer
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.offline.fitted_game import FittedGame, estimate
from altmarl_torch.support.files import read_json, write_json
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = [
    "COLUMNS",
    "Explorer",
    "LogPlan",
    "build",
    "count",
    "log",
    "provenance",
    "read_setup",
    "sha256",
    "thresholds",
    "write",
]

COLUMNS = ("episode", "step", "agent", "sg", "ag", "r_g", "sg_next", "sl", "al", "r_l", "sl_next")
"""Of the log."""

FORMAT, VERSION = "altmarl-federated", 1
"""What a provenance says of itself."""

REDRAW = 0.1
QUARTILES = (0.25, 0.5, 0.75)

SMOOTHING = 0.01
GAMMA = 0.95
PILOT_SEED, LOG_SEED = 1_000_000, 2_000_000
"""From where the seeds of the runs count; comparisons count from 0."""


@dataclass(frozen=True)
class LogPlan:
    """How much is run.

    Attributes:
        setting: of every federation.
        episodes: runs in the log.
        pilot: runs for the thresholds.
        rounds: of each run.
    """

    setting: Setting = Setting()  # noqa: RUF009  # frozen
    episodes: int = 60
    pilot: int = 10
    rounds: int = 60

    def __post_init__(self) -> None:
        for name in ("episodes", "pilot", "rounds"):
            as_integer(name, getattr(self, name), 1, 10**6, ArgumentError)


class Explorer:
    """The exploring controller: a law over modes and a table of steps, both at random, the table redrawn at times."""

    name = "exploring"

    def __init__(self, num_sl: int) -> None:
        self._num_sl = num_sl
        self.begin(0)

    def begin(self, seed: int) -> None:
        """A new law over the modes and a new table."""
        self._generator = np.random.default_rng([as_seed(seed), 1])
        self._law = self._generator.dirichlet([1.0] * len(MODES))
        self._draw_table()

    def mode(self, time: int, s_g: int, s_l: Tensor) -> int:
        """A mode from the run's law, whatever the states are."""
        return int(self._generator.choice(len(MODES), p=self._law))

    def steps(self, time: int, s_g: int, s_l: Tensor) -> Tensor:
        """The shared table's answer."""
        if time and self._generator.random() < REDRAW:
            self._draw_table()
        return self._table[s_l]

    def _draw_table(self) -> None:
        self._table = torch.from_numpy(self._generator.integers(len(STEPS), size=self._num_sl))


@dataclass(frozen=True)
class _Recorder(Observer):
    """Looks while there are no thresholds yet: everybody is in situation 0, and what was seen is kept."""

    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def look(self, federation: Federation) -> Tensor:
        self.seen.append((losses(federation.models, federation.probe), federation.drift()))
        return torch.zeros(len(federation.models), dtype=torch.int64)


def thresholds(plan: LogPlan, digits: Digits) -> Observer:
    """The levels' thresholds, from a pilot.

    Raises:
        ArgumentError: the pilot is so short that thresholds coincide.
    """
    recorder = _Recorder(math.inf, ())
    for _ in _runs(plan, recorder, PILOT_SEED, plan.pilot, digits):
        pass
    loss, drift = (torch.cat(values) for values in zip(*recorder.seen, strict=True))
    middle = float(drift[drift > 0].median())
    near = loss[drift < middle].numpy()
    cuts = np.quantile(near, QUARTILES).tolist() if len(near) else []
    if len(set(cuts)) < len(QUARTILES):
        said = f"{plan.pilot} pilot runs of {plan.rounds} rounds saw too few different losses"
        raise ArgumentError(f"{said}: their quartiles are {cuts}; run more")
    return Observer(middle, tuple(cuts))


def log(plan: LogPlan, observer: Observer, digits: Digits) -> dict[str, NDArray[Any]]:
    """What happened under the exploring controller, as the columns `COLUMNS`: a row for every client and round."""
    parts = [_rows(number, run) for number, run in enumerate(_runs(plan, observer, LOG_SEED, plan.episodes, digits))]
    return {name: np.concatenate([part[name] for part in parts]) for name in COLUMNS}


def _runs(plan: LogPlan, observer: Observer, first_seed: int, number: int, digits: Digits) -> Iterator[Episode]:
    explorer = Explorer(observer.num_sl)
    for seed in range(first_seed, first_seed + number):
        yield play(Federation(plan.setting, seed, digits), observer, explorer, plan.rounds)


def _rows(number: int, run: Episode) -> dict[str, NDArray[Any]]:
    """An episode's rows, round by round and client by client."""
    rounds, clients = run.a_l.shape
    by_round = {"step": torch.arange(rounds), "sg": run.s_g[:-1], "ag": run.a_g, "r_g": run.r_g, "sg_next": run.s_g[1:]}
    by_client = {"sl": run.s_l[:-1], "al": run.a_l, "r_l": run.r_l, "sl_next": run.s_l[1:]}
    columns = {name: column.repeat_interleave(clients) for name, column in by_round.items()}
    columns |= {name: column.flatten() for name, column in by_client.items()}
    columns |= {"episode": torch.full_like(columns["step"], number), "agent": torch.arange(clients).repeat(rounds)}
    return {name: columns[name].numpy() for name in COLUMNS}


def count(columns: dict[str, NDArray[Any]], observer: Observer, setting: Setting, gamma: float = GAMMA) -> FittedGame:
    """The game that the log shows; it starts with a round of all, and untrained clients."""
    start = torch.zeros(len(MODES), dtype=torch.float64)
    start[START] = 1
    first = torch.from_numpy(columns["sl"][columns["step"] == 0])
    situations = torch.bincount(first, minlength=observer.num_sl).double()
    return estimate(
        {name: column for name, column in columns.items() if name != "agent"},
        gamma=gamma,
        n=setting.num_clients,
        num_sg=len(MODES),
        num_sl=observer.num_sl,
        num_ag=len(MODES),
        num_al=len(STEPS),
        smoothing=SMOOTHING,
        initial=InitialLaw(start, situations / situations.sum()),
        name="federated",
    )


def build(plan: LogPlan, digits: Digits | None = None) -> tuple[FittedGame, Observer, dict[str, NDArray[Any]]]:
    """Pilot, log and count: the game, the levels and the log."""
    digits = load_digits() if digits is None else digits
    observer = thresholds(plan, digits)
    columns = log(plan, observer, digits)
    return count(columns, observer, plan.setting), observer, columns


def write(path: Path, plan: LogPlan, fitted: FittedGame, observer: Observer, columns: dict[str, NDArray[Any]]) -> None:
    """The game to `path`, and beside it, with the suffix `.json`, where it comes from."""
    fitted.game.save(path)
    write_json(path.with_suffix(".json"), provenance(plan, fitted, observer, columns))


def read_setup(path: Path) -> tuple[Observer, Setting]:
    """The levels and the setting that a provenance tells of.

    Raises:
        FileFormatError: the file is no provenance of a federated game.
        OSError: it cannot be read.
    """
    told = read_json(path)
    label = told.get("format"), told.get("version")
    if label != (FORMAT, VERSION):
        wanted = f"format and version are {(FORMAT, VERSION)}, not {label}"
        raise FileFormatError(f"{path} is no provenance of a federated game: {wanted}")
    try:
        cuts = told["thresholds"]
        return Observer(cuts["drift"], tuple(cuts["loss"])), Setting(**told["setting"])
    except (KeyError, TypeError, ValueError) as cause:
        raise FileFormatError(f"{path} is no provenance of a federated game: {cause!r}") from cause


def provenance(
    plan: LogPlan, fitted: FittedGame, observer: Observer, columns: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    """Where a game comes from, for JSON: `docs/federated.md` explains the keys."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "command": f"python -m altmarl_torch.federated rebuild --episodes {plan.episodes}",
        "data": "scikit-learn's digits, 1,797 images of 8 x 8 pixels (sklearn.datasets.load_digits)",
        "split": {"training": "the rest", "probe": PROBE, "validation": VALIDATION},
        "setting": asdict(plan.setting),
        "plan": {"episodes": plan.episodes, "pilot": plan.pilot, "rounds": plan.rounds},
        "seeds": {"pilot": PILOT_SEED, "log": LOG_SEED},
        "modes": MODES,
        "steps": STEPS,
        "prices": {"share": PRICE_SHARE, "step": PRICE_STEP},
        "thresholds": {"drift": observer.drift, "loss": observer.loss},
        "smoothing": SMOOTHING,
        "rows": fitted.counted.rows,
        "counts": {name: table.sum(-1).tolist() for name, table in fitted.counted.counts.items()},
        "log_sha256": sha256(columns),
        "versions": {name: metadata.version(name) for name in ("torch", "numpy", "scikit-learn")},
        "python": platform.python_version(),
    }


def sha256(columns: dict[str, NDArray[Any]]) -> str:
    """SHA-256 of the log: the bytes of its columns, in their order."""
    digest = hashlib.sha256()
    for name in COLUMNS:
        digest.update(np.ascontiguousarray(columns[name]).tobytes())
    return digest.hexdigest()
