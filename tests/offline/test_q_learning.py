"""Eq. 46: against a plain loop, the exact fixed point, and Theorem E.4; and the command line."""

import json
import math

import numpy as np
import pytest
import torch
from oracles.data import one_trajectory

import altmarl_torch as am
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, LearningError, SizeError
from altmarl_torch.offline.behaviour import Behaviour, collect
from altmarl_torch.offline.fitted_q import fitted_q
from altmarl_torch.offline.learning import check_same_sizes, game_of_data, learn_from_data, logged_policy
from altmarl_torch.offline.q_learning import Harmonic, Polynomial, q_learning
from altmarl_torch.operators.bellman import action_values, max_backup
from altmarl_torch.operators.fixed_point import solve_fixed_point
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.runs.cli.main import main
from altmarl_torch.theory import error_theorem_e4


def best_response(game, k, pi_l):
    """The fixed point of T-hat_k under pi_l: Q* [sg, N, ag], to 1e-10."""
    surrogate = Surrogate.build(game, pi_l, PairPlan(CountSimplex(k, game.num_sl)))
    values = solve_fixed_point(lambda V: max_backup(surrogate, V), surrogate.start, game.gamma, 1e-10).values
    return action_values(surrogate, values)


def plain(data, step_size, passes=1):
    """Eq. 46 as the module's page says it, entry by entry: all targets of a step, then entries move to their means."""
    Q = np.zeros((data.num_sg, data.simplex.size, data.num_ag))
    rank = {tuple(h): i for i, h in enumerate(data.simplex.counts.tolist())}
    h, updated = data.counts, np.zeros(Q.shape, int)
    for t in range(passes * data.steps):
        targets = {}
        for e in range(data.trajectories):
            now = t % data.steps
            x, x_next = ((data.s_g[e, i], rank[tuple(h[e, i].tolist())]) for i in (now, now + 1))
            target = data.rewards[e, now] + data.gamma * Q[x_next].max()
            targets.setdefault((*x, data.a_g[e, now]), []).append(target)
        for entry, found in targets.items():
            left = 1.0  # of the old value, after as many updates as there are targets
            for number in range(len(found)):
                u = updated[entry] + number if getattr(step_size, "by_visits", False) else t
                alpha = step_size(np.array([float(u)]))[0] if callable(step_size) else step_size
                left *= 1 - alpha
            alpha = 1 - left if len(found) > 1 else alpha
            Q[entry] += alpha * (sum(found) / len(found) - Q[entry])
            updated[entry] += len(found)
    return Q


@pytest.mark.parametrize("step_size", [0.3, 1.0, Polynomial(0.7), Harmonic(20.0, 40.0)])
@pytest.mark.parametrize(("trajectories", "steps", "passes"), [(1, 300, 1), (1, 50, 3), (7, 60, 2), (60, 9, 1)])
def test_the_fast_loops_are_the_plain_one(step_size, trajectories, steps, passes):
    data = collect(am.games.steer(), 2, steps=steps, trajectories=trajectories, seed=8)
    found = q_learning(data, step_size=step_size, passes=passes)
    wanted = plain(data, step_size, passes)
    assert found.Q.numpy() == pytest.approx(wanted, rel=0 if trajectories == 1 else 1e-12, abs=0)
    assert found.updates == passes * steps * trajectories
    assert int(found.visits.sum()) == steps * trajectories


def test_a_curve_is_recorded_on_the_way_and_changes_nothing():
    data = collect(am.games.steer(), 2, steps=170, seed=8)
    bare = q_learning(data, passes=2)
    watched = q_learning(data, passes=2, oracle=torch.zeros(2, 3, 2))
    assert torch.equal(bare.Q, watched.Q)
    assert bare.curve == ()
    assert watched.curve[-1] == (340, float(bare.Q.abs().max()))
    assert [steps for steps, _ in watched.curve] == list(range(4, 341, 4))


def test_one_transition_by_hand():
    """Q(x, a) = alpha r from zero; the second time alpha (r + gamma max Q(x, .)) + (1 - alpha) Q."""
    data = one_trajectory([0, 0, 0], a_g=1, r_g=2.0, r_l=1.0, num_ag=2)
    assert q_learning(data, step_size=0.5).Q.flatten().tolist() == [0.0, 0.5 * 1.5 + 0.5 * (3 + 0.5 * 1.5)]


