"""Reward laws: moments against quadrature and closed forms, draws against their laws, sums against single draws,
games that carry laws, and rollouts against agents simulated one by one."""

import math

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, FileFormatError, GameError
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.games.reward_laws import DiscreteReward, GaussianReward, SampledReward
from altmarl_torch.policies.tabular import TabularPair, uniform_global, uniform_local

f64 = torch.float64
MANY = 200_000


def stream(seed=0):
    return torch.Generator().manual_seed(seed)


def discrete(values=((0.0, 1.0, 5.0),), probabilities=((0.5, 0.3, 0.2),), **bounds):
    return DiscreteReward([values], [probabilities], **bounds)


def coin(indices_sl, indices_sg, indices_al, generator):
    """Pays 0 or 1, the latter with probability (1 + sl) / 4."""
    return (torch.rand(len(indices_sl), generator=generator, dtype=f64) < (1 + indices_sl) / 4).double()


def sampled(std=True):
    chance = ((1 + torch.arange(3, dtype=f64)) / 4)[:, None, None].expand(3, 2, 2)
    return SampledReward(coin, 0, 1, chance, (chance * (1 - chance)).sqrt() if std else None)


def random_game(r_g=None, r_l=None, seed=3, n=5):
    """Two global and three local states, two actions each; rewards as given."""
    rng = np.random.default_rng(seed)
    return am.Game(
        P_g=rng.dirichlet(np.ones(2), (2, 2)),
        P_l=rng.dirichlet(np.ones(3), (3, 2, 2)),
        r_g=rng.random((2, 2)) if r_g is None else r_g,
        r_l=rng.random((3, 2, 2)) if r_l is None else r_l,
        gamma=0.8,
        n=n,
    )


def local_law(seed=5):
    rng = np.random.default_rng(seed)
    return DiscreteReward(rng.normal(size=(3, 2, 2, 3)), rng.dirichlet(np.ones(3), (3, 2, 2)))


def global_law(seed=6):
    rng = np.random.default_rng(seed)
    return GaussianReward(rng.normal(size=(2, 2)), rng.uniform(0.3, 1, (2, 2)), -1, 1)


class TestMoments:
    def test_discrete(self):
        law = discrete()
        assert law.mean.item() == pytest.approx(1.3)
        assert law.variance.item() == pytest.approx(0.3 + 5 - 1.69)
        assert (law.low, law.high) == (0, 5)

    def test_values_that_never_occur_are_outside_the_support(self):
        assert discrete(((0.0, 1.0, 99.0),), ((0.5, 0.5, 0.0),)).high == 1

    @pytest.mark.parametrize("location", [-30.0, -3.0, 0.0, 0.4, 1.0, 2.0, 30.0])
    @pytest.mark.parametrize("scale", [1e-3, 0.5, 3.0])
    def test_clipped_gaussian_against_quadrature(self, location, scale):
        """E Y^p = low^p + the integral of p y^(p-1) P(X > y) over [low, high], by Gauss and Legendre."""
        low, high = -1.0, 2.0
        law = GaussianReward([[location]], [[scale]], low, high)
        nodes, weights = np.polynomial.legendre.leggauss(40)
        ends = np.linspace(low, high, 2001)
        half = (ends[1] - ends[0]) / 2
        y = (ends[:-1, None] + half * (1 + nodes)).ravel()
        w = np.tile(half * weights, 2000)
        beyond = torch.erfc(torch.from_numpy((y - location) / scale / math.sqrt(2))).numpy() / 2
        mean = low + w @ beyond
        second = 2 * (w @ ((y - low) * beyond))  # of Y - low
        assert law.mean.item() == pytest.approx(mean, abs=3e-13)  # which is what the quadrature is good for
        assert law.variance.item() == pytest.approx(second - (mean - low) ** 2, abs=1e-12)

    def test_far_tails_keep_their_relative_accuracy(self):
        """Ten standard deviations below its lower bound: E (Z - 10)+ = phi(10) / 100 (1 - 3/100 + 15/100^2 - ..)."""
        law = GaussianReward([[-10.0]], [[1.0]], 0.0, 5.0)
        series = 1 - 3e-2 + 15e-4 - 105e-6 + 945e-8
        assert law.mean.item() == pytest.approx(math.exp(-50) / math.sqrt(2 * math.pi) / 100 * series, rel=1e-4)
        assert law.variance.item() > 0

    @pytest.mark.parametrize("location", [-2.0, 0.25, 7.0])
    def test_no_scale_is_no_chance(self, location):
        law = GaussianReward([[location]], [[0.0]], 0.0, 1.0)
        assert law.mean.item() == min(max(location, 0), 1)
        assert law.variance.item() == 0

    def test_bounds_far_away_change_nothing(self):
        law = GaussianReward([[0.5]], [[2.0]], -1e6, 1e6)
        assert law.mean.item() == 0.5
        assert law.variance.item() == pytest.approx(4, rel=1e-14)


