"""`altmarl advise`: how many agents to ask, and whether to remember, at a price or for a share of what is possible."""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from altmarl_torch.runs.cli.codes import DONE
from altmarl_torch.runs.cli.games import add_game, game_of

__all__ = ["add_advise"]

NUMBERS = (
    ("largest", int, "the largest k that is tried (default: 50, or n)"),
    ("episodes", int, "episodes of each k (default: 2000)"),
    ("horizon", int, "steps of each (default: 100)"),
    ("seed", int, "seed of learning and of the episodes (default: 0)"),
    ("answer-rate", float, "chance in [0, 1] that an asked agent answers (default: 1)"),
    ("share", float, "without prices: the share, in (0, 1], of what everybody seen would earn (default: 0.99)"),
)


def add_advise(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl advise`."""
    parser = commands.add_parser(
        "advise", help="how many agents to ask, and whether to remember", description=_advise.__doc__
    )
    add_game(parser)
    parser.add_argument(
        "--prices",
        type=_as_prices,
        metavar="P,P,...",
        help="what a question costs, for each asked agent and step (default: none, the smallest k that is good enough)",
    )
    for name, kind, meaning in NUMBERS:
        parser.add_argument(f"--{name}", type=kind, metavar=name.rpartition("-")[2].upper(), help=meaning)
    parser.add_argument("--no-memory", action="store_true", help="only dispatchers without a memory (the paper's)")
    parser.add_argument("--figure", type=Path, metavar="PNG", help="draw return and net return against k")
    parser.add_argument("--quiet", action="store_true", help="print the results alone")
    parser.set_defaults(run=_advise)


def _as_prices(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"prices are numbers, with commas between them, not {text!r}") from None


def _advise(arguments: argparse.Namespace) -> int:
    """Play every k that matters, with memory and without, on the same episodes, and say which one earns most."""
    from altmarl_torch.asking.advise import advise
    from altmarl_torch.runs.plots import advice_figure, save_png

    game = game_of(arguments)
    names = [name.replace("-", "_") for name, *_ in NUMBERS]
    given: dict[str, Any] = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    started = time.perf_counter()

    def told(line: str) -> None:
        if not arguments.quiet:
            print(f"{time.perf_counter() - started:6.1f} s  {line}", file=sys.stderr)

    advice = advise(game, arguments.prices, memory=not arguments.no_memory, told=told, **given)
    print(advice)
    if arguments.figure is not None:
        save_png(advice_figure(advice), arguments.figure)
    return DONE
