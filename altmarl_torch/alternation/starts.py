"""Several starts: the alternation finds *an* equilibrium, and which one depends on where it begins.

With N starts the alternation is run from the first N of

    uniform     Algorithm 3's, every action alike
    walk        local agents go to s_g
    greedy      local agents take what r_l pays at once
    random i    a deterministic pi_l, drawn anew for each i

pi_g being uniform in all of them: G-LEARN responds first. The pair with the best joint value wins; the values are of
one and the same surrogate, so they compare. Whether it is the best pair for n agents is another question (`selection`).

**A start that holds everybody where they are.** Where the agents could meet in any of several places, and where they
meet does not matter, uniform policies are an exact equilibrium of unilateral changes: each player alone has nothing to
gain, and what both could earn together is not seen. An alternation that ends with the local policy it began with is
therefore run again from the other starts (walk, greedy, random), and the pair with the best joint value wins, if it is
better by what UPDATE takes for a gain. Its history begins with the proposals that were tried in vain, and the log says
which start won. (Large tables are begun from several starts in any case: `nested`.) `nested="off"`, `eta="paper"` and
`accept="all-states"` stay with the uniform start, as Algorithm 3 is printed; so do sampled operators, and what begins
from a start, a prior or learners of one's own.
"""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import altered, learn
from altmarl_torch.alternation.solution import Selection, Solution, TriedPair
from altmarl_torch.games.game import Game
from altmarl_torch.policies.rules import WALKERS
from altmarl_torch.policies.tabular import deterministic_local

__all__ = ["Started", "learn_from_starts", "restarted", "start_policies"]

logger = logging.getLogger(__name__)

STARTS = 4
"""How many local policies are tried in all: uniform, walk, greedy, and a random one."""


@dataclass(frozen=True, eq=False)
class Started:
    """What the alternation found from one start."""

    start: str
    solution: Solution


def start_policies(game: Game, number: int, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The first `number` local policies to start from, by name."""
    generator = torch.Generator().manual_seed(seed)

    def every() -> Iterator[tuple[str, Tensor]]:
        for name in ("uniform", "walk", "greedy"):
            yield name, WALKERS[name](game)
        for index in count(1):
            actions = torch.randint(game.num_al, (game.num_sl, game.num_sg), generator=generator)
            yield f"random {index}", deterministic_local(actions.to(game.device), game.num_al)

    return islice(every(), number)


def learn_from_starts(run: AlternationRun) -> list[Started]:
    """Run the alternation from each of the starts that are asked for, the best joint value first.

    A run that has its start, or a single one, is left as it is. Of several the updates of the best are told at the end.
    An interrupt leaves out the starts to come.
    """
    learning = run.options.learning
    if run.start is not None or learning.starts == 1:
        return [Started("uniform", learn(run))]
    found = _best_first(_from_each(run, start_policies(run.game, learning.starts, learning.seed)))
    interrupted = any(started.solution.interrupted for started in found)
    best = altered(found[0].solution, interrupted=interrupted)
    run.tell(best.history)
    return [Started(found[0].start, best), *found[1:]]


def restarted(run: AlternationRun, first: Solution) -> Solution:
    """What the alternation found; where that ends with the uniform local policy, the best from other starts too."""
    if not (_may_restart(run) and _stayed(run, first)):
        return first
    others = islice(start_policies(run.game, STARTS, run.options.learning.seed), 1, None)
    return _better(run, [Started("uniform", first), *_from_each(run, others)])


def _best_first(found: list[Started]) -> list[Started]:
    """By the joint value; of equals, whatever was run first."""
    return sorted(found, key=lambda one: -one.solution.value)


def _from_each(run: AlternationRun, starts: Iterator[tuple[str, Tensor]]) -> list[Started]:
    """Run the alternation from each of some starts, of which nobody is told, up to an interrupt."""
    found = list[Started]()
    for name, pi_l in starts:
        found.append(Started(name, learn(run.quiet().starting_at(pi_l))))
        if found[-1].solution.interrupted:
            break
    return found


def _may_restart(run: AlternationRun) -> bool:
    """Whether nothing is asked for that begins as printed, or from a start of its own."""
    learning, stopping = run.options.learning, run.options.stopping
    printed = learning.nested == "off" or stopping.eta == "paper" or stopping.accept != "mean"
    sampled = learning.chain is not None or learning.m is not None or learning.xi is not None
    given = run.start is not None or run.only_global or learning.has_functions
    return not (printed or sampled or given) and run.prior is None


def _stayed(run: AlternationRun, solution: Solution) -> bool:
    """Whether no proposal of the local agents was taken, though they could do other things."""
    moved = any(update.player == "local" and update.adopted for update in solution.history)
    return solution.converged and not moved and run.game.num_al > 1


def _better(run: AlternationRun, found: list[Started]) -> Solution:
    """The best pair, if it is better than the first by a gain that UPDATE would take; the first otherwise."""
    first, ranked = found[0].solution, _best_first(found)
    best = ranked[0]
    interrupted = any(one.solution.interrupted for one in found)
    if not best.solution.value - first.value > 2 * max(first.eta, best.solution.eta):
        return altered(first, interrupted=interrupted)
    logger.info(
        "from the uniform start nothing is gained, at %.6g; the start %r won with the value %.6g",
        *(first.value, best.start, best.solution.value),
    )
    after = tuple(_marked(update, best.start) for update in best.solution.history)
    run.tell(after)
    choices = tuple(TriedPair(f"from {one.start}", one.solution.value, None, None) for one in ranked)
    return altered(
        best.solution,
        history=(*first.history, *after),
        selection=Selection("value", choices, None),
        interrupted=interrupted,
    )


def _marked(update: Update, start: str) -> Update:
    return dataclasses.replace(update, details={**update.details, "restart/start": start})
