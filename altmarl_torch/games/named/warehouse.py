"""The warehouse of Appendix G.2: a dispatcher gives one zone priority, robots drift between zones.

Zones 0..S-1 lie on a ring. The dispatcher's state s_g is the zone with priority, its action the zone it wants next;
a robot's state s_l is its zone, its action a_l one of stay (0), up (1), down (2). Both move by a softmax over logits,

    d(s_g') = 3.0 1{s_g' = a_g} + 0.5 1{s_g' = s_g} + b,
    f(s_l') = 3.5 1{s_l' = s_l} + 1.5 1{s_l' = target(s_l, a_l)} + 0.3 1{s_l' = s_g} + b,

with target(s_l, 1) = s_l + 1 and target(s_l, 2) = s_l - 1 modulo S, and earn

    r_g(s_g, a_g)      = 4 (1 - |s_g - a_g| / (S - 1)),
    r_l(s_l, s_g, a_l) = 10 if s_l = s_g, else 2 / (1 + d_circ(s_l, s_g)),   plus 0, +0.5, -0.3 for a_l = 0, 1, 2,

where d_circ(i, j) = min(|i - j|, S - |i - j|). A robot aligned with the priority earns most, so the dispatcher wants
to stand at the population's mode, and the robots want to walk towards the dispatcher; a walk takes several steps, since
even an intended move succeeds with probability 0.11 only.

**What the paper leaves out, and what stands here.**

* target(s_l, 0) is not defined. Action 0 has *no* target term, as in the authors' code.
* b is the constant 0.1, which any softmax cancels, and S = 5. For other S that would let the chance of a leap to some
  far zone grow with S until nobody could steer. Here b = 0.1 for a_g (in d), for s_l and the target (in f), and
  b = 0.1 - ln((S - 1) / 4) for all other zones: S - 1 of them weigh together what 4 weigh at S = 5, where the two
  readings are the same game. In the same spirit r_g spans 4 to 0 at every S.
* The start is not given.  s_g is uniform and the robots are i.i.d. from one Dirichlet(0.3, ..., 0.3) draw per episode,
  as the caption of Figure 4 suggests.
"""

import math
from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.support.tables import as_integer, check_entries
from altmarl_torch.support.torch_state import door

__all__ = ["STAY_UP_DOWN", "STEPS", "local_reward", "targets", "warehouse", "zone_laws", "zone_names"]

PRESETS = ("paper", "code")
STEPS = (0, 1, -1)  # by which a_l moves a robot's target along the ring
STAY_UP_DOWN = ("stay", "up", "down")
BONUS = (0.0, 0.5, -0.3)
BASE_LOGIT = 0.1
CONCENTRATION = 0.3  # of the Dirichlet start, per zone


@door
def warehouse(preset: str = "paper", num_zones: int = 5, n: int = 1000, gamma: float = 0.95) -> Game:
    """Robots on a ring of zones follow a dispatcher's priority (Appendix G.2).

    Args:
        preset: `"paper"` is G.2 as printed; `"code"` is the variant in the authors' public code, with r_g = 1.
        num_zones: S, at least 2; S = 5 is the paper's game. At S = 2 up and down have the same target.
        n: number of robots.
        gamma: discount factor per macro step.

    Raises:
        ArgumentError: an unknown preset, or fewer than 2 zones.
        GameError: n or gamma is out of range.
        SizeError: so many zones that P_l would have more than 2^25 entries (S > 223).
    """
    if preset not in PRESETS:
        raise ArgumentError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    S = as_integer("num_zones", num_zones, 2, math.inf, ArgumentError)
    check_entries("P_l", S, S, len(STEPS), S)
    target = targets(S, len(STEPS))
    target[:, 0] = False
    P_g, P_l = zone_laws(target, far_logit=BASE_LOGIT - math.log((S - 1) / 4))
    gap = (torch.arange(S)[:, None] - torch.arange(S)).abs().double()
    r_g = 4 * (1 - gap / (S - 1)) if preset == "paper" else torch.ones(S, S, dtype=torch.float64)
    initial = InitialLaw.uniform(S, S, strength=CONCENTRATION * S)
    name = "warehouse" if preset == "paper" else "warehouse-code"
    tables = {"P_g": P_g, "P_l": P_l, "r_g": r_g, "r_l": local_reward(S, 3)}
    return Game(**tables, gamma=gamma, n=n, initial=initial, name=name, **zone_names(S, STAY_UP_DOWN))


def zone_names(num_zones: int, al_names: Sequence[str]) -> dict[str, list[str]]:
    """Names of a game in which s_g, s_l and a_g are zones (`games.naming`: places)."""
    zones = [f"zone {zone}" for zone in range(num_zones)]
    return {"sg_names": zones, "sl_names": zones, "ag_names": zones, "al_names": list(al_names)}


def targets(num_zones: int, num_al: int) -> Tensor:
    """The indicator of s_l' = target(s_l, a_l) for the first `num_al` of stay, up, down: bool `[sl, al, sl']`."""
    zone, step = torch.arange(num_zones), torch.tensor(STEPS[:num_al])
    return (zone[:, None, None] + step[:, None]) % num_zones == zone


def zone_laws(target: Tensor, far_logit: float) -> tuple[Tensor, Tensor]:
    """The softmax laws `P_g [sg, ag, sg']` and `P_l [sl, sg, al, sl']` on the zones of `target [sl, al, sl']`.

    `far_logit` is the b of the zones that no action points at.
    """
    same = torch.eye(len(target), dtype=torch.float64)
    is_action, is_sg = same, rearrange(same, "sg zone -> sg 1 zone")
    d = 3.0 * is_action + 0.5 * is_sg + _base(is_action, far_logit)
    is_sl, is_sg = rearrange(same, "sl zone -> sl 1 1 zone"), rearrange(same, "sg zone -> sg 1 zone")
    is_target = rearrange(target.double(), "sl al zone -> sl 1 al zone")
    f = 3.5 * is_sl + 1.5 * is_target + 0.3 * is_sg + _base(is_sl + is_target, far_logit)
    return torch.softmax(d, -1), torch.softmax(f, -1)


def _base(pointed_at: Tensor, far_logit: float) -> Tensor:
    """The b of each next zone: `BASE_LOGIT` where an indicator is set."""
    return torch.where(pointed_at > 0, BASE_LOGIT, torch.full_like(pointed_at, far_logit))


def local_reward(num_zones: int, num_al: int) -> Tensor:
    """`r_l [sl, sg, al]` of G.2 for the first `num_al` of stay, up, down."""
    zone = torch.arange(num_zones, dtype=torch.float64)
    gap = (zone[:, None] - zone).abs()
    distance = torch.minimum(gap, num_zones - gap)
    base = torch.where(distance == 0, 10.0, 2.0 / (1.0 + distance))
    return base[:, :, None] + torch.tensor(BONUS[:num_al], dtype=torch.float64)
