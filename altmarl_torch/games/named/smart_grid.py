r"""A smart grid (Example 2.5): air conditioners, and a coordinator who may interrupt them while the grid is stressed.

**A load.** A room behind a wall, cooled by a machine that is off or on. With R the thermal resistance, C the thermal
capacitance, P the rated electrical power and eta the coefficient of performance, its temperature follows

    dT = ( (T_out - T) / (R C)  -  u eta P / C ) dt  +  sigma dW,        u in [0, 1] the share of the step that it runs.

Over a step of length dt this is solved exactly: with tau = R C and T_ss(u) = T_out - u R eta P,

    T' = T_ss + (T - T_ss) d + s Z,    d = exp(-dt / tau),    s^2 = sigma^2 tau / 2 (1 - d^2),    Z standard normal.

**Its state is a band** [a, b] of temperature, within which T is taken to be uniform, as bin models of such loads do
(the bibliography is in docs/smart-grid.md). T_ss + (T - T_ss) d then is uniform between the images m_a and m_b of the
edges, and with Phi, phi the normal distribution function and density, and G(x) = x Phi(x) + phi(x), whose derivative is
Phi,

    P(T' < c | band) = s / (m_b - m_a) ( G((c - m_a) / s) - G((c - m_b) / s) ),

so the law of the next band is a difference of such numbers: no quadrature, no table typed by hand. The outermost bands
are open: whatever is beyond them counts as in them. Band 1 is the comfort band, centred on the set-point; below it lies
one band, above it the others, for a room that is not cooled becomes hot.

**The grid.** s_g = 2 x + e: x = 0, 1, .. is the level of stress, e = 1 while a curtailment is in force. The action a_g
is the next e, so a curtailment is announced a step ahead. The level goes up one at rate `rise`, and down one at rate
`fall`, or `fall` + `relief` under a curtailment; P_g is the matrix exponential of these rates over a step. While e = 1
a machine that is on runs `cycling` of the step only; by default not at all.

**Rewards**, in money per load and step, with v the width of a band and T_z the middle of band z:

    r_g = - stress_cost[x] (1 - shed e) dt  -  call_cost 1{e = 0, a_g = 1}                                + constant
    r_l = - discomfort ((T_z - setpoint)^2 + v^2 / 12) dt  -  price[x] u P dt,  u = a_l (e ? cycling : 1)  + constant

The square is averaged over the band. Each constant makes the smallest entry zero, as Assumption 2.2 wants it; it
changes no comparison.

**Why it pays to look.** A population that has just been curtailed is warm, and one that has recovered is not: the same
(x, e) is the time to call a curtailment in the one case, and to end it in the other. What a curtailment saves now the
machines draw later, and if that is at a high price it was not worth it. Only the sampled bands tell.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.support.tables import as_finite, as_integer, as_number, as_table, check_kind, refuse_first
from altmarl_torch.support.torch_state import door

__all__ = ["COMFORT_BAND", "AirConditioner", "band_edges", "smart_grid", "stress_laws"]

COMFORT_BAND = 1
"""The band around the set-point."""

PARTS = {"resistance": 1e-2, "capacitance": 1e-2, "power": 1e-2, "cop": 1e-2, "noise": 1e-3}
"""The least value of each of a load's positive numbers; the largest is `MOST`."""

MOST = 1e3
LARGEST_MONEY = 1e6
MOST_BANDS, MOST_LEVELS = 50, 20


@dataclass(frozen=True)
class AirConditioner:
    """A room and the machine that cools it (module docstring).

    Attributes:
        resistance: R, thermal resistance in degC per kW.
        capacitance: C, thermal capacitance in kWh per degC.
        power: P, rated electrical power in kW.
        cop: eta, heat removed per electrical energy.
        outdoor: T_out in degC.
        noise: sigma, in degC per square root of an hour: people, doors, sun.

    Raises:
        ArgumentError: a number is outside its range; the message says which.
    """

    resistance: float = 2.0
    capacitance: float = 2.0
    power: float = 5.6
    cop: float = 2.5
    outdoor: float = 32.0
    noise: float = 0.3

    def __post_init__(self) -> None:
        for name, least in PARTS.items():
            _number(name, getattr(self, name), least, MOST)
        _number("outdoor", self.outdoor, -100.0, 100.0)

    @property
    def time_constant(self) -> float:
        """tau = R C, in hours."""
        return self.resistance * self.capacitance

    def steady_state(self, duty: float) -> float:
        """T_ss in degC: where the room ends that is cooled the share `duty` of the time."""
        return self.outdoor - duty * self.resistance * self.cop * self.power

    def expected(self, temperature: Tensor, hours: float, duty: float) -> Tensor:
        """E[T'] in degC, `hours` after `temperature [...]`."""
        target = self.steady_state(duty)
        return target + (temperature - target) * math.exp(-hours / self.time_constant)

    def deviation(self, hours: float) -> float:
        """s, the standard deviation of T' in degC, `hours` after a known temperature."""
        return self.noise * math.sqrt(-self.time_constant / 2 * math.expm1(-2 * hours / self.time_constant))

    def band_law(self, edges: Tensor, hours: float, duty: float) -> Tensor:
        """The law of the next band: `[band, band']` for bands between `edges [bands + 1]`, outermost ones open."""
        images, s = self.expected(edges, hours, duty), self.deviation(hours)
        below = _antiderivative((edges[1:-1] - images[:, None]) / s)  # [edge, inner edge]
        inner = s * (below[:-1] - below[1:]) / images.diff()[:, None]  # [band, inner edge], P(T' < inner edge)
        ends = torch.zeros_like(edges[1:, None])
        masses = torch.cat([ends, inner, ends + 1], dim=1).diff(dim=1).clamp(min=0)  # rounding leaves -1e-16
        return masses / masses.sum(-1, keepdim=True)


