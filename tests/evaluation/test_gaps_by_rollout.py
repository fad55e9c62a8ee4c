"""Lower bounds by rollouts: below the exact gap where that is known, positive where a deviation is plainly better."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.evaluation.gaps_by_rollout import best_response_to, rollout_gaps
from altmarl_torch.games import steer, warehouse
from altmarl_torch.policies.rules import heuristic_pair


def test_a_poor_pair_is_found_out_on_both_sides():
    """Uniform + uniform on the warehouse: better dispatchers and better walkers exist, beyond their intervals."""
    game = warehouse()
    found = rollout_gaps(game, heuristic_pair(game, 10, "uniform", "uniform"), episodes=400, seed=1)
    assert found.global_gap.lower > 1
    assert found.local_gap.lower > 1
    assert set(found.global_gap.tried) == {"uniform", "hold", "greedy", "mode", "sticky", "best response of fewer"}
    assert found.global_gap.gain.low < found.global_gap.gain.mean < found.global_gap.gain.high


def test_the_bound_stays_below_the_exact_gap():
    """k = n: the system is the surrogate, whose exact gaps are known; a long horizon leaves little out."""
    game, k = steer().replace(n=3), 3
    pair = heuristic_pair(game, k, "hold", "stay")
    pi_g = am.heuristics.table(game, am.heuristics.RULES["hold"](game), am.CountSimplex(k, 2))
    exact = am.certify(game, am.policies.TabularPair(pi_g, pair.pi_l, am.CountSimplex(k, 2)))
    found = rollout_gaps(game, pair, episodes=4000, horizon=60, seed=2)
    assert found.global_gap.lower <= exact.global_gap + 1e-6
    assert found.local_gap.lower <= exact.local_gap + 1e-6
    assert found.global_gap.gain.high >= 0.5 * exact.global_gap


def test_the_made_deviation_is_the_exact_best_response_where_its_table_holds_everyone():
    game = steer()
    response = best_response_to(game, heuristic_pair(game, 3, "hold", "walk").pi_l, 3)
    assert response.simplex.k == 3
    counts = torch.tensor([[3, 0], [1, 2]])
    state = torch.tensor([0, 1])
    rows = response.pi_g[state, response.simplex.rank(counts)].argmax(-1)
    assert torch.equal(response.dispatcher().act(state, counts), rows)


def test_sizes_that_no_table_holds():
    """20 zones, k = 100, 4.9e21 count vectors: the deviation looks at two of the hundred, without replacement."""
    game = warehouse(num_zones=20)
    pair = heuristic_pair(game, 100, "uniform", "walk")
    response = best_response_to(game, pair.pi_l, 100)
    assert response.simplex.k == 2
    counts = torch.tensor([[50, 50] + [0] * 18, [0] * 19 + [100]])
    assert response.dispatcher(1).act(torch.tensor([0, 1]), counts).shape == (2,)
    found = rollout_gaps(game, pair, episodes=60, horizon=40)
    assert found.global_gap.lower > 0


def test_arguments_out_of_range_are_refused():
    with pytest.raises(am.ArgumentError, match="episodes"):
        rollout_gaps(steer(), heuristic_pair(steer(), 2, "hold", "walk"), episodes=1)
