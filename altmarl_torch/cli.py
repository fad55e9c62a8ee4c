"""`altmarl`: the command line."""

from collections.abc import Sequence

from altmarl_torch.runs.backend import without_backend
from altmarl_torch.runs.cli import main as commands

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (`runs.cli.main`).

    Args:
        argv: the words after the program's name; those of the process by default.
    """
    with without_backend():  # a command imports matplotlib where it needs it
        return commands.main(argv)
