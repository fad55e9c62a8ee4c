r"""Checkpoints: a training that was killed goes on, to the result that it would have had, bit for bit.

Training is deterministic (on the CPU), so that a checkpoint only has to hold what a turn leaves for later ones. It is
taken before the first proposal and after every UPDATE: the pair, its joint value, the history, and the players' memory
with every random generator. What was being computed when the run was killed is taken up where it was last laid down
(trainings of networks, UCFH), or computed again (tables).

One `solve` may run the alternation many times (several starts, sizes, priors). Runs are numbered in the
order in which they are begun, which is always the same. In the folder,

    asked.json                       what was asked: a call with another game or other options is refused
    0001.npz, 0001.told.npz          a run that is over: its solution; its times and learning curves
    0002.part.npz, 0002.last.npz     a run that is not: the newest checkpoint, and the one before
    0002.work.npz                    half-done work since then, every few minutes: a network's training, UCFH's counts

Going on means to call the same `solve` again: runs that are over are read instead of learned, the next goes on from
its checkpoint, and callbacks and curves are told again everything they were told before, so that whoever listens
need not know.

Files are archives of arrays and JSON text (`npz`): written beside their place, forced to the disk and moved there, with
a checksum of every entry, and a version. A damaged checkpoint is reported and passed over: for the one before, and at
worst the run is learned anew.
"""

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Alternation, Players, Update
from altmarl_torch.alternation.solution import LARGEST_FILE, Solution
from altmarl_torch.alternation.solution_files import pack_policy, read_update, unpack_policy
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.games.crowd import CrowdReward
from altmarl_torch.games.game import Game
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair
from altmarl_torch.support import snapshots
from altmarl_torch.support.digests import digest
from altmarl_torch.support.files import read_json, to_json, write_json
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.snapshots import Arrays, like, reading, tensor_of, under

__all__ = ["CheckpointFolder", "CurvePoints", "RunCheckpoint", "pack", "unpack"]

FILE_FORMAT, FILE_VERSION = "altmarl-checkpoint", 3
ASKED = "asked.json"

MOST_NAMED = 4
"""Differences that are named where a folder is of another call."""

CurvePoints = list[tuple[int, dict[str, float]]]
"""CurvePoints of learning curves: x, and numbers by tag."""

SECONDS_BETWEEN = 120.0
"""Between two times that half-done work is laid down."""

logger = logging.getLogger(__name__)


@dataclass
class CheckpointFolder:
    """The checkpoints of one `solve`.

    Attributes:
        folder: where they lie; made when the first is written.
        asked: what the result follows from, by name (`Options.asked`).
    """

    folder: Path
    asked: Mapping[str, object] = field(default_factory=dict)
    runs: int = 0  # begun so far

    def check(self) -> None:
        """Raise an ArgumentError, naming what differs, where the folder holds the checkpoints of another call.

        An option that the record lacks is newer than the record, and not compared.
        """
        file = self.folder / ASKED
        if not file.is_file():
            return
        there, here = read_json(file), json.loads(to_json(self.asked))
        other = [
            _difference(name, there[name], here[name]) for name in here if there.get(name, here[name]) != here[name]
        ]
        if other:
            more = f" and {len(other) - MOST_NAMED} more" if len(other) > MOST_NAMED else ""
            raise ArgumentError(
                f"checkpoints: {self.folder} is of another call, with {', '.join(other[:MOST_NAMED])}{more}; "
                "name another folder, or remove this one to begin anew"
            )

    def open(self) -> None:
        """Make the folder, and put down what was asked."""
        file = self.folder / ASKED
        if not file.is_file():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(file, dict(self.asked))

    def next_run(self) -> "RunCheckpoint":
        """The next run of the alternation."""
        self.runs += 1
        return RunCheckpoint(self.folder / f"{self.runs:04d}", self)


