"""`solve`: one call from a game to a pair of policies.

It checks what it is given, picks the learners, and hands them to the one alternation loop.
"""

import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

import torch

from altmarl_torch.alternation import Acceptance, Pair, Rules, Update, alternate, automatic_eta
from altmarl_torch.bellman import SurrogateCache
from altmarl_torch.errors import ArgumentError
from altmarl_torch.game import Game
from altmarl_torch.pair_moves import PairPlan
from altmarl_torch.parallel import one_thread
from altmarl_torch.policies import uniform_global, uniform_local
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.solution import Solution
from altmarl_torch.tables import as_device, as_integer, as_number, as_seed
from altmarl_torch.tabular.l_learn import Objective
from altmarl_torch.tabular.learners import (
    PhaseProgress,
    TabularEvaluator,
    TabularGlobalLearner,
    TabularLocalLearner,
)
from altmarl_torch.theory import eta_algorithm_3

__all__ = ["LLearner", "Solver", "check_eta", "solve"]

logger = logging.getLogger(__name__)

Solver = Literal["tabular"]
LLearner = Literal["auto", "dp"]
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
    callback: Callable[[Update], None] | None = None,
    progress: PhaseProgress | None = None,
) -> Solution:
    """Learn an approximate Nash equilibrium of the k-agent game by ALTERNATING-MARL (Algorithm 3).

    Args:
        game: the game.
        k: how many of the n local agents the global agent sees, in 1..n.
        solver: "tabular".
        m: samples of the paper's T-hat_{k,m} in each Bellman update (Table 2: 30); None for the exact expectation.
        l_learner: "dp", the model-based one; "auto" is the same.
        objective: what the local agents maximise: "team", the reward of the game, or "own", the paper's.
        eta: UPDATE's tolerance in units of value, or "auto", or "paper".
        accept: UPDATE's rule, "mean" or "all-states".
        steps: at most so many proposals of each player.
        seed: of every random number; the exact solver draws none.
        device: where the tables lie: "cpu", or "cuda", "cuda:0", ... where there are such.
        callback: told every update.
        progress: told (phase, sweeps, error) in the long parts.

    Returns:
        The pair with its history. A KeyboardInterrupt returns what has been learned so far, with `interrupted` set.

    Raises:
        ArgumentError: an argument is outside its range.
        SizeError: the simplex of k agents is too large to list.
    """
    _check_game(game)
    k, steps = game.check_k(k), as_integer("steps", steps, 1, 10**6, ArgumentError)
    _check_choice("solver", solver, get_args(Solver))
    _check_choice("l_learner", l_learner, get_args(LLearner))
    _check_choice("objective", objective, get_args(Objective))
    _check_choice("accept", accept, get_args(Acceptance))
    check_eta(eta)
    game, seed = game.to(as_device(device)), as_seed(seed)
    plan = PairPlan(CountSimplex(k, game.num_sl, game.device))
    plan.simplex.require_listed()
    generator = torch.Generator(game.device).manual_seed(seed)
    m = m if m is None else as_integer("m", m, 1, 10**6, ArgumentError)
    rules = _rules(game, k, eta, accept)
    surrogates = SurrogateCache(game, plan)
    learners = (
        TabularGlobalLearner(surrogates, m, generator, progress),
        TabularLocalLearner(surrogates, objective, progress),
    )
    start = Pair(uniform_global(game, plan.simplex), uniform_local(game))
    evaluator = TabularEvaluator(surrogates, progress)
    result = alternate(learners, evaluator, start, rules, steps=steps, callback=callback)
    return Solution(
        k=k,
        pi_g=result.pair.pi_g,
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
    )


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
        return Rules(accept, partial(automatic_eta, game.v_max), paper, adopt_better=accept == "mean")
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
