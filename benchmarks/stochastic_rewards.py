"""How many draws of a stochastic reward are enough: Algorithm 10's fixed point and pair, as Xi grows.

    python benchmarks/stochastic_rewards.py

A random game with two global and three local states, k = 3, whose rewards are coins: r_g +- 0.5 and r_l +- 1. For
every Xi, over 40 seeds: the error of the fixed point in the supremum norm, Hoeffding's bound on it (99 %, over all
entries), and what the learned pair loses, judged by the mean rewards.
"""

import math

import numpy as np
import torch

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.games.reward_laws import DiscreteReward
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import uniform_local

K, DRAWS, SEEDS = 3, [4**i for i in range(8)], range(40)


def coins(mean: torch.Tensor, spread: float) -> DiscreteReward:
    """mean +- spread, each with probability 1/2."""
    return DiscreteReward(torch.stack([mean - spread, mean + spread], -1), torch.full((*mean.shape, 2), 0.5))


def main() -> None:
    """Print the table of docs/stochastic-rewards.md."""
    game = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, seed=5)
    game = game.replace(r_g=coins(game.r_g, 0.5), r_l=coins(game.r_l, 1.0))
    surrogate = Surrogate.build(game, uniform_local(game), PairPlan(am.CountSimplex(K, game.num_sl)))
    means, value = g_learn(surrogate, parameterization="counts").Q, am.solve(game, K).value
    errors = []
    for xi in DRAWS:
        streams = (torch.Generator().manual_seed(seed) for seed in SEEDS)
        fixed = [g_learn(surrogate, xi=xi, generator=stream, parameterization="counts").Q for stream in streams]
        errors.append(np.mean([float((Q - means).abs().max()) for Q in fixed]))
        bound = game.reward_range * math.sqrt(math.log(2 * means.numel() / 0.01) / (2 * xi)) / (1 - game.gamma)
        lost = 1 - np.mean([am.solve(game, K, xi=xi, seed=seed).value for seed in SEEDS]) / value
        print(f"Xi = {xi:6}: error {errors[-1]:.4f}, bound {bound:.3f}, lost {100 * lost:.2f} %")
    slope = np.polyfit(np.log(DRAWS), np.log(errors), 1)[0]
    print(f"slope {slope:.3f}; Lemma F.4 takes Xi = {am.theory.xi_lemma_f4(game, K)}")


if __name__ == "__main__":
    main()
