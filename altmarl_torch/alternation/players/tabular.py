"""The tabular learners and their evaluator, as the alternation loop knows them.

Thin adapters: the mathematics is in `g_learn`, `l_learn` and `evaluation`; here a pair comes in, a proposal goes out,
and what one turn has found warms the next (`TabularMemory`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Curve, Learner, PhaseProgress, Player, Players, Proposal
from altmarl_torch.alternation.players.announcing import announce
from altmarl_torch.alternation.players.problems import GlobalFunction, GlobalProblem, LocalFunction, LocalProblem
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex, lift, scale_up
from altmarl_torch.errors import AltMarlError, PolicyError
from altmarl_torch.learners.chains.explorer import Bounds
from altmarl_torch.learners.chains.l_learn import chain_l_learn
from altmarl_torch.learners.settings import ChainSettings
from altmarl_torch.learners.tabular.g_learn import g_learn
from altmarl_torch.learners.tabular.l_learn import expected_seconds, l_learn
from altmarl_torch.operators.joint_value import DIRECT, JointValue, joint_value, span_tolerance
from altmarl_torch.operators.surrogate import Surrogate, SurrogateCache
from altmarl_torch.operators.two_grid import COARSEST
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.tabular import check_pi_g, check_pi_l
from altmarl_torch.support.digests import digest
from altmarl_torch.support.snapshots import WorkInProgress

__all__ = [
    "ChainLocalLearner",
    "GivenGlobalLearner",
    "GivenLocalLearner",
    "TabularEvaluator",
    "TabularGlobalLearner",
    "TabularLocalLearner",
    "TabularMemory",
    "tabular_players",
]


def _watch(progress: PhaseProgress | None, phase: str) -> Callable[[int, float], None] | None:
    return None if progress is None else lambda sweeps, error: progress(phase, sweeps, error)


@dataclass(frozen=True, eq=False)
class TabularMemory:
    """What the turns on tables leave for later ones.

    Attributes:
        for_g, for_l: generators of G-LEARN's draws, and of UCFH's episodes.
        is_first: whether the global agent has had no turn yet.
        answer: digest of its last exact response, pi_l and all; None for none.
        law: the discounted law of (s_g, h) that L-LEARN found last.
        episodes: of UCFH, in all turns so far.
    """

    for_g: torch.Generator
    for_l: torch.Generator
    is_first: bool = True
    answer: str | None = None
    law: Tensor | None = None
    episodes: int = 0


@dataclass(frozen=True, eq=False)
class TabularGlobalLearner:
    """Proposes by G-LEARN (Algorithm 1)."""

    surrogates: SurrogateCache
    m: int | None  # draws of T-hat_{k,m}; None for the exact operator
    progress: PhaseProgress | None = None
    xi: int | None = None  # draws of the rewards (Algorithm 10); None for their means
    tolerance: float | None = None  # error of Q, in units of value
    player: Player = "global"
    phase: str = "g_learn"

    def propose(
        self, pair: Pair[Tensor], value: JointValue, memory: TabularMemory
    ) -> tuple[Proposal[Tensor], TabularMemory]:
        """The best response to `pair.pi_l`; on small tables, after the first turn, from the value of the pair.

        Where `pair` is this player's own last response to the same pi_l, there is nothing to be found again.
        """
        if memory.answer is not None and memory.answer == digest(pair):
            return Proposal(pair, value.values, value, 0, {"g_learn/sweeps": 0, "g_learn/error": value.error}), memory
        generator, is_exact = memory.for_g.clone_state(), self.m is None and self.xi is None
        found = g_learn(
            self.surrogates(pair.pi_l),
            m=self.m,
            generator=generator,
            parameterization="counts" if is_exact else "paper",  # exactly, both give the same policy
            xi=self.xi,
            tolerance=self.tolerance,
            start=None if memory.is_first or self.surrogates.plan.simplex.size > COARSEST else value.values,
            progress=_watch(self.progress, self.phase),
        )
        proposed = Pair(found.pi_g, pair.pi_l)
        details: dict[str, float | int | str] = {
            "g_learn/sweeps": found.sweeps,
            "g_learn/error": found.error,
            "g_learn/parameterization": found.parameterization,
        }
        answer = digest(proposed) if is_exact else None
        left = replace(memory, for_g=generator, is_first=False, answer=answer)
        joint = found.joint if found.values.numel() > DIRECT else None  # small chains are solved to the last digit
        return Proposal(proposed, found.values, joint, found.sweeps, details), left


@dataclass(frozen=True, eq=False)
class TabularLocalLearner:
    """Proposes by the model-based L-LEARN."""

    surrogates: SurrogateCache
    objective: Objective
    progress: PhaseProgress | None = None
    tolerance: float | None = None  # error of values
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Tensor], value: JointValue, memory: TabularMemory
    ) -> tuple[Proposal[Tensor], TabularMemory]:
        """The best response to `pair.pi_g`, from `pair.pi_l`."""
        team = self.objective == "team"
        found = l_learn(
            self.surrogates.game,
            pair.pi_g,
            pair.pi_l,
            self.surrogates.plan,
            objective=self.objective,
            tolerance=self.tolerance,
            value=value if team else None,
            start_law=memory.law,
            surrogates=self.surrogates if team else None,
            prior=self.surrogates.prior,
            progress=_watch(self.progress, self.phase),
        )
        details: dict[str, float | int | str] = {
            "l_learn/rounds": found.rounds,
            "l_learn/changes_tried": found.changes_tried,
            "l_learn/objective_value": found.value,
        }
        joint = found.joint if team else None  # under its own reward, the value says nothing of the team's
        proposal = Proposal(Pair(pair.pi_g, found.pi_l), value.values, joint, found.sweeps, details)
        return proposal, replace(memory, law=found.law)


@dataclass(frozen=True, eq=False)
class ChainLocalLearner:
    """Proposes by L-LEARN as specified (Algorithm 2): UCFH on a chained MDP."""

    surrogates: SurrogateCache
    objective: Objective
    settings: ChainSettings
    progress: PhaseProgress | None = None
    curve: Curve | None = None
    work: WorkInProgress | None = None
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Tensor], value: JointValue, memory: TabularMemory
    ) -> tuple[Proposal[Tensor], TabularMemory]:
        """The best response to `pair.pi_g`, from nothing but episodes and the exact values of candidates."""
        generator = memory.for_l.clone_state()
        found = chain_l_learn(
            self.surrogates.game,
            pair.pi_g,
            self.surrogates.plan.simplex.k,
            objective=self.objective,
            settings=self.settings,
            pi_l=pair.pi_l,
            seed=generator,
            surrogates=self.surrogates,
            progress=partial(self._watch, memory.episodes),
            work=self.work,
        )
        details: dict[str, float | int | str] = {
            "l_learn/episodes": found.learned.episodes,
            "l_learn/plans": found.learned.plans,
            "l_learn/certified": int(found.learned.certified),
            "l_learn/chain_form": found.chain.form,
            "l_learn/chain_states": found.chain.num_states,
            "l_learn/chain_value": found.chain_value,
            "l_learn/lost_by_projection": found.lost,
            "l_learn/objective_value": found.value,
            "l_learn/given_up": found.given_up,
        }
        proposal = Proposal(Pair(pair.pi_g, found.pi_l), None, found.joint, found.learned.plans, details)
        return proposal, replace(memory, for_l=generator, episodes=memory.episodes + found.learned.episodes)

    def _watch(self, before: int, bounds: Bounds) -> None:
        """Tell the reader how far the bounds are apart, and TensorBoard where they are."""
        if self.progress:
            self.progress(self.phase, bounds.episodes, bounds.upper - bounds.lower)
        if self.curve and bounds.episodes:
            points = {"l_learn/value_lower": bounds.lower, "l_learn/value_upper": bounds.upper}
            self.curve(before + bounds.episodes, points)


@dataclass(frozen=True, eq=False)
class GivenGlobalLearner:
    """Proposes what a function of the caller's returns (`g_learner=`)."""

    surrogates: SurrogateCache
    function: GlobalFunction
    player: Player = "global"
    phase: str = "g_learn"

    def propose(
        self, pair: Pair[Tensor], value: JointValue, memory: TabularMemory
    ) -> tuple[Proposal[Tensor], TabularMemory]:
        """The function's answer to `pair.pi_l`, from `pair.pi_g`; a PolicyError where it is no policy."""
        game, simplex, (seed, generator) = self.surrogates.game, self.surrogates.plan.simplex, _next_seed(memory.for_g)
        problem = GlobalProblem(game.to("cpu"), pair.pi_l.cpu(), simplex.k, seed)
        found = self.function(problem, pair.pi_g.cpu().clone())
        pi_g = _checked("g_learner", lambda: check_pi_g(game, _on(game.device, found), simplex))
        return Proposal(Pair(pi_g, pair.pi_l), value.values, None, 0), replace(memory, for_g=generator)


