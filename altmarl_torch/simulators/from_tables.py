"""Tables as functions: what a `Game` holds, as a simulator's five functions.

A state is the number of its row, one feature `[..., 1]`. The start is the tables' initial law: one distribution mu an
episode, and every agent drawn from it.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["functions"]


def functions(game: Any) -> dict[str, Any]:
    """`start`, `move_g`, `move_l`, `r_g` and `r_l` of a `Game`."""
    sums = {name: _sums(getattr(game, name)) for name in ("P_g", "P_l")}
    initial = game.initial

    def start(episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        there = initial.to(generator.device)
        s_g, mu = there.sample_sg(episodes, generator), there.sample_mu(episodes, generator)
        chance = torch.rand(episodes, n, generator=generator, dtype=torch.float64, device=generator.device)
        s_l = torch.searchsorted(_sums(mu).contiguous(), chance, right=True)
        return s_g.unsqueeze(-1).float(), s_l.unsqueeze(-1).float()

    def move_g(s_g: Tensor, a_g: Tensor, generator: torch.Generator) -> Tensor:
        return _draw(sums["P_g"].to(s_g.device)[_index(s_g), a_g], generator)

    def move_l(s_l: Tensor, s_g: Tensor, a_l: Tensor, generator: torch.Generator) -> Tensor:
        return _draw(sums["P_l"].to(s_l.device)[_index(s_l), _index(s_g), a_l], generator)

    def r_g(s_g: Tensor, a_g: Tensor) -> Tensor:
        table: Tensor = game.r_g.to(s_g.device)
        return table[_index(s_g), a_g]

    def r_l(s_l: Tensor, s_g: Tensor, a_l: Tensor) -> Tensor:
        table: Tensor = game.r_l.to(s_l.device)
        return table[_index(s_l), _index(s_g), a_l]

    found: dict[str, Any] = {"start": start, "move_g": move_g, "move_l": move_l, "r_g": r_g, "r_l": r_l}
    return found if game.r_g_mu is None else found | _crowd(game)


def _crowd(game: Any) -> dict[str, Any]:
    """The frequencies of the local states, and a global reward that sees them."""
    num_sl = game.P_l.shape[0]

    def population(s_l: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(_index(s_l), num_sl).float()

    def r_g(s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor:
        table: Tensor = game.r_g.to(s_g.device)
        earned: Tensor = table[_index(s_g), a_g] + game.r_g_mu(_index(s_g), a_g, mu.double())
        return earned

    return {"population": population, "r_g": r_g}


def _index(state: Tensor) -> Tensor:
    """The number of a finite state `[..., 1]`: `[...]` int64."""
    return state.squeeze(-1).long()


def _sums(law: Tensor) -> Tensor:
    """Running sums over the last axis, the last of them exactly 1."""
    sums = law.cumsum(-1)
    return sums / sums[..., -1:]


def _draw(sums: Tensor, generator: torch.Generator) -> Tensor:
    """One draw per row of running sums `[..., s']`, as a state `[..., 1]`."""
    chance = torch.rand(sums.shape[:-1], generator=generator, dtype=torch.float64, device=sums.device)
    return (chance.unsqueeze(-1) >= sums[..., :-1]).sum(-1, keepdim=True).float()
