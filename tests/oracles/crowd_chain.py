"""The exact joint chain of a few agents of two states, whose moves and rewards see the crowd's mean.

One game in plain numbers, each formula written for Python's floats and for tensors alike, so that the simulator of the
tests is the same one; the chain is enumerated here, agent by agent, sample by sample.
"""

import itertools

import numpy as np
import torch


def up(s_l, s_g, a_l, mu):
    """Chance that the agent is in state 1 next."""
    return 0.1 + 0.3 * a_l + 0.2 * s_l + 0.3 * mu * s_g


def lead(s_g, a_g, mu):
    """Chance that s_g is 1 next."""
    return 0.1 + 0.6 * a_g + 0.2 * mu


def r_g(s_g, a_g, mu):
    """Half of the agents in state 1 is best under s_g = 0, all of them under s_g = 1."""
    wanted = 0.5 + 0.5 * s_g
    return 1 - 4 * (mu - wanted) * (mu - wanted) - 0.05 * a_g


def r_l(s_l, s_g, a_l, mu):
    """Being where the others are is crowded."""
    return 0.4 * s_l * (1 - mu) - 0.1 * a_l


def chain(n, k, pi_g, pi_l):
    """Transitions `[states, states]` and mean rewards `[states]` of (s_g, s_1, .., s_n).

    Args:
        n, k: agents, and how many are shown.
        pi_g: (s_g, how many of the sample are in state 1) to the chance of a_g = 1.
        pi_l: (s_l, s_g) to a_l.
    """
    states = [(s_g, *s_l) for s_g in (0, 1) for s_l in itertools.product((0, 1), repeat=n)]
    moves, rewards = np.zeros((len(states), len(states))), np.zeros(len(states))
    for row, (s_g, *s_l) in enumerate(states):
        mu = sum(s_l) / n
        shown = list(itertools.combinations(s_l, k))
        chance = sum(pi_g(s_g, sum(sample)) for sample in shown) / len(shown)
        acts = [pi_l(s, s_g) for s in s_l]
        rise = [up(s, s_g, a, mu) for s, a in zip(s_l, acts, strict=True)]
        rewards[row] = sum(r_l(s, s_g, a, mu) for s, a in zip(s_l, acts, strict=True)) / n
        for a_g, weight in ((0, 1 - chance), (1, chance)):
            rewards[row] += weight * r_g(s_g, a_g, mu)
            first = lead(s_g, a_g, mu)
            for column, (next_g, *next_l) in enumerate(states):
                law = first if next_g else 1 - first
                for p, s in zip(rise, next_l, strict=True):
                    law *= p if s else 1 - p
                moves[row, column] += weight * law
    return moves, rewards


def value(n, k, pi_g, pi_l, gamma, horizon=None):
    """The mean return from s_g = 0 and agents that are each in state 1 with probability 1/2."""
    moves, rewards = chain(n, k, pi_g, pi_l)
    begin = np.zeros(len(rewards))
    begin[: len(rewards) // 2] = 0.5**n
    if horizon is None:
        return float(begin @ np.linalg.solve(np.eye(len(rewards)) - gamma * moves, rewards))
    total = np.zeros(len(rewards))
    for _ in range(horizon):
        total = rewards + gamma * moves @ total
    return float(begin @ total)


def best_memoryless(n, k, pi_l, gamma):
    """The value of the best of all deterministic (s_g, sample) policies, and the policy as a table `[2, k + 1]`."""
    tables = itertools.product((0, 1), repeat=2 * (k + 1))
    found = []
    for entries in tables:
        table = np.reshape(entries, (2, k + 1))
        found.append((value(n, k, lambda s_g, ones, of=table: float(of[s_g, ones]), pi_l, gamma), entries))
    best, entries = max(found)
    return best, np.reshape(entries, (2, k + 1))


def table_chain(game, k, pi_g, pi_l):
    """The joint chain of a small `Game`: transitions `[states, states]`, mean rewards, and first law of all agents.

    Args:
        game: with r_g_mu, or without.
        k: how many of the n are shown.
        pi_g: (s_g, counts of the sample) to the law of a_g.
        pi_l: `[sl, sg, al]`.
    """
    num_sg, num_sl, n = game.num_sg, game.num_sl, game.n
    P_g, P_l, r_g, r_l = (getattr(game, name).numpy() for name in ("P_g", "P_l", "r_g", "r_l"))
    pi_l, local = np.asarray(pi_l), list(itertools.product(range(num_sl), repeat=n))
    states = [(s_g, s_l) for s_g in range(num_sg) for s_l in local]
    moves, rewards = np.zeros((len(states), len(states))), np.zeros(len(states))
    for row, (s_g, s_l) in enumerate(states):
        shown = [np.bincount(sample, minlength=num_sl) for sample in itertools.combinations(s_l, k)]
        law = np.mean([pi_g(s_g, counts) for counts in shown], 0)
        mu = np.bincount(s_l, minlength=num_sl) / n
        acts = [pi_l[s, s_g] for s in s_l]
        rewards[row] = law @ (r_g[s_g] + crowd_rewards(game, s_g, mu))
        rewards[row] += sum(act @ r_l[s, s_g] for s, act in zip(s_l, acts, strict=True)) / n
        after = np.ones(1)
        for s, act in zip(s_l, acts, strict=True):
            after = np.outer(after, act @ P_l[s, s_g]).ravel()
        moves[row] = np.outer(law @ P_g[s_g], after).ravel()
    return moves, rewards


def crowd_rewards(game, s_g, mu):
    """r_g_mu of every action, one call each."""
    if game.r_g_mu is None:
        return 0.0
    given = torch.tensor(mu)
    return np.array([float(game.r_g_mu(torch.tensor(s_g), torch.tensor(a), given)) for a in range(game.num_ag)])


def table_value(game, k, pi_g, pi_l):
    """The value from a uniform first state of s_g and independent uniform agents."""
    moves, rewards = table_chain(game, k, pi_g, pi_l)
    return float(np.linalg.solve(np.eye(len(rewards)) - game.gamma * moves, rewards).mean())
