"""The four tables of a game: their axes, the sizes that they must agree on, and functions tabulated into them.

    table   axes                    meaning
    P_g     [sg, ag, sg']           law of s_g' given (s_g, a_g)
    P_l     [sl, sg, al, sl']       law of s_l' given (s_l, s_g, a_l)
    r_g     [sg, ag]                reward per macro step
    r_l     [sl, sg, al]            reward per macro step

A prime marks the next state; it counts the same set as the unprimed word.

For a fixed pi_l(a_l | s_l, s_g) a local agent is a Markov chain driven by s_g. Its law and its reward are the averages
over its own action (Eq. 5, 6),

    P_l_pi[sl, sg, sl'] = sum_al pi_l[sl, sg, al] P_l[sl, sg, al, sl'],
    r_l_pi[sl, sg]      = sum_al pi_l[sl, sg, al] r_l[sl, sg, al],

which is all that the global agent's best response needs to know of the local agents (`induce`).
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from einops import einsum
from torch import Tensor

from altmarl_torch.errors import GameError, PolicyError
from altmarl_torch.support.tables import (
    as_float64,
    as_integer,
    as_law,
    as_table,
    check_entries,
)

__all__ = ["TABLE_AXES", "InducedTables", "check_sizes", "induce", "tabulate_all"]

TABLE_AXES = {"P_g": "sg ag sg'", "P_l": "sl sg al sl'", "r_g": "sg ag", "r_l": "sl sg al"}
"""The axes of a game's tables."""


def check_sizes(tables: Mapping[str, Tensor], axes: Mapping[str, str]) -> None:
    """Refuse tables that disagree on the size of a set, naming both and the axis; sl and sl' count the same set."""
    seen: dict[str, tuple[str, str, int]] = {}
    for name, table in tables.items():
        for word, size in zip(axes[name].split(), table.shape, strict=True):
            first, first_word, first_size = seen.setdefault(word.rstrip("'"), (name, word, size))
            if size != first_size:
                raise GameError(
                    f"axis {word} of {name} {_shape(table, axes[name])} has {size} entries, "
                    f"but axis {first_word} of {first} {_shape(tables[first], axes[first])} has {first_size}"
                )


def _shape(table: Tensor, axes: str) -> str:
    """The axes with their sizes: `[sg=2, ag=3, sg'=2]`."""
    return f"[{', '.join(f'{word}={size}' for word, size in zip(axes.split(), table.shape, strict=True))}]"


def tabulate_all(functions: Mapping[str, Callable[..., object]], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The tables of functions of indices, by name; `sizes` are the numbers of `sg`, `sl`, `ag` and `al`.

    Raises:
        GameError: a size is no whole number above zero, or as `tabulate`.
        SizeError: as `tabulate`.
    """
    for word, size in sizes.items():
        as_integer(f"num_{word}", size, 1, math.inf, GameError)
    return {name: tabulate(name, function, TABLE_AXES[name], sizes) for name, function in functions.items()}


def tabulate(name: str, function: Callable[..., object], axes: str, sizes: Mapping[str, int]) -> Tensor:
    """Call `function` once per combination of the unprimed axes and stack what it returns into a table.

    Raises:
        GameError: a call raised, or did not return one number per element of the primed axis (one number if none is).
        SizeError: the table would have more than `LARGEST_TABULATED` entries.
    """
    words = axes.split()
    inputs = [word for word in words if not word.endswith("'")]
    shape = [sizes[word.rstrip("'")] for word in words]
    check_entries(name, *shape)
    outcome = shape[len(inputs) :]
    every = itertools.product(*(range(sizes[word]) for word in inputs))
    rows = [_call(name, function, dict(zip(inputs, indices, strict=True)), outcome) for indices in every]
    return torch.stack(rows).reshape(shape)


def _call(name: str, function: Callable[..., object], arguments: dict[str, int], outcome: list[int]) -> Tensor:
    """One row of a tabulated function, `[outcome]` or a scalar."""
    call = f"{name}({', '.join(f'{word}={index}' for word, index in arguments.items())})"
    try:
        value = function(*arguments.values())
    except Exception as cause:
        raise GameError(f"{call} raised {type(cause).__name__}: {cause}") from cause
    row = as_float64(call, value, GameError)
    if list(row.shape) != outcome:
        wanted = f"a law of {outcome[0]} numbers" if outcome else "one number"
        raise GameError(f"{call} returned an array of shape {list(row.shape)}; expected {wanted}")
    return row


class InducedTables(NamedTuple):
    """A local agent's chain and reward under a frozen pi_l (Eq. 5, 6)."""

    P_l_pi: Tensor  # [sl, sg, sl'], law of s_l' given (s_l, s_g)
    r_l_pi: Tensor  # [sl, sg], expected reward per macro step


def induce(P_l: Tensor, r_l: Tensor, pi_l: Tensor) -> InducedTables:
    """Average the local tables over the local action (Eq. 5, 6), once `pi_l [sl, sg, al]` is checked.

    Raises:
        PolicyError: pi_l has another shape or device than the tables, or a row that is no law.
    """
    law = as_table("pi_l", pi_l, "sl sg al", PolicyError)
    if law.shape != r_l.shape or law.device != r_l.device:
        found, wanted = f"{list(law.shape)} on {law.device}", f"{list(r_l.shape)} on {r_l.device}"
        raise PolicyError(f"pi_l has shape {found}; this game needs [sl, sg, al] = {wanted}")
    law = as_law("pi_l", law, "sl sg al", PolicyError)
    return InducedTables(
        P_l_pi=einsum(law, P_l, "sl sg al, sl sg al sl_next -> sl sg sl_next"),
        r_l_pi=einsum(law, r_l, "sl sg al, sl sg al -> sl sg"),
    )
