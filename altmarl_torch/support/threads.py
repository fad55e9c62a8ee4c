"""Two cores used well: one torch thread for each task, instead of all of them for each small product.

The exact operator is thousands of small matrix products, and so is a rollout. Torch would split each of them over all
its threads, which costs more in waking and waiting than the product itself: at k = 20 a sweep takes several times as
long with two threads as with one. So inside `one_thread` torch computes with one thread, and what there is to gain from
several cores is gained by giving each its own global state (`run`).

The thread count is that of the calling thread, and is what it was when the block ends.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property
from typing import TypeVar

import torch

__all__ = ["one_thread", "run"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Workers:
    """Threads that `run` hands its items to, for as long as a block lasts; none is started before the first item."""

    def __init__(self, number: int) -> None:
        self.number = number

    @cached_property
    def pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.number)

    def end(self) -> None:
        if "pool" in vars(self):
            self.pool.shutdown()


_workers: ContextVar[_Workers | None] = ContextVar("workers", default=None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block torch computes with one thread; `run` may use as many workers as torch had threads before.

    A block inside another costs nothing: there is one thread already.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        yield
        return
    workers = _Workers(threads)
    token = _workers.set(workers)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        _workers.reset(token)
        workers.end()


def run(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """`[function(item) for item in items]`, by several workers inside a block of `one_thread`, else one by one."""
    workers = _workers.get()
    return [function(item) for item in items] if workers is None else list(workers.pool.map(function, items))
