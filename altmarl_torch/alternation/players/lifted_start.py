"""Networks begin where lifted functions end: their alternation is run first, and it takes a moment.

Its pi_l, and the continuation values of its last fit, are what the networks' own loop goes on from: the same loop at
the same k, in which every proposal is judged by UPDATE as ever; the history begins with the proposals that led there.
`nested="off"` and `eta="paper"` begin as printed, from
uniform policies and networks that answer zero; so do a network of one's own, one for several sizes, a start that is
given, games of few pairs (s_g, h), where a training takes a moment (`learners.neural.grid`), and games of so many
states that lifted functions would cost every gradient step more than the network does.
"""

import dataclasses
import logging
import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from altmarl_torch.alternation.loop import Alternation, Player, Proposal, Update, alternate
from altmarl_torch.alternation.players.lifted import lifted_players, lifted_workspace
from altmarl_torch.alternation.players.lifted_memory import LiftedWorkspace
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.counts.lifted import fits
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.neural.grid import few_counts
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair

__all__ = ["Interrupted", "LiftedStart", "lifted_start"]

logger = logging.getLogger(__name__)

MOST_NUMBERS = 2**17
"""Coefficients of all (s_g, a_g) together: so many cost a gradient step about what the network does."""


@dataclass(frozen=True, eq=False)
class LiftedStart:
    """Where networks begin.

    Attributes:
        pi_l: `[sl, sg, al]`.
        continuation: `[sg, ag, N_J]`, coefficients of the continuation values, but for a constant.
        degree: J.
        history: the proposals of lifted functions, with "nested/start" among their details.
        interrupted: whether the search was broken off.
    """

    pi_l: Tensor
    continuation: Tensor
    degree: int
    history: tuple[Update, ...]
    interrupted: bool


@dataclass(frozen=True)
class Interrupted:
    """A learner in whose turn the loop ends: whoever broke off the search for a start wants no more."""

    player: Player = "global"
    phase: str = "g_learn"

    def propose(self, pair: Pair[Any], value: JointValue, memory: Any) -> tuple[Proposal[Any], Any]:
        """Nothing."""
        raise KeyboardInterrupt


def lifted_start(run: AlternationRun) -> LiftedStart | None:
    """What lifted functions find for a run on networks; None where these begin as printed."""
    learning, stopping = run.options.learning, run.options.stopping
    printed = learning.nested == "off" or stopping.eta == "paper" or run.network is not None or run.samples.several
    given = run.start is not None and not run.only_global
    if printed or given or few_counts(run.game, run.samples) or not _is_cheap(run):
        return None
    begun = time.perf_counter()
    lifted = dataclasses.replace(learning, solver="lifted", l_learner="auto", m=None, xi=None)
    options = dataclasses.replace(run.options, learning=lifted)
    quiet = dataclasses.replace(run.quiet(), options=options, folder=None, work=None)
    players = lifted_players(quiet)
    if run.only_global:
        players = dataclasses.replace(players, learners=players.learners[:1])
    result = alternate(players, run.rules, steps=run.steps)
    degree, continuation = _continuation(lifted_workspace(quiet), result)
    seconds = time.perf_counter() - begun
    logger.info(
        "networks begin from lifted functions of degree %d, worth %.6g, after %.1f s",
        degree,
        result.value.mean,
        seconds,
    )
    history = tuple(_marked(update) for update in result.history)
    return LiftedStart(result.pair.pi_l, continuation, degree, history, result.interrupted)


def _marked(update: Update) -> Update:
    return dataclasses.replace(update, details={**update.details, "nested/start": "lifted"})


def _is_cheap(run: AlternationRun) -> bool:
    """Whether the highest degree that would be tried has coefficients, and few enough of all (s_g, a_g)."""
    game = run.game
    if not fits(2, game.num_sl):
        return False
    last = CountSimplex(ladder(game.num_sl, float(run.k))[-1], game.num_sl)
    return last.size * game.num_sg * game.num_ag <= MOST_NUMBERS


def _continuation(work: LiftedWorkspace, result: Alternation[Any, Any]) -> tuple[int, Tensor]:
    """The degree of the last fit, and the coefficients of C = P_g E_J c under the pi_l that was found."""
    memory = result.memory.team
    work.take_up(memory)
    surrogate = work.surrogate(result.pair.pi_l)
    C = surrogate.continuation(memory.coefficients)
    return surrogate.basis.degree, C - C.mean()
