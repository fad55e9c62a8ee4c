"""Moves and rewards that see the crowd, against the exact joint chain of a few agents."""

import pytest
import torch
from oracles import crowd_chain

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.learners.simulated import experience
from altmarl_torch.simulators import crowd

GAMMA = 0.8


def coin(chance, generator):
    return (torch.rand(chance.shape, generator=generator) < chance).float().unsqueeze(-1)


def crowded(n, **changes):
    """The oracle's game on tensors."""

    def start(episodes, agents, generator):
        return torch.zeros(episodes, 1), (torch.rand(episodes, agents, 1, generator=generator) < 0.5).float()

    fields = {
        "start": start,
        "move_g": lambda s, a, g, mu: coin(crowd_chain.lead(s[..., 0], a, mu[..., 0]), g),
        "move_l": lambda s, sg, a, g, mu: coin(crowd_chain.up(s[..., 0], sg[..., 0], a, mu[..., 0]), g),
        "r_g": lambda s, a, mu: crowd_chain.r_g(s[..., 0], a, mu[..., 0]),
        "r_l": lambda s, sg, a, mu: crowd_chain.r_l(s[..., 0], sg[..., 0], a, mu[..., 0]),
        "population": lambda s: s,
    }
    spaces = {f"{who}_{what}": am.Discrete(2) for who in ("global", "local") for what in ("state", "action")}
    return am.SimulatedGame(**spaces, **(fields | changes), gamma=GAMMA, n=n, name="crowded")


def follow(s_l, s_g):
    return s_g.squeeze(-1).long()


@pytest.mark.parametrize(("n", "k"), [(2, 1), (3, 2), (3, 3)])
def test_episodes_earn_what_the_joint_chain_earns(n, k):
    pair = am.simulators.RulePair(k, lambda s_g, sample: (sample.sum((-2, -1)) * 2 >= k).long(), follow)
    exact = crowd_chain.value(n, k, lambda s_g, ones: float(2 * ones >= k), lambda s_l, s_g: s_g, GAMMA, 30)
    found = am.rollout(crowded(n), pair, episodes=20_000, horizon=30)
    assert abs(found.mean - exact) < 4 * found.sem


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(players, "GLOBAL_STEPS", (300, 300))
    monkeypatch.setattr(players, "LOCAL_STEPS", 200)
    monkeypatch.setattr(players, "EPISODES", 256)
    monkeypatch.setattr(experience, "EPISODES", 64)


@pytest.mark.parametrize(("n", "k", "observation"), [(3, 1, "population"), (3, 3, "surrogate")])
def test_the_dispatcher_that_is_learned_is_the_best_there_is(quick, n, k, observation):
    """Within 2 %: without a memory, a fit of values judges a sample by the states met, which is not all there is."""
    rules = am.simulators.RulePair(k, lambda s_g, sample: 0 * s_g.squeeze(-1).long(), follow)
    solution = am.solve(crowded(n), k, start=rules, turns="global", steps=1, observation=observation, eta=0.0)
    best, _ = crowd_chain.best_memoryless(n, k, lambda s_l, s_g: s_g, GAMMA)
    dispatcher = solution.dispatcher()

    def learned(s_g, ones):
        sample = (torch.arange(k) < ones).float().reshape(1, k, 1)
        return float(dispatcher.act(torch.tensor([[float(s_g)]]), sample))

    assert crowd_chain.value(n, k, learned, lambda s_l, s_g: s_g, GAMMA) > best - 0.02 * abs(best)


@pytest.mark.parametrize(("others", "paid"), [(1, 0.0), (0, 2.0)])
def test_an_agent_goes_where_the_others_are_not(quick, others, paid):
    """State 1 earns 1 - 2 mu, so that among many the answer to all of one mind is the other action, in every state.

    (The dispatcher's reward makes UPDATE adopt it.)
    """
    game = crowded(
        100,
        move_l=lambda s, sg, a, g, mu: coin(0.1 + 0.8 * a, g),
        r_l=lambda s, sg, a, mu: s[..., 0] * (1 - 2 * mu[..., 0]),
        r_g=lambda s, a, mu: paid * mu[..., 0],
    )
    rules = am.simulators.RulePair(
        1, lambda s_g, sample: 0 * follow(s_g, s_g), lambda s_l, s_g: 0 * follow(s_l, s_g) + others
    )
    solution = am.solve(game, 1, start=rules, turns="local", steps=1, eta=0.0)
    states = torch.tensor([[0.0], [1.0]])
    assert solution.history[0].adopted
    assert solution.local_actions(states, torch.tensor([[0.0], [1.0]])).tolist() == [1 - others] * 2


def test_the_crowds_mean_is_that_of_all_agents_in_parts_as_well(monkeypatch):
    s_l = torch.rand(3, 50, 2)
    whole = crowd.crowd_mean(lambda s: s * 2, s_l)
    monkeypatch.setattr(crowd, "AGENTS_PER_CALL", 20)
    assert torch.allclose(crowd.crowd_mean(lambda s: s * 2, s_l), whole)
    assert torch.allclose(whole, 2 * s_l.mean(1))


def test_actors_are_differentiated_through_the_crowd(quick, monkeypatch):
    """Agents who are paid for a mean of 1 go there; for their own reward alone they do not know of it."""
    monkeypatch.setattr(players, "PATH_STEPS", 25)
    game = am.games.LinearQuadratic(gamma=0.7).game(8)
    game = game.replace(
        population=lambda s: s,
        r_g=lambda s, a, mu: -(mu.squeeze(-1) - 1).square() - a.square().squeeze(-1),
        r_l=lambda s, sg, a: -0.1 * a.square().squeeze(-1),
    )
    still, earned = am.simulators.RulePair(3, lambda s_g, sample: 0 * s_g, lambda s_l, s_g: 0 * s_l), {}
    for objective in ("team", "own"):
        solution = am.solve(game, 3, start=still, objective=objective, turns="local", steps=1, eta=0.0)
        earned[objective] = solution.history[0].value_proposed - solution.history[0].value_before
    assert earned["team"] > 1
    assert abs(earned["own"]) < 1e-3


WRONG = {
    "no population": ({"population": None}, "move_g takes mu, the mean of a feature over all agents: give population="),
    "nobody takes it": (
        {
            "move_g": lambda s, a, g: s,
            "move_l": lambda s, sg, a, g: s,
            "r_g": lambda s, a: s[..., 0],
            "r_l": lambda s, sg, a: s[..., 0],
        },
        "none of move_g, move_l, r_g, r_l has an argument mu",
    ),
    "no function": ({"population": 3}, "population must be a function of s_l, not int"),
    "of the crowd itself": ({"population": lambda s: s - s.mean(-2, keepdim=True)}, "population: an agent's answer"),
    "a lost dimension": ({"population": lambda s: s[..., 0]}, r"population returned shape \[4, 6\]; expected \[4, 6, "),
    "no number": ({"population": lambda s: s / 0}, "population returned a number that is not finite at the start"),
    "a reward that broadcasts": ({"r_g": lambda s, a, mu: mu}, r"r_g returned shape \[4, 1\]; expected \[4\]"),
    "mu that is changed": ({"r_g": lambda s, a, mu: mu.mul_(2)[..., 0]}, "r_g changes its arguments in place"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_told_in_one_line(case):
    changes, message = WRONG[case]
    with pytest.raises(am.GameError, match=message) as told:
        crowded(5, **changes)
    assert "\n" not in str(told.value)
