"""What a solver returns: a pair of policies, what it is worth, and how it was found.

A solution is a `PolicyPair`, so it can be rolled out, and its dispatcher can steer anybody's control loop. It is saved
as `policy.npz`: `pi_l [sl, sg, al]`, and, in rank order, `counts [N, sl]` and `pi_g [sg, N, ag]`. The history and the
scalars travel in the same archive as JSON text; nothing is pickled, and loading runs no code. Wall times are left out,
so that equal seeds give equal files; they are zero in a solution that was loaded.
"""

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from altmarl_torch.alternation import Decision, Update
from altmarl_torch.errors import FileFormatError
from altmarl_torch.npz import read_npz, write_npz
from altmarl_torch.policies import Dispatcher, TabularDispatcher, read_policy
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.tables import as_integer, as_number, as_table, as_whole, refuse_first

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

        The rows of `counts` may stand in any order, if those of `pi_g` stand in the same.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is damaged, of another format or version, or its tables do not fit each other.
        """
        arrays = read_npz(path, FILE_FORMAT, FILE_VERSION, ("pi_l", "counts", "pi_g", "record"))
        try:
            simplex, pi_g = _read_pi_g(arrays["counts"], arrays["pi_g"])
            pi_l = as_table("pi_l", arrays["pi_l"], "sl sg al", FileFormatError)
            pi_l = read_policy("pi_l", pi_l, "sl sg al", (simplex.num_sl, len(pi_g), pi_l.shape[-1]))
            record = json.loads(str(arrays["record"]))
            history = tuple(Update(**_fields(Update, line)) for line in record.pop("history"))
            return cls(k=simplex.k, pi_g=pi_g, pi_l=pi_l, history=history, phase_seconds={}, **_fields(cls, record))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
            raise FileFormatError(f"{path} holds no solution: {type(cause).__name__}: {cause}") from cause


def _read_pi_g(counts: object, pi_g: object) -> tuple[CountSimplex, Tensor]:
    """The simplex that `counts` [N, sl] lists, in any order, and pi_g [sg, N, ag] in its rank order."""
    rows = as_table("counts", counts, "h sl", FileFormatError)
    h, total = as_whole("counts", rows, "h sl", FileFormatError), rows.sum(-1)
    refuse_first("counts", total, "h", (total != total[0]) | (total < 1), "all sum to one k >= 1", FileFormatError)
    simplex = CountSimplex(int(total[0]), rows.shape[-1])
    simplex.require_listed()
    ranks = simplex.rank(h)
    if not torch.equal(ranks.sort().values, torch.arange(simplex.size)):
        raise FileFormatError(f"counts must list each of the {simplex!r} once; it has {len(rows):,} rows")
    table = as_table("pi_g", pi_g, "sg h ag", FileFormatError)
    table = read_policy("pi_g", table, "sg h ag", (len(table), simplex.size, table.shape[-1]))
    return simplex, table[:, ranks.argsort()]


def _fields(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """`values` of fields of the dataclass `kind`, by name, each as the type of its field."""
    hints = get_type_hints(kind)
    return {name: _field(name, value, hints[name]) for name, value in values.items()}


def _field(name: str, value: object, hint: Any) -> Any:
    """`value`, as JSON holds it, as a field of the type `hint`."""
    if hint is float:
        return as_number(name, value, "(-inf, inf)", math.isfinite, FileFormatError)
    if hint is int:
        return as_integer(name, value, 0, math.inf, FileFormatError)
    if hint is Decision:
        return Decision(value)
    if get_origin(hint) is Literal:
        fits, wanted = value in get_args(hint), "one of " + ", ".join(get_args(hint))
    else:
        plain = get_origin(hint) or hint
        fits, wanted = isinstance(value, plain), f"of type {plain.__name__}"
    if not fits:
        raise FileFormatError(f"{name} must be {wanted}, not {value!r}")
    return value