def wide_law():
    rng = np.random.default_rng(7)
    return GaussianReward(rng.normal(size=(3, 2, 2)) / 2, rng.uniform(0.4, 1, (3, 2, 2)), -0.5, 0.8)


LAWS = {"discrete": local_law, "gaussian": wide_law, "sampled": sampled}


class TestDraws:
    @pytest.mark.parametrize("name", LAWS)
    def test_single_draws_have_the_mean_the_variance_and_the_bounds(self, name):
        law = LAWS[name]()
        entry = (torch.full((MANY,), 2), torch.ones(MANY, dtype=torch.int64), torch.zeros(MANY, dtype=torch.int64))
        drawn = law.draw(*entry, generator=stream())
        mean, variance = law.mean[2, 1, 0].item(), law.variance[2, 1, 0].item()
        assert drawn.mean().item() == pytest.approx(mean, abs=4.5 * math.sqrt(variance / MANY))
        assert drawn.var().item() == pytest.approx(variance, rel=0.03)
        assert law.low <= drawn.min()
        assert drawn.max() <= law.high

    @pytest.mark.parametrize("name", LAWS)
    @pytest.mark.parametrize("count", [0, 1, 3, 64, 65, 1000])
    def test_sums_have_the_mean_and_the_variance_of_a_sum(self, name, count):
        law, times = LAWS[name](), 20_000
        counts = torch.full((times,), float(count), dtype=f64)
        entry = (torch.tensor(1), torch.tensor(0), torch.tensor(1))
        drawn = law.draw_sum(counts, *entry, generator=stream(count))
        mean, variance = count * law.mean[1, 0, 1].item(), count * law.variance[1, 0, 1].item()
        assert drawn.mean().item() == pytest.approx(mean, abs=4.5 * math.sqrt(variance / times) + 1e-12)
        assert drawn.var().item() == pytest.approx(variance, rel=0.06, abs=1e-12)

    @pytest.mark.parametrize("name", LAWS)
    def test_the_law_of_a_sum_is_that_of_single_draws(self, name):
        """Kolmogorov's distance of two samples of sums of five, at its quantile of 1e-4."""
        law, times, terms = LAWS[name](), 20_000, 5
        entry = (torch.tensor(1), torch.tensor(0), torch.tensor(1))
        fast = law.draw_sum(torch.full((times,), float(terms), dtype=f64), *entry, generator=stream(1))
        each = [index.expand(times, terms) for index in entry]
        slow = law.draw(*each, generator=stream(2)).sum(-1)
        grid = torch.cat([fast, slow]).sort().values + 1e-9  # equal sums may differ by rounding
        distance = (
            torch.searchsorted(fast.sort().values, grid) - torch.searchsorted(slow.sort().values, grid)
        ).abs().max().item() / times
        assert distance < 2.23 * math.sqrt(2 / times)

    def test_normal_sums_are_as_close_as_berry_and_esseen_say(self):
        """Binomial(100, 1/4), whose distribution function is known, against the normal draws."""
        law, times, count = sampled(), 100_000, 100
        entry = (torch.tensor(0), torch.tensor(0), torch.tensor(0))
        drawn = law.draw_sum(torch.full((times,), float(count), dtype=f64), *entry, generator=stream())
        pmf = [math.comb(count, j) * 0.25**j * 0.75 ** (count - j) for j in range(count + 1)]
        exact = np.cumsum(pmf)
        found = np.searchsorted(np.sort(drawn.numpy()), np.arange(count + 1), side="right") / times
        promised = 0.4748 / (math.sqrt(3 / 16) * math.sqrt(count))
        assert np.abs(found - exact).max() < promised + 0.01

    def test_a_billion_agents_cost_as_much_as_one(self):
        counts = torch.tensor([1e9, 0.0, 3.0], dtype=f64)
        for law in (local_law(), sampled()):
            drawn = law.draw_sum(counts, torch.arange(3), torch.tensor(0), torch.tensor(0), generator=stream())
            assert drawn[1] == 0
            spread = math.sqrt(1e9 * law.variance[0, 0, 0].item())
            assert drawn[0].item() == pytest.approx(1e9 * law.mean[0, 0, 0].item(), abs=5 * spread)

    def test_equal_seeds_draw_alike(self):
        for law in (local_law(), sampled()):
            counts = torch.tensor([100.0, 2.0, 7.0], dtype=f64)
            entry = (torch.arange(3), torch.tensor(0), torch.tensor(1))
            assert torch.equal(
                law.draw_sum(counts, *entry, generator=stream(4)), law.draw_sum(counts, *entry, generator=stream(4))
            )


