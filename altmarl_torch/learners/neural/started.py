r"""Where a count network starts: lifted functions, and what the network adds to them.

The lifted solver finds continuation values that are polynomials of the frequencies (`counts.lifted`), in a small part
of a network's time. A `StartedNetwork` keeps them, as numbers that are not trained, and adds the answers of a
`CountNetwork`, which begins at zero:

    C(f) = lift(start)(k f) + network(f).

So its first greedy policy is that of the lifted functions, and training has only to find what a polynomial of their
degree cannot say.

**Samples of several sizes.** What a step does to coefficients does not depend on k (`learners.lifted.surrogate`); the
coefficients of a solution do, for the maximum is taken at the counts of k agents. They change with 1/k, slowly. So they
are kept for some sizes, the *anchors*, and a sample of j agents between the anchors a < b is read by both, as one of j
agents:

    lift(start_j)(h) = (1 - w) lift(start_a)(h) + w lift(start_b)(h),       w = (1/a - 1/j) / (1/a - 1/b).

Of fewer than J agents any function is a table, over the counts of up to J - 1 agents: those of J - 1, of which some are
in one state more, nowhere.
"""

from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from altmarl_torch.counts.lifted import SINGLE, Basis, of_groups
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.samples import SampleSizes

__all__ = ["StartedNetwork", "columns", "few_agents", "own_heads"]

MANY = 200
"""So many heads take longer than sorting the rows by s_g, after which each needs only those of its own."""

WHOLE = 1e-3
"""Counts that are k times frequencies in float32 are whole where they miss a whole number by less."""


class StartedNetwork(nn.Module):
    """Lifted continuation values and a count network, added.

    Args:
        added: the network; for several sizes it reads j^(-1/2) behind the frequencies.
        start: `[sg, ag, N]`, coefficients in units of the network (`columns`): N_J of k; of several sizes the table of
            fewer than J agents, then N_J of every anchor.
        degree: J, at most k.
        k: how many agents the frequencies are of; of several sizes the anchors, at least J each.

    Raises:
        ArgumentError: the degree is out of range.
        SizeError: it has too many coefficients.
    """

    def __init__(self, added: CountNetwork, start: Tensor, degree: int, k: int | SampleSizes) -> None:
        super().__init__()
        self.added, self.degree, self.anchors = added, degree, SampleSizes.of(k)
        self.register_buffer("start", start.to(torch.float32).contiguous())
        self._simplexes(start.device)

    @property
    def spec(self) -> dict[str, Any]:
        """The sizes of the network, the degree, and k."""
        k = list(self.anchors.numbers) if self.anchors.several else self.anchors.largest
        return self.added.spec | {"degree": self.degree, "k": k}

    def forward(self, inputs: Tensor) -> Tensor:
        """Values `[batch, sg, ag]` of what `SampleSizes.inputs` makes of counts, float32."""
        lifted, (num_sg, num_ag, _) = self._lifted(inputs), self.get_buffer("start").shape
        values = rearrange(lifted, "b (sg ag) -> b sg ag", sg=num_sg, ag=num_ag)
        if not torch.is_grad_enabled() and self.added.answers_zero:
            return values
        found: Tensor = self.added(inputs) + values
        return found

    def heads(self, inputs: Tensor, s_g: Tensor) -> Tensor:
        """Values `[batch, ag]` of one global state each, s_g `[batch]`: the others' are not worked out."""
        values = self._lifted(inputs, s_g)
        if not torch.is_grad_enabled() and self.added.answers_zero:
            return values
        return self.added.heads(inputs, s_g) + values

    def _lifted(self, inputs: Tensor, s_g: Tensor | None = None) -> Tensor:
        """Values of the lifted functions, `[batch, sg ag]`; in one global state each, `[batch, ag]`."""
        if self._basis.simplex.device != inputs.device:  # the module has been moved
            self._simplexes(inputs.device)
        frequencies, table, group = inputs[:, : self.added.spec["num_sl"]], self.get_buffer("start"), s_g
        if group is None:  # all are one
            table, group = table.flatten(0, 1).unsqueeze(0), inputs.new_zeros(len(inputs), dtype=torch.int64)
        if not self.anchors.several:
            return of_groups(group, self._features(frequencies, self.anchors.largest), table)
        k = inputs[:, -1].double().pow(-2).round()
        few, small, large = k < self.degree, table[..., : self._few.size], table[..., self._few.size :]
        if not bool(few.any()):
            return self._between(frequencies, k, group, large)
        values = table.new_empty(len(inputs), table.shape[1])
        values[few] = small[group[few], :, self._rank(frequencies[few], k[few])]
        values[~few] = self._between(frequencies[~few], k[~few], group[~few], large)
        return values

    def _simplexes(self, device: torch.device) -> None:
        """Make what numbers the coefficients."""
        num_sl = self.added.spec["num_sl"]
        self._basis = Basis(self.degree, num_sl, device)
        self._few = few_agents(self.degree, num_sl, device)
        self._sizes = torch.tensor(self.anchors.numbers, dtype=torch.float64, device=device)

    def _rank(self, frequencies: Tensor, k: Tensor) -> Tensor:
        """The places in the table of samples of fewer than J agents, `k [batch]`; a part of an agent is left out."""
        counts = _counts(frequencies.double(), k).floor()
        nowhere = self.degree - 1 - counts.sum(-1, keepdim=True)
        place: Tensor = self._few.rank(torch.cat([counts, nowhere], -1).long())
        return place

    def _between(self, frequencies: Tensor, k: Tensor, group: Tensor, table: Tensor) -> Tensor:
        """Values of samples of at least J agents, `k [batch]`, read by the anchors around each.

        Args:
            frequencies: `[batch, sl]`.
            k: `[batch]`.
            group: `[batch]`, whose coefficients are read.
            table: `[groups, values, N_J of every anchor]`.
        """
        features, sizes = self._features(frequencies, k), self._sizes
        if len(sizes) == 1:
            return of_groups(group, features, table)
        below = (torch.searchsorted(sizes, k, right=True) - 1).clamp(0, len(sizes) - 2)
        weight = sizes[below + 1] * (k - sizes[below]) / (k * (sizes[below + 1] - sizes[below]))
        tables = rearrange(table, "group c (anchor j) -> group anchor c j", anchor=len(sizes))
        pairs = torch.cat([tables[:, :-1], tables[:, 1:]], 2).flatten(0, 1)
        low, high = of_groups(group * (len(sizes) - 1) + below, features, pairs).chunk(2, -1)
        return torch.lerp(low, high, weight.clamp(0, 1).float().unsqueeze(-1))

    def _features(self, frequencies: Tensor, k: int | Tensor) -> Tensor:
        """The weights of the coefficients of degree J, float32; k is one number, or one for each row."""
        precision = torch.float32 if self.degree <= SINGLE else torch.float64
        return self._basis.features(_counts(frequencies.to(precision), k), k, torch.float32)


