"""Stored networks and policies: they come back bit for bit, and what is malformed is refused by name."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles.networks import AG, AL, SG, SL, Own, frequencies, generator, same, trained
from oracles.neural import cut_short
from torch import nn

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, UniformPolicy
from altmarl_torch.learners.neural.storage import pack_network, pack_policy, unpack_network, unpack_policy
from altmarl_torch.support.npz import read_npz, write_npz

Packed = dict[str, Any]


def through_a_file(packed: Packed, folder: Path) -> Packed:
    write_npz(folder / "network.npz", "a test", 1, packed)
    return dict(read_npz(folder / "network.npz", "a test", 1, list(packed)))


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (8, 2), (5, 3)])
def test_a_network_comes_back_bit_for_bit(width: int, depth: int, tmp_path: Path) -> None:
    network = trained(seed=4, width=width, depth=depth)
    back = unpack_network(through_a_file(pack_network(network) | {"pi_l": np.ones(3)}, tmp_path))
    assert isinstance(back, CountNetwork)
    assert back.spec == network.spec
    assert torch.equal(back(frequencies()), network(frequencies()))


@pytest.mark.parametrize("build", [Own, lambda: LocalNetwork(SL, SG, AL), trained])
def test_a_network_in_hand_is_filled_in_place(build: Callable[[], nn.Module], tmp_path: Path) -> None:
    network, other = build(), build()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.5)
    assert not same(network, other)
    assert unpack_network(through_a_file(pack_network(network), tmp_path), other) is other
    assert same(network, other)


def test_what_was_packed_does_not_change_with_the_network() -> None:
    network = trained()
    packed = pack_network(network)
    kept = np.array(packed["network/head.bias"])
    with torch.no_grad():
        network.head.bias.add_(1.0)
    assert np.array_equal(packed["network/head.bias"], kept)
    back = unpack_network(packed)
    with torch.no_grad():
        back.get_parameter("head.bias").add_(1.0)
    assert np.array_equal(packed["network/head.bias"], kept)


def test_unpacking_leaves_the_global_random_state() -> None:
    before = torch.get_rng_state()
    unpack_network(pack_network(trained()))
    assert torch.equal(torch.get_rng_state(), before)


def spoiled() -> nn.Module:
    network = trained()
    with torch.no_grad():
        network.head.bias[1] = math.nan
    return network


def named_spec() -> nn.Module:
    network = nn.Module()
    network.register_parameter("spec", nn.Parameter(torch.ones(1)))
    return network


class Remembering(nn.Linear):
    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 3}


UNPACKABLE: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "NaN": (spoiled, "network/head.bias holds a number that is not finite"),
    "float64": (lambda: trained().double(), "a CountNetwork is stored as it is built, in float32"),
    "bfloat16": (lambda: Own().bfloat16(), "of type torch.bfloat16 cannot be stored"),
    "named like the spec": (named_spec, "the entry 'spec' of Module cannot be stored"),
    "more than tensors": (lambda: Remembering(2, 2), "_extra_state of Remembering is no tensor"),
    "no shape yet": (lambda: nn.LazyLinear(2), "weight of LazyLinear is no tensor yet"),
}


@pytest.mark.parametrize("case", UNPACKABLE)
def test_what_could_not_be_read_back_is_not_packed(case: str) -> None:
    build, message = UNPACKABLE[case]
    with pytest.raises(ArgumentError, match=message):
        pack_network(build())


def with_spec(**changes: object) -> Callable[[Packed], None]:
    """Change sizes in the spec; `...` takes one out."""

    def spoil(packed: Packed) -> None:
        spec = json.loads(packed["network/spec"]) | changes
        packed["network/spec"] = json.dumps({name: value for name, value in spec.items() if value is not ...})

    return spoil


def with_entry(name: str, value: object) -> Callable[[Packed], None]:
    return lambda packed: packed.update({f"network/{name}": value})


def without(name: str) -> Callable[[Packed], None]:
    return lambda packed: packed.pop(f"network/{name}")


HEADS, WIDTH = SG * AG, 8
UNREADABLE_SPECS: dict[str, tuple[Callable[[Packed], None], str]] = {
    "no spec": (without("spec"), "network/spec is missing, or no text"),
    "a number": (with_entry("spec", np.asarray(3)), "network/spec is missing, or no text"),
    "bytes": (with_entry("spec", np.asarray(b"{}")), "network/spec is missing, or no text"),
    "two texts": (with_entry("spec", np.asarray(["{}", "{}"])), "network/spec is missing, or no text"),
    "no JSON": (with_entry("spec", "{'family': 1}"), "network/spec is no JSON"),
    "too deep": (with_entry("spec", "[" * 100_000), "network/spec is no JSON"),
    "a huge integer": (with_entry("spec", '{"width": 1' + "0" * 5000 + "}"), "network/spec is no JSON"),
    "no object": (with_entry("spec", '["CountNetwork"]'), "network/spec must be a JSON object"),
    "no family": (with_entry("spec", "{}"), "network/spec must be a JSON object that names its family"),
    "a family of 3": (with_spec(family=3), "network/spec must be a JSON object that names its family"),
    "a foreign family": (with_spec(family="Own"), "network/spec is of the family 'Own': hand in a network"),
    "no width": (with_spec(width=...), "network/spec of a CountNetwork has family, num_sl, .*depth; not"),
    "a size too many": (with_spec(heads=3), "network/spec of a CountNetwork has family"),
    "a width of another network": (with_spec(width=7), r"hidden.0.weight has shape \[8, 4\]; expected \[7, 4\]"),
    "states of another game": (with_spec(num_sl=5), r"hidden.0.weight has shape \[8, 4\]; expected \[8, 5\]"),
    "heads of another game": (with_spec(num_ag=1), r"network/head.weight has shape \[6, 8\]; expected \[3, 8\]"),
    "a layer more": (with_spec(depth=3), "lacks network/hidden.2.weight, network/hidden.2.bias"),
    "a layer less": (with_spec(depth=1), "its architecture lacks: network/hidden.1.weight, network/hidden.1.bias"),
}
UNREADABLE_ENTRIES: dict[str, tuple[Callable[[Packed], None], str]] = {
    "none": (lambda packed: [packed.pop(name) for name in list(packed) if "spec" not in name], "width must be|in 1..0"),
    "a missing entry": (without("head.bias"), "the stored network lacks network/head.bias"),
    "a superfluous entry": (with_entry("tail", np.ones(2)), "entries that its architecture lacks: network/tail"),
    "one axis": (
        with_entry("head.weight", np.ones(48, np.float32)),
        r"head.weight has shape \[48\]; expected \[6, 8\]",
    ),
    "transposed": (with_entry("head.weight", np.ones((WIDTH, HEADS), np.float32)), r"has shape \[8, 6\]; expected"),
    "float64": (with_entry("head.bias", np.ones(HEADS)), "network/head.bias holds float64; expected float32"),
    "integers": (with_entry("head.bias", np.ones(HEADS, np.int32)), "network/head.bias holds int32; expected float32"),
    "text": (with_entry("head.bias", np.full(HEADS, "1.0")), "network/head.bias holds <U3; expected float32"),
    "big-endian": (with_entry("head.bias", np.ones(HEADS, ">f4")), "network/head.bias holds >f4; expected float32"),
    "NaN": (
        with_entry("head.bias", np.full(HEADS, np.nan, np.float32)),
        "network/head.bias holds a number that is not",
    ),
    "infinity": (with_entry("skip.weight", np.full((HEADS, SL), np.inf, np.float32)), "network/skip.weight holds a"),
}
UNREADABLE = UNREADABLE_SPECS | {f"entries: {case}": value for case, value in UNREADABLE_ENTRIES.items()}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_malformed_archive_is_refused_by_name(case: str, tmp_path: Path) -> None:
    spoil, message = UNREADABLE[case]
    packed: Packed = dict(pack_network(trained(width=WIDTH)))
    spoil(packed)
    with pytest.raises(FileFormatError, match=message):
        unpack_network(through_a_file(packed, tmp_path))
    with pytest.raises(FileFormatError, match=message):
        unpack_network(packed)


@pytest.mark.parametrize("size", [10**12, 10**4000, 0, -1, True, 8.0, math.nan, math.inf, "8", None, [8]])
@pytest.mark.parametrize("name", ["num_sl", "num_sg", "num_ag", "width", "depth"])
def test_an_absurd_size_is_refused_before_anything_is_built(name: str, size: object) -> None:
    packed: Packed = dict(pack_network(trained(width=WIDTH)))
    with_spec(**{name: size})(packed)
    with pytest.raises(FileFormatError, match=f"network/spec: {name} must be an integer in 1.."):
        unpack_network(packed)


MISFITS: dict[str, tuple[Callable[[Packed], None], nn.Module, str]] = {
    "another class": (lambda packed: None, nn.Linear(2, 2), "describes another network .*Own.* is not .*Linear"),
    "another spec": (with_spec(width=6), Own(), "describes another network"),
    "another width": (lambda packed: None, Own(width=7), r"body.0.weight has shape \[6, 4\]; expected \[7, 4\]"),
    "a missing entry": (without("mask"), Own(), "lacks network/mask"),
    "another type": (with_entry("mask", np.ones(2)), Own(), "network/mask holds float64; expected float32"),
    "NaN": (
        with_entry("head.bias", np.full(HEADS, np.nan, np.float32)),
        Own(),
        "network/head.bias holds a number that",
    ),
    "NaN in a twin": (with_entry("twin.bias", np.full(HEADS, np.nan, np.float32)), Own(), "network/twin.bias holds"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_a_network_in_hand_is_left_alone_if_it_does_not_fit(case: str) -> None:
    spoil, network, message = MISFITS[case]
    packed: Packed = dict(pack_network(Own()))
    spoil(packed)
    before = pack_network(network)
    with pytest.raises(FileFormatError, match=message):
        unpack_network(packed, network)
    after = pack_network(network)
    assert all(np.array_equal(after[name], before[name]) for name in before)


def test_a_network_in_hand_for_another_game_is_refused_though_its_arrays_fit() -> None:
    with pytest.raises(FileFormatError, match="describes another network"):
        unpack_network(pack_network(CountNetwork(SL, 3, 2)), CountNetwork(SL, 2, 3))
    packed: Packed = dict(pack_network(CountNetwork(1, 1, 1, width=1)))
    with_spec(width=True)(packed)
    with pytest.raises(FileFormatError, match="describes another network"):
        unpack_network(packed, CountNetwork(1, 1, 1, width=1))


# ---- policies

K = 6
R_G = torch.rand(SG, AG, generator=generator(9))
COUNTS = torch.tensor([[6, 0, 0, 0], [1, 2, 3, 0], [0, 3, 0, 3], [2, 2, 1, 1], [0, 0, 0, 6]])


def greedy(network: nn.Module | None = None) -> NetworkPolicy:
    return NetworkPolicy(network or trained(seed=1), R_G, 0.9, 2.5, K)


@pytest.mark.parametrize("own", [False, True])
def test_a_greedy_policy_comes_back(own: bool, tmp_path: Path) -> None:
    policy = greedy(Own().eval() if own else None)
    back = unpack_policy(through_a_file(dict(pack_policy(policy)), tmp_path), K, SL, Own() if own else None)
    assert isinstance(back, NetworkPolicy)
    assert (back.gamma, back.scale, back.k) == (0.9, 2.5, K)
    assert torch.equal(back.r_g, R_G)
    assert back.r_g.dtype == torch.float32
    assert same(back.network, policy.network)
    assert not back.network.training
    assert torch.equal(back.laws(COUNTS), policy.laws(COUNTS))


def test_the_uniform_policy_comes_back_without_a_network(tmp_path: Path) -> None:
    packed = dict(pack_policy(UniformPolicy(SG, AG)))
    assert set(packed) == {"policy/spec"}
    back = unpack_policy(through_a_file(packed, tmp_path), K, SL)
    assert isinstance(back, UniformPolicy)
    assert (back.laws(COUNTS) == 1 / AG).all()
    assert back.laws(COUNTS).shape == (5, SG, AG)


def with_policy_spec(**changes: object) -> Callable[[Packed], None]:
    """Change the policy's spec; `...` takes an entry out."""

    def spoil(packed: Packed) -> None:
        spec = json.loads(packed["policy/spec"]) | changes
        packed["policy/spec"] = json.dumps({name: value for name, value in spec.items() if value is not ...})

    return spoil


