"""Algorithm 4 on counts: against agents one by one, exact expectations, closed forms and scipy's laws."""

import importlib
import math
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from oracles.agents import assert_same_law, exact_return, simulate

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, PolicyError, SizeError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games import beacon, hash_game, random_game, steer, warehouse
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.policies.rules import heuristic_pair, heuristic_pairs, table
from altmarl_torch.policies.tabular import TabularPair, uniform_local


def random_pair(game: Game, k: int, seed: int = 0) -> TabularPair:
    """Stochastic tables of both players."""
    generator = torch.Generator().manual_seed(seed)
    simplex = CountSimplex(k, game.num_sl)

    def laws(*shape: int) -> torch.Tensor:
        weights = torch.rand(shape, generator=generator, dtype=torch.float64) ** 3
        return weights / weights.sum(-1, keepdim=True)

    return TabularPair(
        laws(game.num_sg, simplex.size, game.num_ag), laws(game.num_sl, game.num_sg, game.num_al), simplex
    )


def law_of(pair: TabularPair):
    """The pair's pi_g in numpy, for the oracle: its own index of the count vectors."""
    index = {tuple(counts): h for h, counts in enumerate(pair.simplex.counts.tolist())}
    pi_g = pair.pi_g.numpy()
    return lambda s_g, counts: pi_g[s_g, [index[tuple(row)] for row in counts.tolist()]]


@dataclass
class Spy:
    """A pair that writes down all that its dispatcher is shown; with k = n, that is the whole population."""

    pair: object
    s_g: list = field(default_factory=list)
    counts: list = field(default_factory=list)

    @property
    def k(self):
        return self.pair.k

    @property
    def pi_l(self):
        return self.pair.pi_l

    def dispatcher(self, seed=0):
        self.inner = self.pair.dispatcher(seed)
        return self

    def reset(self, batch):
        self.inner.reset(batch)

    def act(self, s_g, counts):
        self.s_g.append(s_g.clone())
        self.counts.append(counts.clone())
        return self.inner.act(s_g, counts)


def spied(game: Game, pair, **settings) -> np.ndarray:
    """The counts [episodes, T, sl] that the dispatcher saw."""
    spy = Spy(pair)
    rollout(game, spy, **settings)
    return torch.stack(spy.counts, 1).numpy()


# --- agents one by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("game", "k"), [(random_game(3, 3, 2, 2, seed=1, n=9), 4), (random_game(2, 4, 4, 3, seed=2, n=6, laziness=0.5), 5)]
)
def test_counts_earn_what_agents_earn_one_by_one(game, k):
    pair = random_pair(game, k)
    ours = rollout(game, pair, episodes=6000, horizon=12, seed=1)
    oracle = simulate(game, law_of(pair), pair.pi_l, k=k, n=game.n, episodes=4000, horizon=12, seed=2)
    sem = math.hypot(ours.sem, oracle.returns.std() / 4000**0.5)
    assert abs(ours.mean - oracle.returns.mean()) < 4 * sem


def test_counts_have_the_law_of_agents_counted_one_by_one():
    game = hash_game(2, 3, 2, 2).replace(n=5, initial=InitialLaw([0.3, 0.7], [0.5, 0.2, 0.3], 2.0))
    pair = random_pair(game, 5)
    ours = spied(game, pair, episodes=4000, horizon=8, seed=3)
    oracle = simulate(game, law_of(pair), pair.pi_l, k=5, n=5, episodes=4000, horizon=8, seed=4)
    for t in (0, 1, 2, 7):
        assert_same_law(ours[:, t], oracle.counts[:, t])


def test_samples_have_the_law_of_shuffled_agents():
    game = random_game(2, 3, 2, 2, seed=5, n=7)
    for k in (1, 3, 5):  # 5 > n/2: the numbers of the agents left out are drawn
        pair = random_pair(game, k)
        ours = spied(game, pair, episodes=4000, horizon=4, seed=5)
        oracle = simulate(game, law_of(pair), pair.pi_l, k=k, n=7, episodes=4000, horizon=4, seed=6)
        assert_same_law(ours[:, 3], oracle.sampled[:, 3])


