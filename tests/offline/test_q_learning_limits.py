"""Where off-policy learning could go wrong in silence: actions never tried, rewards rare, large or too large, sizes."""

import numpy as np
import pytest
import torch
from oracles.data import one_trajectory

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.offline.fitted_q import fitted_q
from altmarl_torch.offline.learning import learn_from_data, logged_policy
from altmarl_torch.offline.q_learning import q_learning
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import constant_pair
from altmarl_torch.runs.cli.main import main
from altmarl_torch.tabular import g_learn


@pytest.mark.parametrize("trajectories", [1, 3])
def test_an_action_that_was_never_tried_promises_nothing(trajectories):
    """The log repeats the action that costs 1: it is worth -1/(1-gamma), whatever the zero of the other one says."""
    game = am.Game(P_g=np.ones((1, 2, 1)), P_l=np.ones((1, 1, 1, 1)), r_g=[[-1.0, -0.1]], r_l=[[[0.0]]], gamma=0.9, n=3)
    pair = constant_pair(game, 1, (0, 0))
    data = am.collect(game, 1, behaviour=pair, steps=3000, trajectories=trajectories)
    learned = q_learning(data, step_size=0.5, oracle=torch.tensor([[[-10.0, 0.0]]]))
    assert learned.Q.flatten().tolist() == [pytest.approx(-10.0), 0.0]
    assert learned.curve[-1][1] == pytest.approx(0.0, abs=1e-9)
    solution = learn_from_data(data, step_size=0.5)
    assert solution.value == pytest.approx(-10.0)
    assert solution.pi_g.flatten().tolist() == [1.0, 0.0]


def test_a_network_learns_means_where_rewards_are_rare_and_large():
    """In s_g = 0 action 0 earns 1; action 1 leads to a win of 100 once in 50 times, half of what it is worth."""
    P_g = [[[1.0, 0.0], [0.98, 0.02]], [[1.0, 0.0], [1.0, 0.0]]]
    r_g, r_l = [[1.0, 0.0], [100.0, 100.0]], np.zeros((2, 2, 1))
    game = am.Game(P_g=P_g, P_l=np.full((2, 2, 1, 2), 0.5), r_g=r_g, r_l=r_l, gamma=0.5, n=10)
    data = am.collect(game, 2, steps=1000, trajectories=60, seed=1)
    exact = 0.5 * (0.98 * 2 + 0.02 * 101)  # V(0) = 1 / (1 - gamma), V(1) = 100 + gamma V(0)
    found = fitted_q(data, seed=1).values(data.simplex.counts)[:, 0, 1].mean()
    assert float(found) == pytest.approx(exact, abs=0.25)


def test_the_values_of_a_network_carry_their_common_offset():
    """V is about 170 in the warehouse, of which all but a few percent is common to all states."""
    game = am.games.warehouse()
    data = am.collect(game, 3, steps=500, trajectories=40, seed=1)
    Q = g_learn(Surrogate.build(game, logged_policy(data), PairPlan(data.simplex))).Q
    visits = torch.from_numpy(np.bincount(data.states[:, :-1].ravel(), minlength=Q[..., 0].numel())).double()
    found = fitted_q(data, seed=1).values(data.simplex.counts).amax(-1).T.flatten()
    bias = float((visits * (found - Q.amax(-1).flatten())).sum() / visits.sum())
    assert abs(bias) < 0.02 * float(Q.amax(-1).mean())


def test_rewards_whose_values_no_float_holds_are_refused():
    with pytest.raises(ArgumentError, match=r"so small that \(max\|r_g\| \+ max\|r_l\|\) / \(1 - gamma\) is finite"):
        one_trajectory([0, 0], r_g=1.7e308, r_l=1.7e308)
    with pytest.raises(ArgumentError, match="express the rewards in a larger unit"):
        fitted_q(one_trajectory([0, 0, 0], r_g=[1e300, 0.0]), passes=1)


def test_tables_and_networks_beyond_memory_are_refused_before_they_are_built():
    with pytest.raises(SizeError, match="pi_l would have"):
        logged_policy(one_trajectory([0, 0], num_al=2**31 - 1))
    with pytest.raises(SizeError, match="what a network answers to a batch would have"):
        fitted_q(one_trajectory([0, 0], num_sg=10**8), passes=1)
    with pytest.raises(SizeError, match="what a network reads of a batch would have"):
        fitted_q(one_trajectory([0, 0], num_sl=10**7), passes=1)


def test_data_of_another_game_leave_no_run_folder(tmp_path, capsys):
    am.collect(am.games.steer(), 2, steps=5).save(tmp_path / "data.npz")
    words = f"train --from-data {tmp_path}/data.npz --game warehouse --runs-dir {tmp_path}/r".split()
    assert main(words) == 2
    assert capsys.readouterr().err == "error: the data have num_sg = 2, the game 5\n"
    assert not (tmp_path / "r").exists()
