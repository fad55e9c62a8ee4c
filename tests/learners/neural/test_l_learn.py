"""The sampled derivative of the value in pi_l: unbiased for the exact one, and what is made of it."""

import math

import pytest
import torch
from oracles.neural import TablePolicy, exact, random_global, random_law, random_local, seeded
from torch import Tensor

from altmarl_torch.games import hash_game, random_game, steer
from altmarl_torch.games.types import with_types
from altmarl_torch.learners.neural import l_learn
from altmarl_torch.learners.neural.l_learn import (
    Gains,
    NetworkTurns,
    local_gains,
    network_values,
    sure_turns,
    table_turns,
)
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy, tabulate
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, table_values
from altmarl_torch.operators.bellman import next_sg_law, push_law
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.policies.tabular import deterministic_local
from altmarl_torch.tabular import agent_values

RUNS = 40
GAMES = [steer(), hash_game(), random_game(num_sg=3, num_sl=3, num_ag=2, num_al=3, gamma=0.9, seed=3)]
TYPED = with_types([random_game(num_sg=2, num_sl=2, num_ag=2, num_al=2, gamma=0.8, seed=7)] * 4, [0.4, 0.3, 0.2, 0.1])
"""Whose agents reach two of eight states: only there do they land."""

INSTANCES = [*((game, k) for game in GAMES for k in (1, 2, 5)), (TYPED, 2)]


class Derivative:
    """One pair's derivative, exact and sampled `RUNS` times, weighted by visits: `[sl, sg, al]`."""

    def __init__(self, game, k, runs=RUNS):
        self.game, self.pi_l, self.pi_g = game, random_local(game, 1), random_global(game, k, 2)
        self.surrogate = exact(game, self.pi_l, k)
        self.values = joint_value(self.surrogate, self.pi_g).values
        batch, policy = BatchSurrogate.build(game, self.pi_l, k), TablePolicy(self.pi_g, k, game.num_sl)
        values = table_values(self.values.float(), self.surrogate.simplex)
        self.runs = [local_gains(batch, self.pi_l, policy, values, seeded(seed)) for seed in range(runs)]
        self.sampled = torch.stack([run.share.unsqueeze(-1) * run.mean for run in self.runs]) if runs else None
        # local_gains cuts the occupancy where gamma^t falls below e^-3
        self.longest = round(3 / (1 - game.gamma))
        self.mass = (1 - game.gamma**self.longest) / (1 - game.gamma)
        self.cut = self.cut_occupancy()
        self.share = torch.einsum("gh,hl->lg", self.cut, self.surrogate.simplex.frequencies) / self.mass

    def cut_occupancy(self):
        to_sg, law = next_sg_law(self.surrogate, self.pi_g), self.surrogate.initial_law
        total = torch.zeros_like(law)
        for t in range(self.longest):
            total += self.game.gamma**t * law
            law = push_law(self.surrogate, to_sg, law)
        return total

    def centred(self, law):
        """`agent_values` less its mean under pi_l."""
        worth = agent_values(self.surrogate, self.pi_g, law, self.values)
        return worth - (self.pi_l * worth).sum(-1, keepdim=True)


@pytest.fixture(scope="module", params=INSTANCES, ids=[f"{game.name}-k{k}" for game, k in INSTANCES])
def derivative(request):
    return Derivative(*request.param)


def test_the_mean_of_gains_is_the_exact_derivative(derivative):
    """Within 4.5 standard errors, by 40 runs, on the occupancy as it is cut."""
    expected = derivative.centred(derivative.cut) / derivative.mass
    error = derivative.sampled.std(0) / RUNS**0.5
    rounding = 1e-6 * derivative.game.v_max
    assert bool(((derivative.sampled.mean(0) - expected).abs() <= 4.5 * error + rounding).all())
    assert float(expected.abs().max()) > 10 * float(error.max())


class EachSize:
    """A function of counts that is another one for each number of agents."""

    def __init__(self, functions):
        self.functions = functions

    def __call__(self, counts, *more):
        sizes = counts.sum(-1).int().tolist()
        rows = [
            self.functions[k](row[None], *(one[None] for one in rest))
            for k, row, *rest in zip(sizes, counts, *more, strict=True)
        ]
        return torch.cat(rows)


class PolicyOfEachSize:
    """A table for each number of agents."""

    def __init__(self, tables):
        self.laws = EachSize({k: table.laws for k, table in tables.items()})
        self.average = EachSize({k: table.average for k, table in tables.items()})
        self.play = EachSize({k: lambda h, s, table=table: table(s, h) for k, table in tables.items()})

    def __call__(self, s_g, counts):
        return self.play(counts, s_g)


