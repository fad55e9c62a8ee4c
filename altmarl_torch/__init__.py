"""Approximate Nash equilibria between one coordinator that sees k of n agents, and the n agents.

    import altmarl_torch as am

    game = am.games.warehouse()
    solution = am.solve(game, k=20)
    print(am.rollout(game, solution).mean)

Implements *Learning Approximate Nash Equilibria in Cooperative Multi-Agent Reinforcement Learning via Mean-Field
Subsampling*: G-LEARN, L-LEARN and ALTERNATING-MARL, exactly where the paper samples. The names below are the public
ones; everything else may change.
"""

from typing import TYPE_CHECKING

from altmarl_torch.errors import (
    AltMarlError,
    ArgumentError,
    FileFormatError,
    GameError,
    KernelError,
    LearningError,
    LogError,
    MissingExtraError,
    PolicyError,
    SizeError,
)
from altmarl_torch.support.lazily import lazy

if TYPE_CHECKING:
    from altmarl_torch import errors, games, heuristics, neural, policies, rewards, simulators, tabular, theory
    from altmarl_torch.alternation.loop import Decision, Update
    from altmarl_torch.alternation.simulated.solution import SimulatedSolution
    from altmarl_torch.alternation.simulated.solving import solve
    from altmarl_torch.alternation.solution import Solution
    from altmarl_torch.asking.advise import Advice, advise
    from altmarl_torch.asking.deciding import BeliefPair, ask_and_pay, decide_by_belief
    from altmarl_torch.counts.kernels import CountKernel, SampledCountKernel
    from altmarl_torch.counts.simplex import CountSimplex
    from altmarl_torch.evaluation.any_game import rollout
    from altmarl_torch.evaluation.certificate import Certificate, certify
    from altmarl_torch.evaluation.finite_population import population_value
    from altmarl_torch.evaluation.judge import Gap
    from altmarl_torch.evaluation.paired import paired_difference
    from altmarl_torch.evaluation.records import Rollouts
    from altmarl_torch.evaluation.simulated_gaps import rollout_gaps
    from altmarl_torch.games.game import Game
    from altmarl_torch.games.initial import InitialLaw
    from altmarl_torch.games.logs.files import read_log
    from altmarl_torch.games.logs.transitions import Transitions
    from altmarl_torch.games.types import with_types
    from altmarl_torch.learners.tabular.bellman_noise import bellman_noise
    from altmarl_torch.offline.behaviour import collect
    from altmarl_torch.offline.coverage import Coverage, coverage_of_data, coverage_of_game
    from altmarl_torch.offline.fitted_game import FittedGame, estimate
    from altmarl_torch.offline.learning import learn_from_data
    from altmarl_torch.offline.trajectories import Trajectories
    from altmarl_torch.operators.explicit import ExplicitMDP, surrogate_mdp
    from altmarl_torch.operators.joint_value import JointValue, joint_value
    from altmarl_torch.simulators.check import check_simulator
    from altmarl_torch.simulators.game import SimulatedGame
    from altmarl_torch.simulators.rollouts import SimulatedRollouts
    from altmarl_torch.simulators.spaces import Box, Discrete

__version__ = "0.2.0"

__all__ = [
    "Advice",
    "AltMarlError",
    "ArgumentError",
    "BeliefPair",
    "Box",
    "Certificate",
    "CountKernel",
    "CountSimplex",
    "Coverage",
    "Decision",
    "Discrete",
    "ExplicitMDP",
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
    "MissingExtraError",
    "PolicyError",
    "Rollouts",
    "SampledCountKernel",
    "SimulatedGame",
    "SimulatedRollouts",
    "SimulatedSolution",
    "SizeError",
    "Solution",
    "Trajectories",
    "Transitions",
    "Update",
    "advise",
    "ask_and_pay",
    "bellman_noise",
    "certify",
    "check_simulator",
    "collect",
    "coverage_of_data",
    "coverage_of_game",
    "decide_by_belief",
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
    "simulators",
    "solve",
    "surrogate_mdp",
    "tabular",
    "theory",
    "with_types",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "": ("errors", "games", "heuristics", "neural", "policies", "rewards", "simulators", "tabular", "theory"),
            "alternation.loop": ("Decision", "Update"),
            "alternation.simulated.solution": ("SimulatedSolution",),
            "alternation.simulated.solving": ("solve",),
            "alternation.solution": ("Solution",),
            "asking.advise": ("Advice", "advise"),
            "asking.deciding": ("BeliefPair", "ask_and_pay", "decide_by_belief"),
            "counts.kernels": ("CountKernel", "SampledCountKernel"),
            "counts.simplex": ("CountSimplex",),
            "evaluation.any_game": ("rollout",),
            "evaluation.certificate": ("Certificate", "certify"),
            "evaluation.finite_population": ("population_value",),
            "evaluation.judge": ("Gap",),
            "evaluation.paired": ("paired_difference",),
            "evaluation.records": ("Rollouts",),
            "evaluation.simulated_gaps": ("rollout_gaps",),
            "games.game": ("Game",),
            "games.initial": ("InitialLaw",),
            "games.logs.files": ("read_log",),
            "games.logs.transitions": ("Transitions",),
            "games.types": ("with_types",),
            "learners.tabular.bellman_noise": ("bellman_noise",),
            "offline.behaviour": ("collect",),
            "offline.coverage": ("Coverage", "coverage_of_data", "coverage_of_game"),
            "offline.fitted_game": ("FittedGame", "estimate"),
            "offline.learning": ("learn_from_data",),
            "offline.trajectories": ("Trajectories",),
            "operators.explicit": ("ExplicitMDP", "surrogate_mdp"),
            "operators.joint_value": ("JointValue", "joint_value"),
            "simulators.check": ("check_simulator",),
            "simulators.game": ("SimulatedGame",),
            "simulators.rollouts": ("SimulatedRollouts",),
            "simulators.spaces": ("Box", "Discrete"),
        },
    )
