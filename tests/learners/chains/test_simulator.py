"""The chains as simulators: the mean return is the listed chain's value, and sizes that cannot be listed run."""

import pytest
import torch
from oracles.chains import any_pi_g, by_mode

import altmarl_torch as am
from altmarl_torch.games import hash_game, random_game, steer, ware, warehouse
from altmarl_torch.policies.tabular import deterministic_local, uniform_global, uniform_local
from altmarl_torch.tabular import NOTHING_PENDING, ChainSimulator, chained_mdp

CASES = [(steer(), 1), (steer(), 2), (steer(), 5), (hash_game(3, 3, 2, 2), 3), (ware(), 4)]
EPISODES, HORIZON = 40_000, 8
FORMS = pytest.mark.parametrize("form", ["tuple", "mean-field"])


def some_pi_l(game, seed=0):
    shape, generator = (game.num_sl, game.num_sg), torch.Generator().manual_seed(seed)
    return deterministic_local(torch.randint(game.num_al, shape, generator=generator), game.num_al)


def assert_mean(returns, value):
    """Within four standard errors: one honest run of 15,000 is further away."""
    assert abs(float(returns.mean()) - value) < 4 * float(returns.std()) / len(returns) ** 0.5


@pytest.mark.parametrize(("game", "k"), CASES, ids=[f"{game.name}-k{k}" for game, k in CASES])
@pytest.mark.parametrize("objective", ["own", "team"])
@FORMS
def test_the_mean_return_is_the_value_of_the_listed_chain(game, k, objective, form):
    pi_g, pi_l = any_pi_g(game, k, 1), some_pi_l(game)
    chain = chained_mdp(game, pi_g, k, form, objective, HORIZON)
    simulator = ChainSimulator(game, pi_g, k, form, objective, HORIZON, episodes=EPISODES, seed=3)
    assert_mean(simulator.returns(pi_l), chain.value(chain.spread(pi_l)))


def test_a_random_local_policy_earns_the_joint_value_in_the_tuple_form():
    game, k = hash_game(), 3
    pi_g = by_mode(game, k)
    chain = chained_mdp(game, pi_g, k, "tuple", "team", HORIZON)
    simulator = ChainSimulator(game, pi_g, k, "tuple", "team", HORIZON, episodes=EPISODES, seed=1)
    assert_mean(simulator.returns(uniform_local(game)), chain.value(chain.spread(uniform_local(game))))


@FORMS
def test_episodes_begin_with_the_given_law(form):
    game = warehouse(num_zones=3)
    pi_g = by_mode(game, 3)
    chain = chained_mdp(game, pi_g, 3, form, "team", 4, initial=game.initial)
    simulator = ChainSimulator(game, pi_g, 3, form, "team", 4, episodes=EPISODES, seed=2, initial=game.initial)
    assert_mean(simulator.returns(some_pi_l(game)), chain.value(chain.spread(some_pi_l(game))))


@FORMS
def test_sizes_that_cannot_be_listed_run(form):
    game, k = warehouse(), 50
    pi_g = uniform_global(game, am.CountSimplex(k, game.num_sl))
    with pytest.raises(am.SizeError):
        chained_mdp(game, pi_g, k, form)
    returns = ChainSimulator(game, pi_g, k, form, horizon=5, episodes=50).returns(uniform_local(game))
    assert bool((returns > 0).all())


def test_agents_are_conserved_and_what_is_pending_is_committed():
    game, k = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, seed=4), 6
    simulator = ChainSimulator(game, by_mode(game, k), k, "mean-field", horizon=2, episodes=100, seed=0)
    while not simulator.done:
        counts = simulator.waiting.sum(-1) + simulator.arrived.sum(-1)
        assert bool((counts == k - 1).all())
        assert bool(((simulator.pending == NOTHING_PENDING) == (simulator.stage == 0)).all())
        pending = simulator.pending
        simulator.step(torch.zeros(100, dtype=torch.int64))
        if simulator.stage == 0:
            assert torch.equal(simulator.sg, pending)


def test_agents_move_under_the_current_global_state():
    """s_g leaves 0 for 1 at once; an agent goes to 1 only under s_g = 1, so nobody is there after one macro step."""
    stay, go = [1.0, 0.0], [0.0, 1.0]
    game = am.Game(
        P_g=[[go], [go]], P_l=[[[stay], [go]], [[stay], [go]]], r_g=[[0.0], [0.0]],
        r_l=[[[0.0], [0.0]], [[0.0], [1.0]]], gamma=0.5, n=9,
        initial=am.InitialLaw([1.0, 0.0], [1.0, 0.0]),
    )  # fmt: skip
    pi_g = uniform_global(game, am.CountSimplex(2, 2))
    for form in ("tuple", "mean-field"):
        settings = {"form": form, "objective": "own", "initial": game.initial}
        returns = ChainSimulator(game, pi_g, 2, horizon=3, episodes=5, **settings).returns(uniform_local(game))
        assert returns.tolist() == [0.25] * 5
        assert chained_mdp(game, pi_g, 2, horizon=3, **settings).optimal_value() == pytest.approx(0.25)


def test_equal_seeds_give_equal_returns_and_others_do_not():
    game = steer()

    def returns(seed):
        return ChainSimulator(game, by_mode(game, 2), 2, horizon=5, episodes=20, seed=seed).returns(uniform_local(game))

    assert torch.equal(returns(1), returns(1))
    assert not torch.equal(returns(1), returns(2))


@pytest.mark.parametrize(
    "wrong", [{"k": 0}, {"k": 101}, {"form": "x"}, {"objective": "x"}, {"horizon": 0}, {"episodes": 0}, {"seed": -1}]
)
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(am.ArgumentError, match=next(iter(wrong))):
        ChainSimulator(steer(), by_mode(steer(), 2), **({"k": 2} | wrong))


def test_actions_that_do_not_exist_and_steps_after_the_end_are_refused():
    simulator = ChainSimulator(steer(), by_mode(steer(), 1), 1, horizon=1, episodes=3)
    for actions in (torch.tensor([0, 1, 2]), torch.tensor([0])):
        with pytest.raises(am.ArgumentError, match=r"actions must be \[3\] integers in 0..1"):
            simulator.step(actions)
    simulator.step(torch.tensor([0, 1, 0]))
    with pytest.raises(am.ArgumentError, match="over after 1 macro steps"):
        simulator.step(torch.tensor([0, 1, 0]))