@pytest.mark.parametrize(
    ("game", "k", "within"),
    [
        (am.games.steer(), 2, 0.02),
        (am.games.hash_game(), 2, 0.05),
        (am.games.random_game(num_sg=2, num_sl=2, num_ag=3, num_al=3, seed=5, gamma=0.8), 3, 0.05),
    ],
)
def test_decaying_steps_reach_the_exact_fixed_point(game, k, within):
    """Relative to V_max; under the local policy that acted, exploration and all."""
    pair = am.heuristics.heuristic_pair(game, k, "uniform", "walk")
    data = collect(game, k, behaviour=pair, explore=0.5, steps=4000, trajectories=100, seed=1)
    Q = best_response(game, k, Behaviour.of(game, k, pair, 0.5).pi_l)
    found = q_learning(data, passes=3)
    assert float((found.Q - Q).abs().max()) <= within * game.v_max


def test_constant_steps_decay_to_a_floor_that_is_proportional_to_alpha_below_theorem_e4():
    game, k, seeds, steps = am.games.steer(), 2, 24, 6000
    Q = best_response(game, k, Behaviour.of(game, k).pi_l)
    logs = [collect(game, k, steps=steps, seed=seed) for seed in range(seeds)]
    floors = []
    for alpha in (0.4, 0.2, 0.1):
        curves = [q_learning(data, step_size=alpha, oracle=Q).curve for data in logs]
        times = [t for t, _ in curves[0]]
        error = np.array([[distance**2 for _, distance in curve] for curve in curves]).mean(0)  # E|Q_t - Q*|^2
        mixing = am.coverage_of_game(game, k, delta=alpha).chain.mixing_steps
        for t, measured in zip(times, error, strict=True):
            assert measured <= error_theorem_e4(game, k, alpha=alpha, steps=t, mixing_steps=mixing)
        floors.append(error[60:].mean())
        assert error[0] > 20 * floors[-1]
        # down by a constant factor per step until the floor: faster than the theorem's rate
        times_e4 = (1 - (1 - game.gamma) * alpha / 2) ** (times[4] - times[0])
        assert error[4] < error[0] * max(times_e4, 0.9) + 3 * floors[-1]
    assert 1.5 < floors[0] / floors[1] < 2.7
    assert 1.5 < floors[1] / floors[2] < 2.7


def test_the_pair_is_the_best_response_to_what_was_logged():
    game, k = am.games.random_game(seed=2, gamma=0.7), 2
    data = collect(game, k, steps=3000, trajectories=100, seed=1)
    solution = learn_from_data(data)
    pi_l = logged_policy(data)
    assert torch.equal(solution.pi_l, pi_l)
    assert torch.allclose(pi_l, torch.full_like(pi_l, 1 / game.num_al), atol=0.02)
    Q = best_response(game, k, pi_l)
    lost = Q.amax(-1) - (Q * solution.pi_g).sum(-1)
    assert float(lost.max()) < 0.02 * game.v_max
    start = (solution.history, solution.converged, solution.interrupted, solution.solver, solution.k)
    assert start == ((), False, False, "tabular", 2)
    assert solution.value == pytest.approx(float(Q.amax(-1).mean()), rel=0.05)
    assert am.rollout(game, solution, episodes=20, horizon=10).mean > 0


def test_what_was_never_seen_is_played_uniformly():
    data = one_trajectory([0, 0, 0], a_g=1, a_l=1, r_g=-2.0, num_sg=2, num_sl=2, num_ag=2, num_al=2)
    solution = learn_from_data(data)
    assert solution.pi_g[0, 0].tolist() == [0.0, 1.0]  # the one action that was tried, though it earned less than 0
    assert solution.pi_g[1].tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert solution.pi_l[0, 0].tolist() == [0.0, 1.0]
    assert solution.pi_l[1].tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_a_network_takes_the_actions_of_the_exact_response_in_most_visited_states(tmp_path):
    game, k = am.games.random_game(seed=2, gamma=0.7), 4
    data = collect(game, k, steps=500, trajectories=100, seed=1)
    solution = learn_from_data(data, solver="neural", passes=4, seed=3)
    Q = best_response(game, k, logged_policy(data))
    visits = torch.from_numpy(np.bincount(data.states.ravel(), minlength=Q[..., 0].numel())).double()
    right = (solution.pi_g.argmax(-1) == Q.argmax(-1)).flatten().double()
    assert float((visits * right).sum() / visits.sum()) > 0.9
    assert solution.value == pytest.approx(float(Q.amax(-1).mean()), rel=0.1)
    solution.save(tmp_path / "policy.npz")
    loaded = am.Solution.load(tmp_path / "policy.npz")
    assert torch.equal(loaded.pi_g, solution.pi_g)


