"""Networks that begin from lifted functions: the same loop, its end no worse, in a small part of the steps."""

import dataclasses
import logging

import pytest
import torch
from oracles.killer import Killed, Killer
from oracles.neural import cut_short, exact_mean, small_batches

import altmarl_torch as am
from altmarl_torch.alternation.options import Learning, Options, Problem, Stopping
from altmarl_torch.alternation.players import lifted_start as module
from altmarl_torch.alternation.players.lifted_start import lifted_start
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.games import random_game
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.started import StartedNetwork

GAME = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, gamma=0.9, laziness=0.7, seed=5)
K = 32
"""561 count vectors under 2 global states: more than are trained on all at once."""


def run_of(k=K, **options):
    stopping = Stopping(eta=options.pop("eta", "auto"))
    problem = Problem(k, sizes=options.pop("sizes", None))
    return AlternationRun.of(GAME, Options(problem, Learning(solver="neural", **options), stopping))


def on_networks(solution):
    """The proposals of networks: those of lifted functions come before them."""
    return [update for update in solution.history if "nested/start" not in update.details]


@pytest.fixture(scope="module")
def solution():
    with small_batches():
        return am.solve(GAME, K, solver="neural")


def test_the_pair_is_worth_what_the_tabular_one_is(solution):
    assert isinstance(solution.policy.network, StartedNetwork)
    exact = am.solve(GAME, K)
    assert exact_mean(GAME, solution.pi_g, solution.pi_l, K) >= exact.value - 1e-3 * abs(exact.value)
    assert torch.equal(solution.pi_l, exact.pi_l)


def test_the_start_is_the_lifted_pair():
    """Its pi_l, and pi_g greedy in its continuation values."""
    start, lifted = lifted_start(run_of()), am.solve(GAME, K, solver="lifted")
    assert torch.equal(start.pi_l, lifted.pi_l)
    assert start.continuation.shape[:2] == (2, 3)
    assert not start.interrupted


def test_the_history_begins_with_what_led_to_the_start(solution):
    """And whoever listens is told each proposal once, those of lifted functions first."""
    told = []
    with small_batches():
        again = am.solve(GAME, K, solver="neural", callback=told.append)
    lifted = am.solve(GAME, K, solver="lifted").history
    before = solution.history[: len(lifted)]
    assert [update.value_proposed for update in before] == [update.value_proposed for update in lifted]
    assert [update.details["nested/start"] for update in before] == ["lifted"] * len(lifted)
    assert len(on_networks(solution)) == len(solution.history) - len(lifted)
    assert tuple(told) == again.history


@pytest.mark.parametrize(
    ("why", "run"),
    [
        ("as printed", lambda: run_of(nested="off")),
        ("eta of the paper", lambda: run_of(eta="paper")),
        ("few pairs", lambda: run_of(4)),
        ("several sizes", lambda: run_of(sizes=range(1, K + 1))),
        ("a network of one's own", lambda: run_of(network=CountNetwork(3, 2, 3))),
        ("a start that is given", lambda: run_of(start=am.solve(GAME, 2))),
    ],
)  # fmt: skip
def test_where_it_begins_as_printed(why, run):
    assert lifted_start(run()) is None


def test_the_log_says_where_it_begins(caplog):
    with cut_short(), caplog.at_level(logging.INFO):
        am.solve(GAME, K, solver="neural", steps=1)
    assert "networks begin from lifted functions of degree" in caplog.text


def test_a_start_that_solves_the_problem_takes_no_step(solution):
    """Degree 10 says all that there is to say of this game."""
    assert on_networks(solution)[0].sweeps == 0
    assert on_networks(solution)[0].details["g_learn/residual"] < 2e-3 * 1.5  # of the span of the rewards
    assert solution.policy.network.degree == 10


def test_one_that_does_not_is_trained():
    """Five zones at k = 50, where values have kinks."""
    with cut_short():
        found = am.solve(am.games.warehouse(), 50, solver="neural", steps=1)
    assert on_networks(found)[0].sweeps > 0


def test_where_lifted_functions_cost_more_than_the_network_it_begins_as_printed(monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 1000)
    assert lifted_start(run_of()) is None
    many = am.games.warehouse(num_zones=20, n=10**6)
    assert lifted_start(AlternationRun.of(many, Options(Problem(100), Learning(solver="neural")))) is None


def test_an_interrupt_of_the_search_ends_the_alternation(monkeypatch):
    def interrupted(*arguments, **options):
        result = alternate(*arguments, **options)
        return dataclasses.replace(result, interrupted=True)

    alternate = module.alternate
    monkeypatch.setattr(module, "alternate", interrupted)
    with cut_short():
        found = am.solve(GAME, K, solver="neural")
    assert found.interrupted
    assert on_networks(found) == []
    assert torch.equal(found.pi_l, am.solve(GAME, K, solver="lifted").pi_l)


@pytest.mark.parametrize("files", [1, 2])
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch, files):
    def solve(folder):
        with cut_short():
            return am.solve(GAME, K, solver="neural", steps=2, checkpoints=folder)

    unbroken = solve(None)
    with monkeypatch.context() as patch:
        Killer(patch, files)
        with pytest.raises(Killed):
            solve(tmp_path)
    found = solve(tmp_path)
    assert torch.equal(found.pi_l, unbroken.pi_l)
    assert found.value == unbroken.value
    assert [update.value for update in found.history] == [update.value for update in unbroken.history]
    for mine, theirs in zip(
        found.policy.network.state_dict().values(), unbroken.policy.network.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_it_comes_back_from_its_file(solution, tmp_path):
    solution.save(tmp_path / "policy.npz")
    again = am.Solution.load(tmp_path / "policy.npz")
    assert isinstance(again.policy.network, StartedNetwork)
    assert torch.equal(again.pi_g, solution.pi_g)


def test_the_posterior_begins_there_too():
    with cut_short():
        found = am.solve(GAME, K, solver="neural", observation="posterior", alpha=3.0, steps=1)
    assert isinstance(found.policy.network, StartedNetwork)


def test_agents_that_play_for_themselves_begin_there_too():
    with cut_short():
        found = am.solve(GAME, K, solver="neural", objective="own", steps=1)
    assert isinstance(found.policy.network, StartedNetwork)
