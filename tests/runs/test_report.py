"""What is printed while something takes long."""

import dataclasses

import pytest

import altmarl_torch as am
from altmarl_torch.runs import report
from altmarl_torch.runs.report import Console


def progress_of(console, monkeypatch, capsys, steps=400, seconds=1.0):
    """What lands on standard error, no terminal, where every step takes `seconds`."""
    clock = iter(range(10**6))
    monkeypatch.setattr(report.time, "monotonic", lambda: seconds * next(clock))
    with console() as open_console:
        for step in range(1, steps + 1):
            open_console.progress("g_learn", step, 1 / step)
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def test_a_log_file_shows_a_line_of_progress_now_and_then(monkeypatch, capsys):
    lines = progress_of(Console, monkeypatch, capsys)
    assert len(lines) == 400 // 30
    assert lines[0].startswith("g_learn: 30 steps, error 3.3e-02, 30 s")


@pytest.mark.parametrize("console", [lambda: Console(quiet=True)])
def test_quiet_is_quiet(monkeypatch, capsys, console):
    assert progress_of(console, monkeypatch, capsys) == []


def test_what_is_quick_says_nothing(monkeypatch, capsys):
    assert progress_of(Console, monkeypatch, capsys, seconds=0.01) == []


@pytest.mark.parametrize(("ag_names", "shown"), [(["here", "there"], True), (["stay", "go"], False), (None, False)])
def test_the_mode_is_a_column_only_where_actions_are_local_states(ag_names, shown):
    game = am.games.random_game(2, 2, 2, 2).replace(sl_names=["here", "there"], ag_names=ag_names)
    table = report.return_table(am.rollout(game, am.solve(game, 1), episodes=2, horizon=3), {})
    assert ("at the mode" in table) == shown


@pytest.mark.parametrize(
    ("details", "end"),
    [
        ({}, " s"),
        ({"nested/start": "lifted"}, "  lifted"),
        ({"nested/start": "lifted", "nested/k": 26}, "  lifted  k = 26"),
        ({"nested/start": "walk", "nested/k": 5}, "  k = 5"),
    ],
)
def test_a_proposal_says_by_what_means_it_was_found(details, end):
    update = am.solve(am.games.steer(), 2, steps=1).history[0]
    assert report.update_line(dataclasses.replace(update, details=details)).endswith(end)
