"""Networks on count histograms, what may serve as one, and how one is stored.

The global agent's policy is read from values at the *frequencies* f = h/k, the counts of the k sampled agents divided
by k: a point of the simplex over the local states, whatever k is. A count network answers a batch of them for all
global states and actions at once, `[b, sl] -> [b, sg, ag]`: the value of what follows (s_g, a_g, h), in units of a
scale that the caller owns.

`CountNetwork`
    With x = |S_l| f - 1, whose origin is the uniform histogram, and phi_1 ... phi_depth affine layers,

        V(f) = skip x + head SiLU(phi_depth(... SiLU(phi_1(x)))).

    * *The skip.*  Let the local policy be frozen, and let a plan choose a_g from s_g and the time, but never look at
      the counts. Then the agents move independently of each other given the path of s_g, each adds its share of the
      reward, and the value of the plan is **linear** in f. The best plan is a maximum of linear functions. So the
      skip holds one plan per (s_g, a_g), and the body what choosing between plans, and looking, add to it.
    * *The start.*  Head and skip begin at zero: V = 0, and the first action values are the rewards alone.
    * *No attention.*  phi_1 is a set encoder already: its column z is the embedding of the local state z, and
      sum_z column_z f(z) is the mean of the agents' embeddings. Attention would relate agents whatever their order,
      but counting has removed the order, and whatever agents of finitely many states can tell together is a function
      of f.

`LocalNetwork`
    A shared local policy with parameters: logits of pi_l(a_l | s_l, s_g) from one embedding of s_l plus one of s_g.
    It begins with equal logits, the uniform policy.

**Random numbers** come from a `torch.Generator`; torch's global random state is neither read nor advanced. Layers
are therefore born without storage (on the device `meta`, where nothing is drawn), and filled here, on the
generator's device, in float32, with the laws and in the order of `nn.Linear` itself.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from einops import rearrange
from torch import Tensor, nn

from altmarl_torch.counts.lifted import of_groups
from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import as_integer

__all__ = ["CountNetwork", "LocalNetwork", "check_network"]


class CountNetwork(nn.Module):
    """Values of all (s_g, a_g) at frequencies of local states: a linear skip and a SiLU body (module docstring).

    Args:
        num_sl, num_sg, num_ag: sizes of the game.
        width: units of a hidden layer.
        depth: hidden layers.
        extra: columns behind the frequencies, which the body reads and the skip does not: 1 for samples of several
            sizes (`learners.neural.samples`).
        generator: draws the hidden layers, and says on which device the network lies; None is a fresh one on the CPU,
            seeded 0.

    Raises:
        ArgumentError: a size is no integer, or less than 1 (`extra`: 0).
    """

    def __init__(
        self,
        num_sl: int,
        num_sg: int,
        num_ag: int,
        *,
        width: int = 128,
        depth: int = 2,
        extra: int = 0,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self._spec = _as_sizes(num_sl=num_sl, num_sg=num_sg, num_ag=num_ag, width=width, depth=depth)
        num_sl, num_sg, num_ag, width, depth = self._spec.values()
        self._extra = as_integer("extra", extra, 0, math.inf, ArgumentError)
        generator = _as_generator(generator)
        inputs, heads = [num_sl + self._extra] + [width] * (depth - 1), num_sg * num_ag
        self.hidden = nn.ModuleList(_drawn_linear(size, width, generator) for size in inputs)
        self.head = _zero_linear(width, heads, generator.device)
        self.skip = _zero_linear(num_sl, heads, generator.device, bias=False)

    @property
    def spec(self) -> dict[str, int]:
        """The constructor's sizes, by keyword: `CountNetwork(**network.spec)` has the same parameters' shapes."""
        return self._spec | ({"extra": self._extra} if self._extra else {})

    @property
    def answers_zero(self) -> bool:
        """Whether it answers zero everywhere, as it does before it has been trained."""
        last = self.head.weight, self.head.bias, self.skip.weight
        return not any(bool(weights.any()) for weights in last)

    def forward(self, frequencies: Tensor) -> Tensor:
        """Values [batch, sg, ag] for frequencies h/k [batch, sl], float32, each row a law over the local states.

        Columns of `extra` stand behind them.
        """
        x, features = self._body(frequencies)
        values: Tensor = rearrange(
            self.head(features) + self.skip(x), "b (sg ag) -> b sg ag", sg=self._spec["num_sg"], ag=self._spec["num_ag"]
        )
        return values

    def heads(self, frequencies: Tensor, s_g: Tensor) -> Tensor:
        """Values [batch, ag] of one global state each, s_g [batch]: the others' are not worked out."""
        x, features = self._body(frequencies)
        num_sg, num_ag = self._spec["num_sg"], self._spec["num_ag"]
        weight = rearrange(torch.cat([self.head.weight, self.skip.weight], 1), "(sg ag) c -> sg ag c", sg=num_sg)
        values: Tensor = of_groups(s_g, torch.cat([features, x], 1), weight) + self.head.bias.view(num_sg, num_ag)[s_g]
        return values

    def _body(self, frequencies: Tensor) -> tuple[Tensor, Tensor]:
        """What the skip and the heads read: `[batch, sl]` and `[batch, width]`."""
        num_sl = self._spec["num_sl"]
        x = num_sl * (frequencies[:, :num_sl] if self._extra else frequencies) - 1.0
        features = torch.cat([x, frequencies[:, num_sl:]], -1) if self._extra else x
        for layer in self.hidden:
            features = nn.functional.silu(layer(features))
        return x, features


