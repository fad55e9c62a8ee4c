"""Cells, each in a process of its own: `python -m altmarl_torch.runs.sweeps.cell`.

A cell shares nothing with the others but the disk. Whatever ends it (a bug, the kernel's out-of-memory killer, a
`kill -9`) costs this cell alone, and its memory is its own and can be told. Starting Python with torch takes as long as
half of a cell, so that it is done once for many: this process imports, then waits, and each cell is computed in a fork
of it. It has computed nothing itself, and ends the threads that OpenBLAS starts with it before it forks (OpenBLAS does
that), so that a fork is what a new process would be. Where systems cannot fork, or not safely after such imports
(Windows, macOS), it computes one cell itself and leaves, and whoever asks starts the next (`runs.sweeps.processes`).
The conversation is lines of JSON:

    standard input     the configuration of a cell, in the fields of `TrainConfig`; then nothing, until the cell is over
    standard output    `{"state": "finished"}`, or `{"state": "failed", "kind": ..., "message": ...}`, from the cell;
                       then, from this process, `{"ended": ...}`: the exit code of the fork, or minus the signal

Everything that the training prints goes to the cell's log instead. Standard input stays open as long as somebody wants
the result: when it closes, whoever asked has died, and the cell ends at once, since another asker may be on its way.
For the moment in between there is a lock: the same cell is computed by one process at a time, and whoever comes second
finds it finished.
"""

import os
import shutil
import signal
import sys
import threading
import traceback
from typing import Any, NoReturn, TextIO

from filelock import FileLock

from altmarl_torch.errors import AltMarlError, FileFormatError
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import RunFolder
from altmarl_torch.runs.report import Console
from altmarl_torch.runs.sweeps.plan import Cell
from altmarl_torch.runs.training import resume, train
from altmarl_torch.support.files import parse_object, to_json

__all__ = ["compute", "main"]

FORKS = sys.platform == "linux"
"""Whether a process that has loaded torch and matplotlib can be forked safely."""

ABANDONED = 3
"""Exit code when nobody waits any more."""

INTERRUPTED = {"state": "killed", "kind": "KeyboardInterrupt", "message": "interrupted"}


def main() -> None:
    """Answer one question after the other, until nobody asks; without forks, one."""
    while question := sys.stdin.readline():
        child = os.fork() if FORKS else 0
        if child == 0:
            _answer_and_leave(question)
        print(to_json({"ended": _ended(child)}), flush=True)


def compute(cell: Cell) -> None:
    """Train and measure `cell`, unless that has been done; an earlier attempt is gone on with, or replaced."""
    with FileLock(cell.log.with_suffix(".lock")), Console() as console:
        if cell.summary() is not None:
            return
        if RunFolder(cell.folder).checkpoints.is_dir():
            try:
                resume(cell.folder, console, cell.config.rule)
                return
            except FileFormatError as cause:
                console.result(f"cannot be resumed, begins anew: {cause}")
        shutil.rmtree(cell.folder, ignore_errors=True)
        train(cell.config, console, name=cell.name)


def _ended(child: int) -> int:
    """Wait for a fork. Ctrl-C in a terminal goes to all of its processes; the cell has its own way to end."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    signal.signal(signal.SIGINT, handler)
    return os.waitstatus_to_exitcode(status)


def _answer_and_leave(question: str) -> NoReturn:
    """Compute a cell, answer, and end the process at once: all files are closed, and taking torch down takes time."""
    threading.Thread(target=_leave_with_the_asker, daemon=True).start()
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as answer:
        cell = Cell(TrainConfig.from_dict(parse_object(question, "the cell's configuration")))
        answer.write(to_json(_answer(cell)) + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _answer(cell: Cell) -> dict[str, Any]:
    """Compute the cell; what became of it."""
    try:
        cell.log.parent.mkdir(parents=True, exist_ok=True)
        with cell.log.open("w", encoding="utf-8") as log:
            _print_to(log)
            try:
                compute(cell)
            except Exception:
                traceback.print_exc()
                raise
    except KeyboardInterrupt:
        return INTERRUPTED
    except (AltMarlError, OSError, MemoryError) as error:
        return {"state": "failed", "kind": type(error).__name__, "message": str(error)}
    except Exception as error:
        return {"state": "failed", "kind": type(error).__name__, "message": f"{error} (traceback: {cell.log})"}
    if cell.summary() is None:
        return INTERRUPTED
    return {"state": "finished"}


def _print_to(log: TextIO) -> None:
    """Both standard streams, those of C libraries included."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log.fileno(), stream.fileno())


def _leave_with_the_asker() -> None:
    sys.stdin.read()
    os._exit(ABANDONED)


if __name__ == "__main__":
    main()
