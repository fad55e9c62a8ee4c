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
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.alternation.job import Job, learn, tell
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.policies import UniformPolicy
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.rules import WALKERS
from altmarl_torch.policies.tabular import deterministic_local, uniform_global

__all__ = ["Started", "first_pair", "learn_from_starts", "start_policies"]


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


def first_pair(job: Job, pi_l: Tensor, k: int) -> Pair[Any]:
    """The pair of a uniform pi_g and `pi_l`, as the job's solver has it."""
    game = job.game
    if job.solver == "neural":
        return Pair(UniformPolicy(game.num_sg, game.num_ag), pi_l)
    return Pair(uniform_global(game, CountSimplex(k, game.num_sl, game.device)), pi_l)


def learn_from_starts(job: Job) -> list[Started]:
    """Run a job from each of its starts, the best joint value first; from a given pair, or a single start, as it is.

    Of several runs the updates of the best are told at the end. An interrupt leaves out the starts to come.
    """
    if job.start is not None or job.starts == 1:
        return [Started("uniform", learn(job))]
    quiet, found = dataclasses.replace(job, callback=None, curve=None), list[Started]()
    for name, pi_l in start_policies(job.game, job.starts, job.seed):
        found.append(Started(name, learn(dataclasses.replace(quiet, start=first_pair(job, pi_l, job.k)))))
        if found[-1].solution.interrupted:
            break
    found.sort(key=lambda started: -started.solution.value)
    interrupted = any(started.solution.interrupted for started in found)
    best = dataclasses.replace(found[0].solution, interrupted=interrupted)
    tell(job, best.history)
    return [Started(found[0].start, best), *found[1:]]
