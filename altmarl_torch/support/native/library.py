"""What is written in C++: one shared library, built with the package where there is a compiler, and found beside this.

`sweep.cpp` (pair moves), `moving.cpp` (agents moved one by one) and `drawing.cpp` (binomial numbers, and samples of
counts) are its sources (`setup.py`). Where it was not built, on other devices than the CPU, and as the test of it,
torch or NumPy does the same, more slowly.
"""

import ctypes
import functools
import importlib.machinery
import logging
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["INTERFACE", "SUFFIXES", "address", "library"]

logger = logging.getLogger(__name__)

INTERFACE = 3
"""The version of the C interface that is called; a library of another one is left alone."""

SUFFIXES = {torch.float32: "f32", torch.float64: "f64"}
"""What the name of a function ends in, for each type of its numbers."""


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled library; None where it was not built, which the log says once."""
    places = [Path(__file__).with_name("_compiled" + suffix) for suffix in importlib.machinery.EXTENSION_SUFFIXES]
    for place in filter(Path.exists, places):
        try:
            found = ctypes.CDLL(str(place))
            version = found.compiled_interface()
        except (OSError, AttributeError) as cause:
            logger.warning("%s cannot be used (%s); torch does its work, several times slower", place.name, cause)
            return None
        if version == INTERFACE:
            return found
        logger.warning("%s was built from other sources; torch does its work until it is built anew", place.name)
        return None
    logger.info("the compiled code was not built (no C++ compiler?); torch does its work, several times slower")
    return None


def address(numbers: Tensor | NDArray[Any]) -> ctypes.c_void_p:
    """Where the numbers of a contiguous tensor or array lie."""
    return ctypes.c_void_p(numbers.data_ptr() if isinstance(numbers, Tensor) else numbers.ctypes.data)
