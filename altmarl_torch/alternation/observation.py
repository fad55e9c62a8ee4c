r"""What the dispatcher takes its sample for: the population, evidence about it, or one look of many.

`solve(observation=...)` has three answers. "surrogate" is the paper's: the k sampled agents are the population. The
others are additions to the paper.

**"posterior"**: the operators are corrected by a prior Dirichlet(alpha) (`counts.resampling`). Two things do not
come from the corrected model, for the same reason: it is told of each step alone. In it every sample is a first look at
a fresh population, while the true one persists, so that what was seen, and acted on, a step ago is still there.

* *The strength |alpha|.* The law most likely to have produced the populations that a pair goes through is not the best
  prior: to have few agents to look at is better or worse than it thinks. The real system chooses.
* *pi_l.* Agents who follow s_g gather, and go on being gathered; in the corrected model they are strewn anew, so that
  to follow does not pay (in the warehouse at k = 1 the corrected alternation ends with agents who stay, and 148 to
  151; with agents who follow, the corrected dispatcher earns 162). They learn from the paper's operators instead, for
  k' agents: k, or as many as are cheap if that is more.

So

    1  the paper's alternation for k' agents                                                      -> pi_l
    2  G-LEARN with alpha_0, that of the initial law                                              -> a first pi_g
    3  alpha(s_g) = the most likely Dirichlet-multinomial of the populations that the best pair so far visits under s_g,
       weighted by gamma^t; G-LEARN with c alpha for c = 1/4, 1, 4, then for c half and twice the best of these
    4  play each pair on n agents, on common episodes; the highest mean return is the best pair; 3 and 4 once more
    5  the corrected alternation of both players from there; its pair is taken if n agents earn more with it.

Where alpha is given, 3 and 4 are left out. Beyond `LARGEST_MEMORY` counts the prior is chosen for the largest sample
within, and G-LEARN runs once for k: much is seen there, and the prior says little; 5 is left out. Values of runs with
different alpha are values of different models: they are not compared with each other.

**"filter"**: the dispatcher has a memory (`policies.belief`). The pair is learned, by the paper's operators, for
as many agents as is cheap, whatever k is, and pi_g is read at the belief's mean. This dispatcher is not in the paper's
class Pi_g of functions of (s_g, h).
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.alternation.job import Job, Solver, learn, tell
from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.starts import first_pair, learn_from_starts
from altmarl_torch.counts.prior import LARGEST_ALPHA, SMALLEST_ALPHA, Prior, fit_alpha
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import LARGEST_ROLLOUT, rollout, visits
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.belief import Belief
from altmarl_torch.support.tables import as_float64, as_number

__all__ = [
    "EPISODES",
    "followed_size",
    "learn_posterior",
    "length",
    "make_prior",
    "memory_size",
    "play",
    "remember",
    "total_seconds",
]

STRENGTH = 1e3
"""Strength of alpha_0 where the initial law's is higher: agents that start independently need not stay so."""

FLOOR = 1e-2
"""A state that nobody starts in has this part of an equal share in alpha_0: somebody may get there."""

ROUNDS, SCALES, FINER = 2, (0.25, 1.0, 4.0), (0.5, 2.0)
"""Times that the prior is fitted, and multiples of it that are tried: at first, and of the best of these."""

FEW_VISITS = 100
"""Global states that are visited less often are fitted together with all others."""

VISITS, EPISODES, HORIZON, TAIL = 200, 2_000, 100, 1e-3
"""Episodes of step 3 and of step 4, and their length: fewer steps where gamma^t falls below TAIL."""

LARGEST_MEMORY, LARGEST_WORK, NEURAL_MEMORY = 12_000, 300_000, 100
"""Memory reads a policy for the largest k' with a table of so many counts, or of so many counts times |S_g| |S_l| (five
zones: 20, ten: 5); a network is learned for k' = 100."""


def make_prior(game: Game, alpha: ArrayLike | Tensor) -> Prior:
    """The prior of a game from |alpha|, which the initial law's mean spreads, or from a table `[sl]` or `[sg, sl]`.

    Raises:
        ArgumentError: alpha is none of these, or an entry is outside [1e-6, 1e9].
    """
    if isinstance(alpha, int | float):
        span = f"[{SMALLEST_ALPHA:g}, {LARGEST_ALPHA:g}]"
        strength = as_number("alpha", alpha, span, lambda x: SMALLEST_ALPHA <= x <= LARGEST_ALPHA, ArgumentError)
        table = _spread(game, strength)
    else:
        table = as_float64("alpha", alpha, ArgumentError)
    wanted = (game.num_sg, game.num_sl)
    if table.shape not in (wanted, wanted[1:]):
        allowed = f"{list(wanted[1:])} or {list(wanted)}"
        raise ArgumentError(f"alpha has shape {list(table.shape)}; this game needs {allowed}")
    return Prior(table.to(game.device).expand(wanted), game.n)


