"""Files: a saved game comes back bit for bit, and whatever else a path may hold is refused by name."""

import math
import os
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from altmarl_torch.errors import ArgumentError, FileFormatError, GameError
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.games.named.random import random_game
from altmarl_torch.support.npz import read_npz, write_npz

GAME = random_game(num_sg=2, num_ag=3, num_sl=4, num_al=5, seed=7)


def assert_same(a: Game, b: Game) -> None:
    for name in ("P_g", "P_l", "r_g", "r_l"):
        assert torch.equal(getattr(a, name), getattr(b, name)), name
    assert torch.equal(a.initial.sg, b.initial.sg)
    assert torch.equal(a.initial.local_mean, b.initial.local_mean)
    assert (a.gamma, a.n, a.name, a.initial.strength) == (b.gamma, b.n, b.name, b.initial.strength)


def random_law(size: int, seed: int) -> torch.Tensor:
    weights = torch.rand(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1e-3
    return weights / weights.sum()


@given(
    seed=st.integers(0, 10**6),
    gamma=st.floats(0, 1, exclude_max=True),
    n=st.integers(1, 2**53),
    strength=st.one_of(st.floats(1e-200, 1e300), st.just(math.inf)),
    name=st.text(min_size=1).filter(str.isprintable),
)
@settings(max_examples=40, deadline=None)
def test_a_saved_game_comes_back_bit_for_bit(seed: int, gamma: float, n: int, strength: float, name: str) -> None:
    initial = InitialLaw(random_law(3, seed), random_law(4, seed), strength)
    game = random_game(3, 4, 2, 2, gamma=gamma, n=n, seed=seed).replace(initial=initial, name=name)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a game"
        game.save(path)
        assert os.listdir(folder) == ["a game"]  # exactly this name, and no scratch file left
        assert_same(Game.load(str(path)), game)


def test_saving_twice_writes_the_same_bytes_and_replaces_the_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    second.write_text("something else")
    GAME.save(first)
    GAME.save(second)
    assert first.read_bytes() == second.read_bytes()


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "game.npz"
    GAME.save(path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        GAME.replace(gamma=0.1).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["game.npz"]


def changed_file(path: Path, **changes: Any) -> Path:
    """A file of `GAME` with some entries changed; None drops the entry."""
    GAME.save(path)
    with np.load(path) as archive:
        entries = {name: value for name, value in ({**archive} | changes).items() if value is not None}
    np.savez(path, **entries)
    return path


def test_a_missing_file_is_just_that(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Game.load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "has format None; this reader knows format 'altmarl-game'$"),
        ({"format": "altmarl-policy"}, "has format 'altmarl-policy'"),
        ({"version": 2}, "has version 2; this reader knows version 1$"),
        ({"version": [1, 1]}, r"has version \[1, 1\]"),
        ({"P_l": None, "gamma": None}, "lacks the entries P_l, gamma; format 'altmarl-game' has P_g, P_l, "),
        ({"initial_strength": None}, "lacks the entries initial_strength"),
        (
            {"r_g": np.array([[None] * 3] * 2)},
            "is no readable .npz archive: entry r_g: it holds Python objects or records; expected numbers or text$",
        ),
    ],
)
def test_a_file_of_another_format_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = changed_file(tmp_path / "game.npz", **changes)
    with pytest.raises(FileFormatError, match=message) as caught:
        Game.load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"P_g": np.ones((2, 3, 2))}, r"holds no game: P_g\[sg=0, ag=0\] sums to 2"),
        ({"r_g": np.array([["a"] * 3] * 2)}, "holds no game: r_g holds <U1"),
        ({"gamma": 1.5}, r"holds no game: gamma must be a number in \[0, 1\), not 1\.5"),
        ({"gamma": [0.5, 0.5]}, "holds no game: gamma must be"),
        ({"n": 3.5}, "holds no game: n must be an integer"),
        ({"name": 3}, "holds no game: name must be"),
        ({"initial_sg": [1.0]}, "holds no game: initial.sg has 1 entries"),
        ({"initial_strength": -1.0}, "holds no game: initial.strength must be"),
    ],
)
def test_a_file_whose_tables_are_no_game_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = changed_file(tmp_path / "game.npz", **changes)
    with pytest.raises(GameError, match=message) as caught:
        Game.load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 hello", b"\x93NUMPY hello"])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "game.npz"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"is no readable .npz archive: "):
        Game.load(path)


def test_a_single_array_and_an_empty_archive_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(FileFormatError, match=r"is no readable .npz archive"):
        Game.load(tmp_path / "array.npy")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(FileFormatError, match="has format None"):
        Game.load(tmp_path / "empty.npz")


def test_what_only_pickle_could_store_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="the entries weights hold Python objects; expected numbers or text"):
        write_npz(tmp_path / "x.npz", "some-format", 1, {"weights": [None], "step": 3})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "/etc/x", "a/../b", "..", "a//b", "a\\b", "a\0b"])
def test_a_name_that_would_not_be_read_is_not_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArgumentError, match="is no name of an entry"):
        write_npz(tmp_path / "x.npz", "some-format", 1, {name: 1})
    assert os.listdir(tmp_path) == []


def test_every_kind_of_array_comes_back(tmp_path: Path) -> None:
    entries = {
        "empty": np.zeros(0),
        "part/none": np.zeros((0, 5), dtype=np.float32),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array("größer \U0001f600"),
        "texts": np.asfortranarray(np.array([["a", "bc"], ["", "d"]])),
        "complex": np.array([1j]),
        "flag": np.array(True),
        "swapped": np.arange(3, dtype=">i4"),
        "a b.c": np.array(3, dtype=np.int8),
    }
    write_npz(tmp_path / "x", "some-format", 1, entries)
    found = read_npz(tmp_path / "x", "some-format", 1, list(entries))
    assert list(found) == list(entries)
    for name, array in entries.items():
        assert found[name].dtype == array.dtype
        assert found[name].flags.writeable
        assert np.array_equal(found[name], array)


def test_every_truncation_and_any_damage_is_an_error_of_the_family(tmp_path: Path) -> None:
    """Damage either goes unnoticed because it hit nothing that is read, or ends in one of the two documented errors."""
    path = tmp_path / "game.npz"
    GAME.save(path)
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for length in random.integers(0, len(whole), 60):
        path.write_bytes(whole[:length])
        with pytest.raises(FileFormatError):
            Game.load(path)
    for position, value in zip(random.integers(0, len(whole), 300), random.integers(0, 256, 300), strict=True):
        path.write_bytes(whole[:position] + bytes([value]) + whole[position + 1 :])
        try:
            assert_same(Game.load(path), GAME)
        except (FileFormatError, GameError):
            continue
