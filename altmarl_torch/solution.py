"""What a solver returns: a pair of policies, what it is worth, and how it was found.

A solution is a `PolicyPair`, so it can be rolled out, and its dispatcher can steer anybody's control loop. It is saved
as `policy.npz`: `pi_l [sl, sg, al]`, and, in rank order, `counts [N, sl]` and `pi_g [sg, N, ag]`. The history and the
scalars travel in the same archive as JSON text; nothing is pickled, and loading runs no code. Wall times are left out,
so that equal seeds give equal files; they are zero in a solution that was loaded.
"""

import dataclasses
import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.alternation import Decision, Update
from altmarl_torch.errors import FileFormatError
from altmarl_torch.npz import read_npz, write_npz
from altmarl_torch.policies import Dispatcher, TabularDispatcher
from altmarl_torch.simplex import CountSimplex

__all__ = ["Solution"]

FILE_FORMAT, FILE_VERSION = "altmarl-solution", 1
RECORD = ("value", "eta", "eta_paper", "converged", "solver", "seed", "game_name", "interrupted")


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """A pair of policies and its record.

    Attributes:
        k: how many local agents the dispatcher sees.
        pi_g: `[sg, N, ag]`, law of a_g given (s_g, h), h in the rank order of `CountSimplex(k, num_sl)`.
        pi_l: `[sl, sg, al]`, law of a_l given (s_l, s_g).
        value: joint value on the k-agent surrogate, averaged over the initial law.
        eta: UPDATE's tolerance in the last update.
        eta_paper: Algorithm 3's.
        history: every proposal, in order.
        converged: whether the alternation ended by itself, with nothing left to gain.
        solver, seed, game_name: how and for what it was found.
        phase_seconds: wall seconds by phase.
        interrupted: whether the run was broken off.
    """

    k: int
    pi_g: Tensor
    pi_l: Tensor
    value: float
    eta: float
    eta_paper: float
    history: tuple[Update, ...]
    converged: bool
    solver: str
    seed: int
    game_name: str
    phase_seconds: dict[str, float]
    interrupted: bool = False

    def __repr__(self) -> str:
        end = "converged" if self.converged else "interrupted" if self.interrupted else "not converged"
        return (
            f"Solution({self.game_name!r}, k={self.k}: value {self.value:.6g} after {len(self.history)} updates, {end})"
        )

    @cached_property
    def simplex(self) -> CountSimplex:
        """The count vectors that index `pi_g`."""
        return CountSimplex(self.k, len(self.pi_l), self.pi_l.device)

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """The deployable global agent: `reset(batch)`, then `act(s_g [batch], counts [batch, sl])`."""
        return TabularDispatcher(self.pi_g, self.simplex, seed)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `policy.npz` to exactly `path`, atomically."""
        record = {name: getattr(self, name) for name in RECORD}
        history = [
            dataclasses.asdict(update) | {"decision": update.decision.value, "seconds": 0.0} for update in self.history
        ]
        entries: dict[str, Any] = {
            "pi_l": self.pi_l.cpu().numpy(),
            "counts": self.simplex.counts.cpu().numpy(),
            "pi_g": self.pi_g.cpu().numpy(),
            "record": json.dumps(record | {"history": history}),
        }
        write_npz(path, FILE_FORMAT, FILE_VERSION, entries)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Solution":
        """Read a solution that `save` wrote, onto the CPU, without running code from the file.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is damaged, of another format or version, or its tables do not fit each other.
        """
        arrays = read_npz(path, FILE_FORMAT, FILE_VERSION, ("pi_l", "counts", "pi_g", "record"))
        try:
            record = json.loads(str(arrays["record"]))
            updates = [Update(**line | {"decision": Decision(line["decision"])}) for line in record.pop("history")]
            pi_g, pi_l = (torch.from_numpy(np.ascontiguousarray(arrays[name], np.float64)) for name in ("pi_g", "pi_l"))
            k = int(arrays["counts"][0].sum())
            solution = cls(k=k, pi_g=pi_g, pi_l=pi_l, history=tuple(updates), phase_seconds={}, **record)
            solution.dispatcher()  # checks pi_g against the simplex
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as cause:
            raise FileFormatError(f"{path} holds no solution: {cause}") from cause
        return solution
