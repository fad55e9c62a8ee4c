"""An earlier commit and the present one side by side: python benchmarks/speed.py --cases warehouse-20,warehouse-50

Both commits are taken out of git and installed, each in an environment of its own in a temporary folder (compiled where
there is a compiler; torch and the other dependencies are those of the Python that runs this). Then each case (an
alternation, a certificate or a sweep) is run by the one and the other in turn, in a process of its own, `--runs` times.
Printed: medians and ranges of wall time and processor time, peak memory, the ratio of the medians, and whether values
agree within both proven errors and the pair is the same, as far as pi_l, or of a sweep its last return, tells.
`--without-extension` leaves the compiled sweep out of the present one.
"""

import argparse
import json
import os
import shutil
import site
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]

LEARN = """
import json, resource, sys, time
import altmarl_torch as am
from altmarl_torch import games
game, k = eval(sys.argv[1]), int(sys.argv[2])
am.solve(games.steer(), 2)  # what the first call loads is not what is measured
wall, cpu = time.perf_counter(), time.process_time()
found = am.solve(game, k)
measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
last = found.history[-1]
print(json.dumps(measured | {
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    "value": found.value, "error": last.error, "learned": found.pi_l.argmax(-1).tolist(),
    "sweeps": sum(update.sweeps for update in found.history),
}))
"""
"""One run of `solve`: what it prints is read back."""

CERTIFY = """
import json, resource, sys, time
import torch
import altmarl_torch as am
from altmarl_torch import games

def turning(gamma):  # s_g turns by itself, agents go forwards or backwards in a circle
    P_g, P_l, r_l = torch.zeros(3, 1, 3), torch.zeros(4, 3, 2, 4), torch.zeros(4, 3, 2)
    r_l[0, 0], r_l[2, 1, 1] = 1, 2
    for s in range(3):
        P_g[s, 0, (s + 1) % 3] = 1
    for s in range(4):
        P_l[s, :, 0, (s + 1) % 4] = P_l[s, :, 1, (s + 3) % 4] = 1
    return am.Game(P_g=P_g, P_l=P_l, r_g=torch.zeros(3, 1), r_l=r_l, gamma=gamma, n=20)

game, k = eval(sys.argv[1]), int(sys.argv[2])
pair = am.solve(game, k)
wall, cpu = time.perf_counter(), time.process_time()
found = am.certify(game, pair)
measured = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
gaps = [found.global_deviation, found.shared_deviation, found.single_team, found.single_own]
low, high = max(gap.lower for gap in gaps), max(gap.upper for gap in gaps)
print(json.dumps(measured | {
    "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10,
    "value": (low + high) / 2, "error": (high - low) / 2 + max(gap.error for gap in gaps),
    "learned": pair.pi_l.argmax(-1).tolist(),
}))
"""
"""One run of `certify`, every part, of the pair that the commit learns; the value is amid the largest gap's bounds."""

SWEEP = """
import csv, json, pathlib, resource, subprocess, sys, tempfile, time
with tempfile.TemporaryDirectory() as folder:
    words = ["sweep", "--k", sys.argv[1], "--seeds", sys.argv[2], "--runs-dir", folder]
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "altmarl_torch", *words], check=True, capture_output=True)
    wall, spent = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    (sweep,) = pathlib.Path(folder).iterdir()
    last = sorted(sweep.glob("k*"))[-1]
    update = json.loads((last / "metrics.jsonl").read_text().splitlines()[-1])
    *_, row = csv.DictReader((sweep / "results.csv").open())
print(json.dumps({
    "wall": wall, "cpu": spent.ru_utime + spent.ru_stime, "memory": spent.ru_maxrss / 2**10,
    "value": float(row["value"]), "error": update["error"], "learned": row["return_mean"],
}))
"""
"""One sweep of the warehouse from the command line, its start included; value and return of its last cell."""

