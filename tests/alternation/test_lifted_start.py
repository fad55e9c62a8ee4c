"""Networks that begin from lifted functions: the same loop, its end no worse, in a small part of the steps."""

import dataclasses
import logging

import pytest
import torch
from oracles.killer import Killed, Killer
from oracles.neural import cut_short, exact, exact_mean, small_batches

import altmarl_torch as am
from altmarl_torch.alternation.options import Learning, Options, Problem, Stopping
from altmarl_torch.alternation.players import lifted_start as module
from altmarl_torch.alternation.players.lifted import LiftedGlobalLearner
from altmarl_torch.alternation.players.lifted_start import anchors_of, lifted_start
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.games import random_game
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import StartedNetwork
from altmarl_torch.learners.neural.surrogate import centred

GAME = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, gamma=0.9, laziness=0.7, seed=5)
K = 32
"""561 count vectors under 2 global states: more than are trained on all at once."""


def run_of(k=K, **options):
    stopping = Stopping(eta=options.pop("eta", "auto"))
    problem = Problem(k, sizes=options.pop("sizes", None))
    return AlternationRun.of(GAME, Options(problem, Learning(solver="neural", **options), stopping))


SIZES = (1, 2, 5, 12, 24, 28, K)
"""Their middle has 91 count vectors: lifted functions of degree 12 say all there is to say of up to 12 agents."""


def on_networks(solution):
    """The proposals of networks: those of lifted functions come before them."""
    return [update for update in solution.history if "nested/start" not in update.details]


@pytest.fixture(scope="module")
def solution():
    with small_batches():
        return am.solve(GAME, K, solver="neural")


@pytest.fixture(scope="module")
def every():
    with small_batches():
        return am.solve(GAME, SIZES, solver="neural")


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
    """And whoever listens is told each proposal once: those of few agents, then those of lifted functions."""
    told = []
    with small_batches():
        again = am.solve(GAME, K, solver="neural", callback=told.append)
    lifted = am.solve(GAME, K, solver="lifted").history
    before = solution.history[: len(lifted)]
    assert [update.value_proposed for update in before] == [update.value_proposed for update in lifted]
    led = [update.details.get("nested/start", "lifted") for update in lifted]
    assert [update.details["nested/start"] for update in before] == led
    assert led.count("lifted") > 0
    assert len(on_networks(solution)) == len(solution.history) - len(lifted)
    assert tuple(told) == again.history


