"""A game from a log, with what is known of it: standard errors, gaps in the data, and what they may cost.

`estimate` counts the tables (`games.logs.counted`) and keeps what a bare game would forget. The question
behind every log is whether it is long enough, and there are two answers:

* entry by entry, the standard errors, and the pairs that were seen least (`FittedGame.report`);
* for a pair of policies, its return in games *drawn* from what the log leaves open (`FittedGame.returns`): the rows of
  the kernels from their Dirichlet laws, the rewards from Gaussians around their means. If a pair earns 168 to 170 in
  all of them, a longer log would not say much more about it; if it earns 120 to 170, it would.

Without smoothing, rows are drawn from Dirichlet(N), the Bayesian bootstrap, under which what was never seen never
happens.
"""

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.logs.counted import Counted, count_log
from altmarl_torch.games.logs.ends import end_hint
from altmarl_torch.games.logs.starts import FEWEST_EPISODES
from altmarl_torch.games.logs.transitions import Table
from altmarl_torch.games.tables import TABLE_AXES
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_integer, as_seed, place
from altmarl_torch.support.torch_state import door

__all__ = ["FittedGame", "estimate"]

FORMAT, VERSION = "altmarl-fit", 1
"""What a report says of itself."""

LISTED = 10
"""Pairs that the report names of those never seen."""


