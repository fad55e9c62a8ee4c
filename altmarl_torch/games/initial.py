"""The law of the first state: who stands where at time zero.

The paper fixes dynamics and rewards but not where an episode starts; Figure 4's caption alone says that the robots'
zones are drawn from a Dirichlet distribution. This module holds the family that covers it. At time zero

    s_g(0) ~ sg,      mu ~ Dirichlet(A m),      s_1(0), ..., s_n(0) i.i.d. from mu,

with m = `local_mean` the mean of mu over S_l and A = `strength` in (0, inf]. One mu is drawn per episode, so the
agents are exchangeable but, for finite A, not independent: a small A starts the whole population in a few states. As A
grows mu tightens around m, with variance m_i (1 - m_i) / (A + 1), and A = inf means mu = m: independent agents.

**The law of the counts.**  Draw any k of the n agents and let h count their states. Integrating mu out gives the
Dirichlet-multinomial law. With the rising factorial (a)_h = a (a+1) ... (a+h-1),

    P(h) = k! / prod_i h_i! *  prod_i (A m_i)_{h_i}  /  (A)_k.

There are k factors above and k below, so each may be scaled by one number. Dividing all by 1 + A writes A m_i + j as
w m_i + (1 - w) j with w = A / (1 + A), which stays finite for every A: at w = 1 it *is* the multinomial law of A = inf.
The logarithms of these factors are summed directly. The usual difference lgamma(a + h) - lgamma(a) would lose every
digit at large a, and is undefined at the states with m_i = 0, where the product gives (0)_0 = 1 and (0)_h = 0.

**Drawing mu.**  mu_i = G_i / sum_j G_j with G_i ~ Gamma(a_i), a_i = A m_i. At a = 0.01 most draws of G underflow to
zero, and 0/0 is no law. Since Gamma(a) = Gamma(a + 1) U^(1/a) in law, log G_i = log Gamma(a_i + 1) + log(U_i) / a_i is
drawn instead, and the quotient is a softmax.

**Types.**  Where agents are of several types, which never change, a local state is a pair (e, x); the states of type e
stand together, and `num_types` says how many such blocks there are (`games.types`). Then it is x
that has the law above, with m(x) the sum of `local_mean` over the types, and an agent in x is of type e with
probability p(e | x) = m(e, x) / m(x), independently of all others:

    mu(e, x) = p(e | x) mu(x),        P(h) = [P of the counts of x] * prod_x h_x! prod_e p(e | x)^{h_{e,x}} / h_{e,x}!.

If all types start alike, p(e | x) does not depend on x, and the shares of the types are no matter of mu. One type
gives the law above, and so does the sum over the types.

References: Marsaglia and Tsang, *A simple method for generating gamma variables* (2000), section 6 for the boost;
Minka, *Estimating a Dirichlet distribution* (2000) for the count law.
"""

import math
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError, SizeError
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import (
    as_device,
    as_integer,
    as_law,
    as_number,
    as_numbers,
    as_table,
    as_whole,
    check_devices,
    check_entries,
    refuse_first,
)

__all__ = ["InitialLaw"]

SMALLEST_STRENGTH = 1e-200  # below, log(U) / (A m) no longer fits in a double
LARGEST_COUNT_LAW = 10**8
"""Logarithms of factors that a law of counts may take: 800 MB of them."""


