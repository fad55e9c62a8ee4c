r"""The micro steps of Algorithms 8 and 9: what the states of each stage are, and where they lead.

L-LEARN fixes pi_g and lets the k sampled agents act one after the other within a macro step, so that the action set
remains A_l. What a *form* has to say of its chain is here; `chained` turns it into successor lists.

**Tuple form** (Algorithm 8), k stages. Stage j holds

    (s_g, pending, s_1..s_k),

and the action is that of replica j. In stage 0 nothing is pending: a_g ~ pi_g(s_g, s_1..s_k) and the next global state
are drawn before any replica moves; the last stage commits it.

**Mean-field form** (Algorithm 9), |S_l| + 1 stages, with a tagged agent and its k - 1 companions as counts. In stage 0,

    (s_g, s_l, h),        h the counts of the companions,

the action is the tagged agent's; the next global and tagged states become pending. In stage u >= 1 all companions in
bin u - 1 take one action, and are dealt over the next bins by a multinomial law. The paper keeps s_l and all of h to
the end (`chain_literal`). Neither is used again once it has acted, so the *reduced* form drops both: stage u holds

    (s_g, pending, pending s_l, w),     w = (companions in bins u-1 .. S-1 that have yet to move, arrived in 0 .. S-1),

one vector of k - 1 counts over 2S - u + 1 bins, or S bins in stage 1 where nobody has arrived. Optimal values agree,
and the reduced chain is several times smaller. The scratch histogram is printed as an element of mu_{k-1}, but it holds
0..k-1 agents, and k = 1 would divide by zero: counts are integers here.

A state is a row of whole numbers, its *coordinates*; `NOTHING_PENDING` is the paper's bottom symbol. Vectors of counts
are held by their rank (`CountSimplex`), tuples by their index in `list_tuples`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, NamedTuple, Protocol

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.counts.tuples import rank_tuples
from altmarl_torch.games.game import Game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.learners.chains.episodic import distinct
from altmarl_torch.theory import (
    states_algorithm_8_reachable,
    states_algorithm_9_reduced,
    transitions_algorithm_8_reachable,
    transitions_algorithm_9_reduced,
)

__all__ = ["NOTHING_PENDING", "Actors", "Branch", "ChainForm", "MeanFieldForm", "TupleForm"]

NOTHING_PENDING = -1
"""The paper's bottom symbol: no next state has been drawn yet."""


class Actors(NamedTuple):
    """Whose action is chosen in each of some states of a stage."""

    sg: Tensor  # [states] the global state under which they act
    sl: Tensor  # [states] their local state
    number: Tensor  # [states] how many agents share the action: one, or those in a bin


class Branch(NamedTuple):
    """Where some states of a stage lead: the next states are the same for all actions, their law is not."""

    parents: Tensor  # [R] which of the states
    following: Tensor  # [R, C, coordinates]
    law: Tensor  # [R, actions, C]


class ChainForm(Protocol):
    """The structure of a chain."""

    name: ClassVar[str]

    @property
    def game(self) -> Game:
        """The game."""

    @property
    def k(self) -> int:
        """How many agents there are."""

    @property
    def num_stages(self) -> int:
        """How many micro steps a macro step has."""

    @staticmethod
    def size(game: Game, k: int) -> tuple[int, int]:
        """States and transitions: their number where every law has full support, and a bound elsewhere."""

    def radices(self, stage: int) -> tuple[int, ...]:
        """How many values each coordinate takes in a stage, `NOTHING_PENDING` included."""

    def start(self, law: InitialLaw) -> tuple[Tensor, Tensor]:
        """The states of stage 0, `[R, coordinates]`, and their law `[R]` when the macro state follows `law`."""

    def actors(self, stage: int, states: Tensor) -> Actors:
        """Who acts in `states [R, coordinates]`."""

    def global_reward(self, states: Tensor) -> Tensor:
        """E r_g(s_g, a_g) over pi_g, in states of stage 0: `[R]`."""

    def branch(self, stage: int, states: Tensor) -> Iterator[Branch]:
        """Where the states lead."""


