"""What a solver is asked, in four records: what to solve, how to learn, when to stop, what to keep.

A record checks itself when it is made, whoever makes it: `solve` from its arguments, `runs.config.TrainConfig` from its
fields. Options that exist are therefore in their ranges, and in an `Options` they go together. What depends on a game
(is k one of 1..n, can the counts be listed, is there a reward to draw, is the device there) is asked by `run.fit`.

Records are made without torch: the command line refuses a wrong option before it is loaded.

A new option is one field of one record, checked there, and whoever uses it; `solve` offers it as an argument, and the
command line as a field of `TrainConfig` of the same name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from altmarl_torch.alternation.words import (
    Eta,
    LLearner,
    Nested,
    Observation,
    Select,
    Sizes,
    SolverChoice,
    check_learners,
    is_infinite,
)
from altmarl_torch.counts.degrees import MOST_DEGREE
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.settings import MOST_XI, ChainSettings, Settings
from altmarl_torch.operators.words import Acceptance, Objective
from altmarl_torch.support.scalars import as_integer, as_number, as_seed, check_callable, check_word

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from torch import Tensor, nn

    from altmarl_torch.alternation.loop import Curve, PhaseProgress, Update
    from altmarl_torch.alternation.players.problems import GlobalFunction, LocalFunction

__all__ = [
    "Eta",
    "Keeping",
    "LLearner",
    "Learning",
    "Nested",
    "Options",
    "Problem",
    "SolverChoice",
    "Stopping",
]

MOST_STARTS = 1_000
MOST_STEPS = MOST_DRAWS = 10**6


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be solved.

    Attributes:
        k: how many of the local agents the global agent sees, at least 1; infinity for the mean-field limit, in which
            everybody is seen.
        sizes: where one network is to learn several k, all of them, of which k is the largest; None for one.
        objective: what the local agents maximise: "team", the reward of the game, or "own", the paper's.
        observation: what the sample is taken for.
        alpha: the prior of "posterior"; None leaves it to the n-agent system.

    Raises:
        ArgumentError: an option is out of range, or alpha is given without "posterior".
    """

    k: float
    objective: Objective = "team"
    observation: Observation = "surrogate"
    alpha: ArrayLike | Tensor | None = None
    sizes: Sizes | None = None

    def __post_init__(self) -> None:
        _check_words(self, objective=Objective, observation=Observation)
        if not is_infinite(self.k):
            _set(self, k=as_integer("k", self.k, 1, math.inf, ArgumentError))
        elif self.observation != "surrogate":
            raise ArgumentError(
                f"k = inf sees everybody, and leaves nothing to infer: it goes with observation='surrogate', not "
                f"{self.observation!r}"
            )
        if self.alpha is not None and self.observation != "posterior":
            raise ArgumentError(
                f"alpha is the prior of observation='posterior'; it has no place in {self.observation!r}"
            )


