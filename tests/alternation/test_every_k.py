"""One network for every k: against exact tables for each, rows of any size, files, checkpoints, and bad input."""

import json
import re

import numpy as np
import pytest
import torch
from oracles.neural import cut_short, exact, exact_mean, seeded, small_batches
from torch import nn

import altmarl_torch as am
from altmarl_torch.alternation.words import read_k
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.games import random_game, steer
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.support.npz import write_npz

SIZES = range(1, 4)
SMALL = random_game(num_sg=2, num_sl=3, num_ag=3, num_al=2, gamma=0.8, laziness=0.7, seed=5)


def crowd():
    """Two places, a coordinator at one, agents who wander and earn 1 where he is. Fewer seen, more promised."""
    return am.Game.from_functions(
        P_g=lambda s_g, a_g: [float(t == a_g) for t in range(2)],
        P_l=lambda z, s_g, a_l: [0.9 if y == z else 0.1 for y in range(2)],
        r_g=lambda s_g, a_g: 0.3 * (s_g == a_g == 0),
        r_l=lambda z, s_g, a_l: float(z == s_g),
        num_sg=2, num_sl=2, num_ag=2, num_al=1, gamma=0.8, n=100, name="crowd",
    )  # fmt: skip


GAME = crowd()


def small_network(game, seed=0):
    return CountNetwork(game.num_sl, game.num_sg, game.num_ag, width=32, extra=1, generator=seeded(seed))


def neural(game, k=SIZES, **options):
    return am.solve(game, k, solver="neural", **{"steps": 2, "network": small_network(game)} | options)


@pytest.fixture(scope="module")
def solved():
    with small_batches():
        return neural(GAME)


@pytest.fixture(scope="module")
def hasty():
    with cut_short():
        return neural(SMALL, steps=1)


def best_value(game, pi_l, k):
    """The exact value of a best response to pi_l for k agents."""
    surrogate = exact(game, pi_l, k)
    found = am.tabular.g_learn(surrogate)
    return exact_mean(game, found.pi_g, pi_l, k)


# ---- known answers


def test_for_each_k_it_is_as_good_as_the_exact_table(solved):
    """Its exact joint value is within 1 % of the exact best response's to the same pi_l, for every k."""
    for k in SIZES:
        at_k = solved.seeing(k)
        assert (at_k.k, at_k.sizes, at_k.pi_g.shape[1]) == (k, None, am.CountSimplex(k, GAME.num_sl).size)
        value = exact_mean(GAME, at_k.pi_g, solved.pi_l, k)
        assert value >= 0.99 * best_value(GAME, solved.pi_l, k)


def test_its_value_is_the_mean_over_all_k(solved):
    values = [exact_mean(GAME, solved.seeing(k).pi_g, solved.pi_l, k) for k in SIZES]
    assert max(values) - min(values) > 0.2
    assert solved.value == pytest.approx(sum(values) / len(values), rel=0.005)


def test_what_lies_between_is_read_between(hasty):
    """Of 1, 2 and 4 agents, 3 were never learned, and are answered for all the same."""
    with cut_short():
        found = neural(SMALL, [4, 1, 2], steps=1)
    assert (found.k, found.sizes) == (4, (1, 2, 4))
    assert found.seeing(3).pi_g.shape == (SMALL.num_sg, am.CountSimplex(3, SMALL.num_sl).size, SMALL.num_ag)


# ---- rows of any size


def test_each_row_is_of_its_own_size(hasty):
    dispatcher = hasty.dispatcher()
    rows = [counts for k in SIZES for counts in am.CountSimplex(k, SMALL.num_sl).counts.tolist()]
    s_g = torch.arange(len(rows)) % SMALL.num_sg
    dispatcher.reset(len(rows))
    together = dispatcher.act(s_g, rows)
    for state, row, played in zip(s_g, rows, together, strict=True):
        at_k = hasty.seeing(int(sum(row)))
        assert int(at_k.pi_g[state, at_k.simplex.rank(torch.tensor(row))].argmax()) == int(played)
        assert int(hasty.law(state, torch.tensor(row)).argmax()) == int(played)


