"""What is packed comes back to the last bit, on a value of the same make, and on no other."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from altmarl_torch.errors import FileFormatError
from altmarl_torch.support.snapshots import pack, pack_attributes, reading, set_attributes, unpack


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A network with its optimiser."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer

    @classmethod
    def new(cls):
        network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
        return cls(network, torch.optim.Adam(network.parameters()))

    def learn(self, steps):
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.network(torch.arange(8.0).reshape(4, 2).sin()).square().mean().backward()
            self.optimizer.step()


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """One of everything."""

    part: Part
    generator: torch.Generator
    table: torch.Tensor
    later: torch.Tensor | None = None
    pair: tuple[torch.Tensor, int] = (torch.zeros(2), 0)
    lows: list[float] = dataclasses.field(default_factory=list)
    name: str | None = None
    best: float = math.inf
    is_first: bool = True
    by_name: dict[str, torch.Tensor] = dataclasses.field(default_factory=lambda: {"a": torch.zeros(1)})


def new():
    return Value(Part.new(), torch.Generator(), torch.zeros(2, 2, dtype=torch.float64))


def lived():
    value = new()
    value.part.learn(3)
    torch.rand(5, generator=value.generator)
    return dataclasses.replace(
        value, table=torch.tensor([[0.1, 0.2], [0.3, math.pi]], dtype=torch.float64), later=torch.tensor([3, 1]),
        pair=(torch.tensor([1.0, -0.0]), 7), lows=[0.1, math.inf], name="it", best=1 / 3, is_first=False,
        by_name={"a": torch.tensor([2.5])},
    )  # fmt: skip


def test_everything_comes_back_to_the_last_bit_and_goes_on_alike():
    before = lived()
    after = unpack(new(), pack(before))
    assert torch.equal(after.table, before.table)
    assert torch.equal(after.later, before.later)
    assert after.later.dtype == torch.int64
    assert torch.equal(after.pair[0], before.pair[0])
    assert torch.signbit(after.pair[0]).tolist() == [False, True]
    assert (after.pair[1], after.lows, after.name, after.best, after.is_first) == (
        7,
        [0.1, math.inf],
        "it",
        1 / 3,
        False,
    )
    assert torch.equal(after.by_name["a"], before.by_name["a"])
    assert torch.equal(torch.rand(3, generator=after.generator), torch.rand(3, generator=before.generator))
    for part in (before.part, after.part):
        part.learn(2)
    assert all(map(torch.equal, before.part.network.state_dict().values(), after.part.network.state_dict().values()))


def test_what_is_packed_is_a_copy():
    before = lived()
    arrays = pack(before)
    before.table.zero_()
    assert arrays["table"][1, 1] == math.pi


def test_a_value_that_was_never_used_comes_back_as_well():
    after = unpack(new(), pack(new()))
    assert (after.later, after.name, after.best, after.is_first) == (None, None, math.inf, True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda arrays: arrays.pop("facts"),
        lambda arrays: arrays.update(facts=np.asarray("{")),
        lambda arrays: arrays.update(facts=np.asarray(json.dumps({}))),
        lambda arrays: arrays.pop("table"),
        lambda arrays: arrays.update(table=np.zeros((3, 2))),
        lambda arrays: arrays.update(table=np.full((2, 2), np.nan)),
        lambda arrays: arrays.pop("part/network/0.weight"),
        lambda arrays: arrays.update(generator=np.zeros(3, np.uint8)),
        lambda arrays: arrays.update({"part/network/0.weight": np.zeros((1, 1), np.float32)}),
    ],
)
def test_arrays_of_something_else_are_an_error_that_says_so(spoil):
    arrays = pack(lived())
    spoil(arrays)
    with pytest.raises(FileFormatError, match="does not fit this run"), reading():
        unpack(new(), arrays)


def test_attributes_of_an_object_come_back():
    class Owner:
        def __init__(self):
            self.steps, self.table, self.other = 0, torch.zeros(2), "mine"

    before, after = Owner(), Owner()
    before.steps, before.table, before.other = 3, torch.ones(2), "yours"
    set_attributes(after, ("steps", "table"), pack_attributes(before, ("steps", "table")))
    assert (after.steps, after.table.tolist(), after.other) == (3, [1.0, 1.0], "mine")
