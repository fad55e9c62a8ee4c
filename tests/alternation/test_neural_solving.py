"""`solve` with networks from end to end: as good as the tables, reproducible, and stored with or without a table."""

import contextlib
import functools
import json
import math

import numpy as np
import pytest
import torch
from oracles.games import DEGENERATE
from oracles.networks import Own, same
from oracles.neural import cut_short, drawn, exact_mean, seeded, small_batches
from torch import nn

import altmarl_torch as am
from altmarl_torch.alternation import solution_files
from altmarl_torch.games import beacon, hash_game, random_game, steer
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, UniformPolicy
from altmarl_torch.operators.joint_value import value_span
from altmarl_torch.policies.tabular import uniform_local

LAZY = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, gamma=0.9, laziness=0.7, seed=5)
SOLVED = {
    "steer": (steer(), 3),
    "hash": (hash_game(), 4),
    "hash, drawn": (hash_game(), 4),
    "beacon": (beacon(num_zones=2), 3),
    "random": (LAZY, 4),
}
NAMES = pytest.mark.parametrize("name", SOLVED)
MANY_STATES = random_game(num_sg=3, num_sl=20, num_ag=3, num_al=2, gamma=0.9, seed=1)
OWN = random_game(num_sg=3, num_sl=4, num_ag=2, num_al=2, gamma=0.8, seed=2)
"""A game of the sizes of `count_networks.Own`."""


def small_network(game, seed=0):
    return CountNetwork(game.num_sl, game.num_sg, game.num_ag, width=32, generator=seeded(seed))


def neural(game, k, **options):
    """A solution by a small network in two steps, unless told otherwise."""
    return am.solve(game, k, solver="neural", **{"steps": 2, "network": small_network(game)} | options)


@pytest.fixture(scope="module")
def solved():
    """One solution by game, each found once, with batches of a quarter of the usual size."""

    @functools.cache
    def find(name):
        with small_batches(), drawn() if "drawn" in name else contextlib.nullcontext():
            return neural(*SOLVED[name], steps=1 if "hash" in name else 2)

    return find


@functools.cache
def tabular(name):
    return am.solve(*SOLVED[name], solver="tabular")


@pytest.fixture
def hasty():
    with cut_short():
        yield


# ---- what is learned


@NAMES
def test_the_pair_is_worth_what_the_tabular_one_is(solved, name):
    """Its exact joint value is within 0.5 % of the exact solver's; what was measured is near both."""
    (game, k), solution = SOLVED[name], solved(name)
    value = exact_mean(game, solution.pi_g, solution.pi_l, k)
    assert value >= 0.995 * tabular(name).value
    assert solution.value == pytest.approx(value, rel=0.005)
    assert value > 1.05 * exact_mean(game, torch.full_like(solution.pi_g, 1 / game.num_ag), uniform_local(game), k)


@NAMES
def test_the_pair_is_an_equilibrium(solved, name):
    """Exactly: neither player gains more than 1 % of the value."""
    (game, _), solution = SOLVED[name], solved(name)
    assert am.certify(game, solution).nash_gap <= 0.01 * abs(solution.value)


def test_the_beacon_stands_still_and_agents_walk(solved):
    solution = solved("beacon")
    assert solution.pi_g.argmax(-1).tolist() == [[s_g] * 4 for s_g in range(2)]
    away = ~torch.eye(2, dtype=torch.bool)
    assert (solution.pi_l.argmax(-1)[away] == 1).all()


@NAMES
def test_the_record_is_that_of_the_run(solved, name):
    (game, k), solution = SOLVED[name], solved(name)
    assert (solution.solver, solution.k, solution.game_name, solution.seed) == ("neural", k, game.name, 0)
    assert isinstance(solution.policy, NetworkPolicy)
    assert solution.history[-1].value == solution.value
    for update in solution.history:
        measured = "drawn" in name and update.value_proposed != update.value_before
        assert (update.standard_error > 0) == measured
        assert update.error <= 2e-5 * game.v_max
        assert update.eta >= 1e-3 * value_span(game)
        assert update.sweeps >= update.details[f"{'g' if update.player == 'global' else 'l'}_learn/steps"]
        assert all(math.isfinite(number) for number in update.details.values())
    adopted = [update.value_before for update in solution.history] + [solution.value]
    assert adopted == sorted(adopted)


@NAMES
def test_the_dispatcher_plays_the_table(solved, name):
    solution = solved(name)
    counts, dispatcher = solution.simplex.counts, solution.dispatcher()
    dispatcher.reset(len(counts))
    for s_g, rows in enumerate(solution.pi_g):
        played = dispatcher.act(torch.full((len(counts),), s_g), counts)
        assert torch.equal(rows, torch.nn.functional.one_hot(played, rows.shape[-1]).double())


