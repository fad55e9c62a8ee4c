"""Games drawn at random: for tests that should not depend on one game's accidents.

Every row of P_g and P_l is an independent draw from the uniform law on the simplex, Dirichlet(1, ..., 1): normalised
exponentials E_i = -log(1 - U_i). Rewards are uniform on [0, 1), as Assumption 2.2 wants them.

The more states, the closer such rows lie to uniform, and the less any action matters. `laziness` in [0, 1] gives the
local agents inertia, P_l <- (1 - laziness) P_l + laziness I: at 1 they never move. Slow populations are where a sample
is worth most, since what it shows is still true a few steps later.

One seed gives one game, whatever else draws random numbers: the generator is private and lives on the CPU.
"""

import math

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.support.tables import as_integer, as_number, as_seed, check_entries
from altmarl_torch.support.torch_state import door

__all__ = ["random_game"]


@door
def random_game(
    num_sg: int = 3,
    num_sl: int = 3,
    num_ag: int = 3,
    num_al: int = 2,
    gamma: float = 0.9,
    n: int = 100,
    seed: int = 0,
    laziness: float = 0.0,
) -> Game:
    """Dirichlet rows and uniform rewards from a seed, with as much inertia of the local agents as asked for.

    Args:
        num_sg: number of global states; likewise `num_sl`, `num_ag`, `num_al`, all at least 1.
        num_sl: number of local states.
        num_ag: number of global actions.
        num_al: number of local actions.
        gamma: discount factor per macro step.
        n: number of local agents. The initial law is uniform.
        seed: of the private generator.
        laziness: weight of the identity in P_l, in [0, 1].

    Raises:
        ArgumentError: a size, the seed or the laziness is out of range.
        SizeError: a table would have more than 2^25 entries.
    """
    sizes = {"num_sg": num_sg, "num_sl": num_sl, "num_ag": num_ag, "num_al": num_al}
    Sg, Sl, Ag, Al = (as_integer(name, size, 1, math.inf, ArgumentError) for name, size in sizes.items())
    check_entries("P_g", Sg, Ag, Sg)
    check_entries("P_l", Sl, Sg, Al, Sl)
    laziness = as_number("laziness", laziness, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
    generator = torch.Generator().manual_seed(as_seed(seed))
    P_g, P_l = _laws(generator, Sg, Ag, Sg), _laws(generator, Sl, Sg, Al, Sl)
    stay = torch.eye(Sl, dtype=torch.float64)[:, None, None]
    r_g, r_l = (torch.rand(shape, generator=generator, dtype=torch.float64) for shape in ((Sg, Ag), (Sl, Sg, Al)))
    P_l = (1 - laziness) * P_l + laziness * stay
    return Game(P_g=P_g, P_l=P_l, r_g=r_g, r_l=r_l, gamma=gamma, n=n, name="random")


def _laws(generator: torch.Generator, *shape: int) -> Tensor:
    """Rows drawn from the uniform law on the simplex: `shape`, a law over the last axis."""
    exponentials = -torch.log1p(-torch.rand(shape, generator=generator, dtype=torch.float64))
    return exponentials / exponentials.sum(-1, keepdim=True)
