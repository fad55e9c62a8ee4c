r"""Off-policy Q-hat_k learning: Eq. 46 along trajectories of any behaviour policy (Appendix E), on tables over counts.

A trajectory of the k-agent game meets x_t = (s_g, h), takes a_t and earns r_t = r_g + (1/k) sum_i r_l. One entry moves
per step,

    Q(x_t, a_t)  <-  Q(x_t, a_t) + alpha ( r_t + gamma max_a Q(x_{t+1}, a) - Q(x_t, a_t) ),                     (Eq. 46)

and no expectation is taken. The reward may be the one that was drawn: its mean is what Q learns. The fixed point is
that of T-hat_k (`bellman.adapted_bellman`) under the local policy that acted.

**The order of updates.** One trajectory is learned from in time order, as printed. E parallel ones are learned from
side by side: in step t all E targets are read from the same Q; then an entry that j of them met moves to the *mean* of
their targets as far as j updates go, by 1 - (1 - alpha_1) ... (1 - alpha_j). (One after the other would be a loop over
all E T transitions.) For E = 1 the two are the same. A pass over the data takes T steps, and further passes go on from
there: they replay the data, and as alpha falls tend to the fixed point of the game *counted* from it, in which every
transition weighs the same, whatever step it was made in (`replay`, which also finds it at once).

**Actions that the data never try.** Assumption E.1 rules them out; logs have them all the same. The maximum of Eq. 46
is then taken over the actions that were tried in x_{t+1}: the zero of an entry that no step moves would pass for a
promise wherever rewards are negative. A state that was only reached at the end of a trajectory counts as 0.

**Step sizes** alpha, of which u is the number of updates that the entry has had before, and t that of the steps:

    a number            constant: E|Q - Q*|^2 falls like (1 - (1-gamma) alpha/2)^t, to a floor proportional to alpha
                        (Theorem E.4, `theory.error_theorem_e4`)
    Polynomial(omega)   (1 + u)^-omega, 1/2 < omega < 1: converges (Even-Dar and Mansour 2003, who show why omega = 1
                        is much slower where gamma is near 1; so is 0.85, hence 0.6 by default)
    Harmonic(alpha, h)  alpha / (t + h): the decaying steps of Chen et al. (2021b); alpha must be large, of the order of
                        1/(mu_min (1-gamma)), and so must h

Every step is at most 1.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.offline.replay import Replay
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.support.tables import as_integer, as_number, as_table, check_entries, check_kind

__all__ = ["Harmonic", "Learned", "Polynomial", "StepSize", "q_learning", "read_step_size", "replay_to_the_end"]

LARGEST_WORK = 2**31
"""Updates of one call at most: about an hour of them."""

POINTS = 100
"""Points of the curve of errors."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class StepSizes(Protocol):
    """Step sizes that decay."""

    by_visits: bool

    def __call__(self, count: Floats) -> Floats:
        """alpha after so many updates of the entry, or so many steps."""


@dataclass(frozen=True)
class Polynomial:
    """alpha = (1 + u)^-omega after u updates of the entry.

    Raises:
        ArgumentError: omega is outside (0, 1].
    """

    omega: float = 0.6
    by_visits = True

    def __post_init__(self) -> None:
        as_number("omega", self.omega, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError)

    def __call__(self, count: Floats) -> Floats:
        """alpha after `count` updates of the entry."""
        return (1.0 + count) ** -self.omega


