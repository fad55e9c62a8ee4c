"""What pi_g has come to, as far as paper shows it.

One panel per global state, and in it the counts h of k agents that are all in the first three states, as a triangle. A
corner is "all k in one state"; the point with counts (h_0, h_1, h_2) lies at their barycentre, sum_z h_z / k corner_z.
Its cell, the part of the triangle that is nearest to it, has the colour of the most probable action. Where k exceeds 60
the lattice is thinned to 60 steps an edge: (i_0, i_1, i_2), with sum 60, stands for the counts between 0,
floor(k i_0 / 60), floor(k (i_0 + i_1) / 60) and k, which are whole, sum to k and err by less than one agent. So a rule
is asked 1,891 times per panel at most, whatever k and |S_l|. Two states make a line, one makes a point.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Polygon
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.policies.rules import Rule
from altmarl_torch.policies.tabular import greedy_actions
from altmarl_torch.runs.palette import ACTIONS, DPI, GREY, Drawing, colours_of, shortened

__all__ = ["policy_slice_figure"]

PANELS = 6  # global states that a slice shows
STEPS_PER_EDGE = 60  # of a slice's lattice, at most
WORTH_A_NUMBER = 0.03  # share of a panel from which on an action's region is numbered


def policy_slice_figure(
    rule: Rule,
    num_sg: int,
    num_ag: int,
    num_sl: int,
    k: int,
    device: torch.device | str = "cpu",
    names: Mapping[str, Sequence[str]] | None = None,
) -> Figure:
    """Draw pi_g's most probable action where all k sampled agents are in the first three local states.

    Args:
        rule: the law of a_g given (s_g, counts); asked for float64 laws [panels, points, ag] in one call.
        num_sg: |S_g|; the first six are shown.
        num_ag: |A_g|; if more than ten occur in the picture, colours are shades and a colour bar tells which.
        num_sl: |S_l|, at least 1; with two the triangle is a line, with one a point.
        k: how many agents the rule sees, at least 1.
        device: where the rule wants its arguments.
        names: of states and actions, by `sg`, `sl`, `ag` (`Game.names`); local states of several types have none here.
    """
    called = names or {}
    lattice = _lattice(num_sl, k)
    panels = min(num_sg, PANELS)
    actions = _most_probable(rule, panels, lattice.counts.to(device))
    columns = min(panels, 3)
    rows = -(-panels // columns)
    height = 2.9 if len(lattice.shape.corners) == 3 else 1.3
    figure = Drawing(figsize=(max(6.0, 3.0 * columns), 1.3 + height * rows), dpi=DPI, layout="constrained")
    colours = colours_of(actions, num_ag)
    corners = called.get("sl", ()) if len(called.get("sl", ())) == num_sl else [f"s_l = {z}" for z in range(num_sl)]
    for s_g in range(panels):
        _draw_slice(figure.add_subplot(rows, columns, s_g + 1), lattice, actions[s_g], colours, corners)
        name = f" ({shortened(called['sg'][s_g])})" if "sg" in called else ""
        figure.axes[s_g].set_title(f"s_g = {s_g}{name}", fontsize=10)
    figure.suptitle(_slice_title(num_sg, num_sl, k), fontsize=11)
    _action_key(figure, colours, num_ag, called.get("ag"))
    return figure


@dataclass(frozen=True, eq=False)
class _Shape:
    """What the counts of up to three states are drawn as.

    Attributes:
        corners: [states, 2], where all k agents are in one state.
        outline: [vertices, 2], the region that the cells fill.
        cell: [vertices, 2], the points nearest to one of a lattice of distance 1, about it; cut at the outline.
        names: [states, 2], where a corner's name stands.
        sides: how it is aligned there.
    """

    corners: NDArray[np.float64]
    outline: NDArray[np.float64]
    cell: NDArray[np.float64]
    names: NDArray[np.float64]
    sides: tuple[str, ...]


BAR = np.array([[0.0, -0.12], [1.0, -0.12], [1.0, 0.12], [0.0, 0.12]])
STRIP = np.array([[-0.5, -99.0], [0.5, -99.0], [0.5, 99.0], [-0.5, 99.0]])
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])
HEXAGON = np.array([[np.cos(angle), np.sin(angle)] for angle in np.pi / 6 * np.arange(1, 12, 2)]) / 3**0.5

SHAPES = {
    1: _Shape(np.array([[0.5, 0.0]]), BAR, 99.0 * STRIP, np.array([[0.5, -0.24]]), ("center",)),
    2: _Shape(CORNERS[:2], BAR, STRIP, np.array([[0.0, -0.24], [1.0, -0.24]]), ("left", "right")),
    3: _Shape(
        CORNERS, CORNERS, HEXAGON, np.array([[0.0, -0.08], [1.0, -0.08], [0.56, 0.84]]), ("left", "right", "left")
    ),
}
"""By number of states: a point, drawn as a bar of one cell; a line, as a bar; a triangle."""


@dataclass(frozen=True, eq=False)
class _Lattice:
    """Counts of k agents in up to three states, and where they are drawn.

    Attributes:
        counts: [points, sl] int64, whole and with sum k.
        centres: [points, 2], barycentres of the shape's corners.
        steps: from one corner to another.
        shape: what it fills.
    """

    counts: Tensor
    centres: NDArray[np.float64]
    steps: int
    shape: _Shape


def _lattice(num_sl: int, k: int) -> _Lattice:
    """The lattice of k agents, thinned to `STEPS_PER_EDGE`, over the first three of num_sl states."""
    steps, states = min(k, STEPS_PER_EDGE), min(num_sl, 3)
    heads = np.array(list(itertools.combinations_with_replacement(range(steps + 1), states - 1)), dtype=np.int64)
    heads = np.pad(heads, ((0, 0), (1, 0)))  # i_0 + .. + i_{z-1} of each point, from 0
    heads = np.pad(heads, ((0, 0), (0, 1)), constant_values=steps)  # to all of them
    counts = np.zeros((len(heads), num_sl), dtype=np.int64)
    counts[:, :states] = np.diff(k * heads // steps, axis=1)
    shape = SHAPES[states]
    return _Lattice(torch.from_numpy(counts), np.diff(heads, axis=1) / steps @ shape.corners, steps, shape)


def _most_probable(rule: Rule, panels: int, counts: Tensor) -> NDArray[np.int64]:
    """The most probable a_g [panels, points] in the first global states, at each of `counts` [points, sl]."""
    s_g = torch.arange(panels, device=counts.device).unsqueeze(-1).expand(-1, len(counts)).contiguous()
    law = rule(s_g, counts.expand(panels, -1, -1).contiguous())
    actions: NDArray[np.int64] = greedy_actions(law).cpu().numpy()
    return actions


def _draw_slice(
    axes: Axes, lattice: _Lattice, actions: NDArray[np.int64], colours: Mapping[int, Any], corners: Sequence[str]
) -> None:
    """One panel: cells in the colours of `actions` [points], numbers on the regions, names at the corners."""
    shape, shades = lattice.shape, [colours[a] for a in actions.tolist()]
    outline = Polygon(shape.outline, fill=False, edgecolor=GREY, lw=1.0)
    axes.add_patch(outline)
    places = list(lattice.centres[:, None] + shape.cell / lattice.steps)
    cells = axes.add_collection(PolyCollection(places, facecolors=shades, edgecolors=shades, lw=0.4))
    cells.set_clip_path(outline)
    for name, (x, y), side in zip(corners, shape.names, shape.sides, strict=False):
        axes.text(x, y, shortened(name), ha=side, va="center", fontsize=8)
    if len(colours) <= len(ACTIONS):
        _number_regions(axes, lattice, actions)
    low, high = shape.outline.min(0), shape.outline.max(0)
    axes.set(aspect="equal", xlim=(low[0] - 0.05, high[0] + 0.05), ylim=(low[1] - 0.16, high[1] + 0.03))
    axes.set_axis_off()


def _number_regions(axes: Axes, lattice: _Lattice, actions: NDArray[np.int64]) -> None:
    """Write each action into its region, where there is room: on the lattice point nearest to the region's mean."""
    halo = [withStroke(linewidth=2.0, foreground="white")]
    middle = lattice.shape.outline.mean(0)
    for action in np.unique(actions).tolist():
        members = lattice.centres[actions == action]
        if len(members) < WORTH_A_NUMBER * len(actions):
            continue
        place = members[np.square(members - members.mean(0)).sum(1).argmin()]
        place = place + 0.5 * (middle - place) / (1 + lattice.steps)  # off the outline, which cuts the outer cells
        axes.text(place[0], place[1], str(action), ha="center", va="center", fontsize=8, path_effects=halo)


