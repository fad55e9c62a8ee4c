"""The main job from end to end: ask, learn, measure, draw, write down.

`train` is Algorithm 3 followed by Algorithm 4, with a run folder around them:

    learn     alternate best responses on the k-agent surrogate; each proposal becomes a line, a metric, a few tags
    save      the policy first: whatever happens later, what was learned is on disk
    certify   what either player could gain by deviating; those parts that cost less than the training did
    measure   the pair's return on n agents (Algorithm 4), beside the heuristics' under the same seed
    draw      occupation over time, and the value proposal by proposal
    sum up    summary.json

**Ctrl-C and SIGTERM** are ways to end, not accidents. While learning, the pair learned so far is saved, and the
measuring is skipped (`altmarl evaluate` does it later); while certifying or measuring, the returns stay null. Either
way the folder is complete, its summary says `"interrupted": true`, and the last lines printed say what is missing.
Before there is any pair to save the folder is removed instead. A second one ends the process at once.

**Whatever ends a run**, `kill -9` and a power cut among them, `resume` goes on from its last checkpoint
(`alternation.checkpoints`) to the policy and the metrics that the unbroken run would have written.
"""

import dataclasses
import os
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.options import Keeping
from altmarl_torch.alternation.simulated.solution import SimulatedSolution
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solving import solve_with
from altmarl_torch.errors import ArgumentError, KernelError, SizeError
from altmarl_torch.evaluation.any_game import AnyGame
from altmarl_torch.evaluation.certificate import PARTS, Certificate, certify
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.games.game import Game
from altmarl_torch.offline.learning import check_same_sizes, learn_from_data
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.policies.own_rules import check_rules
from altmarl_torch.runs.advice import comparison_text
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import RunFolder, create_run, reopen
from altmarl_torch.runs.interrupts import Interrupts
from altmarl_torch.runs.measuring import AUTOMATIC_WORK, Measurement, affordable_parts, measure, returns_by_k
from altmarl_torch.runs.named_game import COUNTED, as_of_tables
from altmarl_torch.runs.plots import occupation_figure, save_png, value_history_figure
from altmarl_torch.runs.policy_slice import policy_slice_figure
from altmarl_torch.runs.report import (
    Console,
    by_k_table,
    certificate_text,
    configuration_text,
    interrupted_text,
    outcome_text,
    resume_text,
    return_table,
    selection_text,
    update_line,
)
from altmarl_torch.runs.summary import summary_of
from altmarl_torch.runs.tensorboard import Tag, Tracker
from altmarl_torch.support.files import alone
from altmarl_torch.support.tables import as_device

__all__ = ["TrainedRun", "check_same_k", "recorder", "resume", "train"]


@dataclass(frozen=True, eq=False)
class TrainedRun:
    """What `train` leaves behind.

    Attributes:
        folder: the run folder.
        solution: what was learned.
        summary: the content of summary.json.
    """

    folder: Path
    solution: Solution | SimulatedSolution
    summary: dict[str, Any]


def train(
    config: TrainConfig, console: Console, *, name: str | None = None, named: AnyGame | None = None
) -> TrainedRun:
    """Solve the game of `config`, measure the pair, and write a run folder.

    Args:
        config: what to do.
        console: where to print.
        name: of the run folder within `config.runs_dir`; by default made of game, solver, k, seed and time.
        named: the game that `config` names, where it has been built.

    Raises:
        AltMarlError: the game or an option is refused, or a table would be too large.
        OSError: the run folder cannot be written.
        KeyboardInterrupt: Ctrl-C came before there was a pair; if there was no checkpoint, no folder is left.
    """
    data = None if config.from_data is None else Trajectories.load(config.from_data)
    if data is not None:
        check_same_k(config, data, k_is_meant=config.k != TrainConfig().k)
        config = dataclasses.replace(config, k=data.k, from_data=os.path.abspath(str(config.from_data)))
    config = as_of_tables(config)
    game = config.build_game(named)
    if config.rule is not None:
        check_rules(config.rule, game, config.k)
    if data is not None:
        check_same_sizes(data, game)  # before there is a folder
    folder = create_run(config, game, name)
    if config.from_data is not None:
        folder.write_digest(config.from_data)
    return _run_alone(config, game, folder, console)


