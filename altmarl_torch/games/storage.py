"""Games in files: an `.npz` archive of the tables, the first state's law, laws of stochastic rewards, and names."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import Tensor

from altmarl_torch.errors import FileFormatError, GameError
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.naming import NAMES
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.reward_laws import law_from_arrays
from altmarl_torch.games.tables import TABLE_AXES
from altmarl_torch.support.npz import as_scalar, read_npz, write_npz

__all__ = ["LAWS", "naming_the_file", "read_game", "write_game"]

FILE_FORMAT, FILE_VERSION = "altmarl-game", 1
FILE_ENTRIES = (*TABLE_AXES, "gamma", "n", "name", "initial_sg", "initial_local_mean", "initial_strength")
NUM_TYPES = "initial_num_types"
"""An entry that files of earlier versions lack."""

LAWS = {"r_g": "r_g_law", "r_l": "r_l_law"}
"""Where the law of a stochastic reward is kept; in a file, the first part of its entries' names."""


class _NoGameError(GameError, FileFormatError):
    """A file whose tables are no game: wrong as a game, and as a file."""


def write_game(
    path: str | os.PathLike[str],
    tables: Mapping[str, Tensor],
    laws: Mapping[str, RewardLaw | None],
    initial: InitialLaw,
    scalars: Mapping[str, Any],
    names: Mapping[str, Sequence[str]],
) -> None:
    """Write a game's parts to exactly `path`, atomically; `names` by the entries that keep them.

    Raises:
        ArgumentError: a reward is a SampledReward; a file holds no functions.
    """
    arrays = {**tables, "initial_sg": initial.sg, "initial_local_mean": initial.local_mean}
    entries: dict[str, Any] = {name: table.cpu().numpy() for name, table in arrays.items()}
    entries |= {**scalars, "initial_strength": initial.strength, NUM_TYPES: initial.num_types}
    stored = {kept: law.arrays() for kept, law in laws.items() if law is not None}
    entries |= {f"{kept}/{name}": part for kept, parts in stored.items() for name, part in parts.items()}
    write_npz(path, FILE_FORMAT, FILE_VERSION, entries | {kept: np.array(given) for kept, given in names.items()})


def read_game(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The arguments of the `Game` that a file holds, on the CPU; no code in it is run.

    Raises:
        FileNotFoundError: there is no such file.
        FileFormatError: the file is not of this format or version, is damaged, or lacks an entry.
        GameError: an entry is malformed.
    """
    arrays: dict[str, Any] = {NUM_TYPES: np.asarray(1)}
    arrays |= read_npz(path, FILE_FORMAT, FILE_VERSION, FILE_ENTRIES, (NUM_TYPES, *LAWS.values(), *NAMES.values()))
    single = ("gamma", "n", "name", "initial_strength")
    scalars = {name: as_scalar(name, arrays[name], GameError) for name in single}
    strength = scalars.pop("initial_strength")
    num_types = as_scalar(NUM_TYPES, arrays[NUM_TYPES], GameError)
    initial = InitialLaw(arrays["initial_sg"], arrays["initial_local_mean"], strength, num_types)
    names = {kept: arrays[kept].tolist() for kept in NAMES.values() if kept in arrays}
    tables = {name: arrays[name] for name in TABLE_AXES}
    return tables | _stored_laws(arrays) | {"initial": initial} | scalars | names


@contextmanager
def naming_the_file(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name the file in a GameError about what it holds, which is then a FileFormatError as well."""
    try:
        yield
    except GameError as cause:
        raise _NoGameError(f"{path} holds no game: {cause}") from cause


def _stored_laws(arrays: Mapping[str, Any]) -> dict[str, RewardLaw]:
    """The laws that a file holds, by the table whose place they take."""
    laws = {}
    for name, kept in LAWS.items():
        parts = {key.removeprefix(f"{kept}/"): part for key, part in arrays.items() if key.startswith(f"{kept}/")}
        if parts:
            scalars = {key: as_scalar(key, parts[key], GameError) for key in ("kind", "low", "high") if key in parts}
            laws[name] = law_from_arrays(parts | scalars)
    return laws
