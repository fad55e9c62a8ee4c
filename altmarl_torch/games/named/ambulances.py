r"""Ambulances that must cover districts: a game that a mean of local rewards cannot say.

n ambulances stand in D districts on a ring. Demand is high in one of them, the hot one, which moves now and then; the
dispatcher calls ambulances to a district. A district with the fraction mu_d of them answers a call with the probability
that not all of its ambulances are busy, each of M per unit of mu with probability q (Daskin, *A Maximum Expected
Covering Location Model*, Transportation Science 17, 1983: 1 - q^m for m vehicles):

    r_g_mu = sum_d demand_d ( 1 - q^(M mu_d) ),       demand_hot = h,  the others (1 - h) / (D - 1) each,
    r_l    = bonus 1{s_l = called} - fuel 1{a_l != 0}.

An ambulance stays, or drives to the next district either way, and arrives with probability `pace`. Whoever comes when
called strips the other districts: the dispatcher has to know where the ambulances are, and sees k of them.
s_g = D hot + called. The numbers are of our making.
"""

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.named.warehouse import STEPS
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.torch_state import door

__all__ = ["ambulances", "simulated_ambulances"]

HOT_SHARE, HOT_LEAVES = 0.5, 0.05
BUSY, VEHICLES = 0.5, 10.0
BONUS, FUEL, PACE = 0.02, 0.05, 0.5
SCATTERED = 2.0
"""Strength of the Dirichlet law of the first frequencies."""


@door
def ambulances(districts: int = 3, n: int = 200, gamma: float = 0.95) -> Game:
    """Ambulances that a dispatcher calls to districts, and that are paid for covering all of them.

    Args:
        districts: how many there are, at least 3.
        n: number of ambulances.
        gamma: discount factor per step.

    Raises:
        ArgumentError: there are fewer than three districts, or more than 50.
        GameError: n or gamma is out of range.
    """
    D = as_integer("districts", districts, 3, 50, ArgumentError)
    hot = torch.arange(D * D) // D
    leaves = torch.full((D, D), HOT_LEAVES / (D - 1), dtype=torch.float64).fill_diagonal_(1 - HOT_LEAVES)
    P_g = torch.einsum("gh, ac -> gahc", leaves[hot], torch.eye(D, dtype=torch.float64)).reshape(D * D, D, D * D)
    home, called = torch.arange(D), torch.arange(D * D) % D
    stays = torch.eye(D, dtype=torch.float64)
    moved = torch.stack([(1 - PACE) * stays + PACE * stays[(home + step) % D] for step in STEPS], 1)
    bonus = BONUS * (home[:, None] == called).double()
    return Game(
        P_g=P_g,
        P_l=moved[:, None].expand(D, D * D, len(STEPS), D),
        r_g=torch.zeros(D * D, D, dtype=torch.float64),
        r_l=bonus.unsqueeze(-1) - FUEL * (torch.arange(len(STEPS)) != 0).double(),
        gamma=gamma,
        n=n,
        name="ambulances",
        initial=InitialLaw.uniform(D * D, D, strength=SCATTERED),
        r_g_mu=_coverage,
    )


def simulated_ambulances(districts: int = 3, n: int = 200, gamma: float = 0.95) -> SimulatedGame:
    """The ambulances of `ambulances` one by one, as a simulator whose rewards see the crowd.

    Arguments and errors as there.
    """
    return SimulatedGame.from_tables(ambulances(districts, n, gamma)).replace(name="simulated_ambulances")


def _coverage(s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor:
    """The share of the demand that is answered."""
    D = mu.shape[-1]
    hot = torch.nn.functional.one_hot(s_g // D, D).to(mu.dtype)
    demand = (1 - HOT_SHARE) / (D - 1) * (1 - hot) + HOT_SHARE * hot
    return (demand * (1 - BUSY ** (VEHICLES * mu))).sum(-1)
