"""The main job, timed: python benchmarks/main_job.py

Prints two tables with a description of the machine. The first trains on the warehouse (paper preset, n = 1000), each k
in a process of its own so that its peak memory is its own: seconds to the end of the alternation, resident memory, and
the learned pair's return. The second simulates, 750 episodes of 100 steps, for n = 10^3 and n = 10^9.

Absolute times depend on the machine and on what else runs on it. The ratios in the last columns are taken within one
run: seconds against those of the smallest k, and n = 10^9 against n = 10^3.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time

import torch

import altmarl_torch as am

SIZES = (1, 5, 10, 20, 35, 50)
EPISODES, HORIZON = 3000, 100


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--k", type=lambda text: [int(k) for k in text.split(",")], default=list(SIZES), help="sizes")
    parser.add_argument("--cell", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cell is not None:
        print(json.dumps(train(arguments.cell)))
        return
    print(describe_machine() + "\n")
    print_training(arguments.k)
    print_simulation()


def describe_machine():
    return (
        f"{os.cpu_count()} cores ({platform.processor() or platform.machine()}), load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {torch.get_num_threads()} threads"
    )


def train(k):
    game, begun = am.games.warehouse(), time.perf_counter()
    solution = am.solve(game, k)
    seconds = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    learned = am.rollout(game, solution, episodes=EPISODES, horizon=HORIZON, seed=1)
    return {
        "k": k,
        "seconds": seconds,
        "memory": memory,
        "value": solution.value,
        "return": learned.mean,
        "sem": learned.sem,
        "phases": solution.phase_seconds,
    }


def print_training(sizes):
    first = None
    print("   k   seconds  (g_learn l_learn evaluation)   MB     value     return on n = 1000   time against first k")
    for k in sizes:
        command = [sys.executable, __file__, "--cell", str(k)]
        cell = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        first = first or cell["seconds"]
        phases = " ".join(f"{cell['phases'][name]:7.2f}" for name in ("g_learn", "l_learn", "evaluation"))
        print(
            f"{k:4d} {cell['seconds']:9.2f}  ({phases}) {cell['memory']:8.0f} {cell['value']:9.3f}"
            f"   {cell['return']:7.2f} +- {cell['sem']:.2f} {cell['seconds'] / first:18.1f}"
        )


def print_simulation():
    game = am.games.warehouse()
    pair = am.solve(game, 20)
    print("\n         n   seconds for 750 episodes x 100 steps, k = 20 (best of 3)   against n = 1000")
    first = None
    for n in (10**3, 10**6, 10**9):
        seconds = min(timed(lambda n=n: am.rollout(game, pair, episodes=750, horizon=100, n=n)) for _ in range(3))
        first = first or seconds
        print(f"{n:10d} {seconds:9.3f} {seconds / first:52.2f}")


def timed(work):
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
