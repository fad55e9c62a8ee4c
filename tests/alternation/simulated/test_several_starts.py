"""Several local policies to begin from: the best pair wins, named rules are kept in files, a broken run goes on."""

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation.simulated import players
from altmarl_torch.learners.simulated.policies import NamedLocal, local_action_rewards
from altmarl_torch.learners.simulated.starts import local_starts

GAME = am.games.continuous_warehouse(n=40)


@pytest.fixture
def quick(monkeypatch):
    """Turns of a few dozen gradient steps, which gain little over the starts."""
    for name, value in (("GLOBAL_STEPS", (30, 30)), ("LOCAL_STEPS", 20), ("EPISODES", 64)):
        monkeypatch.setattr(players, name, value)


def played(pair):
    return am.rollout(GAME, pair, episodes=9, horizon=20).returns


def test_a_game_has_the_starts_that_it_tells_enough_for():
    starts = local_starts(GAME)
    assert list(starts) == ["uniform", "walk", "greedy"]
    s_l, s_g = torch.tensor([[[-1.0], [0.5], [0.0]]]), torch.zeros(1, 3, 1)
    assert starts["walk"].actions(s_l, s_g, None).tolist() == [[1, 2, 0]]
    greedy = starts["greedy"].actions(s_l, s_g, None)
    assert torch.equal(greedy, local_action_rewards(GAME, s_l, s_g).argmax(-1))
    assert list(local_starts(am.games.linear_quadratic(n=5))) == ["uniform"]


def test_the_best_pair_wins_and_its_history_is_told(quick, tmp_path):
    told = []
    solution = am.solve(GAME, 3, starts=3, steps=1, turns="global", callback=told.append)
    single = am.solve(GAME, 3, steps=1, turns="global")
    assert solution.value > single.value + 10
    assert told == list(solution.history)
    assert isinstance(solution.pi_l, NamedLocal)
    solution.save(tmp_path / "policy.npz")
    assert torch.equal(played(am.SimulatedSolution.load(tmp_path / "policy.npz", GAME)), played(solution))


def test_a_run_that_is_broken_off_goes_on_to_the_same_bits(quick, tmp_path):
    asked = {"starts": 2, "steps": 1, "seed": 4}
    whole = am.solve(GAME, 3, **asked)
    for phase in ("g_learn", "l_learn"):
        calls = []

        def stop(now, steps, error, phase=phase, calls=calls):
            calls.append(now)
            if now == phase and calls.count(now) >= 1 + (len(calls) > 3):
                raise KeyboardInterrupt

        assert am.solve(GAME, 3, **asked, checkpoints=tmp_path, progress=stop).interrupted
    again = am.solve(GAME, 3, **asked, checkpoints=tmp_path)
    assert torch.equal(played(whole), played(again))
    assert whole.value == again.value
    with pytest.raises(am.ArgumentError, match="is of another call, with starts"):
        am.solve(GAME, 3, **(asked | {"starts": 3}), checkpoints=tmp_path)


def test_what_is_no_number_of_starts_is_told_in_words():
    rules = am.simulators.heuristic_pairs(GAME, 3)["hold + walk"]
    for options, message in (
        ({"starts": 4}, "starts = 4: continuous_warehouse has 3, uniform, walk, greedy"),
        ({"starts": 0}, "starts must be an integer"),
        ({"starts": 2, "start": rules}, "start is a pair to begin from, and starts = 2"),
    ):
        with pytest.raises(am.ArgumentError, match=message):
            am.solve(GAME, 3, **options)
