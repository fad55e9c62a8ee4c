"""What a solver returns: a pair of policies, what it is worth, and how it was found.

A solution is a `PolicyPair`, so it can be rolled out, and its dispatcher can steer anybody's control loop. Its pi_g is
a table over counts, or a function of them (a network, lifted functions), whose table is made when it is asked for, if
that is no burden (`LARGEST_TABLE`). It is saved as `policy.npz`: `pi_l [sl, sg, al]`, and, in rank order,
`counts [N, sl]` and `pi_g [sg, N, ag]` (`LARGEST_FILE`); a network's weights lie in the same archive
(`neural.storage`), and so do the history and the scalars, as JSON text.
Nothing is pickled, and loading runs no code. Wall times are left out, so that equal seeds give equal files.
"""

import dataclasses
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

from torch import Tensor, nn

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.solution_files import (
    as_readable,
    is_within,
    pack_policy,
    read_facts,
    table_of,
    tabulate_within,
)
from altmarl_torch.alternation.words import Observation, Select, Sizes
from altmarl_torch.counts.simplex import CountSimplex, round_to_counts
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.games.game import Game
from altmarl_torch.learners.beliefs.dispatcher import AskingDispatcher
from altmarl_torch.learners.beliefs.values import BeliefValues
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy
from altmarl_torch.policies.answers import RuleDispatcher
from altmarl_torch.policies.base import Dispatcher, Rule, Sight, player
from altmarl_torch.policies.belief import Belief, BeliefDispatcher, at_distribution
from altmarl_torch.policies.rules import HeuristicPair
from altmarl_torch.policies.tabular import TabularDispatcher, table_player
from altmarl_torch.support.intervals import Difference
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.showing import as_html, as_plain, in_columns
from altmarl_torch.support.tables import as_integer, as_numbers
from altmarl_torch.support.torch_state import ordinary

__all__ = [
    "Selection",
    "Solution",
    "TriedPair",
    "history_columns",
    "solution_html",
]

FILE_FORMAT, FILE_VERSION = "altmarl-solution", 1
LARGEST_PLAYED = 10**6  # entries of pi_g up to which a network's policy is played from its table: a look-up
LARGEST_FILE = 120_000_000
"""Entries of pi_g up to which a file carries the table, as 0 and 1 in bytes (five zones: up to k = 101)."""

OPTIONAL = ("counts", "pi_g", "policy/", "network/", "alpha", "belief/", "values/")
RECORD = ("value", "eta", "eta_paper", "converged", "solver", "seed", "game_name", "interrupted", "observation")


@dataclass(frozen=True)
class TriedPair:
    """A candidate of a selection."""

    name: str
    value: float  # its own model's joint value
    return_mean: float | None  # of n agents, on episodes that all candidates share; None where values decide
    return_sem: float | None


@dataclass(frozen=True)
class Selection:
    """Who was chosen, and from what."""

    by: Select
    choices: tuple[TriedPair, ...]  # the best first
    margin: Difference | None  # return of the first over the best that differs, on fresh episodes; None without one

    def to_dict(self) -> dict[str, Any]:
        """As JSON's types."""
        return dict(as_plain(self))


