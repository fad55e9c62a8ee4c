"""Figures of single runs of a sweep: the paper's Figure 4 for some k, and how their alternations went.

**The episode.**  A run folder holds no trajectory; it holds the game, the pair and the seed, and these determine it.
`occupation_panel` simulates the run's episodes again and draws the first of them, which is the one that the
run's own `occupation.png` shows.

**The gap, update by update.**  Before an update that player i proposes, max(0, value proposed - value before) is what
i's best response gains. It is a lower estimate of i's gap there: exact where the response is (the tabular global
agent's), a bound from below where it is a search (the local agents') or a network. Gains are drawn on a logarithmic
axis; what is below the error of the two values is drawn at that error, as it cannot be told from it (and what is below
1e-6, at that). Where the final pair was certified, its Nash gap is a hollow diamond behind its last update.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.from_file import is_function
from altmarl_torch.games.game import Game
from altmarl_torch.runs.folder import GAME, POLICY, open_run, read_metrics
from altmarl_torch.runs.palette import DPI, GREY, Drawing
from altmarl_torch.runs.plots import draw_occupation
from altmarl_torch.runs.sweeps.results import Finished, Sweep

__all__ = ["alternation_figure", "has_history", "occupation_panel", "require_finished", "subject"]

PANELS = 6
"""How many k a panel or the alternation shows unless told: as many as the eye keeps apart."""

MARKERS = "os^vPX"
"""One per k of the alternation, in turn; a diamond is a certified gap."""

SMALLEST_GAIN = 1e-6
"""The lower end of gains where values are known with no error, or with less."""

TOLERANCE = "tolerance eta"


def occupation_panel(sweep: Sweep, ks: Sequence[int] | None = None, seed: int | None = None) -> Figure:
    """Figure 4: the first episode of one seed at each of some k, simulated again from the run folders.

    Args:
        sweep: what was computed.
        ks: which sample sizes; by default up to six, from the smallest to the largest.
        seed: which seed; by default the first that is finished.

    Raises:
        ArgumentError: no cell is finished, or none of that k and seed.
        FileFormatError: a run folder is damaged.
    """
    cells = _chosen(sweep, ks, seed)
    replayed = [_replay(one) for one in cells]
    columns = min(3, len(cells))
    rows = -(-len(cells) // columns)
    figure = Drawing(figsize=(1.2 + 3.6 * columns, 1.5 + 2.3 * rows), dpi=DPI, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    most = max(float(rollouts.trace.occupation.max()) for rollouts in replayed)
    for axes, rollouts in zip(panels, replayed, strict=False):
        image = draw_occupation(axes, rollouts, most)
        axes.set_title(_panel_title(rollouts), fontsize=10)
    for axes in panels[len(cells) :]:
        axes.remove()
    _label_outside(list(panels[: len(cells)]), columns)
    figure.colorbar(image, ax=figure.axes, label="fraction of local agents", pad=0.01)
    figure.suptitle(_panel_heading(sweep, cells[0]), fontsize=11)
    handles = {label: handle for axes in panels[: len(cells)] for handle, label in zip(*_legend_of(axes), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def alternation_figure(sweep: Sweep, ks: Sequence[int] | None = None, seed: int | None = None) -> Figure:
    """The potential after each update, and the gain of each proposal: two panels, a line per k.

    Arguments and errors as of `occupation_panel`; an ArgumentError also where no run has a history.
    """
    histories = _histories(_chosen(sweep, ks, seed))
    if not any(one.updates for one in histories):
        raise ArgumentError("no run has a history: their pairs were chosen, not learned here")
    figure = Drawing(figsize=(11.0, 4.8), dpi=DPI, layout="constrained")
    left, right = figure.subplots(1, 2)
    right.set_yscale("log")
    for history in histories:
        _draw_potential(left, history)
        _draw_gains(right, history)
    _draw_certified(right, histories)
    _draw_tolerance(right, histories)
    _label_alternation(left, right)
    figure.suptitle(_alternation_heading(sweep, histories[0].finished), fontsize=11)
    figure.legend(handles=_alternation_legend(right, histories), loc="outside right center", fontsize=9, frameon=False)
    return figure


def has_history(sweep: Sweep, ks: Sequence[int] | None = None, seed: int | None = None) -> bool:
    """Whether `alternation_figure` has something to draw; errors as there."""
    return any(read_metrics(one.cell.folder) for one in _chosen(sweep, ks, seed))


def require_finished(sweep: Sweep) -> None:
    """Raise an ArgumentError where there is nothing to draw."""
    if not sweep.finished:
        raise ArgumentError(f"{sweep.plan.folder} has no finished cell: there is nothing to draw")


def subject(sweep: Sweep) -> str:
    """The game, its size, and how it was solved, as far as that is not the default."""
    summary, config = sweep.finished[0].summary, sweep.plan.config
    asked = {"objective": config.objective, "observation": config.observation}
    options = [f"{name} {word}" for name, word in asked.items() if word not in ("team", "surrogate")]
    solved = ", ".join([f"{config.solver} solver", *options])
    return f"{summary['game']}, n = {summary['n']:,}, horizon {summary['horizon']}, {solved}"


def _chosen(sweep: Sweep, ks: Sequence[int] | None, seed: int | None) -> list[Finished]:
    """The finished cells of one seed at the sample sizes that are asked for."""
    require_finished(sweep)
    seeds = sorted({one.cell.config.seed for one in sweep.finished})
    seed = seeds[0] if seed is None else seed
    if seed not in seeds:
        raise ArgumentError(f"no cell of seed {seed} is finished; there are seeds {_listed(seeds)}")
    there = {one.cell.config.k: one for one in sweep.finished if one.cell.config.seed == seed}
    lacking = [k for k in ks or () if k not in there]
    if lacking:
        raise ArgumentError(
            f"no cell of k = {_listed(lacking)} and seed {seed} is finished; there are k = {_listed(sorted(there))}"
        )
    return [there[k] for k in (_spread(sorted(there)) if ks is None else sorted(set(ks)))]


def _legend_of(axes: Axes) -> tuple[list[Any], list[str]]:
    """Handles and labels of what is drawn in the axes."""
    handles, labels = axes.get_legend_handles_labels()
    return handles, labels


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _spread(ks: Sequence[int]) -> list[int]:
    """Up to `PANELS` of them, the smallest and the largest among them."""
    places = np.linspace(0, len(ks) - 1, min(PANELS, len(ks))).round().astype(int)
    return [ks[place] for place in places]


def _replay(one: Finished) -> Rollouts:
    """The episodes on which the run was measured; fewer of them would have another first one.

    What a step earns is not shown: a game of the user's own function is the one in the folder, whatever else it pays.
    """
    folder, config = one.cell.folder, one.cell.config
    if is_function(config.game):
        game, solution = Game.load(folder / GAME), Solution.load(folder / POLICY)
    else:
        run = open_run(folder)
        game, solution = run.game, run.solution
    return rollout(game, solution, episodes=config.episodes, horizon=config.horizon, seed=config.seed)


def _panel_title(rollouts: Rollouts) -> str:
    hits = "" if rollouts.mode_accuracy is None else f": at a mode in {rollouts.mode_accuracy:.0%} of steps"
    return f"k = {rollouts.k:,}{hits}"


def _panel_heading(sweep: Sweep, one: Finished) -> str:
    summary = one.summary
    told = summary["mode_accuracy"] is not None
    share = f"; percentages over all its {summary['episodes']} episodes" if told else ""
    return f"Occupation over time: the first episode of seed {summary['seed']}\n{subject(sweep)}{share}"


def _label_outside(panels: Sequence[Axes], columns: int) -> None:
    """Axis labels at the left of each row and the foot of each column."""
    for place, axes in enumerate(panels):
        if place % columns == 0:
            axes.set_ylabel("local state")
        if place + columns >= len(panels):
            axes.set_xlabel("step t")
            axes.tick_params(labelbottom=True)


@dataclass(frozen=True)
class _History:
    """The updates of one run, and how they are drawn.

    Attributes:
        finished: the run.
        updates: lines of its metrics.jsonl.
        colour, marker, size: of its k. Large markers are drawn first, so that runs that agree are all seen.
    """

    finished: Finished
    updates: Sequence[dict[str, Any]]
    colour: Any
    marker: str
    size: float

    @property
    def k(self) -> int:
        """Its sample size."""
        return self.finished.cell.config.k


def _histories(cells: Sequence[Finished]) -> list[_History]:
    """The runs, dark for small k and light for large ones; yellow is left out, which is hard to see on white."""
    shades = colormaps["cividis"](np.linspace(0.0, 0.85, len(cells)))
    sizes = 6.0 + 1.0 * np.arange(len(cells))[::-1]
    marks = zip(cells, shades, itertools.cycle(MARKERS), sizes, strict=False)
    return [_History(one, read_metrics(one.cell.folder), *style) for one, *style in marks]


def _draw_potential(axes: Axes, history: _History) -> None:
    """The joint value of the current pair, from before the first update (at 0) to after the last."""
    values = [update["value_before"] for update in history.updates[:1]]
    values += [update["value_proposed" if update["adopted"] else "value_before"] for update in history.updates]
    style = {"marker": history.marker, "color": history.colour, "ms": history.size, "lw": history.size / 4}
    axes.plot(range(len(values)), values, label=f"k = {history.k:,}", **style)


def _draw_gains(axes: Axes, history: _History) -> None:
    """What each proposal gains over the pair before it: full for the global agent's, hollow for the local agents'."""
    numbers, gains = range(1, len(history.updates) + 1), [_gain(update) for update in history.updates]
    axes.plot(numbers, gains, color=history.colour, lw=history.size / 4, label=f"k = {history.k:,}")
    for number, gain, update in zip(numbers, gains, history.updates, strict=True):
        face = history.colour if update["player"] == "global" else "white"
        axes.plot(number, gain, history.marker, color=history.colour, mfc=face, ms=history.size, zorder=3)


def _gain(update: dict[str, Any]) -> float:
    """max(0, value proposed - value before), or the error of these values where that is larger."""
    resolution = max(update["error"], update["standard_error"], SMALLEST_GAIN)
    return float(max(update["value_proposed"] - update["value_before"], resolution))


def _draw_certified(axes: Axes, histories: Sequence[_History]) -> None:
    """The certified Nash gap of each final pair, where there is one, behind its last update."""
    for history in histories:
        gap = history.finished.certificate.get("nash_gap")
        if gap is not None:
            place = len(history.updates) + 1
            size = history.size + 3
            axes.plot(place, max(gap, SMALLEST_GAIN), "D", color=history.colour, mfc="none", ms=size, mew=1.5)


def _draw_tolerance(axes: Axes, histories: Sequence[_History]) -> None:
    """A line at the tolerance eta, if all runs had one and the same and it is among what is drawn."""
    etas = {update["eta"] for history in histories for update in history.updates}
    low, high = axes.get_ylim()
    if len(etas) == 1 and low < (eta := etas.pop()) < 3 * high:
        axes.axhline(eta, color=GREY, ls=":", lw=1.2, label=TOLERANCE)


def _label_alternation(left: Axes, right: Axes) -> None:
    left.set(xlabel="updates made", ylabel="joint value on the k-agent surrogate", title="Potential")
    right.set(
        xlabel="update", ylabel="gain in joint value", title="Nash gap, from below: gain of the best response found"
    )
    for axes in (left, right):
        axes.title.set_fontsize(10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)


def _alternation_heading(sweep: Sweep, one: Finished) -> str:
    return (
        f"The alternation, update by update: seed {one.summary['seed']}\n{subject(sweep)}\n"
        "a gain is a lower estimate of the proposing player's gap;"
        f" below the values' error, or {SMALLEST_GAIN:.0e}, it is drawn there"
    )


def _alternation_legend(axes: Axes, histories: Sequence[_History]) -> list[Line2D]:
    """One entry per k, and what full, hollow and dotted mean."""

    def entry(label: str, **style: Any) -> Line2D:
        return Line2D([], [], label=label, **style)

    entries = [entry(f"k = {one.k:,}", color=one.colour, marker=one.marker, ms=one.size) for one in histories]
    entries.append(entry("global agent proposes", color=GREY, marker="o", ms=7, lw=0))
    entries.append(entry("local agents propose", color=GREY, marker="o", mfc="white", ms=7, lw=0))
    if any(one.finished.certificate.get("nash_gap") is not None for one in histories):
        entries.append(entry("certified Nash gap", color=GREY, marker="D", mfc="none", ms=10, mew=1.8, lw=0))
    return entries + [line for line in axes.lines if line.get_label() == TOLERANCE]