@dataclass(frozen=True, eq=False)
class _Chain:
    """What both forms share: the game, the dispatcher, and k."""

    game: Game
    pi_g: Tensor  # [sg, seen, ag], law of a_g given (s_g, what is seen of the agents: a tuple, or counts)
    k: int

    @cached_property
    def simplex(self) -> CountSimplex:
        """The counts of the k agents."""
        return CountSimplex(self.k, self.game.num_sl, self.game.device)

    @cached_property
    def to_sg(self) -> Tensor:
        """`[sg, seen, sg']`, law of the next global state."""
        return einsum(self.pi_g, self.game.P_g, "g h a, g a G -> g h G")

    @cached_property
    def r_g_pi(self) -> Tensor:
        """`[sg, seen]`, E r_g(s_g, a_g)."""
        return einsum(self.pi_g, self.game.r_g, "g h a, g a -> g h")

    def first_moves(self, sg: Tensor, seen: Tensor, sl: Tensor) -> Tensor:
        """Law of (s_g', s_l') in stage 0: `[R, actions, sg' sl']` from s_g, what is seen, and the s_l that acts."""
        joint = einsum(self.to_sg[sg, seen], self.game.P_l[sl, sg], "r G, r a L -> r a G L")
        return rearrange(joint, "r a G L -> r a (G L)")

    def every(self, *sizes: int) -> tuple[Tensor, ...]:
        """Every combination of indices below the sizes, the last running fastest: one column each."""
        ranges = (torch.arange(size, device=self.game.device) for size in sizes)
        return torch.cartesian_prod(*ranges).unbind(-1)

    @property
    def pairs(self) -> tuple[Tensor, ...]:
        """s_g' and s_l' in the order of `first_moves`: `[sg' sl']` each."""
        return self.every(self.game.num_sg, self.game.num_sl)


@dataclass(frozen=True, eq=False)
class TupleForm(_Chain):
    """Algorithm 8. Coordinates: s_g, pending, index of (s_1..s_k)."""

    name: ClassVar[str] = "tuple"

    @property
    def num_stages(self) -> int:
        """One for each agent."""
        return self.k

    @staticmethod
    def size(game: Game, k: int) -> tuple[int, int]:
        """See `ChainForm`."""
        return states_algorithm_8_reachable(game, k), transitions_algorithm_8_reachable(game, k)

    def radices(self, stage: int) -> tuple[int, ...]:
        """See `ChainForm`."""
        return self.game.num_sg, self.game.num_sg + 1, self.game.num_sl**self.k

    def start(self, law: InitialLaw) -> tuple[Tensor, Tensor]:
        """See `ChainForm`. Tuples with the same counts are alike."""
        game, simplex = self.game, self.simplex
        ranks = rank_tuples(simplex)
        tuple_law = (law.count_law(simplex.counts) / torch.bincount(ranks, minlength=simplex.size))[ranks]
        sg, index = self.every(game.num_sg, len(ranks))
        states = torch.stack([sg, torch.full_like(sg, NOTHING_PENDING), index], -1)
        return states, law.sg[sg] * tuple_law[index]

    def actors(self, stage: int, states: Tensor) -> Actors:
        """See `ChainForm`."""
        return Actors(states[:, 0], self._replica(stage, states[:, 2]), torch.ones_like(states[:, 0]))

    def global_reward(self, states: Tensor) -> Tensor:
        """See `ChainForm`."""
        return self.r_g_pi[states[:, 0], states[:, 2]]

    def branch(self, stage: int, states: Tensor) -> Iterator[Branch]:
        """See `ChainForm`."""
        sg, pending, index = states.unbind(-1)
        replica, place = self._replica(stage, index), self._place(stage)
        if stage == 0:
            law = self.first_moves(sg, index, replica)
            to_sg, to_sl = self.pairs
            to_sg = to_sg.expand(len(states), -1)
        else:
            law = self.game.P_l[replica, sg]
            to_sl = torch.arange(self.game.num_sl, device=states.device)
            to_sg = pending.unsqueeze(-1).expand(-1, len(to_sl))
        following = index.unsqueeze(-1) + (to_sl - replica.unsqueeze(-1)) * place
        now = sg.unsqueeze(-1).expand_as(to_sg)
        if stage == self.k - 1:
            now, to_sg = to_sg, torch.full_like(to_sg, NOTHING_PENDING)
        yield Branch(torch.arange(len(states), device=states.device), torch.stack([now, to_sg, following], -1), law)

    def _place(self, stage: int) -> int:
        """The place value of replica `stage` in a tuple's index."""
        return int(self.game.num_sl ** (self.k - 1 - stage))

    def _replica(self, stage: int, index: Tensor) -> Tensor:
        """The state of the replica that acts."""
        return index // self._place(stage) % self.game.num_sl