def test_equal_seeds_fit_equal_networks():
    data = collect(am.games.steer(), 2, steps=500)
    one, again, other = (fitted_q(data, passes=10, seed=seed).values(torch.tensor([[1, 1]])) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_counted_game_is_the_true_one_but_for_noise():
    game = am.games.steer()
    counted = game_of_data(collect(game, 3, steps=4000, trajectories=40))
    assert torch.allclose(counted.P_l, game.P_l, atol=0.02)
    assert torch.allclose(counted.P_g, game.P_g, atol=0.02)
    assert torch.allclose(counted.r_l, game.r_l)
    assert (counted.gamma, counted.n, counted.name) == (game.gamma, game.n, "steer, counted")
    with pytest.raises(ArgumentError, match="the data have num_sg = 2, the game 5"):
        check_same_sizes(collect(game, 3, steps=2), am.games.warehouse())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step_size": 0}, r"step_size must be a number in \(0, 1\]"),
        ({"step_size": 1.5}, "step_size must be a number"),
        ({"step_size": float("nan")}, "step_size must be a number"),
        ({"step_size": "fast"}, "step_size must be a number"),
        ({"passes": 0}, "passes must be an integer"),
        ({"passes": 10**12}, "passes must be an integer"),
        ({"seed": -1}, "seed must be an integer"),
        ({"solver": "magic"}, "solver must be one of tabular, neural; not 'magic'"),
        ({"solver": "neural", "step_size": Polynomial()}, "step_size of networks must be a number"),
        ({"solver": "neural", "step_size": -1.0}, "step_size must be a number in"),
        ({"solver": "neural", "passes": 0}, "passes must be an integer"),
    ],
)
def test_malformed_arguments(arguments, message):
    data = collect(am.games.steer(), 2, steps=5)
    with pytest.raises(ArgumentError, match=message):
        learn_from_data(data, **arguments)


def test_more_that_is_refused():
    data = collect(am.games.steer(), 2, steps=5)
    with pytest.raises(ArgumentError, match="data must be a Trajectories, not dict"):
        learn_from_data(data.transitions())
    with pytest.raises(ArgumentError, match=r"oracle has shape \[1, 1, 1\]"):
        q_learning(data, oracle=torch.zeros(1, 1, 1))
    with pytest.raises(ArgumentError, match="omega must be a number"):
        Polynomial(0.0)
    with pytest.raises(ArgumentError, match="h must be a number"):
        Harmonic(1.0, math.inf)
    with pytest.raises(SizeError):
        q_learning(collect(am.games.warehouse(), 150, steps=2))
    with pytest.raises(LearningError, match="use a smaller step size"):
        fitted_q(data, learning_rate=1e30, passes=2000)


def test_the_commands_collect_and_train_from_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    collected = "collect --game steer --k 2 --steps 300 --trajectories 40 --explore 0.3 --out data.npz --behaviour"
    assert main([*collected.split(), "hold + walk"]) == 0
    said = capsys.readouterr().out
    assert "Assumption E.1, exactly, from the game" in said
    assert "as far as 12,000 transitions tell" in said
    assert main(["train", "--from-data", "data.npz", "--episodes", "20", "--horizon", "20", "--quiet"]) == 0
    assert "counted from the same data: estimates" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs").iterdir()
    summary, config = (json.loads((folder / name).read_text()) for name in ("summary.json", "config.json"))
    assert (summary["k"], summary["updates"], summary["solver"], config["k"]) == (2, 0, "tabular", 2)
    assert (config["game"], summary["game"]) == ("counted", "steer, counted")
    assert config["from_data"] == str(tmp_path / "data.npz")
    assert summary["return_mean"] > 0
    assert am.Solution.load(folder / "policy.npz").k == 2
    assert main(["evaluate", str(folder), "--episodes", "5"]) == 0
    other = (
        "train --from-data data.npz --game steer --step-size 0.05 --passes 2 --episodes 20 --horizon 20 --runs-dir o"
    )
    assert main(other.split()) == 0
    assert "of which the learner knew nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train --step-size 0.1", "step_size = 0.1 goes with from_data alone"),
        ("train --passes 3", "passes = 3 goes with from_data alone"),
        ("train --from-data x.npz --gamma 0.5", "gamma = 0.5 does not go with from_data"),
        ("train --from-data x.npz --starts 2", "starts = 2 does not go with from_data"),
        ("train --from-data x.npz --l-learner ucfh", "from_data keeps the logged local policy"),
        ("train --from-data x.npz --step-size 2", r"step_size must be a number in (0, 1]"),
        ("train --from-data x.npz --solver neural --step-size 0.1", "step_size is of tables"),
        ("train --from-data missing.npz", "missing.npz"),
        ("collect --game steer --behaviour nobody --k 2 --out o.npz", "behaviour must be uniform, one of"),
        ("collect --game steer --out o.csv", "out must end in .npz"),
        ("collect --game steer --k 2 --explore 2 --out o.npz", "explore must be a number"),
    ],
)
def test_commands_refuse_in_one_line(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) in (1, 2)
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert message in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