def with_r_g(value: object) -> Callable[[Packed], None]:
    return lambda packed: packed.update({"policy/r_g": value})


UNREADABLE_POLICIES: dict[str, tuple[Callable[[Packed], object], str]] = {
    "no spec": (lambda packed: packed.pop("policy/spec"), "policy/spec is missing, or no text"),
    "no JSON": (lambda packed: packed.update({"policy/spec": "{"}), "policy/spec is no JSON"),
    "no family": (with_policy_spec(family=...), "policy/spec must be a JSON object that names its family"),
    "a foreign family": (
        with_policy_spec(family="softmax"),
        "policy/spec is of the family 'softmax'; this reader knows",
    ),
    "no gamma": (with_policy_spec(gamma=...), r"policy/spec: gamma must be a number in \[0, 1\), not None"),
    "gamma 1": (with_policy_spec(gamma=1), r"policy/spec: gamma must be a number in \[0, 1\), not 1"),
    "gamma NaN": (with_policy_spec(gamma=math.nan), "policy/spec: gamma must be"),
    "gamma as text": (with_policy_spec(gamma="0.9"), "policy/spec: gamma must be"),
    "scale 0": (with_policy_spec(scale=0), r"policy/spec: scale must be a number in \(0, 1e30\], not 0"),
    "scale infinite": (with_policy_spec(scale=math.inf), "policy/spec: scale must be"),
    "no rewards": (lambda packed: packed.pop("policy/r_g"), "policy/r_g"),
    "rewards of NaN": (with_r_g(np.full((SG, AG), np.nan)), "policy/r_g.* finite"),
    "rewards of text": (with_r_g(np.full((SG, AG), "1.0")), "policy/r_g holds <U3"),
    "one axis": (with_r_g(np.ones(SG)), r"policy/r_g has shape \[3\], that is 1 axes"),
    "another game's rewards": (
        with_r_g(np.ones((AG, SG))),
        r"does not fit the stored policy: .*made shape \[3, 3, 2\]",
    ),
    "no network": (without("spec"), "network/spec is missing"),
    "a uniform one of text": (with_policy_spec(family="uniform", num_sg="3"), "policy/spec: num_sg must be an integer"),
    "a uniform one of no actions": (
        with_policy_spec(family="uniform", num_sg=3, num_ag=0),
        "policy/spec: num_ag must be an integer in 1",
    ),
}


