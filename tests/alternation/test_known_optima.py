"""Games with known optima: published numbers and closed forms, against a brute force that knows no counts.

The brute force moves k agents one by one (states are tuples, not counts), so that it shares no code and no idea with
the library's own operators.
"""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from altmarl_torch import games
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game

Array = NDArray[np.float64]

# ------------------------------------------------------------------------------------ the brute force over tuples


def tuples(game: Game, k: int) -> list[tuple[int, ...]]:
    """All states (s_g, s_1, ..., s_k)."""
    return list(itertools.product(range(game.num_sg), *[range(game.num_sl)] * k))


def step(game: Game, state: tuple[int, ...], a_g: int, a_l: tuple[int, ...]) -> tuple[Array, float]:
    """The law of the next tuple (Eq. 2, 3) and the stage reward (Eq. 1) of k agents."""
    s_g, *locals_ = state
    law = game.P_g[s_g, a_g].numpy()
    for z, a in zip(locals_, a_l, strict=True):
        law = np.multiply.outer(law, game.P_l[z, s_g, a].numpy())
    shares = [float(game.r_l[z, s_g, a]) for z, a in zip(locals_, a_l, strict=True)]
    return law.ravel(), float(game.r_g[s_g, a_g]) + sum(shares) / len(shares)


def mode(game: Game, state: tuple[int, ...]) -> int:
    """The most frequent local state of the tuple, ties to the smallest, as a global action."""
    return int(np.bincount(state[1:]).argmax()) % game.num_ag


def best_against_mode(game: Game, k: int) -> tuple[float, list[list[int]]]:
    """The best mean joint value over all deterministic pi_l [sl, sg], against the mode follower."""
    states, best = tuples(game, k), (-math.inf, [[0]])
    moves = {
        (x, a): step(game, x, mode(game, x), a) for x in states for a in itertools.product(range(game.num_al), repeat=k)
    }
    for actions in itertools.product(range(game.num_al), repeat=game.num_sl * game.num_sg):
        pi_l = np.reshape(actions, (game.num_sl, game.num_sg))
        rows = [moves[x, tuple(int(pi_l[z, x[0]]) for z in x[1:])] for x in states]
        P, r = np.stack([row for row, _ in rows]), np.array([reward for _, reward in rows])
        value = float(np.linalg.solve(np.eye(len(states)) - game.gamma * P, r).mean())
        best = max(best, (value, pi_l.tolist()), key=lambda pair: pair[0])
    return best


@pytest.mark.parametrize(
    ("build", "k", "value", "pi_l"),
    [
        (games.steer, 1, 7.011822, [[1, 1], [0, 0]]),
        (games.steer, 2, 6.408505, [[1, 1], [0, 0]]),
        (games.steer, 3, 7.264898, [[1, 1], [0, 0]]),
        (games.hash_game, 2, 5.540170, [[1, 0], [1, 1]]),
        (games.ware, 2, 3.341796, [[0, 0, 0], [1, 0, 1], [1, 1, 0]]),
    ],
)
def test_published_optima(build: Callable[[], Game], k: int, value: float, pi_l: list[list[int]]) -> None:
    found, policy = best_against_mode(build(), k)
    assert found == pytest.approx(value, abs=1e-6)
    assert policy == pi_l


def test_steer_under_uniform_local_actions() -> None:
    """The published split 4.281469 = 1.739130 + 2.542339 at k = 2."""
    game = games.steer()
    states, uniform = tuples(game, 2), list(itertools.product(range(2), repeat=2))
    own = game.replace(r_g=torch.zeros(2, 2))
    values = []
    for part in (game, own):
        rows = [[step(part, x, mode(part, x), a) for a in uniform] for x in states]
        P = np.stack([np.mean([law for law, _ in row], axis=0) for row in rows])
        r = np.array([np.mean([reward for _, reward in row]) for row in rows])
        values.append(float(np.linalg.solve(np.eye(len(states)) - 0.8 * P, r).mean()))
    assert values == pytest.approx([4.281469, 2.542339], abs=1e-6)


def best_joint_value(game: Game, k: int, local_actions: list[tuple[int, ...]]) -> Array:
    """The optimal value of a planner who sees all and picks a_g and one of `local_actions`, by value iteration."""
    states = tuples(game, k)
    choices = list(itertools.product(range(game.num_ag), local_actions))
    steps = [[step(game, x, a_g, a_l) for a_g, a_l in choices] for x in states]
    P = np.array([[law for law, _ in row] for row in steps])
    r = np.array([[reward for _, reward in row] for row in steps])
    value = np.zeros(len(states))
    for _ in range(round(math.log(1e-13) / math.log(game.gamma))):
        value = (r + game.gamma * P @ value).max(1)
    return value