def test_of_several_sizes_it_is_the_mean_of_the_derivatives(monkeypatch):
    """Each with its own pi_g and values, within 4.5 standard errors by 12 runs."""
    monkeypatch.setattr(l_learn, "VISITS", 2**11)
    monkeypatch.setattr(l_learn, "EPISODES", 256)
    game, sizes = GAMES[1], (1, 2, 5)
    each = {k: Derivative(game, k, runs=0) for k in sizes}
    pi_l = each[1].pi_l
    batch = BatchSurrogate.build(game, pi_l, SampleSizes.of(sizes))
    policy = PolicyOfEachSize({k: TablePolicy(one.pi_g, k, game.num_sl) for k, one in each.items()})
    values = EachSize({k: table_values(one.values.float(), one.surrogate.simplex) for k, one in each.items()})
    runs = [local_gains(batch, pi_l, policy, values, seeded(seed)) for seed in range(12)]
    sampled = torch.stack([run.share.unsqueeze(-1) * run.mean for run in runs])
    expected = torch.stack([one.centred(one.cut) / one.mass for one in each.values()]).mean(0)
    error = sampled.std(0) / len(runs) ** 0.5
    assert bool(((sampled.mean(0) - expected).abs() <= 4.5 * error + 1e-6 * game.v_max).all())
    assert float(expected.abs().max()) > 10 * float(error.max())


def test_the_cut_changes_little(derivative):
    """Against the derivative on the whole occupancy: by less than e^-3 of the largest, and no clear sign."""
    law = occupancy(derivative.surrogate, derivative.pi_g, relative_error=1e-10)
    whole = derivative.centred(law) * (1 - derivative.game.gamma)
    cut = derivative.centred(derivative.cut) / derivative.mass
    assert float((cut - whole).abs().max()) <= math.exp(-3) * float(whole.abs().max())


def test_shares_are_how_often_an_agent_is_there(derivative):
    shares = torch.stack([run.share for run in derivative.runs])
    torch.testing.assert_close(shares.sum((1, 2)), torch.ones(RUNS).double())
    error = shares.std(0) / RUNS**0.5
    assert bool(((shares.mean(0) - derivative.share).abs() <= 4.5 * error).all())


def test_gains_under_pi_l_itself_are_zero(derivative):
    for run in derivative.runs[:5]:
        own = (derivative.pi_l * run.mean).sum(-1)
        assert float(own.abs().max()) <= 1e-5 * float(run.mean.abs().max())


def test_the_error_of_a_gain_is_about_right(derivative):
    """Deviations from the exact gain per visit, in standard errors: their mean square over runs and cells is near 1."""
    if derivative.surrogate.simplex.k == 1:
        return  # s_l is all of h, and nothing is left to chance
    exact_gain = derivative.centred(derivative.cut) / derivative.mass / derivative.share.unsqueeze(-1)
    z = torch.stack([(run.mean - exact_gain) / run.error for run in derivative.runs])
    assert 0.7 <= float(z.square().mean().sqrt()) <= 1.7


def test_a_common_offset_does_not_matter():
    game, k = GAMES[0], 3
    pi_l, pi_g = random_local(game, 1), random_global(game, k, 2)
    batch, policy = BatchSurrogate.build(game, pi_l, k), TablePolicy(pi_g, k, 2)
    surrogate = exact(game, pi_l, k)
    values = joint_value(surrogate, pi_g).values
    near, far = (
        local_gains(batch, pi_l, policy, table_values((values + offset).float(), surrogate.simplex), seeded(0))
        for offset in (0.0, 1000.0)
    )
    torch.testing.assert_close(far.mean, near.mean, rtol=0, atol=1e-3)
    assert torch.equal(far.share, near.share)


