"""Episodic MDPs: values worked out by hand, dense matrices, episodes one by one, and Algorithm 7."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.chains import OneByOne, any_game, any_pi_g, dense_occupancy, dense_value
from scipy import stats

import altmarl_torch as am
from altmarl_torch.games import hash_game, steer, ware
from altmarl_torch.learners.chains.visits import occupancy
from altmarl_torch.tabular import EpisodicMDP, chained_mdp, decide_before_acting, sample_visits

SIZES = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3))
KINDS = st.sampled_from(["full", "zeros", "certain"])


def mine(start_law=(1.0, 0.0)):
    """Above ground (0) one earns 1, or digs (action 1) and finds the gold (1) half the time; there one earns 4 a step.

    Three steps at discount 1/2. In the gold V_2 = 1, V_1 = 3, V_0 = 7. Above ground V_2 = 1/4; Q_1 = 1/2 + 1/4 = 3/4,
    or, digging, 1/2 (1 + 1/4) = 5/8; Q_0 = 1 + 3/4 = 7/4 or 1/2 (3 + 3/4) = 15/8. So one digs in the first step alone.
    """
    P = [[[1, 0], [0.5, 0.5]], [[0, 1], [0, 1]]]
    return EpisodicMDP.from_tables(P, [[1, 0], [4, 4]], 3, discount=0.5, start_law=start_law)


def random_mdp(seed, states=5, actions=3, horizon=4):
    """One stage, non-negative rewards, zeros in the laws."""
    generator = torch.Generator().manual_seed(seed)
    P, r = (torch.rand(shape, generator=generator) for shape in ((states, actions, states), (states, actions)))
    P = P * (P > 0.4) + 1e-3 * torch.eye(states)[:, None]
    return EpisodicMDP.from_tables(P / P.sum(-1, keepdim=True), r, horizon, discount=0.8)


def random_chain(seed, sizes, kind, form, k=2):
    game = any_game(seed, sizes, kind)
    return chained_mdp(game, any_pi_g(game, k, seed), k, form, "team", 3, initial=game.initial)


def any_policy(mdp, seed):
    """Laws [rounds, states, actions]."""
    shape, generator = (mdp.rounds, mdp.num_states, mdp.num_actions), torch.Generator().manual_seed(seed)
    law = torch.rand(shape, generator=generator, dtype=torch.float64) ** 3
    return law / law.sum(-1, keepdim=True)


def any_actions(mdp, seed):
    shape = (mdp.rounds, mdp.num_states)
    return torch.randint(mdp.num_actions, shape, generator=torch.Generator().manual_seed(seed))


def as_laws(mdp, actions):
    return torch.nn.functional.one_hot(actions, mdp.num_actions).double()


def test_the_mine_is_worth_what_the_docstring_says():
    mdp = mine()
    assert mdp.optimal_value() == 15 / 8
    assert mdp.optimal_policy().tolist() == [[1, 0], [0, 0], [0, 0]]  # ties in the gold go to action 0
    assert mine((0.5, 0.5)).optimal_value() == (15 / 8 + 7) / 2
    assert mine(None).optimal_value() == (15 / 8 + 7) / 2
    assert mdp.value(torch.zeros(3, 2, dtype=torch.int64)) == 1 + 1 / 2 + 1 / 4
    assert mdp.value(torch.ones(3, 2, dtype=torch.int64)) == 1 / 2 * 3 + 1 / 4 * 1
    assert mdp.value(torch.full((2, 2), 0.5)) == pytest.approx(
        1 / 2 + (3 / 4 / 2 + 1 / 4 * 4) / 2 + (9 / 32 + 7 / 4) / 4
    )


def test_the_mine_is_where_the_docstring_says():
    mdp = mine()
    expected = torch.tensor([[1, 0], [1 / 2, 1 / 2], [1 / 2, 1 / 2]], dtype=torch.float64)
    assert torch.equal(occupancy(mdp, mdp.optimal_policy(), mdp.probabilities), expected)
    shape = (mdp.num_states, mdp.num_actions, mdp.num_stages, mdp.rounds, mdp.steps, mdp.num_transitions)
    assert shape == (2, 2, 1, 3, 3, 5)
    assert (mdp.max_successors, mdp.widths.tolist()) == (2, [1, 2, 1, 1])


@pytest.mark.parametrize(("discount", "expected"), [(0, 2), (0.5, 3.5), (1, 6)])
def test_one_state_earns_a_geometric_sum(discount, expected):
    mdp = EpisodicMDP.from_tables([[[1.0]]], [[2.0]], 3, discount=discount)
    assert mdp.optimal_value() == expected == mdp.value(torch.zeros(3, 1, dtype=torch.int64))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), SIZES, KINDS, st.sampled_from(["tuple", "mean-field"]))
def test_values_and_occupancies_are_those_of_dense_matrices(seed, sizes, kind, form):
    mdp = random_chain(seed, sizes, kind, form)
    law, actions = any_policy(mdp, seed), any_actions(mdp, seed)
    assert mdp.optimal_value() == pytest.approx(dense_value(mdp), abs=1e-12)
    assert mdp.value(mdp.optimal_policy()) == pytest.approx(mdp.optimal_value(), abs=1e-12)
    for policy, as_law in ((law, law), (actions, as_laws(mdp, actions)), (law[0], law[:1].expand(3, -1, -1))):
        assert mdp.value(policy) == pytest.approx(dense_value(mdp, as_law), abs=1e-12)
        law_of_states, dense = occupancy(mdp, policy, mdp.probabilities), dense_occupancy(mdp, as_law)
        assert law_of_states.numpy() == pytest.approx(dense.reshape(3, mdp.num_stages, -1).sum(1), abs=1e-12)
        for stage in range(mdp.num_stages):
            assert law_of_states[:, mdp.states_of(stage)].sum(-1).tolist() == pytest.approx([1.0] * 3)
        earned = (law_of_states * (as_law * mdp.rewards).sum(-1)).sum(-1) @ mdp.discounts
        assert mdp.value(policy) == pytest.approx(float(earned), abs=1e-12)


CHAINS = pytest.mark.parametrize(
    "mdp",
    [
        chained_mdp(steer(), any_pi_g(steer(), 2, 0), 2, "tuple", horizon=4),
        chained_mdp(ware(), any_pi_g(ware(), 2, 1), 2, "mean-field", horizon=3),
        chained_mdp(hash_game(), any_pi_g(hash_game(), 3, 2), 3, "mean-field", horizon=2, literal=True),
        random_mdp(0),
    ],
    ids=["tuple", "mean-field", "literal", "one-stage"],
)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@CHAINS
@pytest.mark.parametrize("episodes", [0, 1, 37, 10**12])
def test_nobody_is_lost_on_the_way(mdp, episodes):
    """What flows into a state flows out of it, but for where episodes begin and end."""
    visits = sample_visits(mdp, mdp.optimal_policy(), episodes, seeded(1))
    assert torch.equal(visits, visits.round())
    assert float(visits.min()) >= 0
    out = torch.zeros(mdp.num_states, dtype=torch.float64).index_add_(0, mdp.edge_rows // mdp.num_actions, visits)
    into = torch.zeros(mdp.num_states, dtype=torch.float64).index_add_(0, mdp.successors, visits)
    for stage in range(mdp.num_stages):
        assert float(out[mdp.states_of(stage)].sum()) == episodes * mdp.rounds
    first = mdp.stage_start[1]
    assert torch.equal(out[first:], into[first:])
    assert float((out - into)[:first].abs().max()) <= episodes
    assert float((out - into).sum()) == 0


@CHAINS
def test_visits_have_the_law_of_episodes_one_by_one(mdp):
    """Means of many draws in standard errors from what is expected; and the rows' shares by a chi-square test."""
    actions, episodes, draws, generator = any_actions(mdp, 3), 20, 300, seeded(4)
    reach = occupancy(mdp, actions, mdp.probabilities).unsqueeze(-1) * as_laws(mdp, actions)
    expected = episodes * reach.sum(0).flatten()[mdp.edge_rows] * mdp.probabilities
    simulator = OneByOne(mdp, 5)
    dealt = torch.stack([sample_visits(mdp, actions, episodes, generator) for _ in range(draws)])
    played = torch.stack([simulator(actions, episodes) for _ in range(draws)])
    for visits in (dealt, played):
        often = expected > 0.1
        z = (visits.mean(0) - expected)[often] / (visits.std(0)[often] / draws**0.5)
        assert float(z.abs().max()) < 4.5
        assert float((z**2).mean()) < 2
        assert torch.equal(visits.sum(0)[expected == 0], torch.zeros(int((expected == 0).sum()), dtype=torch.float64))
    ratio = (dealt.std(0) / played.std(0))[expected > 2]
    assert float((ratio - 1).abs().max()) < 0.3  # a wrong dependence between visits would show here
    distance, freedom = 0.0, 0
    for row in range(len(mdp.widths)):
        both = torch.stack([dealt.sum(0), played.sum(0)])[:, mdp.row_start[row] : mdp.row_start[row + 1]]
        if both.shape[1] > 1 and float(both.sum(0).min()) > 20:
            found = stats.chi2_contingency(both.numpy(), correction=False)
            distance, freedom = distance + found.statistic, freedom + found.dof
    assert freedom > 5
    assert stats.chi2.sf(distance, freedom) > 1e-3


