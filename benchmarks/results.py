"""docs/results.md, regenerated: python benchmarks/results.py

Runs the commands that the page shows, in a folder `runs` below the current one, and writes the page and its figures.
What is finished is not computed again (`altmarl sweep` skips it), so that a second call takes seconds; remove the
sweeps from `runs` to measure afresh. Twenty minutes on two cores.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from altmarl_torch.runs.sweeps.published import all_curves

DOCS = Path(__file__).parents[1] / "docs"
PAPER = "altmarl sweep --k 1,2,5,10,20,35,50 --seeds 15"
CODE = "altmarl sweep --preset code --starts 3 --k 1,5,10,20,35,50 --seeds 3"
NEURAL = "altmarl sweep --solver neural --k 10,20,50 --seeds 3"
CERTIFIED = {1: [], 2: [], 5: [], 10: [], 20: ["--quick"], 35: ["--quick"], 50: ["--quick"]}
FIGURES = {
    "return_against_k": "Figure 3a: return against k",
    "seconds_against_k": "Figure 3b: seconds of learning against k",
    "mode_accuracy_against_k": "How often the dispatcher finds the mode",
    "occupation": "Figure 4: occupation over time",
    "alternation": "Potential and gains, update by update",
}
FOLDERS = {
    PAPER: Path("runs/sweep__warehouse__tabular"),
    CODE: Path("runs/sweep__warehouse__tabular__preset-code__starts-3"),
    NEURAL: Path("runs/sweep__warehouse__neural"),
}


def main():
    for command in FOLDERS:
        call(command)
    for k, words in CERTIFIED.items():
        run = FOLDERS[PAPER] / f"k{k:04d}__seed0000"
        wanted = "single_team" if words else "shared_deviation"
        if json.loads((run / "certificate.json").read_text())[wanted] is None:
            call(shlex.join(["altmarl", "certify", str(run), *words]))
    call(PAPER)  # whose table now holds the certificates
    for command, folder in FOLDERS.items():
        call(f"altmarl plot {folder} --published")
        copy_figures(folder, "code" if command == CODE else folder.name.rpartition("__")[2])
    (DOCS / "results.md").write_text(page(), encoding="utf-8")


def call(command):
    print("+", command, flush=True)
    subprocess.run([sys.executable, "-m", "altmarl_torch", *shlex.split(command)[1:]], check=True)


def copy_figures(folder, name):
    wanted = FIGURES if name == "tabular" else ["return_against_k"]
    for figure in wanted:
        shutil.copy(folder / "figures" / f"{figure}.png", DOCS / f"results-{name}-{figure.replace('_', '-')}.png")


def page():
    parts = [INTRODUCTION, experiment(PAPER, "The paper's game", "authors' code", PAPER_TEXT)]
    parts += [f"![{title}](results-tabular-{name.replace('_', '-')}.png)" for name, title in FIGURES.items()]
    parts.append(
        experiment(CODE, "The variant in the authors' code, several starts", "published (Figure 3a)", CODE_TEXT)
    )
    parts.append("![return against k](results-code-return-against-k.png)")
    parts.append(experiment(NEURAL, "Networks", "authors' code", NEURAL_TEXT))
    return "\n\n".join(parts) + "\n"


def experiment(command, title, curve, text):
    found = json.loads((FOLDERS[command] / "summary.json").read_text())
    plot = f"    altmarl plot {FOLDERS[command]} --published"
    lines = [f"## {title}", "", f"    {command}", plot, "", text.strip(), ""]
    at = {one["k"]: one for one in found["by_k"]}
    (theirs,) = (one for one in all_curves() if one.name == curve)
    lines += table(at, theirs)
    lines += ["", f'Intervals: {found["interval"]}. "{theirs.name}": {theirs.source}.']
    return "\n".join(lines)


def table(at, theirs):
    published = {point.k: point for point in theirs.points}
    rows = {
        "**return, learned pair**": {k: interval(one["return_mean"]) for k, one in at.items()},
        **{
            f"return, {name}": {k: f"{one['heuristics'][name]['mean']:.1f}" for k, one in at.items()}
            for name in next(iter(at.values()))["heuristics"]
        },
        f"return, {theirs.name}": {k: f"{point.value}" for k, point in published.items()},
        "choice is the mode": {k: f"{one['mode_accuracy']['mean']:.0%}" for k, one in at.items()},
        "value on the surrogate": {k: f"{one['value']['mean']:.2f}" for k, one in at.items()},
        "gap of the global agent": {k: gap(one["global_gap"]) for k, one in at.items()},
        "Nash gap, at most": {k: gap(one["nash_gap"]) for k, one in at.items()},
        "seconds of learning": {k: f"{one['learning_seconds']['median']:.1f}" for k, one in at.items()},
        f"seconds, {theirs.name}": {k: seconds(point) for k, point in published.items()},
        "peak memory, MiB": {k: f"{one['peak_memory_bytes'] / 2**20:,.0f}" for k, one in at.items()},
    }
    lines = [f"| k | {' | '.join(map(str, at))} |", "|---" * (len(at) + 1) + "|"]
    for name, cells in rows.items():
        if any(cells.get(k, "-") != "-" for k in at):
            lines.append(f"| {name} | {' | '.join(cells.get(k, '-') for k in at)} |")
    return lines


def interval(found):
    return f"{found['mean']:.1f} ({found['low']:.1f} to {found['high']:.1f})"


def gap(found):
    return "-" if found is None else f"{max(found['mean'], 0):.2g}"


def seconds(point):
    if point.seconds is None:
        return "-"
    low, high = point.seconds
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


INTRODUCTION = """# Results

Written by `python benchmarks/results.py`, which runs the commands below (twenty minutes on two cores) and fills in the
tables. Returns are those of n = 1000 agents (Algorithm 4, local agents move under the current s_g, Eq. 3), discounted
by 0.95, 50 episodes for each seed, the same episodes at every k. How sweeps work: [sweeps.md](sweeps.md)."""

PAPER_TEXT = """
Appendix G.2 as printed, `--preset paper`: 100 steps, the paper's own operator without Bellman noise. Exact tables draw
no random numbers while they learn: every seed finds the same pair, and seeds differ in their episodes alone. The gap of
the global agent is exact; the Nash gap is a proven bound for local agents that would even see the sample (`altmarl
certify` on seed 0; beyond k = 10 it is left out here, [certificate.md](certificate.md) has k = 20 and 50). Each cell
has one core, and its seconds are of two cells side by side; a training alone on both cores takes about half as long at
k = 50."""

CODE_TEXT = """
The variant that the authors' public code ships and the published Figure 3a was made with, `--preset code`: r_g = 1 and
50 steps. Three starts: uniform, walk to s_g, greedy for r_l; the pair with the best joint value wins."""

NEURAL_TEXT = """
The same game as the first, by networks on counts (`--solver neural`), one core per cell. Seeds are now seeds of the
training too."""


if __name__ == "__main__":
    main()
