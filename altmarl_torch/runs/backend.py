"""The environment variable MPLBACKEND, and why this package's commands do not read it.

A notebook's kernel sets it for its own environment. A command that is started from there inherits it, perhaps in an
environment where that backend is not installed, and matplotlib refuses to be imported. Figures are drawn here without
any backend (`runs.plots`), so that commands import matplotlib as if the variable were not set.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BACKEND", "without_backend"]

BACKEND = "MPLBACKEND"


@contextmanager
def without_backend() -> Iterator[None]:
    """Import matplotlib within: the variable is taken away meanwhile, and put back."""
    backend = os.environ.pop(BACKEND, None)
    try:
        yield
    finally:
        if backend is not None:
            os.environ[BACKEND] = backend
