"""The figures of a sweep: the paper's Figures 3 and 4 for any game, and how the alternations got there.

    return_against_k         Figure 3a  what n agents earn, against the sample size k, beside the heuristics; where
                                        asked for, also what somebody has published of the same game and horizon
    seconds_against_k        Figure 3b  what learning it took, against k
    mode_accuracy_against_k             how often the dispatcher finds the place that most agents are in, against k
    occupation               Figure 4   one episode for each of a few k: where the agents are, what is chosen
    alternation                         the potential after each update, and what each proposal had to gain

A figure without data is not drawn: no mode accuracy where actions are not the local states, no alternation where no
run has a history.

**What is drawn, and what with it.**  Axes are those of what was swept: of the published only what falls within is
seen. The learned curve has a third of the height at least; a heuristic that would squeeze it is named at the foot of
the axes, with its number. A point against k is a mean over seeds and its bar the interval of
`runs.sweeps.results`; seconds are medians, their bars the least and the most. Numbers of others come from
`published.csv`, are drawn dashed in grey with squares, and their source is written under the figure.

Colours are those of `runs.plots`; what colour says, a marker, dashes or a label says again.
"""

import itertools
import statistics
import textwrap
from collections.abc import Callable, Mapping, Sequence
from operator import methodcaller
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.runs.folder import GAME
from altmarl_torch.runs.palette import ACTIONS, BLUE, DPI, GREY, Drawing
from altmarl_torch.runs.plots import save_png, save_svg
from altmarl_torch.runs.sweeps.published import Curve, published_curves
from altmarl_torch.runs.sweeps.results import METHOD, Finished, Sweep
from altmarl_torch.runs.sweeps.run_figures import (
    alternation_figure,
    has_history,
    occupation_panel,
    require_finished,
    subject,
)
from altmarl_torch.runs.tensorboard import SWEEP_IMAGES, track_images

__all__ = [
    "accuracy_figure",
    "alternation_figure",
    "figures",
    "occupation_panel",
    "return_figure",
    "save_figures",
    "seconds_figure",
]

FIGURES = "figures"
LINEAR = 60
"""The largest k up to which its axis is linear: the paper's Figure 3 ends at 50."""

DASHES = ("-.", "--", (0, (5, 1, 1, 1, 1, 1)), ":", (0, (8, 3)), (0, (3, 1, 1, 1)), (0, (1, 3)), (0, (6, 1)))
YARDSTICKS = tuple(zip(ACTIONS[2:], DASHES, strict=True))
"""Colour and dashes of each heuristic, in turn."""

OTHERS = "#000000"

LEARNED = "learned pair"

SQUEEZED = 3.0
"""How many times the height of the learned curve the axis may have."""


def return_figure(sweep: Sweep, published: bool = False) -> Figure:
    """Figure 3a: mean return against k with intervals, beside the heuristics.

    Args:
        sweep: what was computed.
        published: also draw what others have published of the very same game and horizon.

    Raises:
        ArgumentError: no cell is finished.
    """
    figure, axes = _against_k(sweep, "Return of n agents against the sample size k", METHOD)
    _draw_estimates(axes, sweep, _number("return_mean"))
    rules = {name: [_mean(sweep, k, methodcaller("heuristic", name)) for k in sweep.ks] for name in sweep.heuristics}
    shown = _keep_in_sight(axes, rules)
    for name, (colour, dashes) in zip(rules, itertools.cycle(YARDSTICKS), strict=False):
        if name in shown:
            axes.plot(sweep.ks, rules[name], color=colour, ls=dashes, lw=1.2, label=name)
    curves = _published(sweep) if published else ()
    for curve in curves:
        points = [(point.k, point.value) for point in curve.points]
        axes.plot(*zip(*points, strict=True), "s--", color=OTHERS, mfc="white", ms=5, lw=1.0, label=_theirs(curve))
    axes.set_ylabel("discounted return")
    _finish(figure, axes, curves)
    return figure


def seconds_figure(sweep: Sweep, published: bool = False) -> Figure:
    """Figure 3b: wall seconds of learning against k, median and range over seeds; arguments as of `return_figure`.

    Raises:
        ArgumentError: no cell is finished.
    """
    figure, axes = _against_k(sweep, "Seconds of learning against the sample size k", "from least to most over seeds")
    seconds = [[one.learning_seconds for one in sweep.at(k)] for k in sweep.ks]
    middle = [statistics.median(values) for values in seconds]
    _draw_with_bars(axes, sweep.ks, middle, [min(values) for values in seconds], [max(values) for values in seconds])
    curves = [one for one in (_published(sweep) if published else ()) if any(point.seconds for point in one.points)]
    for curve in curves:
        _draw_their_seconds(axes, curve)
    axes.set(ylabel="wall seconds to the end of the alternation", yscale="log")
    least, most = min(map(min, seconds)), max(map(max, seconds))
    axes.set_ylim(least / 2, most * 2)  # so that there are two ticks at least
    _number_logs(axes.yaxis)
    _finish(figure, axes, curves)
    return figure


