r"""G-LEARN (Algorithm 1): the global agent's best response, tabulated.

With pi_l frozen, the k-agent surrogate is an MDP of the global agent alone, and its best response is the greedy policy
of the fixed point of T-hat_k, or of T-hat_{k,m} with m frozen draws (Definitions B.9, B.10):

    Q = T-hat Q,        pi_g(s_g, h) = argmax_a Q(s_g, h, a),        V(s_g, h) = sum_a pi_g(a | s_g, h) Q(s_g, h, a),

the last being APPROX-VALUE. The paper sweeps T times from Q = 0 (`sweeps="paper"`); by default the iteration is
accelerated and stops at a guaranteed error (`fixed_point`), after a tenth of the sweeps.

**Parameterization.** Q is a table over k-tuples where |S_l|^k <= |S_l| k^|S_l|, over counts elsewhere: the paper's
switch rule (`"paper"`, the default for fidelity). Both give the same policy; `"auto"` takes the smaller table, which is
always that over counts (they differ from k = 2 on).

**From coarse to fine.** A table for k agents is started from the solutions for half and a quarter as many, and
corrected by them (`coarse_start`); on small tables, one that has been solved for another pi_l, or for the last
alternation, is as good a start, and comes in as `start`.

**The value of the greedy pair.** Q belongs to the last application of the operator, to some V. For the greedy policy
that is an update of its own, U = sum_a pi_g Q = T_pi V, and MacQueen's bounds on T_pi's fixed point, the joint value,
follow from it at no cost.

**Stochastic rewards** (Algorithm 10, `xi`). In place of r, the average of Xi draws of the reward at every state and
action, drawn before the first sweep and kept (`randomized_adapted_bellman`).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from altmarl_torch.counts.tuples import list_tuples, rank_tuples, tuples_to_counts
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.learners.tabular.coarse_start import CoarseStart, coarse_start
from altmarl_torch.operators.bellman import (
    action_values,
    draw_next,
    empirical_adapted_bellman,
    max_backup,
    randomized_adapted_bellman,
    reward_noise,
)
from altmarl_torch.operators.fixed_point import LARGE_TABLE, MAX_SWEEPS, FixedPoint, Progress, Step, solve_fixed_point
from altmarl_torch.operators.joint_value import JointValue, value_after_update, value_tolerance
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.operators.tuples import adapted_bellman_tuples, draw_next_tuples, tuple_reward, uses_tuples
from altmarl_torch.policies.tabular import greedy_actions, one_hot, read_policy
from altmarl_torch.support.tables import as_integer, as_tolerance, check_kind
from altmarl_torch.theory import sweeps_algorithm_3

__all__ = ["MOST_XI", "GlobalResponse", "Parameterization", "approx_value", "g_learn"]

Parameterization = Literal["paper", "auto", "tuples", "counts"]

MOST_TUPLES = 20_000
"""Beyond so many k-tuples the switch rule is not followed: counts give the same policy, and are far fewer."""

MOST_XI = 10**6
"""Draws of a reward that are averaged at most."""


@dataclass(frozen=True)
class GlobalResponse:
    """What G-LEARN proposes."""

    pi_g: Tensor  # [sg, N, ag] greedy law of a_g given (s_g, h)
    Q: Tensor  # [sg, N, ag] value of a_g in (s_g, h), under the operator that was iterated
    values: Tensor  # [sg, N] APPROX-VALUE
    error: float  # bound on |Q - fixed point|, in units of value
    sweeps: int  # Bellman updates
    parameterization: str  # "tuples" or "counts"
    joint: JointValue | None  # of pi_g with the pi_l it answers; None under a sampled operator, and on tuples


def g_learn(
    surrogate: Surrogate,
    *,
    m: int | None = None,
    generator: torch.Generator | None = None,
    sweeps: int | Literal["paper"] | None = None,
    tolerance: float | None = None,
    parameterization: Parameterization = "paper",
    start: Tensor | None = None,
    xi: int | None = None,
    progress: Progress | None = None,
) -> GlobalResponse:
    """Best-respond to the surrogate's pi_l.

    Args:
        surrogate: the k-agent MDP under a frozen pi_l.
        m: draws of T-hat_{k,m}, from `generator`; None for the exact T-hat_k.
        sweeps: exactly so many plain updates from zero, "paper" for the T of Algorithm 3; None stops by `tolerance`.
        tolerance: guaranteed error of Q, in units of value; by default 1e-7 of the span of values.
        parameterization: "paper" (the switch rule), "auto" (the smaller table), "tuples" or "counts".
        start: values `[sg, N]` to start from where `sweeps` is None.
        xi: draws of the rewards, from `generator`; None for their means.
        progress: called as progress(sweeps, error) after every update.

    Raises:
        ArgumentError: an option is outside its range, draws are asked for without a generator, or draws of the rewards
            where they are not random, or of the posterior correction.
    """
    check_kind("surrogate", surrogate, Surrogate)
    tolerance = value_tolerance(surrogate) if tolerance is None else as_tolerance(tolerance)
    k, game = surrogate.simplex.k, surrogate.game
    if parameterization not in get_args(Parameterization):
        raise ArgumentError(f"parameterization must be one of {get_args(Parameterization)}, not {parameterization!r}")
    if surrogate.prior is not None:
        parameterization = "counts"  # the posterior correction is one of counts
    tuples = parameterization == "tuples" or (parameterization == "paper" and _prefers_tuples(game.num_sl, k))
    count = sweeps_algorithm_3(game, k) if sweeps == "paper" else sweeps
    if count is not None:
        count = as_integer("sweeps", count, 1, MAX_SWEEPS, ArgumentError)
    noise = None if xi is None else _draw_noise(surrogate, tuples, xi, generator)
    to_q = (_tuple_operator if tuples else _count_operator)(surrogate, m, generator, noise)
    if count is None and start is None and not tuples and m is None:
        begin = coarse_start(surrogate)
    else:
        begin = CoarseStart(surrogate.start if start is None else start, None)
    if tuples:
        folding = rank_tuples(surrogate.simplex)
        begin = CoarseStart(begin.values[:, folding], None)
    exact = not tuples and m is None and xi is None
    step: Step = _Updates(surrogate) if exact else (lambda V: to_q(V).amax(-1))
    found = (
        _sweep(step, torch.zeros_like(begin.values), count, game, progress, _value_bound(game, noise))
        if count is not None
        else solve_fixed_point(step, begin.values, game.gamma, tolerance, progress=progress, correct=begin.correct)
    )
    V, Q = step.last(found) if isinstance(step, _Updates) and count is None else (found.values, to_q(found.values))
    if tuples:
        Q = _fold(Q, folding, surrogate.simplex.size)
    actions = greedy_actions(Q)
    pi_g, values = one_hot(actions, game.num_ag), Q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    joint = value_after_update(surrogate, pi_g, V, values, found.sweeps) if exact else None
    return GlobalResponse(pi_g, Q, values, found.error, found.sweeps, "tuples" if tuples else "counts", joint)


class _Updates:
    """V to max_a Q; of large tables the last Q in float64 is kept, which another update would have to find again."""

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self._kept: tuple[Tensor, Tensor] | None = None  # V and its Q
        self._keeps = surrogate.local_reward.numel() >= LARGE_TABLE

    def __call__(self, values: Tensor) -> Tensor:
        if not (self._keeps and values.dtype == torch.float64):
            return max_backup(self._surrogate, values)
        self._kept = None  # its memory, before the next one's is taken
        Q = action_values(self._surrogate, values)
        self._kept = values, Q
        return Q.amax(-1)

    def last(self, found: FixedPoint) -> tuple[Tensor, Tensor]:
        """V and its Q = r + gamma E V, within the error of the fixed point."""
        if self._kept is None:
            return found.values, action_values(self._surrogate, found.values)
        values, Q = self._kept
        shift = float(found.values[0, 0] - Q[0, 0].max())  # the middle of the bounds, which Q of V + shift / gamma has
        return values + shift / self._surrogate.game.gamma, Q.add_(shift)


def _prefers_tuples(num_sl: int, k: int) -> bool:
    """The paper's switch rule, as long as tuples are few: at |S_l| = 10 it would list 10^9 of them."""
    return uses_tuples(num_sl, k) and num_sl**k <= MOST_TUPLES


