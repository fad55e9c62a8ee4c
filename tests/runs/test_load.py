"""Many runs in one folder, many points in one event file, and a folder that cannot be written."""

import json
import os
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from altmarl_torch.games import steer
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import create_run
from altmarl_torch.runs.tensorboard import Tracker

RUNS, POINTS = 200, 100_000
TRAIN = ("train", "--game", "steer", "--k", "2", "--solver", "tabular", "--quiet", "--episodes", "5", "--horizon", "3")
IN_A_PROCESS = """
    import sys
    from altmarl_torch.runs.config import TrainConfig
    from altmarl_torch.games import steer
    from altmarl_torch.runs.folder import create_run

    for _ in range(25):
        print(create_run(TrainConfig(game="steer", k=2, runs_dir=sys.argv[1]), steer(), "same").path.name)
"""


def create(folder, name=None):
    return create_run(TrainConfig(game="steer", k=2, runs_dir=str(folder)), steer(), name).path


class TestTwoHundredRuns:
    """Each has a folder of its own, whatever it is called and whoever makes it."""

    def test_by_eight_threads_at_once(self, tmp_path):
        with ThreadPoolExecutor(8) as threads:
            made = list(threads.map(lambda number: create(tmp_path, f"run-{number % 4}"), range(RUNS)))
        assert len(set(made)) == RUNS
        assert {path.name for path in made} == {path.name for path in tmp_path.iterdir()}
        assert {"run-0", "run-0-2", "run-3-50"} <= {path.name for path in made}
        for path in made:
            assert sorted(file.name for file in path.iterdir()) == ["config.json", "game.npz", "metrics.jsonl"]
            assert json.loads((path / "config.json").read_text())["game"] == "steer"

    def test_in_the_same_second_without_a_name(self, tmp_path):
        assert len({create(tmp_path) for _ in range(RUNS)}) == RUNS

    def test_by_two_processes_and_this_one(self, tmp_path):
        command = [sys.executable, "-c", textwrap.dedent(IN_A_PROCESS), str(tmp_path)]
        others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        names = [create(tmp_path, "same").name for _ in range(25)]
        for other in others:
            names += other.communicate(timeout=60)[0].split()
            assert other.returncode == 0
        assert sorted(names) == sorted(["same", *(f"same-{number}" for number in range(2, 76))])
        assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())


def test_a_hundred_thousand_points_are_written_soon_and_all_read_back(tmp_path):
    tags, begun = ("g_learn/loss", "g_learn/residual"), time.perf_counter()
    with Tracker(tmp_path, TrainConfig(), steer()) as tracker:
        for step in range(POINTS // len(tags)):
            tracker.curve(step, {tag: float(step + place) for place, tag in enumerate(tags)})
    seconds = time.perf_counter() - begun
    assert seconds < 60  # some 5 on two slow cores
    (file,) = tmp_path.iterdir()
    assert file.stat().st_size < 100 * POINTS
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0})
    events.Reload()
    for place, tag in enumerate(tags):
        points = events.Scalars(tag)
        assert [point.step for point in points] == list(range(POINTS // len(tags)))
        assert all(point.value == point.step + place for point in points)


class TestAFolderThatCannotBeWritten:
    """One line, no traceback, exit code 1."""

    def refused(self, folder, capsys):
        code = main([*TRAIN, "--runs-dir", str(folder)])
        printed = capsys.readouterr()
        assert code == 1
        assert printed.err.count("\n") == 1
        assert printed.err.startswith("error: ")
        assert "Traceback" not in printed.err + printed.out
        return printed.err

    @pytest.mark.parametrize("below", [".", "runs", "a/b"])
    def test_below_a_regular_file(self, below, tmp_path, capsys):
        """Whoever is root can write a read-only folder, but not below a file."""
        (tmp_path / "file").write_text("kept")
        assert "file" in self.refused(tmp_path / "file" / below, capsys)
        assert (tmp_path / "file").read_text() == "kept"

    @pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root ignores permissions")
    def test_a_read_only_folder(self, tmp_path, capsys):
        tmp_path.chmod(0o500)
        try:
            assert "ermission" in self.refused(tmp_path, capsys)
        finally:
            tmp_path.chmod(0o700)
        assert list(tmp_path.iterdir()) == []
