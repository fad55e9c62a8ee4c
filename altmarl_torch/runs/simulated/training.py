"""`altmarl train` for every kind of game: tables go to `runs.training`, simulators are learned and measured here.

The steps, the folder and what interrupts them are those of `runs.training`. What is not there: a game file (functions
are in none), a certificate (there are no tables; `altmarl certify` tries deviations), and a picture of pi_g.
"""

import dataclasses
import os
import shlex
import time
from typing import Any, get_args

from altmarl_torch.alternation.simulated.building import first_pairs, objective_of
from altmarl_torch.alternation.simulated.solution import SimulatedObservation, SimulatedSolution
from altmarl_torch.alternation.simulated.solving import solve_simulator
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.from_file import is_function
from altmarl_torch.policies.own_simulated_rules import check_simulated_rules
from altmarl_torch.runs import training
from altmarl_torch.runs.advice import comparison_text
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import RunFolder, create_run
from altmarl_torch.runs.interrupts import Interrupts
from altmarl_torch.runs.measuring import Measurement, measure
from altmarl_torch.runs.plots import save_png, value_history_figure
from altmarl_torch.runs.report import Console, configuration_text, return_table
from altmarl_torch.runs.simulated.figures import simulated_occupation_figure
from altmarl_torch.runs.simulated.folder import is_of_simulator, reopen_simulated, write_simulator
from altmarl_torch.runs.summary import summary_of
from altmarl_torch.runs.tensorboard import Tag, Tracker
from altmarl_torch.runs.training import TrainedRun
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.rollouts import SimulatedRollouts
from altmarl_torch.support.files import alone

__all__ = ["resume", "train"]

ASKED = ("k", "objective", "observation", "eta", "starts", "steps", "seed", "device", "learning_rate")
OF_GAME = ("game", "game_option", "n", "gamma")
AROUND = ("rule", "solver", "certify", "episodes", "horizon", "runs_dir", "quiet")
"""Options that simulators have: of learning, of the game, and around it."""


def train(config: TrainConfig, console: Console, *, name: str | None = None) -> TrainedRun:
    """Solve the game of `config`, of whatever kind, measure the pair, and write a run folder.

    Errors are those of `runs.training.train`; an option that is of tables alone is an ArgumentError.
    """
    if config.from_data is not None:
        return training.train(config, console, name=name)
    named = config.named_game()
    if not isinstance(named, SimulatedGame):
        return training.train(config, console, name=name, named=named)
    objective, observation = objective_of(named, config.objective), config.observation or "population"
    config = dataclasses.replace(config, objective=objective, observation=observation)
    _check(config, named)
    folder = create_run(config, named, name)
    write_simulator(folder.path, named)
    return _run_alone(config, named, folder, console)


def resume(
    path: str | os.PathLike[str], console: Console, word: str | None = None, rule: str | None = None
) -> TrainedRun:
    """Go on with the run in the folder `path`, from its last checkpoint, with the options that it was begun with.

    Args:
        path: of a run of any kind of game.
        console: where to print.
        word: where the run is of a simulator of the user's own, or its reward of one's own sees the crowd:
            `my_sim.py:build`, which is run again.
        rule: where the run is compared with rules of the user's own: `my_rules.py:follow`, likewise.
    """
    if not is_of_simulator(path):
        return training.resume(path, console, rule, word)
    config, game, folder = reopen_simulated(path, word)
    training.require_rule(folder, config, rule)
    config = dataclasses.replace(config, rule=rule)
    if rule is not None:
        check_simulated_rules(rule, game, config.k)
    return _run_alone(config, game, folder, console, again=True)


def _check(config: TrainConfig, game: SimulatedGame) -> None:
    """Refuse, before there is a folder, what is of tables alone."""
    game.check_k(config.k)
    defaults = TrainConfig(game=config.game)
    for option in dataclasses.fields(TrainConfig):
        value = getattr(config, option.name)
        if option.name not in ASKED + OF_GAME + AROUND and value != getattr(defaults, option.name):
            raise ArgumentError(f"{option.name} = {value!r} is of tables, and {game.name} is a simulator")
    if config.solver != "neural":
        raise ArgumentError(f"solver = {config.solver!r} is of tables; simulators are learned by networks (neural)")
    if config.observation not in get_args(SimulatedObservation):
        words = " or ".join(map(repr, get_args(SimulatedObservation)))
        raise ArgumentError(f"observation must be {words} for a simulator, not {config.observation!r}")
    first_pairs(game, None, config.starts, "both")
    if config.rule is not None:
        check_simulated_rules(config.rule, game, config.k)
    if config.certify == "always":
        raise ArgumentError("a simulator has no tables to certify with; `altmarl certify` tries deviations afterwards")
    if config.eta == "paper":
        raise ArgumentError("eta = 'paper' needs the largest reward, which a simulator does not tell; choose a number")


