"""Federated optimization (Example 2.6): real federated averaging, watched, logged, and counted as a game.

    simulation    n clients with unlike digits, local SGD, averages of those who take part
    observing     what the server and a client see, decide and earn: states, actions, rewards
    episodes      the one loop that runs a federation under a controller
    building      explore, log, count: the game of `games.named.federated`, and where it comes from
    client        one client by itself, for federations of separate processes
    comparing     a learned pair back in the real federation, against fixed schedules

`python -m altmarl_torch.federated` rebuilds the game and makes the comparison. The digits come with scikit-learn:
`pip install 'altmarl-torch[federated]'`. Who only solves the game needs neither.
"""

from altmarl_torch.federated.building import Explorer, LogPlan, build, count, log, read_setup, thresholds, write
from altmarl_torch.federated.client import Client
from altmarl_torch.federated.comparing import Comparison, PairController, Schedule, compare, figure, schedules
from altmarl_torch.federated.episodes import Controller, Episode, play
from altmarl_torch.federated.simulation import Digits, Federation, Setting, dirichlet_split, load_digits
from altmarl_torch.federated.situations import MODES, START, STEPS, Observer

__all__ = [
    "MODES",
    "START",
    "STEPS",
    "Client",
    "Comparison",
    "Controller",
    "Digits",
    "Episode",
    "Explorer",
    "Federation",
    "LogPlan",
    "Observer",
    "PairController",
    "Schedule",
    "Setting",
    "build",
    "compare",
    "count",
    "dirichlet_split",
    "figure",
    "load_digits",
    "log",
    "play",
    "read_setup",
    "schedules",
    "thresholds",
    "write",
]
