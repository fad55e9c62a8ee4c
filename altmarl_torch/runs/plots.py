"""Figures of one run: what the population does under a pair, and how the alternation got there.

Each is made to be read without its caption. (`policy_slice` draws what pi_g has come to, `sweeps.figures` many runs.)

* `occupation_figure` is Figure 4 of the paper. Rows are local states, columns are steps; the darker a cell, the larger
  the fraction of the n local agents there. Where actions are local states (`games.naming`) the line is the dispatcher's
  choice a_g, the dashes are the true mode; wherever they lie on each other, the dispatcher has found the crowd from its
  k samples. Elsewhere the choice is a strip of colours on top. Agents of several types have a band of rows each.
* `advice_figure` answers how many agents to ask (`asking.advise`): what each k earns, with memory and without, and at
  each price what is left of it; the star is the choice.
* `value_history_figure` is Algorithm 3. The line is the joint value of the current pair after each proposal;
  the marks are the proposals: their height is the value that each would have had, their shape the decision, their
  colour the player.

The colours are those of Okabe and Ito's palette (and two that keep apart from them) and of matplotlib's "Greys" and
"cividis", which survive colour blindness; what colour says, shape, dashes or numbers say again.

Figures are made and drawn with matplotlib's objects alone, without `pyplot`: no window, no global list of figures, no
style that the caller would inherit.
"""

import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.asking.advise import Advice, Choice
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.games.types import fold_types
from altmarl_torch.runs.palette import ACTIONS, BLUE, DPI, GREY, ORANGE, RED, Drawing, colours_of, shortened

__all__ = [
    "advice_figure",
    "draw_occupation",
    "occupation_figure",
    "pixels",
    "save_png",
    "save_svg",
    "value_history_figure",
]

PLAYERS = {"global": BLUE, "local": ORANGE}
MARKS = {Decision.ACCEPT: "o", Decision.REJECT: "X", Decision.TERMINATE: "s"}


def occupation_figure(rollouts: Rollouts) -> Figure:
    """Draw the first episode of `rollouts`: occupation over time, the dispatcher's choice and the true mode.

    Where actions are local states the choice is a line, and the title says how often it hit a mode, in this episode
    and over all of them; elsewhere it is a strip of colours.
    """
    figure, axes = _canvas(9.0, 3.6)
    figure.colorbar(draw_occupation(axes, rollouts), ax=axes, label="fraction of local agents", pad=0.015)
    axes.set(xlabel="step t", ylabel="local state", title=_occupation_title(rollouts))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return figure