def test_the_population_is_played_at_no_cost(solved):
    game, solution = SOLVED["steer"][0], solved("steer")
    learned = am.rollout(game, solution, n=10**6, episodes=200, horizon=30, seed=1)
    other = am.rollout(game, tabular("steer"), n=10**6, episodes=200, horizon=30, seed=1)
    assert learned.mean == pytest.approx(other.mean, abs=4 * (learned.sem + other.sem))


@pytest.mark.parametrize(
    "options", [{"l_learner": "neural"}, {"accept": "all-states"}, {"m": 4, "eta": 0.0, "seed": 3}], ids=str
)
def test_every_option_ends_at_the_optimum_of_steer(options):
    game, k = SOLVED["steer"]
    with small_batches():
        solution = neural(game, k, steps=1, **options)
    assert exact_mean(game, solution.pi_g, solution.pi_l, k) >= 0.995 * tabular("steer").value


def test_agents_that_play_for_themselves_learn_what_the_tabular_ones_do():
    game, k = SOLVED["steer"]
    with small_batches():
        solution = neural(game, k, objective="own", steps=1)
    expected = am.solve(game, k, solver="tabular", objective="own", steps=1)
    own = game.replace(r_g=torch.zeros(2, 2))
    reached, best = (exact_mean(own, pair.pi_g, pair.pi_l, k) for pair in (solution, expected))
    assert reached == pytest.approx(best, rel=0.005)
    assert exact_mean(game, solution.pi_g, solution.pi_l, k) == pytest.approx(expected.value, rel=0.005)


def test_the_papers_eta_returns_the_uniform_start(hasty, tmp_path):
    solution = neural(*SOLVED["hash"], eta="paper")
    assert isinstance(solution.policy, UniformPolicy)
    assert torch.equal(solution.pi_l, uniform_local(SOLVED["hash"][0]))
    solution.save(tmp_path / "policy.npz")
    loaded = am.Solution.load(tmp_path / "policy.npz")
    assert (loaded.pi_g == 0.5).all()
    assert isinstance(loaded.policy, UniformPolicy)
    assert am.rollout(SOLVED["hash"][0], loaded, episodes=5, horizon=5).returns.isfinite().all()


# ---- seeds, files, interrupts


def test_equal_seeds_give_equal_files_and_others_do_not(hasty, tmp_path):
    game, k = SOLVED["random"]
    for name, seed in (("one", 7), ("two", 7), ("other", 8)):
        neural(game, k, steps=1, seed=seed).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


def assert_same_play(one, two, game):
    """Both dispatchers answer alike in a thousand random situations."""
    counts = torch.distributions.Multinomial(one.k, torch.ones(game.num_sl)).sample((1000,)).long()
    s_g = torch.arange(1000) % game.num_sg
    played = []
    for solution in (one, two):
        dispatcher = solution.dispatcher()
        dispatcher.reset(1000)
        played.append(dispatcher.act(s_g, counts))
    assert torch.equal(*played)
    assert len(played[0].unique()) > 1


def assert_same_solution(one, two):
    for name in ("k", "value", "eta", "eta_paper", "converged", "solver", "seed", "game_name", "interrupted"):
        assert getattr(one, name) == getattr(two, name), name
    assert torch.equal(one.pi_l, two.pi_l)
    assert [update.details for update in one.history] == [update.details for update in two.history]
    assert [update.standard_error for update in one.history] == [update.standard_error for update in two.history]


@NAMES
def test_a_solution_comes_back_from_its_file(solved, name, tmp_path):
    solution = solved(name)
    solution.save(tmp_path / "policy.npz")
    loaded = am.Solution.load(tmp_path / "policy.npz")
    assert_same_solution(loaded, solution)
    assert torch.equal(loaded.pi_g, solution.pi_g)
    assert same(loaded.policy.network, solution.policy.network)
    counts = solution.simplex.counts
    assert torch.equal(loaded.policy.laws(counts), solution.policy.laws(counts))


def test_the_file_carries_the_table_for_readers_without_a_network(solved, tmp_path):
    solution = solved("hash")
    solution.save(tmp_path / "policy.npz")
    with np.load(tmp_path / "policy.npz", allow_pickle=False) as archive:
        assert archive["counts"].tolist() == solution.simplex.counts.tolist()
        assert archive["pi_g"].tolist() == solution.pi_g.tolist()
        assert json.loads(str(archive["policy/spec"]))["family"] == "greedy"
        assert json.loads(str(archive["network/spec"]))["family"] == "CountNetwork"


