"""The words that options take, and which of them go together; learners of one's own are functions in their place.


So is k: a number of agents, several numbers, or infinity.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, get_args

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.scalars import as_integer, check_callable

if TYPE_CHECKING:  # which needs torch, as options do not
    from altmarl_torch.alternation.players.problems import GlobalFunction, LocalFunction

__all__ = [
    "LEARNERS",
    "Eta",
    "LLearner",
    "Nested",
    "Observation",
    "Select",
    "Sizes",
    "Solver",
    "SolverChoice",
    "check_learners",
    "is_infinite",
    "read_k",
]

LLearner = Literal["auto", "dp", "ucfh", "neural"]
"""How the local agents' best response is found; "auto" is "dp"."""

Solver = Literal["tabular", "neural", "lifted"]
"""What policies and values are made of."""

Observation = Literal["surrogate", "posterior", "filter", "population"]
"""What the sample is taken for: the population, evidence about it (`prior_search`), one look of many (`memory`), or
k of n agents that are played (`learners.neural.sampled`).
"""

Select = Literal["value", "rollout"]
"""What decides between candidates: the joint value on the surrogate, or the returns of n agents."""

Nested = Literal["on", "off"]
"""Whether a run begins from what a cheaper one finds, and again where it ends with the uniform pi_l."""

Eta = float | Literal["auto", "paper"]
"""UPDATE's tolerance: a number in units of value, or where it comes from."""

SolverChoice = Literal["tabular", "neural", "lifted", "auto"]
"""A solver, or whichever is best for the game (`choosing`)."""

Sizes = tuple[int, ...]
"""Several numbers of agents that may be seen, the smallest first."""

LEARNERS: dict[SolverChoice, tuple[LLearner, ...]] = {
    "tabular": ("auto", "dp", "ucfh"),
    "neural": ("auto", "dp", "neural"),
    "lifted": ("auto", "dp"),
    "auto": ("auto", "dp", "ucfh", "neural"),
}
"""Local learners that each solver has."""


def check_learners(
    solver: SolverChoice, l_learner: "LLearner | LocalFunction", g_learner: "GlobalFunction | None", draws: bool
) -> None:
    """Raise an ArgumentError unless the solver has these learners, and draws, if any, are the global one's to make."""
    check_callable("g_learner", g_learner)
    functions = [name for name, one in (("l_learner", l_learner), ("g_learner", g_learner)) if callable(one)]
    if functions and solver not in ("tabular", "auto"):
        raise ArgumentError(f"a function as {functions[0]} returns a table: use solver='tabular', not {solver!r}")
    if g_learner is not None and draws:
        raise ArgumentError("m and xi are draws of G-LEARN's; they have no place beside a g_learner of one's own")
    if callable(l_learner):
        return
    if l_learner not in get_args(LLearner):
        words = ", ".join(map(repr, get_args(LLearner)))
        raise ArgumentError(f"l_learner must be one of {words}, or a function, not {l_learner!r}")
    if l_learner not in LEARNERS[solver]:
        owners = [f"solver={one!r}" for one, learners in LEARNERS.items() if l_learner in learners]
        others = ", ".join(map(repr, LEARNERS[solver][1:]))
        raise ArgumentError(
            f"l_learner={l_learner!r} needs {' or '.join(owners)}; with solver={solver!r} use {others} or 'auto'"
        )


def is_infinite(k: object) -> bool:
    """Whether k is positive infinity."""
    return isinstance(k, float) and k == math.inf


def read_k(k: object, n: int) -> tuple[float, Sizes | None]:
    """The largest k that is asked for, or infinity, and where there are several, all of them.

    Raises:
        ArgumentError: one of them is no whole number in 1..n, or there is none.
    """
    k = k.tolist() if hasattr(k, "tolist") else k  # an array, or a tensor
    if is_infinite(k):
        return math.inf, None
    if not isinstance(k, Iterable) or isinstance(k, str):
        return as_integer("k", k, 1, n, ArgumentError), None
    sizes = tuple(sorted({as_integer("k", one, 1, n, ArgumentError) for one in k}))
    if not sizes:
        raise ArgumentError("k must be a number of agents, or several, not an empty list")
    return sizes[-1], sizes
