"""Options are records, for `solve` and for a configuration, checked once; a run for another k is the same run."""

import dataclasses
import inspect
import logging

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation import runner
from altmarl_torch.alternation.options import Keeping, Learning, Options, Problem, Stopping
from altmarl_torch.alternation.run import AlternationRun, fit
from altmarl_torch.games import steer, warehouse
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.theory import eta_algorithm_3

RECORDS = (Problem, Learning, Stopping, Keeping)
OF_K = {"sizes"}
"""What the argument k says."""

FIELDS = {field.name: field.default for record in RECORDS for field in dataclasses.fields(record)}
FIELDS = {name: default for name, default in FIELDS.items() if name not in OF_K}
OF_PYTHON = {"alpha", "start", "g_learner", "chain", "network", "callback", "progress", "curve", "checkpoints"}
"""What no flag can say, or what several flags say (chain)."""


def run(game, k, **fields):
    return AlternationRun.of(game, Options(Problem(k), **fields))


def test_the_arguments_of_solve_are_the_fields_of_the_records_with_their_defaults():
    arguments = {name: one.default for name, one in inspect.signature(am.solve).parameters.items() if name != "game"}
    empty = {inspect.Parameter.empty, dataclasses.MISSING}
    assert arguments.keys() == FIELDS.keys()
    assert all(arguments[name] == FIELDS[name] for name in arguments if arguments[name] not in empty)


def test_a_configuration_contains_the_records():
    config = TrainConfig(k=3, solver="tabular", m=7, eta=0.5, steps=2, objective="own", starts=4)
    options = config.options(Keeping())
    assert (options.problem.k, options.problem.objective) == (3, "own")
    assert (options.learning.m, options.learning.starts) == (7, 4)
    assert (options.stopping.eta, options.stopping.steps) == (0.5, 2)
    assert FIELDS.keys() - OF_PYTHON <= {field.name for field in dataclasses.fields(TrainConfig)}


def test_a_run_for_another_k_has_the_rules_of_that_k():
    """The prior of a large sample is chosen for a smaller one, whose eta is not that of the large one."""
    first = run(warehouse(), 10, stopping=Stopping(eta="paper"))
    for k in (3, 50):
        rules = first.at(k).rules
        assert rules.eta_paper == rules.eta(None, None) == eta_algorithm_3(warehouse(), k)
    assert first.at(3).at(10).rules.eta_paper == first.rules.eta_paper


def test_a_run_for_another_k_begins_with_tables_of_that_k():
    game = steer()
    start = run(game, 2).starting_at(am.policies.uniform_local(game)).at(5).first_pair
    assert start.pi_g.shape == (2, 6, 2)


def test_a_solution_s_eta_is_that_of_its_k_whatever_it_was_chosen_for(monkeypatch):
    """Beyond the memory's size the search runs for fewer agents, and then once for k."""
    found = []
    learn = runner.learn
    monkeypatch.setattr(
        "altmarl_torch.alternation.prior_search.learn", lambda one: found.append(learn(one)) or found[-1]
    )
    monkeypatch.setattr("altmarl_torch.alternation.prior_search.memory_size", lambda game, solver: 2)
    game = warehouse(num_zones=3, n=12)
    solution = am.solve(game, 4, observation="posterior", steps=1)
    assert {one.k for one in found} == {2, 4}
    assert solution.k == 4
    assert all(one.eta_paper == eta_algorithm_3(game, one.k) for one in found)


def test_without_features_there_are_at_most_four_calls_from_solve_to_the_loop(monkeypatch):
    depths = []

    def stopped(*arguments, **named):
        frames = [frame.function for frame in inspect.stack()]
        depths.append(frames[: frames.index("solve") + 1])
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "alternate", stopped)
    with pytest.raises(KeyboardInterrupt):
        am.solve(steer(), 2)
    (frames,) = depths
    own = [name for name in frames[1:] if name != "inner"]  # the thread guard is no step of ours
    assert own == ["learn", "_solve", "solve_with", "solve"]  # and `alternate`, the fourth call


def test_the_paper_s_vacuity_is_said_once(caplog):
    with caplog.at_level(logging.WARNING, logger="altmarl_torch"):
        am.solve(steer(), 2, eta="paper", starts=2)
    assert caplog.text.count("vacuous") == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Problem(0), "k must be an integer at least 1, not 0"),
        (
            lambda: Learning(solver="neural", l_learner="ucfh"),
            "needs solver='tabular' or .*; with solver='neural' use",
        ),
        (lambda: Learning(solver="lifted", network=torch.nn.Identity()), "network is trained by solver='neural'"),
        (lambda: Keeping(checkpoints=3), "checkpoints must be the path of a folder, not int"),
        (lambda: Keeping(callback=3), "callback must be a function or None"),
        (lambda: Options(Problem(2, observation="filter"), Learning(xi=3)), "xi draws the rewards of the surrogate"),
        (lambda: fit(Options(Problem(200)), steer()), r"k must be an integer in 1\.\.100"),
    ],
)
def test_a_record_that_is_wrong_is_not_made(wrong, message):
    with pytest.raises(am.ArgumentError, match=message):
        wrong()
