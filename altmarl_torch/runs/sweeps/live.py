"""A sweep while it runs: a table that fills, and a bar; on anything but a terminal, a line per finished cell."""

import sys
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from altmarl_torch.runs.sweeps.results import Finished, Sweep
from altmarl_torch.support.intervals import Difference

__all__ = ["Display", "table_text"]

COLUMNS = ("k", "seeds", "return", "95 % interval", "at the mode", "value", "Nash gap", "seconds", "memory")


class Display:
    """Shows a sweep on standard error while it runs; a context manager.

    Args:
        sweep: as far as it is before anything is computed.
        quiet: show nothing.
    """

    def __init__(self, sweep: Sweep, quiet: bool = False) -> None:
        console = Console(stderr=True)
        self._lines = not console.is_terminal and not quiet
        self._sweep, self._shown = sweep, {one.cell.name for one in sweep.finished}
        self._bar = Progress(
            *(TextColumn("cells"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()),
            console=console,
        )
        self._task = self._bar.add_task("cells", total=sweep.plan.size, completed=len(sweep.finished))
        self._live = Live(self._render(), console=console, refresh_per_second=2, transient=True, redirect_stdout=False)
        self._terminal = console.is_terminal and not quiet

    def __enter__(self) -> "Display":
        if self._terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal:
            self._live.stop()

    def show(self, sweep: Sweep) -> None:
        """The sweep may have come further."""
        if len(sweep.finished) == len(self._sweep.finished):
            return
        self._sweep = sweep
        self._live.update(self._render())
        self._bar.update(self._task, completed=len(sweep.finished))
        for one in sweep.finished:
            if one.cell.name not in self._shown:
                self._shown.add(one.cell.name)
                if self._lines:
                    print(f"[{len(self._shown)}/{sweep.plan.size}] {cell_line(one)}", file=sys.stderr, flush=True)

    def _render(self) -> RenderableType:
        table = Table(*COLUMNS, title=str(self._sweep.plan.folder), title_justify="left")
        for column in table.columns:
            column.justify = "right"
        for row in _rows(self._sweep):
            table.add_row(*row)
        return Group(table, self._bar)


def cell_line(one: Finished) -> str:
    """One finished cell."""
    summary = one.summary
    return (
        f"k = {summary['k']}, seed {summary['seed']}: return {summary['return_mean']:.3f}, "
        f"value {summary['value']:.3f}, {summary['wall_seconds']:.1f} s"
    )


def table_text(sweep: Sweep) -> str:
    """The table as plain text."""
    rows = [COLUMNS, *_rows(sweep)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _rows(sweep: Sweep) -> list[tuple[str, ...]]:
    return [_row(sweep, k) for k in sweep.ks]


def _row(sweep: Sweep, k: int) -> tuple[str, ...]:
    cells = sweep.at(k)
    found = sweep.estimate(k, lambda one: one.summary["return_mean"])
    memory = max((one.summary["peak_memory_bytes"] or 0 for one in cells), default=0)
    return (
        str(k),
        f"{len(cells)}/{len(sweep.plan.seeds)}",
        _number(found, ".2f"),
        "-" if found is None or len(cells) < 2 else f"{found.low:.2f} .. {found.high:.2f}",
        _number(sweep.estimate(k, lambda one: one.summary["mode_accuracy"]), ".0%"),
        _number(sweep.estimate(k, lambda one: one.summary["value"]), ".2f"),
        _number(sweep.estimate(k, lambda one: one.certificate.get("nash_gap")), ".3g"),
        _number(sweep.estimate(k, lambda one: one.learning_seconds), ".1f"),
        f"{memory / 2**20:,.0f} MiB" if memory else "-",
    )


def _number(found: Difference | None, form: str) -> str:
    return "-" if found is None else format(found.mean, form)
