"""`altmarl sweep` and `altmarl plot`."""

import argparse
import sys
from typing import TYPE_CHECKING, Any, get_args

from altmarl_torch.errors import ArgumentError
from altmarl_torch.runs.cli.codes import DONE, FAILED, INTERRUPTED
from altmarl_torch.runs.config import add_arguments, from_arguments
from altmarl_torch.runs.flags import whole
from altmarl_torch.runs.sweeps.words import DEFAULTS, Backend, numbers

if TYPE_CHECKING:
    from altmarl_torch.runs.sweeps.running import SweepRun

__all__ = ["add_plot", "add_sweep", "as_numbers"]

WITHOUT = ("k", "fewest", "from_data", "step_size", "passes", "simulator")
"""What `train` has and a sweep has not, or has of its own."""

KS = "1,2,5,10,20,35,50"


def add_sweep(commands: Any) -> None:
    """Give the command line its `sweep`: every option of `train`, and those of a sweep."""
    parser = commands.add_parser(
        "sweep", help="one experiment for many k and seeds, on this machine or a cluster", description=_sweep.__doc__
    )
    add_arguments(parser, without=WITHOUT)
    parser.set_defaults(run=_sweep, **DEFAULTS)
    group = parser.add_argument_group("of the sweep")
    group.add_argument(
        "--k",
        type=as_numbers,
        default=KS,
        metavar="K,K,...",
        help="sample sizes: 1,10,20 or 1:50 or 10:50:10 (default: %(default)s)",
    )
    group.add_argument(
        "--seeds",
        type=whole,
        default=3,
        metavar="R",
        help="how many seeds of training, from --seed on (default: %(default)s)",
    )
    group.add_argument(
        "--name", metavar="NAME", help="the sweep's folder in --runs-dir (default: made of what is asked)"
    )
    group.add_argument(
        "--jobs",
        type=whole,
        metavar="JOBS",
        help="cells computed at once (default: one per core, or per worker of the cluster)",
    )
    group.add_argument(
        "--backend",
        choices=get_args(Backend),
        default="processes",
        help="who computes the cells (default: %(default)s)",
    )
    group.add_argument(
        "--address", metavar="ADDRESS", help="of a Ray or Dask cluster (default: one is started on this machine)"
    )
    group.add_argument("--retry-failed", action="store_true", help="try cells again that failed in an earlier call")


def add_plot(commands: Any) -> None:
    """Give the command line its `plot`."""
    parser = commands.add_parser("plot", help="draw the figures of a sweep", description=_plot.__doc__)
    parser.add_argument("folder", metavar="SWEEP", help="a sweep's folder, finished or not")
    parser.add_argument(
        "--k",
        type=as_numbers,
        metavar="K,K,...",
        help="for figures of single runs (default: up to six of the sweep)",
    )
    parser.add_argument("--seed", type=whole, metavar="SEED", help="for the same (default: the sweep's first)")
    parser.add_argument(
        "--published", action="store_true", help="also draw what others have published of the very same game"
    )
    parser.set_defaults(run=_plot)


def as_numbers(text: str) -> list[int]:
    """What an option like `--k 1,5:7` lists."""
    try:
        return numbers(text)
    except ArgumentError as cause:
        raise argparse.ArgumentTypeError(str(cause)) from None


def _sweep(arguments: argparse.Namespace) -> int:
    """Train and measure every (k, seed); what is finished is skipped: the same command goes on after any end."""
    arguments.k, ks = min(arguments.k), arguments.k
    config = from_arguments(arguments)
    from altmarl_torch.runs.report import tensorboard_command
    from altmarl_torch.runs.sweeps.plan import Plan
    from altmarl_torch.runs.sweeps.running import run_sweep

    plan = Plan.of(config, ks, arguments.seeds, arguments.name)
    try:
        run = run_sweep(
            plan,
            jobs=arguments.jobs,
            backend=arguments.backend,
            address=arguments.address,
            retry_failed=arguments.retry_failed,
            quiet=config.quiet,
        )
    except KeyboardInterrupt:
        print(f"interrupted: what is finished stays in {plan.folder}; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    print(sweep_text(run))
    if not config.quiet:
        print(f"\nfigures      altmarl plot {plan.folder}\nTensorBoard  {tensorboard_command(str(plan.folder))}")
    return FAILED if run.unfinished else DONE


def _plot(arguments: argparse.Namespace) -> int:
    """Draw the figures of a sweep as PNG and SVG files in its folder, and as images for TensorBoard."""
    from altmarl_torch.runs.sweeps.figures import save_figures
    from altmarl_torch.runs.sweeps.results import open_sweep

    for file in save_figures(open_sweep(arguments.folder), arguments.k, arguments.seed, arguments.published):
        print(file)
    return DONE


def sweep_text(run: "SweepRun") -> str:
    """The table of a sweep, what its intervals are, where the files are, and what is missing."""
    from altmarl_torch.runs.sweeps.live import table_text
    from altmarl_torch.runs.sweeps.results import METHOD

    lines = [table_text(run.sweep), "", f"intervals    {METHOD}"]
    if run.skipped:
        lines.append(f"skipped      {run.skipped} cells that were finished before")
    lines.append(f"sweep        {run.sweep.plan.folder} (results.csv, summary.json)")
    if run.unfinished:
        lines += ["", f"{len(run.unfinished)} cells are not finished (killed ones are done again by the same command,"]
        lines.append("failed ones with --retry-failed):")
        lines += [f"  {outcome.name}  {outcome.state}: {outcome.message}" for outcome in run.unfinished]
    return "\n".join(lines)
