"""`observation="filter"`: a dispatcher that remembers, so that its sample is one look of many.

The pair is learned, by the paper's operators, for as many agents as is cheap, whatever k is (`memory_size`), and pi_g
is read at the mean of a belief about the population (`policies.belief`). This dispatcher is not in the paper's class
Pi_g of functions of (s_g, h). (`docs/posterior.md`)
"""

import dataclasses

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.policies.belief import Belief

__all__ = ["memory_size", "remember"]

LARGEST_MEMORY = 12_000
"""Counts of the largest table that is learned to be read at a belief."""

LARGEST_WORK = 300_000
"""Its counts times |S_g| |S_l|: five zones are learned for 20 agents, ten for 5."""

LARGEST_DENSE_MEMORY = 1_000
"""Counts over two local states, whose kernels are dense matrices: beyond, they could only be sampled."""

MANY_AGENTS = 100
"""Agents that a network, or a lifted policy, is learned for."""


def memory_size(game: Game, solver: str) -> int:
    """k', the size of the sample for which the policy behind a memory is learned."""
    if solver != "tabular":
        return min(game.n, MANY_AGENTS)
    counts = max(
        1, min(LARGEST_MEMORY if game.num_sl > 2 else LARGEST_DENSE_MEMORY, LARGEST_WORK // (game.num_sg * game.num_sl))
    )
    return CountSimplex(min(game.n, counts), game.num_sl).coarser(counts).k


def remember(solution: Solution, game: Game, k: int) -> Solution:
    """The dispatcher of a solution with a memory of what k agents a step have shown, in place of its own sample."""
    belief = Belief.of(game, solution.pi_l)
    return dataclasses.replace(solution, k=k, reads=solution.k, belief=belief, observation="filter")
