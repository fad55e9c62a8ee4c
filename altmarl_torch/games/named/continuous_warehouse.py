r"""The authors' second public experiment: robots and a dispatcher on a line, without tables.

n robots and a dispatcher have positions in [-2, 2], the middles of five zones being tau = -1.6, -0.8, 0, 0.8, 1.6.
The dispatcher steers to one of the middles, a robot stays, or steps by +0.05 or -0.05:

    s_g' = clip( s_g + 0.6 (tau_a - s_g) + N(0, 0.08^2) ),      r_g = 5 exp( -(s_g - tau_a)^2 / (2 0.3^2) ),
    s_l' = clip( s_l + delta_a + N(0, 0.04^2) ),               r_l = 10 exp( -(s_l - s_g)^2 / (2 0.2^2) ) - 5 |delta_a|.

At the start s_g is uniform in (-1, 1), and 55 % of the robots stand around one of the middles, 45 % around another,
N(tau, 0.18^2), clipped. Steps last 50 in the authors' evaluation, at gamma = 0.95. (Their dispatcher is shown the
frequencies of its sample in the five zones, and not s_g; here it is shown s_g and the sample, as in the paper.)
"""

import torch
from torch import Tensor

from altmarl_torch.simulators.binning import Binning
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Box, Discrete
from altmarl_torch.support.torch_state import door

__all__ = ["continuous_warehouse", "zones"]

EDGE = 2.0
TAU = (-1.6, -0.8, 0.0, 0.8, 1.6)
DELTA = (0.0, 0.05, -0.05)
PULL, SIGMA_G, SIGMA_L, SIGMA_START = 0.6, 0.08, 0.04, 0.18
FIRST_SHARE = 0.55


def zones() -> Binning:
    """The five zones, for rules written by hand."""
    return Binning([-2.0, -1.2, -0.4, 0.4, 1.2, 2.0])


@door
def continuous_warehouse(n: int = 500, gamma: float = 0.95) -> SimulatedGame:
    """The authors' warehouse on a line: positions in [-2, 2], five places to steer to, steps of 0.05.

    Args:
        n: number of robots.
        gamma: discount factor per macro step.

    Raises:
        GameError: n or gamma is out of range.
    """
    return SimulatedGame(
        start=_start,
        move_g=_move_g,
        move_l=_move_l,
        r_g=_r_g,
        r_l=_r_l,
        global_state=Box(-EDGE, EDGE),
        local_state=Box(-EDGE, EDGE),
        global_action=Discrete(len(TAU)),
        local_action=Discrete(len(DELTA)),
        gamma=gamma,
        n=n,
        name="continuous_warehouse",
        zones=zones(),
        offsets=DELTA,
    )


def _start(episodes: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    device = generator.device
    s_g = torch.rand(episodes, 1, generator=generator, dtype=torch.float32, device=device) * 2 - 1
    places = torch.rand(episodes, len(TAU), generator=generator, dtype=torch.float32, device=device).argsort(-1)[:, :2]
    centres = torch.tensor(TAU, dtype=torch.float32, device=device)[places]
    first = int(FIRST_SHARE * n)
    middle = torch.cat([centres[:, :1].expand(-1, first), centres[:, 1:].expand(-1, n - first)], 1)
    noise = torch.randn(episodes, n, generator=generator, dtype=torch.float32, device=device)
    return s_g, (middle + SIGMA_START * noise).clamp(-EDGE, EDGE).unsqueeze(-1)


def _move_g(s_g: Tensor, a_g: Tensor, generator: torch.Generator) -> Tensor:
    tau = torch.tensor(TAU, dtype=torch.float32, device=s_g.device)[a_g].unsqueeze(-1)
    noise = torch.randn(s_g.shape, generator=generator, dtype=torch.float32, device=s_g.device)
    return (s_g + PULL * (tau - s_g) + SIGMA_G * noise).clamp(-EDGE, EDGE)


def _move_l(s_l: Tensor, s_g: Tensor, a_l: Tensor, generator: torch.Generator) -> Tensor:
    noise = torch.randn(s_l.shape, generator=generator, dtype=torch.float32, device=s_l.device)
    step = _of_each(DELTA, a_l).unsqueeze(-1)
    return noise.mul_(SIGMA_L).add_(s_l).add_(step).clamp_(-EDGE, EDGE)


def _r_g(s_g: Tensor, a_g: Tensor) -> Tensor:
    tau = torch.tensor(TAU, dtype=torch.float32, device=s_g.device)[a_g]
    return 5 * torch.exp((s_g.squeeze(-1) - tau).square() * (-0.5 / 0.3**2))


def _r_l(s_l: Tensor, s_g: Tensor, a_l: Tensor) -> Tensor:
    near = torch.exp((s_l - s_g).squeeze(-1).square_().mul_(-0.5 / 0.2**2)).mul_(10)
    return near.sub_(_of_each(DELTA, a_l).abs_(), alpha=5)


def _of_each(numbers: tuple[float, ...], a_l: Tensor) -> Tensor:
    """The number of each action `[...]`; by `index_select`, which takes a third of the time of indexing."""
    return (
        torch.tensor(numbers, dtype=torch.float32, device=a_l.device)
        .index_select(0, a_l.reshape(-1))
        .reshape(a_l.shape)
    )
