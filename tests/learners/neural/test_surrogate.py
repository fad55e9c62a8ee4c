"""The batched operators: those of `bellman` where a table stands in for the network, on draws instead of sums."""

import math

import numpy as np
import pytest
import torch
from oracles.neural import every_pair, exact, random_local, seeded, without_luck
from scipy import stats

import altmarl_torch as am
from altmarl_torch.games import beacon, hash_game, random_game, steer, ware
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, table_values
from altmarl_torch.operators.bellman import action_values, adapted_bellman
from altmarl_torch.operators.surrogate import surrogate_reward
from altmarl_torch.policies.tabular import deterministic_local, uniform_local

RANDOM = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, gamma=0.9, seed=3)
GAMES = pytest.mark.parametrize("game", [steer(), hash_game(), RANDOM, ware()], ids=lambda game: game.name)


def both(game, k, seed=0):
    """Exact and batched surrogate under one random pi_l, and a table of values `[sg, N]`."""
    pi_l = random_local(game, seed)
    surrogate = exact(game, pi_l, k)
    values = 5 * torch.rand(surrogate.local_reward.shape, dtype=torch.float64, generator=seeded(seed + 1))
    return surrogate, BatchSurrogate.build(game, pi_l, k), values


def as_table(rows, game):
    """Rows in the order of `every_pair` as a table `[sg, N, ag]`."""
    return rows.reshape(game.num_sg, -1, rows.shape[-1])