class LocalNetwork(nn.Module):
    """The logits of a local policy pi_l(a_l | s_l, s_g) that all local agents share (module docstring).

    Args:
        num_sl, num_sg, num_al: sizes of the game.
        embedding: numbers that describe one state.
        width: units of the hidden layer.
        generator: draws embeddings and hidden layer, and says on which device the network lies; None is a fresh one on
            the CPU, seeded 0.

    Raises:
        ArgumentError: a size is no integer, or less than 1.
    """

    def __init__(
        self,
        num_sl: int,
        num_sg: int,
        num_al: int,
        *,
        embedding: int = 16,
        width: int = 64,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        sizes = _as_sizes(num_sl=num_sl, num_sg=num_sg, num_al=num_al, embedding=embedding, width=width)
        num_sl, num_sg, num_al, embedding, width = sizes.values()
        generator = _as_generator(generator)
        self.embedding_sl = _drawn_embedding(num_sl, embedding, generator)  # [sl, embedding]
        self.embedding_sg = _drawn_embedding(num_sg, embedding, generator)  # [sg, embedding]
        self.hidden = _drawn_linear(embedding, width, generator)
        self.head = _zero_linear(width, num_al, generator.device)

    def forward(self) -> Tensor:
        """Logits [sl, sg, al] for all states at once; pi_l is their softmax over the last axis."""
        pairs = self.embedding_sl.unsqueeze(1) + self.embedding_sg  # [sl, sg, embedding]
        logits: Tensor = self.head(nn.functional.silu(self.hidden(pairs)))
        return logits


def check_network(network: object, num_sl: int, num_sg: int, num_ag: int, device: torch.device, extra: int = 0) -> None:
    """Refuse what cannot serve as a count network for a game of these sizes on `device`.

    A copy of it is tried on three histograms, and on two, in eval mode; with `extra` columns of ones behind them.

    Raises:
        ArgumentError: it is no module, has nothing to train, cannot be copied or lies elsewhere; or it raised on
            frequencies [3, sl + extra], did not answer with finite floating-point numbers [3, sg, ag] on the same
            device, or its answer has no gradient.
    """
    if not isinstance(network, nn.Module):
        given = f"the class {network.__name__}" if isinstance(network, type) else f"a {type(network).__name__}"
        raise ArgumentError(f"a network must be a torch.nn.Module, not {given}")
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ArgumentError(f"the network {type(network).__name__} has no trainable parameters")
    frequencies = _probe(num_sl, device, extra)
    _check_placement(network, frequencies.device)
    trial = _copy(network)
    for rows in (frequencies, frequencies[:2]):
        _check_output(_call(trial, rows), rows, (num_sg, num_ag))
    with torch.enable_grad():
        if not trial.eval()(frequencies).requires_grad:
            raise ArgumentError(
                f"the answer of the network {type(network).__name__} has no gradient: it cannot be trained"
            )


def _copy(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network)
    except Exception as cause:
        raise ArgumentError(f"the network {type(network).__name__} cannot be copied: {cause}") from cause


def _as_sizes(**sizes: object) -> dict[str, int]:
    """Sizes by keyword, each an integer from 1 on."""
    return {name: as_integer(name, size, 1, math.inf, ArgumentError) for name, size in sizes.items()}


def _as_generator(generator: torch.Generator | None) -> torch.Generator:
    """The caller's generator, or a fresh one on the CPU, seeded 0."""
    return torch.Generator("cpu").manual_seed(0) if generator is None else generator


def _empty_linear(inputs: int, outputs: int, device: torch.device, bias: bool) -> nn.Linear:
    """A float32 layer with storage but no values: `nn.Linear` draws none on the device `meta`.

    Each parameter is set by itself: `to_empty` leads torch to import SymPy, which takes longer than a small training.
    """
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta", dtype=torch.float32)
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(torch.empty(parameter.shape, dtype=torch.float32, device=device)))
    return layer


