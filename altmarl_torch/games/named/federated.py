"""Federated averaging with clients that come and go (Example 2.6), counted from real runs on handwritten digits.

The tables are no formula. A hundred clients with unlike data were trained by federated averaging under exploring
decisions, and what happened was counted (`altmarl_torch.federated`; `docs/federated.md`). The file
`federated.npz` holds the result and `federated.json` where it comes from: data, seeds, versions, thresholds,
counts.

    s_g   who is averaged in this round: 0 nobody, 1 a quarter of the clients, 2 all
    a_g   who is averaged in the next one
    s_l   a client's model: 0 to 3 near the server's, with rising loss; 4 far from it
    a_l   local steps: 0 none, 1 four, 2 sixteen

r_l is the share of ignorance that a client's model has lost after the round, 1 - loss / ln 10 and at least 0, less
0.005 per local step; r_g is -0.3 times the share of the clients that communicate.
"""

from pathlib import Path

from altmarl_torch.games.game import Game
from altmarl_torch.support.torch_state import door

__all__ = ["federated"]

AVERAGED = ("nobody", "a quarter", "all")
NAMES = {
    "sg_names": AVERAGED,
    "ag_names": AVERAGED,
    "sl_names": ("near, least loss", "near, less loss", "near, more loss", "near, most loss", "far"),
    "al_names": ("no steps", "four steps", "sixteen steps"),
}
TABLES = Path(__file__).with_name("federated.npz")


@door
def federated(n: int = 100, gamma: float = 0.95) -> Game:
    """Clients train on unlike data, a server decides how many it averages (Example 2.6, counted from real runs).

    Args:
        n: number of clients; the runs had 100.
        gamma: discount factor per round.

    Raises:
        GameError: n or gamma is out of range.
    """
    return Game.load(TABLES).replace(n=n, gamma=gamma, **NAMES)
