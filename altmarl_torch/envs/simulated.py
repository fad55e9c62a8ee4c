"""The local agent's side of a simulator: tagged agents among a crowd that plays pi_l, under a fixed pi_g.

One agent among many moves nothing but itself (`learners.simulated.l_learn`). So a population of n agents is played
under the pair as it is (`simulators.play`), and beside it tagged ones, `TAGGED` to a population, who see (s_l, s_g),
choose a_l, and earn r_l(s_l, s_g, a_l): the paper's own objective for L-LEARN, as n grows. They share s_g and the
crowd, and nobody sees them. Most begin where agents of the population do; some anywhere in the box of states, so that
what to do there is learned as well.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.envs.base import Make, SystemEnv, SystemVectorEnv
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.simulators.game import SimulatedGame, check_simulated
from altmarl_torch.simulators.pairs import SimulatedPair, check_simulated_pair, number_of
from altmarl_torch.simulators.play import Step, draw_subsets, fresh_seed, play, take
from altmarl_torch.simulators.spaces import Discrete, Space
from altmarl_torch.support.extras import require
from altmarl_torch.support.native.binomials import Floats, Whole

spaces = require("gymnasium.spaces", "envs")

__all__ = ["SimulatedLocalEnv", "simulated_local_vector_env"]

TAGGED = 16
"""Tagged agents of a population: so many look at one s_g."""

ANYWHERE = 0.4
"""Share of them that begin anywhere."""


class SimulatedLocalEnv(SystemEnv):
    """One tagged agent of a simulator: a `gymnasium.Env`.

    Observations are `{"s_l": [dl], "s_g": [dg]}`, float32; actions are 0..num_al-1 (module docstring).

    Args:
        game: the simulator, with as many agents as are played; its local actions are finite.
        pair: what the dispatcher and the crowd play: a solution, or `simulators.RulePair`.
        horizon: steps after which an episode is truncated.

    Raises:
        ArgumentError: local actions are continuous, or k or the horizon is out of range.
        PolicyError: the pair is none.
    """

    def __init__(self, game: SimulatedGame, pair: SimulatedPair, *, horizon: int = 40) -> None:
        super().__init__(*_tagging(game, pair, horizon), horizon)


def simulated_local_vector_env(
    game: SimulatedGame, pair: SimulatedPair, *, num_envs: int = 1024, horizon: int = 40
) -> SystemVectorEnv:
    """`num_envs` tagged agents at once: `SimulatedLocalEnv` as one `gymnasium.vector.VectorEnv`."""
    return SystemVectorEnv(*_tagging(game, pair, horizon), num_envs, horizon)


def _tagging(game: SimulatedGame, pair: SimulatedPair, horizon: int) -> tuple[Make, Any, int]:
    """How a process is made, what is seen of it, and the number of actions."""
    check_simulated(game)
    check_simulated_pair(pair)
    game.check_k(pair.k)
    seen = spaces.Dict({"s_l": _box(game.local_state), "s_g": _box(game.global_state)})
    return partial(_Tagged, game, pair, horizon), seen, number_of("local_action", game)


def _box(space: Space) -> Any:
    """A space of states as Gymnasium's: a finite state is a feature that holds its number."""
    if isinstance(space, Discrete):
        return spaces.Box(0, space.num - 1, (1,), np.float32)
    return spaces.Box(space.low.numpy(), space.high.numpy(), dtype=np.float32)


class _Tagged:
    """Tagged agents of several populations (`base.Process`)."""

    def __init__(
        self, game: SimulatedGame, pair: SimulatedPair, horizon: int, tagged: int, rng: np.random.Generator
    ) -> None:
        self._game, self._pair, self._horizon, self._tagged = game, pair, horizon, tagged
        self._each = min(TAGGED, game.n, tagged)
        self._generator = torch.Generator().manual_seed(int(rng.integers(2**63 - 1)))

    def start(self) -> None:
        """Begin new populations, and take tagged agents from them."""
        populations, generator = -(-self._tagged // self._each), self._generator
        seed = np.random.SeedSequence(fresh_seed(generator))
        # one step more than is played: what follows the last action is seen
        self._crowd: Iterator[Step] = play(self._game, self._pair, populations, self._horizon + 1, seed)
        self._now = next(self._crowd)
        own = take(self._now.s_l, draw_subsets(populations, self._each, self._game.n, generator))
        self._s_l = Frame(self._game.local_state, self._now.s_l).scattered(own, ANYWHERE, generator)

    def look(self) -> dict[str, Any]:
        """What the tagged agents see: s_l `[B, dl]` and s_g `[B, dg]`."""
        return {"s_l": self._flat(self._s_l), "s_g": self._flat(self._near())}

    def step(self, actions: Whole) -> Floats:
        """Play a_l `[B]`; the tagged agents' rewards `[B]`, or an ArgumentError behind the end of an episode."""
        padded = torch.zeros(self._s_l.shape[:-1], dtype=torch.int64)
        padded.view(-1)[: self._tagged] = torch.from_numpy(actions)
        laws, near = self._game.under(self._now.mu), self._near()
        earned = laws.r_l(self._s_l, near, padded)
        self._s_l = laws.move_l(self._s_l, near, padded, self._generator)
        later = next(self._crowd, None)
        if later is None:
            raise ArgumentError(f"the episode of {self._horizon} steps is over: call reset")
        self._now = later
        rewards: Floats = earned.double().flatten()[: self._tagged].numpy()
        return rewards

    def _near(self) -> Tensor:
        """s_g beside each tagged agent: `[b, m, dg]`."""
        s_g = self._now.s_g
        return s_g.unsqueeze(1).expand(-1, self._each, -1)

    def _flat(self, states: Tensor) -> Any:
        return states.flatten(0, 1)[: self._tagged].float().numpy()
