"""Named arrays in one file: versioned `.npz`, written whole or not at all, read without running code.

A `.npz` file is a zip archive of numpy arrays. Two entries come first in every file that this library writes:
`format`, the kind of content, and `version`, an integer that grows when the entries change their meaning.

**Writing** refuses Python objects, which only pickle could store. It goes to a fresh file in the same folder, which
then takes the place of the target in one step (`os.replace`): a reader, or a run killed half-way, sees the old file
or the new one, never a torn one. The path is used as given; nothing is appended to it.

**Reading** believes nothing, and asks in an order in which a file can cost no more than its own size in memory:

1. the file: a regular one, of at most 8 GiB;
2. the directory, which lists the entries: at most 1 MiB, about ten thousand names. Entries are stored as they are,
   since numpy compresses none (and what is not compressed is no zip bomb), unencrypted, under different names that
   lead nowhere else, and no two of them share a byte: so their sizes add up to no more than the file's;
3. the header of an array: at most 1024 characters, numbers or text, and a shape that accounts for every byte of the
   entry. An array of 10^12 numbers is refused here, before it is allocated, and so is one of Python objects, whose
   bytes would be a pickle;
4. its bytes, against their checksum.

Names are keys and never become paths. Damage raises many kinds of exception from several modules, hence the broad
`except`: whatever is wrong inside the file is a `FileFormatError` with the path and the
cause. What is wrong *outside* it (no such file, no permission) stays the `OSError` that it was.
"""

import io
import math
import os
import reprlib
import stat
import sys
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import ArrayLike, NDArray

from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.support.files import open_regular, whole
from altmarl_torch.support.scalars import ErrorType

__all__ = ["as_scalar", "kind_of", "read_npz", "write_npz"]

SUFFIX = ".npy"
LABELS = ("format", "version")

LARGEST_FILE = 2**33
"""Bytes of the largest file that is read; the largest policies have about 10^9."""

LARGEST_READ = 2**20
"""Bytes that are read at once, and so of the largest directory; an entry takes about a hundred."""

LARGEST_HEADER = 1024
"""Characters of an array's header; this library's have about a hundred."""

KINDS = "biufcSU"
"""numpy's letters for what an entry may hold: truth values, numbers, text."""

ENCRYPTED = 1
"""The bit of an entry's flags."""


