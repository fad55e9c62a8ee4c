"""Selection by the real system: whatever was learned, and what was not, played on n agents.

A joint value is a number of a model: of the k-agent surrogate, or of the corrected one, each for its own k. It cannot
say which model to trust. n agents can. `select="rollout"` plays every candidate on the same episodes,

    every start of the paper's alternation                          (`starts`)
    the corrected pair, by its own search over priors               "posterior" and "filter" (`prior_search`)
    the same for fewer agents, of those that are seen               `fewer`
    the dispatcher with a memory                                    observation="filter"
    the same, acting to learn (`learners.beliefs`)                  observation="filter", where values are fitted soon
    hold + walk, which looks at nothing, and the best rule          `policies.yardsticks`

and takes the highest mean return: so no observation model is worse than not looking, nor than asking fewer, up to the
noise of the comparison.
The observation that is asked for is the *largest class* that is tried: "surrogate" stays with functions of (s_g, h)
that the paper's operators find; "filter" admits a memory.

**Forgetting.** With pi_g learned for j agents, draw j of the k that are seen and do what pi_g does at their counts g.
That is a policy for k agents, the mean over the j-subsamples of h (`counts.simplex.lift`),

    pi_g^k(. | s_g, h)  =  sum_g  pi_g(. | s_g, g)  prod_z C(h_z, g_z) / C(k, j).

Of the n agents the j that are left are a uniform sample like any other, so that on n agents it earns what the pair of j
earns.

The winner's margin over the runner-up is measured again on fresh episodes, in pairs, since the best of several is
flattered by the episodes that chose it. `select="value"`, the default, takes the start with the best joint value, and
leaves the observation model as it is asked for.
"""

import dataclasses
import time
from collections.abc import Iterator

from einops import rearrange

from altmarl_torch.alternation.memory import memory_size, remember
from altmarl_torch.alternation.prior_search import followed_size, learn_posterior, total_seconds
from altmarl_torch.alternation.run import EPISODES, AlternationRun
from altmarl_torch.alternation.solution import Selection, Solution, TriedPair
from altmarl_torch.alternation.solution_files import LARGEST_TABLE
from altmarl_torch.alternation.starts import Started, learn_from_starts
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.evaluation.paired import paired_difference
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.learners.beliefs.fitting import fit_belief_values, work_of
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.policies.rules import NEVER_LOOK, HeuristicPair, table
from altmarl_torch.policies.yardsticks import yardsticks

__all__ = ["fewer", "forget", "select_by_rollout", "select_by_value"]

EVERY_SIZE = 8
"""Up to so many agents the next smaller sample is tried; beyond, where that costs as much again, half of them."""

LARGEST_FIT = 500_000_000
"""Numbers that a fit of values of beliefs keeps at most: about a minute, and 2 GB."""


