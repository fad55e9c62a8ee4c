"""Agents of several types: one type and equal types are the plain game, nobody changes type, two speeds differ."""

import itertools
import math

import numpy as np
import pytest
import torch
from oracles import surrogate as oracles
from oracles.agents import assert_same_law, simulate

import altmarl_torch as am
from altmarl_torch.counts.factoring import factor_pairs, multiply_moves
from altmarl_torch.counts.kernels import dense_kernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.evaluation.rollouts import visits
from altmarl_torch.games import random_game, steer, two_speed_warehouse, warehouse
from altmarl_torch.games.reward_laws import DiscreteReward
from altmarl_torch.games.types import fold_types
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, WALKERS, constant_values, heuristic_pair, table
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.runs.cli.main import main
from altmarl_torch.runs.folder import open_run
from altmarl_torch.runs.plots import occupation_figure


def random_types():
    """Two random types of two states, with other starts, and rewards that depend on (e, x) alone."""
    first, second = (random_game(2, 2, 2, 2, seed=seed) for seed in (2, 3))
    reward = torch.tensor([[1.0, 3.0], [5.0, 2.0]], dtype=torch.float64)[:, :, None, None].expand(-1, -1, 2, 2)
    games = [
        first.replace(P_l=game.P_l, r_l=r_l, initial=am.InitialLaw([0.5, 0.5], mean))
        for game, r_l, mean in zip((first, second), reward, ([0.2, 0.8], [0.6, 0.4]), strict=True)
    ]
    return am.with_types(games, [0.4, 0.6])


def with_coin(table):
    """Steer, with rewards in `table` that are 0 or 1 by chance."""
    rewards = getattr(steer(), table)
    values = torch.tensor([0.0, 1.0]).expand(*rewards.shape, 2)
    return steer().replace(**{table: DiscreteReward(values, torch.full_like(values, 0.5))})


def mode_by_brute_force(game, k):
    """pi_g [sg, h, ag] on `oracles.count_vectors`: to the x of most agents, of whatever type."""
    most = [np.argmax(np.array(h).reshape(2, -1).sum(0)) % game.num_ag for h in oracles.count_vectors(k, game.num_sl)]
    return np.repeat(np.eye(game.num_ag)[most][None], game.num_sg, 0)


def doubled(game, weights=(0.3, 0.7)):
    return am.with_types([game] * len(weights), weights)


class TestTables:
    def test_the_index_of_a_pair_and_the_blocks(self):
        slow, fast = (random_game(2, 3, 2, 2, seed=seed) for seed in (0, 1))
        slow, fast = (game.replace(P_g=fast.P_g, r_g=fast.r_g) for game in (slow, fast))
        game = am.with_types([slow, fast], [0.25, 0.75])
        for (e, one), x, s_g, a in itertools.product(enumerate((slow, fast)), range(3), range(2), range(2)):
            law = game.P_l[3 * e + x, s_g, a]
            assert torch.equal(law[3 * e : 3 * e + 3], one.P_l[x, s_g, a])
            assert law.sum() == pytest.approx(1)
            assert game.r_l[3 * e + x, s_g, a] == one.r_l[x, s_g, a]
        assert torch.equal(game.initial.shares, torch.tensor([0.25, 0.75], dtype=torch.float64))
        assert game.num_types == 2

    def test_one_type_is_the_game(self):
        game = warehouse()
        same = am.with_types([game], [1.0])
        for name in ("P_g", "P_l", "r_g", "r_l"):
            assert torch.equal(getattr(same, name), getattr(game, name))
        assert torch.equal(same.initial.local_mean, game.initial.local_mean)
        assert am.solve(same, 5).value == am.solve(game, 5).value
        assert am.rollout(same, heuristic_pair(same, 5, "mode", "walk")).types is None

    def test_tables_next_to_a_base(self):
        game = steer()
        both = am.with_types([(game.P_l, game.r_l), (game.P_l, game.r_l + 1)], [0.5, 0.5], base=game)
        assert torch.equal(both.r_l[2:], game.r_l + 1)

    def test_a_law_of_r_g_stays_and_one_of_r_l_is_given_to_the_whole(self):
        assert doubled(with_coin("r_g")).r_g_law is not None
        both = doubled(steer().replace(r_g=torch.zeros(2, 2)))
        either = torch.stack([both.r_l - 1, both.r_l + 1], -1)
        drawn = both.replace(r_l=DiscreteReward(either, torch.full_like(either, 0.5)))
        found, expected = (am.rollout(game, heuristic_pair(game, 5, "mode", "walk")) for game in (drawn, both))
        assert (found.types.returns != expected.types.returns).all()
        assert ((found.types.mean - expected.types.mean).abs() < 5 * found.types.sem).all()
        assert torch.allclose((found.types.held * found.types.returns).sum(-1), found.returns)

    def test_types_that_start_elsewhere(self):
        starts = [steer().replace(initial=am.InitialLaw([0.5, 0.5], mean)) for mean in ([1.0, 0.0], [0.0, 1.0])]
        assert am.with_types(starts, [0.4, 0.6]).initial.local_mean.tolist() == [0.4, 0, 0, 0.6]

    def test_files_keep_types_and_older_files_have_one(self, tmp_path):
        game = two_speed_warehouse()
        game.save(tmp_path / "types.npz")
        again = am.Game.load(tmp_path / "types.npz")
        assert again.num_types == 2
        assert torch.equal(again.P_l, game.P_l)
        with np.load(tmp_path / "types.npz") as stored:
            entries = {name: stored[name] for name in stored.files if name != "initial_num_types"}
        del entries["sl_names"]  # which older files lack as well
        np.savez(tmp_path / "older.npz", **entries)
        assert am.Game.load(tmp_path / "older.npz").num_types == 1


