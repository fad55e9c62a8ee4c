"""The best local deviation by enumeration: every deterministic pi_l, each evaluated by brute force.

Slow and simple; what `evaluation.tied` finds by branch and bound is compared with it.
"""

import itertools

import numpy as np
import torch

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.evaluation.deviations import TaggedAgent
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.policies.tabular import deterministic_local


def every_local(game):
    """Every deterministic pi_l, `[sl, sg, al]`."""
    for actions in itertools.product(range(game.num_al), repeat=game.num_sl * game.num_sg):
        yield deterministic_local(torch.tensor(actions).reshape(game.num_sl, game.num_sg), game.num_al)


def shared_value(game, pair, pi_l):
    """Mean value where all agents play pi_l, by one dense linear system on (s_g, h)."""
    surrogate = exact_surrogate(game, pi_l, PairPlan(CountSimplex(pair.k, game.num_sl)))
    to_sg, size = next_sg_law(surrogate, pair.pi_g).numpy(), surrogate.simplex.size
    moves = [kernel.expect(torch.eye(size, dtype=torch.float64)).numpy() for kernel in surrogate.kernels]
    matrix = np.concatenate([np.einsum("hG,hH->hGH", to_sg[s], moves[s]).reshape(size, -1) for s in range(game.num_sg)])
    reward = surrogate.local_reward.numpy() + np.einsum("gha,ga->gh", pair.pi_g, game.r_g)
    return _mean(matrix, reward, surrogate.initial_law, game.gamma)


def tagged_values(game, pair, payoff):
    """pi_l to the mean value of one agent that plays it among k - 1 that keep the pair's."""
    surrogate = exact_surrogate(game, pair.pi_l, PairPlan(CountSimplex(pair.k, game.num_sl)))
    tagged = TaggedAgent.build(surrogate, pair.pi_g, payoff)
    size, P_l = tagged.joined.shape[-1], game.P_l.numpy()
    moves = np.stack([kernel.expect(torch.eye(size, dtype=torch.float64)).numpy() for kernel in tagged.kernels])

    def value(pi_l):
        P = np.einsum("zga,zgay->zgy", pi_l, P_l)
        matrix = np.einsum("gGzc,gcC,zgy->gzcGyC", tagged.to_sg, moves, P, optimize=True)
        reward = np.einsum("zga,gzac->gzc", pi_l, tagged.reward)
        return _mean(matrix.reshape(reward.size, reward.size), reward, tagged.law, game.gamma)

    return value


def _mean(matrix, reward, law, gamma):
    values = np.linalg.solve(np.eye(len(matrix)) - gamma * matrix, np.asarray(reward).ravel())
    return float(np.asarray(law).ravel() @ values)


def enumerated_gaps(game, pair):
    """What the best local deviation gains: of all agents, of one for the team, of one for itself."""
    own, team = tagged_values(game, pair, "own"), tagged_values(game, pair, "team")
    everywhere = [lambda pi_l: shared_value(game, pair, pi_l), team, own]
    return tuple(max(map(value, every_local(game))) - value(pair.pi_l) for value in everywhere)
