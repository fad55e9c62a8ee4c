"""Colours of all figures: those of Okabe and Ito's palette, two that keep apart from them, and the resolution."""

BLUE, ORANGE, RED, GREY = "#0072B2", "#E69F00", "#D55E00", "#595959"
ACTIONS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", RED, "#F0E442", "#000000", "#BBBBBB", "#882255")
"""One colour per global action, as long as they last; Okabe and Ito's eight, grey and wine."""

DPI = 120  # dots per inch: 1,080 pixels for the widest figure, sharp on a screen and small as a file