@door
def smart_grid(
    loads: AirConditioner | None = None,
    setpoint: float = 22.5,
    num_bands: int = 5,
    band_width: float = 1.0,
    minutes: float = 5.0,
    rise: float = 0.5,
    fall: float = 0.25,
    relief: float = 0.25,
    cycling: float = 0.0,
    price: Sequence[float] = (0.15, 0.30, 0.60),
    stress_cost: Sequence[float] = (0.0, 2.0, 5.0),
    shed: float = 0.9,
    call_cost: float = 0.5,
    discomfort: float = 1.0,
    n: int = 1000,
    gamma: float = 0.97,
) -> Game:
    """Air conditioners, and a coordinator who may interrupt them while the grid is stressed (Example 2.5).

    Args:
        loads: the rooms and machines, all alike; `None` is `AirConditioner()`.
        setpoint: middle of the comfort band, degC.
        num_bands: |S_l|, from one band below the comfort band upwards; at least 3.
        band_width: degC.
        minutes: length of a step, at most the time constant of the loads.
        rise: rate at which stress goes up a level, per hour.
        fall: rate at which it goes down one.
        relief: what a curtailment adds to `fall`.
        cycling: share of a curtailed step in which a machine that is on may run, in [0, 1].
        price: of electricity at every level of stress, per kWh; as many numbers as there are levels, at least 2.
        stress_cost: of a level to the grid, per load and hour; as many numbers as `price` has.
        shed: share of the stress cost that a curtailment avoids at once, in [0, 1].
        call_cost: of calling a curtailment, per load: goodwill, or what customers are paid to take part.
        discomfort: of one degC away from the set-point, per hour; it grows with the square.
        n: number of loads.
        gamma: discount factor per step.

    |S_g| is twice the number of levels and both players have two actions. The start: s_g is uniform, and so is, among
    all distributions over the bands, that of the loads (Dirichlet(1, ..., 1)).

    Raises:
        ArgumentError: a number is outside its range, `price` and `stress_cost` differ in length, or the bands do
            not lie between the temperatures at which the machines would settle when on and when off.
        GameError: n or gamma is out of range.
    """
    loads = AirConditioner() if loads is None else loads
    check_kind("loads", loads, AirConditioner)
    hours = _number("minutes", minutes, 1e-2, min(1e3, 60 * loads.time_constant)) / 60
    edges = band_edges(loads, setpoint, num_bands, band_width)
    duties = torch.tensor([1.0, _number("cycling", cycling, 0.0, 1.0)], dtype=torch.float64)  # [e], of a machine on
    prices, costs = _levels("price", price), _levels("stress_cost", stress_cost)
    if len(prices) != len(costs):
        raise ArgumentError(f"price has {len(prices)} levels of stress, but stress_cost has {len(costs)}")
    saved = torch.tensor([0.0, _number("shed", shed, 0.0, 1.0)], dtype=torch.float64)  # [e]
    call = torch.zeros(2, 2, dtype=torch.float64)  # [e, ag]
    call[0, 1] = _number("call_cost", call_cost, 0.0, LARGEST_MONEY)
    r_g = -costs[:, None, None] * (1 - saved)[:, None] * hours - call
    away = (edges[1:] + edges[:-1]) / 2 - float(setpoint)
    ache = _number("discomfort", discomfort, 0.0, LARGEST_MONEY) * (away**2 + edges.diff() ** 2 / 12) * hours
    bill = prices[:, None] * duties * loads.power * hours  # [x, e], of a machine that is on
    r_l = -ache[:, None, None, None] - torch.stack([torch.zeros_like(bill), bill], dim=-1)
    return Game(
        P_g=stress_laws(len(prices), rise, fall, relief, hours),
        P_l=_local_laws(loads, edges, hours, len(prices), duties),
        r_g=rearrange(r_g - r_g.min(), "x e ag -> (x e) ag"),
        r_l=rearrange(r_l - r_l.min(), "sl x e al -> sl (x e) al"),
        gamma=gamma,
        n=n,
        initial=InitialLaw.uniform(2 * len(prices), len(away), strength=len(away)),
        name="smart_grid",
        sg_names=[f"stress {x}{when}" for x in range(len(prices)) for when in ("", ", curtailed")],
        sl_names=[f"{middle:g} degC" for middle in ((edges[1:] + edges[:-1]) / 2).tolist()],
        ag_names=["run", "curtail"],
        al_names=["off", "on"],
    )


