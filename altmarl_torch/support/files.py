"""Text files that are whole or not there, and JSON that holds no NaN.

A file is written beside its place, forced to the disk, and moved there in one step: a reader never meets half of one,
and a disk that is full, or a power cut, leaves the old one as it was. JSON knows no NaN and no infinity: what is
undefined or was not computed is `null`.

Reading believes nothing, and what it refuses is a `FileFormatError` that names the file:
what is no regular file (a pipe would never end), is too large to be one of ours, is no UTF-8, or no JSON object as the
standard has it, without NaN, infinity (a number beyond every float is one) and keys that are there twice.
"""

import errno
import hashlib
import io
import json
import math
import os
import reprlib
import stat
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from altmarl_torch.errors import ArgumentError, FileFormatError

__all__ = [
    "alone",
    "file_digest",
    "open_regular",
    "parse_object",
    "read_json",
    "read_text",
    "to_json",
    "whole",
    "write_json",
    "write_text",
]

LOCK = ".lock"
"""The file that is locked while somebody writes into a folder."""

LARGEST_TEXT = 2**26
"""Bytes of the largest text file that is read; a log of a hundred thousand updates has as many."""

LARGEST_OBJECT = 2**23
"""Characters of the largest JSON object; as Python objects they take up to twenty times as many bytes."""


def open_regular(path: str | os.PathLike[str], largest: int) -> io.FileIO:
    """Open a regular file of at most `largest` bytes for reading, without a buffer.

    Raises:
        FileFormatError: it is a folder, a pipe or a device, or is larger.
        OSError: there is no such file, or it cannot be read.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise FileFormatError(f"{path} is no regular file")
    if status.st_size > largest:
        raise FileFormatError(f"{path} has {status.st_size:,} bytes; at most {largest:,} are read")
    return open(path, "rb", buffering=0)


def read_text(path: str | os.PathLike[str], largest: int = LARGEST_TEXT) -> str:
    """The text that a file of at most `largest` bytes holds.

    Raises:
        FileFormatError: it is no regular file, too large, or no UTF-8.
        OSError: there is no such file, or it cannot be read.
    """
    with open_regular(path, largest) as file:
        content = file.readall()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as cause:
        raise FileFormatError(f"{path} is no UTF-8 text: {cause}") from cause


@contextmanager
def whole(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A new file to write into, beside `path`; at the end it is forced to the disk and moved there in one step.

    Raises:
        OSError: it cannot be written; what was at `path` before is still there.
    """
    target = Path(path)
    if not target.name:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    try:
        with scratch.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
    except OSError as cause:
        if cause.errno is not None and cause.filename is None:  # as a full disk leaves it
            raise OSError(cause.errno, cause.strerror, str(path)) from cause
        raise
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Nobody else writes into `folder` meanwhile; `doing` says what they would do.

    Raises:
        ArgumentError: somebody does.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ArgumentError(f"{folder} is being {doing} by another process") from None
    try:
        yield
    finally:
        lock.release()
        (folder / LOCK).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all: an OSError leaves what was there before."""
    with whole(path) as file:
        file.write(text.encode("utf-8"))


def to_json(value: object, indent: int | None = None) -> str:
    """JSON text: enums by value, tuples as lists, NaN and infinity as null."""
    return json.dumps(_plain(value), indent=indent, allow_nan=False)


def file_digest(path: str | os.PathLike[str]) -> str:
    """The SHA-256 digest of a file's content, in hexadecimal.

    Raises:
        OSError: there is no such file, or it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: Path, value: object) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, to_json(value, indent=2) + "\n")


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        FileFormatError: it is no regular file, too large, no UTF-8, no JSON, or no object.
        OSError: there is no such file, or it cannot be read.
    """
    return parse_object(read_text(path), str(path))


def parse_object(text: str, place: str) -> dict[str, Any]:
    """The object that JSON text holds; `place` names it in the message of a `FileFormatError`."""
    if len(text) > LARGEST_OBJECT:
        raise FileFormatError(f"{place} has {len(text):,} characters; at most {LARGEST_OBJECT:,} are read")
    try:
        value = json.loads(text, parse_float=_finite, parse_constant=_finite, object_pairs_hook=_unique)
    except RecursionError:
        raise FileFormatError(f"{place} is no JSON that can be read: it is nested too deeply") from None
    except ValueError as cause:  # no JSON, or an integer of thousands of digits
        raise FileFormatError(f"{place} is no JSON: {cause}") from cause
    if not isinstance(value, dict):
        raise FileFormatError(f"{place} holds a JSON {type(value).__name__}; expected an object")
    return value


def _finite(text: str) -> float:
    """A number with a point or an exponent, or one of the words NaN and Infinity, which Python takes for numbers."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is no finite number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, whose keys must differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"one of the keys {reprlib.repr([key for key, _ in pairs])} is there twice")
    return found


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
