"""Errors for people: what was wrong, where, and what would be right.

Every error that the package raises on purpose is an `AltMarlError`; it is a `ValueError` too, so that research
code which catches the built-in one keeps working.
"""

__all__ = [
    "AltMarlError",
    "ArgumentError",
    "FileFormatError",
    "GameError",
    "KernelError",
    "LearningError",
    "LogError",
    "MissingExtraError",
    "PolicyError",
    "SizeError",
]


class AltMarlError(ValueError):
    """The root of the family."""


class ArgumentError(AltMarlError):
    """An argument or a command-line flag is outside its range; the message names the range."""


class GameError(AltMarlError):
    """A table of a game is malformed; the message names the table, the indices and the offending sum or value."""


class PolicyError(AltMarlError):
    """A policy has the wrong shape or a row that is no law."""


class SizeError(AltMarlError):
    """A table is too large to build; the message states its size and what to use instead."""


class KernelError(AltMarlError):
    """A transition matrix has no exact factored form that is accurate enough at this k."""


class LearningError(AltMarlError):
    """A network's training went astray: a loss that is not finite; the message says where and what to change."""


class FileFormatError(AltMarlError):
    """A file is not of the documented format, or of a version that this package does not read."""


class LogError(FileFormatError):
    """A log of transitions, in a file or in memory, is malformed; the message names the line or row."""


class MissingExtraError(AltMarlError, ImportError):
    """A partner's package is not installed; the message names the `pip install` that brings it."""
