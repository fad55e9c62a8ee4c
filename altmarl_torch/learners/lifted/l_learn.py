r"""L-LEARN on lifted functions: the derivative of the value in pi_l, in closed form.

Single one agent out, in state z among counts h of k, with companions h - e_z (`learners.tabular.l_learn` tells what
for). Where it lands in y, J of the k agents hold it with probability J/k, and then J - 1 companions with it. So for
V = lift(c) the part of E V that depends on y is

    J/k  E_{k-1} lift(c(. + e_y))(h - e_z) = J/k lift_{k-1}( E_{J-1} c(. + e_y) )(h - e_z),

by the identity again, for J - 1 of k - 1 companions. And an agent of the k that is in z, drawn at random, together with
J - 1 of its companions is one of J: for any b on the counts of J - 1,

    h_z/k  lift_{k-1}(b)(h - e_z) = sum_g L_g(h) g_z/J b(g - e_z),          L_g(h) the weights of `basis`.

So the derivative, summed over the occupancy d of (s_g, h), needs nothing of h but the moments

    M[s_g, s_g', g] = sum_h d(s_g, h) pi(s_g' | s_g, h) L_g(h),

which the episodes give (`episodes.play`), and then it is a finite sum in which k does not occur:

    D[z, s_g, a] = share[z, s_g] r_l(z, s_g, a)
                + gamma sum_y P_l(y | z, s_g, a) sum_{s_g', g} M[s_g, s_g', g] g_z (E_{J-1} c_{s_g'}(. + e_y))(g - e_z).

It is exact where M is. With the posterior correction the agents that move are a fresh sample: M is pushed through
R_J.
"""

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.lifted import Basis
from altmarl_torch.games.game import Game
from altmarl_torch.learners.lifted.episodes import EPISODES
from altmarl_torch.learners.lifted.moves import Moves
from altmarl_torch.learners.lifted.points import number_of_points
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import HORIZONS, LONGEST

__all__ = ["expected_seconds", "gains_of", "local_gains", "shares"]


def expected_seconds(game: Game, k: float, degree: int) -> float:
    """About how long L-LEARN takes in one alternation on functions of one degree, in seconds of a core; order of size.

    Where J = k twenty changes are tried by a fit of a hundred sweeps each; elsewhere two fits of ten sweeps are made on
    new points, and twenty pairs are played.
    """
    basis = Basis(degree, game.num_sl)
    size = basis.size
    if degree == k:
        return 20 * 100 * game.num_sg**2 * game.num_ag * size / 5e8
    points = number_of_points(basis)
    fit = points * size**2 + 2 * 10 * game.num_sg * (1 + game.num_ag) * size * points
    steps = min(LONGEST, HORIZONS / (1 - game.gamma))
    return 2 * fit / 1e10 + 20 * EPISODES * steps * size * 1.2e-8


def local_gains(surrogate: LiftedSurrogate, pi_l: Tensor, coefficients: Tensor, moments: Tensor) -> Tensor:
    """What turning pi_l to each action promises, in units of value: `[sl, sg, al]`.

    Args:
        surrogate: the k-agent MDP under `pi_l`.
        pi_l: `[sl, sg, al]`.
        coefficients: `[sg, N_J]`, of the pair's value.
        moments: `[sg, sg', N_J]`, of its occupancy.
    """
    game, basis = surrogate.game, surrogate.basis
    fewer = Basis(basis.degree - 1, game.num_sl, game.device)
    _, joined = fewer.simplex.add_one()  # [N_{J-1}, z], rank of g' + e_z among the counts of J
    weight = (fewer.simplex.counts + 1).to(torch.float64)
    landing = rearrange(coefficients[:, joined], "G j y -> j (y G)").contiguous()
    moves, num_sl = Moves(surrogate.P_l_pi, fewer), game.num_sl
    worth = []
    for sg in range(game.num_sg):
        arrived = rearrange(moves.expect(sg, landing), "j (y G) -> j y G", y=num_sl)
        moving = moments[sg] if surrogate.resampling is None else surrogate.resampling[sg].push(moments[sg].T).T
        leaving = moving[:, joined] * weight  # [sg', N_{J-1}, z]
        worth.append(einsum(leaving, arrived, "G j z, j y G -> z y"))
    return gains_of(game, pi_l, shares(surrogate, moments), torch.stack(worth))


def gains_of(game: Game, pi_l: Tensor, share: Tensor, worth: Tensor) -> Tensor:
    """The derivative from what places are worth: `[sl, sg, al]`.

    Args:
        game: the game.
        pi_l: `[sl, sg, al]`.
        share: `[sl, sg]`, how many of all agents are there, discounted.
        worth: `[sg, sl, sl']`, what each of them would be worth in s_l' next.
    """
    moved = einsum(game.P_l, worth, "l g a z, g l z -> l g a")
    gains = share.unsqueeze(-1) * game.r_l + game.gamma * moved
    return gains - (pi_l * gains).sum(-1, keepdim=True)


def shares(surrogate: LiftedSurrogate, moments: Tensor) -> Tensor:
    """How many of all agents are in z while s_g, discounted, `[sl, sg]`."""
    law, basis = moments.sum(1), surrogate.basis
    if surrogate.resampling is None or surrogate.prior is None:
        return einsum(law, basis.frequencies, "g j, j l -> l g")
    k = int(surrogate.k)
    return einsum(law, surrogate.prior.mean(basis.frequencies * k, k), "g j, g j l -> l g")
