"""Counts that no k agents have, and states that are none, are refused by every public function that takes them.

The doors are found by reflection over the signatures of the public names: a new function with an argument `counts`, or
one that takes indices, fails the first tests until it is called here.
"""

import inspect
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch import heuristics, neural, policies, rewards, tabular

K, SL = 3, 2
GAME = am.games.steer()
TABLE, NETWORK = am.solve(GAME, K, steps=1), am.solve(GAME, K, solver="neural", steps=1)
GREEDY, UNIFORM = NETWORK.policy, neural.UniformPolicy(2, 2)
BATCH = neural.BatchSurrogate.build(GAME, TABLE.pi_l, K)
SIMPLEX = am.CountSimplex(K, SL)
MIXED = rewards.DiscreteReward(torch.zeros(2, 2, 2, 2), torch.full((2, 2, 2, 2), 0.5))
LAWS = {
    "RewardLaw": rewards.GaussianReward(torch.zeros(2, 2), torch.ones(2, 2), -1.0, 1.0),
    "DiscreteReward": MIXED,
    "GaussianReward": rewards.GaussianReward(torch.zeros(2, 2), torch.ones(2, 2), -1.0, 1.0),
    "SampledReward": rewards.SampledReward(lambda s_g, a_g, g: 0.0 * s_g, -1.0, 1.0, torch.zeros(2, 2)),
}
ONE = torch.ones(1, dtype=torch.float64)
RULES = {name: make(GAME) for name, make in heuristics.RULES.items()}
SIGHT = policies.Sight(K, 2, SL, torch.device("cpu"))
ZERO = torch.tensor([0])


def on_a_belief():
    """A dispatcher with a memory."""
    dispatcher = am.solve(GAME, K, observation="filter", steps=1).dispatcher()
    dispatcher.reset(1)
    return dispatcher


def generator():
    return torch.Generator().manual_seed(0)


OF_K = {
    "CountSimplex.rank": SIMPLEX.rank,
    "CountSimplex.check": SIMPLEX.check,
    "Solution.law": lambda counts: TABLE.law(ZERO, counts),
    "Solution.law of networks": lambda counts: NETWORK.law(ZERO, counts),
    "Dispatcher.act": lambda counts: NETWORK.dispatcher().act(ZERO, counts),
    "TabularDispatcher.act": lambda counts: TABLE.dispatcher().act(ZERO, counts),
    "RuleDispatcher.act": lambda counts: heuristics.RuleDispatcher(RULES["mode"], SIGHT).act(ZERO, counts),
    "Sight.read": lambda counts: SIGHT.read(ZERO, counts),
    "Sight.read_all": lambda counts: SIGHT.read_all(ZERO, counts),
    "NetworkPolicy.actions": lambda counts: GREEDY.actions(counts),
    "NetworkPolicy.laws": lambda counts: GREEDY.laws(counts),
    "NetworkPolicy.average": lambda counts: GREEDY.average(counts, torch.zeros(1, 2, 2)),
    "NetworkPolicy.__call__": lambda counts: GREEDY(ZERO, counts),
    "NetworkPolicy.choose": lambda counts: GREEDY.choose(ZERO, counts),
    "BatchSurrogate.action_values": lambda counts: BATCH.action_values(counts, torch.zeros(1, 2, 2)),
    "BatchSurrogate.show": lambda counts: BATCH.show(counts, generator()),
    "BatchSurrogate.network_action_values": lambda counts: BATCH.network_action_values(
        NETWORK.policy.network, torch.zeros(2, 2), counts
    ),
    "BatchSurrogate.movers": lambda counts: BATCH.movers(ZERO, counts, generator()),
    "BatchSurrogate.next_counts": lambda counts: BATCH.next_counts(ZERO, counts, generator()),
    "BatchSurrogate.targets": lambda counts: BATCH.targets(lambda h: h, ZERO, counts, 2, generator()),
    "BatchSurrogate.reward_noise": lambda counts: BATCH.reward_noise(ZERO, counts, 2, generator()),
    "BatchSurrogate.draw_values": lambda counts: BATCH.draw_values(lambda h: h, ZERO, counts, 2, generator()),
    "BatchSurrogate.step": lambda counts: BATCH.step(ZERO, counts, ZERO, generator(), generator()),
}
"""Those that know k."""

