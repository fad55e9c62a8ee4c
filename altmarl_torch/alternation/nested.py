"""Nested alternation: the loop is run for few agents first, and at k it begins from the pi_l found there.

What an update costs grows like k^(S+1); what it decides hardly changes with k. So Algorithm 3 is first run from several
local policies (`starts.start_policies`) on the largest sample with at most `FEW_COUNTS` count vectors, where that takes
a moment (a start whose first step leads to a pi_l that an earlier one ended with is not followed further); the pair
with the best joint value gives its pi_l, and from there the same loop runs at k: the global agent
responds first, every proposal is judged by UPDATE on the exact values of k agents, and it ends where neither player
gains. Nothing of the coarse level enters values or bounds at k. The history begins with the proposals of the winning
start, each with the k that it was made for (`nested/k` among its details).

Lifted functions and networks begin there too, wherever tables for at most half of the agents are small (`FEW_ENTRIES`):
from uniform policies both may end in a poorer equilibrium than tables do (the federated game at k = 10: 6.45 in place
of 7.33). Where networks begin with lifted functions, these begin there. (Of at most `FEW_COUNTS` count vectors lifted
functions are exact, and begin as tables of so few do.) Where the reward sees the crowd, what agents
do pays by what the others do, and tables change pi_l in one state after another, which takes long: there lifted
functions begin with fewer agents (`FEW_SEEN`), which lead as far (7 ambulances of 200 as far as 20).

`nested="off"` begins at k from uniform policies, as Algorithm 3 is printed.
"""

import dataclasses
import logging
from collections.abc import Sequence

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.players.lifted_start import begins_lifted
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import altered, learn, learn_unless
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.starts import start_policies
from altmarl_torch.counts.simplex import CountSimplex

__all__ = ["FEW_COUNTS", "learn_nested", "nests"]

logger = logging.getLogger(__name__)

FEW_COUNTS, MANY_COUNTS = 250, 5_000
"""Count vectors of the coarse level at most, and those of k above which there is one: its starts must cost little."""

FEW_SEEN = 40
"""Count vectors of the coarse level of lifted functions at most where r_g_mu sees them."""

FEW_ENTRIES = 20_000
"""Of tables `[sg, h, sl]` of the coarse level at most, where what comes after are no tables: they take a moment."""

COARSE_TOLERANCE = 1e-5
"""Error of coarse values, relative to their span: of what is found there, pi_l alone is carried up."""

COARSE_STARTS = 3
"""How many local policies the coarse level begins from: uniform, walk, greedy."""


def nests(run: AlternationRun) -> bool:
    """Whether a run has a coarse level: of few agents where it has many, from no start of its own."""
    learning = run.options.learning
    alone = run.start is None and run.prior is None and not run.only_global
    alone = alone and run.network is None and run.population is None
    if learning.nested == "off" or run.options.stopping.eta == "paper" or not alone or learning.has_functions:
        return False
    size = CountSimplex(run.k, run.game.num_sl).size
    if learning.solver == "tabular":
        return learning.chain is None and learning.m is None and learning.xi is None and size > MANY_COUNTS
    return size > FEW_COUNTS and _few(run).size * run.game.num_sg * run.game.num_sl <= FEW_ENTRIES


def _few(run: AlternationRun) -> CountSimplex:
    """The coarse level: the largest sample with few counts; of what is no table, at most half of the agents."""
    on_tables = run.options.learning.solver == "tabular"
    most = run.k if on_tables else min(max(1, run.k // 2), FEW_COUNTS)
    counts = FEW_COUNTS if on_tables or run.game.r_g_mu is None else FEW_SEEN
    return CountSimplex(most, run.game.num_sl).coarser(counts)


def learn_nested(run: AlternationRun) -> Solution:
    """Run the alternation of a run that `nests` for few agents, then for k."""
    name, coarse = _coarse_solution(run)
    logger.info(
        "at k = %d the start %r won with the value %.6g; k = %d begins there", coarse.k, name, coarse.value, run.k
    )
    before = tuple(_marked(update, coarse.k, name) for update in coarse.history)
    interrupted = _is_broken_off(run, before) or coarse.interrupted
    at_k = run.starting_at(coarse.pi_l)
    if interrupted:
        at_k = dataclasses.replace(at_k, steps=0, folder=None)
    elif begins_lifted(run):
        at_k = dataclasses.replace(run, before_lifted=coarse.pi_l)
    solution = learn(at_k)
    seconds = {
        phase: coarse.phase_seconds.get(phase, 0.0) + solution.phase_seconds.get(phase, 0.0)
        for phase in {**coarse.phase_seconds, **solution.phase_seconds}
    }
    return altered(
        solution,
        history=(*before, *solution.history),
        interrupted=solution.interrupted or interrupted,
        phase_seconds=seconds,
    )


def _is_broken_off(run: AlternationRun, before: Sequence[Update]) -> bool:
    """Tell the proposals of the coarse level; whether that was interrupted, which ends a run as it does everywhere."""
    try:
        run.tell(before)
    except KeyboardInterrupt:
        return True
    return False


def _coarse_solution(run: AlternationRun) -> tuple[str, Solution]:
    """The start whose pair is best for few agents, and that pair; after an interrupt, of the starts that were tried."""
    on_tables = run.quiet() if run.options.learning.solver == "tabular" else run.on("tabular", run.k)
    coarse = dataclasses.replace(on_tables, folder=None, tolerance=COARSE_TOLERANCE).at(_few(run).k)
    found = list[tuple[str, Solution]]()
    for name, pi_l in start_policies(run.game, COARSE_STARTS, run.options.learning.seed):
        solution = learn_unless(coarse.starting_at(pi_l), [other.pi_l for _, other in found])
        if solution is not None:
            found.append((name, solution))
        if found[-1][1].interrupted:
            break
    name, best = max(found, key=lambda one: one[1].value)
    interrupted = any(solution.interrupted for _, solution in found)
    return name, dataclasses.replace(best, interrupted=interrupted)


def _marked(update: Update, k: int, start: str) -> Update:
    return dataclasses.replace(update, details={**update.details, "nested/k": k, "nested/start": start})
