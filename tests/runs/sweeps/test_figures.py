"""The figures of a sweep: what is drawn is what the cells found, and what others published has their name on it."""

import dataclasses
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games import hash_game, warehouse
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import open_run, read_metrics
from altmarl_torch.runs.sweeps.cell import compute
from altmarl_torch.runs.sweeps.figures import (
    accuracy_figure,
    alternation_figure,
    figures,
    occupation_panel,
    return_figure,
    save_figures,
    seconds_figure,
)
from altmarl_torch.runs.sweeps.plan import Plan
from altmarl_torch.runs.sweeps.published import all_curves, published_curves
from altmarl_torch.runs.sweeps.results import METHOD, Sweep, open_sweep
from altmarl_torch.runs.tensorboard import SWEEP_IMAGES

NAMES = ["return_against_k", "seconds_against_k", "mode_accuracy_against_k", "occupation", "alternation"]


def swept(folder, ks, seeds, **options):
    """A sweep of real cells, computed here."""
    plan = Plan.of(TrainConfig(solver="tabular", runs_dir=str(folder), **options), ks, seeds)
    plan.folder.mkdir()
    plan.save()
    for cell in plan.cells():
        cell.log.parent.mkdir(exist_ok=True)
        compute(cell)
    return open_sweep(plan.folder)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("runs"), [1, 2, 3], 2, game="steer", episodes=10, horizon=5)


@pytest.fixture(scope="module")
def of_warehouse(tmp_path_factory):
    return swept(tmp_path_factory.mktemp("runs"), [1], 1, episodes=5, certify="never")


def lines(axes):
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}


def legend(figure):
    return [text.get_text() for box in figure.legends for text in box.get_texts()]


def returns(one):
    return one.summary["return_mean"]


def bars(axes):
    """The vertical lines of the error bars: (k, low, high)."""
    (container, *_) = axes.containers
    return [(top[0][0], top[0][1], top[1][1]) for top in container[2][0].get_segments()]


def test_the_return_is_the_mean_over_seeds_and_its_interval(sweep):
    axes = return_figure(sweep).axes[0]
    estimates = [sweep.estimate(k, returns) for k in (1, 2, 3)]
    assert lines(axes)["learned pair"] == ([1, 2, 3], [one.mean for one in estimates])
    assert bars(axes) == [pytest.approx((k, one.low, one.high)) for k, one in zip((1, 2, 3), estimates, strict=True)]


def test_every_heuristic_is_a_line_of_its_own_colour_and_dashes(sweep):
    axes = return_figure(sweep).axes[0]
    drawn, told = lines(axes), " ".join(text.get_text() for text in axes.texts)
    for name in sweep.heuristics:
        means = [np.mean([one.heuristic(name) for one in sweep.at(k)]) for k in sweep.ks]
        assert drawn[name][1] == means if name in drawn else name in told.replace("\n", " ")
    styles = [
        (line.get_color(), str(line._dash_pattern)) for line in axes.lines if line.get_label() in sweep.heuristics
    ]
    colours, dashes = zip(*styles, strict=True)
    assert len(set(colours)) == len(set(dashes)) == len(styles) > 0


def test_no_heuristic_squeezes_what_was_learned(sweep):
    axes = return_figure(sweep).axes[0]
    ends = [end for k in sweep.ks for end in (sweep.estimate(k, returns).low, sweep.estimate(k, returns).high)]
    low, high = axes.get_ylim()
    assert low <= min(ends) <= max(ends) <= high
    assert high - low <= 3.5 * max(1.1 * (max(ends) - min(ends)), 0.06 * max(map(abs, ends)))
    for line in axes.lines:
        if line.get_label() in sweep.heuristics:
            assert low <= min(line.get_ydata()) <= max(line.get_ydata()) <= high


def test_titles_say_what_was_computed(sweep):
    title = return_figure(sweep).axes[0].get_title()
    for part in ("steer", "n = 100", "horizon 5", "2 seeds", "10 episodes", METHOD):
        assert part in title


def test_seconds_are_medians_with_their_range(sweep):
    axes = seconds_figure(sweep).axes[0]
    seconds = {k: [one.learning_seconds for one in sweep.at(k)] for k in sweep.ks}
    assert lines(axes)["learned pair"][1] == [np.median(values) for values in seconds.values()]
    assert bars(axes) == [pytest.approx((k, min(values), max(values))) for k, values in seconds.items()]
    assert axes.get_yscale() == "log"


def test_accuracy_is_the_mean_over_seeds(sweep):
    expected = [sweep.estimate(k, lambda one: one.summary["mode_accuracy"]).mean for k in sweep.ks]
    assert lines(accuracy_figure(sweep).axes[0])["learned pair"][1] == expected


