"""Episodes of n agents against closed forms, the table rollout, and an independent loop."""

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.games.named.linear_quadratic import LinearGains
from altmarl_torch.simulators.play import draw_subsets


def linear(gains, k):
    def lead(s_g, sample):
        return -gains.f_m * sample.mean(1) - gains.f_y * s_g

    return am.simulators.RulePair(k, lead, lambda s_l, s_g: -gains.K * s_l - gains.L * s_g)


@pytest.mark.parametrize(("n", "k"), [(20, 3), (20, 20), (7, 2), (100, 1), (1, 1)])
def test_linear_pairs_earn_their_closed_form(n, k):
    laws, gains = am.games.LinearQuadratic(), LinearGains(0.3, -0.2, -0.6, 0.7)
    found = am.rollout(laws.game(n), linear(gains, k), episodes=3000, horizon=60, seed=n + k)
    assert abs(found.mean - laws.value(gains, n, k, horizon=60)) < 4 * found.sem


def test_subsets_are_uniform_and_fresh():
    rows, k, n = 20_000, 3, 7
    generator = torch.Generator().manual_seed(0)
    for size in (k, n - k):
        first, second = (draw_subsets(rows, size, n, generator) for _ in range(2))
        member = torch.nn.functional.one_hot(first, n).sum(1).float()
        assert member.max() == 1
        together = member.T @ member / rows
        expected = torch.full((n, n), size * (size - 1) / (n * (n - 1))).fill_diagonal_(size / n)
        assert (together - expected).abs().max() < 5 * 0.5 / rows**0.5
        again = torch.nn.functional.one_hot(second, n).sum(1).float()
        assert (member.T @ again / rows - (size / n) ** 2).abs().max() < 5 * 0.5 / rows**0.5
    assert draw_subsets(2, n, n, generator).tolist() == [list(range(n))] * 2


def test_tables_as_a_simulator_earn_what_counts_earn():
    game = am.games.warehouse(n=60)
    rules = am.heuristics.heuristic_pair(game, 10, "sticky", "walk")
    pi_l = rules.pi_l
    binning = am.simulators.Binning([-0.5 + cell for cell in range(game.num_sl + 1)])
    law = rules.dispatcher()

    def lead(s_g, sample):
        return law.act(s_g.squeeze(-1).long(), binning.counts(sample))

    def follow(s_l, s_g):
        return pi_l[s_l.squeeze(-1).long(), s_g.squeeze(-1).long()].argmax(-1)

    ours = am.rollout(am.SimulatedGame.from_tables(game), am.simulators.RulePair(10, lead, follow), episodes=1500)
    theirs = am.rollout(game, rules, episodes=4000)
    assert abs(ours.mean - theirs.mean) < 4 * (ours.sem**2 + theirs.sem**2) ** 0.5


@pytest.mark.parametrize("offsets", [[0, 0.05, -0.05], [1, 0, -1, 0, 2], [3.0], [0.5, -0.5]])
def test_walk_takes_the_nearest_offset_and_the_first_on_ties(offsets):
    halves = torch.randint(-8, 9, (2000, 1), generator=torch.Generator().manual_seed(0)) / 2
    gaps = torch.cat([halves, torch.randn(2000, 1, generator=torch.Generator().manual_seed(1))])
    nearest = (gaps - torch.tensor(offsets)).abs().argmin(-1)
    assert torch.equal(am.simulators.walk(offsets)(-gaps, torch.zeros_like(gaps)), nearest)


def test_equal_seeds_are_equal_and_hold_and_walk_earns_what_an_independent_loop_earns():
    game = am.games.continuous_warehouse()
    zones = am.simulators.Binning([-2, -1.2, -0.4, 0.4, 1.2, 2])
    pair = am.simulators.RulePair(5, am.simulators.hold(zones), am.simulators.walk([0, 0.05, -0.05]))
    first, again = (am.rollout(game, pair, episodes=600, horizon=50, seed=3) for _ in range(2))
    assert torch.equal(first.returns, again.returns)
    assert first.trace.occupation.shape == (50, 1, 20)
    returns = independent_loop(600)
    error = (first.sem**2 + float(returns.var()) / 600) ** 0.5
    assert abs(first.mean - float(returns.mean())) < 4 * error


def independent_loop(episodes):
    """The authors' game written down again in numpy, all episodes at once: hold the nearest middle, walk to s_g."""
    rng = np.random.default_rng(1)
    tau = np.array([-1.6, -0.8, 0, 0.8, 1.6])
    y = rng.uniform(-1, 1, episodes)
    pairs = np.array([rng.permutation(5)[:2] for _ in range(episodes)])
    centre = np.repeat(tau[pairs], (275, 225), axis=1)
    x = np.clip(centre + 0.18 * rng.standard_normal(centre.shape), -2, 2)
    returns = np.zeros(episodes)
    for t in range(50):
        a = np.abs(tau - y[:, None]).argmin(1)
        gap = y[:, None] - x
        move = np.where(np.abs(gap) <= 0.025, 0.0, np.where(gap > 0, 0.05, -0.05))  # whichever comes nearest
        near = 10 * np.exp(-(gap**2) / 0.08) - 5 * np.abs(move)
        returns += 0.95**t * (5 * np.exp(-((y - tau[a]) ** 2) / 0.18) + near.mean(1))
        x = np.clip(x + move + 0.04 * rng.standard_normal(x.shape), -2, 2)
        y = np.clip(y + 0.6 * (tau[a] - y) + 0.08 * rng.standard_normal(episodes), -2, 2)
    return returns


def test_a_million_agents_fit():
    game = am.games.continuous_warehouse()
    zones = am.simulators.Binning([-2, -1.2, -0.4, 0.4, 1.2, 2])
    pair = am.simulators.RulePair(20, am.simulators.sticky(zones), am.simulators.walk([0, 0.05, -0.05]))
    assert am.rollout(game, pair, episodes=2, horizon=3, n=10**6).mean > 0
    with pytest.raises(am.SizeError, match="too many"):
        am.rollout(game, pair, episodes=2, horizon=3, n=10**8)


def test_errors_are_of_the_family():
    game = am.games.continuous_warehouse()
    pair = am.simulators.uniform_pair(game, 600)
    with pytest.raises(am.ArgumentError, match=r"k must be an integer in 1\.\.500"):
        am.rollout(game, pair)
    with pytest.raises(am.PolicyError, match="local_actions"):
        am.rollout(game, object())
    wrong = am.simulators.RulePair(2, lambda s_g, sample: torch.full((len(s_g),), 5), lambda s_l, s_g: s_l)
    with pytest.raises(am.PolicyError, match="a_g holds an action that is not of Discrete"):
        am.rollout(game, wrong)