def test_warehouse_reaches_its_published_surrogate_value() -> None:
    """The prototype's exact value 193.036 +- 0.003 at k = 2, against the pair that its team step ends in."""
    rows = [[0, 2, 1, 1, 1], [1, 0, 2, 1, 1], [1, 1, 0, 2, 1], [1, 1, 1, 0, 2], [2, 1, 1, 1, 0]]  # [sg][sl]
    game = games.warehouse()
    induced = game.induced(torch.nn.functional.one_hot(torch.tensor(rows).T, 3))
    frozen = game.replace(P_l=induced.P_l_pi[:, :, None], r_l=induced.r_l_pi[:, :, None])
    values = dict(zip(tuples(game, 2), best_joint_value(frozen, 2, [(0, 0)]), strict=True))
    unordered = [value for (_, first, second), value in values.items() if first <= second]
    assert np.mean(unordered) == pytest.approx(193.036, abs=0.003)


# ------------------------------------------------------------------------------------------------------- beacon

BEACONS = [(2, 1, 0.5, 0.8), (2, 3, 0.375, 0.8), (3, 1, 1.0, 0.9), (3, 2, 0.5, 0.8)]  # zones, k, arrival, gamma


def counts_of(states: list[tuple[int, ...]], num_sl: int) -> torch.Tensor:
    return torch.tensor([np.bincount(x[1:], minlength=num_sl).tolist() for x in states])


@pytest.mark.parametrize(("zones", "k", "arrival", "gamma"), BEACONS)
def test_beacon_optimum_is_the_closed_form(zones: int, k: int, arrival: float, gamma: float) -> None:
    """No planner, not even one who sees every agent and commands each of them apart, does better."""
    game = games.beacon(zones, arrival, gamma)
    states = tuples(game, k)
    formula = games.beacon_value(counts_of(states, zones), arrival, gamma)
    expected = [float(formula[x[0], i]) for i, x in enumerate(states)]
    found = best_joint_value(game, k, list(itertools.product(range(2), repeat=k)))
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert np.mean(expected) == pytest.approx(2 / (1 - gamma) - (1 - 1 / zones) / (1 - gamma * (1 - arrival)))


@pytest.mark.parametrize(("zones", "k", "arrival", "gamma"), BEACONS)
def test_beacon_pair_attains_it(zones: int, k: int, arrival: float, gamma: float) -> None:
    """Stay and walk, and one tagged agent's own value under the pair."""
    game = games.beacon(zones, arrival, gamma)
    states = tuples(game, k)
    P = np.stack([step(game, x, x[0], (1,) * k)[0] for x in states])
    joint = np.array([step(game, x, x[0], (1,) * k)[1] for x in states])
    own = np.array([float(x[1] == x[0]) for x in states])
    values = np.linalg.solve(np.eye(len(states)) - gamma * P, np.stack([joint, own], -1))
    formula = games.beacon_value(counts_of(states, zones), arrival, gamma)
    np.testing.assert_allclose(values[:, 0], [float(formula[x[0], i]) for i, x in enumerate(states)], atol=1e-12)
    np.testing.assert_allclose(values[:, 1], 1 / (1 - gamma) - (1 - own) / (1 - gamma * (1 - arrival)), atol=1e-12)


@pytest.mark.parametrize(("zones", "k", "arrival", "gamma"), BEACONS)
def test_beacon_best_response_to_waiting(zones: int, k: int, arrival: float, gamma: float) -> None:
    game = games.beacon(zones, arrival, gamma)
    states = tuples(game, k)
    formula = games.beacon_value_against_waiting(counts_of(states, zones), gamma)
    found = best_joint_value(game, k, [(0,) * k])
    np.testing.assert_allclose(found, [float(formula[x[0], i]) for i, x in enumerate(states)], atol=1e-10)


def test_beacon_refuses_what_its_proof_does_not_cover() -> None:
    with pytest.raises(ArgumentError, match=r"gamma \(1 - arrival\) must not exceed 1/2, not 0\.95 \* \(1 - 0\.4\)"):
        games.beacon(arrival=0.4, gamma=0.95)
    for arrival in (0.0, 1.5, math.nan):
        with pytest.raises(ArgumentError, match=r"arrival must be a number in \(0, 1\]"):
            games.beacon(arrival=arrival)