class TestRefusals:
    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda: discrete(high=4.0), r"values\[sg=0, ag=0, v=2\] is 5.*\[0, 4\]"),
            (lambda: discrete(low=math.nan), "low must be a number"),
            (lambda: discrete(low=9.0, high=1.0), "low = 9 is above high = 1"),
            (lambda: discrete(probabilities=((0.5, 0.3, 0.1),)), r"probabilities\[sg=0, ag=0\] sums to 0.9"),
            (lambda: discrete(values=((1.0, 2.0),)), "values has shape .* but probabilities"),
            (lambda: DiscreteReward([1.0], [1.0]), r"expected \[sg, ag, v\] or \[sl, sg, al, v\]"),
            (lambda: DiscreteReward([[["a"]]], [[[1.0]]]), "array of real numbers"),
            (lambda: discrete(values=((0.0, math.nan, 1.0),)), r"values\[sg=0, ag=0, v=1\] is nan"),
            (lambda: GaussianReward([[0.0]], [[-1.0]], 0, 1), r"scale\[sg=0, ag=0\] is -1"),
            (lambda: GaussianReward([[0.0]], [[1.0]], 0, math.inf), "high must be a number in"),
            (lambda: GaussianReward([[0.0]], [[1e9]], 0, 1), "use DiscreteReward"),
            (lambda: GaussianReward([[0.0]], [[math.inf]], 0, 1), "finite"),
            (lambda: SampledReward(3, 0, 1, [[0.5]]), "function must be callable"),
            (lambda: SampledReward(coin, 0, 1, [[1.5]]), r"mean\[sg=0, ag=0\] is 1.5"),
            (lambda: SampledReward(coin, 0, 1, [[0.5]], [[0.6]]), r"std\[sg=0, ag=0\] is 0.6"),
            (lambda: SampledReward(coin, 0, 1, [[0.5]], [[0.1, 0.1]]), "they must agree"),
        ],
    )
    def test_malformed_laws(self, make, said):
        with pytest.raises(GameError, match=said):
            make()

    @pytest.mark.parametrize(
        ("function", "said"),
        [
            (lambda sg, ag, generator: torch.full_like(sg, 2, dtype=f64), r"reward\[sg=1, ag=0\] was drawn as 2"),
            (lambda sg, ag, generator: torch.full_like(sg, math.nan, dtype=f64), "drawn as nan"),
            (lambda sg, ag, generator: torch.zeros(7), r"shape \[7\]; expected one reward per entry"),
            (lambda sg, ag, generator: "a", "real numbers"),
            (lambda sg, ag: 0, "raised TypeError"),
        ],
    )
    def test_draws_of_a_function_are_checked(self, function, said):
        law = SampledReward(function, 0, 1, torch.full((2, 2), 0.5))
        with pytest.raises(GameError, match=said):
            law.draw(torch.tensor([1]), torch.tensor([0]), generator=stream())

    def test_sums_of_many_need_a_std(self):
        law, entry = sampled(std=False), [torch.tensor(0)] * 3
        assert law.draw_sum(torch.tensor(64.0, dtype=f64), *entry, generator=stream()) >= 0
        with pytest.raises(GameError, match="has no std"):
            law.draw_sum(torch.tensor(65.0, dtype=f64), *entry, generator=stream())