def band_edges(loads: AirConditioner, setpoint: float, num_bands: int, band_width: float) -> Tensor:
    """The temperatures between the bands and at both ends, `[num_bands + 1]` in degC.

    Raises:
        ArgumentError: a number is outside its range, or a room would settle within the bands when its machine is always
            on or always off.
    """
    setpoint = _number("setpoint", setpoint, -100.0, 100.0)
    num_bands = as_integer("num_bands", num_bands, 3, MOST_BANDS, ArgumentError)
    width = _number("band_width", band_width, 1e-2, 100.0)
    edges = setpoint + width * (torch.arange(num_bands + 1, dtype=torch.float64) - COMFORT_BAND - 0.5)
    coldest, hottest = loads.steady_state(1.0), loads.steady_state(0.0)
    if not (coldest < edges[0] and edges[-1] < hottest):
        raise ArgumentError(
            f"the bands reach from {edges[0]:g} to {edges[-1]:g} degC, but rooms settle at {coldest:g} when on and "
            f"{hottest:g} (outdoor) when off; the bands must lie between"
        )
    return edges


def stress_laws(levels: int, rise: float, fall: float, relief: float, hours: float) -> Tensor:
    """`P_g [sg, ag, sg']` of s_g = 2 x + e: the exponential of the rates over a step, and e' = a_g.

    Raises:
        ArgumentError: a rate is no number in [0, 1000] per hour.
    """
    rise, fall, relief = (_number(*rate, 0.0, MOST) for rate in (("rise", rise), ("fall", fall), ("relief", relief)))
    level = [_birth_and_death(levels, rise, fall + e * relief, hours) for e in range(2)]  # [x, x'] for each e
    law = torch.einsum("exX,aE->xeaXE", torch.stack(level), torch.eye(2, dtype=torch.float64))
    return rearrange(law, "x e ag X E -> (x e) ag (X E)")


def _birth_and_death(levels: int, up: float, down: float, hours: float) -> Tensor:
    """The law of the level `hours` later, `[x, x']`: the matrix exponential of the rates."""
    ones = torch.ones(levels - 1, dtype=torch.float64)
    rates = torch.diag(up * ones, 1) + torch.diag(down * ones, -1)
    law: Tensor = torch.matrix_exp((rates - torch.diag(rates.sum(-1))) * hours)
    return law.clamp(min=0) / law.clamp(min=0).sum(-1, keepdim=True)  # rounding


def _local_laws(loads: AirConditioner, edges: Tensor, hours: float, levels: int, duties: Tensor) -> Tensor:
    """`P_l [sl, sg, al, sl']`: off, or on for what is allowed of the step."""
    off = loads.band_law(edges, hours, 0.0)
    on = [loads.band_law(edges, hours, float(duty)) for duty in duties]  # for each e
    laws = torch.stack([torch.stack([off, law], dim=1) for law in on], dim=1)  # [sl, e, al, sl']
    return laws.repeat(1, levels, 1, 1)


def _antiderivative(x: Tensor) -> Tensor:
    """G(x) = x Phi(x) + phi(x), whose derivative is the normal distribution function Phi."""
    value: Tensor = x * torch.special.ndtr(x) + torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return value


def _levels(name: str, values: Sequence[float]) -> Tensor:
    """Money at every level of stress, `[x]`."""
    table = as_finite(name, as_table(name, values, "x", ArgumentError), "x", ArgumentError)
    as_integer(f"len({name})", len(table), 2, MOST_LEVELS, ArgumentError)
    outside = (table < 0) | (table > LARGEST_MONEY)
    if bool(outside.any()):
        refuse_first(name, table, "x", outside, f"it must be in [0, {LARGEST_MONEY:g}]", ArgumentError)
    return table


def _number(name: str, value: object, least: float, most: float) -> float:
    """`value` as a float in [least, most], or an ArgumentError."""
    return as_number(name, value, f"[{least:g}, {most:g}]", lambda x: least <= x <= most, ArgumentError)
