r"""What a dispatcher remembers of the samples it has seen: running means of features, fast and slow.

With z_t the mean over the k sampled agents of phi(s_i) (`learners.simulated.features`), the memory holds, for each rate
rho of RATES,

    m_t = m_{t-1} + max(rho, 1 / (t+1)) (z_t - m_{t-1}),

and 1 / (t+2). At rho = 0 that is the mean of all samples since the start, which is all there is to know of agents that
stay; the others forget, for agents that move. It is updated by the sample alone, so that (s_g, memory, sample) is what
a policy is fitted on: which of it to believe, and how much after so many samples, the network learns.
"""

import torch
from torch import Tensor

from altmarl_torch.learners.simulated.features import Features, Frame

__all__ = ["RunningMeans"]

RATES = (0.0, 1 / 16, 1 / 4)


class RunningMeans:
    """How a memory begins and goes on.

    Args:
        local: where local states lie.
        octaves: waves of the features.

    Attributes:
        width: numbers of a memory.
    """

    def __init__(self, local: Frame, octaves: int) -> None:
        self.local, self.octaves = local, octaves
        self._phi = Features(local, octaves)
        self.width = len(RATES) * self._phi.width + 1

    def first(self, batch: int, device: torch.device) -> Tensor:
        """Nothing seen: `[batch, width]`."""
        memory = torch.zeros(batch, self.width, dtype=torch.float32, device=device)
        memory[:, -1] = 1
        return memory

    def seen(self, memory: Tensor, sample: Tensor) -> Tensor:
        """Memories `[b, width]` after one more sample `[b, k, dl]` each."""
        self._phi = self._phi.to(memory.device)
        now = self._phi(sample).mean(-2)
        share = memory[:, -1:]
        rates = torch.tensor(RATES, dtype=torch.float32, device=memory.device).clamp_min(share).unsqueeze(-1)
        means = memory[:, :-1].reshape(len(memory), len(RATES), -1)
        means = means + rates * (now.unsqueeze(1) - means)
        return torch.cat([means.flatten(1), share / (1 + share)], -1)
