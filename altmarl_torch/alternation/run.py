"""One run of the alternation: which surrogate, from where, by whom it is watched.

`solve` may run the alternation many times: from several starts, for several sizes of the sample, under several priors.
Each time is an `AlternationRun`, derived from the first by `at`, `starting_at`, `quiet` and `dataclasses.replace`. What
depends on k (the rules of UPDATE, with the paper's eta; the number of reward draws) is computed from the run's own k,
so that a run for another k is the same run with another k and nothing else.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from altmarl_torch.alternation.checkpoints import CheckpointFolder
from altmarl_torch.alternation.loop import Curve, Rules, Update, automatic_eta
from altmarl_torch.alternation.memory import memory_size
from altmarl_torch.alternation.options import Learning, Options
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.words import Observation, Solver, is_infinite
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import LARGEST_ROLLOUT, rollout
from altmarl_torch.games.game import Game
from altmarl_torch.games.naming import NAMES
from altmarl_torch.learners.chains.chain import chain_form, require_planned
from altmarl_torch.learners.lifted.degrees import check_degree
from altmarl_torch.learners.neural.policies import UniformPolicy
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.surrogate import LARGEST_COUNTED, check_count
from altmarl_torch.learners.settings import MOST_XI, Settings
from altmarl_torch.operators.joint_value import value_span
from altmarl_torch.policies.base import Pair, check_pair
from altmarl_torch.policies.rules import table
from altmarl_torch.policies.tabular import check_pi_g, check_pi_l, uniform_global, uniform_local
from altmarl_torch.support.digests import known_as
from altmarl_torch.support.snapshots import WorkInProgress
from altmarl_torch.support.tables import as_device
from altmarl_torch.theory import eta_algorithm_3, xi_lemma_f4

__all__ = ["EPISODES", "AlternationRun", "asked", "fit", "warn_if_vacuous"]

OF_MACHINE = ("device", "compile")
"""Options that change where and how fast something is computed, and of its result no more than rounding."""

FEW_AGENTS = 20
"""With fewer agents than this, what one of them does to the others is no small thing."""

EPISODES = 2_000
"""Episodes of n agents that judge a pair."""

HORIZON, TAIL = 100, 1e-3
"""Their length: fewer steps where gamma^t falls below TAIL."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class AlternationRun:
    """One run of the alternation.

    Attributes:
        game: on the device on which it is solved.
        options: what `solve` was asked.
        k: the size of the sample that this run learns for.
        network: to be trained; None for a new one.
        steps: proposals of each player at most.
        callback, curve: who is told; None for a run that is not the one to be watched.
        prior: of the posterior correction; None without it.
        start: the pair that it begins from; None for uniform policies.
        before_lifted: pi_l that the lifted functions before networks begin from; None for the uniform one.
        only_global: whether pi_l stays as it is.
        folder: of checkpoints; None keeps none.
        work: where long computations keep half-done work; None keeps none.
        tolerance: error of values on tables, relative to their span; None for that of `value_tolerance`.
    """

    game: Game
    options: Options
    k: int
    network: nn.Module | None
    steps: int
    callback: Callable[[Update], None] | None
    curve: Curve | None
    prior: Prior | None = None
    start: Pair[Any] | None = None
    before_lifted: Tensor | None = None
    only_global: bool = False
    folder: CheckpointFolder | None = None
    work: WorkInProgress | None = None
    tolerance: float | None = None

    @classmethod
    def of(cls, game: Game, options: Options) -> "AlternationRun":
        """The run that options ask for, on a game that fits them.

        Raises:
            ArgumentError: the folder of checkpoints is that of another call.
        """
        keeping, folder = options.keeping, None
        if keeping.checkpoints is not None:
            folder = CheckpointFolder(Path(keeping.checkpoints), asked(options, game))
            folder.check()
        k = options.problem.k
        run = cls(
            game,
            options,
            game.n if math.isinf(k) else int(k),
            options.learning.network,
            options.stopping.steps,
            keeping.callback,
            keeping.curve,
            folder=folder,
        )
        return run if options.learning.start is None else run.beginning_with(options.learning.start)

    def at(self, k: int) -> "AlternationRun":
        """The same run for a sample of k, from the start that it has there."""
        run = dataclasses.replace(self, k=k)
        return run if self.start is None else run.starting_at(self.start.pi_l)

    def starting_at(self, pi_l: Tensor) -> "AlternationRun":
        """The same run from `pi_l [sl, sg, al]` and a uniform pi_g."""
        return dataclasses.replace(self, start=Pair(self._uniform_pi_g(), pi_l))

    def beginning_with(self, pair: Any) -> "AlternationRun":
        """The same run from an earlier pair: its pi_l, and of a solution what pi_g does, at whatever k.

        On tables pi_g is read as `Solution.seeing` reads it; a network is trained on, if it is of the same kind.
        """
        check_pair("start", pair)
        pi_l = check_pi_l(self.game, pair.pi_l.to(self.game.device))
        run = self.starting_at(pi_l)
        if not isinstance(pair, Solution) or pair.belief is not None:
            return run
        if self.options.learning.solver == "tabular":
            simplex, there = CountSimplex(self.k, self.game.num_sl), self.game.to(pair.pi_l.device)
            pi_g = check_pi_g(there, table(there, pair.rule_at(self.k), simplex), simplex)
            return dataclasses.replace(run, start=Pair(pi_g.to(self.game.device), pi_l))
        network = getattr(pair.policy, "network", None)
        same = self.options.learning.solver == "neural" and self.network is None and network is not None
        return dataclasses.replace(run, network=network) if same else run

    def on(self, solver: Solver, k: int) -> "AlternationRun":
        """The same run by another solver, for one k, exactly, of which nobody is told: where another one may begin.

        "population" is of networks alone; where it has such a start, all agents are seen.
        """
        learning = dataclasses.replace(
            self.options.learning, solver=solver, l_learner="auto", m=None, xi=None, degree=None
        )
        observation = self.options.problem.observation
        seen: Observation = "surrogate" if observation == "population" else observation
        problem = dataclasses.replace(self.options.problem, k=k, sizes=None, observation=seen)
        options = dataclasses.replace(self.options, problem=problem, learning=learning)
        return dataclasses.replace(self.quiet(), options=options, folder=None, work=None)

    def quiet(self) -> "AlternationRun":
        """The same run, of which nobody is told."""
        return dataclasses.replace(self, callback=None, curve=None)

    @property
    def samples(self) -> SampleSizes:
        """How many agents the global agent sees: k, or where several are learned any of them."""
        return SampleSizes.of(self.options.problem.sizes or self.k)

    @property
    def population(self) -> int | None:
        """How many agents are played where k of them are seen ("population"): all n, as far as float32 counts."""
        played = min(self.game.n, LARGEST_COUNTED)
        return played if self.options.problem.observation == "population" and self.k < played else None

    @property
    def sees_all(self) -> bool:
        """Whether k = inf is asked for: pi_g is learned for infinitely many agents, and is shown all n."""
        return math.isinf(self.options.problem.k)

    @property
    def first_pair(self) -> Pair[Any]:
        """Where it begins: the start, or uniform policies."""
        return self.start or Pair(self._uniform_pi_g(), uniform_local(self.game))

    @cached_property
    def rules(self) -> Rules:
        """UPDATE's tolerance, as a function of the values compared, for this game and k."""
        stopping, paper = self.options.stopping, eta_algorithm_3(self.game, self.k)
        accept, eta = stopping.accept, stopping.eta
        if eta == "auto":
            automatic = partial(automatic_eta, value_span(self.game), accept=accept)
            return Rules(accept, automatic, paper, adopt_better=accept == "mean")
        fixed = paper if eta == "paper" else float(eta)
        return Rules(accept, lambda proposed, current: fixed, paper)

    @property
    def reward_draws(self) -> int | None:
        """xi: how many draws of the rewards are averaged; None for their means."""
        xi = self.options.learning.xi
        if xi != "lemma":
            return xi
        wanted = xi_lemma_f4(self.game, self.k)
        if wanted > MOST_XI:
            logger.warning("Lemma F.4 asks for xi = %.4g reward draws; %d are made", wanted, MOST_XI)
        return min(wanted, MOST_XI)

    @property
    def training(self) -> Settings:
        """How networks are trained."""
        learning = self.options.learning
        return Settings(draws=learning.m or 1, learning_rate=learning.learning_rate, compile=learning.compile)

    def tell(self, history: Sequence[Update]) -> None:
        """Report updates to whoever listens: those of the run that was chosen, or of one that was broken off."""
        for update in history if self.callback else ():
            self.callback(update)  # type: ignore[misc]  # asked in the same line

    def play(self, solution: Solution) -> Rollouts:
        """Episodes of n agents, the same for all candidates."""
        return rollout(self.game, solution, **self.common_episodes)

    @property
    def common_episodes(self) -> dict[str, int]:
        """The episodes by which candidates are compared: arguments of `rollout`."""
        return {"seed": self.options.learning.seed + 1, **self.length(EPISODES)}

    def length(self, episodes: int) -> dict[str, int]:
        """How many episodes, and how long: as many as are wanted, or as half of a rollout's memory has room for."""
        game = self.game
        kept = min(self.k, game.n - self.k) + game.num_sl + 1
        steps = 2 if game.gamma == 0 else math.ceil(math.log(TAIL) / math.log(game.gamma))
        room = LARGEST_ROLLOUT // 2 // kept
        return {"episodes": max(2, min(episodes, room)), "horizon": max(2, min(HORIZON, steps))}

    def _uniform_pi_g(self) -> Any:
        """Every action alike, as the solver has it; of a table one row is held, which all counts share."""
        game = self.game
        if self.options.learning.solver != "tabular":
            return UniformPolicy(game.num_sg, game.num_ag)
        row = uniform_global(game, CountSimplex(0, game.num_sl, game.device))
        return row.expand(-1, CountSimplex(self.k, game.num_sl, game.device).size, -1)