def accuracy_figure(sweep: Sweep) -> Figure:
    """How often the dispatcher's choice is a true mode, against k, with intervals.

    Raises:
        ArgumentError: no cell is finished, or the actions of the global agent are not the states of the local ones.
    """
    require_finished(sweep)
    if not _has_accuracy(sweep):
        raise ArgumentError("there is no mode accuracy: the global agent's actions are not the local states")
    figure, axes = _against_k(sweep, "Mode accuracy of the learned pair against the sample size k", METHOD)
    _draw_estimates(axes, sweep, _number("mode_accuracy"))
    axes.set(ylabel="share of steps at which the choice is a true mode", ylim=(0, 1.02))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    _finish(figure, axes, ())
    return figure


def figures(
    sweep: Sweep, ks: Sequence[int] | None = None, seed: int | None = None, published: bool = False
) -> dict[str, Figure]:
    """Those that have data, by file name and in the order of this module's heading.

    Args:
        sweep: what was computed, finished or not.
        ks: for those that show single runs; by default up to six.
        seed: for the same; by default the first.
        published: as of `return_figure`.

    Raises:
        ArgumentError: no cell is finished, or none of that k and seed.
        FileFormatError: a run folder is damaged.
    """
    drawn = {"return_against_k": return_figure(sweep, published), "seconds_against_k": seconds_figure(sweep, published)}
    if _has_accuracy(sweep):
        drawn["mode_accuracy_against_k"] = accuracy_figure(sweep)
    drawn["occupation"] = occupation_panel(sweep, ks, seed)
    if has_history(sweep, ks, seed):
        drawn["alternation"] = alternation_figure(sweep, ks, seed)
    return drawn


def save_figures(
    sweep: Sweep, ks: Sequence[int] | None = None, seed: int | None = None, published: bool = False
) -> list[Path]:
    """Draw all figures into the sweep's folder: PNG and SVG files, and images for TensorBoard (tags `sweep/...`).

    Arguments and errors as of `figures`; earlier figures are replaced.

    Returns:
        The files, without TensorBoard's.

    Raises:
        OSError: the folder is not writable.
    """
    drawn, folder, files = figures(sweep, ks, seed, published), sweep.plan.folder / FIGURES, list[Path]()
    folder.mkdir(exist_ok=True)
    by_tag = {tag: drawn[name] for tag in SWEEP_IMAGES if (name := tag.partition("/")[2]) in drawn}
    for name in {tag.partition("/")[2] for tag in SWEEP_IMAGES} - drawn.keys():
        for ending in ("png", "svg"):
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
    for name, figure in drawn.items():
        for ending, save in (("png", save_png), ("svg", save_svg)):
            files.append(folder / f"{name}.{ending}")
            save(figure, files[-1])
    track_images(sweep.plan.folder, by_tag, len(sweep.finished))
    return files