TAKE_FEWER = {"Dispatcher.act", "TabularDispatcher.act", "RuleDispatcher.act", "Sight.read"}
"""Those of them to which some of the k agents may give no answer."""

OF_ANY = {
    "InitialLaw.count_law": GAME.initial.count_law,
    "beacon_value": am.games.beacon_value,
    "beacon_value_against_waiting": am.games.beacon_value_against_waiting,
    "DiscreteReward.draw_sum": lambda counts: MIXED.draw_sum(counts, ZERO, ZERO, ZERO, generator=generator()),
    "RewardLaw.draw_sum": lambda counts: MIXED.draw_sum(counts, ZERO, ZERO, ZERO, generator=generator()),
} | {f"rule {name}": (lambda counts, rule=rule: rule(ZERO, counts)) for name, rule in RULES.items()}
"""Those of any number of agents."""

INDICES = {
    "CountSimplex.unrank": SIMPLEX.unrank,
    "one_hot": lambda index: policies.one_hot(index, 2),
    "deterministic_local": lambda index: policies.deterministic_local(index.expand(2, 2), 2),
    "BatchSurrogate.step": lambda index: BATCH.step(ZERO, torch.tensor([[K, 0]]), index, generator(), generator()),
    "BatchSurrogate.spread": lambda index: BATCH.spread(torch.zeros(1, 2), index),
    "ChainSimulator.step": lambda index: tabular.ChainSimulator(GAME, TABLE.pi_g, K, episodes=1).step(index),
} | {
    f"{kind}.{method}": lambda index, law=law, draw=draw: draw(law)(*[index] * law.mean.ndim, generator=generator())
    for kind, law in LAWS.items()
    for method, draw in (("draw", lambda law: law.draw), ("draw_sum", lambda law: partial(law.draw_sum, ONE)))
}
"""Those that take states or actions alone."""

BLIND = {"UniformPolicy.laws", "UniformPolicy.average", "UniformPolicy.__call__"}
"""Those that answer without a look at the counts."""

STATES = {
    "Solution.law": lambda s_g, h: TABLE.law(s_g, h),
    "Solution.law of networks": lambda s_g, h: NETWORK.law(s_g, h),
    "act": lambda s_g, h: TABLE.dispatcher().act(s_g, h),
    "act of networks": lambda s_g, h: NETWORK.dispatcher().act(s_g, h),
    "act on a belief": lambda s_g, h: on_a_belief().act(s_g, h),
    "NetworkPolicy.__call__": lambda s_g, h: GREEDY(s_g, h),
    "BatchSurrogate.next_counts": lambda s_g, h: BATCH.next_counts(s_g, h, generator()),
    "BatchSurrogate.step": lambda s_g, h: BATCH.step(s_g, h, ZERO, generator(), generator()),
} | {f"rule {name}": rule for name, rule in RULES.items()}


def public_doors(*words):
    """`Class.method` or `function` of every public callable with one of these arguments."""
    for module in (am, am.games, heuristics, neural, policies, rewards, tabular, am.theory):
        for name in module.__all__:
            thing = getattr(module, name)
            of_class = [f"{name}.{word}" for word in vars(thing)] if isinstance(thing, type) else []
            for door in [name, *of_class]:
                method = door.removeprefix(f"{name}.")
                found = thing if door == name else inspect.getattr_static(thing, method)
                found = getattr(found, "__func__", found)
                hidden = method.startswith("_") and method != "__call__"
                if not hidden and inspect.isfunction(found) and set(words) & set(inspect.signature(found).parameters):
                    yield door


def test_every_public_function_that_takes_counts_is_called_here():
    assert set(public_doors("counts")) - set(OF_K) - set(OF_ANY) - BLIND == set()


def test_every_public_function_that_takes_indices_is_called_here():
    given_by_name = {"constant_pair", "Game.name_of"}  # one number
    assert set(public_doors("index", "indices", "actions", "a_g")) - set(INDICES) - given_by_name == set()


