"""Who computes the cells: processes on this machine, or a Ray or Dask cluster, all through joblib.

The scheduling is joblib's: `Parallel` hands cells to workers of a backend.

=========  =============================================================================================================
processes  one process per cell, as many at once as there are cores; each may use cores / processes threads
ray        the workers of a Ray cluster, through `ray.util.joblib`   (`pip install 'altmarl-torch[ray]'`)
dask       the workers of a Dask cluster, through `joblib`'s backend (`pip install 'altmarl-torch[dask]'`)
=========  =============================================================================================================

Whichever it is, the worker that is handed a cell has it computed in a process of its own and waits
(`runs.sweeps.processes`); on this machine the waiting is done by threads. Results travel by the file system: on a
cluster the folder of the sweep must be reachable under the same path from every worker. Without an address, a cluster
of `jobs` workers is started on this machine and taken down again.
"""

import importlib
import importlib.util
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import joblib

from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.sweeps.plan import Cell
from altmarl_torch.runs.sweeps.processes import Processes
from altmarl_torch.runs.sweeps.words import Backend
from altmarl_torch.support.files import to_json, write_json
from altmarl_torch.support.tables import as_integer

__all__ = ["ClusterError", "Outcome", "Submit", "check_backend", "run_cell", "workers"]

NEEDS: dict[str, tuple[str, ...]] = {"processes": (), "ray": ("ray",), "dask": ("dask", "distributed")}
PATIENCE_SECONDS = 15.0
"""For a cluster to answer."""

Submit = Callable[[Sequence[Cell]], "list[Outcome]"]
"""Computes cells, and returns what became of each."""


