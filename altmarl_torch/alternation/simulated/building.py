"""From what is asked of a simulator to who plays: how many agents, which learners and networks, and where they begin.

A player with finitely many actions fits values; one with continuous actions is an actor whose episodes are
differentiated.
"""

import copy
from typing import Any, Literal, cast, get_args

import numpy as np
import torch
from torch import nn

from altmarl_torch.alternation.loop import Players
from altmarl_torch.alternation.simulated.own_learners import OwnLocalLearner, SimulatedLocalFunction
from altmarl_torch.alternation.simulated.players import (
    PathwiseLearner,
    SimulatedEvaluator,
    SimulatedGlobalLearner,
    SimulatedLocalLearner,
    SimulatedMemory,
    Study,
    Taught,
    as_pair,
    played,
)
from altmarl_torch.alternation.simulated.solution import SimulatedObservation
from altmarl_torch.alternation.simulated.team_learner import TeamLocalLearner
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.simulated.actors import GlobalActor, LocalActor, octaves_of
from altmarl_torch.learners.simulated.experience import probe
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork, check_set_network
from altmarl_torch.learners.simulated.policies import GIVEN, GivenGlobal, NamedLocal, UniformGlobal
from altmarl_torch.learners.simulated.starts import local_starts
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Pair
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import RulePair
from altmarl_torch.simulators.spaces import Discrete
from altmarl_torch.support.tables import as_integer, check_kind

__all__ = ["Turns", "first_pairs", "number_played", "objective_of", "own_learner", "players_of"]

MOST_PLAYED, MOST_DIFFERENTIATED, FOR_EACH_SEEN = 512, 64, 20
"""Agents that are played at most where the sample is k of a population, and where their episodes are differentiated;
what k of more see differs by little. Derivatives need at least so many for each that is seen: the variance of a mean of
k of N is short by k/N, and a filter's gain by about half of that.
"""

MOST_STARTS = 1_000

Turns = Literal["both", "global", "local"]


def number_played(game: SimulatedGame, k: int, observation: object, population: object) -> int:
    """How many agents are played."""
    if observation not in get_args(SimulatedObservation):
        choices = ", ".join(map(repr, get_args(SimulatedObservation)))
        raise ArgumentError(f"observation must be one of {choices} for a SimulatedGame, not {observation!r}")
    if observation == "surrogate":
        if population is not None:
            raise ArgumentError("population goes with observation='population'; the surrogate's is k")
        return k
    if population is not None:
        return as_integer("population", population, k, game.n, ArgumentError)
    finite = isinstance(game.global_action, Discrete) and isinstance(game.local_action, Discrete)
    return max(k, min(game.n, MOST_PLAYED if finite else max(MOST_DIFFERENTIATED, FOR_EACH_SEEN * k)))


def objective_of(game: SimulatedGame, objective: object) -> Objective:
    """What a local agent maximises."""
    if objective not in (None, *get_args(Objective)):
        raise ArgumentError(f"objective must be one of {', '.join(map(repr, get_args(Objective)))}, not {objective!r}")
    usual: Objective = "own" if isinstance(game.local_action, Discrete) else "team"
    return usual if objective is None else cast(Objective, objective)


def own_learner(game: SimulatedGame, l_learner: object) -> SimulatedLocalFunction | None:
    """A function for the local agents, or None for the learner that there is; an ArgumentError for anything else."""
    if l_learner == "auto":
        return None
    if not callable(l_learner):
        raise ArgumentError(f"l_learner must be 'auto', or a function of a problem and pi_l, not {l_learner!r}")
    if not isinstance(game.local_action, Discrete):
        raise ArgumentError("a learner of one's own needs finitely many local actions; those of this game are a Box")
    return cast(SimulatedLocalFunction, l_learner)


