"""Files from strangers: a loader gives an object or a `FileFormatError`, at once and in little memory.

Three parts. *Mutants* of valid files: bytes, arrays and JSON values changed at random (a few hundred of each in the
daily run, 10,000 by `pytest -m campaign`). *Hostile* files, made by hand, one trick each. And the proof that neither
pickle nor `torch.load` is ever reached.
"""

import dataclasses
import io
import json
import os
import pickle
import random
import resource
import signal
import stat
import struct
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import altmarl_torch as am
from altmarl_torch.errors import FileFormatError, SizeError
from altmarl_torch.games.logs.transitions import COLUMNS
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, UniformPolicy
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import SUMMARY_KEYS, create_run, open_run, read_metrics, read_summary
from altmarl_torch.support.files import LARGEST_OBJECT, LARGEST_TEXT, parse_object, read_json, read_text
from altmarl_torch.support.npz import LARGEST_FILE, read_npz
from altmarl_torch.sweeps import Plan, open_sweep

SECONDS = 2.0
"""What no file may take."""

MEGABYTES = 500
"""By how much no file may raise the memory of the process."""

GAME = am.games.steer()
SG, AG, SL = len(GAME.r_g), GAME.r_g.shape[1], len(GAME.r_l)


class HangError(BaseException):
    """Raised by the clock, and caught by no loader."""


