"""The command line: `altmarl train | evaluate | certify | advise | sweep | plot | fit | collect | bounds | chains |
games`; `train.py` is its `train`.

Exit codes: 0 done, 1 something failed at run time (a file, a table too large to build), 2 an argument is wrong, 130
ended by Ctrl-C with what was learned so far saved. An error that this package or the file system raises on purpose is
one line on standard error, `error: ...`; a traceback means a bug. A reader of standard output that goes away
(`altmarl games | head -1`) ends the command with 1 and without a word. Warnings of the library (its logger is called
`altmarl_torch`) appear as `warning: ...`.

Torch takes a second or two to load. A command imports what it needs when it runs, so that the help, the list of games
and a refused option are there at once.
"""

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from altmarl_torch import games
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.runs.cli.advise import add_advise
from altmarl_torch.runs.cli.codes import DONE, FAILED, INTERRUPTED, WRONG_ARGUMENT
from altmarl_torch.runs.cli.collect import add_collect
from altmarl_torch.runs.cli.fit import add_fit
from altmarl_torch.runs.cli.statements import add_bounds, add_chains
from altmarl_torch.runs.cli.sweep import add_plot, add_sweep
from altmarl_torch.runs.cli.train import add_certify, add_evaluate, add_train
from altmarl_torch.runs.named_game import require_known

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words after the program's name; those of the process by default.
    """
    try:
        arguments = _parser().parse_args(argv)
        if getattr(arguments, "game", None) is not None:
            require_known(arguments.game)
        with _warnings_on_stderr():
            code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except ArgumentError as error:
        return _complain(str(error), WRONG_ARGUMENT)
    except AltMarlError as error:
        return _complain(str(error), FAILED)
    except BrokenPipeError:
        return _hang_up()
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong argument raises like any other, instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see {self.prog} --help)")


class _Version(argparse.Action):
    """Print what is installed, and leave."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from altmarl_torch.counts.compiled import describe
        from altmarl_torch.runs.folder import versions

        parts = [f"{name} {version}" for name, version in versions().items()]
        print(", ".join([*parts, f"pair moves: {describe()}"]))
        parser.exit()


def _parser() -> _Parser:
    parser = _Parser(prog="altmarl", description="Cooperative games between one agent that sees k of n, and the n.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_train(commands)
    add_evaluate(commands)
    add_certify(commands)
    add_advise(commands)
    add_sweep(commands)
    add_plot(commands)
    add_fit(commands)
    add_collect(commands)
    add_bounds(commands)
    add_chains(commands)
    games_parser = commands.add_parser("games", help="list the named games", description=_games.__doc__)
    games_parser.set_defaults(run=_games)
    return parser


def _games(arguments: argparse.Namespace) -> int:
    """List the named games, one per line."""
    described = games.describe()
    width = max(map(len, described))
    for name, line in described.items():
        print(f"{name:<{width}}  {line}")
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


def _hang_up() -> int:
    """Nobody reads standard output any more: drop what is still in its buffer, and end without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return FAILED


class _LineAboveTheBar(logging.Handler):
    """One line per record on standard error; tqdm redraws its bar below. What was said is not said again."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() in self._said:
            return
        self._said.add(record.getMessage())
        from tqdm import tqdm

        tqdm.write(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show the library's warnings while a command runs, and leave the logger as it was."""
    logger, handler = logging.getLogger("altmarl_torch"), _LineAboveTheBar()
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
