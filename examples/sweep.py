"""A sweep and its figure: how the return grows with the number of agents that are asked.

    python examples/sweep.py [FOLDER]

Every value of k and every seed is a process of its own; what is finished is not computed again.
"""

import sys
import tempfile
from pathlib import Path

from altmarl_torch.runs import TrainConfig
from altmarl_torch.runs.sweeps.figures import return_figure
from altmarl_torch.sweeps import Plan, run_sweep


def main(folder: str) -> None:
    """Sweep k on a small game with two seeds, print the table and draw it."""
    config = TrainConfig(game="steer", solver="tabular", episodes=100, certify="never", runs_dir=folder)
    done = run_sweep(Plan.of(config, ks=[1, 3, 8], seeds=2))
    for k in (1, 3, 8):
        print(k, done.sweep.estimate(k, lambda one: one.summary["return_mean"]))
    path = Path(folder) / "return-against-k.png"
    return_figure(done.sweep).savefig(path)
    print("drawn:", path)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())