def _run_alone(
    config: TrainConfig, game: SimulatedGame, folder: RunFolder, console: Console, again: bool = False
) -> TrainedRun:
    """Run with the folder locked, and signals taken."""
    started = time.perf_counter()
    console.say(configuration_text(config, game) + "\n")
    with alone(folder.path, "written"), Interrupts() as interrupts:
        if again:
            folder.begin_again()
        try:
            return _run(config, game, folder, console, interrupts, started)
        except KeyboardInterrupt:
            removed = folder.remove_unless_learned()
            end = f"before there was a pair to save; {folder.path} is removed" if removed else _go_on(config, folder)
            console.result(f"\ninterrupted; {end}")
            raise


def _run(
    config: TrainConfig,
    game: SimulatedGame,
    folder: RunFolder,
    console: Console,
    interrupts: Interrupts,
    started: float,
) -> TrainedRun:
    """Learn, save, measure, draw, sum up, and print the results."""
    with Tracker(folder.path, config, game) as tracker:
        told = training.recorder(folder, tracker, console)
        listeners: dict[str, Any] = {"callback": told, "progress": console.progress, "curve": tracker.curve}
        asked = {name: getattr(config, name) for name in ASKED}
        solution = solve_simulator(game, **asked, **listeners, checkpoints=folder.checkpoints)
        folder.save_policy(solution)
        measured = None
        try:
            if not solution.interrupted:
                how = {name: getattr(config, name) for name in ("episodes", "horizon", "seed", "rule")}
                measured = measure(game, solution, **how)
        except KeyboardInterrupt:
            pass  # the pair is kept; the summary says that the run was interrupted
        with interrupts.held():
            _draw(folder, tracker, game, solution, measured)
            summary = summary_of(config, game, solution, None, measured, started)
            folder.write_summary(summary)
            tracker.seconds(summary["phase_seconds"] | {"total": summary["wall_seconds"]})
    if measured is not None:
        folder.forget_checkpoints()
    console.result("\n" + _outcome(config, solution, folder, measured, summary["wall_seconds"]))
    return TrainedRun(folder.path, solution, summary)


def _draw(
    folder: RunFolder,
    tracker: Tracker,
    game: SimulatedGame,
    solution: SimulatedSolution,
    measured: Measurement | None,
) -> None:
    """The figures, as PNG files and as TensorBoard images."""
    figures = {Tag.VALUE_HISTORY: value_history_figure(solution.history)}
    if measured is not None:
        assert isinstance(measured.learned, SimulatedRollouts)  # of a simulator
        tracker.evaluation(measured.learned, measured.heuristics)
        occupation = simulated_occupation_figure(game, measured.learned)
        figures |= {} if occupation is None else {Tag.OCCUPATION: occupation}
    for tag, figure in figures.items():
        tracker.image(tag, save_png(figure, folder.path / f"{tag.partition('/')[2]}.png"))


def _outcome(
    config: TrainConfig, solution: SimulatedSolution, folder: RunFolder, measured: Measurement | None, seconds: float
) -> str:
    """How it ended, and what the pair earns beside the rules."""
    end = "interrupted" if solution.interrupted else "converged" if solution.converged else "not converged"
    lines = [
        f"alternation  {end} after {len(solution.history)} proposals",
        f"value        {solution.value:.3f} of {solution.population:,} agents that were played, {solution.k:,} seen",
        f"seconds      {seconds:.2f}",
        "certificate  none: a simulator has no tables; `altmarl certify` tries deviations",
    ]
    if measured is None:
        again = _command(config, "altmarl", "evaluate", str(folder.path))
        lines.append(f"interrupted: the pair was not measured; {again} does that\n{_go_on(config, folder)}")
        return "\n".join(lines)
    why = "--observation filter remembers earlier samples; more agents seen (--k) or turns (--steps) help as well"
    lines += ["", return_table(measured.learned, measured.heuristics), comparison_text(config, measured, why)]
    return "\n".join(lines)


def _go_on(config: TrainConfig, folder: RunFolder) -> str:
    return f"{_command(config, 'altmarl', 'train', '--resume', str(folder.path))} goes on"


def _command(config: TrainConfig, *words: str) -> str:
    """A command line, with what is code of the user's own: the game where it is a function, and a rule."""
    game = ("--game", config.game) if is_function(config.game) else ()
    rule = () if config.rule is None else ("--rule", config.rule)
    return f"`{shlex.join([*words, *game, *rule])}`"
