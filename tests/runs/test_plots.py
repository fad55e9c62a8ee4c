"""Figures: what is drawn is what happened."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.image import imread

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.policies.rules import RULES, heuristic_pair
from altmarl_torch.runs.palette import ACTIONS
from altmarl_torch.runs.plots import (
    occupation_figure,
    pixels,
    save_png,
    value_history_figure,
)
from altmarl_torch.runs.policy_slice import policy_slice_figure


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


def test_where_actions_are_no_local_states_the_choice_is_a_strip_of_colours():
    game = random_game(num_sg=2, num_sl=3, num_ag=4, num_al=2).replace(ag_names=["one", "two", "three", "four"])
    rollouts = rolled(game)
    figure = occupation_figure(rollouts)
    axes = figure.axes[0]
    assert [line.get_label() for line in axes.lines] == ["true mode"]
    assert "choice" not in axes.get_title()
    played = {game.ag_names[a] for a in rollouts.trace.a_g.tolist()}
    assert {text.get_text() for text in figure.legends[0].get_texts()} == played | {"true mode"}
    assert axes.get_yticklabels()[-1].get_text() == "choice a_g"
    steps = sum(len(strip.get_paths()) for strip in axes.collections)
    assert steps == 15


def test_rows_bear_the_names_of_the_game():
    axes = occupation_figure(rolled(steer())).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["zone 0", "zone 1"]
    plain = occupation_figure(rolled(steer().replace(sl_names=None))).axes[0]
    assert [label.get_text() for label in plain.get_yticklabels()][:2] == ["0", "1"]


def test_a_slice_bears_the_names_of_the_game():
    game = warehouse()
    figure = policy_slice_figure(RULES["mode"](game), 5, 5, 5, 20, names=game.names)
    assert figure.axes[1].get_title() == "s_g = 1 (zone 1)"
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["0: zone 0", "1: zone 1", "2: zone 2"]  # those that appear


def test_the_history_shows_the_current_value_and_every_proposal():
    axes = value_history_figure(HISTORY).axes[0]
    current, *proposals = axes.lines
    np.testing.assert_array_equal(current.get_ydata(), [1.0, 3.0, 3.0, 3.0])
    assert [float(mark.get_ydata()[0]) for mark in proposals] == [3.0, 2.0, 3.1]
    assert len({mark.get_marker() for mark in proposals}) == 3
    assert proposals[0].get_color() == proposals[2].get_color() != proposals[1].get_color()


def test_the_history_names_the_levels_that_the_loop_began_with():
    coarse = [dataclasses.replace(one, details={"nested/k": 6, "nested/start": "walk"}) for one in HISTORY]
    lifted = [dataclasses.replace(one, details={"nested/start": "lifted"}) for one in HISTORY]
    axes = value_history_figure([*coarse, *lifted, *HISTORY]).axes[0]
    assert [text.get_text() for text in axes.texts] == ["k = 6", "lifted", "the run itself"]
    dotted = [float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == ":"]
    assert dotted == [3.5, 6.5]
    assert not value_history_figure(HISTORY).axes[0].texts


def test_an_empty_history_is_an_empty_picture():
    assert pixels(value_history_figure([])).ndim == 3


def test_axes_are_labelled():
    for figure in (occupation_figure(rolled(steer())), value_history_figure(HISTORY)):
        assert figure.axes[0].get_xlabel()
        assert figure.axes[0].get_ylabel()


class Seen:
    """A rule that plays `choose(s_g, counts)` out of num_ag actions and keeps what it was asked."""

    def __init__(self, num_ag, choose):
        self.num_ag, self.choose = num_ag, choose

    def __call__(self, s_g, counts):
        self.s_g, self.counts = s_g, counts
        return torch.nn.functional.one_hot(self.choose(s_g, counts) % self.num_ag, self.num_ag).double()


def cells(axes):
    """The cells' centres [points, 2] and their colours."""
    (collection,) = (item for item in axes.collections if isinstance(item, PolyCollection))
    corners = np.stack([path.vertices[:-1] for path in collection.get_paths()])
    return corners.mean(1), [to_hex(colour) for colour in collection.get_facecolor()]


CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, 0.75**0.5]])


