"""A fleet from a log: a game counted from what agents did, how sure it is, and a pair of policies for it.

    python examples/fleet_from_a_log.py

The log is made here by playing a game that the rest of the script does not look at; yours comes from a file.
"""

import csv
import tempfile
from pathlib import Path

import altmarl_torch as am

COLUMNS = ("episode", "step", "sg", "ag", "sg_next", "r_g", "sl", "al", "sl_next", "r_l")


def write_log(path: Path) -> None:
    """One row per agent and step, as a fleet would write it."""
    rows = am.collect(am.games.steer(), 4, steps=400, trajectories=5, seed=7).transitions()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(zip(*(rows[name] for name in COLUMNS), strict=True))


def main() -> None:
    """Count the game, solve it, and play the pair in the game that the log came from."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "fleet.csv"
        write_log(log)
        fitted = am.estimate(log, gamma=0.8, n=100)
    print(fitted.report())
    solution = am.solve(fitted.game, k=4)
    allowed = fitted.returns(solution, draws=10, seed=0)
    print(f"promised {solution.value:.3f}; in ten games that it allows {allowed.min():.2f} to {allowed.max():.2f}")
    truth = am.rollout(am.games.steer(), solution, episodes=400, seed=1)
    print(f"earned in truth: {truth.mean:.3f} +- {truth.sem:.3f}")


if __name__ == "__main__":
    main()
