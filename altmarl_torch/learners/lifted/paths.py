r"""L-LEARN from episodes: what an agent's place is worth along the way that s_g and everybody else go.

The derivative of `l_learn` trusts the fit one step after the move, and a fit that misses by half a reward a step ranks
changes of pi_l at random in states that few agents meet. Played episodes know better. Hold one of them, s_g(t) and
h(t), t = 0..T. One agent of k, a k-th of the reward, moves by P_l_pi whatever the others do; so with

    W_T(y) = J sum_g L_g(h(T)) c(g + e_y),        g the counts of J - 1,
    W_t(y) = r_l_pi(y, s_g(t)) + gamma sum_y' P_l_pi(y' | y, s_g(t)) W_{t+1}(y'),

W_t(y) is what it is worth that one more stands in y at time t, but for a constant: k times the derivative of the value
in h_y. W_T is that of lift(c), of order 1/k off since its companions are not k - 1; it counts by what an agent's place
is still felt after T - t moves. The derivative of the value in pi_l is then the mean over episodes of

    sum_t gamma^t sum_z h_z(t)/k ( r_l(z, s_g, a) + gamma sum_y P_l(y | z, s_g, a) W_{t+1}(y) ),   s_g = s_g(t).

**What is left out** is that pi_g may act differently where one more agent stands in y. For a greedy pi_g that is of no
account: where it is undecided between two actions, both are worth the same (the envelope theorem), as far as its values
are right. For a pi_g that ignores the counts nothing is left out. So it serves where pi_g answers pi_l by the same
objective. Of rewards that see the crowd (r_g_mu) it knows nothing.
"""

import torch
from torch import Tensor

from altmarl_torch.counts.lifted import Basis, add_products, as_frequencies, of_groups
from altmarl_torch.learners.lifted.l_learn import gains_of
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule, Walk

__all__ = ["PATHS", "path_gains"]

PATHS = 512
"""Episodes of which the derivative is the mean."""


def path_gains(
    surrogate: LiftedSurrogate, pi_l: Tensor, policy: Rule, coefficients: Tensor, seed: int, episodes: int = PATHS
) -> Tensor:
    """What turning pi_l to each action promises, in units of value: `[sl, sg, al]`.

    Args:
        surrogate: the k-agent MDP under `pi_l`, without the posterior correction and r_g_mu.
        pi_l: `[sl, sg, al]`.
        policy: pi_g.
        coefficients: `[sg, N_J]`, of the pair's value.
        seed: of the episodes.
        episodes: how many.
    """
    game, walk, way = surrogate.game, Walk([surrogate], seed, episodes), []
    for _ in range(walk.steps):
        way.append((walk.s_g, as_frequencies(walk.counts, surrogate.k)))
        walk.step(walk.act(policy))
    place = _last_worth(surrogate, coefficients, walk)
    P, reward = surrogate.P_l_pi.transpose(0, 1).contiguous(), surrogate.r_l_pi.T
    shares, worth = torch.zeros_like(reward), torch.zeros_like(P)
    for t, (s_g, frequencies) in reversed(list(enumerate(way))):
        weighed = frequencies * (game.gamma**t / episodes)
        shares.index_add_(0, s_g, weighed)
        order = s_g.argsort(stable=True)
        add_products(worth, s_g[order], weighed[order], place[order])
        place = reward[s_g] + game.gamma * of_groups(s_g, place, P)
    return gains_of(game, pi_l, shares.T, worth)


def _last_worth(surrogate: LiftedSurrogate, coefficients: Tensor, walk: Walk) -> Tensor:
    """What an agent in each state is worth by the fit, `[b, sl]`, where the walk has come to."""
    basis = surrogate.basis
    fewer = Basis(basis.degree - 1, basis.simplex.num_sl, coefficients.device)
    _, joined = fewer.simplex.add_one()  # [N_{J-1}, y], rank of g + e_y among the counts of J
    features = fewer.features(walk.counts, surrogate.k)
    return of_groups(walk.s_g, features, basis.degree * coefficients[:, joined.T])
