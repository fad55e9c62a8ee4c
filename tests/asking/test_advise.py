"""How many to ask: the choice against an exhaustive sweep, prices by hand, and what is refused."""

import dataclasses
import math

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.asking.advise import _around, _ladder
from altmarl_torch.asking.played import Asking, Played, Plays
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.plots import advice_figure

SETTINGS = {"episodes": 300, "horizon": 20, "largest": 6}
PRICES = [0.0, 0.02, 0.1, 0.5]


def small():
    return am.games.warehouse(num_zones=3, n=40)


@pytest.fixture(scope="module")
def advice():
    return am.advise(small(), PRICES, **SETTINGS)


@pytest.fixture(scope="module")
def swept():
    """Every k, one by one, by the public functions alone."""
    game, found = small(), {}
    played = {"episodes": 300, "horizon": 20}
    memory = am.solve(game, 1, observation="filter", solver="auto")
    for k in range(1, 7):
        pairs = [am.solve(game, k, solver="auto"), *am.heuristics.heuristic_pairs(game, k).values()]
        found[k, False] = max(am.rollout(game, pair, **played).mean for pair in pairs)
        found[k, True] = am.rollout(game, dataclasses.replace(memory, k=k), **played).mean
    found[0, True] = am.rollout(game, memory, answer_rate=0.0, **played).mean
    return found


@pytest.mark.parametrize("index", range(len(PRICES)))
def test_the_choice_is_that_of_an_exhaustive_sweep(advice, swept, index):
    choice, price = advice.choices[index], PRICES[index]
    questions = sum(small().gamma ** t for t in range(20))
    best = max(mean - price * k * questions for (k, _), mean in swept.items())
    assert choice.price == price
    assert choice.net >= best - choice.asking.sem
    assert choice.asking.mean - price * choice.asking.k * questions == pytest.approx(choice.net)


def test_dearer_questions_are_asked_less(advice):
    ks = [choice.asking.k for choice in advice.choices]
    assert ks == sorted(ks, reverse=True)
    assert ks[-1] == 0


def test_every_way_plays_the_same_episodes_and_keeps_a_pair_that_can_be_played(advice):
    for way in advice.ways:
        rate = 0.0 if way.k == 0 and way.remembers else 1.0
        again = am.rollout(small(), way.pair, episodes=300, horizon=20, answer_rate=rate)
        assert torch.equal(again.returns, way.returns)
    assert {way.k for way in advice.ways} >= {0, 1, 6}


def test_what_is_paid_is_discounted_by_hand():
    plays = Plays(2, 3, 0, 1.0)
    assert plays.questions(0.5) == pytest.approx(1 + 0.5 + 0.25)
    way = Asking(4, True, "filter", None, torch.tensor([10.0, 12.0]), 4 * 1.75)
    assert (way.mean, way.paid(0.1), way.net(0.1)) == (11.0, pytest.approx(0.7), pytest.approx(10.3))


def test_the_lead_is_measured_episode_by_episode(advice):
    choice = advice.choices[1]
    paid = choice.asking.paid(0.02) - choice.rival.paid(0.02)
    difference = choice.asking.returns - choice.rival.returns - paid
    assert choice.rival.remembers != choice.asking.remembers
    assert choice.lead.mean == pytest.approx(float(difference.mean()))
    assert choice.asking.k in choice.alike


def test_asking_when_it_pays_has_a_row_of_its_own_beside_the_choice(advice):
    """At every price above 0: what it leaves over the best fixed k, on the same episodes."""
    table = advice.table().splitlines()
    assert advice.choices[0].when_it_pays is None
    for place, choice in enumerate(advice.choices[1:]):
        deciding = choice.when_it_pays
        played = am.rollout(small(), deciding.pair, episodes=300, horizon=20)
        assert torch.equal(played.returns, deciding.paid.returns)
        left = played.returns - choice.price * deciding.paid.asked
        more = left - (choice.asking.returns - choice.asking.paid(choice.price))
        assert deciding.lead.mean == pytest.approx(float(more.mean()))
        row = table[1 + len(advice.ways) + place].split()
        assert row[:5] == ["0..6", "yes", "when", "it", "pays"]
        assert row[-2:] == [f"{float(played.returns.mean() - left.mean()):.2f}", f"{float(left.mean()):.2f}"]
        assert f"asking when it pays, {deciding.paid.mean_asked:.2g} a step" in str(choice)


def test_asking_when_it_pays_is_not_tried_where_some_are_silent_or_nothing_is_remembered():
    for options in ({"answer_rate": 0.5}, {"memory": False}):
        found = am.advise(am.games.steer(), 0.1, largest=2, episodes=20, horizon=5, **options)
        assert found.choices[0].when_it_pays is None
        assert "0..2" not in found.table()


def test_without_a_price_the_smallest_k_that_is_good_enough():
    game = small()
    for share in (0.9, 0.99):
        advice = am.advise(game, share=share, **SETTINGS)
        target = share * advice.everybody.mean
        assert advice.enough.mean >= target
        assert advice.choices == ()
        below = [way for way in advice.ways if way.k == advice.enough.k - 1]
        assert all(way.mean < target for way in below)
    memoryless = am.advise(game, share=0.97, memory=False, **SETTINGS)
    assert not any(way.remembers for way in memoryless.ways)
    assert "everybody seen would earn" in memoryless.sentences()[0]


def test_no_k_may_be_good_enough():
    advice = am.advise(small(), share=1.0, largest=1, memory=False, episodes=300, horizon=20)
    assert advice.enough is None
    assert "no k that was played earns 100 %" in str(advice)


