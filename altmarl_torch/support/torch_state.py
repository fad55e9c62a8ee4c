"""Doors that mean the same whatever the caller has set torch to.

A default device (`torch.set_default_device`) sends every tensor that is made without one elsewhere than the game's
tables lie; under `torch.inference_mode` nothing that is made can be trained. Neither says anything about a game, so the
functions that people call first run with the game's device as the default, and outside inference mode.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import ParamSpec, TypeVar

import torch

__all__ = ["door", "ordinary"]

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

CPU = torch.device("cpu")


@contextmanager
def ordinary(device: torch.device = CPU) -> Iterator[None]:
    """Within the block tensors are made on `device`, and can be trained; nothing changes where that is so already."""
    with ExitStack() as stack:
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(False))
        if torch.get_default_device() != device:
            stack.enter_context(device)
        yield


def door(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Run a function in an `ordinary` state, on the device of its first argument that has one, else on the CPU."""

    @functools.wraps(function)
    def inner(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        devices = (getattr(value, "device", None) for value in (*args, *kwargs.values()))
        found = next((device for device in devices if isinstance(device, torch.device)), CPU)
        with ordinary(found):
            return function(*args, **kwargs)

    return inner