CASES = {
    "warehouse-20": (LEARN, "games.warehouse()", 20),
    "warehouse-35": (LEARN, "games.warehouse()", 35),
    "warehouse-50": (LEARN, "games.warehouse()", 50),
    "warehouse-100": (LEARN, "games.warehouse()", 100),
    "eight-12": (LEARN, "games.warehouse(num_zones=8)", 12),
    "ten-8": (LEARN, "games.warehouse(num_zones=10)", 8),
    "two-speeds-6": (LEARN, "games.two_speed_warehouse()", 6),
    "two-speeds-30": (LEARN, "games.two_speed_warehouse()", 30),
    "smart-grid-30": (LEARN, "games.smart_grid()", 30),
    "random-30": (LEARN, "games.random_game(num_sl=4, seed=1, laziness=0.0)", 30),
    "certificate-10": (CERTIFY, "games.warehouse()", 10),
    "certificate-20": (CERTIFY, "games.warehouse()", 20),
    "certificate-50": (CERTIFY, "games.warehouse()", 50),
    "certificate-turning-2": (CERTIFY, "turning(0.99)", 2),
    "certificate-turning-6": (CERTIFY, "turning(0.9)", 6),
    "sweep-1": (SWEEP, "1,2,5,10,20,35,50", 1),
    "sweep-15": (SWEEP, "1,2,5,10,20,35,50", 15),
}
"""By name: what is run, of which game, at which k; or which k, and how many seeds. certificate-50 takes minutes."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--old", default="89f2665", help="the earlier commit (default: %(default)s)")
    parser.add_argument("--new", default="HEAD", help="the later one (default: %(default)s)")
    parser.add_argument("--cases", default="warehouse-20,warehouse-35", help=f"of {', '.join(CASES)}, or 'all'")
    parser.add_argument("--runs", type=int, default=5, help="runs of each commit (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of torch (default: %(default)s)")
    parser.add_argument("--only-new", action="store_true", help="leave the earlier commit out")
    parser.add_argument("--without-extension", action="store_true", help="the present one in torch alone")
    arguments = parser.parse_args()
    names = list(CASES) if arguments.cases == "all" else arguments.cases.split(",")
    with tempfile.TemporaryDirectory() as folder:
        pythons = {} if arguments.only_new else {"old": install(arguments.old, Path(folder) / "old")}
        pythons["new"] = install(arguments.new, Path(folder) / "new", compiled=not arguments.without_extension)
        print("| case | commit | wall s | processor s | memory MB | sweeps | value | ratio of wall |")
        print("|---|---|---|---|---|---|---|---|")
        for name in names:
            runs = {which: [] for which in pythons}
            for _ in range(arguments.runs):
                for which, python in pythons.items():
                    runs[which].append(run(python, *CASES[name], arguments.threads, folder))
            tell(name, runs)


def install(commit, folder, *, compiled=True):
    """The Python of a new environment that holds the package as it was at `commit`."""
    source = folder / "source"
    source.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "x"], cwd=source, input=archive, check=True)
    venv.create(folder / "environment", with_pip=True)
    python = folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
    there = subprocess.run(
        [python, "-c", "import site; print(site.getsitepackages()[0])"], check=True, capture_output=True, text=True
    ).stdout.strip()
    shared = [path for path in (*site.getsitepackages(), *sys.path) if path.endswith("site-packages")]
    (Path(there) / "dependencies.pth").write_text("\n".join(dict.fromkeys(shared)) + "\n", encoding="utf-8")
    words = ["-m", "pip", "install", "-q", "--no-deps", str(source)]
    subprocess.run([python, *words], check=True, cwd=folder, env=alone())
    if not compiled:
        for built in (Path(there) / "altmarl_torch" / "support" / "native").glob("_compiled*.*"):
            built.unlink()
    shutil.rmtree(source)
    return python


def alone(**more):
    """The process's environment without its own package on the path."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


def run(python, child, game, k, threads, folder):
    """One run of a case in a process of its own."""
    words = [python, "-c", child, game, str(k)]
    env = alone(OMP_NUM_THREADS=str(threads))
    printed = subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder, env=env).stdout
    return json.loads(printed.splitlines()[-1])


def tell(name, runs):
    """Two rows: each commit's medians and ranges, and how they compare."""
    medians = {which: statistics.median(one["wall"] for one in found) for which, found in runs.items()}
    for which, found in runs.items():
        first = found[0]
        cells = [spread([one[kind] for one in found]) for kind in ("wall", "cpu")]
        ratio = f"1/{medians['old'] / medians['new']:.2f}" if which == "new" and "old" in runs else ""
        memory = max(one["memory"] for one in found)
        row = [
            name,
            which,
            *cells,
            f"{memory:.0f}",
            str(first.get("sweeps", "")),
            f"{first['value']:.6f} ({first['error']:.1e})",
        ]
        print(f"| {' | '.join([*row, ratio])} |", flush=True)
    if len(runs) == 2:
        old, new = runs["old"][0], runs["new"][0]
        agree = abs(old["value"] - new["value"]) <= old["error"] + new["error"]
        same = "the same pair" if old["learned"] == new["learned"] else "another pair"
        print(
            f"{name}: values {'agree within' if agree else 'differ by more than'} both errors, {same}", file=sys.stderr
        )


def spread(numbers):
    return f"{statistics.median(numbers):.2f} ({min(numbers):.2f} to {max(numbers):.2f})"


if __name__ == "__main__":
    main()
