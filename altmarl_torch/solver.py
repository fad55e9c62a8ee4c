"""`solve`: one call from a game to a pair of policies.

It checks what it is given, picks the learners, and hands them to the one alternation loop.
"""

import dataclasses
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation import (
    Acceptance,
    Alternation,
    Pair,
    PhaseProgress,
    Rules,
    Update,
    alternate,
    automatic_eta,
)
from altmarl_torch.bellman import SurrogateCache
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation import Objective
from altmarl_torch.game import Game
from altmarl_torch.neural.evaluation import RolloutEvaluator
from altmarl_torch.neural.fitting import Settings
from altmarl_torch.neural.l_learn import Turns, network_turns, table_turns
from altmarl_torch.neural.learners import Curve, Memory, NeuralGlobalLearner, NeuralLocalLearner
from altmarl_torch.neural.networks import CountNetwork, LocalNetwork, check_network
from altmarl_torch.neural.policies import BatchPolicy, UniformPolicy
from altmarl_torch.pair_moves import PairPlan
from altmarl_torch.parallel import one_thread
from altmarl_torch.policies import uniform_global, uniform_local
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.solution import LARGEST_TABLE, Solution, tabulate_within
from altmarl_torch.tables import as_device, as_integer, as_number, as_seed
from altmarl_torch.tabular.learners import TabularEvaluator, TabularGlobalLearner, TabularLocalLearner
from altmarl_torch.theory import eta_algorithm_3

__all__ = ["LLearner", "Solver", "check_eta", "check_l_learner", "solve"]

logger = logging.getLogger(__name__)

Solver = Literal["tabular", "neural"]
LLearner = Literal["auto", "dp", "neural"]
Eta = float | Literal["auto", "paper"]
ETA_WORDS = ("auto", "paper")


