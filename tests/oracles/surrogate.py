"""The simplest right answers: every agent moved one by one, over every tuple of states. Slow, and free of the package's
simplex order, kernels and Bellman code; the fast implementations are tested against these."""

import itertools

import numpy as np


def count_vectors(k, num_sl):
    """Every count vector, as a sorted list of tuples (descending, the order that `CountSimplex` documents)."""
    vectors = {tuple(np.bincount(states, minlength=num_sl)) for states in itertools.product(range(num_sl), repeat=k)}
    return sorted(vectors, reverse=True) if k else [(0,) * num_sl]


def count_kernel(P, k):
    """P(h' | h) [N, N] by summing over the successors of every agent."""
    P = np.asarray(P)
    vectors = count_vectors(k, len(P))
    place = {vector: index for index, vector in enumerate(vectors)}
    kernel = np.zeros((len(vectors), len(vectors)))
    for row, vector in enumerate(vectors):
        states = np.repeat(np.arange(len(P)), vector)
        for successors in itertools.product(range(len(P)), repeat=k):
            chance = np.prod(P[states, list(successors)]) if k else 1.0
            kernel[row, place[tuple(np.bincount(successors, minlength=len(P)))]] += chance
    return kernel


def joint_value(game, pi_g, pi_l, k):
    """V [sg, N] of a pair, by one linear system over (s_g, h). pi_g is indexed by `count_vectors`."""
    P_g, P_l, r_g, r_l = (np.asarray(table) for table in (game.P_g, game.P_l, game.r_g, game.r_l))
    pi_g, pi_l, vectors = np.asarray(pi_g), np.asarray(pi_l), np.array(count_vectors(k, game.num_sl))
    P, r = np.einsum("zsa,zsay->zsy", pi_l, P_l), np.einsum("zsa,zsa->zs", pi_l, r_l)
    size, matrix, reward = len(vectors), [], []
    for s in range(game.num_sg):
        reward.append(pi_g[s] @ r_g[s] + vectors @ r[:, s] / k)
        matrix.append(np.einsum("ht,hH->htH", pi_g[s] @ P_g[s], count_kernel(P[:, s], k)).reshape(size, -1))
    system = np.eye(game.num_sg * size) - game.gamma * np.concatenate(matrix)
    return np.linalg.solve(system, np.concatenate(reward)).reshape(game.num_sg, size)


def uniform_mean(values, k, num_sl):
    """Average of V [sg, N] over uniform (s_g, s_1, .., s_k)."""
    vectors = count_vectors(k, num_sl)
    place = {vector: index for index, vector in enumerate(vectors)}
    weight = np.zeros(len(vectors))
    for states in itertools.product(range(num_sl), repeat=k):
        weight[place[tuple(np.bincount(states, minlength=num_sl))]] += num_sl**-k
    return float((np.asarray(values) @ weight).mean())


def global_best_response(game, pi_l, k, sweeps=2000):
    """Q [sg, N, ag] of the surrogate under pi_l, by plain value iteration with the brute-force kernel."""
    P_g, P_l, r_g, r_l = (np.asarray(table) for table in (game.P_g, game.P_l, game.r_g, game.r_l))
    pi_l, vectors = np.asarray(pi_l), np.array(count_vectors(k, game.num_sl))
    P, r = np.einsum("zsa,zsay->zsy", pi_l, P_l), np.einsum("zsa,zsa->zs", pi_l, r_l)
    kernels = np.stack([count_kernel(P[:, s], k) for s in range(game.num_sg)])
    reward = r_g[:, None, :] + (vectors @ r / k).T[:, :, None]
    Q = np.zeros_like(reward)
    for _ in range(sweeps):
        expected = np.einsum("shH,tH->sht", kernels, Q.max(-1))
        Q = reward + game.gamma * np.einsum("sat,sht->sha", P_g, expected)
    return Q
