"""How learners are run, and the most that they may be asked for; without torch, for whoever only reads options."""

from dataclasses import dataclass
from typing import Literal, get_args

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.scalars import as_integer, as_share, check_word

__all__ = ["MOST_EPISODES", "MOST_XI", "ChainSettings", "Form", "Settings"]

MOST_EPISODES = 10**13
"""Of UCFH: visits stay exact in float64, with hundreds of rounds in each episode."""

MOST_XI = 10**6
"""Draws of a reward that are averaged."""

Form = Literal["paper", "auto", "tuple", "mean-field"]
"""Algorithm 8 or 9, by name; by the paper's switch rule; or whichever has fewer states."""


@dataclass(frozen=True)
class ChainSettings:
    """How L-LEARN runs UCFH.

    Attributes:
        epsilon: relative, in (0, 1]; or "paper", the 1/sqrt(k) of Algorithm 2 in units of value.
        delta: failure probability, in (0, 1].
        confidence: scales UCFH's confidence, in (0, 1]; below 1 its bounds are heuristic.
        form: of the chain.
        ascent: whether coordinate ascent follows the projection.
        max_episodes: of UCFH, in each response.
    """

    epsilon: float | Literal["paper"] = 0.05
    delta: float = 0.1
    confidence: float = 1.0
    form: Form = "paper"
    ascent: bool = True
    max_episodes: int = 10**8

    def __post_init__(self) -> None:
        if self.epsilon != "paper":
            as_share("epsilon", self.epsilon)
        for name in ("delta", "confidence"):
            as_share(name, getattr(self, name))
        as_integer("max_episodes", self.max_episodes, 1, MOST_EPISODES, ArgumentError)
        if not isinstance(self.ascent, bool):
            raise ArgumentError(f"ascent must be True or False, not {self.ascent!r}")
        check_word("form", self.form, get_args(Form))


@dataclass(frozen=True)
class Settings:
    """How networks are trained.

    Attributes:
        batch: pairs (s_g, h) per gradient step.
        draws: next counts drawn for each: m.
        learning_rate: of Adam, before it is annealed.
        averaging: weight of the newest network in the running average.
        max_steps: gradient steps of one fit at most.
        compile: whether the network is passed through torch.compile.
    """

    batch: int = 1024
    draws: int = 1
    learning_rate: float = 2e-3
    averaging: float = 0.02
    max_steps: int = 6000
    compile: bool = False
