"""Learners of one's own in `solve`: the exact response gives the default's solution, and what is no policy is named."""

import functools

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games import steer, warehouse
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.digests import known_as
from altmarl_torch.tabular import g_learn, l_learn

GAMES = [(steer(n=10), 3), (warehouse(num_zones=3, n=50), 4)]


def plan_of(problem):
    return PairPlan(CountSimplex(problem.k, problem.game.num_sl))


def exact_local(problem, start):
    return l_learn(problem.game, problem.pi_g, start, plan_of(problem), objective=problem.objective).pi_l


def exact_global(problem, start):
    return g_learn(Surrogate.build(problem.game, problem.pi_l, plan_of(problem))).pi_g


@pytest.mark.parametrize(("game", "k"), GAMES)
@pytest.mark.parametrize("objective", ["team", "own"])
@pytest.mark.parametrize("given", [("l_learner",), ("g_learner",), ("l_learner", "g_learner")])
def test_the_exact_response_as_a_function_is_the_default(game, k, objective, given):
    functions = {"l_learner": exact_local, "g_learner": exact_global}
    found = am.solve(game, k, objective=objective, **{name: functions[name] for name in given})
    default = am.solve(game, k, objective=objective)
    assert torch.equal(found.pi_l, default.pi_l)
    assert torch.equal(found.pi_g, default.pi_g)
    assert found.value == pytest.approx(default.value, abs=1e-9)
    assert [(one.player, one.decision) for one in found.history] == [
        (one.player, one.decision) for one in default.history
    ]


def test_update_judges_what_a_function_returns():
    """Whoever proposes what is there has nothing to gain, and the pair stays the response to uniform policies."""
    game = steer(n=10)
    found = am.solve(game, 2, l_learner=lambda problem, start: start)
    assert not any(one.adopted for one in found.history if one.player == "local")
    assert found.converged
    assert torch.equal(found.pi_l, am.policies.uniform_local(game))


def test_a_problem_knows_shape_and_rows_of_what_it_asks_for():
    seen = []

    def watch(problem, start):
        seen.append(problem)
        assert list(problem.shape) == list(start.shape)
        rows = problem.observations()
        assert all(len(values) == problem.shape[0] * problem.shape[1] for values in rows.values())
        start.fill_(0)  # a copy: the alternation's stays
        return exact_local(problem, problem.pi_l) if hasattr(problem, "pi_g") else exact_global(problem, start)

    game, k = GAMES[1]
    am.solve(game, k, l_learner=watch, g_learner=watch, seed=5)
    again = len(seen)
    am.solve(game, k, l_learner=watch, g_learner=watch, seed=5)
    seeds = [problem.seed for problem in seen]
    assert seeds[:again] == seeds[again:]
    assert len(set(seeds[:again])) == again
    counts = next(problem for problem in seen if not hasattr(problem, "pi_g")).observations()["counts"]
    assert (counts[:15] == CountSimplex(4, 3).counts.numpy()).all()
    assert (counts[15:30] == counts[:15]).all()


WRONG = {
    "shape": (lambda start: start[:1], r"must have shape"),
    "nan": (lambda start: start * float("nan"), "nan"),
    "law": (lambda start: start * 2, "sum"),
    "none": (lambda start: None, "l_learner|g_learner"),
    "words": (lambda start: "walk", "l_learner|g_learner"),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("learner", ["l_learner", "g_learner"])
def test_what_is_no_policy_is_one_line_with_the_learner_s_name(name, learner):
    spoil, words = WRONG[name]
    with pytest.raises(am.PolicyError, match=words) as caught:
        am.solve(steer(n=5), 2, **{learner: lambda problem, start: spoil(start)})
    assert str(caught.value).startswith(f"{learner} must return a policy")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"l_learner": exact_local, "solver": "neural"}, "l_learner returns a table"),
        ({"g_learner": exact_global, "solver": "lifted"}, "g_learner returns a table"),
        ({"g_learner": exact_global, "m": 5}, "m and xi"),
        ({"l_learner": exact_local, "observation": "filter"}, "observation='surrogate'"),
        ({"g_learner": "ppo"}, "g_learner must be a function"),
        ({"l_learner": "ppo"}, "or a function"),
        ({"l_learner": 5}, "or a function"),
    ],
)
def test_what_does_not_go_together_is_refused(options, words):
    with pytest.raises(am.ArgumentError, match=words):
        am.solve(steer(n=5), 2, **options)


def stepped(problem, start, steps=1):
    return exact_local(problem, start)


def enclosing(steps):
    return lambda problem, start: exact_local(problem, start) if steps else start


def test_checkpoints_know_a_function_by_its_name_and_what_it_holds(tmp_path):
    first = am.solve(steer(n=5), 2, l_learner=enclosing(1), checkpoints=tmp_path)
    again = am.solve(steer(n=5), 2, l_learner=enclosing(1), checkpoints=tmp_path)
    assert torch.equal(first.pi_l, again.pi_l)
    for other in (enclosing(2), exact_local, "dp"):
        with pytest.raises(am.ArgumentError, match="l_learner"):
            am.solve(steer(n=5), 2, l_learner=other, checkpoints=tmp_path)


def test_functions_are_told_apart():
    kinds = [stepped, exact_local, enclosing(1), enclosing(2), functools.partial(stepped, steps=2)]
    names = [known_as(one) for one in kinds]
    assert len(set(names)) == len(names)
    assert names == [known_as(one) for one in (stepped, exact_local, enclosing(1), enclosing(2))] + [
        known_as(functools.partial(stepped, steps=2))
    ]
    assert names[0].split()[0].endswith("stepped")
