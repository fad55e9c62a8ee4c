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
from altmarl_torch.alternation.options import Options
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.evaluation.records import Rollouts
from altmarl_torch.evaluation.rollouts import LARGEST_ROLLOUT, rollout
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.fitting import Settings
from altmarl_torch.learners.neural.policies import UniformPolicy
from altmarl_torch.learners.tabular.q_operators import MOST_XI
from altmarl_torch.operators.joint_value import value_span
from altmarl_torch.policies.base import Pair
from altmarl_torch.policies.tabular import uniform_global, uniform_local
from altmarl_torch.support.snapshots import WorkInProgress
from altmarl_torch.theory import eta_algorithm_3, xi_lemma_f4

__all__ = ["EPISODES", "AlternationRun", "warn_if_vacuous"]

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
        only_global: whether pi_l stays as it is.
        folder: of checkpoints; None keeps none.
        work: where long computations keep half-done work; None keeps none.
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
    only_global: bool = False
    folder: CheckpointFolder | None = None
    work: WorkInProgress | None = None

    @classmethod
    def of(cls, game: Game, options: Options) -> "AlternationRun":
        """The run that options ask for, on a game that fits them.

        Raises:
            ArgumentError: the folder of checkpoints is that of another call.
        """
        keeping, folder = options.keeping, None
        if keeping.checkpoints is not None:
            folder = CheckpointFolder(Path(keeping.checkpoints), options.asked(game))
            folder.check()
        k = options.problem.k
        return cls(
            game,
            options,
            game.n if math.isinf(k) else int(k),
            options.learning.network,
            options.stopping.steps,
            keeping.callback,
            keeping.curve,
            folder=folder,
        )

    def at(self, k: int) -> "AlternationRun":
        """The same run for a sample of k, from the start that it has there."""
        run = dataclasses.replace(self, k=k)
        return run if self.start is None else run.starting_at(self.start.pi_l)

    def starting_at(self, pi_l: Tensor) -> "AlternationRun":
        """The same run from `pi_l [sl, sg, al]` and a uniform pi_g."""
        return dataclasses.replace(self, start=Pair(self._uniform_pi_g(), pi_l))

    def quiet(self) -> "AlternationRun":
        """The same run, of which nobody is told."""
        return dataclasses.replace(self, callback=None, curve=None)

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
        """Every action alike, as the solver has it."""
        game = self.game
        if self.options.learning.solver != "tabular":
            return UniformPolicy(game.num_sg, game.num_ag)
        return uniform_global(game, CountSimplex(self.k, game.num_sl, game.device))


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
