"""Global rewards that see the frequencies of the local states, against the joint chain of a few agents."""

import itertools

import numpy as np
import pytest
import torch
from oracles import crowd_chain

import altmarl_torch as am
from altmarl_torch.games.crowd import global_rewards


def reward(s_g, a_g, mu):
    """Half of the agents in state 0 is wanted, or a quarter under s_g = 1; it costs to act."""
    wanted = 0.5 - 0.25 * s_g
    return 1 - 6 * (mu[..., 0] - wanted).square() - 0.1 * a_g * mu[..., 1]


def crowded(n, **changes):
    game = am.games.random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, seed=3, n=n, gamma=0.8)
    start = am.InitialLaw([0.5, 0.5], [0.5, 0.5])  # independent agents
    return game.replace(r_g_mu=reward, initial=start, **changes)


@pytest.mark.parametrize(("n", "k"), [(3, 1), (3, 2), (3, 3)])
def test_values_on_n_agents_are_those_of_the_joint_chain(n, k):
    game = crowded(n)
    solution = am.solve(game, k)
    simplex, pi_g = solution.simplex, solution.pi_g

    def law(s_g, counts):
        return pi_g[s_g, int(simplex.rank(torch.as_tensor(counts)))].numpy()

    exact = crowd_chain.table_value(game, k, law, solution.pi_l)
    assert am.population_value(game, solution).mean == pytest.approx(exact, abs=1e-8)
    if k == n:
        assert solution.value == pytest.approx(exact, abs=1e-6)


def test_the_best_response_of_all_seeing_dispatchers_is_that_of_the_joint_chain():
    game = crowded(2)
    solution = am.solve(game, 2)
    counts = [(2, 0), (1, 1), (0, 2)]
    found = []
    for choice in itertools.product((0, 1), repeat=6):
        table = np.eye(2)[np.reshape(choice, (2, 3))]
        found.append(
            crowd_chain.table_value(
                game, 2, lambda s_g, h, of=table: of[s_g, counts.index(tuple(h.tolist()))], solution.pi_l
            )
        )
    assert solution.value == pytest.approx(max(found), abs=1e-6)
    assert am.certify(game, solution).global_gap < 1e-6


def test_no_single_change_of_the_local_policy_gains_either_and_the_paper_s_tuples_agree():
    game = crowded(3)
    solution = am.solve(game, 3)
    assert am.certify(game, solution).nash_gap < 1e-6
    drawn = am.solve(game, 3, m=2000, seed=1)
    assert am.population_value(game, drawn).mean > solution.value - 0.05


def test_the_first_pair_is_judged_by_what_the_sample_earns():
    """Uniform policies look at nobody, but what they earn is no mean over single agents."""
    game = crowded(6).replace(r_g_mu=lambda s_g, a_g, mu: (mu[..., 0] - 0.5).abs() * (1 + s_g - a_g))
    solution = am.solve(game, 6)
    first, uniform = solution.history[0], torch.full((2, 7, 2), 0.5, dtype=torch.float64)
    exact = crowd_chain.table_value(game, 6, lambda s_g, h: uniform[0, 0].numpy(), uniform[:, :2])
    assert first.value_before == pytest.approx(exact, abs=1e-8)
    assert first.value_proposed > first.value_before
    assert am.population_value(game, solution).mean == pytest.approx(solution.value, abs=1e-6)


def test_rollouts_and_the_wrapped_simulator_earn_the_same():
    game = crowded(40)
    solution = am.solve(game, 2)
    theirs = am.rollout(game, solution, episodes=2000, horizon=40)
    wrapped, binning = am.SimulatedGame.from_tables(game), am.simulators.Binning([-0.5, 0.5, 1.5])
    law = solution.dispatcher()

    def lead(s_g, sample):
        return law.act(s_g.squeeze(-1).long(), binning.counts(sample))

    def follow(s_l, s_g):
        return solution.pi_l[s_l.squeeze(-1).long(), s_g.squeeze(-1).long()].argmax(-1)

    ours = am.rollout(wrapped, am.simulators.RulePair(2, lead, follow), episodes=1000, horizon=40)
    assert abs(ours.mean - theirs.mean) < 4 * (ours.sem**2 + theirs.sem**2) ** 0.5


