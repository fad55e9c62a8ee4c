r"""Comparisons under common random numbers: of two pairs, and of what the surrogate promises with what n agents earn.

**Paired rollouts, for any n.** Two pairs are rolled out under one seed, so that they meet the same starts and, as far
as their laws allow, the same luck. The mean of the differences of their returns, episode by episode, has less noise
than the difference of two independent means (`support.intervals`).

**Promise against measurement.** A rollout stops after T steps, and leaves out at most gamma^T V_max of the discounted
sum. The promise that it is compared with is stopped as well: T policy backups from zero are exactly the surrogate's
expected return of T steps, so that truncation cancels and the difference is due to n > k alone.
"""

from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.any_game import rollout
from altmarl_torch.evaluation.fleet import Sizes
from altmarl_torch.games.game import LARGEST_N, Game, check_game
from altmarl_torch.operators.bellman import policy_backup
from altmarl_torch.operators.surrogate import Surrogate, exact_surrogate
from altmarl_torch.policies.tabular import TabularPolicies, check_tables
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.support.intervals import LEVEL, Difference
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.threads import one_thread

__all__ = ["Promise", "finite_value", "paired_difference", "surrogate_promise"]


@dataclass(frozen=True)
class Promise:
    """The surrogate's expected return of `horizon` steps beside what the n-agent system earned in as many."""

    promised: float  # exact, on k agents, averaged over the initial law
    measured: float  # mean return of the episodes, on n agents
    difference: Difference  # promised - measured; positive where the surrogate overrates the pair
    truncation: float  # gamma^horizon V_max: what an infinite horizon could add to either
    k: int
    n: int
    horizon: int


def paired_difference(
    game: Game | SimulatedGame,
    first: Any,
    second: Any,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: Sizes = None,
    seed: int = 0,
    level: float = LEVEL,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    newcomers: ArrayLike | Tensor | None = None,
) -> Difference:
    """How much more `first` earns than `second` on n agents: paired rollouts with common random numbers.

    Args:
        game: the tables, gamma, the initial law, and n unless given; or a simulator.
        first: any pair that can be rolled out.
        second: another; the two may see different k.
        episodes: independent pairs of episodes, at least 2.
        horizon: steps of each.
        n: population size instead of `game.n`.
        seed: of both rollouts.
        level: of the interval.
        answer_rate: as in `rollout`, like what follows.
        turnover: chance that an agent is replaced after a step.
        newcomers: law of those who join.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: a policy does not fit the game.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> gain = am.paired_difference(game, am.solve(game, k=3), am.solve(game, k=1), episodes=200)
        >>> gain.low <= gain.mean <= gain.high
        True
    """
    one, other = (
        rollout(
            game,
            pair,
            episodes=episodes,
            horizon=horizon,
            n=n,
            seed=seed,
            answer_rate=answer_rate,
            turnover=turnover,
            newcomers=newcomers,
        ).returns
        for pair in (first, second)
    )
    return Difference.of(one - other, level)


@one_thread()
def surrogate_promise(
    game: Game,
    pair: TabularPolicies,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> Promise:
    """Compare what the k-agent surrogate promises over `horizon` steps with what n agents earn in as many.

    Args:
        game: the tables, gamma, the initial law, and n unless given.
        pair: `pi_g [sg, N_k, ag]` with its simplex, and `pi_l [sl, sg, al]`.
        episodes: independent episodes, at least 2.
        horizon: steps of each, and of the promise.
        n: population size instead of `game.n`.
        seed: of the rollouts.
        level: of the interval of the difference.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: the pair has no tables, or they do not fit the game.
        KernelError: the k agents have no exact kernel.
    """
    check_game(game)
    game = game if n is None else game.replace(n=as_integer("n", n, 1, LARGEST_N, ArgumentError))
    pi_g, pi_l = check_tables(game, pair)
    measured = rollout(game, pair, episodes=episodes, horizon=horizon, seed=seed)
    surrogate = exact_surrogate(game, pi_l, PairPlan(pair.simplex))
    promised = float((surrogate.initial_law * finite_value(surrogate, pi_g, horizon)).sum())
    difference = Difference.of(promised - measured.returns, level)
    return Promise(
        promised, measured.mean, difference, game.gamma**horizon * game.v_max, pair.k, game.n, measured.horizon
    )


def finite_value(surrogate: Surrogate, pi_g: Tensor, horizon: int) -> Tensor:
    """The expected return of `horizon` steps from each (s_g, h), `[sg, N]`: so many policy backups from zero."""
    values = surrogate.start
    for _ in range(horizon):
        values = policy_backup(surrogate, pi_g, values)
    return values
