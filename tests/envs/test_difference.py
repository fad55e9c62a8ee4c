"""Difference rewards: the best response is the same, returns are known, and the noise is less."""

import itertools

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")

from oracles.tagged import exact_return

import altmarl_torch as am
from altmarl_torch.envs import LocalEnv, local_vector_env
from altmarl_torch.policies import one_hot, uniform_local


def random_laws(seed, *shape):
    weights = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return weights / weights.sum(-1, keepdim=True)


def random_policies(game, k, seed=3):
    simplex = am.CountSimplex(k, game.num_sl)
    pi_g = random_laws(seed, game.num_sg, simplex.size, game.num_ag)
    return pi_g, random_laws(seed + 1, game.num_sl, game.num_sg, game.num_al)


def returns(venv, pi, gamma, horizon, seed=0):
    """Discounted returns of a tagged agent that plays `pi [sl, sg, al]`, one of each system."""
    seen, _ = venv.reset(seed=seed)
    rng, laws, total = np.random.default_rng(seed + 1), pi.numpy(), np.zeros(venv.num_envs)
    for t in range(horizon):
        sums = laws[seen["s_l"], seen["s_g"]].cumsum(-1)[:, :-1]
        seen, reward, *_ = venv.step((rng.random((len(sums), 1)) >= sums).sum(1))
        total += gamma**t * reward
    return total


@pytest.mark.parametrize("objective", ["team", "own"])
@pytest.mark.parametrize("name", ["warehouse", "steer", "ware", "hash", "beacon", "two_speed_warehouse"])
def test_it_earns_what_it_earns_beyond_its_companions_policy(name, objective):
    game = am.games.make(name)
    pi_g, pi_l = random_policies(game, 4)
    pi = random_laws(9, *pi_l.shape)
    asked = {"objective": objective, "num_envs": 4000, "horizon": 15}
    found = returns(local_vector_env(game, pi_g, pi_l, 4, difference=True, **asked), pi, game.gamma, 15)
    plain = [returns(local_vector_env(game, pi_g, pi_l, 4, **asked), one, game.gamma, 15, seed=5) for one in (pi, pi_l)]
    error = sum(part.var() / len(part) for part in (found, *plain)) ** 0.5
    assert abs(found.mean() - (plain[0].mean() - plain[1].mean())) < 4 * error


def test_all_sixteen_policies_of_a_small_game_earn_their_exact_advantage_and_the_best_stays_the_best():
    game = am.games.steer()
    pi_g, pi_l = random_policies(game, 2)
    env = local_vector_env(game, pi_g, pi_l, 2, difference=True, num_envs=20_000, horizon=25)
    now = exact_return(game, pi_g, pi_l, pi_l, 25)
    exact, found = [], []
    for actions in itertools.product(range(2), repeat=4):
        pi = one_hot(torch.tensor(actions).reshape(2, 2), 2)
        drawn = returns(env, pi, game.gamma, 25)
        exact.append(exact_return(game, pi_g, pi_l, pi, 25) - now)
        found.append(drawn.mean())
        assert abs(found[-1] - exact[-1]) < 5 * drawn.std() / len(drawn) ** 0.5 + 2e-2
    assert exact[int(np.argmax(found))] > max(exact) - 2e-2


@pytest.mark.parametrize("objective", ["team", "own"])
def test_whoever_plays_as_its_twin_earns_nothing(objective):
    game = am.games.warehouse()
    pair = am.solve(game, 3)
    env = local_vector_env(game, random_policies(game, 3)[0], pair.pi_l, 3, objective=objective, difference=True)
    assert (returns(env, pair.pi_l, game.gamma, 30) == 0).all()


def test_of_the_noise_of_a_team_little_is_left():
    game = am.games.warehouse()
    pi_g, pi_l = am.solve(game, 20, steps=1).pi_g, uniform_local(game)
    pi = am.solve(game, 20).pi_l
    less, all_of_it = (
        returns(local_vector_env(game, pi_g, pi_l, 20, difference=difference), pi, game.gamma, 100).var()
        for difference in (True, False)
    )
    assert less < all_of_it / 15


class Alternating:
    """A dispatcher that remembers: it counts its steps."""

    def reset(self, batch):
        self.steps = torch.zeros(batch, dtype=torch.int64)

    def act(self, s_g, counts):
        assert len(s_g) == len(counts) == len(self.steps)
        self.steps += 1
        return self.steps % 2


def test_a_dispatcher_of_ones_own_sees_both_worlds():
    game = am.games.steer()
    env = LocalEnv(game, Alternating(), uniform_local(game), 3, difference=True)
    env.reset(seed=0)
    assert all(np.isfinite(env.step(t % 2)[1]) for t in range(10))


def test_equal_seeds_give_equal_runs():
    game = am.games.steer()
    pi_g, pi_l = random_policies(game, 3)
    make = lambda: local_vector_env(game, pi_g, pi_l, 3, difference=True, num_envs=3000)  # noqa: E731
    assert (returns(make(), pi_l, 0.9, 5) == returns(make(), pi_l, 0.9, 5)).all()
