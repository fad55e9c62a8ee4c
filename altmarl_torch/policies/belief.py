r"""A dispatcher with memory: every sample counts, not only the last.

The paper's global agent sees k agents, acts, and forgets (the class Pi_g). This one keeps a belief over where the n
agents are, mu, their shares in the local states, and is **outside Pi_g**. It knows mu's mean m, and a strength c,

    E mu = m,        Cov mu = (diag m - m m^T) / (c + 1):

    look     m <- (c m + kappa h/k) / (c + kappa),   c <- c + kappa              the k sampled agents are counted in
    act      a_g = what an exact or learned policy for k' agents does at the counts, or frequencies, m
    predict  m <- m P_l_pi[s_g],              c <- the strength that matches what moving leaves of the uncertainty

Acting at the mean is certainty equivalence: k' is larger than k, and its policy does not chase noise. Even one agent a
step adds up, for the belief moves with the agents.

**The beginning.** n agents whose law is a draw of Dirichlet(c_0 m) have shares with

    1 / (c + 1)  =  1/n + (1 - 1/n) / (c_0 + 1),          c = c_0 (n - 1) / (n + c_0),

so n - 1 where they start independently (c_0 infinite): n coins are not known to fall evenly.

**A sample is drawn without replacement**: k of n agents are worth

    kappa = k (n - 1) / (n - k)

independent draws from mu, for the variance of h/k is (diag mu - mu mu^T) / kappa. With it, `look` is the best linear
estimate (credibility theory: Bühlmann 1967), and its c the one that matches the variance it leaves on average. For
endless n it is Bayes' rule for a Dirichlet law. For the Dirichlet-multinomial populations of the beginning m is the
posterior mean exactly, (h + (n-k) m) / n where agents are independent. A census, k = n, leaves nothing to guess: m is
what was seen.

**Strength after a step.** If mu has covariance Sigma, the shares after a step, mu P plus what n agents' independent
moves add, have mean m' = m P and covariance

    Sigma' = P^T Sigma P + 1/n sum_z m_z (diag P_z - P_z P_z^T).

The new strength is that with the same total variance,

    c' + 1 = (1 - |m'|^2) / tr Sigma'.

A kernel that brings agents together, wherever they were, raises it; the noise of n agents bounds it by about n, if they
move at all. Nothing is tuned.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.simplex import round_to_counts
from altmarl_torch.errors import ArgumentError, FileFormatError
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import Player, Sight, for_one_too
from altmarl_torch.support.npz import as_scalar
from altmarl_torch.support.tables import as_integer, as_law, as_number, as_seed, as_table

__all__ = ["Belief", "BeliefDispatcher", "at_distribution"]

WEAKEST, STRONGEST = 1e-9, 1e9
"""The range of a belief's strength."""

ENTRIES = ("belief/moves", "belief/mean", "belief/strength", "belief/n")


