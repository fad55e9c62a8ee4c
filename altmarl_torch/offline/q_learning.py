r"""Off-policy Q-hat_k learning: Eq. 46 along trajectories of any behaviour policy (Appendix E), on tables over counts.

A trajectory of the k-agent game meets x_t = (s_g, h), takes a_t and earns r_t = r_g + (1/k) sum_i r_l. One entry moves
per step,

    Q(x_t, a_t)  <-  Q(x_t, a_t) + alpha ( r_t + gamma max_a Q(x_{t+1}, a) - Q(x_t, a_t) ),                     (Eq. 46)

and no expectation is taken. The reward may be the one that was drawn: its mean is what Q learns. The fixed point is
that of T-hat_k (`bellman.adapted_bellman`) under the local policy that acted.

**The order of updates.** One trajectory is learned from in time order, as printed. E parallel ones are learned from
side by side: in step t all E targets are read from the same Q; then each entry that was met moves once, by the *mean*
of the targets of those that met it. (One after the other would be a loop over all E T transitions, and the mean moves
by the same alpha with less noise.) For E = 1 the two are the same. A pass over the data takes T steps, and further
passes go on from there: they replay the data, and tend to the fixed point of the game *counted* from it.

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
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.support.tables import as_integer, as_number, as_table, check_entries, check_kind

__all__ = ["Harmonic", "Learned", "Polynomial", "StepSize", "q_learning", "read_step_size"]

LARGEST_WORK = 2**31
"""Updates of one call at most: about an hour of them."""

POINTS = 100
"""Points of the curve of errors."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Schedule(Protocol):
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
        curve: (steps made, max |Q - oracle|), where an oracle was given.
    """

    Q: Tensor
    visits: Tensor
    updates: int
    curve: tuple[tuple[int, float], ...] = ()


def read_step_size(step_size: object) -> Schedule:
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
    learner = _Learner(data, schedule, passes)
    curve = []
    for steps in learner.run(passes, 1 if wanted is None else POINTS):
        if wanted is not None:
            curve.append((steps, float(np.abs(learner.table.reshape(shape) - wanted).max())))
    visits = np.bincount(learner.entries.ravel(), minlength=learner.Q.size).reshape(shape)
    Q = torch.from_numpy(learner.table.reshape(shape))
    return Learned(Q, torch.from_numpy(visits), passes * data.a_g.size, tuple(curve))


def _read_oracle(oracle: Tensor, shape: tuple[int, int, int]) -> Floats:
    table = as_table("oracle", oracle, "sg h ag", ArgumentError)
    if tuple(table.shape) != shape:
        raise ArgumentError(f"oracle has shape {list(table.shape)}; these data need [sg, h, ag] = {list(shape)}")
    numbers: Floats = table.cpu().numpy()
    return numbers


class _Learner:
    """The table on its way."""

    def __init__(self, data: Trajectories, schedule: Schedule, passes: int) -> None:
        states, self.gamma = data.states, data.gamma
        self.entries = (states[:, :-1] * data.num_ag + data.a_g).T.copy()  # [T, E], flat (s_g, h, a_g)
        self.after = states[:, 1:].T.copy()  # [T, E], flat (s_g, h)
        self.rewards = data.rewards.T.copy()  # [T, E]
        self.Q = np.zeros((data.num_sg * data.simplex.size, data.num_ag))
        tried = np.bincount(self.entries.ravel(), minlength=self.Q.size).reshape(self.Q.shape) > 0
        self.untried = ~tried & tried.any(-1, keepdims=True)  # beside an action that was tried
        self.Q[self.untried] = -np.inf  # no maximum
        self.updated = np.zeros(self.Q.size, np.int64)  # how often each entry was
        self.by_visits = schedule.by_visits
        self.rates = schedule(np.arange(self._largest_count(passes), dtype=np.float64))

    def _largest_count(self, passes: int) -> int:
        """How many step sizes will be asked for."""
        steps, trajectories = self.entries.shape
        if self.by_visits and trajectories == 1:
            return passes * int(np.bincount(self.entries.ravel()).max())
        return passes * int(steps)

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
                make(begin, begin % steps, stop - begin)
                begin = stop
            yield end

    def _several(self, done: int, first: int, steps: int) -> None:
        """Steps of trajectories side by side: all targets from the same Q, then the mean of each entry's."""
        flat = self.Q.reshape(-1)
        for t in range(first, first + steps):
            targets = self.rewards[t] + self.gamma * self.Q[self.after[t]].max(-1)
            met, which, times = np.unique(self.entries[t], return_inverse=True, return_counts=True)
            mean = np.bincount(which, targets) / times
            rate = self.rates[self.updated[met]] if self.by_visits else self.rates[done + t - first]
            flat[met] += rate * (mean - flat[met])
            self.updated[met] += 1

    def _one(self, done: int, first: int, steps: int) -> None:
        """Steps of one trajectory: numbers in lists, which Python reads faster than arrays, and each row's maximum.

        A row's maximum changes with the entry that moved; it is searched for only where that entry held it and fell.
        """
        rows, width = slice(first, first + steps), self.Q.shape[1]
        Q, best, gamma = self.Q.ravel().tolist(), self.Q.max(-1).tolist(), self.gamma
        updated, by_visits, rates = self.updated.tolist(), self.by_visits, self._rates_of(done, steps)
        entries, after, rewards = (array[rows, 0].tolist() for array in (self.entries, self.after, self.rewards))
        for t, (entry, x_next, reward) in enumerate(zip(entries, after, rewards, strict=True)):
            old = Q[entry]
            rate = rates[updated[entry]] if by_visits else rates[t]
            Q[entry] = new = old + rate * (reward + gamma * best[x_next] - old)
            updated[entry] += 1
            x = entry // width
            if new >= best[x]:
                best[x] = new
            elif old == best[x]:
                best[x] = max(Q[x * width : (x + 1) * width])
        self.Q[:] = np.reshape(Q, self.Q.shape)
        self.updated[:] = updated

    def _rates_of(self, done: int, steps: int) -> list[float]:
        """The step sizes that a stretch asks for, by visits or by time."""
        wanted = slice(0, int(self.updated.max()) + steps) if self.by_visits else slice(done, done + steps)
        rates: list[float] = self.rates[wanted].tolist()
        return rates
