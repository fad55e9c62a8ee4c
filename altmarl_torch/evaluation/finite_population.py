r"""The system of n agents: what a pair is really worth, and how far that is from what the k-agent surrogate promises.

The surrogate takes the k sampled agents for the whole population. The dispatcher is deployed on n agents instead, of
whom it sees k, drawn anew at every step. Three numbers tell the two apart.

**The exact value, for small n.** Agents are exchangeable, so (s_g, c) with c the counts of all n agents is a Markov
chain. The k sampled ones have counts h with the multivariate hypergeometric law (k draws without replacement),

    H(h | c) = prod_z C(c_z, h_z) / C(n, k),

and the dispatcher's law of a_g, given the population, is that of pi_g averaged over it,

    pi_n(a_g | s_g, c) = sum_h H(h | c) pi_g(a_g | s_g, h).

The population itself moves by the kernel of n agents, and earns r_g + sum_z (c_z / n) r_l_pi(z, s_g). So a pair on n
agents is a joint value (`evaluation`) of the surrogate *of n agents* under pi_n; nothing else is new. Averaging over
the k-subsamples of c is `simplex.lift`, an agent at a time, so no table of size N_n N_k is formed; every step averages
with weights that sum to one, and the rows of pi_n are laws to rounding. Special cases, which are tests: at n = k, pi_n
is pi_g; a pi_g that reads no sample keeps its law, and the value is then linear in the counts and the same for all n.

**Paired rollouts, for any n.** Two pairs are rolled out under one seed, so that they meet the same starts and, as far
as their laws allow, the same luck. The mean of the differences of their returns, episode by episode, has less noise
than the difference of two independent means. With E episodes its interval is

    mean +- t_{E-1} sem,        sem = std / sqrt(E),

t_{E-1} being Student's quantile.

**Promise against measurement.** A rollout stops after T steps, and leaves out at most gamma^T V_max of the discounted
sum. The promise that it is compared with is stopped as well: T policy backups from zero are exactly the surrogate's
expected return of T steps, so that truncation cancels and the difference is due to n > k alone.

References: Abramowitz and Stegun, *Handbook of Mathematical Functions* (1964), 26.7.5 for the quantile; Algorithm 4 of
the paper for the system.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from einops import rearrange
from scipy.special import stdtrit
from torch import Tensor

from altmarl_torch.counts.kernels import CountKernel
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.errors import ArgumentError, KernelError, PolicyError, SizeError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.games.game import LARGEST_N, Game, check_game
from altmarl_torch.operators.bellman import Surrogate, policy_backup
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.policies.base import PolicyPair, check_pi_g, check_pi_l
from altmarl_torch.support.tables import as_integer, as_number
from altmarl_torch.support.threads import one_thread

__all__ = [
    "Difference",
    "PopulationValue",
    "Promise",
    "TablePair",
    "exact_surrogate",
    "finite_value",
    "paired_difference",
    "population_policy",
    "population_value",
    "surrogate_promise",
]

MAX_ENTRIES = 2 * 10**7
"""Entries of the largest pi_n [sg, N_n, ag] that is formed: 160 MB."""

LEVEL = 0.95
"""Default level of the intervals."""


@runtime_checkable
class TablePair(PolicyPair, Protocol):
    """A pair whose global policy is a table: a `Solution` or a `TabularPair`."""

    @property
    def pi_g(self) -> Tensor:
        """Law of a_g given (s_g, h), `[sg, N_k, ag]`."""

    @property
    def simplex(self) -> CountSimplex:
        """The counts of k agents that index `pi_g`."""


@dataclass(frozen=True, eq=False)
class PopulationValue:
    """The exact value of a pair on the n-agent system, in units of discounted reward."""

    values: Tensor  # [sg, N_n] discounted return from each (s_g, c), c in the rank order of `CountSimplex(n, num_sl)`
    mean: float  # its average over the game's initial law of (s_g, c)
    error: float  # bound on the error of every entry
    n: int  # agents in the system
    k: int  # agents that the dispatcher sees


@dataclass(frozen=True)
class Difference:
    """An estimated difference of mean returns, in units of discounted reward, with its confidence interval."""

    mean: float  # the estimate
    sem: float  # its standard error
    low: float  # lower end of the interval
    high: float  # upper end
    level: float  # chance with which such an interval covers the truth

    @classmethod
    def of(cls, samples: Tensor, level: float = LEVEL) -> "Difference":
        """The mean of independent `samples [episodes]` with Student's interval.

        Raises:
            ArgumentError: fewer than two samples, or a level outside (0, 1).
        """
        episodes = as_integer("episodes", len(samples), 2, math.inf, ArgumentError)
        level = as_number("level", level, "(0, 1)", lambda x: 0 < x < 1, ArgumentError)
        mean, sem = float(samples.mean()), float(samples.std()) / math.sqrt(episodes)
        reach = float(stdtrit(episodes - 1, (1 + level) / 2)) * sem
        return cls(mean, sem, mean - reach, mean + reach, level)


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


@one_thread()
def population_value(
    game: Game, pair: TablePair, n: int | None = None, *, tolerance: float | None = None
) -> PopulationValue:
    """Evaluate a pair exactly on the system of n agents of which its dispatcher sees k.

    Args:
        game: the tables, gamma, the initial law, and n unless given.
        pair: `pi_g [sg, N_k, ag]` with its simplex, and `pi_l [sl, sg, al]`.
        n: population size instead of `game.n`, at least k.
        tolerance: error allowed at every state, in units of value; by default `evaluation.value_tolerance`.

    Raises:
        ArgumentError: n < k, or the tolerance is not positive.
        PolicyError: the pair has no tables, or they do not fit the game.
        SizeError: the counts of n agents are too many for a table, or have no exact kernel.
    """
    check_game(game)
    n = game.n if n is None else as_integer("n", n, 1, LARGEST_N, ArgumentError)
    game = game.replace(n=n)
    _check_pair(game, pair)
    plan = PairPlan(CountSimplex(n, game.num_sl, game.device))
    _check_size(game, plan.simplex)
    try:
        surrogate = exact_surrogate(game, pair.pi_l, plan)
    except KernelError as cause:
        raise SizeError(f"the system of n = {n} agents cannot be evaluated exactly; use rollouts ({cause})") from cause
    pi_n = population_policy(pair.pi_g, pair.simplex, plan.simplex)
    found = joint_value(surrogate, pi_n, tolerance=tolerance)
    return PopulationValue(found.values, found.mean, found.error, n, pair.k)


def population_policy(pi_g: Tensor, sampled: CountSimplex, population: CountSimplex) -> Tensor:
    """The law pi_n of a_g given (s_g, counts of the population): pi_g's mean over the samples that may be seen.

    `pi_g [sg, N_k, ag]` over the counts of `sampled` becomes `[sg, N_n, ag]` over those of `population`.
    """
    if population.k == sampled.k:
        return pi_g
    rows = rearrange(pi_g, "g h a -> (g a) h").contiguous()
    mixed: Tensor = rearrange(lift(rows, sampled, population), "(g a) h -> g h a", g=len(pi_g)).contiguous()
    return mixed


def exact_surrogate(game: Game, pi_l: Tensor, plan: PairPlan) -> Surrogate:
    """The surrogate of `plan.simplex.k` agents under `pi_l [sl, sg, al]`, never with sampled kernels.

    Raises:
        KernelError: some s_g has no exact kernel.
    """
    P_l_pi, r_l_pi = game.induced(pi_l)
    moves = tuple(CountKernel(P_l_pi[:, sg], plan.simplex.k, plan=plan) for sg in range(game.num_sg))
    return Surrogate.from_tables(game, P_l_pi, r_l_pi, plan, moves=moves)


def paired_difference(
    game: Game,
    first: PolicyPair,
    second: PolicyPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: int | None = None,
    seed: int = 0,
    level: float = LEVEL,
) -> Difference:
    """How much more `first` earns than `second` on n agents: paired rollouts with common random numbers.

    Args:
        game: the tables, gamma, the initial law, and n unless given.
        first: any pair that can be rolled out.
        second: another; the two may see different k.
        episodes: independent pairs of episodes, at least 2.
        horizon: steps of each.
        n: population size instead of `game.n`.
        seed: of both rollouts.
        level: of the interval.

    Raises:
        ArgumentError: an argument is outside its range.
        PolicyError: a policy does not fit the game.
    """
    one, other = (
        rollout(game, pair, episodes=episodes, horizon=horizon, n=n, seed=seed).returns for pair in (first, second)
    )
    return Difference.of(one - other, level)


@one_thread()
def surrogate_promise(
    game: Game,
    pair: TablePair,
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
    _check_pair(game, pair)
    measured = rollout(game, pair, episodes=episodes, horizon=horizon, seed=seed)
    surrogate = exact_surrogate(game, pair.pi_l, PairPlan(pair.simplex))
    promised = float((surrogate.initial_law * finite_value(surrogate, pair.pi_g, horizon)).sum())
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


def _check_pair(game: Game, pair: TablePair) -> None:
    """Refuse a pair without tables, one that sees more agents than there are, and tables of another game."""
    if not isinstance(pair, TablePair):
        raise PolicyError(
            f"a {type(pair).__name__} has no table pi_g [sg, h, ag]; use a Solution, a TabularPair, or rollouts"
        )
    game.check_k(pair.k)
    check_pi_g(game, pair.pi_g, pair.simplex)
    check_pi_l(game, pair.pi_l)


def _check_size(game: Game, simplex: CountSimplex) -> None:
    entries = game.num_sg * simplex.size * game.num_ag
    if entries > MAX_ENTRIES:
        raise SizeError(
            f"n = {simplex.k} agents over {simplex.num_sl} local states have {simplex.size:.3g} count vectors, and "
            f"pi_n [sg, N_n, ag] {entries:.3g} entries (at most {MAX_ENTRIES:.0e}); use rollouts (`rollout`, "
            f"`paired_difference`), whose cost does not depend on n"
        )
