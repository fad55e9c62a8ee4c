"""Nested alternation: large tables begin from what is found for few agents; UPDATE at k judges as ever."""

import dataclasses
import itertools

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation import nested, run, runner
from altmarl_torch.alternation.loop import Decision
from altmarl_torch.alternation.options import Learning, Options, Problem
from altmarl_torch.alternation.players.tabular import TabularEvaluator
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate, SurrogateCache
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.tabular import uniform_global, uniform_local


@pytest.fixture(autouse=True)
def medium_tables_nest(monkeypatch):
    """The real threshold asks for tables of 5,000 counts; these tests do with 1,001 and 1,820."""
    monkeypatch.setattr(nested, "MANY_COUNTS", nested.FEW_COUNTS)


def levels(solution):
    """The k of each proposal of the history; None for those at the k that was asked for."""
    return [update.details.get("nested/k") for update in solution.history]


def test_a_large_table_begins_from_few_agents_and_says_so():
    """The history holds the coarse proposals first; the pair and its value are those of a run without nesting."""
    told, game = [], am.games.warehouse()
    solution = am.solve(game, 12, callback=told.append)
    plain = am.solve(game, 12, nested="off")
    coarse = [k for k in levels(solution) if k is not None]
    assert coarse
    assert set(coarse) == {CountSimplex(12, game.num_sl).coarser(nested.FEW_COUNTS).k}
    assert levels(solution)[: len(coarse)] == coarse
    assert told == list(solution.history)
    assert set(levels(plain)) == {None}
    assert torch.equal(solution.pi_l, plain.pi_l)
    assert solution.value == pytest.approx(plain.value, abs=2 * plain.history[-1].error)
    assert solution.history[-1].value == solution.value


def test_every_value_at_k_is_of_k_agents():
    """The first proposal at k starts from the joint value at k of a uniform pi_g and the pi_l that was carried up."""
    game = am.games.warehouse()
    solution = am.solve(game, 12)
    at_k = [update for update in solution.history if "nested/k" not in update.details]
    exact = joint_value(
        Surrogate.build(game, solution.pi_l, PairPlan(CountSimplex(12, game.num_sl))),
        solution.pi_g,
    )
    assert abs(solution.value - exact.mean) <= at_k[-1].error + exact.error
    assert all(later.value_before == earlier.value for earlier, later in itertools.pairwise(at_k))


@pytest.mark.parametrize(
    "options",
    [{"nested": "off"}, {"starts": 2}, {"m": 2, "steps": 1}, {"eta": "paper", "steps": 1}],
)
def test_what_does_not_nest(options):
    """Switched off, with starts of one's own, with sampled operators, and under the paper's vacuous eta."""
    assert set(levels(am.solve(am.games.warehouse(), 10, **options))) == {None}


def test_small_tables_have_no_other_level():
    assert set(levels(am.solve(am.games.warehouse(), 4))) == {None}


def test_nested_is_one_of_its_words():
    with pytest.raises(am.ArgumentError, match="nested must be one of 'on', 'off'"):
        am.solve(am.games.warehouse(), 2, nested="maybe")


@pytest.mark.parametrize("solver", ["tabular", "lifted", "neural"])
def test_an_interrupt_at_the_coarse_level_returns_a_pair_for_k(monkeypatch, solver):
    def interrupted(one, known):
        return dataclasses.replace(runner.learn_unless(one, known), interrupted=True)

    monkeypatch.setattr(nested, "learn_unless", interrupted)
    told = []
    solution = am.solve(am.games.warehouse(), 10, solver=solver, callback=told.append)
    assert solution.interrupted
    assert solution.k == 10
    assert solution.pi_g.shape[1] == 1001
    assert all("nested/k" in update.details for update in solution.history)
    assert tuple(told) == solution.history


