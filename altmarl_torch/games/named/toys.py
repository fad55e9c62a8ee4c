"""Small games with known answers.

`steer`, `ware` and `hash_game` are tables small enough to enumerate every local policy, with no symmetry that
would hide a swapped axis; their optima are numbers to be reproduced. `beacon` is solved by hand below, at every k.

**Beacon.**  S zones. The global agent stands at zone s_g, goes wherever it likes in one step (s_g' = a_g), and earns 1
for staying: r_g = 1{a_g = s_g}.  A local agent earns r_l = 1{s_l = s_g}.  It may wait (a_l = 0: s_l' = s_l) or walk to
the beacon (a_l = 1: s_l' = s_g with probability p, otherwise s_l' = s_l). Write q = 1 - p and f = h(s_g) / k, the
share of the sampled agents that stand at the beacon.

*Claim.*  Let gamma q <= 1/2. Then "always stay" for the global agent and "always walk" for the local agents is optimal
among all policies, those that see everything included. For every k and every initial state its value on k agents is

    V(s_g, h) = 2 / (1 - gamma) - (1 - f) / (1 - gamma q).

*Its value.*  The global agent earns 1 per step. An agent at the beacon remains there; one elsewhere is still elsewhere
after t steps with probability q^t. So the expected share at time t is 1 - (1 - f) q^t, and V is the discounted sum.

*It is optimal.*  V satisfies the optimality equation. Staying: the stage reward is 1 + f whatever the local agents do,
V is affine and increasing in f, and walking raises the expected share the most, to f + (1 - f) p. Moving: the stage
reward is f, and what follows is worth at most 2 / (1 - gamma), the value with everybody at the beacon. This is no
better if

    f + 2 gamma / (1 - gamma) <= V(s_g, h),   that is   (1 - f) (1 / (1 - gamma q) - 1) <= 1,

which holds for all f once gamma q / (1 - gamma q) <= 1, the condition of the claim. If it is strict, staying is the
only optimal action, and for gamma > 0 walking is the only one for agents elsewhere (at the beacon the two coincide).

*Averages.*  With a uniform start f has mean 1/S: V averages to 2 / (1 - gamma) - (1 - 1/S) / (1 - gamma q). One tagged
agent's own value under the pair is 1 / (1 - gamma) - 1{s_l != s_g} / (1 - gamma q).

*The best response to agents that wait.*  The counts are frozen, so a move worth making is worth making at once, and the
best is to choose one zone j and stay there:

    V_wait(s_g, h) = max_j  f + 1{j = s_g} + gamma / (1 - gamma) (1 + h(j) / k),

the first two terms being this step's. Unlike V it makes the global agent's action depend on the sample.
"""

import math

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.games.game import Game
from altmarl_torch.games.named.warehouse import (
    BASE_LOGIT,
    STAY_UP_DOWN,
    STEPS,
    local_reward,
    targets,
    zone_laws,
    zone_names,
)
from altmarl_torch.support.tables import (
    as_integer,
    as_number,
    as_table,
    check_entries,
    check_whole,
    refuse_booleans,
    refuse_first,
)
from altmarl_torch.support.torch_state import door

__all__ = ["beacon", "beacon_value", "beacon_value_against_waiting", "hash_game", "steer", "ware"]


@door
def steer(gamma: float = 0.8, n: int = 100) -> Game:
    """Two zones, two actions each: the global agent steers itself, local agents want to be where it is.

    P_g(s_g' = a_g) is .9 if a_g = s_g and .8 otherwise; a_l = 0 stays with probability .9, a_l = 1 crosses with .8;
    r_g = 1{s_g = 1}; r_l = .6 1{s_l = s_g} + .4 1{a_l = 0}.  The initial law is uniform.
    """
    same = torch.eye(2, dtype=torch.float64)
    cross = 1 - same
    hit = (0.8 + 0.1 * same)[:, :, None]  # [sg, ag, 1], the chance that s_g' = a_g
    stay_or_cross = torch.stack([0.9 * same + 0.1 * cross, 0.2 * same + 0.8 * cross], dim=1)  # [sl, al, sl']
    return Game(
        P_g=hit * same + (1 - hit) * cross,
        P_l=stay_or_cross[:, None].expand(2, 2, 2, 2),
        r_g=torch.tensor([[0.0, 0.0], [1.0, 1.0]]),
        r_l=0.6 * same[:, :, None] + torch.tensor([0.4, 0.0], dtype=torch.float64),
        gamma=gamma,
        n=n,
        name="steer",
        **zone_names(2, ("stay", "cross")),
    )


