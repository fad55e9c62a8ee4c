"""Continuous actions: derivatives against differences, actors in their boxes, best responses of the linear-quadratic
game against Riccati, and what has no derivative.
"""

import math

import numpy as np
import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.games.named.linear_quadratic import LinearGains
from altmarl_torch.learners.simulated import experience
from altmarl_torch.learners.simulated.actors import GlobalActor, LocalActor, into
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.pathwise import Paths
from altmarl_torch.learners.simulated.policies import GIVEN, GivenGlobal, NamedLocal
from altmarl_torch.simulators.play import play

LAWS = am.games.LinearQuadratic()


def rules(gains, k):
    def lead(s_g, sample):
        return -gains.f_m * sample.mean(1) - gains.f_y * s_g

    return am.simulators.RulePair(k, lead, lambda s_l, s_g: -gains.K * s_l - gains.L * s_g)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_actions_stay_in_their_box_and_begin_in_the_middle():
    space = am.Box([-1, 0, -math.inf, -math.inf], [3, math.inf, 5, math.inf])
    free = 9 * torch.randn(1000, 4, generator=generator())
    low, high = into(space, free).amin(0), into(space, free).amax(0)
    assert (low >= space.low).all()
    assert (high <= space.high).all()
    assert torch.equal(into(space, free)[:, 3], free[:, 3])
    assert into(space, torch.zeros(4))[0] == 1
    frame = Frame(am.Box(-2, 2), torch.zeros(2, 1))
    actor = GlobalActor(frame, frame, am.Box(0, 4), generator())
    assert torch.equal(actor(torch.rand(6, 1), torch.rand(6, 3, 1)), torch.full((6, 1), 2.0))
    follower = LocalActor(frame, frame, am.Box(0, 4), generator())
    assert follower(torch.rand(6, 7, 1), torch.rand(6, 7, 1)).shape == (6, 7, 1)


def test_the_derivative_is_that_of_the_return_and_own_agents_do_not_count_the_dispatcher():
    game = LAWS.game(6)

    def earned(K, own):
        pair = rules(LinearGains(K, -0.2, -0.6, 0.7), 3)
        return Paths(game, 3, own, generator(3)).mean_return(GivenGlobal(pair), NamedLocal(GIVEN, pair.rule_l))

    def slope(own):
        K = torch.tensor(0.3, requires_grad=True)
        (found,) = torch.autograd.grad(earned(K, own), K)
        return float(found)

    numeric = float(earned(torch.tensor(0.3 + 1e-2), False) - earned(torch.tensor(0.3 - 1e-2), False)) / 2e-2
    assert slope(False) == pytest.approx(numeric, rel=1e-2)
    assert slope(True) != pytest.approx(numeric, rel=2e-2)


@pytest.mark.parametrize("turns", ["global", "local"])
def test_best_responses_of_the_linear_quadratic_game_earn_what_riccati_promises(turns, monkeypatch):
    monkeypatch.setattr(players, "PATH_STEPS", 80)
    laws = am.games.LinearQuadratic(gamma=0.7)  # episodes of 13 steps
    game = laws.game(10)
    start, best = LinearGains(0.3, -0.2), LinearGains(0.3, -0.2, *laws.global_response(0.3, -0.2))
    if turns == "local":
        start, best = LinearGains(f_y=0.3), LinearGains(*laws.local_response(0.3), 0.0, 0.3)
    solution = am.solve(game, 10, start=rules(start, 10), turns=turns, steps=1)
    assert [update.player for update in solution.history] == [turns]
    short = am.paired_difference(game, rules(best, 10), solution, episodes=1000, horizon=30)
    assert short.mean < 0.01 * abs(laws.value(best, 10, 10)) + 2 * short.sem


class Kalman:
    """The best leader with memory of the tracking problem: the mean of all samples, shrunk by v / e_0."""

    k = 1

    def __init__(self, ratio):
        self.ratio = ratio

    def dispatcher(self, seed=0):
        return self

    def reset(self, batch):
        self.total, self.looks = torch.zeros(batch, 1), 0

    def act(self, s_g, sample):
        self.total, self.looks = self.total + sample.mean(1), self.looks + 1
        return self.total / (self.looks + self.ratio)

    def local_actions(self, s_l, s_g, generator=None):
        return 0 * s_l


def test_the_tracking_leader_who_remembers_earns_what_the_kalman_filter_earns(monkeypatch):
    monkeypatch.setattr(players, "EPISODES", 256)
    laws = am.games.Tracking(n=60, k=1, gamma=0.85)  # episodes of 29 steps; the mean of all samples costs 3.9 % more
    game, (v, e_0) = laws.game(), laws._noise
    still = am.simulators.RulePair(1, lambda s_g, sample: sample.mean(1), lambda s_l, s_g: 0 * s_l)
    solution = am.solve(game, 1, observation="filter", start=still, turns="global", steps=1)

    def cost(pair):
        return -am.rollout(game, pair, episodes=3000, horizon=60, seed=4).mean - laws.spread

    assert cost(solution) < 1.03 * cost(Kalman(v / e_0))