@dataclass(frozen=True, eq=False)
class InitialLaw:
    """The law of (s_g(0), s_1(0), ..., s_n(0)), for any number n of agents.

    Attributes:
        sg: `[sg]`, law of s_g(0).
        local_mean: `[sl]`, the mean m of the local agents' common distribution mu.
        strength: A in (0, inf]; mu ~ Dirichlet(A m) once per episode, and mu = m at inf (the default).
        num_types: how many blocks of equal size the local states fall into, one per type of agents; their shares in
            `local_mean` are those of the types.

    Arrays and lists are accepted and stored as float64 tensors.

    Raises:
        GameError: a row is no law, the two tables lie on different devices, the strength is outside its range, or the
            states do not fall into so many types, each with a share.

    Examples:
        >>> import altmarl_torch as am
        >>> alike = am.InitialLaw([1, 0], [0.7, 0.3], strength=4)  # agents tend to start in the same state
        >>> am.games.steer().replace(initial=alike).initial.strength
        4.0
    """

    sg: Tensor  # [sg]
    local_mean: Tensor  # [sl]
    strength: float = math.inf
    num_types: int = 1

    __repr__ = brief

    def __post_init__(self) -> None:
        sg = as_table("initial.sg", self.sg, "sg")
        local_mean = as_table("initial.local_mean", self.local_mean, "sl")
        check_devices({"initial.sg": sg, "initial.local_mean": local_mean})
        object.__setattr__(self, "sg", as_law("initial.sg", sg, "sg"))
        object.__setattr__(self, "local_mean", as_law("initial.local_mean", local_mean, "sl"))
        allowed = f"(0, inf], and at least {SMALLEST_STRENGTH:g}"
        strength = as_number("initial.strength", self.strength, allowed, lambda x: x >= SMALLEST_STRENGTH, GameError)
        object.__setattr__(self, "strength", strength)
        object.__setattr__(self, "num_types", as_integer("initial.num_types", self.num_types, 1, math.inf, GameError))
        if len(local_mean) % self.num_types:
            raise GameError(f"{len(local_mean)} local states do not fall into {self.num_types} types of equal size")
        refuse_first("share", self.shares, "type", self.shares <= 0, "every type has some agents", GameError)

    @classmethod
    def uniform(cls, num_sg: int, num_sl: int, strength: float = math.inf) -> "InitialLaw":
        """The uniform law of s_g, and of each local state: the default of `Game`.

        Raises:
            GameError: a number of states is no integer of at least 1, or the strength is outside its range.
            SizeError: a table would have more than 2^25 entries.
        """
        for name, size in (("num_sg", num_sg), ("num_sl", num_sl)):
            check_entries("initial", as_integer(name, size, 1, math.inf, GameError))
        sg, sl = (torch.full((size,), 1 / size, dtype=torch.float64) for size in (num_sg, num_sl))
        return cls(sg, sl, strength)

    @property
    def shares(self) -> Tensor:
        """The mean law of an agent's type: `[e]`."""
        return self._of_types.sum(-1)

    @property
    def _of_types(self) -> Tensor:
        """`local_mean` as `[e, x]`."""
        return self.local_mean.view(self.num_types, -1)

    @property
    def _type_law(self) -> Tensor:
        """p(e | x): `[e, x]`, 0 where m(x) is."""
        mean = self._of_types.sum(0)
        return torch.where(mean > 0, self._of_types / mean, 0.0)

    @property
    def device(self) -> torch.device:
        """Where both tables lie."""
        return self.sg.device

    def to(self, device: torch.device | str) -> "InitialLaw":
        """Return the same law with its tables on `device`; an ArgumentError lists the devices that are here."""
        device = as_device(device)
        return InitialLaw(self.sg.to(device), self.local_mean.to(device), self.strength, self.num_types)

    def count_law(self, counts: object) -> Tensor:
        """Return P(h) for each row h of `counts [..., sl]`, shape `[...]`: the law of the counts of any k agents.

        All rows must share one sum k; over all rows of a simplex the result sums to one.  k = 1 gives `local_mean`
        and strength = inf the multinomial law. The cost is O(k + rows) logarithms.

        Raises:
            ArgumentError: the rows have another length than `local_mean`, hold no counts, or differ in their sum.
            SizeError: k |S_l| is more than 10^8.
        """
        shape, rows, k = self._read_counts(counts)
        w = 1 / (1 + 1 / self.strength)
        steps = (1 - w) * torch.arange(k, dtype=torch.float64, device=self.device)
        above = torch.log(w * self._of_types.sum(0) + steps[:, None]).cumsum(0)
        above = torch.cat([above.new_zeros(1, above.shape[1]), above])  # [k + 1, x], log of the scaled (A m_x)_h
        below = torch.log(w + steps).sum()
        by_type = rearrange(rows, "h (e x) -> h e x", e=self.num_types)
        types = torch.xlogy(by_type, self._type_law).sum((-1, -2))
        ways = torch.lgamma(above.new_tensor(k + 1)) - torch.lgamma(rows.to(above.dtype) + 1).sum(-1)
        return torch.exp(ways + above.gather(0, by_type.sum(1)).sum(-1) + types - below).reshape(shape)

    def _read_counts(self, counts: object) -> tuple[torch.Size, Tensor, int]:
        """Return the shape of the law, the counts as int64 rows `[rows, sl]`, and their common sum."""
        table, num_sl = as_numbers("counts", counts, ArgumentError).to(self.device), len(self.local_mean)
        if table.ndim == 0 or table.shape[-1] != num_sl or table.numel() == 0:
            raise ArgumentError(
                f"counts have shape {list(table.shape)}; expected [..., {num_sl}] with at least one row"
            )
        table_rows = table.reshape(-1, num_sl)
        rows = as_whole("counts", table_rows, "row sl", ArgumentError)
        largest = float(table_rows.sum(-1).max())
        if largest * num_sl > LARGEST_COUNT_LAW:
            raise SizeError(
                f"the law of the counts of {largest:.3g} agents over {num_sl} local states takes more than "
                f"{LARGEST_COUNT_LAW:,} logarithms; use fewer agents"
            )
        sums = rows.sum(-1)
        if bool((sums != sums[0]).any()):
            raise ArgumentError(
                f"the rows of counts sum to {int(sums.min())}..{int(sums.max())}; one law has one sum k"
            )
        return table.shape[:-1], rows, int(sums[0])

    def sample_mu(self, episodes: int, generator: torch.Generator) -> Tensor:
        """Draw one distribution mu over S_l per episode: `[episodes, sl]`, each row a law.

        `generator` must live on `device`; it is advanced. At strength inf nothing is drawn.
        """
        episodes = as_integer("episodes", episodes, 1, math.inf, ArgumentError)
        if math.isinf(self.strength):
            return self.local_mean.repeat(episodes, 1)
        a = (self.strength * self._of_types.sum(0)).repeat(episodes, 1)
        u = torch.rand(a.shape, generator=generator, dtype=torch.float64, device=self.device)
        # 1 - u lies in (0, 1], so its logarithm is finite; a state of mean zero is never drawn
        boost = torch.where(a > 0, torch.log1p(-u) / a, -math.inf)
        mu = torch.softmax(torch.log(torch._standard_gamma(a + 1, generator)) + boost, -1)
        return (mu.unsqueeze(1) * self._type_law).flatten(1)

    def sample_sg(self, episodes: int, generator: torch.Generator) -> Tensor:
        """Draw s_g(0) for each episode: `[episodes]`, int64. `generator` must live on `device`."""
        episodes = as_integer("episodes", episodes, 1, math.inf, ArgumentError)
        return torch.multinomial(self.sg, episodes, replacement=True, generator=generator)
