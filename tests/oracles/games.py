"""Games at the edge of what a game can be, which every solver has to get through."""

import pytest
import torch

from altmarl_torch.games import hash_game, random_game, steer, ware

DEGENERATE = {
    "one-of-each": random_game(num_sg=1, num_sl=1, num_ag=1, num_al=1, seed=0),
    "one-local-state": random_game(num_sg=2, num_sl=1, num_ag=3, num_al=2, seed=1),
    "gamma-0": random_game(gamma=0.0, seed=2),
    "gamma-near-1": random_game(gamma=0.999999, seed=3),
    "no-rewards": random_game(seed=4).replace(r_g=torch.zeros(3, 3), r_l=torch.zeros(3, 3, 2)),
    "one-agent": random_game(seed=5, n=1),
}


KNOWN = [
    (steer(), 1, 7.011822, [[1, 1], [0, 0]], 4.217949),
    (steer(), 2, 6.408505, [[1, 1], [0, 0]], 3.858974),
    (steer(), 3, 7.264898, [[1, 1], [0, 0]], 3.858974),
    (hash_game(), 2, 5.540170, [[1, 0], [1, 1]], 3.548563),
    (ware(), 2, 3.341796, [[0, 0, 0], [1, 0, 1], [1, 1, 0]], 2.656613),
]
INSTANCES = pytest.mark.parametrize(
    ("game", "k", "team", "rows", "own"), KNOWN, ids=[f"{game.name}-k{k}" for game, k, *_ in KNOWN]
)