def approx_value(pi_g: Tensor, Q: Tensor) -> Tensor:
    """APPROX-VALUE of Algorithm 1: V(s_g, h) = sum_a pi_g(a | s_g, h) Q(s_g, h, a), `[sg, N]` from `[sg, N, ag]`.

    Raises:
        PolicyError: pi_g is no table of laws of the shape of Q.
    """
    read_policy("pi_g", pi_g, "sg h ag", (Q.shape[0], Q.shape[1], Q.shape[2]))
    return (pi_g * Q).sum(-1)


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


def _count_operator(
    surrogate: Surrogate, m: int | None, generator: torch.Generator | None, noise: Tensor | None
) -> Step:
    """V to Q over counts, `[sg, N]` to `[sg, N, ag]`."""
    game = surrogate.game
    draws = None if m is None else draw_next(game, surrogate.P_l_pi, surrogate.plan, m, _required(generator))
    if noise is not None:
        return lambda values: randomized_adapted_bellman(values.unsqueeze(-1), surrogate, noise, draws)
    if draws is None:
        return lambda values: action_values(surrogate, values)
    reward = surrogate_reward(surrogate)
    return lambda values: empirical_adapted_bellman(values.unsqueeze(-1), reward, draws, game.gamma)


def _tuple_operator(
    surrogate: Surrogate, m: int | None, generator: torch.Generator | None, noise: Tensor | None
) -> Step:
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


def _fold(Q: Tensor, folding: Tensor, size: int) -> Tensor:
    """Average Q over the tuples of each count vector: `[sg, sl^k, ag]` to `[sg, N, ag]`.

    With exact expectations they agree; with draws, which differ from tuple to tuple, the mean uses all of them.
    """
    total = Q.new_zeros(Q.shape[0], size, Q.shape[-1]).index_add_(1, folding, Q)
    return total / torch.bincount(folding, minlength=size)[:, None]


def _value_bound(game: Game, noise: Tensor | None) -> float:
    """V_max, of the rewards as they were drawn."""
    return game.v_max if noise is None else game.v_max + float(noise.abs().max()) / (1 - game.gamma)


def _sweep(step: Step, values: Tensor, count: int, game: Game, progress: Progress | None, bound: float) -> FixedPoint:
    """Exactly `count` plain updates; all but the last are swept here, the last is the Q that is returned.

    The error is gamma^T V_max (Corollary B.11), with the bound V_max on the values.
    """
    for sweep in range(1, count):
        values = step(values)
        if progress:
            progress(sweep, game.gamma**sweep * bound)
    return FixedPoint(values, game.gamma**count * bound, count, True)
