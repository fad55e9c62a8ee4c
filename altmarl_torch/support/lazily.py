"""Names of a package that are imported when they are first asked for (PEP 562), so that importing it costs nothing.

Torch takes a second or two to load. A package whose `__init__` names its public objects with `lazy` leaves that to
whoever uses one of them; the same imports stand there once more under `TYPE_CHECKING`, for readers, type checkers and
the documentation (`tests/support/test_lazily.py` compares the two).
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, homes: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` of a package.

    Args:
        package: its full name.
        homes: the names, by the module below the package that holds them; a module of the package that is itself a
            public name stands under "".
    """
    home_of = {name: home for home, names in homes.items() for name in names}

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        if not home:
            return importlib.import_module(f"{package}.{name}")
        value = getattr(importlib.import_module(f"{package}.{home}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home_of})

    return get, names
