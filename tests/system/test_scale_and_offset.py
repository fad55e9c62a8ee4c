"""Rewards c r + d, c > 0: what is learned is worth as much as what is learned from r, and so says the certificate.

c goes from 1e-12 to 1e12 and d up to a million times the span of the rewards. What a pair is worth is computed in the
game with the rewards r.
"""

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.learners.neural.grid import few_counts
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.settings import ChainSettings
from altmarl_torch.operators.joint_value import value_span
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.policies.tabular import greedy_actions

GAMES = 200
QUICK = ChainSettings(confidence=0.1)


def random_game(seed):
    draw = np.random.default_rng(seed)
    sg, sl, ag, al = (int(size) for size in draw.integers(1, 4, 4))
    law = lambda *shape: draw.dirichlet(np.full(shape[-1], 0.5), shape[:-1])  # noqa: E731
    tables = {"P_g": law(sg, ag, sg), "P_l": law(sl, sg, al, sl)}
    tables |= {"r_g": draw.normal(size=(sg, ag)), "r_l": draw.normal(size=(sl, sg, al))}
    return am.Game(**tables, gamma=float(draw.uniform(0.1, 0.97)), n=50)


def changed(game, seed):
    """c r + d, the parts of d on r_g and r_l drawn apart."""
    draw = np.random.default_rng(seed + 10**6)
    c, span = 10.0 ** draw.uniform(-12, 12), value_span(game) * (1 - game.gamma)
    d_g, d_l = draw.choice([-1, 0, 1], 2) * 10.0 ** draw.uniform(0, 6, 2) * span
    return game.replace(r_g=c * (game.r_g + d_g), r_l=c * (game.r_l + d_l)), c, d_g + d_l


def worth(game, solution):
    """The joint value of a pair, exactly."""
    surrogate = exact_surrogate(game, solution.pi_l, PairPlan(am.CountSimplex(solution.k, game.num_sl)))
    return am.joint_value(surrogate, solution.pi_g).mean


@pytest.mark.parametrize("part", range(8))
def test_pairs_of_changed_rewards_are_worth_as_much(part):
    bad = []
    for seed in range(part, GAMES, 8):
        game = random_game(seed)
        other, c, d = changed(game, seed)
        k = 1 + seed % 3
        plain, found = am.solve(game, k), am.solve(other, k)
        right = worth(game, plain)
        assert found.value / c - d / (1 - game.gamma) == pytest.approx(
            worth(game, found), abs=1e-3 * value_span(game) + 1e-9
        )
        if not worth(game, found) >= right - 1e-3 * value_span(game):
            bad.append((seed, right, worth(game, found)))
    assert not bad


@pytest.mark.parametrize("seed", range(0, 40, 2))
def test_gaps_scale_with_the_rewards(seed):
    game = random_game(seed)
    other, c, _ = changed(game, seed)
    pair = am.solve(game, 2, steps=1)
    there, here = am.certify(other, pair), am.certify(game, pair)
    assert there.nash_gap / c == pytest.approx(here.nash_gap, abs=1e-3 * value_span(game) + 1e-9)


@pytest.mark.parametrize("seed", [3, 5, 8, 11, 14, 17, 20, 23])
def test_networks_too(seed):
    game = random_game(seed)
    other, c, _ = changed(game, seed)
    pairs = [am.solve(each, 3, solver="neural", steps=2) for each in (game, other)]
    one, two = (worth(game, pair) for pair in pairs)
    assert two >= one - 1e-3 * value_span(game)
    there, here = (am.certify(each, pairs[1]).nash_gap for each in (other, game))
    assert there / c == pytest.approx(here, abs=1e-3 * value_span(game))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("k", [3, 45])
def test_lifted_functions_too(seed, k):
    """Where they are tables, and where they are not: the same sweeps, degrees and values."""
    game = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.9, seed=seed)
    other, c, d = changed(game, seed)
    plain, found = (am.solve(each, k, solver="lifted") for each in (game, other))
    assert worth(game, found) == pytest.approx(worth(game, plain), abs=1e-6 * value_span(game))
    told = found.value / c - d / (1 - game.gamma)
    assert told == pytest.approx(plain.value, abs=1e-6 * value_span(game))
    assert [one.details.get("g_learn/degree") for one in found.history] == [
        one.details.get("g_learn/degree") for one in plain.history
    ]


@pytest.mark.parametrize("seed", [0, 4, 9])
def test_ucfh_too(seed):
    game = am.games.random_game(2, 2, 2, 2, gamma=0.6, seed=seed)
    other, _, _ = changed(game, seed)
    pairs = [am.solve(each, 1, l_learner="ucfh", chain=QUICK, steps=1) for each in (game, other)]
    one, two = (worth(game, pair) for pair in pairs)
    assert two >= one - 2e-2 * value_span(game)  # its episodes are drawn, and it stops at epsilon of the span


