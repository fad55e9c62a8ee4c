"""The counts of k agents moved one step: a few hundred one by one, more of them by binomials (`sampling`).

Each agent has a uniform number of its own, looked up in the running sums of its law. In compiled code that takes a few
nanoseconds an agent (`moving.cpp`), in torch ten times as long, to the same bits.
"""

import ctypes

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.support.native.library import SUFFIXES, address, library
from altmarl_torch.support.sampling import Dealer

__all__ = ["ONE_BY_ONE", "CountMover"]

ONE_BY_ONE, AT_ONCE = 256, 2**22
"""Up to so many agents are moved one by one whatever |S_l|; how many are, at once, in all systems together."""

NARROW = 8
"""Up to so many states that an agent can go to are compared one by one."""


class CountMover:
    """Moves the counts of k agents in a batch of systems, each under the laws of its own global state.

    Args:
        P: `[sg, sl, sl']`, law of one agent's next state.
        k: number of agents.
        fixed: whether it is the same in all systems; otherwise k is the most.
    """

    def __init__(self, P: Tensor, k: int, *, fixed: bool = True) -> None:
        self._k, self._fixed, self._num_sl = k, fixed, P.shape[1]
        self._all_at_once = k > max(ONE_BY_ONE, min(4 * ONE_BY_ONE, self._num_sl * (self._num_sl - 1)))
        if self._all_at_once:
            self._dealer = Dealer(P, torch.float32)
            return
        laws = rearrange(P, "sg sl next -> (sg sl) next")
        sums = laws.cumsum(-1)
        # row i of the running sums, shifted by i: one sorted list in which i + U finds the next state of row i; of each
        # row only the states that have a chance
        self._width = max(1, int((laws > 0).sum(-1).max()))
        self._next = (laws <= 0).to(torch.uint8).argsort(stable=True)[:, : self._width].contiguous()
        shares = (sums / sums[:, -1:]).gather(-1, self._next).where(laws.gather(-1, self._next) > 0, 1.0)
        table = shares + torch.arange(len(sums), device=P.device).unsqueeze(-1)
        self._sums, self._columns = table.flatten(), [column.contiguous() for column in table.T[:-1]]

    def __call__(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Next counts `[b, sl]` of counts `[b, sl]` (whole numbers, float32) under s_g `[b]`."""
        if self._num_sl == 1:
            return counts
        if self._all_at_once:
            return self._dealer.arrivals(s_g, counts, generator)
        rows = max(1, AT_ONCE // max(self._k, 1))
        if len(counts) <= rows:
            return self._one_by_one(s_g, counts, generator)
        parts = zip(torch.split(s_g, rows), torch.split(counts, rows), strict=True)
        return torch.cat([self._one_by_one(own, part, generator) for own, part in parts])

    def _one_by_one(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        return self.moved(s_g, counts, self.numbers(int(counts.sum(dtype=torch.float64)), generator))

    def numbers(self, agents: int, generator: torch.Generator) -> Tensor:
        """A number for each agent, so far below 1 that added to a row it never rounds up to the next: `[agents]`."""
        return torch.rand(agents, generator=generator, dtype=torch.float64, device=generator.device).mul_(1 - 1e-12)

    def moved(self, s_g: Tensor, counts: Tensor, numbers: Tensor) -> Tensor:
        """The next counts where agents, in the order of rows and states, have these `numbers [agents]`."""
        made = library() if counts.device.type == "cpu" else None
        if made is None or counts.dtype not in SUFFIXES:
            return self._by_torch(s_g, counts, numbers)
        s_g, counts, numbers = s_g.contiguous(), counts.contiguous(), numbers.contiguous()
        arrived = torch.zeros_like(counts)
        places = [address(one) for one in (s_g, counts, self._sums, self._next, numbers, arrived)]
        systems = ctypes.c_int64(len(counts))
        made[f"move_agents_{SUFFIXES[counts.dtype]}"](systems, self._num_sl, self._width, *places)
        return arrived

    def _by_torch(self, s_g: Tensor, counts: Tensor, numbers: Tensor) -> Tensor:
        (batch, num_sl), device = counts.shape, counts.device
        flat = counts.flatten()
        held = (flat > 0).nonzero().squeeze(-1)  # where there are any: of many states most are empty
        number, agents = flat.take(held).long(), len(numbers)
        each: Tensor | int = self._k if self._fixed else counts.sum(-1).long()
        rows = s_g.take(held // num_sl) * num_sl + held % num_sl
        row = rows.repeat_interleave(number, output_size=agents)
        following = self._next.take(self._found(row, numbers + row))
        first = torch.arange(batch, device=device).mul_(num_sl).repeat_interleave(each, output_size=agents)
        arrived = torch.zeros_like(flat).scatter_add_(0, following.add_(first), flat.new_ones(1).expand(agents))
        return arrived.reshape(batch, num_sl)

    def _found(self, row: Tensor, chance: Tensor) -> Tensor:
        """The place in the running sums of each `chance [agents]`, which lies in its `row [agents]` of them."""
        if self._width > NARROW:
            return torch.searchsorted(self._sums, chance, right=True)
        place = row * self._width
        for column in self._columns:  # a search of few by comparing with each takes no branches
            place.add_(column.index_select(0, row) <= chance)
        return place
