r"""The exact value of a pair on n agents, for small n: what the k-agent surrogate takes k of them for.

The dispatcher is deployed on n agents, of whom it sees k, drawn anew at every step. For larger n there are rollouts
(`evaluation.rollouts`, `evaluation.paired`).

Agents are exchangeable, so (s_g, c) with c the counts of all n agents is a Markov chain. The k sampled ones have counts
h with the multivariate hypergeometric law (k draws without replacement),

    H(h | c) = prod_z C(c_z, h_z) / C(n, k),

and the dispatcher's law of a_g, given the population, is that of pi_g averaged over it,

    pi_n(a_g | s_g, c) = sum_h H(h | c) pi_g(a_g | s_g, h).

The population itself moves by the kernel of n agents, and earns r_g + sum_z (c_z / n) r_l_pi(z, s_g). So a pair on n
agents has a joint value (`operators.joint_value`), that of the surrogate *of n agents* under pi_n; nothing else is new.
Averaging over the k-subsamples of c is `counts.simplex.lift`, an agent at a time, so no table of size N_n N_k is
formed; every step averages with weights that sum to one, and the rows of pi_n are laws to rounding. Special cases,
which are tests: at n = k, pi_n is pi_g; a pi_g that reads no sample keeps its law, and the value is then linear in the
counts and the same for all n.
"""

from dataclasses import dataclass

from einops import rearrange
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex, lift
from altmarl_torch.errors import ArgumentError, KernelError, SizeError
from altmarl_torch.games.game import LARGEST_N, Game, check_game
from altmarl_torch.operators.joint_value import joint_value
from altmarl_torch.operators.surrogate import exact_surrogate
from altmarl_torch.policies.tabular import TabularPolicies, check_tables
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_integer
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["PopulationValue", "population_policy", "population_value"]

MAX_ENTRIES = 2 * 10**7
"""Entries of the largest pi_n [sg, N_n, ag] that is formed: 160 MB."""


@dataclass(frozen=True, eq=False)
class PopulationValue:
    """The exact value of a pair on the n-agent system, in units of discounted reward."""

    values: Tensor  # [sg, N_n] discounted return from each (s_g, c), c in the rank order of `CountSimplex(n, num_sl)`
    mean: float  # its average over the game's initial law of (s_g, c)
    error: float  # bound on the error of every entry
    n: int  # agents in the system
    k: int  # agents that the dispatcher sees

    __repr__ = brief


@one_thread()
@door
def population_value(
    game: Game, pair: TabularPolicies, n: int | None = None, *, tolerance: float | None = None
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

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> round(am.population_value(game, am.solve(game, k=2), n=4).mean, 4)  # exact, pi_g seeing 2 of 4 agents
        7.8263
    """
    check_game(game)
    n = game.n if n is None else as_integer("n", n, 1, LARGEST_N, ArgumentError)
    game = game.replace(n=n)
    pi_g, pi_l = check_tables(game, pair)
    plan = PairPlan(CountSimplex(n, game.num_sl, game.device))
    _check_size(game, plan.simplex)
    try:
        surrogate = exact_surrogate(game, pi_l, plan)
    except KernelError as cause:
        raise SizeError(f"the system of n = {n} agents cannot be evaluated exactly; use rollouts ({cause})") from cause
    pi_n = population_policy(pi_g, pair.simplex, plan.simplex)
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


def _check_size(game: Game, simplex: CountSimplex) -> None:
    entries = game.num_sg * simplex.size * game.num_ag
    if entries > MAX_ENTRIES:
        raise SizeError(
            f"n = {simplex.k} agents over {simplex.num_sl} local states have {simplex.size:.3g} count vectors, and "
            f"pi_n [sg, N_n, ag] {entries:.3g} entries (at most {MAX_ENTRIES:.0e}); use rollouts (`rollout`, "
            f"`paired_difference`), whose cost does not depend on n"
        )
