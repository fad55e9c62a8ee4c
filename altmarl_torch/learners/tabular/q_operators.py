"""The operators that G-LEARN iterates: T-hat_k or T-hat_{k,m}, with the rewards' means or draws of them, on two tables.

A `QOperator` takes values V to Q, over counts `[sg, N]`, or over k-tuples `[sg, sl^k]` where the paper's switch rule
asks for them; `fold` brings Q back to counts.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.tuples import list_tuples, rank_tuples, tuples_to_counts
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.settings import MOST_XI
from altmarl_torch.operators.bellman import (
    action_values,
    draw_next,
    empirical_adapted_bellman,
    max_backup,
    randomized_adapted_bellman,
    reward_noise,
)
from altmarl_torch.operators.fixed_point import LARGE_TABLE, FixedPoint, Step
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.operators.tuples import adapted_bellman_tuples, draw_next_tuples, tuple_reward
from altmarl_torch.support.tables import as_integer

__all__ = ["ExactOperator", "QOperator", "make_operator"]


@dataclass(eq=False)
class QOperator:
    """Values V to Q.

    Attributes:
        to_q: V `[sg, M]` to Q `[sg, M, ag]`, M being the number of counts, or of tuples.
        bound: on the values, of the rewards as they were drawn: V_max.
        folding: rank of each tuple's counts, `[sl^k]`; None where the table is over counts.
        num_counts: N.
    """

    to_q: Step
    bound: float
    folding: Tensor | None
    num_counts: int

    @property
    def table(self) -> str:
        """What Q is a table over."""
        return "counts" if self.folding is None else "tuples"

    def step(self, values: Tensor) -> Tensor:
        """One update: max_a Q."""
        return self.to_q(values).amax(-1)

    def unfold(self, values: Tensor) -> Tensor:
        """Values by counts `[sg, N]` as the operator takes them."""
        return values if self.folding is None else values[:, self.folding]

    def fold(self, Q: Tensor) -> Tensor:
        """Q by counts, `[sg, N, ag]`: the mean over the tuples of each count vector.

        With exact expectations they agree; with draws, which differ from tuple to tuple, the mean uses all of them.
        """
        if self.folding is None:
            return Q
        total = Q.new_zeros(Q.shape[0], self.num_counts, Q.shape[-1]).index_add_(1, self.folding, Q)
        return total / torch.bincount(self.folding, minlength=self.num_counts)[:, None]

    def last(self, found: FixedPoint) -> tuple[Tensor, Tensor]:
        """V and its Q, within the error of the fixed point."""
        return found.values, self.to_q(found.values)


@dataclass(eq=False)
class ExactOperator(QOperator):
    """T-hat_k over counts; of large tables the last Q in float64 is kept, which `last` would have to find again."""

    surrogate: Surrogate
    _kept: tuple[Tensor, Tensor] | None = None  # V and its Q

    def step(self, values: Tensor) -> Tensor:
        """One update: max_a Q."""
        if values.dtype != torch.float64 or self.surrogate.local_reward.numel() < LARGE_TABLE:
            return max_backup(self.surrogate, values)
        self._kept = None  # its memory, before the next one's is taken
        Q = action_values(self.surrogate, values)
        self._kept = values, Q
        return Q.amax(-1)

    def last(self, found: FixedPoint) -> tuple[Tensor, Tensor]:
        """V and its Q = r + gamma E V, within the error of the fixed point; what was kept for it is handed over."""
        if self._kept is None:
            return super().last(found)
        (values, Q), self._kept = self._kept, None
        shift = float(found.values[0, 0] - Q[0, 0].max())  # the middle of the bounds, which Q of V + shift / gamma has
        return values + shift / self.surrogate.game.gamma, Q.add_(shift)


def make_operator(
    surrogate: Surrogate, tuples: bool, m: int | None, xi: int | None, generator: torch.Generator | None
) -> QOperator:
    """The operator of a surrogate; its draws are made here, and kept.

    Args:
        surrogate: the k-agent MDP under a frozen pi_l.
        tuples: whether the table is over k-tuples.
        m: samples of each next state; None for the exact expectation.
        xi: draws of the rewards; None for their means.
        generator: of the draws.

    Raises:
        ArgumentError: draws without a generator, or of rewards that are not random or of the posterior correction.
    """
    noise = None if xi is None else _draw_noise(surrogate, tuples, xi, generator)
    bound, size = _value_bound(surrogate, noise), surrogate.simplex.size
    if tuples:
        return QOperator(_on_tuples(surrogate, m, generator, noise), bound, rank_tuples(surrogate.simplex), size)
    to_q = _on_counts(surrogate, m, generator, noise)
    exact = m is None and xi is None
    return ExactOperator(to_q, bound, None, size, surrogate) if exact else QOperator(to_q, bound, None, size)


def _value_bound(surrogate: Surrogate, noise: Tensor | None) -> float:
    """V_max, of the rewards as they were drawn."""
    game = surrogate.game
    return game.v_max if noise is None else game.v_max + float(noise.abs().max()) / (1 - game.gamma)


def _draw_noise(surrogate: Surrogate, tuples: bool, xi: int, generator: torch.Generator | None) -> Tensor:
    """What Xi draws of the rewards add to their means, at every state of the table and action."""
    xi = as_integer("xi", xi, 1, MOST_XI, ArgumentError)
    if surrogate.prior is not None:
        raise ArgumentError("xi draws the rewards of the k agents; the posterior correction has expectations only")
    game, simplex = surrogate.game, surrogate.simplex
    counts = simplex.counts
    if tuples:
        counts = tuples_to_counts(list_tuples(simplex.k, game.num_sl, game.device), game.num_sl)
    return reward_noise(surrogate, counts, xi, _required(generator))


def _on_counts(surrogate: Surrogate, m: int | None, generator: torch.Generator | None, noise: Tensor | None) -> Step:
    """V to Q over counts, `[sg, N]` to `[sg, N, ag]`."""
    game = surrogate.game
    draws = None if m is None else draw_next(game, surrogate.P_l_pi, surrogate.plan, m, _required(generator))
    if noise is not None:
        return lambda values: randomized_adapted_bellman(values.unsqueeze(-1), surrogate, noise, draws)
    if draws is None:
        return lambda values: action_values(surrogate, values)
    reward = surrogate_reward(surrogate)
    return lambda values: empirical_adapted_bellman(values.unsqueeze(-1), reward, draws, game.gamma)


def _on_tuples(surrogate: Surrogate, m: int | None, generator: torch.Generator | None, noise: Tensor | None) -> Step:
    """V to Q over k-tuples, `[sg, sl^k]` to `[sg, sl^k, ag]`."""
    game, k = surrogate.game, surrogate.simplex.k
    reward = tuple_reward(game, surrogate.r_l_pi, k)
    reward = reward if noise is None else reward + noise
    if m is None:
        return lambda values: adapted_bellman_tuples(values.unsqueeze(-1), reward, game, surrogate.P_l_pi, k)
    draws = draw_next_tuples(game, surrogate.P_l_pi, k, m, _required(generator))
    return lambda values: empirical_adapted_bellman(values.unsqueeze(-1), reward, draws, game.gamma)


def _required(generator: torch.Generator | None) -> torch.Generator:
    if generator is None:
        raise ArgumentError("the sampled operator (an integer m or xi) needs a generator")
    return generator
