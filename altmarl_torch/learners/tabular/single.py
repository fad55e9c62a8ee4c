r"""What single changes of pi_l gain, bounded before any of them is evaluated.

A single change gives one state z under one s_g another law of actions. It touches the rows of s_g alone where an agent
is in z, U of them. Let V and d be the value and the occupancy of the pair as it is, K its kernel, K' the changed one,
and

    delta = (r' + gamma K' V) - V,    which is zero outside U.

The gain of the change is d' delta, d' being the occupancy after it (Kakade and Langford, ICML 2002). So

* where no entry of delta is positive, the change gains nothing;
* with y = (I - gamma K')^{-1} delta, the gain is d delta + gamma d (K' - K) y. An update of any guess y bounds it
  (MacQueen, `operators.fixed_point`), and what is left of its span counts little: for as much as d is in U and the laws
  of K' and K differ there,

      |gain - d delta - gamma d (K' - K) y_t|  <=  gamma span(y - y_t) sum_U d(x) |K'(x) - K(x)|_1 / 2.

  A few updates decide the sign. On a chain that is small enough to factorize, the next guess adds to the last
  (I - gamma K)^{-1} times its residual, and d is exact; on a larger one it is the update itself.

All changes under one s_g are judged together. Changes that cannot gain more than the margin are passed over; only those
that remain are evaluated. The first rule is proven (to rounding); the second takes d as it was computed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.changed_rows import ChangedRows, prefers_levels
from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.resampling import PosteriorKernel
from altmarl_torch.operators.bellman import next_sg_law, transition_matrix
from altmarl_torch.operators.joint_value import ROUNDING
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate

__all__ = ["FACTORED", "gaining"]

MOST_UPDATES = 100
"""After so many updates a change whose sign is still open is evaluated."""

FACTORED = 400
"""Chains of at most so many states are factorized: on larger ones a few updates take less."""

CLOSE_OCCUPANCY = 1e-6
"""Relative error of the occupancy of larger ones, in the 1-norm."""


def gaining(
    surrogate: Surrogate, pi_g: Tensor, values: Tensor, law: Tensor | None, changes: list[Tensor], margin: float
) -> Iterator[Tensor]:
    """The changes that may gain more than `margin`, in their order.

    Args:
        surrogate: the k agents under the pi_l that is changed.
        pi_g: `[sg, N, ag]`.
        values: joint value of the pair, `[sg, N]`.
        law: where its discounted occupancy is sought from, `[sg, N]`.
        changes: policies `[sl, sg, al]`, each other than that of the surrogate in one state under one s_g.
        margin: the smallest gain that counts, in units of value.
    """
    if not changes or any(kernel.form == "sampled" for kernel in surrogate.kernels):
        yield from changes
        return
    judge, verdicts = _Judge.of(surrogate, pi_g, values, law, margin), dict[int, bool]()
    assert surrogate.pi_l is not None
    places = torch.stack(changes).ne(surrogate.pi_l).any(-1).any(1).to(torch.uint8).argmax(-1).tolist()
    for index, pi_l in enumerate(changes):
        if index not in verdicts:
            group = [other for other in range(len(changes)) if places[other] == places[index]]
            changed = _changed(surrogate, places[index], [changes[other] for other in group])
            verdicts |= zip(group, judge.may_gain(changed), strict=True)
        if verdicts[index]:
            yield pi_l


@dataclass(frozen=True)
class _Changed:
    """Some changes under one s_g."""

    sg: int
    reward: Tensor  # [changes, N] what they pay more
    apart: Tensor  # [changes, N] bounds on |K'(x) - K(x)|_1 / 2
    moved: Callable[[Tensor, Tensor], Tensor]  # values [N, changes, sg'] and their expectation to (E' - E) of them


def _changed(before: Surrogate, sg: int, policies: list[Tensor]) -> _Changed:
    """The changes to policies that differ from that of the surrogate in one state under s_g."""
    assert before.pi_l is not None
    game, pi_l = before.game, torch.stack(policies)[:, :, sg]
    states = (pi_l != before.pi_l[:, sg]).any(-1).to(torch.uint8).argmax(-1)
    laws = pi_l[torch.arange(len(states)), states]
    rows = einsum(laws, game.P_l[states, sg], "c a, c a z -> c z")
    paid = einsum(laws, game.r_l[states, sg], "c a, c a -> c") - before.r_l_pi[states, sg]
    apart = (rows - before.P_l_pi[states, sg]).abs().sum(-1) / 2
    reward, apart = paid[:, None] * before.share(sg).T[states], _apart(before, states, apart)
    if prefers_levels(before.plan):
        return _Changed(sg, reward, apart, _by_levels(before, sg, states, rows))
    return _Changed(sg, reward, apart, _by_kernels(before, sg, policies))


def _apart(before: Surrogate, states: Tensor, apart: Tensor) -> Tensor:
    """Bounds on half the 1-norm between the laws of the next counts: for one agent in z `apart [changes]`."""
    if before.prior is not None:
        return (before.simplex.k * apart).clamp_max(1.0)[:, None].expand(-1, before.simplex.size)
    return (before.simplex.counts.T[states] * apart[:, None]).clamp_max(1.0)


def _by_levels(before: Surrogate, sg: int, states: Tensor, rows: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    """(E' - E) from the kernels of fewer agents, which all changes share."""
    kernel, moves = before.kernels[sg], before.moves[sg]
    assert isinstance(moves, CountKernel)
    changed = ChangedRows(moves, before.P_l_pi[:, sg], states, rows)
    if isinstance(kernel, PosteriorKernel):
        resample = kernel.resampling.expect
        return lambda values, expected: resample(changed.apart(values, moves.expect(values)))
    return changed.apart


def _by_kernels(before: Surrogate, sg: int, policies: list[Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """(E' - E) from a kernel for each change."""
    kernels = [before.changed(pi_l).kernels[sg] for pi_l in policies]

    def moved(values: Tensor, expected: Tensor) -> Tensor:
        columns = [values[:, at].contiguous() for at in range(len(kernels))]
        return torch.stack([one.expect(each) for one, each in zip(kernels, columns, strict=True)], 1) - expected

    return moved


@dataclass(frozen=True)
class _Judge:
    """Tells which changes under one s_g may gain, all of them at once."""

    before: Surrogate
    to_sg: Tensor  # [sg, N, sg']
    values: Tensor  # [sg, N]
    law: Tensor  # [sg, N]
    margin: float
    factors: tuple[Tensor, Tensor] | None  # those of I - gamma K, and their pivots, on small chains

    @classmethod
    def of(cls, before: Surrogate, pi_g: Tensor, values: Tensor, start: Tensor | None, margin: float) -> "_Judge":
        """The judge of a pair whose value is known; `start [sg, N]` is near its occupancy."""
        to_sg = next_sg_law(before, pi_g)
        if values.numel() > FACTORED:
            law = occupancy(before, pi_g, relative_error=CLOSE_OCCUPANCY, start=start)
            return cls(before, to_sg, values, law, margin, None)
        matrix = transition_matrix(before, to_sg).mul_(-before.game.gamma)
        matrix.diagonal().add_(1)
        factors: tuple[Tensor, Tensor] = torch.linalg.lu_factor(matrix)
        law = torch.linalg.lu_solve(*factors, before.initial_law.reshape(-1, 1), adjoint=True)
        return cls(before, to_sg, values, law.reshape(values.shape), margin, factors)

    def may_gain(self, changed: _Changed) -> list[bool]:
        """Better a guess of y for every change until its sign is decided, or `MOST_UPDATES` times."""
        gamma, law, sg = self.before.game.gamma, self.law[changed.sg], changed.sg
        paid = self._moved(changed, self.values.expand(len(changed.reward), -1, -1))
        delta, weight = changed.reward + gamma * paid, gamma / (1 - gamma) * (changed.apart @ law)
        verdicts = delta.amax(-1) > ROUNDING * self.values.abs().max()
        closed, least = ~verdicts, torch.full_like(weight, torch.inf)
        y = of_y = torch.zeros(len(delta), *self.values.shape, dtype=delta.dtype, device=delta.device)
        moved = torch.zeros_like(delta)
        for _ in range(MOST_UPDATES):
            if bool(closed.all()):
                break
            residual = -of_y
            residual[:, sg] += delta + gamma * moved
            flat = residual.flatten(1)
            spread = flat.amax(-1) - flat.amin(-1)
            gain, slack = (delta + gamma * moved) @ law, weight * spread
            verdicts = torch.where(closed, verdicts, ~(gain + slack <= self.margin))
            closed = closed | ~verdicts | (gain - slack > self.margin) | ~(spread < least)
            least = spread
            y, of_y = self._better(y, of_y, residual)
            moved = self._moved(changed, y)
        return [bool(verdict) for verdict in verdicts]

    def _moved(self, changed: _Changed, values: Tensor) -> Tensor:
        """(K' - K) of values `[changes, sg, N]` under s_g: `[changes, N]`."""
        columns = rearrange(values, "c G h -> h c G").contiguous()
        apart = changed.moved(columns, self.before.kernels[changed.sg].expect(columns))
        return einsum(apart, self.to_sg[changed.sg], "h c G, h G -> c h")

    def _better(self, y: Tensor, of_y: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """The next guesses of y, and (I - gamma K) of them: `[changes, sg, N]` as they are, by what they leave."""
        if self.factors is not None:
            added = torch.linalg.lu_solve(*self.factors, residual.flatten(1).T)
            return y + added.T.reshape(y.shape), of_y + residual
        y = y + residual
        columns = rearrange(y, "c G h -> h c G").contiguous()
        pulled = [
            einsum(kernel.expect(columns), to_sg, "h c G, h G -> c h")
            for kernel, to_sg in zip(self.before.kernels, self.to_sg, strict=True)
        ]
        return y, y - self.before.game.gamma * torch.stack(pulled, 1)
