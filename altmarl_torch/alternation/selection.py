"""Selection by the real system: whatever was learned, and what was not, played on n agents.

A joint value is a number of a model: of the k-agent surrogate, or of the corrected one, each for its own k. It cannot
say which model to trust. n agents can. `select="rollout"` plays every candidate on the same episodes,

    every start of the paper's alternation                          (`starts`)
    the corrected pair, by its own search over priors               observation="posterior" and "filter" (`observing`)
    the dispatcher with a memory                                    observation="filter"
    hold + walk, which looks at nothing

and takes the highest mean return: so no observation model is worse than not looking, up to the noise of the comparison.
The observation that is asked for is the *largest class* that is tried: "surrogate" stays with functions of (s_g, h)
that the paper's operators find; "filter" admits a memory.

The winner's margin over the runner-up is measured again on fresh episodes, in pairs, since the best of several is
flattered by the episodes that chose it. `select="value"`, the default, takes the start with the best joint value, and
leaves the observation model as it is asked for.
"""

import dataclasses
from collections.abc import Callable, Iterator

from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.alternation.choices import Choice, Selection
from altmarl_torch.alternation.job import Job, tell
from altmarl_torch.alternation.observation import (
    EPISODES,
    followed_size,
    learn_posterior,
    length,
    memory_size,
    play,
    remember,
    total_seconds,
)
from altmarl_torch.alternation.solution import LARGEST_TABLE, Observation, Solution
from altmarl_torch.alternation.starts import Started, learn_from_starts
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.evaluation.paired import paired_difference
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, WALKERS, table

__all__ = ["select_by_rollout", "select_by_value"]


def select_by_value(job: Job) -> Solution:
    """The pair with the best joint value of those that a job's starts lead to."""
    found = learn_from_starts(job)
    if len(found) == 1:
        return found[0].solution
    choices = tuple(Choice(f"from {one.start}", one.solution.value, None, None) for one in found)
    return dataclasses.replace(found[0].solution, selection=Selection("value", choices, None))


def select_by_rollout(
    make_job: Callable[[int], Job], k: int, observation: Observation, alpha: ArrayLike | Tensor | None
) -> Solution:
    """The pair that earns most on n agents, of all candidates up to `observation`.

    Args:
        make_job: the job for a size of the sample.
        k: how many agents are seen.
        observation: the largest class that is tried.
        alpha: prior of the corrected pair; None: its own search.
    """
    job, found = make_job(k), dict[str, Solution]()
    candidates = _Candidates(make_job, k, observation, alpha)
    try:
        for name, solution in candidates:
            found[name] = solution
            if solution.interrupted:
                break
        else:
            best = dataclasses.replace(_chosen(job, found), phase_seconds=total_seconds(candidates.seconds))
            tell(job, best.history)
            return best
    except KeyboardInterrupt:
        if not found:
            raise
    best = next(iter(found.values()))
    tell(job, best.history)
    return dataclasses.replace(best, interrupted=True)


class _Candidates:
    """Everything that is compared, by name; the paper's alternation is run once for each size of the sample."""

    def __init__(
        self, make_job: Callable[[int], Job], k: int, observation: Observation, alpha: ArrayLike | Tensor | None
    ) -> None:
        self._make_job, self._k, self._observation, self._alpha = make_job, k, observation, alpha
        self._started: dict[int, list[Started]] = {}
        self.seconds: list[dict[str, float]] = []

    def __iter__(self) -> Iterator[tuple[str, Solution]]:
        job = self._job(self._k)
        for one in self._learned(self._k):
            yield f"surrogate, from {one.start}", one.solution
        if self._observation != "surrogate":
            followed = self._learned(followed_size(job))[0].solution
            corrected = followed if followed.interrupted else learn_posterior(job, self._alpha, followed)
            self.seconds.append(corrected.phase_seconds)
            yield "posterior", corrected
        if self._observation == "filter":
            many = self._learned(memory_size(job.game, job.solver))[0].solution
            yield "filter", remember(many, job.game, self._k)
        if CountSimplex(self._k, job.game.num_sl).can_be_listed:
            yield from _hold(job, self._k).items()

    def _job(self, k: int) -> Job:
        return dataclasses.replace(self._make_job(k), callback=None, curve=None)

    def _learned(self, k: int) -> list[Started]:
        """What the paper's alternation finds for k agents, from every start."""
        if k not in self._started:
            self._started[k] = learn_from_starts(self._job(k))
            self.seconds += [one.solution.phase_seconds for one in self._started[k]]
        return self._started[k]


def _chosen(job: Job, found: dict[str, Solution]) -> Solution:
    """Play all, take the best, and measure by how much it is."""
    played = {name: play(job, solution) for name, solution in found.items()}
    order = sorted(found, key=lambda name: -played[name].mean)
    choices = tuple(Choice(name, found[name].value, played[name].mean, played[name].sem) for name in order)
    best = found[order[0]]
    rival = next((found[name] for name in order[1:] if played[name].mean != played[order[0]].mean), None)
    margin = None
    if rival is not None:
        margin = paired_difference(job.game, best, rival, seed=job.seed + 2, **length(job, EPISODES))
    return dataclasses.replace(best, selection=Selection("rollout", choices, margin))


def _hold(job: Job, k: int) -> dict[str, Solution]:
    """Hold s_g, walk to it: a pair that nobody has to learn. Its value is the same for every k: it sees nothing."""
    game, pi_l = job.game, WALKERS["walk"](job.game)
    simplex, one = (CountSimplex(size, game.num_sl, game.device) for size in (k, 1))
    if simplex.size * game.num_sg * game.num_ag > LARGEST_TABLE:
        return {}
    rule = RULES["hold"](game)
    value = joint_value(Surrogate.build(game, pi_l, PairPlan(one)), table(game, rule, one))
    pair = Solution(
        k=k,
        pi_g=table(game, rule, simplex),
        pi_l=pi_l,
        value=value.mean,
        eta=job.rules.eta(value, value),
        eta_paper=job.rules.eta_paper,
        history=(),
        converged=True,
        solver=job.solver,
        seed=job.seed,
        game_name=game.name,
        phase_seconds={},
    )
    return {"hold + walk": pair}
