"""Run a sweep: what is left to do goes to the workers, what is found goes to the table and the two files.

What has been computed is on disk from the moment it is: a sweep that is broken off (Ctrl-C, `kill -9`, a power cut)
is continued by the same command, which skips finished cells. A cell that failed by an error of its own would fail
again, so it is skipped too, and listed, unless a retry is asked for; one whose process was killed is simply done again.

A worker of a cluster that dies takes the whole round of joblib with it. The cells that are finished by then are kept,
and the rest goes into another round, as long as each round finishes something.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from altmarl_torch.errors import FileFormatError
from altmarl_torch.runs.sweeps.live import Display
from altmarl_torch.runs.sweeps.plan import Cell, Plan
from altmarl_torch.runs.sweeps.results import Sweep, write_results
from altmarl_torch.runs.sweeps.words import Backend
from altmarl_torch.runs.sweeps.workers import ClusterError, Outcome, Submit, check_backend, workers
from altmarl_torch.support.files import alone, read_json

__all__ = ["SweepRun", "run_sweep"]

SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class SweepRun:
    """What `run_sweep` leaves behind.

    Attributes:
        sweep: everything that its folder holds, of this call and of earlier ones.
        skipped: how many of the cells asked for were finished before.
        unfinished: the cells asked for that are not finished, and why.
    """

    sweep: Sweep
    skipped: int
    unfinished: tuple[Outcome, ...]


def run_sweep(
    plan: Plan,
    *,
    jobs: int | None = None,
    backend: Backend = "processes",
    address: str | None = None,
    retry_failed: bool = False,
    quiet: bool = False,
) -> SweepRun:
    """Compute the cells of `plan` that are not finished, and write results.csv and summary.json.

    Args:
        plan: what is asked.
        jobs: how many cells at once; by default one per core, or per worker of the cluster.
        backend: who computes them (`runs.sweeps.workers`).
        address: of a cluster; None starts one on this machine.
        retry_failed: try cells again that failed in an earlier call.
        quiet: show no progress.

    Raises:
        AltMarlError: an option is refused, or a k does not fit the game; nothing has been computed then.
        ClusterError: the cluster cannot be reached, or went away.
        OSError: the folder cannot be written.
        KeyboardInterrupt: Ctrl-C; the files hold what was finished by then.
    """
    plan.check()
    check_backend(backend, jobs, address)
    plan.folder.mkdir(parents=True, exist_ok=True)
    with alone(plan.folder, "computed"):
        sweep = Sweep.read(plan.merged())
        left = [cell for cell in _in_order(plan) if cell.name not in sweep.by_name]
        failed = [] if retry_failed else _failed(left)
        left = [cell for cell in left if cell.name not in {outcome.name for outcome in failed}]
        with workers(backend, jobs=jobs, address=address, cells=len(left)) if left else nullcontext() as submit:
            sweep.plan.save()
            try:
                outcomes = _compute(left, sweep, submit, quiet) if submit else []
            finally:
                sweep = sweep.later(certified=True)
                write_results(sweep)
    return SweepRun(sweep, plan.size - len(left) - len(failed), (*failed, *outcomes))


def _in_order(plan: Plan) -> list[Cell]:
    """Seed by seed, so that the curve is there early; large k first, so that no core waits for the last one."""
    return [plan.cell(k, seed) for seed in plan.seeds for k in reversed(plan.ks)]


def _failed(cells: Sequence[Cell]) -> list[Outcome]:
    """Those that an earlier call has found to fail."""
    found = []
    for cell in cells:
        with suppress(FileNotFoundError):
            said = read_json(cell.failure)
            found.append(Outcome(cell.name, "failed", f"{said.get('kind')}: {said.get('message')}"))
    return found


def _compute(cells: list[Cell], sweep: Sweep, submit: Submit, quiet: bool) -> list[Outcome]:
    """Those that could not be finished."""
    for cell in cells:
        cell.failure.unlink(missing_ok=True)
    with Display(sweep, quiet) as display, _watching(sweep, display):
        return _rounds(submit, cells)


def _rounds(submit: Submit, cells: list[Cell]) -> list[Outcome]:
    while True:
        try:
            outcomes = submit(cells)
            return [outcome for outcome in outcomes if outcome.state != "finished"]
        except ClusterError:
            left = [cell for cell in cells if cell.summary() is None]
            if len(left) == len(cells):
                raise
            cells = left


@contextmanager
def _watching(sweep: Sweep, display: Display) -> Iterator[None]:
    """Tell `display` of cells as they appear on the disk, wherever they were computed."""
    over = threading.Event()

    def watch(sweep: Sweep) -> None:
        while not over.wait(SECONDS_BETWEEN_LOOKS):
            sweep = look(sweep)
        look(sweep)

    def look(sweep: Sweep) -> Sweep:
        with suppress(FileFormatError, OSError):
            sweep = sweep.later()
            display.show(sweep)
        return sweep

    thread = threading.Thread(target=watch, args=[sweep], daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
