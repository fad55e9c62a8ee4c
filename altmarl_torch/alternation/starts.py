"""Several starts: the alternation finds *an* equilibrium, and which one depends on where it begins.

With N starts the alternation is run from the first N of

    uniform     Algorithm 3's, every action alike
    walk        local agents go to s_g
    greedy      local agents take what r_l pays at once
    random i    a deterministic pi_l, drawn anew for each i

pi_g being uniform in all of them: G-LEARN responds first. The pair with the best joint value wins; the values are of
one and the same surrogate, so they compare. Whether it is the best pair for n agents is another question (`selection`).
"""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice

import torch
from torch import Tensor

from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import learn
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.games.game import Game
from altmarl_torch.policies.rules import WALKERS
from altmarl_torch.policies.tabular import deterministic_local

__all__ = ["Started", "learn_from_starts", "start_policies"]


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
    found = list[Started]()
    for name, pi_l in start_policies(run.game, learning.starts, learning.seed):
        found.append(Started(name, learn(run.quiet().starting_at(pi_l))))
        if found[-1].solution.interrupted:
            break
    found.sort(key=lambda started: -started.solution.value)
    interrupted = any(started.solution.interrupted for started in found)
    best = dataclasses.replace(found[0].solution, interrupted=interrupted)
    run.tell(best.history)
    return [Started(found[0].start, best), *found[1:]]
