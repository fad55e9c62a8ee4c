"""The command line: `altmarl train | evaluate | certify | sweep | plot | fit | collect | bounds | chains | games`;
`train.py` is its `train`.

Exit codes: 0 done, 1 something failed at run time (a file, a table too large to build), 2 an argument is wrong, 130
ended by Ctrl-C with what was learned so far saved. An error that this package or the file system raises on purpose is
one line on standard error, `error: ...`; a traceback means a bug. A reader of standard output that goes away
(`altmarl games | head -1`) ends the command with 1 and without a word. Warnings of the library (its logger is called
`altmarl_torch`) appear as `warning: ...`.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from altmarl_torch import games
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.evaluation.certificate import PARTS, certify
from altmarl_torch.evaluation.gaps_by_rollout import rollout_gaps
from altmarl_torch.games.game import Game
from altmarl_torch.learners.chains.report import chain_rows, chains_text
from altmarl_torch.runs.cli.collect import add_collect
from altmarl_torch.runs.cli.fit import add_fit
from altmarl_torch.runs.cli.sweep import add_plot, add_sweep, as_numbers
from altmarl_torch.runs.config import TrainConfig, add_arguments, from_arguments
from altmarl_torch.runs.folder import RunFolder, open_run
from altmarl_torch.runs.report import Console, certificate_text, gaps_text, return_table, tensorboard_command
from altmarl_torch.runs.training import measure, resume, train
from altmarl_torch.theory.bounds_table import bounds_json, bounds_table, bounds_text

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


def _parser() -> _Parser:
    parser = _Parser(prog="altmarl", description="Cooperative games between one agent that sees k of n, and the n.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    train_parser = commands.add_parser(
        "train", help="learn a pair of policies, measure it, and write a run folder", description=_train.__doc__
    )
    add_arguments(train_parser)
    train_parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run that was broken off; of the other options --quiet alone counts",
    )
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
    certify_parser = commands.add_parser(
        "certify", help="bound how far a finished run is from an equilibrium", description=_certify.__doc__
    )
    certify_parser.add_argument("folder", metavar="RUN", help="a run folder")
    certify_parser.add_argument(
        "--quick", action="store_true", help="leave out the deviation of all local agents together, which takes longest"
    )
    certify_parser.set_defaults(run=_certify)
    add_sweep(commands)
    add_plot(commands)
    add_fit(commands)
    add_collect(commands)
    _add_bounds(commands)
    _add_chains(commands)
    games_parser = commands.add_parser("games", help="list the named games", description=_games.__doc__)
    games_parser.set_defaults(run=_games)
    return parser


def _add_game(parser: _Parser, game: str, ks: str) -> None:
    """The game and the sample sizes of a table."""
    parser.add_argument("--game", default=game, metavar="GAME", help="as for train (default: %(default)s)")
    parser.add_argument(
        "--k", type=as_numbers, default=ks, metavar="K,K,...", help="sample sizes (default: %(default)s)"
    )
    parser.add_argument("--n", type=int, metavar="N", help="how many local agents there are (default: the game's own)")
    parser.add_argument("--gamma", type=float, metavar="GAMMA", help="discount factor (default: the game's own)")


def _build_game(arguments: argparse.Namespace) -> Game:
    """The game that the arguments of `_add_game` name."""
    return TrainConfig(game=arguments.game, k=1, n=arguments.n, gamma=arguments.gamma).build_game()


def _add_chains(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = commands.add_parser(
        "chains", help="sizes of L-LEARN's chains, UCFH's theory, and what is feasible", description=_chains.__doc__
    )
    _add_game(parser, "steer", "1,2,3,4,6,8")
    for flag, default, meaning in (("epsilon", 0.05, "relative accuracy"), ("delta", 0.1, "failure probability")):
        parser.add_argument(
            f"--{flag}",
            type=float,
            default=default,
            metavar=flag.upper(),
            help=f"UCFH's {meaning}, in (0, 1] (default: %(default)s)",
        )
    parser.set_defaults(run=_chains)


def _add_bounds(commands: "argparse._SubParsersAction[_Parser]") -> None:
    parser = commands.add_parser(
        "bounds", help="the paper's schedules, bounds and sizes for a game", description=_bounds.__doc__
    )
    _add_game(parser, "warehouse", "1,10,20,50")
    parser.add_argument(
        "--m", type=int, default=30, metavar="M", help="draws per Bellman update in Lemma B.35 (default: %(default)s)"
    )
    parser.add_argument(
        "--delta",
        type=float,
        default=0.05,
        metavar="DELTA",
        help="failure probability where a statement leaves it open (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    parser.set_defaults(run=_bounds)


def _train(arguments: argparse.Namespace) -> int:
    """Learn, measure, write a run folder; or go on with one, with the options that it was begun with."""
    config = from_arguments(arguments)
    with Console(config.quiet) as console:
        run = train(config, console) if arguments.resume is None else resume(arguments.resume, console)
        console.result(f"\nrun folder   {run.folder}")
        console.say(f"TensorBoard  {tensorboard_command(str(run.folder.parent))}")
    return INTERRUPTED if run.summary["interrupted"] else DONE


def _evaluate(arguments: argparse.Namespace) -> int:
    """Simulate a finished run again, for another n, horizon or number of episodes; the folder is not changed."""
    run = open_run(arguments.folder)
    given = {name: getattr(arguments, name) for name in ("horizon", "episodes", "seed")}
    asked = {name: getattr(run.config, name) if value is None else value for name, value in given.items()}
    measured = measure(run.game, run.solution, n=arguments.n, **asked)
    print(return_table(measured.learned, measured.heuristics))
    return DONE


def _certify(arguments: argparse.Namespace) -> int:
    """Compute what either player of a finished run could gain by deviating; writes certificate.json into its folder.

    Where the counts of k agents are too many for tables, or the global agent has a memory, deviations are tried by
    rollouts instead, and bound the gaps from below; nothing is written.
    """
    run = open_run(arguments.folder)
    with Console() as console:
        if run.solution.pi_g is None or run.solution.belief is not None:
            console.result(gaps_text(rollout_gaps(run.game, run.solution, seed=run.config.seed)))
            return DONE
        parts = [part for part in PARTS if part != "shared" or not arguments.quick]
        certificate = certify(run.game, run.solution, parts=parts, progress=console.progress)
        RunFolder(Path(arguments.folder)).write_certificate(certificate)
        console.result(certificate_text(certificate))
    return DONE


def _bounds(arguments: argparse.Namespace) -> int:
    """Everything that the paper's numbered statements say about a game, and where that is nothing ("vacuous")."""
    game = _build_game(arguments)
    table = bounds_table(game, arguments.k, m=arguments.m, delta=arguments.delta)
    print(json.dumps(bounds_json(table), allow_nan=False, indent=2) if arguments.json else bounds_text(table))
    return DONE


def _chains(arguments: argparse.Namespace) -> int:
    """How large the chained MDPs of L-LEARN are for a game, what UCFH asks for in theory, and what is feasible here."""
    game = _build_game(arguments)
    print(chains_text(game, chain_rows(game, arguments.k, epsilon=arguments.epsilon, delta=arguments.delta)))
    return DONE


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
