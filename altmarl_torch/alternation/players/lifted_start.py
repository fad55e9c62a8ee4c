"""Networks begin where lifted functions end: their alternation is run first, and it takes a moment.

Its pi_l, and the continuation values of its last fit, are what the networks' own loop goes on from: the same loop at
the same k, in which every proposal is judged by UPDATE as ever; the history begins with the proposals that led there.
Where a sample has few count vectors, any function of them is lifted, and they are the solution. `nested="off"` and
`eta="paper"` begin as printed, from uniform policies and networks that answer zero; so do a network of one's own, a
start that is given, agents that are played, and games of so many states that lifted functions of the lowest degree
would cost every gradient step more than the network does.

**A network for several sizes** begins from lifted functions of each: their alternation is run for the middle size, and
against its pi_l G-LEARN then responds at every *anchor*, each at most twice the one before, between which the start is
read (`StartedNetwork`). That is a small fit for each, since the step on coefficients is the same for all sizes.
"""

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Alternation, Player, Proposal, Update, alternate
from altmarl_torch.alternation.players.lifted import lifted_players, lifted_workspace
from altmarl_torch.alternation.players.lifted_memory import LiftedWorkspace
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.counts.lifted import fits
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.learners.lifted.degrees import ladder
from altmarl_torch.learners.lifted.fitting import fit_best_response
from altmarl_torch.learners.lifted.policies import LiftedPolicy
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import few_agents
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair

__all__ = ["Interrupted", "LiftedStart", "anchors_of", "begins_lifted", "lifted_start"]

logger = logging.getLogger(__name__)

SPACING = 2.0
"""Ratio of neighbouring anchors at most: what is kept for them changes slowly, with 1/k. (On the warehouse it makes no
difference whether they are 1.2 or 2 apart: either way a size between them loses 0.001 to 0.004 %.)"""

MOST_NUMBERS = 2**17
"""Coefficients of all (s_g, a_g) together: so many cost a gradient step about what the network does."""


@dataclass(frozen=True, eq=False)
class LiftedStart:
    """Where networks begin.

    Attributes:
        pi_l: `[sl, sg, al]`.
        continuation: `[sg, ag, N]`, coefficients of the continuation values, but for a constant (`StartedNetwork`).
        degree: J.
        anchors: the sizes that they are for: k, or some of several.
        history: the proposals of lifted functions, with "nested/start" among their details.
        interrupted: whether the search was broken off.
    """

    pi_l: Tensor
    continuation: Tensor
    degree: int
    anchors: SampleSizes
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


def begins_lifted(run: AlternationRun) -> bool:
    """Whether a run is one of networks that begin with lifted functions."""
    learning, stopping = run.options.learning, run.options.stopping
    printed = learning.nested == "off" or stopping.eta == "paper" or run.network is not None
    given = (run.start is not None and not run.only_global) or run.population is not None
    alone = learning.solver == "neural" and not printed and not given
    return alone and bool(_cheap_degrees(run))


def lifted_start(run: AlternationRun) -> LiftedStart | None:
    """What lifted functions find for a run on networks; None where these begin as printed."""
    if not begins_lifted(run):
        return None
    begun, quiet = time.perf_counter(), _on_lifted_functions(run)
    players, work = lifted_players(quiet), lifted_workspace(quiet)
    if run.only_global:
        players = dataclasses.replace(players, learners=players.learners[:1])
    result = alternate(players, quiet.rules, steps=run.steps)
    work.take_up(result.memory.team)
    anchors, continuation, interrupted = _continuation(work, result, run.samples)
    degree, seconds = work.degrees[work.place], time.perf_counter() - begun
    worth = f"{result.value.mean:.6g}" + (f" at k = {quiet.k}" if run.samples.several else "")
    logger.info("networks begin from lifted functions of degree %d, worth %s, after %.1f s", degree, worth, seconds)
    history = tuple(_marked(update, run.samples, quiet.k) for update in result.history)
    return LiftedStart(result.pair.pi_l, continuation, degree, anchors, history, interrupted)


def _on_lifted_functions(run: AlternationRun) -> AlternationRun:
    """The same run on lifted functions, of which nobody is told; of several sizes, for the middle one.

    Where the ladder of degrees climbs too high for a network, in the highest that does not.
    """
    k = _middle(run)
    quiet = dataclasses.replace(run.on("lifted", k), k=k)
    if (highest := _cheap_degrees(run)[-1]) < ladder(run.game.num_sl, float(k))[-1]:
        learning = dataclasses.replace(quiet.options.learning, degree=highest)
        quiet = dataclasses.replace(quiet, options=dataclasses.replace(quiet.options, learning=learning))
    return quiet if run.before_lifted is None else quiet.starting_at(run.before_lifted)


