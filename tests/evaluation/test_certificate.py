"""The certificate against brute force over every deterministic deviation, and against gaps that are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.deviations import enumerated_gaps
from oracles.surrogate import count_kernel, count_vectors, global_best_response, joint_value, uniform_mean

import altmarl_torch as am
from altmarl_torch.counts import kernels
from altmarl_torch.evaluation import judge, relaxed, tied, tied_rows
from altmarl_torch.games import hash_game, random_game, steer, ware, warehouse
from altmarl_torch.policies.rules import RULES, table
from altmarl_torch.policies.tabular import TabularPair, deterministic_local, uniform_global, uniform_local

NOTES = [(steer(), 1), (steer(), 2), (steer(), 3), (hash_game(), 2), (ware(2), 2)]


def pair_of(game, k, pi_g, pi_l):
    return TabularPair(pi_g, pi_l, am.CountSimplex(k, game.num_sl))


def random_pair(game, k, seed):
    """A pair of random deterministic policies."""
    generator, simplex = torch.Generator().manual_seed(seed), am.CountSimplex(k, game.num_sl)
    choices = torch.randint(game.num_ag, (game.num_sg, simplex.size), generator=generator)
    actions = torch.randint(game.num_al, (game.num_sl, game.num_sg), generator=generator)
    pi_g = torch.nn.functional.one_hot(choices, game.num_ag).double()
    return pair_of(game, k, pi_g, deterministic_local(actions, game.num_al))


def every_local(game):
    for actions in itertools.product(range(game.num_al), repeat=game.num_sl * game.num_sg):
        yield deterministic_local(torch.tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)


def brute_force_gaps(game, pair):
    """Gap_1 and Gap_2, averaged over uniform (s_g, s_1..s_k), from the oracles alone."""
    k, num_sl = pair.k, game.num_sl
    present = uniform_mean(joint_value(game, pair.pi_g, pair.pi_l, k), k, num_sl)
    best = global_best_response(game, pair.pi_l, k, sweeps=250).max(-1)
    local = max(uniform_mean(joint_value(game, pair.pi_g, pi_l, k), k, num_sl) for pi_l in every_local(game))
    return uniform_mean(best, k, num_sl) - present, local - present


def tagged_value(game, pair, deviation, payoff):
    """Mean value of agent 1 of k playing `deviation`, by a linear system over (s_g, s_1, .., s_k) as tuples."""
    P_g, P_l, r_g, r_l = (np.asarray(t) for t in (game.P_g, game.P_l, game.r_g, game.r_l))
    k, rank = pair.k, {vector: i for i, vector in enumerate(count_vectors(pair.k, game.num_sl))}
    laws = [np.asarray(deviation)] + [np.asarray(pair.pi_l)] * (k - 1)
    states = list(itertools.product(range(game.num_sg), *[range(game.num_sl)] * k))
    place = {state: i for i, state in enumerate(states)}
    matrix, reward = np.zeros((len(states), len(states))), np.zeros(len(states))
    for s, *locals_ in states:
        row = place[(s, *locals_)]
        act = np.asarray(pair.pi_g)[s, rank[tuple(np.bincount(locals_, minlength=game.num_sl))]]
        moves = [laws[i][z, s] @ P_l[z, s] for i, z in enumerate(locals_)]
        own = [laws[i][z, s] @ r_l[z, s] for i, z in enumerate(locals_)]
        reward[row] = own[0] if payoff == "own" else act @ r_g[s] + np.mean(own)
        for t, *nexts in states:
            chance = (act @ P_g[s])[t] * np.prod([moves[i][y] for i, y in enumerate(nexts)])
            matrix[row, place[(t, *nexts)]] += chance
    return float(np.linalg.solve(np.eye(len(states)) - game.gamma * matrix, reward).mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("game", "k"), NOTES, ids=[f"{game.name}-k{k}" for game, k in NOTES])
def test_exact_gaps_equal_brute_force_on_the_known_games(game, k, seed):
    pair = random_pair(game, k, seed)
    found, (global_gap, local_gap) = am.certify(game, pair), brute_force_gaps(game, pair)
    assert found.global_gap == pytest.approx(global_gap, abs=1e-8)
    assert found.local_gap == pytest.approx(local_gap, abs=1e-8)
    assert found.nash_gap == max(found.global_gap, found.local_gap)
    assert found.shared_deviation.kind == found.global_deviation.kind == "exact"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_exact_gaps_equal_brute_force_on_random_games(seed, k):
    game = random_game(num_sg=2, num_sl=2, num_ag=3, num_al=2, gamma=0.9, seed=seed)
    pair = random_pair(game, k, seed)
    found, (global_gap, local_gap) = am.certify(game, pair), brute_force_gaps(game, pair)
    assert found.global_gap == pytest.approx(global_gap, abs=1e-8)
    assert found.local_gap == pytest.approx(local_gap, abs=1e-8)


@pytest.mark.parametrize("payoff", ["team", "own"])
@pytest.mark.parametrize(("game", "k"), [(steer(), 2), (hash_game(), 3), (ware(2), 1)])
def test_a_single_deviator_equals_brute_force_over_tuples(game, k, payoff):
    pair = random_pair(game, k, 5)
    found = getattr(am.certify(game, pair, parts=["single"]), f"single_{payoff}")
    present = tagged_value(game, pair, pair.pi_l, payoff)
    best = max(tagged_value(game, pair, deviation, payoff) for deviation in every_local(game))
    assert found.kind == "exact"
    assert found.upper == pytest.approx(best - present, abs=1e-8)


@pytest.mark.parametrize(("game", "k"), NOTES, ids=[f"{game.name}-k{k}" for game, k in NOTES])
def test_bounds_hold_the_exact_gaps_between_them(game, k, monkeypatch):
    """The same pairs with the search switched off: lower <= exact <= upper, for every deviation."""
    pair = random_pair(game, k, 1)
    exact = am.certify(game, pair)
    monkeypatch.setattr(tied_rows, "MOST_STATES", 0)
    bounds = am.certify(game, pair)
    for name in ("shared_deviation", "single_team", "single_own"):
        gap, known = getattr(bounds, name), getattr(exact, name).upper
        assert gap.kind == "bound"
        assert gap.lower - 1e-8 <= known <= gap.upper + 1e-8
    assert bounds.nash_gap >= exact.nash_gap - 1e-8


@pytest.mark.parametrize(("game", "k"), NOTES, ids=[f"{game.name}-k{k}" for game, k in NOTES])
def test_an_equilibrium_certifies_zero(game, k):
    """Best responses in turn, exactly, until neither changes: no gap is left."""
    found = am.certify(game, am.solve(game, k, eta=0.0, steps=30))
    assert found.nash_gap == pytest.approx(0.0, abs=1e-6)


def test_a_perturbed_equilibrium_certifies_what_was_taken_from_it():
    """One row of pi_l turned: the shared gap is the value lost; one of pi_g turned: Gap_1 is."""
    game, k = steer(), 2
    solution = am.solve(game, k, eta=0.0)
    worse = solution.pi_l.flip(-1).where(torch.arange(2)[:, None, None] == 0, solution.pi_l)
    lost = solution.value - am.certify(game, pair_of(game, k, solution.pi_g, worse), parts=[]).value
    found = am.certify(game, pair_of(game, k, solution.pi_g, worse))
    assert found.local_gap == pytest.approx(lost, abs=1e-6)
    pi_g = solution.pi_g.clone()
    pi_g[0, 1] = pi_g[0, 1].flip(-1)
    found = am.certify(game, pair_of(game, k, pi_g, solution.pi_l))
    assert found.global_gap == pytest.approx(solution.value - found.value, abs=1e-6)
    assert found.global_gap > 0


def test_the_uniform_pair_is_far_from_an_equilibrium():
    game = ware(2)
    pair = pair_of(game, 2, uniform_global(game, am.CountSimplex(2, 2)), uniform_local(game))
    found = am.certify(game, pair)
    assert found.global_gap > 0.01 * found.value
    assert found.global_deviation.worst >= found.global_gap


def test_the_learned_pair_on_the_warehouse():
    """k = 6: Gap_1 and the best deviation found are at most 0.1 % of the value; the rest is bounded."""
    game = warehouse()
    solution = am.solve(game, 6)
    found = am.certify(game, solution, parts=["global", "single"])
    assert found.value == pytest.approx(solution.value, abs=1e-3)
    assert found.global_gap <= 1e-3 * found.value
    assert found.single_team.lower <= 1e-3 * found.value
    assert 0 < found.single_team.upper < 0.02 * found.value
    assert found.shared_deviation is found.local_gap is found.nash_gap is None


def test_without_an_upper_end_no_nash_gap_is_claimed(monkeypatch):
    monkeypatch.setattr(tied_rows, "MOST_STATES", 0)
    monkeypatch.setattr(judge, "LARGEST_CHOICE", 0)
    found = am.certify(steer(), am.solve(steer(), 2))
    assert found.shared_deviation.kind == "lower end"
    assert math.isinf(found.shared_deviation.upper)
    assert found.local_gap is found.nash_gap is None


def test_nothing_is_certified_by_sampling(monkeypatch):
    """Where kernels would be sampled the pair is refused; where only a deviation's would, no upper end is claimed."""
    game = warehouse()
    solution = am.solve(game, 6)
    monkeypatch.setattr(kernels, "PREFERRED_DENSE", 1)
    monkeypatch.setattr(kernels, "LARGEST_DENSE", 1)
    factor, exact = kernels.factor_pairs, set(map(str, game.induced(solution.pi_l).P_l_pi.unbind(1)))
    monkeypatch.setattr(kernels, "factor_pairs", lambda P, *more: factor(P, *more) if str(P) in exact else None)
    found = am.certify(game, solution, parts=["shared"])
    assert found.shared_deviation.kind == "lower end"
    assert found.nash_gap is None
    monkeypatch.setattr(kernels, "factor_pairs", lambda P, *more: None)
    with pytest.raises(am.KernelError, match="no exact kernel"):
        am.certify(game, solution)


