"""The chains of Algorithms 8 and 9: known sizes and optima, the paper's text as dictionaries, fixed policies."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.chains import (
    NOTHING,
    MeanFieldChain,
    TupleChain,
    any_game,
    any_pi_g,
    any_pi_l,
    by_mode,
    macro_law,
    optimum,
    reachable,
    reader,
    value,
)
from oracles.surrogate import count_vectors

import altmarl_torch as am
from altmarl_torch import theory
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games import hash_game, random_game, steer, ware, warehouse
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import deterministic_local, uniform_local
from altmarl_torch.tabular import NOTHING_PENDING, chained_mdp

OBJECTIVES = ("own", "team")
# docs/oracle-values.md: game, k, H, states of Algorithm 8 and of the reduced 9, optima of 8 and 9, own and team
KNOWN = [
    (steer(), 1, 9, (4, 20), (3.625640, 3.625640), (5.967659, 5.967659)),
    (steer(), 2, 10, (24, 48), (3.614527, 3.614527), (5.652890, 5.652890)),
    (steer(), 3, 11, (80, 84), (3.750512, 3.750512), (6.624566, 6.586256)),
    (hash_game(), 2, 10, (24, 48), (3.203744, 3.203744), (4.939460, 4.939460)),
    (ware(), 2, 10, (108, 351), (2.467454, 2.467454), (3.014921, 3.014921)),
]
INSTANCES = pytest.mark.parametrize(
    ("game", "k", "horizon", "sizes", "own", "team"), KNOWN, ids=[f"{game.name}-k{k}" for game, k, *_ in KNOWN]
)


@INSTANCES
def test_the_known_sizes_and_optima(game, k, horizon, sizes, own, team):
    for form, size, *optima in zip(("tuple", "mean-field"), sizes, own, team, strict=True):
        for objective, best in zip(OBJECTIVES, optima, strict=True):
            mdp = chained_mdp(game, by_mode(game, k), k, form, objective, horizon)
            assert (mdp.form, mdp.objective, mdp.num_states, mdp.rounds) == (form, objective, size, horizon)
            assert mdp.optimal_value() == pytest.approx(best, abs=5e-7)


@INSTANCES
def test_the_reduced_algorithm_9_is_smaller_and_as_good_as_the_literal_one(game, k, horizon, sizes, own, team):
    for objective, best in zip(OBJECTIVES, (own[1], team[1]), strict=True):
        mdp = chained_mdp(game, by_mode(game, k), k, "mean-field", objective, horizon, literal=True)
        assert mdp.num_states == theory.states_algorithm_9_literal(game, k) > sizes[1]
        assert mdp.num_transitions == theory.transitions_algorithm_9_literal(game, k)
        assert mdp.optimal_value() == pytest.approx(best, abs=5e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_algorithms_agree_up_to_two_agents(seed):
    game = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, seed=seed)
    for k, objective in itertools.product((1, 2), OBJECTIVES):
        chains = (chained_mdp(game, any_pi_g(game, k, seed), k, form, objective, 6) for form in ("tuple", "mean-field"))
        by_agent, by_bin = (mdp.optimal_value() for mdp in chains)
        assert by_bin == pytest.approx(by_agent, abs=1e-12)


def test_from_three_agents_on_acting_in_the_order_of_the_bins_may_outweigh_sharing_an_action():
    """Agents in A toss a coin between A and B, agents in B choose; what pays is an even number in A, after one move.

    Who acts last decides, if in B. Of the two companions, AA: nobody chooses, 1/2. AB: the coin falls first in the
    order of the bins, which always succeeds, and in the order of the agents one time in two, which gives 3/4. BB: two
    agents can always mend the parity, a bin that moves as one cannot if the tagged agent tossed its coin, which gives
    3/4. From a uniform start 1/4 1/2 + 1/2 3/4 + 1/4 = 3/4 by agent, and 1/4 1/2 + 1/2 + 1/4 3/4 = 13/16 by bin.
    """
    moves = [[[0.5, 0.5], [0.5, 0.5]], [[0.0, 1.0], [1.0, 0.0]]]  # [sl, al, sl'], A = 0 and B = 1
    game = am.Game(
        P_g=torch.ones(1, 2, 1),
        P_l=torch.tensor(moves)[:, None],
        r_g=[[0, 1]],
        r_l=torch.zeros(2, 1, 2),
        gamma=0.8,
        n=9,
    )
    even = [[int(vector[0] % 2 == action) for action in (1, 0)] for vector in count_vectors(3, 2)]
    for form, chance in (("tuple", 3 / 4), ("mean-field", 13 / 16)):
        mdp = chained_mdp(game, torch.tensor([even]), 3, form, "team", 2)
        assert mdp.optimal_value() == pytest.approx(1 / 2 + 0.8 * chance, abs=1e-12)


def decoded(game, mdp, k, literal):
    """The states of a chain as the oracles write them."""
    h, scratch = am.CountSimplex(k - 1, game.num_sl), am.CountSimplex(k - 1, game.num_sl + 1)
    tuples, states = list(itertools.product(range(game.num_sl), repeat=k)), []

    def named(symbol):
        return NOTHING if symbol == NOTHING_PENDING else symbol

    for stage, part in enumerate(mdp.coordinates):
        for s, pending, *rest in part.tolist():
            if literal:
                z, y, counts, arrived = rest
                vectors = (h.unrank(counts).tolist(), scratch.unrank(arrived).tolist()[1:])
                states.append((stage, s, named(pending), z, named(y), *map(tuple, vectors)))
            else:
                states.append((stage + 1, s, named(pending), tuples[rest[0]]))
    return states


SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 2))
KINDS = st.sampled_from(["full", "zeros", "certain"])


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10**6),
    SIZES,
    KINDS,
    st.integers(1, 4),
    st.sampled_from([math.inf, 0.5]),
    st.sampled_from(OBJECTIVES),
)
def test_every_state_and_every_transition_is_that_of_the_paper(seed, sizes, kind, k, strength, objective):
    k = min(k, 3) if sizes[1] == 3 else k
    game = any_game(seed, sizes, kind, strength)
    pi_g, pi_l = any_pi_g(game, k, seed + 1, kind), any_pi_l(game, seed + 2)
    for form, oracle in (("tuple", TupleChain), ("mean-field", MeanFieldChain)):
        chain = oracle(game, reader(game, pi_g, k), k, objective)
        start = chain.start(macro_law(game.initial, k))
        best, worth = optimum(chain, start, 3), value(chain, start, 3, pi_l)
        for literal in {False, form == "mean-field"}:
            mdp = chained_mdp(game, pi_g, k, form, objective, 3, literal=literal, initial=game.initial)
            assert mdp.optimal_value() == pytest.approx(best, abs=1e-11)
            assert mdp.value(mdp.spread(pi_l)) == pytest.approx(worth, abs=1e-11)
            if literal == (form == "mean-field"):
                check_structure(mdp, chain, start, decoded(game, mdp, k, literal))


def check_structure(mdp, chain, start, states):
    assert len(set(states)) == len(states)
    assert set(states) == reachable(chain, start)
    assert dict(zip(states, mdp.start_law.tolist(), strict=True)) == pytest.approx(
        {state: start.get(state, 0) for state in states}
    )
    ends, successors, chances = mdp.row_start.tolist(), mdp.successors.tolist(), mdp.probabilities.tolist()
    for row, (i, a) in enumerate(itertools.product(range(len(states)), range(chain.num_al))):
        edges = range(ends[row], ends[row + 1])
        assert {states[successors[edge]]: chances[edge] for edge in edges} == pytest.approx(chain.step(states[i], a))
        assert mdp.rewards[i, a].item() == pytest.approx(chain.reward(states[i], a), abs=1e-14)
    assert list(zip(mdp.acting.tolist(), mdp.sg.tolist(), mdp.acting_number.tolist(), strict=True)) == [
        chain.actor(state) for state in states
    ]


def listed(game, k):
    yield "tuple", False, theory.states_algorithm_8_reachable, theory.transitions_algorithm_8_reachable
    yield "mean-field", False, theory.states_algorithm_9_reduced, theory.transitions_algorithm_9_reduced
    yield "mean-field", True, theory.states_algorithm_9_literal, theory.transitions_algorithm_9_literal


@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("sizes", [(2, 2, 2, 2), (3, 1, 2, 2), (1, 3, 2, 1), (2, 3, 1, 2)])
def test_sizes_are_those_of_theory_where_everything_can_follow_and_below_them_elsewhere(sizes, k):
    for kind in ("full", "zeros", "certain"):
        game = any_game(k, sizes, kind, math.inf)
        pi_g = any_pi_g(game, k, k, kind)
        for form, literal, states, transitions in listed(game, k):
            mdp = chained_mdp(game, pi_g, k, form, horizon=2, literal=literal, initial=game.initial)
            found, most = (mdp.num_states, mdp.num_transitions), (states(game, k), transitions(game, k))
            assert found == most if kind == "full" else all(map(int.__le__, found, most))
            assert mdp.num_states <= (theory.states_algorithm_8 if form == "tuple" else theory.states_algorithm_9)(
                game, k
            )
            sums = torch.zeros(len(mdp.widths), dtype=torch.float64).index_add_(0, mdp.edge_rows, mdp.probabilities)
            torch.testing.assert_close(sums, torch.ones_like(sums), rtol=0, atol=1e-13)


def surrogate_value(game, pi_g, pi_l, k, objective):
    judged = game if objective == "team" else game.replace(r_g=torch.zeros_like(game.r_g))
    return joint_value(Surrogate.build(judged, pi_l, PairPlan(am.CountSimplex(k, game.num_sl))), pi_g).mean


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("k", "strength"), [(1, math.inf), (2, 0.5), (3, math.inf), (4, 2.0)])
def test_a_fixed_local_policy_earns_its_joint_value_up_to_the_truncation(k, strength, objective):
    """A deterministic one in both forms; a random one by agent, and by bin as long as no bin holds two companions."""
    for seed, kind in itertools.product(range(3), ("full", "certain")):
        game = any_game(seed, (2, 2, 3, 2), "full", strength)
        pi_g, pi_l = any_pi_g(game, k, seed), any_pi_l(game, seed + 9, kind)
        joint = surrogate_value(game, pi_g, pi_l, k, objective)
        for form in ("tuple", "mean-field") if kind == "certain" or k < 3 else ("tuple",):
            for horizon in (4, 90):
                mdp = chained_mdp(game, pi_g, k, form, objective, horizon, initial=game.initial)
                assert abs(mdp.value(mdp.spread(pi_l)) - joint) <= game.gamma**horizon * game.v_max + 1e-9


def test_the_uniform_policy_of_steer_earns_what_the_known_say():
    game, k = steer(), 2
    for objective, known in (("team", 4.281469), ("own", 2.542339)):
        mdp = chained_mdp(game, by_mode(game, k), k, "tuple", objective, 100)
        assert mdp.value(mdp.spread(uniform_local(game))) == pytest.approx(known, abs=1e-6)


def test_the_best_local_policy_earns_less_than_the_chain_which_knows_more():
    game, k = steer(), 2
    mdp = chained_mdp(game, by_mode(game, k), k, "tuple", "team", 100)
    best = deterministic_local(torch.tensor([[1, 1], [0, 0]]), 2)
    assert mdp.value(mdp.spread(best)) == pytest.approx(6.408505, abs=1e-6)
    assert mdp.optimal_value() > 6.4086


def test_an_order_that_matters_works_by_agent_and_is_refused_by_bin():
    game = any_game(3, (2, 2, 2, 2))
    pi_g = any_pi_g(game, 3, 4, over="tuples")
    chain = TupleChain(game, reader(game, pi_g, 3), 3, "team")
    best = optimum(chain, chain.start(macro_law(game.initial, 3)), 4)
    mdp = chained_mdp(game, pi_g, 3, "tuple", "team", 4, initial=game.initial)
    assert mdp.optimal_value() == pytest.approx(best, abs=1e-12)
    for literal in (False, True):
        with pytest.raises(am.PolicyError, match="order of the sampled agents"):
            chained_mdp(game, pi_g, 3, "mean-field", literal=literal)


@pytest.mark.parametrize("form", ["tuple", "mean-field"])
def test_a_table_over_tuples_without_an_order_is_the_table_over_counts(form):
    game = any_game(3, (2, 2, 2, 2))
    pi_g = any_pi_g(game, 3, 4)
    look, tuples = reader(game, pi_g, 3), list(itertools.product(range(2), repeat=3))
    unfolded = torch.tensor([[look(s, states) for states in tuples] for s in range(2)], dtype=torch.float64)
    values = [chained_mdp(game, seen, 3, form, horizon=4).optimal_value() for seen in (pi_g, unfolded)]
    assert values[0] == values[1]


def test_the_papers_switch_rule_and_the_smaller_of_the_two():
    """2^k <= 2 k^2 up to k = 6; with 2 global and 2 local states the tuples are fewer up to k = 3."""
    for k in range(1, 8):
        pi_g = torch.full((2, k + 1, 2), 0.5, dtype=torch.float64)
        assert chained_mdp(steer(), pi_g, k, horizon=1).form == ("tuple" if k <= 6 else "mean-field")
        auto = chained_mdp(steer(), pi_g, k, "auto", horizon=1)
        sizes = [chained_mdp(steer(), pi_g, k, form, horizon=1).num_states for form in ("tuple", "mean-field")]
        assert auto.num_states == min(sizes)
        assert auto.form == ("tuple" if k <= 3 else "mean-field")


def test_the_horizon_is_that_of_algorithm_2_and_rounds_are_discounted():
    game = steer()
    mdp = chained_mdp(game, by_mode(game, 2), 2)
    assert (mdp.rounds, mdp.steps) == (theory.horizon_algorithm_2(game, 2), theory.micro_horizon_algorithm_8(game, 2))
    torch.testing.assert_close(mdp.discounts, torch.tensor([0.8**t for t in range(mdp.rounds)], dtype=torch.float64))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"horizon": 0}, am.ArgumentError, "horizon"),
        ({"horizon": 2.5}, am.ArgumentError, "horizon"),
        ({"form": "histogram"}, am.ArgumentError, "form"),
        ({"objective": "global"}, am.ArgumentError, "objective"),
        ({"k": 0}, am.ArgumentError, "k must be"),
        ({"k": 101}, am.ArgumentError, "k must be"),
        ({"pi_g": torch.ones(2, 5, 1)}, am.PolicyError, r"\[2, 5, 1\]"),
        ({"pi_g": torch.ones(2, 3, 2)}, am.PolicyError, "sums to 2"),
    ],
)
@pytest.mark.parametrize("form", ["tuple", "mean-field"])
def test_bad_arguments_are_refused(form, changes, error, words):
    arguments = {"pi_g": by_mode(steer(), 2), "k": 2, "form": form} | changes
    with pytest.raises(error, match=words):
        chained_mdp(steer(), **arguments)


@pytest.mark.parametrize(("form", "size"), [("tuple", "4.58e+16"), ("mean-field", "3.89e+08")])
def test_a_chain_too_large_is_refused_with_its_size(form, size):
    with pytest.raises(am.SizeError, match=rf"k = 20 agents has {size.replace('+', '[+]')} states"):
        chained_mdp(warehouse(), torch.zeros(0), 20, form)