@dataclass(frozen=True, eq=False)
class FittedGame:
    """A game counted from a log.

    Attributes:
        game: the estimates.
        errors: their standard errors by table, of the tables' shapes: P_g, P_l, r_g, r_l.
        counted: the counts behind them.
    """

    game: Game
    errors: dict[str, Tensor]
    counted: Counted

    __repr__ = brief

    @property
    def unseen(self) -> list[str]:
        """The pairs that can be reached and were never seen, `"P_l[sl=0, sg=1, al=2]"`; filled in by smoothing."""
        flags = self.counted.unseen
        return [self._place(name, index) for name in flags for index in np.argwhere(flags[name]).tolist()]

    def _place(self, name: str, index: list[int]) -> str:
        return place(name, TABLE_AXES[name], index, self.game.names)

    def draw(self, seed: int) -> Game:
        """A game that the log allows: laws and rewards drawn from what it says of them."""
        generator = np.random.default_rng(as_seed(seed))
        tables: dict[str, Any] = {}
        for name, counts in self.counted.counts.items():
            tables[name] = self._laws(name, generator.standard_gamma(counts + self.counted.smoothing))
        for name in ("r_g", "r_l"):
            tables[name] = generator.normal(self.counted.tables[name], self.counted.errors[name])
        return self.game.replace(**tables)

    def halves(self, seed: int) -> tuple[Game, Game]:
        """The games counted from two halves of the log, into which its transitions fall by lot (`offline.held_out`).

        A pair of state and action that one half has not seen keeps what the whole log says of it. Means of rewards are
        drawn, as independent halves of the log would have them.
        """
        generator = np.random.default_rng(as_seed(seed))
        first, second = dict[str, Any](), dict[str, Any]()
        for name, counts in self.counted.counts.items():
            one = generator.binomial(np.rint(counts).astype(np.int64), 0.5)
            for tables, part in ((first, one), (second, counts - one)):
                some = part.sum(-1, keepdims=True) > 0
                tables[name] = self._laws(name, np.where(some, part + self.counted.smoothing, 0.0))
        for name in ("r_g", "r_l"):
            shift = generator.normal(0.0, self.counted.errors[name])
            first[name], second[name] = self.counted.tables[name] + shift, self.counted.tables[name] - shift
        return self.game.replace(**first), self.game.replace(**second)

    def _laws(self, name: str, weights: Any) -> Any:
        """Rows of weights as laws; where there are none, and at ends, those of the estimate."""
        weights[self._at_end(name)] = 0.0
        total = weights.sum(-1, keepdims=True)
        return np.where(total > 0, weights / np.maximum(total, 1e-300), self.counted.tables[name])

    def _at_end(self, name: str) -> Any:
        """Where a kernel is known, because an end is absorbing: flags over its rows."""
        ends = self.counted.ends
        if name == "P_g":
            return np.broadcast_to(ends["P_g"][:, None], self.counted.counts[name].shape[:-1])
        return np.broadcast_to(
            ends["P_l"][:, None, None] | ends["P_g"][None, :, None], self.counted.counts[name].shape[:-1]
        )

    def returns(self, pair: PolicyPair, *, draws: int = 20, episodes: int = 200, seed: int = 0) -> Tensor:
        """What `pair` earns in games drawn from what the log allows, its mean return in each: `[draws]`.

        All of them are played under one seed, for so many steps that gamma^T is below 1 %, 500 at most.

        Raises:
            ArgumentError: a number is out of range, or the pair does not fit the game.
        """
        draws = as_integer("draws", draws, 1, math.inf, ArgumentError)
        steps = math.ceil(math.log(0.01) / math.log(self.game.gamma)) if self.game.gamma > 0 else 1
        seeds = np.random.SeedSequence(as_seed(seed)).generate_state(draws).tolist()
        means = [
            rollout(self.draw(number), pair, episodes=episodes, horizon=min(steps, 500), seed=seed).mean
            for number in seeds
        ]
        return torch.tensor(means, dtype=torch.float64)

    def report(self) -> str:
        """What the log says and what it leaves open, as text."""
        counted, game = self.counted, self.game
        number = counted.episodes
        episodes = "" if number is None else f" in {number:,} episode{'s' if number > 1 else ''}"
        lines = [
            f"log        {counted.rows:,} transitions of local agents, {counted.steps:,} steps of the global agent"
            + episodes,
            f"game       {game!r}",
            f"prior      {f'Dirichlet, {counted.smoothing:g} per next state' if counted.smoothing else 'none'}",
            f"start      {self._start()}",
            "",
            f"{'table':<6} {'pairs':>6} {'never seen':>11} {'fewest':>9} {'median':>9}   largest standard error",
        ]
        lines += [self._line(name, of) for name, of in (("P_g", "P_g"), ("r_g", "P_g"), ("P_l", "P_l"), ("r_l", "P_l"))]
        unseen = self.unseen
        if unseen:
            more = f" and {len(unseen) - LISTED:,} more" if len(unseen) > LISTED else ""
            lines += ["", f"never seen, though it can be reached: {', '.join(unseen[:LISTED])}{more}"]
        return "\n".join([*lines, *self._remarks()])

    def _remarks(self) -> list[str]:
        """What else a reader of the log should know."""
        counted, lines = self.counted, list[str]()
        kinds = {"sg": "states s_g", "sl": "states s_l", "ag": "actions a_g", "al": "actions a_l"}
        for word, numbers in counted.absent.items():
            if numbers:
                size, shown = getattr(self.game, f"num_{word}"), ", ".join(map(str, numbers[:LISTED]))
                more = ", ..." if len(numbers) > LISTED else ""
                lines.append(
                    f"of the {size:,} {kinds[word]}, {len(numbers):,} never occur in the log: {shown}{more}; number "
                    "those there are from 0 on, without gaps, and counts stay few"
                )
        if counted.dropped:
            lines.append(f"{counted.dropped:,} rows stood there twice (one agent in one step) and were counted once")
        if counted.repeats > 1:
            lines.append(
                f"every row stands there {counted.repeats} times: unless agents do the same throughout, the log is "
                "there more than once, and standard errors are too small"
            )
        words = {"P_g": "sg", "P_l": "sl"}
        ends = [f"{words[name]}={state}" for name in words for state in np.flatnonzero(counted.ends[name])]
        if ends:
            lines.append(f"absorbing, since rows that lead there are marked as terminated: {', '.join(ends)}")
        if counted.smoothing and end_hint(counted.never_left):
            lines.append(end_hint(counted.never_left).removeprefix(". "))
        return ["", *lines] if lines else []

    def to_dict(self) -> dict[str, Any]:
        """The report as numbers, for JSON."""
        counted = self.counted
        return {
            "format": FORMAT,
            "version": VERSION,
            "rows": counted.rows,
            "steps": counted.steps,
            "episodes": counted.episodes,
            "smoothing": counted.smoothing,
            "never_seen": self.unseen,
            "visits": {name: table.sum(-1).tolist() for name, table in counted.counts.items()},
            "standard_errors": {name: table.tolist() for name, table in self.errors.items()},
        }

    as_dict = to_dict  # its name in 0.1

    def _start(self) -> str:
        if self.counted.given_initial:
            return "as given"
        if self.counted.pairs_at_start is False:
            return (
                "from the episodes' first steps; strength not known, since no episode shows two agents: they are taken "
                "for independent (inf), unless an initial law is passed, which is taken as given"
            )
        if self.counted.episodes is not None and self.counted.episodes >= FEWEST_EPISODES:
            return f"from the episodes' first steps, strength {self.game.initial.strength:.3g}"
        return f"as given, or uniform over the states met (a log of {FEWEST_EPISODES} episodes would say)"

    def _line(self, name: str, of: str) -> str:
        visits, error = self.counted.counts[of].sum(-1), self.counted.errors[name]
        met, gaps = visits[visits > 0], int(self.counted.unseen[of].sum())
        worst = [int(index) for index in np.unravel_index(error.argmax(), error.shape)]
        value = self.counted.tables[name][tuple(worst)]
        numbers = f"{visits.size:>6,} {gaps:>11,} {met.min():>9,.0f} {np.median(met):>9,.0f}"
        return f"{name:<6} {numbers}   {error.max():.2g} at {self._place(name, worst)} = {value:.3g}"


@door
def estimate(
    table: Table | str | os.PathLike[str],
    *,
    gamma: float,
    n: int,
    num_sg: int | None = None,
    num_sl: int | None = None,
    num_ag: int | None = None,
    num_al: int | None = None,
    smoothing: float | None = None,
    initial: InitialLaw | None = None,
    name: str = "game",
) -> FittedGame:
    """As `Game.from_transitions`, with standard errors; arguments and errors are the same."""
    sizes = {"sg": num_sg, "sl": num_sl, "ag": num_ag, "al": num_al}
    counted = count_log(table, sizes, smoothing, initial, n)
    game = Game.from_counts(counted, gamma=gamma, n=n, name=name)
    return FittedGame(game, {word: torch.from_numpy(error) for word, error in counted.errors.items()}, counted)
