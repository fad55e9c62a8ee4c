"""Text files that are whole or not there, and JSON that holds no NaN.

A file is written beside its place, forced to the disk, and moved there in one step: a reader never meets half of one,
and a disk that is full, or a power cut, leaves the old one as it was.  JSON knows no NaN and no infinity: what is
undefined or was not computed is ``null``.  Reading believes nothing: what is no JSON object is a
:class:`~altmarl_torch.errors.FileFormatError` that names the file.
"""

import json
import math
import os
import uuid
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from altmarl_torch.errors import FileFormatError

__all__ = ["parse_object", "read_json", "to_json", "write_json", "write_text"]


def write_text(path: Path, text: str) -> None:
    """Write beside ``path``, then move there in one step.

    Raises:
        OSError: it cannot be written; what was at ``path`` before is still there.
    """
    scratch = path.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with scratch.open("w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as cause:
        if cause.errno is not None and cause.filename is None:  # as a full disk leaves it
            raise OSError(cause.errno, cause.strerror, str(path)) from cause
        raise
    finally:
        scratch.unlink(missing_ok=True)


def to_json(value: object, indent: int | None = None) -> str:
    """JSON text: enums by value, tuples as lists, NaN and infinity as null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, to_json(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        FileFormatError: it is no UTF-8, no JSON, or no object.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as cause:
        raise FileFormatError(f"{path} is no UTF-8 text: {cause}") from cause
    return parse_object(text, str(path))


def parse_object(text: str, place: str) -> dict[str, Any]:
    """The object that JSON text holds; ``place`` names it in the message of a :class:`FileFormatError`."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as cause:
        raise FileFormatError(f"{place} is no JSON: {cause}") from cause
    except RecursionError:
        raise FileFormatError(f"{place} is no JSON that can be read: it is nested too deeply") from None
    if not isinstance(value, dict):
        raise FileFormatError(f"{place} holds a JSON {type(value).__name__}; expected an object")
    return value


def _plain(value: object) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
