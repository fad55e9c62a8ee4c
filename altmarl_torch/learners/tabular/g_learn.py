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

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.tabular.coarse_start import CoarseStart, coarse_start
from altmarl_torch.learners.tabular.policy_iteration import policy_iteration, prefers_policies
from altmarl_torch.learners.tabular.q_operators import ExactOperator, QOperator, make_operator
from altmarl_torch.operators.fixed_point import MAX_SWEEPS, Progress, solve_fixed_point
from altmarl_torch.operators.joint_value import JointValue, value_after_update, value_tolerance
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.operators.tuples import uses_tuples
from altmarl_torch.policies.tabular import greedy_actions, one_hot, read_policy
from altmarl_torch.support.scalars import check_word
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_integer, as_tolerance, check_kind
from altmarl_torch.support.threads import one_thread
from altmarl_torch.theory import sweeps_algorithm_3

__all__ = ["GlobalResponse", "Parameterization", "approx_value", "g_learn"]

Parameterization = Literal["paper", "auto", "tuples", "counts"]

MOST_TUPLES = 20_000
"""Beyond so many k-tuples the switch rule is not followed: counts give the same policy, and are far fewer."""


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

    __repr__ = brief


@one_thread()
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
    game, count = surrogate.game, _number_of_sweeps(surrogate, sweeps)
    operator = make_operator(surrogate, _over_tuples(surrogate, parameterization), m, xi, generator)
    if count is None:
        V, Q, error, done = _solve(surrogate, operator, start, m is None, tolerance, progress)
    else:
        values = operator.unfold(torch.zeros_like(surrogate.start))
        V, Q, error, done = _sweep(operator, values, count, game.gamma, progress)
    Q = operator.fold(Q)
    actions = greedy_actions(Q)
    pi_g, values = one_hot(actions, game.num_ag), Q.gather(-1, actions.unsqueeze(-1)).squeeze(-1)
    is_exact = isinstance(operator, ExactOperator)
    joint = value_after_update(surrogate, pi_g, V, values, done) if is_exact else None
    return GlobalResponse(pi_g, Q, values, error, done, operator.table, joint)


def _number_of_sweeps(surrogate: Surrogate, sweeps: int | Literal["paper"] | None) -> int | None:
    """How many plain updates are asked for; None for as many as it takes."""
    count = sweeps_algorithm_3(surrogate.game, surrogate.simplex.k) if sweeps == "paper" else sweeps
    return None if count is None else as_integer("sweeps", count, 1, MAX_SWEEPS, ArgumentError)


def _over_tuples(surrogate: Surrogate, parameterization: Parameterization) -> bool:
    """Whether Q is a table over k-tuples. The posterior correction is one of counts."""
    check_word("parameterization", parameterization, get_args(Parameterization))
    by_rule = parameterization == "paper" and _prefers_tuples(surrogate.game.num_sl, surrogate.simplex.k)
    return surrogate.prior is None and (parameterization == "tuples" or by_rule)


def _solve(
    surrogate: Surrogate,
    operator: QOperator,
    start: Tensor | None,
    exact: bool,
    tolerance: float,
    progress: Progress | None,
) -> tuple[Tensor, Tensor, float, int]:
    """V and its Q, the guaranteed error and the sweeps of an iteration; of its tables no other is held any longer."""
    begin = _begin(surrogate, operator, start, exact)
    found = solve_fixed_point(
        operator.step, begin.values, surrogate.game.gamma, tolerance, progress=progress, correct=begin.correct
    )
    return *operator.last(found), found.error, found.sweeps


def _begin(surrogate: Surrogate, operator: QOperator, start: Tensor | None, exact: bool) -> CoarseStart:
    """Where the iteration begins."""
    factorized = exact and prefers_policies(surrogate)
    if start is None and exact and operator.folding is None and not factorized:
        return coarse_start(surrogate)
    values = surrogate.start if start is None else start
    return CoarseStart(operator.unfold(policy_iteration(surrogate, values) if factorized else values), None)


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


def _sweep(
    operator: QOperator, values: Tensor, count: int, gamma: float, progress: Progress | None
) -> tuple[Tensor, Tensor, float, int]:
    """As `_solve`, of exactly `count` plain updates: all but the last are swept, the last is the Q that is returned.

    The error is gamma^T V_max (Corollary B.11), with the bound V_max on the values.
    """
    for sweep in range(1, count):
        values = operator.step(values)
        if progress:
            progress(sweep, gamma**sweep * operator.bound)
    return values, operator.to_q(values), gamma**count * operator.bound, count
