"""What a checkpoint is made of: values of many kinds as named arrays, and back, to the last bit.

`pack` takes a value apart: tensors, networks, optimisers, random generators, numbers, text, and dataclasses, dicts and
tuples of these. `unpack` puts it together again on a value of the same make, so that no file names a class. Tensors
that are read are copied into memory of torch's own, whose alignment decides the last bits of a product.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

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
    "module_arrays",
    "pack",
    "pack_attributes",
    "reading",
    "set_attributes",
    "tensor_of",
    "under",
    "unpack",
]

Value = TypeVar("Value")

FACTS = "facts"
"""The entry of everything that is no array, as JSON by name."""

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


def pack(value: object) -> dict[str, NDArray[np.generic]]:
    """A value as named arrays: a part `b` of a part `a` is named `a/b`."""
    arrays, facts = dict[str, NDArray[np.generic]](), dict[str, object]()
    for name, part in _parts("", value):
        if isinstance(part, Tensor):
            arrays[name] = np.array(part.detach().cpu().numpy())
        elif isinstance(part, torch.Generator):
            arrays[name] = np.array(part.get_state().numpy())
        else:
            facts[name] = part
    return {**arrays, FACTS: np.asarray(json.dumps(facts))}


def unpack(template: Value, arrays: Arrays, device: torch.device | str = "cpu") -> Value:
    """A value of the make of `template`, whose parts are those that `pack` took from another.

    Networks, optimisers and generators of the template are filled; everything else is new. A tensor keeps the shape
    that the template's has; where the template has None, a tensor of any shape is read, onto `device`.

    Raises:
        LookupError, TypeError, ValueError, RuntimeError: the arrays are not of such a value (see `reading`).
    """
    facts: dict[str, object] = json.loads(str(arrays[FACTS]))
    value: Value = _filled("", template, arrays, facts, torch.device(device))
    return value


def pack_attributes(owner: object, names: Iterable[str]) -> dict[str, NDArray[np.generic]]:
    """Some attributes of an object, as `pack` takes them."""
    return pack({name: getattr(owner, name) for name in names})


def set_attributes(owner: object, names: Iterable[str], arrays: Arrays, device: torch.device | str = "cpu") -> None:
    """Give an object the attributes that `pack_attributes` took from one of its kind.

    Raises:
        LookupError, TypeError, ValueError, RuntimeError: as `unpack`.
    """
    for name, part in unpack({name: getattr(owner, name) for name in names}, arrays, device).items():
        setattr(owner, name, part)


def _parts(name: str, value: Any) -> Iterator[tuple[str, object]]:
    """The tensors, generators and plain facts that a value is made of, by name."""
    if isinstance(value, nn.Module):
        value = dict(value.state_dict())
    elif isinstance(value, torch.optim.Optimizer):
        value = value.state_dict()["state"]
    elif dataclasses.is_dataclass(value):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    elif isinstance(value, tuple):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        yield name, value
        return
    for part, entry in value.items():
        yield from _parts(f"{name}/{part}" if name else str(part), entry)


def _filled(name: str, template: Any, arrays: Arrays, facts: Mapping[str, object], device: torch.device) -> Any:
    """The part of a value that is called `name`."""
    inside = f"{name}/" if name else ""
    if isinstance(template, nn.Module):
        load_module(inside, template, arrays)
    elif isinstance(template, torch.optim.Optimizer):
        _load_optimizer(template, under(inside, arrays))
    elif isinstance(template, torch.Generator):
        template.set_state(torch.tensor(arrays[name], dtype=torch.uint8))
    elif dataclasses.is_dataclass(template) and not isinstance(template, type):
        names = [field.name for field in dataclasses.fields(template)]
        parts = {key: _filled(inside + key, getattr(template, key), arrays, facts, device) for key in names}
        return dataclasses.replace(template, **parts)
    elif isinstance(template, dict):
        return {key: _filled(f"{inside}{key}", part, arrays, facts, device) for key, part in template.items()}
    elif isinstance(template, tuple):
        return tuple(_filled(f"{inside}{i}", part, arrays, facts, device) for i, part in enumerate(template))
    elif name in arrays:
        return like(template, arrays[name]) if isinstance(template, Tensor) else tensor_of(arrays[name], device)
    else:
        return facts[name] if template is None or facts[name] is None else type(template)(facts[name])
    return template


def _load_optimizer(optimizer: torch.optim.Optimizer, arrays: Arrays) -> None:
    """Give an optimiser what it remembered of each parameter."""
    memory: dict[int, dict[str, Tensor]] = {}
    for key, array in arrays.items():
        index, _, name = key.partition("/")
        memory.setdefault(int(index), {})[name] = tensor_of(array)
    optimizer.load_state_dict(optimizer.state_dict() | {"state": memory})