def test_the_same_seed_gives_the_same_visits():
    mdp = random_mdp(1)
    first, again, other = (sample_visits(mdp, mdp.optimal_policy(), 1000, seeded(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"P": [[[0.5, 0.4]]] * 2}, r"P\[s=0, a=0\] sums to 0.9"),
        ({"P": [[[1.5, -0.5]]] * 2}, "non-negative"),
        ({"P": [[0.5, 0.5]] * 2}, "expected 3"),
        ({"P": [[[1.0, 0.0, 0.0]]] * 2}, "sizes disagree"),
        ({"r": [[1.0, 2.0]] * 2}, "sizes disagree"),
        ({"r": [[float("nan")]] * 2}, "finite"),
        ({"horizon": 0}, "horizon"),
        ({"horizon": 2.5}, "horizon"),
        ({"horizon": True}, "horizon"),
        ({"discount": 1.1}, "discount"),
        ({"discount": -0.1}, "discount"),
        ({"start_law": [0.5, 0.6]}, "start_law"),
        ({"start_law": [1.0]}, "sizes disagree"),
    ],
)
def test_tables_that_are_no_mdp_are_refused(changes, words):
    arguments = {"P": [[[0.5, 0.5]]] * 2, "r": [[1.0], [0.0]], "horizon": 2} | changes
    with pytest.raises(am.ArgumentError, match=words):
        EpisodicMDP.from_tables(**arguments)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (torch.zeros(2, 2, dtype=torch.int64), r"\[rounds, states\] = \[3, 2\]"),
        (torch.full((3, 2), 2), "outside 0..1"),
        (torch.full((3, 2), -1), "outside 0..1"),
        (torch.full((3, 2, 3), 1 / 3), r"= \[3, 2, 2\]"),
        (torch.full((2, 2, 2), 1 / 2), r"= \[3, 2, 2\]"),
    ],
)
def test_what_is_no_policy_is_refused(policy, words):
    with pytest.raises(am.ArgumentError, match=words):
        mine().value(policy)