class TestTooManyCounts:
    """20 local states, k = 30: 2.8e13 count vectors, and no table."""

    @pytest.fixture(scope="class")
    @classmethod
    def solution(cls):
        with cut_short():
            return neural(MANY_STATES, 30, steps=1)

    def test_there_is_no_table_and_all_else_works(self, solution, tmp_path):
        assert solution.pi_g is None
        assert not solution.simplex.can_be_listed
        solution.save(tmp_path / "policy.npz")
        with np.load(tmp_path / "policy.npz") as archive:
            assert not {"pi_g", "counts"} & set(archive.files)
        loaded = am.Solution.load(tmp_path / "policy.npz")
        assert loaded.pi_g is None
        assert_same_solution(loaded, solution)
        assert_same_play(loaded, solution, MANY_STATES)
        one, two = (am.rollout(MANY_STATES, pair, episodes=10, horizon=10, seed=2) for pair in (solution, loaded))
        assert torch.equal(one.returns, two.returns)

    def test_what_needs_tables_says_so(self, solution):
        with pytest.raises(am.SizeError, match="rollout_gaps"):
            am.certify(MANY_STATES, solution)

    def test_a_table_between_the_limits_is_only_in_the_file(self, hasty, monkeypatch, tmp_path):
        """Too large to keep, small enough to store: there is no pi_g in hand, before and after loading."""
        game, k = SOLVED["random"]
        monkeypatch.setattr(solution_files, "LARGEST_TABLE", 10)
        found = neural(game, k, steps=1)
        assert found.pi_g is None
        found.save(tmp_path / "policy.npz")
        loaded = am.Solution.load(tmp_path / "policy.npz")
        assert loaded.pi_g is None
        assert_same_play(loaded, found, game)
        monkeypatch.undo()
        table = am.Solution.load(tmp_path / "policy.npz").pi_g
        assert torch.equal(table, found.policy.laws(found.simplex.counts).movedim(1, 0).double())


class TestOwnNetwork:
    """A user's module: normalised, with dropout, tied weights, and buffers."""

    @staticmethod
    def made(seed=0):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Own()

    def test_it_is_trained_stored_and_filled(self, hasty, tmp_path):
        network, untouched = self.made(), self.made()
        solution = neural(OWN, 4, network=network, steps=1)
        assert same(network, untouched)
        assert not same(solution.policy.network, untouched)
        solution.save(tmp_path / "policy.npz")
        filled = self.made(1)
        loaded = am.Solution.load(tmp_path / "policy.npz", network=filled)
        assert loaded.policy.network is filled
        assert same(filled, solution.policy.network)
        assert torch.equal(loaded.pi_g, solution.pi_g)
        assert torch.equal(loaded.policy.laws(loaded.simplex.counts), solution.policy.laws(solution.simplex.counts))

    def test_without_it_the_file_is_refused(self, hasty, tmp_path):
        neural(OWN, 4, network=self.made(), steps=1).save(tmp_path / "policy.npz")
        with pytest.raises(am.FileFormatError, match=r"policy\.npz holds no solution: .* family 'Own': hand in a net"):
            am.Solution.load(tmp_path / "policy.npz")
        with pytest.raises(am.FileFormatError, match="describes another network"):
            am.Solution.load(tmp_path / "policy.npz", network=small_network(OWN))

    def test_its_dropout_draws_from_the_seed(self, hasty, tmp_path):
        before = torch.get_rng_state()
        for name in ("one", "two"):
            neural(OWN, 4, network=self.made(), steps=1).save(tmp_path / name)
        assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("network", "message"),
        [
            (nn.Linear(2, 4), r"made shape \[3, 4\]"),
            (CountNetwork(2, 3, 2), r"made shape \[3, 3, 2\]"),
            (nn.Sequential(nn.Flatten()), "no trainable parameters"),
            (nn.Linear(5, 4), "refused a batch of frequencies"),
            ("a network", "must be a torch.nn.Module, not a str"),
            (CountNetwork, "not the class CountNetwork"),
        ],
        ids=["flat", "another-game", "no-parameters", "other-inputs", "text", "class"],
    )
    def test_what_cannot_serve_is_refused_before_anything_is_learned(self, network, message):
        with pytest.raises(am.ArgumentError, match=message):
            am.solve(steer(), 3, solver="neural", network=network, callback=pytest.fail)

    def test_a_network_of_nan_is_refused(self):
        network = small_network(steer())
        with torch.no_grad():
            network.head.bias.fill_(math.nan)
        with pytest.raises(am.ArgumentError, match="not finite"):
            am.solve(steer(), 3, solver="neural", network=network)


