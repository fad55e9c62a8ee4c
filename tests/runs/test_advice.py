"""What a run says of the learned pair beside the best rule: who earns more, by how much, why, and what does better."""

import dataclasses
import json

import pytest
import torch

from altmarl_torch import heuristics, rollout
from altmarl_torch.games import warehouse
from altmarl_torch.runs import TrainConfig
from altmarl_torch.runs.advice import advice, comparison_text
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.measuring import Measurement, measure

CONFIG = TrainConfig(k=3, solver="tabular")


def measured(*gains):
    """A measurement in which the learned pair earns so much more than the rule, episode by episode."""
    rolled = rollout(warehouse(), heuristics.heuristic_pair(warehouse(), 3, "hold", "walk"), episodes=len(gains))
    learned = dataclasses.replace(rolled, returns=rolled.returns + torch.tensor(gains, dtype=torch.float64))
    poor = dataclasses.replace(rolled, returns=rolled.returns - 100)
    return Measurement(learned, {"poor": poor, "hold + walk": rolled}, 0.0)


def test_the_lead_is_paired_with_the_best_rule():
    found = measured(1.0, 2.0, 3.0, 2.0)
    assert found.best_rule == "hold + walk"
    assert found.lead.mean == pytest.approx(2.0)
    assert found.lead.sem == pytest.approx(torch.tensor([1.0, 2.0, 3.0, 2.0]).std().item() / 2)


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ((1.0, 2.0, 3.0, 2.0), "learned earns 2 (95 % interval 0.701 to 3.3, on the same episodes) more than the best"),
        ((-1.0, 1.0, 2.0, -2.0), "learned and the best rule (hold + walk) earn the same"),
        ((-3.0, -3.1, -2.9, -3.0), "hold + walk earns 3 (95 % interval 2.87 to 3.13, on the same episodes) more than"),
    ],
)
def test_one_line_says_who_earns_more(gains, words):
    text = comparison_text(CONFIG, measured(*gains))
    assert text.startswith(words)
    assert "\n" not in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "--observation filter"),
        ({"observation": "filter"}, "--select rollout plays"),
        ({"observation": "filter", "select": "rollout", "starts": 2}, "--starts 6"),
        ({"from_data": "log.npz"}, "`altmarl fit log.npz --k 3` learns both"),
    ],
)
def test_the_advice_fits_the_options(options, words):
    assert words in advice(TrainConfig(k=3, **options))


def test_a_single_episode_is_not_compared():
    found = measured(1.0)
    assert found.lead is None
    assert comparison_text(CONFIG, found) == ""


def test_where_a_rule_earns_more_the_run_says_so_and_writes_it_down(tmp_path, capsys):
    """The paper's surrogate at k = 3: 136 where to hold s_g earns 160."""
    options = ["--k", "3", "--solver", "tabular", "--episodes", "50", "--quiet", "--certify", "never"]
    assert main(["train", *options, "--runs-dir", str(tmp_path)]) == 0
    assert "hold + walk earns 2" in capsys.readouterr().out
    (run,) = tmp_path.iterdir()
    lead = json.loads((run / "summary.json").read_text())["lead"]
    assert lead["over"] == "hold + walk"
    assert lead["low"] < lead["mean"] < lead["high"] < -10


def test_the_best_rule_is_played_on_the_same_episodes():
    game = warehouse()
    found = measure(game, heuristics.heuristic_pair(game, 3, "hold", "walk"), episodes=8, horizon=10, seed=4)
    assert torch.equal(found.learned.returns, found.heuristics["hold + walk"].returns)