@dataclass(frozen=True, eq=False)
class MeanFieldForm(_Chain):
    """Algorithm 9, reduced. Coordinates: s_g, pending; s_l or, from stage 1 on, the pending s_l; rank of h or of w."""

    name: ClassVar[str] = "mean-field"

    @property
    def num_stages(self) -> int:
        """The tagged agent, and every bin."""
        return self.game.num_sl + 1

    @property
    def companions(self) -> int:
        """k - 1, the agents beside the tagged one."""
        return self.k - 1

    @staticmethod
    def size(game: Game, k: int) -> tuple[int, int]:
        """See `ChainForm`."""
        return states_algorithm_9_reduced(game, k), transitions_algorithm_9_reduced(game, k)

    def vectors(self, stage: int) -> CountSimplex:
        """The simplex of h or w."""
        bins = self.game.num_sl if stage <= 1 else 2 * self.game.num_sl - stage + 1
        return CountSimplex(self.companions, bins, self.game.device)

    def radices(self, stage: int) -> tuple[int, ...]:
        """See `ChainForm`."""
        return self.game.num_sg, self.game.num_sg + 1, self.game.num_sl, self.vectors(stage).size

    @cached_property
    def everyone(self) -> Tensor:
        """`[sl, h]`, rank of all k counts where the tagged agent is in s_l and its companions have counts h."""
        _, joined = self.vectors(0).add_one()
        return joined.T.contiguous()

    def start(self, law: InitialLaw) -> tuple[Tensor, Tensor]:
        """See `ChainForm`. One of k exchangeable agents is in s_l, beside h, with (h(s_l) + 1)/k of P(h + e_{s_l})."""
        h = self.vectors(0).counts
        sg, sl, rank = self.every(self.game.num_sg, self.game.num_sl, len(h))
        alike = (h[rank, sl] + 1).double() / self.k
        macro = law.count_law(self.simplex.counts)[self.everyone[sl, rank]] * alike
        return self._first(sg, sl, rank), law.sg[sg] * macro

    def _first(self, sg: Tensor, sl: Tensor, rank: Tensor) -> Tensor:
        """States of stage 0."""
        return torch.stack([sg, torch.full_like(sg, NOTHING_PENDING), sl, rank], -1)

    def actors(self, stage: int, states: Tensor) -> Actors:
        """See `ChainForm`."""
        if stage == 0:
            return Actors(states[:, 0], states[:, 2], torch.ones_like(states[:, 0]))
        waiting = self.vectors(stage).counts[states[:, 3], 0]
        return Actors(states[:, 0], torch.full_like(waiting, stage - 1), waiting)

    def global_reward(self, states: Tensor) -> Tensor:
        """See `ChainForm`."""
        return self.r_g_pi[states[:, 0], self.everyone[states[:, 2], states[:, 3]]]

    def branch(self, stage: int, states: Tensor) -> Iterator[Branch]:
        """See `ChainForm`."""
        sg, _, tagged, rank = states.unbind(-1)
        if stage == 0:
            law = self.first_moves(sg, self.everyone[tagged, rank], tagged)
            to_sg, to_sl = (choice.expand(len(states), -1) for choice in self.pairs)
            now, held = (column.unsqueeze(-1).expand_as(to_sg) for column in (sg, rank))
            yield Branch(
                torch.arange(len(states), device=states.device), torch.stack([now, to_sg, to_sl, held], -1), law
            )
            return
        counts = self.vectors(stage).counts[rank]
        following = self.vectors((stage + 1) % self.num_stages)
        for waiting in distinct(counts[:, 0]).tolist():
            parents = (counts[:, 0] == waiting).nonzero().squeeze(-1)
            dealt, law = self.deals(stage - 1, waiting)
            arrived = (
                counts[parents, self.game.num_sl - stage + 1 :] if stage > 1 else counts.new_zeros(len(parents), 1)
            )
            still = counts[parents, 1 : self.game.num_sl - stage + 1]
            now = (arrived.unsqueeze(1) + dealt).expand(len(parents), -1, -1)
            w = torch.cat([still.unsqueeze(1).expand(-1, len(dealt), -1), now], -1)
            kept = states[parents, :3].unsqueeze(1).expand(-1, len(dealt), -1)
            if stage == self.num_stages - 1:
                kept = torch.stack([kept[..., 1], torch.full_like(kept[..., 1], NOTHING_PENDING), kept[..., 2]], -1)
            yield Branch(parents, torch.cat([kept, following.rank(w).unsqueeze(-1)], -1), law[sg[parents]])

    def deals(self, bin: int, number: int) -> tuple[Tensor, Tensor]:
        """Where the `number` agents of a bin go: counts `[C, sl]`, and their multinomial law `[sg, actions, C]`."""
        dealt = CountSimplex(number, self.game.num_sl, self.game.device).counts
        ways = math.lgamma(number + 1) - torch.lgamma(dealt.double() + 1).sum(-1)
        chances = self.game.P_l[bin].unsqueeze(-2) ** dealt  # 0^0 = 1
        return dealt, chances.prod(-1) * ways.exp()
