r"""Algorithm 4 on a simulator: n agents one by one, k of them shown, step by step.

At each step t, with the k-subset Delta drawn uniformly from the n agents, anew at every step:

    look      s_g and the states of the agents in Delta
    act       a_g from the dispatcher, a_i from pi_l(s_i, s_g) for all i
    collect   r_g(s_g, a_g) + (1/n) sum_i r_l(s_i, s_g, a_i)                                                   (Eq. 1)
    move      s_g and every s_i, all from the *current* states                                              (Eq. 2, 3)

The agents are kept as one tensor `[episodes, n, dl]`. Episodes are played in blocks that fit the cache, each with
random streams of its own, by as many workers as there are threads; very large populations are moved a part at a time.
Blocks depend on n and the number of episodes alone, so that equal seeds give equal results on any number of cores.

Five streams (start, sample, moves of s_g, moves of the agents, policies) keep two pairs under one seed in the same
luck, as far as the simulator's functions draw numbers in an order that does not depend on states.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import GameError, PolicyError
from altmarl_torch.simulators.check import check_rewards
from altmarl_torch.simulators.crowd import Laws
from altmarl_torch.simulators.game import SimulatedGame, beside
from altmarl_torch.simulators.pairs import SimulatedPair
from altmarl_torch.simulators.spaces import Space, outside
from altmarl_torch.support.sampling import distinct_labels

__all__ = ["Step", "blocks", "draw_subsets", "fresh_seed", "play", "take"]

AGENTS_PER_BLOCK, AGENTS_PER_CALL = 2**18, 2**18
"""Agents of one block of episodes, and of one call of the game's functions."""


@dataclass(frozen=True, eq=False)
class Step:
    """What happens in one step of a block of episodes."""

    s_g: Tensor  # [b, dg]
    s_l: Tensor  # [b, n, dl]
    sample: Tensor  # [b, k, dl]
    a_g: Tensor  # [b] or [b, ug]
    reward: Tensor  # [b] float64
    mu: Tensor | None = None  # [b, p]


def blocks(episodes: int, n: int) -> list[int]:
    """How many episodes each block has."""
    size = max(1, AGENTS_PER_BLOCK // n)
    return [size] * (episodes // size) + [episodes % size] * (episodes % size > 0)


def fresh_seed(generator: torch.Generator) -> int:
    """A number to seed other generators with."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))


def draw_subsets(rows: int, k: int, n: int, generator: torch.Generator) -> Tensor:
    """Uniform k-subsets of 0..n-1, `[rows, k]` int64, in no particular order; the cost does not grow with n.

    (Beyond n/2 it is that of n uniform numbers.)
    """
    if k == n:
        return torch.arange(n, device=generator.device).expand(rows, n)
    if 2 * k <= n:
        return distinct_labels(rows, k, n, generator).long()
    return torch.rand(rows, n, generator=generator, dtype=torch.float32, device=generator.device).argsort(-1)[:, :k]


def take(agents: Tensor, subset: Tensor) -> Tensor:
    """The agents `[b, n, dl]` of a subset `[b, m]`: `[b, m, dl]`."""
    return agents.gather(1, subset.unsqueeze(-1).expand(*subset.shape, agents.shape[-1]))


@torch.no_grad()
def play(
    game: SimulatedGame,
    pair: SimulatedPair,
    episodes: int,
    horizon: int,
    seed: np.random.SeedSequence,
    device: torch.device | str = "cpu",
) -> Iterator[Step]:
    """Play one block of `episodes` for `horizon` steps with `game.n` agents.

    Raises:
        GameError: a reward is not finite, or a function fails.
        PolicyError: the dispatcher's or the agents' actions are not the game's.
    """
    numbers = seed.generate_state(6).tolist()
    begin, look, global_moves, local_moves, acts = (torch.Generator(device).manual_seed(one) for one in numbers[:5])
    dispatcher = pair.dispatcher(numbers[5])
    dispatcher.reset(episodes)
    s_g, s_l = game.start(episodes, game.n, begin)
    for t in range(horizon):
        sample = take(s_l, draw_subsets(episodes, pair.k, game.n, look))
        a_g = _checked("a_g", game.global_action, dispatcher.act(s_g, sample), s_g.shape[:-1])
        laws = game.under(game.crowd(s_l))
        earned, following = _agents(laws, pair, s_g, s_l, acts, local_moves)
        r_g = laws.r_g(s_g, a_g)
        for name, rewards in (("r_g", r_g), ("mean r_l", earned)):
            check_rewards(name, rewards, f"at step {t}")
        yield Step(s_g, s_l, sample, a_g, r_g.double() + earned, laws.mu)
        s_g, s_l = laws.move_g(s_g, a_g, global_moves), following


def _agents(
    laws: Laws, pair: SimulatedPair, s_g: Tensor, s_l: Tensor, acts: torch.Generator, moves: torch.Generator
) -> tuple[Tensor, Tensor]:
    """What the agents earn on average `[b]` (float64), and where they go `[b, n, dl]`."""
    earned, following = torch.zeros(len(s_l), dtype=torch.float64, device=s_l.device), []
    for part in torch.split(s_l, max(1, AGENTS_PER_CALL // len(s_l)), 1):
        near = beside(s_g, part)
        a_l = _checked("a_l", laws.game.local_action, pair.local_actions(part, near, acts), part.shape[:-1])
        earned += laws.r_l(part, near, a_l).sum(-1, dtype=torch.float64)
        moved = laws.move_l(part, near, a_l, moves)
        if moved.shape != part.shape:
            raise GameError(f"move_l returned shape {list(moved.shape)}; expected {list(part.shape)}")
        following.append(moved)
    return earned / s_l.shape[1], following[0] if len(following) == 1 else torch.cat(following, 1)


def _checked(name: str, space: Space, actions: Tensor, shape: torch.Size) -> Tensor:
    """Actions of the right shape, within the space."""
    if not isinstance(actions, Tensor) or actions.shape[: len(shape)] != shape:
        found = list(actions.shape) if isinstance(actions, Tensor) else type(actions).__name__
        raise PolicyError(
            f"{name} has the shape {found}; expected {list(shape)}, and the features of a continuous action"
        )
    if name == "a_g" and bool(outside(space, actions).any()):
        raise PolicyError(f"{name} holds an action that is not of {space}")
    return actions
