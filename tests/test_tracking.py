"""TensorBoard: the tags that are written are the tags that are documented."""

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from altmarl_torch.config import TrainConfig
from altmarl_torch.games import steer
from altmarl_torch.heuristics import heuristic_pairs
from altmarl_torch.report import Console
from altmarl_torch.runs import read_metrics
from altmarl_torch.tracking import IMAGES, Tag
from altmarl_torch.training import train

DOCUMENT = (Path(__file__).parents[1] / "docs" / "tensorboard-tags.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| `([a-z_/]+)` \| (.+) \|$", DOCUMENT, flags=re.MULTILINE))
PLUGIN = {"_hparams_/experiment", "_hparams_/session_start_info", "_hparams_/session_end_info"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = TrainConfig(game="steer", k=2, episodes=20, horizon=10, runs_dir=str(tmp_path_factory.mktemp("runs")))
    return train(config, Console(quiet=True))


@pytest.fixture(scope="module")
def events(run):
    (file,) = run.folder.rglob("events.out.tfevents.*")  # one writer, no run in a sub-folder
    accumulator = EventAccumulator(str(file))
    accumulator.Reload()
    return accumulator


def tags(events):
    return set(events.Tags()["scalars"]) | set(events.Tags()["images"])


def test_every_tag_is_documented_with_a_formula_and_no_other():
    assert set(ROWS) == {str(tag) for tag in Tag}
    assert all(formula.strip() for formula in ROWS.values())


def test_tags_are_group_slash_snake_case():
    groups = "alternation|certificate|g_learn|l_learn|eval|theory|time"
    assert all(re.fullmatch(rf"({groups})/[a-z]+(_[a-z]+)*", tag) for tag in Tag)


def test_a_run_writes_every_tag_and_no_other(events):
    assert tags(events) == {str(tag) for tag in Tag}
    assert set(events.Tags()["images"]) == {str(tag) for tag in IMAGES}


def test_curves_are_the_history(events, run):
    history = run.solution.history
    values = [event.value for event in events.Scalars("alternation/value")]
    assert values == pytest.approx([update.value for update in history], rel=1e-6)
    assert [event.step for event in events.Scalars("alternation/accepted")] == list(range(1, len(history) + 1))
    assert events.Scalars("eval/return_mean")[0].value == pytest.approx(run.summary["return_mean"], rel=1e-6)


def test_every_number_of_a_learner_has_a_tag(run):
    details = {key for line in read_metrics(run.folder) for key, value in line["details"].items()
               if not isinstance(value, str)}  # fmt: skip
    assert details == {str(tag) for tag in Tag if tag.startswith(("g_learn/", "l_learn/"))}


def test_hyper_parameters_are_in_the_same_writer(events, run):
    plugin = events.summary_metadata
    assert {tag for tag in plugin if tag.startswith("_hparams_")} == PLUGIN
    assert all(tag in DOCUMENT for tag in PLUGIN)
    start = plugin["_hparams_/session_start_info"].plugin_data.content
    assert b"l_learner" in start
    assert b"steer" in start


def test_every_heuristic_has_a_tag(run):
    for name in heuristic_pairs(steer(), 2):
        assert Tag.of_heuristic(name) in Tag