class TestInitialLaw:
    @pytest.mark.parametrize("strength", [0.7, math.inf])
    @pytest.mark.parametrize("k", [1, 3])
    def test_the_law_of_the_counts_by_enumeration(self, strength, k):
        """Draw x of all agents together, then each one's type, over all k-tuples of (e, x)."""
        mean = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.0, 0.25], dtype=torch.float64)
        law = am.InitialLaw([1.0], mean, strength, num_types=2)
        of_x = am.InitialLaw([1.0], mean.view(2, 3).sum(0), strength)
        simplex = CountSimplex(k, 6)
        expected = torch.zeros(simplex.size, dtype=torch.float64)
        for states in itertools.product(range(6), repeat=k):
            places = np.bincount([state % 3 for state in states], minlength=3)
            ways = math.factorial(k) / math.prod(math.factorial(number) for number in places.tolist())
            chance = float(of_x.count_law(places)) / ways
            for state in states:
                chance *= float(mean[state] / mean.view(2, 3).sum(0)[state % 3])
            expected[simplex.rank(torch.tensor(np.bincount(states, minlength=6)))] += chance
        assert torch.allclose(law.count_law(simplex.counts), expected, atol=1e-14)
        assert expected.sum() == pytest.approx(1)

    def test_the_drawn_distributions_have_the_law_of_the_counts(self):
        law = am.InitialLaw([1.0], [0.2, 0.3, 0.1, 0.4], 1.5, num_types=2)
        mu = law.sample_mu(200_000, torch.Generator().manual_seed(0))
        assert torch.allclose(mu.sum(-1), torch.ones(len(mu), dtype=torch.float64))
        pairs = torch.einsum("bi,bj->ij", mu, mu) / len(mu)  # two agents in i and j
        simplex = CountSimplex(2, 4)
        chances = law.count_law(simplex.counts)
        for i, j in itertools.product(range(4), repeat=2):
            counts = torch.tensor(np.bincount([i, j], minlength=4))
            assert float(chances[simplex.rank(counts)]) / (1 if i == j else 2) == pytest.approx(
                float(pairs[i, j]), abs=2e-3
            )

    def test_alike_types_keep_their_shares_whatever_is_drawn(self):
        mu = two_speed_warehouse(share=0.3).initial.sample_mu(1000, torch.Generator().manual_seed(0))
        assert torch.allclose(mu.view(1000, 2, 3).sum(-1), torch.tensor([0.7, 0.3], dtype=torch.float64))