@pytest.mark.parametrize("seed", [2, 5, 7, 8])
def test_what_is_learned_from_data_too(seed):
    """The same trajectories under either rewards: the coordinator that is learned is worth the same."""
    game = random_game(seed)
    other, _, _ = changed(game, seed)
    pairs = [am.learn_from_data(am.collect(each, 2, steps=400, trajectories=2)) for each in (game, other)]
    one, two = (worth(game, pair) for pair in pairs)
    assert two == pytest.approx(one, abs=1e-3 * value_span(game))


@pytest.mark.parametrize("learning", [{}, {"passes": 5}, {"step_size": 0.1}, {"solver": "neural", "passes": 20}])
@pytest.mark.parametrize("seed", [2, 5])
def test_every_way_to_learn_from_data(seed, learning):
    """Few data, so that many states are met and never left; the value that is promised follows the rewards, too."""
    game = random_game(seed)
    other, c, d = changed(game, seed)
    data = [am.collect(each, 3, steps=12, trajectories=3) for each in (game, other)]
    plain, found = (am.learn_from_data(each, **learning) for each in data)
    assert worth(game, found) == pytest.approx(worth(game, plain), abs=1e-3 * value_span(game))
    told = found.value / c - d / (1 - game.gamma)
    assert told == pytest.approx(plain.value, abs=1e-3 * value_span(game))


@pytest.fixture
def quick(monkeypatch):
    """Simulators' turns of some hundred gradient steps."""
    for name, few in (("GLOBAL_STEPS", (200, 200)), ("LOCAL_STEPS", 300), ("PATH_STEPS", 25), ("EPISODES", 64)):
        monkeypatch.setattr(players, name, few)


@pytest.mark.parametrize("seed", [0, 1])
def test_simulators_with_finitely_many_actions_too(quick, seed):
    game = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, seed=seed)
    other, c, d = changed(game, seed)
    both = [am.SimulatedGame.from_tables(each) for each in (game, other)]
    plain, found = (am.solve(each, 3, population=16, steps=1, seed=seed) for each in both)
    told = found.value / c - d / (1 - game.gamma)
    assert told == pytest.approx(plain.value, abs=1e-3 * value_span(game))
    assert found.eta / c == pytest.approx(plain.eta, rel=1e-3)
    returns = [am.rollout(both[0].replace(n=16), each, episodes=100, horizon=40).mean for each in (plain, found)]
    assert returns[1] == pytest.approx(returns[0], abs=1e-3 * value_span(game))


def test_simulators_with_continuous_actions_too(quick):
    c, d_g, d_l = 1e-12, -1e5, 1e6
    game = am.games.linear_quadratic(n=16)
    other = game.replace(
        r_g=lambda *of: c * (game.r_g(*of).double() + d_g), r_l=lambda *of: c * (game.r_l(*of).double() + d_l)
    )
    plain, found = (am.solve(each, 3, steps=1) for each in (game, other))
    assert found.value / c - (d_g + d_l) / (1 - game.gamma) == pytest.approx(plain.value, rel=1e-3)
    returns = [am.rollout(game, each, episodes=50, horizon=40).mean for each in (plain, found)]
    assert returns[1] == pytest.approx(returns[0], rel=1e-3)


def test_networks_that_are_judged_by_episodes_too():
    """More pairs (s_g, h) than are listed."""
    seed = 3
    game = am.games.random_game(num_sg=3, num_sl=4, num_ag=3, num_al=2, gamma=0.9, seed=seed)
    assert not few_counts(game, SampleSizes.of(13))
    other, c, d = changed(game, seed)
    plain, found = (am.solve(each, 13, solver="neural", steps=1) for each in (game, other))
    assert worth(game, found) == pytest.approx(worth(game, plain), abs=1e-3 * value_span(game))
    told = found.value / c - d / (1 - game.gamma)
    assert told == pytest.approx(plain.value, abs=1e-3 * value_span(game))


@pytest.mark.parametrize("seed", [1, 6])
def test_selection_by_rollouts_too(seed):
    game = random_game(seed)
    other, _, _ = changed(game, seed)
    pairs = [am.solve(each, 2, select="rollout", starts=2) for each in (game, other)]
    one, two = (worth(game, pair) for pair in pairs)
    assert two >= one - 1e-3 * value_span(game)


def test_greedy_actions_do_not_depend_on_units():
    draw = torch.Generator().manual_seed(0)
    Q = torch.randn(40, 6, generator=draw, dtype=torch.float64)
    wanted = Q.argmax(-1)
    for c, d in ((1.0, 0.0), (1e-12, 0.0), (1e-300, 0.0), (1e12, 0.0), (1.0, 1e6), (1e-9, -1e-3), (1e9, 1e15)):
        assert torch.equal(greedy_actions(c * Q + d), wanted)
    assert not greedy_actions(torch.full((3, 2), 7.0, dtype=torch.float64)).any()