def test_the_text_has_a_row_for_every_way_and_a_sentence_for_every_price(advice):
    text = str(advice)
    assert len(advice.table().splitlines()) == 1 + len(advice.ways) + sum(price > 0 for price in PRICES)
    assert [line.split(" ask ")[0] for line in advice.sentences()] == [f"at a price of {price:g}" for price in PRICES]
    assert text.count("95 % interval") == len(PRICES)


def test_the_ladder_begins_with_nobody_and_ends_with_the_largest():
    assert _ladder(1) == [0, 1]
    assert _ladder(10) == [0, 1, 2, 3, 4, 6, 9, 10]
    assert _ladder(50)[-2:] == [47, 50] or _ladder(50)[-1] == 50


def way(k, mean):
    return Asking(k, True, "filter", None, torch.full((4,), float(mean)), float(k))


def test_gaps_beside_the_best_are_refined_where_it_could_pay():
    ways = [way(0, 0), way(4, 10), way(12, 10.5), way(20, 10.6)]
    assert _around(ways, 0.0) == []  # 16 of the gap below 20 earns no more than 20
    assert _around(ways, 0.2) == [2, 8]  # 4 leaves 9.2; 5 could earn 10.5 and leave 9.5, and 1 could leave 9.8
    assert _around(ways, 0.6) == [2]  # 4 leaves 7.6; 5 could leave 7.5: not worth a try
    assert _around([way(1, 3), way(2, 4), way(3, 4)], 0.0) == []


def test_answers_that_stay_away_are_paid_and_missed():
    full, half = (am.advise(small(), 0.02, answer_rate=rate, **SETTINGS) for rate in (1.0, 0.5))
    one, other = (next(way for way in found.ways if way.k == 1 and way.remembers) for found in (full, half))
    assert one.asked == other.asked
    assert other.mean < one.mean


def test_pairs_are_learned_once():
    lines = []
    played = Played(small(), Plays(20, 5, 0, 1.0), True, lines.append)
    assert played.way(2, True) is played.way(2, True)
    played.way(1, False)
    assert len(lines) == 2
    assert lines[0].startswith("k = 2, filter: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"costs": -0.1}, r"costs must be a number in \[0, inf\), not -0.1"),
        ({"costs": [0.1, math.nan]}, r"costs must be a number in \[0, inf\)"),
        ({"costs": math.inf}, r"costs must be a number in \[0, inf\)"),
        ({"costs": "cheap"}, r"costs must be a number in \[0, inf\), not 'cheap'"),
        ({"costs": []}, "costs must be a price or several"),
        ({"share": 0}, r"share must be a number in \(0, 1\], not 0"),
        ({"share": 1.2}, r"share must be a number in \(0, 1\]"),
        ({"largest": 41}, "largest must be an integer in 1..40, not 41"),
        ({"largest": 0}, "largest must be an integer in 1..40, not 0"),
        ({"episodes": 1}, "episodes must be an integer in 2"),
        ({"horizon": 0}, "horizon must be an integer in 1"),
        ({"memory": "yes"}, "memory must be true or false"),
        ({"answer_rate": 2}, r"answer_rate must be a number in \[0, 1\], not 2"),
        ({"seed": -1}, "seed must be an integer"),
    ],
)
def test_what_is_out_of_range_is_refused_in_a_line(arguments, message):
    with pytest.raises(am.ArgumentError, match=message) as raised:
        am.advise(small(), **arguments)
    assert "\n" not in str(raised.value)


def test_the_figure_shows_the_choices_and_hides_what_is_far_below_them(advice):
    of_return, of_net = advice_figure(advice).axes
    nets = [choice.net for choice in advice.choices if choice.price > 0]
    low, high = of_net.get_ylim()
    assert low < min(nets)
    assert max(nets) < high
    assert high - low <= 4 * max(max(nets) - min(nets), 0.05 * min(nets))
    stars = [line for line in of_net.get_lines() if line.get_marker() == "*"]
    assert [line.get_ydata()[0] for line in stars] == nets
    sizes = [line.get_markersize() for line in stars]
    assert sizes == sorted(set(sizes), reverse=True)  # none hides another
    assert all(axes.get_xlim()[0] > -1 for axes in (of_return, of_net))


WORDS = ["advise", "--game", "steer", "--episodes", "50", "--horizon", "10", "--largest", "2"]


def test_the_command_prints_the_table_and_draws(tmp_path, capsys):
    path = tmp_path / "advice.png"
    assert main([*WORDS, "--prices", "0,0.1", "--figure", str(path)]) == 0
    streams = capsys.readouterr()
    assert "net at 0.1" in streams.out
    assert streams.out.count("at a price of") == 2
    assert "k = 1, filter" in streams.err
    assert path.read_bytes().startswith(b"\x89PNG")
    assert main([*WORDS, "--quiet", "--no-memory", "--share", "0.9", "--figure", str(path)]) == 0
    streams = capsys.readouterr()
    assert "everybody seen would earn" in streams.out
    assert streams.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prices", "-1"], "costs must be a number in [0, inf), not -1.0"),
        (["--prices", "1,cheap"], "argument --prices: prices are numbers, with commas between them, not '1,cheap'"),
        (["--share", "7"], "share must be a number in (0, 1], not 7.0"),
        (["--game", "poker"], "game"),
    ],
)
def test_wrong_words_end_with_2_and_a_line(words, message, capsys):
    assert main([*WORDS, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
