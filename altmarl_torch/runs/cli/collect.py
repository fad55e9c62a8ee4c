"""`altmarl collect`: trajectories of a behaviour policy, for off-policy learning, and a word on what they cover.

The command plays a behaviour policy in the k-agent game (`offline.behaviour`), writes what happened
(`offline.trajectories`), and prints the coverage report (`offline.coverage`): exactly from the
game, where its chain is small enough, and from the data alone. `altmarl train --from-data` learns from the file.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.runs.cli.codes import DONE
from altmarl_torch.runs.cli.games import add_game, game_of
from altmarl_torch.runs.cli.overwriting import add_force, refuse_existing
from altmarl_torch.runs.flags import whole

if TYPE_CHECKING:
    from altmarl_torch.games.game import Game
    from altmarl_torch.offline.behaviour import BehaviourPolicy

__all__ = ["add_collect"]


def add_collect(commands: "argparse._SubParsersAction[Any]") -> None:
    """The subcommand `collect`."""
    parser = commands.add_parser(
        "collect", help="write trajectories of a behaviour policy, for train --from-data", description=_collect.__doc__
    )
    add_game(parser)
    for flag, default, meaning in (
        ("k", 5, "how many local agents are followed, and seen by the global agent"),
        ("steps", 10_000, "steps of each trajectory"),
        ("trajectories", 10, "how many there are, each from a fresh start"),
        ("seed", 0, "seed of everything random"),
    ):
        metavar = flag[0].upper() if flag != "seed" else "SEED"
        parser.add_argument(
            f"--{flag}", type=whole, default=default, metavar=metavar, help=f"{meaning} (default: %(default)s)"
        )
    parser.add_argument(
        "--behaviour",
        default="uniform",
        metavar="POLICY",
        help="uniform, a heuristic pair ('hold + walk'), or a run folder of the same k (default: %(default)s)",
    )
    parser.add_argument(
        "--explore",
        type=float,
        default=0.1,
        metavar="P",
        help="probability with which each agent acts at random instead (default: %(default)s)",
    )
    parser.add_argument("--out", default="data.npz", metavar="FILE", help="the file (default: %(default)s)")
    add_force(parser)
    parser.set_defaults(run=_collect)


def _collect(arguments: argparse.Namespace) -> int:
    """Play a behaviour policy in the k-agent game, write its trajectories, and say what they cover (Assumption E.1)."""
    out = Path(arguments.out)
    if out.suffix != ".npz":
        raise ArgumentError(f"out must end in .npz, not {arguments.out!r}")
    refuse_existing([out], arguments.force)
    from altmarl_torch.offline.behaviour import collect
    from altmarl_torch.offline.coverage import coverage_of_data

    game = game_of(arguments, arguments.k)
    behaviour = _behaviour(game, arguments.k, arguments.behaviour)
    chosen: dict[str, Any] = {"behaviour": behaviour, "explore": arguments.explore}
    data = collect(
        game, arguments.k, **chosen, steps=arguments.steps, trajectories=arguments.trajectories, seed=arguments.seed
    )
    data.save(out)
    print(f"{data!r}\n\n{_exact_text(game, arguments.k, chosen)}\n\n{coverage_of_data(data).text()}")
    print(f"\nwritten    {out}\nlearn      altmarl train --from-data {out}")
    return DONE


def _exact_text(game: "Game", k: int, chosen: dict[str, Any]) -> str:
    """The report from the game, or why there is none."""
    from altmarl_torch.offline.coverage import coverage_of_game

    try:
        return coverage_of_game(game, k, **chosen).text()
    except (SizeError, ArgumentError) as reason:
        return f"Assumption E.1 is not checked exactly: {reason}"


def _behaviour(game: "Game", k: int, word: str) -> "BehaviourPolicy":
    """Who acts: a word, the name of a heuristic pair, or a run folder."""
    from altmarl_torch.policies.yardsticks import yardsticks
    from altmarl_torch.runs.folder import open_run

    if word == "uniform":
        return "uniform"
    pairs = yardsticks(game, k)
    if word in pairs:
        return pairs[word]
    if Path(word).is_dir():
        return open_run(word).solution
    raise ArgumentError(
        f"behaviour must be uniform, one of {', '.join(map(repr, pairs))}, or a run folder; not {word!r}"
    )
