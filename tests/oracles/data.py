"""Data that are written down, instead of collected."""

import numpy as np

from altmarl_torch.offline.trajectories import Trajectories


def one_trajectory(s_g, *, s_l=0, a_g=0, a_l=0, r_g=0.0, r_l=0.0, n=3, **sizes):
    """A trajectory of one sampled agent through s_g `[T + 1]`; a single number is that of every step.

    gamma is 1/2, and `sizes`, num_sg and the like, are 1 where they are not given.
    """
    steps = len(s_g) - 1
    states, agent = (np.broadcast_to(entry, (1, steps + 1)) for entry in (s_g, s_l))
    action, acted, earned, own = (np.broadcast_to(entry, (1, steps)) for entry in (a_g, a_l, r_g, r_l))
    sizes = dict.fromkeys(("num_sg", "num_sl", "num_ag", "num_al"), 1) | sizes
    seen, did, got = (entry[..., None] for entry in (agent, acted, own))
    return Trajectories(states, seen, action, did, earned, got, gamma=0.5, n=n, **sizes)
