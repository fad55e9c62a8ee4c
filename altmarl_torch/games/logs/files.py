"""Files that logs come in, told apart by what is in them and not by their names.

    format    what it is
    CSV       text with a header, UTF-8 or UTF-16; commas, semicolons or tabs between the cells, as in the header
    gzip      one of the others, compressed
    npz       an archive of columns, as `Transitions.save` or `numpy.savez` write it (`support.npz`)
    Parquet   a table of columns, read by pyarrow (the extra `parquet`)

The first line of a CSV file may be `# altmarl-transitions 1`, the format and its version, which is taken for granted
where it is missing. Where semicolons or tabs stand between the cells, a comma within a number is its decimal point. A
quoted cell may hold line breaks; errors name the line on which a row begins, as an editor counts them from 1. An empty
cell, and the words that stand for one (`MISSING`), is what is not known, which a log may say of r_g alone.

Nothing else is guessed: other files are refused by a message that lists these.
"""

import csv
import gzip
import importlib
import io
import os
import reprlib
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.errors import ArgumentError, FileFormatError, LogError
from altmarl_torch.games.logs.labels import LABELLED, is_word
from altmarl_torch.games.logs.transitions import (
    COLUMNS,
    FILE_FORMAT,
    FILE_VERSION,
    LARGEST_INDEX,
    OPTIONAL,
    Table,
    Transitions,
)
from altmarl_torch.support.files import open_regular
from altmarl_torch.support.npz import read_npz
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.torch_state import door

__all__ = ["as_log", "is_archive", "read_log"]

LARGEST_CSV = 2**30
"""Bytes of the largest file that is read, and of the largest text that it unpacks to."""

FORMATS = "a log is CSV (commas, semicolons or tabs), the same compressed (.csv.gz), .npz or Parquet"
ZIP, GZIP, PARQUET = b"PK", b"\x1f\x8b", b"PAR1"
ELSEWHERE = {
    b"BZh": "bzip2; write it as .csv.gz",
    b"\xfd7zXZ": "xz; write it as .csv.gz",
    b"\x28\xb5\x2f\xfd": "Zstandard; write it as .csv.gz",
    b"\x89HDF": "HDF5; write it as CSV or Parquet",
    b"ARROW1": "Feather; write it as CSV or Parquet",
    b"SQLite format 3": "an SQLite database; write the table as CSV",
}
"""Files that people have, by how they begin, and what to do with them."""
DELIMITERS = ",;\t"
WORDED = frozenset(name for names in LABELLED.values() for name in names)
"""Columns that may hold words in place of numbers."""

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})
"""What stands in a cell that is empty, in small letters."""


def read_log(path: str | os.PathLike[str], sizes: Mapping[str, int | None] | None = None) -> Transitions:
    """Read a log from a file of any format of the module's page.

    Args:
        path: the file; its name does not matter.
        sizes: of the four sets, where they are known (`Transitions.sizes`).

    Raises:
        LogError: the log is malformed; the message names the first line at fault.
        FileFormatError: it is no file of a kind that is read; the message lists them.
        OSError: there is no such file, or it cannot be read.
    """
    if is_archive(path):
        log = _read_npz(path)
    else:
        with open_regular(path, LARGEST_CSV) as file:
            log = _read_bytes(file.readall(), str(path))
    log.sizes(sizes or {})
    return log


@door
def as_log(table: Table | str | os.PathLike[str], sizes: Mapping[str, int | None]) -> Transitions:
    """A log from a path or from columns; errors as for `read_log` and `Transitions.of`."""
    for word, size in sizes.items():
        if size is not None:
            as_integer(f"num_{word}", size, 1, LARGEST_INDEX, ArgumentError)
    return read_log(table, sizes) if isinstance(table, str | os.PathLike) else Transitions.of(table)


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like an npz archive, which a file says by itself."""
    with open_regular(path, 2**63) as file:
        return file.read(2) == ZIP


def _read_npz(path: str | os.PathLike[str]) -> Transitions:
    wanted = (*COLUMNS, *OPTIONAL)
    try:
        arrays: dict[str, Any] = dict(read_npz(path, FILE_FORMAT, FILE_VERSION, (), wanted, unpacked=LARGEST_CSV))
    except FileFormatError as cause:
        raise FileFormatError(f"{_said_of_archive(path, cause)}; {FORMATS}") from cause
    return Transitions.of(arrays, str(path))


def _said_of_archive(path: str | os.PathLike[str], cause: FileFormatError) -> str:
    """What an archive is that could not be read, where that is known."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return f"{path} is a damaged archive"
    if "[Content_Types].xml" in names:
        return f"{path} is an Excel workbook: save the sheet as CSV"
    if not any(name.endswith(".npy") for name in names):
        return f"{path} is an archive of {reprlib.repr(', '.join(names))}: unpack it"
    return str(cause)


def _read_bytes(content: bytes, source: str) -> Transitions:
    """The log in a file that is no archive."""
    if content.startswith(GZIP):
        content = _unpacked(content, source)
    if content.startswith(PARQUET):
        return Transitions.of(_read_parquet(content, source), source)
    for begins, what in ELSEWHERE.items():
        if content.startswith(begins):
            raise FileFormatError(f"{source} is {what}; {FORMATS}")
    return _read_csv(_text(content, source), source)


def _unpacked(content: bytes, source: str) -> bytes:
    """What gzip holds, if that is no more than `LARGEST_CSV`."""
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(LARGEST_CSV + 1)
    except (OSError, EOFError, zlib.error) as cause:
        raise FileFormatError(f"{source} is damaged: {cause}") from cause
    if len(unpacked) > LARGEST_CSV:
        raise FileFormatError(f"{source} unpacks to more than {LARGEST_CSV:,} bytes, the most that are read")
    return unpacked


