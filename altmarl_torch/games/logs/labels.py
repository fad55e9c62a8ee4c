"""Words in place of numbers: a log whose states or actions are text ("charging", "idle") is numbered here.

The columns of one set (`sg` and `sg_next`, `sl` and `sl_next`, `ag`, `al`) are words where no cell of them is a number.
Their words, sorted, are numbered from 0 on, and become the names of the game that is counted from the log
(`games.naming`). A column with numbers and words is not guessed at: the first word is refused, as in any column.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from altmarl_torch.errors import LogError

__all__ = ["LABELLED", "is_word", "numbers_of", "texts_of"]

LABELLED = {"sg": ("sg", "sg_next"), "sl": ("sl", "sl_next"), "ag": ("ag",), "al": ("al",)}
"""The columns that show the elements of each set."""

NO_WORDS = frozenset({"", "na", "n/a", "nan", "null", "<na>", "true", "false"})
"""Text, in small letters, that names nothing."""


def numbers_of(
    columns: Mapping[str, object], source: str
) -> tuple[dict[str, NDArray[np.int64]], dict[str, tuple[str, ...]]]:
    """The columns of words, by name, as numbers, and the words of each set in the order of their numbers.

    Raises:
        LogError: of the two columns of a set one has words alone and the other numbers.
    """
    numbered, labels = dict[str, NDArray[np.int64]](), dict[str, tuple[str, ...]]()
    for word, names in LABELLED.items():
        texts = {name: _words(columns[name]) for name in names if name in columns}
        found = {name: text for name, text in texts.items() if text is not None}
        if not found:
            continue
        if len(found) < len(texts):
            other = next(name for name in texts if name not in found)
            raise LogError(f"{source}: column {next(iter(found))} has words and {other} has not; give both alike")
        every, place = np.unique(np.concatenate(list(found.values())), return_inverse=True)
        labels[word] = tuple(every.tolist())
        ends = np.cumsum([len(text) for text in found.values()])[:-1]
        numbered |= dict(zip(found, np.split(place.reshape(-1), ends), strict=True))
    return numbered, labels


def texts_of(columns: Mapping[str, NDArray[Any]], labels: Mapping[str, tuple[str, ...]]) -> dict[str, NDArray[np.str_]]:
    """The columns of numbers that stand for words, as words."""
    return {name: np.array(labels[word])[columns[name]] for word in labels for name in LABELLED[word]}


def is_word(cell: str) -> bool:
    """Whether a cell holds text that is no number, no truth value, and does not stand for an empty cell."""
    word = cell.strip().lower()
    if word in NO_WORDS:
        return False
    try:
        float(word.replace(",", "."))
    except ValueError:
        return True
    return False


def _words(column: object) -> NDArray[np.str_] | None:
    """The column's cells without surrounding blanks, if all are words; else None."""
    array = np.asarray(column)
    if isinstance(column, np.ma.MaskedArray):
        return None  # which is refused with the other columns
    if array.ndim != 1 or array.dtype.kind not in "OU" or not len(array):
        return None
    cells = array.tolist()
    if not all(isinstance(cell, str) and is_word(cell) for cell in cells):
        return None
    return np.array([cell.strip() for cell in cells])