def echo_game(n: int = 20) -> Game:
    """s_g alternates, every agent goes to where s_g is: under Eq. 3 it is always one step late and earns nothing."""
    flip = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    same = torch.eye(2)
    P_l = same[None, :, None, :].expand(2, 2, 1, 2)  # s_l' = s_g
    return Game(flip[:, None], P_l, torch.zeros(2, 1), same[:, :, None], gamma=0.9, n=n, name="echo")


def test_agents_move_under_the_current_global_state():
    game = echo_game()
    pair = heuristic_pair(game, 3, "uniform", "uniform")
    ours = rollout(game, pair, episodes=2000, horizon=10)
    assert ours.returns.max() <= 1.0  # what is earned at t = 0, before anybody moved
    assert abs(ours.mean - 0.5) < 4 * ours.sem
    settings = {"k": 3, "n": game.n, "episodes": 500, "horizon": 10, "seed": 1}
    late = simulate(game, lambda s_g, counts: np.ones((len(s_g), 1)), pair.pi_l, **settings)
    early = simulate(game, lambda s_g, counts: np.ones((len(s_g), 1)), pair.pi_l, **settings, new_sg=True)
    assert abs(late.returns.mean() - ours.mean) < 4 * math.hypot(ours.sem, late.returns.std() / 500**0.5)
    assert early.returns.mean() - ours.mean > 100 * ours.sem  # the slip would earn 1 at every step


def test_the_wrong_timing_also_shows_in_the_warehouse():
    game = warehouse(n=30)
    pair = heuristic_pair(game, 10, "mode", "walk")
    ours = rollout(game, pair, episodes=6000, horizon=40)
    settings = {"k": 10, "n": 30, "episodes": 1500, "horizon": 40, "seed": 7}

    def law(s_g, counts):
        return np.eye(5)[counts.argmax(1)]

    late, early = (simulate(game, law, pair.pi_l, **settings, new_sg=new).returns for new in (False, True))
    sem = math.hypot(ours.sem, late.std() / 1500**0.5)
    assert abs(ours.mean - late.mean()) < 4 * sem
    assert early.mean() - ours.mean > 6 * sem


# --- exact expectations and closed forms ---------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [math.inf, 0.7])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_mean_return_is_the_exact_expectation(strength, k):
    game = hash_game(2, 2, 3, 2, gamma=0.9).replace(n=3, initial=InitialLaw([0.9, 0.1], [0.3, 0.7], strength))
    pair = random_pair(game, k)
    exact = exact_return(game, law_of(pair), pair.pi_l, k=k, n=3, horizon=6)
    ours = rollout(game, pair, episodes=40_000, horizon=6, seed=k)
    assert abs(ours.mean - exact) < 4 * ours.sem
    assert ours.sem < 0.01


def test_the_oracle_agrees_with_its_own_enumeration():
    game = steer().replace(n=3, initial=InitialLaw([0.5, 0.5], [0.2, 0.8], 1.0))
    pair = random_pair(game, 2)
    exact = exact_return(game, law_of(pair), pair.pi_l, k=2, n=3, horizon=5)
    returns = simulate(game, law_of(pair), pair.pi_l, k=2, n=3, episodes=20_000, horizon=5, seed=1).returns
    assert abs(returns.mean() - exact) < 4 * returns.std() / 20_000**0.5


def test_beacon_earns_its_closed_form_at_every_k_and_n():
    game = beacon(num_zones=3, arrival=0.5, gamma=0.8)
    expected = sum(0.8**t * (2 - 2 / 3 * 0.5**t) for t in range(30))
    for k, n in ((1, 10), (10, 10), (4, 10**9)):
        result = rollout(game, heuristic_pair(game, k, "hold", "walk"), horizon=30, n=n)
        assert abs(result.mean - expected) < 4 * result.sem + 1e-4


def clockwork(n: int = 6) -> Game:
    """Nothing is left to chance: s_g counts 0, 1, 2, 0, ..; agents step one state up the ring of four."""
    P_g = torch.eye(3).roll(1, 1)[:, None]
    P_l = torch.eye(4).roll(1, 1)[:, None, None].expand(4, 3, 1, 4)
    r_g, r_l = torch.tensor([[1.0], [10.0], [100.0]]), torch.arange(4.0)[:, None, None].expand(4, 3, 1)
    return Game(P_g, P_l, r_g, r_l, gamma=0.5, n=n, initial=InitialLaw([0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]))