def _zero_linear(inputs: int, outputs: int, device: torch.device, bias: bool = True) -> nn.Linear:
    """A layer that answers zero until it is trained."""
    layer = _empty_linear(inputs, outputs, device, bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def _drawn_linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A layer drawn like `nn.Linear` draws itself: weight, then bias, both uniform within +-1/sqrt(inputs)."""
    layer = _empty_linear(inputs, outputs, generator.device, bias=True)
    bound = 1.0 / math.sqrt(inputs)
    nn.init.kaiming_uniform_(layer.weight, a=math.sqrt(5.0), generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer


def _drawn_embedding(states: int, size: int, generator: torch.Generator) -> nn.Parameter:
    """One standard normal vector per state: [states, size], float32."""
    vectors = torch.empty(states, size, dtype=torch.float32, device=generator.device)
    return nn.Parameter(nn.init.normal_(vectors, generator=generator))


def _probe(num_sl: int, device: torch.device, extra: int) -> Tensor:
    """Three histograms [3, sl]: all agents in the first state, all in the last, evenly spread; and columns of ones."""
    frequencies = torch.zeros(3, num_sl, dtype=torch.float32, device=device)
    frequencies[0, 0] = frequencies[1, -1] = 1.0
    frequencies[2] = 1.0 / num_sl
    return torch.cat([frequencies, frequencies.new_ones(3, extra)], -1)


def _check_placement(network: nn.Module, device: torch.device) -> None:
    """Refuse a network with a parameter or buffer on another device, naming the first."""
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        if tensor.device != device:
            raise ArgumentError(
                f"the network's {name} lies on {tensor.device}, but the game on {device}: move it there"
            )


def _call(network: nn.Module, frequencies: Tensor) -> object:
    """What the network answers in eval mode without gradients."""
    try:
        with torch.no_grad(), _eval_mode(network):
            return network(frequencies)
    except Exception as cause:
        raise ArgumentError(
            f"the network refused a batch of frequencies of shape {list(frequencies.shape)}: "
            f"{type(cause).__name__}: {cause}"
        ) from cause


@contextmanager
def _eval_mode(network: nn.Module) -> Iterator[None]:
    """Eval mode inside, and after it the mode that each module was in."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _check_output(output: object, frequencies: Tensor, heads: tuple[int, int]) -> None:
    """Refuse an answer that is no finite floating-point tensor [batch, sg, ag] next to its input."""
    asked, needed = list(frequencies.shape), [len(frequencies), *heads]
    rule = f"from frequencies [batch, sl] = {asked}; needed are values [batch, sg, ag] = {needed} in floating point"
    if not isinstance(output, Tensor):
        raise ArgumentError(f"the network made a {type(output).__name__} {rule}")
    if list(output.shape) != needed or not output.is_floating_point():
        raise ArgumentError(f"the network made shape {list(output.shape)} of {output.dtype} {rule}")
    if output.device != frequencies.device:
        raise ArgumentError(f"the network answered on {output.device}, but the frequencies lie on {frequencies.device}")
    if not bool(output.isfinite().all()):
        raise ArgumentError(f"the network made values that are not finite from frequencies of shape {asked}")
