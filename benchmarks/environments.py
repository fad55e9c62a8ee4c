"""Steps per second of the environments: python benchmarks/environments.py [--k 20] [--n 1000000] [--envs 4096]

`vector_env` of the warehouse, in short stretches, of which the best is told, by the clock and by the processor (both
cores together); then a step of `parallel_env` with 1,000 local agents, in milliseconds. `--plain` leaves the compiled
draws out. docs/environments.md holds what was printed.
"""

import argparse
import time

import numpy as np

import altmarl_torch as am
from altmarl_torch.envs import parallel_env, process, vector_env
from altmarl_torch.support.native import binomials

STRETCHES, STEPS = 100, 10


def best(step, stretches, steps):
    """The fewest seconds of a step, on the clock and of the processor."""
    found = []
    for _ in range(stretches):
        clock, processor = time.perf_counter(), time.process_time()
        for _ in range(steps):
            step()
        found.append(((time.perf_counter() - clock) / steps, (time.process_time() - processor) / steps))
    return map(min, zip(*found, strict=True))


def dispatcher_steps(game, pi_l, k, n, envs):
    """Of the vector environment under random actions."""
    venv = vector_env(game, pi_l, k, n, num_envs=envs)
    venv.reset(seed=0)
    actions = np.random.default_rng(0).integers(game.num_ag, size=envs)
    clock, processor = best(lambda: venv.step(actions), STRETCHES, STEPS)
    rate, cost = envs / clock / 1e6, processor / envs * 1e6
    print(f"vector_env, k = {k}, n = {n:,}, {envs:,} episodes: {rate:.2f} million steps a second")
    print(f"of the processor: {cost:.2f} microseconds a step")


def named_steps(game, k):
    """Of all agents by name, who do nothing."""
    env = parallel_env(game, k, 1000)
    env.reset(seed=0)
    idle = dict.fromkeys(env.agents, 0)
    clock, processor = best(lambda: env.step(idle), 10, 9)
    print(f"parallel_env, 1,001 agents: {1e3 * clock:.2f} ms a step, {1e3 * processor:.2f} of the processor")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--k", type=int, default=20)
    parser.add_argument("--n", type=int, default=10**6)
    parser.add_argument("--envs", type=int, default=4096)
    parser.add_argument("--plain", action="store_true")
    asked = parser.parse_args()
    if asked.plain:
        process.library = binomials.library = lambda: None
    game = am.games.warehouse()
    pi_l = am.solve(game, asked.k).pi_l
    dispatcher_steps(game, pi_l, asked.k, asked.n, asked.envs)
    named_steps(game, asked.k)


if __name__ == "__main__":
    main()
