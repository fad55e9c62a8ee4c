"""The README's figure: the problem, and what asking more agents is worth.

    python benchmarks/readme_figure.py

Left, one coordinator, k of n agents seen. Right, the warehouse at n = 1000: the return of exact tables against k, with
and without a memory, and the best rule that looks at no sample. Takes about a minute.
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import altmarl_torch as am
from altmarl_torch.runs.palette import BLUE, GREY, ORANGE, RED
from altmarl_torch.runs.plots import save_png

DOCS = Path(__file__).parents[1] / "docs"
KS, EPISODES = (1, 2, 5, 10, 20, 35), 1_000


def draw_problem(axes: Axes) -> None:
    """A coordinator above a crowd, lines to those who are asked."""
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 10, 90), rng.uniform(0, 3, 90)
    asked = rng.choice(90, 6, replace=False)
    axes.plot(x, y, "o", color=GREY, ms=4, alpha=0.5)
    axes.plot(x[asked], y[asked], "o", color=BLUE, ms=7)
    for agent in asked:
        axes.plot([5, x[agent]], [5.2, y[agent]], color=BLUE, lw=0.8)
    axes.plot(5, 5.4, "s", color=ORANGE, ms=18)
    axes.text(5.6, 5.4, "coordinator: sees s_g and k agents, chooses a_g", va="center", fontsize=9)
    axes.text(5, -0.6, "n agents: each sees its own state and s_g, chooses a_l", ha="center", fontsize=9)
    axes.set(xlim=(-0.5, 14), ylim=(-1, 6.2), title="One coordinator, n agents, one common reward")
    axes.set_axis_off()


def draw_returns(axes: Axes) -> None:
    """Return against k, measured now."""
    game = am.games.warehouse()
    for observation, label, colour in (
        ("surrogate", "the paper's dispatcher", BLUE),
        ("filter", "with a memory", ORANGE),
    ):
        means = []
        for k in KS:
            pair = am.solve(game, k, observation=observation)
            means.append(am.rollout(game, pair, episodes=EPISODES, seed=1).mean)
        axes.plot(KS, means, "o-", color=colour, label=label)
        print(observation, [round(mean, 1) for mean in means])
    hold = am.rollout(game, am.heuristics.heuristic_pair(game, 1, "hold", "walk"), episodes=EPISODES, seed=1).mean
    axes.axhline(hold, color=RED, ls="--", lw=1.2, label="hold s_g (asks nobody)")
    axes.set(
        xlabel="k, agents asked in each step (of 1,000)", ylabel="mean discounted return", title="The paper's warehouse"
    )
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)


def main() -> None:
    """Draw both, and write docs/problem-and-gain.png."""
    figure = Figure(figsize=(11, 3.9), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    draw_problem(left)
    draw_returns(right)
    save_png(figure, DOCS / "problem-and-gain.png")


if __name__ == "__main__":
    main()