class TestGames:
    def test_the_table_is_the_mean_and_the_law_stands_beside_it(self):
        game = random_game(global_law(), local_law())
        assert torch.equal(game.r_g, game.r_g_law.mean)
        assert torch.equal(game.r_l, game.r_l_law.mean)
        assert game.has_random_rewards
        assert not random_game().has_random_rewards

    def test_the_range_is_that_of_the_laws_and_of_tables_without(self):
        assert random_game(global_law(), local_law()).reward_range == 2 + local_law().high - local_law().low
        plain = random_game(r_l=local_law())
        assert plain.reward_range == float(plain.r_g.max() - plain.r_g.min()) + local_law().high - local_law().low

    def test_lemma_f4_takes_the_range_of_the_laws(self):
        game = random_game(global_law(), local_law())
        found = am.theory.xi_lemma_f4(game, 16)
        assert found == math.ceil(10 * game.reward_range * 2 * math.sqrt(math.log(800)))

    def test_replacing_a_table_drops_its_law_alone(self):
        game = random_game(global_law(), local_law())
        changed = game.replace(r_l=torch.zeros(3, 2, 2))
        assert changed.r_l_law is None
        assert changed.r_g_law is game.r_g_law
        assert game.replace(n=7).r_l_law is game.r_l_law
        assert game.replace(r_g=global_law(8)).r_g_law.mean[0, 0] != game.r_g[0, 0]

    def test_moving_keeps_the_laws(self):
        game = random_game(global_law(), local_law())
        assert torch.equal(game.to("cpu").r_l_law.values, game.r_l_law.values)

    def test_a_law_of_another_table_or_shape_is_refused(self):
        with pytest.raises(GameError, match="r_l must be the mean of r_l_law"):
            random_game(r_l=local_law()).replace(r_l=torch.zeros(3, 2, 2), r_l_law=local_law())
        with pytest.raises(GameError, match="r_l_law must be a reward law or None, not str"):
            random_game().replace(r_l_law="noisy")
        with pytest.raises(GameError, match="r_l has shape"):
            random_game(r_l=global_law())
        with pytest.raises(GameError, match="axis sg of r_g"):
            random_game(r_g=GaussianReward(torch.zeros(3, 2), torch.ones(3, 2), -1, 1))

    def test_files_give_back_the_same_bits(self, tmp_path):
        game = random_game(global_law(), local_law())
        game.save(tmp_path / "game.npz")
        found = am.Game.load(tmp_path / "game.npz")
        for name in ("values", "probabilities", "mean", "variance"):
            assert torch.equal(getattr(found.r_l_law, name), getattr(game.r_l_law, name))
        for name in ("location", "scale", "mean", "variance"):
            assert torch.equal(getattr(found.r_g_law, name), getattr(game.r_g_law, name))
        assert (found.r_g_law.low, found.r_g_law.high) == (-1, 1)
        assert torch.equal(found.r_l, game.r_l)

    def test_files_without_laws_load_as_ever(self, tmp_path):
        random_game().save(tmp_path / "game.npz")
        assert am.Game.load(tmp_path / "game.npz").r_l_law is None

    def test_a_function_cannot_be_stored(self, tmp_path):
        with pytest.raises(ArgumentError, match="SampledReward cannot be stored"):
            random_game(r_l=sampled()).save(tmp_path / "game.npz")

    @pytest.mark.parametrize(
        ("entries", "said"),
        [
            ({"r_l_law/kind": "pickled"}, "of kind discrete or gaussian, not 'pickled'"),
            ({"r_l_law/kind": "gaussian"}, "lacks location, scale, low, high"),
            ({"r_l_law/low": 0.0}, "not None"),
        ],
    )
    def test_damaged_laws_are_named(self, tmp_path, entries, said):
        path = tmp_path / "game.npz"
        random_game().save(path)
        with np.load(path) as file:
            arrays = dict(file)
        np.savez(path, **arrays, **entries)
        with pytest.raises(FileFormatError, match=said):
            am.Game.load(path)