def test_a_reward_of_frequencies_that_is_linear_is_a_local_reward():
    """Sum over z of mu_z c(z, s_g) is the mean of c(s_i, s_g): the same values, policies and gaps."""
    plain = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, seed=5)
    costs = torch.rand(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = plain.replace(r_g_mu=lambda s_g, a_g, mu: (costs[s_g] * mu).sum(-1))
    local = plain.replace(r_l=plain.r_l + costs.T.unsqueeze(-1))
    ours, theirs = am.solve(seen, 4), am.solve(local, 4)
    assert ours.value == pytest.approx(theirs.value, abs=1e-5)
    assert torch.equal(ours.pi_l, theirs.pi_l)
    gaps = [am.rollout(game, ours, episodes=50, horizon=30, seed=2).mean for game in (seen, local)]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-9)
    values = [am.certify(game, one).nash_gap for game, one in ((seen, ours), (local, theirs))]
    assert values[0] == pytest.approx(values[1], abs=1e-5)


def test_values_know_how_far_apart_they_can_lie():
    game = crowded(5)
    least, most = game.crowd_range
    assert -2.5 < least < -2
    assert most == pytest.approx(1, abs=0.05)
    table = global_rewards(game, torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64))
    assert torch.allclose(table[1, 0], game.r_g[1] + torch.tensor([0.625, 0.575], dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "r_g_mu must be a function of"),
        (lambda s, a, mu: mu, r"r_g_mu returned \[2, 515, 2, 2\] for s_g, a_g \[2, 515, 2\]"),
        (lambda s, a, mu: mu[..., 5], "r_g_mu raised IndexError"),
        (lambda s, a, mu: mu[..., 0].to(torch.complex64), "r_g_mu returned complex64; rewards must be real numbers"),
        (lambda s, a, mu: 1 / mu[..., 0] + 0 * a, r"r_g_mu is inf at s_g = 0, a_g = 0, mu = \[0\.0, 1\.0\]"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(function, message):
    with pytest.raises(am.GameError, match=message) as told:
        am.games.random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2).replace(r_g_mu=function)
    assert "\n" not in str(told.value)


def in_play(otherwise):
    """`reward` in the tables that learners make; in episodes another function."""
    return lambda s_g, a_g, mu: (otherwise if mu.dim() == 2 else reward)(s_g, a_g, mu)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, a, mu: mu[..., 0] / 0, r"r_g_mu is (inf|nan) at s_g = \d, a_g = \d, mu = "),
        (lambda s, a, mu: 1 / 0, "r_g_mu raised ZeroDivisionError"),
        (lambda s, a, mu: mu, r"r_g_mu returned \[5, 2\] for s_g, a_g \[5\]"),
    ],
)
def test_what_is_wrong_in_episodes_alone_is_told_too(function, message):
    game = crowded(30)
    with pytest.raises(am.GameError, match=message) as told:
        am.rollout(game.replace(r_g_mu=in_play(function)), am.solve(game, 2), episodes=5, horizon=4)
    assert "\n" not in str(told.value)


def test_a_function_may_write_into_what_it_is_given():
    def careless(s_g, a_g, mu):
        found = reward(s_g, a_g, mu)
        for given in (s_g, a_g, mu):
            given.zero_()
        return found

    game = crowded(30)
    pair, other = am.solve(game, 2), game.replace(r_g_mu=in_play(careless))
    ours, theirs = (am.rollout(one, pair, episodes=50, horizon=20).returns for one in (other, game))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("solver", ["tabular", "lifted"])
def test_a_function_may_have_parameters_of_its_own(solver):
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))
    game = crowded(30)
    trained = game.replace(r_g_mu=lambda s_g, a_g, mu: weight * reward(s_g, a_g, mu))
    assert am.solve(trained, 4, solver=solver).value == am.solve(game, 4, solver=solver).value


def test_whoever_does_not_know_of_it_says_so(tmp_path):
    game = crowded(30)
    solution = am.solve(game, 2)
    doors = {
        "solver='neural'": lambda: am.solve(game, 2, solver="neural"),
        "observation='posterior'": lambda: am.solve(game, 2, observation="posterior"),
        "select='rollout'": lambda: am.solve(game, 2, select="rollout"),
        "l_learner='ucfh'": lambda: am.solve(game, 2, l_learner="ucfh"),
        "a file": lambda: game.save(tmp_path / "game.npz"),
        "rollout_gaps": lambda: am.rollout_gaps(game, solution),
        "a rule written by hand": lambda: am.heuristics.heuristic_pair(game, 2, "mode", "walk"),
        "advise": lambda: am.advise(game, costs=[0.1]),
    }
    for what, door in doors.items():
        with pytest.raises(am.ArgumentError, match=f"r_g_mu sees the frequencies of the local states, and {what}"):
            door()
