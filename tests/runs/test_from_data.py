"""Training from a data file: the k that is asked for is the file's."""

import json

import pytest

import altmarl_torch as am
from altmarl_torch.runs.cli.main import main


@pytest.mark.parametrize("k", [1, 7, 20])  # 20 is the default of train; typed, it is meant
def test_another_k_than_the_file_s_is_refused(tmp_path, capsys, k):
    am.collect(am.games.steer(), 2, steps=20, trajectories=2, seed=0).save(tmp_path / "data.npz")
    asked = ["train", "--from-data", str(tmp_path / "data.npz"), "--k", str(k), "--runs-dir", str(tmp_path / "runs")]
    assert main(asked) == 2
    assert f"k = {k} was asked for, but" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.5), ("n", 7)])
def test_a_configuration_that_was_edited_is_refused_by_name(tmp_path, capsys, name, value):
    """Such a run went on with the old n and gamma, and its record said the new ones."""
    words = [
        "--game",
        "steer",
        "--k",
        "2",
        "--solver",
        "tabular",
        "--episodes",
        "2",
        "--horizon",
        "2",
        "--quiet",
        "--runs-dir",
    ]
    assert main(["train", *words, str(tmp_path)]) == 0
    (run,) = tmp_path.iterdir()
    (run / "summary.json").unlink()
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {name: value}))
    capsys.readouterr()
    assert main(["train", "--resume", str(run)]) != 0
    said = capsys.readouterr().err
    assert f"config.json says {name} = {value}, but the run was begun with" in said
    assert said.count("\n") == 1
    (run / "config.json").write_text(json.dumps(config))
    assert main(["train", "--resume", str(run)]) == 0
