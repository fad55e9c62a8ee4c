"""The derivative in pi_l along played episodes: that of the closed form where pi_g ignores the counts."""

import math

import pytest
import torch
from oracles.neural import random_local

from altmarl_torch.alternation.solving import solve
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.games import random_game, warehouse
from altmarl_torch.learners.lifted.episodes import Contender, play
from altmarl_torch.learners.lifted.fitting import LiftedFit
from altmarl_torch.learners.lifted.l_learn import local_gains
from altmarl_torch.learners.lifted.paths import path_gains
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate

GAME = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, gamma=0.8, n=40, seed=5)


def in_turn(game):
    """The game in which s_g goes round, whatever is done."""
    to_next = torch.eye(3, dtype=torch.float64).roll(1, 1)
    return game.replace(P_g=to_next.unsqueeze(1).expand(-1, 2, -1).contiguous())


def uniform(s_g, counts):
    return torch.full((*s_g.shape, 2), 0.5, dtype=torch.float64)


@pytest.mark.parametrize(("k", "degree"), [(6.0, 1), (6.0, 2), (math.inf, 2)])
def test_where_nothing_is_left_out_it_is_the_closed_form(k, degree):
    """The value is linear in the counts then, so that the fit is exact, and s_g has one way to go."""
    game = in_turn(GAME)
    pi_l = random_local(game, seed=1)
    surrogate = LiftedSurrogate.build(game, pi_l, k, Basis(degree, 3))
    c = torch.zeros(3, surrogate.basis.size, dtype=torch.float64)
    for _ in range(200):
        c = surrogate.action_coefficients(c).mean(1)
    fit = LiftedFit(c, surrogate.action_coefficients(c), 0.0, 0)
    (played,) = play([Contender(surrogate, uniform, fit)], 3, starts=64)
    wanted = local_gains(surrogate, pi_l, c, played.moments)
    found = path_gains(surrogate, pi_l, uniform, c, 3, episodes=64)
    assert float(wanted.abs().max()) > 0.1
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


def test_it_finds_what_was_spoiled():
    """Of all changes of pi_l those gain most that undo what was done to the best one; the fit knows nothing."""
    game, k, spoiled = warehouse(), 20, [(0, 1), (3, 2), (2, 4)]
    solution = solve(game, k, solver="lifted", degree=4)
    pi_l = solution.pi_l.clone()
    for state in spoiled:
        pi_l[state] = pi_l[state].roll(1)
    surrogate = LiftedSurrogate.build(game, pi_l, float(k), Basis(4, 5))
    nothing = torch.zeros(5, surrogate.basis.size, dtype=torch.float64)
    gains = path_gains(surrogate, pi_l, solution.policy, nothing, 0).flatten()
    best = {divmod(index // 3, 5) for index in gains.argsort(descending=True)[:3].tolist()}
    assert best == set(spoiled)
    assert all(solution.pi_l.flatten()[gains.argsort(descending=True)[:3]] == 1)
