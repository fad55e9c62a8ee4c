"""Values of beliefs: against optimal stopping on a lattice, the filter, and closed forms."""

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.asking.deciding import ask_and_pay
from altmarl_torch.games import steer, warehouse
from altmarl_torch.learners.beliefs.fitting import fit_belief_values
from altmarl_torch.learners.beliefs.points import BeliefFeatures, answers, beliefs_met, combined
from altmarl_torch.policies.belief import Belief
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.support.intervals import Difference

STEPS = 300


def hidden_crowd(strength, places=2, drift=1e-4, gamma=0.99, n=1000):
    """A crowd that hardly moves, and a choice that cannot be taken back: s_g = 0 waits, s_g = j has gone to j."""

    def lands(z):
        return [1 - drift if y == z else drift / (places - 1) for y in range(places)]

    return am.Game.from_functions(
        P_g=lambda s_g, a_g: [float(t == (a_g if s_g == 0 else s_g)) for t in range(places + 1)],
        P_l=lambda z, s_g, a_l: lands(z),
        r_g=lambda s_g, a_g: 0.0,
        r_l=lambda z, s_g, a_l: 0.0 if s_g == 0 else 1.0 if z == s_g - 1 else -1 / (places - 1),
        num_sg=places + 1,
        num_sl=places,
        num_ag=places + 1,
        num_al=1,
        gamma=gamma,
        n=n,
        initial=am.InitialLaw([1.0] + [0.0] * places, [1 / places] * places, strength),
    )


def optimal_stopping(strength, gamma, depth=400, price=0.0):
    """Two places, a crowd that stands still, one agent seen a step at a price: the exact optimum, by backward steps.

    a and b of a + b = t + strength have been seen, the prior among them. Whoever goes earns from the next step on.
    """
    last = torch.zeros(depth + 2, dtype=torch.float64)
    for t in range(depth, 0, -1):
        a = strength / 2 + torch.arange(t + 1, dtype=torch.float64)
        m = a / (strength + t)
        go = gamma / (1 - gamma) * (2 * m - 1).abs()
        wait = gamma * (m * last[1 : t + 2] + (1 - m) * last[: t + 1] - price) if t < depth else go
        last = torch.cat([torch.maximum(go, wait), go.new_zeros(1)])
    return float(last[:2].mean()) - price


class Waits:
    """Looks at one agent a step, and follows the majority when so many steps are over."""

    k = 1

    def __init__(self, game, steps):
        self.steps, self.pi_l = steps, uniform_local(game)

    def dispatcher(self, seed=0):
        return self

    def reset(self, batch):
        self.t, self.seen = 0, 0

    def act(self, s_g, counts):
        self.t, self.seen = self.t + 1, self.seen + counts
        return self.seen.argmax(-1) + 1 if self.t > self.steps else torch.zeros_like(s_g)


@pytest.mark.parametrize(("strength", "places"), [(2.0, 2), (10.0, 2), (4.0, 3)])
def test_acting_to_learn_earns_what_waiting_does_and_more(strength, places):
    game = hidden_crowd(strength, places)
    pair = am.decide_by_belief(game, 1)
    played = {"episodes": 500, "horizon": STEPS}
    found, waiting = (am.rollout(game, one, **played) for one in (pair, Waits(game, 9)))
    at_once = am.rollout(game, Waits(game, 0), **played)
    assert found.mean >= 0.95 * waiting.mean
    more = Difference.of(found.returns - at_once.returns, 0.99)  # the same crowds for both
    assert more.low > 0


@pytest.mark.parametrize("strength", [2.0, 10.0])
def test_it_is_the_optimal_stopping_of_a_crowd_that_stands_still(strength):
    game = hidden_crowd(strength, drift=0.0, n=10**6, gamma=0.95)
    best = optimal_stopping(strength, 0.95)
    found = am.rollout(game, am.decide_by_belief(game, 1), episodes=4000, horizon=200)
    assert found.mean < best + 4 * found.sem
    assert found.mean > 0.97 * best - 4 * found.sem


