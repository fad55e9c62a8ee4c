"""Trajectories and behaviour policies: the chain of Appendix E, whatever acts; files that are not believed."""

import dataclasses

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, FileFormatError, PolicyError, SizeError
from altmarl_torch.games.reward_laws import GaussianReward
from altmarl_torch.offline.behaviour import Behaviour, collect
from altmarl_torch.offline.trajectories import ARRAYS, FILE_FORMAT, FILE_VERSION, SCALARS, Trajectories
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.policies.tabular import TabularDispatcher, TabularPair, deterministic_local, one_hot, uniform_local
from altmarl_torch.support.npz import read_npz, write_npz

SIZES = {"gamma": 0.9, "n": 5, "num_sg": 2, "num_sl": 3, "num_ag": 2, "num_al": 2}


def tiny(**changes):
    """Two trajectories of two steps with two agents."""
    fields = {
        "s_g": [[0, 1, 0], [1, 1, 1]],
        "s_l": [[[0, 2], [1, 1], [2, 0]], [[2, 2], [0, 0], [0, 1]]],
        "a_g": [[0, 1], [1, 0]],
        "a_l": [[[0, 1], [1, 1]], [[0, 0], [1, 0]]],
        "r_g": [[1.0, 2.0], [3.0, 4.0]],
        "r_l": [[[0.0, 1.0], [2.0, 4.0]], [[1.0, 1.0], [0.5, 0.5]]],
    }
    return Trajectories(**fields | SIZES | changes)


def test_counts_states_and_rewards_by_hand():
    data = tiny()
    assert (data.trajectories, data.steps, data.k) == (2, 2, 2)
    assert data.counts[0].tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 1]]
    order = [(2, 0, 0), (1, 1, 0), (1, 0, 1), (0, 2, 0), (0, 1, 1), (0, 0, 2)]  # descending, as the simplex lists them
    expected = [[order.index(tuple(h)) for h in row] for row in data.counts.tolist()]
    assert (data.states - 6 * data.s_g).tolist() == expected
    assert data.rewards.tolist() == [[1.5, 5.0], [4.0, 4.5]]


def test_transitions_are_a_log_of_every_step_and_agent():
    log = am.Transitions.of(tiny().transitions())
    assert len(log) == 8
    assert len(log.first_of_step) == 4
    row = {name: column[3].item() for name, column in log.columns().items()}
    assert row == {
        "episode": 0,
        "step": 1,
        "sg": 1,
        "ag": 1,
        "r_g": 2,
        "sg_next": 0,
        "sl": 1,
        "al": 1,
        "r_l": 4,
        "sl_next": 0,
    }


def test_a_file_gives_back_the_same_bits(tmp_path):
    data = collect(am.games.steer(), 3, steps=7, trajectories=4, seed=1)
    data.save(tmp_path / "data.npz")
    again = Trajectories.load(tmp_path / "data.npz")
    for name in ARRAYS:
        assert np.array_equal(getattr(data, name), getattr(again, name))
    assert [getattr(data, name) for name in SCALARS] == [getattr(again, name) for name in SCALARS]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"s_g": [[0, 1, 2], [1, 1, 1]]}, r"s_g\[0, 2\] is 2; num_sg = 2: expected 0..1"),
        ({"a_l": [[[0, -1], [1, 1]], [[0, 0], [1, 0]]]}, r"a_l\[0, 0, 1\] is -1; num_al = 2"),
        ({"r_g": [[1.0, float("nan")], [3.0, 4.0]]}, r"r_g\[0, 1\] is nan; expected a finite number"),
        ({"r_l": [[[0.0, float("inf")], [2.0, 4.0]], [[1.0, 1.0], [0.5, 0.5]]]}, r"r_l\[0, 0, 1\] is inf"),
        ({"a_g": [[0.5, 1], [1, 0]]}, r"a_g\[0, 0\] is 0.5; expected a whole number"),
        ({"r_g": [["a", "b"], ["c", "d"]]}, "r_g must hold numbers"),
        ({"s_g": [[0, 1], [1, 1]]}, r"s_g must have the shape \[2, 3\], as a_l has it, not \[2, 2\]"),
        ({"a_l": []}, r"a_l must have the shape \[E, T, k\], none of them 0"),
        ({"a_g": [[0], [1, 0]]}, "a_g is no array"),
        ({"gamma": 1.0}, r"gamma must be a number in \[0, 1\)"),
        ({"n": 1}, "n must be an integer in 2"),
        ({"num_sl": 0}, "num_sl must be an integer in 1"),
        ({"name": ""}, "name must be a non-empty, printable string"),
        ({"behaviour": 3}, "behaviour must be a non-empty, printable string"),
    ],
)
def test_what_is_no_trajectory_is_refused_with_its_place(changes, message, tmp_path):
    with pytest.raises(ArgumentError, match=message):
        tiny(**changes)


