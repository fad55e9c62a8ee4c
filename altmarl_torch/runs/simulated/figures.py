"""Where the agents of a simulator are, step by step: in the game's zones, or feature by feature."""

from matplotlib.figure import Figure
from torch import Tensor

from altmarl_torch.runs.palette import BLUE, DPI, Drawing
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.rollouts import SimulatedRollouts
from altmarl_torch.simulators.spaces import Box

__all__ = ["simulated_occupation_figure"]

MOST_PANELS = 4


def simulated_occupation_figure(game: SimulatedGame, rollouts: SimulatedRollouts) -> Figure | None:
    """Draw the first episode: the darker a cell, the larger the fraction of the agents there; None without bounds.

    With `zones` one panel, and the zone that the dispatcher steers to as a line. Otherwise one panel for each of the
    first four local features, over its box, and s_g as a line where both states are boxes of as many features.
    """
    trace, panels = rollouts.trace, _panels(game, rollouts)
    if not panels:
        return None
    figure = Drawing(figsize=(9.0, 1.2 + 2.4 * len(panels)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(panels), squeeze=False)[:, 0]
    for axis, (label, shares, low, high, line) in zip(axes, panels, strict=True):
        extent = (-0.5, len(shares) - 0.5, low, high)
        image = axis.imshow(shares.numpy().T, cmap="Greys", vmin=0.0, aspect="auto", origin="lower", extent=extent)
        figure.colorbar(image, ax=axis, label="fraction of agents", pad=0.015)
        if line is not None:
            axis.step(range(len(line)), line.numpy(), where="mid", color=BLUE, lw=1.6)
        axis.set(ylabel=label)
    what = "line: where the dispatcher steers" if trace.zones is not None else "line: s_g"
    axes[0].set_title(f"k = {rollouts.k:,} of n = {rollouts.n:,} agents seen; {what}")
    axes[-1].set_xlabel("step t")
    return figure


Panel = tuple[str, Tensor, float, float, Tensor | None]


def _panels(game: SimulatedGame, rollouts: SimulatedRollouts) -> list[Panel]:
    """Label, fractions `[T, cells]`, ends of the axis, and the line `[T]`, of each panel."""
    trace, space = rollouts.trace, game.local_state
    if trace.zones is not None:
        return [("zone", trace.zones, -0.5, trace.zones.shape[1] - 0.5, trace.a_g)]
    if trace.occupation is None:
        return []
    if not isinstance(space, Box):
        return [("local state", trace.occupation[:, 0], -0.5, space.num - 0.5, None)]
    both = isinstance(game.global_state, Box) and game.global_state.d == space.d
    return [
        (
            f"feature {feature}" if space.d > 1 else "local state",
            trace.occupation[:, feature],
            float(space.low[feature]),
            float(space.high[feature]),
            trace.s_g[:, feature] if both else None,
        )
        for feature in range(min(space.d, MOST_PANELS))
    ]
