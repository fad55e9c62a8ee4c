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
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.chains.episodic import EpisodicMDP
from altmarl_torch.learners.chains.explorer import KEPT, Bounds, Sampler, UCFHExplorer
from altmarl_torch.learners.chains.visits import sample_visits
from altmarl_torch.learners.settings import MOST_EPISODES
from altmarl_torch.support.showing import brief
from altmarl_torch.support.snapshots import WorkInProgress, pack_attributes, reading, set_attributes
from altmarl_torch.support.tables import as_integer, as_number, as_seed, check_callable, check_kind
from altmarl_torch.support.threads import one_thread
from altmarl_torch.theory import Algorithm5

__all__ = ["UCFHResult", "ucfh"]

logger = logging.getLogger(__name__)


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

    __repr__ = brief


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
    work: WorkInProgress | None = None,
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
        work: where the counts are kept every few minutes, to be taken up after the process was killed.

    Raises:
        ArgumentError: an argument is out of range, a reward is not finite, or `sample` returns no such counts.
    """
    check_kind("mdp", mdp, EpisodicMDP)
    for name, function in (("sample", sample), ("progress", progress)):
        check_callable(name, function)
    generator = _generator(seed, mdp.rewards.device)
    learner = UCFHExplorer(mdp, epsilon, delta, m_scale, confidence, first_update, faithful, generator)
    budget = as_integer("max_episodes", max_episodes, 1, MOST_EPISODES, ArgumentError)
    patience = as_number("max_seconds", max_seconds, "(0, inf]", lambda x: x > 0, ArgumentError)
    started = time.perf_counter()
    with one_thread():
        _explore(learner, sample or _episodes_of(learner), budget, started + patience, progress, work)
    if not learner.converged:
        if not learner.is_certified:
            learner.certify()
        logger.warning("UCFH stopped after %s episodes: %s", f"{learner.episodes:,}", learner.verdict)
    return _result(learner, time.perf_counter() - started)


def _explore(
    learner: UCFHExplorer,
    draw: Sampler,
    budget: int,
    deadline: float,
    progress: Callable[[Bounds], None] | None,
    work: WorkInProgress | None,
) -> None:
    """Plan, sample and update until the bounds are close, nothing is left to learn, or budget or time are spent."""
    if work and (kept := work.resume()):
        with reading():
            set_attributes(learner, KEPT, kept, learner.known.device)
    while True:
        if work:
            work.keep(lambda: pack_attributes(learner, KEPT))
        learner.plan()
        if learner.is_due:
            bounds = learner.certify()
            if progress:
                progress(bounds)
        if learner.converged or learner.exhausted or learner.episodes >= budget or time.perf_counter() > deadline:
            return
        learner.explore(draw, budget, deadline)


def _episodes_of(learner: UCFHExplorer) -> Sampler:
    """Episodes of the MDP itself."""
    return lambda policy, episodes: sample_visits(learner.mdp, policy, episodes, learner.generator)


def _generator(seed: int | torch.Generator, device: torch.device) -> torch.Generator:
    return seed if isinstance(seed, torch.Generator) else torch.Generator(device).manual_seed(as_seed(seed))


def _result(learner: UCFHExplorer, seconds: float) -> UCFHResult:
    """What was learned."""
    assert learner.policy is not None  # some bounds were computed
    assert learner.policy_shares is not None
    certified = learner.confidence == 1 and learner.updates <= learner.constants.updates
    printed = learner.faithful and learner.m_scale == 1 and learner.first_update is None
    return UCFHResult(
        policy=learner.policy,
        optimistic_policy=learner.optimistic,
        shares=learner.policy_shares,
        value_lower=learner.units.value(learner.lower),
        value_upper=learner.units.value(learner.upper),
        converged=learner.converged,
        certified=certified,
        guaranteed=certified and printed and learner.converged,
        episodes=learner.episodes,
        plans=learner.plans,
        updates=learner.updates,
        seconds=seconds,
        constants=learner.constants,
        history=learner.history,
    )
