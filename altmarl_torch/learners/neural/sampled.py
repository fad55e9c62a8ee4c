r"""G-LEARN on n agents of whom k are seen: the sample is evidence, and a regression finds how much to believe it.

With H the counts of the whole population and h those of a fresh k-subset of it, continuation values of a dispatcher
without memory are fitted to

    C(s_g, h, a) = E[ V(s_g', h') | s_g, h, a ],        V(s_g, h) = max_a ( r_g + sum_z (h_z / k) r_l_pi + gamma C ),

where H' is H after its move and h' a fresh sample of H'. A pair (s_g, H) is met in play; every gradient step draws its
sample anew, so that least squares averages over the populations that such a sample comes from, as often as they are
met: no prior is needed. (`counts.prior` has one, Dirichlet, and updates it exactly.) The local reward may be that of
the sample, since its mean over samples is the population's, and it does not depend on a. With k = n this is G-LEARN on
the surrogate.

The *value* of a pair of policies is a function of (s_g, H), and there pi_g is seen to act on samples
(`training.Training`, `rollout_evaluator`).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from einops import rearrange
from torch import Tensor, nn

from altmarl_torch.learners.neural.policies import BatchPolicy
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.neural.training import Training
from altmarl_torch.support.sampling import draw_sample

__all__ = ["SeenThroughSamples", "ShownValues", "in_rows"]


class SeenThroughSamples(Training):
    """The network on its way, where it reads what is shown of each population.

    The residual on held-out pairs keeps what a sample cannot tell of its population: it falls, but not to zero.
    """

    @cached_property
    def read(self) -> BatchSurrogate:
        """That of the agents who are shown."""
        return self.surrogate.sample()

    def _known(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """What the network reads: a fresh sample."""
        return self.surrogate.show(counts, generator)


@dataclass(frozen=True, eq=False)
class ShownValues:
    """V of a pair whose pi_g sees a sample, where one agent lands: of `l_learn.local_gains`.

    Attributes:
        surrogate: of all agents.
        network, baseline: the pair's continuation values.
        policy: pi_g, of as many agents as are shown.
        generator: of the samples.
    """

    surrogate: BatchSurrogate
    network: nn.Module
    baseline: Tensor
    policy: BatchPolicy
    generator: torch.Generator

    def landed(self, others: Tensor, units: Tensor) -> Tensor:
        """E V(s_g, others + e_y) over samples, of companions `[b, sl]` and landing places `[b, y, sl]`: `[b, y, sg]`.

        All places meet the same samples of the companions.
        """
        shown, k = self.surrogate.shown, self.surrogate.k
        assert shown is not None  # or `network_values` would do
        without = draw_sample(others, shown, k - 1, self.generator)
        within = draw_sample(without, shown - 1, shown, self.generator)
        places = units.shape[1]
        landed = in_rows(others.unsqueeze(1) + units)
        Q = self.surrogate.network_action_values(self.network, self.baseline, landed)
        seen = self.policy.average(in_rows(within.unsqueeze(1) + units), Q)
        unseen = self.policy.average(without.repeat_interleave(places, 0), Q)
        return rearrange(torch.lerp(unseen, seen, shown / k), "(b y) G -> b y G", y=places)


def in_rows(counts: Tensor) -> Tensor:
    """Counts `[b, y, sl]` as `[b y, sl]`."""
    return rearrange(counts, "b y l -> (b y) l")
