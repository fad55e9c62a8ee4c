"""A learned dispatcher as arrays and text, and back: nothing is pickled, and reading runs nothing from the file.

**A stored network** is plain arrays and one text: `network/<parameter>` for every entry of its `state_dict`, and
`network/spec`, a JSON object: `family`, the name of the class, and for a `CountNetwork` its sizes (`extra` where it is
not 0), for a `StartedNetwork` its degree and k as well, of several sizes a list. Reading runs nothing from the file.
Only these two are built from their spec, once the arrays that are there have confirmed every size in it, so that a spec
cannot ask for more memory than its file takes; the network of any other class is the caller's to build, and is filled,
wholly or not at all.

**A stored policy** is its network, `policy/r_g [sg, ag]`, and one text `policy/spec`: the family ("greedy" or
"uniform"), and for a greedy one gamma and the network's unit of value (`learners.neural.policies`); where it was
learned for samples of several sizes also these, `sizes`, and `policy/nobody [sl]`.
"""

import json
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altmarl_torch.counts.degrees import MOST_DEGREE
from altmarl_torch.counts.lifted import fits
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.learners.neural.networks import CountNetwork, check_network
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy, UniformPolicy
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import StartedNetwork, columns
from altmarl_torch.learners.neural.surrogate import LARGEST_COUNTED
from altmarl_torch.support.scalars import ErrorType
from altmarl_torch.support.tables import as_finite, as_integer, as_law, as_number, as_table

__all__ = ["pack_network", "pack_policy", "read_sizes", "unpack_network", "unpack_policy"]

PREFIX = "network/"
SPEC = PREFIX + "spec"
SIZES = ("num_sl", "num_sg", "num_ag", "width", "depth")
EXTRA = "extra"
"""Columns behind the frequencies, where there are any."""

START = ("degree", "k")
"""What a `StartedNetwork` is described by beside the sizes of its network."""

POLICY, POLICY_R_G, POLICY_NOBODY = "policy/spec", "policy/r_g", "policy/nobody"

