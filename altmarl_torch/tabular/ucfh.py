r"""UCFH, upper-confidence fixed-horizon learning: a policy of an episodic MDP whose probabilities are unknown.

Known are the rewards and which successors are possible; everything else is learned from episodes. Two counts are kept
of every row (s, a) and transition: n, what plans are made of, and v, what has been seen since.

    repeat
        plan       confidence sets around the shares n(s, a, s') / n(s, a); the policy that is best in the best case
        sample     episodes of that policy, counted in v, until some row has v >= max(m w_min, n), and n < |S| m H
        update     move the row's v into n

This is Algorithm 5 (constants: `theory.algorithm_5`), with Algorithm 6 as its plan (`confidence`, `episodic.induct`).

**Where it ends.** As printed it never does, and returns no policy. Each plan gives an upper bound on the optimal value.
The greedy policy for the shares themselves (*certainty equivalence*) is valued in the worst case over the same sets: a
lower bound on what it earns. When they are within epsilon, or the budget is spent, that policy is returned, the best
that was found, with both bounds. It needs far fewer episodes than the optimistic policy to be as good; that one is
returned beside it.

**Units.** The rewards of each stage are shifted and all are scaled into [0, 1]; a round passes every stage once, so
that no policy is favoured. epsilon is relative: the bounds are within epsilon times the lower bound, both counted
from the value of the lowest rewards. The constants of Algorithm 5 are taken at epsilon times the largest value that the
rewards allow, or at 1 if that is less: what Theorem C.3 speaks of.

**In practice** m w_min is in the millions, and one row a plan is slow. By default a row is updated after its first
visit, and then whenever its visits have doubled; every row that may be is updated at once; and episodes come in batches
that grow by a tenth of all so far, dealt together at a cost that does not depend on their number
(`visits.sample_visits`). `confidence` scales ln(6/delta_1). At 1 the bounds hold with probability 1 - delta, as long as
there are no more than U_max updates; below 1 they are **heuristic**. `faithful` is the printed loop: one row a plan, at
the episode at which it is ready, and m w_min.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.parallel import one_thread
from altmarl_torch.tables import as_float64, as_integer, as_number, as_seed, as_whole
from altmarl_torch.tabular.confidence import ConfidenceSets, confidence_interval
from altmarl_torch.tabular.episodic import Block, EpisodicMDP
from altmarl_torch.tabular.units import units_of
from altmarl_torch.tabular.visits import MOST_EPISODES, occupancy, sample_visits
from altmarl_torch.theory import Algorithm5, algorithm_5
from altmarl_torch.theory.arguments import as_share

__all__ = ["Bounds", "Sampler", "UCFHResult", "ucfh"]

logger = logging.getLogger(__name__)

Sampler = Callable[[Tensor, int], Tensor]
"""From a policy, actions `[rounds, states]`, and a number of episodes to visits of transitions, `[transitions]`."""

SMALLEST_BATCH, GROWTH = 16, 0.1
"""Episodes are sampled in batches of a tenth of all so far, and of at least 16."""


@dataclass(frozen=True)
class Bounds:
    """What was certified after some episodes, in the units of the MDP."""

    episodes: int
    lower: float  # on the value of the returned policy
    upper: float  # on the optimal value


@dataclass(frozen=True, eq=False)
class UCFHResult:
    """What UCFH learned."""

    policy: Tensor  # [rounds, states] actions of the certainty-equivalent policy
    optimistic_policy: Tensor  # [rounds, states] actions of the last optimistic plan
    shares: Tensor  # [transitions] the estimated probabilities; uniform in rows that were never updated
    value_lower: float  # lower bound on the value of `policy`
    value_upper: float  # upper bound on the optimal value
    converged: bool  # whether the bounds are within epsilon
    certified: bool  # whether they hold with probability 1 - delta
    guaranteed: bool  # whether Theorem C.3 applies: `certified`, and the printed loop with its own m
    episodes: int
    plans: int
    updates: int  # rows updated, over all plans
    seconds: float
    constants: Algorithm5
    history: tuple[Bounds, ...]


def ucfh(
    mdp: EpisodicMDP,
    epsilon: float = 0.05,
    delta: float = 0.1,
    *,
    m_scale: float = 1.0,
    confidence: float = 1.0,
    first_update: int | None = None,
    faithful: bool = False,
    max_episodes: int = 10**8,
    max_seconds: float = math.inf,
    seed: int | torch.Generator = 0,
    sample: Sampler | None = None,
    progress: Callable[[Bounds], None] | None = None,
) -> UCFHResult:
    """Learn a policy of `mdp` whose value is within epsilon, with probability 1 - delta, of the best.

    Args:
        mdp: the MDP; of its probabilities no use is made but to sample episodes, if `sample` is not given.
        epsilon: in (0, 1], relative (see the module's page).
        delta: failure probability, in (0, 1].
        m_scale: scales m, above 0; below 1 Theorem C.3 does not apply.
        confidence: scales ln(6/delta_1), in (0, 1]; below 1 the bounds are heuristic.
        first_update: visits before a row's first update; by default 1, and m w_min where `faithful`.
        faithful: whether to run the printed loop.
        max_episodes: episodes at most.
        max_seconds: seconds after which no further batch of episodes is begun.
        seed: of the episodes, or their generator, where `sample` is not given.
        sample: a simulator of one's own in place of the MDP's.
        progress: told the bounds after every plan for which they were computed.

    Raises:
        ArgumentError: an argument is out of range, a reward is not finite, or `sample` returns no such counts.
    """
    learner = _Learner(mdp, epsilon, delta, m_scale, confidence, first_update, faithful)
    budget = as_integer("max_episodes", max_episodes, 1, MOST_EPISODES, ArgumentError)
    patience = as_number("max_seconds", max_seconds, "(0, inf]", lambda x: x > 0, ArgumentError)
    generator = _generator(seed, mdp.rewards.device)
    draw = sample or (lambda policy, episodes: sample_visits(mdp, policy, episodes, generator))
    started = time.perf_counter()
    deadline = started + patience
    with one_thread():
        while True:
            learner.plan()
            if learner.is_due:
                bounds = learner.certify()
                if progress:
                    progress(bounds)
            if learner.converged or learner.exhausted or learner.episodes >= budget or time.perf_counter() > deadline:
                break
            learner.explore(draw, budget, deadline)
    if not learner.converged:
        if not learner.is_certified:
            learner.certify()
        logger.warning("UCFH stopped after %s episodes: %s", f"{learner.episodes:,}", learner.verdict)
    return learner.result(time.perf_counter() - started)


def _generator(seed: int | torch.Generator, device: torch.device) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else torch.Generator(device).manual_seed(as_seed(seed))


@dataclass(eq=False)
class _Learner:
    """The counts of UCFH, and what follows from them. Bounds are in scaled units, from the lowest rewards on."""

    mdp: EpisodicMDP
    epsilon: float
    delta: float
    m_scale: float
    confidence: float
    first_update: int | None
    faithful: bool
    episodes: int = 0
    plans: int = 0
    updates: int = 0
    exhausted: bool = False  # whether no row that the policy can meet may be updated any more
    lower: float = -math.inf
    upper: float = math.inf
    history: list[Bounds] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("epsilon", "delta", "confidence"):
            as_share(name, getattr(self, name))
        as_number("m_scale", self.m_scale, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
        self.units = units_of(self.mdp)
        self.scaled = replace(self.mdp, rewards=self.units.scaled(self.mdp))
        self.constants = self._constants()
        first = 1.0 if not self.faithful else self.m_scale * self.constants.first_update
        if self.first_update is not None:
            first = as_integer("first_update", self.first_update, 1, MOST_EPISODES, ArgumentError)
        self.first, self.most = first, self.m_scale * self.constants.most_visits
        self.log_term = self.confidence * math.log(6 / self.constants.delta_1)
        self.known, self.seen = (torch.zeros_like(self.mdp.probabilities) for _ in range(2))  # n and v, by transition

    def _constants(self) -> Algorithm5:
        mdp = self.mdp
        epsilon = min(1.0, self.epsilon * self.units.largest) or 1.0
        sizes = mdp.num_states, mdp.num_actions, mdp.steps, mdp.max_successors
        return algorithm_5(*sizes, epsilon=epsilon, delta=self.delta)

    def plan(self) -> None:
        """Confidence sets from n, and the optimistic policy (Algorithm 6)."""
        visits = self._of_rows(self.known)[self.mdp.edge_rows]
        uniform = 1 / self.mdp.widths.double()[self.mdp.edge_rows]
        self.shares = torch.where(visits > 0, self.known / visits.clamp_min(1), uniform)
        lower, upper = confidence_interval(self.shares, visits, self.log_term)
        alone = (self.mdp.widths == 1)[self.mdp.edge_rows]  # a single successor is certain
        self.sets = ConfidenceSets(lower.masked_fill(alone, 1.0), upper.masked_fill(alone, 1.0))
        self.optimistic, upper_bound = self.scaled.greedy_policy(self.sets.best)
        self.upper = min(self.upper, upper_bound)
        self.plans += 1

    def certify(self) -> Bounds:
        """The certainty-equivalent policy with its worst value; the best of all so far is kept."""
        policy, _ = self.scaled.greedy_policy(self._expected)
        lower = self.scaled.value(policy, self.sets.worst)
        if lower > self.lower:
            self.lower, self.policy, self.policy_shares = lower, policy, self.shares
        self.history.append(Bounds(self.episodes, *map(self.units.value, (self.lower, self.upper))))
        return self.history[-1]

    def _expected(self, block: Block, values: Tensor) -> Tensor:
        """E V(s') by the shares."""
        return (self.shares[block.edges] * values[block.successors]).sum(-1)

    @property
    def is_due(self) -> bool:
        """Whether bounds are computed now: at every plan, or in the printed loop after a tenth more episodes."""
        return not self.faithful or not self.history or self.episodes >= (1 + GROWTH) * self.history[-1].episodes

    @property
    def is_certified(self) -> bool:
        """Whether the bounds are those of the last plan."""
        return bool(self.history) and self.history[-1].episodes == self.episodes

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
        possible = 1 / self.mdp.widths.double()[self.mdp.edge_rows]
        law, met = occupancy(self.mdp, self.optimistic, possible), torch.zeros_like(below)
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
        as_whole("sample(policy, episodes)", visits, "transition", ArgumentError)
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

    def result(self, seconds: float) -> UCFHResult:
        """What was learned."""
        certified = self.confidence == 1 and self.updates <= self.constants.updates
        printed = self.faithful and self.m_scale == 1 and self.first_update is None
        return UCFHResult(
            policy=self.policy,
            optimistic_policy=self.optimistic,
            shares=self.policy_shares,
            value_lower=self.units.value(self.lower),
            value_upper=self.units.value(self.upper),
            converged=self.converged,
            certified=certified,
            guaranteed=certified and printed and self.converged,
            episodes=self.episodes,
            plans=self.plans,
            updates=self.updates,
            seconds=seconds,
            constants=self.constants,
            history=tuple(self.history),
        )
