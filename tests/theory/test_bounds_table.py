"""`altmarl bounds`: the numbers are those of `theory`, vacuous ones are called so, and JSON is JSON."""

import json
import re

import pytest

import altmarl_torch as am
from altmarl_torch import theory
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.runs.cli.main import main
from altmarl_torch.theory.bounds_table import bounds_json, bounds_table, bounds_text


@pytest.fixture(scope="module")
def table():
    return bounds_table(warehouse(), [1, 10, 20, 50])


def row(table, name):
    (found,) = [row for row in table.rows if row.name == name]
    return found


def test_numbers_are_those_of_the_theory(table):
    eta = row(table, "eta_algorithm_3")
    assert eta.values == tuple(theory.eta_algorithm_3(warehouse(), k) for k in (1, 10, 20, 50))
    assert eta.values[3] == pytest.approx(11012, abs=1)
    assert eta.vacuous == (True,) * 4
    printed = row(table, "noise_lemma_b35, counts")
    assert printed.values[1] == theory.noise_lemma_b35(warehouse(), 10, m=30, rho=0.05).counts


def test_every_function_has_a_row_but_those_of_other_commands(table):
    shown = {re.match(r"\w+", row.name)[0] for row in table.rows}
    functions = {name for name in theory.__all__ if name.islower()}
    needless = {"error_theorem_e4", "lemma_b36", "horizon_lemma_c1", "confidence_theorem_b26"}
    of_chains = {"algorithm_5"}  # `altmarl chains`
    assert functions - shown == needless | of_chains
    assert shown <= functions


def test_the_smallest_k_is_where_it_starts_to_say_something(table):
    game = warehouse()
    for name, limit in (("eta_theorem_4_8", game.v_max / 2), ("gap_theorem_b16", game.v_max)):
        formula, k = getattr(theory, name), row(table, name).smallest_k
        assert formula(game.replace(n=k), k) < limit <= formula(game.replace(n=k - 1), k - 1)
    assert row(table, "noise_lemma_b35, tuples").smallest_k is None  # it grows with k
    at_zero = bounds_table(random_game(num_sl=2, num_ag=2, gamma=0.0), [1])
    assert row(at_zero, "eta_algorithm_3").smallest_k == 705


def test_the_smallest_k_agrees_with_the_columns():
    table = bounds_table(random_game(gamma=0.0, n=10_000), [1, 30, 100, 300, 1000, 5000])
    for found in table.rows:
        if found.limit is not None and found.smallest_k is not None:
            assert found.vacuous == tuple(k < found.smallest_k for k in table.k), found.name


def test_orders_are_never_called_vacuous(table):
    assert all(row.limit is None and set(row.vacuous) == {None} for row in table.rows if row.order)


def test_the_text_has_the_plain_word(table):
    text = bounds_text(table)
    assert re.search(r"^eta_algorithm_3 .* 11,012 vacuous +k = [\d,]+$", text, flags=re.MULTILINE)
    assert "> 1e+15" in text


def test_the_command_prints_text_and_json(capsys):
    assert main(["bounds", "--game", "warehouse", "--k", "1,50"]) == 0
    assert "11,012 vacuous" in capsys.readouterr().out
    assert main(["bounds", "--k", "1,1000", "--n", "5000", "--gamma", "0.9", "--json"]) == 0

    def refuse(word):
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert (found["game"], found["n"], found["gamma"], found["k"]) == ("warehouse", 5000, 0.9, [1, 1000])
    tuples = next(row for row in found["rows"] if row["name"] == "q_entries_tuples")
    assert tuples["values"] == [125, None]
    assert tuples["log10"][1] == pytest.approx(700.37, abs=0.01)


def test_negative_rewards_are_one_line_and_no_warning(recwarn):
    game = random_game()
    table = bounds_table(game.replace(r_g=game.r_g - 1), [1])
    assert table.negative_rewards
    assert bounds_json(table)["negative_rewards"] is True
    assert "some rewards are negative" in bounds_text(table)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "0"], "k must be an integer in 1..1000, not 0"),
        (["--k", "1,1001"], "k must be an integer in 1..1000, not 1001"),
        (["--k", "1,x"], "argument --k: '1,x' is no list of whole numbers like 1,10,20"),
        (["--delta", "1"], "delta must be a number in (0, 1), not 1.0"),
        (["--m", "0"], "m must be an integer at least 1, not 0"),
        (["--game", "chess"], "no game is named 'chess'"),
    ],
)
def test_wrong_arguments(words, message, capsys):
    assert main(["bounds", *words]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")


def test_no_columns():
    with pytest.raises(am.ArgumentError, match="at least one"):
        bounds_table(warehouse(), [])