@dataclass(frozen=True, eq=False)
class GivenLocalLearner:
    """Proposes what a function of the caller's returns (`l_learner=`)."""

    surrogates: SurrogateCache
    objective: Objective
    function: LocalFunction
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Tensor], value: JointValue, memory: TabularMemory
    ) -> tuple[Proposal[Tensor], TabularMemory]:
        """The function's answer to `pair.pi_g`, from `pair.pi_l`; a PolicyError where it is no policy."""
        game, (seed, generator) = self.surrogates.game, _next_seed(memory.for_l)
        k, pi_g, pi_l = self.surrogates.plan.simplex.k, pair.pi_g.cpu(), pair.pi_l.cpu()
        problem = LocalProblem(game.to("cpu"), pi_g, pi_l, k, self.objective, seed)
        found = self.function(problem, pi_l.clone())
        answer = _checked("l_learner", lambda: check_pi_l(game, _on(game.device, found)))
        return Proposal(Pair(pair.pi_g, answer), value.values, None, 0), replace(memory, for_l=generator)


def _next_seed(generator: torch.Generator) -> tuple[int, torch.Generator]:
    """A seed that any library takes, and the generator behind it."""
    after = generator.clone_state()
    return int(torch.randint(2**31, (), generator=after, device=after.device)), after


