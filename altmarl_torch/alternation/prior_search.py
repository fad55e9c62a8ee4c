r"""`observation="posterior"`: the sample is evidence about the population, under a prior that n agents choose.

An addition to the paper, whose sample is the population. The operators are corrected by a prior Dirichlet(alpha)
(`counts.resampling`). Two things do not come from the corrected model, for the same reason: it is told of each step
alone. In it every sample is a first look at a fresh population, while the true one persists, so that what was seen, and
acted on, a step ago is still there.

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
       weighted by gamma^t; G-LEARN with c alpha for c = 1/4, 1, 4, then for c half and twice the best of these; at
       first also with c alpha_1 for c = 1, 4, alpha_1 that of all visits together, whatever s_g is
    4  play each pair on n agents, on common episodes; the highest mean return is the best pair; 3 and 4 once more
    5  the corrected alternation of both players from there; its pair is taken if n agents earn more with it.

alpha_1 is there for strong priors. A strong alpha(s_g) takes the population to be where it usually is under s_g, from
the moment that s_g changes: to change it costs nothing in that model, and the noise of the fit decides which s_g is the
best one (in the warehouse at k = 2 and seed 3, where to hold s_g is right, one state was left: 160.3 in place of
162.1). A prior that is the same everywhere promises no such thing.

Where alpha is given, 3 and 4 are left out. Beyond `memory.memory_size` agents the prior is chosen for that many, and
G-LEARN runs once for k: much is seen there, and the prior says little; 5 is left out. Values of runs with different
alpha are values of different models: they are not compared with each other.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.memory import memory_size
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.alternation.runner import learn
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.starts import learn_from_starts
from altmarl_torch.counts.prior import LARGEST_ALPHA, SMALLEST_ALPHA, Prior, fit_alpha
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.rollouts import visits
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.tables import as_float64, as_number

__all__ = ["followed_size", "learn_posterior", "make_prior", "total_seconds"]

STRENGTH = 1e3
"""Strength of alpha_0 where the initial law's is higher: agents that start independently need not stay so."""

FLOOR = 1e-2
"""A state that nobody starts in has this part of an equal share in alpha_0: somebody may get there."""

ROUNDS = 2
"""Times that the prior is fitted."""

SCALES, FINER = (0.25, 1.0, 4.0), (0.5, 2.0)
"""Multiples of the fitted prior that are tried: at first, and of the best of these."""

POOLED = (1.0, 4.0)
"""Multiples of the prior of all visits together."""

FEW_VISITS = 100
"""Global states that are visited less often are fitted together with all others."""

VISITS = 200
"""Episodes of step 3."""


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


def learn_posterior(run: AlternationRun, many: Solution | None = None) -> Solution:
    """The corrected pair, for the alpha that is given or for one that the n-agent system chooses.

    `many` is the pair of step 1, where it is known (`followed_size`); its seconds are then left out. A
    KeyboardInterrupt returns the best pair so far; it is passed on where there is none.
    """
    followed = many or _followed(run)
    search, interrupted = _PriorSearch(run, followed), False
    try:
        search.run_through()
    except KeyboardInterrupt:
        interrupted = True
    best = search.best
    if best is None or best.k != run.k:
        raise KeyboardInterrupt  # there is no pair for k agents yet
    run.tell(best.history)
    seconds = total_seconds([*search.seconds, *([] if many else [followed.phase_seconds])])
    return dataclasses.replace(best, phase_seconds=seconds, interrupted=interrupted)


def followed_size(run: AlternationRun) -> int:
    """k' of step 1."""
    return max(run.k, memory_size(run.game, run.options.learning.solver))


def _followed(run: AlternationRun) -> Solution:
    """Step 1: the pair for k' agents."""
    many = learn_from_starts(run.quiet().at(followed_size(run)))[0].solution
    if many.interrupted:
        raise KeyboardInterrupt  # there is no pair for k agents yet
    return many


