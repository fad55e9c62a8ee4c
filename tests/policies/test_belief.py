"""The dispatcher's memory: Bayes' rule, matched moments, and what is forgotten when."""

import math

import pytest
import torch
from oracles.neural import random_law, random_local, seeded

import altmarl_torch as am
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.games import random_game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.policies.base import Sight, player
from altmarl_torch.policies.belief import ENTRIES, Belief, BeliefDispatcher

SKEWED = InitialLaw([0.5, 0.5], [0.2, 0.3, 0.5], 2.0)
GAME = random_game(num_sg=2, num_sl=3, num_ag=3, n=50, seed=3).replace(initial=SKEWED, name="skewed")


def belief_of(game=GAME):
    return Belief.of(game, random_local(game, 1))


def follow(s_g, mean):
    """The rule that points at the state believed to be fullest."""
    return torch.nn.functional.one_hot(mean.argmax(-1), 3).double()


def dispatcher(belief=None, k=2):
    return BeliefDispatcher(belief or belief_of(), player(follow), Sight(k, 2, 3, torch.device("cpu")))


def test_it_begins_with_the_initial_law():
    belief = belief_of()
    assert (belief.mean.tolist(), belief.strength, belief.n) == ([0.2, 0.3, 0.5], 2.0, 50)
    mean, strength = belief.begin(2)
    assert mean.tolist() == [[0.2, 0.3, 0.5]] * 2
    assert strength.flatten().tolist() == pytest.approx([2 * 49 / 52] * 2)
    alike = belief_of(GAME.replace(initial=InitialLaw([0.5, 0.5], [0.2, 0.3, 0.5])))
    assert float(alike.begin(1)[1]) == 49  # the shares of 50 agents who start independently


def populations(n, c, m):
    """Every population of n agents over two states, and its chance: Dirichlet-multinomial, or binomial."""
    counts = torch.stack([torch.arange(n + 1), n - torch.arange(n + 1)], -1).double()
    m = torch.tensor(m, dtype=torch.float64)
    ways = math.lgamma(n + 1) - (counts + 1).lgamma().sum(-1)
    if math.isinf(c):
        return counts, (ways + (counts * m.log()).sum(-1)).exp()
    start = ((c * m + counts).lgamma() - (c * m).lgamma()).sum(-1)
    return counts, (ways + start + math.lgamma(c) - math.lgamma(c + n)).exp()


@pytest.mark.parametrize("c", [0.5, 4.0, math.inf])
@pytest.mark.parametrize(("n", "k"), [(1, 1), (10, 1), (10, 5), (10, 9), (10, 10), (40, 7)])
def test_the_first_look_is_exact(n, k, c):
    """Mean and mean variance of the shares by summing over every population and every sample of k of its n."""
    m = (0.3, 0.7)
    law = InitialLaw([0.5, 0.5], m, c)
    belief = Belief.of(random_game(num_sg=2, num_sl=2, n=n, seed=1).replace(initial=law), torch.full((2, 2, 2), 0.5))
    everyone, chance = populations(n, c, m)
    left = after = 0.0
    for h in range(k + 1):
        sample = torch.tensor([[h, k - h]])
        ways = [math.comb(x, h) * math.comb(n - x, k - h) for x in everyone[:, 0].long().tolist()]
        joint = chance * torch.tensor(ways, dtype=torch.float64) / math.comb(n, k)
        weight, share = float(joint.sum()), everyone[:, 0] / n
        mean = float((joint * share).sum()) / weight
        found, strength = belief.look(*belief.begin(1), sample)
        assert found[0].tolist() == pytest.approx([mean, 1 - mean], abs=1e-9)
        left += float((joint * (share - mean) ** 2).sum())
        after += weight * mean * (1 - mean) / (float(strength) + 1)
    assert after == pytest.approx(left, abs=2e-9)


def test_a_census_leaves_nothing_to_guess_and_the_frozen_stay_known():
    still = Belief(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), torch.tensor([0.2, 0.3, 0.5]).double(), 1e9, 10)
    belief = still.look(*still.begin(2), torch.tensor([[7, 2, 1], [0, 0, 10]]))
    assert belief[0].tolist() == [[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]]
    moved, strength = still.predict(*belief, torch.tensor([0, 0]))
    assert torch.allclose(moved, belief[0])
    assert float(strength[0]) > 1e8
    assert torch.allclose(
        still.look(moved, strength, torch.tensor([[0, 0, 0], [0, 0, 5]]))[0], moved
    )  # nobody, and five


FROZEN = {"P_g": torch.eye(2).expand(2, 2, 2), "P_l": torch.eye(2)[:, None, None].expand(2, 2, 1, 2)}


@pytest.mark.parametrize(("n", "k"), [(10, 10), (10, 5), (100, 100)])
def test_a_memory_earns_what_a_sample_earns(n, k):
    """Go where most are, where nobody moves: at n = k = 10 a memory that ignored samples earned 9.96 for 12.27."""
    game = am.Game(**FROZEN, r_g=torch.zeros(2, 2), r_l=torch.eye(2)[:, :, None], gamma=0.95, n=n)
    sample, memory = (am.solve(game, k, observation=word) for word in ("surrogate", "filter"))
    first, second = (am.rollout(game, pair, episodes=300, seed=1) for pair in (sample, memory))
    assert second.mean >= first.mean - 1e-9
    if k == n:
        assert second.returns == pytest.approx(first.returns)
    else:
        assert second.mean > first.mean + 0.1