def test_mistakes_are_refused():
    game, solution = steer(), am.solve(steer(), 2)
    with pytest.raises(am.ArgumentError, match="parts must be among global, single, shared"):
        am.certify(game, solution, parts=["everything"])
    with pytest.raises(am.PolicyError, match="pi_g"):
        am.certify(ware(), solution)
    with pytest.raises(am.ArgumentError, match=r"1\.\.1"):
        am.certify(game.replace(n=1), solution)


def test_companions_move_by_their_own_kernel():
    """The brute-force kernel of k - 1 agents is the one that the tagged problem uses."""
    from altmarl_torch.counts.pair_moves import PairPlan
    from altmarl_torch.evaluation.deviations import TaggedAgent
    from altmarl_torch.operators.surrogate import Surrogate

    game = ware()
    plan = PairPlan(am.CountSimplex(3, game.num_sl))
    surrogate = Surrogate.build(game, uniform_local(game), plan)
    tagged = TaggedAgent.build(surrogate, table(game, RULES["mode"](game), plan.simplex), "team")
    kernel = torch.from_numpy(count_kernel(surrogate.P_l_pi[:, 1], 2))
    torch.testing.assert_close(tagged.kernels[1].expect(torch.eye(len(kernel)).double()), kernel)
    assert float(tagged.law.sum()) == pytest.approx(1.0)