def test_questions_are_paid_until_they_do_not_pay():
    """Optimal stopping with a price: whoever has gone asks no more, since he earns whatever he knows."""
    game = hidden_crowd(2.0, drift=0.0, n=10**6, gamma=0.95)
    for price in (0.01, 0.1):
        pair = am.decide_by_belief(game, [0, 1], price=price)
        found = ask_and_pay(game, pair, episodes=4000, horizon=200)
        best, sem = optimal_stopping(2.0, 0.95, price=price), float(found.net.std()) / 4000**0.5
        assert float(found.net.mean()) < best + 4 * sem
        assert float(found.net.mean()) > 0.97 * best - 4 * sem
        assert found.mean_asked < 0.5


def test_nobody_is_asked_where_it_costs_more_than_everything():
    game = hidden_crowd(2.0, gamma=0.9)
    pair = am.decide_by_belief(game, [0, 1, 2], price=100.0)
    assert ask_and_pay(game, pair, episodes=50, horizon=20).mean_asked == 0


def test_in_a_small_warehouse_it_earns_what_the_filter_earns():
    game = warehouse(num_zones=3, n=300)
    memory = am.solve(game, 1, observation="filter")
    pair = am.decide_by_belief(game, 1, pi_l=memory.pi_l)
    difference = am.paired_difference(game, pair, memory, episodes=1000, seed=3)
    assert difference.mean > -am.rollout(game, memory, episodes=1000, seed=3).sem


def test_with_gamma_zero_values_are_rewards():
    game = steer().replace(gamma=0.0)
    values = fit_belief_values(game, [0, 1], pi_l=uniform_local(game))
    mean, strength = torch.tensor([[0.3, 0.7]], dtype=torch.float64), torch.tensor([[5.0]], dtype=torch.float64)
    before = values.features(mean, strength) @ values.coefficients
    expected = game.r_g.amax(-1) + game.induced(uniform_local(game)).r_l_pi.T @ mean[0]
    assert torch.allclose(before[0], expected, atol=1e-4)


def test_listed_answers_are_a_law_with_the_belief_as_its_mean():
    mean, strength = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64), torch.tensor([[3.0]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    for q in (0, 1, 2, 5):
        counts, weights = answers(q, mean, strength, generator)
        assert float(weights.sum()) == pytest.approx(1)
        assert torch.allclose((weights.unsqueeze(-1) * counts).sum(1), q * mean)
    counts, weights = answers(40, mean.expand(3000, -1), strength.expand(3000, -1), generator)
    assert (counts.sum(-1) == 40).all()
    assert torch.allclose((weights.unsqueeze(-1) * counts).sum(1).mean(0), 40 * mean[0], atol=0.3)


def test_beliefs_that_are_met_are_laws_of_some_strength():
    game = steer()
    belief, features = Belief.of(game, uniform_local(game)), BeliefFeatures.of(game)
    mean, strength = beliefs_met(game, belief, (0, 2), torch.Generator().manual_seed(0))
    assert torch.allclose(mean.sum(-1), torch.ones(len(mean), dtype=torch.float64))
    assert (mean >= 0).all()
    assert (strength > 0).all()
    assert features(mean, strength).shape == (len(mean), 3 * features.basis.size)


def test_a_dispatcher_hears_no_more_than_it_asked_for():
    game = hidden_crowd(2.0, gamma=0.9)
    player = am.decide_by_belief(game, [0, 1, 4], price=0.01).dispatcher(seed=1)
    player.reset(200)
    s_g = torch.zeros(200, dtype=torch.int64)
    asked = player.ask(s_g)
    assert set(asked.tolist()) <= {0, 1, 4}
    heard = player._heard(torch.tensor([[3, 1]]).expand(200, -1), torch.tensor([0, 1, 2, 3, 4]).repeat(40))
    assert heard.sum(-1).tolist() == [0, 1, 2, 3, 4] * 40
    assert (heard <= torch.tensor([3, 1])).all()
    assert float(heard[1::5, 0].double().mean()) == pytest.approx(0.75, abs=0.25)
    assert player.act(s_g, [[0, 1]] * 200).shape == (200,)


def test_equal_seeds_decide_equally():
    game = hidden_crowd(2.0, gamma=0.9)
    one, other = (am.decide_by_belief(game, [0, 1], price=0.01, seed=3).values.coefficients for _ in range(2))
    assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"asks": 0}, "asks must name a number of agents above 0"),
        ({"asks": []}, "asks must name a number of agents above 0"),
        ({"asks": [1, -1]}, "asks must be an integer in 0..100, not -1"),
        ({"asks": 101}, "asks must be an integer in 0..100, not 101"),
        ({"asks": 1.5}, "asks must be an integer in 0..100, not 1.5"),
        ({"asks": 1, "price": -1}, r"price must be a number in \[0, inf\), not -1"),
        ({"asks": 1, "seed": -1}, "seed must be an integer"),
    ],
)
def test_what_is_out_of_range_is_refused_in_a_line(arguments, message):
    with pytest.raises(am.ArgumentError, match=message):
        am.decide_by_belief(steer(), **arguments)


