"""Agents of several types: mild heterogeneity (section 2 of the paper).

Identical agents are an idealisation; a fleet has old robots and new ones. As long as there are few types, nothing has
to change: a local state becomes a pair s_i = (e_i, x_i) of a type e_i in E, which never changes, and what the agent's
state was before, and the tables may depend on both,

    P_l((e', x') | (e, x), s_g, a_l) = 1{e' = e} P_l^e(x' | x, s_g, a_l),
    r_l((e, x), s_g, a_l)            = r_l^e(x, s_g, a_l).

All agents share these tables, so that everything else holds as it stands, with |S_l| = |E| |X|.  The pair (e, x) has
the index e |X| + x: P_l falls into blocks on the diagonal, one per type.

**Counts keep types.**  The coordinator sees how many of its k agents are of which type *and* where; in the population
and in the surrogate alike, moves never change how many agents there are of a type. An agent's type has the law
`weights`; where it starts, given its type, is up to the type's `initial.local_mean` (`games.initial`
says what a finite strength means then).

**What it costs.**  The counts of k agents over |E| |X| states are C(k + |E| |X| - 1, k): 92,378 for two types of five
zones at k = 10, where one type has 1,001.

**Special cases**, which are tests: one type is the game itself; types with equal tables are a game in which the type
says nothing, with the values and the returns of the plain one.

Reference: W. U. Mondal et al., *On the Approximation of Cooperative Heterogeneous Multi-Agent Reinforcement Learning
(MARL) using Mean Field Control (MFC)*, JMLR 23, 2022.
"""

from collections.abc import Sequence

import torch
from einops import reduce
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.naming import NAMES
from altmarl_torch.support.tables import as_law, as_table

__all__ = ["fold_types", "with_types"]

SHARED = ("P_g", "r_g")
"""The tables that the types' games must have in common."""

Tables = tuple[ArrayLike | Tensor, ArrayLike | Tensor]


def with_types(
    types: Sequence[Game] | Sequence[Tables],
    weights: ArrayLike | Tensor,
    *,
    base: Game | None = None,
    name: str | None = None,
) -> Game:
    """One game whose local agents are of several types (module docstring).

    Args:
        types: a game for each type, alike but for P_l, r_l and where local agents start; or the tables (P_l, r_l) of
            each, next to `base`.
        weights: law of an agent's type, `[e]`, all positive.
        base: the game that has everything else, where `types` are tables.
        name: of the new game; by default that of the first.

    Raises:
        ArgumentError: no types, or weights that are no law of them; or the games disagree, the message says in what.
        GameError: tables are malformed.

    Examples:
        >>> import altmarl_torch as am
        >>> am.with_types([am.games.steer(), am.games.steer()], weights=[0.5, 0.5]).num_types
        2
    """
    games = _games(types, base)
    law = as_law("weights", as_table("weights", weights, "type", ArgumentError), "type", ArgumentError)
    if len(law) != len(games):
        raise ArgumentError(f"there are {len(games)} types, but {len(law)} weights")
    for number, game in enumerate(games[1:], start=1):
        _check_alike(games[0], game, number)
    first, law = games[0], law.to(games[0].device)
    mean = torch.cat([share * game.initial.local_mean for share, game in zip(law, games, strict=True)])
    different = [kept for kept in NAMES.values() if any(getattr(game, kept) != getattr(first, kept) for game in games)]
    return first.replace(
        **dict.fromkeys(different),
        P_l=_block_diagonal([game.P_l for game in games]),
        r_l=torch.cat([game.r_l for game in games]),
        initial=InitialLaw(first.initial.sg, mean, first.initial.strength, len(games)),
        name=first.name if name is None else name,
    )


def fold_types(table: Tensor, num_types: int) -> Tensor:
    """Sum over the types: `[..., (e x)]` to `[..., x]`, the counts of x whatever the type; of one, `table`."""
    return table if num_types == 1 else reduce(table, "... (e x) -> ... x", "sum", e=num_types)


def _games(types: object, base: Game | None) -> list[Game]:
    """A game for each type."""
    if isinstance(types, str | Game | Tensor) or not isinstance(types, Sequence) or not types:
        raise ArgumentError("types must be a list of games, or of pairs (P_l, r_l) next to base=game; at least one")
    if base is not None:
        check_game(base)
        if not all(isinstance(tables, tuple | list) and len(tables) == 2 for tables in types):
            raise ArgumentError("next to base, every type is a pair (P_l, r_l)")
        types = [base.replace(P_l=P_l, r_l=r_l) for P_l, r_l in types]
    for game in types:
        check_game(game, "a game of types")
        if game.num_types > 1:
            raise ArgumentError(f"{game!r} has {game.num_types} types already; give the games of single types")
        if game.r_l_law is not None:
            hint = "give types with replace(r_l=game.r_l), and the law of all of them to the result, replace(r_l=law)"
            raise ArgumentError(f"{game!r} has a law of r_l; {hint}")
    return list(types)


def _check_alike(first: Game, game: Game, number: int) -> None:
    """Types differ in P_l, in r_l and in `initial.local_mean`, and in nothing else."""
    facts: dict[str, tuple[object, object]] = {"n": (first.n, game.n), "gamma": (first.gamma, game.gamma)}
    facts |= {"the device": (str(first.device), str(game.device))}
    facts |= {"the shape of P_l": (list(first.P_l.shape), list(game.P_l.shape))}
    facts |= {"initial.strength": (first.initial.strength, game.initial.strength)}
    facts |= {"the law of r_g": (first.r_g_law, game.r_g_law)}
    for what, (mine, other) in facts.items():
        if mine != other:
            raise ArgumentError(f"type {number} differs from type 0 in {what}: {other} and {mine}")
    tables = {name: (getattr(first, name), getattr(game, name)) for name in SHARED}
    for name, (mine, other) in (tables | {"initial.sg": (first.initial.sg, game.initial.sg)}).items():
        if not torch.equal(mine, other):
            raise ArgumentError(f"type {number} differs from type 0 in {name}, which is the global agent's")


def _block_diagonal(blocks: list[Tensor]) -> Tensor:
    """The kernels `[x, sg, al, x']` of the types as one, `[(e x), sg, al, (e x')]`."""
    size = blocks[0].shape[0]
    whole = blocks[0].new_zeros(len(blocks) * size, *blocks[0].shape[1:3], len(blocks) * size)
    for number, block in enumerate(blocks):
        here = slice(number * size, (number + 1) * size)
        whole[here, :, :, here] = block
    return whole
