"""The two counts of UCFH, and what follows from them: confidence sets, plans, bounds, and which rows are ready.

`ucfh` tells the algorithm and runs its loop; an `UCFHExplorer` is its state. Of every transition it holds n, the visits
that plans are made of (`known`), and v, those since the row's last update (`seen`). Everything else is derived: the
shares, the sets around them, the optimistic plan, and the certainty-equivalent policy with its worst value. Values are
in the scaled units of `units`, counted from the lowest rewards.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.chains.confidence import ConfidenceSets, confidence_interval
from altmarl_torch.learners.chains.episodic import EpisodicMDP, under
from altmarl_torch.learners.chains.units import units_of
from altmarl_torch.learners.chains.visits import occupancy
from altmarl_torch.learners.settings import MOST_EPISODES
from altmarl_torch.support.scalars import as_share
from altmarl_torch.support.tables import as_float64, as_integer, as_number, check_whole
from altmarl_torch.theory import Algorithm5, algorithm_5

__all__ = ["KEPT", "Bounds", "Sampler", "UCFHExplorer"]

Sampler = Callable[[Tensor, int], Tensor]
"""From a policy, actions `[rounds, states]`, and a number of episodes to visits of transitions, `[transitions]`."""

KEPT = (
    *("episodes", "plans", "updates", "exhausted", "lower", "upper", "bounds"),
    *("known", "seen", "policy", "policy_shares", "generator"),
)
"""The attributes of an explorer that its next plan follows from."""

SMALLEST_BATCH, GROWTH = 16, 0.1
"""Episodes are sampled in batches of a tenth of all so far, and of at least 16."""


@dataclass(frozen=True)
class Bounds:
    """What was certified after some episodes, in the units of the MDP."""

    episodes: int
    lower: float  # on the value of the returned policy
    upper: float  # on the optimal value


@dataclass(eq=False)
class UCFHExplorer:
    """The counts of UCFH, and what follows from them. The MDP, and with it the bounds, are brought to scaled units."""

    mdp: EpisodicMDP
    epsilon: float
    delta: float
    m_scale: float
    confidence: float
    first_update: int | None
    faithful: bool
    generator: torch.Generator  # of the episodes
    episodes: int = 0
    plans: int = 0
    updates: int = 0
    exhausted: bool = False  # whether no row that the policy can meet may be updated any more
    lower: float = -math.inf
    upper: float = math.inf
    bounds: list[tuple[int, float, float]] = field(default_factory=list)  # after which episodes, and which
    policy: Tensor | None = None  # [rounds, states] the certainty-equivalent one of the best lower bound
    policy_shares: Tensor | None = None  # [transitions] that it was made of

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "confidence"):
            as_share(name, getattr(self, name))
        as_number("m_scale", self.m_scale, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
        self.units = units_of(self.mdp)
        self.mdp = replace(self.mdp, rewards=self.units.scaled(self.mdp))
        self.constants = self._constants()
        first = 1.0 if not self.faithful else self.m_scale * self.constants.first_update
        if self.first_update is not None:
            first = as_integer("first_update", self.first_update, 1, MOST_EPISODES, ArgumentError)
        self.first, self.most = first, self.m_scale * self.constants.most_visits
        self.log_term = self.confidence * math.log(6 / self.constants.delta_1)
        self.known, self.seen = (torch.zeros_like(self.mdp.probabilities) for _ in range(2))  # n and v, by transition
        self._alike = (1 / self.mdp.widths.double())[self.mdp.edge_rows]  # all successors of a row alike

    def _constants(self) -> Algorithm5:
        mdp = self.mdp
        epsilon = min(1.0, self.epsilon * self.units.largest) or 1.0
        sizes = mdp.num_states, mdp.num_actions, mdp.steps, mdp.max_successors
        return algorithm_5(*sizes, epsilon=epsilon, delta=self.delta)

    def plan(self) -> None:
        """Confidence sets from n, and the optimistic policy (Algorithm 6)."""
        visits = self._of_rows(self.known)[self.mdp.edge_rows]
        self.shares = torch.where(visits > 0, self.known / visits.clamp_min(1), self._alike)
        lower, upper = confidence_interval(self.shares, visits, self.log_term)
        alone = self._alike == 1  # a single successor is certain
        self.sets = ConfidenceSets(lower.masked_fill(alone, 1.0), upper.masked_fill(alone, 1.0))
        self.optimistic, upper_bound = self.mdp.greedy_policy(self.sets.best)
        self.upper = min(self.upper, upper_bound)
        self.plans += 1

    def certify(self) -> Bounds:
        """The certainty-equivalent policy with its worst value; the best of all so far is kept."""
        policy, _ = self.mdp.greedy_policy(under(self.shares))
        lower = self.mdp.value(policy, self.sets.worst)
        if lower > self.lower:
            self.lower, self.policy, self.policy_shares = lower, policy, self.shares
        self.bounds.append((self.episodes, self.units.value(self.lower), self.units.value(self.upper)))
        return self.history[-1]

    @property
    def history(self) -> tuple[Bounds, ...]:
        """The bounds so far, in the units of the MDP."""
        return tuple(Bounds(*entry) for entry in self.bounds)

    @property
    def is_due(self) -> bool:
        """Whether bounds are computed now: at every plan, or in the printed loop after a tenth more episodes."""
        return not self.faithful or not self.bounds or self.episodes >= (1 + GROWTH) * self.bounds[-1][0]

    @property
    def is_certified(self) -> bool:
        """Whether the bounds are those of the last plan."""
        return bool(self.bounds) and self.bounds[-1][0] == self.episodes

    @property
    def converged(self) -> bool:
        """Whether the bounds are within epsilon."""
        return self.upper - self.lower <= self.epsilon * self.lower

    def explore(self, draw: Sampler, budget: int, deadline: float) -> None:
        """Sample until some row may be updated, or until budget or time are spent; then update."""
        known = self._of_rows(self.known)
        wanted = torch.where(self._open(known), known.clamp_min(self.first), math.inf)
        self.exhausted = bool(wanted.isinf().all())
        while self.episodes < budget and not self.exhausted and time.perf_counter() < deadline:
            missing = float((wanted - self._of_rows(self.seen)).min())
            if missing <= 0:
                break
            self._sample(draw, min(self._batch(missing), budget - self.episodes))
        ready = wanted <= self._of_rows(self.seen)
        if self.faithful:
            ready &= ready.cumsum(0) == 1  # the first alone
        self._update(ready)

    def _open(self, known: Tensor) -> Tensor:
        """Rows that may still be updated: n < |S| m H, and, once some are not, those that the policy can meet."""
        below = known < self.most
        if bool(below.all()):
            return below
        law, met = occupancy(self.mdp, self.optimistic, self._alike), torch.zeros_like(below)
        rows = torch.arange(self.mdp.num_states, device=met.device) * self.mdp.num_actions + self.optimistic
        met[rows[law > 0]] = True
        return below & met

    def _batch(self, missing: float) -> int:
        """How many episodes to sample at once.

        The printed loop stops at the episode in which a row becomes ready. A row occurs at most once in a round, so
        that fewer episodes than `missing` / rounds cannot pass it.
        """
        if math.isinf(missing) or not self.faithful:
            return max(SMALLEST_BATCH, int(GROWTH * self.episodes))
        return max(1, math.ceil(missing / self.mdp.rounds) - 1)

    def _sample(self, draw: Sampler, episodes: int) -> None:
        visits = as_float64("sample(policy, episodes)", draw(self.optimistic, episodes), ArgumentError)
        if visits.shape != self.seen.shape:
            wanted, found = list(self.seen.shape), list(visits.shape)
            raise ArgumentError(f"sample must return visits [transitions] = {wanted}, not {found}")
        check_whole("sample(policy, episodes)", visits, "transition", ArgumentError)
        self.seen += visits.to(self.seen.device)
        self.episodes += episodes

    def _update(self, ready: Tensor) -> None:
        """Move v into n in the rows that are ready."""
        moved = torch.where(ready[self.mdp.edge_rows], self.seen, 0.0)
        self.known += moved
        self.seen -= moved
        self.updates += int(ready.sum())

    def _of_rows(self, counts: Tensor) -> Tensor:
        """The sums of counts of transitions by row, `[states actions]`."""
        return counts.new_zeros(len(self.mdp.widths)).index_add_(0, self.mdp.edge_rows, counts)

    @property
    def verdict(self) -> str:
        """How far the bounds are apart, in words."""
        lower, upper = map(self.units.value, (self.lower, self.upper))
        apart = (self.upper - self.lower) / self.lower if self.lower > 0 else math.inf
        return (
            f"the optimal value is in {lower:.6g} .. {upper:.6g}, within {apart:.2g} of it instead of {self.epsilon:g}"
        )
