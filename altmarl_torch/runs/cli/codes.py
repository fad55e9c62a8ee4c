"""Exit codes of all commands, and the type of their group of parsers."""

__all__ = ["DONE", "FAILED", "INTERRUPTED", "WRONG_ARGUMENT"]

DONE = 0
FAILED = 1
"""Something failed at run time: a file, a table too large to build."""
WRONG_ARGUMENT = 2
INTERRUPTED = 130
"""Ctrl-C, with what was learned so far saved."""
