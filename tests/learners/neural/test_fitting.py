"""Fitted value iteration: values and policies of the exact operators, equal seeds, and training that goes astray."""

import contextlib
import dataclasses
import math

import pytest
import torch
from oracles.networks import same
from oracles.neural import TablePolicy, drawn, exact, exact_mean, random_global, random_local, seeded
from torch import nn

import altmarl_torch as am
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.errors import LearningError
from altmarl_torch.games import hash_game, random_game, steer
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.neural import training
from altmarl_torch.learners.neural.fitting import fit, weigh_start
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, tabulate
from altmarl_torch.learners.neural.started import StartedNetwork
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.settings import Settings
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.tabular import g_learn

GAMES = {
    "steer": (steer(), 3),
    "hash": (hash_game(), 4),
    "hash, drawn": (hash_game(), 4),
    "random": (random_game(num_sg=3, num_sl=3, num_ag=3, num_al=2, gamma=0.9, laziness=0.7, seed=5), 4),
}
QUICK = Settings(batch=256, max_steps=600)


def ways(name):
    """Whether the pairs of a case are drawn, though they are few."""
    return drawn() if "drawn" in name else contextlib.nullcontext()


def small_network(game, seed=0):
    return CountNetwork(game.num_sl, game.num_sg, game.num_ag, width=32, generator=seeded(seed))


def fitted(game, k, policy=None, settings=QUICK, seed=0, pi_l=None, network=None, **options):
    pi_l = uniform_local(game) if pi_l is None else pi_l
    surrogate = BatchSurrogate.build(game, pi_l, k)
    network = small_network(game) if network is None else network
    return surrogate, fit(surrogate, network, policy, settings, seeded(seed), phase="g_learn", **options)


def greedy_table(surrogate, found):
    policy = NetworkPolicy(found.network, surrogate.r_g, surrogate.game.gamma, surrogate.reward_scale, surrogate.k)
    return tabulate(policy, am.CountSimplex(surrogate.k, surrogate.game.num_sl)).double()


def values_of(surrogate, found, pi_g=None):
    """V `[sg, N]` that the network stands for, by max or by pi_g, with its offset."""
    counts = am.CountSimplex(surrogate.k, surrogate.game.num_sl).counts.float()
    with torch.no_grad():
        continuation = surrogate.reward_scale * found.network(counts / surrogate.k) + found.baseline + found.offset
        Q = surrogate.action_values(counts, continuation).movedim(0, 1).double()
    return Q.amax(-1) if pi_g is None else (pi_g * Q).sum(-1)


@pytest.fixture(scope="module")
def best_responses():
    """A fit of the best response to the uniform pi_l by game, and everything that its monitor was told."""
    told = {name: [] for name in GAMES}

    def monitored(name):
        settings = dataclasses.replace(QUICK, batch=512, max_steps=1200)
        with ways(name):
            return fitted(*GAMES[name], settings=settings, monitor=lambda *line: told[name].append(line))

    return {name: monitored(name) for name in GAMES}, told


@pytest.mark.parametrize("name", GAMES)
def test_the_greedy_policy_is_a_best_response(best_responses, name):
    """Its exact value is within 0.5 % of the tabular best response's."""
    (game, k), (surrogate, found) = GAMES[name], best_responses[0][name]
    best = g_learn(exact(game, uniform_local(game), k))
    reached = exact_mean(game, greedy_table(surrogate, found), uniform_local(game), k)
    optimum = exact_mean(game, best.pi_g, uniform_local(game), k)
    assert 0.995 * optimum <= reached <= optimum + 1e-6
    assert optimum > 1.01 * exact_mean(game, torch.full_like(best.pi_g, 1 / game.num_ag), uniform_local(game), k)


@pytest.mark.parametrize("name", GAMES)
def test_with_its_offset_the_network_has_the_optimal_values(best_responses, name):
    """Up to 1 % of V_max at every state; the offset is most of them, and was never learned."""
    (game, k), (surrogate, found) = GAMES[name], best_responses[0][name]
    optimal = g_learn(exact(game, uniform_local(game), k)).values
    apart = values_of(surrogate, found) - optimal
    assert float(apart.abs().max()) <= 0.01 * game.v_max
    assert found.offset == pytest.approx(float(optimal.mean()), rel=0.1)
    assert found.residual <= 0.01 * game.v_max


@pytest.mark.parametrize("name", GAMES)
def test_the_monitor_is_told_growing_steps_and_finite_numbers(best_responses, name):
    (_, found), told = best_responses[0][name], best_responses[1][name]
    steps = [line[0] for line in told]
    assert steps == sorted(set(steps))
    assert steps[-1] == found.steps
    assert told[-1][1] == found.residual
    names = {"loss", "residual", "noise", "learning_rate", "samples_per_second"}
    for _, residual, numbers in told:
        assert set(numbers) == names
        assert numbers["residual"] == residual
        assert all(math.isfinite(number) and number >= 0 for number in numbers.values())
    rates = [numbers["learning_rate"] for _, _, numbers in told]
    assert max(rates) == pytest.approx(QUICK.learning_rate)
    assert rates[-1] < 0.01 * QUICK.learning_rate