def test_equal_generators_give_equal_gains():
    game, k = GAMES[2], 4
    pi_l = random_local(game)
    batch, policy = BatchSurrogate.build(game, pi_l, k), TablePolicy(random_global(game, k), k, 3)
    values = table_values(torch.rand(3, 15, generator=seeded(0)), exact(game, pi_l, k).simplex)
    one, two, other = (local_gains(batch, pi_l, policy, values, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(one.mean, two.mean)
    assert torch.equal(one.error, two.error)
    assert not torch.equal(one.mean, other.mean)


def test_states_that_are_never_met_are_not_sure():
    """Nobody ever leaves state 0: of the other state nothing is known."""
    game = steer()
    game = game.replace(
        P_l=torch.tensor([1.0, 0.0]).expand(2, 2, 2, 2), initial=type(game.initial)(game.initial.sg, [1.0, 0.0])
    )
    pi_l, k = random_local(game), 2
    batch, policy = BatchSurrogate.build(game, pi_l, k), TablePolicy(random_global(game, k), k, 2)
    gains = local_gains(batch, pi_l, policy, table_values(torch.zeros(2, 3), exact(game, pi_l, k).simplex), seeded(0))
    assert gains.error[1].isinf().all()
    assert not gains.sure[1].any()
    assert gains.sure[0].all()  # resting earns 0.4 more, in every visit
    assert not gains.share[1].any()
    for turned in sure_turns(pi_l, gains):
        assert torch.equal(turned[1], pi_l[1])


def test_gamma_zero_leaves_the_reward_alone():
    game = random_game(gamma=0.0, seed=1)
    pi_l, k = random_local(game), 3
    batch, policy = BatchSurrogate.build(game, pi_l, k), TablePolicy(random_global(game, k), k, 3)
    values = table_values(torch.rand(3, 10, generator=seeded(0)), exact(game, pi_l, k).simplex)
    gains = local_gains(batch, pi_l, policy, values, seeded(0))
    torch.testing.assert_close(gains.mean, game.r_l - (pi_l * game.r_l).sum(-1, keepdim=True))


def test_the_values_of_a_pair_are_read_from_its_continuation():
    """sum_a pi_g (r + gamma scale C), for a greedy and for a randomised pi_g."""
    game, k = GAMES[2], 3
    pi_l = random_local(game)
    surrogate, batch = exact(game, pi_l, k), BatchSurrogate.build(game, pi_l, k)
    network = CountNetwork(3, 3, 2, width=8)
    with torch.no_grad():
        network.head.weight.normal_(generator=seeded(0))
    counts = surrogate.simplex.counts.float()
    C = batch.reward_scale * network(counts / k).detach().movedim(0, 1).double()
    Q = surrogate.local_reward.unsqueeze(-1) + game.r_g.unsqueeze(1) + game.gamma * C
    greedy, table = NetworkPolicy(network, batch.r_g, game.gamma, batch.reward_scale, k), random_global(game, k)
    for policy, pi_g in ((greedy, tabulate(greedy, surrogate.simplex)), (TablePolicy(table, k, 3), table)):
        with torch.no_grad():
            found = network_values(batch, network, torch.zeros_like(batch.r_g), policy)(counts).T.double()
        torch.testing.assert_close(found, (pi_g * Q).sum(-1), rtol=1e-5, atol=1e-5)


# ---- turns


def made_gains(mean: Tensor, share: Tensor, error: float = 0.01) -> Gains:
    return Gains(mean, torch.full_like(mean, error), share)


MEAN = torch.tensor([[[-1.0, 3.0], [0.5, -0.5]], [[2.0, -2.0], [-1.0, 1.0]]], dtype=torch.float64)  # [sl, sg, al]
SHARE = torch.tensor([[0.1, 0.5], [0.3, 0.1]], dtype=torch.float64)
"""Promises, gain times share: 0.3, 0.25, 0.6, 0.1."""


def turned(gains, pi_l):
    """Which states each proposal turns, as (sl, sg)."""
    found = []
    for proposal in sure_turns(pi_l, gains):
        where = (proposal != pi_l).any(-1)
        best = torch.nn.functional.one_hot(gains.mean.argmax(-1), pi_l.shape[-1]).double()
        assert torch.equal(proposal[where], best[where])
        found.append({tuple(cell) for cell in where.nonzero().tolist()})
    return found


def test_turns_are_all_then_the_half_that_promises_most():
    pi_l = torch.full((2, 2, 2), 0.5, dtype=torch.float64)
    everything = {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert turned(made_gains(MEAN, SHARE), pi_l) == [everything, {(1, 0), (0, 0)}, {(1, 0)}]
    assert torch.equal(pi_l, torch.full((2, 2, 2), 0.5, dtype=torch.float64))


def test_only_sure_gains_are_turned():
    pi_l = torch.full((2, 2, 2), 0.5, dtype=torch.float64)
    assert turned(made_gains(MEAN, SHARE, error=0.75), pi_l) == [{(0, 0), (1, 0)}, {(1, 0)}]
    assert turned(made_gains(MEAN, SHARE, error=math.inf), pi_l) == []
    best = deterministic_local(MEAN.argmax(-1), 2)
    assert list(sure_turns(best, made_gains(torch.zeros(2, 2, 2).double(), SHARE))) == []


def test_turns_that_promise_less_than_is_worth_playing_are_not_tried():
    """The promises of all turns, of the best half and of the best: the shares' sums of their gains."""
    pi_l, gains = torch.full((2, 2, 2), 0.5, dtype=torch.float64), made_gains(MEAN, SHARE)
    each = (MEAN.amax(-1) * SHARE).flatten().sort(descending=True).values
    promised = [float(each[:count].sum()) for count in (4, 2, 1)]
    for number, promise in enumerate(promised, start=1):
        assert len(list(sure_turns(pi_l, gains, promise * (1 - 1e-9)))) == number
        assert len(list(sure_turns(pi_l, gains, promise * (1 + 1e-9)))) == number - 1
        taught = NetworkTurns.of(LocalNetwork(2, 2, 2, generator=seeded(1)))(pi_l, gains, promise * (1 + 1e-9))
        assert len(list(taught)) == number - 1


def test_at_most_four_proposals_are_made():
    gains = made_gains(torch.rand(8, 8, 2, generator=seeded(0)).double() + 1, torch.full((8, 8), 1 / 64).double())
    pi_l = torch.full((8, 8, 2), 0.5, dtype=torch.float64)
    assert [len(cells) for cells in turned(gains, pi_l)] == [64, 32, 16, 8]


@pytest.mark.parametrize(("num_sl", "num_sg", "num_al"), [(4, 3, 3), (20, 20, 2), (1, 1, 2)])
def test_a_local_network_turns_to_the_best_actions(num_sl, num_sg, num_al):
    """Whatever they promise, and wherever the agents are: in rare states as well."""
    mean = torch.randn(num_sl, num_sg, num_al, generator=seeded(0), dtype=torch.float64).abs() * 10
    share = random_law(num_sl * num_sg, seed=1).reshape(num_sl, num_sg) ** 4
    gains = made_gains(mean, share, error=1e-9)
    pi_l = torch.full((num_sl, num_sg, num_al), 1 / num_al, dtype=torch.float64)
    turns = NetworkTurns.of(LocalNetwork(num_sl, num_sg, num_al, generator=seeded(1)))
    proposal = next(iter(turns(pi_l, gains)))
    assert proposal.dtype == torch.float64
    assert torch.equal(proposal, deterministic_local(mean.argmax(-1), num_al))


def test_a_local_network_proposes_as_the_table_does():
    """All turns, then half of them, ...: each taught to the same network."""
    pi_l, gains = deterministic_local(MEAN.argmin(-1), 2), made_gains(MEAN, SHARE)
    proposals = list(NetworkTurns.of(LocalNetwork(2, 2, 2, generator=seeded(1)))(pi_l, gains))
    expected = list(sure_turns(pi_l, gains))
    assert len(proposals) == len(expected) == 3
    assert all(torch.equal(one, two) for one, two in zip(proposals, expected, strict=True))
    assert list(NetworkTurns.of(LocalNetwork(2, 2, 2))(pi_l, made_gains(MEAN, SHARE, error=math.inf))) == []


def test_a_local_network_is_not_misled_by_what_it_has_not_met():
    mean, error, pi_l = MEAN.clone(), torch.full_like(MEAN, 0.01), deterministic_local(MEAN.argmin(-1), 2)
    mean[0, 0], error[0, 0] = torch.tensor([1e9, -1e9]), math.inf
    share = SHARE.clone()
    share[0, 0] = 0
    proposal = next(iter(NetworkTurns.of(LocalNetwork(2, 2, 2))(pi_l, Gains(mean, error, share))))
    best = deterministic_local(MEAN.argmax(-1), 2)
    assert torch.equal(proposal[1], best[1])
    assert torch.equal(proposal[0, 1], best[0, 1])
    assert torch.equal(proposal[0, 0], pi_l[0, 0])


def test_turning_draws_nothing_from_the_global_state():
    before = torch.get_rng_state()
    list(
        NetworkTurns.of(LocalNetwork(2, 2, 2))(torch.full((2, 2, 2), 0.5, dtype=torch.float64), made_gains(MEAN, SHARE))
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_in_a_small_game_every_single_change_is_tried_too():
    """Where no gain is sure, the four changes of one state, the one that is met most often first."""
    pi_l, gains = deterministic_local(MEAN.argmax(-1), 2), made_gains(torch.zeros(2, 2, 2).double(), SHARE)
    changes = list(table_turns(pi_l, gains))
    assert len(changes) == 4
    first = (changes[0] != pi_l).any(-1).flatten().nonzero().tolist()
    assert first == [[int(SHARE.flatten().argmax())]]
    assert all(int((changed != pi_l).any(-1).sum()) == 1 for changed in changes)
