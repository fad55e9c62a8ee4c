"""Named arrays in one file: versioned ``.npz``, written whole or not at all, read without running code.

A ``.npz`` file is a zip archive of numpy arrays.  Two entries come first in every file that this library writes:
``format``, the kind of content, and ``version``, an integer that grows when the entries change their meaning.

* **Writing** refuses Python objects, which only pickle could store.  It goes to a fresh file in the same folder, which
  then takes the place of the target in one step (``os.replace``): a reader, or a run killed half-way, sees the old file
  or the new one, never a torn one.  The path is used as given; nothing is appended to it.
* **Reading** never unpickles (``allow_pickle=False``), so a file from a stranger cannot run code.  Arrays are read in
  full before anything is believed about them.  A damaged zip raises many kinds of exception from several modules, hence
  the broad ``except``: whatever went wrong inside the file becomes a :class:`~altmarl_torch.errors.FileFormatError`
  with the path and the cause.  What went wrong *outside* it (no such file, no permission) stays the ``OSError`` that it
  was.
"""

import os
import uuid
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from altmarl_torch.errors import ArgumentError, FileFormatError

__all__ = ["read_npz", "write_npz"]


def write_npz(path: str | os.PathLike[str], kind: str, version: int, entries: Mapping[str, ArrayLike]) -> None:
    """Write ``entries`` to exactly ``path``, atomically, marked as ``kind`` in the given ``version``.

    Raises:
        ArgumentError: an entry is no array of numbers or text.
        OSError: the folder is missing or not writable; an existing file at ``path`` is then untouched.
    """
    target = Path(path)
    scratch = target.with_name(f".{uuid.uuid4().hex}.tmp")
    arrays = {"format": np.asarray(kind), "version": np.asarray(version)}
    arrays.update({name: np.asarray(value) for name, value in entries.items()})
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ArgumentError(f"the entries {', '.join(objects)} hold Python objects; expected numbers or text")
    try:
        with scratch.open("xb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # a keyword named allow_pickle would be a bool
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def read_npz(
    path: str | os.PathLike[str], kind: str, version: int, names: Sequence[str], optional: Sequence[str] = ()
) -> dict[str, NDArray[np.generic]]:
    """Read the arrays ``names`` from a file that :func:`write_npz` wrote with this ``kind`` and ``version``.

    Of the entries whose names begin like one of ``optional``, those that are there come along.

    Raises:
        FileNotFoundError: there is no such file (any other ``OSError`` of opening it is passed on as well).
        FileFormatError: the file is no archive, is damaged, is of another kind or version, or lacks an entry.
    """
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise FileFormatError(f"{path} is no readable .npz archive: it is not a zip file, or cut short")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files}
        except Exception as cause:
            raise FileFormatError(f"{path} is no readable .npz archive: {type(cause).__name__}: {cause}") from cause
    _check_label(path, arrays, "format", kind)
    _check_label(path, arrays, "version", version)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileFormatError(f"{path} lacks the entries {', '.join(missing)}; format {kind!r} has {', '.join(names)}")
    return {name: array for name, array in arrays.items() if name in names or name.startswith(tuple(optional))}


def _check_label(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[np.generic]], label: str, expected: str | int
) -> None:
    """Compare a 0-d label entry with what this reader knows."""
    found = arrays[label].tolist() if label in arrays else None
    if found != expected:
        raise FileFormatError(f"{path} has {label} {found!r}; this reader knows {label} {expected!r}")
