"""What one tagged agent of two earns for the team, exactly."""

import torch

import altmarl_torch as am


def exact_return(game, pi_g, pi_l, pi, horizon):
    """Of the team of two, one of whom plays `pi`, by backward induction on (s_l, the companion's s_l, s_g)."""
    simplex = am.CountSimplex(2, game.num_sl)
    one_hots = torch.eye(game.num_sl, dtype=torch.int64)
    ranks = simplex.rank(one_hots[:, None] + one_hots)  # [sl, sl]
    law_g = torch.einsum("ghb,gbn->hgn", pi_g, game.P_g)[ranks]  # [x, y, g, next g]
    mine, other = game.induced(pi), game.induced(pi_l)
    earned = torch.einsum("ghb,gb->hg", pi_g, game.r_g)[ranks]
    earned = earned + (mine.r_l_pi[:, None] + other.r_l_pi[None]) / 2
    values = torch.zeros_like(earned)
    for _ in range(horizon):
        ahead = torch.einsum("xgu,ygv,xygh,uvh->xyg", mine.P_l_pi, other.P_l_pi, law_g, values)
        values = earned + game.gamma * ahead
    start = game.initial
    mu = start.sample_mu(200_000, torch.Generator().manual_seed(0))
    pairs = torch.einsum("bx,by->xy", mu, mu) / len(mu)
    s_g = torch.bincount(start.sample_sg(200_000, torch.Generator().manual_seed(1)), minlength=game.num_sg) / 200_000
    return float(torch.einsum("xyg,xy,g->", values, pairs, s_g.double()))
