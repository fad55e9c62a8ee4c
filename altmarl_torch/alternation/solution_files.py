"""The parts of a solution as entries of a file, and back.

Any policy that is no table is packed by the learner that makes its kind. Whatever is read is checked: tables are laws
and fit each other, numbers are of the type of their field.
"""

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import MAX_LISTED_ENTRIES, CountSimplex
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.games.crowd import CrowdReward
from altmarl_torch.games.game import Game
from altmarl_torch.learners.beliefs.values import BeliefValues
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.lifted.storage import FAMILY, READS, pack_lifted, unpack_lifted
from altmarl_torch.learners.neural import storage
from altmarl_torch.learners.neural.policies import BatchPolicy, tabulate
from altmarl_torch.policies.belief import Belief
from altmarl_torch.policies.tabular import read_policy
from altmarl_torch.support.tables import as_integer, as_number, as_table, as_whole, refuse_first

__all__ = [
    "LARGEST_TABLE",
    "as_readable",
    "fields_of",
    "is_within",
    "number_of_global_states",
    "pack_policy",
    "read_facts",
    "read_global_policy",
    "read_names",
    "read_observation",
    "read_update",
    "table_of",
    "tabulate_within",
    "unpack_policy",
]

LARGEST_TABLE = 25_000_000
"""Entries of pi_g that are tabulated for the sake of having a table: 200 MB of them (five zones: up to k = 66)."""


def pack_policy(policy: BatchPolicy) -> dict[str, NDArray[np.generic] | str]:
    """The entries of a stored policy; an ArgumentError where it cannot be stored."""
    return pack_lifted(policy) if isinstance(policy, LiftedPolicy) else storage.pack_policy(policy)


def unpack_policy(
    arrays: Mapping[str, NDArray[np.generic] | str],
    k: int,
    num_sl: int,
    network: nn.Module | None = None,
    r_g_mu: CrowdReward | None = None,
) -> BatchPolicy:
    """The policy that `pack_policy` made into `arrays`, on the CPU; a FileFormatError where it is malformed.

    `network` is filled, where the policy is that of a network of one's own class; `r_g_mu` is the game's, for a policy
    that reads it.
    """
    if _spec(arrays).get("family") == FAMILY:
        return unpack_lifted(arrays, num_sl, r_g_mu)
    return storage.unpack_policy(arrays, k, num_sl, network)


def _spec(arrays: Mapping[str, NDArray[np.generic] | str]) -> dict[str, Any]:
    """What the spec says; nothing where it says nothing that can be read."""
    try:
        spec = json.loads(str(arrays["policy/spec"]))
    except (KeyError, ValueError, RecursionError):
        return {}
    return spec if isinstance(spec, dict) else {}


def as_readable(path: object, arrays: dict[str, np.ndarray[Any, Any]], game: Game | None) -> dict[str, Any]:
    """The entries of the solution in `path`, but for a policy that reads r_g_mu where no game has it and a table does.

    (The table is the same at all counts of k agents; a memory asks between them.)

    Raises:
        ArgumentError: nothing but the policy will do.
        FileFormatError: the game has other states or actions.
    """
    if game is not None and np.shape(arrays["pi_l"]) != (game.num_sl, game.num_sg, game.num_al):
        found, wanted = list(np.shape(arrays["pi_l"])), [game.num_sl, game.num_sg, game.num_al]
        raise FileFormatError(f"{path} holds a pair whose pi_l [sl, sg, al] is {found}; that of the game is {wanted}")
    if not _spec(arrays).get(READS) or (game is not None and game.r_g_mu is not None):
        return arrays
    if game is None and "pi_g" in arrays and "belief/mean" not in arrays:
        return {name: array for name, array in arrays.items() if not name.startswith("policy/")}
    raise ArgumentError(
        f"pi_g in {path} reads r_g_mu, a function, which is in no file: Solution.load(path, game=game) with the game "
        "that it was learned for"
    )


