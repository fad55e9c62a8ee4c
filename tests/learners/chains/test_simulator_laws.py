"""Simulated chains: values known by hand, the listed chain's law and values, who moves when, and what is refused."""

import itertools
import math

import pytest
import torch
from einops import einsum
from oracles.chains import any_game, any_pi_g, any_pi_l, by_mode

import altmarl_torch as am
from altmarl_torch.games import beacon, hash_game, steer, ware, warehouse
from altmarl_torch.learners.chains.visits import occupancy
from altmarl_torch.policies.rules import RULES, WALKERS, table
from altmarl_torch.policies.tabular import deterministic_local, uniform_global, uniform_local
from altmarl_torch.tabular import NOTHING_PENDING, ChainSimulator, chained_mdp

FORMS = ("tuple", "mean-field")
OBJECTIVES = ("team", "own")
ERRORS = 4  # how many standard errors a mean may be off; seeds are fixed
EPISODES = 20_000


def check_mean(returns, value):
    error = float(returns.std()) / math.sqrt(len(returns))
    assert error > 0
    assert float(returns.mean()) == pytest.approx(value, abs=ERRORS * error)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_beacon_earns_what_its_page_derives(form, k):
    """Stay and walk: 2/(1 - gamma) - (1 - 1/S)/(1 - gamma q) for every k; 60 rounds leave out 2e-5 of it."""
    game = beacon()
    stay = torch.eye(3, dtype=torch.float64)[:, None].expand(3, am.CountSimplex(k, 3).size, 3)
    simulator = ChainSimulator(game, stay, k, form, horizon=60, episodes=5_000, seed=k)
    check_mean(simulator.returns(deterministic_local(torch.ones(3, 3, dtype=torch.int64), 2)), 10 - (2 / 3) / 0.6)


@pytest.mark.parametrize(("objective", "known"), [("team", 4.281469), ("own", 2.542339)])
@pytest.mark.parametrize("form", FORMS)
def test_the_uniform_policy_of_steer_earns_what_the_known_say(form, objective, known):
    game, k = steer(), 2
    simulator = ChainSimulator(game, by_mode(game, k), k, form, objective, 60, episodes=EPISODES, seed=1)
    check_mean(simulator.returns(uniform_local(game)), known)


CASES = [
    (steer(), "steer", (1, 2, 3, 4, 5)),
    (hash_game(3, 2, 2, 3), "hash", (1, 3, 5)),
    (ware(), "ware", (2, 4)),
    (any_game(0, (2, 3, 3, 2), "full", 0.5), "both-signs", (1, 2, 3, 4)),
    (any_game(1, (3, 2, 2, 2), "zeros", 0.5), "impossible-moves", (2, 5)),
]
INSTANCES = pytest.mark.parametrize(
    ("game", "k"),
    [(game, k) for game, _, ks in CASES for k in ks],
    ids=[f"{name}-k{k}" for _, name, ks in CASES for k in ks],
)


@INSTANCES
def test_mean_returns_are_the_listed_chains_values(game, k):
    """Both forms and objectives; in the mean-field form a random policy draws one action for a whole bin."""
    pi_g = any_pi_g(game, k, seed=k)
    for form, objective, kind in itertools.product(FORMS, OBJECTIVES, ("certain", "full")):
        pi_l, options = any_pi_l(game, k + 7, kind), {"form": form, "objective": objective, "horizon": 6}
        chain = chained_mdp(game, pi_g, k, **options, initial=game.initial)
        simulator = ChainSimulator(game, pi_g, k, **options, episodes=EPISODES, seed=k, initial=game.initial)
        check_mean(simulator.returns(pi_l), chain.value(chain.spread(pi_l)))


def states_of(simulator, chain):
    """Which state of the listed chain each episode is in."""
    stage, vectors = simulator.stage, am.CountSimplex
    if simulator.is_tuple:
        places = simulator.game.num_sl ** torch.arange(simulator.k).flip(0)
        rest = [(simulator.replicas * places).sum(-1)]
    elif stage == 0:
        rest = [simulator.tagged, vectors(simulator.k - 1, simulator.game.num_sl).rank(simulator.waiting)]
    else:
        w = simulator.waiting[:, stage - 1 :]
        w = w if stage == 1 else torch.cat([w, simulator.arrived], -1)
        rest = [simulator.pending_tagged, vectors(simulator.k - 1, w.shape[-1]).rank(w)]
    found = torch.stack([simulator.sg, simulator.pending, *rest], -1)
    hits = (found[:, None] == chain.coordinates[stage]).all(-1)
    assert bool((hits.sum(-1) == 1).all())
    return hits.int().argmax(-1)


