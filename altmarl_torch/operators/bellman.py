r"""The Bellman operators of the k-agent surrogate (Definitions B.1-B.3), as pure functions of Q.

The surrogate has states (s_g, h), actions a_g and the reward r = r_Delta (`operators.surrogate`).
The operators on Q(s_g, h, a_g) differ only in the expectation they take:

    T-hat_k      (B.2)  r + gamma E max_a' Q(s_g', h', a')            exact           `adapted_bellman`
    T-hat_{k,m}  (B.3)  r + gamma/m sum_j max_a' Q(s_g^j, h^j, a')    m frozen draws  `empirical_adapted_bellman`
    T            (B.1)  T-hat_k with k = n, every agent seen
    T-hat^random (F.2)  either of the first two, with draws of r      Xi frozen draws `randomized_adapted_bellman`

and each is a gamma-contraction in the supremum norm (Lemmas B.6, B.7). With rewards in [0, r~] its iterates from zero
stay below r~/(1-gamma) (Lemma B.4), and T-hat_k^T 0 is Lipschitz in the histogram (Theorem B.18).

Special cases, which are tests: gamma = 0 gives r; k = n gives T; for k = 1 the counts are one-hot and the surrogate is
the MDP of a single agent; as m grows, T-hat_{k,m} tends to T-hat_k.

**Stochastic rewards.** Algorithm 10 averages Xi draws of R_Delta (Eq. 53) in place of r_Delta, and as printed it draws
anew in every iteration. Here they are drawn once, for every (s_g, h, a_g), and frozen like the m draws: only then is
there one operator, a contraction with a fixed point. It depends on the draws through their averages alone, and an
average that is off by at most e moves the fixed point by at most e / (1 - gamma).

Their counterparts on tables over k-tuples of local states are in `operators.tuples`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import SampledCountKernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.support.threads import one_thread

__all__ = [
    "Draws",
    "action_values",
    "adapted_bellman",
    "draw_next",
    "empirical_adapted_bellman",
    "max_backup",
    "next_sg_law",
    "policy_backup",
    "pull_values",
    "push_law",
    "randomized_adapted_bellman",
    "reward_noise",
    "transition_matrix",
]

STATES_AT_ONCE = 2**14
"""Count vectors at which rewards are drawn together."""


def _all_global_values(surrogate: Surrogate, dense: Tensor, columns: Tensor) -> Tensor:
    """`_global_values` of all s_g at once, with their kernels as one table `dense [sg, N, N]`: `[sg, N, ag]`."""
    game, dtype = surrogate.game, columns.dtype
    rewards = game.r_g.unsqueeze(1) if surrogate.crowd is None else surrogate.crowd
    with one_thread():
        return torch.baddbmm(rewards.to(dtype), dense @ columns, game.P_g.to(dtype).mT, alpha=game.gamma)


def _global_values(surrogate: Surrogate, sg: int, values: Tensor) -> Tensor:
    """r_g(s_g, a) + gamma E V(s_g', h') in one global state: values `[N, sg']` to `[N, ag]`, in their type."""
    game, dtype = surrogate.game, values.dtype
    expected = surrogate.kernels[sg].expect(values)
    return torch.addmm(surrogate.global_reward(sg).to(dtype), expected, game.P_g[sg].to(dtype).T, alpha=game.gamma)


def _backup(surrogate: Surrogate, values: Tensor, reduce: Callable[[Tensor, int | slice], Tensor]) -> Tensor:
    """reduce(Q(s_g, ., .), s_g) for every s_g: `[sg, N]`; the local reward, the same for all a_g, is added last."""
    columns, dense = rearrange(values, "g h -> h g").contiguous(), surrogate.dense(values.dtype)
    if dense is not None:
        return reduce(_all_global_values(surrogate, dense, columns), slice(None)).add_(surrogate.local_reward)
    reduced = surrogate.map_sg(lambda sg: reduce(_global_values(surrogate, sg, columns), sg))
    return torch.stack(reduced).add_(surrogate.local_reward)


def action_values(surrogate: Surrogate, values: Tensor) -> Tensor:
    """Q(s_g, h, a_g) = r + gamma E V(s_g', h'), for values `[sg, N]`: `[sg, N, ag]`."""
    columns, dense = rearrange(values, "g h -> h g").contiguous(), surrogate.dense(values.dtype)
    if dense is not None:
        return _all_global_values(surrogate, dense, columns).add_(surrogate.local_reward.unsqueeze(-1))
    table = values.new_empty(*values.shape, surrogate.game.num_ag)  # filled in place: stacked, it would be held twice
    surrogate.map_sg(lambda sg: table[sg].copy_(_global_values(surrogate, sg, columns)))
    return table.add_(surrogate.local_reward.unsqueeze(-1))


def adapted_bellman(Q: Tensor, surrogate: Surrogate) -> Tensor:
    """T-hat_k Q (Definition B.2, Eq. 14), Q `[sg, N, ag]`, with the surrogate's own kernels."""
    return action_values(surrogate, Q.amax(-1))


def max_backup(surrogate: Surrogate, values: Tensor) -> Tensor:
    """max_a (r + gamma E V): `[sg, N]` to `[sg, N]`; the operator T-hat_k on values instead of Q."""
    return _backup(surrogate, values, lambda Q, sg: Q.amax(-1))


def policy_backup(surrogate: Surrogate, pi_g: Tensor, values: Tensor) -> Tensor:
    """sum_a pi_g(a | s_g, h) (r + gamma E V), for `pi_g [sg, N, ag]`, in its type: `[sg, N]` to `[sg, N]`."""
    return _backup(surrogate, values.to(pi_g.dtype), lambda Q, sg: Q.mul_(pi_g[sg]).sum(-1))