@pytest.mark.parametrize(("num_sl", "k"), [(3, 1), (3, 20), (5, 60), (20, 100), (3, 61), (4, 10**9), (2, 100), (1, 7)])
def test_a_slice_asks_for_whole_counts_of_k_agents_in_three_zones(num_sl, k):
    rule, zones = Seen(3, lambda s_g, counts: counts.argmax(-1)), min(num_sl, 3)
    figure = policy_slice_figure(rule, 4, 3, num_sl, k)
    steps = min(k, 60)
    points = {1: 1, 2: steps + 1, 3: (steps + 1) * (steps + 2) // 2}[zones]
    assert rule.counts.shape == (4, points, num_sl)
    assert rule.counts.dtype == rule.s_g.dtype == torch.int64
    assert (rule.counts.sum(-1) == k).all()
    assert rule.counts.min() >= 0
    assert not rule.counts[..., zones:].any()
    assert len(rule.counts[0].unique(dim=0)) == points
    assert all((rule.counts[0] == k * corner).all(-1).any() for corner in torch.eye(num_sl, dtype=torch.int64)[:zones])
    assert rule.s_g.tolist() == [[s_g] * points for s_g in range(4)]
    assert [axes.get_title() for axes in figure.axes] == [f"s_g = {s_g}" for s_g in range(4)]


@pytest.mark.parametrize("k", [4, 100])
def test_a_cell_lies_at_its_counts_and_has_the_colour_of_the_most_probable_action(k):
    rule = Seen(5, lambda s_g, counts: s_g + counts.argmax(-1))
    figure = policy_slice_figure(rule, 2, 5, 4, k)
    for s_g, axes in enumerate(figure.axes):
        centres, colours = cells(axes)
        counts = rule.counts[s_g].numpy()
        np.testing.assert_allclose(centres, counts[:, :3] / k @ CORNERS, atol=1e-9 if k <= 60 else 2 / k)
        assert colours == [ACTIONS[(s_g + a) % 5].lower() for a in counts.argmax(1)]


def test_a_slice_draws_the_most_probable_action_and_ties_to_the_smallest():
    law = torch.tensor([0.3, 0.3 + 1e-15, 0.4, 0.4 - 1e-15], dtype=torch.float64)[[0, 2, 3, 1]]
    figure = policy_slice_figure(lambda s_g, counts: law.expand(*s_g.shape, -1), 1, 4, 3, 5)
    assert set(cells(figure.axes[0])[1]) == {ACTIONS[1].lower()}


def test_the_zones_are_named_and_the_regions_numbered():
    axes = policy_slice_figure(RULES["mode"](warehouse()), 5, 5, 5, 20).axes[0]
    assert {text.get_text() for text in axes.texts} == {"s_l = 0", "s_l = 1", "s_l = 2", "0", "1", "2"}


def test_a_slice_of_many_states_shows_six_and_says_so():
    game = warehouse(num_zones=20)
    figure = policy_slice_figure(RULES["mode"](game), 20, 20, 20, 100)
    assert len(figure.axes) == 6
    assert "first 6 of 20 states" in figure.get_suptitle()
    assert "k = 100" in figure.get_suptitle()
    assert "first" not in policy_slice_figure(RULES["mode"](warehouse()), 5, 5, 5, 20).get_suptitle()


def legend_of(figure):
    (legend,) = figure.legends
    return {
        text.get_text(): to_hex(patch.get_facecolor())
        for text, patch in zip(legend.texts, legend.get_patches(), strict=True)
    }


def test_the_legend_tells_the_colours_of_the_actions():
    assert len(set(ACTIONS)) == 10
    few = policy_slice_figure(RULES["mode"](warehouse()), 5, 5, 5, 20)
    assert legend_of(few) == {str(a): ACTIONS[a].lower() for a in range(3)}  # no entry for what never appears
    some = policy_slice_figure(Seen(20, lambda s_g, counts: 4 * counts.argmax(-1)), 2, 20, 20, 100)
    assert legend_of(some) == {"0": ACTIONS[0].lower(), "4": ACTIONS[1].lower(), "8": ACTIONS[2].lower()}
    assert set(cells(some.axes[0])[1]) == set(legend_of(some).values())


def test_more_actions_than_colours_have_a_colour_bar():
    figure = policy_slice_figure(Seen(20, lambda s_g, counts: counts[..., 0]), 1, 20, 3, 30)
    assert not figure.legends
    panel, bar = figure.axes
    assert len(set(cells(panel)[1])) == 20
    assert bar.get_ylabel() == "action a_g"


@pytest.mark.parametrize(
    ("num_sg", "num_ag", "num_sl", "k"), [(1, 1, 1, 1), (2, 10, 2, 1), (6, 12, 3, 1), (7, 3, 5, 9)]
)
def test_a_slice_of_any_size_is_drawn_and_its_words_do_not_touch(num_sg, num_ag, num_sl, k):
    figure = policy_slice_figure(Seen(num_ag, lambda s_g, counts: s_g), num_sg, num_ag, num_sl, k)
    assert pixels(figure).min() < 200
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in (axes.title, *axes.texts)]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i] if a.width and b.width)


def test_pixels_are_an_image_with_something_on_it():
    image = pixels(value_history_figure(HISTORY))
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert image.min() < 50 < 250 < image.max()


def test_png_files_are_written_to_exactly_the_path(tmp_path):
    drawn = save_png(value_history_figure(HISTORY), tmp_path / "a.png")
    written = imread(tmp_path / "a.png")[..., :3]  # shares of 255
    np.testing.assert_array_equal(drawn, (255 * written).round())
    with pytest.raises(FileNotFoundError):
        save_png(value_history_figure(HISTORY), tmp_path / "no" / "a.png")


def test_drawing_needs_no_pyplot():
    code = (
        "import sys; from altmarl_torch.runs.plots import pixels, value_history_figure as empty; pixels(empty([])); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_figures_show_themselves_in_a_notebook():
    assert value_history_figure([])._repr_png_().startswith(b"\x89PNG")