def test_files_are_not_believed(tmp_path):
    path = tmp_path / "data.npz"
    with pytest.raises(FileNotFoundError):
        Trajectories.load(path)
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(FileFormatError, match="no readable"):
        Trajectories.load(path)
    am.games.steer().save(path)
    with pytest.raises(FileFormatError, match="this reader knows format 'altmarl-trajectories'"):
        Trajectories.load(path)
    tiny().save(path)
    entries = read_npz(path, FILE_FORMAT, FILE_VERSION, (*ARRAYS, *SCALARS))
    for name, value in (("s_g", entries["s_g"] + 5), ("gamma", np.asarray(2.0)), ("n", np.asarray([1, 2]))):
        write_npz(path, FILE_FORMAT, FILE_VERSION, entries | {name: value})
        with pytest.raises(FileFormatError, match=f"holds no trajectories: {name}"):
            Trajectories.load(path)
    write_npz(path, FILE_FORMAT, FILE_VERSION, {name: entries[name] for name in entries if name != "a_l"})
    with pytest.raises(FileFormatError, match="lacks the entries a_l"):
        Trajectories.load(path)


def test_too_many_numbers_are_refused_before_they_are_drawn():
    with pytest.raises(SizeError, match="steps in all"):
        collect(am.games.steer(), 2, steps=10**9)
    with pytest.raises(SizeError, match="at most 100,000,000 are kept"):
        collect(am.games.steer(), 2, steps=10**4, trajectories=10**6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"k": 0}, ArgumentError, "k must be an integer"),
        ({"k": 101}, ArgumentError, "k must be an integer in 1..100"),
        ({"steps": 0}, ArgumentError, "steps must be an integer"),
        ({"trajectories": 1.5}, ArgumentError, "trajectories must be an integer"),
        ({"explore": 1.1}, ArgumentError, r"explore must be a number in \[0, 1\]"),
        ({"explore": float("nan")}, ArgumentError, "explore must be a number"),
        ({"seed": -1}, ArgumentError, "seed must be an integer"),
        ({"behaviour": "unifrom"}, ArgumentError, "behaviour must be 'uniform' or a pair"),
        ({"behaviour": 7}, PolicyError, "behaviour must have k, pi_l and dispatcher"),
        ({"behaviour": heuristic_pair(am.games.steer(), 3, "mode", "walk")}, PolicyError, "sees k = 3 agents"),
        ({"behaviour": heuristic_pair(am.games.warehouse(), 2, "mode", "walk")}, PolicyError, "shape"),
    ],
)
def test_malformed_calls_of_collect(arguments, error, message):
    with pytest.raises(error, match=message):
        collect(am.games.steer(), **{"k": 2, "steps": 3} | arguments)


