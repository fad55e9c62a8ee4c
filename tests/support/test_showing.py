"""What people print: results in a line, not their tensors."""

import pytest

import altmarl_torch as am
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


def test_what_the_lines_say():
    game = steer()
    solution = am.solve(game, 2)
    assert "k=2: value 7.82626, nash_gap 0; gains: global agent 0, all" in repr(am.certify(game, solution))
    assert "+- " in repr(am.rollout(game, solution, episodes=3, horizon=5))
    assert "over 1 episode of 5 steps" in repr(am.rollout(game, solution, episodes=1, horizon=5))