@pytest.mark.parametrize("door", INDICES)
@pytest.mark.parametrize(
    "index", [torch.tensor([True]), torch.tensor([-1]), torch.tensor([10**9]), torch.tensor([0.5])]
)
def test_indices_of_nothing_are_refused(door, index):
    with pytest.raises(am.AltMarlError):
        INDICES[door](index)
    INDICES[door](ZERO)


@pytest.mark.parametrize("door", [*OF_K, *OF_ANY])
def test_truth_values_are_no_counts(door):
    with pytest.raises(am.ArgumentError, match="counts"):
        (OF_K | OF_ANY)[door](torch.tensor([[True, False]]))


@pytest.mark.parametrize("door", STATES)
def test_truth_values_are_no_states(door):
    with pytest.raises(am.ArgumentError, match="s_g"):
        STATES[door](torch.tensor([True]), torch.tensor([[K, 0]]))


@pytest.mark.parametrize("s_g", [True, [True], np.array([True]), np.bool_(True)])
@pytest.mark.parametrize("door", ["act", "act of networks", "act on a belief", "Solution.law"])
def test_truth_values_in_lists_and_arrays_are_no_states(door, s_g):
    """Counts, too, where they stand among numbers."""
    is_one = np.ndim(s_g) == 0
    with pytest.raises(am.ArgumentError, match="s_g holds True or False"):
        STATES[door](s_g, [K, 0] if is_one else [[K, 0]])
    with pytest.raises(am.ArgumentError, match="counts holds True or False"):
        STATES[door](0 if is_one else [0], [2, True] if is_one else [[2, True]])


@pytest.mark.parametrize("door", OF_K)
@settings(max_examples=40, deadline=None)
@given(row=st.lists(st.integers(-4, 9), min_size=SL, max_size=SL))
def test_counts_of_another_number_of_agents_are_refused(door, row):
    counts = torch.tensor([row])
    is_allowed = sum(row) <= K if door in TAKE_FEWER else sum(row) == K
    if is_allowed and min(row) >= 0:
        assert OF_K[door](counts.float() if door.startswith("Batch") else counts) is not False
        return
    for given_as in (counts, counts.int()):
        with pytest.raises(am.ArgumentError, match="counts"):
            OF_K[door](given_as)


@pytest.mark.parametrize("door", [*OF_K, *OF_ANY])
@pytest.mark.parametrize("row", [[-1, 4], [4, -1]])
def test_negative_counts_are_refused(door, row):
    with pytest.raises(am.ArgumentError, match="counts"):
        (OF_K | OF_ANY)[door](torch.tensor([row]))


@pytest.mark.parametrize("door", STATES)
@pytest.mark.parametrize("state", [-1, 2, 10**9])
def test_a_global_state_that_is_none_is_refused(door, state):
    with pytest.raises(am.ArgumentError, match="s_g"):
        STATES[door](torch.tensor([state]), torch.tensor([[K, 0]]))


def test_the_row_is_named_and_right_counts_are_answered():
    with pytest.raises(am.ArgumentError, match=r"counts\[row=1\] sums to 4; .* sum to k = 3"):
        SIMPLEX.rank(torch.tensor([[3, 0], [2, 2]]))
    every = SIMPLEX.counts
    states = torch.arange(2)[:, None].expand(2, len(every))
    assert torch.equal(TABLE.law(states, every.expand(2, -1, -1)), TABLE.pi_g)
    assert torch.equal(TABLE.law([0, 1], [[3.0, 0.0], [1.0, 2.0]]), TABLE.pi_g[[0, 1], [0, 2]])
    assert torch.equal(NETWORK.law(states, every.expand(2, -1, -1)), NETWORK.pi_g)


def test_rows_that_are_no_laws_are_refused():
    wrong = torch.full((2, SIMPLEX.size, 2), 0.7, dtype=torch.float64)
    with pytest.raises(am.PolicyError, match=r"sums to 1\.4"):
        policies.cumulative(wrong)
    with pytest.raises(am.PolicyError, match="law"):
        policies.cumulative(torch.tensor([[1.5, -0.5]]))
    with pytest.raises(am.PolicyError, match=r"sums to 1\.4"):
        tabular.approx_value(wrong, torch.zeros(2, SIMPLEX.size, 2))
    with pytest.raises(am.ArgumentError, match="actions"):
        policies.one_hot(torch.tensor([-1]), 2)