def test_a_resumed_run_ends_as_one_that_was_not_broken_off(tmp_path):
    game, whole = am.games.warehouse(), am.solve(am.games.warehouse(), 10)

    def stop(update):
        if "nested/k" not in update.details:
            raise KeyboardInterrupt

    broken = am.solve(game, 10, checkpoints=tmp_path, callback=stop)
    assert broken.interrupted
    told = []
    resumed = am.solve(game, 10, checkpoints=tmp_path, callback=told.append)
    assert resumed.value == whole.value
    assert torch.equal(resumed.pi_g, whole.pi_g)
    assert torch.equal(resumed.pi_l, whole.pi_l)
    assert [u.value_proposed for u in told] == [u.value_proposed for u in whole.history]


def test_a_player_that_has_answered_does_not_search_again():
    """The global agent's second turn to the same pi_l: its own pair, at no cost, which UPDATE counts as content."""
    last = am.solve(am.games.warehouse(), 10).history[-2:]
    repeated = next(update for update in last if update.player == "global")
    assert repeated.sweeps == 0
    assert repeated.decision is Decision.TERMINATE
    assert repeated.value_proposed == repeated.value_before


@pytest.mark.parametrize("solver", ["lifted", "neural"])
def test_no_solver_stays_at_the_poorer_equilibrium_of_the_federated_game(solver):
    """From uniform policies lifted functions and networks end at 6.45 of n agents, as tables do not."""
    game = am.games.federated()
    found = am.solve(game, 10, solver=solver)
    assert am.rollout(game, found, episodes=300).mean > 7.2
    assert found.value == pytest.approx(am.solve(game, 10).value, rel=1e-3)
    assert {update.details.get("nested/k") for update in found.history} == {5, None}


@pytest.mark.parametrize("k", [1, 3])
def test_networks_of_few_counts_begin_there_too(k):
    game = am.games.federated()
    assert am.solve(game, k, solver="neural").value == pytest.approx(am.solve(game, k).value, rel=1e-3)


def test_where_tables_of_few_agents_are_large_there_are_none():
    for zones, is_small in ((5, True), (60, False)):
        options = Options(Problem(20), Learning(solver="neural"))
        assert nested.nests(run.AlternationRun.of(am.games.warehouse(num_zones=zones), options)) == is_small


def test_the_coarse_run_is_the_same_run_for_fewer(monkeypatch):
    seen = []
    monkeypatch.setattr(nested, "learn", lambda one: seen.append(one) or runner.learn(one))
    monkeypatch.setattr(nested, "learn_unless", lambda one, known: seen.append(one) or runner.learn_unless(one, known))
    am.solve(am.games.warehouse(), 10, seed=3, steps=2)
    *coarse, fine = seen
    few = CountSimplex(10, 5).coarser(nested.FEW_COUNTS).k
    assert [one.k for one in coarse] == [few] * nested.COARSE_STARTS
    assert all(isinstance(one, run.AlternationRun) and one.options is fine.options for one in seen)
    assert all(one.folder is None and one.callback is None for one in coarse)


def test_a_start_that_leads_to_a_known_pi_l_is_not_followed_further():
    """One that does not ends as it does by itself."""
    one = run.AlternationRun.of(am.games.warehouse(), Options(Problem(4), Learning()))
    alone = runner.learn(one)
    assert runner.learn_unless(one, [alone.pi_l]) is None
    followed = runner.learn_unless(one, [uniform_local(one.game)])
    assert followed.value == alone.value
    assert len(followed.history) == len(alone.history)


def test_the_first_value_needs_no_sweep_where_nobody_looks_at_the_sample():
    """A uniform pi_g makes V linear in the counts: the value of one agent, lifted, against an evaluation from zero."""
    game = am.games.warehouse()
    plan = PairPlan(CountSimplex(7, game.num_sl))
    surrogates = SurrogateCache(game, plan)
    pair = Pair(uniform_global(game, plan.simplex), uniform_local(game))
    found = TabularEvaluator(surrogates).evaluate(pair, None)
    exact = joint_value(surrogates(pair.pi_l), pair.pi_g)
    assert found.sweeps == 0
    assert float((found.values - exact.values).abs().max()) <= found.error + exact.error
    assert found.mean == pytest.approx(exact.mean, abs=found.error + exact.error)