def test_frequencies_are_the_laws():
    """Each conditional law of the chain, against its frequencies: within 5 standard errors at every entry."""
    game = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, seed=3)
    pair = heuristic_pair(game, 2, "mode", "greedy")
    data = collect(game, 2, behaviour=pair, explore=0.4, steps=4000, trajectories=10, seed=5)
    behaviour = Behaviour.of(game, 2, pair, 0.4)
    log = data.transitions()
    for law, names in (
        (behaviour.pi_l, ("sl", "sg", "al")),
        (game.P_l, ("sl", "sg", "al", "sl_next")),
    ):
        counts = np.zeros(law.shape)
        np.add.at(counts, tuple(log[name] for name in names), 1)
        close(counts, law.numpy())
    counts = np.zeros(game.P_g.shape)
    np.add.at(counts, (data.s_g[:, :-1], data.a_g, data.s_g[:, 1:]), 1)
    close(counts, game.P_g.numpy())
    size = data.simplex.size
    counts = np.zeros((game.num_sg * size, game.num_ag))
    np.add.at(counts, (data.states[:, :-1], data.a_g), 1)
    close(counts, behaviour.pi_g.flatten(0, 1).numpy())
    assert np.array_equal(data.r_l.ravel(), game.r_l.numpy()[log["sl"], log["sg"], log["al"]])
    assert np.array_equal(data.r_g, game.r_g.numpy()[data.s_g[:, :-1], data.a_g])


def close(counts, law):
    total = counts.sum(-1, keepdims=True)
    assert total.sum() > 1000
    spread = 5 * np.sqrt(law * (1 - law) * total) + 1e-9
    assert (np.abs(counts - law * total) <= spread + 3 * (law > 0)).all()


def test_an_exploring_pair_is_its_mixture_and_needs_no_noise_without():
    game, pair = am.games.steer(), heuristic_pair(am.games.steer(), 2, "mode", "walk")
    plain, mixed = (Behaviour.of(game, 2, pair, explore) for explore in (0.0, 0.25))
    assert torch.equal(plain.pi_l, pair.pi_l)
    assert torch.allclose(mixed.pi_g, 0.75 * plain.pi_g + 0.125)
    assert mixed.name == "mode + walk, exploring 0.25"


def test_the_table_of_a_pair_and_its_dispatcher_act_alike():
    """A pair that is known by its dispatcher alone plays as the same pair does by its table: same law of everything."""

    @dataclasses.dataclass
    class Opaque:
        pair: TabularPair
        k: int
        pi_l: torch.Tensor

        def dispatcher(self, seed=0):
            return TabularDispatcher(self.pair.pi_g, self.pair.simplex, seed)

    game, simplex = am.games.steer(), CountSimplex(3, 2)
    actions = torch.arange(2 * simplex.size).reshape(2, simplex.size) % 2
    local = deterministic_local(torch.tensor([[0, 1], [1, 0]]), 2)
    pair = TabularPair(one_hot(actions, 2), local, simplex)
    opaque = Opaque(pair, 3, local)
    assert Behaviour.of(game, 3, opaque).pi_g is None
    one, other = (collect(game, 3, behaviour=b, steps=30, trajectories=20, seed=2) for b in (pair, opaque))
    for name in ("s_g", "s_l", "a_g", "a_l"):  # it acts for certain, so that not even the uniform numbers differ
        assert np.array_equal(getattr(one, name), getattr(other, name))
    explored = collect(game, 3, behaviour=opaque, explore=1.0, steps=400, trajectories=20, seed=2)
    assert abs(explored.a_g.mean() - 0.5) < 5 * 0.5 / np.sqrt(explored.a_g.size)


def test_solutions_act_and_seeds_repeat():
    game = am.games.steer()
    solution = am.solve(game, 2, solver="tabular")
    one, again, other = (collect(game, 2, behaviour=solution, explore=0.2, steps=20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one.s_l, again.s_l)
    assert not np.array_equal(one.s_l, other.s_l)


def test_stochastic_rewards_are_drawn():
    game = am.games.steer()
    law = GaussianReward(game.r_g, torch.full_like(game.r_g, 0.1), -10.0, 10.0)
    data = collect(game.replace(r_g=law), 2, steps=2000, seed=1)
    mean = game.r_g.numpy()[data.s_g[:, :-1], data.a_g]
    assert 0.05 < (data.r_g - mean).std() < 0.15
    assert abs((data.r_g - mean).mean()) < 0.02


def test_n_does_not_matter_to_what_is_followed():
    small, large = (collect(am.games.steer().replace(n=n), 2, steps=50, seed=4) for n in (2, 10**9))
    assert np.array_equal(small.s_l, large.s_l)
    assert torch.equal(Behaviour.of(am.games.steer(), 2).pi_l, uniform_local(am.games.steer()))
