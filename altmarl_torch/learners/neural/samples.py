r"""Samples of one size, or of several that one network answers for.

A network for k agents reads the frequencies f = h/k of a sample, `[b, sl]`. One for several sizes reads a column more,

    (f_1, ..., f_|S_l|, j^(-1/2)),        j = sum_z h_z,

the scale on which the frequencies of j agents are noise: it lies in (0, 1] for every j, and values of samples of j and
of j + 1 agents are close where it is. A size between those that were learned is read as it is, one outside them as the
nearest.

**The objective of several sizes** is the mean over them, each alike, of the joint values V_j of the j-agent surrogates.
The surrogates share pi_l and nothing else: j does not change in an episode. So pi_g(. | s_g, h) is a best response for
each size by itself, and pi_l one for the mean; derivatives, values and UPDATE are those of one size with j drawn first.

**Offsets.** A common offset of the values of one size changes no action. In a batch it is estimated as a quadratic in
j^(-1/2), by least squares; of one size it is the mean.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import check_rows
from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.tables import check_whole, refuse_booleans, refuse_first

__all__ = ["SampleSizes"]

RIDGE = 1e-9
"""Of the least squares, for batches in which fewer sizes are met than a quadratic needs."""


@dataclass(frozen=True)
class SampleSizes:
    """How many agents a sample may count.

    Attributes:
        numbers: the sizes that are learned, the smallest first.
        several: whether a network is told which it is.
    """

    numbers: tuple[int, ...]
    several: bool

    @classmethod
    def of(cls, k: "int | Iterable[int] | SampleSizes") -> "SampleSizes":
        """One size, several, or what is one already."""
        if isinstance(k, SampleSizes):
            return k
        return cls((k,), False) if isinstance(k, int) else cls(tuple(sorted(set(k))), True)

    @property
    def plain(self) -> "int | SampleSizes":
        """The one number where there is one: what a file gives back, so that equal policies have equal digests."""
        return self if self.several else self.largest

    @property
    def largest(self) -> int:
        """The most agents that a sample counts."""
        return self.numbers[-1]

    def draw(self, rows: int, generator: torch.Generator) -> Tensor:
        """A size for each row, all alike, in ascending order: `[rows]`, float64. Where there is one nothing is drawn.

        Rows of one size are then neighbours for the whole of an episode: nothing has to be sorted to be read by sizes.
        """
        numbers = torch.tensor(self.numbers, dtype=torch.float64, device=generator.device)
        if not self.several:
            return numbers.expand(rows)
        return numbers[torch.randint(len(numbers), (rows,), generator=generator, device=generator.device).sort().values]

    def check(self, counts: Tensor, slack: float = 0.0) -> None:
        """Raise an ArgumentError unless rows of counts `[b, sl]` are of these sizes, as `counts.check_rows` does."""
        if not self.several:
            check_rows(counts, self.largest, slack)
            return
        refuse_booleans("counts", counts, ArgumentError)
        if counts.numel():
            total, rule = counts.sum(-1), f"the counts of a sample are at least 0 and sum to 1..{self.largest}"
            if not bool(counts.min() >= -slack):
                least = counts.amin(-1)
                refuse_first("counts", least, "row", ~(least >= -slack), rule, ArgumentError, verb="holds")
            beyond = ~((total >= 1 - slack) & (total <= self.largest * (1 + slack)))
            refuse_first("counts", total, "row", beyond, rule, ArgumentError, verb="sums to")
            if counts.is_floating_point() and not slack:
                check_whole("counts", counts, "row sl", ArgumentError)

    def of_rows(self, counts: Tensor) -> Tensor | int:
        """How many agents each row counts: `[b, 1]`, or the one number that all do."""
        return counts.sum(-1, keepdim=True) if self.several else self.largest

    def inputs(self, counts: Tensor) -> Tensor:
        """What a network reads of counts `[b, sl]`: frequencies, and of several sizes j^(-1/2): `[b, sl + 1]`."""
        size = self.of_rows(counts)
        if isinstance(size, int):
            return counts / size
        return torch.cat([counts / size, size.clamp(self.numbers[0], self.largest).rsqrt()], -1)

    def offsets(self, counts: Tensor, error: Tensor, shares: Tensor | None = None) -> Tensor:
        """The common offset of errors `[b, ag]` of each size, `[b, 1]`; of one size their mean, `[]`.

        Rows count alike, or by `shares [b]` that sum to one.
        """
        size = self.of_rows(counts)
        if isinstance(size, int):
            return error.mean() if shares is None else shares @ error.mean(-1)
        last = self.largest**-0.5
        scaled = 2 * (size.double().rsqrt() - last) / (self.numbers[0] ** -0.5 - last or 1) - 1  # in -1..1
        powers = scaled ** torch.arange(min(3, len(self.numbers)), device=size.device)
        ridge = RIDGE * len(size) * torch.eye(powers.shape[1], dtype=powers.dtype, device=size.device)
        mean = error.double().mean(-1, keepdim=True)
        weighed = powers if shares is None else len(size) * shares.double().unsqueeze(-1) * powers
        fitted: Tensor = powers @ torch.linalg.solve(weighed.T @ powers + ridge, weighed.T @ mean)
        return fitted.to(error.dtype)