Arrays = Mapping[str, NDArray[np.generic] | str]
Layout = dict[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of every entry of a `state_dict`, by name."""


def pack_policy(policy: BatchPolicy) -> dict[str, NDArray[np.generic] | str]:
    """The entries of a stored policy.

    Raises:
        ArgumentError: its network cannot be stored (`pack_network`).
    """
    if isinstance(policy, UniformPolicy):
        return {POLICY: json.dumps({"family": "uniform", "num_sg": policy.num_sg, "num_ag": policy.num_ag})}
    if not isinstance(policy, NetworkPolicy):
        raise ArgumentError(
            f"a {type(policy).__name__} cannot be stored: only greedy and uniform policies have a file form"
        )
    spec: dict[str, object] = {"family": "greedy", "gamma": policy.gamma, "scale": policy.scale}
    entries: dict[str, NDArray[np.generic] | str] = {POLICY_R_G: policy.r_g.cpu().numpy()}
    if policy.nobody is not None:
        spec["sizes"], entries[POLICY_NOBODY] = policy.samples.numbers, policy.nobody.cpu().numpy()
    return {POLICY: json.dumps(spec)} | entries | pack_network(policy.network)


def unpack_policy(arrays: Arrays, k: int, num_sl: int, network: nn.Module | None = None) -> BatchPolicy:
    """The policy that `pack_policy` made into `arrays`, on the CPU; `network` as for `unpack_network`.

    Raises:
        FileFormatError: an entry is missing or malformed, or the network does not answer for these sizes.
    """
    spec = _read_spec(arrays, POLICY)
    if spec["family"] == "uniform":
        sizes = [as_integer(f"{POLICY}: {name}", spec.get(name), 1, 10**6, FileFormatError) for name in SIZES[1:3]]
        return UniformPolicy(*sizes)
    if spec["family"] != "greedy":
        raise FileFormatError(f"{POLICY} is of the family {spec['family']!r}; this reader knows greedy and uniform")
    gamma = as_number(f"{POLICY}: gamma", spec.get("gamma"), "[0, 1)", lambda x: 0 <= x < 1, FileFormatError)
    scale = as_number(f"{POLICY}: scale", spec.get("scale"), "(0, 1e30]", lambda x: 0 < x <= 1e30, FileFormatError)
    table = as_table(POLICY_R_G, arrays.get(POLICY_R_G, ""), "sg ag", FileFormatError)
    r_g = as_finite(POLICY_R_G, table.float(), "sg ag", FileFormatError)
    samples, network = _read_samples(spec, arrays, k, num_sl), unpack_network(arrays, network).eval()
    try:
        device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
        check_network(network, num_sl, r_g.shape[0], r_g.shape[1], device, extra=int("sizes" in spec))
    except ArgumentError as cause:
        raise FileFormatError(f"the stored network does not fit the stored policy: {cause}") from cause
    return NetworkPolicy(network, r_g, gamma, scale, *samples)


def read_sizes(name: str, sizes: object) -> SampleSizes:
    """Sizes of samples as JSON holds them; a FileFormatError where they are no growing list of whole numbers."""
    listed = sizes if isinstance(sizes, list) else []
    numbers = [as_integer(name, one, 1, 2**53, FileFormatError) for one in listed]
    if not numbers or numbers != sorted(set(numbers)):
        raise FileFormatError(f"{name} must list whole numbers, the smallest first, not {sizes!r:.60}")
    return SampleSizes.of(numbers)


def _read_samples(
    spec: Mapping[str, object], arrays: Arrays, k: int, num_sl: int
) -> tuple[int | SampleSizes, Tensor | None]:
    """What a policy's samples count: k agents; or several numbers, and the law that stands for nobody."""
    if "sizes" not in spec:
        return k, None
    sizes, nobody = (
        read_sizes(f"{POLICY}: sizes", spec["sizes"]),
        as_table(POLICY_NOBODY, arrays.get(POLICY_NOBODY, ""), "sl", FileFormatError),
    )
    as_law(POLICY_NOBODY, nobody, "sl", FileFormatError)
    if len(nobody) != num_sl or k > sizes.largest:
        raise FileFormatError(f"{POLICY} of sizes up to {sizes.largest} does not fit k = {k} over {num_sl} states")
    return sizes, nobody


def pack_network(network: nn.Module) -> dict[str, NDArray[np.generic] | str]:
    """The entries of a stored network: copies of its parameters and buffers, and its spec as JSON text.

    Raises:
        ArgumentError: an entry cannot be stored, so that what was written could not be read back: it is no tensor, of
            a type that numpy lacks or that the spec does not promise, not finite, or named like the spec.
    """
    layout, spec = _layout_of(network), _spec_of(network)
    if "spec" in layout:
        raise ArgumentError(f"the entry 'spec' of {type(network).__name__} cannot be stored: {SPEC} is its description")
    if _is_built(network) and layout != _layout_from(network.spec):
        kind = type(network).__name__
        raise ArgumentError(f"a {kind} is stored as it is built, in float32: its entries or their types differ")
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    _check_finite(state, _weights(network), ArgumentError)
    entries: dict[str, NDArray[np.generic] | str] = {SPEC: json.dumps(spec)}
    entries.update({PREFIX + name: _array(name, tensor) for name, tensor in state.items()})
    return entries


def unpack_network(arrays: Arrays, network: nn.Module | None = None) -> nn.Module:
    """The network that `pack_network` made into `arrays`; entries outside `network/` are passed over.

    Without `network`, a new `CountNetwork` or `StartedNetwork` on the CPU. Otherwise `network` itself, which must have
    the stored architecture: it is filled in place, where it lies, or left as it was if anything is wrong.

    Raises:
        FileFormatError: the spec is malformed or not of this network, a parameter is missing, superfluous, of another
            shape or type or not finite; or the stored network needs a `network` to fill, and there is none.
    """
    spec = _read_spec(arrays, SPEC)
    found = {name.removeprefix(PREFIX): np.asarray(array) for name, array in arrays.items() if name.startswith(PREFIX)}
    found.pop("spec")
    if network is None:
        sizes = _read_sizes(spec, found)
        layout, weights = _layout_from(sizes), set(found)
    else:
        _check_spec(spec, network)
        layout, weights = _layout_of(network), _weights(network)
    _check_layout(found, layout)
    state = {name: _tensor(name, found[name], dtype) for name, (_, dtype) in layout.items()}
    _check_finite(state, weights, FileFormatError)
    network = _network_of(sizes) if network is None else network
    network.load_state_dict(state)
    return network


def _spec_of(network: nn.Module) -> dict[str, object]:
    """The description under `network/spec`; a subclass of CountNetwork is a family of its own."""
    sizes = network.spec if _is_built(network) else {}
    return {"family": type(network).__name__, **sizes}


def _is_built(network: nn.Module) -> TypeGuard[CountNetwork | StartedNetwork]:
    """Whether it is of a class that is built from its spec."""
    return type(network) in (CountNetwork, StartedNetwork)


def _network_of(sizes: Mapping[str, Any]) -> CountNetwork | StartedNetwork:
    """A new network of these sizes."""
    num_sl, num_sg, num_ag, width, depth = (sizes[name] for name in SIZES)
    network = CountNetwork(num_sl, num_sg, num_ag, width=width, depth=depth, extra=sizes.get(EXTRA, 0))
    if "degree" not in sizes:
        return network
    start = torch.zeros(
        num_sg, num_ag, columns(sizes["degree"], num_sl, SampleSizes.of(sizes["k"])), dtype=torch.float32
    )
    return StartedNetwork(network, start, sizes["degree"], sizes["k"])


def _weights(network: nn.Module) -> set[str]:
    """The names that must be finite: parameters, and not buffers, which may hold a mask of infinities."""
    start = {"start"} if isinstance(network, StartedNetwork) else set[str]()
    return start | {name for name, _ in network.named_parameters(remove_duplicate=False)}


def _layout_of(network: nn.Module) -> Layout:
    """What a network in hand stores; an ArgumentError if that is more than tensors."""
    layout: Layout = {}
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor) or nn.parameter.is_lazy(tensor):
            raise ArgumentError(f"the entry {name} of {type(network).__name__} is no tensor yet, and cannot be stored")
        layout[name] = tuple(tensor.shape), tensor.dtype
    return layout


