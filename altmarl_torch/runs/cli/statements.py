"""`altmarl bounds` and `altmarl chains`: what the paper's statements say about a game, before anything is learned."""

import argparse
import json
from typing import Any

from altmarl_torch.runs.cli.codes import DONE
from altmarl_torch.runs.cli.games import add_game, game_of
from altmarl_torch.runs.cli.sweep import as_numbers
from altmarl_torch.runs.flags import whole

__all__ = ["add_bounds", "add_chains"]


def _add_game(parser: argparse.ArgumentParser, game: str, ks: str) -> None:
    """The game and the sample sizes of a table."""
    add_game(parser, game)
    parser.add_argument(
        "--k", type=as_numbers, default=ks, metavar="K,K,...", help="sample sizes (default: %(default)s)"
    )


def add_chains(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl chains`."""
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


def add_bounds(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl bounds`."""
    parser = commands.add_parser(
        "bounds", help="the paper's schedules, bounds and sizes for a game", description=_bounds.__doc__
    )
    _add_game(parser, "warehouse", "1,10,20,50")
    parser.add_argument(
        "--m", type=whole, default=30, metavar="M", help="draws per Bellman update in Lemma B.35 (default: %(default)s)"
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


def _bounds(arguments: argparse.Namespace) -> int:
    """Everything that the paper's numbered statements say about a game, and where that is nothing ("vacuous")."""
    from altmarl_torch.theory.bounds_table import bounds_json, bounds_table, bounds_text

    game = game_of(arguments)
    table = bounds_table(game, arguments.k, m=arguments.m, delta=arguments.delta)
    print(json.dumps(bounds_json(table), allow_nan=False, indent=2) if arguments.json else bounds_text(table))
    return DONE


def _chains(arguments: argparse.Namespace) -> int:
    """How large the chained MDPs of L-LEARN are for a game, what UCFH asks for in theory, and what is feasible here."""
    from altmarl_torch.learners.chains.report import chain_rows, chains_text

    game = game_of(arguments)
    print(chains_text(game, chain_rows(game, arguments.k, epsilon=arguments.epsilon, delta=arguments.delta)))
    return DONE
