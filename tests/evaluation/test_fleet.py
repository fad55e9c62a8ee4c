"""Silent agents, turnover and schedules of n: against agents one by one, other games, and laws in closed form."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from oracles.agents import Life, assert_same_law, simulate
from scipy import stats

import altmarl_torch as am
from altmarl_torch.evaluation import rollouts
from altmarl_torch.evaluation.fleet import Fleet
from altmarl_torch.games import random_game, steer, warehouse
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.policies.rules import heuristic_pair

WEIGHTS = (1, 3, 7)


@dataclasses.dataclass
class Watched:
    """A pair that acts on the bare counts of whoever answers, and writes them down."""

    game: am.Game
    k: int
    pi_l: torch.Tensor

    def dispatcher(self, seed=0):
        self.seen = []
        return self

    def reset(self, batch):
        pass

    def act(self, s_g, counts):
        self.seen.append(counts.clone().numpy())
        return (counts * torch.tensor(WEIGHTS)).sum(-1) % self.game.num_ag

    def law(self, s_g, counts):
        return np.eye(self.game.num_ag)[(counts * WEIGHTS).sum(1) % self.game.num_ag]


def small_game():
    initial = InitialLaw([0.3, 0.7], [0.6, 0.1, 0.3], 3.0)
    return random_game(2, 3, 3, 2, seed=4, n=8).replace(initial=initial)


def watched(game, k):
    generator = torch.Generator().manual_seed(1)
    weights = torch.rand(game.num_sl, game.num_sg, game.num_al, generator=generator, dtype=torch.float64)
    return Watched(game, k, weights / weights.sum(-1, keepdim=True))


NU = np.array([0.1, 0.2, 0.7])
SIZES = (8, 8, 5, 12, 12, 6)
LIVES = {
    "silent": ({"answer_rate": 0.6}, Life(NU, answer_rate=0.6)),
    "turnover": ({"turnover": 0.3, "newcomers": NU}, Life(NU, turnover=0.3)),
    "schedule": ({"n": SIZES, "newcomers": NU}, Life(NU, sizes=SIZES)),
    "all": (
        {"answer_rate": 0.8, "turnover": 0.1, "n": SIZES, "newcomers": NU},
        Life(NU, answer_rate=0.8, turnover=0.1, sizes=SIZES),
    ),
}


@pytest.mark.parametrize("name", LIVES)
def test_counts_and_returns_are_those_of_agents_one_by_one(name):
    game, (arguments, life) = small_game(), LIVES[name]
    pair = watched(game, 4)
    ours = am.rollout(game, pair, episodes=8000, horizon=6, seed=1, **arguments)
    theirs = simulate(game, pair.law, pair.pi_l, k=4, n=8, episodes=6000, horizon=6, seed=2, life=life)
    sem = math.hypot(ours.sem, theirs.returns.std() / 6000**0.5)
    assert abs(ours.mean - theirs.returns.mean()) < 4 * sem
    for t in (0, 2, 3, 5):
        assert_same_law(pair.seen[t], theirs.sampled[:, t])


def test_turnover_in_the_warehouse_agrees_within_four_standard_errors():
    game = warehouse(n=60)
    pair = heuristic_pair(game, 10, "mode", "walk")
    life = Life(np.asarray(game.initial.local_mean), turnover=0.02)
    ours = am.rollout(game, pair, episodes=4000, horizon=40, turnover=0.02)

    def law(s_g, counts):
        return np.eye(5)[counts.argmax(1)]

    theirs = simulate(game, law, pair.pi_l, k=10, n=60, episodes=1500, horizon=40, seed=3, life=life)
    assert abs(ours.mean - theirs.returns.mean()) < 4 * math.hypot(ours.sem, theirs.returns.std() / 1500**0.5)


def test_turnover_is_a_game_of_its_own():
    """P_l <- (1 - p) P_l + p nu: what is learned there is learned for the fleet."""
    game = small_game()
    nu = torch.tensor(NU)
    mixed = game.replace(P_l=0.75 * game.P_l + 0.25 * nu)
    pair = watched(game, 4)
    replaced = am.rollout(game, pair, episodes=6000, horizon=8, turnover=0.25, newcomers=nu)
    same = am.rollout(mixed, pair, episodes=6000, horizon=8, seed=1)
    assert abs(replaced.mean - same.mean) < 4 * math.hypot(replaced.sem, same.sem)


def test_at_turnover_one_everybody_is_new():
    game, pair = small_game(), watched(small_game(), 8)
    am.rollout(game, pair, episodes=5000, horizon=2, turnover=1.0, newcomers=[0.0, 1.0, 0.0])
    assert (pair.seen[1] == [0, 8, 0]).all()


def test_rates_of_one_and_zero_change_nothing():
    game, pair = small_game(), watched(small_game(), 4)
    plain = am.rollout(game, pair, episodes=50, horizon=9)
    same = am.rollout(game, pair, episodes=50, horizon=9, answer_rate=1.0, turnover=0.0, n=[8] * 9)
    assert torch.equal(plain.returns, same.returns)


def test_a_change_of_the_fleet_leaves_the_first_steps_alone():
    """Common random numbers: starts, samples and moves are drawn from streams of their own."""
    game, one, other = small_game(), watched(small_game(), 4), watched(small_game(), 4)
    am.rollout(game, one, episodes=50, horizon=4)
    am.rollout(game, other, episodes=50, horizon=4, turnover=0.5)
    assert (one.seen[0] == other.seen[0]).all()


def test_nobody_answers_at_rate_zero():
    game, pair = small_game(), watched(small_game(), 4)
    am.rollout(game, pair, episodes=20, horizon=3, answer_rate=0.0)
    assert not np.array(pair.seen).any()


def test_those_who_stay_are_hypergeometric():
    fleet = Fleet(20, 2, (20, 6), 1.0, 0.0, torch.tensor([0.5, 0.5]))
    counts = torch.tensor([[7.0, 13.0]], dtype=torch.float64).expand(20_000, -1)
    staying = fleet.after(0, counts, torch.Generator().manual_seed(0))
    assert (staying.sum(-1) == 6).all()
    found = torch.bincount(staying[:, 0].long(), minlength=7).numpy()
    expected = stats.hypergeom(20, 7, 6).pmf(range(7)) * 20_000
    assert stats.chisquare(found, expected).pvalue > 1e-4


def test_a_billion_agents_are_replaced_as_fast_as_ten():
    game = steer().replace(n=10**9)
    pair = heuristic_pair(game, 3, "mode", "walk")
    assert (
        am.rollout(game, pair, episodes=10, horizon=5, turnover=0.1, n=[10**9 - 1] * 2 + [10**6] * 3)
        .returns.isfinite()
        .all()
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"answer_rate": 1.1}, r"answer_rate must be a number in \[0, 1\], not 1.1"),
        ({"answer_rate": -0.1}, r"answer_rate must be a number in \[0, 1\]"),
        ({"answer_rate": math.nan}, r"answer_rate must be a number in \[0, 1\]"),
        ({"answer_rate": "most"}, r"answer_rate must be a number in \[0, 1\]"),
        ({"turnover": 2}, r"turnover must be a number in \[0, 1\], not 2"),
        ({"newcomers": [0.5, 0.5]}, "newcomers is a law of 2 local states; this game has 3"),
        ({"newcomers": [0.5, 0.5, 0.5]}, r"newcomers sums to 1\.5"),
        ({"newcomers": [[0.5, 0.25, 0.25]]}, "newcomers has shape"),
        ({"newcomers": [0.5, 0.25, 0.25]}, "newcomers join by turnover or by a schedule of n; neither is given"),
        ({"n": [8, 8]}, "the schedule of n has 2 steps; horizon = 5 needs as many"),
        ({"n": [8, 7, 3, 8, 8]}, "n is 3 at step 2, and k = 4 agents are to be asked: use k <= 3"),
        ({"n": [8, 8, 0, 8, 8]}, "n of step 2 must be an integer in 1"),
        ({"n": [8, 8, 7.5, 8, 8]}, "n of step 2 must be an integer in 1"),
        ({"n": [10**12, 8, 8, 8, 8]}, "n of step 0 must be an integer in 1..999999999"),
        ({"n": 3}, "k must be an integer in 1..3, not 4"),
        ({"n": "ten"}, "n must be an integer in 1"),
    ],
)
def test_what_is_out_of_range_is_refused_in_a_line(arguments, message):
    with pytest.raises(am.ArgumentError, match=message) as raised:
        am.rollout(small_game(), watched(small_game(), 4), episodes=10, horizon=5, **arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("arguments", [{"answer_rate": 0.5}, {"turnover": 0.1}, {"newcomers": [1.0]}, {"n": [9] * 5}])
def test_simulators_have_no_such_fleet_yet(arguments):
    game = am.games.continuous_warehouse()
    pair = am.simulators.uniform_pair(game, 2)
    with pytest.raises(am.ArgumentError, match="are for games with tables"):
        am.rollout(game, pair, episodes=2, horizon=5, **arguments)


def test_paired_differences_take_the_same_fleet():
    game = small_game()
    first, second = (heuristic_pair(game, 4, rule, "walk") for rule in ("mode", "hold"))
    settings = {"episodes": 40, "horizon": 5, "answer_rate": 0.5, "turnover": 0.1}
    found = am.paired_difference(game, first, second, **settings)
    apart = [am.rollout(game, pair, **settings).mean for pair in (first, second)]
    assert found.mean == pytest.approx(apart[0] - apart[1])


def test_visits_are_those_of_a_full_fleet():
    game, pair = small_game(), watched(small_game(), 4)
    s_g, counts = rollouts.visits(game, pair, episodes=7, horizon=3)
    assert (s_g.shape, counts.shape) == ((3, 7), (3, 7, 3))
    assert (counts.sum(-1) == 8).all()