@one_thread()
def solve(
    game: Game,
    k: int,
    *,
    solver: Solver = "tabular",
    m: int | None = None,
    l_learner: LLearner = "auto",
    objective: Objective = "team",
    eta: Eta = "auto",
    accept: Acceptance = "mean",
    steps: int = 10,
    seed: int = 0,
    device: str = "cpu",
    network: nn.Module | None = None,
    learning_rate: float = Settings.learning_rate,
    compile: bool = False,
    callback: Callable[[Update], None] | None = None,
    progress: PhaseProgress | None = None,
    curve: Curve | None = None,
) -> Solution:
    """Learn an approximate Nash equilibrium of the k-agent game by ALTERNATING-MARL (Algorithm 3).

    Args:
        game: the game.
        k: how many of the n local agents the global agent sees, in 1..n.
        solver: "tabular", exact, where the counts of k agents can be listed; or "neural", of any size.
        m: samples of the paper's T-hat_{k,m} in each Bellman update (Table 2: 30); None for the exact expectation. The
            neural solver draws afresh in every gradient step, so that its fixed point is T-hat_k's for every m; None
            is one draw.
        l_learner: "dp", the model-based one; "neural", the same with a network for pi_l, of the neural solver alone;
            "auto" is "dp".
        objective: what the local agents maximise: "team", the reward of the game, or "own", the paper's.
        eta: UPDATE's tolerance in units of value, or "auto", or "paper".
        accept: UPDATE's rule, "mean" or "all-states".
        steps: at most so many proposals of each player.
        seed: of every random number; the exact solver draws none.
        device: where the tables and networks lie: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:0", ...
        network: a module of one's own, frequencies `[batch, sl]` to `[batch, sg, ag]`, to be trained in place of
            `neural.CountNetwork`; it is left as it was.
        learning_rate: of the networks' optimiser, Adam.
        compile: whether networks are passed through torch.compile.
        callback: told every update.
        progress: told (phase, sweeps, error) in the long parts; for networks, gradient steps and residual.
        curve: told (gradient steps, numbers by tag) while networks are trained.

    Returns:
        The pair with its history. A KeyboardInterrupt returns what has been learned so far, with `interrupted` set.

    Raises:
        ArgumentError: an argument is outside its range, or the network does not fit the game.
        SizeError: the simplex of k agents is too large to list (tabular).
        LearningError: a network's training diverged.
    """
    _check_game(game)
    k, steps = game.check_k(k), as_integer("steps", steps, 1, 10**6, ArgumentError)
    _check_choice("solver", solver, get_args(Solver))
    _check_choice("l_learner", l_learner, get_args(LLearner))
    check_l_learner(solver, l_learner)
    _check_choice("objective", objective, get_args(Objective))
    _check_choice("accept", accept, get_args(Acceptance))
    check_eta(eta)
    game, seed = game.to(as_device(device)), as_seed(seed)
    m = m if m is None else as_integer("m", m, 1, 10**6, ArgumentError)
    rate = as_number("learning_rate", learning_rate, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
    rules = _rules(game, k, eta, accept)
    options = _Options(game, k, m, objective, accept, seed, progress)
    run = partial(alternate, rules=rules, steps=steps, callback=callback)
    pi_g: Tensor | None
    if solver == "tabular":
        result: Alternation[Any] = run(*_tabular_players(options))
        pi_g, policy = result.pair.pi_g, None
    else:
        settings = Settings(draws=m or 1, learning_rate=rate, compile=compile)
        result = run(*_neural_players(options, network, settings, l_learner == "neural", curve))
        policy = result.pair.pi_g
        pi_g = tabulate_within(policy, CountSimplex(k, game.num_sl, game.device), LARGEST_TABLE)
    return Solution(
        k=k,
        pi_g=None if pi_g is None else pi_g.double(),
        pi_l=result.pair.pi_l,
        value=result.value.mean,
        eta=result.history[-1].eta if result.history else rules.eta(result.value, result.value),
        eta_paper=rules.eta_paper,
        history=tuple(result.history),
        converged=result.converged,
        solver=solver,
        seed=seed,
        game_name=game.name,
        phase_seconds=result.seconds,
        interrupted=result.interrupted,
        policy=policy,
    )


@dataclass(frozen=True)
class _Options:
    """What both kinds of players are made from."""

    game: Game
    k: int
    m: int | None
    objective: Objective
    accept: Acceptance
    seed: int
    progress: PhaseProgress | None


def _tabular_players(
    options: _Options,
) -> tuple[tuple[TabularGlobalLearner, TabularLocalLearner], TabularEvaluator, Pair[Tensor]]:
    """Learners, evaluator and start on tables over the counts of k agents."""
    game, progress = options.game, options.progress
    plan = PairPlan(CountSimplex(options.k, game.num_sl, game.device))
    plan.simplex.require_listed()
    generator = torch.Generator(game.device).manual_seed(options.seed)
    surrogates = SurrogateCache(game, plan)
    learners = (
        TabularGlobalLearner(surrogates, options.m, generator, progress),
        TabularLocalLearner(surrogates, options.objective, progress),
    )
    return (
        learners,
        TabularEvaluator(surrogates, progress),
        Pair(uniform_global(game, plan.simplex), uniform_local(game)),
    )


def _neural_players(
    options: _Options, network: nn.Module | None, settings: Settings, local_network: bool, curve: Curve | None
) -> tuple[tuple[NeuralGlobalLearner, NeuralLocalLearner], RolloutEvaluator, Pair[BatchPolicy]]:
    """Learners, evaluator and start on networks; each player and the evaluator draws from a generator of its own.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    game, k = options.game, options.k
    sizes = (game.num_sl, game.num_sg, game.num_ag)
    *seeds, episodes = np.random.SeedSequence(options.seed).generate_state(5).tolist()
    weights, local_weights, for_g, for_l = (torch.Generator(game.device).manual_seed(number) for number in seeds)
    network = CountNetwork(*sizes, generator=weights) if network is None else network
    check_network(network, *sizes, game.device)
    memory = Memory(game, k, network, settings, curve=curve, progress=options.progress)
    evaluator = RolloutEvaluator(game, k, options.accept, episodes)
    turns: Turns = table_turns
    if local_network:
        turns = network_turns(LocalNetwork(game.num_sl, game.num_sg, game.num_al, generator=local_weights))
    judged, values = evaluator, memory
    if options.objective == "own":
        own = game.replace(r_g=torch.zeros_like(game.r_g))
        judged, values = RolloutEvaluator(own, k, "mean", episodes), dataclasses.replace(memory, game=own)
    learners = (
        NeuralGlobalLearner(memory, for_g),
        NeuralLocalLearner(values, judged, turns, for_l, options.objective == "team"),
    )
    return learners, evaluator, Pair(UniformPolicy(game.num_sg, game.num_ag), uniform_local(game))


def check_l_learner(solver: Solver, l_learner: LLearner) -> None:
    """Raise an ArgumentError where the local learner does not go with the solver."""
    if (solver, l_learner) == ("tabular", "neural"):
        raise ArgumentError("l_learner='neural' needs solver='neural'; with solver='tabular' use 'dp' or 'auto'")


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ArgumentError(f"{name} must be one of {', '.join(map(repr, choices))}, not {value!r}")


def _check_game(game: object) -> None:
    if not isinstance(game, Game):
        raise ArgumentError(f"game must be a Game, not {type(game).__name__}; altmarl_torch.games makes named ones")


def check_eta(eta: object) -> None:
    """Raise an ArgumentError unless `eta` is "auto", "paper" or a finite number of at least 0."""
    if not isinstance(eta, str) or eta not in ETA_WORDS:
        as_number("eta", eta, "[0, inf) or one of auto, paper", lambda x: 0 <= x < math.inf, ArgumentError)


def _rules(game: Game, k: int, eta: Eta, accept: Acceptance) -> Rules:
    """UPDATE's tolerance as a function of the values compared; a warning where the paper's is vacuous."""
    paper = eta_algorithm_3(game, k)
    if eta == "auto":
        return Rules(accept, partial(automatic_eta, game.v_max, accept=accept), paper, adopt_better=accept == "mean")
    if eta == "paper":
        if 2 * paper >= game.v_max:
            logger.warning(
                "eta='paper' is vacuous here: 2 eta = %.4g, but no value exceeds V_max = %.4g, so no proposal can be "
                "accepted; use eta='auto' or a number",
                2 * paper,
                game.v_max,
            )
        return Rules(accept, lambda proposed, current: paper, paper)
    return Rules(accept, lambda proposed, current: float(eta), paper)