def first_pairs(game: SimulatedGame, start: object, starts: object, turns: object) -> dict[str, Pair[Any]]:
    """Where the alternation begins, by name: the rules that are given, or as many local policies as are asked for.

    Raises:
        ArgumentError: the rules are none, there are not so many policies, or turns are no word.
    """
    if turns not in get_args(Turns):
        raise ArgumentError(f"turns must be one of {', '.join(map(repr, get_args(Turns)))}, not {turns!r}")
    every = local_starts(game)
    number = as_integer("starts", starts, 1, MOST_STARTS, ArgumentError)
    if number > len(every):
        raise ArgumentError(f"starts = {number}: {game.name} has {len(every)}, {', '.join(every)}")
    if start is None:
        return {name: as_pair(UniformGlobal(game), pi_l) for name, pi_l in list(every.items())[:number]}
    if number > 1:
        raise ArgumentError(f"start is a pair to begin from, and starts = {number} begins from several: give one")
    check_kind("start", start, RulePair, "simulators.RulePair(k, rule_g, rule_l) makes one")
    rules = cast(RulePair, start)
    return {GIVEN: as_pair(GivenGlobal(rules), NamedLocal(GIVEN, rules.rule_l))}


def players_of(
    game: SimulatedGame,
    k: int,
    network: nn.Module | None,
    seed: int,
    device: torch.device,
    rate: float,
    first: Pair[Any],
    turns: Turns,
    remembers: bool,
    l_learner: SimulatedLocalFunction | None,
    **told: Any,
) -> tuple[Players[Any, SimulatedMemory], Study]:
    """Learners, evaluator and start; each draws from a generator of its own."""
    *seeds, episodes = np.random.SeedSequence(seed).generate_state(5).tolist()
    weights, look, for_g, for_l = (torch.Generator(device).manual_seed(number) for number in seeds)
    leader, local, met = probe(game, played(k, first), look)
    belief = RunningMeans(local, octaves_of(local)) if remembers else None
    study = Study(game, k, leader, local, met.units, met.deviation, rate, belief=belief, **told)
    values = _global_network(study, network, torch.Generator().manual_seed(seeds[0]), device, weights)
    own = _local_network(study, torch.Generator().manual_seed(seeds[1]), device)
    memory = SimulatedMemory(Taught(values.eval(), for_g), Taught(own.eval(), for_l))
    leads = isinstance(game.global_action, Discrete)
    learners: tuple[Any, ...] = (
        SimulatedGlobalLearner(study) if leads else PathwiseLearner(study, "global", "g_learn"),
        _local_learner(study, l_learner),
    )
    asked = tuple(learner for learner in learners if turns in ("both", learner.player))
    return Players(asked, SimulatedEvaluator(study, episodes, device), first, memory), study


def _local_learner(study: Study, l_learner: SimulatedLocalFunction | None) -> Any:
    """Who responds for the local agents."""
    if l_learner is not None:
        return OwnLocalLearner(study, l_learner)
    if not isinstance(study.game.local_action, Discrete):
        return PathwiseLearner(study, "local", "l_learn")
    return TeamLocalLearner(study) if study.objective == "team" else SimulatedLocalLearner(study)


def _global_network(
    study: Study,
    network: nn.Module | None,
    generator: torch.Generator,
    device: torch.device,
    weights: torch.Generator,
) -> nn.Module:
    """The network of the global agent's values or actions: the user's, or a new one."""
    space, leader, local = study.game.global_action, study.leader, study.local
    answers = space.num if isinstance(space, Discrete) else space.d
    width = 0 if study.belief is None else study.belief.width
    if network is not None:
        if width:
            raise ArgumentError("a network of one's own has no memory: leave it out, or observation='filter'")
        own = copy.deepcopy(network).to(device)
        check_set_network(own, leader.draw((2,), weights), local.draw((2, study.k), weights), answers)
        return own
    if isinstance(space, Discrete):
        return SetNetwork(leader, local, answers, generator, width).to(device)
    return GlobalActor(leader, local, space, generator, width).to(device)


def _local_network(study: Study, generator: torch.Generator, device: torch.device) -> nn.Module:
    """The network of a local agent's values or actions."""
    space, leader, local = study.game.local_action, study.leader, study.local
    if isinstance(space, Discrete):
        return LocalValues(leader, local, space.num, generator).to(device)
    return LocalActor(leader, local, space, generator).to(device)