def _marked(update: Update, samples: SampleSizes, k: int) -> Update:
    for_k = {"nested/k": k} if samples.several else {}
    return dataclasses.replace(update, details={**update.details, "nested/start": "lifted", **for_k})


def _cheap_degrees(run: AlternationRun) -> list[int]:
    """Of the degrees that would be tried those with few enough coefficients of all (s_g, a_g)."""
    game = run.game
    if not fits(2, game.num_sl):
        return []
    sizes = {degree: CountSimplex(degree, game.num_sl).size for degree in ladder(game.num_sl, float(_middle(run)))}
    return [degree for degree, size in sizes.items() if size * game.num_sg * game.num_ag <= MOST_NUMBERS]


def _middle(run: AlternationRun) -> int:
    """The middle one of the sizes."""
    return run.samples.numbers[len(run.samples.numbers) // 2]


def _continuation(
    work: LiftedWorkspace, result: Alternation[Any, Any], samples: SampleSizes
) -> tuple[SampleSizes, Tensor, bool]:
    """The anchors, the coefficients of C = P_g E_J c under the pi_l that was found, and whether it was interrupted.

    For one size c is the last fit of the alternation; for several it is the solution at each. Where these were broken
    off, those that are missing answer zero, as a network does that has not been trained.
    """
    if work.coefficients is None:  # it was broken off in its first turn
        work.fitted(result.pair, "evaluation")
    assert work.coefficients is not None  # they have been fitted
    found = {int(work.k): work.surrogate(result.pair.pi_l).continuation(work.coefficients)}
    degree, interrupted = work.degrees[work.place], result.interrupted
    if samples.several and not interrupted:
        try:
            for size in (*anchors_of(samples, degree, int(work.k)), *range(1, degree)):
                if size not in found:
                    found[size] = _response(work, result.pair, size)
        except KeyboardInterrupt:
            interrupted = True
    offset = found[max(found)].mean()
    tables = {size: table - offset for size, table in sorted(found.items())}
    large = {size: table for size, table in tables.items() if size >= degree}
    few = [_few_table(work, tables)] if samples.several else []
    return SampleSizes(tuple(large), samples.several), torch.cat([*few, *large.values()], -1), interrupted


def _response(work: LiftedWorkspace, pair: Pair[Any], size: int) -> Tensor:
    """The continuation values of the best response to `pair.pi_l` for a sample of so many agents: `[sg, ag, N]`."""
    degree = min(work.degrees[work.place], size)
    own = LiftedWorkspace(work.game, float(size), [degree], work.seed, prior=work.prior)
    pi_g = dataclasses.replace(pair.pi_g, k=own.k) if isinstance(pair.pi_g, LiftedPolicy) else pair.pi_g
    surrogate = own.surrogate(pair.pi_l)
    points = own.choose_points(surrogate, Pair(pi_g, pair.pi_l))
    found = fit_best_response(surrogate, points, None if points.is_exact else work.coefficients)
    return surrogate.continuation(found.coefficients)


def _few_table(work: LiftedWorkspace, tables: Mapping[int, Tensor]) -> Tensor:
    """Of the `tables [sg, ag, N_j]` those of fewer agents than the degree, as one in the order of `few_agents`."""
    game, degree = work.game, work.degrees[work.place]
    simplex = few_agents(degree, game.num_sl, game.device)
    found = torch.zeros(game.num_sg, game.num_ag, simplex.size, dtype=torch.float64, device=game.device)
    for size in tables.keys() & set(range(1, degree)):
        counts = CountSimplex(size, game.num_sl, game.device).counts
        nowhere = counts.new_full((len(counts), 1), degree - 1 - size)
        found[..., simplex.rank(torch.cat([counts, nowhere], -1))] = tables[size]
    return found


def anchors_of(samples: SampleSizes, degree: int, middle: int) -> list[int]:
    """The sizes, of at least as many agents as the degree, that have lifted functions of their own: the middle one, the
    first, the last, and between these no more than it takes for neighbours to be `SPACING` apart at most.
    """
    sizes = [size for size in samples.numbers if size >= degree]
    anchors = [middle]
    while anchors[0] > sizes[0]:  # down to the farthest that is near enough, or the next
        below = [size for size in sizes if size < anchors[0]]
        anchors.insert(0, next((size for size in below if size * SPACING >= anchors[0]), below[-1]))
    while anchors[-1] < sizes[-1]:
        above = [size for size in reversed(sizes) if size > anchors[-1]]
        anchors.append(next((size for size in above if size <= SPACING * anchors[-1]), above[-1]))
    return anchors