class TestEqualTypes:
    @pytest.mark.parametrize("game", [steer(), random_game(2, 3, 2, 2, seed=4), warehouse(num_zones=3)], ids=repr)
    def test_the_value_is_that_of_the_plain_game_and_the_policies_fold_onto_its(self, game):
        k = 3
        plain, typed = am.solve(game, k), am.solve(doubled(game), k)
        assert typed.value == pytest.approx(plain.value, rel=3e-7)  # the solver's proven error is 1e-7 of V_max
        assert torch.equal(typed.pi_l, plain.pi_l.repeat(2, 1, 1))
        folded = CountSimplex(k, game.num_sl).rank(fold_types(typed.simplex.counts, 2))
        assert torch.equal(typed.pi_g, plain.pi_g[:, folded])

    def test_n_agents_earn_as_much(self):
        game = warehouse()
        plain, typed = (
            am.rollout(one, heuristic_pair(one, 8, "sticky", "walk"), episodes=2000) for one in (game, doubled(game))
        )
        assert abs(plain.mean - typed.mean) < 4 * math.hypot(plain.sem, typed.sem)
        assert (typed.types.mean[0] - typed.types.mean[1]).abs() < 4 * typed.types.sem.max()

    def test_fixed_actions_are_worth_the_same(self):
        assert torch.allclose(constant_values(doubled(steer())), constant_values(steer()))

    @pytest.mark.parametrize("rule", RULES)
    def test_rules_look_at_the_sum_over_the_types(self, rule):
        game = warehouse()
        counts = torch.tensor([[3, 0, 2, 1, 0, 0, 4, 2, 0, 0]])
        laws = [
            RULES[rule](one)(torch.tensor([1]), c)
            for one, c in ((doubled(game), counts), (game, fold_types(counts, 2)))
        ]
        assert torch.equal(*laws)

    @pytest.mark.parametrize("walker", WALKERS)
    def test_walkers_of_each_type_are_those_of_the_game(self, walker):
        game = warehouse()
        assert torch.equal(WALKERS[walker](doubled(game)), WALKERS[walker](game).repeat(2, 1, 1))


@pytest.mark.parametrize("n", [50, 10**9])
def test_nobody_changes_type(n):
    game = two_speed_warehouse(n=n)
    _, counts = visits(game, heuristic_pair(game, 5, "mode", "walk"), episodes=20, horizon=30)
    of_type = counts.view(30, 20, 2, 3).sum(-1)
    assert (of_type == of_type[0]).all()


class TestReport:
    def test_the_types_returns_add_up_to_the_whole(self):
        game = two_speed_warehouse(share=0.3).replace(r_g=torch.zeros(3, 3))
        found = am.rollout(game, heuristic_pair(game, 5, "mode", "walk"), episodes=300)
        assert found.types.shares.tolist() == pytest.approx([0.7, 0.3], abs=0.01)
        assert float(found.types.mean @ found.types.shares) == pytest.approx(found.mean, rel=2e-3)
        assert torch.allclose(found.types.occupation.sum(-1), torch.ones(2, dtype=torch.float64))

    def test_one_agent_has_one_type(self):
        found = am.rollout(
            two_speed_warehouse(n=1), heuristic_pair(two_speed_warehouse(n=1), 1, "mode", "walk"), episodes=50
        )
        assert torch.isfinite(found.types.returns).all()
        assert ((found.types.returns > 0).sum(-1) == 1).all()

    def test_an_agent_counts_alike_in_whatever_episode_it_is(self):
        """Of five agents a tenth is slow: most episodes have none of them, which says nothing of what they earn."""
        game = two_speed_warehouse(share=0.1, n=5).replace(r_g=torch.zeros(3, 3))
        found = am.rollout(game, heuristic_pair(game, 3, "hold", "walk"), episodes=3000)
        many = am.rollout(game, heuristic_pair(game, 3, "hold", "walk"), episodes=3000, n=1000)
        assert (found.types.held[:, 1] == 0).double().mean() > 0.5
        assert float(found.types.mean @ found.types.shares) == pytest.approx(found.mean, rel=1e-12)
        assert ((found.types.mean - many.types.mean).abs() < 4 * (found.types.sem + many.types.sem)).all()

    @pytest.mark.parametrize("e", [0, 1])
    def test_a_type_s_return_is_what_the_system_earns_where_the_others_earn_nothing(self, e):
        game = two_speed_warehouse().replace(r_g=torch.zeros(3, 3))
        alone = game.r_l.clone().view(2, 3, 3, 3)
        alone[1 - e] = 0
        one = game.replace(r_l=alone.flatten(0, 1))
        types, returns = (
            am.rollout(this, heuristic_pair(game, 5, "mode", "walk"), episodes=50) for this in (game, one)
        )
        assert torch.allclose(types.types.held[:, e] * types.types.returns[:, e], returns.returns, rtol=1e-12)

    def test_the_choice_hits_a_mode_of_all_types_together(self):
        game = two_speed_warehouse()
        found = am.rollout(game, heuristic_pair(game, game.n, "mode", "walk"), episodes=5)
        assert found.mode_accuracy == 1.0
        assert torch.equal(found.trace.mode, found.trace.a_g)
        assert (found.trace.mode < 3).all()

    def test_figures_have_a_band_for_each_type(self):
        game = two_speed_warehouse()
        figure = occupation_figure(am.rollout(game, heuristic_pair(game, 5, "mode", "walk"), episodes=5))
        (axes, _) = figure.axes
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == [f"type {e}: zone {x}" for e in range(2) for x in range(3)]
        assert len(figure.legends[0].get_texts()) == 2

    def test_a_run_prints_and_keeps_them(self, tmp_path, capsys):
        options = f"--k 3 --solver tabular --episodes 20 --horizon 20 --certify never --quiet --runs-dir {tmp_path}"
        assert main(["train", "--game", "two_speed_warehouse", *options.split()]) == 0
        table = capsys.readouterr().out.partition("local reward per agent of each type")[2].splitlines()
        (folder,) = tmp_path.iterdir()
        run = open_run(folder)
        types = run.summary["types"]
        assert [line.split()[0] for line in table[2:4]] == ["0", "1"]
        assert [line.split()[2] for line in table[2:4]] == [f"{one['return_mean']:.3f}" for one in types]
        assert [set(one) for one in types] == [{"share", "return_mean", "return_sem", "occupation"}] * 2
        assert run.game.num_types == 2


