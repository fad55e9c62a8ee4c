r"""The smart grid without bands: rooms have temperatures, and the coordinator is shown those of k of them.

Loads, grid and prices are those of `games.smart_grid`, whose page (docs/smart-grid.md) cites them. A room follows

    T' = T_ss(u) + (T - T_ss(u)) exp(-dt / tau) + s Z,      Z standard normal,

with u = a_l, or 0 while a curtailment is in force,
solved exactly over a step, and clipped to the box of temperatures. s_g = 2 x + e is the level x of stress and whether a
curtailment is in force; a_g is the next e. Money per load and step:

    r_g = - stress_cost[x] (1 - shed e) dt - call_cost 1{e = 0, a_g = 1},
    r_l = - discomfort (T - setpoint)^2 dt - price[x] u P dt.

At the start all rooms are about equally warm, and how warm differs from episode to episode: that is what looking tells.
"""

from typing import Any

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.named.smart_grid import AirConditioner, stress_laws
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Box, Discrete
from altmarl_torch.support.tables import as_number, check_kind
from altmarl_torch.support.torch_state import door

__all__ = ["thermostats"]

RISE, FALL, RELIEF = 0.5, 0.25, 0.25
PRICE, STRESS_COST = (0.15, 0.30, 0.60), (0.0, 2.0, 5.0)
SHED, CALL_COST, DISCOMFORT = 0.9, 0.5, 1.0
BELOW, ABOVE = 4.0, 6.0
"""The box of temperatures, in degC from the set-point."""

WARM, SPREAD = (-1.0, 3.0), 0.5
"""At the start: where the common temperature lies, from the set-point, and how far rooms differ from it."""


@door
def thermostats(
    loads: AirConditioner | None = None,
    setpoint: float = 22.5,
    minutes: float = 5.0,
    n: int = 1000,
    gamma: float = 0.97,
) -> SimulatedGame:
    """Air conditioners with temperatures, and a coordinator who may interrupt them while the grid is stressed.

    Args:
        loads: the rooms and machines, all alike; `None` is `games.AirConditioner()`.
        setpoint: where rooms are comfortable, degC.
        minutes: length of a step.
        n: number of loads.
        gamma: discount factor per step.

    Raises:
        ArgumentError: a number is outside its range.
        GameError: n or gamma is out of range.
    """
    loads = AirConditioner() if loads is None else loads
    check_kind("loads", loads, AirConditioner)
    hours = as_number("minutes", minutes, "[0.01, 60]", lambda x: 0.01 <= x <= 60, ArgumentError) / 60
    setpoint = as_number("setpoint", setpoint, "[-100, 100]", lambda x: -100 <= x <= 100, ArgumentError)
    return SimulatedGame(
        **_functions(loads, setpoint, hours),
        global_state=Discrete(2 * len(PRICE)),
        local_state=Box(setpoint - BELOW, setpoint + ABOVE),
        global_action=Discrete(2),
        local_action=Discrete(2),
        gamma=gamma,
        n=n,
        name="thermostats",
    )


def _functions(loads: AirConditioner, setpoint: float, hours: float) -> dict[str, Any]:
    """The five functions."""
    law = stress_laws(len(PRICE), RISE, FALL, RELIEF, hours)
    sums = (law.cumsum(-1) / law.sum(-1, keepdim=True)).float()
    prices, costs = (torch.tensor(table, dtype=torch.float32) for table in (PRICE, STRESS_COST))
    deviation = loads.deviation(hours)

    def start(episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        device = generator.device
        s_g = torch.randint(2 * len(PRICE), (episodes, 1), generator=generator, device=device).float()
        common = torch.rand(episodes, 1, 1, generator=generator, dtype=torch.float32, device=device)
        rooms = SPREAD * torch.randn(episodes, n, 1, generator=generator, dtype=torch.float32, device=device)
        warm = WARM[0] + (WARM[1] - WARM[0]) * common + rooms
        return s_g, setpoint + warm.clamp(-BELOW, ABOVE)

    def move_g(s_g: Tensor, a_g: Tensor, generator: torch.Generator) -> Tensor:
        chance = torch.rand(s_g.shape, generator=generator, dtype=torch.float32, device=s_g.device)
        return (chance >= sums.to(s_g.device)[_number(s_g), a_g][..., :-1]).sum(-1, keepdim=True).float()

    def move_l(s_l: Tensor, s_g: Tensor, a_l: Tensor, generator: torch.Generator) -> Tensor:
        running = (a_l * (1 - _number(s_g) % 2)).unsqueeze(-1).bool()
        cooled, warmed = (loads.expected(s_l, hours, duty) for duty in (1.0, 0.0))
        noise = torch.randn(s_l.shape, generator=generator, dtype=torch.float32, device=s_l.device)
        moved = torch.where(running, cooled, warmed) + deviation * noise
        return moved.clamp(setpoint - BELOW, setpoint + ABOVE)

    def r_g(s_g: Tensor, a_g: Tensor) -> Tensor:
        level, curtailed = _number(s_g) // 2, _number(s_g) % 2
        stress = costs.to(s_g.device)[level] * (1 - SHED * curtailed.float()) * hours
        return -stress - CALL_COST * (a_g > curtailed).float()

    def r_l(s_l: Tensor, s_g: Tensor, a_l: Tensor) -> Tensor:
        level, curtailed = _number(s_g) // 2, _number(s_g) % 2
        bill = prices.to(s_l.device)[level] * a_l * (1 - curtailed) * loads.power * hours
        return -DISCOMFORT * hours * (s_l.squeeze(-1) - setpoint).square() - bill

    return {"start": start, "move_g": move_g, "move_l": move_l, "r_g": r_g, "r_l": r_l}


def _number(s_g: Tensor) -> Tensor:
    """2 x + e of a global state `[..., 1]`: `[...]` int64."""
    return s_g.squeeze(-1).long()