@pytest.mark.parametrize("case", UNREADABLE_POLICIES)
def test_a_malformed_policy_is_refused_by_name(case: str) -> None:
    spoil, message = UNREADABLE_POLICIES[case]
    packed: Packed = dict(pack_policy(greedy()))
    spoil(packed)
    with pytest.raises(FileFormatError, match=message):
        unpack_policy(packed, K, SL)


def test_a_network_for_other_local_states_is_refused() -> None:
    with pytest.raises(FileFormatError, match="does not fit the stored policy: the network refused a batch"):
        unpack_policy(pack_policy(greedy()), K, SL + 1)


# ---- the archive of a solution with a network, as a stranger may have written it


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("solution") / "policy.npz"
    with cut_short():
        am.solve(am.games.make("hash"), 3, solver="neural", steps=1, network=CountNetwork(2, 2, 2, width=8)).save(path)
    return path


def changed(archive: Path, folder: Path, spoil: Callable[[Packed], object]) -> Path:
    with np.load(archive, allow_pickle=False) as stored:
        entries: Packed = {name: stored[name].item() if stored[name].ndim == 0 else stored[name] for name in stored}
    spoil(entries)
    np.savez(folder / "policy.npz", **entries)
    return folder / "policy.npz"


def with_record(**changes: object) -> Callable[[Packed], None]:
    def spoil(entries: Packed) -> None:
        record = json.loads(entries["record"]) | changes
        entries["record"] = json.dumps({name: value for name, value in record.items() if value is not ...})

    return spoil