def test_a_deterministic_game_earns_its_closed_form_exactly():
    result = rollout(clockwork(), heuristic_pair(clockwork(), 2, "uniform", "uniform"), episodes=5, horizon=6)
    earned = [10 + 2, 100 + 3, 1 + 0, 10 + 1, 100 + 2, 1 + 3]
    assert result.returns.tolist() == [sum(0.5**t * r for t, r in enumerate(earned))] * 5
    assert result.sem == 0.0
    assert result.trace.s_g.tolist() == [1, 2, 0, 1, 2, 0]
    assert result.trace.mode.tolist() == [2, 3, 0, 1, 2, 3]
    assert result.mode_accuracy is None  # one action, four states


def test_kernels_of_zeros_and_ones_move_the_counts_as_a_permutation():
    game = clockwork(n=11).replace(initial=InitialLaw([0.0, 1.0, 0.0], [0.1, 0.2, 0.3, 0.4]))
    counts = spied(game, heuristic_pair(game, 11, "uniform", "uniform"), episodes=20, horizon=9)
    for t in range(8):
        np.testing.assert_array_equal(counts[:, t + 1], np.roll(counts[:, t], 1, axis=1))


def test_one_step_earns_the_reward_of_the_start():
    game = warehouse()
    result = rollout(game, heuristic_pair(game, 20, "mode", "walk"), episodes=1, horizon=1, seed=4)
    s_g, a_g, occupation = result.trace.s_g[0], result.trace.a_g[0], result.trace.occupation[0]
    r_l_pi = game.induced(heuristic_pair(game, 20, "mode", "walk").pi_l).r_l_pi
    torch.testing.assert_close(result.returns[0], game.r_g[s_g, a_g] + occupation @ r_l_pi[:, s_g])
    assert math.isnan(result.sem)


def test_a_stochastic_local_policy_earns_its_expected_reward():
    game = Game([[[1.0]]], torch.ones(1, 1, 2, 1), [[0.0]], [[[0.0, 1.0]]], gamma=0.5, n=4)
    result = rollout(game, heuristic_pair(game, 1, "uniform", "uniform"), episodes=3, horizon=2)
    assert result.returns.tolist() == [0.75] * 3


# --- sizes, seeds, errors ------------------------------------------------------------------------------------------


def test_a_billion_agents_are_conserved():
    game = warehouse()
    result = rollout(game, heuristic_pair(game, 20, "mode", "walk"), episodes=10, n=10**9)
    agents = result.trace.occupation * 1e9
    assert (agents.round().sum(-1) == 10**9).all()
    assert (agents - agents.round()).abs().max() < 1e-6
    assert result.n == 10**9


def test_seeing_all_agents_is_seeing_the_population():
    game = warehouse(n=12)
    spy = Spy(heuristic_pair(game, 12, "mode", "walk"))
    result = rollout(game, spy, episodes=50, horizon=20)
    seen = torch.stack(spy.counts)
    assert (seen.sum(-1) == 12).all()
    torch.testing.assert_close(seen[:, 0] / 12.0, result.trace.occupation.float())
    assert result.mode_accuracy == 1.0


@pytest.mark.parametrize("labels_per_block", [1, 700])
def test_the_sample_does_not_depend_on_how_time_is_cut(monkeypatch, labels_per_block):
    game = warehouse()
    pair = heuristic_pair(game, 600, "mode", "walk")
    whole = rollout(game, pair, episodes=40, horizon=30)
    monkeypatch.setattr(
        importlib.import_module("altmarl_torch.evaluation.rollouts"), "LABELS_PER_BLOCK", labels_per_block
    )
    cut = spied(game, pair, episodes=40, horizon=30)
    assert (cut.sum(-1) == 600).all()
    assert abs(rollout(game, pair, episodes=40, horizon=30).mean - whole.mean) < 6 * whole.sem