def check_same_k(config: TrainConfig, data: Trajectories, k_is_meant: bool) -> None:
    """Raise an ArgumentError where another k than that of the data is asked for, and not only a default."""
    if k_is_meant and config.k != data.k:
        raise ArgumentError(
            f"k = {config.k} was asked for, but {config.from_data} follows k = {data.k} agents: leave k out, or "
            "collect data with that many"
        )


def require_rule(folder: RunFolder, config: TrainConfig, rule: str | None) -> None:
    """Raise an ArgumentError where a run was begun with a rule, and none is said."""
    if config.rule is not None and rule is None:
        raise ArgumentError(f"the rule of {folder.path} is in none of its files: add --rule {shlex.quote(config.rule)}")


def resume(
    path: str | os.PathLike[str], console: Console, rule: str | None = None, word: str | None = None
) -> TrainedRun:
    """Go on with the run in the folder `path`, from its last checkpoint, with the options that it was begun with.

    `rule` is that of the run, which is code and in none of its files: only who says it anew has it run; so is the game,
    `word`, where its reward is a function of the user's own that sees the crowd.

    Raises:
        ArgumentError: the run is finished, or somebody is writing it; or it has a rule, and none is given.
        AltMarlError: a file of it is malformed, or its device is not there.
        OSError: the folder cannot be written.
        KeyboardInterrupt: Ctrl-C came before there was a pair.
    """
    config, game, folder, over = reopen(path, word)
    if over:
        raise ArgumentError(f"{folder.path} is finished; `altmarl evaluate` simulates it again")
    if config.from_data is not None:
        folder.check_digest(config.from_data)
    require_rule(folder, config, rule)
    config, game = dataclasses.replace(config, rule=rule), game.to(as_device(config.device))
    if rule is not None:
        check_rules(rule, game, config.k)
    return _run_alone(config, game, folder, console, again=True)


def _run_alone(config: TrainConfig, game: Game, folder: RunFolder, console: Console, again: bool = False) -> TrainedRun:
    """Run with the folder locked, and signals taken."""
    started = time.perf_counter()
    console.say(configuration_text(config, game) + "\n")
    with alone(folder.path, "written"), Interrupts() as interrupts:
        if again:
            folder.begin_again()
        try:
            return _run(config, game, folder, console, interrupts, started)
        except KeyboardInterrupt:
            if folder.remove_unless_learned():
                console.result(f"\ninterrupted before there was a pair to save; {folder.path} is removed")
            else:
                console.result(f"\ninterrupted; {resume_text(folder.path)}")
            raise


def _run(
    config: TrainConfig, game: Game, folder: RunFolder, console: Console, interrupts: Interrupts, started: float
) -> TrainedRun:
    """Learn, save, certify, measure, draw, sum up, and print the results."""
    with Tracker(folder.path, config, game) as tracker:
        solution = _learn(config, game, folder, tracker, console)
        certificate, measured, by_k = None, None, dict[int, Rollouts]()
        folder.save_policy(solution)
        if solution.selection is not None:
            folder.write_selection(solution.selection)
            console.result("\n" + selection_text(solution.selection))
        try:
            if not solution.interrupted:
                certificate = _certify(config, game, solution, folder, tracker, console)
                measured = measure(game, solution, rule=config.rule, **config.evaluation())
                by_k = returns_by_k(game, solution, **config.evaluation())
        except KeyboardInterrupt:
            pass  # what has been found so far is kept; the summary says that the run was interrupted
        with interrupts.held():
            _draw(folder, tracker, game, solution, measured)
            summary = summary_of(config, game, solution, certificate, measured, started, by_k)
            folder.write_summary(summary)
            tracker.seconds(summary["phase_seconds"] | {"total": summary["wall_seconds"]})
    if measured is not None:
        folder.forget_checkpoints()
    console.result("\n" + outcome_text(solution, summary["phase_seconds"], summary["wall_seconds"]))
    if certificate is not None:
        console.result("\n" + certificate_text(certificate))
    if measured is not None:
        console.result("\n" + return_table(measured.learned, measured.heuristics))
        console.result(comparison_text(config, measured))
        if by_k:
            console.result("\n" + by_k_table(by_k))
    else:
        console.result("\n" + interrupted_text(solution, folder.path))
    return TrainedRun(folder.path, solution, summary)


