"""`altmarl chains`: how large L-LEARN's chains are, what UCFH's theory asks of them, and what is feasible here.

For a game and each k, both forms of the chain (`tabular.chain_forms`): H macro steps, micro steps, states and
transitions; the m of Algorithm 5, the visits m w_min before a row is first updated, and the episodes of Theorem C.3 (an
order, without constants). Nothing is listed: sizes are formulas, exact where every law has full support.

**epsilon** is relative, to the largest value of a chain that is rewarded in one stage of a round, as with the "own"
objective: rewards in [0, 1] then add up to (1 - gamma^H)/(1 - gamma), and the constants are those of epsilon times
that, or of 1 if that is less (`tabular.ucfh`).

**Feasible** is what one core does in a while. Exact dynamic programming takes some 10 ns for each transition and round,
and 50 us for each micro step. A plan of UCFH takes some 150 ns and 300 us, and about a hundred plans certify 5 %,
however many episodes they need: these are dealt together. So its own m in the billions costs no more, as long as counts
are exact (2^53).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.learners.chains.chain import MOST_ROUNDS, MOST_TRANSITIONS, about, chain_form
from altmarl_torch.learners.chains.forms import MeanFieldForm, TupleForm
from altmarl_torch.support.scalars import as_share
from altmarl_torch.support.tables import as_integer
from altmarl_torch.theory import Algorithm5, algorithm_5, count_vectors, horizon_algorithm_2, theorem_c3

__all__ = ["ChainRow", "chain_rows", "chains_text"]

LARGEST_CHAIN_K, LARGEST_SIZE = 10_000, 10**100
SECONDS_OF_A_TRANSITION, SECONDS_OF_A_STEP = 1e-8, 5e-5
SECONDS_IN_A_PLAN, SECONDS_OF_A_STEP_IN_A_PLAN, PLANS = 1.5e-7, 3e-4, 100
MOST_SECONDS = 3600.0
"""UCFH is called feasible where it should take less than an hour."""


@dataclass(frozen=True)
class ChainRow:
    """One form of the chain for one k."""

    k: int
    form: str
    chosen: bool  # by the paper's switch rule
    rounds: int  # H, macro steps
    steps: int  # micro steps
    states: int
    transitions: int
    constants: Algorithm5 | None  # None beyond 10^100 states
    episodes: int | None  # the order of Theorem C.3
    dp_seconds: float | None  # about; None where the chain is too large to list
    ucfh_seconds: float | None  # about, to certify 5 %; None where that takes too long


def chain_rows(game: Game, ks: Sequence[int], *, epsilon: float = 0.05, delta: float = 0.1) -> list[ChainRow]:
    """Sizes, constants and feasibility of both forms at each k.

    Raises:
        ArgumentError: a k is outside 1..n (and 10,000), or epsilon or delta is outside (0, 1].
    """
    as_share("epsilon", epsilon)
    as_share("delta", delta)
    columns = [as_integer("k", k, 1, min(game.n, LARGEST_CHAIN_K), ArgumentError) for k in ks]
    return [_row(game, k, kind, epsilon, delta) for k in columns for kind in (TupleForm, MeanFieldForm)]


def _row(game: Game, k: int, kind: type[TupleForm] | type[MeanFieldForm], epsilon: float, delta: float) -> ChainRow:
    rounds, (states, transitions) = horizon_algorithm_2(game, k), kind.size(game, k)
    steps = rounds * (k if kind is TupleForm else game.num_sl + 1)
    pair = game.num_sg * game.num_sl
    successors = pair if kind is TupleForm else max(pair, count_vectors(game, k - 1))
    sizes = states, game.num_al, steps
    imaginable = states < LARGEST_SIZE
    scaled = min(1.0, epsilon * (1 - game.gamma**rounds) / (1 - game.gamma))
    listed = transitions <= MOST_TRANSITIONS
    plan = rounds * transitions * SECONDS_IN_A_PLAN + steps * SECONDS_OF_A_STEP_IN_A_PLAN if listed else MOST_SECONDS
    planned = rounds <= MOST_ROUNDS and PLANS * plan < MOST_SECONDS
    return ChainRow(
        k=k,
        form=kind.name,
        chosen=chain_form(game, k, "paper") is kind,
        rounds=rounds,
        steps=steps,
        states=states,
        transitions=transitions,
        constants=algorithm_5(*sizes, successors, epsilon=scaled, delta=delta) if imaginable else None,
        episodes=theorem_c3(*sizes, epsilon=scaled, delta=min(delta, 1 - 1e-12)).episodes if imaginable else None,
        dp_seconds=rounds * transitions * SECONDS_OF_A_TRANSITION + steps * SECONDS_OF_A_STEP if listed else None,
        ucfh_seconds=PLANS * plan if planned else None,
    )


def chains_text(game: Game, rows: Sequence[ChainRow]) -> str:
    """The rows as a table."""
    titles = ("k", "form", "H", "micro steps", "states", "transitions", "m", "m w_min", "episodes", "exact DP", "UCFH")
    table = [titles, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(titles))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in table]
    sizes = f"{game.num_sg} x {game.num_sl} states, {game.num_ag} x {game.num_al} actions"
    legend = (
        "* the paper's switch rule; m, m w_min: UCFH's visits, in theory, to know a row, and before its first update",
        "episodes: the order of Theorem C.3; exact DP, UCFH: about how long on one core, UCFH to certify 5 %",
    )
    return "\n".join([f"{game.name}: {sizes}, gamma = {game.gamma:g}", *legend, "", *lines])


def _cells(row: ChainRow) -> tuple[str, ...]:
    theory = (None, None) if row.constants is None else (row.constants.m, row.constants.first_update)
    numbers = (row.states, row.transitions, *theory, row.episodes)
    dp = "too large" if row.dp_seconds is None else _duration(row.dp_seconds)
    learned = "no" if row.ucfh_seconds is None else _duration(row.ucfh_seconds)
    form = row.form + ("*" if row.chosen else " ")
    return (str(row.k), form, str(row.rounds), str(row.steps), *(_short(number) for number in numbers), dp, learned)


def _short(number: float | None) -> str:
    if number is None:
        return "-"
    return f"{number:,.0f}" if number < 10**6 else about(number)


def _duration(seconds: float) -> str:
    return "< 1 s" if seconds < 1 else f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
