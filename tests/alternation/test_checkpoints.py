"""Checkpoints: whenever a training is broken off, the same call goes on to what the unbroken one would have found."""

import contextlib
import dataclasses
import functools
import itertools
import json
import logging
import re

import numpy as np
import pytest
import torch
from oracles.killer import Killed, Killer
from oracles.neural import cut_short, drawn

from altmarl_torch import games
from altmarl_torch.alternation import checkpoints
from altmarl_torch.alternation.checkpoints import CheckpointFolder, RunCheckpoint
from altmarl_torch.alternation.players.fitted import FittedValues, Trainer
from altmarl_torch.alternation.solving import solve
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.settings import Settings
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.snapshots import pack, unpack

TABULAR = {"solver": "tabular", "k": 3}
NEURAL = {"solver": "neural", "k": 3, "steps": 2}
CASES = {
    "tabular": TABULAR,
    "tabular, sampled": TABULAR | {"m": 5, "steps": 3},
    "tabular, own": TABULAR | {"objective": "own"},
    "ucfh": TABULAR | {"l_learner": "ucfh", "k": 2},
    "neural": NEURAL | {"nested": "off"},
    "neural, from lifted functions": NEURAL,
    "neural, drawn": NEURAL | {"drawn": True, "nested": "off"},
    "neural, every k": NEURAL | {"k": range(1, 4), "nested": "off"},
    "neural, every k, from lifted functions": NEURAL | {"k": range(1, 4)},
    "neural, own, local network": NEURAL | {"l_learner": "neural", "objective": "own"},
    "neural, population": NEURAL | {"k": 2, "observation": "population"},
    "starts": TABULAR | {"starts": 4},
    "posterior": TABULAR | {"observation": "posterior"},
    "rollout": TABULAR | {"observation": "filter", "select": "rollout", "k": 2},
}


def learn(folder, options, told=None):
    told = [] if told is None else told
    options = dict(options)
    with cut_short(), drawn() if options.pop("drawn", False) else contextlib.nullcontext():
        return solve(
            games.steer(),
            options.pop("k"),
            **options,
            seed=3,
            checkpoints=folder,
            callback=lambda update: told.append(dataclasses.replace(update, seconds=0.0)),
            curve=lambda x, numbers: told.append((x, {n: v for n, v in numbers.items() if "per_second" not in n})),
        )


def same(first, second):
    assert torch.equal(first.pi_l, second.pi_l)
    assert torch.equal(first.pi_g, second.pi_g)
    for name in ("value", "eta", "converged", "k", "interrupted", "observation"):
        assert getattr(first, name) == getattr(second, name)
    for mine, theirs in zip(first.history, second.history, strict=True):
        assert dataclasses.replace(mine, seconds=0.0) == dataclasses.replace(theirs, seconds=0.0)
    if first.policy is not None:
        weights = zip(first.policy.network.parameters(), second.policy.network.parameters(), strict=True)
        assert all(torch.equal(mine, theirs) for mine, theirs in weights)


@functools.cache
def unbroken_run(name):
    """What a case finds when nothing breaks it off, and what it tells on the way."""
    told = []
    return learn(None, CASES[name], told), told


def by_kind(told):
    """Curves and updates, each in order: between the two there is none that anybody could see."""
    return [one for one in told if isinstance(one, tuple)], [one for one in told if not isinstance(one, tuple)]


@pytest.mark.parametrize("name", CASES)
def test_whenever_it_is_killed_it_ends_as_if_it_had_not_been(tmp_path, monkeypatch, name):
    unbroken, told = unbroken_run(name)
    for files in itertools.count() if name.startswith("tabular") else (1, 3, 7):
        folder, again = tmp_path / str(files), []
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            Killer(patch, files)
            learn(folder, CASES[name])
            break
        same(learn(folder, CASES[name], again), unbroken)
        assert by_kind(again) == by_kind(told)
    assert files > 2


@pytest.mark.parametrize("name", ["ucfh", "neural", "neural, drawn", "neural, every k", "neural, own, local network"])
@pytest.mark.parametrize("files", [1, 2])
def test_half_done_work_is_taken_up_where_it_was_kept(tmp_path, monkeypatch, name, files):
    again, taken_up = [], []
    unbroken, told = unbroken_run(name)
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    with monkeypatch.context() as patch:
        Killer(patch, files, ["keep"])
        with pytest.raises(Killed):
            learn(tmp_path, CASES[name])
    resume = RunCheckpoint.resume
    monkeypatch.setattr(RunCheckpoint, "resume", lambda one: taken_up.append(resume(one)) or taken_up[-1])
    same(learn(tmp_path, CASES[name], again), unbroken)
    assert by_kind(again) == by_kind(told)
    assert any(work is not None for work in taken_up)


