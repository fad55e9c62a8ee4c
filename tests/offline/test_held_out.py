"""The winner's curse of fitted games: halves of a log, and what a pair keeps of what was promised."""

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.games import random_game
from altmarl_torch.offline.held_out import HeldOut, held_out

GAME = random_game(num_sg=3, num_sl=3, num_ag=3, num_al=3, gamma=0.8, n=50, seed=4)


def fitted(rows, seed, **options):
    """A log of uniform states and actions, counted."""
    draw = np.random.default_rng(seed)
    table = {name: draw.integers(0, 3, rows) for name in ("sg", "sl", "ag", "al")}
    places = {"P_g": ("sg", "ag"), "P_l": ("sl", "sg", "al")}
    for name, words in places.items():
        law = getattr(GAME, name).numpy()[tuple(table[word] for word in words)]
        table[f"{words[0]}_next"] = (law.cumsum(-1) < draw.random((rows, 1))).sum(-1).clip(max=2)
    table["r_g"] = GAME.r_g.numpy()[table["sg"], table["ag"]] + draw.normal(size=rows)
    table["r_l"] = GAME.r_l.numpy()[table["sl"], table["sg"], table["al"]] + draw.normal(size=rows)
    return am.estimate(table, gamma=GAME.gamma, n=GAME.n, smoothing=0.5, **options)


def test_halves_share_the_log_out():
    """Their counts add up; what one has not seen it takes from the whole; equal seeds give equal halves."""
    whole = fitted(120, 1)
    first, second = whole.halves(5)
    assert torch.equal(first.P_l, whole.halves(5)[0].P_l)
    assert not torch.equal(first.P_l, whole.halves(6)[0].P_l)
    assert torch.allclose(first.r_l + second.r_l, 2 * whole.game.r_l)
    seen = torch.from_numpy(whole.counted.counts["P_l"])
    alone = seen.sum(-1) == 1
    assert alone.any()
    kept = [(half.P_l == whole.game.P_l).all(-1) for half in (first, second)]
    assert bool((kept[0] | kept[1])[alone].all())


def test_halves_differ_as_independent_logs_do():
    whole = fitted(40_000, 2)
    apart = torch.stack([first.P_g - second.P_g for first, second in (whole.halves(seed) for seed in range(200))])
    expected = 2 * whole.errors["P_g"]  # each half has twice the variance, their difference four times
    assert torch.allclose(apart.square().mean(0).sqrt(), expected, rtol=0.25)


def test_what_is_expected_of_a_pair_is_what_it_keeps():
    """300 rows for 27 pairs of states and actions: the games promise too much, and the halves tell how much."""
    promised, true, expected = [], [], []
    for seed in range(8):
        fit = fitted(300, seed)
        pair = am.solve(fit.game, 5)
        here = am.rollout(fit.game, pair, episodes=60, horizon=25).mean
        promised.append(here)
        true.append(am.rollout(GAME, pair, episodes=60, horizon=25).mean)
        expected.append(here - held_out(fit, 5, episodes=60, horizon=25).optimism)
    curse = np.mean(promised) - np.mean(true)
    left = np.mean(expected) - np.mean(true)
    assert curse > 0.2
    assert abs(left) < 0.5 * curse


def test_the_whole_log_s_optimism_is_that_of_its_halves_over_the_root_of_two():
    assert HeldOut(12.0, 9.0).optimism == pytest.approx(3 / 2**0.5)
