"""The smart grid measured: python benchmarks/smart_grid.py returns --k 1,3,10,20

returns   learned pairs against k, beside the yardsticks that see as many loads: means, standard errors, and how
          much more the learned pair earns than the best yardstick, on common episodes, with a 95 % interval
rules     the hand-written rules that `policies.yardsticks` chose "sparing" from
figure    the laws of the bands and one episode of the learned pair, as a PNG: ... figure docs/smart-grid.png
"""

import argparse
import itertools
import time

import torch
from matplotlib.figure import Figure

import altmarl_torch as am
from altmarl_torch.games.named.smart_grid import COMFORT_BAND, AirConditioner, band_edges
from altmarl_torch.policies.rules import HeuristicPair
from altmarl_torch.policies.tabular import deterministic_local, one_hot
from altmarl_torch.policies.yardsticks import yardsticks

STEP = 5 / 60  # hours


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("returns", "rules", "figure"))
    parser.add_argument("path", nargs="?", default="smart-grid.png", help="of the figure")
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=[1, 3, 10, 20])
    parser.add_argument("--solver", default="tabular", help="tabular or neural")
    parser.add_argument("--observation", default="surrogate", help="surrogate, posterior or filter")
    parser.add_argument("--episodes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the episodes")
    arguments = parser.parse_args()
    game, played = am.games.smart_grid(), {"episodes": arguments.episodes, "seed": arguments.seed}
    if arguments.what == "returns":
        for k in arguments.k:
            returns(game, k, {"solver": arguments.solver, "observation": arguments.observation}, played)
    elif arguments.what == "rules":
        rules(game, arguments.k[-1], played)
    else:
        draw(game, am.solve(game, 10), arguments.path)


def returns(game, k, options, played):
    """One block of the result table."""
    begun = time.perf_counter()
    solution = am.solve(game, k, **options)
    seconds = time.perf_counter() - begun
    pairs = {f"learned, {seconds:.1f} s": solution, **yardsticks(game, k)}
    found = {name: am.rollout(game, pair, **played) for name, pair in pairs.items()}
    for name, rollouts in found.items():
        print(f"k = {k:<3} {name:<24} {rollouts.mean:8.2f} +- {rollouts.sem:.2f}", flush=True)
    best = max(yardsticks(game, k), key=lambda name: found[name].mean)
    more = am.paired_difference(game, solution, pairs[best], **played)
    print(f"k = {k:<3} learned - {best}: {more.mean:.2f}, 95 % in [{more.low:.2f}, {more.high:.2f}]", flush=True)


def rules(game, k, played):
    """Interrupt from a level of stress on, unless a share of the sampled loads is hot; two thermostats."""
    levels = game.num_sg // 2
    for least, bands, share, first in itertools.product((1, levels - 1), (1, 2), (0.25, 0.5, 0.75), (1, 2)):
        pair = HeuristicPair("rule", k, rule(least, bands, share), thermostat(game, first))
        found = am.rollout(game, pair, **played)
        words = f"stress >= {least} unless over {share:.0%} in the top {bands}; on from band {first}"
        print(f"{words:<60} {found.mean:8.2f} +- {found.sem:.2f}", flush=True)


def rule(least, bands, share):
    def law(s_g, counts):
        hot = counts[..., -bands:].sum(-1) > share * counts.sum(-1)
        return one_hot(((s_g // 2 >= least) & ~hot).long(), 2)

    return law


def thermostat(game, first):
    on = torch.arange(game.num_sl) >= first
    return deterministic_local(on[:, None].expand(-1, game.num_sg).long(), 2)


def draw(game, solution, path):
    """Band laws above, an episode below: who is how warm, the stress, and when loads are interrupted."""
    figure = Figure(figsize=(9, 7), dpi=110, layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.5))
    edges = band_edges(AirConditioner(), 22.5, game.num_sl, 1.0)
    names = [f"{low:g}-{high:g}" for low, high in itertools.pairwise(edges.tolist())]
    names = [f"< {edges[1]:g}", *names[1:-1], f"> {edges[-2]:g}"]
    names[COMFORT_BAND] += "\n(comfort)"
    for axes, duty, title in zip(above.subplots(1, 2), (0.0, 1.0), ("off", "on"), strict=True):
        law = AirConditioner().band_law(edges, STEP, duty)
        axes.imshow(law.numpy(), cmap="Blues", vmin=0, vmax=1)
        for band, after in itertools.product(range(len(law)), repeat=2):
            mass = float(law[band, after])
            if mass >= 0.005:
                axes.text(after, band, f"{mass:.2f}", ha="center", va="center", color="w" if mass > 0.6 else "k")
        axes.set_xticks(range(len(names)), [name.partition("\n")[0] for name in names], fontsize=7)
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set(title=f"{title}: the band five minutes later", xlabel="next band, °C", ylabel="band, °C")
    episode(below, game, am.rollout(game, solution, episodes=1, seed=3, horizon=144), names)
    figure.savefig(path)


def episode(figure, game, rollouts, names):
    """Occupation of the bands over time, above the level of stress."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2.5, 1))
    trace = rollouts.trace
    hours = STEP * torch.arange(len(trace.s_g) + 1)
    image = top.pcolormesh(hours, torch.arange(game.num_sl + 1) - 0.5, trace.occupation.T, cmap="OrRd", vmin=0, vmax=1)
    figure.colorbar(image, ax=top, label="share of the loads", pad=0.01)
    top.set_yticks(range(len(names)), names, fontsize=7)
    top.set(ylabel="band, °C", title=f"one episode of the learned pair, {rollouts.k} of {rollouts.n:,} loads seen")
    bottom.stairs(trace.s_g // 2, hours, color="k", lw=1.5, baseline=None, label="level of stress")
    look = {"color": "#0072B2", "alpha": 0.35, "lw": 0, "label": "loads interrupted"}
    bottom.fill_between(hours[:-1], -0.2, 2.2, where=trace.s_g % 2 == 1, step="post", **look)
    bottom.set(xlabel="hours", ylabel="stress", ylim=(-0.2, 2.2), yticks=range(3))
    bottom.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), fontsize=8, frameon=False)


if __name__ == "__main__":
    main()
