"""The neural solver, measured: python benchmarks/neural.py accuracy | scale | k | device | small | types

accuracy  against the exact solution of the warehouse (paper preset): for each k and seed, the n-agent return of the
          neural pair less that of the exact one on the same episodes, and the mean one-step regret of its pi_g under
          the exact Q of its own pi_l, both in per cent
scale     zones x k, n = 10^6: the learned return, the best heuristics', seconds and peak memory, each in a process
k         seconds against k on five zones, as a ratio to the smallest
device    gradient steps per second on the CPU and on a GPU, where there is one
small     eight random games of two or three states: seconds of one core, and whether the pair is that of the tables
types     a hundred types of random agents with five states each, k = 50: seconds, and the lead over every fixed pair
          and every rule of thumb on the same episodes

Times depend on the machine and on what else runs on it; compare within one run.
"""

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from main_job import describe_machine

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.neural import BatchSurrogate, CountNetwork, Settings, fit
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import HeuristicPair, heuristic_pairs
from altmarl_torch.policies.tabular import deterministic_local, one_hot, uniform_local

EPISODES, HORIZON = 3000, 100
SCALES = ((5, 20), (5, 50), (5, 100), (10, 50), (20, 100))
SIZES = (5, 10, 20, 50, 100, 200)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("accuracy", "scale", "k", "device", "small", "types", "cell"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 0, 1, ... (default: %(default)s)")
    parser.add_argument("--cell", type=int, nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.table == "cell":
        print(json.dumps(train(*arguments.cell)))
        return
    print(describe_machine() + "\n")
    tables = {
        "accuracy": accuracy,
        "scale": scale,
        "k": against_k,
        "device": devices,
        "small": small,
        "types": many_types,
    }
    tables[arguments.table](range(arguments.seeds))


def accuracy(seeds):
    print("  k  seed  seconds   return      exact    difference           regret (mean, of the value)")
    game = am.games.warehouse()
    for k in (10, 20, 35):
        exact = am.solve(game, k)
        for seed in seeds:
            begun = time.perf_counter()
            learned = am.solve(game, k, solver="neural", seed=seed)
            seconds = time.perf_counter() - begun
            options = {"episodes": EPISODES, "horizon": HORIZON, "seed": 1}
            ours, theirs = (am.rollout(game, pair, **options).returns for pair in (learned, exact))
            gain = (ours - theirs) / theirs.mean() * 100
            print(
                f"{k:3d} {seed:5d} {seconds:8.1f} {float(ours.mean()):8.2f} {float(theirs.mean()):10.2f}"
                f"  {float(gain.mean()):+8.3f} % +- {float(gain.std()) / EPISODES**0.5:.3f}"
                f"  {100 * regret(game, learned):12.5f} %",
                flush=True,
            )


def regret(game, solution):
    """Mean over all (s_g, h) of max_a Q - Q(pi_g), Q the exact fixed point under pi_l, relative."""
    surrogate = Surrogate.build(game, solution.pi_l, PairPlan(solution.simplex))
    Q = am.tabular.g_learn(surrogate, parameterization="counts").Q
    best = Q.amax(-1)
    return float((best - (solution.pi_g * Q).sum(-1)).mean() / best.mean())


def scale(seeds):
    print("zones    k  seed   value    return             best heuristic            seconds   (updates)    MB")
    for zones, k in SCALES:
        for seed in seeds:
            cell = in_process(zones, k, 10**6, seed)
            print(
                f"{zones:5d} {k:4d} {seed:5d} {cell['value']:8.2f} {cell['return']:8.2f} +- {cell['sem']:.2f}"
                f"   {cell['heuristic']:>14} {cell['heuristic_return']:7.2f} +- {cell['heuristic_sem']:.2f}"
                f" {cell['seconds']:9.1f} {cell['updates']:8d} {cell['memory']:8.0f}",
                flush=True,
            )


def against_k(seeds):
    first = None
    print("   k   seconds   steps   against the first: seconds    k")
    for k in SIZES:
        cells = [in_process(5, k, 1000, seed) for seed in seeds]
        seconds, steps = (sum(cell[name] for cell in cells) / len(cells) for name in ("seconds", "steps"))
        first = first or (seconds, k)
        print(f"{k:4d} {seconds:9.1f} {steps:7.0f} {seconds / first[0]:27.2f} {k / first[1]:6.0f}", flush=True)


def in_process(zones, k, n, seed):
    """One training in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "cell", "--cell", *map(str, (zones, k, n, seed))]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def train(zones, k, n, seed):
    game, begun = am.games.warehouse(num_zones=zones, n=n), time.perf_counter()
    solution = am.solve(game, k, solver="neural", seed=seed)
    seconds = time.perf_counter() - begun
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    options = {"episodes": 750, "horizon": HORIZON, "seed": 1}
    learned = am.rollout(game, solution, **options)
    heuristics = {name: am.rollout(game, pair, **options) for name, pair in heuristic_pairs(game, k).items()}
    best = max(heuristics, key=lambda name: heuristics[name].mean)
    return {
        "value": solution.value,
        "return": learned.mean,
        "sem": learned.sem,
        "heuristic": best,
        "heuristic_return": heuristics[best].mean,
        "heuristic_sem": heuristics[best].sem,
        "seconds": seconds,
        "updates": len(solution.history),
        "steps": sum(update.sweeps for update in solution.history),
        "memory": memory,
    }


def devices(seeds):
    names = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print("device                          zones    k   batch   gradient steps per second")
    for zones, k, batch in ((5, 20, 1024), (20, 100, 1024), (20, 100, 16384)):
        for name in names:
            rate = steps_per_second(zones, k, batch, torch.device(name))
            shown = torch.cuda.get_device_name() if name == "cuda" else name
            print(f"{shown:30s} {zones:6d} {k:4d} {batch:7d} {rate:12.1f}", flush=True)


def small(seeds):
    """Networks and tables on games that tables solve at once; seconds are those of the processor."""
    print("states (global, local)   k  seed   networks   tables   same pi_l   loss of the pair (of its value)")
    for seed in seeds:
        for number, k in enumerate((1, 2, 3, 5, 8, 12, 16, 20)):
            sizes = 2 + number % 2, 2 + number // 2 % 2
            game = am.games.random_game(num_sg=sizes[0], num_sl=sizes[1], num_ag=3, num_al=2, seed=100 * seed + number)
            found, seconds = {}, {}
            for solver in ("neural", "tabular"):
                begun = time.process_time()
                found[solver] = am.solve(game, k, solver=solver, seed=seed)
                seconds[solver] = time.process_time() - begun
            learned, exact = found["neural"], found["tabular"]
            surrogate = Surrogate.build(game, learned.pi_l, PairPlan(learned.simplex))
            loss = 1 - am.joint_value(surrogate, learned.pi_g).mean / exact.value
            print(
                f"{sizes!s:22s} {k:3d} {seed:5d} {seconds['neural']:10.1f} {seconds['tabular']:8.2f}"
                f"   {torch.equal(learned.pi_l, exact.pi_l)!s:9s}   {100 * loss:.5f} %",
                flush=True,
            )


def many_types(seeds):
    for seed in seeds:
        game = random_types(seed)
        wall, cpu = time.perf_counter(), time.process_time()
        learned = am.solve(game, 50, solver="neural", seed=seed)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        print(f"seed {seed}: {wall:.0f} s, {cpu:.0f} s of processors; {learned}")
        for name, pair in {**heuristic_pairs(game, 50), **fixed_pairs(game, 50)}.items():
            lead = am.paired_difference(game, learned, pair, episodes=EPISODES // 4, horizon=HORIZON, seed=1)
            print(f"  leads {name:22} by {lead.mean:7.3f} ({lead.low:.3f} to {lead.high:.3f})", flush=True)


def random_types(seed, number=100):
    """Random games of five local states as the types of one game, of random shares."""
    sizes = {"num_sg": 3, "num_sl": 5, "num_ag": 3, "num_al": 2, "gamma": 0.95, "n": 1000, "laziness": 0.5}
    base, *kinds = (am.games.random_game(**sizes, seed=1000 * seed + i) for i in range(number + 1))
    weights = 0.1 + torch.rand(number, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return am.with_types([(kind.P_l, kind.r_l) for kind in kinds], weights / weights.sum(), base=base)


def fixed_pairs(game, k):
    """Always the same action of the global agent, and always the same of the local agents."""
    return {
        f"always {a_g} + always {a_l}": HeuristicPair(
            f"always {a_g} + always {a_l}",
            k,
            lambda s_g, counts, a_g=a_g: one_hot(torch.full_like(s_g, a_g), game.num_ag),
            deterministic_local(torch.full((game.num_sl, game.num_sg), a_l), game.num_al),
        )
        for a_g in range(game.num_ag)
        for a_l in range(game.num_al)
    }


def steps_per_second(zones, k, batch, device):
    """Of G-LEARN against the uniform pi_l, checks and fresh pairs included; the first fit warms up."""
    game = am.games.warehouse(num_zones=zones).to(device)
    surrogate = BatchSurrogate.build(game, uniform_local(game), k)
    generator = torch.Generator(device).manual_seed(0)
    network = CountNetwork(zones, zones, zones, generator=generator)
    for _ in range(2):
        begun = time.perf_counter()
        found = fit(surrogate, network, None, Settings(batch=batch, max_steps=300), generator, phase="g_learn")
        seconds = time.perf_counter() - begun
    return found.steps / seconds


if __name__ == "__main__":
    main()