class TestAgainstOneByOne:
    def test_the_value_of_a_pair(self):
        game, k = random_types(), 2
        pi_l, pi_g = uniform_local(game), mode_by_brute_force(game, k)
        found = am.joint_value(Surrogate.build(game, pi_l, PairPlan(CountSimplex(k, 4))), torch.from_numpy(pi_g))
        assert torch.allclose(found.values, torch.from_numpy(oracles.joint_value(game, pi_g, pi_l, k)))
        assert torch.equal(table(game, RULES["mode"](game), CountSimplex(k, 4)), torch.from_numpy(pi_g))

    def test_the_returns_of_each_type(self):
        game = random_types()
        pair = heuristic_pair(game, 3, "mode", "uniform")
        found = am.rollout(game, pair, episodes=3000, horizon=12, n=6)
        law = lambda s_g, counts: pair.rule(torch.from_numpy(s_g), torch.from_numpy(counts)).numpy()  # noqa: E731
        each = simulate(game, law, pair.pi_l, k=3, n=6, episodes=3000, horizon=12, seed=1)
        of_type = each.counts.reshape(3000, 12, 2, 2)
        assert (of_type.sum(-1) == of_type[:, :1].sum(-1)).all()
        earned = np.einsum("etkx,kx,t->ek", of_type, game.r_l[:, 0, 0].view(2, 2), game.gamma ** np.arange(12))
        expected = earned.sum(0) / of_type[:, 0].sum(-1).sum(0)
        assert ((found.types.mean - torch.from_numpy(expected)).abs() < 6 * found.types.sem).all()
        assert_same_law(of_type[:, 0].sum(-1), (6 * found.types.held).round().numpy().astype(int))