def test_the_axis_of_k_is_linear_as_far_as_the_papers_and_logarithmic_beyond(sweep):
    assert return_figure(sweep).axes[0].get_xscale() == "linear"
    wide = [
        dataclasses.replace(
            one,
            cell=dataclasses.replace(one.cell, config=dataclasses.replace(one.cell.config, k=61 * one.summary["k"])),
        )
        for one in sweep.finished
    ]
    axes = accuracy_figure(Sweep(sweep.plan, tuple(wide))).axes[0]
    assert axes.get_xscale() == "log"


def test_where_actions_are_no_zones_the_accuracy_says_so_and_the_panel_draws_none(tmp_path):
    hash_game(num_sg=2, num_sl=3, num_ag=2).save(tmp_path / "game.npz")
    sweep = swept(tmp_path, [1], 1, game=str(tmp_path / "game.npz"), episodes=3, horizon=4, n=20, certify="never")
    with pytest.raises(ArgumentError, match="actions are not the local states"):
        accuracy_figure(sweep)
    assert list(figures(sweep)) == [name for name in NAMES if name != "mode_accuracy_against_k"]
    panel = occupation_panel(sweep)
    assert set(lines(panel.axes[0])) == {"true mode"}
    assert {f"a_g = {a}" for a in set(panel_actions(sweep))} | {"true mode"} == set(legend(panel))
    (folder,) = {file.parent for file in save_figures(sweep)}
    assert not (folder / "mode_accuracy_against_k.png").exists()


def panel_actions(sweep):
    """The actions of the first episode, simulated again."""
    run = open_run(sweep.finished[0].cell.folder)
    config = sweep.finished[0].cell.config
    played = {"episodes": config.episodes, "horizon": config.horizon, "seed": config.seed}
    return rollout(run.game, run.solution, **played).trace.a_g.tolist()


def test_the_panel_shows_the_run_s_own_episodes(sweep):
    figure = occupation_panel(sweep, [1, 3], seed=1)
    first, second, _ = figure.axes
    for axes, k in ((first, 1), (second, 3)):
        (one,) = (one for one in sweep.at(k) if one.cell.config.seed == 1)
        assert axes.get_title() == f"k = {k}: at a mode in {one.summary['mode_accuracy']:.0%} of steps"
        assert axes.images[0].get_array().shape == (2, 5)
        assert set(lines(axes)) == {"dispatcher's choice", "true mode"}
    assert "seed 1" in figure.get_suptitle()


def test_the_alternation_is_the_history(sweep):
    left, right = alternation_figure(sweep, [2]).axes
    (one,) = (one for one in sweep.at(2) if one.cell.config.seed == 0)
    history = read_metrics(one.cell.folder)
    numbers, potential = lines(left)["k = 2"]
    assert numbers == list(range(len(history) + 1))
    assert potential[-1] == one.summary["value"]
    assert potential[0] == history[0]["value_before"]
    gains = lines(right)["k = 2"][1]
    expected = [update["value_proposed"] - update["value_before"] for update in history]
    assert gains == [pytest.approx(max(gain, 1e-6), abs=2e-5) for gain in expected]
    assert min(gains) >= 1e-6


def test_a_certified_gap_stands_behind_the_last_update(sweep):
    figure = alternation_figure(sweep, [2])
    (diamond,) = (line for line in figure.axes[1].lines if line.get_marker() == "D")
    (one,) = (one for one in sweep.at(2) if one.cell.config.seed == 0)
    assert list(diamond.get_ydata()) == [max(one.certificate["nash_gap"], 1e-6)]
    assert list(diamond.get_xdata()) == [one.summary["updates"] + 1]
    assert "certified Nash gap" in legend(figure)


def test_without_a_certificate_there_is_no_diamond(of_warehouse):
    figure = alternation_figure(of_warehouse)
    assert "certified Nash gap" not in legend(figure)
    assert all(line.get_marker() != "D" for line in figure.axes[1].lines)


def test_pairs_without_a_history_are_said_to_have_none(of_warehouse, monkeypatch):
    monkeypatch.setattr("altmarl_torch.runs.sweeps.run_figures.read_metrics", lambda folder: [])
    with pytest.raises(ArgumentError, match="no run has a history"):
        alternation_figure(of_warehouse)
    assert "alternation" not in figures(of_warehouse)