def _slice_title(num_sg: int, num_sl: int, k: int) -> str:
    empty = "; states from 3 on are empty" if num_sl > 3 else ""
    more = f"\nthe first {PANELS} of {num_sg:,} states s_g" if num_sg > PANELS else ""
    return f"most probable action a_g, sample size k = {k:,}\ncorners: all k in one local state{empty}{more}"


def _action_key(figure: Figure, colours: Mapping[int, Any], num_ag: int, names: Sequence[str] | None) -> None:
    """A legend below the panels, or a colour bar beside them where there are more actions than colours."""
    if len(colours) > len(ACTIONS):
        shades = ScalarMappable(Normalize(0, num_ag - 1), "cividis")
        bar = figure.colorbar(shades, ax=figure.axes, label="action a_g", shrink=0.8)
        bar.locator = MaxNLocator(integer=True)
        return
    words = {a: f"{a}: {shortened(names[a])}" if names else str(a) for a in colours}
    patches = [Patch(facecolor=colour, edgecolor=GREY, lw=0.5, label=words[a]) for a, colour in colours.items()]
    columns = (5 if names else 10) if len(figure.axes) > 2 else 3 if names else 5
    figure.legend(handles=patches, title="action a_g", loc="outside lower center", ncols=columns, frameon=False)
