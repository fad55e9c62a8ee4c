r"""Algorithm 7: rewards of states and actions turned into rewards of states alone.

Dann and Brunskill state UCFH for rewards r(s); the chains have r(s, a). Algorithm 7 puts a *deciding* state before
every action and a *committed* state behind it:

    states      (s, undecided) and (s, a)              |S| + |S| |A|
    actions     A and WAIT, the paper's bottom symbol  |A| + 1
    from        (s, undecided)  by a in A  to (s, a);  by WAIT to itself
                (s, a)          by anything to (s', undecided), s' ~ P(. | s, a)
    reward      r(s, a) in (s, a), nothing in (s, undecided)

and an episode takes twice as many steps. Whoever never waits earns exactly what they earn in the original. To wait
costs a step, and every later reward comes a step later, with a discount that is no larger; so it never pays as long as
rewards are *not negative*, and optimal values agree. With a negative reward one would wait for ever: it is refused.

The library does not need the transformation: rewards are known, and r(s, a) enters the plan as it is. It is off
everywhere, and here for whoever wants to run another solver of the paper's kind on a chain.
"""

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.chains.episodic import EpisodicMDP, starts_of

__all__ = ["decide_before_acting"]


def decide_before_acting(mdp: EpisodicMDP) -> EpisodicMDP:
    """The MDP of Algorithm 7, with rewards of states alone and twice the steps; its optimal value is that of `mdp`.

    State s of `mdp` becomes the deciding state s, and its action a the committed state |S| + s |A| + a; WAIT is the
    last action. Who waits leaves the order of the stages, so the result has one stage, and as many rounds as steps.

    Raises:
        ArgumentError: a reward is negative.
    """
    if bool((mdp.rewards < 0).any()):
        state, action = (mdp.rewards < 0).nonzero()[0].tolist()
        raise ArgumentError(
            f"the reward of state {state}, action {action} is {float(mdp.rewards[state, action]):g}; Algorithm 7 needs "
            "rewards of at least 0, since otherwise it pays to wait"
        )
    states, actions = mdp.num_states, mdp.num_actions
    device = mdp.rewards.device
    index = torch.arange(states, device=device)
    committed = states + torch.arange(states * actions, device=device)
    choices = torch.cat([committed.reshape(states, actions), index.unsqueeze(-1)], -1)  # WAIT stays
    rows, successors, law = _moves(mdp, actions + 1)
    earned = torch.cat([mdp.rewards.new_zeros(states), mdp.rewards.flatten()])
    decisions = torch.arange(states * (actions + 1), device=device)
    all_rows = torch.cat([decisions, rows])
    return EpisodicMDP(
        row_start=starts_of(all_rows, (states + states * actions) * (actions + 1)),
        successors=torch.cat([choices.flatten(), successors]),
        probabilities=torch.cat([torch.ones_like(law[:1]).expand(len(decisions)), law]),
        rewards=earned.unsqueeze(-1).expand(-1, actions + 1).contiguous(),
        discounts=mdp.discounts.repeat_interleave(2 * mdp.num_stages),
        start_law=torch.cat([mdp.start_law, mdp.start_law.new_zeros(states * actions)]),
        stage_start=(0, states * (actions + 1)),
    )


def _moves(mdp: EpisodicMDP, num_actions: int) -> tuple[Tensor, Tensor, Tensor]:
    """Row, successor and probability from the committed states: the same for each of their `num_actions` actions."""
    first = mdp.num_states * num_actions
    again = mdp.widths.repeat_interleave(num_actions)
    total = int(again.sum())
    rows = torch.arange(len(again), device=again.device).repeat_interleave(again, output_size=total)
    begins = mdp.row_start[:-1].repeat_interleave(num_actions)
    edges = begins[rows] + torch.arange(total, device=again.device) - (again.cumsum(0) - again)[rows]
    return first + rows, mdp.successors[edges], mdp.probabilities[edges]
