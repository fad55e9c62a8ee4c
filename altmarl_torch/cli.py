"""The command line: ``altmarl train | evaluate | games``; ``python train.py`` is ``altmarl train``.

Exit codes: 0 done, 1 something failed at run time (a file, a table too large to build), 2 an argument is wrong, 130
ended by Ctrl-C with what was learned so far saved.  An error that this package or the file system raises on purpose is
one line on standard error, ``error: ...``; a traceback means a bug.  Warnings of the library (its logger is called
``altmarl_torch``) appear as ``warning: ...``.
"""

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from tqdm import tqdm

from altmarl_torch import games
from altmarl_torch.config import add_arguments, from_arguments
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.report import Console, return_table, tensorboard_command
from altmarl_torch.runs import open_run
from altmarl_torch.training import measure, train

__all__ = ["main"]

DONE, FAILED, WRONG_ARGUMENT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the words after the program's name; those of the process by default.
    """
    try:
        arguments = _parser().parse_args(argv)
        with _warnings_on_stderr():
            return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return _complain("interrupted", INTERRUPTED)
    except ArgumentError as error:
        return _complain(str(error), WRONG_ARGUMENT)
    except AltMarlError as error:
        return _complain(str(error), FAILED)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)


class _Parser(argparse.ArgumentParser):
    """argparse, but a wrong argument raises like any other, instead of printing the usage and leaving."""

    def error(self, message: str) -> NoReturn:
        raise ArgumentError(f"{message} (see {self.prog} --help)")


def _parser() -> _Parser:
    parser = _Parser(prog="altmarl", description="Cooperative games between one agent that sees k of n, and the n.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train_parser = commands.add_parser(
        "train", help="learn a pair of policies, measure it, and write a run folder", description=_train.__doc__
    )
    add_arguments(train_parser)
    train_parser.set_defaults(run=_train)
    evaluate_parser = commands.add_parser(
        "evaluate", help="simulate a finished run again", description=_evaluate.__doc__
    )
    evaluate_parser.add_argument(
        "folder", metavar="RUN", help="a run folder, for instance runs/warehouse__tabular__..."
    )
    for flag, meaning in (
        ("n", "how many local agents there are (default: the game's)"),
        ("horizon", "steps per episode (default: the run's)"),
        ("episodes", "number of episodes (default: the run's)"),
        ("seed", "seed of the episodes (default: the run's)"),
    ):
        evaluate_parser.add_argument(f"--{flag}", type=int, metavar=flag.upper(), help=meaning)
    evaluate_parser.set_defaults(run=_evaluate)
    games_parser = commands.add_parser("games", help="list the named games", description=_games.__doc__)
    games_parser.set_defaults(run=_games)
    return parser


def _train(arguments: argparse.Namespace) -> int:
    """Learn, measure, write a run folder."""
    config = from_arguments(arguments)
    with Console(config.quiet) as console:
        run = train(config, console)
        console.result(f"\nrun folder   {run.folder}")
        console.say(f"TensorBoard  {tensorboard_command(config.runs_dir)}")
    return INTERRUPTED if run.summary["interrupted"] else DONE


def _evaluate(arguments: argparse.Namespace) -> int:
    """Simulate a finished run again, for another n, horizon or number of episodes; the folder is not changed."""
    run = open_run(arguments.folder)
    given = {name: getattr(arguments, name) for name in ("horizon", "episodes", "seed")}
    asked = {name: getattr(run.config, name) if value is None else value for name, value in given.items()}
    measured = measure(run.game, run.solution, n=arguments.n, **asked)
    print(return_table(measured.learned, measured.heuristics))
    return DONE


def _games(arguments: argparse.Namespace) -> int:
    """List the named games, one per line."""
    for name, line in games.describe().items():
        print(f"{name:<10} {line}")
    return DONE


def _complain(message: str, code: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return code


class _LineAboveTheBar(logging.Handler):
    """One line per record on standard error; tqdm redraws its bar below."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(f"{record.levelname.lower()}: {record.getMessage()}", file=sys.stderr)


@contextmanager
def _warnings_on_stderr() -> Iterator[None]:
    """Show the library's warnings while a command runs, and leave the logger as it was."""
    logger, handler = logging.getLogger("altmarl_torch"), _LineAboveTheBar(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
