"""A run is a folder: what was asked, what happened, what was learned, and what it is worth.

    runs/{game}__{solver}__k{k}__seed{seed}__{time}/
        config.json            what was asked: every field of `TrainConfig`
        game.npz               the game itself (tables, n, gamma, initial law): nothing has to be guessed later
        crowd.json             what reward of it sees the crowd: a function, which is in no file
        simulator.json         or which simulator it was: its functions are in no file
        metrics.jsonl          what happened: one line per proposal, appended as it is decided
        policy.npz             what was learned: pi_l, counts, pi_g
        selection.json         what it was chosen from (where there was a choice)
        checkpoints/           how far a run has come that is not over (altmarl_torch.alternation.checkpoints)
        certificate.json       how far that is from an equilibrium (where it was certified)
        summary.json           what it is worth: returns, value, tolerances, seconds, versions
        occupation.png, value_history.png, events.out.tfevents.*

`docs/run-folder.md` lists every key. A folder belongs to one run: its name is claimed by `mkdir`, which exactly
one of several processes that start in the same second wins; the others append a number.

**JSON.**  Files are written beside their place and moved there in one step, so a reader never meets half of one. JSON
knows no NaN and no infinity: what is undefined (the standard error of one episode) or was not computed is `null`.
Reading believes nothing: a missing file, a missing key or a broken line is a
`FileFormatError` that names the file.
"""

import dataclasses
import itertools
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from altmarl_torch import __version__
from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.simulated.solution import SimulatedSolution
from altmarl_torch.alternation.solution import Selection, Solution
from altmarl_torch.errors import AltMarlError, ArgumentError, FileFormatError
from altmarl_torch.evaluation.certificate import Certificate
from altmarl_torch.games.game import Game
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.named_game import read_game, write_game
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.support.files import file_digest, parse_object, read_json, read_text, to_json, write_json, write_text

__all__ = [
    "Run",
    "RunFolder",
    "create_run",
    "file_word",
    "folder_with",
    "open_run",
    "peak_memory",
    "read_config",
    "read_metrics",
    "read_summary",
    "reopen",
    "versions",
]

CONFIG, GAME, METRICS, POLICY, SUMMARY = "config.json", "game.npz", "metrics.jsonl", "policy.npz", "summary.json"
CERTIFICATE, SELECTION, CHECKPOINTS = "certificate.json", "selection.json", "checkpoints"
DIGEST = "from_data.sha256"
EVENTS = "events.out.tfevents.*"

SUMMARY_KEYS = (
    *("game", "k", "n", "solver", "seed", "episodes", "horizon"),
    *(
        "return_mean",
        "return_sem",
        "mode_accuracy",
        "types",
        "heuristics",
        "lead",
        "returns_by_k",
        "value",
        "nash_gap",
        "eta",
        "eta_paper",
    ),
    *("updates", "converged", "interrupted", "wall_seconds", "phase_seconds", "update_seconds"),
    *("peak_memory_bytes", "versions"),
)

