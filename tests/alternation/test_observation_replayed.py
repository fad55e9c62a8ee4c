"""Saved dispatchers, replayed agent by agent in numpy: what the library says of their returns is what they earn."""

import numpy as np
import pytest
import torch
from oracles.agents import simulate

import altmarl_torch as am
from altmarl_torch.games import warehouse

EPISODES, HORIZON = 1500, 25


def game():
    return warehouse(num_zones=3, n=60)


@pytest.mark.parametrize("k", [1, 3])
def test_the_corrected_table_earns_in_numpy_what_it_earns_here(k, tmp_path):
    """policy.npz is all that is read: pi_g [sg, N, ag] at the row of `counts`, pi_l [sl, sg, al]."""
    am.solve(game(), k, observation="posterior").save(tmp_path / "policy.npz")
    with np.load(tmp_path / "policy.npz", allow_pickle=False) as file:
        pi_l, pi_g, counts = file["pi_l"], file["pi_g"], file["counts"]
    place = {tuple(row): index for index, row in enumerate(counts)}

    def law(s_g, seen):
        return pi_g[s_g, [place[tuple(row)] for row in seen.astype(int)]]

    simulated = simulate(game(), law, pi_l, k=k, n=60, episodes=EPISODES, horizon=HORIZON, seed=0).returns
    here = am.rollout(game(), am.Solution.load(tmp_path / "policy.npz"), episodes=EPISODES, horizon=HORIZON, seed=1)
    assert_alike(simulated, here)


@pytest.mark.parametrize("k", [1, 3])
def test_a_memory_earns_in_numpy_through_its_public_class_what_it_earns_here(k, tmp_path):
    am.solve(game(), k, observation="filter").save(tmp_path / "policy.npz")
    solution = am.Solution.load(tmp_path / "policy.npz")
    dispatcher = solution.dispatcher(seed=0)
    dispatcher.reset(EPISODES)

    def law(s_g, seen):
        actions = dispatcher.act(torch.as_tensor(s_g), torch.as_tensor(seen.astype(np.int64)))
        return np.eye(game().num_ag)[actions.numpy()]

    simulated = simulate(game(), law, solution.pi_l.numpy(), k=k, n=60, episodes=EPISODES, horizon=HORIZON, seed=0)
    here = am.rollout(game(), solution, episodes=EPISODES, horizon=HORIZON, seed=1)
    assert_alike(simulated.returns, here)


def assert_alike(simulated, here):
    """Within four standard errors of the difference."""
    error = (simulated.var() / len(simulated) + here.sem**2) ** 0.5
    assert abs(simulated.mean() - here.mean) < 4 * error
