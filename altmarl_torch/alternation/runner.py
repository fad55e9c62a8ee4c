"""Runs one `AlternationRun`: from its players to the pair they settle on, with its checkpoints.

The solver's players are made (`players.tabular`, `players.neural`, `players.lifted`), the one loop runs
(`loop.alternate`), and what comes out is packed as a `Solution`. A run whose solution lies in the checkpoint folder is
read, one that was broken off goes on from its newest checkpoint.
"""

import copy
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.alternation.checkpoints import CurvePoints, RunCheckpoint, pack, unpack
from altmarl_torch.alternation.loop import Alternation, Players, Update, alternate
from altmarl_torch.alternation.players.lifted import lifted_players
from altmarl_torch.alternation.players.lifted_start import Interrupted
from altmarl_torch.alternation.players.neural import neural_players
from altmarl_torch.alternation.players.tabular import tabular_players
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solution_files import table_of
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import FileFormatError

__all__ = ["altered", "learn", "learn_unless"]

PLAYERS: Mapping[str, Callable[[AlternationRun], Players[Any, Any]]] = {
    "tabular": tabular_players,
    "neural": neural_players,
    "lifted": lifted_players,
}
"""Who makes the players of each solver: another solver is one more line."""

logger = logging.getLogger(__name__)


def learn(run: AlternationRun) -> Solution:
    """Run the alternation, or go on where a checkpoint has left it."""
    checkpoint = run.folder.next_run() if run.folder else None
    if checkpoint is None:
        players = _told(run, _players(run))
        result = alternate(players, run.rules, steps=run.steps, callback=run.callback)
        return _solution(run, result, players.before)
    over = checkpoint.read(copy.deepcopy(run.network), run.game)
    if over is not None:
        _tell_again(run, over[0].history, over[1])
        return over[0]
    result, before = _go_on(run, checkpoint)
    solution = _solution(run, result, before)
    if not result.interrupted:
        checkpoint.finish(solution)
    return solution


def altered(solution: Solution, **changes: Any) -> Solution:
    """The solution with other fields; a table of pi_g that nobody has asked for is not made."""
    return dataclasses.replace(solution, pi_g=vars(solution)["_pi_g"], **changes)


def learn_unless(run: AlternationRun, known: Sequence[Tensor]) -> Solution | None:
    """As `learn`, without checkpoints; None where the first step leads to one of the `known` pi_l, and so to its pair.

    What follows depends on pi_l alone: the global agent responds to it.
    """
    players = _players(run)
    first = alternate(players, run.rules, steps=1, callback=run.callback)
    if not first.interrupted:
        if any(torch.equal(first.pair.pi_l, pi_l) for pi_l in known):
            return None
        first = alternate(players, run.rules, steps=run.steps, callback=run.callback, reached=first)
    return _solution(run, first)


def _go_on(run: AlternationRun, checkpoint: RunCheckpoint) -> tuple[Alternation[Any, Any], tuple[Update, ...]]:
    """The alternation from the newest checkpoint that can be used, or from its start; and what led to the start."""
    watched = dataclasses.replace(run, curve=checkpoint.watch(run.curve), work=checkpoint)
    players, reached = _players(watched), None
    for arrays in checkpoint.newest():
        try:
            reached = unpack(arrays, players, run.k, copy.deepcopy(run.network), run.game.r_g_mu)
            break
        except FileFormatError as cause:
            logger.warning("a checkpoint is passed over: %s", cause)
            players = _players(watched)
    players = _told(run, players, *(() if reached is None else (reached.history, checkpoint.points)))
    result = alternate(
        players,
        run.rules,
        steps=run.steps,
        callback=run.callback,
        reached=reached,
        save=lambda state: checkpoint.save(pack(state), len(state.history)),
    )
    return result, players.before


def _players(run: AlternationRun) -> Players[Any, Any]:
    """The players whose turns are taken."""
    players = PLAYERS[run.options.learning.solver](run)
    return dataclasses.replace(players, learners=players.learners[:1]) if run.only_global else players


def _told(
    run: AlternationRun, players: Players[Any, Any], history: Sequence[Update] = (), points: CurvePoints | None = None
) -> Players[Any, Any]:
    """The players, once listeners know what led to their start, and what they were told of a run that is taken up.

    Who breaks that off ends the alternation there.
    """
    try:
        run.tell(players.before)
        _tell_again(run, history, points or [])
    except KeyboardInterrupt:
        return dataclasses.replace(players, learners=(Interrupted(),))
    return players


def _tell_again(run: AlternationRun, history: Sequence[Update], points: CurvePoints) -> None:
    """What the run's listeners were told before it was broken off."""
    for x, numbers in points if run.curve else ():
        run.curve(x, numbers)  # type: ignore[misc]  # asked in the same line
    run.tell(history)


def _solution(run: AlternationRun, result: Alternation[Any, Any], before: Sequence[Update] = ()) -> Solution:
    """What an alternation has found; `before` are the proposals that its start came from."""
    learning, pi_g, policy = run.options.learning, result.pair.pi_g, None
    if learning.solver != "tabular":
        policy, pi_g = pi_g, partial(table_of, pi_g, CountSimplex(run.k, run.game.num_sl, run.game.device))
    return Solution(
        k=run.k,
        pi_g=pi_g,
        pi_l=result.pair.pi_l,
        value=result.value.mean,
        eta=result.history[-1].eta if result.history else run.rules.eta(result.value, result.value),
        eta_paper=run.rules.eta_paper,
        history=(*before, *result.history),
        converged=result.converged,
        solver=learning.solver,
        seed=learning.seed,
        game_name=run.game.name,
        names=run.game.state_names or None,
        phase_seconds=result.seconds,
        interrupted=result.interrupted,
        policy=policy,
        sizes=run.options.problem.sizes,
        observation="surrogate" if run.population is None else "population",
    )
