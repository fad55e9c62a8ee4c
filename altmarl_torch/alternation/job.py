"""One run of the alternation: from a job to players, to the pair they settle on.

A `Job` is everything that one run needs, checked. `learn` makes the learners and their evaluator, tabular or neural,
lets the one loop run (`alternation`), and packs what comes out as a `Solution`. Each player and the evaluator draws
from a generator of its own.
"""

import copy
import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation.checkpoints import Keeper, Points, Stage, pack, unpack
from altmarl_torch.alternation.loop import (
    Alternation,
    Curve,
    Evaluator,
    Learner,
    PhaseProgress,
    Rules,
    Update,
    alternate,
)
from altmarl_torch.alternation.neural_players import Memory, NeuralGlobalLearner, NeuralLocalLearner
from altmarl_torch.alternation.solution import LARGEST_TABLE, Solution, tabulate_within
from altmarl_torch.alternation.tabular_players import (
    ChainLocalLearner,
    TabularEvaluator,
    TabularGlobalLearner,
    TabularLocalLearner,
)
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import FileFormatError
from altmarl_torch.games.game import Game
from altmarl_torch.learners.chains.l_learn import ChainSettings
from altmarl_torch.learners.neural.fitting import Settings
from altmarl_torch.learners.neural.l_learn import NetworkTurns, Turns, table_turns
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork, check_network
from altmarl_torch.learners.neural.policies import BatchPolicy, UniformPolicy
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.operators.joint_value import Acceptance, Objective
from altmarl_torch.operators.surrogate import SurrogateCache
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.tabular import uniform_global, uniform_local
from altmarl_torch.support.snapshots import Desk

__all__ = ["Job", "Solver", "learn", "tell"]

Solver = Literal["tabular", "neural"]

Players = tuple[tuple[Learner[Any], ...], Evaluator[Any], Pair[Any]]
"""The learners, the global one first, their evaluator, and the pair that they start from."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One run: the arguments of `solve`, checked."""

    game: Game
    k: int
    solver: Solver
    rules: Rules
    m: int | None
    objective: Objective
    accept: Acceptance
    steps: int
    seed: int
    settings: Settings
    network: nn.Module | None
    local_network: bool
    callback: Callable[[Update], None] | None
    progress: PhaseProgress | None
    curve: Curve | None
    prior: Prior | None = None  # of the posterior correction
    start: Pair[Any] | None = None  # where the alternation begins; None: uniform policies
    starts: int = 1  # how many local policies to begin from, where there is no `start`
    chain: ChainSettings | None = None  # of l_learner="ucfh"; None: another
    only_global: bool = False  # whether pi_l stays as it is
    xi: int | None = None  # draws of the rewards (Algorithm 10); None: their means
    keeper: Keeper | None = None  # of checkpoints
    desk: Desk | None = None  # where long computations lay their work


def learn(job: Job) -> Solution:
    """Run the alternation of a job, or go on where a checkpoint has left it."""
    stage = job.keeper.stage() if job.keeper else None
    if stage is None:
        return _solution(job, alternate(*_players(job), job.rules, steps=job.steps, callback=job.callback))
    over = stage.read(copy.deepcopy(job.network), job.game.device)
    if over is not None:
        _tell_again(job, over[0].history, over[1])
        return over[0]
    result = _go_on(job, stage)
    solution = _solution(job, result)
    if not result.interrupted:
        stage.finish(solution)
    return solution


def _go_on(job: Job, stage: Stage) -> Alternation[Any]:
    """The alternation from the newest checkpoint of its stage that can be used, or from its start."""
    players, reached = _players(job, stage), None
    for arrays in stage.checkpoints():
        try:
            reached = unpack(arrays, players[0], players[2], job.k, copy.deepcopy(job.network))
            break
        except FileFormatError as cause:
            logger.warning("a checkpoint is passed over: %s", cause)
            players = _players(job, stage)
    if reached is not None:
        _tell_again(job, reached.history, stage.points)
    rules, steps, learners = job.rules, job.steps, players[0]
    return alternate(
        *players,
        rules,
        steps=steps,
        callback=job.callback,
        reached=reached,
        save=lambda state: stage.save(pack(state, learners), len(state.history)),
    )


def _tell_again(job: Job, history: Sequence[Update], points: Points) -> None:
    """What the job's listeners were told before the run was broken off."""
    for x, numbers in points if job.curve else ():
        job.curve(x, numbers)  # type: ignore[misc]  # asked in the same line
    tell(job, history)