def some_game(seed):
    """Random sizes with at most 256 local policies, sparse or dense laws, some of them moving in circles."""
    random = np.random.default_rng(seed)
    num_sg, num_sl, num_al = [(2, 2, 2), (2, 4, 2), (1, 5, 3), (4, 2, 2), (2, 2, 4), (3, 1, 3), (1, 8, 2)][seed % 7]
    turning = seed % 3 == 0
    P_g = random.dirichlet(np.full(num_sg, 0.4), (num_sg, 2))
    P_l = random.dirichlet(np.full(num_sl, 0.4), (num_sl, num_sg, num_al))
    if turning:
        P_g = np.eye(num_sg)[(np.arange(num_sg)[:, None] + [1, 1]) % num_sg]
        P_l = np.eye(num_sl)[
            (np.arange(num_sl)[:, None, None] + random.integers(num_sl, size=(num_sg, num_al))) % num_sl
        ]
    rewards = random.normal(size=(num_sg, 2)) * (not turning), random.normal(size=(num_sl, num_sg, num_al))
    offset = 10.0 ** (seed % 4)
    gamma = [0.8, 0.99][seed % 2]
    return am.Game(P_g=P_g, P_l=P_l, r_g=rewards[0], r_l=rewards[1] + offset, gamma=gamma, n=9)


