"""Training from a data file: the k that is asked for is the file's."""

import pytest

import altmarl_torch as am
from altmarl_torch.runs.cli.main import main


@pytest.mark.parametrize("k", [1, 7])
def test_another_k_than_the_file_s_is_refused(tmp_path, capsys, k):
    am.collect(am.games.steer(), 2, steps=20, trajectories=2, seed=0).save(tmp_path / "data.npz")
    asked = ["train", "--from-data", str(tmp_path / "data.npz"), "--k", str(k), "--runs-dir", str(tmp_path / "runs")]
    assert main(asked) == 2
    assert f"k = {k} was asked for, but" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
