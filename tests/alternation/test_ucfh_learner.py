"""UCFH in `solve` and in the table of chains: what the seed does, which form is marked, and what is refused."""

import pytest

import altmarl_torch as am
from altmarl_torch.errors import AltMarlError
from altmarl_torch.games import steer
from altmarl_torch.learners.chains.report import chain_rows
from altmarl_torch.tabular import ChainSettings


def bounds(seed):
    points, settings = [], ChainSettings(epsilon=0.5)
    am.solve(
        steer(), 2, l_learner="ucfh", chain=settings, seed=seed, steps=1, curve=lambda *point: points.append(point)
    )
    return points


def test_the_seed_of_a_run_is_that_of_its_episodes():
    assert bounds(3) == bounds(3) != bounds(4)


def test_the_form_that_is_marked_is_that_of_the_papers_rule_and_not_the_smaller():
    """2^k <= 2 k^2 up to k = 6, where the tuples are 1,408 and the other form has 240."""
    marked = {row.k: row.form for row in chain_rows(steer(), [3, 6, 7]) if row.chosen}
    assert marked == {3: "tuple", 6: "tuple", 7: "mean-field"}


def test_settings_that_are_none_are_refused():
    with pytest.raises(AltMarlError, match="chain"):
        am.solve(steer(), 2, l_learner="ucfh", chain={"epsilon": 0.1})


@pytest.mark.parametrize("settings", [{"ascent": "no"}, {"max_episodes": 0}, {"max_episodes": 2.5}])
def test_settings_are_checked_when_they_are_made(settings):
    with pytest.raises(AltMarlError, match=next(iter(settings))):
        ChainSettings(**settings)


def test_episodes_too_long_to_plan_are_refused_with_their_length():
    with pytest.raises(am.SizeError, match=r"H = [\d,]+ macro steps at gamma = 0.999999"):
        am.solve(steer(0.999999), 1, l_learner="ucfh")
