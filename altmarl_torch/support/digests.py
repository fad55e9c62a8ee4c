"""Digests: a few letters for a value of any size, equal where the values are equal to the last bit."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["digest", "known_as"]

LETTERS = 16


def digest(value: object) -> str:
    """16 hexadecimal digits for a tensor, a module, a number, text, None, or a dataclass or mapping of these."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()[:LETTERS]


def known_as(value: object) -> int | float | str | None:
    """What to remember a value by: a number or word itself, a function's name with a digest, or else a digest.

    Of a function, what tells it from another of its name is digested: its code, and plain values that it holds
    (arguments of a `partial`, fields of a dataclass, what it encloses). An object that is none is known by its type.
    """
    if value is None or isinstance(value, int | float | str):
        return value
    if callable(value) and not isinstance(value, nn.Module):
        return f"{_name(value)} {digest(_held(value))}"
    return digest(value)


def _name(function: Callable[..., Any]) -> str:
    inner = function.func if isinstance(function, functools.partial) else function
    named = inner if hasattr(inner, "__qualname__") else type(inner)
    return f"{named.__module__}.{named.__qualname__}"


def _held(function: object) -> dict[str, object]:
    """What a function computes with, by name."""
    if isinstance(function, functools.partial):
        inner = {"of": digest(_held(function.func))}
        held: dict[str, object] = dict(enumerate(function.args)) | function.keywords  # type: ignore[assignment]
    elif isinstance(function, FunctionType):
        code = function.__code__
        inner = {"code": code.co_code.hex(), "names": repr(code.co_names)}
        cells = [cell.cell_contents for cell in function.__closure__ or ()]
        held = dict(enumerate([*code.co_consts, *cells, *(function.__defaults__ or ())]))  # type: ignore[arg-type]
    else:
        inner, held = {}, dict(vars(function)) if hasattr(function, "__dict__") else {}
    return inner | {str(name): value if _is_plain(value) else type(value).__qualname__ for name, value in held.items()}


def _is_plain(value: object) -> bool:
    """Whether a value's digest says what it holds, and nothing of where it lies."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    is_record = dataclasses.is_dataclass(value) and not isinstance(value, type)
    return value is None or is_record or isinstance(value, int | float | str | Tensor)


def _add(found: "hashlib._Hash", value: object) -> None:
    """Feed a value: its kind, and what it holds."""
    found.update(type(value).__qualname__.encode() + b"(")
    if isinstance(value, Tensor):
        table = value.detach().cpu().contiguous()
        found.update(f"{table.dtype} {list(table.shape)} ".encode())
        found.update(table.reshape(-1).view(torch.uint8).numpy().data)  # tables are large: no copy
    elif isinstance(value, nn.Module):
        _add(found, dict(value.state_dict()))
    elif isinstance(value, dict):
        for name, entry in value.items():
            found.update(f"{name}=".encode())
            _add(found, entry)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _add(found, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    elif callable(value):
        found.update(str(known_as(value)).encode())
    else:
        found.update(repr(value).encode())
    found.update(b")")
