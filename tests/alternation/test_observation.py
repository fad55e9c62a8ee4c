"""`solve(observation=...)`: what it earns, what it refuses, and that a saved dispatcher acts as the one it was."""

import json
import math

import numpy as np
import pytest
import torch
from oracles.neural import cut_short

import altmarl_torch as am
from altmarl_torch.alternation.memory import memory_size
from altmarl_torch.alternation.prior_search import make_prior
from altmarl_torch.errors import ArgumentError, FileFormatError, SizeError
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.support.npz import read_npz, write_npz

SMALL = random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=40, seed=2, laziness=0.5)


def earned(game, pair):
    return am.rollout(game, pair, episodes=1500, seed=1)


@pytest.fixture(scope="module")
def remembering():
    return am.solve(warehouse(), 1, observation="filter")


@pytest.fixture(scope="module")
def corrected():
    return am.solve(SMALL, 2, observation="posterior")


def test_one_robot_a_step_is_enough_for_who_remembers(remembering):
    """168.7 of the 171.9 of full information; without memory the paper's dispatcher earns 111 at k = 1."""
    found = earned(warehouse(), remembering)
    assert found.mean > 168 - 3 * found.sem
    assert (remembering.k, remembering.reads, remembering.observation) == (1, 20, "filter")


def test_the_corrected_dispatcher_is_better_than_chasing_noise_and_than_holding():
    game, told = warehouse(), []
    solution = am.solve(game, 5, observation="posterior", callback=told.append)
    found, plain = earned(game, solution), earned(game, am.solve(game, 5))
    hold = earned(game, am.heuristics.heuristic_pair(game, 5, "hold", "walk"))
    assert found.mean > plain.mean + 5 * plain.sem
    assert found.mean > hold.mean - 2 * hold.sem
    assert tuple(told) == solution.history
    assert [update.step for update in told] == sorted(update.step for update in told)


def test_a_given_alpha_is_used(corrected):
    given = am.solve(SMALL, 2, observation="posterior", alpha=torch.full((2, 3), 0.7))
    assert torch.equal(given.alpha, torch.full((2, 3), 0.7).double())
    assert (corrected.observation, corrected.alpha.shape) == ("posterior", (2, 3))
    assert given.converged


def test_alpha_may_be_a_strength_a_row_or_a_table():
    assert torch.allclose(make_prior(SMALL, 6).alpha, torch.full((2, 3), 2.0).double())
    assert make_prior(SMALL, [1.0, 2.0, 3.0]).alpha.tolist() == [[1, 2, 3]] * 2
    assert make_prior(SMALL, np.array([[1.0, 2, 3], [4, 5, 6]])).alpha.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("alpha", "message"),
    [
        (0, r"alpha must be a number in \[1e-06, 1e\+09\], not 0"),
        (math.nan, "alpha must be a number in"),
        ([1.0, 2.0], r"alpha has shape \[2\]; this game needs \[3\] or \[2, 3\]"),
        ([[1.0, 2.0, 3.0]], r"alpha has shape \[1, 3\]; this game needs"),
        ([1.0, 0.0, 1.0], r"alpha\[sg=0, sl=1\] is 0.*parameters of a Dirichlet law"),
        ("much", "alpha holds"),
        ([[1.0], [1.0, 2.0]], "alpha is not an array of numbers"),
    ],
)
def test_an_alpha_that_is_no_prior_is_refused(alpha, message):
    with pytest.raises(ArgumentError, match=message):
        make_prior(SMALL, alpha)


