"""Replay: passes without end, the game counted from the data, and how far a table is from it."""

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.offline.q_learning import Polynomial, q_learning, replay_to_the_end
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.tabular import g_learn


def counted(data, sweeps=4000):
    """The fixed point of the frequencies of (x, a, x'), by plain sweeps over dense tables; 0 where nothing is tried."""
    states, width = data.num_sg * data.simplex.size, data.num_ag
    times, reward = np.zeros((states, width, states)), np.zeros((states, width))
    np.add.at(times, (data.states[:, :-1], data.a_g, data.states[:, 1:]), 1)
    np.add.at(reward, (data.states[:, :-1], data.a_g), data.rewards)
    visits, Q = times.sum(-1), np.zeros((states, width))
    for _ in range(sweeps):
        best = np.where(visits > 0, Q, -np.inf).max(-1)
        best[np.isneginf(best)] = 0.0  # never left
        Q = np.where(visits > 0, (reward + data.gamma * times @ best) / np.maximum(visits, 1), 0.0)
    return Q.reshape(data.num_sg, -1, width)


@pytest.mark.parametrize(("trajectories", "steps", "passes"), [(1, 400, 1000), (20, 20, 3000)])
def test_many_passes_tend_to_the_counted_game_however_the_data_are_cut(trajectories, steps, passes):
    """Where one trajectory meets an entry in a step, and where several do, a transition weighs the same."""
    data = am.collect(am.games.steer(), 1, steps=steps, trajectories=trajectories, seed=3)
    Q = counted(data)
    assert q_learning(data, step_size=Polynomial(0.7), passes=passes).Q.numpy() == pytest.approx(Q, abs=0.03)
    assert replay_to_the_end(data).Q.numpy() == pytest.approx(Q, abs=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_end_of_replay_is_the_counted_game(seed):
    """Also with few data: states that are never left count as 0, actions that are never tried are no choice."""
    game = am.games.random_game(
        num_sg=3, num_sl=3, num_ag=3, num_al=2, seed=seed, gamma=[0.0, 0.5, 0.9, 0.99][seed % 4]
    )
    data = am.collect(game, 2, steps=3 + 5 * seed, trajectories=1 + seed % 3, seed=seed)
    found = replay_to_the_end(data)
    Q = counted(data)
    assert found.Q.numpy() == pytest.approx(Q, abs=1e-6 * (1 + np.abs(Q).max()))
    assert np.array_equal(found.visits.numpy() > 0, Q != 0)
    assert np.abs(found.Q.numpy() - Q).max() <= found.error + 1e-9


@pytest.mark.parametrize("passes", [1, 5, 40])
@pytest.mark.parametrize("trajectories", [1, 7])
def test_a_table_says_how_far_it_is_at_most(passes, trajectories):
    data = am.collect(am.games.steer().replace(gamma=0.95), 2, steps=300, trajectories=trajectories, seed=3)
    found = q_learning(data, passes=passes)
    off = float((found.Q - replay_to_the_end(data).Q).abs().max())
    assert 0.1 * found.error < off <= found.error


def test_near_gamma_one_tables_learn_to_the_end_or_tell(caplog):
    """81.8 instead of 138.1 was reported after five passes from Q = 0, without a word."""
    game = am.games.steer().replace(gamma=0.99)
    data = am.collect(game, 2, explore=0.2, steps=2000, trajectories=20, seed=1)
    learned = am.learn_from_data(data)
    plan = PairPlan(data.simplex)
    exact = g_learn(exact_surrogate(am.offline.game_of_data(data), learned.pi_l, plan)).values
    starts = exact.flatten()[torch.from_numpy(data.states[:, 0])].mean()
    assert learned.value == pytest.approx(float(starts), rel=0.005)  # two ways to count one log
    assert learned.value == pytest.approx(138.0, abs=0.1)
    assert not caplog.records
    assert am.learn_from_data(data, passes=5).value < 0.95 * learned.value
    (record,) = caplog.records
    assert record.getMessage().startswith("Q may be 16.8 off")


def test_enough_passes_are_taken_without_a_word(caplog):
    data = am.collect(am.games.steer(), 1, steps=50, trajectories=4, seed=1)
    am.learn_from_data(data, step_size=Polynomial(0.6), passes=200)
    assert not caplog.records
