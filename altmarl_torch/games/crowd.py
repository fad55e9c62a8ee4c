r"""Global rewards that see the crowd: r_g_mu(s_g, a_g, mu), with mu the frequencies of the local states.

Beyond the paper, whose rewards see one agent at a time (its Section 5 asks for weaker assumptions): in counts the
frequencies h / k of the k-agent game are part of the state, so that a reward of them is as exact as any other, and so
are those of n agents in rollouts. The system earns

    r_g(s_g, a_g) + r_g_mu(s_g, a_g, mu) + (1/n) sum_i r_l(s_i, s_g, a_i).

The function takes s_g `[...]` and a_g `[...]` (int64) and mu `[..., sl]` (float64), and returns `[...]`. What it is
given is its own: copies, so that nothing else changes where it writes into them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError

__all__ = [
    "CrowdReward",
    "crowd_range",
    "crowd_rewards",
    "crowd_rewards_along",
    "crowd_rewards_at",
    "global_rewards",
    "refuse_crowd",
    "without_global_rewards",
]

CrowdReward = Callable[[Tensor, Tensor, Tensor], Tensor]

TRIED = 512
"""Frequencies at which a reward is tried when a game is made."""

ROWS_AT_ONCE = 2**20


def global_rewards(game: Any, frequencies: Tensor) -> Tensor:
    """r_g + r_g_mu of every action at frequencies `[N, sl]`: `[sg, N, ag]`, float64."""
    total: Tensor = crowd_rewards(game.r_g_mu, game.r_g.shape, frequencies) + game.r_g[:, None]
    return total


def crowd_rewards(function: CrowdReward, sizes: tuple[int, int], frequencies: Tensor) -> Tensor:
    """r_g_mu alone, of so many global states and actions, at frequencies `[N, sl]`: `[sg, N, ag]`, float64.

    Raises:
        GameError: the function raised, or returned no finite numbers of the right shape.
    """
    num_sg, num_ag = sizes
    a_g, parts = torch.arange(num_ag, device=frequencies.device), []
    for mu in torch.split(frequencies.clone(), max(1, ROWS_AT_ONCE // (num_sg * num_ag))):
        shape = num_sg, len(mu), num_ag
        s_g = torch.arange(num_sg, device=mu.device)[:, None, None].expand(shape)
        parts.append(_call(function, s_g, a_g.expand(shape), mu[:, None].expand(*shape, mu.shape[-1])))
    return torch.cat(parts, 1)


def crowd_rewards_at(function: CrowdReward, num_ag: int, s_g: Tensor, frequencies: Tensor) -> Tensor:
    """r_g_mu alone of every action, at s_g `[b]` and frequencies `[b, sl]` of their own: `[b, ag]`, float64.

    Raises:
        GameError: as `crowd_rewards`.
    """
    shape = len(s_g), num_ag
    a_g, mu = torch.arange(num_ag, device=s_g.device), frequencies.clone().unsqueeze(1)
    return _call(function, s_g.clone().unsqueeze(-1).expand(shape), a_g.expand(shape), mu.expand(*shape, mu.shape[-1]))


def crowd_rewards_along(function: CrowdReward, s_g: Tensor, a_g: Tensor, frequencies: Tensor) -> Tensor:
    """r_g_mu alone, of what is played: s_g and a_g `[b]` at frequencies `[b, sl]`: `[b]`, float64.

    Raises:
        GameError: as `crowd_rewards`.
    """
    return _call(function, s_g.clone(), a_g.clone(), frequencies.clone())


def _call(function: CrowdReward, s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor:
    """The rewards, if they are numbers of the right shape.

    Raises:
        GameError: the function raised, or returned something else.
    """
    try:
        found = function(s_g, a_g, mu)
    except Exception as cause:
        said = " ".join(str(cause).split())
        shapes = f"s_g and a_g {list(s_g.shape)}, mu {list(mu.shape)}"
        raise GameError(f"r_g_mu raised {type(cause).__name__} for {shapes}: {said}") from cause
    if not isinstance(found, Tensor) or found.shape != s_g.shape:
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise GameError(f"r_g_mu returned {shape} for s_g, a_g {list(s_g.shape)}; expected a reward for each of them")
    if found.is_complex():
        raise GameError(f"r_g_mu returned {str(found.dtype).removeprefix('torch.')}; rewards must be real numbers")
    if not bool(found.isfinite().all()):
        place = (~found.isfinite()).nonzero()[0].tolist()
        where = f"s_g = {int(s_g[tuple(place)])}, a_g = {int(a_g[tuple(place)])}, mu = {mu[tuple(place)].tolist()}"
        raise GameError(f"r_g_mu is {float(found[tuple(place)])} at {where}; rewards must be finite")
    return found.detach().to(torch.float64)


def crowd_range(game: Any) -> tuple[float, float]:
    """The least and the largest r_g_mu that is found at 512 frequencies, the corners and the middle among them.

    Raises:
        GameError: the function does not do what the module's page says.
    """
    if not callable(game.r_g_mu):
        raise GameError(f"r_g_mu must be a function of (s_g, a_g, mu), not {type(game.r_g_mu).__name__}")
    num_sl, generator = game.P_l.shape[0], torch.Generator().manual_seed(0)
    drawn = torch.rand(TRIED, num_sl, generator=generator, dtype=torch.float64).clamp_min(1e-12).log()
    inner = drawn * torch.linspace(0.2, 5, TRIED, dtype=torch.float64).unsqueeze(-1)
    corners, middle = torch.eye(num_sl, dtype=torch.float64), torch.full((1, num_sl), 1 / num_sl, dtype=torch.float64)
    tried = torch.cat([corners, middle, inner / inner.sum(-1, keepdim=True)]).to(game.r_g.device)
    found = global_rewards(game, tried) - game.r_g[:, None]
    return float(found.min()), float(found.max())


def without_global_rewards(game: Any) -> Any:
    """The game in which only r_l is earned: what local agents with objectives of their own see."""
    return game.replace(r_g=torch.zeros_like(game.r_g), r_g_mu=None)


def refuse_crowd(game: Any, what: str) -> None:
    """Raise an ArgumentError where the reward sees the crowd and `what` does not."""
    if game.r_g_mu is not None:
        raise ArgumentError(
            f"r_g_mu sees the frequencies of the local states, and {what} does not; solve(solver='tabular') and "
            "solve(solver='lifted'), rollout, certify, population_value and SimulatedGame.from_tables do"
        )