def test_the_tracking_leader_without_memory_believes_a_sample_as_much_as_the_best_gain_does(monkeypatch):
    """The part of mhat - y that it moves by, where it goes itself, within 5 % of g*; the surrogate's is 1."""
    monkeypatch.setattr(players, "EPISODES", 256)
    laws = am.games.Tracking(n=400, k=2, gamma=0.85)
    still = am.simulators.RulePair(2, lambda s_g, sample: sample.mean(1), lambda s_l, s_g: 0 * s_l)
    solution = am.solve(laws.game(), 2, start=still, turns="global", steps=1)
    moved = wanted = 0.0
    for t, step in enumerate(play(laws.game(), solution, 128, 40, np.random.SeedSequence(2))):
        apart = step.sample.mean(1) - step.s_g
        moved += laws.gamma**t * float((apart * (step.a_g - step.s_g)).sum())
        wanted += laws.gamma**t * float(apart.square().sum())
    assert moved / wanted == pytest.approx(laws.best_gain, rel=0.05)


@pytest.mark.parametrize("observation", ["population", "filter"])
def test_a_pair_of_actors_is_written_read_and_taken_up_again(tmp_path, monkeypatch, observation):
    monkeypatch.setattr(players, "PATH_STEPS", 4)
    monkeypatch.setattr(players, "EPISODES", 16)
    game, told = am.games.LinearQuadratic(gamma=0.7).game(8), []

    def stop(update):
        told.append(update)
        if len(told) == 1:
            raise KeyboardInterrupt

    asked = {"steps": 1, "seed": 2, "observation": observation}
    whole = am.solve(game, 3, **asked)
    assert am.solve(game, 3, **asked, checkpoints=tmp_path / "c", callback=stop).interrupted
    again = am.solve(game, 3, **asked, checkpoints=tmp_path / "c")
    whole.save(tmp_path / "a.npz")
    read = am.SimulatedSolution.load(tmp_path / "a.npz", game)
    returns = [am.rollout(game, one, episodes=5, horizon=9).returns for one in (whole, again, read)]
    assert torch.equal(returns[0], returns[1])
    assert torch.equal(returns[0], returns[2])
    dispatcher = read.dispatcher()
    dispatcher.reset(4)
    assert dispatcher.act(torch.zeros(4, 1), torch.zeros(4, 3, 1)).shape == (4, 1)
    assert read.local_actions(torch.zeros(4, 8, 1), torch.zeros(4, 1, 1)).shape == (4, 8, 1)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(experience, "EPISODES", 8)


def test_one_player_may_have_finitely_many_actions(monkeypatch, quick):
    for name, value in (("PATH_STEPS", 3), ("GLOBAL_STEPS", (10, 10)), ("LOCAL_STEPS", 10), ("EPISODES", 8)):
        monkeypatch.setattr(players, name, value)
    game = (
        am.games.LinearQuadratic(gamma=0.7)
        .game(8)
        .replace(
            global_action=am.Discrete(3),
            move_g=lambda s, a, g: 0.9 * s + (a.unsqueeze(-1) - 1),
            r_g=lambda s, a: -s.square().squeeze(-1) - a,
        )
    )
    assert [update.player for update in am.solve(game, 3, steps=1).history] == ["global", "local"]


def test_what_has_no_derivative_is_refused_and_explosions_are_named(monkeypatch):
    game = LAWS.game(8)
    flat = game.replace(
        move_g=lambda s, a, g: s, r_g=lambda s, a: -s.square().squeeze(-1), move_l=lambda s, sg, a, g: s,
        r_l=lambda s, sg, a: -a.detach().square().squeeze(-1),
    )  # fmt: skip
    with pytest.raises(am.ArgumentError, match=r"g_learn: continuous actions are learned through the derivatives"):
        am.solve(flat, 3, steps=1)
    with pytest.raises(am.ArgumentError, match="objective must be one of 'team', 'own'"):
        am.solve(game, 3, objective="mine")
    with pytest.raises(am.ArgumentError, match="start must be a RulePair"):
        am.solve(game, 3, start=3)
    with pytest.raises(am.ArgumentError, match="turns must be one of"):
        am.solve(game, 3, turns="mine")
    root = game.replace(r_g=lambda s, a: -a.abs().sqrt().squeeze(-1))
    with pytest.raises(am.LearningError, match="not finite after 1 gradient steps"):
        am.solve(root, 3, steps=1, turns="global")
