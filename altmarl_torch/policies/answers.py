r"""Fewer answers than k: what a policy that was learned for k agents reads when some of them are silent.

A dispatcher asks k agents and hears j <= k of them, with counts h of sum j. One with a memory needs no rule: h is as
much evidence as it is (`policies.belief`). A table or network of one k needs counts of sum k, and gets

    f_0 = the even distribution, k / |S_l| each,        f_t = h_t + (k - j_t) f_{t-1} / k,

rounded to whole counts by largest remainders: *who does not answer is taken to be as the sample was a step ago*. With
k answers f = h, and nothing is remembered: the dispatcher is the paper's. With none it acts on what it acted on before.
In either case entries of f are at least those of h.

The rule was chosen by its return on the warehouse (n = 1000, 500 episodes, standard errors 0.4 to 0.7) among four; the
others scale the answers up to k, with one or no agent in every state added first, the last sample's or an even one.

====  =======  ========  =================  =======================  ======  ==============
k     answers  scaled    1 in each state    k/|S_l| of last sample   f_t     all k answer
====  =======  ========  =================  =======================  ======  ==============
1     0.5      121.9     121.9              121.9                    121.9   110.5
5     0.7      137.3     137.2              148.6                    153.5   147.4
20    0.7      166.3     166.5              167.4                    170.0   169.4
20    0.2      140.4     147.8              162.4                    167.4   169.4
====  =======  ========  =================  =======================  ======  ==============

What is remembered is worth something by itself: a table that hears half of five agents earns more than one that hears
all, for it stops chasing its sample's noise.
"""

import logging

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import round_to_counts
from altmarl_torch.policies.base import Rule, Sight, for_one_too, player
from altmarl_torch.support.tables import as_seed

__all__ = ["Answers", "RuleDispatcher"]

logger = logging.getLogger(__name__)


class Answers:
    """Reads what a batch of systems shows, and fills missing answers (module docstring).

    Args:
        sight: what can be shown, k answers at most.
    """

    def __init__(self, sight: Sight) -> None:
        self._sight, self._told = sight, False
        self._last: Tensor | None = None

    def reset(self) -> None:
        """Begin new episodes."""
        self._last = None

    def read(self, s_g: object, counts: object) -> tuple[Tensor, Tensor]:
        """s_g `[batch]` and counts `[batch, sl]` of sum k, from counts of sum k or less; errors as in `Sight.read`."""
        states, h = self._sight.read(s_g, counts)
        missing = self._sight.k - h.sum(-1, keepdim=True)
        if not bool(missing.any()):
            self._last = h.clone()  # the caller's, who may write into it
            return states, h
        self._tell()
        self._last = h + missing * (self._before(h) / self._sight.k)
        return states, round_to_counts(self._last / self._sight.k, self._sight.k)

    def _before(self, h: Tensor) -> Tensor:
        """What was acted on a step ago; for other systems, or none, an even distribution."""
        if self._last is None or len(self._last) != len(h):
            return torch.full_like(h, self._sight.k / h.shape[1], dtype=torch.float64)
        return self._last

    def _tell(self) -> None:
        """Say once which rule it is."""
        if not self._told:
            logger.warning(
                "fewer answers than k = %d: whoever is silent is taken to be as the sample was a step ago",
                self._sight.k,
            )
        self._told = True


class RuleDispatcher:
    """Plays a `Rule` at the current counts; no table, so any k will do.

    Args:
        rule: law of a_g given (s_g, counts).
        sight: what it can be shown.
        seed: of draws from a randomised law.
        takes_fewer: whether the rule takes counts of fewer than k agents, none included; otherwise they are filled
            (`policies.answers`).

    Raises:
        ArgumentError: the seed is no integer in 0..2^63-1.
    """

    def __init__(self, rule: Rule, sight: Sight, seed: int = 0, *, takes_fewer: bool = False) -> None:
        self._play, self._answers = player(rule), Answers(sight)
        self._read = sight.read if takes_fewer else self._answers.read
        self._generator = torch.Generator(device=sight.device).manual_seed(as_seed(seed))

    def reset(self, batch: int) -> None:
        """A rule has no memory, but of the sample before one that is incomplete (`Answers`)."""
        self._answers.reset()

    @for_one_too
    def act(self, s_g: object, counts: object) -> Tensor:
        """Actions [batch] int64 for s_g [batch] and the sampled agents' counts [batch, sl], checked by `Sight`."""
        return self._play(*self._read(s_g, counts), self._generator)
