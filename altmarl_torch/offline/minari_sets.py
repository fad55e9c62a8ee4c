"""Trajectories as a Minari data set, and back (extra `minari`): the same arrays under Gymnasium's spaces.

    observations  {"s_g": Discrete, "s_l": MultiDiscrete of k}, T + 1 of an episode
    actions       {"a_g": Discrete, "a_l": MultiDiscrete of k}, T
    rewards       r_g + (1/k) sum_i r_l, what the k-agent system earned
    infos         {"r_g": [T + 1], "r_l": [T + 1, k]}, the first of them zero, as infos begin with the reset's
    truncations   the last step of each episode; nothing terminates

gamma, n and the names lie in the data set's metadata under "altmarl". The storage is HDF5: Minari's other, Arrow,
does not read scalar infos back (0.5.4).
"""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.extras import require

__all__ = ["read_minari", "write_minari"]

KEY, FORMAT = "altmarl", "hdf5"
SPACES = {"s_g": "num_sg", "s_l": "num_sl", "a_g": "num_ag", "a_l": "num_al"}
OBSERVED, DONE = ("s_g", "s_l"), ("a_g", "a_l")

Arrays = Mapping[str, Any]


def write_minari(dataset_id: str, arrays: Arrays, scalars: Arrays, about: Arrays) -> Any:
    """Make a local data set of arrays `[E, ...]` and scalars by name (`Trajectories`); the data set.

    Raises:
        ArgumentError: the id is none, or there is a data set of that id.
    """
    minari, _ = require("minari", "minari"), require("h5py", "minari")
    if dataset_id in minari.list_local_datasets():
        raise ArgumentError(f"there is a data set {dataset_id!r} already; name another, or minari.delete_dataset it")
    told = {"algorithm_name": scalars["behaviour"], "description": f"{scalars['name']}, by {scalars['behaviour']}"}
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of metadata that nobody has to give
            made = minari.create_dataset_from_buffers(
                dataset_id,
                [_episode(arrays, number) for number in range(len(arrays["a_g"]))],
                observation_space=_space(arrays, scalars, OBSERVED),
                action_space=_space(arrays, scalars, DONE),
                data_format=FORMAT,
                **told | dict(about),
            )
    except (ValueError, TypeError) as cause:
        raise ArgumentError(f"Minari makes no data set {dataset_id!r}: {cause}") from cause
    made.storage.update_metadata({KEY: dict(scalars)})
    return made


def _space(arrays: Arrays, scalars: Arrays, names: tuple[str, str]) -> Any:
    """A state or action of the coordinator, and one for each of the k agents."""
    spaces, k = require("gymnasium.spaces", "envs"), arrays["a_l"].shape[2]
    of_one, of_all = names
    many = spaces.MultiDiscrete([scalars[SPACES[of_all]]] * k)
    return spaces.Dict({of_one: spaces.Discrete(scalars[SPACES[of_one]]), of_all: many})


def _episode(arrays: Arrays, number: int) -> Any:
    """One episode as Minari wants it."""
    buffer = require("minari.data_collector", "minari").EpisodeBuffer
    r_g, r_l = arrays["r_g"][number], arrays["r_l"][number]
    steps = len(r_g)
    return buffer(
        id=number,  # Minari joins episodes of one number
        observations={name: arrays[name][number].astype(np.int64) for name in OBSERVED},
        actions={name: arrays[name][number].astype(np.int64) for name in DONE},
        rewards=r_g + r_l.mean(-1),
        terminations=np.zeros(steps, np.bool_),
        truncations=np.arange(steps) == steps - 1,
        infos={"r_g": np.append(0.0, r_g), "r_l": np.concatenate([np.zeros_like(r_l[:1]), r_l])},
    )


def read_minari(dataset: Any, given: Arrays) -> dict[str, Any]:
    """Arrays `[E, ...]` and scalars by name of a data set, or of the local one of that id; what is `given` goes before.

    Raises:
        ArgumentError: there is no such data set, it has other spaces, lacks what is needed, or has episodes of
            different lengths.
    """
    minari = require("minari", "minari")
    if isinstance(dataset, str):
        if dataset not in minari.list_local_datasets():
            raise ArgumentError(f"there is no local data set {dataset!r}; minari.list_local_datasets() lists them")
        dataset = minari.load_dataset(dataset)
    scalars = _scalars(dataset, given)
    episodes = [_columns(episode) for episode in dataset.iterate_episodes()]
    if not episodes:
        raise ArgumentError(f"{dataset.id} holds no episodes")
    lengths = {len(episode["a_g"]) for episode in episodes}
    if len(lengths) > 1:
        raise ArgumentError(
            f"{dataset.id} has episodes of {min(lengths)} to {max(lengths)} steps; trajectories are of one length: "
            "cut them, or give their transitions to am.estimate"
        )
    return scalars | {name: np.stack([episode[name] for episode in episodes]) for name in episodes[0]}


def _columns(episode: Any) -> dict[str, Any]:
    """The arrays of one episode."""
    lacking = [name for name in ("r_g", "r_l") if name not in episode.infos]
    if lacking:
        raise ArgumentError(
            f"episode {episode.id} lacks infos {', '.join(lacking)}: what was earned globally and locally"
        )
    seen = {name: episode.observations[name] for name in OBSERVED} | {name: episode.actions[name] for name in DONE}
    return seen | {name: np.asarray(episode.infos[name])[1:] for name in ("r_g", "r_l")}


def _scalars(dataset: Any, given: Arrays) -> dict[str, Any]:
    """Sizes from the spaces; gamma, n and names from the metadata or the caller."""
    metadata, found = dataset.storage.metadata.get(KEY, {}), dict[str, Any]()
    for names, space in ((OBSERVED, dataset.observation_space), (DONE, dataset.action_space)):
        parts = dict(getattr(space, "spaces", {}))
        try:
            found |= {SPACES[names[0]]: int(parts[names[0]].n), SPACES[names[1]]: int(parts[names[1]].nvec.max())}
        except (KeyError, AttributeError, TypeError) as cause:
            wanted = f"a Dict of {names[0]} (Discrete) and {names[1]} (MultiDiscrete of k)"
            raise ArgumentError(f"{dataset.id} has the space {space}; expected {wanted}") from cause
    asked = {name: value for name, value in given.items() if value is not None}
    known = found | {name: metadata[name] for name in ("gamma", "n", "name", "behaviour") if name in metadata} | asked
    lacking = [name for name in ("gamma", "n") if name not in known]
    if lacking:
        raise ArgumentError(f"{dataset.id} does not say {' and '.join(lacking)}; give {' and '.join(lacking)}")
    return known
