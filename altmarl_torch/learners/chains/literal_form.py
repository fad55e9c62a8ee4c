"""Algorithm 9 as printed, with all that it keeps: the yardstick of the reduced chain (`chain_forms`), for tests.

State and scratch histogram are held to the end of the macro step, although the bins of the one that have been processed
are not read again, and neither is the tagged agent's state once it has acted. Optimal values are those of the reduced
chain; there are 2 to 5 times as many states.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.learners.chains.episodic import distinct
from altmarl_torch.learners.chains.forms import NOTHING_PENDING, Actors, Branch, MeanFieldForm
from altmarl_torch.theory import count_vectors, states_algorithm_9_literal, transitions_algorithm_9_literal

__all__ = ["LiteralForm"]


@dataclass(frozen=True, eq=False)
class LiteralForm(MeanFieldForm):
    """Algorithm 9 as printed: s_l and h are kept to the end of the macro step.

    Coordinates: s_g, pending, s_l, pending s_l, rank of h, and of the arrived counts with those yet to arrive in front.
    """

    @staticmethod
    def size(game: Game, k: int) -> tuple[int, int]:
        """See `ChainForm`."""
        return states_algorithm_9_literal(game, k), transitions_algorithm_9_literal(game, k)

    @cached_property
    def scratch(self) -> CountSimplex:
        """(companions yet to move, arrived in bin 0 .. S-1)."""
        return CountSimplex(self.companions, self.game.num_sl + 1, self.game.device)

    def radices(self, stage: int) -> tuple[int, ...]:
        """See `ChainForm`."""
        game = self.game
        return (
            *(game.num_sg, game.num_sg + 1, game.num_sl, game.num_sl + 1),
            *(count_vectors(game, self.companions), self.scratch.size),
        )

    def _first(self, sg: Tensor, sl: Tensor, rank: Tensor) -> Tensor:
        nothing, nobody = torch.full_like(sg, NOTHING_PENDING), torch.zeros_like(sg)
        return torch.stack([sg, nothing, sl, nothing, rank, nobody], -1)

    def actors(self, stage: int, states: Tensor) -> Actors:
        """See `ChainForm`."""
        sg, _, sl, _, rank, _ = states.unbind(-1)
        if stage == 0:
            return Actors(sg, sl, torch.ones_like(sg))
        return Actors(sg, torch.full_like(sg, stage - 1), self.vectors(0).counts[rank, stage - 1])

    def global_reward(self, states: Tensor) -> Tensor:
        """See `ChainForm`."""
        return self.r_g_pi[states[:, 0], self.everyone[states[:, 2], states[:, 4]]]

    def branch(self, stage: int, states: Tensor) -> Iterator[Branch]:
        """See `ChainForm`."""
        sg, _, sl, _, rank, scratch = states.unbind(-1)
        if stage == 0:
            law = self.first_moves(sg, self.everyone[sl, rank], sl)
            next_sg, next_sl = (choice.expand(len(states), -1) for choice in self.pairs)
            now, tagged, held, nobody = (column.unsqueeze(-1).expand_as(next_sg) for column in (sg, sl, rank, scratch))
            following = torch.stack([now, next_sg, tagged, next_sl, held, nobody], -1)
            yield Branch(torch.arange(len(states), device=states.device), following, law)
            return
        waiting = self.vectors(0).counts[rank, stage - 1]
        for number in distinct(waiting).tolist():
            parents = (waiting == number).nonzero().squeeze(-1)
            dealt, law = self.deals(stage - 1, number)
            moved = torch.cat([torch.full_like(dealt[:, :1], -number), dealt], -1)
            after = self.scratch.counts[scratch[parents]].unsqueeze(1) + moved
            yield Branch(parents, self._next(stage, states[parents], after), law[sg[parents]])

    def _next(self, stage: int, states: Tensor, arrived: Tensor) -> Tensor:
        """The states that follow `states [R, coordinates]` with scratch counts `arrived [R, C, sl + 1]`."""
        if stage < self.num_stages - 1:
            kept = states[:, None, :5].expand(-1, arrived.shape[1], -1)
            return torch.cat([kept, self.scratch.rank(arrived).unsqueeze(-1)], -1)
        sg, sl = (states[:, column, None].expand(-1, arrived.shape[1]) for column in (1, 3))
        return self._first(sg, sl, self.vectors(0).rank(arrived[..., 1:]))