class _MadeWhenAsked:
    """A field that holds a table, or what makes one when it is first asked for."""

    def __get__(self, instance: "Solution | None", owner: type) -> Any:
        if instance is None:
            return self
        found = instance.__dict__["_pi_g"]
        if callable(found):
            found = instance.__dict__["_pi_g"] = found()
        return found

    def __set__(self, instance: "Solution", value: Tensor | Callable[[], Tensor | None] | None) -> None:
        instance.__dict__["_pi_g"] = value


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """A pair of policies and its record.

    Attributes:
        k: how many local agents the dispatcher sees.
        pi_g: `[sg, N, ag]`, law of a_g given (s_g, h), h in the rank order of `CountSimplex(k, num_sl)`; None for a
            policy that is no table where the table would have more than 25 million entries. Given as a function
            without arguments, it is made when it is first asked for.
        pi_l: `[sl, sg, al]`, law of a_l given (s_l, s_g).
        value, eta, eta_paper: joint value on the k-agent surrogate, UPDATE's last tolerance, and Algorithm 3's.
        history, converged: every proposal, in order; whether the alternation ended with nothing left to gain.
        solver, seed, game_name, phase_seconds, interrupted: how, for what and when it was found, or broken off.
        policy: the network's policy, of which pi_g is the table; None where the table is all there is.
        observation, alpha: what the sample is taken for, and the prior `[sg, sl]` of the posterior correction or None.
        belief: how the dispatcher's memory begins and moves ("filter"); None where it has none.
        reads: with a memory, the size of the sample over whose counts pi_g is a table, which is read at the belief.
        values: of beliefs, by which a dispatcher with a memory acts to learn; None: as pi_g does at the belief's mean.
        selection: what the pair was chosen from, of several starts or by `select="rollout"`; not kept in files.
        sizes: where one network was learned for several k, all of them, of which k is the largest and `value` the mean;
            its dispatcher takes samples of any size up to k, each row its own. None for one k.
        names: of global and local states, by `sg` and `sl`, for messages, or None.
    """

    k: int
    pi_g: Tensor | None
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
    policy: BatchPolicy | None = None
    observation: Observation = "surrogate"
    alpha: Tensor | None = None
    belief: Belief | None = None
    reads: int | None = None
    selection: Selection | None = None
    sizes: Sizes | None = None
    values: BeliefValues | None = None
    names: Mapping[str, Sequence[str]] | None = None

    def __repr__(self) -> str:
        end = "converged" if self.converged else "interrupted" if self.interrupted else "not converged"
        sizes = self.sizes or (self.k,)
        k = f"{sizes[0]}..{self.k} ({len(sizes)} sizes)" if len(sizes) > 1 else f"{self.k}"
        return f"Solution({self.game_name!r}, k={k}: value {self.value:.6g} after {len(self.history)} updates, {end})"

    @property
    def sample_size(self) -> int:
        """How many agents pi_g was learned for: k, or with a memory the k' that it reads."""
        return self.reads or self.k

    @cached_property
    def simplex(self) -> CountSimplex:
        """The count vectors that index `pi_g`."""
        return CountSimplex(self.sample_size, len(self.pi_l), self.pi_l.device)

    @property
    def _largest(self) -> int:
        """The largest of several k that the policy was learned for; 0 where it was learned for one."""
        if isinstance(self.policy, NetworkPolicy) and self.policy.samples.several:
            return self.policy.samples.largest
        return self.sizes[-1] if self.sizes else 0

    def _sight(self, k: int) -> Sight:
        return Sight(k, self.pi_l.shape[1], len(self.pi_l), self.pi_l.device, self.names or {})

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """The deployable global agent: `reset(batch)`, then `act(s_g [batch], counts [batch, sl])`.

        Examples:
            >>> import altmarl_torch as am
            >>> dispatcher = am.solve(am.games.steer(), k=3).dispatcher(seed=0)
            >>> dispatcher.reset(2)  # two systems at once
            >>> dispatcher.act([0, 1], [[3, 0], [1, 2]]).tolist()  # s_g, and where the three asked agents are
            [1, 1]
        """
        sight = self._sight(self.k)
        if self.values is not None:
            return AskingDispatcher(self.values, sight, seed)
        if self.belief is not None:
            if self.policy is not None:
                play = at_distribution(player(self.policy), self.sample_size, rounded=False)
            else:
                assert self.pi_g is not None
                play = at_distribution(table_player(self.pi_g, self.simplex), self.sample_size, rounded=True)
            return BeliefDispatcher(self.belief, play, sight, seed)
        if self.sizes is not None and self.policy is not None:
            return RuleDispatcher(self.policy, sight, seed, takes_fewer=True)
        if self.policy is not None and (not is_within(self.policy, self.simplex, LARGEST_PLAYED) or self.pi_g is None):
            return RuleDispatcher(self.policy, sight, seed)
        assert self.pi_g is not None
        return TabularDispatcher(self.pi_g, self.simplex, seed, self.names)

    def seeing(self, k: int) -> "HeuristicPair | Solution":
        """The same pair where k agents are seen, of any number: a pair to play, not a better one.

        A pair that was learned for several k is for each of them what it would be had it been learned for that k alone
        (`value` remains the mean). Otherwise pi_g is read at the counts of `sample_size` agents that are nearest to
        sample_size h / k, by largest remainders (`counts.simplex.round_to_counts`). A memory reads its belief at any k.

        Raises:
            ArgumentError: k is no whole number of at least 1.

        Examples:
            >>> import altmarl_torch as am
            >>> few = am.solve(am.games.steer(), k=3)
            >>> few.seeing(30).dispatcher().act(0, [20, 10])
            tensor(1)
        """
        k = as_integer("k", k, 1, math.inf, ArgumentError)
        if self.belief is not None:
            return dataclasses.replace(self, k=k)
        if self.policy is not None and k <= self._largest:
            table: Any = partial(table_of, self.policy, CountSimplex(k, len(self.pi_l), self.pi_l.device))
            return dataclasses.replace(self, k=k, sizes=None, pi_g=table)
        return HeuristicPair(f"learned for k = {self.sample_size}", k, self.rule_at(k), self.pi_l)

    def rule_at(self, k: int) -> Rule:
        """What `seeing(k)` does where there is no memory, as a law of a_g given s_g `[...]` and counts `[..., sl]`."""
        if self.policy is not None and k <= self._largest:
            return self.policy
        return lambda s_g, counts: self._law(s_g, round_to_counts(counts.double() / k, self.sample_size))

    def law(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """pi_g(. | s_g, h) as a `heuristics.Rule`: s_g `[...]` and counts `[..., sl]` to `[..., ag]`.

        Raises:
            ArgumentError: a global state is none of the game's, or a row of counts holds no whole numbers from 0 on
                that sum to `sample_size` (of one that was learned for several k: to that or less).
        """
        states, table = (as_numbers(name, given, ArgumentError) for name, given in (("s_g", s_g), ("counts", counts)))
        if table.shape[:-1] != states.shape or not table.ndim:
            raise ArgumentError(f"counts [..., sl] are of the shape {list(table.shape)}, s_g of {list(states.shape)}")
        sight = self._sight(self.sample_size)
        read = sight.read_all if self.sizes is None else sight.read
        law = self._law(*read(states.reshape(-1), table.reshape(-1, table.shape[-1])))
        return law.reshape(*states.shape, law.shape[-1])

    def _law(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The law at states and counts that are known to be of the game."""
        if self.policy is not None:
            return self.policy(s_g, counts)
        assert self.pi_g is not None
        return self.pi_g[s_g, self.simplex.rank(counts)]

    def to_dict(self, tables: bool = False) -> dict[str, Any]:
        """Everything but the policies as JSON's types: numbers and words by name, updates as records.

        With `tables`, pi_l, and pi_g where it is a table, as nested lists.
        """
        found = {
            name: getattr(self, name)
            for name in ("k", "reads", *RECORD, "alpha", "phase_seconds", "history", "selection")
        }
        return dict(as_plain(found | ({"pi_l": self.pi_l, "pi_g": self.pi_g} if tables else {})))

    def to_columns(self) -> dict[str, list[Any]]:
        """The history as columns of equal length, as data frames take them; a learner's own numbers by their tag."""
        return history_columns(self.history)

    def _repr_html_(self) -> str:
        return solution_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `policy.npz` to exactly `path`, atomically."""
        record = {name: getattr(self, name) for name in RECORD}
        history = [
            dataclasses.asdict(update) | {"decision": update.decision.value, "seconds": 0.0} for update in self.history
        ]
        sizes = {"k": self.k, "reads": self.reads, "sizes": self.sizes, "names": self.names}
        entries: dict[str, Any] = {
            "pi_l": self.pi_l.cpu().numpy(),
            "record": json.dumps(record | {"history": history} | {k: v for k, v in sizes.items() if v is not None}),
            **self._table_entries(),
            **({} if self.policy is None else pack_policy(self.policy)),
            **({} if self.alpha is None else {"alpha": self.alpha.cpu().numpy()}),
            **{name: entry for part in (self.belief, self.values) if part for name, entry in part.pack().items()},
        }
        write_npz(path, FILE_FORMAT, FILE_VERSION, entries)

    def _table_entries(self) -> dict[str, Any]:
        """`counts` and `pi_g`, where the table is at hand or small enough to be made."""
        pi_g = self.pi_g
        if pi_g is None:
            assert self.policy is not None
            pi_g = tabulate_within(self.policy, self.simplex, LARGEST_FILE)
        return {} if pi_g is None else {"counts": self.simplex.counts.cpu().numpy(), "pi_g": pi_g.cpu().numpy()}

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], network: nn.Module | None = None, game: Game | None = None
    ) -> "Solution":
        """Read a solution that `save` wrote, onto the CPU, without running code from the file.

        The rows of `counts` may stand in any order, if those of `pi_g` stand in the same. A network of one's own
        class is filled into `network`, which must have the architecture that was trained. A lifted policy that reads
        r_g_mu, which is a function and in no file, has it from the `game`; without one its table takes its place, which
        is the same at all counts of k agents.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is damaged, of another format or version, or its tables do not fit each other, or
                the game.
            ArgumentError: the policy reads r_g_mu, no table takes its place, and no game has it.
        """
        with ordinary():
            arrays = as_readable(path, read_npz(path, FILE_FORMAT, FILE_VERSION, ("pi_l", "record"), OPTIONAL), game)
            try:
                return cls(**read_facts(cls, arrays, network, None if game is None else game.r_g_mu))
            except FileFormatError as cause:
                raise FileFormatError(f"{path} holds no solution: {cause}") from cause
            except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
                raise FileFormatError(f"{path} holds no solution: {type(cause).__name__}: {cause}") from cause


def history_columns(history: Sequence[Update]) -> dict[str, list[Any]]:
    """Updates as columns; None where one lacks a learner's number."""
    rows = (as_plain(update) for update in history)
    return in_columns({name: row[name] for name in row if name != "details"} | row["details"] for row in rows)


def solution_html(solution: Any) -> str:
    """A solution of either kind, for notebooks: what it is, and its history."""
    names = ("game_name", "k", "value", "eta", "converged", "interrupted", "observation", "seed")
    columns, shown = history_columns(solution.history), ("step", "player", "decision", "value_before", "value_proposed")
    table = {name: columns[name] for name in (*shown, "seconds") if name in columns}
    return as_html(type(solution).__name__, {name: getattr(solution, name) for name in names}, table)


Solution.pi_g = _MadeWhenAsked()  # type: ignore[assignment]  # whose values are of the field's type
