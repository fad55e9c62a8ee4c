"""Run folders: unique, complete, honest JSON, and read back or refused."""

import dataclasses
import json
import math
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from altmarl_torch.alternation.solving import solve
from altmarl_torch.errors import FileFormatError
from altmarl_torch.games import steer
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import ADDED_KEYS, SUMMARY_KEYS, RunFolder, create_run, open_run, read_metrics, versions

GAME = steer()


@pytest.fixture(scope="module")
def solution():
    return solve(GAME, 2)


@pytest.fixture
def config(tmp_path):
    return TrainConfig(game="steer", k=2, solver="tabular", runs_dir=str(tmp_path / "runs"))


@pytest.fixture
def finished(config, solution):
    """A folder with all that `open_run` asks for."""
    run = create_run(config, GAME)
    for update in solution.history:
        run.append_update(update)
    run.save_policy(solution)
    run.write_summary(dict.fromkeys(SUMMARY_KEYS) | {"value": solution.value})
    return run


def strict(path):
    """JSON as the standard has it: NaN is an error."""

    def refuse(word):
        raise AssertionError(f"{path} holds {word}")

    return json.loads(path.read_text(), parse_constant=refuse)


@pytest.mark.parametrize("solver", ["tabular", "neural"])
def test_the_name_says_what_was_run(config, solver):
    name = create_run(dataclasses.replace(config, solver=solver), GAME).path.name
    assert re.fullmatch(rf"steer__{solver}__k2__seed0__\d{{8}}-\d{{6}}", name)


def test_a_games_name_cannot_leave_the_folder(config, tmp_path):
    path = create_run(config, GAME.replace(name="../a b/ü")).path
    assert path.parent == tmp_path / "runs"
    assert path.name.startswith("a-b__tabular")


def test_runs_that_start_together_get_folders_of_their_own(config):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: create_run(config, GAME).path, range(16)))
    assert len(set(paths)) == 16


def test_a_finished_run_is_read_back(config, finished, solution):
    run = open_run(finished.path)
    assert run.config == config
    assert torch.equal(run.game.P_l, GAME.P_l)
    assert torch.equal(run.solution.pi_g, solution.pi_g)
    assert torch.equal(run.solution.pi_l, solution.pi_l)
    assert run.summary["value"] == solution.value


def test_metrics_hold_one_line_per_update(finished, solution):
    lines = read_metrics(finished.path)
    assert len(lines) == len(solution.history)
    for line, update in zip(lines, solution.history, strict=True):
        told = dataclasses.asdict(update) | {"decision": update.decision.value}
        del told["seconds"]  # which no two runs share
        assert line == told


def test_a_summary_of_an_earlier_version_is_read(finished):
    file = finished.path / "summary.json"
    old = {key: value for key, value in json.loads(file.read_text()).items() if key not in ADDED_KEYS}
    file.write_text(json.dumps(old))
    summary = open_run(finished.path).summary
    assert summary == old | dict.fromkeys(ADDED_KEYS)
    file.write_text(json.dumps({key: value for key, value in old.items() if key != "value"}))
    with pytest.raises(FileFormatError, match=r"summary\.json lacks value$"):
        open_run(finished.path)


def test_json_says_null_where_a_number_is_undefined(config):
    run = create_run(config, GAME)
    run.write_summary(dict.fromkeys(SUMMARY_KEYS) | {"return_sem": math.nan, "heuristics": {"x": [math.inf, 1.0]}})
    summary = strict(run.path / "summary.json")
    assert summary["return_sem"] is None
    assert summary["heuristics"] == {"x": [None, 1.0]}


def test_the_summary_has_every_key_or_is_not_written(config):
    run = create_run(config, GAME)
    with pytest.raises(KeyError):
        run.write_summary({"k": 2})
    assert not (run.path / "summary.json").exists()


def test_writing_leaves_no_scratch_files(finished):
    expected = {"config.json", "game.npz", "metrics.jsonl", "policy.npz", "summary.json"}
    assert {path.name for path in finished.path.iterdir()} == expected


def test_a_failed_write_leaves_the_old_file(finished, monkeypatch):
    before = (finished.path / "summary.json").read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        RunFolder(finished.path).write_summary(dict.fromkeys(SUMMARY_KEYS))
    assert (finished.path / "summary.json").read_bytes() == before
    assert not list(finished.path.glob(".*"))


def test_no_folder_is_no_run(tmp_path):
    with pytest.raises(FileFormatError, match="nowhere is no run folder: there is no such directory"):
        open_run(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "game.npz", "metrics.jsonl", "policy.npz", "summary.json"])
def test_a_missing_file_is_named(finished, name):
    (finished.path / name).unlink()
    with pytest.raises(FileFormatError, match=f"lacks {re.escape(name)}"):
        open_run(finished.path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"{", r"config\.json is no JSON"),
        ("config.json", b"[]", r"config\.json holds a JSON list; expected an object"),
        ("config.json", b"\xff", r"config\.json is no UTF-8"),
        ("config.json", b'{"colour": 1}', r"config\.json: no option is called colour"),
        ("config.json", b'{"k": "two"}', r"config\.json: k must be an integer"),
        ("summary.json", b'{"k": 2}', r"summary\.json lacks game, n"),
        ("policy.npz", b"PK", r"policy\.npz"),
        ("game.npz", b"", r"game\.npz"),
    ],
)
def test_a_malformed_file_is_named(finished, name, content, message):
    (finished.path / name).write_bytes(content)
    with pytest.raises(FileFormatError, match=message):
        open_run(finished.path)


def test_a_broken_line_of_metrics_is_numbered(finished):
    number = len(read_metrics(finished.path)) + 1
    with (finished.path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 1\n')
    with pytest.raises(FileFormatError, match=rf"metrics\.jsonl, line {number} is no JSON"):
        read_metrics(finished.path)


def test_a_record_can_be_read_where_its_device_is_not(finished):
    record = strict(finished.path / "config.json") | {"device": "cuda:7", "game": "elsewhere.npz"}
    (finished.path / "config.json").write_text(json.dumps(record))
    assert open_run(finished.path).game.name == "steer"


def test_versions_name_the_three():
    assert set(versions()) == {"altmarl_torch", "torch", "python"}
