"""`altmarl fit LOG`: from a log to a game, and to a word on how much the log is worth.

The command counts the game (`games.logs.counted`), prints what the log says and leaves open, and writes two
files: the game, for `altmarl train --game`, and beside it the report as JSON (`docs/games-from-data.md` lists its
keys). With `--k` it also solves the game and asks how sure the result is: what the pair earns in games drawn from
what the log leaves open (`offline.fitted_game`).
"""

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altmarl_torch.errors import ArgumentError
from altmarl_torch.runs.cli.codes import DONE
from altmarl_torch.runs.cli.overwriting import add_force, refuse_existing
from altmarl_torch.runs.flags import whole
from altmarl_torch.support.files import write_json
from altmarl_torch.support.scalars import as_integer

if TYPE_CHECKING:
    from altmarl_torch.offline.fitted_game import FittedGame

__all__ = ["add_fit"]

SIZES = ("sg", "sl", "ag", "al")
EPISODES, HORIZON = 750, 100


def add_fit(commands: "argparse._SubParsersAction[Any]") -> None:
    """The subcommand `fit`."""
    parser = commands.add_parser("fit", help="count a game from a log of what agents did", description=_fit.__doc__)
    parser.add_argument(
        "log",
        metavar="LOG",
        help="a log: *.csv or *.npz (docs/games-from-data.md lists the columns), or trajectories of `altmarl collect`",
    )
    parser.add_argument(
        "--gamma", type=float, metavar="GAMMA", help="discount factor per step of the log (trajectories have their own)"
    )
    parser.add_argument(
        "--n", type=whole, metavar="N", help="how many local agents there are (trajectories have their own)"
    )
    parser.add_argument("--out", default="game.npz", metavar="FILE", help="the game (default: %(default)s)")
    parser.add_argument(
        "--smoothing",
        type=float,
        metavar="A",
        help="pseudo-counts per next state, a Dirichlet prior (default: none, and a refusal where a pair that can be "
        "reached was never seen)",
    )
    for word in SIZES:
        kind = "states" if word.startswith("s") else "actions"
        whose = "global" if word.endswith("g") else "local"
        parser.add_argument(
            f"--num-{word}",
            type=whole,
            metavar="N",
            help=f"how many {whose} {kind} there are (default: those in the log)",
        )
    parser.add_argument("--name", metavar="NAME", help="of the game (default: the log's)")
    parser.add_argument("--k", type=whole, metavar="K", help="also solve it, seeing K agents, and say how sure that is")
    parser.add_argument(
        "--draws",
        type=whole,
        default=20,
        metavar="N",
        help="games drawn from what the log allows (default: %(default)s)",
    )
    parser.add_argument("--seed", type=whole, default=0, metavar="SEED", help="of all draws (default: %(default)s)")
    add_force(parser)
    parser.set_defaults(run=_fit)


def _fit(arguments: argparse.Namespace) -> int:
    """Count the tables of a game from a log, say what the log leaves open, and write the game and the report."""
    table, facts = _log(arguments.log)  # a file that is not there is said first
    out = Path(arguments.out)
    if out.suffix != ".npz":
        raise ArgumentError(f"out must end in .npz, as games do, not {arguments.out!r}")
    report_file = out.with_suffix(".json")
    refuse_existing([out, report_file], arguments.force)
    as_integer("draws", arguments.draws, 1, math.inf, ArgumentError)
    facts |= {name: value for name, value in vars(arguments).items() if name in facts and value is not None}
    missing = [name for name in ("gamma", "n") if facts[name] is None]
    if missing:
        raise ArgumentError(f"{arguments.log} does not say {missing[0]}: give --{missing[0]}")
    from altmarl_torch.offline.fitted_game import estimate

    fitted = estimate(table, smoothing=arguments.smoothing, **facts)
    if arguments.k is not None:
        fitted.game.check_k(arguments.k)
    print(fitted.report())
    fitted.game.save(out)
    report = fitted.to_dict()
    if arguments.k is not None:
        report["solution"] = _solved(fitted, arguments.k, arguments.draws, arguments.seed)
    write_json(report_file, report)
    print(f"\nwritten    {out} and {report_file}\ntrain      altmarl train --game {out}")
    return DONE


def _log(path: str) -> tuple[Any, dict[str, Any]]:
    """The log, and what it says besides; None where it says nothing."""
    from altmarl_torch.games.logs.files import is_archive
    from altmarl_torch.offline.trajectories import FILE_FORMAT, Trajectories
    from altmarl_torch.support.npz import kind_of

    sizes = [f"num_{word}" for word in SIZES]
    if is_archive(path) and kind_of(path) == FILE_FORMAT:
        data = Trajectories.load(path)
        return data.transitions(), {name: getattr(data, name) for name in ("gamma", "n", "name", *sizes)}
    return path, {"gamma": None, "n": None, "name": Path(path).stem, **dict.fromkeys(sizes)}


def _solved(fitted: "FittedGame", k: int, draws: int, seed: int) -> dict[str, float | int]:
    """Solve the game, print what the pair earns in it and in those that the log allows as well, and return that."""
    from altmarl_torch.alternation.solving import solve
    from altmarl_torch.evaluation.rollouts import rollout
    from altmarl_torch.offline.held_out import held_out

    solution = solve(fitted.game, k, seed=seed)
    here = rollout(fitted.game, solution, episodes=EPISODES, horizon=HORIZON, seed=seed)
    spread = fitted.returns(solution, draws=draws, seed=seed)
    deviation = float(spread.std()) if draws > 1 else float("nan")
    print(
        f"\nsolved at k = {k}: the pair earns {here.mean:.2f} +- {here.sem:.2f} in this game ({HORIZON} steps);\n"
        f"in {draws} games that the log allows as well, {spread.min():.2f} to {spread.max():.2f}, "
        f"standard deviation {deviation:.2g}"
    )
    split = held_out(fitted, k, episodes=EPISODES, horizon=HORIZON, seed=seed)
    print(
        f"the pair is best for the log's noise too: chosen on half the log, pairs earn {split.promised:.2f} there and "
        f"{split.kept:.2f} in the other half's game;\nexpect about {here.mean - split.optimism:.2f} of this one"
    )
    return {
        "k": k,
        "return_mean": here.mean,
        "return_sem": here.sem,
        "draws": draws,
        "draws_mean": float(spread.mean()),
        "draws_std": deviation,
        "draws_least": float(spread.min()),
        "draws_most": float(spread.max()),
        "half_promised": split.promised,
        "half_kept": split.kept,
        "optimism": split.optimism,
    }