def some_pair(game, k=2, deterministic=False):
    pi_l = uniform_local(game)
    if deterministic:
        pi_l = torch.nn.functional.one_hot(torch.arange(6).view(3, 2) % 2, 2).double()
    simplex = CountSimplex(k, game.num_sl)
    return TabularPair(uniform_global(game, simplex), pi_l, simplex)


def agent_by_agent(game, pi_l, episodes, horizon, seed):
    """Returns of n agents that act, earn and move one by one, under the uniform pi_g."""
    rng = np.random.default_rng(seed)
    r_g, r_l = game.r_g_law, game.r_l_law
    generator = stream(seed)
    P_g, P_l, acts = (table.cumsum(-1).numpy() for table in (game.P_g, game.P_l, pi_l))
    s_g = rng.integers(game.num_sg, size=episodes)
    s_l = rng.integers(game.num_sl, size=(episodes, game.n))
    returns = np.zeros(episodes)
    for t in range(horizon):
        a_g = rng.integers(game.num_ag, size=episodes)
        a_l = (rng.random((episodes, game.n, 1)) > acts[s_l, s_g[:, None], :-1]).sum(-1)
        many = [torch.from_numpy(np.broadcast_to(x, s_l.shape).copy()) for x in (s_l, s_g[:, None], a_l)]
        earned = r_l.draw(*many, generator=generator).mean(-1).numpy()
        paid = r_g.draw(torch.from_numpy(s_g), torch.from_numpy(a_g), generator=generator).numpy()
        returns += game.gamma**t * (paid + earned)
        moved = (rng.random((episodes, game.n, 1)) > P_l[s_l, s_g[:, None], a_l, :-1]).sum(-1)
        s_g, s_l = (rng.random((episodes, 1)) > P_g[s_g, a_g, :-1]).sum(-1), moved
    return returns


