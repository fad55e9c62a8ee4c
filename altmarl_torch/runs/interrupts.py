"""Being told to stop: Ctrl-C and SIGTERM end a command in good order, and a second one ends it at once.

Within `Interrupts` the first of either signal raises KeyboardInterrupt, so that what was learned is saved,
unless the last files are being written already (`Interrupts.held`). From then on both signals have their default
effect: the process ends. Nothing that is on the disk is harmed by that, since files are written whole or not at all.

Signals belong to the main thread of Python; in any other, nothing is changed.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context manager that takes the two signals, and gives their handlers back at the end."""

    def __init__(self) -> None:
        self._handlers: dict[int, Any] = {}
        self._held = False

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """The first signal does not break off the block, which is the last thing that is done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_DFL)
        if not self._held:
            raise KeyboardInterrupt
