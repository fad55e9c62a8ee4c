"""The local agent's side of the game: the induced problem of L-LEARN (Definition 4.3 of the paper) as an environment.

One tagged agent meets a fixed pi_g and k - 1 companions who play a fixed pi_l; pi_g sees all k. The tagged agent sees
(s_l, s_g) and chooses a_l; everybody moves under the current s_g (Eq. 3). It earns, by `objective`,

    own     r_l(s_l, s_g, a_l), the paper's local reward, whose factor 1/n changes no policy;
    team    r_g(s_g, a_g) + (r_l of the tagged agent + the companions' expected r_l) / k, the reward of the game.

Where the tagged agent plays pi_l itself, the team's discounted return is that of `am.rollout` with n = k. Rewards with
laws are earned by their means, as L-LEARN does. `difference=True` pays what the agent earns beyond a twin who plays
pi_l: the same best responses, and a fraction of the noise (`tagged.DifferenceProcess`).
"""

from functools import partial
from typing import Any, get_args

from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.envs.base import Make, SystemEnv, SystemVectorEnv, with_agents
from altmarl_torch.envs.tagged import DifferenceProcess, Tagged, TaggedProcess
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Dispatcher
from altmarl_torch.policies.tabular import check_pi_g, check_pi_l
from altmarl_torch.support.extras import require
from altmarl_torch.support.scalars import check_word

spaces = require("gymnasium.spaces", "envs")

__all__ = ["LocalEnv", "local_vector_env"]


class LocalEnv(SystemEnv):
    """One tagged local agent against a fixed pi_g and companions who play pi_l: a `gymnasium.Env`.

    Observations are `{"s_l": int, "s_g": int}`, actions are 0..num_al-1 (module docstring).

    Args:
        game: the game; its n is of no account.
        pi_g: `[sg, N, ag]`, law of a_g given (s_g, h) with h in the rank order of `CountSimplex(k, num_sl)`; or a
            dispatcher that sees k agents.
        pi_l: `[sl, sg, al]`, what the companions play.
        k: number of agents, the tagged one among them; pi_g sees them all.
        objective: what the tagged agent earns, "team" or "own".
        difference: whether it earns what goes beyond a twin who plays pi_l.
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: k, the objective or the horizon is out of range.
        PolicyError: pi_g or pi_l is no policy of this game.
    """

    def __init__(
        self,
        game: Game,
        pi_g: Tensor | Dispatcher,
        pi_l: Tensor,
        k: int,
        *,
        objective: Objective = "team",
        difference: bool = False,
        horizon: int = 100,
    ) -> None:
        super().__init__(*_tagging(game, pi_g, pi_l, k, objective, difference), horizon)


def local_vector_env(
    game: Game,
    pi_g: Tensor,
    pi_l: Tensor,
    k: int,
    *,
    objective: Objective = "team",
    difference: bool = False,
    num_envs: int = 1024,
    horizon: int = 100,
) -> SystemVectorEnv:
    """`num_envs` systems at once: `LocalEnv` as one `gymnasium.vector.VectorEnv`.

    Other arguments and errors as there, but that pi_g is a table: a dispatcher of one's own remembers one batch.
    """
    if not isinstance(pi_g, Tensor):
        raise ArgumentError(f"pi_g must be a table [sg, N, ag], not {type(pi_g).__name__}")
    return SystemVectorEnv(*_tagging(game, pi_g, pi_l, k, objective, difference), num_envs, horizon)


def _tagging(
    game: Game, pi_g: Tensor | Dispatcher, pi_l: Tensor, k: int, objective: Objective, difference: bool
) -> tuple[Make, Any, int]:
    """How a process is made, what is seen of it, and the number of actions."""
    check_word("objective", objective, get_args(Objective))
    game = with_agents(game, k).to("cpu")
    pi_l = check_pi_l(game, pi_l)
    if not hasattr(pi_g, "act"):
        pi_g = check_pi_g(game, pi_g, CountSimplex(k, game.num_sl))
    seen = spaces.Dict({"s_l": spaces.Discrete(game.num_sl), "s_g": spaces.Discrete(game.num_sg)})
    process = DifferenceProcess if difference else TaggedProcess
    return partial(process, Tagged.of(game, pi_g, pi_l, objective)), seen, game.num_al
