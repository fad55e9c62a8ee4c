"""Networks on count histograms: seeded without the global state, zero at first, and refused by name."""

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from oracles.networks import AG, AL, SG, SL, Own, frequencies, generator, same, trained
from torch import Tensor, nn

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork, check_network
from altmarl_torch.learners.neural.storage import pack_network

CPU = torch.device("cpu")


# ---- CountNetwork


@pytest.mark.parametrize(("width", "depth"), [(1, 1), (8, 1), (8, 2), (5, 4)])
def test_a_count_network_answers_for_every_state_and_action(width: int, depth: int) -> None:
    network = trained(width=width, depth=depth)
    assert network(frequencies()).shape == (7, SG, AG)
    assert network.spec == {"num_sl": SL, "num_sg": SG, "num_ag": AG, "width": width, "depth": depth}
    assert CountNetwork(**network.spec).spec == network.spec  # type: ignore[arg-type]
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_its_heads_are_read_state_by_state() -> None:
    network = CountNetwork(SL, SG, AG)
    with torch.no_grad():
        network.head.bias.copy_(torch.arange(SG * AG))
    assert network(frequencies(1))[0].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]


def test_it_begins_with_the_rewards_alone() -> None:
    assert not CountNetwork(SL, SG, AG, generator=generator(3))(frequencies()).any()


def test_the_uniform_histogram_is_the_origin_and_the_skip_is_linear() -> None:
    network = CountNetwork(SL, SG, AG)
    with torch.no_grad():
        network.skip.weight.normal_(generator=generator(1))
    assert not network(torch.full((1, SL), 1 / SL)).any()
    corners = network(torch.eye(SL))
    mixture = torch.einsum("bz,zga->bga", frequencies(), corners)
    torch.testing.assert_close(network(frequencies()), mixture)


def test_hidden_layers_are_drawn_like_those_of_torch() -> None:
    network = CountNetwork(SL, SG, AG, width=8, depth=2, generator=generator(5))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        usual = nn.ModuleList([nn.Linear(SL, 8), nn.Linear(8, 8)])
    assert same(network.hidden, usual)


def test_gradients_reach_every_parameter() -> None:
    network = CountNetwork(SL, SG, AG, width=8)
    descent = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # behind the zero head, the hidden layers learn from the second step on
        descent.zero_grad()
        (network(frequencies()) - 1.0).square().mean().backward()
        descent.step()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("build", [CountNetwork, LocalNetwork])
def test_weights_come_from_the_generator_and_from_nowhere_else(build: type) -> None:
    before = torch.get_rng_state()
    first, again, other = (build(SL, SG, AG, generator=generator(seed)) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    assert same(build(SL, SG, AG), build(SL, SG, AG, generator=generator(0)))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_default_type_of_the_caller_changes_nothing() -> None:
    usual = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        network, local = CountNetwork(SL, SG, AG), LocalNetwork(SL, SG, AL)
    finally:
        torch.set_default_dtype(usual)
    assert same(network, CountNetwork(SL, SG, AG))
    assert same(local, LocalNetwork(SL, SG, AL))


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "8", None])
@pytest.mark.parametrize("name", ["width", "depth", "num_sl", "num_sg", "num_ag"])
def test_sizes_are_integers_from_one_on(name: str, size: object) -> None:
    sizes: Any = {"num_sl": SL, "num_sg": SG, "num_ag": AG, name: size}
    with pytest.raises(ArgumentError, match=f"{name} must be an integer at least 1, not"):
        CountNetwork(**sizes)


def test_integers_of_numpy_are_welcome() -> None:
    two: Any = np.int64(2)
    network = CountNetwork(two, two, two, width=two, depth=two)
    assert network(torch.full((1, 2), 0.5)).shape == (1, 2, 2)
    assert {type(size) for size in network.spec.values()} == {int}


# ---- LocalNetwork


def test_a_local_network_answers_for_all_states_and_begins_uniform() -> None:
    network = LocalNetwork(SL, SG, AL, embedding=3, width=7)
    assert network().shape == (SL, SG, AL)
    assert not network().any()


def test_a_local_network_tells_states_apart_and_all_of_it_learns() -> None:
    network = LocalNetwork(SL, SG, AL, generator=generator(2))
    with torch.no_grad():
        network.head.weight.normal_(generator=generator(3))
    logits = network()
    assert len(torch.unique(logits.reshape(-1, AL), dim=0)) == SL * SG
    logits.log_softmax(-1)[..., 0].sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name


