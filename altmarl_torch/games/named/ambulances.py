r"""Ambulances that must cover districts: a game that a mean of local rewards cannot say.

n ambulances stand in D districts on a ring. Demand is high in one of them, the hot one, which moves now and then; the
dispatcher calls ambulances to a district. A district with the fraction mu_d of them answers a call with the probability
that not all of its ambulances are busy, each of M per unit of mu with probability q (Daskin, *A Maximum Expected
Covering Location Model*, Transportation Science 17, 1983: 1 - q^m for m vehicles):

    r_g = sum_d demand_d ( 1 - q^(M mu_d) ),       demand_hot = h,  the others (1 - h) / (D - 1) each,
    r_l = bonus 1{s_l = called} - fuel 1{a_l != 0}.

An ambulance stays, or drives to the next district either way, and arrives with probability `pace`. Whoever is called
comes, so that a dispatcher who keeps calling strips the other districts: it has to know where the ambulances are,
and sees k of them. s_g = D hot + called; mu is the frequencies of the districts. The numbers are of our making.
"""

import torch
from torch import Tensor

from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Discrete
from altmarl_torch.support.torch_state import door

__all__ = ["ambulances"]

DISTRICTS = 5
HOT_SHARE, HOT_LEAVES = 0.5, 0.05
BUSY, VEHICLES = 0.5, 10.0
BONUS, FUEL, PACE = 0.2, 0.05, 0.5
STEP = (0, 1, -1)


@door
def ambulances(n: int = 200, gamma: float = 0.95) -> SimulatedGame:
    """Ambulances that a dispatcher calls to districts, and that are paid for covering all of them.

    Args:
        n: number of ambulances.
        gamma: discount factor per step.

    Raises:
        GameError: n or gamma is out of range.
    """
    return SimulatedGame(
        start=_start,
        move_g=_move_g,
        move_l=_move_l,
        r_g=_coverage,
        r_l=_r_l,
        global_state=Discrete(DISTRICTS**2),
        local_state=Discrete(DISTRICTS),
        global_action=Discrete(DISTRICTS),
        local_action=Discrete(len(STEP)),
        gamma=gamma,
        n=n,
        name="ambulances",
        population=_frequencies,
    )


def _frequencies(s_l: Tensor) -> Tensor:
    """1 for the agent's district: their mean is how many stand in each."""
    return torch.nn.functional.one_hot(_number(s_l), DISTRICTS).float()


def _start(episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    device = generator.device
    s_g = torch.randint(DISTRICTS**2, (episodes, 1), generator=generator, device=device)
    weights = torch.rand(episodes, DISTRICTS, generator=generator, device=device) ** 2 + 1e-3
    s_l = torch.multinomial(weights, n, replacement=True, generator=generator).unsqueeze(-1)
    return s_g.float(), s_l.float()


def _move_g(s_g: Tensor, a_g: Tensor, generator: torch.Generator) -> Tensor:
    hot, device = _number(s_g) // DISTRICTS, s_g.device
    chance = torch.rand(hot.shape, generator=generator, device=device)
    further = torch.randint(1, DISTRICTS, hot.shape, generator=generator, device=device)
    hot = (hot + further * (chance < HOT_LEAVES)) % DISTRICTS
    return (hot * DISTRICTS + a_g).unsqueeze(-1).float()


def _move_l(s_l: Tensor, s_g: Tensor, a_l: Tensor, generator: torch.Generator) -> Tensor:
    arrives = torch.rand(a_l.shape, generator=generator, device=s_l.device) < PACE
    step = torch.tensor(STEP, device=s_l.device)[a_l] * arrives
    return ((_number(s_l) + step) % DISTRICTS).unsqueeze(-1).float()


def _coverage(s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor:
    hot = torch.nn.functional.one_hot(_number(s_g) // DISTRICTS, DISTRICTS)
    demand = (1 - HOT_SHARE) / (DISTRICTS - 1) * (1 - hot) + HOT_SHARE * hot
    return (demand * (1 - BUSY ** (VEHICLES * mu))).sum(-1)


def _r_l(s_l: Tensor, s_g: Tensor, a_l: Tensor) -> Tensor:
    called = _number(s_l) == _number(s_g) % DISTRICTS
    return BONUS * called.float() - FUEL * (a_l != 0).float()


def _number(state: Tensor) -> Tensor:
    """Of a finite state `[..., 1]`: `[...]` int64."""
    return state.squeeze(-1).long()
