"""From a simulator to a pair: known optima, resuming, files, errors."""

import math

import pytest
import torch
from torch import nn

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players


@pytest.fixture
def quick(monkeypatch):
    """Turns of a few dozen gradient steps, where only the machinery is in question."""
    monkeypatch.setattr(players, "GLOBAL_STEPS", (30, 30))
    monkeypatch.setattr(players, "LOCAL_STEPS", 40)
    monkeypatch.setattr(players, "EPISODES", 32)


def small():
    return am.games.continuous_warehouse(n=40)


def weights(solution):
    """Of all networks that were adopted."""
    sides = [side for side in (solution.pi_g, solution.pi_l) if hasattr(side, "network")]
    return torch.cat([p.flatten() for side in sides for p in side.network.parameters()])


@pytest.mark.parametrize("observation", ["population", "surrogate"])
def test_a_toy_of_known_value_is_solved(monkeypatch, observation):
    monkeypatch.setattr(players, "GLOBAL_STEPS", (400, 400))
    monkeypatch.setattr(players, "LOCAL_STEPS", 600)
    game = am.games.steer(n=20)
    solution = am.solve(am.SimulatedGame.from_tables(game), 20, observation=observation, steps=3)
    exact = am.rollout(game, am.solve(game, 20), episodes=2000)
    found = am.rollout(am.SimulatedGame.from_tables(game), solution, episodes=1000)
    assert found.mean > 0.98 * exact.mean - 4 * found.sem


def test_one_round_beats_standing_still_and_the_dispatcher_takes_batches(quick):
    game = small()
    solution = am.solve(game, 3, steps=1)
    assert [update.player for update in solution.history] == ["global", "local"]
    assert all(update.standard_error > 0 for update in solution.history)
    dispatcher = solution.dispatcher()
    dispatcher.reset(5)
    a_g = dispatcher.act(torch.rand(5, 1), torch.rand(5, 3, 1))
    assert (a_g.shape, a_g.dtype) == ((5,), torch.int64)
    assert solution.local_actions(torch.rand(5, 7, 1), torch.rand(5, 1, 1)).shape == (5, 7)


@pytest.mark.parametrize("observation", ["population", "filter"])
def test_states_of_any_type_are_answered_alike(quick, observation):
    solution = am.solve(small(), 3, steps=1, observation=observation)
    luck = torch.Generator().manual_seed(0)
    s_g, sample = (torch.rand(shape, generator=luck, dtype=torch.float32) for shape in ((5, 1), (5, 3, 1)))
    chosen = []
    for of_type in (torch.float32, torch.float64):
        dispatcher = solution.dispatcher()
        dispatcher.reset(5)
        a_g = dispatcher.act(s_g.to(of_type), sample.to(of_type))
        chosen.append((a_g, solution.local_actions(sample.to(of_type), s_g.unsqueeze(1).to(of_type))))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*chosen, strict=True))


def truck(unit):
    """Docs' truck and its workers, states counted in units of `unit`."""

    def move_l(s_l, s_g, a_l, generator):
        step = 0.0625 * unit * a_l.unsqueeze(-1) * (s_g - s_l).sign()
        return (s_l + step).clamp(0, unit)

    return am.SimulatedGame(
        start=lambda episodes, n, generator: (
            torch.zeros(episodes, 1), unit * torch.rand(episodes, n, 1, generator=generator)
        ),
        move_g=lambda s_g, a_g, generator: (s_g + 0.125 * unit * (a_g.unsqueeze(-1) - 1)).clamp(0, unit),
        move_l=move_l,
        r_g=lambda s_g, a_g: -0.1 * (a_g != 1).float(),
        r_l=lambda s_l, s_g, a_l: -(s_l - s_g).abs().squeeze(-1) / unit - 0.01 * a_l,
        global_state=am.Box(0, unit), local_state=am.Box(0, math.inf), global_action=am.Discrete(3),
        local_action=am.Discrete(2), gamma=0.875, n=40, name="truck",
    )  # fmt: skip