@dataclass(frozen=True, eq=False)
class Belief:
    """How a belief begins and moves: all that a deployed dispatcher has to know of the game.

    Attributes:
        moves: `[sg, sl, sl']`, law of an agent's next state under the local policy (Eq. 5).
        mean: `[sl]`, where it begins.
        strength: c_0, of the law that the agents start from; `STRONGEST` where they start independently.
        n: how many agents there are.
    """

    moves: Tensor
    mean: Tensor
    strength: float
    n: int

    @classmethod
    def of(cls, game: Game, pi_l: Tensor) -> "Belief":
        """The belief of a game whose agents play `pi_l [sl, sg, al]`, from its initial law."""
        moves = rearrange(game.induced(pi_l).P_l_pi, "l g L -> g l L").contiguous()
        return cls(moves, game.initial.local_mean, min(game.initial.strength, STRONGEST), game.n)

    def pack(self) -> dict[str, Any]:
        """Its entries in a file."""
        facts = {"belief/strength": self.strength, "belief/n": self.n}
        return facts | {"belief/moves": self.moves.cpu().numpy(), "belief/mean": self.mean.cpu().numpy()}

    @classmethod
    def unpack(cls, arrays: Mapping[str, Any]) -> "Belief":
        """The belief that `pack` wrote; a FileFormatError where an entry is missing or malformed."""
        missing = [name for name in ENTRIES if name not in arrays]
        if missing:
            raise FileFormatError(f"it lacks the entries {', '.join(missing)} of a belief")
        moves, mean = _read_law(ENTRIES[0], arrays, "sg sl sl'"), _read_law(ENTRIES[1], arrays, "sl")
        span = f"(0, {STRONGEST:g}]"
        found, n = (as_scalar(name, arrays[name], FileFormatError) for name in ENTRIES[2:])
        strength = as_number(ENTRIES[2], found, span, lambda x: 0 < x <= STRONGEST, FileFormatError)
        return cls(moves, mean, strength, as_integer(ENTRIES[3], n, 1, math.inf, FileFormatError))

    def begin(self, batch: int) -> tuple[Tensor, Tensor]:
        """Mean `[batch, sl]` and strength `[batch, 1]` before anybody was seen."""
        strength = self.strength * (self.n - 1) / (self.n + self.strength) if self.strength < STRONGEST else self.n - 1
        return self.mean.expand(batch, -1), self.mean.new_full((batch, 1), min(max(strength, WEAKEST), STRONGEST))

    def look(self, mean: Tensor, strength: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Count a sample in: mean `[b, sl]`, strength `[b, 1]` and counts `[b, sl]` to the new mean and strength."""
        others = max(self.n - 1, WEAKEST)  # a single agent has none, and its census is one all the same
        seen = counts.sum(-1, keepdim=True)
        unseen = self.n - seen
        prior = strength * unseen  # c and kappa, times n - k: finite for a census
        total = torch.add(prior, seen, alpha=others)
        after = torch.mul(prior, mean).add_(counts, alpha=others).div_(total)
        return after, total.div_(unseen).clamp_max_(STRONGEST)

    @cached_property
    def _laws_and_lengths(self) -> Tensor:
        """Each law of `moves` with its |P_l|^2 behind it: `[sg, sl, sl' + 1]`."""
        return torch.cat([self.moves, self.moves.square().sum(-1, keepdim=True)], -1)

    def predict(self, mean: Tensor, strength: Tensor, s_g: Tensor) -> tuple[Tensor, Tensor]:
        """Move with the agents under s_g `[b]`."""
        # the traces: sum_l m_l |P_l|^2 - |m P|^2 of P^T (diag m - m m^T) P, and 1 - sum_l m_l |P_l|^2 of the noise
        averaged = torch.bmm(mean.unsqueeze(1), self._laws_and_lengths.index_select(0, s_g)).squeeze(1)
        moved, spread = averaged[:, :-1], averaged[:, -1:]
        length = moved.square().sum(-1, keepdim=True)
        variance = (spread - length) / (strength + 1) + (1 - spread) / self.n
        return moved, ((1 - length) / variance.clamp_min(1e-300) - 1).clamp(WEAKEST, STRONGEST)


def _read_law(name: str, arrays: Mapping[str, Any], axes: str) -> Tensor:
    return as_law(name, as_table(name, arrays[name], axes, FileFormatError), axes, FileFormatError)


def at_distribution(of_counts: Player, k: int, *, rounded: bool) -> Player:
    """Plays at a distribution `[b, sl]`: at k times it, or rounded, at the counts of k agents that are nearest."""

    def play(s_g: Tensor, distribution: Tensor, generator: torch.Generator) -> Tensor:
        counts = round_to_counts(distribution, k) if rounded else distribution * k
        return of_counts(s_g, counts, generator)

    return play


class BeliefDispatcher:
    """Acts on a belief that it updates with every sample (`Dispatcher`).

    Args:
        belief: how it begins and moves.
        reader: plays the policy at its mean, a distribution `[b, sl]` in place of counts.
        sight: what is sampled.
        seed: of draws from a randomised law.
    """

    def __init__(self, belief: Belief, reader: Player, sight: Sight, seed: int = 0) -> None:
        self._belief, self._reader, self._sight = belief, reader, sight
        self._generator = torch.Generator(device=sight.device).manual_seed(as_seed(seed))
        self.reset(0)

    def reset(self, batch: int) -> None:
        """Forget all samples: `batch` new episodes."""
        batch = as_integer("batch", batch, 0, math.inf, ArgumentError)
        self.mean, self.strength = self._belief.begin(batch)

    @for_one_too
    def act(self, s_g: Any, counts: Any) -> Tensor:
        """Look, act, predict: actions [batch] int64 for s_g [batch] and the sampled agents' counts [batch, sl]."""
        states, h = self._sight.read(s_g, counts)
        if len(states) != len(self.mean):
            raise ArgumentError(f"the belief is of {len(self.mean)} systems, s_g of {len(states)}: call reset first")
        mean, strength = self._belief.look(self.mean, self.strength, h)
        chosen = self._reader(states, mean, self._generator)
        self.mean, self.strength = self._belief.predict(mean, strength, states)
        return chosen
