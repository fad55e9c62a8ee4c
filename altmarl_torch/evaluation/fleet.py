r"""A fleet as it is: agents who do not answer, agents who leave and are replaced, and a number of agents that changes.

Between what Algorithm 4 calls "look" and "act", and after "move", a rollout may do more (`evaluation.rollouts`):

    answer      each of the k asked agents answers with probability q, independently: h(z) <- Binomial(h(z), q)
    turnover    after the moves each agent leaves with probability p, independently, and a new one takes his place,
                whose state is drawn from a law nu: c(z) <- c(z) - L(z) + N(z), with L(z) ~ Binomial(c(z), p) and
                N ~ Multinomial(sum L, nu)
    size        then n becomes what the schedule says: agents who leave are drawn uniformly without replacement (a
                multivariate hypergeometric), agents who join are drawn from nu

nu is the initial law's mean unless another is given; with several types of agents it replaces types as well. Both are
exact for counts, for each agent's fate depends on his own state alone, and the rewards stay means over the n agents who
are there: it is the return per agent that is discounted. Turnover alone is a game of its own, P_l <- (1-p) P_l + p nu,
which can be learned like any other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import LARGEST_N, Game
from altmarl_torch.support.sampling import split, split_shares
from altmarl_torch.support.tables import as_integer, as_law, as_number, as_table

__all__ = ["Fleet", "Sizes"]

Sizes = int | Sequence[int] | NDArray[np.int64] | None
"""How many agents there are: always so many, or at each step so many; None for the game's number."""

LARGEST_SHRINKING = 10**9 - 1
"""Agents of a fleet that shrinks, at most: numpy's hypergeometric draws go so far."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """What happens to n agents besides their moves.

    Attributes:
        n: how many agents there are, in the first step.
        horizon: how many steps.
        sizes: how many at each step; None where they are always n.
        answer_rate: q.
        turnover: p.
        newcomers: `[sl]`, nu.
    """

    n: int
    horizon: int
    sizes: tuple[int, ...] | None
    answer_rate: float
    turnover: float
    newcomers: Tensor

    @classmethod
    def of(
        cls, game: Game, k: int, horizon: int, n: Sizes, answer_rate: float, turnover: float, newcomers: object
    ) -> "Fleet":
        """The fleet that a rollout's arguments ask for.

        Raises:
            ArgumentError: a rate is outside [0, 1], nu is no law of local states, or nobody joins, or n is no number,
                or no schedule of `horizon` numbers, of at least k agents.
        """
        for name, rate in (("answer_rate", answer_rate), ("turnover", turnover)):
            as_number(name, rate, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
        law = game.initial.local_mean
        if newcomers is not None:
            law = as_law("newcomers", as_table("newcomers", newcomers, "sl", ArgumentError), "sl", ArgumentError)
            if len(law) != game.num_sl:
                raise ArgumentError(f"newcomers is a law of {len(law)} local states; this game has {game.num_sl}")
        sizes = _schedule(k, horizon, n) if isinstance(n, Sequence | np.ndarray) and not isinstance(n, str) else None
        if newcomers is not None and turnover == 0 and sizes is None:
            raise ArgumentError("newcomers join by turnover or by a schedule of n; neither is given")
        first = sizes[0] if sizes else game.n if n is None else as_integer("n", n, 1, LARGEST_N, ArgumentError)
        game.replace(n=first).check_k(k)
        return cls(first, horizon, sizes, float(answer_rate), float(turnover), law.to(game.device))

    @property
    def largest(self) -> int:
        """The most agents that there are."""
        return max(self.sizes or (self.n,))

    def runs(self) -> Iterator[tuple[int, int]]:
        """(n, steps) of each stretch of steps with the same n."""
        if self.sizes is None:
            yield self.n, self.horizon
        for n, steps in groupby(self.sizes or ()):
            yield n, len(list(steps))

    def answers(self, asked: Tensor, generator: torch.Generator) -> Tensor:
        """Who answers of those that are asked: counts `[b, sl]` to counts, int64. At rate 1 nothing is drawn."""
        if self.answer_rate == 1:
            return asked
        rates = torch.full(asked.shape, self.answer_rate, dtype=torch.float64, device=asked.device)
        return torch.binomial(asked.double(), rates, generator=generator).long()

    def after(self, t: int, counts: Tensor, generator: torch.Generator) -> Tensor:
        """The counts `[b, sl]` (float64) with which step t + 1 begins, of those who have moved at step t."""
        if self.turnover > 0:
            rates = torch.full_like(counts, self.turnover)
            leaving = torch.binomial(counts, rates, generator=generator).minimum(counts)
            counts = counts - leaving + self._joining(leaving.sum(-1, keepdim=True), generator)
        if self.sizes is None or t + 1 == self.horizon or self.sizes[t + 1] == self.sizes[t]:
            return counts
        if self.sizes[t + 1] > self.sizes[t]:
            return counts + self._joining(torch.full_like(counts[:, :1], self.sizes[t + 1] - self.sizes[t]), generator)
        return _staying(counts, self.sizes[t + 1], generator)

    def _joining(self, number: Tensor, generator: torch.Generator) -> Tensor:
        """Counts of new agents, `number [b, 1]` of them."""
        return split(number, split_shares(self.newcomers).expand(len(number), 1, -1), generator)


def _schedule(k: int, horizon: int, n: Sequence[int] | NDArray[np.int64]) -> tuple[int, ...]:
    """n of every step, checked."""
    sizes = tuple(n.tolist() if isinstance(n, np.ndarray) else n)
    if len(sizes) != horizon:
        raise ArgumentError(f"the schedule of n has {len(sizes)} steps; horizon = {horizon} needs as many")
    shrinks = any(later < size for size, later in pairwise(sizes))
    for t, size in enumerate(sizes):
        as_integer(f"n of step {t}", size, 1, LARGEST_SHRINKING if shrinks else LARGEST_N, ArgumentError)
        if size < k:
            raise ArgumentError(f"n is {size} at step {t}, and k = {k} agents are to be asked: use k <= {min(sizes)}")
    return sizes


def _staying(counts: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """`n` of the agents of each row of `counts [b, sl]`, drawn without replacement: state by state, from those left."""
    (seed,) = torch.randint(2**62, (1,), generator=generator, device=generator.device).tolist()
    rng, left = np.random.default_rng(seed), np.full(len(counts), n)
    here = counts.long().cpu().numpy()
    others, staying = here.sum(-1), np.zeros_like(here)
    for z in range(here.shape[1]):
        others = others - here[:, z]
        staying[:, z] = rng.hypergeometric(here[:, z], others, left)
        left = left - staying[:, z]
    return torch.as_tensor(staying, dtype=torch.float64, device=counts.device)
