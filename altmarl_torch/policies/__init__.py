"""Policies of both players, rules that need no learning, and the dispatcher with memory."""

from altmarl_torch.policies.base import Dispatcher, Pair, PolicyPair, Sight, check_pair, cumulative, draw
from altmarl_torch.policies.tabular import (
    TabularDispatcher,
    TabularPair,
    check_pi_g,
    check_pi_l,
    deterministic_local,
    greedy,
    greedy_actions,
    one_hot,
    read_policy,
    uniform_global,
    uniform_local,
)

__all__ = [
    "Dispatcher",
    "Pair",
    "PolicyPair",
    "Sight",
    "TabularDispatcher",
    "TabularPair",
    "check_pair",
    "check_pi_g",
    "check_pi_l",
    "cumulative",
    "deterministic_local",
    "draw",
    "greedy",
    "greedy_actions",
    "one_hot",
    "read_policy",
    "uniform_global",
    "uniform_local",
]