def test_nobody_is_read_as_the_mean_of_the_beginning(hasty):
    dispatcher = hasty.dispatcher()
    everywhere = SMALL.initial.local_mean.expand(SMALL.num_sg, -1)
    played = dispatcher.act(torch.arange(SMALL.num_sg), torch.zeros(SMALL.num_sg, SMALL.num_sl, dtype=torch.int64))
    assert torch.equal(played, hasty.policy.choose(torch.arange(SMALL.num_sg), everywhere * hasty.k))


def test_more_than_the_largest_is_refused(hasty):
    with pytest.raises(ArgumentError, match=re.escape("counts[batch=0] sums to 5; at most k = 3 sampled agents")):
        hasty.dispatcher().act([0], [[5, 0, 0]])
    with pytest.raises(ArgumentError, match="k must be an integer at least 1, not 0"):
        hasty.seeing(0)


def test_beyond_the_largest_the_nearest_counts_are_read(hasty):
    one, many = hasty.seeing(3).dispatcher(), hasty.seeing(30).dispatcher()
    counts = torch.tensor([[1, 2, 0], [0, 0, 3], [1, 1, 1]])
    s_g = torch.tensor([0, 1, 1])
    for dispatcher in (one, many):
        dispatcher.reset(3)
    assert torch.equal(one.act(s_g, counts), many.act(s_g, 10 * counts))


def test_it_is_played_at_every_k(hasty):
    for pair in (hasty, hasty.seeing(1), hasty.seeing(3), hasty.seeing(3).seeing(2)):
        played = am.rollout(SMALL, pair, episodes=20, horizon=10, answer_rate=0.5)
        assert played.returns.isfinite().all()


# ---- files and checkpoints


@pytest.mark.parametrize("k", [None, 3])
def test_it_comes_back_from_its_file(hasty, tmp_path, k):
    saved = hasty if k is None else hasty.seeing(k)
    saved.save(tmp_path / "policy.npz")
    loaded = am.Solution.load(tmp_path / "policy.npz")
    assert (loaded.k, loaded.sizes, loaded.value) == (saved.k, saved.sizes, saved.value)
    assert torch.equal(loaded.pi_g, saved.pi_g)
    for size in SIZES:
        assert torch.equal(loaded.seeing(size).pi_g, hasty.seeing(size).pi_g)
    everybody = torch.zeros(2, 3, dtype=torch.int64)
    assert torch.equal(
        loaded.policy.choose(torch.arange(2), everybody), saved.policy.choose(torch.arange(2), everybody)
    )


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ([], "policy/spec: sizes must list whole numbers"),
        ([2, 1], "policy/spec: sizes must list whole numbers"),
        ([0, 3], "policy/spec: sizes must be an integer in 1.."),
        ([1, 2], "policy/spec of sizes up to 2 does not fit k = 3"),
        ("all", "policy/spec: sizes must list whole numbers"),
    ],
)
def test_a_file_with_other_sizes_is_refused(hasty, tmp_path, sizes, message):
    path = tmp_path / "policy.npz"
    hasty.save(path)
    with np.load(path) as archive:
        entries = {name: entry for name, entry in archive.items() if name not in ("format", "version")}
    spec = json.loads(str(entries["policy/spec"])) | {"sizes": sizes}
    write_npz(path, "altmarl-solution", 1, entries | {"policy/spec": json.dumps(spec)})
    with pytest.raises(FileFormatError, match=re.escape(message)):
        am.Solution.load(path)


# ---- what goes with it