def own_heads(network: nn.Module, inputs: Tensor, s_g: Tensor, *, is_compiled: bool = False) -> Tensor:
    """What a network answers for each row's own s_g `[b]`, `[b, ag]`, float32.

    Of many heads, in networks that can, no others are worked out. A derived class may answer otherwise: it is asked; so
    is one that is compiled, as its `forward` is what is.
    """
    if type(network) in (CountNetwork, StartedNetwork) and not is_compiled:
        own = cast(CountNetwork | StartedNetwork, network)
        if own.spec["num_sg"] * own.spec["num_ag"] >= MANY:
            return own.heads(inputs, s_g)
    found: Tensor = network(inputs).float()
    return found[torch.arange(len(s_g), device=s_g.device), s_g]


def _counts(frequencies: Tensor, k: int | Tensor) -> Tensor:
    """k times frequencies, `[batch, sl]`; whole where they nearly are."""
    counts = frequencies * (k.to(frequencies.dtype).unsqueeze(-1) if isinstance(k, Tensor) else k)
    whole = counts.round()
    return torch.where((counts - whole).abs() < WHOLE, whole, counts)


def few_agents(degree: int, num_sl: int, device: torch.device | str = "cpu") -> CountSimplex:
    """The counts of fewer agents than the degree, nobody included; in a last state are those who are missing."""
    return CountSimplex(degree - 1, num_sl + 1, device)


def columns(degree: int, num_sl: int, anchors: SampleSizes) -> int:
    """N: how many coefficients there are in all."""
    each = len(anchors.numbers) * CountSimplex(degree, num_sl).size
    return each + few_agents(degree, num_sl).size if anchors.several else each
