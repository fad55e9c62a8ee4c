"""`solve` from end to end: what it learns, what it refuses, what it writes, and that equal seeds give equal files."""

import json
import logging

import numpy as np
import pytest
import torch
from oracles.games import DEGENERATE
from oracles.surrogate import global_best_response, joint_value, uniform_mean

import altmarl_torch as am
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.policies.tabular import uniform_local

LEARNED_ROWS = [[0, 2, 1, 1, 1], [1, 0, 2, 1, 1], [1, 1, 0, 2, 1], [1, 1, 1, 0, 2], [2, 1, 1, 1, 0]]
"""pi_l of `docs/oracle-values.md` on the warehouse, reached for every k >= 2: rows s_g, columns z."""


@pytest.mark.parametrize("k", [2, 5])
def test_the_warehouse_is_solved_to_the_known_pair(k):
    solution = am.solve(warehouse(), k)
    assert solution.converged
    assert solution.pi_l.argmax(-1).T.tolist() == LEARNED_ROWS
    values = [update.value for update in solution.history]
    assert values == sorted(values)
    assert values[-1] == solution.value


def test_what_is_learned_beats_the_heuristics_on_the_population():
    """k = 10, n = 1000: at least 160, and more than two standard errors above the same dispatcher class by mode."""
    game = warehouse()
    solution = am.solve(game, 10)
    learned = am.rollout(game, solution, episodes=1000, seed=3)
    mode = am.rollout(game, am.heuristics.heuristic_pair(game, 10, "mode", "walk"), episodes=1000, seed=3)
    assert learned.mean > 160
    assert learned.mean > mode.mean + 2 * (learned.sem + mode.sem)


@pytest.mark.parametrize("seed", range(4))
def test_the_pair_is_an_equilibrium_up_to_the_tolerance(seed):
    """Brute force: neither player's best response raises the joint value by more than 2 eta."""
    game, k = random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, gamma=0.8, seed=seed), 2
    solution = am.solve(game, k)
    value = uniform_mean(joint_value(game, solution.pi_g, solution.pi_l, k), k, 2)
    best = uniform_mean(global_best_response(game, solution.pi_l, k, sweeps=300).max(-1), k, 2)
    assert solution.value == pytest.approx(value, rel=1e-9)
    assert best <= value + 2 * solution.eta


def test_equal_seeds_give_equal_files(tmp_path):
    for name in ("one", "two"):
        am.solve(steer(), 3, m=5, seed=7).save(tmp_path / name)
    am.solve(steer(), 3, m=5, seed=8).save(tmp_path / "other")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert (tmp_path / "one").read_bytes() != (tmp_path / "other").read_bytes()


def test_a_solution_comes_back_from_its_file(tmp_path):
    solution = am.solve(steer(), 3)
    solution.save(tmp_path / "policy.npz")
    loaded = am.Solution.load(tmp_path / "policy.npz")
    assert torch.equal(loaded.pi_g, solution.pi_g)
    assert torch.equal(loaded.pi_l, solution.pi_l)
    assert (loaded.k, loaded.value, loaded.converged) == (3, solution.value, True)
    assert [update.decision for update in loaded.history] == [update.decision for update in solution.history]
    dispatcher, counts = loaded.dispatcher(), torch.tensor([[1, 2], [3, 0]])
    dispatcher.reset(2)
    assert torch.equal(
        dispatcher.act(torch.tensor([0, 1]), counts), solution.dispatcher().act(torch.tensor([0, 1]), counts)
    )


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_a_file_that_is_no_solution_is_refused(tmp_path, content):
    (tmp_path / "policy.npz").write_bytes(content)
    with pytest.raises(am.FileFormatError, match=r"policy\.npz"):
        am.Solution.load(tmp_path / "policy.npz")


def test_a_game_is_no_solution(tmp_path):
    steer().save(tmp_path / "game.npz")
    with pytest.raises(am.FileFormatError, match=r"game\.npz"):
        am.Solution.load(tmp_path / "game.npz")


