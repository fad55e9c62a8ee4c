r"""Networks for simulators: values of (s_g, sample) that do not depend on the sample's order, and of (s_l, s_g).

**The set network.** With phi a small network of one agent's features, psi the features of s_g and

    z = (1/k) sum_i phi(s_i),

    C(s_g, sample, a) = z . W(s_g)_a + body([z, psi(s_g)])_a.

A dispatcher that remembers hands its memory in behind s_g; it stands beside psi(s_g) then.

The first term, linear in the mean of learned features, is exact for a plan that does not look again: its
value is a sum over the agents. The body sees the rest.

**A network of your own** is any module with `forward(s_g [b, dg], sample [b, k, dl])` to `[b, ag]`. If the answers at
several s_g for one sample share work, give it the two methods of `SetNetwork` as well: `pool(sample [b, k, dl])` to
`[b, z]`, and `heads(s_g [..., dg], z [..., z])` to `[..., ag]`.
"""

from typing import Protocol, runtime_checkable

import torch
from einops import einsum
from torch import Tensor, nn

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.simulated.features import Features, Frame, difference
from altmarl_torch.simulators.game import beside

__all__ = ["LocalValues", "SetNetwork", "check_set_network", "dense", "initialise", "values_at"]

POOLED, WIDTH = 32, 64
"""Of what is known of a sample, and of hidden layers."""


@runtime_checkable
class Pooling(Protocol):
    """A network that reads a sample once for many s_g."""

    def pool(self, sample: Tensor) -> Tensor:
        """What is known of samples `[b, k, dl]`: `[b, z]`."""

    def heads(self, s_g: Tensor, pooled: Tensor) -> Tensor:
        """Values at s_g `[..., dg]` for pooled samples `[..., z]`: `[..., ag]`."""


class SetNetwork(nn.Module):
    """C(s_g, sample, a) of the module's page.

    Args:
        leader, local: where the states lie.
        num_ag: number of global actions.
        generator: of the first weights.
        remembered: numbers of a memory that come behind s_g.
    """

    def __init__(
        self, leader: Frame, local: Frame, num_ag: int, generator: torch.Generator, remembered: int = 0
    ) -> None:
        super().__init__()
        self.psi, self.phi = Features(leader), Features(local)
        self.dg, context = leader.space.d, self.psi.width + remembered
        self.agent = nn.Sequential(dense(self.phi.width, POOLED), nn.SiLU(), dense(POOLED, POOLED))
        self.weights = nn.Sequential(dense(context, WIDTH), nn.SiLU(), dense(WIDTH, num_ag * POOLED))
        sizes = POOLED + context, WIDTH, WIDTH
        hidden = [dense(sizes[i], sizes[i + 1]) for i in range(2)]
        self.body = nn.Sequential(hidden[0], nn.SiLU(), hidden[1], nn.SiLU(), dense(WIDTH, num_ag))
        initialise(self, generator)

    def pool(self, sample: Tensor) -> Tensor:
        """The mean of learned features: `[b, k, dl]` to `[b, z]`."""
        pooled: Tensor = self.agent(self.phi(sample)).mean(-2)
        return pooled

    def heads(self, s_g: Tensor, pooled: Tensor) -> Tensor:
        """C at s_g `[..., dg]` for pooled samples `[..., z]`: `[..., ag]`."""
        psi = torch.cat([self.psi(s_g[..., : self.dg]), s_g[..., self.dg :]], -1)
        weights = self.weights(psi).unflatten(-1, (-1, POOLED))
        body: Tensor = self.body(torch.cat([pooled, psi], -1))
        linear: Tensor = einsum(weights, pooled, "... a z, ... z -> ... a")
        return linear + body

    def forward(self, s_g: Tensor, sample: Tensor) -> Tensor:
        """C at s_g `[b, dg]` for samples `[b, k, dl]`: `[b, ag]`."""
        return self.heads(s_g, self.pool(sample))


class LocalValues(nn.Module):
    """C_l(s_l, s_g, a_l), what one agent may expect: s_l `[..., dl]` and s_g `[..., dg]` to `[..., al]`."""

    def __init__(self, leader: Frame, local: Frame, num_al: int, generator: torch.Generator) -> None:
        super().__init__()
        apart = difference(local, leader)
        self.dl = local.space.d
        self.psi, self.phi = Features(leader), Features(local)
        self.apart = None if apart is None else Features(apart)
        width = self.psi.width + self.phi.width + (0 if self.apart is None else self.apart.width)
        hidden = dense(width, WIDTH), dense(WIDTH, WIDTH)
        self.body = nn.Sequential(hidden[0], nn.SiLU(), hidden[1], nn.SiLU(), dense(WIDTH, num_al))
        initialise(self, generator)

    def features(self, s_l: Tensor, s_g: Tensor) -> Tensor:
        """What the body sees of both states: `[..., width]`."""
        parts = [self.phi(s_l), self.psi(s_g)]
        if self.apart is not None:
            parts.append(self.apart(s_l - s_g))
        return torch.cat(parts, -1)

    def forward(self, s_l: Tensor, s_g: Tensor) -> Tensor:
        """Values of the local actions."""
        values: Tensor = self.body(self.features(s_l, s_g))
        return values


def dense(inputs: int, outputs: int) -> nn.Linear:
    """A linear layer of float32 whose weights are still to be filled; nothing is drawn."""
    return nn.Linear(inputs, outputs, device="meta", dtype=torch.float32).to_empty(device="cpu")


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """First weights of linear layers from the generator: uniform within 1 / sqrt(inputs)."""
    with torch.no_grad():
        for parameter in network.parameters():
            bound = 1 / parameter.shape[-1] ** 0.5
            drawn = torch.rand(parameter.shape, generator=generator, dtype=torch.float32, device=generator.device)
            parameter.copy_((2 * drawn - 1) * bound)


def values_at(network: nn.Module, s_g: Tensor, sample: Tensor) -> Tensor:
    """C at several global states s_g `[b, m, dg]` for one sample each `[b, k, dl]`: `[b, m, ag]`."""
    if isinstance(network, Pooling):
        return network.heads(s_g, beside(network.pool(sample), s_g))
    (b, m, dg), shape = s_g.shape, sample.shape[1:]
    answer: Tensor = network(s_g.reshape(b * m, dg), sample.unsqueeze(1).expand(b, m, *shape).reshape(b * m, *shape))
    return answer.reshape(b, m, -1)


def check_set_network(network: object, s_g: Tensor, sample: Tensor, num_ag: int) -> None:
    """Raise an ArgumentError unless the network answers s_g `[b, dg]` and samples `[b, k, dl]` with `[b, ag]`."""
    if not isinstance(network, nn.Module):
        raise ArgumentError(f"network must be a torch.nn.Module, not {type(network).__name__}")
    try:
        with torch.no_grad():
            found = network(s_g, sample)
    except Exception as cause:
        said = " ".join(str(cause).split())
        shapes = f"{list(s_g.shape)} and {list(sample.shape)}"
        raise ArgumentError(
            f"network raised {type(cause).__name__} for s_g and a sample of {shapes}: {said}"
        ) from cause
    if not isinstance(found, Tensor) or tuple(found.shape) != (len(s_g), num_ag):
        shape = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ArgumentError(f"network answers with {shape}; expected {[len(s_g), num_ag]}, a value per global action")