@contextmanager
def clock(seconds: float = 2 * SECONDS) -> Iterator[None]:
    """Ends what takes too long, even if it waits for a pipe."""

    def ring(*_: object) -> None:
        raise HangError(f"more than {seconds} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def peak() -> float:
    """The most memory that the process has had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def outcome(load: Callable[[], object]) -> tuple[str, float]:
    """Whether a loader accepts or refuses, and its seconds; anything but these two is an error of the test."""
    begun = time.perf_counter()
    try:
        with clock():
            repr(load())
        said, words = "accepted", ""
    except FileFormatError as refusal:
        said, words = "refused", str(refusal)
    assert len(words) < 10_000
    return said, time.perf_counter() - begun


def check(load: Callable[[], object]) -> str:
    """As `outcome`, within the bounds of time and memory."""
    before = peak()
    said, seconds = outcome(load)
    assert seconds < SECONDS
    assert peak() - before < MEGABYTES
    return said


# ---- valid files


@dataclasses.dataclass(frozen=True)
class Target:
    """A file that a loader reads.

    Attributes:
        file: where it lies.
        load: reads it, and maybe its neighbours.
    """

    file: Path
    load: Callable[[], object]


def learned() -> dict[str, am.Solution]:
    """A solution of every kind; those with networks are not trained."""
    table = am.solve(GAME, 3)
    network = CountNetwork(SL, SG, AG, width=4)
    greedy = NetworkPolicy(network, GAME.r_g.float(), GAME.gamma, 1.0, 3)
    return {
        "tabular": table,
        "neural": dataclasses.replace(table, policy=greedy, pi_g=None, solver="neural"),
        "uniform": dataclasses.replace(table, policy=UniformPolicy(SG, AG), pi_g=None, solver="neural"),
        "posterior": am.solve(GAME, 2, observation="posterior"),
        "filter": am.solve(GAME, 1, observation="filter"),
    }


def build(folder: Path) -> dict[str, Target]:
    """Files of every loader, by name."""
    targets = {}
    GAME.save(folder / "game.npz")
    targets["game"] = Target(folder / "game.npz", partial(am.Game.load, folder / "game.npz"))
    draw = np.random.default_rng(0)
    columns = {name: draw.integers(0, 3, 40) for name in COLUMNS}
    log = am.Transitions.of(columns | {"episode": np.arange(40), "step": np.zeros(40)})
    for kind in ("csv", "npz"):
        log.save(folder / f"log.{kind}")
        targets[f"log {kind}"] = Target(folder / f"log.{kind}", partial(counted, folder / f"log.{kind}"))
    am.games.two_speed_warehouse().save(folder / "types.npz")
    targets["types"] = Target(folder / "types.npz", partial(am.Game.load, folder / "types.npz"))
    solutions = learned()
    for name, solution in solutions.items():
        file = folder / f"{name}.npz"
        solution.save(file)
        targets[name] = Target(file, partial(am.Solution.load, file))
    config = TrainConfig(game="steer", k=3, solver="tabular", episodes=10, horizon=5, runs_dir=str(folder))
    run = finished(config, solutions["tabular"], "run")
    for name in ("config.json", "game.npz", "policy.npz", "summary.json"):
        targets[f"run {name}"] = Target(run / name, partial(open_run, run))
    targets["summary"] = Target(run / "summary.json", partial(read_summary, run))
    targets["metrics"] = Target(run / "metrics.jsonl", partial(read_metrics, run))
    targets["json"] = Target(run / "config.json", partial(read_json, run / "config.json"))
    plan = Plan.of(config, [1, 3], 2, name="sweep")
    plan.folder.mkdir()
    plan.save()
    cell = finished(plan.cell(3, 1).config, solutions["tabular"], plan.cell(3, 1).name)
    (cell / "certificate.json").write_text('{"nash_gap": 0.5}')
    for file in (plan.folder / "sweep.json", cell / "summary.json", cell / "certificate.json"):
        targets[f"sweep {file.name}"] = Target(file, partial(open_sweep, plan.folder))
    return targets


def counted(log: Path) -> am.FittedGame:
    """The game of a log, smoothed, so that tables which are too large are the one other refusal."""
    try:
        return am.estimate(log, gamma=0.5, n=10, smoothing=0.5)
    except SizeError as cause:
        raise FileFormatError(str(cause)) from cause


def finished(config: TrainConfig, solution: am.Solution, name: str) -> Path:
    """The folder of a finished run."""
    run = create_run(config, GAME, name=name)
    for update in solution.history:
        run.append_update(update)
    run.save_policy(solution)
    facts = {"interrupted": False, "value": 1.5, "heuristics": {"hold": {"return_mean": 1.0}}, "phase_seconds": {}}
    run.write_summary(dict.fromkeys(SUMMARY_KEYS) | facts)
    return run.path


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Target]:
    return build(tmp_path_factory.mktemp("valid"))


def restored(target: Target) -> Callable[[bytes], Callable[[], object]]:
    """Makes loaders of the target's file with other bytes in it; the file is as it was afterwards."""
    whole = target.file.read_bytes()

    def spoiled(content: bytes) -> Callable[[], object]:
        def load() -> object:
            target.file.write_bytes(content)
            try:
                return target.load()
            finally:
                target.file.write_bytes(whole)

        return load

    return spoiled


def test_the_valid_files_are_accepted(targets: dict[str, Target]) -> None:
    assert {name: check(target.load) for name, target in targets.items()} == dict.fromkeys(targets, "accepted")


# ---- mutants

Dice = random.Random
NUMBERS: tuple[Any, ...] = (
    *(0, 1, -1, 2, 3, 7, 255, 10**6, 2**31, 2**53, 2**63, -(2**63), 10**30, 10**400),
    *(0.5, -0.0, 1e-300, 1e300, 1e17, 9.3e18),
)
VALUES: tuple[Any, ...] = (*NUMBERS, True, False, None, "", "x", "\ud800", "é\0", "a" * 5000, [], {}, [[]], [1, "a"])


def mutated_bytes(content: bytes, dice: Dice) -> bytes:
    """A cut, changed bits, bytes that are inserted, repeated or moved, or nothing but noise."""
    a, b = sorted(dice.randrange(len(content) + 1) for _ in range(2))
    match dice.randrange(8):
        case 0:
            return content[:a]
        case 1 | 2:
            changed = bytearray(content)
            for _ in range(dice.choice([1, 1, 1, 2, 8, 64])):
                changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
            return bytes(changed)
        case 3:
            return content[:a] + dice.randbytes(dice.choice([1, 2, 8, 100])) + content[a:]
        case 4:
            return content[:a] + content[b:]
        case 5:
            return content[:b] + content[a:]
        case 6:
            word = dice.choice(
                [b"\xff" * 4, b"\xff" * 8, b"\0" * 4, b"\x7f\xff\xff\xff", b"PK\1\2", b"PK\5\6", b"PK\6\6"]
            )
            return content[:a] + word + content[a + len(word) :]
    return dice.randbytes(dice.choice([0, 1, 22, 100, 3000]))


def mutated_value(value: Any, dice: Dice) -> Any:
    """JSON data with one value changed, somewhere."""
    if isinstance(value, dict) and value and dice.random() < 0.9:
        key = dice.choice(list(value))
        match dice.randrange(12):
            case 0:
                return {name: item for name, item in value.items() if name != key}
            case 1:
                return value | {
                    dice.choice(["x", "k", "family", "policy", "phase_seconds", "self"]): dice.choice(VALUES)
                }
            case 2:
                return value | {dice.choice(list(value)): value[key]}
        return value | {key: mutated_value(value[key], dice)}
    if isinstance(value, list) and value and dice.random() < 0.8:
        index = dice.randrange(len(value))
        match dice.randrange(6):
            case 0:
                return value[:index] + value[index + 1 :]
            case 1:
                return value + value
        return [*value[:index], mutated_value(value[index], dice), *value[index + 1 :]]
    return dice.choice(VALUES)


def mutated_json(text: str, dice: Dice) -> str:
    """JSON text with one value changed, or with what is no JSON: NaN, a key that is there twice, a comma too many."""
    match dice.randrange(10):
        case 0:
            return mutated_bytes(text.encode(), dice).decode("utf-8", "replace")
        case 1:
            return text.replace(
                dice.choice(["1", "0", "true", "null", "3"]), dice.choice(["NaN", "-Infinity", "1e999"])
            )
        case 2:
            return text.replace("{", '{"k": 1, "k": 1, ', 1)
    return json.dumps(mutated_value(json.loads(text), dice))


def mutated_table(text: str, dice: Dice) -> str:
    """A table in text with one cell changed, a line moved or dropped, or another separator."""
    lines = text.splitlines()
    index = dice.randrange(len(lines))
    match dice.randrange(8):
        case 0:
            return text.replace(",", dice.choice([";", "\t", ",,", '",']))
        case 1:
            lines.insert(index, dice.choice(["", "   ", "# altmarl-transitions 2", lines[dice.randrange(len(lines))]]))
        case 2:
            del lines[index]
        case _:
            cells = lines[index].split(",")
            words = ("", "nan", "inf", "x", "-1", "1.5", "1e400", "0x1", "1_0", '"', "é", "9" * 400)
            cells[dice.randrange(len(cells))] = dice.choice([*words, *map(str, NUMBERS)])
            lines[index] = ",".join(cells)
    return "\n".join(lines)


def mutated_array(array: Any, dice: Dice) -> Any:
    """An array of another type, shape or content."""
    match dice.randrange(10):
        case 0:
            return array.reshape(-1)[: dice.randrange(array.size + 1)]
        case 1:
            return array[None] if dice.random() < 0.5 else array.T
        case 2:
            return np.stack([array] * dice.randrange(1, 4))
        case 3 | 4 if array.dtype.kind != "U":
            with np.errstate(all="ignore"):
                return array.astype(dice.choice(["f2", ">f8", "f16", "i1", "u8", "?", "c16", "U3", "S2", "f4", "i8"]))
        case 5:
            return np.array(dice.choice(["", "x", 0, 1.5, True, -1, math_nan(), "{}", "[]", "\0"]))
    flat = np.array(array).reshape(-1)
    if flat.size and flat.dtype.kind in "fi":
        flat = flat.astype("f8") if dice.random() < 0.5 else flat
        with np.errstate(all="ignore"):
            number = dice.choice([math_nan(), np.inf, -np.inf, *NUMBERS[:12], *NUMBERS[14:]])
            for _ in range(dice.choice([1, 1, 2, 5])):
                flat[dice.randrange(flat.size)] = np.float64(number).astype(flat.dtype)
    return flat.reshape(array.shape)


def math_nan() -> float:
    return float("nan")


def mutated_npz(content: bytes, dice: Dice) -> bytes:
    """An archive that is whole, and holds something else."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [[info.filename, archive.read(info)] for info in archive.infolist()]
    for _ in range(dice.choice([1, 1, 1, 2])):
        one, other = dice.choice(members), dice.choice(members)
        match dice.randrange(12):
            case 0:
                members.remove(one)
                members = members or [one]
            case 1:
                members.append([one[0], other[1]])
            case 2:
                one[0], other[0] = other[0], one[0]
            case 3:
                one[0] = dice.choice(
                    ["../x.npy", "/x.npy", "x", "", ".npy", "a\\b.npy", "network/x.npy", "policy/.npy"]
                )
            case 4 | 5:
                one[1] = mutated_bytes(one[1], dice)
            case _:
                one[1] = mutated_member(one[1], dice)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def mutated_member(data: bytes, dice: Dice) -> bytes:
    """An array in the form of .npy, changed; text as JSON, if that is what it is."""
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
        if array.dtype.kind == "U" and array.ndim == 0 and str(array).startswith("{") and dice.random() < 0.9:
            return npy(np.array(mutated_json(str(array), dice)))
    except Exception:  # it has been changed before, and is neither an array nor JSON any more
        return data
    return npy(mutated_array(array, dice))


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def mutant(target: Target, content: bytes, dice: Dice) -> bytes:
    """A change that suits the kind of file."""
    if dice.random() < 0.3:
        return mutated_bytes(content, dice)
    if target.file.suffix == ".npz":
        return mutated_npz(content, dice)
    if target.file.suffix == ".csv":
        return mutated_table(content.decode(), dice).encode("utf-8", "replace")
    if target.file.suffix == ".jsonl":
        lines = content.decode().splitlines()
        index = dice.randrange(len(lines))
        lines[index] = mutated_json(lines[index], dice)
        return "\n".join(lines).encode("utf-8", "replace")
    return mutated_json(content.decode(), dice).encode("utf-8", "replace")


NAMES = (
    *("log csv", "log npz", "types", "game", "tabular", "neural", "uniform", "posterior", "filter"),
    *("run config.json", "run game.npz", "run policy.npz", "run summary.json", "summary", "metrics", "json"),
    *("sweep sweep.json", "sweep summary.json", "sweep certificate.json"),
)


def test_the_names_are_those_of_the_targets(targets: dict[str, Target]) -> None:
    assert set(NAMES) == set(targets)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_mutants_are_read_or_refused(targets: dict[str, Target], name: str) -> None:
    target = targets[name]
    content, spoiled = target.file.read_bytes(), restored(target)

    @given(seed=st.integers(0, 2**32))
    @settings(max_examples=150, deadline=None, derandomize=True, database=None)
    def search(seed: int) -> None:
        check(spoiled(mutant(target, content, Dice(seed))))

    search()


@pytest.mark.campaign
@pytest.mark.filterwarnings("ignore")
def test_ten_thousand_mutants(targets: dict[str, Target], capsys: pytest.CaptureFixture[str]) -> None:
    """Every mutant of `test_mutants_are_read_or_refused` is one of these kinds; here are more, and they are counted."""
    before, seen = peak(), []
    contents = {name: target.file.read_bytes() for name, target in targets.items()}
    for seed in range(10_000):
        name = NAMES[seed % len(NAMES)]
        said, seconds = outcome(restored(targets[name])(mutant(targets[name], contents[name], Dice(seed))))
        seen.append((seconds, said, name, seed))
    slowest, growth = max(seen), peak() - before
    accepted = sum(said == "accepted" for _, said, _, _ in seen)
    with capsys.disabled():
        print(
            f"\n{len(seen):,} mutants: {accepted:,} accepted, {len(seen) - accepted:,} refused; slowest "
            f"{slowest[0]:.3f} s ({slowest[2]}, seed {slowest[3]}); memory grew by {growth:.0f} MB"
        )
    assert slowest[0] < SECONDS
    assert growth < MEGABYTES


# ---- hostile archives


@dataclasses.dataclass
class Member:
    """An entry of a zip file, and what the file says of it."""

    name: bytes
    data: bytes
    method: int = zipfile.ZIP_STORED
    size: int | None = None
    packed: int | None = None
    flags: int = 0
    mode: int = 0o600
    offset: int | None = None
    local_name: bytes | None = None
    extra: bytes = b""

    def head(self, local: bool, offset: int = 0) -> bytes:
        """Its local header, or its line in the directory."""
        size = len(self.data) if self.size is None else self.size
        packed = len(self.data) if self.packed is None else self.packed
        name = self.local_name if local and self.local_name is not None else self.name
        extra = b"" if local else self.extra
        common = struct.pack(
            "<HHHHHLLLHH",
            20,
            self.flags,
            self.method,
            0,
            33,
            zlib.crc32(self.data),
            packed,
            size,
            len(name),
            len(extra),
        )
        if local:
            return b"PK\3\4" + common + name
        where = offset if self.offset is None else self.offset
        return b"PK\1\2\x14\3" + common + struct.pack("<HHHLL", 0, 0, 0, self.mode << 16, where) + name + extra


def archive_of(members: list[Member], times: int = 1, count: int | None = None, before_end: bytes = b"") -> bytes:
    """A zip file, byte by byte; its directory may be there many times over."""
    body, directory = b"", b""
    for member in members:
        directory += member.head(False, len(body))
        body += member.head(True) + member.data
    directory *= times
    numbers = [len(members) if count is None else count] * 2
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *numbers, len(directory), len(body), 0)
    return body + directory + before_end + end


def members() -> dict[str, Member]:
    """The entries of a valid game."""
    scalars = {"gamma": GAME.gamma, "n": GAME.n, "name": GAME.name, "initial_strength": GAME.initial.strength}
    laws = {"initial_sg": GAME.initial.sg.numpy(), "initial_local_mean": GAME.initial.local_mean.numpy()}
    tables = {name: getattr(GAME, name).numpy() for name in ("P_g", "P_l", "r_g", "r_l")}
    entries = {"format": "altmarl-game", "version": 1, **tables, **laws, **scalars}
    return {name: Member(f"{name}.npy".encode(), npy(np.asarray(value))) for name, value in entries.items()}


def game_with(*more: Member, **changes: Any) -> bytes:
    """The archive of a valid game with facts about r_g's entry changed, or with more entries."""
    valid = members()
    valid["r_g"] = dataclasses.replace(valid["r_g"], **changes)
    return archive_of([*valid.values(), *more])


def header(text: str, data: bytes = b"", version: bytes = b"\1\0", claimed: int | None = None) -> bytes:
    """The bytes of a .npy file with any header."""
    raw = text.encode("latin1")
    length = len(raw) if claimed is None else claimed
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\1\0" else "<L", length) + raw + data


def shaped(shape: str, descr: str = "'<f8'", data: bytes = bytes(8), **more: Any) -> bytes:
    """r_g of another shape and type than its data have."""
    array = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"
    return game_with(data=header(array, data, **more))


class Payload:
    """What pickle would run: it creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.system, (f"touch {self.file}",)


def bomb() -> Member:
    """1 GB of zeros in 1 MB."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return Member(b"r_g.npy", block * 1000 + b"\3\0", method=zipfile.ZIP_DEFLATED, size=1000 * 2**20)


def zip64_end(size: int, offset: int, count: int = 10**6) -> bytes:
    """The records with which a zip file says that its directory is elsewhere, or larger."""
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    return record + struct.pack("<4sLQL", b"PK\6\7", 0, 0, 1)


def overlapping() -> bytes:
    """Every entry is the same bytes: a bomb without compression."""
    valid = members()
    copies = [dataclasses.replace(valid["r_g"], name=f"x{index}.npy".encode(), offset=0) for index in range(99)]
    return archive_of([valid["r_g"], *copies])


ZIP64_SIZES = struct.pack("<HHQQ", 1, 16, 2**60, 2**60)
ARCHIVES: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a zip bomb": lambda: archive_of([bomb()]),
    "a compressed game": lambda: game_with(method=zipfile.ZIP_DEFLATED),
    "bzip2": lambda: game_with(method=zipfile.ZIP_BZIP2),
    "an unknown compression": lambda: game_with(method=99),
    "an encrypted entry": lambda: game_with(flags=1),
    "strong encryption": lambda: game_with(flags=0x41),
    "a patch": lambda: game_with(flags=0x20),
    "a link": lambda: game_with(Member(b"x.npy", b"/etc/passwd", mode=stat.S_IFLNK | 0o777)),
    "a folder": lambda: game_with(Member(b"x.npy", b"", mode=stat.S_IFDIR | 0o777)),
    "a larger size": lambda: game_with(size=10**9, packed=10**9),
    "a larger size, packed": lambda: game_with(size=10**9),
    "no size": lambda: game_with(size=0, packed=0),
    "a size of zip64": lambda: game_with(size=2**32 - 1, packed=2**32 - 1, extra=ZIP64_SIZES),
    "an extra field cut short": lambda: game_with(size=2**32 - 1, packed=2**32 - 1, extra=ZIP64_SIZES[:9]),
    "an offset beyond the end": lambda: game_with(offset=2**31),
    "another name inside": lambda: game_with(local_name=b"r_l.npy"),
    "overlapping entries": overlapping,
    "a name twice": lambda: game_with(members()["r_g"]),
    "a million entries": lambda: archive_of([members()["r_g"]], times=10**6),
    "a large directory of zip64": lambda: archive_of(list(members().values()), before_end=zip64_end(2**60, 0)),
    "a negative start of zip64": lambda: archive_of(list(members().values()), before_end=zip64_end(10, 2**63)),
    **{
        f"the name {name!r}": lambda name=name: game_with(Member(name, npy(np.zeros(1))))
        for name in (
            *(b"../x.npy", b"a/../../x.npy", b"/etc/x.npy", b"C:\\x.npy", b"..\\x.npy", b"a\0b.npy", b"P_g.npy\0.txt"),
            *(b"", b".npy", b"x", b"x.txt", b"a//b.npy", b"./x.npy", b"\n.npy", b"x" * 65_000),
        )
    },
    "a name of no UTF-8": lambda: game_with(Member(b"\xff.npy", npy(np.zeros(1)), flags=0x800)),
    "10^12 numbers": lambda: shaped("(1000000000000,)"),
    "10^18 numbers": lambda: shaped("(1000000, 1000000, 1000000)"),
    "2^64 numbers": lambda: shaped("(4294967296, 4294967296)"),
    "-1 numbers": lambda: shaped("(-1,)"),
    "(-1) (-1) numbers": lambda: shaped("(-1, -1)"),
    "10^12 numbers of no bytes": lambda: shaped("(1000000000000,)", "'<U0'", b""),
    "10^12 rows of nothing": lambda: shaped("(1000000000000, 0)", data=b""),
    "nothing of 10^12": lambda: shaped("(0, 1000000000000)", data=b""),
    "too many axes": lambda: shaped(f"({'1, ' * 200})"),
    "a shape of floats": lambda: shaped("(1.0,)"),
    "a shape of thousands of digits": lambda: shaped(f"({'9' * 900},)"),
    "data cut short": lambda: shaped("(2,)"),
    "data too long": lambda: shaped("()", data=bytes(16)),
    "a record of 1 TB": lambda: shaped("()", "'|V1000000000000'"),
    "a record": lambda: shaped("()", "[('a', '<f8')]"),
    "an array of arrays": lambda: shaped("()", "('<f8', (1000000, 1000000))"),
    "objects in a record": lambda: shaped("()", "[('a', '|O')]"),
    "a type of nobody": lambda: shaped("()", "'<q9'"),
    "dates": lambda: shaped("()", "'<M8[s]'"),
    "text that is none": lambda: shaped("()", "'<U1'", b"\xff\xff\xff\x7f"),
    "half a surrogate pair": lambda: shaped("()", "'<U1'", b"\0\xd8\0\0"),
    "another version": lambda: shaped("()", version=b"\3\0"),
    "no version": lambda: shaped("()", version=b"\x63\0"),
    "a header beyond the end": lambda: shaped("()", claimed=60_000),
    "a nested header": lambda: game_with(data=header("(" * 1000)),
    "a header of signs": lambda: game_with(data=header("-" * 1000 + "1")),
    "a long header": lambda: game_with(data=header("[" + "1," * 30_000 + "]")),
    "a header of code": lambda: game_with(data=header("__import__('os').abort()")),
    "a header that ends early": lambda: game_with(data=header("{'descr':")),
    "a header of bad indents": lambda: game_with(data=header("{\n  1\n 2")),
    "no array": lambda: game_with(data=b"hello"),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", ARCHIVES)
def test_a_hostile_archive_is_refused(case: str, tmp_path: Path) -> None:
    (tmp_path / "game.npz").write_bytes(ARCHIVES[case]())
    assert check(partial(am.Game.load, tmp_path / "game.npz")) == "refused"
    assert check(partial(am.Solution.load, tmp_path / "game.npz")) == "refused"
    assert os.listdir(tmp_path) == ["game.npz"]


def test_the_archive_without_tricks_is_accepted(tmp_path: Path) -> None:
    """What the cases above are made of is valid, and so are claims that nobody relies on."""
    for content in (game_with(), archive_of(list(members().values()), count=65_535), b"#!/bin/sh\n" + game_with()):
        (tmp_path / "game.npz").write_bytes(content)
        assert check(partial(am.Game.load, tmp_path / "game.npz")) == "accepted"


def test_no_code_in_a_file_is_run(tmp_path: Path) -> None:
    """A pickle as data of an object array, of an entry, and of a whole file: its payload would create a file."""
    mark, file = tmp_path / "mark", tmp_path / "game.npz"
    payload = pickle.dumps(Payload(mark))
    objects = header("{'descr': '|O', 'fortran_order': False, 'shape': ()}\n", payload)
    saved = io.BytesIO()
    np.save(saved, np.array([Payload(mark)], dtype=object), allow_pickle=True)
    weights = io.BytesIO()
    torch.save({"weights": Payload(mark)}, weights)
    for content in (
        *(game_with(data=objects), game_with(data=payload), game_with(data=saved.getvalue())),
        *(payload, objects, saved.getvalue(), weights.getvalue()),
    ):
        file.write_bytes(content)
        for load in (am.Game.load, am.Solution.load):
            assert check(partial(load, file)) == "refused"
    assert not mark.exists()
    pickle.loads(payload)
    assert mark.exists()  # the payload is one


def test_neither_pickle_nor_torch_load_is_reached(targets: dict[str, Target], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("reached")

    for name in ("load", "loads", "Unpickler", "_load", "_loads", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    for name in ("load", "jit.load"):
        monkeypatch.setattr(f"torch.{name}", refuse)
    for target in targets.values():
        assert check(target.load) == "accepted"
    with pytest.raises(pickle.UnpicklingError) as caught:  # numpy would have reached it
        np.load(io.BytesIO(pickle.dumps(1)), allow_pickle=True)
    assert isinstance(caught.value.__cause__, AssertionError)


def test_a_policy_of_any_table_is_read_at_a_cost_of_its_size(tmp_path: Path, targets: dict[str, Target]) -> None:
    assert check(spoiled_policy(targets, tmp_path, counts=np.array([[2.0**62] + [0.0] * 999]))) == "refused"
    assert check(spoiled_policy(targets, tmp_path, counts=np.eye(1, 10_000))) == "refused"


@pytest.mark.parametrize("counts", [[[1e308, 1e308]], [[1e6, 0.0]], [[2e6]]], ids=["beyond floats", "few rows", "one"])
def test_counts_of_many_agents_cost_no_more_than_their_rows(
    tmp_path: Path, targets: dict[str, Target], counts: list[list[float]]
) -> None:
    said, seconds = outcome(spoiled_policy(targets, tmp_path, counts=np.array(counts)))
    assert said == "refused"
    assert seconds < 0.5


def spoiled_policy(targets: dict[str, Target], folder: Path, **changes: Any) -> Callable[[], object]:
    """A loader of the tabular policy with some entries changed."""
    arrays = read_npz(targets["tabular"].file, "altmarl-solution", 1, ("pi_l", "record"), ("",))
    np.savez(folder / "policy.npz", format="altmarl-solution", version=1, **(arrays | changes))
    return partial(am.Solution.load, folder / "policy.npz")


# ---- what is no file, and hostile JSON


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


def make_sparse(path: Path) -> None:
    """A file of a terabyte that takes no room."""
    path.touch()
    os.truncate(path, max(10**12, LARGEST_FILE + 1, LARGEST_TEXT + 1))


PLACES: dict[str, Callable[[Path], object]] = {
    "a pipe": make_pipe,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "a terabyte": make_sparse,
    "nothing": Path.touch,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_no_file_is_refused(place: str, name: str, targets: dict[str, Target]) -> None:
    optional = name in ("sweep summary.json", "sweep certificate.json") and place not in ("a terabyte", "nothing")
    with put_aside(targets[name].file) as file:
        PLACES[place](file)
        said = check(targets[name].load)
    assert said == ("accepted" if optional or (name, place) == ("metrics", "nothing") else "refused")


@contextmanager
def put_aside(file: Path) -> Iterator[Path]:
    """The place of a file, free for something else."""
    aside = file.with_name("aside")
    file.rename(aside)
    try:
        yield file
    finally:
        if file.is_dir():
            file.rmdir()
        aside.replace(file)


@pytest.mark.parametrize("load", [am.Game.load, am.Solution.load, read_json, read_text, read_summary, read_metrics])
def test_a_missing_file_is_an_error_of_the_system(tmp_path: Path, load: Callable[[Path], object]) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nowhere")


TEXTS: dict[str, str | bytes] = {
    "brackets": "[" * 10**6,
    "nested objects": '{"k":' * 10**6,
    "half a line": '{"k": 1',
    "two objects": "{} {}",
    "NaN": '{"k": NaN}',
    "infinity": '{"k": -Infinity}',
    "a number beyond floats": '{"k": 1e999}',
    "a number of a million digits": f'{{"k": {"1" * 10**6}}}',
    "a key twice": '{"k": 1, "k": 1}',
    "a key twice, inside": '{"k": [{"a": 1, "a": 2}]}',
    "a list": "[]",
    "a number": "1",
    "a mark of byte order": b'\xef\xbb\xbf{"k": 1}',
    "UTF-16": '{"k": 1}'.encode("utf-16"),
    "no UTF-8": b'{"k": "\xff"}',
    "zeros": bytes(1000),
    "a control character": '{"k": "\n\t"}',
    "a broken escape": '{"k": "\\u12"}',
    "too long": '{"k": "' + "x" * LARGEST_OBJECT + '"}',
    "a comment": '{"k": 1} // one',
}
WITH_JSON = ("run config.json", "run summary.json", "summary", "metrics", "json", "sweep sweep.json")
CONFIGS: dict[str, dict[str, Any]] = {
    "an unknown field": {"colour": 1},
    "a method's name": {"build_game": 1},
    **{f"k = {value!r}": {"k": value} for value in ("2", 2.0, True, None, 0, -1, [], {}, [2])},
    "n beyond all": {"n": 10**400},
    **{f"gamma = {value!r}": {"gamma": value} for value in (1, -0.1, "0.5", [], 10)},
    "a learning rate beyond floats": {"learning_rate": 10**400},
    "no game": {"game": ""},
    "a game of numbers": {"game": 3},
    "an unknown solver": {"solver": "magic"},
    "a solver of lists": {"solver": ["tabular"]},
    "eta of lists": {"eta": [0.1]},
    "eta of words": {"eta": "small"},
    "a negative eta": {"eta": -1},
    "epsilon of objects": {"epsilon": {}},
    "delta of words": {"delta": "auto"},
    "a flag of numbers": {"quiet": 1},
    "steps beyond all": {"steps": 10**30},
    "a seed beyond all": {"seed": 2**63},
    "a preset of nobody": {"preset": "none"},
    "no horizon": {"horizon": 0},
}


@pytest.mark.parametrize("case", TEXTS)
@pytest.mark.parametrize("name", WITH_JSON)
def test_hostile_json_is_refused(case: str, name: str, targets: dict[str, Target]) -> None:
    text = TEXTS[case]
    content = text if isinstance(text, bytes) else text.encode()
    assert check(restored(targets[name])(content)) == "refused"


@pytest.mark.parametrize("case", CONFIGS)
def test_a_hostile_configuration_is_refused(case: str, targets: dict[str, Target]) -> None:
    for name in ("run config.json", "sweep sweep.json"):
        record = json.loads(targets[name].file.read_text())
        changed = (
            record | CONFIGS[case] if name.startswith("run") else record | {"config": record["config"] | CONFIGS[case]}
        )
        said = check(restored(targets[name])(json.dumps(changed).encode()))
        assert said == "refused" or (name.startswith("sweep") and set(CONFIGS[case]) == {"k"})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"k": list(range(1, 50_000)), "seeds": list(range(50_000))}, "accepted"),  # 2.5 billion cells, one is there
        ({"k": list(range(1, 100_002))}, "refused"),
        ({"k": [10**400, 3]}, "accepted"),
        ({"k": []}, "refused"),
        ({"k": [3, 3]}, "refused"),
        ({"k": [0]}, "refused"),
        ({"k": [[3]]}, "refused"),
        ({"k": 3}, "refused"),
        ({"k": {"3": 3}}, "refused"),
        ({"seeds": [True]}, "refused"),
        ({"seeds": [-1]}, "refused"),
        ({"seeds": [2**63]}, "refused"),
        ({"seeds": None}, "refused"),
        ({"config": None}, "refused"),
        ({"config": []}, "refused"),
        ({"config": ["k"]}, "refused"),
        ({"config": "k"}, "refused"),
        ({"version": 2}, "refused"),
        ({"format": []}, "refused"),
    ],
)
def test_a_hostile_sweep_is_read_at_a_cost_of_its_size(
    changes: dict[str, Any], said: str, targets: dict[str, Target]
) -> None:
    target = targets["sweep sweep.json"]
    record = json.loads(target.file.read_text()) | changes
    assert check(restored(target)(json.dumps(record).encode())) == said


def test_an_object_of_json_comes_back() -> None:
    value = {"a": [1, -2.5e-300, 10**40, True, None, "é😀"], "b": {"a": {}}}
    assert parse_object(json.dumps(value), "x") == value
