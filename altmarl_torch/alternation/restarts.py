r"""A start that holds everybody where they are: the alternation ends at once, and begins again from other policies.

Where the agents could meet in any of several places, and where they meet does not matter, uniform policies are an exact
equilibrium of unilateral changes: each player alone has nothing to gain, and what both could earn together is not seen.
An alternation that ends with the local policy it began with is therefore run again from the other starts
(`starts.start_policies`: walk, greedy, random), and the pair with the best joint value wins, if it is better by what
UPDATE takes for a gain. Its history begins with the proposals that were tried in vain, and the log says which start
won. (Large tables are begun from several starts in any case: `nested`.)

`nested="off"` stays with the uniform start, as Algorithm 3 is printed.
"""

import dataclasses
import logging

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import learn
from altmarl_torch.alternation.solution import Selection, Solution, TriedPair
from altmarl_torch.alternation.starts import Started, start_policies

__all__ = ["learn_restarting"]

logger = logging.getLogger(__name__)

STARTS = 4
"""How many local policies are tried in all: uniform, walk, greedy, and a random one."""


def learn_restarting(run: AlternationRun) -> Solution:
    """Run the alternation; where it ends with the uniform local policy, from other starts too."""
    first = learn(run)
    if not (_may_restart(run) and _stayed(run, first)):
        return first
    found = [Started("uniform", first)]
    for name, pi_l in list(start_policies(run.game, STARTS, run.options.learning.seed))[1:]:
        found.append(Started(name, learn(run.quiet().starting_at(pi_l))))
        if found[-1].solution.interrupted:
            break
    return _better(run, found)


def _may_restart(run: AlternationRun) -> bool:
    """Whether nothing is asked for that begins as printed, or from a start of its own."""
    learning, stopping = run.options.learning, run.options.stopping
    printed = learning.nested == "off" or stopping.eta == "paper" or stopping.accept != "mean"
    sampled = learning.chain is not None or learning.m is not None or learning.xi is not None
    given = run.start is not None or run.only_global or learning.has_functions or run.network is not None
    return not (printed or sampled or given) and run.prior is None


def _stayed(run: AlternationRun, solution: Solution) -> bool:
    """Whether no proposal of the local agents was taken, though they could do other things."""
    moved = any(update.player == "local" and update.adopted for update in solution.history)
    return solution.converged and not moved and run.game.num_al > 1


def _better(run: AlternationRun, found: list[Started]) -> Solution:
    """The best pair, if it is better than the first by a gain that UPDATE would take; the first otherwise."""
    first, best = found[0].solution, max(found, key=lambda one: one.solution.value)
    interrupted = any(one.solution.interrupted for one in found)
    if not best.solution.value - first.value > 2 * max(first.eta, best.solution.eta):
        return dataclasses.replace(first, interrupted=interrupted)
    logger.info(
        "from the uniform start nothing is gained, at %.6g; the start %r won with the value %.6g",
        *(first.value, best.start, best.solution.value),
    )
    after = tuple(_marked(update, best.start) for update in best.solution.history)
    run.tell(after)
    choices = tuple(TriedPair(f"from {one.start}", one.solution.value, None, None) for one in found)
    return dataclasses.replace(
        best.solution,
        history=(*first.history, *after),
        selection=Selection("value", choices, None),
        interrupted=interrupted,
    )


def _marked(update: Update, start: str) -> Update:
    return dataclasses.replace(update, details={**update.details, "restart/start": start})
