"""`solver="auto"`: tables where they take a second or two, lifted functions beyond, networks where those fail.

Where the reward sees the crowd, tables take longer, and are taken where lifted functions would be tables too; networks
do not know of it, so that the log says where those fail.

Some options leave no choice: a network of one's own, `l_learner="neural"` and `observation="population"` ask for
networks, "ucfh", functions as learners and, where these can be listed, draws (m, xi) for tables, and a degree or
k = inf for lifted functions. One line in the log says which solver it is, and why.
"""

import dataclasses
import logging
import math
from pathlib import Path

from altmarl_torch.alternation.memory import LARGEST_WORK
from altmarl_torch.alternation.options import Options
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.words import Solver
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.learners.lifted.degrees import EXACT
from altmarl_torch.operators.joint_value import value_span

__all__ = ["KINKS", "choose", "is_too_coarse"]

KINKS = 1e-2
"""Held-out residual, relative to the span of values, from which lifted functions are said not to suffice."""

RESIDUAL = "g_learn/held_out_residual"
"""Where a proposal keeps it."""

logger = logging.getLogger(__name__)


def choose(game: Game, options: Options) -> Options:
    """The options with a solver in place of "auto"; others are returned as they are."""
    if options.learning.solver != "auto":
        return options
    solver, why = _choice(game, options)
    logger.info("solver='auto': %s, since %s", solver, why)
    return using(options, solver)


def using(options: Options, solver: Solver) -> Options:
    """The same options with another solver."""
    degree, keeping = options.learning.degree if solver == "lifted" else None, options.keeping
    if options.learning.solver == "lifted" and keeping.checkpoints is not None:  # whose checkpoints lie there
        keeping = dataclasses.replace(keeping, checkpoints=Path(keeping.checkpoints) / solver)
    learning = dataclasses.replace(options.learning, solver=solver, degree=degree)
    return dataclasses.replace(options, learning=learning, keeping=keeping)


def is_too_coarse(game: Game, options: Options, solution: Solution) -> bool:
    """Whether networks are to learn what lifted functions have: their residual is large; the log says so."""
    fits = [update.details for update in solution.history if RESIDUAL in update.details]
    residual = float(fits[-1][RESIDUAL]) if fits else 0.0
    coarse = (
        residual > KINKS * value_span(game) and not math.isinf(options.problem.k) and options.learning.degree is None
    )
    found = "lifted functions leave a residual of %.3g, over %g of the span of values"
    if coarse and game.r_g_mu is not None:
        logger.warning(f"{found}: r_g_mu may jump or bend; a higher degree, or tables, tell more", residual, KINKS)
        return False
    if coarse:
        logger.info(f"solver='auto': networks, since {found}", residual, KINKS)
    return coarse


def _choice(game: Game, options: Options) -> tuple[Solver, str]:
    """A solver and the reason."""
    learning, k = options.learning, options.problem.k
    simplex = None if math.isinf(k) else CountSimplex(int(k), game.num_sl)
    if learning.network is not None or learning.l_learner == "neural":
        return "neural", "a network is given"
    if options.problem.observation == "population":
        return "neural", "agents are played"
    if options.problem.sizes is not None:
        return "neural", "several k are asked for"
    if learning.l_learner == "ucfh" or learning.has_functions:
        return "tabular", "UCFH needs tables" if learning.l_learner == "ucfh" else "a learner of one's own returns them"
    if learning.degree is not None or simplex is None:
        return "lifted", "a degree is given" if simplex is not None else "k is infinite"
    drawn = learning.m is not None or learning.xi is not None
    small = simplex.size * game.num_sg * game.num_sl <= LARGEST_WORK and (game.r_g_mu is None or simplex.size <= EXACT)
    if simplex.can_be_listed and (drawn or small):
        return "tabular", f"{simplex.size:,} counts of k = {simplex.k} agents are a small table"
    size = f"k = {simplex.k} agents over {game.num_sl} states are no small table"
    return ("neural", f"{size}, and draws are asked for") if drawn else ("lifted", size)