def learn_posterior(job: Job, alpha: ArrayLike | Tensor | None, many: Solution | None = None) -> Solution:
    """Run a job with the posterior correction, for the given alpha or for one that the n-agent system chooses.

    `many` is the pair of step 1, where it is known (`followed_size`); its seconds are then left out. A
    KeyboardInterrupt returns the best pair so far; it is passed on where there is none.
    """
    prior = make_prior(job.game, _initial_alpha(job.game) if alpha is None else alpha)
    followed = many or _followed(job)
    responding = _responding(job, followed)
    search = _Search(responding if alpha is not None else _within_memory(responding))
    try:
        search.try_out(prior)
        if alpha is None:
            search.fit_and_scale()
    except KeyboardInterrupt:
        search.interrupted = True
    best = search.best
    if best is None or (search.interrupted and best.k != job.k):
        raise KeyboardInterrupt  # there is no pair for k agents yet
    if not search.interrupted:
        try:
            best = _finish(job, responding, search, best)
        except KeyboardInterrupt:
            if best.k != job.k:
                raise
            search.interrupted = True
    tell(job, best.history)
    seconds = total_seconds([*search.seconds, *([] if many else [followed.phase_seconds])])
    return dataclasses.replace(best, phase_seconds=seconds, interrupted=search.interrupted)


def _finish(job: Job, responding: Job, search: "_Search", best: Solution) -> Solution:
    """What follows the search: its prior for k agents where it was made for fewer; else step 5, where that is cheap."""
    assert best.alpha is not None
    if best.k != job.k:
        found = _learn_with(dataclasses.replace(responding, steps=1), Prior(best.alpha, job.game.n))
    elif job.k > memory_size(job.game, job.solver):
        return best
    else:
        found = _alternated(job, best)
    search.seconds.append(found.phase_seconds)
    search.interrupted = found.interrupted
    return found if best.k != job.k or play(job, found).mean > search.returns[best] else best


def _within_memory(job: Job) -> Job:
    """The same job, for fewer agents where the table would be too large to solve time and again."""
    size = memory_size(job.game, job.solver)
    if job.k <= size:
        return job
    assert job.start is not None
    return dataclasses.replace(job, k=size, start=first_pair(job, job.start.pi_l, size))


def followed_size(job: Job) -> int:
    """k' of step 1."""
    return max(job.k, memory_size(job.game, job.solver))


def _followed(job: Job) -> Solution:
    """Step 1: the pair for k' agents."""
    quiet = dataclasses.replace(job, k=followed_size(job), callback=None, curve=None)
    many = learn_from_starts(quiet)[0].solution
    if many.interrupted:
        raise KeyboardInterrupt  # there is no pair for k agents yet
    return many


def _responding(job: Job, followed: Solution) -> Job:
    """The job of responding to the pi_l of step 1. (Of the runs, the last is watched.)"""
    quiet = dataclasses.replace(job, callback=None, curve=None)
    start = first_pair(job, followed.pi_l, job.k)
    return dataclasses.replace(quiet, start=start, only_global=True, steps=min(job.steps, 2))


class _Search:
    """Pairs for one pi_l under different priors, compared by what n agents earn."""

    def __init__(self, job: Job) -> None:
        self.job, self.returns, self.interrupted = job, dict[Solution, float](), False
        self.seconds: list[dict[str, float]] = []

    @property
    def best(self) -> Solution | None:
        """The pair with the highest return so far."""
        return max(self.returns, key=self.returns.__getitem__, default=None)

    def try_out(self, prior: Prior) -> float:
        """G-LEARN with a prior; what its pair earns."""
        network = getattr(getattr(self.best, "policy", None), "network", self.job.network)  # a good first guess
        found = _learn_with(dataclasses.replace(self.job, network=network), prior)
        if found.interrupted:
            raise KeyboardInterrupt
        self.seconds.append(found.phase_seconds)
        self.returns[found] = play(self.job, found).mean
        return self.returns[found]

    def fit_and_scale(self) -> None:
        """Steps 3 and 4, as often as that finds a better pair."""
        for _ in range(ROUNDS):
            before = self.best
            assert before is not None
            fitted = _fitted(self.job, before)
            earned = {scale: self._try_scaled(fitted, scale) for scale in SCALES}
            middle = max(SCALES, key=earned.__getitem__)
            if self.job.solver == "tabular":
                for scale in FINER:
                    self._try_scaled(fitted, middle * scale)
            if self.best is before:
                break

    def _try_scaled(self, alpha: Tensor, scale: float) -> float:
        return self.try_out(Prior((scale * alpha).clamp(SMALLEST_ALPHA, LARGEST_ALPHA), self.job.game.n))