@pytest.mark.parametrize("form", FORMS)
def test_states_have_the_listed_chains_law_in_every_micro_step(form):
    game, k = any_game(2, (2, 2, 2, 2), "full", 0.5), 3
    pi_g, pi_l = any_pi_g(game, k, 0), any_pi_l(game, 1)
    chain = chained_mdp(game, pi_g, k, form, horizon=3, initial=game.initial)
    simulator = ChainSimulator(game, pi_g, k, form, horizon=3, episodes=EPISODES, seed=3, initial=game.initial)
    laws, generator = occupancy(chain, chain.spread(pi_l), chain.probabilities), torch.Generator().manual_seed(4)
    while not simulator.done:
        law = laws[simulator.round, chain.states_of(simulator.stage)]
        share = torch.bincount(states_of(simulator, chain), minlength=len(law)) / EPISODES
        assert bool(((share - law).abs() <= 5 * (law * (1 - law) / EPISODES).sqrt() + 1e-12).all())
        simulator.step(pi_l[simulator.acting, simulator.sg].multinomial(1, generator=generator).squeeze(-1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_rewards_of_a_round_are_the_stage_reward_of_the_sampled_agents(form, k):
    """In every episode: E r_g(s_g, a_g) and the mean of r_l over the k agents; or r_l of the one, in stage 0 alone."""
    game = any_game(5, (2, 3, 2, 2))
    pi_g, pi_l, simplex = any_pi_g(game, k, 0), any_pi_l(game, 1, "certain"), am.CountSimplex(k, 3)
    earned, own = einsum(pi_g, game.r_g, "g h a, g a -> g h"), (pi_l * game.r_l).sum(-1)
    for objective in OBJECTIVES:
        simulator = ChainSimulator(game, pi_g, k, form, objective, 2, episodes=200, seed=2)
        for t in range(2):
            first, sg, counts = simulator.acting.clone(), simulator.sg, present(simulator)
            total = torch.zeros(200, dtype=torch.float64)
            team = earned[sg, simplex.rank(counts)] + (counts * own.T[sg]).sum(-1) / k
            while simulator.round == t:
                total += simulator.step(pi_l.argmax(-1)[simulator.acting, simulator.sg])
            expected = team if objective == "team" else own[first, sg]
            torch.testing.assert_close(total, game.gamma**t * expected)


def present(simulator):
    """The counts of all k agents, before anybody moves."""
    tagged = simulator.replicas if simulator.is_tuple else simulator.tagged[:, None]
    counts = torch.nn.functional.one_hot(tagged, simulator.game.num_sl).sum(1)
    return counts if simulator.is_tuple else counts + simulator.waiting


@pytest.mark.parametrize("k", [1, 4])
def test_companions_are_neither_lost_nor_made(k):
    game = hash_game(2, 3, 2, 2)
    simulator = ChainSimulator(game, by_mode(game, k), k, "mean-field", horizon=3, episodes=500, seed=0)
    while not simulator.done:
        stage, waiting, arrived = simulator.stage, simulator.waiting, simulator.arrived
        assert bool(((waiting + arrived).sum(-1) == k - 1).all())
        assert bool((waiting >= 0).all() & (arrived >= 0).all())
        assert bool((waiting[:, : max(stage - 1, 0)] == 0).all())  # bins that have acted are empty
        assert stage > 1 or bool((arrived == 0).all())
        simulator.step(torch.ones_like(simulator.sg))


@pytest.mark.parametrize("form", FORMS)
def test_the_next_global_state_is_pending_until_everybody_has_moved(form):
    game, k = steer(), 3
    simulator = ChainSimulator(game, by_mode(game, k), k, form, horizon=2, episodes=50, seed=0)
    for t in range(2):
        sg, seen = simulator.sg, []
        assert bool((simulator.pending == NOTHING_PENDING).all())
        for stage in range(simulator.num_stages):
            assert (simulator.round, simulator.stage) == (t, stage)
            assert torch.equal(simulator.sg, sg)
            simulator.step(torch.zeros_like(sg))
            seen.append(simulator.pending)
        assert all(torch.equal(drawn, simulator.sg) for drawn in seen[:-1])
    assert simulator.done


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_local_agents_move_under_the_current_global_state(form, k):
    """s_g flips and agents go to where it is, so that everybody ends a round where s_g was when it began."""
    game = am.Game(
        P_g=1 - torch.eye(2)[:, None].expand(2, 2, 2),
        P_l=torch.eye(2)[None, :, None].expand(2, 2, 1, 2),
        r_g=torch.zeros(2, 2),
        r_l=torch.zeros(2, 2, 1),
        gamma=0.5,
        n=9,
    )
    simulator = ChainSimulator(game, by_mode(game, k), k, form, horizon=3, episodes=100, seed=0)
    for t in range(3):
        before = simulator.sg
        while simulator.round == t:
            simulator.step(torch.zeros_like(before))
        assert torch.equal(simulator.sg, 1 - before)
        assert torch.equal(present(simulator), k * torch.nn.functional.one_hot(before, 2))


def test_a_chain_too_large_to_list_is_simulated():
    """k = 50 on the warehouse. Its dispatcher looks at nobody, so that every k has the value of k = 1 (listed)."""
    game = warehouse()
    hold, walk = RULES["hold"](game), WALKERS["walk"](game)
    pi_g = table(game, hold, am.CountSimplex(50, 5))
    with pytest.raises(am.SizeError, match="ChainSimulator"):
        chained_mdp(game, pi_g, 50, horizon=30)
    single = chained_mdp(game, table(game, hold, am.CountSimplex(1, 5)), 1, horizon=30, initial=game.initial)
    simulator = ChainSimulator(game, pi_g, 50, "mean-field", horizon=30, episodes=2_000, initial=game.initial)
    check_mean(simulator.returns(walk), single.value(single.spread(walk)))


def test_the_same_seed_gives_the_same_episodes_and_another_gives_others():
    game, k = steer(), 3
    for form in FORMS:
        first, again, other = (
            ChainSimulator(game, by_mode(game, k), k, form, episodes=50, seed=s).returns(uniform_local(game))
            for s in (5, 5, 6)
        )
        assert torch.equal(first, again)
        assert not torch.equal(first, other)


def test_form_and_horizon_are_those_of_the_listed_chain_by_default():
    game = steer()
    for k in (1, 6, 7):
        simulator = ChainSimulator(game, by_mode(game, k), k)
        chain = chained_mdp(game, by_mode(game, k), k)
        assert (simulator.rounds, simulator.num_stages) == (chain.rounds, chain.num_stages)
        assert simulator.is_tuple == (chain.form == "tuple") == (k <= 6)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"k": 0}, am.ArgumentError, "k must be"),
        ({"k": 101}, am.ArgumentError, "k must be"),
        ({"horizon": 0}, am.ArgumentError, "horizon must be an integer at least 1, not 0"),
        ({"episodes": 0}, am.ArgumentError, "episodes must be"),
        ({"form": "histogram"}, am.ArgumentError, "form must be one of"),
        ({"objective": "global"}, am.ArgumentError, "objective must be one of"),
        ({"seed": -1}, am.ArgumentError, "seed must be"),
        ({"pi_g": uniform_global(steer(), am.CountSimplex(5, 2))}, am.PolicyError, r"\[2, 6, 2\]"),
        ({"pi_g": torch.ones(2, 3, 2)}, am.PolicyError, "sums to 2"),
    ],
)
def test_bad_arguments_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        ChainSimulator(**({"game": steer(), "pi_g": by_mode(steer(), 2), "k": 2} | changes))