def next_sg_law(surrogate: Surrogate, pi_g: Tensor) -> Tensor:
    """The law of s_g' given (s_g, h) under `pi_g [sg, N, ag]`: `[sg, N, sg']`."""
    return einsum(pi_g, surrogate.game.P_g.to(pi_g.dtype), "g h a, g a G -> g h G")


def pull_values(surrogate: Surrogate, to_sg: Tensor, values: Tensor) -> Tensor:
    """E[V(s_g', h') | s_g, h] where s_g' follows `to_sg [sg, N, sg']`, for values `[sg, N]`, in their type."""
    columns, dense = rearrange(values, "g h -> h g").contiguous(), surrogate.dense(values.dtype)
    if dense is not None:
        with one_thread():
            return (dense @ columns).mul_(to_sg.to(values.dtype)).sum(-1)
    return torch.stack(
        surrogate.map_sg(lambda sg: surrogate.kernels[sg].expect(columns).mul_(to_sg[sg].to(values.dtype)).sum(-1))
    )


def transition_matrix(surrogate: Surrogate, to_sg: Tensor) -> Tensor:
    """The law of (s_g', h') given (s_g, h) as one matrix `[sg N, sg' N]`, where s_g' follows `to_sg [sg, N, sg']`."""
    each = torch.eye(surrogate.simplex.size, dtype=to_sg.dtype, device=to_sg.device)
    to_counts = torch.stack([kernel.expect(each) for kernel in surrogate.kernels])
    return rearrange(einsum(to_sg, to_counts, "g h G, g h H -> g h G H"), "g h G H -> (g h) (G H)")


def push_law(surrogate: Surrogate, to_sg: Tensor, law: Tensor) -> Tensor:
    """The law of (s_g', h') when (s_g, h) has the given law `[sg, N]` and s_g' follows `to_sg [sg, N, sg']`."""
    dense = surrogate.dense(law.dtype)
    if dense is not None:
        with one_thread():
            return rearrange((dense.mT @ (law.unsqueeze(-1) * to_sg)).sum(0), "h G -> G h").contiguous()
    arrivals = surrogate.map_sg(lambda sg: surrogate.kernels[sg].push(law[sg, :, None] * to_sg[sg]))
    total = arrivals[0]
    for more in arrivals[1:]:
        total += more
    return rearrange(total, "h G -> G h").contiguous()


@dataclass(frozen=True)
class Draws:
    """The m frozen draws of T-hat_{k,m} at each state: those of h' are shared by the actions, those of s_g' are not."""

    sg: Tensor  # [sg, states, ag, m] next global states
    local: Tensor  # [sg, states, m] next counts or tuples, by rank


def draw_next(game: Game, P_l_pi: Tensor, plan: PairPlan, m: int, generator: torch.Generator) -> Draws:
    """Draw m next states from each (s_g, h, a_g) (Definition B.3)."""
    local = [
        SampledCountKernel(P_l_pi[:, s], plan.simplex.k, m, generator, plan=plan).draws for s in range(game.num_sg)
    ]
    return Draws(draw_next_sg(game, plan.simplex.size, m, generator), torch.stack(local))


def draw_next_sg(game: Game, states: int, m: int, generator: torch.Generator) -> Tensor:
    rows = rearrange(game.P_g, "g a G -> (g a) G")
    drawn = torch.multinomial(rows, states * m, replacement=True, generator=generator)
    return rearrange(drawn, "(g a) (h j) -> g h a j", g=game.num_sg, j=m)


def empirical_adapted_bellman(Q: Tensor, reward: Tensor, draws: Draws, gamma: float) -> Tensor:
    """T-hat_{k,m} Q (Definition B.3, Eq. 15) on counts or tuples: Q and reward `[sg, states, ag]`."""
    values = Q.amax(-1)
    total = torch.zeros_like(reward, dtype=Q.dtype)
    for j in range(draws.local.shape[-1]):
        total += values[draws.sg[..., j], draws.local[..., j].unsqueeze(-1)]
    return reward.to(Q.dtype) + gamma * total / draws.local.shape[-1]


def randomized_adapted_bellman(Q: Tensor, surrogate: Surrogate, noise: Tensor, draws: Draws | None = None) -> Tensor:
    """T-hat^random_{k,m} Q averaged over Xi frozen draws of the rewards (Definition F.2, Eq. 54), on counts.

    Q and `noise` are `[sg, N, ag]`, the latter from `reward_noise`; without `draws`, the next state is expected.
    """
    if draws is None:
        return adapted_bellman(Q, surrogate).add_(noise)
    return empirical_adapted_bellman(Q, surrogate_reward(surrogate) + noise, draws, surrogate.game.gamma)


def reward_noise(surrogate: Surrogate, counts: Tensor, xi: int, generator: torch.Generator) -> Tensor:
    """The average of `xi` draws of R_Delta (Eq. 53), less its mean: `[sg, states, ag]` at counts `[states, sl]`.

    A table over tuples hands in the counts of every tuple, and each has draws of its own.

    Raises:
        ArgumentError: the rewards are not random, or the surrogate does not know its pi_l.
    """
    game = surrogate.game
    if not game.has_random_rewards or surrogate.pi_l is None:
        raise ArgumentError("draws of rewards need a game with a reward law, and a surrogate made by Surrogate.build")
    sampler = game.reward_sampler(surrogate.pi_l)
    tables = []
    for sg in range(game.num_sg):
        parts = torch.split(counts, STATES_AT_ONCE)
        rows = [torch.full((len(part),), sg, device=counts.device) for part in parts]
        noise = [sampler.noise(s_g, part, xi, generator) for s_g, part in zip(rows, parts, strict=True)]
        tables.append(torch.cat(noise))
    return torch.stack(tables)
