"""`altmarl bounds`: everything that `altmarl_torch.theory` says about one game, as a table over k.

A row is one number of one statement. Where the number bounds something that cannot exceed a known limit, whatever one
does, a bound that reaches the limit says nothing, and is marked **vacuous**:

    quantity                                limit
    eta (UPDATE accepts 2 eta)              V_max / 2
    gap, noise, distance of two Qs          V_max = r~/(1-gamma)
    deviation of a frequency                1

Beside it stands the smallest k from which the bound says something. That search is not limited by the game's n: where n
stands in a formula, k > n is read as the game of k agents, all of them seen. It goes up to `LARGEST_K_SEARCHED`, over
every k to 100 and by bisection above, since these bounds fall with k from there on. The Bellman noise at a fixed m
grows with k instead: if it says nothing at k = 1, it never does.

Numbers marked as orders lack constants and logarithms, and are never called vacuous. Every statement is as printed
(`docs/bounds.md` lists the disagreements).
"""

import dataclasses
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.support.tables import as_integer
from altmarl_torch.theory.arguments import as_count, as_probability
from altmarl_torch.theory.statements import Statement, statements

__all__ = ["BoundsTable", "Row", "bounds_json", "bounds_table", "bounds_text"]

LARGEST_K = 10_000
"""The largest k of a column: sizes have |S_l|^k digits by the thousands."""

LARGEST_K_SEARCHED = 10**15
EVERY_K = 100
LARGEST_NUMBER = 1e300  # above it, JSON holds the decimal logarithm alone


@dataclass(frozen=True)
class Row:
    """One number of one statement, for every k of the table."""

    group: str
    name: str  # function of `theory`, with the part or parameterization where it returns several
    order: bool  # without constants and logarithms
    values: tuple[float | None, ...]  # None where the number exceeds 1e300
    log10: tuple[float | None, ...]  # of the number; None for 0 and below
    vacuous: tuple[bool | None, ...]  # None where there is no limit to compare with
    limit: float | None  # the largest value that makes sense, reached by a vacuous bound
    smallest_k: int | None  # at which it says something; None if there is none up to the cap, or no limit


@dataclass(frozen=True)
class BoundsTable:
    """The rows, and what they were computed for."""

    game: str
    n: int
    gamma: float
    r_tilde: float
    v_max: float
    k: tuple[int, ...]
    m: int  # draws in Lemma B.35
    delta: float  # failure probability wherever a statement leaves it open
    smallest_k_cap: int
    negative_rewards: bool  # some bounds then lack a hypothesis
    rows: tuple[Row, ...]


def bounds_table(game: Game, ks: Sequence[int], *, m: int = 30, delta: float = 0.05) -> BoundsTable:
    """Compute every schedule, bound and size for `game` at each k.

    Args:
        game: the game.
        ks: the columns, each in 1..n and at most 10,000.
        m: draws per Bellman update in Lemma B.35; Table 2 has 30.
        delta: failure probability, in (0, 1), wherever a statement leaves it open.

    Raises:
        ArgumentError: an argument is out of range, or there is no k.
    """
    if not ks:
        raise ArgumentError("k: give at least one sample size")
    columns = tuple(as_integer("k", k, 1, min(game.n, LARGEST_K), ArgumentError) for k in ks)
    as_probability("delta", delta)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the table says it once: negative_rewards
        rows = tuple(_row(spec, game, columns) for spec in statements(game, as_count("m", m), delta))
    negative = min(float(game.r_g.min()), float(game.r_l.min())) < 0
    facts = game.name, game.n, game.gamma, game.r_tilde, game.v_max
    return BoundsTable(*facts, columns, m, delta, LARGEST_K_SEARCHED, negative, rows)


def bounds_json(table: BoundsTable) -> dict[str, object]:
    """The table as JSON's types, without NaN or infinity."""
    return dataclasses.asdict(table)


def bounds_text(table: BoundsTable) -> str:
    """The table as text, one block per group."""
    lines = [
        f"{table.game}: n = {table.n:,}, gamma = {table.gamma:g}, r~ = {table.r_tilde:.4g}, V_max = {table.v_max:.4g}; "
        f"m = {table.m}, delta = {table.delta:g}",
        "vacuous: the bound reaches the largest possible value; says something from: the smallest k where it is below",
    ]
    if table.negative_rewards:
        lines.append("some rewards are negative: the bounds that assume none (docs/bounds.md) are not proved here")
    for group in dict.fromkeys(row.group for row in table.rows):
        lines += ["", *_block(group, [row for row in table.rows if row.group == group], table)]
    return "\n".join(lines)


def _block(group: str, rows: list[Row], table: BoundsTable) -> list[str]:
    """The lines of one group; its last column is there where some row has a limit."""
    limited = any(row.limit is not None for row in rows)
    head = [group, *(f"k = {k:,}" for k in table.k), *(["says something from"] if limited else [])]
    body = [[row.name + (" (order)" if row.order else ""), *_cells(row)] for row in rows]
    if limited:
        body = [[*line, _from(row)] for line, row in zip(body, rows, strict=True)]
    widths = [max(len(line[column]) for line in [head, *body]) for column in range(len(head))]
    padded = [[cell.rjust(width) for cell, width in zip(line, widths, strict=True)] for line in [head, *body]]
    return ["  ".join([line[0].strip().ljust(widths[0]), *line[1:]]) for line in padded]


def _cells(row: Row) -> list[str]:
    marked = zip(row.values, row.log10, row.vacuous, strict=True)
    return [_shown(value, log10) + (" vacuous" if vacuous else "") for value, log10, vacuous in marked]


def _from(row: Row) -> str:
    if row.limit is None:
        return "-"
    return f"> {LARGEST_K_SEARCHED:.0e}" if row.smallest_k is None else f"k = {row.smallest_k:,}"


def _shown(value: float | None, log10: float | None) -> str:
    """Seven digits at most; beyond, the power of ten."""
    if log10 is not None and log10 >= 7:
        return f"{10 ** (log10 % 1):.2f}e{math.floor(log10)}"
    if value is None:
        return "-"
    return f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.4g}"


def _row(spec: Statement, game: Game, ks: tuple[int, ...]) -> Row:
    found = [spec.formula(game, k) for k in ks]
    limit = spec.limit
    vacuous = tuple(None if limit is None else value >= limit for value in found)
    smallest = None if limit is None else _smallest(spec, game, limit)
    values = tuple(value if abs(value) < LARGEST_NUMBER else None for value in found)
    log10 = tuple(math.log10(value) if value > 0 and value != math.inf else None for value in found)
    return Row(spec.group, spec.name, spec.order, values, log10, vacuous, limit, smallest)


def _smallest(spec: Statement, game: Game, limit: float) -> int | None:
    """The smallest k at which the bound is below the limit: every k to 100, then doubling and bisection."""

    def says_something(k: int) -> bool:
        return spec.formula(game if k <= game.n else game.replace(n=k), k) < limit

    for k in range(1, 2 if spec.grows else EVERY_K + 1):
        if says_something(k):
            return k
    low, high = EVERY_K, 2 * EVERY_K
    while not spec.grows and high <= LARGEST_K_SEARCHED:
        if says_something(high):
            return _bisect(says_something, low, high)
        low, high = high, 2 * high
    return None


def _bisect(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The smallest k in (low, high] for which it holds, if it holds at high and not at low."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