@dataclass(frozen=True)
class Harmonic:
    """alpha / (t + h) after t steps, at most 1.

    Raises:
        ArgumentError: alpha or h is not positive and finite.
    """

    alpha: float
    h: float
    by_visits = False

    def __post_init__(self) -> None:
        for name in ("alpha", "h"):
            as_number(name, getattr(self, name), "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)

    def __call__(self, count: Floats) -> Floats:
        """alpha after `count` steps."""
        return np.minimum(1.0, self.alpha / (count + self.h))


@dataclass(frozen=True)
class Constant:
    """One alpha for ever."""

    alpha: float
    by_visits = False

    def __call__(self, count: Floats) -> Floats:
        """alpha."""
        return np.full_like(count, self.alpha)


StepSize = float | Polynomial | Harmonic
"""A constant alpha in (0, 1], or a schedule."""


@dataclass(frozen=True, eq=False)
class Learned:
    """What Q-learning has found.

    Attributes:
        Q: `[sg, N, ag]`, h by rank; 0 at entries that no step met.
        visits: `[sg, N, ag]`, int64, how many transitions of the data begin with each (s_g, h, a_g), of one pass.
        updates: how many transitions were learned from, over all passes.
        error: a bound on |Q - Q*| at the entries that were met, Q* what replay of the same data tends to (`replay`).
        curve: (steps made, max |Q - oracle|), where an oracle was given.
    """

    Q: Tensor
    visits: Tensor
    updates: int
    error: float
    curve: tuple[tuple[int, float], ...] = ()


def read_step_size(step_size: object) -> StepSizes:
    """A step size as a schedule.

    Raises:
        ArgumentError: it is none of a number in (0, 1], Polynomial and Harmonic.
    """
    if isinstance(step_size, Polynomial | Harmonic):
        return step_size
    allowed = "(0, 1], or Polynomial(omega) or Harmonic(alpha, h)"
    return Constant(as_number("step_size", step_size, allowed, lambda x: 0 < x <= 1, ArgumentError))


def q_learning(
    data: Trajectories,
    *,
    step_size: StepSize = Polynomial(),
    passes: int = 1,
    oracle: Tensor | None = None,
) -> Learned:
    """Learn Q-hat_k from trajectories by Eq. 46, from Q = 0 (module docstring).

    Args:
        data: what a behaviour policy did.
        step_size: alpha, constant or decaying.
        passes: how often the data are gone through.
        oracle: `[sg, N, ag]`, the values to which a curve of errors is recorded.

    Raises:
        ArgumentError: an argument is outside its range.
        SizeError: the counts are too many to list, or the table has more than 2^25 entries.
    """
    check_kind("data", data, Trajectories, "`collect` makes them")
    schedule = read_step_size(step_size)
    passes = as_integer("passes", passes, 1, LARGEST_WORK // data.a_g.size, ArgumentError)
    shape = (data.num_sg, data.simplex.size, data.num_ag)
    check_entries("Q", *shape)
    wanted = None if oracle is None else _read_oracle(oracle, shape)
    ranks = data.states
    learner = _Learner(data, ranks, schedule)
    curve = []
    for steps in learner.run(passes, 1 if wanted is None else POINTS):
        if wanted is not None:
            curve.append((steps, float(np.abs(learner.table.reshape(shape) - wanted).max())))
    visits = learner.visits.reshape(shape)
    Q = torch.from_numpy(learner.table.reshape(shape))
    error = Replay.of(data, ranks).error(Q.numpy())
    return Learned(Q, torch.from_numpy(visits), passes * data.a_g.size, error, tuple(curve))


def replay_to_the_end(data: Trajectories) -> Learned:
    """What `q_learning` tends to with passes without end and falling steps, to eight digits (`replay`).

    Raises:
        SizeError: the counts are too many to list, or the table has more than 2^25 entries.
    """
    check_kind("data", data, Trajectories, "`collect` makes them")
    shape = (data.num_sg, data.simplex.size, data.num_ag)
    check_entries("Q", *shape)
    ranks = data.states
    Q, error, sweeps = Replay.of(data, ranks).solve()
    entries = ranks[:, :-1] * data.num_ag + data.a_g
    visits = np.bincount(entries.ravel(), minlength=Q.size).reshape(shape)
    return Learned(torch.from_numpy(Q), torch.from_numpy(visits), sweeps * data.a_g.size, error)


def _read_oracle(oracle: Tensor, shape: tuple[int, int, int]) -> Floats:
    table = as_table("oracle", oracle, "sg h ag", ArgumentError)
    if tuple(table.shape) != shape:
        raise ArgumentError(f"oracle has shape {list(table.shape)}; these data need [sg, h, ag] = {list(shape)}")
    numbers: Floats = table.cpu().numpy()
    return numbers


class _Learner:
    """The table on its way."""

    def __init__(self, data: Trajectories, ranks: Integers, schedule: StepSizes) -> None:
        self.gamma, self.schedule = data.gamma, schedule
        entries = (ranks[:, :-1] * data.num_ag + data.a_g).T  # [T, E], flat (s_g, h, a_g)
        order = entries.argsort(1, kind="stable")  # of the trajectories in a step, which changes nothing
        self.entries: Integers = np.take_along_axis(entries, order, 1)
        self.after: Integers = np.take_along_axis(ranks[:, 1:].T, order, 1)
        self.rewards: Floats = np.take_along_axis(data.rewards.T, order, 1)
        self.Q = np.zeros((data.num_sg * data.simplex.size, data.num_ag))
        self.visits = np.bincount(self.entries.ravel(), minlength=self.Q.size)
        tried = (self.visits > 0).reshape(self.Q.shape)
        self.untried = ~tried & tried.any(-1, keepdims=True)  # beside an action that was tried
        self.Q[self.untried] = -np.inf  # no maximum
        self.earlier = _earlier(self.entries) if schedule.by_visits else None  # [T, E]

    @property
    def table(self) -> Floats:
        """Q, with 0 at entries that no step moves."""
        return np.where(self.untried, 0.0, self.Q)

    def run(self, passes: int, points: int) -> Iterator[int]:
        """Learn from the data, and tell so many times how many steps have been made."""
        steps, trajectories = self.entries.shape
        make = self._one if trajectories == 1 else self._several
        every = -(-passes * steps // points)
        for begin in range(0, passes * steps, every):
            end = min(begin + every, passes * steps)
            while begin < end:  # a stretch may go over the end of the data
                stop = min(end, (begin // steps + 1) * steps)
                make(begin, slice(begin % steps, begin % steps + stop - begin))
                begin = stop
            yield end

    def _several(self, done: int, rows: slice) -> None:
        """Steps of trajectories side by side: all targets from the same Q, then each entry goes to the mean of its."""
        flat, rates = self.Q.reshape(-1), self._rates(done, rows)
        for entries, after, rewards, alpha in zip(
            self.entries[rows], self.after[rows], self.rewards[rows], rates, strict=True
        ):
            targets = rewards + self.gamma * self.Q[after].max(-1)
            first = np.flatnonzero(np.diff(entries, prepend=-1))  # equal entries stand side by side
            mean = np.add.reduceat(targets, first) / np.diff(first, append=len(entries))
            left = np.multiply.reduceat(1.0 - alpha, first)  # of the old value, after as many updates
            met = entries[first]
            flat[met] += (1.0 - left) * (mean - flat[met])

    def _one(self, done: int, rows: slice) -> None:
        """Steps of one trajectory: numbers in lists, which Python reads faster than arrays, and each row's maximum.

        A row's maximum changes with the entry that moved; it is searched for only where that entry held it and fell.
        """
        width, gamma = self.Q.shape[1], self.gamma
        Q, best = self.Q.ravel().tolist(), self.Q.max(-1).tolist()
        columns = (self.entries[rows], self.after[rows], self.rewards[rows], self._rates(done, rows))
        for entry, x_next, reward, rate in zip(*(column[:, 0].tolist() for column in columns), strict=True):
            old = Q[entry]
            Q[entry] = new = old + rate * (reward + gamma * best[x_next] - old)
            x = entry // width
            if new >= best[x]:
                best[x] = new
            elif old == best[x]:
                best[x] = max(Q[x * width : (x + 1) * width])
        self.Q[:] = np.reshape(Q, self.Q.shape)

    def _rates(self, done: int, rows: slice) -> Floats:
        """alpha of every transition of these rows `[t, E]`, after `done` steps in all, by visits or by time."""
        if self.earlier is None:
            steps, trajectories = self.entries[rows].shape
            alpha = self.schedule(np.arange(done, done + steps, dtype=np.float64))
            return np.broadcast_to(alpha[:, None], (steps, trajectories))
        passes = done // len(self.entries)
        return self.schedule((passes * self.visits[self.entries[rows]] + self.earlier[rows]).astype(np.float64))


def _earlier(entries: Integers) -> Integers:
    """How often each entry `[T, E]` was met before, step by step and within a step by trajectory: `[T, E]`."""
    flat = entries.ravel()
    order = flat.argsort(kind="stable")
    grouped = flat[order]
    first = np.flatnonzero(np.diff(grouped, prepend=-1))
    times = np.diff(first, append=len(grouped))
    earlier = np.empty_like(flat)
    earlier[order] = np.arange(len(flat)) - np.repeat(first, times)
    return earlier.reshape(entries.shape)
