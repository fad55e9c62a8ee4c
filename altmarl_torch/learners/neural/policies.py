r"""Global policies that are functions of the counts: greedy in a network, or uniform.

The learned pi_g is greedy in Q = r + gamma C (`surrogate`). Neither the local agents' reward nor any common offset of
the values depends on a_g, so

    pi_g(s_g, h) = argmax_a  r_g(s_g, a) + gamma C(s_g, h, a)

needs r_g, gamma and the network alone: that is all a `NetworkPolicy` holds, and all that a file has to keep. Ties go to
the smallest action; in float32 two values are hardly ever equal.

Every policy here is a `heuristics.Rule` too, so `RuleDispatcher` deploys it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import own_heads
from altmarl_torch.policies.tabular import one_hot
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import check_indices, refuse_booleans

__all__ = ["BatchPolicy", "NetworkPolicy", "UniformPolicy", "tabulate"]

READING = 1e-4
"""How far k frequencies in float32 may be from a sum of k, relative to k."""

CHUNK = 2**14
"""Count vectors that are sent through a network at once."""


class BatchPolicy(Protocol):
    """A pi_g that answers batches of counts, for all global states or for one each."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of global states and actions."""

    def laws(self, counts: Tensor) -> Tensor:
        """pi_g(. | s_g, h) for every s_g: counts `[b, sl]` to `[b, sg, ag]`, float32."""

    def average(self, counts: Tensor, Q: Tensor) -> Tensor:
        """sum_a pi_g(a | s_g, h) Q(s_g, h, a) for every s_g: counts `[b, sl]` and Q `[b, sg, ag]` to `[b, sg]`."""

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """pi_g(. | s_g, h) as a `Rule`: s_g `[...]` and counts `[..., sl]` to `[..., ag]`, float64."""


@dataclass(frozen=True, eq=False)
class NetworkPolicy:
    """Greedy in r_g + gamma C.

    Attributes:
        network: frequencies h/k `[b, sl]` to C in units of `scale`, `[b, sg, ag]`.
        r_g: `[sg, ag]`, float32.
        gamma: discount factor.
        scale: units of value per unit of the network.
        k: how many agents the counts count; or several numbers, of which each row is one (`samples`).
        nobody: `[sl]`, of several: the law that stands for a sample of nobody, read as one of the most agents.
    """

    network: nn.Module
    r_g: Tensor
    gamma: float
    scale: float
    k: int | SampleSizes
    nobody: Tensor | None = None

    __repr__ = brief

    @property
    def samples(self) -> SampleSizes:
        """How many agents the counts count."""
        return SampleSizes.of(self.k)

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of global states and actions."""
        return self.r_g.shape[0], self.r_g.shape[1]

    @torch.no_grad()
    def actions(self, counts: Tensor, s_g: Tensor | None = None) -> Tensor:
        """The greedy action in every global state, `[b, sg]`, or in one each, s_g `[b]`: `[b]`; counts `[b, sl]`.

        Counts may be k times frequencies: the network reads these.

        Raises:
            ArgumentError: a row of counts does not sum to k, or a global state is none of the game's.
        """
        samples = self.samples
        refuse_booleans("counts", counts, ArgumentError)
        if self.nobody is not None:
            counts = torch.where(counts.sum(-1, keepdim=True) > 0, counts, self.nobody * samples.largest)
        samples.check(counts, READING)
        inputs = samples.inputs(counts.float())
        if s_g is None:
            return torch.add(self.r_g, self.network(inputs).float(), alpha=self.gamma * self.scale).argmax(-1)
        check_indices("s_g", s_g, len(self.r_g))
        return torch.add(self.r_g[s_g], own_heads(self.network, inputs, s_g), alpha=self.gamma * self.scale).argmax(-1)

    def laws(self, counts: Tensor) -> Tensor:
        """The greedy law in every global state: `[b, sg, ag]`, float32."""
        return one_hot(self.actions(counts), self.r_g.shape[-1]).float()

    def average(self, counts: Tensor, Q: Tensor) -> Tensor:
        """Q of the greedy action in every global state: `[b, sg]`."""
        return Q.gather(-1, self.actions(counts).unsqueeze(-1)).squeeze(-1)

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The greedy law: s_g `[...]` and counts `[..., sl]` to `[..., ag]`, float64."""
        return one_hot(self.choose(s_g, counts), self.r_g.shape[-1])

    def choose(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The greedy action: s_g `[...]` and counts `[..., sl]` to `[...]`, int64."""
        check_indices("s_g", s_g, len(self.r_g))
        rows, states = counts.reshape(-1, counts.shape[-1]), s_g.reshape(-1)
        parts = zip(torch.split(rows, CHUNK), torch.split(states, CHUNK), strict=True)
        chosen = torch.cat([self.actions(part, own) for part, own in parts])
        return chosen.reshape(s_g.shape)


@dataclass(frozen=True, eq=False)
class UniformPolicy:
    """Every action alike: where Algorithm 3 starts."""

    num_sg: int
    num_ag: int

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of global states and actions."""
        return self.num_sg, self.num_ag

    def laws(self, counts: Tensor) -> Tensor:
        """The uniform law in every global state: `[b, sg, ag]`, float32."""
        shape = (len(counts), self.num_sg, self.num_ag)
        return torch.full(shape, 1.0 / self.num_ag, dtype=torch.float32, device=counts.device)

    def average(self, counts: Tensor, Q: Tensor) -> Tensor:
        """The mean over actions in every global state: `[b, sg]`."""
        return Q.mean(-1)

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The uniform law: `[..., ag]`, float64."""
        law = torch.full((self.num_ag,), 1.0 / self.num_ag, dtype=torch.float64, device=s_g.device)
        return law.expand(*s_g.shape, -1)


def tabulate(policy: BatchPolicy, simplex: CountSimplex) -> Tensor:
    """The law at every count vector, in rank order: `[sg, N, ag]`, 0 and 1 as uint8, other laws as float64.

    Raises:
        SizeError: the simplex is too large to list.
    """
    simplex.require_listed()

    def chunks() -> Iterator[Tensor]:
        for ranks in torch.split(torch.arange(simplex.size, device=simplex.device), CHUNK):
            laws = policy.laws(simplex.unrank(ranks).float())
            yield laws.to(torch.uint8) if isinstance(policy, NetworkPolicy) else laws.double()

    return rearrange(torch.cat(list(chunks())), "h g a -> g h a").contiguous()
