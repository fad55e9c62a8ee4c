"""The law of the first state, from the first steps of a log's episodes."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.logs.ends import Flags
from altmarl_torch.games.logs.transitions import Transitions

__all__ = ["FEWEST_EPISODES", "first_state", "starts_of"]

Integers = NDArray[np.int64]

FEWEST_EPISODES = 30
"""Episodes that a log must have for the law of the first state to be read off it."""


def first_state(log: Transitions, sizes: Mapping[str, int], met: Flags) -> InitialLaw:
    """The law of the first state, from the first steps of many episodes, or uniform over what was met."""
    starts = starts_of(log)
    if starts is None:
        sg, sl = met.any(0).astype(np.float64), met.any(1).astype(np.float64)
        return InitialLaw(torch.from_numpy(sg / sg.sum()), torch.from_numpy(sl / sl.sum()))
    rows, episode = starts
    held = np.zeros((episode.max() + 1, sizes["sl"]))
    np.add.at(held, (episode, log.sl[rows]), 1.0)
    agents = held.sum(-1)
    mean = held.sum(0) / held.sum()
    _, one_of_each = np.unique(episode, return_index=True)
    sg = np.bincount(log.sg[rows][one_of_each], minlength=sizes["sg"]) / len(one_of_each)
    pairs = (agents * (agents - 1)).sum()
    alike = (held * (held - 1)).sum() / pairs if pairs else 0.0
    chance = (mean**2).sum()
    strength = (1 - chance) / (alike - chance) - 1 if alike > chance else math.inf
    return InitialLaw(torch.from_numpy(sg), torch.from_numpy(mean), max(strength, 1e-3))


def starts_of(log: Transitions) -> tuple[Integers, Integers] | None:
    """The rows of the first step of each episode, and the episodes' numbers from 0; None where there are too few."""
    if log.episode is None or log.step is None:
        return None
    names, episode = np.unique(log.episode, return_inverse=True)
    if len(names) < FEWEST_EPISODES:
        return None
    first = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(first, episode, log.step)
    rows = np.flatnonzero(log.step == first[episode])
    return rows, episode[rows]
