"""Names of states and actions, for figures, tables and messages; what is computed knows numbers alone.

A game may name the elements of each of its four sets: `sg_names`, `sl_names`, `ag_names`, `al_names`, one word or more
for each element, no two alike. Where agents are of several types, `sl_names` names the states without the type
(`games.types`), and a message adds the type. What has no names is called by its number.

**Places.**  Where S_g, S_l and A_g bear the same names, they are the same things: the global agent stands in one of the
local states and chooses where to go, and local agents may go where it stands. The warehouse's zones are such *places*.
Rules that read s_g or a_g as a local state ("go to where most are", "walk to s_g"), and how often a_g is the state that
most agents are in, mean something there and nowhere else (`policies.rules`). Equal sizes alone say nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from altmarl_torch.errors import GameError

__all__ = ["NAMES", "Named"]

NAMES = {"sg": "sg_names", "sl": "sl_names", "ag": "ag_names", "al": "al_names"}
"""The attribute with the names of each set."""

LONGEST = 60
"""Characters of a name at most: it stands in figures and tables."""

Names = tuple[str, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Named:
    """The four sets' names, each None where a set has none (module docstring).

    Attributes:
        sg_names, sl_names, ag_names, al_names: a name for each global state, local state (without its type), global
            action and local action, in the order of their numbers; None: they are called by number.
    """

    sg_names: Names | None = None
    sl_names: Names | None = None
    ag_names: Names | None = None
    al_names: Names | None = None

    @property
    def names(self) -> dict[str, Names]:
        """The names that there are, by `sg`, `sl`, `ag`, `al`."""
        found = {word: getattr(self, kept) for word, kept in NAMES.items()}
        return {word: names for word, names in found.items() if names is not None}

    @property
    def actions_are_states(self) -> bool:
        """Whether the global agent's actions are the local states (without types): they bear the same names."""
        return self.sl_names is not None and self.ag_names == self.sl_names

    @property
    def has_places(self) -> bool:
        """Whether global states, local states (without types) and global actions are the same things."""
        return self.actions_are_states and self.sg_names == self.sl_names

    @property
    def num_types(self) -> int:
        """How many types of agents there are."""
        raise NotImplementedError

    def name_of(self, word: str, index: int) -> str:
        """The name of an element of the set `word` (`sg`, `sl`, `ag`, `al`), or its number as text."""
        names = self.names.get(word)
        if names is None:
            return str(index)
        kind, number = divmod(index, len(names))
        return f"{names[number]}, type {kind}" if word == "sl" and self.num_types > 1 else names[number]

    @property
    def state_names(self) -> dict[str, Names]:
        """Names of every global and local state that has one, by `sg` and `sl`, those of types told apart."""
        sizes = {
            word: len(self.names[word]) * (self.num_types if word == "sl" else 1)
            for word in ("sg", "sl")
            if word in self.names
        }
        return {word: tuple(self.name_of(word, index) for index in range(size)) for word, size in sizes.items()}

    def _unfit_names(self, changes: Mapping[str, object]) -> list[str]:
        """Attributes whose names `changes` of tables (tensors, arrays or lists) or of the types leave no room for."""
        found = []
        for word, axis, name in (("sg", 0, "P_g"), ("ag", 1, "P_g"), ("sl", 0, "P_l"), ("al", 2, "P_l")):
            if word in self.names and name in changes:
                table: Any = changes[name]
                shape = np.shape(table)
                size = shape[axis] if len(shape) > axis else 0
                types = getattr(changes.get("initial"), "num_types", self.num_types) if word == "sl" else 1
                if size != len(self.names[word]) * types:
                    found.append(NAMES[word])
        return found

    def _check_names(self, sizes: Mapping[str, int]) -> None:
        """Store each set's names as a tuple; GameError where they are not one for each element, all different."""
        for word, kept in NAMES.items():
            given = getattr(self, kept)
            if given is not None:
                object.__setattr__(self, kept, _checked(kept, given, sizes[word]))


def _checked(kept: str, given: object, size: int) -> Names:
    """The names of a set of so many elements."""
    if isinstance(given, str) or not isinstance(given, Sequence) or not all(isinstance(name, str) for name in given):
        raise GameError(f"{kept} must be a list of {size} names, or None; not {given!r}")
    names = tuple(given)
    if len(names) != size:
        raise GameError(f"{kept} has {len(names)} names, but there are {size} to be named")
    for number, name in enumerate(names):
        if not name.strip() or not name.isprintable() or len(name) > LONGEST:
            raise GameError(f"{kept}[{number}] must be 1 to {LONGEST} printable characters, not {name!r}")
        if name in names[:number]:
            raise GameError(f"{kept} has {name!r} twice, at {names.index(name)} and {number}")
    return names