def warn_if_vacuous(run: AlternationRun) -> None:
    """Say so where the paper's eta is asked for and can accept nothing."""
    paper, v_max = run.rules.eta_paper, run.game.v_max
    if run.options.stopping.eta == "paper" and 2 * paper >= v_max:
        logger.warning(
            "eta='paper' is vacuous here: 2 eta = %.4g, but no value exceeds V_max = %.4g, so no proposal can be "
            "accepted; use eta='auto' or a number",
            2 * paper,
            v_max,
        )


def fit(options: Options, game: Game) -> Game:
    """The game, on the device on which it is to be solved.

    Raises:
        ArgumentError: k is not in 1..n, the device is not there, or xi is given for rewards that are deterministic.
        SizeError: the counts of k agents are too many to list, float32 does not count to k, or a degree has too
            many coefficients.
    """
    k, learning = _check_k(options, game), options.learning
    if learning.xi is not None and not game.has_random_rewards:
        raise ArgumentError("xi draws stochastic rewards, and this game's are deterministic: give r_g or r_l as a law")
    device = as_device(learning.device)
    if learning.solver == "auto":
        return game.to(device)  # sizes are asked for when the solver is known
    learned = memory_size(game, learning.solver) if options.problem.observation == "filter" else k
    for size in {learned, k} if learning.select == "rollout" else {learned}:
        _check_size(game, size, learning)
    return game.to(device)