def test_a_run_may_be_killed_again_and_again(tmp_path, monkeypatch):
    unbroken, _ = unbroken_run("starts")
    for _ in range(40):
        with monkeypatch.context() as patch, contextlib.suppress(Killed):
            Killer(patch, 2)  # so that one of two checkpoints is new
            same(learn(tmp_path, CASES["starts"]), unbroken)
            return
    raise AssertionError("it never came to an end")


def killed_after(folder, monkeypatch, files, options=TABULAR):
    with monkeypatch.context() as patch:
        Killer(patch, files)
        with pytest.raises(Killed):
            learn(folder, options)


@pytest.mark.parametrize("damaged", [["part"], ["part", "last"]])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, monkeypatch, caplog, damaged):
    killed_after(tmp_path, monkeypatch, 3)
    for name in damaged:
        file = tmp_path / f"0001.{name}.npz"
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    with caplog.at_level(logging.WARNING):
        same(learn(tmp_path, TABULAR), unbroken_run("tabular")[0])
    assert [record.getMessage().count("is passed over") for record in caplog.records] == [1] * len(damaged)


def test_a_damaged_solution_is_learned_again(tmp_path, monkeypatch, caplog):
    unbroken = learn(tmp_path, TABULAR)
    (tmp_path / "0001.npz").write_bytes(b"PK nothing")
    with caplog.at_level(logging.WARNING):
        same(learn(tmp_path, TABULAR), unbroken)
    assert "0001.npz is passed over" in caplog.text


OTHERS = {
    "another game": ((games.hash_game(), 3), {}, "another P_g, another P_l, another r_g, another r_l"),
    "rewards negated": ((games.steer().replace(r_g=-games.steer().r_g), 3), {}, "with another r_g;"),
    "gamma": ((games.steer(0.5), 3), {}, "gamma = 0.8 instead of 0.5"),
    "n": ((games.steer().replace(n=9), 3), {}, "n = 100 instead of 9"),
    "k": ((games.steer(), 5), {}, "k = 3 instead of 5"),
    "m": ((games.steer(), 3), {"m": 5}, "m = None instead of 5"),
    "seed": ((games.steer(), 3), {"seed": 1}, "seed = 0 instead of 1"),
    "steps": ((games.steer(), 3), {"steps": 9}, "steps = 10 instead of 9"),
    "solver": ((games.steer(), 3), {"solver": "neural"}, "solver = tabular instead of neural"),
    "eta": ((games.steer(), 3), {"eta": 0.5}, "eta = auto instead of 0.5"),
    "chain": ((games.steer(), 3), {"l_learner": "ucfh"}, "l_learner = auto instead of ucfh, another chain;"),
}