@pytest.mark.parametrize("name", GAMES)
def test_a_policy_is_evaluated(name):
    """A random randomised pi_g and pi_l: up to a common offset, V is within a few per cent of its spread (rms)."""
    game, k = GAMES[name]
    pi_l, pi_g = random_local(game, 1), random_global(game, k, 2)
    settings = dataclasses.replace(QUICK, batch=512, max_steps=1500)
    with ways(name):
        surrogate, found = fitted(game, k, TablePolicy(pi_g, k, game.num_sl), settings, pi_l=pi_l)
    expected = joint_value(exact(game, pi_l, k), pi_g).values
    apart = values_of(surrogate, found, pi_g) - expected
    assert float(apart.std()) <= 0.05 * float(expected.std())
    assert abs(float(apart.mean())) <= 0.01 * game.v_max


def test_a_start_near_the_solution_saves_steps_and_stays_there():
    game, k = GAMES["steer"]
    surrogate, cold = fitted(game, k, settings=Settings(batch=512))
    _, warm = fitted(game, k, settings=Settings(batch=512), network=cold.network, nearly=2e-3, seed=1)
    assert warm.steps <= cold.steps
    assert torch.equal(greedy_table(surrogate, warm), greedy_table(surrogate, cold))
    assert warm.offset == pytest.approx(cold.offset, rel=0.02)


def nearly_solved(seed, amiss):
    """A training that begins with the exact continuation values, and with something amiss in each."""
    game, k = GAMES["random"]
    pi_l = uniform_local(game)
    lifted = LiftedSurrogate.build(game, pi_l, k, Basis(k, game.num_sl))
    right = lifted.continuation(g_learn(exact(game, pi_l, k)).values)
    wrong = torch.randn(right.shape, dtype=torch.float64, generator=seeded(7))
    surrogate = BatchSurrogate.build(game, pi_l, k)
    start = right / surrogate.reward_scale + amiss * wrong
    network = StartedNetwork(small_network(game), start, k, k).eval()
    return training.Training(surrogate, network, None, None, QUICK, seeded(seed), "g_learn", None)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("amiss", "bound", "left"), [(0.007, 1.25, True), (0.015, 0.8, False)])
def test_a_start_is_weighed_until_it_is_sure(monkeypatch, seed, amiss, bound, left):
    """Whether its residual, here that of many draws, is below what counts as nothing."""
    with drawn(), torch.no_grad():
        begun = nearly_solved(seed, amiss)
        with monkeypatch.context() as patch:
            patch.setattr(training, "HELD_OUT_DRAWS", 4000)
            begun.measure()
        residual, begun.idle = begun.residual, 0
        weigh_start(begun, bound * residual / begun.scale)
    assert bool(begun.idle) == left
    assert not begun.baseline.any()


def test_draws_buy_less_noise_and_no_other_values():
    game, k = GAMES["hash"]
    with drawn():
        surrogate, found = fitted(game, k, settings=dataclasses.replace(QUICK, draws=4))
    optimal = g_learn(exact(game, uniform_local(game), k)).values
    assert float((values_of(surrogate, found) - optimal).abs().max()) <= 0.01 * game.v_max


def test_the_network_handed_in_is_left_as_it_was():
    game, k = GAMES["steer"]
    network, before, random = small_network(game, 3), small_network(game, 3), torch.get_rng_state()
    _, found = fitted(game, k, network=network)
    assert same(network, before)
    assert network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not same(found.network, before)
    assert torch.equal(torch.get_rng_state(), random)


def test_equal_seeds_give_equal_networks_and_others_do_not():
    game, k = GAMES["random"]
    settings = dataclasses.replace(QUICK, max_steps=100)
    with drawn():
        one, two, other = (fitted(game, k, settings=settings, seed=seed)[1] for seed in (0, 0, 1))
    assert same(one.network, two.network)
    assert (one.offset, one.residual, one.noise, one.steps) == (two.offset, two.residual, two.noise, two.steps)
    assert not same(one.network, other.network)


def test_where_pairs_are_few_nothing_is_drawn():
    game, k = GAMES["random"]
    settings = dataclasses.replace(QUICK, max_steps=100)
    one, other = (fitted(game, k, settings=settings, seed=seed)[1] for seed in (0, 1))
    assert same(one.network, other.network)
    assert one.noise == 0


