r"""Moves and rewards that see the crowd: the mean of a feature over all agents.

Beyond the paper, whose agents meet only through s_g (its Section 5 asks for weaker assumptions): a game with
`population`, a function of one agent's state, hands

    mu = (1/n) sum_i population(s_i)

to those of `move_g`, `move_l`, `r_g` and `r_l` that have an argument `mu`. So rewards may ask for coverage, moves may
know of congestion, a queue may be drained by the crews that stand at it. Given mu (and s_g) agents still move and earn
independently. The paper's surrogate, k agents that are all there are, has the mean over the k.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.errors import GameError

__all__ = ["FUNCTIONS", "Laws", "crowd_mean", "seeing"]

FUNCTIONS = ("move_g", "move_l", "r_g", "r_l")

AGENTS_PER_CALL = 2**18
"""Agents whose features are held at once."""


def seeing(game: Any) -> frozenset[str]:
    """Which of the game's functions take `mu`.

    Raises:
        GameError: one does, and there is no population to take the mean of; or there is, and none does.
    """
    takes = {name: _takes_mu(getattr(game, name)) for name in FUNCTIONS}
    if game.population is None:
        if needing := [name for name, needed in takes.items() if needed]:
            raise GameError(
                f"{needing[0]} takes mu, the mean of a feature over all agents: give population=, a function of s_l"
            )
        return frozenset()
    found = frozenset(name for name, needed in takes.items() if needed is not None)
    if not found:
        raise GameError(f"population is given, and none of {', '.join(FUNCTIONS)} has an argument mu to hand it to")
    return found


def _takes_mu(function: Callable[..., Any]) -> bool | None:
    """Whether a function must be given `mu`; None where it cannot be."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    if "mu" in parameters:
        return parameters["mu"].default is inspect.Parameter.empty
    any_word = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return False if any_word else None


def crowd_mean(population: Callable[[Tensor], Tensor] | None, s_l: Tensor) -> Tensor | None:
    """mu `[..., p]` of the agents s_l `[..., m, dl]`; None where there is no population."""
    if population is None:
        return None
    rows = max(1, s_l[..., 0, 0].numel())
    sums = [population(part).float().sum(-2) for part in torch.split(s_l, max(1, AGENTS_PER_CALL // rows), -2)]
    return (sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)) / s_l.shape[-2]


@dataclass(frozen=True, eq=False)
class Laws:
    """The four functions of a game under the crowd mu `[b.., p]`, or None.

    Leading dimensions of their arguments begin with those of mu, which is broadcast over the rest: the agents, or
    actions that are compared.
    """

    game: Any
    mu: Tensor | None = None

    def r_g(self, s_g: Tensor, a_g: Tensor) -> Tensor:
        """The global reward `[...]`."""
        return self._call("r_g", s_g, a_g)

    def r_l(self, s_l: Tensor, s_g: Tensor, a_l: Tensor) -> Tensor:
        """The local rewards `[...]`."""
        return self._call("r_l", s_l, s_g, a_l)

    def move_g(self, s_g: Tensor, a_g: Tensor, generator: torch.Generator) -> Tensor:
        """The next s_g `[..., dg]`."""
        return self._call("move_g", s_g, a_g, generator)

    def move_l(self, s_l: Tensor, s_g: Tensor, a_l: Tensor, generator: torch.Generator) -> Tensor:
        """The next s_l `[..., dl]`."""
        return self._call("move_l", s_l, s_g, a_l, generator)

    def _call(self, name: str, states: Tensor, *others: Any) -> Tensor:
        function: Callable[..., Tensor] = getattr(self.game, name)
        if self.mu is None or name not in self.game.sees:
            return function(states, *others)
        return function(states, *others, mu=_along(self.mu, states.shape[:-1]))


def _along(mu: Tensor, lead: Sequence[int]) -> Tensor:
    """mu `[b.., p]` over further leading dimensions: `[*lead, p]`."""
    *rows, p = mu.shape
    return mu.reshape(*rows, *[1] * (len(lead) - len(rows)), p).expand(*lead, p)
