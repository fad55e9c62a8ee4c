"""Runs and sweeps of games whose reward sees the crowd: the function is in none of their files."""

import os
import shutil

import pytest
import torch
from oracles.killer import Killed, Killer

from altmarl_torch.games import ambulances
from altmarl_torch.games.game import Game
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.folder import open_run

QUICK = "--solver lifted --degree 2 --steps 1 --nested off --certify never --episodes 4 --horizon 5 --quiet"
MINE = """\
import altmarl_torch as am


def build(n=50, wanted=0.5):
    game = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, seed=3, n=n, gamma=0.5)
    return game.replace(r_g_mu=lambda s_g, a_g, mu: 1 - (mu[..., 0] - wanted * s_g.to(mu)).square())


def other():
    return build().replace(r_g=[[0, 1], [1, 0]])


def plain():
    return build().replace(r_g_mu=None)


def doubled():
    return build().replace(r_g_mu=lambda s_g, a_g, mu: 2 * mu[..., 0])
"""


@pytest.fixture(autouse=True)
def file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)


def newest():
    return max((os.path.join("runs", name) for name in os.listdir("runs")), key=os.path.getmtime)


def trained(game, *words):
    assert main(["train", "--game", game, *QUICK.split(), *words]) == 0
    return newest()


def test_a_named_game_supplies_it(capsys):
    folder = trained("ambulances", "--k", "60", "--gamma", "0.5")
    run = open_run(folder)
    assert run.game.r_g_mu is ambulances().r_g_mu
    assert run.solution.policy.r_g_mu is run.game.r_g_mu
    assert Game.load(os.path.join(folder, "game.npz")).r_g_mu is None
    capsys.readouterr()
    assert main(["evaluate", folder]) == 0
    assert f"{run.summary['return_mean']:.3f}" in capsys.readouterr().out


def test_a_function_of_one_s_own_is_told_again(capsys):
    folder = trained("mine.py:build", "--k", "40")
    for command in ("evaluate", "certify"):
        assert main([command, folder]) == 2
        assert "is in none of its files: add --game mine.py:build" in capsys.readouterr().err
    assert main(["evaluate", folder, "--game", "mine.py:build"]) == 0
    capsys.readouterr()
    for word, message in (("other", "has another r_g than the game of the run"), ("plain", "has no r_g_mu")):
        assert main(["evaluate", folder, "--game", f"mine.py:{word}"]) == 2
        assert message in capsys.readouterr().err


def test_another_function_in_its_place_is_told(caplog):
    folder = trained("mine.py:build", "--k", "40")
    assert main(["evaluate", folder, "--game", "mine.py:build"]) == 0
    assert "to the letter" not in caplog.text
    assert main(["evaluate", folder, "--game", "mine.py:doubled"]) == 0
    assert "r_g_mu of 'random' is not, to the letter, that of the run in" in caplog.text


def test_a_run_that_is_broken_off_goes_on(monkeypatch):
    whole = open_run(trained("mine.py:build", "--k", "40"), "mine.py:build").solution
    shutil.rmtree("runs")
    with monkeypatch.context() as patch:
        Killer(patch, 1)
        with pytest.raises(Killed):
            main(["train", "--game", "mine.py:build", *QUICK.split(), "--k", "40"])
    assert main(["train", "--resume", newest(), "--quiet"]) == 2
    assert main(["train", "--resume", newest(), "--quiet", "--game", "mine.py:build"]) == 0
    again = open_run(newest(), "mine.py:build").solution
    assert torch.equal(again.policy.coefficients, whole.policy.coefficients)
    assert torch.equal(again.pi_l, whole.pi_l)


def test_sweeps_are_computed_and_drawn(capsys):
    words = [*QUICK.split(), "--k", "2,30", "--seeds", "1", "--jobs", "1", "--name", "s"]
    assert main(["sweep", "--game", "mine.py:build", *words]) == 0
    assert main(["plot", os.path.join("runs", "s")]) == 0
    assert os.path.isfile(os.path.join("runs", "s", "figures", "occupation.png"))
