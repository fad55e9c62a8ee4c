"""Figures: what the population does under a pair, and how the alternation got there.

Two pictures, each made to be read without its caption:

* :func:`occupation_figure` is Figure 4 of the paper.  Rows are local states ("zones"), columns are steps; the darker
  a cell, the larger the fraction of the n local agents there.  The line is the dispatcher's choice a_g, the
  dashes are the true mode; wherever they lie on each other, the dispatcher has found the crowd from its k samples.
* :func:`value_history_figure` is Algorithm 3.  The line is the joint value of the current pair after each proposal;
  the marks are the proposals: their height is the value that each would have had, their shape the decision, their
  colour the player.

The colours are those of Okabe and Ito's palette and of matplotlib's "Greys", which survive colour blindness and grey
printing; what colour says, shape or dashes say again.

Figures are made and drawn with matplotlib's objects alone, without ``pyplot``: no window, no global list of figures, no
style that the caller would inherit.
"""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from altmarl_torch.alternation import Decision, Update
from altmarl_torch.rollout import Rollouts, Trace

__all__ = ["occupation_figure", "pixels", "save_png", "value_history_figure"]

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#595959"
PLAYERS = {"global": BLUE, "local": ORANGE}
MARKS = {Decision.ACCEPT: "o", Decision.REJECT: "X", Decision.TERMINATE: "s"}
DPI = 120  # dots per inch: 1,080 pixels for the widest figure, sharp on a screen and small as a file


def occupation_figure(rollouts: Rollouts) -> Figure:
    """Draw the first episode of ``rollouts``: occupation over time, the dispatcher's choice and the true mode.

    The choice is drawn where actions can be read as local states (|A_g| = |S_l|); the title then says how often it hit
    a mode, in this episode and over all of them.
    """
    figure, axes = _canvas(9.0, 3.6)
    trace = rollouts.trace
    image = axes.imshow(
        trace.occupation.cpu().numpy().T, cmap="Greys", vmin=0.0, aspect="auto", interpolation="nearest"
    )
    figure.colorbar(image, ax=axes, label="fraction of local agents", pad=0.015)
    steps = np.arange(len(trace.mode))
    if rollouts.mode_accuracy is not None:
        axes.step(steps, trace.a_g.cpu().numpy(), where="mid", color=BLUE, lw=1.8, label="dispatcher's choice")
    axes.step(steps, trace.mode.cpu().numpy(), where="mid", color=RED, lw=1.4, ls="--", label="true mode")
    axes.set(xlabel="step t", ylabel="zone (local state)", title=_occupation_title(rollouts))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=12))
    axes.set_ylim(-0.5, trace.occupation.shape[1] - 0.5)
    _legend_below(axes)
    return figure


def value_history_figure(history: Sequence[Update]) -> Figure:
    """Draw the joint value of the current pair and of every proposal, against the number of the proposal.

    Values are discounted sums of reward, averaged over the initial law.
    """
    figure, axes = _canvas(7.0, 4.2)
    numbers = np.arange(1, len(history) + 1)
    current = [history[0].value_before, *(update.value for update in history)] if history else []
    axes.step(np.arange(len(current)), current, where="post", color=GREY, lw=1.5)
    for number, update in zip(numbers, history, strict=True):
        mark, colour = MARKS[update.decision], PLAYERS[update.player]
        axes.plot(number, update.value_proposed, mark, color=colour, ms=9, markeredgecolor="black", markeredgewidth=0.6)
    axes.set(
        xlabel="proposal", ylabel="joint value (discounted reward)", title="Value of the pair, proposal by proposal"
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    axes.legend(handles=_history_legend(history), loc="best", fontsize=9)
    return figure


def pixels(figure: Figure) -> NDArray[np.uint8]:
    """The figure as an image ``[height, width, 3]``, values 0..255."""
    canvas: Any = FigureCanvasAgg(figure)  # matplotlib leaves the canvas without types
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure as a PNG file.

    Raises:
        OSError: the folder is missing or not writable.
    """
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(os.fspath(path))


def _canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """An empty figure of so many inches, and its axes."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def _occupation_title(rollouts: Rollouts) -> str:
    seen = f"k = {rollouts.k:,} of n = {rollouts.n:,} agents seen"
    if rollouts.mode_accuracy is None:
        return seen
    return (
        f"{seen}\nchoice is the true mode in {_hits(rollouts.trace):.0%} of these steps, "
        f"{rollouts.mode_accuracy:.0%} over {len(rollouts.returns):,} episodes"
    )


def _hits(trace: Trace) -> float:
    """Fraction of the episode's steps at which a_g is a state of maximal occupation."""
    chosen = trace.occupation.gather(1, trace.a_g.unsqueeze(1)).squeeze(1)
    return float((chosen == trace.occupation.amax(1)).double().mean())


def _legend_below(axes: Axes) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), ncols=2, frameon=False)


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
