"""The warehouse with slow robots among fast ones: the example of `games.types`.

A fast robot is one of Appendix G.2. A slow robot carries out an order to move with probability v = `speed` and stays
otherwise: with P_l the kernel of the fast ones, and a_l = 0 their order to stay,

    P_l^slow(. | z, s_g, a_l) = v P_l(. | z, s_g, a_l) + (1 - v) P_l(. | z, s_g, 0),

at the same rewards. So whatever a slow robot does, a fast one could do by ignoring some of its orders.  v = 1 is the
plain warehouse, with a type that says nothing; at v = 0 slow robots drift.

(A kernel v P_l + (1 - v) I would make robots that are slow to *leave* as well, and those earn more than fast ones: the
dispatcher stands where they are, and they stay.)
"""

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.games.named.warehouse import warehouse
from altmarl_torch.games.types import with_types
from altmarl_torch.support.tables import as_number
from altmarl_torch.support.torch_state import door

__all__ = ["two_speed_warehouse"]


@door
def two_speed_warehouse(
    speed: float = 0.25, share: float = 0.5, num_zones: int = 3, n: int = 1000, gamma: float = 0.95
) -> Game:
    """The warehouse with two types of robots, fast and slow.

    Args:
        speed: v, the chance that a slow robot carries out an order to move, in [0, 1].
        share: of the slow robots, in (0, 1).
        num_zones: as for `warehouse`; the local states are twice as many.
        n: number of robots.
        gamma: discount factor per macro step.

    Raises:
        ArgumentError: a number is out of range.
        GameError: n or gamma is out of range.
    """
    speed = as_number("speed", speed, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
    share = as_number("share", share, "(0, 1)", lambda x: 0 < x < 1, ArgumentError)
    fast = warehouse(num_zones=num_zones, n=n, gamma=gamma)
    slow = fast.replace(P_l=speed * fast.P_l + (1 - speed) * fast.P_l[:, :, :1])
    return with_types([fast, slow], [1 - share, share], name="two_speed_warehouse")