class _PriorSearch:
    """Pairs under different priors, compared by what n agents earn; `best` is the best so far.

    Attributes:
        run: what is asked for.
        responding: step 2, G-LEARN for the pi_l of step 1. (Of the runs, the last is watched.)
        trying: the same for fewer agents, where the table would be too large to solve time and again.
        seconds: of all runs, by phase.
    """

    def __init__(self, run: AlternationRun, followed: Solution) -> None:
        responding = dataclasses.replace(run.quiet(), only_global=True, steps=min(run.steps, 2))
        self.run, self.responding = run, responding.starting_at(followed.pi_l)
        self.alpha, self.largest = run.options.problem.alpha, memory_size(run.game, run.options.learning.solver)
        is_large = self.alpha is None and run.k > self.largest
        self.trying = self.responding.at(self.largest) if is_large else self.responding
        self.best: Solution | None = None
        self._earned = -torch.inf
        self.seconds: list[dict[str, float]] = []

    def run_through(self) -> None:
        """Steps 2 to 5. A KeyboardInterrupt leaves the best pair so far."""
        game = self.run.game
        best, _ = self._try_out(make_prior(game, _initial_alpha(game) if self.alpha is None else self.alpha))
        if self.alpha is None:
            pooled = _fitted(self.trying, best, together=True)
            for scale in POOLED if self.run.options.learning.solver != "neural" else POOLED[-1:]:
                self._try_scaled(pooled, scale)
        for _ in range(ROUNDS if self.alpha is None else 0):
            before = best
            best = self._try_around(_fitted(self.trying, before))
            if best is before:
                break
        if best.k != self.run.k or self.run.k <= self.largest:
            self._finish(best)

    def _try_around(self, alpha: Tensor) -> Solution:
        """Step 3's multiples of a prior; the best pair so far."""
        earned = {scale: self._try_scaled(alpha, scale) for scale in SCALES}
        middle = max(SCALES, key=earned.__getitem__)
        for scale in FINER if self.run.options.learning.solver != "neural" else ():
            self._try_scaled(alpha, middle * scale)
        assert self.best is not None
        return self.best

    def _try_scaled(self, alpha: Tensor, scale: float) -> float:
        _, earned = self._try_out(Prior((scale * alpha).clamp(SMALLEST_ALPHA, LARGEST_ALPHA), self.run.game.n))
        return earned

    def _try_out(self, prior: Prior) -> tuple[Solution, float]:
        """G-LEARN with a prior: its pair, and what that earns."""
        network = getattr(getattr(self.best, "policy", None), "network", self.run.network)  # a good first guess
        found = _learn_with(dataclasses.replace(self.trying, network=network), prior)
        if found.interrupted:
            raise KeyboardInterrupt
        self.seconds.append(found.phase_seconds)
        return found, self._compare(found)

    def _compare(self, found: Solution) -> float:
        """What a pair earns; it is the best if that is more than any before."""
        earned = self.trying.play(found).mean
        if self.best is None or earned > self._earned:
            self.best, self._earned = found, earned
        return earned

    def _finish(self, best: Solution) -> None:
        """The best prior for k agents, where it was chosen for fewer; else step 5."""
        assert best.alpha is not None
        prior = Prior(best.alpha, self.run.game.n)
        if best.k != self.run.k:
            found = self.best = _learn_with(dataclasses.replace(self.responding, steps=1), prior)
            self.seconds.append(found.phase_seconds)
        else:
            found = _alternated(self.run, best, prior)
            self.seconds.append(found.phase_seconds)
            self._compare(found)
        if found.interrupted:
            raise KeyboardInterrupt


def _alternated(run: AlternationRun, best: Solution, prior: Prior) -> Solution:
    """Step 5: both players, from the best pair."""
    start: Pair[Any] = Pair(best.pi_g if best.policy is None else best.policy, best.pi_l)
    network = getattr(best.policy, "network", run.network)
    found = _learn_with(dataclasses.replace(run, start=start, network=network, callback=None), prior)
    steps = len({update.step for update in best.history})
    return dataclasses.replace(found, history=(*best.history, *_renumbered(found.history, steps)))


def _fitted(run: AlternationRun, solution: Solution, together: bool = False) -> Tensor:
    """Step 3: the likeliest prior of the populations that a pair visits, under each s_g or all together: `[sg, sl]`."""
    game = run.game
    s_g, counts = visits(game, solution, seed=run.options.learning.seed, **run.length(VISITS))
    weights = game.gamma ** torch.arange(len(s_g), dtype=torch.float64, device=game.device)
    each, states, populations = weights.repeat_interleave(counts.shape[1]), s_g.flatten(), counts.flatten(0, 1)
    if together:
        return fit_alpha(populations, each).expand(game.num_sg, -1)
    rows = []
    for sg in range(game.num_sg):
        here = states == sg
        if int(here.sum()) < FEW_VISITS or float(each[here].sum()) == 0:
            here = torch.ones_like(here)
        rows.append(fit_alpha(populations[here], each[here]))
    return torch.stack(rows)


def _learn_with(run: AlternationRun, prior: Prior) -> Solution:
    solution = learn(dataclasses.replace(run, prior=prior))
    return dataclasses.replace(solution, observation="posterior", alpha=prior.alpha)


def _initial_alpha(game: Game) -> Tensor:
    """alpha_0: `[sl]`."""
    return _spread(game, min(game.initial.strength, STRENGTH))


def _spread(game: Game, strength: float) -> Tensor:
    """A strength as a table `[sl]`, in proportion to the initial law's mean."""
    return (strength * game.initial.local_mean.clamp_min(FLOOR / game.num_sl)).clamp(SMALLEST_ALPHA, LARGEST_ALPHA)


def _renumbered(history: Sequence[Update], steps: int) -> list[Update]:
    return [dataclasses.replace(update, step=update.step + steps) for update in history]


def total_seconds(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sum by phase."""
    phases = dict.fromkeys(phase for part in seconds for phase in part)
    return {phase: sum(part.get(phase, 0.0) for part in seconds) for phase in phases}
