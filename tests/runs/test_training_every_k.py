"""A run that learns one network for every k: its folder, its table, and what is read back."""

import re

import pytest
from oracles.neural import cut_short

from altmarl_torch.errors import ArgumentError
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import open_run, read_summary
from altmarl_torch.runs.report import Console
from altmarl_torch.runs.simulated.training import train


def test_return_against_k_is_measured_and_kept(tmp_path, capsys):
    config = TrainConfig(
        game="steer", k="2:4", steps=1, episodes=20, horizon=5, certify="never", runs_dir=str(tmp_path), device="cpu"
    )
    with cut_short(), Console(quiet=True) as console:
        run = train(config, console)
    assert re.search(r"return against k.*\n.*\n +2 .*\n +3 .*\n +4 ", capsys.readouterr().out)
    assert run.folder.name.startswith("steer__neural__k2-4__seed0__")
    summary = read_summary(run.folder)
    assert list(summary["returns_by_k"]) == ["2", "3", "4"]
    assert summary["returns_by_k"]["4"] == [summary["return_mean"], summary["return_sem"]]
    again = open_run(run.folder)
    assert (again.config.fewest, again.config.k, again.solution.sizes) == (2, 4, (2, 3, 4))
    assert main(["evaluate", str(run.folder), "--episodes", "5"]) == 0


def test_a_simulator_has_one_k(tmp_path):
    config = TrainConfig(game="continuous_warehouse", k="1:3", runs_dir=str(tmp_path))
    with pytest.raises(ArgumentError, match="fewest = 1 is of tables"), Console(quiet=True) as console:
        train(config, console)
