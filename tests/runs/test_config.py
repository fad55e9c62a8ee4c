"""The configuration: every field is a flag, a key and a check."""

import argparse
import dataclasses
import re

import pytest
import torch

from altmarl_torch import games
from altmarl_torch.alternation.options import Keeping
from altmarl_torch.errors import AltMarlError, ArgumentError, SizeError
from altmarl_torch.games import steer
from altmarl_torch.runs.config import TrainConfig, add_arguments, from_arguments


def parse(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return from_arguments(parser.parse_args(words))


def test_no_flags_give_the_defaults():
    assert parse() == TrainConfig()


@pytest.mark.parametrize(
    ("flag", "text", "field", "value"),
    [
        ("--game", "steer", "game", "steer"),
        ("--k", "3", "k", 3),
        ("--n", "12", "n", 12),
        ("--gamma", "0.5", "gamma", 0.5),
        ("--solver", "tabular", "solver", "tabular"),
        ("--l-learner", "dp", "l_learner", "dp"),
        ("--l-learner", "neural", "l_learner", "neural"),
        ("--objective", "own", "objective", "own"),
        ("--observation", "posterior", "observation", "posterior"),
        ("--observation", "filter", "observation", "filter"),
        ("--m", "30", "m", 30),
        ("--eta", "paper", "eta", "paper"),
        ("--eta", "0.25", "eta", 0.25),
        ("--accept", "all-states", "accept", "all-states"),
        ("--steps", "2", "steps", 2),
        ("--answer-rate", "0.8", "answer_rate", 0.8),
        ("--turnover", "0.02", "turnover", 0.02),
        ("--seed", "7", "seed", 7),
        ("--device", "cuda:1", "device", "cuda:1"),
        ("--learning-rate", "0.01", "learning_rate", 0.01),
        ("--runs-dir", "elsewhere", "runs_dir", "elsewhere"),
    ],
)
def test_a_flag_sets_its_field_and_no_other(flag, text, field, value):
    assert parse(flag, text) == dataclasses.replace(TrainConfig(), **{field: value})


@pytest.mark.parametrize("name", ["quiet", "compile"])
def test_a_truth_is_a_switch(name):
    assert parse(f"--{name}") == dataclasses.replace(TrainConfig(), **{name: True})
    assert getattr(TrainConfig(), name) is False


def test_the_main_job_is_neural_on_whatever_device_there_is():
    config = TrainConfig()
    assert (config.solver, config.device, config.l_learner) == ("neural", "auto", "auto")
    assert config.build_game().device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_every_field_has_help_and_its_default_in_the_help():
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=10_000))
    add_arguments(parser)
    text = " ".join(parser.format_help().split())
    for field in dataclasses.fields(TrainConfig):
        assert field.metadata["help"], field.name
        assert f"--{field.name.replace('_', '-')}" in text
        assert field.metadata["help"] in text
        if field.metadata["parse"] is not bool:
            assert f"(default: {field.metadata['unset'] or field.default})" in text


