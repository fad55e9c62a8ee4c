"""Returns of the observation models against k: python benchmarks/observation.py --game warehouse --k 1,2,5,10,20,50

Solves the game at each k with the paper's operator, with the posterior correction and with a memory, plays each pair on
n agents under common random numbers, and prints a table: mean return, its standard error, and seconds to solve; beside
it "hold", which looks at nothing, and the learned pair of many agents that is shown the whole population. --json keeps
the numbers, and --figure draws those of a --json file: python benchmarks/observation.py --figure numbers.json
returns.png
"""

import argparse
import json
import time
from pathlib import Path

from matplotlib.figure import Figure

import altmarl_torch as am
from altmarl_torch.policies.rules import heuristic_pair

MODELS = ("surrogate", "posterior", "filter")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", default="warehouse", help="warehouse, code (its preset), zones10, ware or beacon")
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=[1, 2, 5, 10, 20])
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--solver", default="tabular", help="tabular or neural")
    parser.add_argument("--episodes", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1, help="seed of the episodes")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--figure", type=Path, nargs=2, metavar=("JSON", "PNG"), help="draw instead of measuring")
    arguments = parser.parse_args()
    if arguments.figure:
        draw(json.loads(arguments.figure[0].read_text()), arguments.figure[1])
        return
    game, horizon = GAMES[arguments.game]()
    played = {"episodes": arguments.episodes, "horizon": horizon, "seed": arguments.seed}
    rows = [row("hold", None, am.rollout(game, heuristic_pair(game, 1, "hold", "walk"), **played), 0.0)]
    rows.append(row("everybody is seen", None, am.rollout(game, everybody(game, arguments.solver), **played), 0.0))
    for k in arguments.k:
        for model in arguments.models:
            begun = time.perf_counter()
            solution = am.solve(game, k, solver=arguments.solver, observation=model)
            seconds = time.perf_counter() - begun
            rows.append(row(model, k, am.rollout(game, solution, **played), seconds))
    if arguments.json:
        arguments.json.write_text(json.dumps({"game": game.name, "n": game.n, **played, "rows": rows}, indent=1))


def everybody(game, solver):
    """A dispatcher with a memory that sees all n agents reads the policy for many at the true distribution."""
    return am.solve(game, game.n, solver=solver, observation="filter")


def row(model, k, found, seconds):
    print(f"{model:<18} k = {k or '-':<4} {found.mean:8.2f} +- {found.sem:.2f}   {seconds:7.1f} s", flush=True)
    return {"model": model, "k": k, "mean": found.mean, "sem": found.sem, "seconds": seconds}


def draw(numbers, path):
    """Return against k, with 95 % intervals; what does not depend on k as lines."""
    figure = Figure(figsize=(7.5, 4.5), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    rows = numbers["rows"]
    ks = sorted({line["k"] for line in rows if line["k"]})
    for model, name, colour, marker in LOOKS:
        mine = [line for line in rows if line["model"] == model and line["k"]]
        errors = [1.96 * line["sem"] for line in mine]
        axes.errorbar(
            [line["k"] for line in mine], [line["mean"] for line in mine], errors,
            label=name, color=colour, marker=marker, capsize=3, linewidth=1.6,
        )  # fmt: skip
    for model, style in (("everybody is seen", "--"), ("hold", ":")):
        level = next(line["mean"] for line in rows if line["model"] == model)
        axes.axhline(level, color="0.3", linestyle=style, linewidth=1.2)
        axes.annotate(f"{model}: {level:.1f}", (ks[-1], level), xytext=(0, 4), textcoords="offset points", ha="right")
    axes.set_xscale("log")
    axes.set_xticks(ks, map(str, ks))
    axes.minorticks_off()
    axes.set_xlabel("k, agents seen per step")
    axes.set_ylabel(f"mean discounted return, {numbers['horizon']} steps")
    axes.set_title(f"{numbers['game']}, n = {numbers['n']:,}: what the sample is taken for")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.12))
    axes.grid(alpha=0.25)
    figure.savefig(path)


LOOKS = (
    ("filter", "evidence that adds up (filter, a memory)", "#0072B2", "o"),
    ("posterior", "evidence of one step (posterior)", "#009E73", "s"),
    ("surrogate", "the population (the paper's operator)", "#D55E00", "^"),
)

GAMES = {
    "warehouse": lambda: (am.games.warehouse(), 100),
    "code": lambda: (am.games.warehouse(preset="code"), 50),
    "zones10": lambda: (am.games.warehouse(num_zones=10), 100),
    "ware": lambda: (am.games.make("ware"), 50),
    "beacon": lambda: (am.games.make("beacon"), 50),
}

if __name__ == "__main__":
    main()