def asked(options: Options, game: Game) -> dict[str, object]:
    """Whatever the result follows from, by name, as JSON's types: numbers and words, digests of everything else."""
    names = [field.name for field in dataclasses.fields(game) if field.name != "name"]
    values = {name: getattr(game, name) for name in names if name not in NAMES.values()}  # which change no result
    for record in (options.problem, options.learning, options.stopping):
        values |= {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    if (start := options.learning.start) is not None:
        values["start"] = {name: getattr(start, name, None) for name in ("k", "pi_l", "pi_g")}
    return {
        name: str(value) if is_infinite(value) else known_as(value)
        for name, value in values.items()
        if name not in OF_MACHINE
    }


def _check_k(options: Options, game: Game) -> int:
    """How many agents are seen; an ArgumentError unless the game has them and the solver can count them."""
    if not is_infinite(options.problem.k):
        return game.check_k(options.problem.k)  # type: ignore[arg-type]  # which is a whole number
    if options.learning.solver not in ("lifted", "auto"):
        raise ArgumentError(f"k = inf needs solver='lifted' (or 'auto'), not {options.learning.solver!r}")
    if options.problem.objective == "own" and game.n < FEW_AGENTS:
        raise ArgumentError(
            f"k = inf with objective='own' takes an agent for nothing among the others, and this game has n = "
            f"{game.n}: use k <= {game.n}, or a game of at least {FEW_AGENTS} agents"
        )
    return game.n


def _check_size(game: Game, k: int, learning: Learning) -> None:
    """Raise a SizeError where networks cannot count to k, the counts cannot be listed, or the chain cannot."""
    if learning.solver == "neural":
        check_count(k)
    elif learning.solver == "lifted":
        if learning.degree is not None:
            check_degree(learning.degree, game.num_sl, k)
    else:
        CountSimplex(k, game.num_sl).require_listed()
    if learning.chain is not None:
        require_planned(chain_form(game, k, learning.chain.form), game, k)
