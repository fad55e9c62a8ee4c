"""Several starts, and selection by n agents."""

import dataclasses
import json

import pytest
import torch

import altmarl_torch as am
from altmarl_torch.alternation import selection
from altmarl_torch.alternation.options import Learning, Options, Problem
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import learn
from altmarl_torch.alternation.selection import fewer, forget
from altmarl_torch.alternation.starts import start_policies
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games import hash_game, random_game, steer, warehouse
from altmarl_torch.policies.rules import heuristic_pair
from altmarl_torch.policies.yardsticks import yardsticks
from altmarl_torch.runs.cli.main import main

COLUMNS = {"name", "value", "return_mean", "return_sem"}


def small():
    return warehouse(num_zones=3, n=12)


def learn_with(run, alpha):
    """G-LEARN under a prior."""
    return learn(dataclasses.replace(run, prior=Prior(alpha, run.game.n)))


def best_rule(game, k, seed=1):
    """The rule that earns most on the episodes of a selection, if not to hold."""
    rules = yardsticks(game, k)
    run = AlternationRun.of(game, Options(Problem(k), Learning(seed=seed - 1)))
    earned = {name: am.rollout(game, pair, **run.common_episodes).mean for name, pair in rules.items()}
    best = max(earned, key=earned.get)
    hold = "hold + walk" if game.has_places else "hold + greedy"
    return {best} if earned[best] > earned[hold] else set()


@pytest.fixture(scope="module")
def filtered():
    return am.solve(small(), 2, observation="filter", select="rollout", seed=4)


def test_starts_are_named_and_random_ones_follow_the_seed():
    game = steer()
    found = dict(start_policies(game, 6, 0))
    assert list(found) == ["uniform", "walk", "greedy", "random 1", "random 2", "random 3"]
    assert torch.equal(found["uniform"], torch.full_like(found["walk"], 0.5))
    assert all(torch.equal(law.sum(-1), torch.ones(2, 2, dtype=torch.float64)) for law in found.values())
    again, other = (dict(start_policies(game, 30, seed)) for seed in (0, 1))
    assert torch.equal(found["random 3"], again["random 3"])
    assert any(not torch.equal(again[f"random {i}"], other[f"random {i}"]) for i in range(1, 28))


def test_of_several_starts_the_best_joint_value_wins_and_all_are_recorded():
    game = random_game(num_sg=3, num_sl=3, num_ag=2, num_al=2, gamma=0.9, seed=3)
    updates = []
    solution = am.solve(game, 3, starts=6, callback=updates.append)
    selection = solution.selection
    assert selection.by == "value"
    assert selection.margin is None
    assert selection.choices[0].name.startswith("from ")
    assert len(selection.choices) == 6
    values = [choice.value for choice in selection.choices]
    assert values == sorted(values, reverse=True)
    assert solution.value == values[0] >= am.solve(game, 3).value - 1e-9
    assert tuple(updates) == solution.history  # the winner's alone


def test_a_single_start_is_the_plain_alternation():
    solution = am.solve(hash_game(), 2, starts=1)
    assert solution.selection is None
    assert torch.equal(solution.pi_l, am.solve(hash_game(), 2).pi_l)


def test_selection_never_does_worse_than_not_looking_and_says_by_how_much_it_wins():
    game = small()
    solution = am.solve(game, 1, observation="posterior", select="rollout", starts=2)
    choices, margin = solution.selection.choices, solution.selection.margin
    names = [choice.name for choice in choices]
    assert set(names) == {"surrogate, from uniform", "surrogate, from walk", "posterior", "hold + walk"} | best_rule(
        game, 1
    )
    returns = [choice.return_mean for choice in choices]
    assert returns == sorted(returns, reverse=True)
    assert margin.low <= margin.mean <= margin.high
    held = am.rollout(game, heuristic_pair(game, 1, "hold", "walk"), episodes=2000, seed=9)
    assert am.rollout(game, solution, episodes=2000, seed=9).mean > held.mean - 2 * held.sem


def test_the_observation_that_is_asked_for_is_the_largest_class_that_is_tried(filtered):
    solutions = {"surrogate": am.solve(small(), 2, select="rollout", seed=4), "filter": filtered}
    found = {name: {choice.name for choice in solution.selection.choices} for name, solution in solutions.items()}
    rules = {"hold + walk"} | best_rule(small(), 2, seed=5)
    assert found["surrogate"] == {"surrogate, from uniform", "surrogate of 1"} | rules
    assert (
        found["filter"]
        == {"surrogate, from uniform", "posterior", "posterior of 1", "filter", "values of beliefs"} | rules
    )


@pytest.mark.parametrize("observation", ["surrogate", "posterior"])
@pytest.mark.parametrize(("j", "k", "n"), [(1, 2, 5), (2, 5, 6), (3, 4, 4)])
def test_a_pair_that_forgets_is_worth_what_it_is_worth_with_fewer(observation, j, k, n):
    """Exactly, for few agents: j of k of n is j of n."""
    game = hash_game(2, 3, 3, 2).replace(n=n)
    pair = am.solve(game, j, observation=observation)
    shown = forget(pair, k)
    assert shown.k == k
    assert am.population_value(game, shown, n).mean == pytest.approx(am.population_value(game, pair, n).mean, abs=1e-6)


