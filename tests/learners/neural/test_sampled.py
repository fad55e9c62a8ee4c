"""k agents of a population that is played: values, derivatives and best responses against the exact n-agent chain.

There pi_g of k is a policy of n, the mean over the samples that the n agents can give (`counts.simplex.lift`).
"""

import itertools

import pytest
import torch
from einops import rearrange
from oracles.neural import TablePolicy, exact, exact_mean, random_global, random_local, seeded

import altmarl_torch as am
from altmarl_torch.counts.simplex import lift
from altmarl_torch.learners.neural.fitting import fit
from altmarl_torch.learners.neural.l_learn import local_gains
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, tabulate
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.sampled import ShownValues
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.settings import Settings
from altmarl_torch.operators.bellman import next_sg_law, push_law
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.policies.base import Pair
from altmarl_torch.tabular import agent_values

GAME = am.games.random_game(num_sg=2, num_sl=3, num_ag=2, num_al=2, gamma=0.8, seed=5)
N = 5


def lifted(pi_g, k, n, game=GAME):
    """pi_g `[sg, N_k, ag]` as what it does to n agents: `[sg, N_n, ag]`."""
    smaller, larger = am.CountSimplex(k, game.num_sl), am.CountSimplex(n, game.num_sl)
    rows = lift(rearrange(pi_g.double(), "g h a -> (g a) h"), smaller, larger)
    return rearrange(rows, "(g a) h -> g h a", g=game.num_sg)


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_value_is_that_of_n_agents_of_whom_k_are_seen(k):
    pi_g, pi_l = random_global(GAME, k, 1), random_local(GAME, 2)
    pair = Pair(TablePolicy(pi_g, k, GAME.num_sl), pi_l)
    found = RolloutEvaluator(GAME, N, "mean", 3, shown=k).evaluate(pair, None)
    assert abs(found.mean - exact_mean(GAME, lifted(pi_g, k, N), pi_l, N)) <= 4 * found.standard_error + found.error


class Continuation(torch.nn.Module):
    """Exact continuation values `[sg, N, ag]` in the place of a network."""

    def __init__(self, table, scale):
        super().__init__()
        self.table, self.scale, self.simplex = table, scale, am.CountSimplex(N, GAME.num_sl)

    def forward(self, frequencies):
        rank = self.simplex.rank((frequencies * N).round().long())
        return rearrange(self.table[:, rank], "g b a -> b g a").float() / self.scale


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_mean_of_gains_is_the_exact_derivative(k):
    """Within 4.5 standard errors, by 40 runs, on the occupancy as it is cut."""
    pi_g, pi_l = random_global(GAME, k, 1), random_local(GAME, 2)
    whole, surrogate = lifted(pi_g, k, N), exact(GAME, pi_l, N)
    values = joint_value(surrogate, whole).values
    batch = BatchSurrogate.build(GAME, pi_l, N, shown=k)
    expected = torch.stack([kernel.expect(values.T) for kernel in surrogate.kernels])  # [sg, N, sg']
    table = torch.einsum("gah,gnh->gna", GAME.P_g, expected)
    network, baseline = Continuation(table, batch.reward_scale), torch.zeros_like(batch.r_g)
    policy, runs = TablePolicy(pi_g, k, GAME.num_sl), []
    for seed in range(40):
        worth = ShownValues(batch, network, baseline, policy, seeded(100 + seed))
        gains = local_gains(batch, pi_l, policy, worth, seeded(seed))
        runs.append(gains.share.unsqueeze(-1) * gains.mean)
    sampled, longest = torch.stack(runs), round(3 / (1 - GAME.gamma))
    to_sg, law = next_sg_law(surrogate, whole), surrogate.initial_law
    cut = torch.zeros_like(law)
    for t in range(longest):
        cut += GAME.gamma**t * law
        law = push_law(surrogate, to_sg, law)
    worth = agent_values(surrogate, whole, cut, values) * (1 - GAME.gamma) / (1 - GAME.gamma**longest)
    expected = worth - (pi_l * worth).sum(-1, keepdim=True)
    error = sampled.std(0) / len(runs) ** 0.5
    assert bool(((sampled.mean(0) - expected).abs() <= 4.5 * error + 1e-6).all())
    assert float(expected.abs().max()) > 10 * float(error.max())


def best_memoryless(pi_l, k):
    """The most that any deterministic pi_g of k agents earns from n, by trying all."""
    size = am.CountSimplex(k, GAME.num_sl).size
    tables = itertools.product(range(GAME.num_ag), repeat=GAME.num_sg * size)
    laws = (torch.nn.functional.one_hot(torch.tensor(one).view(GAME.num_sg, size), GAME.num_ag) for one in tables)
    return max(exact_mean(GAME, lifted(law, k, N), pi_l, N) for law in laws)


@pytest.mark.parametrize("k", [1, 2])
def test_g_learn_finds_the_best_dispatcher_without_memory(k):
    pi_l = random_local(GAME, 2)
    surrogate = BatchSurrogate.build(GAME, pi_l, N, shown=k)
    network = CountNetwork(GAME.num_sl, GAME.num_sg, GAME.num_ag, generator=seeded(0))
    found = fit(surrogate, network, None, Settings(batch=256, max_steps=900), seeded(1), phase="g_learn")
    r_g = surrogate.r_g + GAME.gamma * found.baseline
    policy = NetworkPolicy(found.network, r_g, GAME.gamma, surrogate.reward_scale, k)
    pi_g = tabulate(policy, am.CountSimplex(k, GAME.num_sl))
    span = GAME.v_max
    assert exact_mean(GAME, lifted(pi_g, k, N), pi_l, N) > best_memoryless(pi_l, k) - 1e-3 * span


def test_all_agents_are_seen_where_k_is_n():
    counts = torch.tensor([[2.0, 0.0, 3.0], [1.0, 1.0, 3.0]])
    batch = BatchSurrogate.build(GAME, random_local(GAME), N, shown=N)
    assert torch.equal(batch.show(counts, seeded(0)), counts)
    few = BatchSurrogate.build(GAME, random_local(GAME), N, shown=2)
    seen = few.show(counts.repeat(4000, 1), seeded(0))
    assert bool((seen.sum(-1) == 2).all())
    torch.testing.assert_close(seen[::2].mean(0), torch.tensor([0.8, 0.0, 1.2]), atol=0.04, rtol=0)