@pytest.mark.parametrize(
    ("k", "options", "message"),
    [
        ([], {}, "k must be a number of agents, or several, not an empty list"),
        ([0, 2], {}, "k must be an integer in 1..100, not 0"),
        (range(1, 102), {}, "k must be an integer in 1..100, not 101"),
        ([1.5], {}, "k must be an integer in 1..100, not 1.5"),
        ("1:4", {}, "k must be an integer in 1..100, not '1:4'"),
        (SIZES, {"solver": "tabular"}, "several k are learned by one network: that needs solver='neural'"),
        (SIZES, {"solver": "lifted"}, "several k are learned by one network: that needs solver='neural'"),
        (SIZES, {"solver": "auto", "degree": 2}, "that needs solver='neural'"),
        (SIZES, {"solver": "neural", "observation": "filter"}, "that needs observation='surrogate'"),
        (SIZES, {"solver": "neural", "select": "rollout"}, "that needs select='value'"),
        (SIZES, {"solver": "neural", "network": CountNetwork(2, 2, 2)}, "the network refused a batch of frequencies"),
    ],
)
def test_bad_input_is_one_line(k, options, message):
    with pytest.raises(ArgumentError, match=re.escape(message)) as raised:
        am.solve(steer(), k, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("k", [torch.tensor([2, 1, 3]), np.array([1, 2, 3]), (3, 1, 2), range(1, 4)])
def test_sizes_may_be_any_sequence_of_whole_numbers(k):
    assert read_k(k, 10) == (3, (1, 2, 3))


@pytest.mark.parametrize("k", [torch.tensor(4), np.array(4), np.int64(4), 4])
def test_a_number_may_be_an_array_of_no_axis(k):
    assert read_k(k, 10) == (4, None)


def test_its_line_names_every_size(hasty):
    assert f"k={hasty.sizes[0]}..{hasty.k} ({len(hasty.sizes)} sizes)" in repr(hasty)


def test_auto_takes_a_network():
    with cut_short():
        assert am.solve(steer(), SIZES, solver="auto", steps=1).sizes == (1, 2, 3)


def test_a_network_of_ones_own_reads_the_size_behind_the_frequencies():
    seen = []

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, inputs):
            seen.append(inputs.detach())
            return self.layer(inputs).unflatten(-1, (2, 2))

    with cut_short():
        am.solve(steer(), SIZES, solver="neural", network=Own(), steps=1)
    sizes = torch.cat([inputs[:, 2] for inputs in seen]).double() ** -2
    assert sorted(sizes.round().unique().tolist()) == list(SIZES)


# ---- sizes


def test_sizes_are_drawn_alike():
    drawn = SampleSizes.of([1, 2, 4]).draw(30_000, seeded(0))
    share = torch.stack([(drawn == k).double().mean() for k in (1, 2, 4)])
    assert share.sub(1 / 3).abs().max() < 4 * (2 / 9 / 30_000) ** 0.5


def test_the_offset_of_each_size_is_taken_out():
    """Errors that are quadratic in j^(-1/2) leave nothing, however they are spread over actions."""
    sizes = SampleSizes.of(range(1, 51))
    counts = torch.stack([torch.arange(1.0, 51.0), torch.zeros(50)], -1)
    s = counts.sum(-1).rsqrt()
    offset = 3 - 2 * s + 5 * s.square()
    error = offset.unsqueeze(-1) + torch.tensor([[1.0, -1.0]])
    assert torch.allclose(sizes.offsets(counts, error).squeeze(-1), offset, atol=1e-4)


def test_a_size_outside_those_learned_is_read_as_the_nearest():
    inputs = SampleSizes.of([4, 9]).inputs(torch.tensor([[1.0, 1.0], [0.0, 6.0], [9.0, 0.0]]))
    assert torch.allclose(inputs, torch.tensor([[0.5, 0.5, 0.5], [0.0, 1.0, 6**-0.5], [1.0, 0.0, 1 / 3]]))


@pytest.mark.parametrize("row", [[0.0, 0.0], [5.0, 0.0], [-1.0, 2.0], [0.5, 0.5]])
def test_rows_of_other_sizes_are_refused(row):
    with pytest.raises(ArgumentError):
        SampleSizes.of([1, 4]).check(torch.tensor([row]))
