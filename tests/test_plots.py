"""Figures: what is drawn is what happened."""

import subprocess
import sys

import numpy as np
import pytest

from altmarl_torch.alternation import Decision, Update
from altmarl_torch.games import random_game, steer
from altmarl_torch.heuristics import heuristic_pair
from altmarl_torch.plots import occupation_figure, pixels, save_png, value_history_figure
from altmarl_torch.rollout import rollout


def update(player, decision, before, proposed):
    return Update(
        step=1, player=player, decision=decision, value_before=before, value_proposed=proposed, eta=0.1,
        eta_paper=1e4, seconds=0.0, sweeps=1, error=0.0, adopted=decision is Decision.ACCEPT, details={},
    )  # fmt: skip


HISTORY = [
    update("global", Decision.ACCEPT, 1.0, 3.0),
    update("local", Decision.REJECT, 3.0, 2.0),
    update("global", Decision.TERMINATE, 3.0, 3.1),
]


def rolled(game, k=2):
    return rollout(game, heuristic_pair(game, k, "mode", "stay"), episodes=4, horizon=15)


def test_the_heatmap_holds_the_occupation_and_the_lines_the_choices():
    rollouts = rolled(steer())
    axes = occupation_figure(rollouts).axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), rollouts.trace.occupation.numpy().T)
    lines = {line.get_label(): line.get_ydata() for line in axes.lines}
    np.testing.assert_array_equal(lines["dispatcher's choice"], rollouts.trace.a_g.numpy())
    np.testing.assert_array_equal(lines["true mode"], rollouts.trace.mode.numpy())


def test_the_title_says_how_often_the_choice_is_right():
    rollouts = rolled(steer())
    title = occupation_figure(rollouts).axes[0].get_title()
    assert "k = 2 of n = 100 agents" in title
    assert f"{rollouts.mode_accuracy:.0%} over 4 episodes" in title


def test_no_choice_is_drawn_where_actions_are_no_zones():
    figure = occupation_figure(rolled(random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2)))
    assert [line.get_label() for line in figure.axes[0].lines] == ["true mode"]
    assert "choice" not in figure.axes[0].get_title()


def test_the_history_shows_the_current_value_and_every_proposal():
    axes = value_history_figure(HISTORY).axes[0]
    current, *proposals = axes.lines
    np.testing.assert_array_equal(current.get_ydata(), [1.0, 3.0, 3.0, 3.0])
    assert [float(mark.get_ydata()[0]) for mark in proposals] == [3.0, 2.0, 3.1]
    assert len({mark.get_marker() for mark in proposals}) == 3
    assert proposals[0].get_color() == proposals[2].get_color() != proposals[1].get_color()


def test_an_empty_history_is_an_empty_picture():
    assert pixels(value_history_figure([])).ndim == 3


def test_axes_are_labelled():
    for figure in (occupation_figure(rolled(steer())), value_history_figure(HISTORY)):
        assert figure.axes[0].get_xlabel()
        assert figure.axes[0].get_ylabel()


def test_pixels_are_an_image_with_something_on_it():
    image = pixels(value_history_figure(HISTORY))
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert image.min() < 50 < 250 < image.max()


def test_png_files_are_written_to_exactly_the_path(tmp_path):
    save_png(value_history_figure(HISTORY), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileNotFoundError):
        save_png(value_history_figure(HISTORY), tmp_path / "no" / "a.png")


def test_drawing_needs_no_pyplot():
    code = (
        "import sys; from altmarl_torch.plots import pixels, value_history_figure; pixels(value_history_figure([])); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
