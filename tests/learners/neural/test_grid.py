"""Samples of few kinds: what is computed there is what would be drawn elsewhere, on average or exactly."""

import dataclasses

import pytest
import torch
from oracles.neural import TablePolicy, exact, exact_mean, random_global, random_local, seeded

import altmarl_torch as am
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games import hash_game, random_game, steer
from altmarl_torch.games.reward_laws import GaussianReward
from altmarl_torch.learners.neural import grid
from altmarl_torch.learners.neural.exact_evaluator import ExactEvaluator
from altmarl_torch.learners.neural.full_batch import FullBatch, kind_of_training
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, centred
from altmarl_torch.learners.neural.training import Training
from altmarl_torch.learners.settings import Settings
from altmarl_torch.operators.bellman import action_values, next_sg_law, push_law
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.base import Pair

GAME = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, gamma=0.9, seed=3)
SEVERAL = SampleSizes.of([1, 2, 4])
PRIOR = Prior(torch.full((3, 3), 0.7), GAME.n)


def made(k=4, game=GAME, prior=None):
    return BatchSurrogate.build(game, random_local(game, 1), k, prior)


def network_of(game, extra=0):
    network = CountNetwork(game.num_sl, game.num_sg, game.num_ag, width=16, extra=extra, generator=seeded(2))
    with torch.no_grad():
        network.head.weight.normal_(generator=seeded(3)).mul_(0.1)
    return network


def training(surrogate, policy=None, settings=None, network=None):
    network = network or network_of(surrogate.game, int(surrogate.samples.several))
    baseline = torch.rand(3, 2, generator=seeded(4))
    kind = kind_of_training(surrogate, network, policy)
    return kind(surrogate, network, baseline, policy, settings or Settings(), seeded(5), "g_learn", None)


@pytest.mark.parametrize(
    ("game", "k", "few"),
    [
        (GAME, 4, True),
        (GAME, 24, True),  # 3 x 325
        (GAME, 25, False),  # 3 x 351
        (steer(), 511, True),
        (steer(), 512, False),
        (steer(n=10**9), 10**9, False),
        (am.games.warehouse(num_zones=100, n=10**6), 10**5, False),
        (random_game(num_sl=1, n=10**6), 10**6, True),
    ],
)
def test_few_are_at_most_1024_pairs(game, k, few):
    assert grid.few_counts(game, SampleSizes.of(k)) == few


def test_the_pairs_of_several_sizes_are_counted_together():
    assert grid.few_counts(steer(), SampleSizes.of(range(1, 31)))  # 2 x 495
    assert not grid.few_counts(steer(), SampleSizes.of(range(1, 32)))  # 2 x 527


@pytest.mark.parametrize("k", [4, SEVERAL], ids=["one", "several"])
def test_each_count_vector_has_its_place(k):
    found = made(k).grid
    assert torch.equal(found.rank(found.counts), torch.arange(found.size))
    assert len(found.counts.unique(dim=0)) == found.size == (15 if k == 4 else 3 + 6 + 15)
    s_g, counts = found.pairs()
    assert torch.equal(s_g, torch.arange(3).repeat_interleave(found.size))
    assert torch.equal(counts[found.size :][: found.size], found.counts)


@pytest.mark.parametrize("prior", [None, PRIOR], ids=["surrogate", "posterior"])
def test_the_kernel_is_that_of_the_exact_surrogate(prior):
    batch = made(prior=prior)
    simplex = am.CountSimplex(4, 3)
    table = Surrogate.build(GAME, random_local(GAME, 1), exact(GAME, random_local(GAME, 1), 4).plan, prior)
    values = torch.rand(simplex.size, 2, dtype=torch.float64, generator=seeded(0))
    for sg, kernel in enumerate(table.kernels):
        torch.testing.assert_close(batch.grid.kernel[sg].double() @ values, kernel.expect(values), rtol=0, atol=1e-6)


def test_a_size_never_becomes_another():
    found = made(SEVERAL).grid
    sizes = found.counts.sum(-1)
    torch.testing.assert_close(found.kernel.sum(-1), torch.ones(3, found.size))
    assert not found.kernel[:, sizes.unsqueeze(-1) != sizes].any()


