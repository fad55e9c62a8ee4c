"""Processes of this machine that compute cells, seen from whoever asks them; `runs.sweeps.cell` is the other side."""

import os
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, cast

from altmarl_torch.runs.backend import BACKEND
from altmarl_torch.support.files import parse_object

__all__ = ["Process", "Processes"]

COMMAND = [sys.executable, "-m", "altmarl_torch.runs.sweeps.cell"]
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Process:
    """A process that computes one cell after the other, or a single one where there are no forks.

    Args:
        cwd: the folder that relative paths start from.
        threads: that a cell may use.

    Attributes:
        ready: it waits for a question; not while it computes, nor when it has ended.
    """

    def __init__(self, cwd: str, threads: int) -> None:
        inherited = {name: value for name, value in os.environ.items() if name != BACKEND}
        self.ready = True
        self.popen = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # until a cell writes to its log
            text=True,
            cwd=cwd,
            env=inherited | dict.fromkeys(THREADS, str(threads)),
        )

    def ask(self, question: str) -> tuple[dict[str, Any] | None, int]:
        """Have a cell computed.

        Args:
            question: its configuration, one line of JSON.

        Returns:
            The answer, None if the cell died first; and the exit code of its process, or minus the signal that ended
            it.
        """
        self.ready, answer = False, None
        with suppress(BrokenPipeError):
            self._input.write(question + "\n")
            self._input.flush()
        while line := self._output.readline():
            said = parse_object(line, "the answer of a cell")
            if "ended" in said:
                self.ready = True
                return answer, said["ended"]
            answer = said
        return answer, self.popen.wait()

    def end(self) -> None:
        """Hang up, so that a cell that is being computed ends too, and wait until nobody holds the other end."""
        with suppress(BrokenPipeError):
            self._input.close()
        self.popen.kill()
        while os.read(self._output.fileno(), 4096):  # not by the buffer, which a thread that asks may be waiting for
            pass
        self.popen.wait()

    @property
    def _input(self) -> IO[str]:
        return cast("IO[str]", self.popen.stdin)

    @property
    def _output(self) -> IO[str]:
        return cast("IO[str]", self.popen.stdout)


@dataclass
class Processes:
    """As many processes as there are questions at once; a context manager that ends them.

    Attributes:
        threads: that each cell may use.
        running: all that have been started and not ended.
        idle: those among them that wait for a question.
    """

    threads: int
    running: set[Process] = field(default_factory=set)
    idle: deque[Process] = field(default_factory=deque)

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in list(self.running):
            process.end()

    def ask(self, cwd: str, question: str) -> tuple[dict[str, Any] | None, int]:
        """`Process.ask` of one that is free."""
        process = self._free(cwd)
        try:
            return process.ask(question)
        finally:
            self._give_back(process)

    def _free(self, cwd: str) -> Process:
        try:
            return self.idle.pop()
        except IndexError:
            process = Process(cwd, self.threads)
            self.running.add(process)
            return process

    def _give_back(self, process: Process) -> None:
        if process.ready:
            self.idle.append(process)
        else:
            process.end()
            self.running.discard(process)
