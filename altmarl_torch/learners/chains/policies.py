"""What pi_g sees in a chain: a tuple of agents (Algorithm 8), or their counts (Algorithm 9).

Agents are exchangeable, so counts are all that pi_g has any use for, and its canonical form is a table over them (row 8
of `docs/differences-from-the-paper.md`). Algorithm 8 writes pi_g(s_g, s_1..s_k), and takes one that tells agents apart.
"""

from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.counts.tuples import rank_tuples
from altmarl_torch.errors import PolicyError
from altmarl_torch.games.game import Game
from altmarl_torch.policies.tabular import check_pi_g, read_policy
from altmarl_torch.support.tables import as_table

__all__ = ["pi_g_on_counts", "pi_g_on_tuples"]


def pi_g_on_tuples(game: Game, pi_g: Tensor, k: int) -> Tensor:
    """A global policy over tuples, `[sg, sl^k, ag]`, from one over tuples or over counts."""
    simplex, tuples = CountSimplex(k, game.num_sl, game.device), game.num_sl**k
    pi_g = as_table("pi_g", pi_g, "sg h ag", PolicyError)
    if pi_g.shape[1] == tuples:
        return read_policy("pi_g", pi_g, "sg tuple ag", (game.num_sg, tuples, game.num_ag))
    return check_pi_g(game, pi_g, simplex)[:, rank_tuples(simplex)]


def pi_g_on_counts(game: Game, pi_g: Tensor, k: int) -> Tensor:
    """A global policy over counts, `[sg, N, ag]`, from one over counts, or over tuples if their order is nothing to it.

    Raises:
        PolicyError: the shape fits neither, or two orders of the same agents have different laws.
    """
    simplex, tuples = CountSimplex(k, game.num_sl, game.device), game.num_sl**k
    pi_g = as_table("pi_g", pi_g, "sg h ag", PolicyError)
    if pi_g.shape[1] != tuples or tuples == simplex.size:
        return check_pi_g(game, pi_g, simplex)
    law, ranks = pi_g_on_tuples(game, pi_g, k), rank_tuples(simplex)
    on_counts = law.new_empty(game.num_sg, simplex.size, game.num_ag)
    on_counts[:, ranks] = law
    if bool((on_counts[:, ranks] != law).any()):
        raise PolicyError(
            "pi_g depends on the order of the sampled agents, but the mean-field form (Algorithm 9) knows their counts "
            "alone; use form='tuple'"
        )
    return on_counts
