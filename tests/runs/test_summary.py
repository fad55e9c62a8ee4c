"""What summary.json says of the game's names."""

import pytest

import altmarl_torch as am
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.summary import summary_of


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({}, None),
        ({"sl_names": ["on", "off"], "al_names": ["wait", "go"]}, {"sl": ["on", "off"], "al": ["wait", "go"]}),
    ],
)
def test_names_are_kept_where_there_are_any(named, told):
    game = am.games.random_game(2, 2, 2, 2).replace(**named)
    summary = summary_of(TrainConfig(k=1), game, am.solve(game, 1, steps=1), None, None, 0.0)
    assert summary["names"] == told
