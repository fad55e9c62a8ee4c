"""Colours of all figures: those of Okabe and Ito's palette, and two that keep apart from them; and the canvas."""

import io
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["ACTIONS", "BLUE", "DPI", "GREY", "ORANGE", "RED", "Drawing"]

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#595959"
ACTIONS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", RED, "#F0E442", "#000000", "#BBBBBB", "#882255")
"""One colour per global action, as long as they last; Okabe and Ito's eight, grey and wine."""

DPI = 120  # dots per inch: 1,080 pixels for the widest figure, sharp on a screen and small as a file


class Drawing(Figure):
    """A figure that shows itself as the last line of a notebook's cell, without pyplot or a backend."""

    def _repr_png_(self) -> bytes:
        canvas: Any = FigureCanvasAgg(self)  # matplotlib leaves the canvas without types
        file = io.BytesIO()
        canvas.print_png(file)
        return file.getvalue()
