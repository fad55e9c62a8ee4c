"""The figures of docs/types.md: the warehouse with fast and slow robots, of five zones and of three.

    python benchmarks/two_speeds.py

One row per pair: its seconds on one core, how many counts its tables have, the return of n = 1000 robots over 100
steps (3000 episodes), and the discounted local reward per robot of each type, all with standard errors.
"""

import time

import altmarl_torch as am
from altmarl_torch.policies.base import PolicyPair
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.support.threads import one_thread

EPISODES = 3000


def row(game: am.Game, pair: PolicyPair, name: str, seconds: float = 0.0, counts: str = "") -> None:
    found = am.rollout(game, pair, episodes=EPISODES)
    assert found.types is not None
    numbers = [(found.mean, found.sem), *zip(found.types.mean.tolist(), found.types.sem.tolist(), strict=True)]
    cells = [f"{name:<26}", f"{counts:>8}", f"{seconds:7.1f}", *(f"{mean:7.2f} +- {sem:.2f}" for mean, sem in numbers)]
    print(" | ".join(cells), flush=True)


def learned(game: am.Game, k: int, solver: str, observation: str = "surrogate") -> None:
    began = time.perf_counter()
    with one_thread():
        solution = am.solve(game, k, solver=solver, observation=observation)
    counts = f"{solution.simplex.size:,}" if solver == "tabular" else "-"
    row(game, solution, f"{solver}, {observation}, k = {k}", time.perf_counter() - began, counts)


def five_zones() -> None:
    game = am.games.two_speed_warehouse(num_zones=5)
    row(game, heuristic_pair(game, 10, "hold", "walk"), "hold + walk")
    for k in (10, 20):
        row(game, heuristic_pair(game, k, "sticky", "walk"), f"sticky + walk, k = {k}")
    for k in (5, 8, 10):
        learned(game, k, "tabular")
    for k in (1, 10):
        learned(game, k, "tabular", "filter")
    learned(game, 20, "neural")


def three_zones() -> None:
    for speed, share in [(1.0, 0.5), (0.5, 0.5), (0.25, 0.1), (0.25, 0.5), (0.25, 0.9), (0.0, 0.5)]:
        print(f"speed {speed:g}, share {share:g}")
        learned(am.games.two_speed_warehouse(speed, share), 10, "tabular")


def equal_speeds() -> None:
    plain, typed = am.games.warehouse(num_zones=5), am.games.two_speed_warehouse(speed=1.0, num_zones=5)
    print("equal speeds, k = 5:", *(f"{am.solve(game, 5).value:.9f}" for game in (plain, typed)))


if __name__ == "__main__":
    print(" | ".join(["pair", "counts", "seconds", "return", "fast", "slow"]))
    five_zones()
    three_zones()
    equal_speeds()
