"""What a checkpoint is made of: random states, networks and optimisers as arrays, and back, to the last bit.

Tensors that are read are copied into memory of torch's own, whose alignment decides the last bits of a product.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altmarl_torch.errors import FileFormatError

__all__ = [
    "Arrays",
    "WorkInProgress",
    "like",
    "load_module",
    "load_optimizer",
    "module_arrays",
    "optimizer_arrays",
    "random_state",
    "reading",
    "set_random_state",
    "tensor_of",
    "under",
]

Arrays = Mapping[str, NDArray[np.generic]]
"""Named arrays, as a file holds them."""


class WorkInProgress(Protocol):
    """Where a long computation keeps half-done work, so that it can be taken up if the process is killed."""

    def resume(self) -> Arrays | None:
        """A computation begins; what an earlier attempt at this very one has kept."""

    def keep(self, work: Callable[[], Arrays]) -> None:
        """Keep `work()`, every few minutes; called whenever that would be possible."""


@contextmanager
def reading() -> Iterator[None]:
    """Whatever goes wrong while a checkpoint is read is a FileFormatError: it is not of this run."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as cause:
        raise FileFormatError(f"the checkpoint does not fit this run: {type(cause).__name__}: {cause}") from cause


def like(table: Tensor, array: NDArray[np.generic]) -> Tensor:
    """A copy of an array as a tensor like `table`: of its shape and type, where it lies, and without NaN.

    Raises:
        ValueError: it has another shape, or holds NaN.
    """
    copy = torch.tensor(array, dtype=table.dtype, device=table.device)
    if copy.shape != table.shape or bool(copy.isnan().any()):
        raise ValueError(f"expected numbers of the shape {list(table.shape)}, not of {list(copy.shape)}")
    return copy


def random_state(generator: torch.Generator) -> NDArray[np.uint8]:
    """Where a generator stands, as an array."""
    return np.array(generator.get_state().numpy())


def set_random_state(generator: torch.Generator, state: NDArray[np.generic]) -> None:
    """Put a generator where `random_state` found it."""
    generator.set_state(torch.tensor(state, dtype=torch.uint8))


def tensor_of(array: NDArray[np.generic], device: torch.device | str = "cpu") -> Tensor:
    """A copy of an array as a tensor."""
    return torch.tensor(array, device=device)


def under(prefix: str, arrays: Arrays) -> dict[str, NDArray[np.generic]]:
    """Those whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def module_arrays(prefix: str, module: nn.Module) -> dict[str, NDArray[np.generic]]:
    """Parameters and buffers."""
    return {prefix + name: np.array(tensor.detach().cpu().numpy()) for name, tensor in module.state_dict().items()}


def load_module(prefix: str, module: nn.Module, arrays: Arrays) -> None:
    """Fill a module with what `module_arrays` found."""
    module.load_state_dict({name: tensor_of(array) for name, array in under(prefix, arrays).items()})


def optimizer_arrays(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, NDArray[np.generic]]:
    """What an optimiser remembers of each parameter."""
    return {
        f"{prefix}{index}/{name}": np.array(tensor.cpu().numpy())
        for index, memory in optimizer.state_dict()["state"].items()
        for name, tensor in memory.items()
    }


def load_optimizer(prefix: str, optimizer: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Give an optimiser the memory that `optimizer_arrays` found."""
    memory: dict[int, dict[str, Tensor]] = {}
    for key, array in under(prefix, arrays).items():
        index, _, name = key.partition("/")
        memory.setdefault(int(index), {})[name] = tensor_of(array)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": memory})
