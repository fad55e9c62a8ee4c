"""TensorBoard: the tags that are written are the tags that are documented."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games import federated, smart_grid, steer
from altmarl_torch.policies.rules import RULES, heuristic_pairs
from altmarl_torch.policies.yardsticks import yardsticks
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import read_metrics
from altmarl_torch.runs.plots import pixels
from altmarl_torch.runs.policy_slice import policy_slice_figure
from altmarl_torch.runs.report import Console
from altmarl_torch.runs.tensorboard import CURVE_TAGS, IMAGES, LEARNER_TAGS, SWEEP_IMAGES, Tag, Tracker
from altmarl_torch.runs.training import train

DOCUMENT = (Path(__file__).parents[2] / "docs" / "tensorboard-tags.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_/]+)` \| (.+) \|$", DOCUMENT, flags=re.MULTILINE))
# what a run with one learner says, and one with another has nothing to say on
BOUNDS = {Tag.L_LEARN_VALUE_LOWER, Tag.L_LEARN_VALUE_UPPER}
UCFH = BOUNDS | {
    *(Tag.L_LEARN_EPISODES, Tag.L_LEARN_PLANS, Tag.L_LEARN_CERTIFIED, Tag.L_LEARN_CHAIN_STATES),
    *(Tag.L_LEARN_CHAIN_VALUE, Tag.L_LEARN_LOST_BY_PROJECTION, Tag.L_LEARN_GIVEN_UP),
}
MODEL_BASED = {Tag.L_LEARN_ROUNDS, Tag.L_LEARN_CHANGES_TRIED}
LIFTED = {Tag(f"g_learn/{name}") for name in ("degree", "coefficients", "held_out_residual", "proven_error")}
NEURAL = (CURVE_TAGS - BOUNDS) | {Tag.G_LEARN_STEPS, Tag.G_LEARN_GREEDY_CHANGES, Tag.L_LEARN_STEPS}
OWN_RULES = {
    Tag.of_heuristic(name)
    for game in (smart_grid(), federated())
    for name in yardsticks(game, 2).keys() - heuristic_pairs(steer(), 2).keys()
}
PLUGIN = {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TrainConfig(
        game="steer", k=2, solver="tabular", episodes=20, horizon=10, runs_dir=str(tmp_path_factory.mktemp("runs"))
    )
    return train(config, Console(quiet=True))


@pytest.fixture(scope="module")
def events(run):
    return read(run.folder)


def read(folder):
    (file,) = folder.rglob("events.out.tfevents.*")  # one writer, no run in a sub-folder
    accumulator = EventAccumulator(str(file))
    accumulator.Reload()
    return accumulator


def tags(events):
    return set(events.Tags()["scalars"]) | set(events.Tags()["images"])


def test_every_tag_is_documented_with_a_formula_and_no_other():
    assert set(ROWS) == {str(tag) for tag in Tag}
    assert all(formula.strip() for formula in ROWS.values())


def test_tags_are_group_slash_snake_case():
    groups = "alternation|certificate|g_learn|l_learn|eval|theory|time|sweep"
    assert all(re.fullmatch(rf"({groups})/[a-z]+(_[a-z]+)*", tag) for tag in Tag)


def test_a_run_writes_every_tag_and_no_other(events):
    assert tags(events) == set(Tag) - NEURAL - UCFH - LIFTED - OWN_RULES - set(SWEEP_IMAGES)
    assert set(events.Tags()["images"]) == set(IMAGES)


def test_a_run_with_ucfh_writes_its_bounds_at_the_episodes(tmp_path):
    config = TrainConfig(
        game="steer", k=2, l_learner="ucfh", confidence=0.1, episodes=20, horizon=10, runs_dir=str(tmp_path)
    )
    found = train(config, Console(quiet=True))
    events = read(found.folder)
    assert tags(events) == set(Tag) - NEURAL - LIFTED - MODEL_BASED - OWN_RULES - set(SWEEP_IMAGES)
    assert number_tags(found) == learner_tags() - NEURAL - LIFTED - MODEL_BASED - BOUNDS
    episodes = sum(update.details.get("l_learn/episodes", 0) for update in found.solution.history)
    assert points(events, "l_learn/value_lower")[-1][0] == episodes


def test_curves_are_the_history(events, run):
    history = run.solution.history
    values = [event.value for event in events.Scalars("alternation/value")]
    assert values == pytest.approx([update.value for update in history], rel=1e-6)
    assert [event.step for event in events.Scalars("alternation/accepted")] == list(range(1, len(history) + 1))
    assert events.Scalars("eval/return_mean")[0].value == pytest.approx(run.summary["return_mean"], rel=1e-6)


def learner_tags():
    return {tag for tag in Tag if tag.startswith(("g_learn/", "l_learn/"))}


def number_tags(run):
    lines = read_metrics(run.folder)
    return {key for line in lines for key, value in line["details"].items() if not isinstance(value, str)}


def test_every_number_of_a_learner_has_a_tag(run):
    assert number_tags(run) == learner_tags() - NEURAL - UCFH - LIFTED


def test_a_tag_of_a_learner_is_a_curve_or_a_detail():
    assert learner_tags() == LEARNER_TAGS | CURVE_TAGS
    assert not LEARNER_TAGS & CURVE_TAGS
    assert {tag for tag in CURVE_TAGS if tag.startswith("g_learn/")} == {
        f"g_learn/{name}" for name in ("loss", "residual", "noise", "learning_rate", "samples_per_second")
    }
    assert {tag for tag in CURVE_TAGS - BOUNDS if tag.startswith("l_learn/")} == {
        f"l_learn/{name}" for name in ("loss", "residual", "noise", "learning_rate", "samples_per_second")
    }


def points(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def test_curves_are_drawn_over_gradient_steps_and_proposals_over_their_number(tmp_path):
    update = Update(
        step=1, player="global", decision=Decision.ACCEPT, value_before=1.0, value_proposed=2.0, eta=0.1, eta_paper=9.0,
        seconds=0.0, sweeps=0, error=0.0, adopted=True, details={"g_learn/steps": 70, "g_learn/residual": 0.25},
    )  # fmt: skip
    with Tracker(tmp_path, TrainConfig(), steer()) as tracker:
        tracker.curve(40, {"g_learn/residual": 0.5, "g_learn/loss": 2.0})
        tracker.curve(70, {Tag.G_LEARN_RESIDUAL: 0.25})
        tracker.update(update)
        tracker.curve(90, dict.fromkeys(CURVE_TAGS, 1.0))
    events = read(tmp_path)
    assert points(events, "g_learn/residual") == [(40, 0.5), (70, 0.25), (90, 1.0)]  # not the detail at x = 1
    assert points(events, "g_learn/loss") == [(40, 2.0), (90, 1.0)]
    assert points(events, "g_learn/steps") == [(1, 70.0)]
    assert tags(events) >= CURVE_TAGS


@pytest.mark.parametrize("stranger", ["g_learn/los", "g_learn/steps", "alternation/value"])
def test_what_is_no_curve_is_refused_and_nothing_is_written(tmp_path, stranger):
    message = f"no learning curve: {stranger}; curves are g_learn/learning_rate"
    with Tracker(tmp_path, TrainConfig(), steer()) as tracker, pytest.raises(ArgumentError, match=message):
        tracker.curve(1, {"g_learn/loss": 0.0, stranger: 1.0})
    assert read(tmp_path).Tags()["scalars"] == []


def test_the_slice_of_a_policy_is_an_image(tmp_path):
    with Tracker(tmp_path, TrainConfig(), steer()) as tracker:
        tracker.image(Tag.POLICY_SLICE, pixels(policy_slice_figure(RULES["mode"](steer()), 2, 2, 2, k=3)))
    assert read(tmp_path).Tags()["images"] == ["alternation/policy_slice"]


def test_hyper_parameters_are_in_the_same_writer(events, run):
    plugin = events.summary_metadata
    assert {tag for tag in plugin if tag.startswith("_hparams_")} == PLUGIN
    assert all(tag in DOCUMENT for tag in PLUGIN)
    start = plugin["_hparams_/session_start_info"].plugin_data.content
    assert b"l_learner" in start
    assert b"steer" in start


def columns(folder, config):
    """The columns of HPARAMS that a run announces, in the order of TensorBoard, with its own values."""
    with Tracker(folder, config, steer()):
        pass
    plugin = read(folder).summary_metadata
    experiment = HParamsPluginData.FromString(plugin["_hparams_/experiment"].plugin_data.content).experiment
    start = HParamsPluginData.FromString(plugin["_hparams_/session_start_info"].plugin_data.content)
    shown = sorted(experiment.hparam_infos, key=lambda info: (not info.differs, info.name))  # as TensorBoard 2.21 does
    return [info.name for info in shown], start.session_start_info.hparams


def test_every_run_announces_the_same_columns_whatever_it_was_given(tmp_path):
    bare, values = columns(tmp_path / "a", TrainConfig(solver="tabular"))
    given, others = columns(tmp_path / "b", TrainConfig(solver="tabular", m=5, eta=0.5))
    assert bare == given
    assert bare[:5] == ["game", "k", "observation", "seed", "solver"]
    assert {"m", "xi", "from_data", "n", "gamma"} <= set(bare)
    assert not {"runs_dir", "quiet"} & set(bare)
    assert (values["m"].string_value, others["m"].string_value) == ("-", "5")
    assert others["eta"].string_value == "0.5"
    assert values["k"].number_value == 20


def test_every_heuristic_has_a_tag(run):
    for name in heuristic_pairs(steer(), 2):
        assert Tag.of_heuristic(name) in list(Tag)