class TestKernels:
    def test_no_move_leads_from_type_to_type(self):
        game = two_speed_warehouse(num_zones=5)
        P = game.induced(WALKERS["walk"](game)).P_l_pi[:, 0]
        moves = factor_pairs(P, 10)
        assert len(moves.pairs) == 2 * 10
        assert all((i < 5) == (j < 5) for i, j in moves.pairs)
        assert torch.allclose(multiply_moves(10, moves.pairs, moves.chances)[0][-1], P, atol=1e-13)

    @pytest.mark.parametrize("order", [[0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5], [4, 1, 5, 3, 0, 2]])
    def test_moves_within_blocks_are_the_whole_kernel_wherever_the_blocks_lie(self, order):
        game = two_speed_warehouse()
        P = game.induced(WALKERS["walk"](game)).P_l_pi[:, 1][order][:, order]
        kernel = am.CountKernel(P, 6)
        assert kernel.form == "pair moves"
        values = torch.rand(kernel.simplex.size, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        dense = dense_kernel(P, kernel.simplex)
        assert torch.allclose(kernel.expect(values), dense @ values, atol=1e-13)
        assert torch.allclose(kernel.push(values), dense.T @ values, atol=1e-13)

    def test_agents_that_never_move_need_no_moves(self):
        kernel = am.CountKernel(torch.eye(4), 10)
        values = torch.arange(float(kernel.simplex.size))
        assert torch.equal(kernel.expect(values), values)


class TestTwoSpeeds:
    @staticmethod
    def returns(**changes):
        game = two_speed_warehouse(**changes)
        return am.rollout(game, heuristic_pair(game, 8, "hold", "walk"), episodes=2000)

    def test_fast_robots_earn_more(self):
        types = self.returns().types
        assert types.mean[0] - types.mean[1] > 10 * types.sem.max()

    def test_slower_ones_and_more_of_them_earn_less(self):
        for changes in (
            [{"speed": speed} for speed in (1.0, 0.5, 0.25, 0.0)],
            [{"share": share} for share in (0.1, 0.5, 0.9)],
        ):
            means = [self.returns(**change).mean for change in changes]
            assert means == sorted(means, reverse=True)

    def test_equal_speeds_are_the_plain_warehouse(self):
        plain, typed = am.solve(warehouse(num_zones=3), 6), am.solve(two_speed_warehouse(speed=1.0), 6)
        assert typed.value == pytest.approx(plain.value, rel=3e-7)  # the solver's proven error is 1e-7 of V_max

    def test_the_learned_value_lies_between_all_slow_and_all_fast(self):
        fast = warehouse(num_zones=3)
        slow = fast.replace(P_l=0.25 * fast.P_l + 0.75 * fast.P_l[:, :, :1])
        low, middle, high = (am.solve(game, 8) for game in (slow, two_speed_warehouse(), fast))
        low, middle, high = (
            am.rollout(game, pair, episodes=1000).mean
            for game, pair in ((slow, low), (two_speed_warehouse(), middle), (fast, high))
        )
        assert low < middle < high


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: am.with_types([], []), ArgumentError, "types must be a list of games"),
        (lambda: am.with_types(steer(), [1]), ArgumentError, "types must be a list of games"),
        (lambda: am.with_types([steer(), 5], [0.5, 0.5]), ArgumentError, "game must be a Game, not int"),
        (lambda: am.with_types([steer()] * 2, [1.0]), ArgumentError, "there are 2 types, but 1 weights"),
        (lambda: am.with_types([steer()] * 2, [0.5, 0.6]), ArgumentError, "weights sums to 1.1"),
        (lambda: am.with_types([steer()] * 2, [1.0, 0.0]), GameError, r"share\[type=1\] is 0; every type has some"),
        (
            lambda: am.with_types([steer(), steer(n=7)], [0.5, 0.5]),
            ArgumentError,
            "type 1 differs from type 0 in n: 7 and",
        ),
        (lambda: am.with_types([steer(), steer(gamma=0.5)], [0.5, 0.5]), ArgumentError, "differs from type 0 in gamma"),
        (
            lambda: am.with_types([steer(), steer().replace(r_g=torch.zeros(2, 2))], [0.5, 0.5]),
            ArgumentError,
            "type 1 differs from type 0 in r_g, which is the global agent's",
        ),
        (lambda: am.with_types([doubled(steer())], [1.0]), ArgumentError, "has 2 types already"),
        (lambda: am.with_types([with_coin("r_l")], [1.0]), ArgumentError, "has a law of r_l; give types with replace"),
        (lambda: am.with_types([steer(), with_coin("r_g")], [0.5, 0.5]), ArgumentError, "type 0 in the law of r_g"),
        (lambda: am.with_types([steer()], [1.0], base=steer()), ArgumentError, r"every type is a pair \(P_l, r_l\)"),
        (
            lambda: am.InitialLaw([1.0], [0.5, 0.5, 0.0], num_types=2),
            GameError,
            "3 local states do not fall into 2 types",
        ),
        (
            lambda: steer().replace(initial=am.InitialLaw([0.5, 0.5], [0.5, 0.5], num_types=2)),
            GameError,
            r"P_l\[sl=0, sg=0, al=0, sl'=1\] is .*an agent's type never changes",
        ),
        (lambda: two_speed_warehouse(speed=2), ArgumentError, r"speed must be a number in \[0, 1\], not 2"),
        (lambda: two_speed_warehouse(share=0), ArgumentError, r"share must be a number in \(0, 1\), not 0"),
    ],
)
def test_what_is_wrong_is_said(call, error, message):
    with pytest.raises(error, match=message):
        call()