def test_a_dispatcher_says_what_is_wrong():
    player = am.decide_by_belief(steer(), 2).dispatcher()
    with pytest.raises(am.ArgumentError, match="the belief is of 0 systems, s_g of 1: call reset first"):
        player.act([0], [[1, 1]])
    player.reset(1)
    with pytest.raises(am.ArgumentError, match="at most k = 2 sampled agents answer"):
        player.act([0], [[2, 1]])


@pytest.fixture(scope="module")
def selected():
    return am.solve(hidden_crowd(4.0), 1, observation="filter", select="rollout")


def test_acting_to_learn_is_selected_where_it_pays(selected):
    tried = {choice.name: choice.return_mean for choice in selected.selection.choices}
    assert selected.selection.choices[0].name == "values of beliefs"
    assert selected.values is not None
    assert tried["values of beliefs"] > 1.3 * tried["filter"]
    assert selected.selection.margin.low > 0


def test_a_pair_that_acts_to_learn_is_kept_in_a_file(selected, tmp_path):
    selected.save(tmp_path / "policy.npz")
    read = am.Solution.load(tmp_path / "policy.npz")
    assert read.values.asks == (1,)
    played = {"episodes": 50, "horizon": 30}
    ours, again = (am.rollout(hidden_crowd(4.0), pair, **played).returns for pair in (selected, read))
    assert torch.equal(ours, again)
    player = read.dispatcher()
    player.reset(1)
    assert player.act(0, [1, 0]).shape == ()
    assert am.rollout(hidden_crowd(4.0), read.seeing(3), **played).mean > 0


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("r_l", None, "its values of beliefs lack r_l"),
        ("coefficients", np.zeros((4, 3)), r"coefficients of the values has shape \[4, 3\]; \[27, 3\] is needed"),
        ("gamma", 1.5, r"gamma must be a number in \[0, 1\), not 1.5"),
        ("degree", 10**9, "degree must be an integer in 0..8, not 1000000000"),
        ("asks", [-1], r"asks\[q=0\] is -1"),
        ("asks", [2000], "asks must be an integer in 0..1000, not 2000"),
        ("r_g", np.full((3, 3), np.nan), "r_g"),
    ],
)
def test_damaged_values_are_refused(selected, tmp_path, name, entry, message):
    path = tmp_path / "policy.npz"
    selected.save(path)
    entries = {key: value for key, value in np.load(path).items() if key != f"values/{name}"}
    np.savez(path, **entries | ({} if entry is None else {f"values/{name}": entry}))
    with pytest.raises(am.FileFormatError, match=message) as raised:
        am.Solution.load(path)
    assert "\n" not in str(raised.value)


def test_features_are_never_formed_for_nothing():
    features = BeliefFeatures.of(warehouse(num_zones=3, n=40))
    generator = torch.Generator().manual_seed(0)
    mean = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    mean, strength = mean / mean.sum(-1, keepdim=True), 10 * torch.rand(5, 1, generator=generator, dtype=torch.float64)
    coefficients = torch.rand(features(mean, strength).shape[-1], 4, generator=generator, dtype=torch.float64)
    direct = features(mean, strength) @ coefficients
    assert torch.allclose(combined(*features.parts(mean, strength), coefficients), direct)


def test_where_nothing_is_paid_everybody_who_may_be_is_asked():
    pair = am.decide_by_belief(steer(), [0, 1, 3], pi_l=uniform_local(steer()))
    assert ask_and_pay(steer(), pair, episodes=20, horizon=10).mean_asked == 3
