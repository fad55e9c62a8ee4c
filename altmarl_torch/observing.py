r"""What the dispatcher takes its sample for: the population, evidence about it, or one look of many.

`solve(observation=...)` has three answers. "surrogate" is the paper's: the k sampled agents are the population. The
others are additions to the paper.

**"posterior"**: the operators are corrected by a prior Dirichlet(alpha) (`altmarl_torch.posterior`). Two things do not
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
    3  alpha_1 = the most likely Dirichlet-multinomial of the populations that this pair visits, weighted by gamma^t
    4  G-LEARN with alpha_t = alpha_0^(1-t) alpha_1^t for t = 1/3, 2/3, 1 (t = 0 is the first)
    5  play each pair on n agents, on common episodes; the highest mean return wins
    6  the corrected alternation of both players from there; its pair is taken if n agents earn more with it.

Where alpha is given, 3 and 4 are left out. Values of runs with different alpha are values of different models: they are
not compared with each other.

**"filter"**: the dispatcher has a memory (`altmarl_torch.belief`). The pair is learned, by the paper's operators, for
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

from altmarl_torch.alternation import Pair, Update
from altmarl_torch.belief import Belief
from altmarl_torch.errors import ArgumentError
from altmarl_torch.game import Game
from altmarl_torch.neural.policies import UniformPolicy
from altmarl_torch.players import Job, Solver, learn
from altmarl_torch.policies import uniform_global
from altmarl_torch.posterior import LARGEST_ALPHA, SMALLEST_ALPHA, Prior, fit_alpha
from altmarl_torch.rollout import LARGEST_ROLLOUT, rollout, visits
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.solution import Solution
from altmarl_torch.tables import as_float64, as_number

__all__ = ["learn_posterior", "make_prior", "memory_size", "remember"]

STRENGTH = 1e3
"""Strength of alpha_0 where the initial law's is higher: agents that start independently need not stay so."""

FLOOR = 1e-2
"""A state that nobody starts in has this part of an equal share in alpha_0: somebody may get there."""

BETWEEN = (1 / 3, 2 / 3, 1.0)
VISITS, EPISODES, HORIZON, TAIL = 100, 2_000, 100, 1e-3
"""Episodes of step 2 and of step 4, and their length: fewer steps where gamma^t falls below TAIL."""

LARGEST_MEMORY, NEURAL_MEMORY = 12_000, 100
"""Memory reads a policy for the largest k' with a table of so many counts; a network is learned for k' = 100."""


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


def learn_posterior(job: Job, alpha: ArrayLike | Tensor | None) -> Solution:
    """Run a job with the posterior correction, for the given alpha or for one that the n-agent system chooses.

    A KeyboardInterrupt returns the best pair so far; it is passed on where there is none.
    """
    prior = make_prior(job.game, _initial_alpha(job.game) if alpha is None else alpha)
    many, responding = _followed(job)
    found = [_learn_with(responding, prior)]
    try:
        if not found[-1].interrupted:
            _add_candidates(responding, found, fits=alpha is None)
        returns = {solution: _return(job, solution) for solution in found}
        best = max(found, key=lambda solution: returns[solution])
        last = best if found[-1].interrupted else _alternated(job, best)
    except KeyboardInterrupt:
        return dataclasses.replace(found[0], interrupted=True)
    chosen = last if last is not best and _return(job, last) > returns[best] else best
    _tell(job, chosen.history)
    seconds = _total([many.phase_seconds, last.phase_seconds, *(solution.phase_seconds for solution in found)])
    interrupted = found[-1].interrupted or last.interrupted
    return dataclasses.replace(chosen, phase_seconds=seconds, interrupted=interrupted)


def _followed(job: Job) -> tuple[Solution, Job]:
    """Step 1: the pair for k' agents, and the job of responding to its pi_l. (Of the runs, the last is watched.)"""
    game, size = job.game, max(job.k, memory_size(job.game, job.solver))
    quiet = dataclasses.replace(job, callback=None, curve=None)
    many = learn(dataclasses.replace(quiet, k=size))
    if many.interrupted:
        raise KeyboardInterrupt  # there is no pair for k agents yet
    start: Pair[Any] = Pair(UniformPolicy(game.num_sg, game.num_ag), many.pi_l)
    if job.solver == "tabular":
        start = Pair(uniform_global(game, CountSimplex(job.k, game.num_sl, game.device)), many.pi_l)
    return many, dataclasses.replace(quiet, start=start, only_global=True, steps=min(job.steps, 2))


