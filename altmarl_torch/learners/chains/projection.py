r"""From a policy of the chain to a local policy pi_l(s_l, s_g).

UCFH's policy knows the time, the stage and everybody's state; a local agent knows s_l and s_g. The paper does not say
how one becomes the other. Two ways, both from the law d_t(x) of the chain's states under the policy, and its values
Q_t:

    value      argmax_a  sum_t sum_x d_t(x) Q_t(x, a)
    majority   argmax_a  sum_t gamma^t sum_x d_t(x) 1{the policy plays a}

over the states x in which somebody in s_l acts under s_g; the second, over those of stage 0 alone.

The first is the derivative of the policy's value, as in `l_learn`. Both candidates are proposed; whoever calls takes
the one with the better exact value. Then `ascend` tries single changes of it until none helps.

Projecting costs what the knowledge is worth that pi_l does not have; that loss is reported, never hidden.
"""

import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.learners.chains.chain import ChainedMDP
from altmarl_torch.learners.chains.episodic import induct, under
from altmarl_torch.learners.chains.visits import occupancy
from altmarl_torch.policies.tabular import greedy, one_hot

__all__ = ["Ascent", "ascend", "projections"]

logger = logging.getLogger(__name__)

MAX_PASSES = 100
"""A cap on passes over all single changes; two or three are usual."""


@dataclass(frozen=True)
class Ascent:
    """Where coordinate ascent ended."""

    pi_l: Tensor  # [sl, sg, al]
    value: float


def projections(mdp: ChainedMDP, policy: Tensor, probabilities: Tensor, pi_l: Tensor) -> list[Tensor]:
    """The candidates, `[sl, sg, al]` each: by value, and by majority.

    Args:
        mdp: the chain.
        policy: actions `[rounds, states]`.
        probabilities: `[transitions]`, the MDP's own or estimates.
        pi_l: what is played where the policy is never met.
    """
    law = occupancy(mdp, policy, probabilities)
    votes = _worth(mdp, policy, probabilities, law), _majority(mdp, policy, law)
    return [_elected(mdp, each, pi_l) for each in votes]


def ascend(evaluate: Callable[[Tensor], float], pi_l: Tensor, *, margin: float) -> Ascent:
    """Coordinate ascent: try every action in every (s_l, s_g), keep what raises the value, until nothing does.

    Args:
        evaluate: the value of a local policy.
        pi_l: a deterministic local policy, `[sl, sg, al]`.
        margin: the smallest gain that counts.
    """
    best, value = pi_l, evaluate(pi_l)
    for _ in range(MAX_PASSES):
        before = value
        for sl, sg, action in itertools.product(*map(range, pi_l.shape)):
            if best[sl, sg, action] == 1:
                continue
            changed = best.clone()
            changed[sl, sg] = one_hot(torch.tensor(action, device=pi_l.device), pi_l.shape[-1])
            found = evaluate(changed)
            if found > value + margin:
                best, value = changed, found
        if value == before:
            break
    else:
        logger.warning("coordinate ascent still gains after %d passes, the most that are made", MAX_PASSES)
    return Ascent(best, value)


def _worth(mdp: ChainedMDP, policy: Tensor, probabilities: Tensor, law: Tensor) -> Tensor:
    """sum_t d_t(x) Q_t(x, a): `[states, actions]`."""
    worth, follow = torch.zeros_like(mdp.rewards), mdp.following(policy)

    def collect(t: int, stage: int, Q: Tensor) -> Tensor:
        states = mdp.states_of(stage)
        values = follow(t, stage, Q)
        worth[states] += law[t, states].unsqueeze(-1) * (Q - values.unsqueeze(-1))
        return values

    induct(mdp, under(probabilities), collect)
    return worth


def _majority(mdp: ChainedMDP, policy: Tensor, law: Tensor) -> Tensor:
    """sum_t gamma^t d_t(x) 1{policy_t(x) = a} in stage 0: `[states, actions]`."""
    votes, first = torch.zeros_like(mdp.rewards), mdp.states_of(0)
    played = one_hot(policy[:, first], mdp.num_actions)
    votes[first] = (mdp.discounts[:, None, None] * law[:, first, None] * played).sum(0)
    return votes


def _elected(mdp: ChainedMDP, votes: Tensor, pi_l: Tensor) -> Tensor:
    """The action with the most votes in each (s_l, s_g), `[sl, sg, al]`; that of pi_l where all have the same."""
    num_sl, num_sg, num_al = pi_l.shape
    total = votes.new_zeros(num_sl * num_sg, num_al)
    total.index_add_(0, mdp.acting * num_sg + mdp.sg, votes)
    undecided = (total == total[:, :1]).all(-1, keepdim=True)
    return greedy(torch.where(undecided, pi_l.reshape(-1, num_al), total).reshape(pi_l.shape))