def test_deciding_states_are_those_of_algorithm_7():
    """The mine with WAIT as action 2; whoever waits once earns two steps' rewards: 1/2 + 1/4 above ground."""
    mdp, waiting = mine(), decide_before_acting(mine())
    assert (waiting.num_states, waiting.num_actions, waiting.steps) == (2 + 4, 3, 6)
    assert torch.equal(waiting.rewards, torch.tensor([0, 0, 1, 0, 4, 4.0]).double()[:, None].expand(6, 3))
    assert waiting.optimal_value() == mdp.optimal_value() == 15 / 8
    above = torch.zeros(6, 6, dtype=torch.int64)
    assert waiting.value(above) == 1 + 1 / 2 + 1 / 4
    above[0] = 2
    assert waiting.value(above) == 1 / 2 + 1 / 4
    assert waiting.value(torch.full((6, 6), 2)) == 0


def check_deciding(mdp):
    waiting, A = decide_before_acting(mdp), mdp.num_actions
    best = mdp.optimal_value()
    assert waiting.optimal_value() == pytest.approx(best, abs=1e-12)
    # who decides as in the original, and never waits, earns what they earn there
    steps = torch.arange(waiting.rounds) // (2 * mdp.num_stages)
    decisions = torch.nn.functional.pad(mdp.optimal_policy()[steps], (0, mdp.num_states * A))
    assert waiting.value(decisions) == pytest.approx(best, abs=1e-12)
    # who must wait first, and then does the best, earns no more
    forced = waiting.optimal_policy()
    forced[0, : mdp.num_states] = A
    assert waiting.value(forced) <= best + 1e-12
    return waiting


@pytest.mark.parametrize("seed", range(8))
def test_waiting_never_pays_where_rewards_are_not_negative(seed):
    check_deciding(random_mdp(seed))


@pytest.mark.parametrize("form", ["tuple", "mean-field"])
@pytest.mark.parametrize("objective", ["own", "team"])
def test_waiting_never_pays_in_a_chain(form, objective):
    mdp = chained_mdp(steer(), any_pi_g(steer(), 3, 0), 3, form, objective, 4)
    waiting = check_deciding(mdp)
    assert waiting.steps == 2 * mdp.steps
    assert (waiting.rewards == waiting.rewards[:, :1]).all()


def test_negative_rewards_are_refused_by_algorithm_7():
    mdp = EpisodicMDP.from_tables([[[1.0], [1.0]]], [[1.0, -0.5]], 2)
    with pytest.raises(am.ArgumentError, match=r"state 0, action 1 is -0.5"):
        decide_before_acting(mdp)