def _add_candidates(job: Job, found: list[Solution], *, fits: bool) -> None:
    """Steps 3 and 4: more pairs like the first that was found, until one is interrupted."""
    network = getattr(found[0].policy, "network", job.network)  # its values are a good first guess
    for alpha in _candidates(job, found[0]) if fits else ():
        found.append(_learn_with(dataclasses.replace(job, network=network), Prior(alpha, job.game.n)))
        if found[-1].interrupted:
            break


def _alternated(job: Job, best: Solution) -> Solution:
    """Step 6: both players, from the best pair."""
    assert best.alpha is not None
    start: Pair[Any] = Pair(best.pi_g if best.policy is None else best.policy, best.pi_l)
    network = getattr(best.policy, "network", job.network)
    again = dataclasses.replace(job, start=start, network=network, callback=None)
    found = _learn_with(again, Prior(best.alpha, job.game.n))
    added = _renumbered(found.history, len({update.step for update in best.history}))
    return dataclasses.replace(found, history=(*best.history, *added))


def _tell(job: Job, history: Sequence[Update]) -> None:
    """Report the updates of the run that was chosen, now that it is known which."""
    for update in history if job.callback else ():
        job.callback(update)  # type: ignore[misc]  # asked one line above


def _candidates(job: Job, first: Solution) -> list[Tensor]:
    """alpha_t for t > 0, `[sg, sl]` each."""
    game, horizon = job.game, _horizon(job.game)
    _, counts = visits(game, first, episodes=_episodes(job, VISITS), horizon=horizon, seed=job.seed)
    weights = game.gamma ** torch.arange(horizon, dtype=torch.float64, device=game.device)
    fitted = fit_alpha(counts.flatten(0, 1), weights.repeat_interleave(counts.shape[1]))
    assert first.alpha is not None
    start, end = first.alpha.log(), fitted.log()
    return [((1 - t) * start + t * end).exp().clamp(SMALLEST_ALPHA, LARGEST_ALPHA) for t in BETWEEN]


def _return(job: Job, solution: Solution) -> float:
    """Mean return of n agents, on the episodes that all candidates share."""
    horizon, episodes = _horizon(job.game), _episodes(job, EPISODES)
    return rollout(job.game, solution, episodes=episodes, horizon=horizon, seed=job.seed + 1).mean


def _learn_with(job: Job, prior: Prior) -> Solution:
    solution = learn(dataclasses.replace(job, prior=prior))
    return dataclasses.replace(solution, observation="posterior", alpha=prior.alpha)


def _initial_alpha(game: Game) -> Tensor:
    """alpha_0: `[sl]`."""
    return _spread(game, min(game.initial.strength, STRENGTH))


def _spread(game: Game, strength: float) -> Tensor:
    """A strength as a table `[sl]`, in proportion to the initial law's mean."""
    return (strength * game.initial.local_mean.clamp_min(FLOOR / game.num_sl)).clamp(SMALLEST_ALPHA, LARGEST_ALPHA)


def _horizon(game: Game) -> int:
    """Steps until gamma^t < TAIL, in 2..HORIZON."""
    steps = 2 if game.gamma == 0 else math.ceil(math.log(TAIL) / math.log(game.gamma))
    return max(2, min(HORIZON, steps))


def _episodes(job: Job, wanted: int) -> int:
    """As many episodes as are wanted, or as half of what a rollout may keep has room for."""
    kept = min(job.k, job.game.n - job.k) + job.game.num_sl + 1
    return max(2, min(wanted, LARGEST_ROLLOUT // 2 // kept))


def _renumbered(history: Sequence[Update], steps: int) -> list[Update]:
    return [dataclasses.replace(update, step=update.step + steps) for update in history]


def _total(seconds: Sequence[dict[str, float]]) -> dict[str, float]:
    """The sum by phase."""
    phases = dict.fromkeys(phase for part in seconds for phase in part)
    return {phase: sum(part.get(phase, 0.0) for part in seconds) for phase in phases}


def memory_size(game: Game, solver: Solver) -> int:
    """k', the size of the sample for which the policy behind a memory is learned."""
    if solver == "neural":
        return min(game.n, NEURAL_MEMORY)
    return CountSimplex(min(game.n, LARGEST_MEMORY), game.num_sl).coarser(LARGEST_MEMORY).k


def remember(solution: Solution, game: Game, k: int) -> Solution:
    """The dispatcher of a solution with a memory of what k agents a step have shown, in place of its own sample."""
    belief = Belief.of(game, solution.pi_l)
    return dataclasses.replace(solution, k=k, reads=solution.k, belief=belief, observation="filter")
