r"""Finite-horizon MDPs by successor lists: what UCFH learns in, and exact dynamic programming on them.

An episode has H *rounds* of P *stages* each, so H P micro steps. In round t, at stage j, the state is one of the states
of stage j; an action earns gamma_t R(s, a) and leads to a state of stage j + 1, or, from the last stage, of stage 0 of
the next round. A plain MDP has one stage. In the chains of Algorithms 8 and 9 a round is a macro step, and its stages
are the agents, or the bins, that act in turn.

**Successor lists.** The pairs (s, a) are the *rows* s |A| + a, in the order of the states, and these in the order of
their stages. Row i has the successors `successors[row_start[i] : row_start[i + 1]]`, all of positive probability, in
ascending order. Rows of one stage with equally many successors form a `Block`, on which everything is dense.

**Backward induction.** With V_H = 0, for t = H-1, .., 0 and j = P-1, .., 0,

    Q_t(s, a) = gamma_t R(s, a) + E V(s'),        V_t(s) = max_a Q_t(s, a)  or  sum_a pi_t(a | s) Q_t(s, a),

with V(s') of the next stage. What the expectation is, and what becomes of Q, are arguments of the one loop (`induct`):
exact or optimistic, greedy or fixed. The order of the stages makes it H |S| updates, where a plain view of the same
chain would need H P |S|.

**Policies** are non-stationary: actions `[rounds, states]`, the entry (t, s) being played when s occurs in round t, or
laws `[rounds, states, actions]`; a law `[states, actions]` is the same in every round.

Reference: M. L. Puterman, *Markov Decision Processes* (1994), section 4.5.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.support.sampling import split_shares
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_finite, as_integer, as_law, as_number, as_table

__all__ = [
    "Block",
    "EpisodicMDP",
    "Expectation",
    "check_horizon",
    "distinct",
    "induct",
    "powers",
    "starts_of",
    "under",
]

MOST_ROUNDS = 10**7
"""Episodes of more rounds are refused: 80 MB of discounts alone."""


@dataclass(frozen=True, eq=False)
class Block:
    """The rows of one stage that have equally many successors."""

    rows: Tensor  # [R] rows within the stage: (state within the stage) |A| + action
    edges: Tensor  # [R, C] where the row's successors stand in the lists
    successors: Tensor  # [R, C] states within the next stage


Expectation = Callable[[Block, Tensor], Tensor]
"""E V(s') for the rows of a block, `[R]`, from the values of the next stage's states."""


@dataclass(frozen=True, eq=False)
class EpisodicMDP:
    """A finite-horizon MDP.

    Attributes:
        row_start: `[states actions + 1]` int64, where each row's successors begin.
        successors: `[transitions]` int64, next states.
        probabilities: `[transitions]` float64, their law in each row.
        rewards: `[states, actions]` float64, R: the reward before discounting.
        discounts: `[rounds]` float64, gamma_t, the factor of R in round t.
        start_law: `[states]` float64, law of the first state, on stage 0.
        stage_start: first state of each stage, and the number of states.
    """

    row_start: Tensor  # [states actions + 1]
    successors: Tensor  # [transitions]
    probabilities: Tensor  # [transitions]
    rewards: Tensor  # [states, actions]
    discounts: Tensor  # [rounds]
    start_law: Tensor  # [states]
    stage_start: tuple[int, ...]

    __repr__ = brief

    @classmethod
    def from_tables(
        cls, P: object, r: object, horizon: int, *, discount: float = 1.0, start_law: object = None
    ) -> "EpisodicMDP":
        """The MDP of one stage with laws `P [s, a, s']` and rewards `r [s, a]`, for `horizon` steps.

        The reward of step t counts discount^t; the first state is uniform where no `start_law [s]` is given.

        Raises:
            ArgumentError: shapes disagree, a row is no law, a reward is not finite, the horizon is below 1, or the
                discount is outside [0, 1].
            SizeError: the horizon is above 10^7.
        """
        laws = as_law("P", as_table("P", P, "s a s'", ArgumentError), "s a s'", ArgumentError)
        states, actions, _ = laws.shape
        rewards = as_finite("r", as_table("r", r, "s a", ArgumentError), "s a", ArgumentError)
        uniform = torch.full((states,), 1 / states, dtype=torch.float64, device=laws.device)
        first = as_table("start_law", uniform if start_law is None else start_law, "s", ArgumentError)
        if laws.shape[-1] != states or rewards.shape != (states, actions) or len(first) != states:
            shapes = f"P {list(laws.shape)}, r {list(rewards.shape)}, start_law {list(first.shape)}"
            raise ArgumentError(f"sizes disagree: {shapes}; needed are [s, a, s], [s, a] and [s]")
        flat = laws.reshape(-1, states)
        rows, successors = flat.nonzero().unbind(-1)
        return cls(
            row_start=starts_of(rows, states * actions),
            successors=successors,
            probabilities=flat[rows, successors],
            rewards=rewards,
            discounts=powers(discount, check_horizon(horizon)).to(laws.device),
            start_law=as_law("start_law", first, "s", ArgumentError),
            stage_start=(0, states),
        )

    @property
    def num_states(self) -> int:
        """How many states there are, over all stages."""
        return self.rewards.shape[0]

    @property
    def num_actions(self) -> int:
        """How many actions there are in every state."""
        return self.rewards.shape[1]

    @property
    def num_stages(self) -> int:
        """P, the stages of a round."""
        return len(self.stage_start) - 1

    @property
    def rounds(self) -> int:
        """H, the rounds of an episode."""
        return len(self.discounts)

    @property
    def steps(self) -> int:
        """H P, the micro steps of an episode."""
        return self.rounds * self.num_stages

    @property
    def num_transitions(self) -> int:
        """How many triples (s, a, s') can occur."""
        return len(self.successors)

    @cached_property
    def widths(self) -> Tensor:
        """`[states actions]`, the number of successors of each row."""
        return self.row_start.diff()

    @property
    def max_successors(self) -> int:
        """C, the largest number of successors of a row."""
        return int(self.widths.max())

    @cached_property
    def edge_rows(self) -> Tensor:
        """`[transitions]`, the row of each successor."""
        rows = torch.arange(len(self.widths), device=self.widths.device)
        return rows.repeat_interleave(self.widths, output_size=self.num_transitions)

    def states_of(self, stage: int) -> slice:
        """The states of a stage."""
        return slice(self.stage_start[stage], self.stage_start[stage + 1])

    @cached_property
    def blocks(self) -> tuple[tuple[Block, ...], ...]:
        """The rows of every stage, by the number of their successors."""
        return tuple(tuple(self._blocks_of(stage)) for stage in range(self.num_stages))

    def _blocks_of(self, stage: int) -> list[Block]:
        first, last = (bound * self.num_actions for bound in self.stage_start[stage : stage + 2])
        begins, widths = self.row_start[first:last], self.widths[first:last]
        origin = self.stage_start[(stage + 1) % self.num_stages]
        found = []
        for width in distinct(widths).tolist():
            rows = (widths == width).nonzero().squeeze(-1)
            edges = begins[rows].unsqueeze(-1) + torch.arange(width, device=rows.device)
            found.append(Block(rows, edges, self.successors[edges] - origin))
        return found

    @cached_property
    def deal_shares(self) -> tuple[tuple[Tensor, ...], ...]:
        """For each block, the conditional probabilities from which its successors are dealt."""
        return tuple(tuple(split_shares(self.probabilities[block.edges]) for block in blocks) for blocks in self.blocks)

    def optimal_value(self) -> float:
        """The value of the best policy from the start law, by exact backward induction."""
        return float(
            self.start_law[self.states_of(0)] @ induct(self, under(self.probabilities), lambda t, stage, Q: Q.amax(-1))
        )

    def optimal_policy(self) -> Tensor:
        """An optimal policy, actions `[rounds, states]` int64; ties go to the smallest action."""
        return self.greedy_policy(under(self.probabilities))[0]

    def greedy_policy(self, expect: Expectation) -> tuple[Tensor, float]:
        """The policy that is greedy under an expectation, actions `[rounds, states]`, and its value under it."""
        policy = torch.empty(self.rounds, self.num_states, dtype=torch.int64, device=self.rewards.device)

        def choose(t: int, stage: int, Q: Tensor) -> Tensor:
            values, policy[t, self.states_of(stage)] = Q.max(-1)
            return values

        first = induct(self, expect, choose)
        return policy, float(self.start_law[self.states_of(0)] @ first)

    def value(self, policy: Tensor, expect: Expectation | None = None) -> float:
        """The value of a policy from the start law: actions `[rounds, states]`, or laws with actions on the last axis.

        `expect` is the exact expectation by default.

        Raises:
            ArgumentError: the policy has another shape, or plays an action that does not exist.
        """
        follow = self.following(policy)
        return float(self.start_law[self.states_of(0)] @ induct(self, expect or under(self.probabilities), follow))

    def following(self, policy: Tensor) -> Callable[[int, int, Tensor], Tensor]:
        """What `induct` does with Q under a fixed policy."""
        law = self.read(policy)
        if not law.is_floating_point():
            return lambda t, stage, Q: Q.gather(-1, law[t, self.states_of(stage)].unsqueeze(-1)).squeeze(-1)
        return lambda t, stage, Q: (law[t, self.states_of(stage)] * Q).sum(-1)

    def read(self, policy: Tensor) -> Tensor:
        """A policy as actions `[rounds, states]` int64 or laws `[rounds, states, actions]` float64, checked."""
        if not policy.is_floating_point():
            if policy.shape != (self.rounds, self.num_states):
                wanted = [self.rounds, self.num_states]
                raise ArgumentError(
                    f"a policy of actions must be [rounds, states] = {wanted}, not {list(policy.shape)}"
                )
            if int(policy.min()) < 0 or int(policy.max()) >= self.num_actions:
                raise ArgumentError(f"a policy plays an action outside 0..{self.num_actions - 1}")
            return policy.long()
        wanted = [self.rounds, self.num_states, self.num_actions]
        if list(policy.shape) not in (wanted, wanted[1:]):
            raise ArgumentError(
                f"a policy of laws must be [(rounds,) states, actions] = {wanted}, not {list(policy.shape)}"
            )
        axes = "state action" if policy.ndim == 2 else "round state action"
        return as_law("policy", policy.double(), axes, ArgumentError).expand(wanted)


def under(probabilities: Tensor) -> Expectation:
    """E V(s') when the transitions have the given `probabilities [transitions]`."""
    return lambda block, values: (probabilities[block.edges] * values[block.successors]).sum(-1)


def induct(
    mdp: EpisodicMDP,
    expect: Expectation,
    choose: Callable[[int, int, Tensor], Tensor],
) -> Tensor:
    """Backward induction: the values at the states of stage 0 in round 0.

    Args:
        mdp: the MDP.
        expect: E V(s') of the rows of a block.
        choose: choose(t, stage, Q) is V of the states of a stage in round t from Q `[states of the stage, actions]`.
    """
    values = mdp.rewards.new_zeros(mdp.stage_start[1])
    for t in reversed(range(mdp.rounds)):
        for stage in reversed(range(mdp.num_stages)):
            Q = mdp.discounts[t] * mdp.rewards[mdp.states_of(stage)]
            flat = Q.view(-1)
            for block in mdp.blocks[stage]:
                flat[block.rows] += expect(block, values)
            values = choose(t, stage, Q)
    return values


def distinct(values: Tensor) -> Tensor:
    """The values that occur, ascending."""
    found: Tensor = values.unique()  # type: ignore[no-untyped-call]
    return found


def starts_of(rows: Tensor, num_rows: int) -> Tensor:
    """Where each row's entries begin in a list sorted by row, `[num_rows + 1]`."""
    ends = torch.bincount(rows, minlength=num_rows).cumsum(0)
    return torch.cat([ends.new_zeros(1), ends])


def check_horizon(horizon: object) -> int:
    """Return a number of rounds; an ArgumentError for what is none, a SizeError beyond `MOST_ROUNDS`."""
    rounds = as_integer("horizon", horizon, 1, math.inf, ArgumentError)
    if rounds > MOST_ROUNDS:
        raise SizeError(f"an episode of horizon = {rounds:.3g} rounds is too long: at most {MOST_ROUNDS:,} are kept")
    return rounds


def powers(discount: float, horizon: int) -> Tensor:
    """discount^t for t = 0 .. horizon-1."""
    base = as_number("discount", discount, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
    return base ** torch.arange(horizon, dtype=torch.float64)
