r"""SUBSAMPLE-MFQ of Anand, Karmarkar and Qu (NeurIPS 2025, arXiv 2412.00661), from its description, with exact means.

The joint problem of k agents and the coordinator is solved centrally: with all actions chosen together,

    Q(s_g, s_1..s_k, a_g, a_1..a_k) = r_g(s_g, a_g) + (1/k) sum_i r_l(s_i, s_g, a_i) + gamma E max Q(s_g', s_1'..s_k').

In play the coordinator looks at k of the n agents, and takes its part of the best joint action; so does *every* local
agent, who looks at itself and k - 1 others, drawn anew each step. Locals see more than ours do, who see s_l and s_g.
Where the publication draws m successors, expectations are exact here: its best case. Tuples take
|S_g| |A_g| (|S_l| |A_l|)^k numbers, which is what it pays for the local actions: k = 3 or 4.
"""

import itertools

import numpy as np
import torch
from torch import Tensor

import altmarl_torch as am
from altmarl_torch.policies.base import cumulative, draw


def joint_optimum(game: am.Game, k: int, tolerance: float = 1e-6) -> tuple[Tensor, Tensor]:
    """a_g `[sg, (sl ^ k)]` and the first agent's a_l `[sg, (sl ^ k)]` of the best joint action, ties to the first."""
    values = torch.zeros(game.num_sg, *[game.num_sl] * k, dtype=torch.float64)
    while True:
        Q = joint_q(game, values, k)
        best = Q.flatten(1 + k).max(-1)
        change, values = float((best.values - values).abs().max()), best.values
        if change * game.gamma / (1 - game.gamma) < tolerance:
            a_g, rest = best.indices // game.num_al**k, best.indices % game.num_al**k
            return a_g.flatten(1), (rest // game.num_al ** (k - 1)).flatten(1)


def joint_q(game: am.Game, values: Tensor, k: int) -> Tensor:
    """`[sg, (sl) * k, ag, (al) * k]`, one backup of values `[sg, (sl) * k]`."""
    states, actions = "uvwxyz"[:k], "UVWXYZ"[:k]
    laws = [game.P_l.transpose(0, 1)] * k  # [sg, sl, al, next]
    moved = ",".join(f"g{s}{a}{n}" for s, a, n in zip(states, actions, "nopqrs"[:k], strict=True))
    ahead = torch.einsum(f"gbt,t{'nopqrs'[:k]},{moved}->g{states}b{actions}", game.P_g, values, *laws)
    earned, r_l = torch.zeros_like(ahead), game.r_l.transpose(0, 1) / k
    for i in range(k):
        shape = [game.num_sg, *[1] * k, 1, *[1] * k]
        shape[1 + i], shape[2 + k + i] = game.num_sl, game.num_al
        earned += r_l.reshape(shape)
    earned += game.r_g.reshape(game.num_sg, *[1] * k, game.num_ag, *[1] * k)
    return earned + game.gamma * ahead


def play(game: am.Game, k: int, a_g: Tensor, a_l: Tensor, episodes: int, horizon: int = 100, seed: int = 1) -> Tensor:
    """Discounted returns `[episodes]` of n agents, each of whom samples for itself."""
    generator, n = torch.Generator().manual_seed(seed), game.n
    mu = game.initial.sample_mu(episodes, generator)
    s_l = draw(cumulative(mu).unsqueeze(1).expand(-1, n, -1), generator)
    s_g, total = game.initial.sample_sg(episodes, generator), torch.zeros(episodes, dtype=torch.float64)
    sums_l, sums_g, base = cumulative(game.P_l), cumulative(game.P_g), game.num_sl
    powers = torch.tensor([base**i for i in reversed(range(k))])
    for t in range(horizon):
        chosen_l = a_l[s_g[:, None], (samples(s_l, k, generator) * powers).sum(-1)]
        one = torch.randint(n, (episodes, 1, 1), generator=generator).expand(-1, 1, k)
        chosen_g = a_g[s_g, (samples(s_l, k, generator).gather(1, one)[:, 0] * powers).sum(-1)]
        total += game.gamma**t * (game.r_g[s_g, chosen_g] + game.r_l[s_l, s_g[:, None], chosen_l].mean(-1))
        s_l = draw(sums_l[s_l, s_g[:, None], chosen_l], generator)
        s_g = draw(sums_g[s_g, chosen_g], generator)
    return total


def samples(s_l: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """The states that each agent sees, its own and those of k - 1 others: `[episodes, n, k]`."""
    others = others_of(*s_l.shape, k - 1, generator)
    return torch.cat([s_l.unsqueeze(-1), s_l.gather(1, others.flatten(1)).reshape(others.shape)], -1)


def others_of(episodes: int, n: int, k: int, generator: torch.Generator) -> Tensor:
    """k distinct agents other than i, for each i and episode: `[episodes, n, k]`."""
    drawn = torch.randint(n - 1, (episodes, n, k), generator=generator)
    while True:
        again = torch.zeros(episodes, n, dtype=torch.bool)
        for i, j in itertools.combinations(range(k), 2):
            again |= drawn[..., i] == drawn[..., j]
        if not again.any():
            return drawn + (drawn >= torch.arange(n)[:, None])
        drawn[again] = torch.randint(n - 1, (int(again.sum()), k), generator=generator)


def returns(game: am.Game, k: int, episodes: int) -> np.ndarray:
    """Of the policy learned with k agents."""
    a_g, a_l = joint_optimum(game, k)
    return play(game, k, a_g, a_l, episodes).numpy()