@pytest.mark.parametrize(
    ("why", "run"),
    [
        ("as printed", lambda: run_of(nested="off")),
        ("eta of the paper", lambda: run_of(eta="paper")),
        ("several sizes, as printed", lambda: run_of(sizes=range(1, K + 1), nested="off")),
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


def test_where_a_degree_costs_more_than_the_network_it_begins_in_a_lower_one_or_as_printed(monkeypatch):
    monkeypatch.setattr(module, "MOST_NUMBERS", 600)  # of 91 count vectors of 12 agents there are 546
    assert lifted_start(run_of()).degree == 12
    monkeypatch.setattr(module, "MOST_NUMBERS", 200)
    assert lifted_start(run_of()) is None


def test_games_of_too_many_states_begin_as_printed():
    many = am.games.warehouse(num_zones=40, n=10**6)
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


def test_an_interrupt_in_its_first_turn_returns_the_pair_that_it_began_with(monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(LiftedGlobalLearner, "propose", interrupted)
    with cut_short():
        found = am.solve(GAME, K, solver="neural")
    assert found.interrupted
    assert all("nested/k" in update.details for update in found.history)
    assert found.value == pytest.approx(exact_mean(GAME, found.pi_g, found.pi_l, K), rel=1e-2)


@pytest.mark.parametrize(("k", "files"), [(K, 1), (K, 2), (SIZES, 2)])
def test_a_run_that_is_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch, k, files):
    def solve(folder):
        with cut_short():
            return am.solve(GAME, k, solver="neural", steps=2, checkpoints=folder)

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


@pytest.mark.parametrize("kind", ["solution", "every"])
def test_it_comes_back_from_its_file(request, tmp_path, kind):
    solution = request.getfixturevalue(kind)
    solution.save(tmp_path / "policy.npz")
    again = am.Solution.load(tmp_path / "policy.npz")
    assert isinstance(again.policy.network, StartedNetwork)
    assert torch.equal(again.pi_g, solution.pi_g)
    for k in solution.sizes or ():
        assert torch.equal(again.seeing(k).pi_g, solution.seeing(k).pi_g)


def test_the_posterior_begins_there_too():
    with cut_short():
        found = am.solve(GAME, K, solver="neural", observation="posterior", alpha=3.0, steps=1)
    assert isinstance(found.policy.network, StartedNetwork)


def test_agents_that_play_for_themselves_begin_there_too():
    with cut_short():
        found = am.solve(GAME, K, solver="neural", objective="own", steps=1)
    assert isinstance(found.policy.network, StartedNetwork)


# ---- several sizes


def test_of_several_sizes_each_begins_with_its_own_solution(every):
    """The best response to the pi_l of the middle size, at every one of them, those between the anchors included."""
    start = lifted_start(run_of(sizes=SIZES))
    assert (start.degree, start.anchors.numbers) == (12, (12, 24, K))
    network, pi_l = every.policy.network, start.pi_l
    assert (network.degree, network.anchors.numbers) == (start.degree, start.anchors.numbers)
    for k in SIZES:
        best = am.tabular.g_learn(exact(GAME, pi_l, k))
        value, greedy = (exact_mean(GAME, pi_g, pi_l, k) for pi_g in (best.pi_g, every.seeing(k).pi_g))
        assert greedy >= value - (1e-6 if k <= 12 else 1e-3) * abs(value)


def test_of_several_sizes_a_good_start_takes_no_step_and_stays_as_it_is(every):
    assert [update.sweeps for update in on_networks(every)] == [0, 0]
    centred_game, _ = centred(GAME)
    assert torch.equal(every.policy.r_g, centred_game.r_g.float())  # no baseline: it is the start's pair, to the bit
    middle = [one for one in am.solve(GAME, 12, solver="lifted").history if "nested/start" not in one.details]
    told = [update for update in every.history if update.details.get("nested/start") == "lifted"]
    assert told[-1].value_proposed == pytest.approx(middle[-1].value_proposed, rel=1e-9)
    assert {update.details["nested/k"] for update in told} == {12}


def test_sizes_that_were_not_learned_are_read_between_the_anchors(every):
    for k in (3, 9, 18, 30):
        best = am.tabular.g_learn(exact(GAME, every.pi_l, k))
        value = exact_mean(GAME, best.pi_g, every.pi_l, k)
        assert exact_mean(GAME, every.seeing(k).pi_g, every.pi_l, k) >= value - 1e-3 * abs(value)


@pytest.mark.parametrize(
    ("sizes", "degree", "middle", "anchors"),
    [
        (range(1, 51), 6, 26, [6, 7, 13, 26, 50]),
        ([5, 10, 20], 6, 10, [10, 20]),
        ([6, 7, 50, 51, 300], 6, 50, [6, 7, 50, 51, 300]),
        ([7], 7, 7, [7]),
    ],
)
def test_an_anchor_is_at_most_twice_the_one_before_where_sizes_lie_between(sizes, degree, middle, anchors):
    assert anchors_of(SampleSizes.of(sizes), degree, middle) == anchors


@pytest.mark.parametrize("solved", [0, 2, 20])
def test_an_interrupt_between_sizes_leaves_the_others_as_printed(monkeypatch, solved):
    """Whatever has been solved is kept; the others answer zero."""

    def interrupted(*arguments):
        if len(called) == solved:
            raise KeyboardInterrupt
        called.append(arguments)
        return module_response(*arguments)

    called, module_response = [], module._response
    monkeypatch.setattr(module, "_response", interrupted)
    with cut_short():
        found = am.solve(GAME, SIZES, solver="neural")
    assert found.interrupted == (solved < 14)
    assert torch.equal(found.pi_l, am.solve(GAME, 12, solver="lifted").pi_l)
    assert all(found.seeing(k).pi_g.isfinite().all() for k in SIZES)
