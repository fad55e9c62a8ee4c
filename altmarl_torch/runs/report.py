"""What a person at a terminal sees: lines and tables as text, and a progress bar that stays out of their way.

The functions turn results into text and print nothing, so that a test or a notebook can read them. `Console` is
the one thing that prints. Results go to standard output, the bar to standard error if that is a terminal; into a log
file goes a line of progress every half minute instead, not the leavings of a bar.
"""

import math
import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from tqdm import tqdm

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.alternation.solution import Selection, Solution
from altmarl_torch.evaluation.any_game import AnyRollouts
from altmarl_torch.evaluation.certificate import Certificate
from altmarl_torch.evaluation.gaps_by_rollout import RolloutGaps
from altmarl_torch.evaluation.records import TypeReport
from altmarl_torch.games.game import Game
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.simulators.game import SimulatedGame

__all__ = [
    "Console",
    "by_k_table",
    "certificate_text",
    "configuration_text",
    "interrupted_text",
    "outcome_text",
    "resume_text",
    "return_table",
    "tensorboard_command",
    "update_line",
]


EVERY = 30.0
"""Seconds between two lines of progress in a log file."""


class Console:
    """Prints lines above a progress bar; a context manager that takes the bar away at the end.

    Args:
        quiet: `say` and `progress` do nothing; `result` prints all the same.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._phase = ""
        self._begun = self._told = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Console":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def say(self, text: str) -> None:
        """Print what is good to know, unless quiet."""
        if not self._quiet:
            self.result(text)

    def result(self, text: str) -> None:
        """Print what was asked for."""
        self._close()
        print(text, flush=True)

    def progress(self, phase: str, sweeps: int, error: float) -> None:
        """Show how far a long computation is: `sweeps` done in this phase, and the bound on what is left to gain.

        Of networks: gradient steps, and the Bellman residual.
        """
        self._tell(phase, sweeps, error)
        if self._bar is None or phase != self._phase or sweeps < self._bar.n:
            self._close()
            # disable=None: tqdm shows nothing where its file is no terminal
            self._bar = tqdm(desc=phase, unit=" steps", leave=False, disable=True if self._quiet else None)
            self._phase = phase
        self._bar.set_postfix_str(f"error {error:.1e}", refresh=False)
        self._bar.update(sweeps - self._bar.n)

    def _tell(self, phase: str, sweeps: int, error: float) -> None:
        """Where no terminal shows the bar, a line now and then, so that a log shows that something is done."""
        now = time.monotonic()
        if self._quiet or sys.stderr.isatty() or now - self._told < EVERY:
            return
        self._told = now
        print(f"{phase}: {sweeps:,} steps, error {error:.1e}, {now - self._begun:,.0f} s", file=sys.stderr, flush=True)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def configuration_text(config: TrainConfig, game: Game | SimulatedGame) -> str:
    """Every option with its value, below a line that describes the game."""
    values = config.as_dict() | {"n": game.n, "gamma": game.gamma}
    return "\n".join(
        [repr(game), *(f"  {name:<10} {'-' if value is None else value}" for name, value in values.items())]
    )


def update_line(update: Update) -> str:
    """One proposal: who, what became of it, the value before and proposed, and its cost.

    "terminate, adopted" is a proposal within the tolerance that is the better pair all the same.
    """
    gain = update.value_proposed - update.value_before
    extra = update.adopted and update.decision is not Decision.ACCEPT
    decision = update.decision.value + (", adopted" if extra else "")
    error = f" +- {update.standard_error:.2g}" if update.standard_error else ""
    level = f"  {update.level}" if update.level else ""
    return (
        f"step {update.step:>2}  {update.player:<6}  {decision:<18}  "
        f"value {update.value_before:9.3f} -> {update.value_proposed:9.3f} ({gain:+.3g}{error}, eta {update.eta:.3g})  "
        f"{update.sweeps:>5} steps  {update.seconds:6.2f} s{level}"
    )


def return_table(learned: AnyRollouts, heuristics: Mapping[str, AnyRollouts]) -> str:
    """The learned pair's n-agent return beside the heuristics', best first."""
    rows: dict[str, AnyRollouts] = {f"learned (k = {learned.k:,})": learned, **heuristics}
    width = max(map(len, rows))
    title = f"return of n = {learned.n:,} agents over {learned.horizon:,} steps, {len(learned.returns):,} episodes"
    places = any(rollouts.mode_accuracy is not None for rollouts in rows.values())  # actions are local states
    lines = [
        title,
        f"  {'pair':<{width}}  {'mean':>10}  {'std. error':>10}" + (f"  {'at the mode':>11}" if places else ""),
    ]
    for name, rollouts in sorted(rows.items(), key=lambda row: -row[1].mean):
        accuracy = "-" if rollouts.mode_accuracy is None else f"{rollouts.mode_accuracy:.0%}"
        error = f"{rollouts.sem:.3f}" if len(rollouts.returns) > 1 else "-"
        line = f"  {name:<{width}}  {rollouts.mean:>10.3f}  {error:>10}"
        lines.append(line + (f"  {accuracy:>11}" if places else ""))
    return "\n".join(lines + _type_lines(learned.types))


def by_k_table(played: Mapping[int, AnyRollouts]) -> str:
    """The return of one training against k, a line for each."""
    lines = [
        "return against k, one network for all, on the same episodes",
        f"  {'k':>5}  {'mean':>10}  {'std. error':>10}",
    ]
    for k, rollouts in played.items():
        error = f"{rollouts.sem:.3f}" if len(rollouts.returns) > 1 else "-"
        lines.append(f"  {k:>5}  {rollouts.mean:>10.3f}  {error:>10}")
    return "\n".join(lines)


def _type_lines(types: TypeReport | None) -> list[str]:
    """What the learned pair earns per agent of each type, where there are several."""
    if types is None:
        return []
    lines = ["local reward per agent of each type, learned pair"]
    lines.append(f"  {'type':<6}{'of all':>8}{'mean':>12}{'std. error':>12}")
    for e, share in enumerate(types.shares.tolist()):
        mean, error = ("-" if math.isnan(x) else f"{x:.3f}" for x in (float(types.mean[e]), float(types.sem[e])))
        lines.append(f"  {e:<6}{share:>8.1%}{mean:>12}{error:>12}")
    return lines


def outcome_text(solution: Solution, phase_seconds: Mapping[str, float], wall_seconds: float) -> str:
    """How the alternation ended, the pair's value, the tolerances, and where the time went.

    A pair from data has no alternation behind it, and no tolerance.
    """
    ended = "interrupted" if solution.interrupted else "converged" if solution.converged else "not converged"
    phases = ", ".join(f"{phase} {seconds:.2f}" for phase, seconds in phase_seconds.items())
    if not solution.history and not solution.interrupted:
        value = f"{solution.value:.3f}, estimated for the first states of the data, with k = {solution.k:,} agents"
        return f"value        {value}\nseconds      {wall_seconds:.2f} ({phases})"
    facts = {
        "alternation": f"{ended} after {len(solution.history)} proposals",
        "value": f"{solution.value:.3f} on the surrogate of {solution.sample_size:,} agents, mean over the initial law",
        "tolerance": f"eta {solution.eta:.4g} (the paper's formula gives {solution.eta_paper:,.4g})",
        "seconds": f"{wall_seconds:.2f} ({phases})",
    }
    return "\n".join(f"{name:<12} {fact}" for name, fact in facts.items())


def interrupted_text(solution: Solution, folder: Path) -> str:
    """What Ctrl-C cut short, and the command that makes up for it."""
    phase = "learning" if solution.interrupted else "measuring"
    command = shlex.join(["altmarl", "evaluate", str(folder)])
    return f"interrupted while {phase}: the pair was not measured; `{command}` does that\n{resume_text(folder)}"


def resume_text(folder: Path) -> str:
    """The command that goes on with a run that was broken off."""
    return f"`{shlex.join(['altmarl', 'train', '--resume', str(folder)])}` goes on"


def selection_text(selection: Selection) -> str:
    """The candidates, the best first, and the winner's margin with its interval."""
    width = max(len(choice.name) for choice in selection.choices)
    by = "return of n agents" if selection.by == "rollout" else "joint value"
    lines = [f"selected by {by}", f"  {'candidate':<{width}}  {'value':>10}  {'return':>10}  {'std. error':>10}"]
    for choice in selection.choices:
        numbers = ("-" if number is None else f"{number:.3f}" for number in (choice.return_mean, choice.return_sem))
        returns = "  ".join(f"{number:>10}" for number in numbers)
        lines.append(f"  {choice.name:<{width}}  {choice.value:>10.3f}  {returns}")
    if selection.margin is not None:
        margin = selection.margin
        interval = f"{margin.low:.3f} .. {margin.high:.3f}"
        lines.append(f"  margin over the next best, on fresh episodes: {margin.mean:.3f} (95 % interval {interval})")
    return "\n".join(lines)