def test_the_papers_eta_is_used_and_its_vacuity_is_said(caplog):
    """Read literally, Algorithm 3 returns its uniform start."""
    with caplog.at_level(logging.WARNING, logger="altmarl_torch"):
        solution = am.solve(steer(), 2, eta="paper")
    assert "vacuous" in caplog.text
    assert solution.eta == solution.eta_paper
    assert torch.equal(solution.pi_l, uniform_local(steer()))
    assert solution.value == solution.history[0].value_before


@pytest.mark.parametrize(
    "options",
    [{"accept": "all-states"}, {"objective": "own"}, {"m": 30}, {"eta": 0.0}, {"steps": 1}, {"l_learner": "dp"}],
)
def test_every_option_ends_above_the_start(options):
    solution = am.solve(steer(), 3, **options)
    assert solution.value > solution.history[0].value_before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, r"k must be .*1\.\.100"),
        ({"k": 101}, r"k must be .*1\.\.100"),
        ({"k": 2.5}, "k must be"),
        ({"k": True}, "k must be"),
        ({"k": 2, "steps": 0}, "steps must be"),
        ({"k": 2, "m": 0}, "m must be"),
        ({"k": 2, "solver": "magic"}, "solver must be one of 'tabular'"),
        ({"k": 2, "l_learner": "magic"}, "l_learner must be one of 'auto', 'dp', 'ucfh', 'neural'"),
        ({"k": 2, "solver": "tabular", "l_learner": "neural"}, "l_learner='neural' needs solver='neural'"),
        ({"k": 2, "learning_rate": 0.0}, r"learning_rate must be a number in \(0, inf\)"),
        ({"k": 2, "learning_rate": float("nan")}, "learning_rate must be"),
        ({"k": 2, "learning_rate": "fast"}, "learning_rate must be"),
        ({"k": 2, "objective": "mine"}, "objective must be one of 'team', 'own'"),
        ({"k": 2, "accept": "never"}, "accept must be one of 'mean', 'all-states'"),
        ({"k": 2, "eta": "big"}, "eta must be"),
        ({"k": 2, "eta": -1.0}, "eta must be"),
        ({"k": 2, "eta": None}, "eta must be"),
        ({"k": 2, "eta": [1]}, "eta must be"),
        ({"k": 2, "seed": "a"}, r"seed must be an integer in 0\.\."),
        ({"k": 2, "seed": None}, "seed must be"),
        ({"k": 2, "seed": 1.5}, "seed must be"),
        ({"k": 2, "seed": 2**70}, "seed must be"),
        ({"k": 2, "seed": -1}, "seed must be"),
        ({"k": 2, "device": "foo"}, "device must be one of auto, cpu"),
        ({"k": 2, "device": "cuda:99"}, "device must be one of auto, cpu"),
        ({"k": 2, "eta": float("nan")}, "eta must be"),
    ],
)
def test_arguments_out_of_range_are_refused_with_the_range(arguments, message):
    with pytest.raises(am.ArgumentError, match=message):
        am.solve(steer(), **arguments)


def test_what_is_no_game_is_refused():
    with pytest.raises(am.ArgumentError, match="game must be a Game, not NoneType"):
        am.solve(None, 2)


def test_a_seed_of_numpy_is_a_seed(tmp_path):
    solution = am.solve(steer(), 2, seed=np.int64(3), device=torch.device("cpu"))
    solution.save(tmp_path / "policy.npz")
    assert am.Solution.load(tmp_path / "policy.npz").seed == 3


