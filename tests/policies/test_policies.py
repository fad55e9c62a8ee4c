"""Tables, greedy laws, dispatchers and the policies that need no learning."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.games import beacon, hash_game, random_game, warehouse
from altmarl_torch.policies.base import Sight, cumulative, draw, player
from altmarl_torch.policies.rules import (
    RULES,
    WALKERS,
    RuleDispatcher,
    constant_pair,
    constant_values,
    heuristic_pair,
    heuristic_pairs,
    table,
)
from altmarl_torch.policies.tabular import (
    TabularDispatcher,
    TabularPair,
    check_pi_g,
    check_pi_l,
    deterministic_local,
    greedy,
    greedy_actions,
    uniform_global,
    uniform_local,
)


def test_greedy_is_the_argmax_as_a_law():
    Q = torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 2.0]], dtype=torch.float64)
    assert greedy(Q).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert greedy(Q).dtype == torch.float64


def test_greedy_takes_the_smallest_index_among_values_that_differ_by_rounding():
    Q = torch.tensor([[1.0, 1.0 + 1e-12], [1.0, 1.0 + 1e-8], [0.0, 1.0]], dtype=torch.float64)
    assert greedy_actions(Q).tolist() == [0, 1, 1]
    assert greedy_actions(1e6 * Q).tolist() == [0, 1, 1]  # the tolerance grows with the span


@given(st.lists(st.integers(-3, 3), min_size=2, max_size=6), st.integers(0, 2**31))
@settings(max_examples=50, deadline=None)
def test_greedy_survives_rounding_noise(values, seed):
    Q = torch.tensor([values, [0.0] * (len(values) - 1) + [1.0]], dtype=torch.float64)  # values lie 1 apart at least
    noise = 1e-13 * torch.rand(Q.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    wanted = [values.index(max(values)), len(values) - 1]
    assert greedy_actions(Q).tolist() == greedy_actions(Q + noise).tolist() == wanted


def test_greedy_refuses_undefined_values():
    with pytest.raises(ArgumentError, match="finite"):
        greedy(torch.tensor([0.0, float("nan")]))


def test_uniform_and_deterministic_tables_are_policies():
    game, simplex = hash_game(3, 2, 4, 2), CountSimplex(3, 2)
    assert check_pi_g(game, uniform_global(game, simplex), simplex).unique().tolist() == [0.25]
    assert check_pi_l(game, uniform_local(game)).unique().tolist() == [0.5]
    actions = torch.tensor([[0, 1, 1], [1, 0, 1]])  # [sl, sg]
    pi_l = check_pi_l(game, deterministic_local(actions, game.num_al))
    assert pi_l.argmax(-1).tolist() == actions.tolist()


def test_checks_name_the_row_and_its_sum():
    game, simplex = hash_game(), CountSimplex(2, 2)
    pi_l = uniform_local(game)
    pi_l[1, 0, 1] = 0.7
    with pytest.raises(PolicyError, match=r"pi_l\[sl=1, sg=0\] sums to 1\.2"):
        check_pi_l(game, pi_l)
    pi_g = uniform_global(game, simplex)
    pi_g[0, 2] = torch.tensor([1.5, -0.5])
    with pytest.raises(PolicyError, match=r"pi_g\[sg=0, h=2, ag=1\] is -0\.5"):
        check_pi_g(game, pi_g, simplex)
    with pytest.raises(PolicyError, match=r"pi_g \[sg, h, ag\] must have shape \[2, 3, 2\], not \[2, 4, 2\]"):
        check_pi_g(game, uniform_global(game, CountSimplex(3, 2)), simplex)
    with pytest.raises(PolicyError, match=r"0\.\.1; got 0\.\.2"):
        deterministic_local(torch.tensor([[0, 2]]), 2)


def test_draw_follows_the_law_and_never_takes_an_impossible_action():
    law = torch.tensor([0.0, 0.3, 0.0, 0.7, 0.0], dtype=torch.float64)
    drawn = draw(cumulative(law).expand(20_000, -1), torch.Generator().manual_seed(0))
    share = torch.bincount(drawn, minlength=5) / 20_000
    assert share[[0, 2, 4]].tolist() == [0, 0, 0]
    assert abs(float(share[1]) - 0.3) < 4 * (0.21 / 20_000) ** 0.5


def test_cumulative_ends_at_one_although_the_sum_is_rounded():
    law = torch.full((11,), 0.1, dtype=torch.float64)
    law[-1] = 0.0  # ten times 0.1 sums to less than 1, and the last action is impossible
    assert cumulative(law)[9:].tolist() == [1.0, 1.0]


def test_a_deterministic_table_is_played_as_it_stands():
    simplex = CountSimplex(3, 3)
    game = hash_game(2, 3, 3, 2)
    pi_g = greedy(torch.rand(2, simplex.size, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    dispatcher = TabularPair(pi_g, uniform_local(game), simplex).dispatcher()
    for s_g in range(2):
        played = dispatcher.act(torch.full((simplex.size,), s_g), simplex.counts)
        assert played.tolist() == pi_g[s_g].argmax(-1).tolist()


def test_a_stochastic_table_is_played_with_its_probabilities_and_repeats_with_its_seed():
    simplex = CountSimplex(2, 2)
    pi_g = torch.tensor([[[0.2, 0.8], [0.5, 0.5], [1.0, 0.0]]], dtype=torch.float64)
    s_g, counts = torch.zeros(30_000, dtype=torch.int64), simplex.counts.repeat(10_000, 1)
    first, again = (TabularDispatcher(pi_g, simplex, seed=5).act(s_g, counts) for _ in range(2))
    assert torch.equal(first, again)
    share = first.view(10_000, 3).double().mean(0)
    assert torch.allclose(share, pi_g[0, :, 1], atol=4 * 0.5 / 100)
    assert share[2] == 0


def test_a_dispatcher_refuses_a_table_of_another_simplex():
    with pytest.raises(PolicyError, match=r"\[2, 3, 2\], not \[2, 4, 2\]"):
        TabularDispatcher(uniform_global(hash_game(), CountSimplex(3, 2)), CountSimplex(2, 2))


def test_mode_goes_to_the_most_frequent_state_ties_to_the_smallest_modulo_the_actions():
    game, simplex = random_game(2, 4, 3, 2), CountSimplex(3, 4)
    pi_g = table(game, RULES["mode"](game), simplex)
    for h, counts in enumerate(simplex.counts.tolist()):
        assert pi_g[:, h].argmax(-1).tolist() == [counts.index(max(counts)) % 3] * 2


def test_hold_takes_the_action_that_keeps_the_state():
    assert table(warehouse(), RULES["hold"](warehouse()), CountSimplex(1, 5)).argmax(-1)[:, 0].tolist() == [*range(5)]
    game = random_game(4, 2, 3, 2, seed=3)
    kept = [[float(game.P_g[s, a, s]) for a in range(3)] for s in range(4)]
    pi_g = table(game, RULES["hold"](game), CountSimplex(2, 2))
    assert pi_g.argmax(-1)[:, 1].tolist() == [row.index(max(row)) for row in kept]


@pytest.mark.parametrize("game", [warehouse(), random_game(4, 3, 2, 2, seed=5), random_game(2, 4, 3, 2, seed=6)])
def test_sticky_holds_until_the_mode_is_twice_as_large_as_where_it_stands(game):
    simplex = CountSimplex(6, game.num_sl)
    sticky, hold, mode = (table(game, RULES[name](game), simplex) for name in ("sticky", "hold", "mode"))
    for s_g, (h, counts) in itertools.product(range(game.num_sg), enumerate(simplex.counts.tolist())):
        follows = max(counts) >= 2 * counts[s_g % game.num_sl]
        assert sticky[s_g, h].tolist() == (mode if follows else hold)[s_g, h].tolist()


def test_sticky_at_the_threshold():
    sticky = RULES["sticky"](warehouse())
    counts = torch.tensor([[3, 5, 0, 0, 0], [3, 6, 0, 0, 0], [0, 1, 1, 0, 0], [9, 0, 0, 0, 0]])
    assert sticky(torch.zeros(4, dtype=torch.int64), counts).argmax(-1).tolist() == [0, 1, 1, 0]


def test_sticky_is_mode_where_one_agent_is_seen():
    game, simplex = warehouse(), CountSimplex(1, 5)
    assert torch.equal(*(table(game, RULES[name](game), simplex) for name in ("sticky", "mode")))


@pytest.mark.parametrize("name", RULES)
def test_every_rule_is_a_law_on_any_simplex_and_plays_its_table(name):
    game, simplex = random_game(3, 2, 4, 2), CountSimplex(5, 2)
    pi_g = check_pi_g(game, table(game, RULES[name](game), simplex), simplex)
    s_g = torch.arange(3).repeat_interleave(simplex.size)
    played = RuleDispatcher(RULES[name](game), Sight(5, 3, 2, game.device), seed=2).act(
        s_g, simplex.counts.repeat(3, 1)
    )
    assert (pi_g.flatten(0, 1).gather(1, played[:, None]) > 0).all()


@pytest.mark.parametrize("name", WALKERS)
def test_every_walker_is_a_local_policy(name):
    for game in (warehouse(), random_game(3, 2, 2, 4), random_game(2, 4, 2, 1), beacon()):
        check_pi_l(game, WALKERS[name](game))


def test_walk_goes_the_shorter_way_round_the_warehouse_and_stays():
    stay, up, down = 0, 1, 2
    for num_zones in (5, 7):
        actions = WALKERS["walk"](warehouse(num_zones=num_zones)).argmax(-1)
        for z, s in itertools.product(range(num_zones), repeat=2):
            way_up = (s - z) % num_zones
            assert actions[z, s] == (stay if z == s else up if way_up <= num_zones // 2 else down)


def test_walk_maximises_the_discounted_time_at_the_target():
    game = random_game(2, 3, 2, 3, seed=7)
    P, walk = game.P_l.numpy(), WALKERS["walk"](game).argmax(-1).numpy()
    for s in range(2):
        goal = np.eye(3)[s % 3]

        def time_at_target(actions, s=s, goal=goal):
            moves = P[np.arange(3), s, list(actions)]
            return np.linalg.solve(np.eye(3) - game.gamma * moves, goal)

        best = np.max([time_at_target(actions) for actions in itertools.product(range(3), repeat=3)], axis=0)
        np.testing.assert_allclose(time_at_target(walk[:, s]), best, rtol=1e-12)


def test_stay_and_greedy_read_their_tables():
    game = random_game(2, 3, 2, 3, seed=4)
    stay, rewarding = (WALKERS[name](game).argmax(-1) for name in ("stay", "greedy"))
    for z, s in itertools.product(range(3), range(2)):
        assert stay[z, s] == game.P_l[z, s, :, z].argmax()
        assert rewarding[z, s] == game.r_l[z, s].argmax()


def test_heuristic_pairs_are_named_and_carry_k():
    pairs = heuristic_pairs(warehouse(), 7)
    assert list(pairs) == ["uniform + uniform", "hold + walk", "mode + walk", "sticky + walk", "constant + constant"]
    assert all(pair.k == 7 and pair.name == name for name, pair in pairs.items())


@pytest.mark.parametrize("seed", range(3))
def test_the_best_fixed_actions_are_found_by_their_exact_values(seed):
    """The chain (s_g, s_l) of one agent, solved as a linear system for each pair of actions."""
    game = random_game(3, 2, 4, 3, seed=seed)
    start = torch.outer(game.initial.sg, game.initial.local_mean).flatten()
    values = torch.zeros(game.num_ag, game.num_al, dtype=torch.float64)
    for a, b in itertools.product(range(game.num_ag), range(game.num_al)):
        moves = torch.einsum("gG,lgL->glGL", game.P_g[:, a], game.P_l[:, :, b]).flatten(2).flatten(0, 1)
        reward = (game.r_g[:, a, None] + game.r_l[:, :, b].T).flatten()
        system = torch.eye(len(moves), dtype=torch.float64) - game.gamma * moves
        values[a, b] = start @ torch.linalg.solve(system, reward)
    assert torch.allclose(constant_values(game), values, rtol=2e-4)
    best = constant_pair(game, 2)
    actions = torch.unravel_index(values.argmax(), values.shape)
    assert best.dispatcher().act([0, 1], [[2, 0], [1, 1]]).tolist() == [int(actions[0])] * 2
    assert (best.pi_l.argmax(-1) == actions[1]).all()
    assert best.pi_l.sum(-1).eq(1).all()


def test_fixed_actions_can_be_named():
    pair = constant_pair(warehouse(), 5, (3, 1))
    assert pair.name == "constant 3 + constant 1"
    assert pair.dispatcher().act([0], [[5, 0, 0, 0, 0]]).tolist() == [3]
    with pytest.raises(ArgumentError, match=r"a_l must be an integer in 0\.\.2, not 3"):
        constant_pair(warehouse(), 5, (0, 3))


def test_a_wrong_name_or_k_is_refused_with_what_would_be_right():
    with pytest.raises(ArgumentError, match="rules are uniform, hold, greedy, mode, sticky;"):
        heuristic_pair(warehouse(), 5, "mod", "walk")
    with pytest.raises(ArgumentError, match="k must be"):
        heuristic_pair(warehouse(n=10), 11, "mode", "walk")


def test_two_dispatchers_share_no_random_stream():
    game = random_game(2, 2, 5, 2)
    pair = heuristic_pair(game, 3, "uniform", "uniform")
    s_g, counts = torch.zeros(50, dtype=torch.int64), torch.tensor([[1, 2]]).expand(50, -1)
    first, second, other = pair.dispatcher(1), pair.dispatcher(1), pair.dispatcher(2)
    state = torch.get_rng_state()
    first_draws = first.act(s_g, counts)
    assert torch.equal(first_draws, second.act(s_g, counts))
    assert not torch.equal(first_draws, other.act(s_g, counts))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("kind", ["table", "rule"])
class TestWhatADispatcherIsShown:
    @pytest.fixture
    def dispatcher(self, kind):
        game, simplex = hash_game(2, 3, 3, 2), CountSimplex(2, 3)
        pi_g = table(game, RULES["mode"](game), simplex)
        pairs = {
            "table": TabularPair(pi_g, uniform_local(game), simplex),
            "rule": heuristic_pair(game, 2, "mode", "stay"),
        }
        return pairs[kind].dispatcher()

    @pytest.mark.parametrize(
        "read", [list, np.array, torch.tensor, lambda rows: torch.tensor(rows, dtype=torch.float32)]
    )
    def test_lists_arrays_and_whole_floats_are_read(self, dispatcher, read):
        assert dispatcher.act(read([0, 1]), read([[0, 2, 0], [0, 0, 2]])).tolist() == [1, 2]

    @pytest.mark.parametrize(
        ("s_g", "counts", "message"),
        [
            ([0, 1], [[1, 1, 0], [1, 1, 1]], r"counts\[batch=1\] sums to 3; at most k = 2 sampled agents answer"),
            ([0, 1], [[1, 1, 0], [3, -1, 0]], r"counts\[batch=1, sl=1\] is -1; every entry must be a whole number"),
            ([0, 1], [[1, 1, 0], [0.5, 1.5, 0]], r"counts\[batch=1, sl=0\] is 0\.5"),
            ([0, 1], [[1, 1], [1, 1]], r"counts must have shape \[batch, sl\] = \[2, 3\], not \[2, 2\]"),
            ([0], [[1, 1, 0], [1, 1, 0]], r"= \[1, 3\], not \[2, 3\]"),
            ([0, 2], [[1, 1, 0], [1, 1, 0]], r"s_g\[batch=1\] is 2; global states are 0\.\.1"),
            ([0, -1], [[1, 1, 0], [1, 1, 0]], r"s_g\[batch=1\] is -1"),
            ([0, float("nan")], [[1, 1, 0], [1, 1, 0]], r"s_g\[batch=1\] is nan"),
            (["a"], [[1, 1, 0]], "s_g holds"),
            (0, [[1, 1, 0]], "s_g is of one system: its counts are a row"),
            (torch.tensor(0.5), [1, 1, 0], r"s_g\[batch=0\] is 0\.5"),
            ([[0]], [[1, 1, 0]], "s_g has shape"),
        ],
    )
    def test_all_else_is_refused_with_the_row_and_its_value(self, dispatcher, s_g, counts, message):
        with pytest.raises(ArgumentError, match=message):
            dispatcher.act(s_g, counts)


@pytest.mark.parametrize("seed", ["a", None, -1, 2**70])
def test_a_dispatchers_seed_is_checked(seed):
    game, simplex = hash_game(), CountSimplex(2, 2)
    learned = TabularPair(uniform_global(game, simplex), uniform_local(game), simplex)
    for pair in (learned, heuristic_pair(game, 2, "hold", "stay")):
        with pytest.raises(ArgumentError, match="seed must be an integer in"):
            pair.dispatcher(seed)


class TestCertainActions:
    """What is certain is not drawn: the same actions as a draw from the one-hot law, and the generator is not asked."""

    @pytest.mark.parametrize("name", ["hold", "mode", "sticky"])
    def test_a_rule_chooses_what_its_law_says(self, name):
        game = warehouse()
        simplex = CountSimplex(3, 5)
        rule = RULES[name](game)
        s_g = torch.arange(5).repeat_interleave(simplex.size)
        counts = simplex.counts.repeat(5, 1)
        drawn = draw(cumulative(rule(s_g, counts)), torch.Generator().manual_seed(1))
        assert torch.equal(rule.choose(s_g, counts), drawn)
        generator = torch.Generator().manual_seed(2)
        before = generator.get_state()
        assert torch.equal(player(rule)(s_g, counts, generator), drawn)
        assert torch.equal(generator.get_state(), before)

    def test_a_network_is_played_from_its_table_where_there_is_one(self):
        game = am.games.steer()
        solution = am.solve(game, 2, solver="neural", steps=1)
        counts = solution.simplex.counts.repeat(game.num_sg, 1)
        s_g = torch.arange(game.num_sg).repeat_interleave(solution.simplex.size)
        assert torch.equal(solution.dispatcher().act(s_g, counts), solution.policy.choose(s_g, counts))


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32, torch.float64])
def test_numbers_of_any_type_are_read_alike_and_integers_are_not_copied(dtype):
    sight = Sight(3, 2, 2, torch.device("cpu"))
    s_g, counts = torch.tensor([0, 1], dtype=dtype), torch.tensor([[3, 0], [1, 2]], dtype=dtype)
    states, h = sight.read(s_g, counts)
    assert states.tolist() == [0, 1]
    assert h.tolist() == [[3, 0], [1, 2]]
    assert states.dtype == h.dtype == torch.int64
    assert (h.data_ptr() == counts.data_ptr()) == (dtype is torch.int64)
