r"""What replay tends to: the fixed point of Eq. 46 on the data themselves, and how far a table is from it.

Go through the data again and again with steps that fall to 0, and every transition weighs the same: Q tends to the
fixed point of the operator that averages over them,

    (T Q)(x, a) = mean over the transitions (x, a, r, x') of the data  [ r + gamma max_b Q(x', b) ],

x = (s_g, h), b among the actions that the data try in x'. It is the Bellman operator of the chain *counted* from the
data (replay is planning in that model: van Seijen and Sutton, *A deeper look at planning as learning from replay*, ICML
2015). A state that is only reached at the end of a trajectory counts as 0: it stays where it is and earns nothing.

**How far.** T contracts by gamma, so for any table

    |Q - Q*|  <=  max |T Q - Q| / (1 - gamma),

and passes over the data are few where gamma is near 1: with alpha = (1 + u)^-0.6 an entry needs u of the order of
(1/(1-gamma))^2.5 updates. The fixed point itself takes sweeps of T by `operators.fixed_point`, each over all
transitions at once, stopped by MacQueen's bounds.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.operators.fixed_point import solve_fixed_point

__all__ = ["Replay"]

RELATIVE_TOLERANCE = 1e-8
"""Error of the fixed point, relative to the largest value that these rewards can have."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Replay:
    """The operator T, on the states that the data meet."""

    shape: tuple[int, int, int]  # of the full table, [sg, N, ag]
    gamma: float
    tried: NDArray[np.int64]  # [M] the entries that the data try, flat (s_g, h, a_g), rising
    rewards: Floats  # [M] their mean reward
    moves: csr_array  # [M, X] how often each leads to each state that is met, as a share
    states: NDArray[np.int64]  # [X] these states, flat (s_g, h), rising

    @classmethod
    def of(cls, data: Trajectories, ranks: NDArray[np.int64]) -> "Replay":
        """Count the transitions of data whose `Trajectories.states` are `ranks`."""
        entries = (ranks[:, :-1] * data.num_ag + data.a_g).ravel()
        states, place = np.unique(ranks, return_inverse=True)
        after = place.reshape(ranks.shape)[:, 1:].ravel()
        tried, row, times = np.unique(entries, return_inverse=True, return_counts=True)
        shares = (1.0 / times)[row]
        moves = csr_array((shares, (row, after)), shape=(len(tried), len(states)))
        rewards = np.bincount(row, data.rewards.ravel() * shares).astype(np.float64)
        return cls((data.num_sg, data.simplex.size, data.num_ag), data.gamma, tried, rewards, moves, states)

    def error(self, Q: Floats) -> float:
        """The bound on |Q - Q*| over the entries that the data try, for Q `[sg, N, ag]`."""
        flat = Q.reshape(-1)[self.tried]
        residual = self._targets(self._best(flat)) - flat
        return float(np.abs(residual).max()) / (1 - self.gamma)

    def solve(self) -> tuple[Floats, float, int]:
        """The fixed point Q* `[sg, N, ag]`, 0 where the data try nothing; the bound on its error; and sweeps of T."""
        largest = float(np.abs(self.rewards).max()) / (1 - self.gamma)
        tolerance = max(RELATIVE_TOLERANCE * largest, np.finfo(float).tiny)
        start = torch.zeros(len(self.states), dtype=torch.float64)
        found = solve_fixed_point(self._sweep, start, self.gamma, tolerance)
        Q = np.zeros(self.shape)
        Q.reshape(-1)[self.tried] = self._targets(found.values.numpy())
        return Q, self.gamma * found.error, found.sweeps

    def _sweep(self, values: Tensor) -> Tensor:
        """V to max_a T V; a state that is never left stays, at gamma V: shifts of V by c are shifts by gamma c."""
        old = values.numpy()
        best = self._best(self._targets(old), self.gamma * old)
        return torch.from_numpy(best).to(values.dtype)

    def _targets(self, values: Floats) -> Floats:
        """The mean of r + gamma V(x') over the transitions of each entry, `[M]`, from V `[X]`."""
        targets: Floats = self.rewards + self.gamma * (self.moves @ values)
        return targets

    def _best(self, Q: Floats, ended: Floats | float = 0.0) -> Floats:
        """max over the actions tried in each state, `[X]`, from Q `[M]`; `ended` in those that are never left."""
        state = np.searchsorted(self.states, self.tried // self.shape[-1])
        best = np.full(len(self.states), -np.inf)
        np.maximum.at(best, state, Q)
        return np.where(np.isneginf(best), ended, best)