@dataclass
class RunCheckpoint:
    """The checkpoints of one run of the alternation.

    Attributes:
        path: of its files, without their endings.
        folder: that they lie in.
        points: of the learning curves so far.
    """

    path: Path
    folder: CheckpointFolder
    points: CurvePoints = field(default_factory=list)
    updates: int = 0  # at the last checkpoint
    computations: int = 0  # long ones, begun since then
    curve: Callable[[int, Mapping[str, float]], None] | None = None  # told the points of work that is taken up
    laid: float = field(default_factory=time.monotonic)  # when work was last laid down

    def read(self, network: nn.Module | None, game: Game) -> tuple[Solution, CurvePoints] | None:
        """The solution of a run that is over, with its curves; None unless there is one.

        Args:
            network: to be filled, where pi_g's is not the package's own.
            game: that was solved, on the device where it shall lie.
        """
        if not self._file("npz").is_file():
            return None
        try:
            solution = _moved(Solution.load(self._file("npz"), network, game), game.device)
            told = json.loads(str(read_npz(self._file("told.npz"), FILE_FORMAT, FILE_VERSION, ("record",))["record"]))
            history = zip(solution.history, told["seconds"], strict=True)
            timed = tuple(dataclasses.replace(update, seconds=float(seconds)) for update, seconds in history)
            return dataclasses.replace(solution, history=timed, phase_seconds=told["phases"]), told["points"]
        except (AltMarlError, OSError, KeyError, TypeError, ValueError) as cause:
            _passed_over(self._file("npz"), cause)
            return None

    def finish(self, solution: Solution) -> None:
        """Keep the solution in place of the checkpoints. (A table that no file carries is learned again.)"""
        if solution.policy is None and solution.pi_g is not None and solution.pi_g.numel() > LARGEST_FILE:
            return
        told = {"seconds": [update.seconds for update in solution.history], "phases": solution.phase_seconds}
        self.folder.open()
        record = json.dumps(told | {"points": self.points})
        write_npz(self._file("told.npz"), FILE_FORMAT, FILE_VERSION, {"record": record})
        solution.save(self._file("npz"))
        for ending in ("part.npz", "last.npz", "work.npz"):
            self._file(ending).unlink(missing_ok=True)

    def save(self, entries: Mapping[str, Any], updates: int) -> None:
        """Write a checkpoint after so many updates, and keep the one before."""
        newest, last = self._file("part.npz"), self._file("last.npz")
        self.folder.open()
        if newest.is_file():
            newest.replace(last)
        facts: dict[str, Any] = {"points": json.dumps(self.points), "updates": updates}
        write_npz(newest, FILE_FORMAT, FILE_VERSION, {**entries, **facts})
        self._file("work.npz").unlink(missing_ok=True)
        self.updates, self.computations = updates, 0

    def resume(self) -> Arrays | None:
        """A long computation begins: what was laid down of it, if that is what the file is about."""
        self.computations += 1
        file = self._file("work.npz")
        if not file.is_file():
            return None
        try:
            arrays = read_npz(file, FILE_FORMAT, FILE_VERSION, ("place", "points"), ("",))
            if arrays["place"].tolist() != [self.updates, self.computations]:
                return None
            points = _points(arrays)
        except (AltMarlError, OSError, TypeError, ValueError) as cause:
            _passed_over(file, cause)
            return None
        for x, numbers in points[len(self.points) :] if self.curve else ():
            self.curve(x, numbers)  # type: ignore[misc]  # asked in the same line
        self.points = points
        return under("work/", arrays)

    def keep(self, work: Callable[[], Arrays]) -> None:
        """Every few minutes, keep what the computation that was begun last has done so far."""
        if time.monotonic() - self.laid < SECONDS_BETWEEN:
            return
        self.laid = time.monotonic()
        entries = {f"work/{name}": array for name, array in work().items()}
        place: dict[str, Any] = {"place": [self.updates, self.computations], "points": json.dumps(self.points)}
        write_npz(self._file("work.npz"), FILE_FORMAT, FILE_VERSION, {**place, **entries})

    def newest(self) -> Iterator[Arrays]:
        """What can be read, the newest first; whoever cannot use one passes on to the next."""
        for ending in ("part.npz", "last.npz"):
            if self._file(ending).is_file():
                try:
                    names = ("record", "points", "updates")
                    arrays = read_npz(self._file(ending), FILE_FORMAT, FILE_VERSION, names, ("",))
                    self.points, self.updates = _points(arrays), int(arrays["updates"])
                    yield arrays
                except (AltMarlError, OSError, TypeError, ValueError) as cause:
                    _passed_over(self._file(ending), cause)
        self.points, self.updates = [], 0

    def watch(self, curve: Callable[[int, Mapping[str, float]], None] | None) -> Callable[..., None] | None:
        """The same curve, its points kept."""
        self.curve = curve
        if curve is None:
            return None

        def kept(x: int, numbers: Mapping[str, float]) -> None:
            self.points.append((x, dict(numbers)))
            curve(x, numbers)

        return kept

    def _file(self, ending: str) -> Path:
        return self.path.with_name(f"{self.path.name}.{ending}")