def _read_parquet(content: bytes, source: str) -> dict[str, Any]:
    """The columns of a Parquet file that a log has."""
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError as cause:
        raise FileFormatError(
            f"{source} is a Parquet file, which pyarrow reads: pip install pyarrow, or write it as CSV"
        ) from cause
    try:
        table = parquet.read_table(io.BytesIO(content))
    except Exception as cause:
        raise FileFormatError(f"{source} is a damaged Parquet file: {cause}") from cause
    return {name: table[name].to_numpy() for name in table.column_names}


def _text(content: bytes, source: str) -> str:
    """The file's text, each line ended by one newline."""
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as cause:
        raise FileFormatError(f"{source} is no text in UTF-8 or UTF-16 ({cause.reason}); {FORMATS}") from cause
    if "\0" in text:
        raise FileFormatError(f"{source} is no text, it holds zero bytes; {FORMATS}")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _read_csv(text: str, source: str) -> Transitions:
    """A CSV file by numpy's reader, which is fast; where that stumbles, row by row."""
    lines = text.split("\n")
    names, begin, delimiter = _header(lines, source)
    wanted = [names.index(name) for name in (*COLUMNS, *OPTIONAL) if name in names]
    numbers = np.array([number for number in range(begin, len(lines)) if lines[number].strip()], dtype=np.int64)
    if not len(numbers):
        raise LogError(f"{source} holds no transitions: there is nothing below the header")
    table = None
    first = next(csv.reader([lines[numbers[0]]], delimiter=delimiter))
    worded = {index for index in wanted if names[index] in WORDED and index < len(first) and is_word(first[index])}
    too_long = any(line.count(delimiter) >= len(names) for line in lines[begin:])
    if '"' not in text and not worded and not too_long:  # a quoted cell may go over several lines
        rows = lines[begin:] if len(numbers) == len(lines) - begin else [lines[number] for number in numbers]
        try:
            table = list(np.loadtxt(rows, delimiter=delimiter, usecols=wanted, ndmin=2, comments=None).T)
        except ValueError:
            table = None
    if table is None:
        cells = {index: _word if index in worded else _number for index in wanted}
        numbers, table = _row_by_row("\n".join(lines[begin:]), begin, names, cells, delimiter, source)
    columns = dict(zip([names[index] for index in wanted], table, strict=True))
    return Transitions.of(columns, source, lines=numbers + 1)


def _header(lines: list[str], source: str) -> tuple[list[str], int, str]:
    """The columns' names, the index of the first line below them, and what stands between cells."""
    label = f"# {FILE_FORMAT} "
    begin = int(lines[0].startswith("#"))
    if begin and lines[0].strip() != f"{label}{FILE_VERSION}":
        raise LogError(f"{source}, line 1: {reprlib.repr(lines[0])}; expected {label}{FILE_VERSION!r}, or the header")
    if not any(line.strip() for line in lines[begin:]):
        raise LogError(f"{source} is empty; expected a header with the columns {', '.join(COLUMNS)}")
    delimiter = max(DELIMITERS, key=lines[begin].count)
    names = [name.strip() for name in next(csv.reader([lines[begin]], delimiter=delimiter))]
    place = f"{source}, line {begin + 1}"
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        found = reprlib.repr(", ".join(names))
        raise LogError(f"{place} lacks the columns {', '.join(missing)}; it has {found}; {FORMATS}")
    twice = [name for name in (*COLUMNS, *OPTIONAL) if names.count(name) > 1]
    if twice:
        raise LogError(f"{place} has the column {twice[0]} twice")
    return names, begin + 1, delimiter


def _row_by_row(
    text: str, begin: int, names: list[str], wanted: Mapping[int, Callable[..., Any]], delimiter: str, source: str
) -> tuple[NDArray[np.int64], list[NDArray[Any]]]:
    """The index of the line where each row begins, and the columns, each cell read by the function in `wanted`.

    The first line at fault is named.
    """
    numbers, table = [], []
    for number, cells in _rows(text, begin, delimiter, source):
        place = f"{source}, line {number + 1}"
        if len(cells) <= max(wanted) or any(cell.strip() for cell in cells[len(names) :]):
            raise LogError(f"{place} has {len(cells)} cells; the header has {len(names)}")
        numbers.append(number)
        table.append([read(cells[index], names[index], delimiter, place) for index, read in wanted.items()])
    return np.array(numbers, dtype=np.int64), [np.array(column) for column in zip(*table, strict=True)]


def _rows(text: str, begin: int, delimiter: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the index of the line on which each begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    while True:
        number = begin + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as cause:
            raise LogError(f"{source}, line {number + 1}: {cause}") from cause
        if any(cell.strip() for cell in cells):
            yield number, cells


def _word(cell: str, name: str, delimiter: str, place: str) -> str:
    if not is_word(cell):
        raise LogError(f"{place}: {name} is {reprlib.repr(cell)}; expected a word, as in the first row")
    return cell.strip()


def _number(cell: str, name: str, delimiter: str, place: str) -> float:
    word = cell.strip().lower()
    if word in MISSING:
        return np.nan
    if word in ("true", "false"):
        return float(word == "true")
    try:
        return float(word if delimiter == "," else word.replace(",", "."))
    except ValueError:
        raise LogError(f"{place}: {name} is {reprlib.repr(cell)}; expected a number") from None