def _layout_from(sizes: Mapping[str, Any]) -> Layout:
    """What a network of these sizes stores; nothing of the kind is allocated."""
    num_sl, num_sg, num_ag, width, depth = (sizes[name] for name in SIZES)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(depth):
        shapes[f"hidden.{layer}.weight"] = (width, width if layer else num_sl + sizes.get(EXTRA, 0))
        shapes[f"hidden.{layer}.bias"] = (width,)
    heads = num_sg * num_ag
    shapes |= {"head.weight": (heads, width), "head.bias": (heads,), "skip.weight": (heads, num_sl)}
    if "degree" in sizes:
        shapes = {f"added.{name}": shape for name, shape in shapes.items()}
        shapes["start"] = num_sg, num_ag, columns(sizes["degree"], num_sl, SampleSizes.of(sizes["k"]))
    return {name: (shape, torch.float32) for name, shape in shapes.items()}


def _array(name: str, tensor: Tensor) -> NDArray[np.generic]:
    """A copy of a tensor for numpy."""
    try:
        return np.array(tensor.numpy())
    except (TypeError, RuntimeError) as cause:
        raise ArgumentError(f"the entry {name} of type {tensor.dtype} cannot be stored: {cause}") from cause


def _read_spec(arrays: Arrays, name: str) -> dict[str, object]:
    """The JSON object under `name`, with a family in it."""
    text = np.asarray(arrays.get(name, 0))
    if text.ndim or text.dtype.kind != "U":
        raise FileFormatError(f"{name} is missing, or no text")
    try:
        spec = json.loads(str(text))
    except (ValueError, RecursionError) as cause:
        raise FileFormatError(f"{name} is no JSON: {cause}") from cause
    if not isinstance(spec, dict) or not isinstance(spec.get("family"), str):
        raise FileFormatError(f"{name} must be a JSON object that names its family")
    return spec


