"""The surrogate written out: its values are ours for QuantEcon and Storm, and its file is read back to the bit."""

import dataclasses

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies import uniform_local

TOYS = ["steer", "ware", "hash", "beacon"]


def ours(game, k):
    """The optimal values `[s]` and the error that is proved."""
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(k, game.num_sl)))
    found = g_learn(surrogate)
    return found.Q.amax(-1).flatten().numpy(), found.error


def storm_values(mdp, path):
    """Storm's optimal values, and the error that its stopping rule allows."""
    stormpy = pytest.importorskip("stormpy")
    mdp.to_drn(path)
    rule = stormpy.parse_properties(f'R{{"r"}}max=? [ Cdiscount={mdp.gamma!r} ]')[0]
    checked = stormpy.model_checking(stormpy.build_model_from_drn(str(path)), rule, only_initial_states=False)
    values = np.array(checked.get_value_vector())
    return values, 1e-6 * np.abs(values).max() * mdp.gamma / (1 - mdp.gamma)


@pytest.mark.parametrize("name", TOYS)
@pytest.mark.parametrize("k", [1, 3])
def test_the_arrays_are_the_surrogate(name, k):
    game = am.games.make(name)
    mdp = am.surrogate_mdp(game, uniform_local(game), k)
    values, error = ours(game, k)
    backed_up = (mdp.r + mdp.gamma * mdp.P @ values).max(-1)
    assert np.abs(backed_up - values).max() <= 2 * error + 1e-9
    assert abs(mdp.initial.sum() - 1) < 1e-12


@pytest.mark.parametrize("name", TOYS)
def test_a_file_holds_every_bit(name, tmp_path):
    game = am.games.make(name)
    mdp = am.surrogate_mdp(game, uniform_local(game), 3)
    mdp.to_drn(tmp_path / "game.drn")
    read = am.ExplicitMDP.from_drn(tmp_path / "game.drn")
    assert np.array_equal(read.P, mdp.P)
    assert np.array_equal(read.r, mdp.r)
    assert read.gamma == mdp.gamma


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("@type: MDP", "@type: DTMC", "line 2"),
        ("\t\t1 : ", "\t\t99 : ", "line 1[0-9]"),
        ("\t\t1 : ", "\t\t1 ; ", "line 1[0-9]"),
        ("state 1 ", "state 5 ", "state 5"),
        ("@nr_states\n4", "@nr_states\n7", "4 states of 7"),
        ("// gamma: 0.8\n", "", "gamma"),
        ("\t\t1 : 0.", "\t\t1 : 0.9", "sums to"),
    ],
)
def test_a_malformed_file_is_refused_by_line(old, new, told, tmp_path):
    path = tmp_path / "game.drn"
    game = am.games.steer(gamma=0.8)
    am.surrogate_mdp(game, uniform_local(game), 1).to_drn(path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(am.FileFormatError, match=told):
        am.ExplicitMDP.from_drn(path)


def test_arrays_that_do_not_fit_and_games_too_large_are_refused():
    with pytest.raises(am.GameError, match="do not fit"):
        am.ExplicitMDP(np.ones((2, 1, 2)) / 2, np.zeros((2, 3)), 0.9)
    with pytest.raises(am.SizeError, match="use a smaller k"):
        am.surrogate_mdp(am.games.warehouse(), uniform_local(am.games.warehouse()), 30)


@pytest.mark.parametrize("name", [*TOYS, "warehouse"])
@pytest.mark.parametrize("k", [3, 5])
def test_quantecon_finds_our_values(name, k):
    markov = pytest.importorskip("quantecon.markov")
    game = am.games.make(name)
    mdp = am.surrogate_mdp(game, uniform_local(game), k)
    values, error = ours(game, k)
    found = markov.DiscreteDP(mdp.r, mdp.P, mdp.gamma).solve(method="policy_iteration").v
    assert np.abs(found - values).max() <= error + 1e-9


@pytest.mark.parametrize("name", [*TOYS, "warehouse"])
@pytest.mark.parametrize("k", [3, 5])
def test_storm_confirms_our_values_and_notices_one_changed_row(name, k, tmp_path):
    game = am.games.make(name)
    mdp = am.surrogate_mdp(game, uniform_local(game), k)
    values, error = ours(game, k)
    found, its = storm_values(mdp, tmp_path / "game.drn")
    assert np.abs(found - values).max() <= error + its
    best = (mdp.r + mdp.gamma * mdp.P @ values).argmax(-1)
    mean, law = mdp.P @ values, np.arange(len(best))
    state = int((mean[law, best] - values.min()).argmax())
    P = mdp.P.copy()
    P[state, best[state]] *= 1 - 1e-3
    P[state, best[state], values.argmin()] += 1e-3
    other, its = storm_values(dataclasses.replace(mdp, P=P), tmp_path / "other.drn")
    assert np.abs(other - values).max() > error + its


def test_a_device_and_a_policy_of_its_own():
    game = am.games.steer()
    with pytest.raises(am.PolicyError):
        am.surrogate_mdp(game, torch.ones(2, 2, 3), 2)
