"""Games that are simulators: functions on tensors in place of tables, and what can be done without learning.

A game, its check, k of its n agents, rules written by hand, and episodes of n agents. Learning is in
`learners.simulated`.
"""

from altmarl_torch.simulators.binning import Binning
from altmarl_torch.simulators.check import check_simulator
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import RulePair, SampleDispatcher, SimulatedPair, uniform_pair
from altmarl_torch.simulators.rollouts import SimulatedRollouts, SimulatedTrace, rollout_simulator
from altmarl_torch.simulators.rules import heuristic_pairs, hold, mode, sticky, walk
from altmarl_torch.simulators.spaces import Box, Discrete

__all__ = [
    "Binning",
    "Box",
    "Discrete",
    "RulePair",
    "SampleDispatcher",
    "SimulatedGame",
    "SimulatedPair",
    "SimulatedRollouts",
    "SimulatedTrace",
    "check_simulator",
    "heuristic_pairs",
    "hold",
    "mode",
    "rollout_simulator",
    "sticky",
    "uniform_pair",
    "walk",
]