def _read_sizes(spec: dict[str, object], found: Mapping[str, NDArray[np.generic]]) -> dict[str, Any]:
    """The sizes in a spec, none beyond the largest array, and no more layers than arrays; a degree at most k."""
    family = spec["family"]
    if family not in (CountNetwork.__name__, StartedNetwork.__name__):
        raise FileFormatError(
            f"{SPEC} is of the family {family!r}: hand in a network of that architecture to be filled"
        )
    started = family == StartedNetwork.__name__
    wanted = (*SIZES, *START) if started else SIZES
    if set(spec) - {EXTRA} != {"family", *wanted}:
        raise FileFormatError(f"{SPEC} of a {family} has family, {', '.join(wanted)}; not {list(spec)}")
    largest = max((array.size for array in found.values()), default=0)
    highest = {name: len(found) if name == "depth" else largest for name in (*SIZES, EXTRA)}
    sizes = {
        name: as_integer(f"{SPEC}: {name}", spec[name], 1, highest[name], FileFormatError)
        for name in (*SIZES, EXTRA)
        if name in spec
    }
    return sizes | _read_start(spec, sizes) if started else sizes


def _read_start(spec: Mapping[str, object], sizes: Mapping[str, int]) -> dict[str, Any]:
    """The degree of a `StartedNetwork`, and its k: anchors where the network is told sizes."""
    name, k = f"{SPEC}: k", spec["k"]
    anchors = read_sizes(name, k) if sizes.get(EXTRA) else None
    largest = as_integer(name, anchors.largest if anchors else k, 1, LARGEST_COUNTED, FileFormatError)
    degree = as_integer(f"{SPEC}: degree", spec["degree"], 1, min(largest, MOST_DEGREE), FileFormatError)
    if not fits(degree, sizes["num_sl"]):
        raise FileFormatError(f"{SPEC}: degree = {degree} over {sizes['num_sl']} states has too many coefficients")
    if anchors and anchors.numbers[0] < degree:
        raise FileFormatError(f"{name} of several sizes must be at least degree = {degree} each, not {k!r:.60}")
    return {"degree": degree, "k": anchors or largest}


def _check_spec(spec: dict[str, object], network: nn.Module) -> None:
    """Refuse to fill a network with one of another description; as text, because true is no 1."""
    stored, own = (json.dumps(one, sort_keys=True) for one in (spec, _spec_of(network)))
    if stored != own:
        raise FileFormatError(f"{SPEC} describes another network than the one to be filled: {stored} is not {own}")


def _check_layout(found: Mapping[str, NDArray[np.generic]], layout: Layout) -> None:
    """Refuse arrays whose names or shapes are not those of `layout`, naming the first at fault."""
    missing = [PREFIX + name for name in layout if name not in found]
    if missing:
        raise FileFormatError(f"the stored network lacks {', '.join(missing)}")
    surplus = [PREFIX + name for name in found if name not in layout]
    if surplus:
        raise FileFormatError(f"the stored network has entries that its architecture lacks: {', '.join(surplus)}")
    for name, (shape, _) in layout.items():
        if found[name].shape != shape:
            raise FileFormatError(f"{PREFIX}{name} has shape {list(found[name].shape)}; expected {list(shape)}")


def _tensor(name: str, array: NDArray[np.generic], dtype: torch.dtype) -> Tensor:
    """A copy of an array as a tensor, if that has the type `dtype`."""
    try:
        tensor = torch.from_numpy(np.array(array))
    except (TypeError, ValueError):  # text, or bytes in the order of another machine
        tensor = None
    if tensor is None or tensor.dtype != dtype:
        raise FileFormatError(f"{PREFIX}{name} holds {array.dtype}; expected {str(dtype).removeprefix('torch.')}")
    return tensor


def _check_finite(state: Mapping[str, Tensor], weights: set[str], error: ErrorType) -> None:
    """Refuse a weight that is infinite or missing."""
    for name, tensor in state.items():
        if name in weights and not bool(tensor.isfinite().all()):
            raise error(f"{PREFIX}{name} holds a number that is not finite")