def number_of_global_states(pi_g: Tensor | None, policy: BatchPolicy | None) -> int:
    """How many global states pi_g is for; the table and the policy agree, on the actions as well."""
    sizes = [] if pi_g is None else [(pi_g.shape[0], pi_g.shape[-1])]
    sizes += [] if policy is None else [policy.sizes]
    if len(set(sizes)) > 1:
        raise FileFormatError(
            f"pi_g is a table for {sizes[0][0]} global states and {sizes[0][1]} actions, the network answers for "
            f"{sizes[1][0]} and {sizes[1][1]}"
        )
    return sizes[0][0]


def read_facts(
    kind: type, arrays: dict[str, Any], network: nn.Module | None, r_g_mu: CrowdReward | None
) -> dict[str, Any]:
    """The fields of the solution, of this `kind`, that a file's entries are; `network` and `r_g_mu` as in
    `unpack_policy`.

    Raises:
        FileFormatError: an entry is malformed, or they do not fit each other.
        KeyError, TypeError, ValueError, AttributeError, RecursionError: the record is not of the documented form.
    """
    record = json.loads(str(arrays["record"]))
    history = tuple(read_update(line) for line in record.pop("history"))
    pi_l = as_table("pi_l", arrays["pi_l"], "sl sg al", FileFormatError)
    k, reads, sizes, names = (record.pop(name, None) for name in ("k", "reads", "sizes", "names"))
    size = k if reads is None else reads
    table_k, pi_g, policy = read_global_policy(arrays, size, len(pi_l), network, r_g_mu)
    num_sg = number_of_global_states(pi_g, policy)
    pi_l = read_policy("pi_l", pi_l, "sl sg al", (len(pi_l), num_sg, pi_l.shape[-1]))
    facts = fields_of(kind, record) | {"pi_g": pi_g, "pi_l": pi_l, "history": history, "policy": policy}
    facts["k"] = table_k if reads is None else as_integer("k", k, 1, math.inf, FileFormatError)
    facts["names"] = read_names(names, {"sg": num_sg, "sl": len(pi_l)})
    facts["sizes"] = None if sizes is None else storage.read_sizes("sizes", sizes).numbers
    facts |= read_observation(arrays, facts.get("observation"), reads, (num_sg, len(pi_l)))
    return facts | {"phase_seconds": {}}


def read_observation(
    arrays: dict[str, np.ndarray[Any, Any]], observation: object, reads: object, sizes: tuple[int, int]
) -> dict[str, Any]:
    """The prior, or the memory with the k' that it reads; `sizes` are the numbers of global and local states."""
    if (observation == "filter") != (reads is not None):
        raise FileFormatError(f"observation {observation!r} does not go with reads = {reads!r}")
    if observation == "posterior":
        return {"alpha": _read_alpha(arrays, sizes)}
    if observation != "filter":
        return {}
    belief = Belief.unpack(arrays)
    if belief.moves.shape != (*sizes, sizes[1]) or belief.mean.shape != sizes[1:]:
        raise FileFormatError(f"the belief is of {list(belief.moves.shape)} [sg, sl, sl'], pi_l of {list(sizes)}")
    found = {"belief": belief, "reads": as_integer("reads", reads, 1, math.inf, FileFormatError)}
    return found | ({"values": BeliefValues.unpack(arrays, belief)} if BeliefValues.is_in(arrays) else {})


def read_names(names: object, sizes: Mapping[str, int]) -> dict[str, tuple[str, ...]] | None:
    """The names of global and local states, by `sg` and `sl`, where a file has them."""
    if names is None:
        return None
    fits = isinstance(names, dict) and all(
        word in sizes and isinstance(own, list) and len(own) == sizes[word] and all(isinstance(one, str) for one in own)
        for word, own in names.items()
    )
    if not fits or not isinstance(names, dict):
        raise FileFormatError(f"names must be one for each of {dict(sizes)} states, not {names!r:.80}")
    return {word: tuple(own) for word, own in names.items()}


