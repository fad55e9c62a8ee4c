"""The environments of Gymnasium: its own checks, the law of Algorithm 4, seeds, autoreset, and errors."""

import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")
import gymnasium
from gymnasium.utils.env_checker import check_env

import altmarl_torch as am
from altmarl_torch.envs import DispatcherEnv, LocalEnv, local_vector_env, vector_env
from altmarl_torch.policies import TabularPair, uniform_local

GAMES = {
    "warehouse": am.games.warehouse(n=30),
    "steer": am.games.steer(n=12),
    "ware": am.games.ware(n=9),
    "hash": am.games.hash_game(n=2000),
    "beacon": am.games.beacon(n=50),
    "two_speed_warehouse": am.games.two_speed_warehouse(n=40),
}


def random_pair(game, k, seed=3):
    generator = torch.Generator().manual_seed(seed)
    simplex = am.CountSimplex(k, game.num_sl)
    pi_g = torch.rand(game.num_sg, simplex.size, game.num_ag, generator=generator, dtype=torch.float64)
    pi_l = torch.rand(game.num_sl, game.num_sg, game.num_al, generator=generator, dtype=torch.float64)
    return TabularPair(pi_g / pi_g.sum(-1, keepdim=True), pi_l / pi_l.sum(-1, keepdim=True), simplex)


def returns(venv, act, gamma, horizon, seed=0):
    """Discounted returns of one episode in each system."""
    observation, _ = venv.reset(seed=seed)
    total = np.zeros(venv.num_envs)
    for t in range(horizon):
        observation, reward, terminated, truncated, _ = venv.step(act(observation))
        total += gamma**t * reward
        assert not terminated.any()
        assert truncated.all() == (t == horizon - 1)
    return total


def agree(one, other):
    error = (one.var() / len(one) + other.var() / len(other)) ** 0.5
    assert abs(one.mean() - other.mean()) < 4 * error + 1e-9