def _on(device: torch.device, table: object) -> Tensor:
    """A function's table, there; what is none goes on as it is, to be refused by name."""
    return table.to(device) if isinstance(table, Tensor) else table  # type: ignore[return-value]


def _checked(learner: str, check: Callable[[], Tensor]) -> Tensor:
    """What the check lets pass; a PolicyError that names the learner elsewhere."""
    try:
        return check()
    except AltMarlError as cause:
        raise PolicyError(f"{learner} must return a policy: {cause}") from cause


@dataclass(frozen=True, eq=False)
class TabularEvaluator:
    """Scores pairs by their exact joint value on the surrogate."""

    surrogates: SurrogateCache
    progress: PhaseProgress | None = None
    tolerance: float | None = None  # error of values

    def evaluate(self, pair: Pair[Tensor], start: Tensor | None) -> JointValue:
        """The joint value of the pair, from `start` or, where there is none, from its value if pi_g saw one agent."""
        surrogate = self.surrogates(pair.pi_l)
        if start is None:
            single = self._single_agent_value(pair)
            if self._is_linear(surrogate, pair.pi_g):
                return replace(single, mean=float((surrogate.initial_law * single.values).sum()))
            start = single.values
        watch = _watch(self.progress, "evaluation")
        return joint_value(surrogate, pair.pi_g, start=start, tolerance=self.tolerance, progress=watch)

    def _single_agent_value(self, pair: Pair[Tensor]) -> JointValue:
        """The value of the pair where k = 1, lifted to k: means of it, which keep its error."""
        simplex = self.surrogates.plan.simplex
        single = CountSimplex(1, simplex.num_sl, simplex.device)
        surrogate = Surrogate.build(self.surrogates.game, pair.pi_l, PairPlan(single))
        value = joint_value(surrogate, pair.pi_g[:, scale_up(single, simplex)])
        return replace(value, values=lift(value.values, single, simplex))

    def _is_linear(self, surrogate: Surrogate, pi_g: Tensor) -> bool:
        """Whether V is linear in the counts: where pi_g (as the uniform one) and r_g look at no sample, and moves are
        exact.
        """
        exact = all(isinstance(kernel, CountKernel) for kernel in surrogate.kernels)
        return exact and surrogate.crowd is None and bool((pi_g == pi_g[:, :1]).all())


def tabular_players(run: AlternationRun) -> Players[Tensor, TabularMemory]:
    """Learners, evaluator and start on tables over the counts of k agents.

    Raises:
        SizeError: there are too many to list.
    """
    game, learning, objective = run.game, run.options.learning, run.options.problem.objective
    plan, progress = PairPlan(CountSimplex(run.k, game.num_sl, game.device)), run.options.keeping.progress
    plan.simplex.require_listed()
    (number,) = np.random.SeedSequence(learning.seed).generate_state(1).tolist()
    for_g, for_l = (torch.Generator(game.device).manual_seed(seed) for seed in (learning.seed, number))
    surrogates = SurrogateCache(game, plan, run.prior)
    tolerance = None if run.tolerance is None else span_tolerance(game, run.tolerance)
    local: Learner[Tensor, TabularMemory] = TabularLocalLearner(surrogates, objective, progress, tolerance)
    if learning.chain is not None:
        local = ChainLocalLearner(surrogates, objective, learning.chain, progress, run.curve, run.work)
    elif callable(learning.l_learner):
        local = GivenLocalLearner(surrogates, objective, learning.l_learner)
    else:
        announce(run, expected_seconds(game, plan), f"{plan.simplex.size:,} counts", "a smaller k takes less")
    coordinator: Learner[Tensor, TabularMemory] = TabularGlobalLearner(
        surrogates, learning.m, progress, run.reward_draws, tolerance
    )
    if learning.g_learner is not None:
        coordinator = GivenGlobalLearner(surrogates, learning.g_learner)
    players = coordinator, local
    return Players(
        players, TabularEvaluator(surrogates, progress, tolerance), run.first_pair, TabularMemory(for_g, for_l)
    )
