"""`altmarl train`, `evaluate` and `certify`: one run, from its options to what its pair is worth."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from altmarl_torch.errors import ArgumentError
from altmarl_torch.runs.cli.codes import DONE, INTERRUPTED
from altmarl_torch.runs.config import add_arguments, from_arguments
from altmarl_torch.runs.flags import whole

if TYPE_CHECKING:
    from altmarl_torch.evaluation.certificate import Certificate
    from altmarl_torch.runs.folder import Run
    from altmarl_torch.runs.simulated.folder import SimulatedRun

__all__ = ["add_certify", "add_evaluate", "add_train"]


def add_train(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl train`."""
    train_parser = commands.add_parser(
        "train", help="learn a pair of policies, measure it, and write a run folder", description=_train.__doc__
    )
    add_arguments(train_parser)
    train_parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run that was broken off; of the other options --quiet alone counts, and what is code of "
        "your own: --game where the run is of a simulator or r_g_mu is yours, and --rule",
    )
    train_parser.set_defaults(run=_train)


def add_evaluate(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl evaluate`."""
    evaluate_parser = commands.add_parser(
        "evaluate", help="simulate a finished run again", description=_evaluate.__doc__
    )
    evaluate_parser.add_argument(
        "folder", metavar="RUN", help="a run folder, for instance runs/warehouse__tabular__..."
    )
    for flag, meaning in (
        ("n", "how many local agents there are (default: the game's)"),
        ("k", "how many are seen, which reads what was learned at the nearest counts (default: the run's)"),
        ("horizon", "steps per episode (default: the run's)"),
        ("episodes", "number of episodes (default: the run's)"),
        ("seed", "seed of the episodes (default: the run's)"),
    ):
        evaluate_parser.add_argument(f"--{flag}", type=whole, metavar=flag.upper(), help=meaning)
    for flag, meaning in (
        ("answer-rate", "chance in [0, 1] that an asked agent answers (default: the run's)"),
        ("turnover", "chance in [0, 1] that an agent leaves after a step and is replaced (default: the run's)"),
    ):
        evaluate_parser.add_argument(f"--{flag}", type=float, metavar="RATE", help=meaning)
    evaluate_parser.add_argument("--rule", metavar="RULE", help="rules of your own to compare with, as for train")
    _add_game(evaluate_parser)
    evaluate_parser.set_defaults(run=_evaluate)


def add_certify(commands: "argparse._SubParsersAction[Any]") -> None:
    """The command `altmarl certify`."""
    certify_parser = commands.add_parser(
        "certify", help="bound how far a finished run is from an equilibrium", description=_certify.__doc__
    )
    certify_parser.add_argument("folder", metavar="RUN", help="a run folder")
    certify_parser.add_argument(
        "--quick", action="store_true", help="leave out the deviation of all local agents together, which takes longest"
    )
    _add_game(certify_parser)
    certify_parser.set_defaults(run=_certify)


def _train(arguments: argparse.Namespace) -> int:
    """Learn, measure, write a run folder; or go on with one, with the options that it was begun with."""
    config = from_arguments(arguments)
    from altmarl_torch.offline.trajectories import Trajectories
    from altmarl_torch.runs.report import Console, tensorboard_command
    from altmarl_torch.runs.simulated.training import resume, train
    from altmarl_torch.runs.training import check_same_k

    if config.from_data is not None and arguments.resume is None:
        check_same_k(config, Trajectories.load(config.from_data), k_is_meant="k" in getattr(arguments, "given", ()))
    with Console(config.quiet) as console:
        if arguments.resume is None:
            run = train(config, console)
        else:
            run = resume(arguments.resume, console, arguments.game, arguments.rule)
        console.result(f"\nrun folder   {run.folder}")
        console.say(f"TensorBoard  {tensorboard_command(str(run.folder.parent))}")
    return INTERRUPTED if run.summary["interrupted"] else DONE


def _add_game(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--game",
        help="where the run is of a simulator of your own, or a reward of your own sees the crowd: my_sim.py:build, "
        "which is run",
    )


def _opened(arguments: argparse.Namespace) -> "Run | SimulatedRun":
    """The run in the folder; its simulator is built again."""
    from altmarl_torch.runs.folder import open_run
    from altmarl_torch.runs.simulated.folder import is_of_simulator, open_simulated_run

    if is_of_simulator(arguments.folder):
        return open_simulated_run(arguments.folder, arguments.game)
    return open_run(arguments.folder, arguments.game)


def _evaluate(arguments: argparse.Namespace) -> int:
    """Simulate a finished run again, for another n, horizon or number of episodes; the folder is not changed."""
    from altmarl_torch.runs.measuring import measure
    from altmarl_torch.runs.report import return_table
    from altmarl_torch.runs.simulated.folder import is_of_simulator

    run = _opened(arguments)
    given = {name: getattr(arguments, name) for name in run.config.evaluation()}
    asked = run.config.evaluation() | {name: value for name, value in given.items() if value is not None}
    pair: Any = run.solution
    if arguments.k is not None:
        if is_of_simulator(arguments.folder):
            raise ArgumentError("k is that for which the pair was learned: a simulator's is no table of counts")
        pair = pair.seeing(run.game.check_k(arguments.k))
    measured = measure(run.game, pair, n=arguments.n, rule=arguments.rule, **asked)
    print(return_table(measured.learned, measured.heuristics))
    return DONE


def _record(folder: Path, certificate: "Certificate") -> None:
    """Write a certificate down wherever the run's gap is told: its own file, the summary, TensorBoard."""
    from altmarl_torch.runs.folder import RunFolder, read_metrics, read_summary
    from altmarl_torch.runs.tensorboard import track_certificate

    run = RunFolder(folder)
    run.write_certificate(certificate)
    if certificate.nash_gap is not None:
        summary = read_summary(folder) | {"nash_gap": certificate.nash_gap}
        run.write_summary(summary)
    track_certificate(folder, certificate, len(read_metrics(folder)))


def _certify(arguments: argparse.Namespace) -> int:
    """Compute what either player of a finished run could gain by deviating; writes certificate.json into its folder,
    and the gap into its summary and its events.

    Where the counts of k agents are too many for tables, the global agent has a memory, or the game is a simulator,
    deviations are tried by rollouts instead, and bound the gaps from below; nothing is written.
    """
    from altmarl_torch.evaluation.certificate import PARTS, certify
    from altmarl_torch.evaluation.simulated_gaps import rollout_gaps
    from altmarl_torch.runs.report import Console, certificate_text, gaps_text
    from altmarl_torch.runs.simulated.folder import SimulatedRun

    run = _opened(arguments)
    with Console() as console:
        if isinstance(run, SimulatedRun) or run.solution.pi_g is None or run.solution.belief is not None:
            console.result(gaps_text(rollout_gaps(run.game, run.solution, seed=run.config.seed)))
            return DONE
        parts = [part for part in PARTS if part != "shared" or not arguments.quick]
        certificate = certify(run.game, run.solution, parts=parts, progress=console.progress)
        _record(Path(arguments.folder), certificate)
        console.result(certificate_text(certificate))
    return DONE
