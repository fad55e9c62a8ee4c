"""Results for other people's tools: as JSON's types, and as a table for notebooks, in which every text is escaped."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from html import escape
from pathlib import PurePath
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["as_html", "as_plain", "brief", "in_columns"]

LONGEST = 120
"""Characters of a field that is shown whole."""


def as_plain(value: Any) -> Any:
    """A value as JSON has it: tensors and arrays as lists, records by field, numbers that are not finite as None."""
    if isinstance(value, Enum):
        return as_plain(value.value)
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return as_plain(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): as_plain(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, PurePath) else value


def in_columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows by name as columns, in the order in which their names first occur; None where a row lacks one."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def brief(record: Any) -> str:
    """A record in a line: tensors and arrays by their shape, long collections by their length; a `__repr__`."""
    shown = (field for field in dataclasses.fields(record) if field.repr)
    facts = ", ".join(f"{field.name}={_word(getattr(record, field.name))}" for field in shown)
    return f"{type(record).__name__}({facts})"


def _word(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{type(value).__name__}{list(value.shape)}"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    if isinstance(value, Mapping | list | tuple) and len(text) > LONGEST:
        return f"<{len(value)} entries>"
    return text if len(text) <= LONGEST and "\n" not in text else f"<{type(value).__name__}>"


def as_html(title: str, facts: Mapping[str, Any], columns: Mapping[str, Sequence[Any]] | None = None) -> str:
    """A title, a table of facts, and one of columns of equal length, escaped."""
    head = "".join(
        f"<tr><th style='text-align:left'>{_cell(name)}</th><td>{_cell(facts[name])}</td></tr>" for name in facts
    )
    text = f"<div><strong>{_cell(title)}</strong><table>{head}</table>"
    if columns:
        names = "".join(f"<th>{_cell(name)}</th>" for name in columns)
        rows = zip(*columns.values(), strict=True)
        body = "".join(f"<tr>{''.join(f'<td>{_cell(entry)}</td>' for entry in row)}</tr>" for row in rows)
        text += f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>"
    return f"{text}</div>"


def _cell(value: Any) -> str:
    """One entry as text: six digits of a number, nothing for None."""
    value = value.value if isinstance(value, Enum) else value
    if value is None:
        return ""
    return escape(f"{value:.6g}" if isinstance(value, float) else str(value))