class TestArchive:
    """`policy.npz` as a stranger may have written it."""

    @pytest.fixture
    def path(self, tmp_path):
        am.solve(steer(), 3).save(tmp_path / "policy.npz")
        return tmp_path / "policy.npz"

    def rewrite(self, path, **changes):
        entries = dict(np.load(path))
        np.savez(path, **entries | changes)

    def refused(self, path, message):
        with pytest.raises(am.FileFormatError, match=r"policy\.npz holds no solution: .*" + message):
            am.Solution.load(path)

    def test_rows_may_stand_in_any_order(self, path):
        before, entries, order = am.Solution.load(path), dict(np.load(path)), [2, 0, 3, 1]
        self.rewrite(path, counts=entries["counts"][order], pi_g=entries["pi_g"][:, order])
        after = am.Solution.load(path)
        assert torch.equal(after.pi_g, before.pi_g)
        assert torch.equal(after.simplex.counts, before.simplex.counts)

    @pytest.mark.parametrize(
        ("name", "change", "message"),
        [
            ("counts", lambda x: x[[0, 0, 1, 2]], "counts must list each of the"),
            ("counts", lambda x: x[:3], "counts must list each of the"),
            ("counts", lambda x: x + np.eye(4, 2, dtype=int), "all sum to one k"),
            ("counts", lambda x: x * 0, "all sum to one k"),
            ("counts", lambda x: x - 0.5, "whole number"),
            ("counts", lambda x: x[0], "1 axes"),
            ("pi_g", lambda x: x * np.nan, "pi_g.* finite"),
            ("pi_g", lambda x: x[:, :3], "pi_g .* must have shape"),
            ("pi_l", lambda x: x * np.nan, "pi_l.* finite"),
            ("pi_l", lambda x: x * 2, "pi_l.* sums to 2"),
            ("pi_l", lambda x: x[:1], "counts of k = 3 over 2 states do not fit k or pi_l"),
            ("pi_l", lambda x: x[:, :1], "pi_l .* must have shape"),
            ("pi_l", lambda x: x.astype(str), "pi_l holds"),
            ("record", lambda x: "[" * 100_000, "RecursionError"),
            ("record", lambda x: "[]", ""),
        ],
    )
    def test_malformed_tables_are_refused(self, path, name, change, message):
        self.rewrite(path, **{name: change(np.load(path)[name])})
        self.refused(path, message)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("value", float("nan"), "value must be a number"),
            ("value", 10**400, "value must be a number"),
            ("value", "5", "value must be a number"),
            ("eta", float("inf"), "eta must be a number"),
            ("converged", 1, "converged must be of type bool"),
            ("solver", 3, "solver must be of type str"),
            ("seed", -1, "seed must be an integer"),
            ("history", [{"step": 1}], ""),
            ("history", 5, ""),
            ("surprise", 5, "surprise"),
        ],
    )
    def test_malformed_records_are_refused(self, path, key, value, message):
        record = json.loads(str(np.load(path)["record"]))
        self.rewrite(path, record=json.dumps(record | {key: value}))
        self.refused(path, message)

    @pytest.mark.parametrize(
        ("key", "value"), [("player", "both"), ("decision", "maybe"), ("step", 1.5), ("details", []), ("error", None)]
    )
    def test_malformed_histories_are_refused(self, path, key, value):
        record = json.loads(str(np.load(path)["record"]))
        record["history"][0][key] = value
        self.rewrite(path, record=json.dumps(record))
        self.refused(path, "")


def test_a_simplex_too_large_to_list_is_refused_with_its_size():
    with pytest.raises(am.SizeError, match=r"4\.91e\+21 count vectors"):
        am.solve(warehouse(num_zones=20), 100, solver="tabular")


def test_an_interrupt_returns_what_was_learned_so_far():
    def stop(update):
        if update.step == 1 and update.player == "local":
            raise KeyboardInterrupt

    solution = am.solve(steer(), 3, callback=stop)
    assert solution.interrupted
    assert solution.value == solution.history[-1].value > solution.history[0].value_before


def test_the_thread_count_is_left_as_it_was():
    before = torch.get_num_threads()
    am.solve(steer(), 2)
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("game", DEGENERATE.values(), ids=DEGENERATE)
def test_degenerate_games_are_solved(game):
    solution = am.solve(game, 1)
    assert solution.converged
    assert abs(solution.value) <= game.v_max
    assert am.rollout(game, solution, episodes=5, horizon=5).returns.isfinite().all()
