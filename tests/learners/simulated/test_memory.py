"""What a dispatcher remembers: the means that the page promises, a file, a game that only a memory solves."""

import math

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.learners.simulated import experience
from altmarl_torch.learners.simulated.features import Features, Frame
from altmarl_torch.learners.simulated.memory import RATES, RunningMeans


def test_memories_are_running_means_and_the_slowest_is_the_mean_of_all():
    frame = Frame(am.Box(-2, 2), torch.zeros(2, 1))
    belief, samples = RunningMeans(frame, 2), torch.rand(6, 3, 4, 1)
    memory = belief.first(3, torch.device("cpu"))
    assert memory.shape == (3, belief.width)
    seen = [Features(frame, 2)(sample).mean(1) for sample in samples]
    means = [torch.zeros_like(seen[0]) for _ in RATES]
    for t, (sample, now) in enumerate(zip(samples, seen, strict=True)):
        memory = belief.seen(memory, sample)
        means = [mean + max(rate, 1 / (t + 1)) * (now - mean) for mean, rate in zip(means, RATES, strict=True)]
    assert torch.allclose(memory, torch.cat([*means, torch.full((3, 1), 1 / 7)], -1), atol=1e-6)
    assert torch.allclose(memory[:, : means[0].shape[1]], torch.stack(seen).mean(0), atol=1e-6)


def secret(n=40):
    """Agents stand where they were put, 7 of 10 at one end; a dispatcher that sees one of them says which end it is."""

    def start(episodes, n, generator):
        side = 2 * torch.randint(2, (episodes, 1), generator=generator) - 1
        most = torch.arange(n) < 0.7 * n
        return torch.zeros(episodes, 1), torch.where(most, side, -side).unsqueeze(-1).float()

    return am.SimulatedGame(
        start=start,
        move_g=lambda s, a, g: (a.unsqueeze(-1) * 2 - 1).float(),
        move_l=lambda s, sg, a, g: s,
        r_g=lambda s, a: 0.0 * s.squeeze(-1),
        r_l=lambda s, sg, a: (s * sg).squeeze(-1),
        global_state=am.Box(-1, 1),
        local_state=am.Box(-1, 1),
        global_action=am.Discrete(2),
        local_action=am.Discrete(2),
        gamma=0.8,
        n=n,
        name="secret",
    )


def majority(looks):
    """Chance that most of so many looks, half of the ties, show the end where 7 of 10 are."""
    law = [math.comb(looks, right) * 0.7**right * 0.3 ** (looks - right) for right in range(looks + 1)]
    return sum(p * (0.5 * (2 * right == looks) + (2 * right > looks)) for right, p in enumerate(law))


def test_who_remembers_earns_what_one_look_cannot_and_keeps_it_in_a_file(monkeypatch, tmp_path):
    for module, name, value in ((players, "GLOBAL_STEPS", (300, 300)), (players, "EPISODES", 256)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(experience, "EPISODES", 64)
    game = secret()
    earned = {}
    for observation in ("population", "filter"):
        solution = am.solve(game, 1, observation=observation, turns="global", steps=1)
        earned[observation] = am.rollout(game, solution, episodes=1500, horizon=30)
    once = 0.4 * sum(0.8**t * (2 * 0.7 - 1) for t in range(1, 30))
    vote = 0.4 * sum(0.8**t * (2 * majority(t) - 1) for t in range(1, 30))  # of all looks: the best there is
    assert abs(earned["population"].mean - once) < 4 * earned["population"].sem
    assert vote - once > 0.25
    assert abs(earned["filter"].mean - vote) < 0.03 + 4 * earned["filter"].sem
    solution.save(tmp_path / "policy.npz")
    read = am.SimulatedSolution.load(tmp_path / "policy.npz", game)
    assert torch.equal(am.rollout(game, read, episodes=1500, horizon=30).returns, earned["filter"].returns)
    dispatcher = read.dispatcher()
    dispatcher.act(torch.zeros(3, 1), torch.ones(3, 1, 1))
    with pytest.raises(am.PolicyError, match=r"remembers 3 systems; call reset\(4\)"):
        dispatcher.act(torch.zeros(4, 1), torch.ones(4, 1, 1))


def test_a_network_of_ones_own_has_no_memory():
    with pytest.raises(am.ArgumentError, match="has no memory"):
        am.solve(secret(), 1, observation="filter", network=torch.nn.Linear(1, 2))
