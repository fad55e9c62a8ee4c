"""UCFH as the local learner of the alternation: equilibria, records, the command line."""

import json

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import altmarl_torch as am
from altmarl_torch.games import hash_game, steer, ware
from altmarl_torch.runs.cli.main import main
from altmarl_torch.tabular import ChainSettings, chained_mdp

QUICK = ChainSettings(epsilon=0.2, confidence=0.1)
TRAIN = ("train", "--game", "steer", "--l-learner", "ucfh", "--quiet", "--episodes", "20", "--horizon", "10")


@pytest.mark.parametrize(
    ("game", "k", "form"),
    [
        (steer(), 3, "tuple"),
        (steer(), 7, "mean-field"),
        (hash_game(), 2, "tuple"),
        (hash_game(), 7, "mean-field"),
        (ware(), 2, "tuple"),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_both_sides_of_the_switch_rule_end_in_an_equilibrium(game, k, form):
    solution = am.solve(game, k, l_learner="ucfh", chain=ChainSettings(confidence=0.1))
    certificate = am.certify(game, solution, parts=["global", "shared"])
    assert solution.converged
    assert certificate.shared_deviation.kind == "exact"
    assert certificate.nash_gap <= solution.eta
    assert solution.value == pytest.approx(am.solve(game, k).value)
    assert {update.details["l_learn/chain_form"] for update in solution.history if update.player == "local"} == {form}


def test_history_and_curve_tell_of_episodes_and_bounds():
    points = []
    solution = am.solve(
        steer(), 2, l_learner="ucfh", chain=QUICK, curve=lambda step, numbers: points.append((step, numbers))
    )
    local = [update for update in solution.history if update.player == "local"]
    episodes = sum(update.details["l_learn/episodes"] for update in local)
    steps = [step for step, _ in points]
    assert steps == sorted(set(steps))
    assert steps[-1] == episodes
    assert all(numbers["l_learn/value_lower"] <= numbers["l_learn/value_upper"] for _, numbers in points)
    assert all(update.details["l_learn/certified"] == 0 for update in local)  # confidence is below 1
    assert local[0].details["l_learn/chain_states"] == 24
    assert local[0].details["l_learn/objective_value"] == pytest.approx(local[0].value_proposed)


def test_the_own_objective_is_valued_apart_from_the_joint_value():
    solution = am.solve(steer(), 2, l_learner="ucfh", chain=QUICK, objective="own", steps=1)
    (local,) = [update for update in solution.history if update.player == "local"]
    assert local.details["l_learn/objective_value"] < local.value_proposed


def test_equal_seeds_give_equal_solutions():
    first, second = (am.solve(hash_game(), 2, l_learner="ucfh", chain=QUICK, seed=3) for _ in range(2))
    assert torch.equal(first.pi_l, second.pi_l)
    assert [update.details for update in first.history] == [update.details for update in second.history]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"solver": "neural"}, "l_learner='ucfh' needs solver='tabular'"),
        ({"observation": "posterior"}, "l_learner='ucfh' needs observation='surrogate'"),
        ({"observation": "filter"}, "l_learner='ucfh' needs observation='surrogate'"),
        ({"l_learner": "dp", "chain": QUICK}, "chain says how l_learner='ucfh' is run"),
    ],
)
def test_what_does_not_go_with_chains_is_refused(arguments, message):
    with pytest.raises(am.ArgumentError, match=message):
        am.solve(steer(), 2, **({"l_learner": "ucfh"} | arguments))


def test_a_chain_that_cannot_be_listed_is_refused_before_anything_is_learned():
    with pytest.raises(am.SizeError, match="mean-field chain of k = 20 agents has"):
        am.solve(am.games.warehouse(), 20, l_learner="ucfh", callback=lambda update: pytest.fail("it began"))


class TestCommandLine:
    """`python train.py --k 3 --l-learner ucfh --game steer`, with the default solver."""

    def test_a_run_records_bounds_and_the_solver_that_it_implies(self, tmp_path, capsys):
        assert main([*TRAIN, "--k", "3", "--runs-dir", str(tmp_path)]) == 0
        (folder,) = tmp_path.iterdir()
        assert folder.name.startswith("steer__tabular__k3__seed0__")
        config = json.loads((folder / "config.json").read_text())
        assert (config["solver"], config["l_learner"], config["epsilon"]) == ("tabular", "ucfh", 0.05)
        events = EventAccumulator(str(folder)).Reload()
        lower, upper = (events.Scalars(f"l_learn/value_{end}") for end in ("lower", "upper"))
        assert len(lower) == len(upper) > 10
        assert all(low.value <= high.value and low.step == high.step for low, high in zip(lower, upper, strict=True))
        for name in ("episodes", "plans", "chain_states", "chain_value", "lost_by_projection", "given_up"):
            assert events.Scalars(f"l_learn/{name}")
        assert json.loads((folder / "summary.json").read_text())["nash_gap"] < 1e-6

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--solver", "neural"], "l_learner='ucfh' needs solver='tabular'"),
            (["--epsilon", "0"], "epsilon must be a number in (0, 1]"),
            (["--epsilon", "much"], "epsilon must be a number in (0, 1]"),
            (["--delta", "2"], "delta must be a number in (0, 1]"),
            (["--confidence", "nan"], "confidence must be a number in (0, 1]"),
            (["--observation", "filter"], "l_learner='ucfh' needs observation='surrogate'"),
        ],
    )
    def test_wrong_options_end_with_2(self, words, message, tmp_path, capsys):
        assert main([*TRAIN, *words, "--runs-dir", str(tmp_path / "runs")]) == 2
        assert message in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()

    def test_a_chain_too_large_ends_with_1_and_leaves_no_folder(self, tmp_path, capsys):
        words = ["train", "--l-learner", "ucfh", "--k", "20", "--quiet", "--runs-dir", str(tmp_path)]
        assert main(words) == 1
        assert "transitions are listed" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())

    def test_chains_prints_the_sizes_of_the_listed_chains(self, capsys):
        assert main(["chains", "--game", "hash", "--k", "1,3"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()[5:]]
        game = am.games.make("hash")
        for k, form, rounds, _, states, transitions, *_ in lines:
            pi_g = am.policies.uniform_global(game, am.CountSimplex(int(k), game.num_sl))
            chain = chained_mdp(game, pi_g, int(k), form.rstrip("*"))
            sizes = chain.rounds, f"{chain.num_states:,}", f"{chain.num_transitions:,}"
            assert sizes == (int(rounds), states, transitions)
        assert [line[1] for line in lines] == ["tuple*", "mean-field", "tuple*", "mean-field"]

    @pytest.mark.parametrize(
        "words", [["--k", "0"], ["--k", "x"], ["--k", "101"], ["--epsilon", "2"], ["--delta", "0"]]
    )
    def test_chains_refuses_what_is_out_of_range(self, words, capsys):
        assert main(["chains", *words]) == 2
        assert capsys.readouterr().err.startswith("error: ")

    def test_chains_of_any_size_have_a_size(self, capsys):
        assert main(["chains", "--game", "warehouse", "--k", "500"]) == 0
        assert "about 10^" in capsys.readouterr().out
