"""A run that would stay at a symmetric start: the game of two meeting points, whose values are worked out by hand.

s_g' = a_g and s_l' = a_l, and an agent earns 1 where it is in the state of the coordinator. Uniform policies meet half
of the time whatever the other side does alone: an equilibrium of unilateral changes, worth 1/2 / (1 - gamma) = 5 at
gamma = 0.9. Both could agree on a place: 1/2 at the start and 1 from then on, 1/2 + gamma / (1 - gamma) = 9.5.
"""

import logging

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation import solving, starts

STAYED, MET = 5.0, 9.5


def meeting(gamma=0.9):
    eye = torch.eye(2, dtype=torch.float64)
    tables = {"P_g": eye.expand(2, 2, 2), "P_l": eye.expand(2, 2, 2, 2), "r_g": torch.zeros(2, 2)}
    return am.Game(**tables, r_l=eye.unsqueeze(-1).expand(2, 2, 2), gamma=gamma, n=100)


@pytest.mark.parametrize("solver", ["tabular", "lifted"])
@pytest.mark.parametrize("k", [1, 3])
def test_a_symmetric_start_is_left(solver, k, caplog):
    caplog.set_level(logging.INFO)
    told = []
    solution = am.solve(meeting(), k, solver=solver, callback=told.append)
    assert solution.value == pytest.approx(MET)
    assert "from the uniform start nothing is gained, at 5; the start 'walk' won with the value 9.5" in caplog.text
    names, values = zip(*((choice.name, choice.value) for choice in solution.selection.choices), strict=True)
    assert sorted(names) == ["from greedy", "from random 1", "from uniform", "from walk"]
    assert (names[0], names[-1]) == ("from walk", "from uniform")  # the best first
    assert list(values) == sorted(values, reverse=True)
    assert told == list(solution.history)
    assert [update.details.get("restart/start") for update in told] == [None, None, "walk", "walk", "walk"]


def meeting_by_chance():
    """As `meeting`, but the coordinator arrives with the chance 0.9, an agent with 0.8: they meet with 0.74."""
    game, eye = meeting(), torch.eye(2, dtype=torch.float64)
    P_g, P_l = (chance * eye + (1 - chance) * (1 - eye) for chance in (0.9, 0.8))
    return game.replace(P_g=P_g.expand(2, 2, 2), P_l=P_l.expand(2, 2, 2, 2))


@pytest.mark.parametrize("k", [1, 2, 20])
@pytest.mark.parametrize("solver", ["tabular", "lifted", "neural", "auto"])
def test_no_solver_stays_where_unilateral_changes_gain_nothing(solver, k):
    """1/2 + 9 (0.9 0.8 + 0.1 0.2) = 7.16 in place of 5."""
    game = meeting_by_chance()
    assert am.solve(game, k, solver=solver).value == pytest.approx(7.16, rel=1e-6)
    assert am.solve(game, k, solver=solver, nested="off").value == pytest.approx(STAYED, rel=1e-6)


@pytest.mark.parametrize("options", [{"nested": "off"}, {"eta": "paper"}, {"accept": "all-states"}], ids=str)
def test_the_printed_algorithm_stays(options):
    solution = am.solve(meeting(), 3, **options)
    assert solution.value == pytest.approx(STAYED)
    assert solution.selection is None


def test_a_network_of_ones_own_begins_again():
    network = am.neural.CountNetwork(2, 2, 2, generator=torch.Generator().manual_seed(0))
    assert am.solve(meeting(), 2, solver="neural", network=network).value == pytest.approx(MET)


def test_a_start_of_ones_own_stays():
    uniform = am.solve(meeting(), 3, nested="off")
    assert am.solve(meeting(), 3, start=uniform).value == pytest.approx(STAYED)


def test_where_nothing_is_better_the_first_run_is_returned():
    """Rewards that nobody can change: every start is worth the same."""
    game = meeting().replace(r_l=torch.ones(2, 2, 2))
    solution = am.solve(game, 2)
    assert solution.value == pytest.approx(10.0)
    assert solution.selection is None
    assert torch.equal(solution.pi_l, torch.full((2, 2, 2), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("seed", range(6))
def test_a_run_that_moves_is_run_once(seed, monkeypatch):
    runs = []
    for module in (solving, starts):
        monkeypatch.setattr(module, "learn", lambda run, learn=starts.learn: runs.append(run) or learn(run))
    am.solve(am.games.random_game(seed=seed), 2)
    assert len(runs) == 1


def test_what_was_broken_off_goes_on_to_the_same_pair(tmp_path):
    def break_off(update):
        if len(told) == 3:
            raise ZeroDivisionError
        told.append(update)

    told, whole = [], am.solve(meeting(), 3)
    with pytest.raises(ZeroDivisionError):
        am.solve(meeting(), 3, callback=break_off, checkpoints=tmp_path)
    for _ in range(2):  # it goes on, and then it lies there
        again = am.solve(meeting(), 3, checkpoints=tmp_path)
        assert torch.equal(again.pi_l, whole.pi_l)
        assert torch.equal(again.pi_g, whole.pi_g)
        assert again.value == whole.value
        assert [update.details for update in again.history] == [update.details for update in whole.history]