def test_what_has_no_table_cannot_forget_and_fewer_names_the_next():
    assert forget(am.solve(steer(), 1, observation="filter"), 2) is None
    assert [fewer(k) for k in (1, 2, 3, 8, 9, 20)] == [[], [1], [1, 2], [1, 7], [1, 4], [1, 10]]


def test_a_rule_that_earns_more_than_holding_is_a_candidate():
    game = am.games.smart_grid(n=100)
    solution = am.solve(game, 2, select="rollout", steps=1)
    names = {choice.name for choice in solution.selection.choices}
    assert "hold + greedy" in names
    assert best_rule(game, 2) <= names
    best = max(am.rollout(game, pair, episodes=1000, seed=7).mean for pair in yardsticks(game, 2).values())
    assert am.rollout(game, solution, episodes=1000, seed=7).mean > best - 0.5


def test_a_strong_prior_of_its_own_makes_a_change_of_state_look_free():
    """Why one prior of all states is tried: agents follow s_g, and to hold it is right, in this symmetric game."""
    game, k = warehouse(num_zones=3, n=300), 1
    run = dataclasses.replace(AlternationRun.of(game, Options(Problem(k), Learning())), only_global=True, steps=1)
    run = run.starting_at(heuristic_pair(game, k, "hold", "walk").pi_l)
    crowd = 20 * (0.2 + 0.4 * torch.eye(3, dtype=torch.float64))  # where the agents usually are, under each s_g
    crowd[1, 1] += 20  # a fit that found a larger crowd in one state
    left, held = (learn_with(run, prior).pi_g.argmax(-1) for prior in (crowd, torch.full_like(crowd, 20 / 3)))
    assert (left == 1).all()  # everybody is sent there, as if the crowd were waiting
    assert (held == torch.arange(3).unsqueeze(-1)).all()


def test_a_pair_that_holds_is_a_solution_like_any_other(tmp_path):
    """Where the reward is for standing still and agents cannot move, nothing beats holding."""
    same = torch.eye(3, dtype=torch.float64)
    game = am.Game(
        P_g=same.expand(3, 3, 3), P_l=same[:, None, None].expand(3, 3, 2, 3), r_g=10 * same,
        r_l=torch.zeros(3, 3, 2), gamma=0.9, n=50,
    )  # fmt: skip
    solution = am.solve(game, 2, select="rollout")
    hold = next(choice for choice in solution.selection.choices if choice.name == "hold + greedy")
    assert hold.value == pytest.approx(100)
    solution.save(tmp_path / "policy.npz")
    again = am.Solution.load(tmp_path / "policy.npz")
    assert torch.equal(again.pi_g, solution.pi_g)
    assert again.selection is None


def test_equal_seeds_select_equally(filtered):
    again = am.solve(small(), 2, observation="filter", select="rollout", seed=4)
    assert again.selection == filtered.selection
    assert torch.equal(again.pi_g, filtered.pi_g)


@pytest.mark.parametrize(
    ("arguments", "message"), [({"starts": 0}, "starts"), ({"starts": 2.0}, "starts"), ({"select": "x"}, "select")]
)
def test_what_is_out_of_range_is_refused(arguments, message):
    with pytest.raises(am.ArgumentError, match=message):
        am.solve(steer(), 2, **arguments)


def test_a_run_prints_and_keeps_its_selection(tmp_path, capsys):
    words = ["train", "--game", "steer", "--k", "2", "--solver", "tabular", "--starts", "3", "--select", "rollout"]
    assert main([*words, "--episodes", "20", "--horizon", "10", "--quiet", "--runs-dir", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    kept = json.loads((folder / "selection.json").read_text())
    assert (kept["by"], len(kept["choices"])) == ("rollout", 6)
    assert all(set(choice) == COLUMNS for choice in kept["choices"])
    printed = capsys.readouterr().out
    assert "selected by return of n agents" in printed
    assert ("margin over the next best, on fresh episodes" in printed) == (kept["margin"] is not None)


@pytest.mark.parametrize("words", [["--starts", "0"], ["--select", "x"]])
def test_wrong_options_end_with_2(words, tmp_path, capsys):
    assert main(["train", "--game", "steer", "--k", "2", *words, "--runs-dir", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("after", [1, 3])
def test_ctrl_c_keeps_the_first_pair(after, monkeypatch):
    """While the candidates are played, or while a later one is learned."""
    calls = []

    def play(run, solution):
        calls.append(solution)
        raise KeyboardInterrupt

    def learn(run, many):
        raise KeyboardInterrupt

    if after == 1:
        monkeypatch.setattr(selection, "learn_posterior", learn)
    else:
        monkeypatch.setattr(selection.AlternationRun, "play", play)
    solution = am.solve(small(), 2, observation="posterior", select="rollout")
    assert solution.interrupted
    assert torch.equal(solution.pi_l, am.solve(small(), 2).pi_l)