def test_published_returns_stand_beside_the_very_same_game(of_warehouse, sweep):
    assert not any("source" in label for label in legend(return_figure(of_warehouse)))
    figure = return_figure(of_warehouse, published=True)
    low, high = figure.axes[0].get_xlim()
    assert 0 <= low < 1 < high < 2  # the axis is that of what was swept
    label = "authors' code [source below]"
    assert lines(figure.axes[0])[label] == ([1, 5, 10, 20, 35, 50], [115.1, 126.0, 131.4, 154.4, 161.8, 161.2])
    assert label in legend(figure)
    assert "follows Eq. 3" in figure.get_supxlabel().replace("\n", " ")
    seconds = lines(seconds_figure(of_warehouse, published=True).axes[0])["authors' code, two cores [source below]"]
    assert seconds[0] == [1, 10, 20, 35, 50]
    assert seconds[1][:2] == pytest.approx([0.4, 0.3])
    assert not any("source" in label for label in legend(return_figure(sweep, published=True)))
    assert return_figure(sweep, published=True).get_supxlabel() == ""


def test_a_curve_is_comparable_with_its_game_and_horizon_alone():
    assert [curve.name for curve in published_curves(warehouse(), 100)] == ["authors' code"]
    assert [curve.name for curve in published_curves(warehouse(preset="code"), 50)] == ["published (Figure 3a)"]
    game = warehouse()
    others = [warehouse(n=999), warehouse(gamma=0.9), warehouse(num_zones=6), game.replace(r_g=game.r_g + 0.01)]
    assert not any(published_curves(other, 100) for other in others)
    assert not published_curves(game, 50)


def test_every_published_number_has_a_source():
    curves = all_curves()
    assert [[point.k for point in curve.points] for curve in curves] == 2 * [[1, 5, 10, 20, 35, 50]]
    assert all(curve.source for curve in curves)
    assert "NEW s_g" in curves[0].source
    assert curves[1].points[-1].seconds == (89, 113)
    assert curves[0].points[0].seconds is None


def test_figures_are_files_and_images_of_tensorboard(sweep):
    files = save_figures(sweep, ks=[2])
    folder = sweep.plan.folder / "figures"
    assert files == [folder / f"{name}.{ending}" for name in NAMES for ending in ("png", "svg")]
    assert all(matplotlib.image.imread(file).ndim == 3 for file in files if file.suffix == ".png")
    drawings = {file: file.read_bytes() for file in files if file.suffix == ".svg"}
    assert all(b"</svg>" in drawing and b"<dc:date>" not in drawing for drawing in drawings.values())
    save_figures(sweep, ks=[2])
    assert all(file.read_bytes() == drawing for file, drawing in drawings.items())
    (events,) = sweep.plan.folder.glob("events.out.tfevents.*")  # the second ones took the place of the first
    accumulator = EventAccumulator(str(events))
    accumulator.Reload()
    assert set(accumulator.Tags()["images"]) == set(SWEEP_IMAGES) == {f"sweep/{name}" for name in NAMES}
    assert accumulator.Images("sweep/occupation")[0].step == 6


def test_an_unfinished_sweep_shows_what_there_is(sweep):
    some = Sweep(sweep.plan, sweep.finished[1:])  # k = 1 lacks seed 0
    title = return_figure(some).axes[0].get_title()
    assert "1 to 2 seeds" in title
    assert [axes.get_title()[:5] for axes in occupation_panel(some).axes[:-1]] == ["k = 2", "k = 3"]
    single = Sweep(sweep.plan, sweep.finished[:1])
    assert list(figures(single)) == NAMES


def test_what_is_not_there_is_refused_with_what_is(sweep):
    nothing = Sweep(sweep.plan, ())
    for draw in (return_figure, seconds_figure, accuracy_figure, occupation_panel, alternation_figure):
        with pytest.raises(ArgumentError, match=f"{sweep.plan.folder.name} has no finished cell"):
            draw(nothing)
    with pytest.raises(ArgumentError, match="no cell of seed 7 is finished; there are seeds 0, 1"):
        figures(sweep, seed=7)
    with pytest.raises(ArgumentError, match="no cell of k = 4, 9 and seed 0 is finished; there are k = 1, 2, 3"):
        figures(sweep, ks=[1, 4, 9])


def test_the_command_prints_what_it_drew(sweep, capsys):
    assert main(["plot", str(sweep.plan.folder), "--k", "1,3", "--seed", "1"]) == 0
    printed = capsys.readouterr().out.split()
    assert [Path(file).stem for file in printed[::2]] == NAMES
    assert all(Path(file).stat().st_size > 1000 for file in printed)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 1, "nowhere is no sweep: it has no sweep.json"),
        (["SWEEP", "--k", "7"], 2, "no cell of k = 7 and seed 0 is finished; there are k = 1, 2, 3"),
        (["SWEEP", "--seed", "9"], 2, "no cell of seed 9 is finished; there are seeds 0, 1"),
        (["SWEEP", "--k", "x"], 2, "'x' is no list of whole numbers"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(sweep, capsys, words, code, message):
    assert main(["plot", *(word.replace("SWEEP", str(sweep.plan.folder)) for word in words)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