def test_equal_seeds_give_equal_runs_and_touch_no_global_state():
    game = warehouse()
    pair = heuristic_pair(game, 5, "uniform", "walk")
    state = torch.get_rng_state()
    first, again, other = (rollout(game, pair, episodes=20, horizon=10, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(first.returns, again.returns)
    assert torch.equal(first.trace.occupation, again.trace.occupation)
    assert not torch.equal(first.returns, other.returns)
    assert torch.equal(state, torch.get_rng_state())


def test_policies_and_populations_are_compared_from_common_starts():
    game = warehouse()
    spies = [Spy(heuristic_pair(game, k, rule, "walk")) for rule, k in (("mode", 20), ("hold", 20), ("mode", 1))]
    results = [rollout(game, spy, episodes=30, horizon=3) for spy in spies]
    results.append(rollout(game, spies[0], episodes=30, horizon=3, n=10**6))
    assert all(torch.equal(spy.s_g[0], spies[0].s_g[0]) for spy in spies)
    assert all(torch.equal(r.trace.occupation[0], results[0].trace.occupation[0]) for r in results[:3])
    assert torch.equal(spies[0].s_g[0], spies[0].s_g[3])  # the run with a million agents
    assert (results[3].trace.occupation[0] - results[0].trace.occupation[0]).abs().max() < 0.1


def test_common_random_numbers_make_differences_precise():
    game = warehouse()
    first, second = (rollout(game, heuristic_pair(game, k, "mode", "walk"), seed=1) for k in (20, 30))
    difference = second.returns - first.returns
    assert difference.std() < math.hypot(first.returns.std(), second.returns.std())


def test_arguments_out_of_range_are_refused():
    game = warehouse(n=10)
    pair = heuristic_pair(game, 5, "mode", "walk")
    for wrong in ({"episodes": 0}, {"horizon": 0}, {"seed": -1}, {"n": 2**53 + 1}, {"n": 0}, {"horizon": 2.5}):
        with pytest.raises(ArgumentError, match=next(iter(wrong))):
            rollout(game, pair, **wrong)
    with pytest.raises(ArgumentError, match=r"k must be .* 1\.\.4, not 5"):
        rollout(game, pair, n=4)
    with pytest.raises(PolicyError, match="pi_l"):
        rollout(
            game, TabularPair(table(game, pair.rule, CountSimplex(5, 5)), uniform_local(steer()), CountSimplex(5, 5))
        )


# --- the warehouse of Appendix G.2 ---------------------------------------------------------------------------------


def test_warehouse_yardsticks():
    game = warehouse()
    hold = rollout(game, heuristic_pairs(game, 20)["hold + walk"], episodes=2000)
    few, many = (rollout(game, heuristic_pairs(game, k)["mode + walk"], episodes=2000) for k in (1, 20))
    assert hold.mean == pytest.approx(160.8, abs=1.2)
    assert many.mean == pytest.approx(153.4, abs=1.8)
    assert few.mean == pytest.approx(112.3, abs=1.2)
    assert few.mode_accuracy < 0.4 < 0.75 < many.mode_accuracy


# --- what is refused -----------------------------------------------------------------------------------------------


def test_a_pair_of_another_game_is_refused():
    game, other = hash_game(2, 2, 2, 2), hash_game(2, 2, 3, 2)
    for stranger in (other, hash_game(3, 2, 2, 2), hash_game(1, 2, 2, 2)):
        pair = TabularPair(random_pair(stranger, 2).pi_g, uniform_local(game), CountSimplex(2, 2))
        with pytest.raises(PolicyError, match=r"pi_g has shape .*; this game needs \[sg, h, ag\] = \[2, h, 2\]"):
            rollout(game, pair)
    with pytest.raises(PolicyError, match=r"a_g\[episode=\d+\] is 2 .*the game's global actions are 0\.\.1"):
        rollout(game, Spy(random_pair(other, 2)))


@pytest.mark.parametrize("large", [{"episodes": 10**11}, {"horizon": 10**11}])
def test_what_would_not_fit_in_memory_is_refused_before_anything_is_drawn(large):
    with pytest.raises(SizeError, match="too many to keep"):
        rollout(warehouse(), heuristic_pair(warehouse(), 5, "mode", "walk"), **large)