def _alternated(job: Job, best: Solution) -> Solution:
    """Step 5: both players, from the best pair."""
    assert best.alpha is not None
    start: Pair[Any] = Pair(best.pi_g if best.policy is None else best.policy, best.pi_l)
    network = getattr(best.policy, "network", job.network)
    again = dataclasses.replace(job, start=start, network=network, callback=None)
    found = _learn_with(again, Prior(best.alpha, job.game.n))
    added = _renumbered(found.history, len({update.step for update in best.history}))
    return dataclasses.replace(found, history=(*best.history, *added))


def _fitted(job: Job, solution: Solution) -> Tensor:
    """Step 3: the likeliest prior of the populations that a pair visits, under each global state, `[sg, sl]`."""
    game = job.game
    s_g, counts = visits(game, solution, seed=job.seed, **length(job, VISITS))
    weights = game.gamma ** torch.arange(len(s_g), dtype=torch.float64, device=game.device)
    each, states, populations = weights.repeat_interleave(counts.shape[1]), s_g.flatten(), counts.flatten(0, 1)
    rows = []
    for sg in range(game.num_sg):
        here = states == sg
        if int(here.sum()) < FEW_VISITS or float(each[here].sum()) == 0:
            here = torch.ones_like(here)
        rows.append(fit_alpha(populations[here], each[here]))
    return torch.stack(rows)


def _learn_with(job: Job, prior: Prior) -> Solution:
    solution = learn(dataclasses.replace(job, prior=prior))
    return dataclasses.replace(solution, observation="posterior", alpha=prior.alpha)


def _initial_alpha(game: Game) -> Tensor:
    """alpha_0: `[sl]`."""
    return _spread(game, min(game.initial.strength, STRENGTH))


def _spread(game: Game, strength: float) -> Tensor:
    """A strength as a table `[sl]`, in proportion to the initial law's mean."""
    return (strength * game.initial.local_mean.clamp_min(FLOOR / game.num_sl)).clamp(SMALLEST_ALPHA, LARGEST_ALPHA)


def play(job: Job, solution: Solution) -> Rollouts:
    """Episodes of n agents, the same for all candidates."""
    return rollout(job.game, solution, seed=job.seed + 1, **length(job, EPISODES))


def length(job: Job, episodes: int) -> dict[str, int]:
    """How many episodes, and how long: as many as are wanted, or as half of what a rollout may keep has room for."""
    kept = min(job.k, job.game.n - job.k) + job.game.num_sl + 1
    return {"episodes": max(2, min(episodes, LARGEST_ROLLOUT // 2 // kept)), "horizon": _horizon(job.game)}


def _horizon(game: Game) -> int:
    """Steps until gamma^t < TAIL, in 2..HORIZON."""
    steps = 2 if game.gamma == 0 else math.ceil(math.log(TAIL) / math.log(game.gamma))
    return max(2, min(HORIZON, steps))


def _renumbered(history: Sequence[Update], steps: int) -> list[Update]:
    return [dataclasses.replace(update, step=update.step + steps) for update in history]


def total_seconds(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sum by phase."""
    phases = dict.fromkeys(phase for part in seconds for phase in part)
    return {phase: sum(part.get(phase, 0.0) for part in seconds) for phase in phases}


def memory_size(game: Game, solver: Solver) -> int:
    """k', the size of the sample for which the policy behind a memory is learned."""
    if solver == "neural":
        return min(game.n, NEURAL_MEMORY)
    counts = max(1, min(LARGEST_MEMORY, LARGEST_WORK // (game.num_sg * game.num_sl)))
    return CountSimplex(min(game.n, counts), game.num_sl).coarser(counts).k


def remember(solution: Solution, game: Game, k: int) -> Solution:
    """The dispatcher of a solution with a memory of what k agents a step have shown, in place of its own sample."""
    belief = Belief.of(game, solution.pi_l)
    return dataclasses.replace(solution, k=k, reads=solution.k, belief=belief, observation="filter")
