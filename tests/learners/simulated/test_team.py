"""L-LEARN for the team with finite actions: the first variation, and what an agent's own reward does not know."""

import math

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players, team_learner
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.networks import SetNetwork
from altmarl_torch.learners.simulated.team import DRAWN, TeamBatches


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_variation_is_the_derivative_of_the_value_in_the_crowd():
    """A part e of the crowd put at y, against the rest: W changes by e (dW(y) - mean dW of the crowd)."""
    frame = Frame(am.Box(-2, 2), torch.zeros(2, 1))
    game = am.games.continuous_warehouse(n=20)
    value = SetNetwork(frame, frame, 1, generator()).double()
    s_g, crowd = frame.draw((6,), generator(1)).double(), frame.draw((6, 20), generator(2)).double()
    landed = frame.draw((6, 3), generator(3)).double()
    batches, e = TeamBatches(game, frame, 1.0, generator()), 1e-6
    found = batches._variation(value, s_g, crowd, landed) - batches._variation(value, s_g, crowd, crowd).mean(
        -1, keepdim=True
    )
    with torch.no_grad():
        pooled, there = value.pool(crowd), value.agent(value.phi(landed))
        for a in range(3):
            moved = value.heads(s_g, pooled + e * (there[:, a] - pooled)) - value.heads(s_g, pooled)
            torch.testing.assert_close(moved.squeeze(-1) / e, found[:, a], rtol=1e-4, atol=1e-6)


def gathering(n):
    """Everybody is paid by how many are at 1, and whoever is there pays a fifth of what that earns."""

    def move_l(s_l, s_g, a_l, generator):
        return (s_l - a_l.unsqueeze(-1)).abs()

    return am.SimulatedGame(
        start=lambda episodes, n, generator: (torch.zeros(episodes, 1), torch.zeros(episodes, n, 1)),
        move_g=lambda s_g, a_g, generator: s_g,
        move_l=move_l,
        r_g=lambda s_g, a_g, mu: mu.squeeze(-1),
        r_l=lambda s_l, s_g, a_l: -0.2 * s_l.squeeze(-1),
        global_state=am.Discrete(1),
        local_state=am.Discrete(2),
        global_action=am.Discrete(1),
        local_action=am.Discrete(2),
        gamma=0.8,
        n=n,
        name="gathering",
        population=lambda s_l: s_l,
    )


@pytest.mark.parametrize("n", [12, DRAWN + 6])
def test_the_team_does_what_no_agent_gains_from(n, monkeypatch):
    for name, value in (("GLOBAL_STEPS", (20, 20)), ("LOCAL_STEPS", 300), ("EPISODES", 128)):
        monkeypatch.setattr(players, name, value)
    for name, value in (("VALUE_STEPS", 200), ("STEPS", 200)):
        monkeypatch.setattr(team_learner, name, value)
    game = gathering(n)
    best = 0.8 * game.gamma / (1 - game.gamma)
    horizon = math.ceil(math.log(1e-4) / math.log(game.gamma))
    earned = {}
    for objective in ("own", "team"):
        solution = am.solve(game, 3, objective=objective, steps=2)
        earned[objective] = am.rollout(game, solution, episodes=64, horizon=horizon).mean
    assert earned["team"] == pytest.approx(best, rel=0.01)
    assert earned["own"] < 0.6 * best


def test_the_first_weights_of_the_crowds_value_follow_the_seed(monkeypatch):
    for name, value in (("GLOBAL_STEPS", (20, 20)), ("EPISODES", 32)):
        monkeypatch.setattr(players, name, value)
    for name, value in (("VALUE_STEPS", 2), ("STEPS", 2)):
        monkeypatch.setattr(team_learner, name, value)
    met, regress = [], team_learner.regress

    def told(network, *others):
        if isinstance(network, SetNetwork):
            met.append(network.body[0].weight)
        return regress(network, *others)

    monkeypatch.setattr(team_learner, "regress", told)
    for seed in (0, 0, 1):
        am.solve(am.games.continuous_warehouse(n=30), 3, objective="team", steps=1, turns="local", seed=seed)
    assert torch.equal(met[0], met[1])
    assert not torch.equal(met[0], met[2])


def test_equal_seeds_are_equal_and_another_is_not(monkeypatch):
    for name, value in (("GLOBAL_STEPS", (20, 20)), ("EPISODES", 32)):
        monkeypatch.setattr(players, name, value)
    for name, value in (("VALUE_STEPS", 20), ("STEPS", 20)):
        monkeypatch.setattr(team_learner, name, value)
    game = am.games.continuous_warehouse(n=30)
    values = [
        [update.value_proposed for update in am.solve(game, 3, objective="team", steps=1, seed=seed).history]
        for seed in (0, 0, 1)
    ]
    assert values[0] == values[1]
    assert values[0] != values[2]