def without_table(entries: Packed) -> None:
    entries.pop("pi_g")
    entries.pop("counts")


def test_without_its_table_a_solution_is_its_network(archive: Path, tmp_path: Path) -> None:
    whole, bare = am.Solution.load(archive), am.Solution.load(changed(archive, tmp_path, without_table))
    assert bare.pi_g is None
    assert whole.pi_g is not None
    law = bare.law(torch.tensor([[0], [1]]).expand(-1, 4), whole.simplex.counts.expand(2, -1, -1))
    assert torch.equal(law, whole.pi_g)


BROKEN: dict[str, tuple[Callable[[Packed], object], str]] = {
    "no k": (with_record(k=...), "k must be an integer"),
    "k of text": (with_record(k="3"), "k must be an integer"),
    "k of another table": (with_record(k=4), "counts of k = 3 over 2 states do not fit k or pi_l"),
    "no network and no table": (
        lambda entries: (without_table(entries), entries.pop("policy/spec")),
        "lacks the entries counts and pi_g, and has no network",
    ),
    "half a network": (lambda entries: entries.pop("network/head.bias"), "lacks network/head.bias"),
    "a network of NaN": (
        lambda entries: entries.update({"network/head.bias": np.full(4, np.nan, np.float32)}),
        "network/head.bias holds a number that is not finite",
    ),
    "a standard error of text": (with_record(history=[{"standard_error": "big"}]), "standard_error must"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_archive_is_refused(case: str, archive: Path, tmp_path: Path) -> None:
    spoil, message = BROKEN[case]
    with pytest.raises(FileFormatError, match=rf"policy\.npz holds no solution: .*{message}"):
        am.Solution.load(changed(archive, tmp_path, spoil))


def test_a_network_of_another_game_than_pi_l_is_refused(archive: Path, tmp_path: Path) -> None:
    """The local policy has three global states, the network two, and there is no table to tell by."""

    def spoil(entries: Packed) -> None:
        without_table(entries)
        entries["pi_l"] = np.full((2, 3, 2), 0.5)

    with pytest.raises(FileFormatError, match=r"policy\.npz holds no solution"):
        am.Solution.load(changed(archive, tmp_path, spoil))