@door
def ware(num_zones: int = 3, num_al: int = 2, gamma: float = 0.8, n: int = 100) -> Game:
    """A small cousin of the warehouse for tests: S zones, the first 1..3 of the actions stay, up, down.

    As Appendix G.2 with b = 0.1 for every zone at every S, but for three points: target(s_l, 0) = s_l, so staying has
    the 1.5 term too; r_g = S - 1 - |s_g - a_g|; all rewards are divided by 10.5 + S - 1. The initial law is uniform.

    Raises:
        ArgumentError: fewer than 2 zones, or `num_al` outside 1..3.
        SizeError: a table would have more than 2^25 entries.
    """
    S = as_integer("num_zones", num_zones, 2, math.inf, ArgumentError)
    num_al = as_integer("num_al", num_al, 1, len(STEPS), ArgumentError)
    check_entries("P_l", S, S, num_al, S)
    P_g, P_l = zone_laws(targets(S, num_al), far_logit=BASE_LOGIT)
    zone = torch.arange(S, dtype=torch.float64)
    scale = 10.5 + S - 1
    r_g = (S - 1 - (zone[:, None] - zone).abs()) / scale
    tables = {"P_g": P_g, "P_l": P_l, "r_g": r_g, "r_l": local_reward(S, num_al) / scale}
    return Game(**tables, gamma=gamma, n=n, name="ware", **zone_names(S, STAY_UP_DOWN[:num_al]))


@door
def hash_game(
    num_sg: int = 2, num_sl: int = 2, num_ag: int = 2, num_al: int = 2, gamma: float = 0.8, n: int = 100
) -> Game:
    """Tables of any size filled by modular arithmetic: no structure, no randomness, the same in every language.

    With s = s_g, z = s_l, a the action, t and y the next states,
    P_g is proportional to 1 + ((7s + 5a + 3t + 2st + 4at) mod 9)^2, r_g = ((2s + 3a + sa) mod 5) / 4,
    P_l is proportional to 1 + ((5z + 3s + 7a + 2y + 3ay + 4sy + 6zy) mod 11)^2, r_l = ((3z + 5s + 2a + zsa) mod 7) / 6.
    The initial law is uniform.

    Raises:
        ArgumentError: a size is below 1.
        SizeError: a table would have more than 2^25 entries.
    """
    sizes = {"num_sg": num_sg, "num_sl": num_sl, "num_ag": num_ag, "num_al": num_al}
    Sg, Sl, Ag, Al = (as_integer(name, size, 1, math.inf, ArgumentError) for name, size in sizes.items())
    check_entries("P_g", Sg, Ag, Sg)
    check_entries("P_l", Sl, Sg, Al, Sl)
    s, a, t = _indices(Sg, Ag, Sg)
    P_g = 1 + ((7 * s + 5 * a + 3 * t + 2 * s * t + 4 * a * t) % 9).double() ** 2
    r_g = ((2 * s + 3 * a + s * a) % 5)[:, :, 0].double() / 4
    z, s, a, y = _indices(Sl, Sg, Al, Sl)
    P_l = 1 + ((5 * z + 3 * s + 7 * a + 2 * y + 3 * a * y + 4 * s * y + 6 * z * y) % 11).double() ** 2
    r_l = ((3 * z + 5 * s + 2 * a + z * s * a) % 7)[:, :, :, 0].double() / 6
    P_g, P_l = P_g / P_g.sum(-1, keepdim=True), P_l / P_l.sum(-1, keepdim=True)
    return Game(P_g=P_g, P_l=P_l, r_g=r_g, r_l=r_l, gamma=gamma, n=n, name="hash")