def _read_alpha(arrays: dict[str, np.ndarray[Any, Any]], sizes: tuple[int, int]) -> Tensor:
    """The prior's table `[sg, sl]`."""
    if "alpha" not in arrays:
        raise FileFormatError("it lacks the entry alpha of a posterior")
    try:
        alpha = Prior(arrays["alpha"], 1).alpha  # type: ignore[arg-type]  # any array
    except ArgumentError as cause:
        raise FileFormatError(str(cause)) from cause
    if alpha.shape != sizes:
        raise FileFormatError(f"alpha has shape {list(alpha.shape)}; pi_l is of [sg, sl] = {list(sizes)}")
    return alpha


def read_global_policy(
    arrays: dict[str, np.ndarray[Any, Any]],
    k: Any,
    num_sl: int,
    network: nn.Module | None,
    r_g_mu: CrowdReward | None = None,
) -> tuple[int, Tensor | None, BatchPolicy | None]:
    """k, pi_g as a table, pi_g as a policy: at least one of the two. Tables too large to be of use are left alone."""
    policy, pi_g = None, None
    if "policy/spec" in arrays:
        k = as_integer("k", k, 1, math.inf, FileFormatError)
        policy = unpack_policy(arrays, k, num_sl, network, r_g_mu)
    elif "pi_g" not in arrays or "counts" not in arrays:
        raise FileFormatError("it lacks the entries counts and pi_g, and has no network in their place")
    if "pi_g" in arrays and "counts" in arrays and (policy is None or arrays["pi_g"].size <= LARGEST_TABLE):
        simplex, pi_g = _read_pi_g(arrays["counts"], arrays["pi_g"])
        if simplex.num_sl != num_sl or k not in (None, simplex.k):
            raise FileFormatError(f"counts of k = {simplex.k} over {simplex.num_sl} states do not fit k or pi_l")
        k = simplex.k
    return k, pi_g, policy


def _read_pi_g(counts: object, pi_g: object) -> tuple[CountSimplex, Tensor]:
    """The simplex that `counts` [N, sl] lists, in any order, and pi_g [sg, N, ag] in its rank order."""
    rows = as_table("counts", counts, "h sl", FileFormatError)
    h, total = as_whole("counts", rows, "h sl", FileFormatError), rows.sum(-1)
    refuse_first("counts", total, "h", (total != total[0]) | (total < 1), "all sum to one k >= 1", FileFormatError)
    k = as_number("k of counts", float(total[0]), "[1, 1e8]", lambda x: x <= MAX_LISTED_ENTRIES, FileFormatError)
    simplex = CountSimplex(int(k), rows.shape[-1])
    simplex.require_listed()
    if len(rows) != simplex.size:
        raise FileFormatError(f"counts must list each of the {simplex!r} once; it has {len(rows):,} rows")
    ranks = simplex.rank(h)
    if not torch.equal(ranks.sort().values, torch.arange(simplex.size)):
        raise FileFormatError(f"counts must list each of the {simplex!r} once; it has {len(rows):,} rows")
    table = as_table("pi_g", pi_g, "sg h ag", FileFormatError)
    table = read_policy("pi_g", table, "sg h ag", (len(table), simplex.size, table.shape[-1]))
    return simplex, table[:, ranks.argsort()]


def read_update(line: dict[str, Any]) -> Update:
    """One line of a history, as JSON holds it.

    Raises:
        FileFormatError: a field has another type.
        TypeError: one is missing, or no field.
    """
    return Update(**fields_of(Update, line))


def fields_of(kind: type, values: dict[str, Any]) -> dict[str, Any]:
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


def tabulate_within(policy: BatchPolicy, simplex: CountSimplex, entries: int) -> Tensor | None:
    """The table of a policy `[sg, N, ag]`, or None where it would have more entries."""
    return tabulate(policy, simplex) if is_within(policy, simplex, entries) else None


def table_of(policy: BatchPolicy, simplex: CountSimplex) -> Tensor | None:
    """A policy's table as `Solution.pi_g`, float64, or None where it would be a burden."""
    table = tabulate_within(policy, simplex, LARGEST_TABLE)
    return None if table is None else table.double()


def is_within(policy: BatchPolicy, simplex: CountSimplex, entries: int) -> bool:
    """Whether a policy's table would have no more entries."""
    return simplex.can_be_listed and simplex.size * math.prod(policy.sizes) <= entries