def write_npz(path: str | os.PathLike[str], kind: str, version: int, entries: Mapping[str, ArrayLike]) -> None:
    """Write `entries` to exactly `path`, atomically, marked as `kind` in the given `version`.

    Raises:
        ArgumentError: an entry is no array of numbers or text, or has a name that `read_npz` would refuse.
        OSError: the folder is missing or not writable; an existing file at `path` is then untouched.
    """
    arrays = {"format": np.asarray(kind), "version": np.asarray(version)}
    arrays.update({name: np.asarray(value) for name, value in entries.items()})
    objects = [name for name, array in arrays.items() if array.dtype.hasobject]
    if objects:
        raise ArgumentError(f"the entries {', '.join(objects)} hold Python objects; expected numbers or text")
    misnamed = [name for name in arrays if not _is_plain(name)]
    if misnamed:
        raise ArgumentError(f"{misnamed[0]!r} is no name of an entry: printable words with '/' between them")
    with whole(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # a keyword named allow_pickle would be a bool


def read_npz(
    path: str | os.PathLike[str],
    kind: str,
    version: int,
    names: Sequence[str],
    optional: Sequence[str] = (),
    unpacked: int = 0,
) -> dict[str, NDArray[np.generic]]:
    """Read the arrays `names` from a file that `write_npz` wrote with this `kind` and `version`.

    Of the entries whose names begin like one of `optional`, those that are there come along. Compressed entries, which
    this library does not write, are read where they unpack to `unpacked` bytes in all at most.

    Raises:
        FileNotFoundError: there is no such file (any other `OSError` of opening it is passed on as well).
        FileFormatError: the file is no archive, is damaged or malicious, of another kind or version, or lacks an entry.
    """
    with _BriefReader(open_regular(path, LARGEST_FILE)) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                found = _directory(archive, unpacked)
                wanted = [name for name in found if name in (*LABELS, *names) or name.startswith(tuple(optional))]
                arrays = {name: _read_array(archive, name, found[name]) for name in wanted}
        except Exception as cause:
            said = str(cause) if isinstance(cause, FileFormatError) else f"{type(cause).__name__}: {cause}"
            raise FileFormatError(f"{path} is no readable .npz archive: {said[:500]}") from cause
    _check_label(path, arrays.pop("format", None), "format", kind)
    _check_label(path, arrays.pop("version", None), "version", version)
    missing = [name for name in names if name not in arrays]
    if missing:
        raise FileFormatError(f"{path} lacks the entries {', '.join(missing)}; format {kind!r} has {', '.join(names)}")
    return arrays


def kind_of(path: str | os.PathLike[str]) -> str:
    """The kind of content that an archive says it has; errors as for `read_npz`."""
    with _BriefReader(open_regular(path, LARGEST_FILE)) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return str(_read_array(archive, LABELS[0], _directory(archive, LARGEST_READ)[LABELS[0]]))
        except Exception as cause:
            raise FileFormatError(f"{path} is no readable .npz archive: {type(cause).__name__}: {cause}") from cause


def as_scalar(name: str, array: NDArray[np.generic], error: ErrorType) -> Any:
    """The one value that an entry holds, as Python has it; raise `error` if there are several."""
    if array.ndim:
        raise error(f"{name} must be one value, not an array of shape {list(array.shape)}")
    return array.tolist()


class _BriefReader(io.BufferedReader):
    """A file that gives little at once: `zipfile` takes in the directory, of whatever size, by one `read`."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, if they are few; or what is left, which `zipfile` asks for at the file's end only."""
        if size is not None and size > LARGEST_READ:
            raise FileFormatError(f"its directory takes {size:,} bytes; at most {LARGEST_READ:,} are read")
        return super().read(size)


def _directory(archive: zipfile.ZipFile, unpacked: int = 0) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, if all of them are such as `write_npz` makes."""
    entries: dict[str, zipfile.ZipInfo] = {}
    end = 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        name = info.orig_filename.removesuffix(SUFFIX)
        fault = _fault(info, unpacked) or ("it is there twice" if name in entries else "")
        if info.header_offset < end:
            fault = fault or "it shares bytes with another"
        if fault:
            raise FileFormatError(f"entry {reprlib.repr(info.orig_filename)}: {fault}")
        entries[name] = info
        unpacked -= info.file_size if info.compress_type else 0
        end = info.header_offset + zipfile.sizeFileHeader + len(info.orig_filename) + info.compress_size  # type: ignore[attr-defined]
    if end > archive.start_dir:
        raise FileFormatError("its entries take more bytes than the file has")
    return entries


def _fault(info: zipfile.ZipInfo, unpacked: int) -> str:
    """What is wrong with one line of the directory, in words."""
    name = info.orig_filename
    if not name.endswith(SUFFIX) or not _is_plain(name.removesuffix(SUFFIX)):
        return "no name of an array"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "it is a link or a folder"
    if info.compress_type == zipfile.ZIP_DEFLATED and unpacked:
        return "" if info.file_size <= unpacked else "it unpacks to more bytes than are read"
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        return "it is compressed; arrays are stored as they are"
    return "it is encrypted" if info.flag_bits & ENCRYPTED else ""


def _is_plain(name: str) -> bool:
    """Whether a name is made of printable words with `/` between them, and leads nowhere as a path."""
    return name.isprintable() and "\\" not in name and not {"", ".", ".."} & set(name.split("/"))


def _read_array(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> NDArray[np.generic]:
    """One array: its header, and if that is in order its content."""
    try:
        with archive.open(info) as file:
            _check_header(file, info.file_size)
        with archive.open(info) as file:
            array: NDArray[np.generic] = npy.read_array(file, allow_pickle=False, max_header_size=LARGEST_HEADER)
        _check_text(array)
    except FileFormatError as cause:
        raise FileFormatError(f"entry {name}: {cause}") from cause
    except Exception as cause:
        raise FileFormatError(f"entry {name}: {type(cause).__name__}: {cause}") from cause
    return array


def _check_header(file: Any, size: int) -> None:
    """Refuse an entry of `size` bytes whose header does not account for all of them."""
    version = npy.read_magic(file)
    if version != (1, 0):
        raise FileFormatError(f"an array of the format {version}; this reader knows (1, 0)")
    shape, _, dtype = npy.read_array_header_1_0(file, max_header_size=LARGEST_HEADER)
    if dtype.kind not in KINDS:
        raise FileFormatError("it holds Python objects or records; expected numbers or text")
    left = size - file.tell()
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != left:
        raise FileFormatError(f"{left:,} bytes are no array of {dtype} and shape {reprlib.repr(list(shape))}")
    if dtype.itemsize == 0 or math.prod(max(length, 1) for length in shape) > max(left, LARGEST_READ):
        raise FileFormatError(f"an array of {dtype} and shape {reprlib.repr(list(shape))} that holds nothing")


def _check_text(array: NDArray[np.generic]) -> None:
    """Refuse numbers that are no characters, of which Python can make no text."""
    if array.dtype.kind == "U":
        code = np.ravel(array, order="K").view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if bool(((code > sys.maxunicode) | ((code >= 0xD800) & (code < 0xE000))).any()):
            raise FileFormatError("its text holds numbers that are no characters")


def _check_label(
    path: str | os.PathLike[str], array: NDArray[np.generic] | None, label: str, expected: str | int
) -> None:
    """Compare a 0-d label entry with what this reader knows."""
    found = None if array is None else array.reshape(-1)[:10].tolist() if array.ndim else array.tolist()
    if found != expected:
        raise FileFormatError(f"{path} has {label} {reprlib.repr(found)}; this reader knows {label} {expected!r}")