def q_of(batch, continuation):
    """Q `[sg, N, ag]` from C `[sg, N, ag]`, through the batched function, which wants counts first."""
    simplex = am.CountSimplex(batch.k, batch.game.num_sl)
    return batch.action_values(simplex.counts.float(), continuation.float().movedim(1, 0)).movedim(0, 1)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_without_luck_a_target_is_the_tabular_operator(seed, k):
    """P_l, P_g and pi_l certain: one draw is the expectation, up to the rounding of float32."""
    game = without_luck(random_game(num_sg=3, num_sl=3, num_ag=3, num_al=2, gamma=0.9, seed=seed))
    pi_l = deterministic_local(torch.randint(2, (3, 3), generator=seeded(seed)), 2)
    surrogate, batch = exact(game, pi_l, k), BatchSurrogate.build(game, pi_l, k)
    Q = 5 * torch.rand(surrogate_reward(surrogate).shape, dtype=torch.float64, generator=seeded(seed))
    values = table_values(Q.amax(-1).float(), surrogate.simplex)
    target = batch.targets(values, *every_pair(game, k), 1, seeded(0))
    expected = adapted_bellman(Q, surrogate)
    torch.testing.assert_close(q_of(batch, as_table(target, game)).double(), expected, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("k", [1, 2, 5])
@GAMES
def test_the_mean_of_targets_is_the_tabular_operator(game, k):
    """3000 targets of one draw each: their mean is within 4.5 standard errors of E V at every (s_g, h, a)."""
    surrogate, batch, table = both(game, k)
    values, (s_g, counts), repeats = table_values(table.float(), surrogate.simplex), every_pair(game, k), 3000
    drawn = batch.targets(values, s_g.repeat(repeats), counts.repeat(repeats, 1), 1, seeded(k))
    drawn = drawn.reshape(repeats, len(s_g), -1).double()
    expected = (action_values(surrogate, table) - surrogate_reward(surrogate)) / game.gamma
    apart = (as_table(drawn.mean(0), game) - expected).abs()
    assert bool((apart <= 4.5 * as_table(drawn.std(0), game) / repeats**0.5 + 1e-5).all())
    assert float(drawn.std(0).max()) > 0.01


def test_more_draws_are_averaged():
    """m draws make one target: the mean over them of what one draw gives, and a variance 1/m of it."""
    surrogate, batch, table = both(RANDOM, 4)
    values, (s_g, counts) = table_values(table.float(), surrogate.simplex), every_pair(RANDOM, 4)
    draws = batch.draw_values(values, s_g, counts, 7, seeded(0))
    assert draws.shape == (7, len(s_g), RANDOM.num_sg)
    expected = torch.stack([batch.spread(draw, s_g) for draw in draws]).mean(0)
    torch.testing.assert_close(batch.targets(values, s_g, counts, 7, seeded(0)), expected)
    one, many = (
        torch.stack([batch.targets(values, s_g, counts, m, seeded(i)) for i in range(200)]).var(0).mean()
        for m in (1, 8)
    )
    assert float(one / many) == pytest.approx(8, rel=0.2)


def test_one_draw_of_the_counts_serves_every_action():
    """Where P_g ignores the action, the targets of all actions are the same number."""
    game = RANDOM.replace(P_g=RANDOM.P_g[:, :1].expand(-1, 2, -1))
    surrogate, batch, table = both(game, 3)
    target = batch.targets(table_values(table.float(), surrogate.simplex), *every_pair(game, 3), 2, seeded(0))
    assert torch.equal(target[:, 0], target[:, 1])


@GAMES
def test_action_values_are_the_reward_and_the_discounted_continuation(game):
    surrogate, batch, _ = both(game, 3)
    C = torch.rand(surrogate_reward(surrogate).shape, generator=seeded(2)).double()
    expected = surrogate_reward(surrogate) + game.gamma * C
    torch.testing.assert_close(q_of(batch, C).double(), expected, rtol=1e-6, atol=1e-6)


def test_a_table_of_values_is_read_at_its_counts():
    simplex = am.CountSimplex(3, 3)
    table = torch.arange(2 * simplex.size, dtype=torch.float64).reshape(2, -1)
    order = torch.randperm(simplex.size, generator=seeded(0))
    assert torch.equal(table_values(table, simplex)(simplex.counts[order].float()), table[:, order].T)


def test_agents_move_under_the_current_global_state():
    """Everybody walks to the beacon and arrives: to where it is, and not to where it goes (Eq. 3)."""
    game, k = beacon(num_zones=3, arrival=1.0), 6
    batch = BatchSurrogate.build(game, deterministic_local(torch.ones(3, 3, dtype=torch.int64), 2), k)
    s_g, counts = every_pair(game, k)
    a_g = (s_g + 1) % 3
    _, s_g_next, counts_next = batch.step(s_g, counts, a_g, seeded(0), seeded(1))
    assert torch.equal(s_g_next, a_g)
    assert torch.equal(counts_next, k * torch.nn.functional.one_hot(s_g, 3).float())


@GAMES
def test_the_reward_of_a_step_is_that_of_equation_6(game):
    k = 4
    surrogate, batch, _ = both(game, k)
    s_g, counts = every_pair(game, k)
    for a in range(game.num_ag):
        reward, _, _ = batch.step(s_g, counts, torch.full_like(s_g, a), seeded(0), seeded(1))
        expected = surrogate_reward(surrogate)[..., a].flatten()
        torch.testing.assert_close(reward.double(), expected, rtol=1e-6, atol=1e-6)


def test_the_global_state_follows_its_own_law_and_its_own_generator():
    batch = BatchSurrogate.build(RANDOM, uniform_local(RANDOM), 3)
    s_g, a_g = torch.full((20_000,), 1), torch.full((20_000,), 1)
    counts = torch.tensor([[1.0, 0.0, 2.0]]).expand(20_000, -1)
    _, following, moved = batch.step(s_g, counts, a_g, seeded(0), seeded(1))
    seen = torch.bincount(following, minlength=3).numpy()
    assert stats.chisquare(seen, 20_000 * RANDOM.P_g[1, 1].numpy()).pvalue > 1e-4
    _, other, same = batch.step(s_g, counts, a_g, seeded(0), seeded(2))
    assert torch.equal(moved, same)
    assert not torch.equal(following, other)


@pytest.mark.parametrize("strength", [0.7, math.inf])
@pytest.mark.parametrize("k", [1, 4])
def test_starts_follow_the_initial_law(k, strength):
    initial = am.InitialLaw(torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.6, 0.3, 0.1]), strength)
    game, draws = RANDOM.replace(initial=initial), 20_000
    surrogate, batch = exact(game, uniform_local(game), k), BatchSurrogate.build(game, uniform_local(game), k)
    s_g, counts = batch.draw_start(draws, seeded(k))
    assert counts.dtype == torch.float32
    cell = s_g * surrogate.simplex.size + surrogate.simplex.rank(counts.long())
    expected = draws * surrogate.initial_law.flatten().numpy()
    seen = np.bincount(cell.numpy(), minlength=len(expected))
    common = expected >= 5
    seen, expected = (np.append(row[common], row[~common].sum()) for row in (seen, expected))
    assert stats.chisquare(seen[expected > 0], expected[expected > 0]).pvalue > 1e-4


@pytest.mark.parametrize("k", [1, 7, 256, 257, 1000, 2**24])
def test_no_agent_is_lost(k):
    game = RANDOM.replace(n=2**30)
    batch = BatchSurrogate.build(game, random_local(game), k)
    s_g, counts = batch.draw_start(50, seeded(0))
    for step in range(5):
        assert (counts >= 0).all()
        assert torch.equal(counts, counts.round())
        assert (counts.double().sum(-1) == k).all()
        _, s_g, counts = batch.step(s_g, counts, s_g % 2, seeded(step), seeded(step))


def test_rewards_are_measured_by_how_far_they_lie_apart():
    assert BatchSurrogate.build(steer(), uniform_local(steer()), 2).reward_scale == pytest.approx(2.0)
    flat = steer().replace(r_g=torch.ones(2, 2), r_l=torch.full((2, 2, 2), 3.0))
    assert BatchSurrogate.build(flat, uniform_local(flat), 2).reward_scale == 1.0
