"""The lifted solver measured: `python benchmarks/lifted.py [warehouse|many|zones|curve|random|sharp] ...`.

Prints a table for each part; `docs/lifted.md` holds what it printed. Seconds are processor time of one thread.

    warehouse   loss of the learned pair against the exact one, k = 10, 20, 35, 50
    many        k = 1000, 10^6 and infinity: returns of n agents
    zones       10 zones at k = 50, 20 zones at k = 100: returns of n = 1000 agents
    curve       k = 1, .., 50: seconds of all trainings together, and what each k earns (Figure 3a)
    random      100 random games at k = 12: loss relative to the span of values
    sharp       a game whose value has a sharp kink
"""

import math
import resource
import sys
import time

import torch

from altmarl_torch import CountSimplex, Game, games, rollout, solve
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate


def timed(*arguments, **options):
    """A solution, and the processor seconds that it took."""
    begun = time.process_time()
    solution = solve(*arguments, **options)
    return solution, time.process_time() - begun


def exact_value(game, solution, k, tolerance):
    """The joint value of a pair, by tables."""
    plan = PairPlan(CountSimplex(k, game.num_sl))
    return joint_value(Surrogate.build(game, solution.pi_l, plan), solution.pi_g, tolerance=tolerance)


def warehouse():
    """Loss against the exact pair."""
    game = games.warehouse()
    print(
        "| k | degree | s | exact value | loss % | reported value | held-out residual |\n|---|---|---|---|---|---|---|"
    )
    for k in (10, 20, 35, 50):
        lifted, seconds = timed(game, k, solver="lifted")
        tables = solve(game, k)
        best = exact_value(game, tables, k, 2e-3).mean
        loss = 100 * (1 - exact_value(game, lifted, k, 2e-3).mean / best)
        last = details(lifted)
        told = f"{lifted.value:.3f} | {last['g_learn/held_out_residual']:.3f}"
        print(f"| {k} | {last['g_learn/degree']} | {seconds:.2f} | {best:.4f} | {loss:.4f} | {told} |", flush=True)


def details(solution):
    """Of the last response of the global agent."""
    return [update.details for update in solution.history if update.player == "global"][-1]


def many():
    """Beyond every table."""
    print("| k | degree | s | return of n agents |\n|---|---|---|---|")
    for k, n in ((50, 1000), (1000, 1000), (10**6, 10**6), (math.inf, 1000), (math.inf, 10**9)):
        game = games.warehouse(n=n)
        solution, seconds = timed(game, k, solver="lifted")
        played = rollout(game, solution, episodes=750)
        degree = details(solution)["g_learn/degree"]
        print(f"| {k} of {n} | {degree} | {seconds:.2f} | {played.mean:.2f} +- {played.sem:.2f} |", flush=True)


def zones():
    """Many local states."""
    print("| zones | k | degree | s | MB | return |\n|---|---|---|---|---|---|")
    for number, k in ((10, 50), (20, 100)):
        game = games.warehouse(num_zones=number)
        solution, seconds = timed(game, k, solver="lifted")
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        played = rollout(game, solution, episodes=750)
        degree = details(solution)["g_learn/degree"]
        told = f"{played.mean:.2f} +- {played.sem:.2f}"
        print(f"| {number} | {k} | {degree} | {seconds:.1f} | {memory:.0f} | {told} |", flush=True)


def curve():
    """Figure 3a: every k, one after another."""
    game, total, earned = games.warehouse(), 0.0, {}
    for k in range(1, 51):
        solution, seconds = timed(game, k, solver="lifted")
        total, earned[k] = total + seconds, rollout(game, solution, episodes=750).mean
    shown = " | ".join(f"{earned[k]:.1f}" for k in (1, 2, 5, 10, 20, 30, 40, 50))
    print(f"50 trainings in {total:.0f} s of one thread; return at k = 1, 2, 5, 10, 20, 30, 40, 50: {shown}")


def random():
    """Random games."""
    losses = []
    for seed in range(100):
        sizes = {"num_sg": 2 + seed % 3, "num_sl": 2 + seed % 4, "num_ag": 2 + seed % 2, "num_al": 2}
        game = games.random_game(**sizes, n=100, seed=seed)
        lifted, tables = solve(game, 12, solver="lifted"), solve(game, 12)
        value = exact_value(game, tables, 12, 1e-9)
        span = float(value.values.max() - value.values.min())
        losses.append((value.mean - exact_value(game, lifted, 12, 1e-9).mean) / span)
    worst = sorted(losses, reverse=True)[:5]
    print(f"{sum(loss <= 1e-3 for loss in losses)} of 100 lose at most 1e-3 of the span of values; worst {worst}")


def sharp():
    """The global agent earns only where all agents stand together, and guesses where."""
    for k in (20, 60):
        game = sharp_game()
        tables = solve(game, k)
        best = exact_value(game, tables, k, 1e-9)
        for degree in (2, 4, 8, 16):
            lifted = solve(game, k, solver="lifted", degree=degree)
            loss = 100 * (1 - exact_value(game, lifted, k, 1e-9).mean / best.mean)
            print(f"| {k} | {degree} | {loss:.3f} | {details(lifted)['g_learn/held_out_residual']:.4f} |", flush=True)


def sharp_game():
    """Two places; s_g = 1 pays by how many agents stand in place 0, and is left for good: a stopping problem."""
    P_g = [[[1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 1]], [[0, 0, 1], [0, 0, 1]]]
    P_l = [[[[0.98, 0.02]]] * 3, [[[0.02, 0.98]]] * 3]
    r_l = [[[0.0], [1.0], [0.0]], [[0.0], [0.0], [0.0]]]
    r_g = [[0.0, -0.5], [0.0, 0.0], [0.0, 0.0]]
    return Game(P_g=P_g, P_l=P_l, r_g=r_g, r_l=r_l, gamma=0.9, n=1000, name="stopping")


if __name__ == "__main__":
    torch.set_num_threads(1)
    parts = {part.__name__: part for part in (warehouse, many, zones, curve, random, sharp)}
    for name in sys.argv[1:] or parts:
        parts[name]()
