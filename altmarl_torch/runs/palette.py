"""Colours of all figures: those of Okabe and Ito's palette, and two that keep apart from them; and the canvas."""

import io
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["ACTIONS", "BLUE", "DPI", "GREY", "ORANGE", "RED", "Drawing", "colours_of", "shortened"]

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#595959"
ACTIONS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", RED, "#F0E442", "#000000", "#BBBBBB", "#882255")
"""One colour per global action, as long as they last; Okabe and Ito's eight, grey and wine."""

LONGEST = 24
"""Characters of a name in a figure."""

DPI = 120  # dots per inch: 1,080 pixels for the widest figure, sharp on a screen and small as a file


def colours_of(actions: Any, num_ag: int) -> dict[int, Any]:
    """A colour for each of `actions` that appears: its own among ten, or the next that is free, or a shade.

    Args:
        actions: numbers in 0..num_ag - 1.
        num_ag: how many there are.
    """
    shown = np.unique(actions).tolist()
    if num_ag <= len(ACTIONS):
        return {action: ACTIONS[action] for action in shown}
    if len(shown) <= len(ACTIONS):
        return dict(zip(shown, ACTIONS, strict=False))
    return {action: colormaps["cividis"](action / (num_ag - 1)) for action in shown}


def shortened(name: str) -> str:
    """A name that leaves room for the figure."""
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"


class Drawing(Figure):
    """A figure that shows itself as the last line of a notebook's cell, without pyplot or a backend."""

    def _repr_png_(self) -> bytes:
        canvas: Any = FigureCanvasAgg(self)  # matplotlib leaves the canvas without types
        file = io.BytesIO()
        canvas.print_png(file)
        return file.getvalue()