def _against_k(sweep: Sweep, what: str, bars: str) -> tuple[Figure, Axes]:
    """A figure whose x axis is k, with a title that says of what, how many and how."""
    require_finished(sweep)
    figure = Drawing(figsize=(9.0, 5.0), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(f"{what}\n{subject(sweep)}\n{_samples(sweep)}; bars: {bars}", fontsize=10)
    axes.set_xlabel("sample size k")
    axes.grid(alpha=0.25)
    return figure, axes


def _has_accuracy(sweep: Sweep) -> bool:
    return any(one.summary["mode_accuracy"] is not None for one in sweep.finished)


def _keep_in_sight(axes: Axes, rules: Mapping[str, Sequence[float]]) -> list[str]:
    """Set the height of the axes, and name what falls out of it: `SQUEEZED` times the learned curve's at most."""
    low, high = axes.get_ylim()  # of the learned curve with its bars, and a margin
    least = 0.05 * max(abs(low), abs(high), 1e-12)
    room, shown = SQUEEZED * max(high - low, least), list[str]()
    ends = {name: (min(means), max(means)) for name, means in rules.items()}
    for name in sorted(ends, key=lambda one: max(ends[one][1] - high, low - ends[one][0])):
        wider = min(low, ends[name][0]), max(high, ends[name][1])
        if wider[1] - wider[0] <= room:
            (low, high), shown = wider, [*shown, name]
    margin = 0.03 * max(high - low, least)
    below = [name for name in rules if name not in shown and ends[name][0] < low]
    above = [name for name in rules if name not in shown and name not in below]
    room_below, room_above = (margin * (3 if out else 1) for out in (below, above))  # for a line of text
    axes.set_ylim(low - room_below, high + room_above)
    for side, place, out in (("below", 0.01, below), ("above", 0.95, above)):
        if out:
            told = ", ".join(f"{name} ({_range(*ends[name])})" for name in out)
            text = textwrap.fill(f"{side} the axis: {told}", 90)
            axes.text(0.01, place, text, transform=axes.transAxes, fontsize=8, color=GREY, va="bottom")
    return shown


def _range(low: float, high: float) -> str:
    return f"{low:.4g}" if f"{low:.4g}" == f"{high:.4g}" else f"{low:.4g} to {high:.4g}"


def _samples(sweep: Sweep) -> str:
    """How many seeds and episodes are behind a point."""
    seeds = sorted({len(sweep.at(k)) for k in sweep.ks})
    number = f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"{seeds[0]}"
    return f"{number} seed{'s' if seeds[-1] > 1 else ''}, {sweep.finished[0].summary['episodes']} episodes each"


def _draw_estimates(axes: Axes, sweep: Sweep, number: Callable[[Finished], float | None]) -> None:
    """The learned pair's mean over seeds, with intervals, where there is one."""
    found = {k: estimate for k in sweep.ks if (estimate := sweep.estimate(k, number)) is not None}
    means, low, high = ([getattr(one, end) for one in found.values()] for end in ("mean", "low", "high"))
    _draw_with_bars(axes, list(found), means, low, high)


def _draw_with_bars(
    axes: Axes, ks: Sequence[int], middle: Sequence[float], low: Sequence[float], high: Sequence[float]
) -> None:
    axes.plot(ks, middle, "o-", color=BLUE, ms=5, lw=2.0, zorder=3, label=LEARNED)
    reach = [np.subtract(middle, low), np.subtract(high, middle)]
    axes.errorbar(ks, middle, reach, fmt="none", ecolor=BLUE, elinewidth=1.2, capsize=4, zorder=3)


def _draw_their_seconds(axes: Axes, curve: Curve) -> None:
    """A square at the geometric middle of each range, which is the middle on a logarithmic axis, and its bar."""
    timed = {point.k: point.seconds for point in curve.points if point.seconds}
    low, high = (np.array([ends[side] for ends in timed.values()]) for side in (0, 1))
    middle = np.sqrt(low * high)
    axes.plot(list(timed), middle, "s--", color=OTHERS, mfc="white", ms=5, lw=1.0, label=_theirs(curve, ", two cores"))
    axes.errorbar(list(timed), middle, [middle - low, high - middle], fmt="none", ecolor=OTHERS, capsize=4)


def _published(sweep: Sweep) -> tuple[Curve, ...]:
    """The published curves of the game that was solved, as the cells wrote it down."""
    first = sweep.finished[0]
    return published_curves(Game.load(first.cell.folder / GAME), first.summary["horizon"])


def _theirs(curve: Curve, how: str = "") -> str:
    """A label that sends the reader to the source under the axes, where `_finish` writes it."""
    return f"{curve.name}{how} [source below]"


def _finish(figure: Figure, axes: Axes, curves: Sequence[Curve]) -> None:
    """The axis of k, as far as it was swept, a legend beside the axes, and the sources below them."""
    swept = [k for line in axes.lines for k in np.atleast_1d(line.get_xdata()) if line.get_label() == LEARNED]
    if max(swept) > LINEAR:
        axes.set_xlim(0.9 * min(swept), 1.1 * max(swept))
        axes.set_xscale("log")
        _number_logs(axes.xaxis)
    else:
        margin = max(0.5, 0.03 * (max(swept) - min(swept)))
        axes.set_xlim(min(swept) - margin, max(swept) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    if len(axes.get_legend_handles_labels()[0]) > 1:
        figure.legend(loc="outside right center", fontsize=9, frameon=False)
    sources = [textwrap.fill(f"{curve.name}: {curve.source}", 130) for curve in curves]
    if sources:
        figure.supxlabel("\n".join(sources), fontsize=8, color=GREY)


def _number_logs(axis: Axis) -> None:
    """Ticks 1, 2, 5, 10, 20, ... of a logarithmic axis, as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _number(name: str) -> Callable[[Finished], float | None]:
    return lambda one: one.summary[name]


def _mean(sweep: Sweep, k: int, number: Callable[[Finished], float | None]) -> float:
    estimate = sweep.estimate(k, number)
    return float("nan") if estimate is None else estimate.mean