@pytest.mark.parametrize("name", am.games.names())
def test_gymnasium_finds_nothing_to_say(name):
    game = am.games.make(name)
    pair = random_pair(game, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for env in (DispatcherEnv(game, pair.pi_l, 2), LocalEnv(game, pair.pi_g, pair.pi_l, 2)):
            check_env(env, skip_render_check=True)
        for venv in (vector_env(game, pair.pi_l, 2, num_envs=3), local_vector_env(game, pair.pi_g, pair.pi_l, 2)):
            observation, _ = venv.reset(seed=1)
            assert observation in venv.observation_space
            observation, *_ = venv.step(venv.action_space.sample())
            assert observation in venv.observation_space


@pytest.mark.parametrize("name", GAMES)
@pytest.mark.parametrize("everybody", [False, True])
def test_the_dispatcher_earns_what_a_rollout_earns(name, everybody):
    game = GAMES[name] if not everybody else GAMES[name].replace(n=4)
    pair = random_pair(game, 4)
    dispatcher = pair.dispatcher(seed=1)

    def act(seen):
        return dispatcher.act(torch.from_numpy(seen["s_g"]), torch.from_numpy(seen["counts"])).numpy()

    venv = vector_env(game, pair.pi_l, 4, num_envs=5000, horizon=20)
    found = am.rollout(game, pair, episodes=5000, horizon=20, seed=5)
    agree(returns(venv, act, game.gamma, 20), found.returns.numpy())


def test_the_dispatcher_earns_stochastic_rewards():
    base = am.games.steer(n=5)
    law = am.rewards.GaussianReward(base.r_l, torch.full_like(base.r_l, 0.3), low=-1, high=2)
    game = base.replace(r_l=law)
    pair = random_pair(game, 2)
    dispatcher = pair.dispatcher(seed=1)
    venv = vector_env(game, pair.pi_l, 2, num_envs=5000, horizon=10)
    found = returns(
        venv,
        lambda seen: dispatcher.act(torch.from_numpy(seen["s_g"]), torch.from_numpy(seen["counts"])).numpy(),
        game.gamma,
        10,
    )
    expected = am.rollout(game, pair, episodes=5000, horizon=10, seed=2).returns.numpy()
    agree(found, expected)
    assert 0.9 < found.std() / expected.std() < 1.1


@pytest.mark.parametrize("name", GAMES)
def test_a_team_of_which_one_is_tagged_earns_what_a_rollout_earns(name):
    game = GAMES[name].replace(n=4)
    pair = random_pair(game, 4)
    rng, pi_l = np.random.default_rng(0), pair.pi_l.numpy()

    def act(seen):
        sums = pi_l[seen["s_l"], seen["s_g"]].cumsum(-1)[:, :-1]
        return (rng.random((len(sums), 1)) >= sums).sum(1)

    expected = am.rollout(game, pair, episodes=5000, horizon=20, seed=5).returns.numpy()
    team = local_vector_env(game, pair.pi_g, pair.pi_l, 4, num_envs=5000, horizon=20)
    agree(returns(team, act, game.gamma, 20), expected)
    own = local_vector_env(game, pair.pi_g, pair.pi_l, 4, objective="own", num_envs=5000, horizon=20)
    silent = game.replace(r_g=torch.zeros_like(game.r_g))
    agree(returns(own, act, game.gamma, 20), am.rollout(silent, pair, episodes=5000, horizon=20).returns.numpy())


def test_equal_seeds_give_equal_runs_in_blocks_and_alone():
    game = am.games.warehouse(n=10**6)
    pi_l = uniform_local(game)
    for make in (lambda: vector_env(game, pi_l, 5, num_envs=5000), lambda: DispatcherEnv(game, pi_l, 5)):
        one, other = make(), make()
        for seen, same in [(one.reset(seed=7), other.reset(seed=7)), (one.step(one.action_space.sample() * 0), None)]:
            same = same or other.step(other.action_space.sample() * 0)
            assert np.array_equal(seen[0]["counts"], same[0]["counts"])
            assert np.array_equal(seen[0]["s_g"], same[0]["s_g"])


def test_the_same_step_begins_anew_and_hands_over_the_last_observation():
    game = am.games.steer(n=6)
    venv = vector_env(game, uniform_local(game), 6, num_envs=4, horizon=2)
    assert venv.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    venv.reset(seed=0)
    *_, infos = venv.step(np.zeros(4, np.int64))
    assert infos == {}
    _, _, _, truncated, infos = venv.step(np.zeros(4, np.int64))
    assert truncated.all()
    assert infos["_final_obs"].all()
    assert all(last in venv.single_observation_space for last in infos["final_obs"])
    *_, truncated, infos = venv.step(np.zeros(4, np.int64))
    assert not truncated.any()
    venv.close()


def test_what_is_wrong_is_said():
    game = am.games.steer(n=6)
    pi_l = uniform_local(game)
    env = DispatcherEnv(game, pi_l, 2)
    with pytest.raises(am.ArgumentError, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(am.ArgumentError, match=r"actions are integers in 0\.\.1"):
        env.step(2)
    with pytest.raises(am.ArgumentError, match="k must be"):
        DispatcherEnv(game, pi_l, 7)
    with pytest.raises(am.PolicyError, match="pi_l"):
        DispatcherEnv(game, pi_l[:1], 2)
    with pytest.raises(am.ArgumentError, match="horizon"):
        vector_env(game, pi_l, 2, horizon=0)
    with pytest.raises(am.ArgumentError, match="objective"):
        LocalEnv(game, random_pair(game, 2).pi_g, pi_l, 2, objective="mine")
    with pytest.raises(am.PolicyError, match="pi_g"):
        LocalEnv(game, random_pair(game, 3).pi_g, pi_l, 2)
    venv = vector_env(game, pi_l, 2, num_envs=3)
    venv.reset()
    with pytest.raises(am.ArgumentError, match="one per system"):
        venv.step(np.zeros(2, np.int64))