def _learn(config: TrainConfig, game: Game, folder: RunFolder, tracker: Tracker, console: Console) -> Solution:
    if config.from_data is not None:
        return _learn_from_data(config, game, console)
    told, checkpoints = recorder(folder, tracker, console), folder.checkpoints
    return solve_with(game, config.options(Keeping(told, console.progress, tracker.curve, checkpoints)))


def _learn_from_data(config: TrainConfig, game: Game, console: Console) -> Solution:
    """Learn off-policy, and say in which game the pair is then measured."""
    assert config.from_data is not None
    assert config.solver != "lifted"  # which `TrainConfig` refuses
    data = Trajectories.load(config.from_data)
    check_same_sizes(data, game)
    rate = config.learning_rate if config.solver == "neural" else config.step_size
    solution = learn_from_data(data, solver=config.solver, step_size=rate, passes=config.passes, seed=config.seed)
    counted = "counted from the same data: estimates, not what the pair earns in truth"
    where = f"the game {counted}" if config.game == COUNTED else f"{config.game}, of which the learner knew nothing"
    console.result(f"learned from {data!r}\nreturns below are those in {where}")
    return solution


def recorder(folder: RunFolder, tracker: Tracker, console: Console) -> Callable[[Update], None]:
    """A callback that tells the disk, TensorBoard and the reader of every proposal."""

    def record(update: Update) -> None:
        folder.append_update(update)
        tracker.update(update)
        console.say(update_line(update))

    return record


def _certify(
    config: TrainConfig, game: Game, solution: Solution, folder: RunFolder, tracker: Tracker, console: Console
) -> Certificate | None:
    """Certify what the configuration asks for, and write it down; None if that is nothing."""
    if config.certify == "never":
        return None
    if solution.observation != "surrogate":
        console.result("not certified: certificates are of the paper's surrogate, and this pair was learned on another")
        return None
    always = config.certify == "always"
    parts, work = (PARTS, None) if always else (affordable_parts(game, solution), AUTOMATIC_WORK)
    if not parts:
        return None
    try:
        certificate = certify(game, solution, parts=parts, progress=console.progress, work=work)
    except (KernelError, SizeError) as reason:
        console.result(f"not certified: {reason}")
        return None
    folder.write_certificate(certificate)
    tracker.certificate(certificate)
    return certificate


def _draw(folder: RunFolder, tracker: Tracker, game: Game, solution: Solution, measured: Measurement | None) -> None:
    """The figures, as PNG files and as TensorBoard images."""
    num_sl, num_sg, _ = solution.pi_l.shape
    device = solution.pi_l.device
    figures = {
        Tag.VALUE_HISTORY: value_history_figure(solution.history),
        Tag.POLICY_SLICE: policy_slice_figure(
            solution.law, num_sg, game.num_ag, num_sl, solution.sample_size, device, game.names
        ),
    }
    if measured is not None:
        tracker.evaluation(measured.learned, measured.heuristics)
        assert isinstance(measured.learned, Rollouts)  # of tables
        figures[Tag.OCCUPATION] = occupation_figure(measured.learned)
    for tag, figure in figures.items():
        tracker.image(tag, save_png(figure, folder.path / f"{tag.partition('/')[2]}.png"))