def draw_occupation(axes: Axes, rollouts: Rollouts, most: float | None = None) -> AxesImage:
    """The heat map of `occupation_figure` and its lines, in given axes; titles and legends are the caller's.

    Args:
        axes: where.
        rollouts: their first episode is drawn.
        most: the fraction that is black; by default the largest of the episode.
    """
    trace = rollouts.trace
    shares = trace.occupation.cpu().numpy().T
    image = axes.imshow(shares, cmap="Greys", vmin=0.0, vmax=most, aspect="auto", interpolation="nearest")
    bands = range(0, len(shares), len(shares) // _num_types(rollouts))
    for band in bands:  # a label that begins with "_" is not in the legend
        _draw_lines(axes, rollouts, band, label="" if band == 0 else "_")
    ticks, words = _named_rows(axes, rollouts, bands)
    top = len(shares) - 0.5
    if rollouts.mode_accuracy is None:
        middle, top = _draw_actions(axes, rollouts, len(shares))
        ticks, words = [*ticks, middle], [*words, "choice a_g"]
    axes.set_yticks(ticks, words, fontsize=8)
    axes.set_ylim(-0.5, top)
    return image


def value_history_figure(history: Sequence[Update]) -> Figure:
    """Draw the joint value of the current pair and of every proposal, against the number of the proposal.

    Values are discounted sums of reward, averaged over the initial law. Where the loop was begun with fewer agents, or
    with lifted functions, a dotted line stands before what follows: values on its two sides are not of one game.
    """
    figure, axes = _canvas(7.0, 4.2)
    numbers = np.arange(1, len(history) + 1)
    current = [history[0].value_before, *(update.value for update in history)] if history else []
    axes.step(np.arange(len(current)), current, where="post", color=GREY, lw=1.5)
    for number, update in zip(numbers, history, strict=True):
        mark, colour = MARKS[update.decision], PLAYERS[update.player]
        axes.plot(number, update.value_proposed, mark, color=colour, ms=9, markeredgecolor="black", markeredgewidth=0.6)
    axes.set(xlabel="proposal", ylabel="joint value (discounted reward)")
    axes.set_title("Value of the pair, proposal by proposal", pad=14)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(handles=_history_legend(history), loc="best", fontsize=9)
    _draw_levels(axes, history)
    return figure


def _draw_levels(axes: Axes, history: Sequence[Update]) -> None:
    """Name the levels of a history, where there are several, above its first proposals of each."""
    levels = [update.level for update in history]
    begins = [number for number, level in enumerate(levels) if number == 0 or level != levels[number - 1]]
    for number in begins if len(begins) > 1 else ():
        if number:
            axes.axvline(number + 0.5, color=GREY, lw=1, ls=":")
        word = levels[number] or "the run itself"
        axes.annotate(word, (number + 0.55, 1.0), xycoords=("data", "axes fraction"), va="bottom", fontsize=8)


def advice_figure(advice: Advice) -> Figure:
    """Draw return against k, with memory and without, and the net return of the better of both at each price."""
    prices = [choice for choice in advice.choices if choice.price > 0]
    figure = Drawing(figsize=(10.0 if prices else 7.5, 4.2), dpi=DPI, layout="constrained")
    axes = [figure.add_subplot(1, 2 if prices else 1, column) for column in ((1, 2) if prices else (1,))]
    for kind, colour, mark, label in ((True, BLUE, "o", "with memory"), (False, ORANGE, "s", "without")):
        ways = [way for way in advice.ways if way.remembers == kind]
        if ways:
            ks, means, errors = [w.k for w in ways], [w.mean for w in ways], [1.96 * w.sem for w in ways]
            axes[0].errorbar(ks, means, errors, color=colour, marker=mark, ms=4, capsize=3, lw=1.6, label=label)
    axes[0].axhline(advice.everybody.mean, color=GREY, ls="--", lw=1.2, label="everybody seen")
    axes[0].set(title="what k answers a step earn", ylabel="mean discounted return")
    if prices:
        _draw_net(axes[1], advice, prices)
    most = max(way.k for way in advice.ways)
    for one in axes:
        one.set_xscale("symlog", linthresh=1, linscale=0.5)
        ticks = [k for k in (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000) if k <= most]
        one.set_xticks(ticks, map(str, ticks))
        one.set_xlim(-0.2, 1.2 * most)
        one.set_xlabel("k, agents asked at each step")
        one.grid(alpha=0.25)
        one.legend(frameon=False)
    return figure


def _draw_net(axes: Axes, advice: Advice, prices: Sequence[Choice]) -> None:
    """Net return against k at each price, and a star at each choice: of equal ones the smaller lies on the larger."""
    for rank, (choice, colour) in enumerate(zip(prices, ACTIONS, strict=False)):
        ks = sorted({way.k for way in advice.ways})
        net = [max(way.net(choice.price) for way in advice.ways if way.k == k) for k in ks]
        axes.plot(ks, net, color=colour, lw=1.6, label=f"price {choice.price:g}")
        size = 9 + 5 * (len(prices) - rank)
        axes.plot(choice.asking.k, choice.net, color=colour, marker="*", ms=size, lw=0, zorder=3 + rank)
    nets = [choice.net for choice in prices]
    least, best = min(nets), max(nets)
    room = max(1.5 * (best - least), 0.05 * abs(least)) or 1.0  # what is far below the worst choice is not drawn
    axes.set(title="what is left when they are paid (star: most)", ylabel="net return")
    axes.set_ylim(least - room, best + 0.2 * (best - least + room))


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure as an image `[height, width, 3]`, values 0..255."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves the canvas without types
    canvas.draw()
    return _drawn(canvas)


def save_png(figure: Figure, path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Write the figure as a PNG file, and return it as an image (`pixels`): it is drawn once for both.

    Raises:
        OSError: the folder is missing or not writable.
    """
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(os.fspath(path))
    return _drawn(canvas)


def _drawn(canvas: Any) -> NDArray[np.uint8]:
    """What has been drawn on a canvas of Agg: `[height, width, 3]`."""
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def save_svg(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure as an SVG file: the same figure is the same file, without a date or names drawn at random.

    Raises:
        OSError: the folder is missing or not writable.
    """
    canvas: Any = FigureCanvasSVG(figure)
    with rc_context({"svg.hashsalt": "altmarl_torch"}):
        canvas.print_svg(os.fspath(path), metadata={"Date": None})


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches, and its axes."""
    figure = Drawing(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def _num_types(rollouts: Rollouts) -> int:
    return 1 if rollouts.types is None else len(rollouts.types.occupation)


def _draw_lines(axes: Axes, rollouts: Rollouts, band: int, label: str) -> None:
    """The dispatcher's choice, where it can be read as a state, and the true mode, from row `band` on."""
    trace, steps = rollouts.trace, np.arange(len(rollouts.trace.mode))
    if rollouts.mode_accuracy is not None:
        choice = band + trace.a_g.cpu().numpy()
        axes.step(steps, choice, where="mid", color=BLUE, lw=1.8, label=f"{label}dispatcher's choice")
    mode = band + trace.mode.cpu().numpy()
    axes.step(steps, mode, where="mid", color=RED, lw=1.4, ls="--", label=f"{label}true mode")


def _named_rows(axes: Axes, rollouts: Rollouts, bands: range) -> tuple[list[float], list[str]]:
    """Ticks and words that say which row is which state, and of which type, with lines between the bands."""
    names = rollouts.names.get("sl") or [str(state) for state in range(bands.step)]
    every = math.ceil(bands.step * len(bands) / 16)
    ticks = [band + place for band in bands for place in range(0, bands.step, every)]
    types = [f"type {tick // bands.step}: " if len(bands) > 1 else "" for tick in ticks]
    words = [of + shortened(names[tick % bands.step]) for of, tick in zip(types, ticks, strict=True)]
    for band in bands[1:]:
        axes.axhline(band - 0.5, color=GREY, lw=0.8)
    return list(map(float, ticks)), words


def _draw_actions(axes: Axes, rollouts: Rollouts, rows: int) -> tuple[float, float]:
    """The dispatcher's choice as a strip of colours above so many rows; where its middle is, and where it ends."""
    actions = rollouts.trace.a_g.cpu().numpy()
    low, high = rows - 0.5 + 0.04 * rows, rows - 0.5 + 0.14 * rows
    names = rollouts.names.get("ag") or [f"a_g = {action}" for action in range(rollouts.num_ag)]
    for action, colour in colours_of(actions, rollouts.num_ag).items():
        there = np.flatnonzero(actions == action)
        spans = [(float(step) - 0.5, 1.0) for step in there]
        axes.broken_barh(spans, (low, high - low), facecolors=colour, label=shortened(names[action]))
    return (low + high) / 2, high + 0.02 * rows


def _occupation_title(rollouts: Rollouts) -> str:
    seen = f"k = {rollouts.k:,} of n = {rollouts.n:,} agents seen"
    if rollouts.mode_accuracy is None:
        return seen
    return (
        f"{seen}\nchoice is the true mode in {_hits(rollouts):.0%} of these steps, "
        f"{rollouts.mode_accuracy:.0%} over {len(rollouts.returns):,} episodes"
    )


def _hits(rollouts: Rollouts) -> float:
    """Fraction of the first episode's steps at which a_g is a state of maximal occupation."""
    occupation = fold_types(rollouts.trace.occupation, _num_types(rollouts))
    chosen = occupation.gather(1, rollouts.trace.a_g.unsqueeze(1)).squeeze(1)
    return float((chosen == occupation.amax(1)).double().mean())


def _history_legend(history: Sequence[Update]) -> list[Line2D]:
    """One entry for the line, one per player and one per decision that occurred."""
    entries = [Line2D([], [], color=GREY, lw=1.5, label="current pair")]
    players = {update.player for update in history}
    decisions = {update.decision for update in history}
    entries += [
        Line2D([], [], color=colour, lw=6, label=f"{player} proposal")
        for player, colour in PLAYERS.items()
        if player in players
    ]
    entries += [
        Line2D([], [], color="white", marker=mark, markeredgecolor="black", ms=9, lw=0, label=decision.value)
        for decision, mark in MARKS.items()
        if decision in decisions
    ]
    return entries