def test_what_is_no_action_and_what_comes_after_the_end_is_refused():
    game, k = steer(), 2
    simulator = ChainSimulator(game, by_mode(game, k), k, horizon=1, episodes=3)
    for actions in ([0, 0], [0, 2, 0], [-1, 0, 0], [[0, 0, 0]]):
        with pytest.raises(am.ArgumentError, match=r"actions must be \[3\] integers in 0\.\.1"):
            simulator.step(torch.tensor(actions))
    with pytest.raises(am.PolicyError, match="pi_l"):
        simulator.returns(torch.ones(2, 2, 2))
    assert (simulator.round, simulator.stage) == (0, 0)  # nothing has happened
    simulator.returns(uniform_local(game))
    with pytest.raises(am.ArgumentError, match="over after 1 macro steps"):
        simulator.step(torch.zeros(3, dtype=torch.int64))


def test_what_acted_is_remembered_as_it_was():
    simulator = ChainSimulator(steer(), by_mode(steer(), 2), 2, "tuple", episodes=100)
    acting = simulator.acting
    before = acting.clone()
    simulator.step(torch.ones(100, dtype=torch.int64))
    assert torch.equal(acting, before)


def test_a_dispatcher_that_tells_agents_apart_is_simulated_in_the_tuple_form():
    game = hash_game()
    pi_g, pi_l = any_pi_g(game, 3, 4, over="tuples"), deterministic_local(torch.tensor([[0, 1], [1, 0]]), 2)
    chain = chained_mdp(game, pi_g, 3, "tuple", "team", 6)
    returns = ChainSimulator(game, pi_g, 3, "tuple", "team", 6, episodes=20_000, seed=2).returns(pi_l)
    error = float(returns.std()) / len(returns) ** 0.5
    assert abs(float(returns.mean()) - chain.value(chain.spread(pi_l))) < 4 * error
    with pytest.raises(am.PolicyError, match="use form='tuple'"):
        ChainSimulator(game, pi_g, 3, "mean-field")


@pytest.mark.parametrize("actions", [torch.zeros(3), torch.zeros(3, dtype=torch.bool)])
def test_actions_of_another_type_are_refused(actions):
    with pytest.raises(am.ArgumentError, match="actions must be"):
        ChainSimulator(steer(), by_mode(steer(), 2), 2, "tuple", episodes=3).step(actions)