def certificate_text(certificate: Certificate) -> str:
    """The gaps, each with its kind: what is exact, what is bounded, and what the pair is an equilibrium up to."""
    rows = {
        "global agent": certificate.global_deviation,
        "all local agents": certificate.shared_deviation,
        "one, for the team": certificate.single_team,
        "one, for itself": certificate.single_own,
    }
    lines = [
        f"certificate of the {certificate.k:,}-agent game: what a deviation gains, {certificate.initial_law}",
        f"  {'who deviates':<17}  {'at least':>10}  {'at most':>10}  {'kind':<9}  {'num. error':>10}  {'seconds':>7}",
    ]
    for name, gap in rows.items():
        if gap is not None:
            upper = "-" if math.isinf(gap.upper) else f"{gap.upper:.4g}"
            lines.append(
                f"  {name:<17}  {gap.lower:>10.4g}  {upper:>10}  {gap.kind:<9}  {gap.error:>10.1e}  {gap.seconds:>7.2f}"
            )
    if certificate.nash_gap is not None:
        share = f" ({certificate.nash_gap / abs(certificate.value):.2%} of the value)" if certificate.value else ""
        lines.append(f"  an epsilon-equilibrium for epsilon = {certificate.nash_gap:.4g}{share}")
    return "\n".join(lines)


def gaps_text(gaps: RolloutGaps) -> str:
    """Lower bounds on both gaps, each with the deviation that was found and the interval of its gain."""
    lines = [
        f"k = {gaps.k:,} of n = {gaps.n:,}: no table of pi_g to certify; deviations tried by rollouts of "
        f"{gaps.horizon} steps",
        f"  {'who deviates':<17}  {'at least':>10}  {'gain found':>10}  {'interval':>21}  by",
    ]
    for name, gap in (("global agent", gaps.global_gap), ("all local agents", gaps.local_gap)):
        interval = f"{gap.gain.low:.4g} .. {gap.gain.high:.4g}"
        lines.append(f"  {name:<17}  {gap.lower:>10.4g}  {gap.gain.mean:>10.4g}  {interval:>21}  {gap.deviation}")
    return "\n".join(lines)


def tensorboard_command(logdir: str) -> str:
    """A command that opens TensorBoard on `logdir` with the interpreter that is running."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return shlex.join([str(shown), "-m", "tensorboard.main", "--logdir", logdir])
