"""Games at the edge of what a game can be, which every solver has to get through."""

import torch

from altmarl_torch.games import random_game

DEGENERATE = {
    "one-of-each": random_game(num_sg=1, num_sl=1, num_ag=1, num_al=1, seed=0),
    "one-local-state": random_game(num_sg=2, num_sl=1, num_ag=3, num_al=2, seed=1),
    "gamma-0": random_game(gamma=0.0, seed=2),
    "gamma-near-1": random_game(gamma=0.999999, seed=3),
    "no-rewards": random_game(seed=4).replace(r_g=torch.zeros(3, 3), r_l=torch.zeros(3, 3, 2)),
    "one-agent": random_game(seed=5, n=1),
}
