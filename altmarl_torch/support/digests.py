"""Digests: a few letters for a value of any size, equal where the values are equal to the last bit."""

import dataclasses
import hashlib

import torch
from torch import Tensor, nn

__all__ = ["digest"]

LETTERS = 16


def digest(value: object) -> str:
    """16 hexadecimal digits for a tensor, a module, a number, text, None, or a dataclass or mapping of these."""
    found = hashlib.sha256()
    _add(found, value)
    return found.hexdigest()[:LETTERS]


def _add(found: "hashlib._Hash", value: object) -> None:
    """Feed a value: its kind, and what it holds."""
    found.update(type(value).__qualname__.encode() + b"(")
    if isinstance(value, Tensor):
        table = value.detach().cpu().contiguous()
        found.update(f"{table.dtype} {list(table.shape)} ".encode())
        found.update(table.reshape(-1).view(torch.uint8).numpy().tobytes())
    elif isinstance(value, nn.Module):
        _add(found, dict(value.state_dict()))
    elif isinstance(value, dict):
        for name, entry in value.items():
            found.update(f"{name}=".encode())
            _add(found, entry)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _add(found, {field.name: getattr(value, field.name) for field in dataclasses.fields(value)})
    else:
        found.update(repr(value).encode())
    found.update(b")")
