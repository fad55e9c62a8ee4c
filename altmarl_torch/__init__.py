"""Approximate Nash equilibria between one coordinator that sees k of n agents, and the n agents.

    import altmarl_torch as am

    game = am.games.warehouse()
    solution = am.solve(game, k=20)
    print(am.rollout(game, solution).mean)

Implements *Learning Approximate Nash Equilibria in Cooperative Multi-Agent Reinforcement Learning via Mean-Field
Subsampling*: G-LEARN, L-LEARN and ALTERNATING-MARL, exactly where the paper samples. The names below are the public
ones; everything else may change.
"""

from altmarl_torch import errors, games, heuristics, neural, policies, rewards, tabular, theory
from altmarl_torch.alternation import Decision, Update
from altmarl_torch.behaviour import collect
from altmarl_torch.certificate import Certificate, Gap, certify
from altmarl_torch.coverage import Coverage, coverage_of_data, coverage_of_game
from altmarl_torch.errors import (
    AltMarlError,
    ArgumentError,
    FileFormatError,
    GameError,
    KernelError,
    LearningError,
    LogError,
    PolicyError,
    SizeError,
)
from altmarl_torch.estimation import FittedGame, estimate
from altmarl_torch.evaluation import JointValue, joint_value
from altmarl_torch.finite import paired_difference, population_value
from altmarl_torch.finite_types import with_types
from altmarl_torch.game import Game
from altmarl_torch.initial import InitialLaw
from altmarl_torch.kernels import CountKernel, SampledCountKernel
from altmarl_torch.logs import Transitions, read_log
from altmarl_torch.noise import bellman_noise
from altmarl_torch.offline import learn_from_data
from altmarl_torch.rollout import Rollouts, rollout
from altmarl_torch.rollout_gaps import rollout_gaps
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.solution import Solution
from altmarl_torch.solver import solve
from altmarl_torch.trajectories import Trajectories

__version__ = "0.1.0"

__all__ = [
    "AltMarlError",
    "ArgumentError",
    "Certificate",
    "CountKernel",
    "CountSimplex",
    "Coverage",
    "Decision",
    "FileFormatError",
    "FittedGame",
    "Game",
    "GameError",
    "Gap",
    "InitialLaw",
    "JointValue",
    "KernelError",
    "LearningError",
    "LogError",
    "PolicyError",
    "Rollouts",
    "SampledCountKernel",
    "SizeError",
    "Solution",
    "Trajectories",
    "Transitions",
    "Update",
    "bellman_noise",
    "certify",
    "collect",
    "coverage_of_data",
    "coverage_of_game",
    "errors",
    "estimate",
    "games",
    "heuristics",
    "joint_value",
    "learn_from_data",
    "neural",
    "paired_difference",
    "policies",
    "population_value",
    "read_log",
    "rewards",
    "rollout",
    "rollout_gaps",
    "solve",
    "tabular",
    "theory",
    "with_types",
]