def test_the_pairs_are_met_as_often_as_episodes_meet_them():
    surrogate, pi_g = exact(GAME, random_local(GAME, 1), 4), random_global(GAME, 4, 2)
    to_sg, law, total = next_sg_law(surrogate, pi_g), surrogate.initial_law, surrogate.initial_law
    for _ in range(5):
        law = push_law(surrogate, to_sg, law)
        total = total + law
    found = made().grid
    torch.testing.assert_close(found.initial_law().double(), surrogate.initial_law, rtol=0, atol=1e-6)
    torch.testing.assert_close(
        found.visited(found.initial_law(), to_sg.float(), 5).double(), total / 6, rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("k", [4, SEVERAL], ids=["one", "several"])
def test_shares_and_broad_laws_sum_to_one(k):
    one = training(made(k))
    assert isinstance(one, FullBatch)
    assert float(one.shares.sum()) == pytest.approx(1)
    assert float(one.shares.min()) > 0
    assert float(one.grid.broad_law().sum()) == pytest.approx(1)


@pytest.mark.parametrize("policy", [None, TablePolicy(random_global(GAME, 4, 2), 4, 3)], ids=["best", "policy"])
def test_targets_are_the_exact_expectation(policy):
    """Those of the Bellman operator over tables, for V of the network."""
    batch, surrogate = made(), exact(GAME, random_local(GAME, 1), 4)
    one = training(batch, policy)
    with torch.no_grad():
        V = one.values(batch.grid.counts).T.double()
        reward = surrogate.local_reward.unsqueeze(-1) + GAME.r_g.unsqueeze(1)
        expected = (action_values(surrogate, V) - reward) / GAME.gamma
        torch.testing.assert_close(one.targets().double(), expected.flatten(0, 1), rtol=0, atol=1e-5)


def test_targets_are_the_mean_of_drawn_ones():
    batch = made(SEVERAL)
    one = training(batch)
    drawn = torch.stack([batch.targets(one.values, *one.pairs, 50, seeded(seed)) for seed in range(20)])
    error = drawn.std(0) / len(drawn) ** 0.5
    assert bool(((one.targets() - drawn.mean(0)).abs() <= 5 * error + 1e-5).all())


def test_draws_of_rewards_enter_the_targets():
    """Their mean is that of the targets without, and as many are averaged as a drawn batch would hold."""
    game = GAME.replace(r_g=GaussianReward(GAME.r_g, torch.full_like(GAME.r_g, 0.01), -9.0, 9.0))
    pi_l = random_local(game, 1)
    batch = BatchSurrogate.build(game, pi_l, 4)
    noisy = dataclasses.replace(batch, rewards=game.reward_sampler(pi_l), xi=2)
    apart = training(noisy).targets() - training(batch).targets()
    deviation = 0.01 / (2 * (1024 // 45)) ** 0.5 / game.gamma
    assert 0.7 * deviation < float(apart.std()) < 1.3 * deviation
    assert abs(float(apart.mean())) < 4 * deviation / apart.numel() ** 0.5


def test_a_network_that_may_look_at_its_batch_is_trained_on_draws():
    class Mine(CountNetwork):
        pass

    assert isinstance(training(made()), FullBatch)
    assert type(training(made(), network=torch.nn.Sequential(network_of(GAME)))) is Training
    assert type(training(made(40))) is Training


def test_shares_weigh_offsets():
    """A row that counts three times is three rows."""
    counts, error = made(SEVERAL).grid.counts, torch.rand(24, 2, generator=seeded(0))
    times = torch.arange(24) % 3 + 1
    for samples, rows in ((SEVERAL, slice(None)), (SampleSizes.of(4), slice(9, None))):
        h, e, n = counts[rows], error[rows], times[rows]
        weighed = samples.offsets(h, e, n / n.sum())
        repeated = samples.offsets(h.repeat_interleave(n, 0), e.repeat_interleave(n, 0))
        expected = repeated if repeated.ndim == 0 else repeated[n.cumsum(0) - 1]
        torch.testing.assert_close(weighed, expected, rtol=1e-4, atol=1e-6)


# ---- the joint value


@pytest.mark.parametrize("game", [GAME, hash_game()], ids=["random", "hash"])
def test_the_value_of_a_pair_is_exact(game):
    pi_l, pi_g = random_local(game, 1), random_global(game, 3, 2)
    pair = Pair(TablePolicy(pi_g, 3, game.num_sl), pi_l)
    found = ExactEvaluator(game, SampleSizes.of(3)).evaluate(pair, None)
    assert found.mean == pytest.approx(exact_mean(game, pi_g.float(), pi_l, 3), rel=1e-9)
    assert found.standard_error == 0
    measured = RolloutEvaluator(game, 3, "mean", 0).evaluate(pair, None)
    assert abs(found.mean - measured.mean) <= 4 * measured.standard_error + measured.error


def test_of_several_sizes_it_is_the_mean():
    class Uniform:
        sizes = 3, 2

        def laws(self, counts):
            return torch.full((len(counts), 3, 2), 0.5)

    pi_l = random_local(GAME, 1)
    found = ExactEvaluator(GAME, SEVERAL).evaluate(Pair(Uniform(), pi_l), None)
    each = [exact(GAME, pi_l, k) for k in SEVERAL.numbers]
    values = [joint_value(one, torch.full((*one.local_reward.shape, 2), 0.5).double()) for one in each]
    assert found.mean == pytest.approx(sum(value.mean for value in values) / 3)
    torch.testing.assert_close(found.values, torch.cat([value.values for value in values], -1))
    assert found.error == max(value.error for value in values)


def test_rewards_are_those_that_are_judged():
    """An offset of the rewards is in the value; the networks' own game has none."""
    pair = Pair(TablePolicy(random_global(GAME, 3, 2), 3, 3), random_local(GAME, 1))
    low, high = (ExactEvaluator(game, SampleSizes.of(3)).evaluate(pair, None).mean for game in (centred(GAME)[0], GAME))
    assert high - low == pytest.approx(centred(GAME)[1] / (1 - GAME.gamma))
