"""`python -m altmarl_torch.federated`: rebuild the shipped game from real runs, or try a learned pair in them.

rebuild               pilot, log, count: writes federated.npz and federated.json (two minutes of one core)
compare RUN           a learned pair (a run folder, or its policy.npz) against fixed schedules, on new federations
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.federated.building import LogPlan, build, read_setup, write
from altmarl_torch.federated.comparing import compare, figure
from altmarl_torch.games.logs.transitions import Transitions
from altmarl_torch.games.named.federated import TABLES, federated
from altmarl_torch.runs.folder import POLICY
from altmarl_torch.runs.plots import save_png
from altmarl_torch.support.tables import as_integer

__all__ = ["main"]

DONE, REFUSED = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the commands; 0, or 2 where something was refused, in words."""
    parser = argparse.ArgumentParser(prog="python -m altmarl_torch.federated", description=main.__doc__)
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser(
        "rebuild", help="run the federations, log, count, write the game", description=_rebuild.__doc__
    )
    one.add_argument(
        "--out",
        default=str(TABLES),
        metavar="FILE",
        help="the game; its provenance goes beside it (default: %(default)s)",
    )
    one.add_argument("--episodes", type=int, default=LogPlan.episodes, help="runs in the log (default: %(default)s)")
    one.add_argument("--log", metavar="FILE", help="also write the log, as npz")
    one.set_defaults(run=_rebuild)
    two = commands.add_parser("compare", help="a learned pair in the real federation", description=_compare.__doc__)
    two.add_argument("policy", metavar="RUN", help="a run folder of `altmarl train`, or a policy.npz")
    two.add_argument(
        "--seeds", type=int, default=5, metavar="N", help="how many new federations (default: %(default)s)"
    )
    two.add_argument("--rounds", type=int, default=40, help="rounds of each (default: %(default)s)")
    two.add_argument("--figure", metavar="FILE", help="draw the first federation, as PNG")
    two.set_defaults(run=_compare)
    parsed = parser.parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except (AltMarlError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return REFUSED


def _rebuild(arguments: argparse.Namespace) -> int:
    """Run the federations under exploring decisions, log what happens, count it, and write the game."""
    plan = LogPlan(episodes=arguments.episodes)
    out = Path(arguments.out)
    if out.suffix != ".npz":
        raise ArgumentError(f"out must end in .npz, as games do, not {arguments.out!r}")
    fitted, observer, columns = build(plan)
    print(fitted.report())
    write(out, plan, fitted, observer, columns)
    if arguments.log:
        Transitions.of(columns).save(arguments.log)
    print(f"\nwritten    {out} and {out.with_suffix('.json')}")
    return DONE


def _compare(arguments: argparse.Namespace) -> int:
    """Drive real federations with a learned pair, and with fixed schedules, under the same seeds."""
    seeds = as_integer("seeds", arguments.seeds, 2, 10**4, ArgumentError)
    given = Path(arguments.policy)
    pair = Solution.load(given / POLICY if given.is_dir() else given)
    observer, setting = read_setup(TABLES.with_suffix(".json"))
    game = federated(n=setting.num_clients)
    comparison = compare(game, pair, observer, setting=setting, seeds=range(seeds), rounds=arguments.rounds)
    print(comparison.table())
    if arguments.figure:
        save_png(figure(comparison), arguments.figure)
    return DONE


if __name__ == "__main__":
    sys.exit(main())
