"""Fewer answers than k: what tables and rules read, and that a belief takes less evidence for less."""

import logging

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import hash_game, steer
from altmarl_torch.policies.answers import Answers
from altmarl_torch.policies.base import Sight
from altmarl_torch.policies.rules import heuristic_pair, table
from altmarl_torch.policies.tabular import TabularPair, uniform_local

LOGGER = "altmarl_torch.policies.answers"


def answers(k=4, num_sl=2, num_sg=3):
    return Answers(Sight(k, num_sg, num_sl, torch.device("cpu")))


def read(reader, *rows):
    return reader.read([0] * len(rows), rows)[1].tolist()


def test_silent_agents_are_taken_to_be_as_the_sample_was_a_step_ago():
    """By hand, k = 4: f_1 = (3, 1); f_2 = (0, 2) + 2 (3, 1)/4 = (1.5, 2.5), ties up for the first; f_3 = f_2."""
    reader = answers()
    assert read(reader, [3, 1]) == [[3, 1]]
    assert read(reader, [0, 2]) == [[2, 2]]
    assert read(reader, [0, 0]) == [[2, 2]]
    assert read(reader, [1, 0]) == [[2, 2]]  # (1, 0) + 3 (1.5, 2.5) / 4 = (2.125, 1.875)
    assert read(reader, [0, 4]) == [[0, 4]]
    assert read(reader, [0, 0]) == [[0, 4]]


def test_before_anything_was_seen_the_sample_is_even_and_reset_forgets():
    reader = answers()
    assert read(reader, [0, 0], [1, 0]) == [[2, 2], [3, 1]]  # (1, 0) + 3 (2, 2) / 4 = (2.5, 1.5), rounded
    read(reader, [4, 0], [4, 0])
    reader.reset()
    assert read(reader, [0, 0]) == [[2, 2]]


def test_another_number_of_systems_is_another_fleet():
    reader = answers()
    read(reader, [4, 0])
    assert read(reader, [0, 0], [0, 0]) == [[2, 2], [2, 2]]


def test_systems_do_not_mix_and_a_full_row_is_read_as_it_is():
    reader, alone = answers(), answers()
    for rows in ([[4, 0], [0, 1]], [[0, 0], [1, 3]], [[1, 1], [0, 0]]):
        both = read(reader, *rows)
        assert both[0] == read(alone, rows[0])[0]
    assert both[1] == [1, 3]


@pytest.mark.parametrize("seed", range(20))
def test_filled_counts_hold_what_was_seen_and_sum_to_k(seed):
    rng = np.random.default_rng(seed)
    k, num_sl = int(rng.integers(1, 40)), int(rng.integers(1, 7))
    reader = answers(k, num_sl)
    for _ in range(10):
        seen = rng.multinomial(rng.integers(0, k + 1, 50), np.ones(num_sl) / num_sl)
        filled = reader.read([0] * 50, seen)[1].numpy()
        assert (filled >= seen).all()
        assert (filled.sum(1) == k).all()


def test_what_was_shown_may_be_overwritten_afterwards():
    reader, shown = answers(), torch.tensor([[4, 0]])
    reader.read([0], shown)
    shown.zero_()
    assert read(reader, [0, 0]) == [[4, 0]]


@pytest.mark.parametrize("kind", ["table", "rule"])
def test_dispatchers_act_on_the_filled_sample(kind, caplog):
    game, simplex = hash_game(2, 3, 3, 2), CountSimplex(4, 3)
    rule = heuristic_pair(game, 4, "mode", "stay")
    pair = rule if kind == "rule" else TabularPair(table(game, rule.rule, simplex), uniform_local(game), simplex)
    player = pair.dispatcher()
    player.reset(2)
    with caplog.at_level(logging.WARNING, LOGGER):
        assert player.act([0, 1], [[0, 3, 1], [0, 0, 4]]).tolist() == [1, 2]
        assert not caplog.records
        assert player.act([0, 1], [[0, 0, 0], [1, 0, 0]]).tolist() == [1, 2]
        assert player.act([0, 1], [[0, 0, 4], [2, 0, 0]]).tolist() == [2, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "fewer answers than k = 4: whoever is silent is taken to be as the sample was a step ago"
    ]


def test_a_belief_that_hears_nothing_moves_by_itself_and_says_nothing(caplog):
    game = steer()
    solution = am.solve(game, 3, observation="filter")
    player = solution.dispatcher()
    player.reset(1)
    mean, strength = player._belief.predict(player.mean, player.strength, torch.tensor([1]))
    with caplog.at_level(logging.DEBUG, LOGGER):
        player.act([1], [[0, 0]])
    assert torch.equal(player.mean, mean)
    assert torch.equal(player.strength, strength)
    assert not caplog.records


def test_a_belief_takes_two_answers_of_three_for_two_agents():
    game = steer()
    few, many = (am.solve(game, k, observation="filter").dispatcher() for k in (2, 3))
    for player in (few, many):
        player.reset(1)
        player.act([0], [[2, 0]])
    assert torch.equal(few.mean, many.mean)
    assert torch.equal(few.strength, many.strength)


@pytest.mark.parametrize("observation", ["surrogate", "posterior", "filter"])
def test_more_answers_than_k_are_refused(observation):
    player = am.solve(steer(), 2, observation=observation).dispatcher()
    player.reset(1)
    with pytest.raises(am.ArgumentError, match=r"counts\[batch=0\] sums to 3; at most k = 2 sampled agents answer"):
        player.act([0], [[2, 1]])