@pytest.mark.parametrize("name", ["num_sl", "num_sg", "num_al", "embedding", "width"])
def test_a_local_network_checks_its_sizes(name: str) -> None:
    sizes: Any = {"num_sl": SL, "num_sg": SG, "num_al": AL, name: 0}
    with pytest.raises(ArgumentError, match=f"{name} must be an integer at least 1, not 0"):
        LocalNetwork(**sizes)


# ---- check_network


def answering(answer: Callable[[Tensor], object]) -> nn.Module:
    """A module with something to train, whatever it answers."""

    class Answering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, frequencies: Tensor) -> object:
            return answer(frequencies)

    return Answering()


REFUSED: dict[str, tuple[object, str]] = {
    "a function": (lambda f: f, "must be a torch.nn.Module, not a function"),
    "a class": (CountNetwork, "not the class CountNetwork"),
    "nothing to train": (nn.Sequential(nn.Flatten()), "Sequential has no trainable parameters"),
    "frozen": (Own().requires_grad_(False), "Own has no trainable parameters"),
    "elsewhere": (CountNetwork(SL, SG, AG).to("meta"), r"hidden.0.weight lies on meta, but the game on cpu"),
    "raises": (nn.Linear(SL + 1, 2), r"refused a batch of frequencies of shape \[3, 4\]: RuntimeError: mat1 and mat2"),
    "of float64": (trained().double(), r"refused a batch of frequencies of shape \[3, 4\]: RuntimeError"),
    "a flat answer": (
        nn.Linear(SL, SG * AG),
        r"made shape \[3, 6\] of torch.float32 from frequencies \[batch, sl\] = \[3, 4\]; "
        r"needed are values \[batch, sg, ag\] = \[3, 3, 2\]",
    ),
    "another game": (CountNetwork(SL, AG, SG), r"made shape \[3, 2, 3\]"),
    "integers": (answering(lambda f: torch.zeros(3, SG, AG, dtype=torch.int64)), "of torch.int64"),
    "a tuple": (answering(lambda f: (torch.zeros(3, SG, AG), None)), r"made a tuple from .*needed are values"),
    "answers elsewhere": (answering(lambda f: torch.zeros(3, SG, AG, device="meta")), "answered on meta"),
    "NaN": (answering(lambda f: torch.full((3, SG, AG), math.nan)), "not finite"),
    "infinity": (answering(lambda f: f.log().mean(-1).expand(SG, AG, -1).permute(2, 0, 1)), "not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_serve_is_refused(case: str) -> None:
    network, message = REFUSED[case]
    with pytest.raises(ArgumentError, match=message):
        check_network(network, SL, SG, AG, CPU)


@pytest.mark.parametrize("network", [CountNetwork(SL, SG, AG), Own(), Own().eval(), trained(depth=1)])
def test_what_can_serve_is_accepted_and_left_as_it_was(network: nn.Module) -> None:
    before, random = pack_network(network), torch.get_rng_state()
    check_network(network, SL, SG, AG, CPU)
    after = pack_network(network)
    assert all(np.array_equal(after[name], before[name]) for name in before)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("fails", [False, True])
def test_the_modes_are_left_as_they_were(fails: bool) -> None:
    network = Own()
    network.body[1].eval()  # a user may freeze one layer's statistics
    if fails:
        network.twin = nn.Linear(1, 1)
    with pytest.raises(ArgumentError, match="refused a batch") if fails else nullcontext():
        check_network(network, SL, SG, AG, CPU)
    assert [module.training for module in network.body] == [True, False, True]
    assert network.training


class Watched(nn.Module):
    """Writes down the modes in which it is asked."""

    seen: ClassVar[list[bool]] = []

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(SL, SG * AG)

    def forward(self, frequencies: Tensor) -> Tensor:
        self.seen.append(self.training)
        return self.layer(frequencies).reshape(-1, SG, AG)


def test_the_trial_is_of_a_copy_in_eval_mode() -> None:
    network = Watched()
    check_network(network, SL, SG, AG, CPU)
    assert network.training
    assert Watched.seen == [False] * 3


class Detached(Watched):
    def forward(self, frequencies: Tensor) -> Tensor:
        return super().forward(frequencies).detach()


class ForThree(Watched):
    def forward(self, frequencies: Tensor) -> Tensor:
        return self.layer(frequencies).reshape(3, SG, AG)


class Uncopied(Watched):
    def __deepcopy__(self, memo: object) -> "Uncopied":
        raise TypeError("no copies")


@pytest.mark.parametrize(
    ("network", "message"),
    [(Detached(), "no gradient"), (ForThree(), r"\[2, "), (Uncopied(), "cannot be copied: no copies")],
)
def test_a_network_that_would_fail_later_is_refused_now(network: nn.Module, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        check_network(network, SL, SG, AG, CPU)
