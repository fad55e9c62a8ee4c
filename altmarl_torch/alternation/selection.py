"""Selection by the real system: whatever was learned, and what was not, played on n agents.

A joint value is a number of a model: of the k-agent surrogate, or of the corrected one, each for its own k. It cannot
say which model to trust. n agents can. `select="rollout"` plays every candidate on the same episodes,

    every start of the paper's alternation                          (`starts`)
    the corrected pair, by its own search over priors               "posterior" and "filter" (`prior_search`)
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
from collections.abc import Iterator

from altmarl_torch.alternation.memory import memory_size, remember
from altmarl_torch.alternation.prior_search import followed_size, learn_posterior, total_seconds
from altmarl_torch.alternation.run import EPISODES, AlternationRun
from altmarl_torch.alternation.solution import Choice, Selection, Solution
from altmarl_torch.alternation.solution_files import LARGEST_TABLE
from altmarl_torch.alternation.starts import Started, learn_from_starts
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.evaluation.paired import paired_difference
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import RULES, WALKERS, table

__all__ = ["select_by_rollout", "select_by_value"]


def select_by_value(run: AlternationRun) -> Solution:
    """The pair with the best joint value of those that a run's starts lead to."""
    found = learn_from_starts(run)
    choices = tuple(Choice(f"from {one.start}", one.solution.value, None, None) for one in found)
    return dataclasses.replace(found[0].solution, selection=Selection("value", choices, None))


def select_by_rollout(run: AlternationRun) -> Solution:
    """The pair that earns most on n agents, of all candidates up to the observation that is asked for.

    An interrupt ends with the first candidate; it is passed on where there is none.
    """
    candidates, found = _Candidates(run), dict[str, Solution]()
    try:
        for name, solution in candidates:
            found[name] = solution
            if solution.interrupted:
                raise KeyboardInterrupt
        best = dataclasses.replace(_chosen(run, found), phase_seconds=total_seconds(candidates.seconds))
    except KeyboardInterrupt:
        if not found:
            raise
        best = dataclasses.replace(next(iter(found.values())), interrupted=True)
    run.tell(best.history)
    return best


class _Candidates:
    """Everything that is compared, by name; the paper's alternation is run once for each size of the sample."""

    def __init__(self, run: AlternationRun) -> None:
        self._run, self._started = run.quiet(), dict[int, list[Started]]()
        self.seconds: list[dict[str, float]] = []

    def __iter__(self) -> Iterator[tuple[str, Solution]]:
        run, observation = self._run, self._run.options.problem.observation
        for one in self._learned(run.k):
            yield f"surrogate, from {one.start}", one.solution
        if observation != "surrogate":
            followed = self._learned(followed_size(run))[0].solution
            corrected = followed if followed.interrupted else learn_posterior(run, followed)
            self.seconds.append(corrected.phase_seconds)
            yield "posterior", corrected
        if observation == "filter":
            many = self._learned(memory_size(run.game, run.options.learning.solver))[0].solution
            yield "filter", remember(many, run.game, run.k)
        if CountSimplex(run.k, run.game.num_sl).can_be_listed:
            yield from _hold(run).items()

    def _learned(self, k: int) -> list[Started]:
        """What the paper's alternation finds for k agents, from every start."""
        if k not in self._started:
            self._started[k] = learn_from_starts(self._run.at(k))
            self.seconds += [one.solution.phase_seconds for one in self._started[k]]
        return self._started[k]


def _chosen(run: AlternationRun, found: dict[str, Solution]) -> Solution:
    """Play all, take the best, and measure by how much it is."""
    played = {name: run.play(solution) for name, solution in found.items()}
    order = sorted(found, key=lambda name: -played[name].mean)
    choices = tuple(Choice(name, found[name].value, played[name].mean, played[name].sem) for name in order)
    best = found[order[0]]
    rival = next((found[name] for name in order[1:] if played[name].mean != played[order[0]].mean), None)
    margin = None
    if rival is not None:
        seed = run.options.learning.seed + 2
        margin = paired_difference(run.game, best, rival, seed=seed, **run.length(EPISODES))
    return dataclasses.replace(best, selection=Selection("rollout", choices, margin))


def _hold(run: AlternationRun) -> dict[str, Solution]:
    """Hold s_g, walk to it: a pair that nobody has to learn. Its value is the same for every k: it sees nothing."""
    game, learning, pi_l = run.game, run.options.learning, WALKERS["walk"](run.game)
    simplex, one = (CountSimplex(size, game.num_sl, game.device) for size in (run.k, 1))
    if simplex.size * game.num_sg * game.num_ag > LARGEST_TABLE:
        return {}
    rule = RULES["hold"](game)
    value = joint_value(Surrogate.build(game, pi_l, PairPlan(one)), table(game, rule, one))
    pair = Solution(
        k=run.k,
        pi_g=table(game, rule, simplex),
        pi_l=pi_l,
        value=value.mean,
        eta=run.rules.eta(value, value),
        eta_paper=run.rules.eta_paper,
        history=(),
        converged=True,
        solver=learning.solver,
        seed=learning.seed,
        game_name=game.name,
        phase_seconds={},
    )
    return {"hold + walk": pair}