NETWORKS = {"observation": "population", "solver": "auto"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"observation": "dream"}, "observation must be one of 'surrogate', 'posterior', 'filter', 'population', not"),
        ({"observation": "population"}, "observation='population' is learned by networks: use solver='neural'"),
        (NETWORKS | {"degree": 3}, "observation='population' is learned by networks: .* not degree"),
        (NETWORKS | {"select": "rollout"}, "select='rollout' has no place beside observation='population'"),
        (NETWORKS | {"xi": 3}, "xi draws the rewards of the surrogate"),
        ({"observation": "posterior", "m": 30}, "observation='posterior' needs m=None with solver='tabular'"),
        ({"alpha": 1.0}, "alpha is the prior of observation='posterior'"),
        ({"observation": "filter", "alpha": 1.0}, "alpha is the prior of observation='posterior'"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        am.solve(SMALL, 2, **options)


def test_networks_that_cannot_count_are_refused_before_they_are_built():
    with pytest.raises(SizeError, match="networks see counts in float32"):
        am.solve(steer(n=2**25), 2**24 + 1, solver="neural")


def test_memory_reads_as_many_agents_as_are_cheap():
    assert memory_size(warehouse(), "tabular") == 20
    assert memory_size(warehouse(), "neural") == 100
    assert memory_size(am.games.steer().replace(n=10**6), "tabular") <= 1_000  # two local states: an exact kernel
    assert memory_size(SMALL, "tabular") == memory_size(SMALL, "neural") == 40


def test_a_dispatcher_that_sees_more_than_it_reads_still_remembers():
    solution = am.solve(warehouse(), 50, observation="filter", steps=1)
    assert (solution.k, solution.reads) == (50, 20)
    assert earned(warehouse(), solution).mean > 165


def replay(game, solution, steps=40):
    """Actions `[steps, 8]` on samples that nobody steers."""
    generator, player = torch.Generator().manual_seed(5), solution.dispatcher(seed=3)
    player.reset(8)
    simplex = am.CountSimplex(solution.k, game.num_sl)
    actions = []
    for _ in range(steps):
        s_g = torch.randint(game.num_sg, (8,), generator=generator)
        h = simplex.unrank(torch.randint(simplex.size, (8,), generator=generator))
        actions.append(player.act(s_g, h))
    return torch.stack(actions)


def test_a_saved_memory_acts_as_it_did(remembering, tmp_path):
    remembering.save(tmp_path / "policy.npz")
    back = am.Solution.load(tmp_path / "policy.npz")
    assert (back.k, back.reads, back.observation, back.alpha) == (1, 20, "filter", None)
    assert torch.equal(replay(warehouse(), back), replay(warehouse(), remembering))


def test_a_saved_prior_comes_back(corrected, tmp_path):
    corrected.save(tmp_path / "policy.npz")
    back = am.Solution.load(tmp_path / "policy.npz")
    assert torch.equal(back.alpha, corrected.alpha)
    assert (back.belief, back.reads, back.observation) == (None, None, "posterior")
    assert torch.equal(replay(SMALL, back), replay(SMALL, corrected))


@pytest.mark.parametrize("n", [3, 30])
def test_where_the_population_is_seen_whole_it_is_the_surrogate(n):
    """So begin networks, on tables of half of the agents or on lifted functions, which play nobody."""
    game = warehouse(n=n)
    with cut_short():
        found = am.solve(game, n, observation="population", solver="neural", steps=1)
        plain = am.solve(game, n, solver="neural", steps=1)
    assert found.observation == "surrogate"
    assert found.value == plain.value
    assert torch.equal(found.pi_l, plain.pi_l)


@pytest.mark.parametrize("observation", ["posterior", "filter", "population"])
def test_networks_observe_as_well(observation, tmp_path):
    with cut_short():
        solution = am.solve(SMALL, 2, solver="neural", observation=observation, steps=1)
    assert (solution.observation, solution.k) == (observation, 2)
    solution.save(tmp_path / "policy.npz")
    back = am.Solution.load(tmp_path / "policy.npz")
    assert torch.equal(replay(SMALL, back), replay(SMALL, solution))
    assert (solution.alpha is None, solution.belief is None) == (observation != "posterior", observation != "filter")


def rewritten(solution, path, record=None, **entries):
    """Save a solution with changes; an entry that is None is left out."""
    solution.save(path)
    names = ["pi_l", "record", "counts", "pi_g"]
    arrays = read_npz(path, "altmarl-solution", 1, names, ("alpha", "belief/"))
    arrays["record"] = json.dumps(json.loads(str(arrays["record"])) | (record or {}))
    arrays |= entries
    write_npz(path, "altmarl-solution", 1, {name: value for name, value in arrays.items() if value is not None})


@pytest.mark.parametrize(
    ("record", "entries", "message"),
    [
        ({}, {"alpha": None}, "it lacks the entry alpha of a posterior"),
        ({}, {"alpha": np.ones((1, 3))}, r"alpha has shape \[1, 3\]; pi_l is of \[sg, sl\] = \[2, 3\]"),
        ({}, {"alpha": np.zeros((2, 3))}, r"alpha\[sg=0, sl=0\] is 0"),
        ({}, {"alpha": np.array("much")}, "alpha holds"),
        ({"observation": "dream"}, {}, "observation must be one of surrogate, posterior, filter, population, not"),
        ({"observation": "filter"}, {}, "observation 'filter' does not go with reads = None"),
        ({"reads": 2}, {}, "observation 'posterior' does not go with reads = 2"),
        ({"observation": "filter", "reads": 2}, {}, "it lacks the entries belief/moves"),
        ({"observation": "filter", "reads": 3}, {}, "counts of k = 2 .* do not fit k or pi_l"),
    ],
)
def test_a_damaged_file_is_refused_by_name(corrected, tmp_path, record, entries, message):
    path = tmp_path / "policy.npz"
    rewritten(corrected, path, record, **entries)
    with pytest.raises(FileFormatError, match=message):
        am.Solution.load(path)


def test_a_belief_of_another_game_is_refused(remembering, tmp_path):
    path = tmp_path / "policy.npz"
    rewritten(remembering, path, **{"belief/mean": np.array([0.5, 0.5])})
    with pytest.raises(FileFormatError, match=r"the belief is of \[5, 5, 5\]"):
        am.Solution.load(path)