@pytest.mark.parametrize("seed", range(14))
def test_the_search_equals_enumeration(seed):
    """Every deterministic local policy by brute force, for all agents and for one; pairs that are random or learned."""
    game, k = some_game(seed), 1 + seed % 4
    pair = random_pair(game, k, seed) if seed % 2 else am.solve(game, k)
    found, (shared, team, own) = am.certify(game, pair), enumerated_gaps(game, pair)
    for gap, known in ((found.shared_deviation, shared), (found.single_team, team), (found.single_own, own)):
        assert gap.kind == "exact"
        assert gap.upper == pytest.approx(max(0.0, known), abs=1e-9 * game.v_max)


def test_a_search_that_is_broken_off_has_a_proven_bound(monkeypatch):
    """With no work to spend, the first bound and candidate hold the enumerated gap between them."""
    monkeypatch.setattr(tied, "WORK", 0.0)
    open_ones = 0
    for seed in (0, 1, 3, 5):
        game = some_game(seed)
        pair = random_pair(game, 3, seed)
        found, (shared, team, own) = am.certify(game, pair), enumerated_gaps(game, pair)
        for gap, known in ((found.shared_deviation, shared), (found.single_team, team), (found.single_own, own)):
            assert gap.lower - 1e-8 * game.v_max <= max(0.0, known) <= gap.upper + 1e-8 * game.v_max
            open_ones += gap.kind == "bound"
    assert open_ones


@pytest.mark.parametrize(("k", "gamma"), [(2, 0.99), (6, 0.9)])
def test_what_goes_round_in_circles_is_certified_exactly(k, gamma):
    """s_g turns by itself, agents turn forwards or backwards: nothing mixes, and the global agent has one action."""
    P_g, P_l, r_l = np.zeros((3, 1, 3)), np.zeros((4, 3, 2, 4)), np.zeros((4, 3, 2))
    r_l[0, 0], r_l[2, 1, 1] = 1, 2
    P_g[range(3), 0, [1, 2, 0]] = 1
    P_l[range(4), :, 0, [1, 2, 3, 0]] = P_l[range(4), :, 1, [3, 0, 1, 2]] = 1
    game = am.Game(P_g=P_g, P_l=P_l, r_g=np.zeros((3, 1)), r_l=r_l, gamma=gamma, n=20)
    found = am.certify(game, am.solve(game, k))
    assert found.global_gap == pytest.approx(0.0, abs=1e-9)
    assert found.shared_deviation.kind == found.single_own.kind == "exact"
    assert found.shared_deviation.upper == pytest.approx(found.single_own.upper, abs=1e-8)  # agents are independent


@pytest.fixture(scope="module")
def relaxed_at_once():
    """The warehouse, a pair of k = 6, and the bound on its shared deviation over all 243 choices at once."""
    game = warehouse()
    pair = am.solve(game, 6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tied_rows, "MOST_STATES", 0)
        return game, pair, am.certify(game, pair, parts=["shared"]).shared_deviation


@pytest.mark.parametrize("large", [20_000, 10])
def test_few_choices_prove_the_bound_of_all(monkeypatch, relaxed_at_once, large):
    """The relaxed values over few choices at a time, in stages, and over all at once."""
    game, pair, plain = relaxed_at_once
    monkeypatch.setattr(tied_rows, "MOST_STATES", 0)
    monkeypatch.setattr(relaxed, "COARSEST", 20)
    monkeypatch.setattr(relaxed, "LARGE", large)
    staged = am.certify(game, pair, parts=["shared"]).shared_deviation
    assert staged.kind == plain.kind == "bound"
    assert staged.upper == pytest.approx(plain.upper, abs=(3e-4 if large > 10 else 3e-3) * game.v_max)


def test_a_search_of_little_work_is_an_interval_that_holds_the_gap():
    game = am.games.warehouse(num_zones=3)
    solution = am.solve(game, 2)
    known = am.certify(game, solution, parts=["single"]).single_team
    short = am.certify(game, solution, parts=["single"], work=1.0).single_team
    assert known.kind == "exact"
    assert short.kind == "bound"
    assert short.lower <= known.lower + 1e-9
    assert short.upper >= known.upper
    with pytest.raises(am.errors.ArgumentError, match="work"):
        am.certify(game, solution, work=0)