class ClusterError(AltMarlError):
    """A cluster cannot be reached, or went away."""


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        name: the cell.
        state: "finished"; "failed", by an error of its own; or "killed", by somebody else.
        message: why.
    """

    name: str
    state: Literal["finished", "failed", "killed"]
    message: str = ""


@contextmanager
def workers(backend: Backend, *, jobs: int | None, address: str | None, cells: int) -> Iterator[Submit]:
    """Workers for so many cells; a cluster that was started here is taken down at the end.

    Args:
        backend: which kind.
        jobs: how many cells to compute at once; by default one per core, or per worker of the cluster.
        address: of the cluster; None starts one on this machine.
        cells: how many cells there are; there are no more workers than that.

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    cores = joblib.cpu_count()
    local = min(jobs or cores, cells) or 1
    if backend == "processes":
        with _processes(local, max(1, cores // local)) as submit:
            yield submit
    else:
        connect = _ray if backend == "ray" else _dask
        with connect(address, local, jobs) as submit:
            yield submit


def check_backend(backend: str, jobs: int | None, address: str | None) -> None:
    """Raise an ArgumentError where there can be no such workers: no such backend, its package is not installed."""
    if backend not in NEEDS:
        raise ArgumentError(f"backend must be one of {', '.join(NEEDS)}, not {backend!r}")
    if backend == "processes" and address is not None:
        raise ArgumentError("address is of a cluster, and backend 'processes' is this machine; use 'ray' or 'dask'")
    if jobs is not None:
        as_integer("jobs", jobs, 1, math.inf, ArgumentError)
    missing = [package for package in NEEDS[backend] if importlib.util.find_spec(package) is None]
    if missing:
        raise ArgumentError(
            f"backend {backend!r} needs {' and '.join(missing)}: pip install 'altmarl-torch[{backend}]'"
        )


def run_cell(values: dict[str, Any], cwd: str, processes: Processes) -> Outcome:
    """Compute the cell with the configuration `values` in a process of its own, and wait for it.

    Args:
        values: fields of `TrainConfig`.
        cwd: the folder that its relative paths start from.
        processes: who computes it.
    """
    cell = Cell(TrainConfig.from_dict(values))
    if not (Path(cwd) / cell.config.runs_dir).is_dir():
        return Outcome(cell.name, "killed", _not_shared(cwd, cell))
    return _outcome(cell, Path(cwd), *processes.ask(cwd, to_json(values)))


def _alone(values: dict[str, Any], cwd: str) -> Outcome:
    """The same on a worker of a cluster, which keeps nothing from cell to cell."""
    with Processes(threads=1) as processes:
        return run_cell(values, cwd, processes)


def _outcome(cell: Cell, cwd: Path, said: dict[str, Any] | None, code: int) -> Outcome:
    """What an answer says; a failure is written down, where there is room for it."""
    if said is None:
        cause = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        memory = " (out of memory?)" if code == -signal.SIGKILL else ""
        return Outcome(cell.name, "killed", f"its process was ended by {cause}{memory}")
    message = "" if said["state"] == "finished" else f"{said['kind']}: {said['message']}"
    if said["state"] == "failed":
        with suppress(OSError):
            (cwd / cell.failure).parent.mkdir(exist_ok=True)
            write_json(cwd / cell.failure, {"kind": said["kind"], "message": said["message"]})
    return Outcome(cell.name, said["state"], message)


def _not_shared(cwd: str, cell: Cell) -> str:
    folder = Path(cwd) / cell.config.runs_dir
    return f"{socket.gethostname()} sees no folder {folder}; it must be on a file system that all workers share"


@contextmanager
def _processes(jobs: int, threads: int) -> Iterator[Submit]:
    """This machine: one thread of joblib per process, which waits for it."""
    with Processes(threads) as processes:
        yield lambda cells: _parallel("threading", jobs, cells, run_cell, processes)


@contextmanager
def _ray(address: str | None, local: int, jobs: int | None) -> Iterator[Submit]:
    """A Ray cluster."""
    ray: Any = importlib.import_module("ray")
    quiet = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address is None:
            ray.init(num_cpus=local, include_dashboard=False, **quiet)
        else:
            _knock(address)
            ray.init(address=address, **quiet)
    except Exception as cause:
        raise _unreachable("Ray", address, cause) from cause
    importlib.import_module("ray.util.joblib").register_ray()
    try:
        yield _cluster("ray", jobs or int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


@contextmanager
def _dask(address: str | None, local: int, jobs: int | None) -> Iterator[Submit]:
    """A Dask cluster."""
    distributed: Any = importlib.import_module("distributed")
    with ExitStack() as stack:
        try:
            if address is None:
                own = distributed.LocalCluster(n_workers=local, threads_per_worker=1, dashboard_address=None)
                client = stack.enter_context(distributed.Client(stack.enter_context(own)))
            else:
                _knock(address)
                client = stack.enter_context(distributed.Client(address, timeout=PATIENCE_SECONDS))
            client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
        except Exception as cause:
            raise _unreachable("Dask", address, cause) from cause
        yield _cluster("dask", jobs or sum(client.nthreads().values()))


def _cluster(backend: str, jobs: int) -> Submit:
    """The workers that joblib's `backend` is connected to."""

    def submit(cells: Sequence[Cell]) -> list[Outcome]:
        try:
            return _parallel(backend, jobs, cells, _alone)
        except Exception as cause:
            raise ClusterError(f"the cluster lost a worker: {type(cause).__name__}: {_first_line(cause)}") from cause

    return submit


def _parallel(
    backend: str, jobs: int, cells: Sequence[Cell], compute: Callable[..., Outcome], *more: Any
) -> list[Outcome]:
    """`compute(configuration, current folder, *more)` of each cell."""
    tasks = [joblib.delayed(compute)(cell.config.as_dict(), os.getcwd(), *more) for cell in cells]
    with joblib.parallel_config(backend=backend):
        outcomes: list[Outcome] = joblib.Parallel(n_jobs=jobs, batch_size=1)(tasks)
    return outcomes


def _knock(address: str) -> None:
    """Raise an OSError at once where nobody listens at `[scheme://]host:port`; other words are the library's."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=PATIENCE_SECONDS).close()


def _unreachable(name: str, address: str | None, cause: Exception) -> ClusterError:
    where = "on this machine" if address is None else f"at {address}"
    return ClusterError(f"no {name} cluster {where}: {_first_line(cause)}")


def _first_line(cause: Exception) -> str:
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    return (text or type(cause).__name__).strip().partition("\n")[0]