@dataclass(frozen=True, eq=False)
class Learning:
    """How best responses are learned.

    Attributes:
        solver: what policies and values are made of.
        l_learner: how the local agents respond; a word, or a function.
        g_learner: how the global agent responds; None for G-LEARN, or a function.
        chain: how "ucfh" is run; its defaults where None, and None for other learners.
        m: draws of T-hat_{k,m}; None for the exact expectation, or one draw a gradient step.
        xi: draws of stochastic rewards, or "lemma"; None for their means.
        starts: how many local policies to begin from.
        start: a pair to begin from, of an earlier solution; None for uniform policies.
        nested: whether large tables begin from what is found for few agents, networks from lifted functions, and a run
            that ends with the uniform pi_l again elsewhere.
        select: what decides between candidates.
        seed: of every random number.
        device: where tables and networks lie.
        network: to be trained in place of `CountNetwork`.
        learning_rate: of the networks' optimiser.
        compile: whether networks are passed through torch.compile.
        degree: of lifted functions; None leaves it to their accuracy.

    Raises:
        ArgumentError: an option is out of range, or two of them do not go together.
    """

    solver: SolverChoice = "tabular"
    l_learner: LLearner | LocalFunction = "auto"
    g_learner: GlobalFunction | None = None
    chain: ChainSettings | None = None
    m: int | None = None
    xi: int | Literal["lemma"] | None = None
    starts: int = 1
    start: Any = None
    nested: Nested = "on"
    select: Select = "value"
    seed: int = 0
    device: str = "cpu"
    network: nn.Module | None = None
    learning_rate: float = Settings.learning_rate
    compile: bool = False
    degree: int | None = None

    def __post_init__(self) -> None:
        _check_words(self, solver=SolverChoice, select=Select, nested=Nested)
        self._check_learner()
        m = self.m if self.m is None else as_integer("m", self.m, 1, MOST_DRAWS, ArgumentError)
        starts, seed = as_integer("starts", self.starts, 1, MOST_STARTS, ArgumentError), as_seed(self.seed)
        rate = as_number("learning_rate", self.learning_rate, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
        _set(self, m=m, xi=_as_xi(self.xi), starts=starts, seed=seed, learning_rate=rate)
        self._check_lifted()
        if self.start is not None and self.starts > 1:
            raise ArgumentError(f"start is a pair to begin from, and starts = {starts} begins from several: give one")

    @property
    def has_functions(self) -> bool:
        """Whether a player learns by a function of the caller's."""
        return callable(self.l_learner) or self.g_learner is not None

    def _check_lifted(self) -> None:
        """A degree goes with lifted functions alone, and draws do not go with them: their expectations are exact."""
        if self.degree is not None:
            _set(self, degree=as_integer("degree", self.degree, 1, MOST_DEGREE, ArgumentError))
            if self.solver not in ("lifted", "auto"):
                raise ArgumentError(f"degree is of solver='lifted'; it has no place in solver={self.solver!r}")
        for name in ("m", "xi") if self.solver == "lifted" else ():
            if getattr(self, name) is not None:
                raise ArgumentError(f"{name} draws samples, and solver='lifted' takes exact means: leave it out")

    def _check_learner(self) -> None:
        """Whether the solver has these learners, and a network to train, and only "ucfh" is told how to be run."""
        check_learners(self.solver, self.l_learner, self.g_learner, self.m is not None or self.xi is not None)
        if self.network is not None and self.solver not in ("neural", "auto"):
            raise ArgumentError(f"network is trained by solver='neural'; it has no place in solver={self.solver!r}")
        if self.chain is not None and not isinstance(self.chain, ChainSettings):
            raise ArgumentError(f"chain must be tabular.ChainSettings, not {type(self.chain).__name__}")
        if self.l_learner == "ucfh":
            _set(self, chain=self.chain or ChainSettings())
        elif self.chain is not None:
            raise ArgumentError(f"chain says how l_learner='ucfh' is run; it has no place in {self.l_learner!r}")


@dataclass(frozen=True)
class Stopping:
    """When the alternation ends.

    Attributes:
        steps: proposals of each player at most.
        eta: UPDATE's tolerance.
        accept: UPDATE's rule.

    Raises:
        ArgumentError: an option is out of range.
    """

    steps: int = 10
    eta: Eta = "auto"
    accept: Acceptance = "mean"

    def __post_init__(self) -> None:
        _check_words(self, accept=Acceptance)
        _set(self, steps=as_integer("steps", self.steps, 1, MOST_STEPS, ArgumentError))
        if not isinstance(self.eta, str) or self.eta not in ("auto", "paper"):
            allowed = "[0, inf) or one of auto, paper"
            _set(self, eta=as_number("eta", self.eta, allowed, lambda x: 0 <= x < math.inf, ArgumentError))


@dataclass(frozen=True)
class Keeping:
    """Who is told what happens, and where it is kept.

    Attributes:
        callback: told every update.
        progress: told (phase, sweeps, error) in the long parts.
        curve: told (gradient steps or episodes, numbers by tag) while a learner learns.
        checkpoints: the folder of checkpoints; None keeps none.

    Raises:
        ArgumentError: what should be called cannot be, or `checkpoints` is no path.
    """

    callback: Callable[[Update], None] | None = None
    progress: PhaseProgress | None = None
    curve: Curve | None = None
    checkpoints: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        for name in ("callback", "progress", "curve"):
            check_callable(name, getattr(self, name))
        if self.checkpoints is not None and not isinstance(self.checkpoints, str | os.PathLike):
            raise ArgumentError(f"checkpoints must be the path of a folder, not {type(self.checkpoints).__name__}")


@dataclass(frozen=True)
class Options:
    """Everything that a solver is asked.

    Raises:
        ArgumentError: two options do not go together.
    """

    problem: Problem
    learning: Learning = field(default_factory=Learning)
    stopping: Stopping = field(default_factory=Stopping)
    keeping: Keeping = field(default_factory=Keeping)

    def __post_init__(self) -> None:
        observation, learning = self.problem.observation, self.learning
        if self.problem.sizes is not None:
            self._check_several()
        if observation == "surrogate":
            return
        if observation == "population":
            self._check_population()
        if learning.l_learner == "ucfh" or learning.has_functions:
            one = "l_learner='ucfh'" if learning.l_learner == "ucfh" else "a learner of one's own"
            raise ArgumentError(f"{one} needs observation='surrogate', not {observation!r}: it knows no other")
        if (learning.solver, observation) == ("tabular", "posterior") and learning.m is not None:
            raise ArgumentError(
                "observation='posterior' needs m=None with solver='tabular': its expectations are exact"
            )
        if learning.xi is not None:
            raise ArgumentError(
                f"xi draws the rewards of the surrogate; it has no place in observation={observation!r}"
            )

    def _check_population(self) -> None:
        """Agents that are played are met by networks, and are what other observation models are selected by."""
        learning = self.learning
        if learning.solver not in ("neural", "auto") or learning.degree is not None:
            other = "degree" if learning.degree is not None else f"solver={learning.solver!r}"
            raise ArgumentError(f"observation='population' is learned by networks: use solver='neural', not {other}")
        if learning.select != "value":
            raise ArgumentError("select='rollout' has no place beside observation='population', which plays n agents")

    def _check_several(self) -> None:
        """Several k are of networks on the paper's surrogate alone."""
        learning = self.learning
        of_networks = learning.solver in ("neural", "auto") and learning.l_learner in ("auto", "dp", "neural")
        fits = {
            "solver='neural'": of_networks and learning.g_learner is None and learning.degree is None,
            "observation='surrogate'": self.problem.observation == "surrogate",
            "select='value'": learning.select == "value",
        }
        for option in (option for option, given in fits.items() if not given):
            raise ArgumentError(f"several k are learned by one network: that needs {option}")


def _as_xi(xi: object) -> int | Literal["lemma"] | None:
    """`xi`, or an ArgumentError unless it is None, "lemma" or a number of draws."""
    if xi is None:
        return None
    if isinstance(xi, str):
        if xi != "lemma":
            raise ArgumentError(f"xi must be an integer in 1..{MOST_XI}, 'lemma' or None, not {xi!r}")
        return "lemma"
    return as_integer("xi", xi, 1, MOST_XI, ArgumentError)


def _check_words(record: object, **words: Any) -> None:
    """Raise an ArgumentError unless each named field holds one of its words."""
    for name, word in words.items():
        check_word(name, getattr(record, name), get_args(word))


def _set(record: object, **values: object) -> None:
    """Give a record its checked values, before anybody sees it."""
    for name, value in values.items():
        object.__setattr__(record, name, value)
