"""The words that options take, and which of them go together."""

from typing import Literal

__all__ = ["LEARNERS", "Eta", "LLearner", "Nested", "SolverChoice"]

LLearner = Literal["auto", "dp", "ucfh", "neural"]
"""How the local agents' best response is found; "auto" is "dp"."""

Nested = Literal["on", "off"]
"""Whether large tables begin from what is found for few agents."""

Eta = float | Literal["auto", "paper"]
"""UPDATE's tolerance: a number in units of value, or where it comes from."""

SolverChoice = Literal["tabular", "neural", "lifted", "auto"]
"""A solver, or whichever is best for the game (`choosing`)."""

LEARNERS: dict[SolverChoice, tuple[LLearner, ...]] = {
    "tabular": ("auto", "dp", "ucfh"),
    "neural": ("auto", "dp", "neural"),
    "lifted": ("auto", "dp"),
    "auto": ("auto", "dp", "ucfh", "neural"),
}
"""Local learners that each solver has."""