@pytest.mark.parametrize("max_steps", [100, 300, 600])
def test_a_fit_takes_no_more_steps_than_it_may(max_steps):
    game, k = GAMES["random"]
    _, found = fitted(game, k, settings=Settings(batch=16, max_steps=max_steps, learning_rate=1e-6))
    assert found.steps <= max_steps


class Failing(nn.Module):
    """A network that answers NaN once it has been trained for so many steps."""

    def __init__(self, game, calls):
        super().__init__()
        self.network, self.calls = small_network(game), calls

    def forward(self, frequencies):
        self.calls -= self.training
        return self.network(frequencies) * (math.nan if self.calls < 0 else 1.0)


def test_a_loss_that_is_not_finite_names_the_phase_and_the_step():
    game, k = GAMES["steer"]
    with pytest.raises(
        LearningError, match="g_learn: the loss is not finite after 100 gradient steps at a learning rate of"
    ):
        fitted(game, k, network=Failing(game, 75))


def test_a_learning_rate_that_diverges_is_said_to():
    game, k = GAMES["steer"]
    message = r"g_learn: the loss is not finite after 50 gradient steps .* of 1e\+30; use a smaller one"
    with pytest.raises(LearningError, match=message) as caught:
        fitted(game, k, settings=Settings(batch=64, learning_rate=1e30))
    assert isinstance(caught.value, am.AltMarlError)


def test_gamma_zero_is_greedy_in_the_reward():
    game = random_game(gamma=0.0, seed=4)
    surrogate, found = fitted(game, 2)
    assert torch.equal(greedy_table(surrogate, found).argmax(-1), game.r_g.argmax(-1, keepdim=True).expand(-1, 6))
    optimal = g_learn(exact(game, uniform_local(game), 2)).values
    torch.testing.assert_close(values_of(surrogate, found), optimal, rtol=1e-5, atol=1e-5)
    assert found.residual == 0


def test_rewards_of_zero_are_worth_nothing():
    game = random_game(seed=4).replace(r_g=torch.zeros(3, 3), r_l=torch.zeros(3, 3, 2))
    surrogate, found = fitted(game, 3)
    assert float(values_of(surrogate, found).abs().max()) < 1e-4
    assert math.isfinite(found.residual)
    assert math.isfinite(found.offset)


def test_a_constant_reward_is_all_offset():
    game = random_game(seed=4).replace(r_g=torch.ones(3, 3), r_l=torch.zeros(3, 3, 2))
    surrogate, found = fitted(game, 3)
    torch.testing.assert_close(values_of(surrogate, found), torch.full((3, 10), 10.0).double(), rtol=1e-3, atol=0)
    assert found.offset == pytest.approx(10, rel=1e-3)


class Normalised(nn.Module):
    """A user's network with a running mean and variance, which are buffers."""

    def __init__(self, game):
        super().__init__()
        sizes = (game.num_sg, game.num_ag)
        self.body = nn.Sequential(
            nn.Linear(game.num_sl, 32), nn.BatchNorm1d(32), nn.SiLU(), nn.Linear(32, math.prod(sizes))
        )
        self.heads = nn.Unflatten(-1, sizes)

    def forward(self, frequencies):
        return self.heads(self.body(frequencies))


def test_buffers_are_learned_with_the_parameters():
    """What is returned has the running statistics of the network that was trained, not those of the one handed in."""
    game, k = GAMES["hash"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Normalised(game)
    surrogate, found = fitted(game, k, network=network, settings=dataclasses.replace(QUICK, batch=512))
    optimal = g_learn(exact(game, uniform_local(game), k)).values
    assert float((values_of(surrogate, found) - optimal).abs().max()) <= 0.03 * game.v_max
    assert int(found.network.body[1].num_batches_tracked) > 0


def test_values_that_only_absorbing_states_of_s_g_tell_apart_are_found():
    """From s_g = 0 one action earns 1 and then 0.5 for ever, the other 0 and then 0.6: no mixing, gamma = 0.99."""
    P_g = torch.zeros(3, 2, 3, dtype=torch.float64)
    P_g[0, 0, 1] = P_g[0, 1, 2] = 1
    P_g[1, :, 1] = P_g[2, :, 2] = 1
    r_g = torch.tensor([[1.0, 0.0], [0.5, 0.5], [0.6, 0.6]])
    game = am.Game(P_g, torch.full((2, 3, 1, 2), 0.5), r_g, torch.zeros(2, 3, 1), gamma=0.99, n=10)
    surrogate = BatchSurrogate.build(game, uniform_local(game), 2)
    network = CountNetwork(2, 3, 2, width=32)
    found = fit(surrogate, network, None, Settings(batch=64, max_steps=300), seeded(0), phase="g_learn")
    counts = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    continuation = surrogate.reward_scale * found.network(counts / 2) + found.baseline
    assert (surrogate.action_values(counts, continuation)[:, 0].argmax(-1) == 1).all()