def _indices(*sizes: int) -> tuple[Tensor, ...]:
    """The index of each axis at every entry of a table with these sizes."""
    return torch.meshgrid(*(torch.arange(size) for size in sizes), indexing="ij")


@door
def beacon(num_zones: int = 3, arrival: float = 0.5, gamma: float = 0.8, n: int = 100) -> Game:
    """A beacon that ought to stand still and agents that ought to walk to it: solved by hand at every k.

    Args:
        num_zones: S, at least 2.
        arrival: p in (0, 1], the chance that a walking agent arrives within the step.
        gamma: discount factor per macro step; gamma (1 - p) must not exceed 1/2, or standing still may lose.
        n: number of local agents. The initial law is uniform.

    The module's page derives the optimum; `beacon_value` and `beacon_value_against_waiting` evaluate it.

    Raises:
        ArgumentError: num_zones, arrival or gamma (1 - arrival) is outside its range.
        GameError: n or gamma is out of range.
        SizeError: a table would have more than 2^25 entries.
    """
    S = as_integer("num_zones", num_zones, 2, math.inf, ArgumentError)
    p = as_number("arrival", arrival, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError)
    gamma = as_number("gamma", gamma, "[0, 1)", lambda x: 0 <= x < 1, GameError)
    check_entries("P_l", S, S, 2, S)
    if gamma * (1 - p) > 0.5:
        raise ArgumentError(f"gamma (1 - arrival) must not exceed 1/2, not {gamma!r} * (1 - {p!r})")
    same = torch.eye(S, dtype=torch.float64)
    wait = same[:, None].expand(S, S, S)  # [sl, sg, sl']
    walk = (1 - p) * wait + p * same
    return Game(
        P_g=same.expand(S, S, S),
        P_l=torch.stack([wait, walk], dim=2),
        r_g=same,
        r_l=same[:, :, None].expand(S, S, 2),
        gamma=gamma,
        n=n,
        name="beacon",
        **zone_names(S, ("wait", "walk")),
    )


def beacon_value(counts: Tensor, arrival: float = 0.5, gamma: float = 0.8) -> Tensor:
    """The optimal V(s_g, h) of `beacon`, `[sg, N]`, for the rows h of `counts [N, sl]` (sl = sg = zones).

    Raises:
        ArgumentError: arrival is outside (0, 1], gamma outside [0, 1), or a row holds no agents.
    """
    arrival = as_number("arrival", arrival, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError)
    gamma = as_number("gamma", gamma, "[0, 1)", lambda x: 0 <= x < 1, ArgumentError)
    away = 1 - _shares(counts)
    return 2 / (1 - gamma) - away / (1 - gamma * (1 - arrival))


def beacon_value_against_waiting(counts: Tensor, gamma: float = 0.8) -> Tensor:
    """The global agent's best value V_wait(s_g, h) in `beacon`, `[sg, N]`, when all local agents wait.

    Raises:
        ArgumentError: gamma is outside [0, 1), or a row holds no agents.
    """
    gamma = as_number("gamma", gamma, "[0, 1)", lambda x: 0 <= x < 1, ArgumentError)
    share = _shares(counts)
    stay_now = torch.eye(len(share), dtype=share.dtype, device=share.device)[:, :, None]  # [sg, j, 1]
    choices = share[:, None] + stay_now + gamma / (1 - gamma) * (1 + share)
    return choices.amax(1)


def _shares(counts: Tensor) -> Tensor:
    """h(s_g) / k for each zone s_g and each row h: `[sg, N]`."""
    refuse_booleans("counts", counts, ArgumentError)
    table = as_table("counts", counts, "h sl", ArgumentError)
    check_whole("counts", table, "h sl", ArgumentError)
    total = table.sum(-1)
    rule = "each row counts at least one agent"
    refuse_first("counts", total, "h", ~((total > 0) & total.isfinite()), rule, ArgumentError, verb="sums to")
    return (table / total.unsqueeze(-1)).T
