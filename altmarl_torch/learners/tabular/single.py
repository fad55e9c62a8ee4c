r"""What single changes of pi_l gain, found or bounded before any of them is evaluated.

A single change gives one state z under one s_g another action. It touches the rows of s_g alone where an agent is in z,
U of them. Let V and d be the value and the occupancy of the pair as it is, K its kernel, K' the changed one, and

    delta = (r' + gamma K' V) - V,    which is zero outside U.

The gain of the change is d' delta, d' being the occupancy after it (Kakade and Langford, ICML 2002). So

* where no entry of delta is positive, the change gains nothing;
* with y = (I - gamma K')^{-1} delta, the gain is d delta + gamma d (K' - K) y. Sweeps of y, from zero, bound it
  (MacQueen, `operators.fixed_point`), and what is left of its span counts little: for as much as d is in U and the laws
  of K' and K differ there,

      |gain - d delta - gamma d (K' - K) y_t|  <=  gamma span(y - y_t) sum_U d(x) |K'(x) - K(x)|_1 / 2.

  A few sweeps decide the sign, and all changes under one s_g are swept together;
* on a chain that is small enough to factorize, the gain is exact by a rank-|U| update (Sherman, Morrison and Woodbury):

      gain = d_U (I - gamma (K' - K) (I - gamma K)^{-1} E_U)^{-1} delta_U.

Changes that cannot gain more than the margin are passed over; only those that remain are evaluated. The first rule and
the last are proven (to rounding); the second takes d as it was computed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.joint_value import ROUNDING
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["FACTORED", "gaining"]

MOST_SWEEPS = 100
"""After so many sweeps a change whose sign is still open is evaluated."""

FACTORED = 1_000
"""Chains of at most so many states are factorized, and the gains of all single changes are exact."""


def gaining(
    surrogate: Surrogate, pi_g: Tensor, values: Tensor, law: Tensor, changes: list[Tensor], margin: float
) -> Iterator[Tensor]:
    """The changes that may gain more than `margin`, in their order.

    Args:
        surrogate: the k agents under the pi_l that is changed.
        pi_g: `[sg, N, ag]`.
        values: joint value of the pair, `[sg, N]`.
        law: its discounted occupancy, `[sg, N]`.
        changes: policies `[sl, sg, al]`, each other than that of the surrogate under one s_g.
        margin: the smallest gain that counts, in units of value.
    """
    if any(kernel.form == "sampled" for kernel in surrogate.kernels):
        yield from changes
        return
    to_sg = next_sg_law(surrogate, pi_g)
    if values.numel() <= FACTORED:
        gain = _exact_gain(surrogate, to_sg, values)
        yield from (pi_l for pi_l in changes if gain(surrogate.changed(pi_l)) > margin)
        return
    judge, verdicts = _Judge(surrogate, to_sg, values, law, margin), dict[int, bool]()
    after = [surrogate.changed(pi_l) for pi_l in changes]
    places = [surrogate.changed_sg(one) for one in after]
    for index, pi_l in enumerate(changes):
        if index not in verdicts:
            group = [other for other in range(len(changes)) if places[other] == places[index]]
            verdicts |= zip(group, judge.may_gain(places[index], [after[other] for other in group]), strict=True)
        if verdicts[index]:
            yield pi_l


def _advantage(before: Surrogate, after: Surrogate, sg: int, to_sg: Tensor, values: Tensor) -> Tensor:
    """delta where a change has taken place under s_g, `[N]`."""
    columns = values.T.contiguous()
    moved = after.kernels[sg].expect(columns) - before.kernels[sg].expect(columns)
    gained = after.local_reward[sg] - before.local_reward[sg]
    return gained + before.game.gamma * (moved * to_sg[sg]).sum(-1)


@dataclass(frozen=True)
class _Judge:
    """Tells which changes under one s_g may gain, all of them at once: they share the kernels of every other s_g."""

    before: Surrogate
    to_sg: Tensor  # [sg, N, sg']
    values: Tensor  # [sg, N]
    law: Tensor  # [sg, N]
    margin: float

    def may_gain(self, sg: int, changed: list[Surrogate]) -> list[bool]:
        """Sweep y of every change until its sign is decided, or for `MOST_SWEEPS`."""
        gamma, law = self.before.game.gamma, self.law[sg]
        delta = torch.stack([_advantage(self.before, one, sg, self.to_sg, self.values) for one in changed])
        apart = torch.stack([law @ self.before.moved_apart(one, sg) for one in changed])
        verdicts = (delta.amax(-1) > ROUNDING * self.values.abs().max()).tolist()
        open_ones = [index for index, may in enumerate(verdicts) if may]
        y = torch.zeros(len(open_ones), *self.values.shape, dtype=delta.dtype, device=delta.device)
        for _ in range(MOST_SWEEPS):
            if not open_ones:
                break
            swept, moved = self._sweep(sg, [changed[index] for index in open_ones], delta[open_ones], y)
            change = (swept - y).flatten(1)
            spread = gamma / (1 - gamma) * (change.amax(-1) - change.amin(-1))
            gain, slack = (delta[open_ones] + moved) @ law, gamma * apart[open_ones] * spread
            left = ((gain + slack > self.margin) & (gain - slack <= self.margin)).tolist()
            for index, above in zip(open_ones, (gain + slack > self.margin).tolist(), strict=True):
                verdicts[index] = above
            open_ones, y = [index for index, keep in zip(open_ones, left, strict=True) if keep], swept[left]
        return verdicts

    def _sweep(self, sg: int, changed: list[Surrogate], delta: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """delta + gamma K' y, `[changes, sg, N]`, and gamma (K' - K) of it under s_g, `[changes, N]`."""
        gamma, columns = self.before.game.gamma, rearrange(y, "b G h -> h b G").contiguous()
        kernels, weights = self.before.kernels, self.to_sg.unsqueeze(2)  # [sg, N, 1, sg']
        swept = [(kernel.expect(columns) * weights[at]).sum(-1) for at, kernel in enumerate(kernels)]
        own = [(one.kernels[sg].expect(y[b].T.contiguous()) * self.to_sg[sg]).sum(-1) for b, one in enumerate(changed)]
        swept[sg] = torch.stack(own, -1)
        following = rearrange(torch.stack(swept), "g h b -> b g h") * gamma
        following[:, sg] += delta
        return following, gamma * self._moved(sg, changed, following)

    def _moved(self, sg: int, changed: list[Surrogate], y: Tensor) -> Tensor:
        """(K' - K) y under s_g, `[changes, N]`."""
        stayed = (self.before.kernels[sg].expect(rearrange(y, "b G h -> h b G")) * self.to_sg[sg, :, None]).sum(-1)
        went = [(one.kernels[sg].expect(y[b].T.contiguous()) * self.to_sg[sg]).sum(-1) for b, one in enumerate(changed)]
        return torch.stack(went) - stayed.T


def _exact_gain(surrogate: Surrogate, to_sg: Tensor, values: Tensor) -> Callable[[Surrogate], float]:
    """The exact gain of a change, by a rank-|U| update of one inverse."""
    game, size = surrogate.game, values.shape[1]
    eye = torch.eye(size, dtype=values.dtype, device=values.device)
    moves = torch.stack([kernel.expect(eye) for kernel in surrogate.kernels])
    matrix = rearrange(einsum(to_sg, moves, "g h G, g h H -> g h G H"), "g h G H -> (g h) (G H)")
    everything = torch.eye(len(matrix), dtype=values.dtype, device=values.device)
    inverse = torch.linalg.inv(everything - game.gamma * matrix)
    law = surrogate.initial_law.flatten() @ inverse

    def gain(after: Surrogate) -> float:
        sg = surrogate.changed_sg(after)
        delta = _advantage(surrogate, after, sg, to_sg, values)
        change = after.kernels[sg].expect(eye) - moves[sg]
        rows = ((change != 0).any(-1) | (delta != 0)).nonzero()[:, 0]
        moved = einsum(to_sg[sg, rows], change[rows], "u G, u H -> u G H").flatten(1)
        states = sg * size + rows
        system = eye[: len(rows), : len(rows)] - game.gamma * moved @ inverse[:, states]
        return float(law[states] @ torch.linalg.solve(system, delta[rows]))

    return gain
