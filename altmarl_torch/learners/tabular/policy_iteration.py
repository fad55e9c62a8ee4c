"""Howard's policy iteration, for chains of many s_g and few counts: where to start G-LEARN.

A sweep visits every s_g with a small matrix each, and where s_g goes round (a time of day) thousands of sweeps are
needed; a factorization of the whole chain takes as long as a few of them. Each step solves for the values of a policy
and turns to the greedy one (Howard, *Dynamic Programming and Markov Processes*, 1960). G-LEARN's iteration begins from
the result, and proves its error as from any other start.
"""

from torch import Tensor

from altmarl_torch.operators.bellman import action_values
from altmarl_torch.operators.joint_value import DIRECT, joint_value, solves_directly
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import greedy, one_hot

__all__ = ["policy_iteration", "prefers_policies"]

MOST_STEPS = 50
"""A handful is usual."""


def prefers_policies(surrogate: Surrogate) -> bool:
    """Whether a factorization costs less than the sweeps that it saves, on a chain that sweeps do not solve at once."""
    return surrogate.local_reward.numel() > DIRECT and solves_directly(surrogate)


def policy_iteration(surrogate: Surrogate, start: Tensor) -> Tensor:
    """The best values, `[sg, N]`, from `start`."""
    values, actions = start, greedy(action_values(surrogate, start)).argmax(-1)
    for _ in range(MOST_STEPS):
        values = joint_value(surrogate, one_hot(actions, surrogate.game.num_ag)).values
        turned = greedy(action_values(surrogate, values)).argmax(-1)
        if bool((turned == actions).all()):
            break
        actions = turned
    return values