def pack(state: Alternation[Any, Any]) -> dict[str, Any]:
    """Where an alternation stands, as entries of a file."""
    value, pi_g = state.value, state.pair.pi_g
    history = [dataclasses.asdict(update) | {"decision": update.decision.value} for update in state.history]
    record = {
        "history": history,
        "seconds": state.seconds,
        "content": state.content,
        "converged": state.converged,
        "value": {name: getattr(value, name) for name in ("mean", "error", "sweeps", "standard_error")},
    }
    entries = {"record": json.dumps(record), "pi_l": _array(state.pair.pi_l), "values": _array(value.values)}
    entries |= {} if value.returns is None else {"returns": _array(value.returns)}
    entries |= {"pi_g": _smallest(pi_g)} if isinstance(pi_g, Tensor) else pack_policy(pi_g)
    return entries | {f"memory/{name}": array for name, array in snapshots.pack(state.memory).items()}


def unpack(
    arrays: Arrays,
    players: Players[Any, Any],
    k: int,
    network: nn.Module | None,
    r_g_mu: CrowdReward | None = None,
) -> Alternation[Any, Any]:
    """Where `pack` found an alternation of these players; the networks and generators of their memory are filled.

    `r_g_mu` is that of their game.

    Raises:
        FileFormatError: an entry is missing or malformed; the players are then of no more use.
    """
    start = players.start
    with reading():
        record, device = json.loads(str(arrays["record"])), start.pi_l.device
        pi_l = like(start.pi_l, arrays["pi_l"])
        if isinstance(start.pi_g, Tensor):
            pi_g: Any = like(start.pi_g, arrays["pi_g"])
        else:
            pi_g = _policy_on(unpack_policy(arrays, k, len(pi_l), network, r_g_mu), device)
        pair: Pair[Any] = Pair(pi_g, pi_l)
        returns = tensor_of(arrays["returns"], device) if "returns" in arrays else None
        value = JointValue(tensor_of(arrays["values"], device), returns=returns, **record["value"])
        history: list[Update] = [read_update(line) for line in record["history"]]
        memory = snapshots.unpack(players.memory, under("memory/", arrays), device)
        facts = {name: record[name] for name in ("seconds", "content", "converged")}
        return Alternation(pair, value, memory, history, **facts)


def _points(arrays: Arrays) -> CurvePoints:
    return [(int(x), dict(numbers)) for x, numbers in json.loads(str(arrays["points"]))]


def _difference(name: str, there: object, here: object) -> str:
    """What differs, in words; a digest says nothing."""
    if any(isinstance(value, str) and len(value) == len(digest(None)) for value in (there, here)):
        return f"another {name}"
    return f"{name} = {there} instead of {here}"


def _passed_over(file: Path, cause: Exception) -> None:
    logger.warning("%s is passed over: %s", file, cause)


def _array(tensor: Tensor) -> Any:
    return tensor.cpu().numpy()


def _smallest(pi_g: Tensor) -> Any:
    """A table of laws, in bytes where it is of 0 and 1."""
    whole = bool(((pi_g == 0) | (pi_g == 1)).all())
    return _array(pi_g.to(torch.uint8) if whole else pi_g)


def _policy_on(policy: Any, device: torch.device) -> Any:
    """A policy that was read, where its network shall answer."""
    if not hasattr(policy, "network"):
        return policy
    moved = {
        name: getattr(policy, name) for name in ("network", "r_g", "nobody") if getattr(policy, name, None) is not None
    }
    return dataclasses.replace(policy, **{name: part.to(device) for name, part in moved.items()})


def _moved(solution: Solution, device: torch.device) -> Solution:
    """A solution that was read, on its device, in memory of torch's own."""
    pi_g = None if solution.pi_g is None else solution.pi_g.to(device, copy=True)
    policy = None if solution.policy is None else _policy_on(solution.policy, device)
    return dataclasses.replace(solution, pi_g=pi_g, pi_l=solution.pi_l.to(device, copy=True), policy=policy)