@pytest.mark.parametrize("unit", [2.0**-20, 2.0**20])
def test_the_unit_of_states_makes_no_difference(quick, unit):
    """Powers of two, in which float32 computes alike: the same weights to the bit."""
    ours, theirs = (am.solve(truck(one), 3, steps=1) for one in (unit, 1.0))
    assert torch.equal(weights(ours), weights(theirs))
    assert [update.value_proposed for update in ours.history] == [update.value_proposed for update in theirs.history]


def test_a_broken_run_goes_on_to_the_same_bits(quick, tmp_path):
    game, whole = small(), []
    unbroken = am.solve(game, 3, steps=2, seed=4, callback=whole.append)

    def run(end_at):
        told = []

        def stop(update):
            told.append(update)
            if len(told) == end_at:
                raise KeyboardInterrupt

        found = am.solve(game, 3, steps=2, seed=4, checkpoints=tmp_path, callback=stop)
        return found, told

    for end_at in (1, 2, 3):
        found, _ = run(end_at)
        assert found.interrupted
    found, told = run(0)
    assert not found.interrupted
    assert torch.equal(weights(found), weights(unbroken))
    assert found.value == unbroken.value
    assert [update.value_proposed for update in told] == [update.value_proposed for update in whole]


def test_a_turn_that_is_killed_is_taken_again(quick, tmp_path):
    game, calls = small(), []

    def kill(phase, steps, error):
        calls.append(phase)
        if phase == "l_learn":
            raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        am.solve(game, 3, steps=1, seed=4, checkpoints=tmp_path, progress=kill)
    found, unbroken = am.solve(game, 3, steps=1, seed=4, checkpoints=tmp_path), am.solve(game, 3, steps=1, seed=4)
    assert torch.equal(weights(found), weights(unbroken))


def test_a_solution_is_written_and_read(quick, tmp_path):
    game = small()
    solution = am.solve(game, 3, steps=1)
    solution.save(tmp_path / "policy.npz")
    again = am.SimulatedSolution.load(tmp_path / "policy.npz", game)
    ours, theirs = (am.rollout(game, one, episodes=9, horizon=20).returns for one in (solution, again))
    assert torch.equal(ours, theirs)
    assert again.history[0].value_proposed == solution.history[0].value_proposed
    with pytest.raises(am.FileFormatError, match="learned for 'continuous_warehouse'"):
        am.SimulatedSolution.load(tmp_path / "policy.npz", game.replace(name="another"))
    (tmp_path / "torn.npz").write_bytes((tmp_path / "policy.npz").read_bytes()[:2000])
    with pytest.raises(am.FileFormatError, match=r"torn\.npz"):
        am.SimulatedSolution.load(tmp_path / "torn.npz", game)


class Mean(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 5)

    def forward(self, s_g, sample):
        return self.layer(torch.cat([s_g, sample.mean(1)], -1))


def test_a_network_of_ones_own(quick, tmp_path):
    game, network = small(), Mean()
    before = network.layer.weight.clone()
    solution = am.solve(game, 3, steps=1, network=network)
    assert torch.equal(network.layer.weight, before)
    solution.save(tmp_path / "policy.npz")
    with pytest.raises(am.FileFormatError, match="its network is a Mean"):
        am.SimulatedSolution.load(tmp_path / "policy.npz", game)
    again = am.SimulatedSolution.load(tmp_path / "policy.npz", game, Mean())
    assert torch.equal(weights(again), weights(solution))


def test_errors_are_told_in_words(quick):
    game = small()
    for options, message in (
        ({"alpha": 3}, "alpha is no option for a SimulatedGame"),
        ({"observation": "posterior"}, "observation must be one of 'population', 'surrogate'"),
        ({"population": 2}, "population must be an integer in 3..40"),
        ({"population": 30, "observation": "surrogate"}, "the surrogate's is k"),
        ({"network": nn.Linear(1, 5)}, "network raised TypeError"),
        ({"eta": -1}, "eta must be a number"),
    ):
        with pytest.raises(am.ArgumentError, match=message):
            am.solve(game, 3, **options)
    assert isinstance(am.solve(game=am.games.steer(n=5), k=2), am.Solution)
