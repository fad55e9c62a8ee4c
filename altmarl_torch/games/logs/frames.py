"""Tables of other libraries as columns by name, none of which is imported: they are known by what they can do.

has columns by name      a mapping, pandas and polars frames, pyarrow tables and batches, structured arrays
can be streamed          whatever has `__arrow_c_stream__`, read by pyarrow (the extra `parquet`)
"""

from decimal import Decimal
from typing import Any

import numpy as np

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.extras import require

__all__ = ["known", "opened"]


def opened(table: Any) -> tuple[Any, list[str]]:
    """What `table[name]` can be asked of, and the names.

    Raises:
        ArgumentError: it has no columns by name, or is not computed yet.
        MissingExtraError: it is an Arrow stream, and pyarrow is not there to read it.
    """
    names = _names(table)
    if names is None and hasattr(table, "__arrow_c_stream__"):
        table = require("pyarrow", "parquet").table(table)
        names = _names(table)
    if names is None:
        raise ArgumentError(f"a log is a mapping of names to columns, not {type(table).__name__}")
    return table, names


def _names(table: Any) -> list[str] | None:
    """The columns by name; None where there are none."""
    if hasattr(table, "keys"):
        return [str(name) for name in table.keys()]  # noqa: SIM118  # a DataFrame is no Mapping
    if hasattr(table, "collect") and not hasattr(table, "__len__"):
        raise ArgumentError(f"a {type(table).__name__} is not computed yet: collect it, and give what comes out")
    for words in (getattr(getattr(table, "dtype", None), "names", None), getattr(table, "column_names", None)):
        if words:
            return list(words)
    named = hasattr(table, "__getitem__") and hasattr(table, "columns")
    return list(table.columns) if named and all(isinstance(name, str) for name in table.columns) else None


def known(entry: object) -> object:
    """An entry of a column of objects: what a nullable column has for none (None, pandas' NA) is no number."""
    if entry is None or str(entry) == "<NA>":
        return np.nan
    return float(entry) if isinstance(entry, Decimal) else entry
