r"""Where an episodic MDP goes: the law of its state in each round, and how often each transition is taken.

Both go forward through rounds and stages, with the mass of each state: a probability, or a number of episodes. What is
in a state is distributed over the rows by the policy, and what is in a row over its successors: by their probabilities,
or by a multinomial draw.

**Episodes without episodes.** UCFH asks of a batch of episodes only how often each transition was taken. The episodes
that are in the same state at the same time are interchangeable, so they are dealt over the successors together. The
counts have exactly the law of episodes that are simulated one by one, at a cost that depends on the number of states
and not on that of episodes: 10^9 of them are as cheap as 10^3.
"""

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.chains.episodic import EpisodicMDP
from altmarl_torch.learners.settings import MOST_EPISODES
from altmarl_torch.support.sampling import deal, split_shares
from altmarl_torch.support.tables import as_integer

__all__ = ["occupancy", "sample_visits"]


def occupancy(mdp: EpisodicMDP, policy: Tensor, probabilities: Tensor) -> Tensor:
    """The law of the state in each round under a policy, `[rounds, states]`: the states of each stage sum to one.

    The transitions have the given `probabilities [transitions]`.
    """
    law, found = mdp.read(policy), mdp.rewards.new_zeros(mdp.rounds, mdp.num_states)
    reach = mdp.start_law[mdp.states_of(0)]
    for t in range(mdp.rounds):
        for stage in range(mdp.num_stages):
            found[t, mdp.states_of(stage)] = reach
            rows = _row_shares(law[t, mdp.states_of(stage)], reach, mdp.num_actions)
            after = (stage + 1) % mdp.num_stages
            reach = reach.new_zeros(mdp.stage_start[after + 1] - mdp.stage_start[after])
            for block in mdp.blocks[stage]:
                flow = rows[block.rows].unsqueeze(-1) * probabilities[block.edges]
                reach.index_add_(0, block.successors.flatten(), flow.flatten())
    return found


def sample_visits(mdp: EpisodicMDP, policy: Tensor, episodes: int, generator: torch.Generator) -> Tensor:
    """How often each transition is taken in `episodes` independent episodes of a policy: `[transitions]` float64.

    The episodes that are in a state are dealt over its successors together, by a multinomial draw. The counts have the
    same law as if they were simulated one by one, at a cost that does not depend on how many there are.

    Args:
        policy: actions `[rounds, states]`.

    Raises:
        ArgumentError: the policy has another shape or plays no action, or there are more than 10^13 episodes.
    """
    episodes = as_integer("episodes", episodes, 0, MOST_EPISODES, ArgumentError)
    policy = mdp.read(policy)
    if policy.is_floating_point():
        raise ArgumentError("episodes are sampled under actions [rounds, states], not under laws")
    visits = torch.zeros_like(mdp.probabilities)
    first = mdp.start_law[mdp.states_of(0)]
    counts = deal(first.new_tensor(float(episodes)), split_shares(first), generator)
    for t in range(mdp.rounds):
        for stage in range(mdp.num_stages):
            rows = _row_shares(policy[t, mdp.states_of(stage)], counts, mdp.num_actions)
            after = (stage + 1) % mdp.num_stages
            counts = counts.new_zeros(mdp.stage_start[after + 1] - mdp.stage_start[after])
            for block, shares in zip(mdp.blocks[stage], mdp.deal_shares[stage], strict=True):
                taken = rows[block.rows].nonzero().squeeze(-1)
                moved = deal(rows[block.rows[taken]], shares[taken], generator)
                visits.index_put_((block.edges[taken],), moved, accumulate=True)
                counts.index_add_(0, block.successors[taken].flatten(), moved.flatten())
    return visits


def _row_shares(policy: Tensor, mass: Tensor, num_actions: int) -> Tensor:
    """The mass of each row of a stage, `[states actions]`, where the states have `mass [states]`."""
    if policy.is_floating_point():
        return (policy * mass.unsqueeze(-1)).flatten()
    rows = mass.new_zeros(len(mass) * num_actions)
    rows[torch.arange(len(mass), device=mass.device) * num_actions + policy] = mass
    return rows