def test_a_configuration_survives_the_round_trip_through_its_record():
    config = TrainConfig(game="steer", k=2, eta=0.5, gamma=0.9, quiet=True)
    assert TrainConfig.from_dict(config.as_dict()) == config


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("k", 0, "k must be an integer at least 1, not 0"),
        ("k", 2.5, "k must be an integer at least 1, not 2.5"),
        ("n", 0, r"n must be an integer in 1\.\.\d+, not 0"),
        ("m", 0, r"m must be an integer in 1\.\.1000000, not 0"),
        ("steps", 0, r"steps must be an integer in 1\.\.1000000, not 0"),
        ("episodes", 0, "episodes must be an integer at least 1"),
        ("horizon", -1, "horizon must be an integer at least 1"),
        ("seed", -1, r"seed must be an integer in 0\.\."),
        ("gamma", 1.0, r"gamma must be a number in \[0, 1\), not 1.0"),
        ("gamma", float("nan"), r"gamma must be a number in \[0, 1\)"),
        ("eta", "loose", "eta must be a number in .* one of auto, paper, not 'loose'"),
        ("eta", -0.1, "eta must be a number"),
        ("eta", float("inf"), "eta must be a number"),
        ("solver", "magic", "solver must be one of auto, tabular, neural, lifted; not 'magic'"),
        ("accept", "any", "accept must be one of mean, all-states; not 'any'"),
        ("l_learner", "magic", "l_learner must be one of auto, dp, ucfh, neural; not 'magic'"),
        ("learning_rate", 0, r"learning_rate must be a number in \(0, inf\), not 0"),
        ("learning_rate", float("nan"), r"learning_rate must be a number in \(0, inf\)"),
        ("learning_rate", float("inf"), r"learning_rate must be a number in \(0, inf\)"),
        ("answer_rate", 1.5, r"answer_rate must be a number in \[0, 1\], not 1\.5"),
        ("turnover", -1, r"turnover must be a number in \[0, 1\], not -1"),
        ("learning_rate", "fast", r"learning_rate must be a number in \(0, inf\)"),
        ("observation", "dream", "observation must be one of surrogate, posterior, filter, population; not 'dream'"),
        ("compile", 1, "compile must be true or false, not 1"),
        ("quiet", "yes", "quiet must be true or false, not 'yes'"),
        ("runs_dir", None, "runs_dir must be text, not None"),
    ],
)
def test_what_is_out_of_range_is_refused_with_the_range(field, value, message):
    with pytest.raises(ArgumentError, match=message):
        TrainConfig(**{field: value})


def test_the_solver_is_chosen_by_the_local_learner():
    assert parse("--l-learner", "ucfh").solver == "tabular"
    assert parse("--l-learner", "ucfh", "--solver", "tabular").chain.epsilon == 0.05
    assert parse("--l-learner", "dp").solver == "neural"
    assert parse("--l-learner", "dp").chain is None
    with pytest.raises(ArgumentError, match="l_learner='ucfh' needs solver='tabular'"):
        parse("--l-learner", "ucfh", "--solver", "neural")


def test_presets_are_a_game_and_a_horizon():
    paper, code = parse(), parse("--preset", "code")
    assert (paper.horizon, code.horizon, parse("--preset", "code", "--horizon", "7").horizon) == (100, 50, 7)
    assert torch.equal(paper.build_game().r_g, games.warehouse().r_g)
    assert torch.equal(code.build_game().r_g, torch.ones(5, 5, dtype=torch.float64))


def test_a_preset_belongs_to_the_warehouse(tmp_path):
    games.warehouse().save(tmp_path / "my.npz")
    for game in ("steer", str(tmp_path / "my.npz")):
        with pytest.raises(ArgumentError, match="preset must be paper for game"):
            TrainConfig(game=game, k=2, preset="code").build_game()
    with pytest.raises(ArgumentError, match="preset must be one of paper, code"):
        TrainConfig(preset="papre")


def test_a_local_network_needs_the_neural_solver():
    assert parse("--solver", "neural", "--l-learner", "neural").l_learner == "neural"
    with pytest.raises(ArgumentError, match="l_learner='neural' needs solver='neural'"):
        parse("--solver", "tabular", "--l-learner", "neural")


def test_counts_too_many_to_list_are_refused_for_tables_alone():
    fields = {"game": "warehouse", "k": 900, "episodes": 2, "horizon": 2}
    assert TrainConfig(**fields, solver="neural").build_game().n == 1000
    with pytest.raises(SizeError, match="count vectors"):
        TrainConfig(**fields, solver="tabular").build_game()


def test_networks_count_in_float32():
    fields = {"game": "steer", "n": 2**25, "k": 2**24 + 1, "episodes": 2, "horizon": 2}
    with pytest.raises(SizeError, match="networks see counts in float32"):
        TrainConfig(**fields).build_game()


def test_a_memory_asks_nothing_of_the_size_of_a_sample():
    fields = {"game": "warehouse", "k": 900, "episodes": 2, "horizon": 2, "observation": "filter"}
    assert TrainConfig(**fields, solver="tabular").build_game().n == 1000


