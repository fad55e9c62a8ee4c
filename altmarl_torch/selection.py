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

from altmarl_torch.bellman import Surrogate
from altmarl_torch.choices import Choice, Selection
from altmarl_torch.evaluation import joint_value
from altmarl_torch.finite import Difference, paired_difference
from altmarl_torch.heuristics import RULES, WALKERS, table
from altmarl_torch.observing import episodes_of, horizon_of, learn_posterior, memory_size, remember, total_seconds
from altmarl_torch.pair_moves import PairPlan
from altmarl_torch.players import Job
from altmarl_torch.rollout import Rollouts, rollout
from altmarl_torch.simplex import CountSimplex
from altmarl_torch.solution import LARGEST_TABLE, Observation, Solution
from altmarl_torch.starts import learn_from_starts, tell

__all__ = ["select_by_rollout", "select_by_value"]

EPISODES = 2_000
"""Episodes that all candidates share, and fresh ones for the margin."""


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
    try:
        for name, solution in _candidates(make_job, k, observation, alpha):
            found[name] = solution
            if solution.interrupted:
                break
        else:
            return _chosen(job, found)
    except KeyboardInterrupt:
        if not found:
            raise
    best = next(iter(found.values()))
    tell(job, best.history)
    return dataclasses.replace(best, interrupted=True)


def _candidates(
    make_job: Callable[[int], Job], k: int, observation: Observation, alpha: ArrayLike | Tensor | None
) -> Iterator[tuple[str, Solution]]:
    """Everything that is compared, by name."""
    quiet = dataclasses.replace(make_job(k), callback=None, curve=None)
    for one in learn_from_starts(quiet):
        yield f"surrogate, from {one.start}", one.solution
    if observation != "surrogate":
        yield "posterior", learn_posterior(quiet, alpha)
    if observation == "filter":
        many = dataclasses.replace(make_job(memory_size(quiet.game, quiet.solver)), callback=None, curve=None)
        yield "filter", remember(learn_from_starts(many)[0].solution, quiet.game, k)
    if CountSimplex(k, quiet.game.num_sl).can_be_listed:
        yield from _hold(quiet, k).items()


def _chosen(job: Job, found: dict[str, Solution]) -> Solution:
    """Play all, take the best, and measure by how much it is."""
    played = {name: _play(job, solution) for name, solution in found.items()}
    order = sorted(found, key=lambda name: -played[name].mean)
    choices = tuple(Choice(name, found[name].value, played[name].mean, played[name].sem) for name in order)
    best = found[order[0]]
    rival = next((name for name in order[1:] if played[name].mean != played[order[0]].mean), None)
    margin = None if rival is None else _margin(job, best, found[rival])
    tell(job, best.history)
    return dataclasses.replace(
        best,
        selection=Selection("rollout", choices, margin),
        phase_seconds=total_seconds([solution.phase_seconds for solution in found.values()]),
    )


def _play(job: Job, solution: Solution) -> Rollouts:
    horizon = horizon_of(job.game)
    return rollout(job.game, solution, episodes=episodes_of(job, EPISODES), horizon=horizon, seed=job.seed + 1)


def _margin(job: Job, best: Solution, rival: Solution) -> Difference:
    horizon = horizon_of(job.game)
    return paired_difference(
        job.game, best, rival, episodes=episodes_of(job, EPISODES), horizon=horizon, seed=job.seed + 2
    )


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