def test_looking_is_bayes_rule():
    """Two states: the posterior's mean and variance by integration over mu."""
    m, c, h = 0.3, 2.5, (3, 1)
    mu = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    weight = mu ** (c * m - 1 + h[0]) * (1 - mu) ** (c * (1 - m) - 1 + h[1])
    weight /= weight.sum()
    expected = float((weight * mu).sum())
    variance = float((weight * (mu - expected) ** 2).sum())
    belief = Belief(torch.eye(2, dtype=torch.float64).unsqueeze(0), torch.tensor([m, 1 - m]), c, 10**12)
    before = torch.tensor([[m, 1 - m]], dtype=torch.float64), torch.tensor([[c]], dtype=torch.float64)
    mean, strength = belief.look(*before, torch.tensor([h]))
    assert float(mean[0, 0]) == pytest.approx(expected, rel=1e-6)
    assert float(mean[0, 0] * (1 - mean[0, 0]) / (strength[0, 0] + 1)) == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("strength", [0.7, 8.0, 500.0])
def test_predicting_matches_the_moments_of_a_simulated_step(strength):
    rows, n, belief = 20_000, 400, belief_of(GAME.replace(n=400))
    mean = torch.tensor([[0.6, 0.3, 0.1]], dtype=torch.float64)
    moved, after = belief.predict(mean, torch.tensor([[strength]], dtype=torch.float64), torch.tensor([1]))
    weight = torch._standard_gamma((strength * mean).repeat(rows, 1), generator=seeded(2))
    states = torch.multinomial(weight, n, replacement=True, generator=seeded(3))  # the mean of n such agents varies
    mu = torch.nn.functional.one_hot(states, 3).sum(1).double()
    arrived = torch.zeros_like(mu)
    for z in range(3):  # each agent moves on its own
        landed = torch.multinomial(belief.moves[1, z].expand(rows, -1), n, replacement=True, generator=seeded(4 + z))
        arrived += torch.nn.functional.one_hot(landed, 3).mul((states == z).unsqueeze(-1)).sum(1)
    found = arrived / n
    assert torch.allclose(found.mean(0), moved[0], atol=6 * float(found.std(0).max()) / rows**0.5)
    spread = float(mu.div(n).var(0).sum())  # of the population before the step, n draws from mu included
    assumed = float((1 - mean.square().sum()) / (strength + 1))
    P = belief.moves[1]
    centred = mu / n - mean
    extra = float((centred @ P).var(0).sum()) * (assumed / spread - 1)  # what those draws added, taken out
    assert float((1 - moved.square().sum()) / (after + 1)) == pytest.approx(float(found.var(0).sum()) + extra, rel=0.06)


def test_standing_still_forgets_nothing_but_what_noise_adds():
    still = Belief(torch.eye(3, dtype=torch.float64).expand(2, 3, 3), torch.tensor([0.2, 0.3, 0.5]).double(), 2.0, 50)
    mean, strength = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64), torch.tensor([[7.0]]).double()
    moved, after = still.predict(mean, strength, torch.tensor([0]))
    assert torch.allclose(moved, mean)
    assert float(after) == pytest.approx(7.0)


def test_samples_add_up_and_reset_forgets_them():
    player, h, s_g = dispatcher(), torch.tensor([[2, 0, 0]]), torch.tensor([0])
    player.reset(1)
    begun = player.mean.clone(), player.strength.clone()
    actions = [int(player.act(s_g, h)) for _ in range(5)]
    assert not torch.equal(player.mean, begun[0])
    player.reset(1)
    assert torch.equal(player.mean, begun[0])
    assert torch.equal(player.strength, begun[1])
    assert [int(player.act(s_g, h)) for _ in range(5)] == actions


def test_systems_do_not_mix():
    alone, together = dispatcher(), dispatcher()
    counts, s_g = torch.tensor([[2, 0, 0], [0, 1, 1]]), torch.tensor([0, 1])
    alone.reset(1)
    together.reset(2)
    for _ in range(4):
        assert int(alone.act(s_g[:1], counts[:1])) == int(together.act(s_g, counts)[0])
    assert torch.allclose(alone.mean, together.mean[:1])


def test_a_batch_of_another_size_asks_for_a_reset():
    player = dispatcher()
    with pytest.raises(ArgumentError, match="the belief is of 0 systems, s_g of 1: call reset first"):
        player.act(torch.tensor([0]), torch.tensor([[2, 0, 0]]))


def packed():
    return {name: torch.as_tensor(value).numpy() for name, value in belief_of().pack().items()}


def test_a_packed_belief_comes_back():
    back, belief = Belief.unpack(packed()), belief_of()
    assert torch.equal(back.moves, belief.moves)
    assert torch.equal(back.mean, belief.mean)
    assert (back.strength, back.n) == (belief.strength, belief.n)


@pytest.mark.parametrize(
    ("entry", "value", "message"),
    [
        (ENTRIES[0], random_law(2, 3, 3) * 2, r"belief/moves\[sg=0, sl=0\] sums to 2"),
        (ENTRIES[0], random_law(3, 3), "belief/moves has shape"),
        (ENTRIES[1], -random_law(3), r"belief/mean\[sl=0\] is -.*non-negative"),
        (ENTRIES[2], 0.0, r"belief/strength must be a number in \(0, 1e\+09\]"),
        (ENTRIES[2], math.inf, "belief/strength must be a number"),
        (ENTRIES[3], 2.5, "belief/n must be an integer at least 1"),
        (ENTRIES[3], None, "it lacks the entries belief/n of a belief"),
    ],
)
def test_a_malformed_belief_is_refused_by_name(entry, value, message):
    arrays = packed()
    del arrays[entry]
    if value is not None:
        arrays[entry] = torch.as_tensor(value).numpy()
    with pytest.raises(FileFormatError, match=message):
        Belief.unpack(arrays)
