"""Results for other tools: JSON's types, columns of equal length, and tables for notebooks in which text is escaped."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.support.showing import as_html, as_plain, in_columns

GAME = am.games.steer(n=20)


@pytest.fixture(scope="module")
def solution():
    return am.solve(GAME, 2)


def test_plain_values_are_json_and_what_is_not_finite_is_none():
    value = {
        "a": torch.ones(2, 1),
        "b": (np.float32(0.5), am.Decision.ACCEPT),
        3: math.inf,
        "c": [math.nan, True, None],
    }
    assert as_plain(value) == {"a": [[1.0], [1.0]], "b": [0.5, "accept"], "3": None, "c": [None, True, None]}


def test_columns_are_of_one_length_with_none_where_a_row_lacks_a_name():
    assert in_columns([{"x": 1}, {"y": 2, "x": 3}]) == {"x": [1, 3], "y": [None, 2]}
    assert in_columns([]) == {}


def test_a_solution_is_json_and_its_history_columns(solution):
    found = json.loads(json.dumps(solution.to_dict(), allow_nan=False))
    assert (found["k"], found["value"], found["game_name"]) == (2, solution.value, "steer")
    assert [one["decision"] for one in found["history"]] == [one.decision.value for one in solution.history]
    assert "pi_l" not in found
    assert torch.equal(torch.tensor(solution.to_dict(tables=True)["pi_g"], dtype=torch.float64), solution.pi_g)
    columns = solution.to_columns()
    assert columns["value_proposed"] == [one.value_proposed for one in solution.history]
    assert columns["l_learn/rounds"][0] is None  # the coordinator's turn
    assert columns["l_learn/rounds"][1] == solution.history[1].details["l_learn/rounds"]
    assert {len(column) for column in columns.values()} == {len(solution.history)}


def test_a_certificate_is_json_under_its_old_name_too(solution):
    certificate = am.certify(GAME, solution)
    found = json.loads(json.dumps(certificate.to_dict(), allow_nan=False))
    assert found["nash_gap"] == certificate.nash_gap
    assert found["global_deviation"]["kind"] == "exact"
    assert certificate.as_dict() == certificate.to_dict()
    unbounded = dataclasses.replace(certificate.shared_deviation, upper=math.inf, kind="lower end")
    cut = dataclasses.replace(certificate, shared_deviation=unbounded).to_dict()
    assert cut["shared_deviation"]["upper"] is cut["nash_gap"] is None


def test_notebooks_are_shown_escaped_text(solution):
    bad = dataclasses.replace(solution, game_name="<script>alert('x')</script>")
    for shown in (bad._repr_html_(), am.certify(GAME, solution)._repr_html_(), as_html("<b>", {"<i>": "&"})):
        assert shown.startswith("<div>")
        assert "<script>" not in shown
        assert "<i>" not in shown
    assert "&lt;script&gt;" in bad._repr_html_()
    assert f"{solution.value:.6g}" in bad._repr_html_()


def test_trajectories_and_logs_give_their_columns():
    data = am.collect(GAME, 2, explore=0.3, steps=5, trajectories=2, seed=0)
    columns = data.to_columns()
    assert {len(column) for column in columns.values()} == {2 * 5 * 2}
    log = am.Transitions.of(columns)
    assert log.columns().keys() == log.to_columns().keys() == columns.keys()
    assert all(np.array_equal(log.to_columns()[name], columns[name]) for name in columns)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_columns_are_what_data_frames_take(library, solution):
    frames = pytest.importorskip(library)
    data = am.collect(GAME, 2, explore=0.3, steps=5, trajectories=2, seed=0)
    frame = frames.DataFrame(data.to_columns())
    assert frame.shape == (20, len(data.to_columns()))
    history = frames.DataFrame(solution.to_columns())
    assert list(history["value_proposed"]) == [one.value_proposed for one in solution.history]
    game = am.Game.from_transitions(frame, gamma=0.9, n=20)
    assert torch.equal(game.P_l, am.Game.from_transitions(data.to_columns(), gamma=0.9, n=20).P_l)