@pytest.mark.parametrize(("call", "options", "message"), OTHERS.values(), ids=OTHERS)
def test_the_folder_of_another_call_is_refused_by_what_differs(tmp_path, call, options, message):
    solve(games.steer(), 3, checkpoints=tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(ArgumentError, match=re.escape(message)):
        solve(*call, **options, checkpoints=tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("call", "options"),
    [((games.steer(), 3), {}), ((games.steer().replace(name="mine"), 3), {"device": "auto", "callback": print})],
)
def test_what_changes_no_result_is_the_same_call(tmp_path, call, options):
    first = solve(games.steer(), 3, checkpoints=tmp_path)
    assert solve(*call, **options, checkpoints=tmp_path).value == first.value


def test_a_network_of_ones_own_is_part_of_what_was_asked(tmp_path):
    with cut_short():
        solve(games.steer(), 3, solver="neural", steps=1, network=mine(), checkpoints=tmp_path)
        other = Mine(2, 2, 2, generator=torch.Generator().manual_seed(7))
        with pytest.raises(ArgumentError, match="with another network;"):
            solve(games.steer(), 3, solver="neural", steps=1, network=other, checkpoints=tmp_path)


def test_a_folder_of_an_earlier_version_begins_anew_and_says_so(tmp_path, monkeypatch, caplog):
    unbroken = unbroken_run("tabular")[0]
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FILE_VERSION", 1)
        killed_after(tmp_path, monkeypatch, 3)
    (tmp_path / "asked.json").unlink()
    with caplog.at_level(logging.WARNING):
        same(learn(tmp_path, TABULAR), unbroken)
    assert "0001.part.npz is passed over" in caplog.text
    assert "version" in caplog.text


def test_a_record_that_is_no_json_is_an_error_that_names_it(tmp_path):
    learn(tmp_path, TABULAR)
    (tmp_path / "asked.json").write_text("{")
    with pytest.raises(FileFormatError, match=r"asked\.json"):
        learn(tmp_path, TABULAR)


SPOILERS = {
    "no pi_l": lambda entries: entries.pop("pi_l"),
    "pi_l of another shape": lambda entries: entries.update(pi_l=np.ones((3, 2, 2))),
    "NaN in pi_g": lambda entries: entries.update(pi_g=np.full((2, 4, 2), np.nan)),
    "text for values": lambda entries: entries.update(values=np.asarray("many")),
    "a record that is no JSON": lambda entries: entries.update(record=np.asarray("{")),
    "a record that is a list": lambda entries: entries.update(record=np.asarray("[]")),
    "a record of nothing": lambda entries: entries.update(record=np.asarray("{}")),
    "points that are none": lambda entries: entries.update(points=np.asarray("[[1, 2]]")),
    "a generator's state too short": lambda entries: entries.update({"memory/for_g": np.zeros(3, np.uint8)}),
    "facts of the memory that are no JSON": lambda entries: entries.update({"memory/facts": np.asarray("{")}),
    "no generator": lambda entries: entries.pop("memory/for_g"),
}


@pytest.mark.parametrize("spoil", SPOILERS.values(), ids=SPOILERS)
def test_a_checkpoint_of_wrong_content_is_passed_over(tmp_path, monkeypatch, caplog, spoil):
    killed_after(tmp_path, monkeypatch, 1)
    file = tmp_path / "0001.part.npz"
    entries = dict(read_npz(file, "altmarl-checkpoint", 3, (), ("",)))
    spoil(entries)
    write_npz(file, "altmarl-checkpoint", 3, {n: a for n, a in entries.items() if n not in ("format", "version")})
    with caplog.at_level(logging.WARNING):
        same(learn(tmp_path, TABULAR), unbroken_run("tabular")[0])
    assert "passed over" in caplog.text


@pytest.mark.parametrize("name", ["ucfh", "neural"])
def test_half_done_work_of_wrong_content_is_an_error_that_says_so(tmp_path, monkeypatch, name):
    monkeypatch.setattr(checkpoints, "SECONDS_BETWEEN", 0.0)
    with monkeypatch.context() as patch:
        Killer(patch, 1, ["keep"])
        with pytest.raises(Killed):
            learn(tmp_path, CASES[name])
    file = tmp_path / "0001.work.npz"
    entries = dict(read_npz(file, "altmarl-checkpoint", 3, (), ("",)))
    entries["work/facts"] = np.asarray("{}")
    write_npz(file, "altmarl-checkpoint", 3, {n: a for n, a in entries.items() if n not in ("format", "version")})
    with pytest.raises(FileFormatError, match="does not fit this run: KeyError"):
        learn(tmp_path, CASES[name])


def test_the_newest_and_the_one_before_are_kept(tmp_path, monkeypatch):
    killed_after(tmp_path, monkeypatch, 3)
    newest, before = (
        json.loads(str(read_npz(tmp_path / f"0001.{name}.npz", "altmarl-checkpoint", 3, ("record",))["record"]))
        for name in ("part", "last")
    )
    assert (len(newest["history"]), len(before["history"])) == (2, 1)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0001.last.npz", "0001.part.npz", "asked.json"]


def test_a_run_that_is_over_leaves_its_solution_alone(tmp_path):
    learn(tmp_path, TABULAR)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["0001.npz", "0001.told.npz", "asked.json"]


class Mine(CountNetwork):
    """A network of one's own, which answers otherwise while it learns."""

    def forward(self, frequencies):
        return torch.nn.functional.dropout(super().forward(frequencies), 0.1, self.training)


def mine():
    return Mine(2, 2, 2, generator=torch.Generator().manual_seed(0))


def test_what_is_restored_answers_as_what_was_fitted():
    trainer, start = Trainer(games.steer(), 3, Settings(batch=64, max_steps=60)), FittedValues(mine())
    with cut_short():
        surrogate = trainer.surrogate(uniform_local(games.steer()))
        found = trainer.fit(start, surrogate, None, torch.Generator().manual_seed(1), "g_learn")
    before = FittedValues(found.network, found.baseline, "of a pair", found.steps)
    after = unpack(FittedValues(mine().eval()), pack(before))
    frequencies = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    assert torch.equal(after.network(frequencies), before.network(frequencies))
    assert torch.equal(after.baseline, before.baseline)
    assert (after.fitted_to, after.steps) == ("of a pair", found.steps)


def test_a_network_of_ones_own_goes_on_too(tmp_path, monkeypatch):
    def run(folder):
        with cut_short():
            return solve(games.steer(), 3, solver="neural", steps=2, network=mine(), checkpoints=folder)

    unbroken = run(None)
    with monkeypatch.context() as patch:
        Killer(patch, 2)  # before the local agents' turn, which asks the network of the turn before
        with pytest.raises(Killed):
            run(tmp_path)
    same(run(tmp_path), unbroken)


def test_runs_are_numbered_in_the_order_in_which_they_begin(tmp_path):
    folder = CheckpointFolder(tmp_path)
    assert [folder.next_run().path.name for _ in range(3)] == ["0001", "0002", "0003"]
