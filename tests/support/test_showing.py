"""What people print: results in a line, not their tensors."""

import dataclasses

import pytest

import altmarl_torch as am
from altmarl_torch import heuristics, neural, offline, policies, rewards, simulators, tabular
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import steer
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.tabular import g_learn, l_learn


def results():
    game = steer(n=4)
    solution, plan = am.solve(game, 2), PairPlan(am.CountSimplex(2, 2))
    surrogate = Surrogate.build(game, uniform_local(game), plan)
    pair = am.policies.TabularPair(solution.pi_g, solution.pi_l, solution.simplex)
    rollouts = am.rollout(game, solution, episodes=3, horizon=5)
    yield from (
        game,
        solution,
        pair,
        rollouts,
        rollouts.trace,
        am.certify(game, solution),
        am.rollout(game, pair, episodes=1),
    )
    yield from (g_learn(surrogate), l_learn(game, solution.pi_g, solution.pi_l, plan))
    yield from (am.joint_value(surrogate, solution.pi_g), am.population_value(game, solution), plan.simplex)


@pytest.mark.parametrize("result", list(results()), ids=lambda result: type(result).__name__)
def test_a_result_prints_as_a_line_that_names_it(result):
    assert repr(result).startswith(type(result).__name__)
    assert "tensor(" not in repr(result)
    assert "\n" not in repr(result)
    assert len(repr(result)) < 400


def public_records():
    """Every public dataclass, whatever module it is public in."""
    modules = (am, am.games, heuristics, neural, offline, policies, rewards, simulators, tabular, am.theory)
    things = (getattr(module, name) for module in modules for name in module.__all__)
    return {thing for thing in things if isinstance(thing, type) and dataclasses.is_dataclass(thing)}


@pytest.mark.parametrize("record", sorted(public_records(), key=lambda record: record.__name__))
def test_no_public_record_dumps_its_arrays(record):
    """The __repr__ that dataclasses make writes every tensor and array out."""
    held = " ".join(str(one.type) for one in dataclasses.fields(record) if one.repr)
    is_made = hasattr(record.__repr__, "__wrapped__")
    assert not (is_made and any(word in held for word in ("Tensor", "ndarray", "Module")))


def test_records_in_records_are_told_in_a_line():
    simulator = am.SimulatedGame.from_tables(steer())
    played = am.rollout(simulator, simulators.uniform_pair(simulator, 2), episodes=3, horizon=3)
    belief = am.decide_by_belief(steer(), 1)
    lifted = am.solve(steer(), 2, solver="lifted").policy
    for record in (played, belief, belief.values, lifted, am.coverage_of_game(steer(), 1), steer().initial):
        assert "\n" not in repr(record)
        assert "tensor(" not in repr(record)
        assert len(repr(record)) < 600


def test_what_the_lines_say():
    game = steer()
    solution = am.solve(game, 2)
    assert "k=2: value 7.82626, nash_gap 0; gains: global agent 0, all" in repr(am.certify(game, solution))
    assert "+- " in repr(am.rollout(game, solution, episodes=3, horizon=5))
    assert "over 1 episode of 5 steps" in repr(am.rollout(game, solution, episodes=1, horizon=5))