def test_the_corrected_operator_has_no_frozen_draws():
    with pytest.raises(ArgumentError, match="observation='posterior' needs m=None with solver='tabular'"):
        TrainConfig(solver="tabular", observation="posterior", m=30)
    assert TrainConfig(observation="posterior", m=30).m == 30


def test_an_unknown_key_of_a_record_is_named():
    with pytest.raises(ArgumentError, match="no option is called colour; the options are game, game_option, k"):
        TrainConfig.from_dict({"colour": "blue"})


def test_n_and_gamma_replace_the_games_own():
    game = TrainConfig(game="steer", k=2, n=7, gamma=0.5).build_game()
    assert (game.n, game.gamma) == (7, 0.5)
    assert TrainConfig(game="steer", k=2).build_game().n == steer().n


def test_a_game_comes_from_a_file(tmp_path):
    path = tmp_path / "mine.npz"
    steer(n=9).save(path)
    assert TrainConfig(game=str(path), k=9).build_game().n == 9
    assert TrainConfig(game=str(path), k=9, n=30).build_game().n == 30


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"game": "wharehouse"}, "no game is named 'wharehouse'.*warehouse, steer.*did you mean 'warehouse'"),
        ({"game": "nowhere.npz"}, "game 'nowhere.npz': there is no such file"),
        ({"device": "abacus"}, "device must be one of auto, cpu.* on this machine; not 'abacus'"),
        ({"game": "steer", "k": 101}, r"k must be an integer in 1\.\.100, not 101"),
    ],
)
def test_what_only_the_machine_or_the_game_can_judge_is_refused_when_the_game_is_built(fields, message):
    config = TrainConfig(**fields)
    with pytest.raises(AltMarlError, match=message):
        config.build_game()


def test_text_is_not_empty():
    with pytest.raises(ArgumentError, match="runs_dir must not be empty"):
        parse("--runs-dir", "")


@pytest.mark.parametrize("flag", ["--episodes", "--horizon"])
def test_an_evaluation_that_would_not_fit_in_memory_is_refused_with_the_game(flag):
    with pytest.raises(SizeError, match="too many to keep"):
        parse(flag, "100000000000").build_game()


@pytest.mark.parametrize(("text", "number"), [("1e9", 10**9), ("1000", 1000), ("2.5e3", 2500), ("1e3", 1000)])
def test_a_whole_number_may_have_an_exponent(text, number):
    found = parse("--n", text, "--episodes", text)
    assert (found.n, found.episodes) == (number, number)
    assert isinstance(found.n, int)


@pytest.mark.parametrize("text", ["1.5", "1e-3", "many", "inf", "nan", ""])
def test_what_is_no_whole_number_is_refused(text):
    with pytest.raises(argparse.ArgumentError, match="invalid int value"):
        parse("--n", text)


def test_a_range_is_the_fewest_and_the_most():
    config = TrainConfig(game="steer", k="2:4")
    assert (config.fewest, config.k) == (2, 4)
    assert config.options(Keeping()).problem.sizes == (2, 3, 4)
    assert TrainConfig.from_dict(config.as_dict()) == config
    assert TrainConfig(game="steer", k=4).options(Keeping()).problem.sizes is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"k": "4:2"}, "k must be an integer, or a range as 1:50, not '4:2'"),
        ({"k": "1:"}, "k must be an integer, or a range as 1:50, not '1:'"),
        ({"k": "few"}, "k must be an integer, or a range as 1:50, not 'few'"),
        ({"k": "3,1"}, "k must be an integer, or a range as 1:50, not '3,1'"),
        ({"k": "1:50:7"}, "k must be an integer, or a range as 1:50, not '1:50:7'"),
        ({"k": "1:3", "fewest": 2}, "k must be an integer, or a range as 1:50"),
        ({"k": 3, "fewest": 4}, "fewest must be an integer in 1..3, not 4"),
        ({"k": 3, "fewest": 0}, "fewest must be an integer in 1..3, not 0"),
        ({"k": "1:3", "solver": "tabular"}, "several k are learned by one network: that needs solver='neural'"),
    ],
)
def test_a_range_that_is_none_is_refused(fields, message):
    with pytest.raises(ArgumentError, match=re.escape(message)):
        TrainConfig(game="steer", **fields)
