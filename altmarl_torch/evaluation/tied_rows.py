r"""Everything that deviators can do, row by row: the tied problems of `tied` for one agent and for all.

Decisions are the pairs (s_l, s_g), options the local actions.

* **One agent** in z under s_g, whatever its companions' counts c: the row of action a rests on the decision (z, s_g).
* **All agents** at counts h under s_g: a row is an action for each local state that h occupies, and rests on those
  decisions alone; so h has |A_l|^(occupied states) rows, not |A_l|^|S_l|. Their laws are built by adding one agent at
  a time, as those of a dense kernel are (`counts.kernels`).
"""

import math

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.evaluation.deviations import Payoff, TaggedAgent
from altmarl_torch.evaluation.tied import TiedProblem
from altmarl_torch.games.game import Game
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward

__all__ = ["MOST_STATES", "global_rows", "shared_rows", "tagged_rows"]

MOST_STATES = 2_000
"""Problems of more states are not searched: a factorization takes too long."""

MOST_ENTRIES = 2**25
"""Nor those whose rows have more entries: 268 MB."""

MOST_BITS = 40
"""Nor those with more than 2^40 assignments of actions to local states, whose numbers would not fit."""


def global_rows(surrogate: Surrogate) -> TiedProblem | None:
    """The global agent's problem, on states (s_g, h), in which nothing is tied; None where it is too large."""
    game, size = surrogate.game, surrogate.simplex.size
    states = game.num_sg * size
    if states > MOST_STATES or states * game.num_ag * states > MOST_ENTRIES:
        return None
    eye = torch.eye(size, dtype=torch.float64, device=game.device)
    moves = torch.stack([kernel.expect(eye) for kernel in surrogate.kernels])
    law = einsum(game.P_g, moves, "g a G, g h H -> g h a G H").reshape(states * game.num_ag, states)
    state = torch.arange(states, device=game.device).repeat_interleave(game.num_ag)
    decisions = torch.empty(len(state), 0, dtype=torch.int64, device=game.device)
    reward = surrogate_reward(surrogate).flatten()
    return TiedProblem(reward, law, state, decisions, 1, surrogate.initial_law.flatten(), game.gamma)


