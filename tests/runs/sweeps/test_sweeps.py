"""Sweeps: what is asked, what is skipped, what survives, and that everybody computes the same."""

import csv
import dataclasses
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock
from scipy import stats

from altmarl_torch import games
from altmarl_torch.errors import ArgumentError, FileFormatError, SizeError
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import open_run
from altmarl_torch.runs.sweeps import cell, processes, workers
from altmarl_torch.runs.sweeps.processes import Process, Processes
from altmarl_torch.sweeps import Plan, numbers, open_sweep, run_sweep

WORDS = ["--game", "steer", "--episodes", "10", "--horizon", "5"]
ASKED = TrainConfig(game="steer", solver="tabular", episodes=10, horizon=5)


def sweep(runs, *words, k="1,2", seeds="2"):
    return main(["sweep", *WORDS, "--k", k, "--seeds", seeds, "--runs-dir", str(runs), *words])


def plan_in(runs, ks=(1, 2), seeds=2, **changes):
    return Plan.of(dataclasses.replace(ASKED, runs_dir=str(runs), **changes), ks, seeds)


def in_this_process(values, cwd, processes):
    """Stands for `workers.run_cell` where a process of its own would only cost time."""
    one = cell.Cell(TrainConfig.from_dict(values))
    one.log.parent.mkdir(exist_ok=True)
    cell.compute(one)
    return workers.Outcome(one.name, "finished")


RUN_CELL = workers.run_cell


def one_is_killed(values, cwd, processes):
    """The cell of k = 2 and seed 1 loses its process as soon as it has one."""
    if (values["k"], values["seed"]) == (2, 1) and not Path(values["runs_dir"], "results.csv").exists():
        processes.running.add(process := Process(cwd, 1))
        processes.idle.append(process)
        threading.Thread(target=kill_the_cell, args=[process]).start()
        return RUN_CELL(values, cwd, processes)
    return in_this_process(values, cwd, processes)


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(workers, "run_cell", in_this_process)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """The folder of a sweep that nothing happened to, computed by processes."""
    runs = tmp_path_factory.mktemp("runs")
    assert sweep(runs) == 0
    return runs / "sweep__steer__tabular__episodes-10__horizon-5"