class TestRollouts:
    @pytest.mark.parametrize("deterministic", [True, False])
    def test_mean_and_variance_are_those_of_agents_one_by_one(self, deterministic):
        game = random_game(global_law(), local_law(), n=4)
        pair = some_pair(game, deterministic=deterministic)
        fast = am.rollout(game, pair, episodes=40_000, horizon=8, seed=1).returns
        slow = agent_by_agent(game, pair.pi_l, 40_000, 8, seed=2)
        error = math.sqrt((fast.var().item() + slow.var()) / 40_000)
        assert fast.mean().item() == pytest.approx(slow.mean(), abs=4 * error)
        assert fast.var().item() == pytest.approx(slow.var(ddof=1), rel=0.04)

    @pytest.mark.parametrize("n", [5, 1000, 10**9])
    def test_the_mean_is_that_of_the_mean_rewards(self, n):
        game = random_game(global_law(), sampled(), n=n)
        means = game.replace(r_g=game.r_g, r_l=game.r_l)
        pair = some_pair(game)
        drawn = am.rollout(game, pair, episodes=3000, horizon=20, seed=3)
        expected = am.rollout(means, pair, episodes=3000, horizon=20, seed=3)
        difference = drawn.returns - expected.returns  # the same states: what is left is chance in the rewards
        assert abs(difference.mean()) < 4 * difference.std() / 3000**0.5
        assert drawn.returns.var() > expected.returns.var()
        assert torch.equal(drawn.trace.occupation, expected.trace.occupation)

    def test_many_agents_leave_the_chance_of_the_global_reward_alone(self):
        """Var(mean of n local rewards) is 1/n: at n = 10^9 returns scatter as with the mean of r_l."""
        game = random_game(r_l=local_law(), n=10**9)
        pair = some_pair(game, deterministic=True)
        drawn = am.rollout(game, pair, episodes=200, horizon=10)
        expected = am.rollout(game.replace(r_l=game.r_l), pair, episodes=200, horizon=10)
        assert (drawn.returns - expected.returns).abs().max() < 1e-3

    def test_laws_without_chance_earn_the_means(self):
        still = random_game()
        certain = random_game(
            DiscreteReward(still.r_g[..., None], torch.ones(2, 2, 1)),
            DiscreteReward(still.r_l[..., None], torch.ones(3, 2, 2, 1)),
        )
        pair = some_pair(still, deterministic=True)
        found, wanted = (am.rollout(game, pair, episodes=50, horizon=10) for game in (certain, still))
        torch.testing.assert_close(found.returns, wanted.returns, rtol=1e-13, atol=0)

    def test_a_faulty_function_is_named(self):
        def faulty(sl, sg, al, generator):
            return torch.full_like(sl, 7, dtype=f64)

        game = random_game(r_l=SampledReward(faulty, 0, 1, torch.full((3, 2, 2), 0.5)))
        with pytest.raises(GameError, match=r"reward\[sl=\d, sg=\d, al=\d\] was drawn as 7"):
            am.rollout(game, some_pair(game), episodes=2, horizon=2)

    def test_a_law_is_a_reward_law(self):
        assert all(isinstance(law, RewardLaw) for law in (global_law(), local_law(), sampled()))


@pytest.mark.parametrize("n", [1, 5])
def test_an_action_decides_both_what_is_earned_and_where_it_leads(n):
    """State = last action, reward = state + action; under a pi_l that draws, agent by agent as the oracle."""
    P_l = (
        torch.eye(2, dtype=torch.float64).expand(2, 2, 2).unsqueeze(1).contiguous()
    )  # [sl, sg, al, sl']: a_l leads to a_l
    law = DiscreteReward([[[[0.0], [1.0]]], [[[1.0], [2.0]]]], [[[[1.0], [1.0]]], [[[1.0], [1.0]]]])
    game = am.Game(P_g=[[[1.0]]], P_l=P_l, r_g=[[0.0]], r_l=law, gamma=0.9, n=n)
    pair = TabularPair(torch.ones(1, 2, 1, dtype=torch.float64), uniform_local(game), CountSimplex(1, 2))
    returns = am.rollout(game, pair, episodes=20_000, horizon=10, seed=1).returns.numpy()
    draw = np.random.default_rng(0)
    states, earned = draw.integers(0, 2, (20_000, n)), np.zeros(20_000)
    for t in range(10):
        actions = draw.integers(0, 2, states.shape)
        earned += 0.9**t * (states + actions).mean(1)
        states = actions
    assert returns.mean() == pytest.approx(earned.mean(), abs=4.5 * (2 * earned.var() / 20_000) ** 0.5)
    assert returns.var() == pytest.approx(earned.var(), rel=0.06)


@pytest.mark.parametrize("agents", [65, 1000])
def test_sums_of_many_rare_rewards_keep_their_mean_and_variance(agents):
    """clip(N(-3, 1), 0, 1) is 0 almost always: what is cut off must not move the mean."""
    law = GaussianReward([[-3.0]], [[1.0]], 0, 1)
    one = torch.zeros(100_000, dtype=torch.int64)
    number = torch.full((100_000,), float(agents), dtype=torch.float64)
    drawn = law.draw_sum(number, one, one, generator=torch.Generator().manual_seed(0))
    mean, variance = agents * float(law.mean), agents * float(law.variance)
    assert float(drawn.mean()) == pytest.approx(mean, abs=4.5 * (variance / 100_000) ** 0.5)
    assert float(drawn.var()) == pytest.approx(variance, rel=0.15)
    assert bool(((drawn >= 0) & (drawn <= agents)).all())