ADDED_KEYS = ("update_seconds", "peak_memory_bytes", "types", "lead", "returns_by_k")
"""Those that summaries of earlier versions lack: null then."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of a run that is being written.

    Attributes:
        path: the folder; it exists.
    """

    path: Path

    def append_update(self, update: Update) -> None:
        """Add one line to metrics.jsonl, at once on disk; without its wall time, which no two runs share."""
        line = dataclasses.asdict(update)
        del line["seconds"]
        with (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(to_json(line) + "\n")

    def write_certificate(self, certificate: Certificate) -> None:
        """Write certificate.json, atomically."""
        write_json(self.path / CERTIFICATE, certificate.to_dict())

    def write_selection(self, selection: Selection) -> None:
        """Write selection.json, atomically."""
        write_json(self.path / SELECTION, selection.to_dict())

    def save_policy(self, solution: Solution | SimulatedSolution) -> None:
        """Write policy.npz."""
        solution.save(self.path / POLICY)

    @property
    def checkpoints(self) -> Path:
        """Where the run's checkpoints lie, until it is over."""
        return self.path / CHECKPOINTS

    def remove_unless_learned(self) -> bool:
        """Remove the folder if it holds neither policy nor checkpoint; returns whether it did."""
        if (self.path / POLICY).exists() or self.checkpoints.exists():
            return False
        shutil.rmtree(self.path)
        return True

    def begin_again(self) -> None:
        """Empty what a resumed run writes anew from its checkpoints: the metrics, and TensorBoard's events."""
        write_text(self.path / METRICS, "")
        for file in self.path.glob(EVENTS):
            file.unlink()

    def write_digest(self, data: str) -> None:
        """Keep the SHA-256 digest of the file that is learned from."""
        write_text(self.path / DIGEST, file_digest(data) + "\n")

    def check_digest(self, data: str) -> None:
        """Raise an ArgumentError where the file is another than at the beginning. (Earlier runs kept no digest.)"""
        kept = self.path / DIGEST
        if kept.is_file() and read_text(kept).strip() != file_digest(data):
            raise ArgumentError(f"{data} is not the file that {self.path} was begun with: its content has changed")

    def forget_checkpoints(self) -> None:
        """Remove the checkpoints of a run that is over."""
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json: exactly the keys that docs/run-folder.md lists, in that order.

        Raises:
            KeyError: one is missing.
        """
        write_json(self.path / SUMMARY, {key: summary[key] for key in SUMMARY_KEYS})


@dataclass(frozen=True, eq=False)
class Run:
    """A run that is over, read back.

    Attributes:
        config: what was asked.
        game: the game that was solved.
        solution: what was learned; a policy pair.
        summary: what it was worth, by the keys of summary.json.
    """

    config: TrainConfig
    game: Game
    solution: Solution
    summary: dict[str, Any]


def create_run(config: TrainConfig, game: Game | SimulatedGame, name: str | None = None) -> RunFolder:
    """Make the folder of a new run and write down what was asked: config.json, game.npz, an empty metrics.jsonl.

    (A simulator is in no file.)

    Args:
        config: what was asked.
        game: the game that it names.
        name: of the folder, by default made of game, solver, k, seed and time; a taken one gets a number.

    Raises:
        OSError: the folder cannot be made or written.
    """
    if name is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        k = config.k if config.fewest is None else f"{config.fewest}-{config.k}"
        name = f"{file_word(game.name)}__{config.solver}__k{k}__seed{config.seed}__{stamp}"
    folder = _claim(Path(config.runs_dir), name)
    write_json(folder / CONFIG, config.as_dict())
    if isinstance(game, Game):
        write_game(folder / GAME, game)
    (folder / METRICS).touch()
    return RunFolder(folder)


def reopen(path: str | os.PathLike[str], word: str | None = None) -> tuple[TrainConfig, Game, RunFolder, bool]:
    """A run that was broken off: what was asked, its game, its folder, and whether it is finished after all.

    Args:
        path: the run's folder.
        word: where the reward is a function of the user's own that sees the crowd: `my_game.py:build`.

    Raises:
        ArgumentError: the reward is such a function, and none is given, or it is of another game.
        FileFormatError: there is no such folder, what was asked cannot be read, or its n or gamma are not those of the
            game; the message names the file.
    """
    folder = folder_with((CONFIG, GAME), path, "cannot be resumed; train anew")
    config = dataclasses.replace(read_config(folder / CONFIG), runs_dir=str(folder.parent))
    over = (folder / SUMMARY).is_file() and not read_summary(folder)["interrupted"]
    game = read_game(folder / GAME, config, word)
    for name in ("n", "gamma"):
        asked, begun = getattr(config, name), getattr(game, name)
        if asked is not None and asked != begun:
            raise FileFormatError(
                f"{folder / CONFIG} says {name} = {asked}, but the run was begun with {begun} ({GAME}): put it back, "
                "or train anew"
            )
    return config, game, RunFolder(folder), over


def open_run(path: str | os.PathLike[str], word: str | None = None) -> Run:
    """Read a finished run; `word` as in `reopen`.

    Raises:
        ArgumentError: as `reopen`.
        FileFormatError: there is no such folder, or a file in it is missing or malformed; the message names it.
    """
    folder = folder_with((CONFIG, GAME, METRICS, POLICY, SUMMARY), path, "is not the folder of a finished run")
    summary = read_summary(folder)
    config = read_config(folder / CONFIG)
    game = read_game(folder / GAME, config, word)
    return Run(config, game, Solution.load(folder / POLICY, game=game), summary)


def folder_with(names: Sequence[str], path: str | os.PathLike[str], otherwise: str) -> Path:
    """The run folder `path`, if it has these files; what it is `otherwise` is the error's to say."""
    folder = Path(path)
    if not folder.is_dir():
        raise FileFormatError(f"{folder} is no run folder: there is no such directory")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise FileFormatError(f"{folder} {otherwise}: it lacks {', '.join(missing)}")
    return folder


def read_summary(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The summary.json of the run folder `path`; keys that earlier versions did not write are None.

    Raises:
        FileFormatError: it is malformed, or lacks a key.
        OSError: there is no such file, or it cannot be read.
    """
    file = Path(path) / SUMMARY
    summary = dict.fromkeys(ADDED_KEYS) | read_json(file)
    lacking = [key for key in SUMMARY_KEYS if key not in summary]
    if lacking:
        raise FileFormatError(f"{file} lacks {', '.join(lacking)}")
    return summary


def read_metrics(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The lines of a run folder's metrics.jsonl, oldest first.

    Raises:
        FileFormatError: a line is no JSON object; the message gives its number.
        OSError: there is no such file, or it cannot be read.
    """
    file = Path(path) / METRICS
    lines = read_text(file).splitlines()
    return [parse_object(line, f"{file}, line {number}") for number, line in enumerate(lines, start=1)]


def file_word(text: str) -> str:
    """`text` as part of a file's name: letters, digits, points and dashes."""
    return re.sub(r"[^A-Za-z0-9.-]+", "-", text).strip(".-") or "game"


def peak_memory() -> int | None:
    """The most memory that this process has held so far, in bytes; None where the system does not tell."""
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def versions() -> dict[str, str]:
    """What produced a result: versions of this package, torch and Python."""
    return {"altmarl_torch": __version__, "torch": torch.__version__, "python": platform.python_version()}


def _claim(parent: Path, name: str) -> Path:
    """Make a folder that was not there before: `name`, `name-2`, `name-3`, ..."""
    parent.mkdir(parents=True, exist_ok=True)
    for candidate in _candidates(name):
        try:
            (parent / candidate).mkdir()
        except FileExistsError:
            continue
        return parent / candidate
    raise AssertionError("the candidates never end")


def _candidates(name: str) -> Iterator[str]:
    yield name
    for number in itertools.count(2):
        yield f"{name}-{number}"


def read_config(path: Path) -> TrainConfig:
    """The configuration of a run, from its config.json; a FileFormatError names the file."""
    try:
        return TrainConfig.from_dict(read_json(path))
    except FileFormatError:
        raise
    except AltMarlError as cause:
        raise FileFormatError(f"{path}: {cause}") from cause