def test_a_device_that_is_not_here_is_refused():
    with pytest.raises(am.ArgumentError, match=r"device must be one of auto, cpu.*; not 'cuda:99'"):
        am.solve(steer(), 3, solver="neural", device="cuda:99")


def test_a_learning_rate_that_diverges_is_an_error_of_the_family():
    with pytest.raises(am.AltMarlError, match="g_learn: the loss is not finite"):
        neural(steer(), 3, learning_rate=1e30)


class TestInterrupt:
    def test_after_an_update_what_was_learned_is_kept(self, hasty):
        def stop(update):
            if update.player == "local":
                raise KeyboardInterrupt

        solution = neural(*SOLVED["hash"], callback=stop)
        assert solution.interrupted
        assert [update.player for update in solution.history] == ["global", "local"]
        assert solution.value == solution.history[-1].value
        assert isinstance(solution.policy, NetworkPolicy)
        assert solution.pi_g is not None

    def test_while_a_network_is_trained_the_last_pair_is_kept(self, hasty):
        updates = []

        def stop(steps, numbers):
            if updates:
                raise KeyboardInterrupt

        solution = neural(*SOLVED["hash"], callback=updates.append, curve=stop, steps=5)
        assert solution.interrupted
        assert len(solution.history) == len(updates)
        assert solution.value == solution.history[-1].value
        assert am.rollout(SOLVED["hash"][0], solution, episodes=5, horizon=5).returns.isfinite().all()


# ---- good manners


def test_the_state_of_the_caller_is_left_as_it_was(hasty):
    network = small_network(steer())
    torch.set_num_threads(threads := 2)
    before = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    neural(steer(), 3, network=network, steps=1)
    after = torch.get_rng_state(), torch.get_default_dtype(), torch.is_grad_enabled()
    assert torch.equal(before[0], after[0])
    assert before[1:] == after[1:]
    assert torch.get_num_threads() == threads
    assert same(network, small_network(steer()))
    assert network.training


def test_the_default_type_of_the_caller_changes_nothing(hasty, tmp_path):
    am.solve(steer(), 3, solver="neural", l_learner="neural", steps=1).save(tmp_path / "one")
    usual = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        am.solve(steer(), 3, solver="neural", l_learner="neural", steps=1).save(tmp_path / "two")
    finally:
        torch.set_default_dtype(usual)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_caller_without_gradients_can_train(hasty):
    with torch.no_grad():
        solution = neural(steer(), 3, steps=1)
    assert solution.history[0].details["g_learn/steps"] > 0


def test_progress_and_curves_are_told(hasty):
    lines, points = [], []
    neural(
        *SOLVED["hash"],
        progress=lambda *line: lines.append(line),
        curve=lambda steps, numbers: points.append((steps, numbers)),
    )
    assert {phase for phase, _, _ in lines} >= {"g_learn"}
    assert len(lines) == len(points)
    steps = [step for step, _ in points]
    assert steps == sorted(set(steps))
    for _, numbers in points:
        phases = {tag.partition("/")[0] for tag in numbers}
        assert len(phases) == 1
        assert phases <= {"g_learn", "l_learn"}
        assert all(math.isfinite(number) for number in numbers.values())


@pytest.mark.parametrize("game", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_games_are_solved(hasty, game):
    solution = neural(game, 1)
    assert abs(solution.value) <= game.v_max * 1.001 + 1e-9
    assert am.rollout(game, solution, episodes=5, horizon=5).returns.isfinite().all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
class TestGpu:
    def test_a_gpu_ends_with_the_value_of_the_cpu(self, solved, tmp_path):
        game, k = SOLVED["steer"]
        network = small_network(game).to("cuda")
        solution = neural(game, k, network=network, device="cuda")
        assert solution.pi_l.device.type == "cuda"
        value = exact_mean(game, solution.pi_g.cpu(), solution.pi_l.cpu(), k)
        assert value >= 0.995 * tabular("steer").value
        assert solution.value == pytest.approx(solved("steer").value, rel=0.01)
        solution.save(tmp_path / "policy.npz")
        assert torch.equal(am.Solution.load(tmp_path / "policy.npz").pi_g, solution.pi_g.cpu())

    def test_a_network_elsewhere_is_refused(self):
        with pytest.raises(am.ArgumentError, match="lies on cpu, but the game on cuda"):
            neural(steer(), 3, device="cuda")