def select_by_value(run: AlternationRun) -> Solution:
    """The pair with the best joint value of those that a run's starts lead to."""
    found = learn_from_starts(run)
    choices = tuple(TriedPair(f"from {one.start}", one.solution.value, None, None) for one in found)
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
            yield "posterior", self._corrected(run)
        yield from self._smaller()
        if observation == "filter":
            many = self._learned(memory_size(run.game, run.options.learning.solver))[0].solution
            memory = remember(many, run.game, run.k)
            yield "filter", memory
            if work_of(run.game, run.k) <= LARGEST_FIT:
                yield "values of beliefs", self._acting_to_learn(memory)
        if CountSimplex(run.k, run.game.num_sl).size * run.game.num_sg * run.game.num_ag <= LARGEST_TABLE:
            yield from _rules(run)

    def _smaller(self) -> Iterator[tuple[str, Solution]]:
        """Pairs of fewer agents, which forget whom else they see; not of networks, each of which takes minutes."""
        run, observation = self._run, self._run.options.problem.observation
        for j in fewer(run.k) if run.options.learning.solver != "neural" else ():
            if observation == "surrogate":
                name, found = "surrogate", self._learned(j)[0].solution
            else:
                name, found = "posterior", self._corrected(run.at(j))
            shown = forget(found, run.k)
            if shown is not None:
                yield f"{name} of {j}", shown

    def _corrected(self, run: AlternationRun) -> Solution:
        """The corrected pair; what it follows where that was broken off."""
        followed = self._learned(followed_size(run))[0].solution
        if followed.interrupted:
            return followed
        corrected = learn_posterior(run, followed)
        self.seconds.append(corrected.phase_seconds)
        return corrected

    def _acting_to_learn(self, memory: Solution) -> Solution:
        """The same memory, whose dispatcher knows how much it knows."""
        begun, run = time.perf_counter(), self._run
        values = fit_belief_values(run.game, run.k, pi_l=memory.pi_l, seed=run.options.learning.seed)
        self.seconds.append({"g_learn": time.perf_counter() - begun})
        return dataclasses.replace(memory, values=values)

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
    choices = tuple(TriedPair(name, found[name].value, played[name].mean, played[name].sem) for name in order)
    best = found[order[0]]
    rival = next((found[name] for name in order[1:] if played[name].mean != played[order[0]].mean), None)
    margin = None
    if rival is not None:
        seed = run.options.learning.seed + 2
        margin = paired_difference(run.game, best, rival, seed=seed, **run.length(EPISODES))
    return dataclasses.replace(best, selection=Selection("rollout", choices, margin))


def fewer(k: int) -> list[int]:
    """Sizes of smaller samples that are tried beside k, the smallest first."""
    sizes = {1, k - 1 if k <= EVERY_SIZE else k // 2}
    return sorted(size for size in sizes if 0 < size < k)


def forget(solution: Solution, k: int) -> Solution | None:
    """The pair of a smaller sample as one that sees `k` agents, its value that of the smaller sample's model.

    None where it has no table, or would have too large a one.
    """
    num_sl, num_sg, _ = solution.pi_l.shape
    larger, pi_g = CountSimplex(k, num_sl, solution.pi_l.device), solution.pi_g
    if pi_g is None or solution.belief is not None or larger.size * num_sg * pi_g.shape[-1] > LARGEST_TABLE:
        return None
    lifted = lift(rearrange(pi_g, "g h a -> (g a) h").double(), solution.simplex, larger)
    laws = rearrange(lifted, "(g a) h -> g h a", g=num_sg).clamp(0, 1)
    return dataclasses.replace(solution, k=k, pi_g=(laws / laws.sum(-1, keepdim=True)).contiguous(), policy=None)


def _rules(run: AlternationRun) -> Iterator[tuple[str, Solution]]:
    """The rule that holds s_g, and the one that earns most, if that is another: pairs that nobody has to learn."""
    pairs = yardsticks(run.game, run.k)
    hold = next(name for name in NEVER_LOOK if name in pairs)
    yield hold, _fixed(run, pairs[hold])
    earned = {name: rollout(run.game, pair, **run.common_episodes).mean for name, pair in pairs.items()}
    best = max(earned, key=earned.__getitem__)
    if best != hold and earned[best] > earned[hold]:
        yield best, _fixed(run, pairs[best])


def _fixed(run: AlternationRun, pair: HeuristicPair) -> Solution:
    """A rule as a solution; the value of one that sees nothing is the same for every k."""
    game, learning = run.game, run.options.learning
    simplex, small = (
        CountSimplex(size, game.num_sl, game.device) for size in (run.k, 1 if pair.name in NEVER_LOOK else run.k)
    )
    value = joint_value(Surrogate.build(game, pair.pi_l, PairPlan(small)), table(game, pair.rule, small))
    return Solution(
        k=run.k,
        pi_g=table(game, pair.rule, simplex),
        pi_l=pair.pi_l,
        value=value.mean,
        eta=run.rules.eta(value, value),
        eta_paper=run.rules.eta_paper,
        history=(),
        converged=True,
        solver=learning.solver,
        seed=learning.seed,
        game_name=game.name,
        names=game.state_names or None,
        phase_seconds={},
    )
