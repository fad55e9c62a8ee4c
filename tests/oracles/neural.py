"""What tests of the neural solver compare with: exact surrogates and values, and tables in the place of networks."""

import functools
from contextlib import contextmanager

import pytest
import torch
from einops import rearrange

import altmarl_torch as am
from altmarl_torch.alternation import run, selection
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.learners.neural import fitting, grid, training
from altmarl_torch.learners.neural import rollout_evaluator as evaluation
from altmarl_torch.learners.settings import Settings
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.tabular import one_hot


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def exact(game, pi_l, k):
    """The surrogate with its tables."""
    return Surrogate.build(game, pi_l, PairPlan(am.CountSimplex(k, game.num_sl)))


def exact_mean(game, pi_g, pi_l, k):
    """The exact joint value of a pair, averaged over the initial law."""
    return joint_value(exact(game, pi_l, k), pi_g.double()).mean


def random_law(*shape, seed=0):
    """A table of laws over the last axis, every entry at least a tenth of an equal share."""
    weights = torch.rand(shape, dtype=torch.float64, generator=seeded(seed)) + 0.1
    return weights / weights.sum(-1, keepdim=True)


def random_local(game, seed=0):
    return random_law(game.num_sl, game.num_sg, game.num_al, seed=seed)


def random_global(game, k, seed=0):
    return random_law(game.num_sg, am.CountSimplex(k, game.num_sl).size, game.num_ag, seed=seed)


def every_pair(game, k):
    """Every (s_g, h): s_g `[sg N]` and counts `[sg N, sl]` in float32, in the order of a table `[sg, N]`."""
    counts = am.CountSimplex(k, game.num_sl).counts.float()
    s_g = torch.arange(game.num_sg).repeat_interleave(len(counts))
    return s_g, counts.repeat(game.num_sg, 1)


def without_luck(game):
    """The same game with every law replaced by its most probable outcome."""
    return game.replace(
        P_g=one_hot(game.P_g.argmax(-1), game.num_sg), P_l=one_hot(game.P_l.argmax(-1), game.num_sl), name="certain"
    )


class TablePolicy:
    """A table `[sg, N, ag]` over the counts of k agents as a policy on batches of counts."""

    def __init__(self, table, k, num_sl):
        self.table, self.simplex = table.double(), am.CountSimplex(k, num_sl)

    def laws(self, counts):
        return rearrange(self.table[:, self.simplex.rank(counts.long())], "g b a -> b g a").float()

    def average(self, counts, Q):
        return (self.laws(counts) * Q).sum(-1)

    def __call__(self, s_g, counts):
        return self.table[s_g, self.simplex.rank(counts.long())]


@contextmanager
def drawn():
    """Pairs, next counts and episodes are drawn, however few the pairs (s_g, h) are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "FEW", 0)
        yield


@contextmanager
def small_batches(batch=256):
    """Networks are trained on batches of a quarter of the usual size."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Settings", functools.partial(Settings, batch=batch))
        yield


@contextmanager
def cut_short():
    """Training and evaluation cut short: for what does not depend on how well something is learned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "Settings", functools.partial(Settings, batch=64, max_steps=60))
        patch.setattr(fitting, "LEAST_ANNEAL", 50)
        for name, value in {"EPISODES": 32, "EPISODE_STEPS": 5, "CHECKS_IN_A_ROW": 1}.items():
            patch.setattr(training, name, value)
        for module in (run, selection):
            patch.setattr(module, "EPISODES", 100)  # by which candidates are chosen
        for name, value in {"EPISODES": 128, "LONGEST": 40, "BLOCKS": 1}.items():
            patch.setattr(evaluation, name, value)
        yield
