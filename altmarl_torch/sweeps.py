"""Experiments: one game, many sample sizes and seeds, on one machine or a cluster; their figures.

    from altmarl_torch.runs import TrainConfig
    from altmarl_torch.sweeps import Plan, run_sweep

    run = run_sweep(Plan.of(TrainConfig(solver="tabular", episodes=50), ks=[1, 10, 20], seeds=3))
    run.sweep.estimate(20, lambda one: one.summary["return_mean"])

On the command line: `altmarl sweep` and `altmarl plot`; `docs/sweeps.md` explains both.
"""

from altmarl_torch.runs.sweeps.plan import Cell, Plan
from altmarl_torch.runs.sweeps.results import Finished, Sweep, open_sweep
from altmarl_torch.runs.sweeps.running import SweepRun, run_sweep
from altmarl_torch.runs.sweeps.words import numbers
from altmarl_torch.runs.sweeps.workers import Outcome

__all__ = ["Cell", "Finished", "Outcome", "Plan", "Sweep", "SweepRun", "numbers", "open_sweep", "run_sweep"]