def tell(job: Job, history: Sequence[Update]) -> None:
    """Report updates to the job's listener: those of the run that was chosen, or of one that was broken off."""
    for update in history if job.callback else ():
        job.callback(update)  # type: ignore[misc]  # asked in the same line


def _players(job: Job, stage: Stage | None = None) -> Players:
    """The learners whose turns are taken, their evaluator, and the pair that they start from."""
    watched = job if stage is None else dataclasses.replace(job, curve=stage.watch(job.curve), desk=stage)
    make = _tabular_players if job.solver == "tabular" else _neural_players
    learners, evaluator, start = make(watched)
    return learners[:1] if job.only_global else learners, evaluator, start


def _solution(job: Job, result: Alternation[Any]) -> Solution:
    """What an alternation has found."""
    policy = None if job.solver == "tabular" else result.pair.pi_g
    pi_g = result.pair.pi_g if policy is None else _tabulated(policy, job)
    return Solution(
        k=job.k,
        pi_g=pi_g,
        pi_l=result.pair.pi_l,
        value=result.value.mean,
        eta=result.history[-1].eta if result.history else job.rules.eta(result.value, result.value),
        eta_paper=job.rules.eta_paper,
        history=tuple(result.history),
        converged=result.converged,
        solver=job.solver,
        seed=job.seed,
        game_name=job.game.name,
        phase_seconds=result.seconds,
        interrupted=result.interrupted,
        policy=policy,
    )


def _tabulated(policy: BatchPolicy, job: Job) -> Tensor | None:
    table = tabulate_within(policy, CountSimplex(job.k, job.game.num_sl, job.game.device), LARGEST_TABLE)
    return None if table is None else table.double()


def _tabular_players(job: Job) -> Players:
    """Learners, evaluator and start on tables over the counts of k agents."""
    game, progress = job.game, job.progress
    plan = PairPlan(CountSimplex(job.k, game.num_sl, game.device))
    plan.simplex.require_listed()
    generator = torch.Generator(game.device).manual_seed(job.seed)
    surrogates = SurrogateCache(game, plan, job.prior)
    local: Learner[Tensor] = TabularLocalLearner(surrogates, job.objective, progress)
    if job.chain is not None:
        (number,) = np.random.SeedSequence(job.seed).generate_state(1).tolist()
        episodes = torch.Generator(game.device).manual_seed(number)
        local = ChainLocalLearner(surrogates, job.objective, job.chain, episodes, progress, job.curve, job.desk)
    learners = TabularGlobalLearner(surrogates, job.m, generator, progress, job.xi), local
    return (
        learners,
        TabularEvaluator(surrogates, progress),
        job.start or Pair(uniform_global(game, plan.simplex), uniform_local(game)),
    )


def _neural_players(job: Job) -> Players:
    """Learners, evaluator and start on networks.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    game, k = job.game, job.k
    sizes = (game.num_sl, game.num_sg, game.num_ag)
    *seeds, episodes = np.random.SeedSequence(job.seed).generate_state(5).tolist()
    weights, local_weights, for_g, for_l = (torch.Generator(game.device).manual_seed(number) for number in seeds)
    network = CountNetwork(*sizes, generator=weights) if job.network is None else job.network
    check_network(network, *sizes, game.device)
    memory = Memory(
        game, k, network, job.settings, job.prior, curve=job.curve, progress=job.progress, desk=job.desk, xi=job.xi
    )
    evaluator = RolloutEvaluator(game, k, job.accept, episodes, job.prior)
    turns: Turns = table_turns
    if job.local_network:
        turns = NetworkTurns(LocalNetwork(game.num_sl, game.num_sg, game.num_al, generator=local_weights))
    judged, values = evaluator, memory
    if job.objective == "own":
        own = game.replace(r_g=torch.zeros_like(game.r_g))
        judged, values = RolloutEvaluator(own, k, "mean", episodes, job.prior), dataclasses.replace(memory, game=own)
    learners = (
        NeuralGlobalLearner(memory, for_g),
        NeuralLocalLearner(values, judged, turns, for_l, job.objective == "team"),
    )
    start = job.start or Pair(UniformPolicy(game.num_sg, game.num_ag), uniform_local(game))
    return learners, evaluator, start