def tagged_rows(surrogate: Surrogate, pi_g: Tensor, payoff: Payoff) -> TiedProblem | None:
    """One agent's problem, on states (s_g, z, c); None where it is too large."""
    game, companions = surrogate.game, surrogate.plan.companions.simplex
    states = game.num_sg * companions.size * game.num_sl
    if not _fits(game, states, states * game.num_al, game.num_al):
        return None
    tagged, eye = TaggedAgent.build(surrogate, pi_g, payoff), torch.eye(companions.size, dtype=torch.float64)
    moves = torch.stack([kernel.expect(eye.to(game.device)) for kernel in tagged.kernels])
    law = einsum(tagged.to_sg, moves, game.P_l, "g G z c, g c C, z g a y -> g z c a G y C")
    reward = rearrange(tagged.reward, "g z a c -> g z c a")
    pair = rearrange(torch.arange(game.num_sl * game.num_sg), "(z g) -> g z 1 1", g=game.num_sg)
    pair = pair.expand(reward.shape).flatten()
    decisions = torch.full((len(pair), game.num_sl * game.num_sg), -1)
    decisions[torch.arange(len(pair)), pair] = torch.arange(len(pair)) % game.num_al
    return TiedProblem(
        reward.flatten(),
        law.reshape(len(pair), states),
        (torch.arange(len(pair)) // game.num_al).to(game.device),
        decisions.to(game.device),
        game.num_al,
        tagged.law.flatten(),
        game.gamma,
    )


def shared_rows(surrogate: Surrogate, pi_g: Tensor) -> TiedProblem | None:
    """All agents' problem, on states (s_g, h); None where it is too large."""
    game, simplex = surrogate.game, surrogate.simplex
    states = game.num_sg * simplex.size
    occupied = (simplex.counts > 0).sum(-1).to(torch.float64)
    number = game.num_sg * float((game.num_al**occupied).sum())
    if not _fits(game, states, number, float(game.num_al ** occupied.max())):
        return None
    place, actions = _assignments(simplex, game.num_al)
    globally, to_sg = surrogate.led(pi_g), next_sg_law(surrogate, pi_g)
    rewards, laws, decisions = [], [], []
    for sg in range(game.num_sg):
        chosen = game.r_l[:, sg].gather(1, actions.clamp_min(0).T).T
        rewards.append(globally[sg, place] + (simplex.frequencies[place] * chosen).sum(-1))
        moved = _assigned_laws(game.P_l[:, sg], simplex, place, actions)
        laws.append(einsum(to_sg[sg, place], moved, "r G, r h -> r G h").flatten(1))
        resting = torch.full((len(place), game.num_sl, game.num_sg), -1, device=game.device)
        resting[..., sg] = actions
        decisions.append(resting.flatten(1))
    state = torch.cat([place + sg * simplex.size for sg in range(game.num_sg)])
    initial = surrogate.initial_law.flatten()
    return TiedProblem(
        torch.cat(rewards), torch.cat(laws), state, torch.cat(decisions), game.num_al, initial, game.gamma
    )


def _fits(game: Game, states: int, rows: float, most: float) -> bool:
    """Whether rows of so many entries, and `most` in a state, can be kept and searched."""
    pairs = game.num_sl * game.num_sg
    if game.num_sl * math.log2(game.num_al) > MOST_BITS:
        return False
    return (
        states <= MOST_STATES and max(rows * states, rows * pairs, pairs * game.num_al * states * most) <= MOST_ENTRIES
    )


def _assignments(simplex: CountSimplex, options: int) -> tuple[Tensor, Tensor]:
    """For each h, every action of the states it occupies: the rank of h `[R]`, and the actions `[R, sl]`, else -1."""
    actions = torch.full((simplex.size, 1, simplex.num_sl), -1, device=simplex.device)
    rank, actions = torch.arange(simplex.size, device=simplex.device), actions[:, 0]
    for z in range(simplex.num_sl):
        repeats = torch.where(simplex.counts[rank, z] > 0, options, 1)
        source = torch.repeat_interleave(repeats)
        first = (repeats.cumsum(0) - repeats)[source]
        option = torch.arange(len(source), device=simplex.device) - first
        rank, actions = rank[source], actions[source].clone()
        actions[:, z] = torch.where(repeats[source] > 1, option, actions[:, z])
        if options == 1:
            actions[:, z] = torch.where(simplex.counts[rank, z] > 0, 0, -1)
    return rank, actions


def _assigned_laws(P: Tensor, simplex: CountSimplex, place: Tensor, actions: Tensor) -> Tensor:
    """The law of the next counts of each assignment, `[R, N]`, for agents that move by `P [sl, al, sl']`."""
    if simplex.k == 0:
        return P.new_ones(1, 1)
    smaller, without = simplex.remove_one()
    fewer_place, fewer_actions = _assignments(smaller, P.shape[1])
    before = _assigned_laws(P, smaller, fewer_place, fewer_actions)
    leaving = simplex.counts.argmax(-1)[place]
    rest = without[place].gather(1, leaving[:, None])[:, 0]
    kept = torch.where(smaller.counts[rest] > 0, actions, -1)
    source = _find(fewer_place, fewer_actions, rest, kept, P.shape[1])
    law, arriving = P.new_zeros(len(place), simplex.size), smaller.add_one()[1]
    chosen = P[leaving, actions.gather(1, leaving[:, None])[:, 0]]  # [R, sl']
    for y in range(simplex.num_sl):
        law.index_add_(1, arriving[:, y], chosen[:, y, None] * before[source])
    return law


def _find(place: Tensor, actions: Tensor, wanted_place: Tensor, wanted_actions: Tensor, options: int) -> Tensor:
    """Where the wanted assignments are among those of `_assignments`."""
    weights = options ** torch.arange(actions.shape[1] - 1, -1, -1, device=actions.device)

    def code(at: Tensor, chosen: Tensor) -> Tensor:
        numbers: Tensor = at * options ** actions.shape[1] + (chosen.clamp_min(0) * weights).sum(-1)
        return numbers

    return torch.searchsorted(code(place, actions), code(wanted_place, wanted_actions))