def rows(folder):
    with (folder / "results.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def of_seed_0(folder):
    """The table of a sweep without the other seeds."""
    head, *lines = (folder / "results.csv").read_bytes().splitlines(keepends=True)
    wanted = [line for line, row in zip(lines, rows(folder), strict=True) if row["seed"] == "0"]
    assert len(wanted) == 2
    return b"".join([head, *wanted])


class TestNumbers:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("7", [7]),
            ("1,10,20", [1, 10, 20]),
            ("1:4", [1, 2, 3, 4]),
            ("10:50:20", [10, 30, 50]),
            ("1,5:7,20:30:5", [1, 5, 6, 7, 20, 25, 30]),
            ("3:3", [3]),
        ],
    )
    def test_lists_and_inclusive_ranges(self, text, expected):
        assert numbers(text) == expected

    @pytest.mark.parametrize("text", ["", ",", "a", "1:", ":3", "5:1", "1:5:0", "1:9:-2", "1:2:3:4", "1.5", "1;2"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(ArgumentError, match="no list of whole numbers like"):
            numbers(text)

    def test_more_than_anybody_wants_is_refused_before_it_is_listed(self):
        with pytest.raises(ArgumentError, match="more than 100,000 numbers"):
            numbers("1:1000000000000")


class TestPlan:
    def test_cells_differ_in_k_and_seed_alone(self, tmp_path):
        plan = Plan.of(dataclasses.replace(ASKED, runs_dir=str(tmp_path), seed=4), [2, 1], 3)
        assert [(one.config.k, one.config.seed) for one in plan.cells()] == [(k, s) for k in (1, 2) for s in (4, 5, 6)]
        assert len({dataclasses.replace(one.config, k=1, seed=0) for one in plan.cells()}) == 1

    def test_the_folder_says_what_is_asked(self, tmp_path):
        assert plan_in(tmp_path).folder.name == "sweep__steer__tabular__episodes-10__horizon-5"
        code = TrainConfig(solver="tabular", preset="code", episodes=50, starts=3)
        assert Plan.of(code, [1], 1).folder == Path("runs/sweep__warehouse__tabular__preset-code__starts-3")
        assert Plan.of(code, [1], 1, "mine").folder == Path("runs/mine")

    def test_what_only_a_function_knows_of_its_game_is_said_as_for_tables(self):
        plan = Plan.of(dataclasses.replace(ASKED, game="mine.py:build", objective=None, observation=None), [1], 1)
        assert (plan.config.objective, plan.config.observation) == ("team", "surrogate")
        assert not {"objective", "observation"} & set(re.findall("[a-z]+", plan.folder.name))

    @pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a"])
    def test_a_name_is_no_path(self, name):
        with pytest.raises(ArgumentError, match="name of a folder"):
            Plan.of(ASKED, [1], 1, name)

    @pytest.mark.parametrize(("ks", "seeds"), [([], 1), ([1, 1], 1), ([1], [3, 3])])
    def test_nothing_and_twice_the_same_are_refused(self, ks, seeds):
        with pytest.raises(ArgumentError, match="different whole numbers"):
            Plan.of(ASKED, ks, seeds)

    def test_what_no_cell_could_compute_is_refused_before_any_is_begun(self, tmp_path):
        with pytest.raises(SizeError, match="k = 900"):
            run_sweep(Plan.of(TrainConfig(solver="tabular", runs_dir=str(tmp_path)), [1, 900], 1))
        assert not list(tmp_path.iterdir())

    def test_its_record_is_read_back(self, tmp_path):
        plan = plan_in(tmp_path)
        plan.folder.mkdir()
        plan.save()
        assert Plan.load(plan.folder) == plan

    @pytest.mark.parametrize(
        "change",
        [
            {"format": "other"},
            {"version": 2},
            {"k": [1, "2"]},
            {"k": []},
            {"k": None},
            {"seeds": [-1]},
            {"seeds": 2},
            {"config": {"game": 3}},
            {"config": {"gaem": "steer"}},
            {"config": []},
        ],
    )
    def test_a_malformed_record_is_an_error_that_names_it(self, tmp_path, change):
        plan = plan_in(tmp_path)
        plan.folder.mkdir()
        plan.save()
        file = plan.folder / "sweep.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with pytest.raises(FileFormatError, match=r"sweep\.json"):
            Plan.load(plan.folder)


class TestResults:
    def test_every_cell_is_a_run_folder(self, unbroken):
        for one in open_sweep(unbroken).finished:
            run = open_run(one.cell.folder)
            assert (run.config.k, run.config.seed) == (run.summary["k"], run.summary["seed"])

    def test_the_table_is_tidy(self, unbroken):
        table = rows(unbroken)
        assert [(row["k"], row["seed"]) for row in table] == [(k, s) for k in "12" for s in "01"]
        for row, one in zip(table, open_sweep(unbroken).finished, strict=True):
            assert float(row["return_mean"]) == one.summary["return_mean"]
            assert float(row["return_hold_walk"]) == one.summary["heuristics"]["hold + walk"]["return_mean"]

    def test_a_sweep_read_back_gives_the_same_table_and_summary_to_other_tools(self, unbroken):
        found = open_sweep(unbroken)
        columns, table = found.to_columns(), rows(unbroken)
        assert list(columns) == list(table[0])
        for name, column in columns.items():
            assert [row[name] for row in table] == ["" if value is None else str(value) for value in column]
        assert json.loads(json.dumps(found.to_dict())) == json.loads((unbroken / "summary.json").read_text())
        assert "4 of 4 cells" in found._repr_html_()

    def test_the_summary_has_students_intervals_over_seeds(self, unbroken):
        summary = json.loads((unbroken / "summary.json").read_text())
        assert "Student's t interval over seeds, 95%" in summary["interval"]
        assert summary["cells"] == {"asked": 4, "finished": 4, "missing": []}
        for at in summary["by_k"]:
            returns = [float(row["return_mean"]) for row in rows(unbroken) if row["k"] == str(at["k"])]
            low, high = stats.t.interval(0.95, len(returns) - 1, sum(returns) / 2, stats.sem(returns))
            assert at["return_mean"] == pytest.approx({"mean": sum(returns) / 2, "low": low, "high": high})
            assert at["seeds"] == [0, 1]
            assert at["peak_memory_bytes"] > 50 * 2**20
            assert 0 < at["learning_seconds"]["median"] < at["wall_seconds"]["most"]

    def test_episodes_are_common_to_all_k(self, unbroken):
        for seed in "01":
            holds = {row["return_hold_walk"] for row in rows(unbroken) if row["seed"] == seed}
            assert len(holds) == 1  # "hold" looks at no sample, so that k makes no difference

    def test_one_seed_has_no_interval(self, tmp_path, here, capsys):
        assert sweep(tmp_path, k="2", seeds="1") == 0
        found = open_sweep(tmp_path / "sweep__steer__tabular__episodes-10__horizon-5")
        only = found.estimate(2, lambda one: one.summary["return_mean"])
        assert only.low == only.mean == only.high
        assert found.estimate(2, lambda one: None) is None

    def test_a_certificate_that_is_made_later_appears_in_the_table(self, tmp_path, here):
        assert sweep(tmp_path, "--certify", "never", k="2", seeds="1") == 0
        (folder,) = tmp_path.iterdir()
        assert rows(folder)[0]["nash_gap"] == ""
        assert main(["certify", str(folder / "k0002__seed0000")]) == 0
        assert sweep(tmp_path, "--certify", "never", k="2", seeds="1") == 0
        assert float(rows(folder)[0]["nash_gap"]) >= 0


def heed_ctrl_c():
    """Tests that are started in the background inherit that SIGINT is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class TestGoingOn:
    def test_finished_cells_are_skipped_and_a_sweep_grows(self, tmp_path, here, unbroken, capsys):
        assert sweep(tmp_path, k="1", seeds="1") == 0
        (folder,) = tmp_path.iterdir()
        before = (folder / "k0001__seed0000" / "summary.json").stat().st_mtime_ns
        assert sweep(tmp_path) == 0
        assert "skipped      1 cells" in capsys.readouterr().out
        assert (folder / "k0001__seed0000" / "summary.json").stat().st_mtime_ns == before
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()
        assert sweep(tmp_path, k="2", seeds="1") == 0  # asks for less: nothing is lost
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()

    def test_half_a_cell_is_done_again(self, tmp_path, here, unbroken):
        assert sweep(tmp_path) == 0
        (folder,) = tmp_path.iterdir()
        (folder / "k0002__seed0001" / "summary.json").unlink()
        (folder / "k0002__seed0001" / "metrics.jsonl").write_text("half a li")
        assert sweep(tmp_path) == 0
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()

    def test_another_experiment_under_the_same_name_is_refused(self, tmp_path, here, capsys):
        assert sweep(tmp_path, "--name", "mine", k="1", seeds="1") == 0
        assert sweep(tmp_path, "--name", "mine", "--gamma", "0.5", k="1", seeds="1") == 2
        assert "is a sweep with gamma = None (asked: 0.5)" in capsys.readouterr().err

    def test_two_at_once_are_refused(self, tmp_path, capsys):
        folder = plan_in(tmp_path).folder
        folder.mkdir()
        with FileLock(folder / ".lock"):
            assert sweep(tmp_path) == 2
        assert "is being computed by another process" in capsys.readouterr().err

    def test_kill_9_in_the_middle_and_a_second_call_give_the_same_table(self, tmp_path, here, unbroken):
        command = [sys.executable, "-m", "altmarl_torch", "sweep", *WORDS, "--k", "1,2", "--seeds", "2"]
        first = subprocess.Popen([*command, "--runs-dir", str(tmp_path)], stderr=subprocess.DEVNULL)
        wait_for(lambda: list(tmp_path.glob("*/k*/summary.json")))
        children = psutil.Process(first.pid).children(recursive=True)
        first.kill()
        first.wait()
        wait_for(lambda: not any(alive(child) for child in children))  # orphans end by themselves
        assert len(list(tmp_path.glob("*/k*/summary.json"))) < 4
        assert sweep(tmp_path) == 0
        (folder,) = tmp_path.iterdir()
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()

    def test_a_killed_worker_costs_its_cell_alone(self, tmp_path, here, unbroken, capsys, monkeypatch):
        monkeypatch.setattr(workers, "run_cell", one_is_killed)
        assert sweep(tmp_path, "--jobs", "1") == 1
        text = capsys.readouterr().out
        assert "k0002__seed0001  killed: its process was ended by SIGKILL (out of memory?)" in text
        (folder,) = tmp_path.iterdir()
        assert json.loads((folder / "summary.json").read_text())["cells"]["missing"] == ["k0002__seed0001"]
        assert len(rows(folder)) == 3
        assert sweep(tmp_path) == 0  # by itself: whoever is killed did nothing wrong
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()

    @pytest.mark.parametrize("interrupt", [os.kill, os.killpg], ids=["alone", "as a terminal does"])
    def test_ctrl_c_leaves_a_table_of_what_is_finished_and_nobody_running(self, tmp_path, interrupt):
        command = [sys.executable, "-m", "altmarl_torch", "sweep", *WORDS, "--k", "1,2", "--seeds", "8"]  # many
        command += ["--runs-dir", str(tmp_path)]
        started = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heed_ctrl_c
        )
        wait_for(lambda: list(tmp_path.glob("*/k*/summary.json")))
        children = psutil.Process(started.pid).children(recursive=True)
        interrupt(started.pid, signal.SIGINT)
        _, errors = started.communicate(timeout=120)  # a guard against hanging, on busy machines too
        assert started.returncode == 130
        assert "the same command goes on" in errors
        assert "Traceback" not in errors
        wait_for(lambda: not any(alive(child) for child in children))
        (folder,) = tmp_path.iterdir()
        assert 1 <= len(rows(folder)) < 16


class TestProcesses:
    """Many cells in the forks of one process, and what dies alone."""

    @pytest.fixture
    def questions(self, tmp_path):
        plan = plan_in(tmp_path)
        plan.folder.mkdir()
        return [json.dumps(one.config.as_dict()) for one in plan.cells()]

    @pytest.fixture
    def process(self, tmp_path):
        process = Process(str(tmp_path), 1)
        yield process
        process.end()

    def test_a_cell_that_dies_costs_itself_alone(self, process, questions):
        killer = threading.Thread(target=kill_the_cell, args=[process])
        killer.start()
        assert process.ask(questions[0]) == (None, -signal.SIGKILL)
        killer.join()
        assert process.ready
        assert process.ask(questions[0]) == ({"state": "finished"}, 0)
        assert process.ask(questions[1]) == ({"state": "finished"}, 0)
        assert process.popen.poll() is None

    def test_cells_of_several_threads_are_forks_too(self, tmp_path, questions):
        """OpenBLAS has threads as soon as it is loaded."""
        process = Process(str(tmp_path), 3)
        try:
            assert process.ask(questions[0]) == ({"state": "finished"}, 0)
            assert process.ask(questions[0]) == ({"state": "finished"}, 0)
        finally:
            process.end()

    def test_one_that_dies_is_replaced(self, tmp_path, questions):
        with Processes(1) as several:
            assert several.ask(str(tmp_path), questions[0]) == ({"state": "finished"}, 0)
            (first,) = several.idle
            first.popen.kill()
            first.popen.wait()
            assert several.ask(str(tmp_path), questions[1]) == (None, -signal.SIGKILL)
            assert several.ask(str(tmp_path), questions[1]) == ({"state": "finished"}, 0)
            (second,) = several.idle
        assert second is not first
        assert second.popen.poll() is not None

    def test_whoever_hangs_up_leaves_no_cell_running(self, process, questions):
        asking = threading.Thread(target=process.ask, args=[questions[0]])
        asking.start()
        one = cell_of(process)
        process.end()
        asking.join()
        wait_for(lambda: not alive(one))  # its files are closed a moment before it is gone

    def test_nothing_that_an_earlier_cell_did_is_left_in_a_later_one(self, process, questions, tmp_path, unbroken):
        for question in reversed(questions):
            assert process.ask(question) == ({"state": "finished"}, 0)
        (folder,) = tmp_path.iterdir()
        for file in ("metrics.jsonl", "policy.npz", "config.json"):
            for one in folder.glob(f"k*/{file}"):
                there = (unbroken / one.relative_to(folder)).read_bytes().replace(bytes(unbroken), bytes(folder))
                assert one.read_bytes() == there

    def test_without_forks_each_cell_has_a_process_that_computes_it_alone(self, tmp_path, monkeypatch, unbroken):
        words = f"from {cell.__name__} import main; import sys; sys.modules[main.__module__].FORKS = False; main()"
        monkeypatch.setattr(processes, "COMMAND", [sys.executable, "-c", words])
        assert sweep(tmp_path, seeds="1") == 0
        (folder,) = tmp_path.iterdir()
        assert (folder / "results.csv").read_bytes() == of_seed_0(unbroken)


class TestFailures:
    def test_a_failed_cell_is_listed_and_retried_on_request(self, tmp_path, capsys, monkeypatch):
        game = tmp_path / "my.npz"
        words = ["sweep", "--game", str(game), "--k", "2", "--seeds", "1", "--runs-dir", str(tmp_path / "runs")]
        words += ["--episodes", "10", "--horizon", "5"]
        games.steer().save(game)
        build = TrainConfig.build_game
        monkeypatch.setattr(TrainConfig, "build_game", lambda self: build(dataclasses.replace(self, game="steer")))
        game.write_text("no game")  # the parent does not look; the cells do
        assert main(words) == 1
        assert "k0002__seed0000  failed: FileFormatError: " in capsys.readouterr().out
        (folder,) = (tmp_path / "runs").iterdir()
        assert json.loads((folder / "failures" / "k0002__seed0000.json").read_text())["kind"] == "FileFormatError"
        games.steer().save(game)
        assert main(words) == 1  # would fail again, for all it knows
        assert main([*words, "--retry-failed"]) == 0
        assert len(rows(folder)) == 1
        assert not list((folder / "failures").iterdir())

    def test_a_bug_leaves_its_traceback_in_the_log(self, tmp_path, monkeypatch):
        plan = plan_in(tmp_path, ks=(1,), seeds=1)
        plan.folder.mkdir()
        one = plan.cell(1, 0)
        monkeypatch.setattr(cell, "train", lambda *arguments, **named: 1 / 0)
        monkeypatch.setattr(cell, "_print_to", lambda log: monkeypatch.setattr(sys, "stderr", log))
        answer = cell._answer(one)
        assert (answer["state"], answer["kind"]) == ("failed", "ZeroDivisionError")
        assert "ZeroDivisionError" in one.log.read_text()

    def test_a_full_disk_is_one_line_and_what_is_there_stays(self, tmp_path, here, unbroken, capsys):
        assert sweep(tmp_path) == 0
        (folder,) = tmp_path.iterdir()
        capsys.readouterr()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        try:
            code = sweep(tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert code == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {folder}")
        assert line.endswith("File too large")
        assert (folder / "results.csv").read_bytes() == (unbroken / "results.csv").read_bytes()
        assert not list(folder.glob(".*.tmp"))

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--k", "1:x"], "no list of whole numbers"),
            (["--k", "0"], "k must be an integer at least 1, not 0"),
            (["--k", "1,200"], r"k must be an integer in 1\.\.100, not 200"),
            (["--seeds", "0"], "seeds must be an integer in 1..100000, not 0"),
            (["--seeds", "many"], "invalid int value"),
            (["--jobs", "0"], "jobs must be an integer at least 1, not 0"),
            (["--game", "steeer"], "did you mean 'steer'"),
            (["--preset", "code"], "preset must be paper for game 'steer'"),
            (["--address", "here:1"], "address is of a cluster"),
            (["--backend", "slurm"], "invalid choice: 'slurm'"),
            (["--name", "a/b"], "name must be the name of a folder"),
        ],
    )
    def test_malformed_requests_are_one_line_and_exit_code_2(self, tmp_path, capsys, words, message):
        given = ["sweep", *WORDS, "--k", "1", "--seeds", "1", "--runs-dir", str(tmp_path / "runs"), *words]
        assert main(given) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: ")
        assert re.search(message, line), line
        assert not (tmp_path / "runs").exists()


class TestClusters:
    @pytest.mark.parametrize("backend", ["ray", "dask"])
    def test_two_local_workers_give_the_same_table(self, tmp_path, unbroken, backend):
        pytest.importorskip(backend)
        assert sweep(tmp_path, "--backend", backend, "--jobs", "2", seeds="1") == 0
        (folder,) = tmp_path.iterdir()
        assert (folder / "results.csv").read_bytes() == of_seed_0(unbroken)

    @pytest.mark.parametrize(("backend", "scheme"), [("ray", ""), ("dask", "tcp://")])
    def test_a_cluster_that_does_not_answer_is_one_line(self, tmp_path, capsys, backend, scheme):
        pytest.importorskip(backend)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"{scheme}127.0.0.1:{free.getsockname()[1]}"
        assert sweep(tmp_path, "--backend", backend, "--address", address) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line == f"error: no {backend.capitalize()} cluster at {address}: Connection refused"

    def test_a_backend_that_is_not_installed_names_its_extra(self, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(workers.importlib.util, "find_spec", lambda name: None)
        assert sweep(tmp_path, "--backend", "ray") == 2
        assert "pip install 'altmarl-torch[ray]'" in capsys.readouterr().err

    def test_a_worker_that_sees_no_folder_says_so(self, tmp_path):
        one = plan_in(tmp_path / "elsewhere").cell(1, 0)
        outcome = workers.run_cell(one.config.as_dict(), os.getcwd(), Processes(1))
        assert outcome.state == "killed"
        assert "must be on a file system that all workers share" in outcome.message


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)
    return found


def cell_of(process):
    """The fork that computes a cell, as soon as there is one."""
    (one,) = wait_for(psutil.Process(process.popen.pid).children)
    return one


def kill_the_cell(process):
    cell_of(process).kill()


def alive(process):
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
