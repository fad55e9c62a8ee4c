"""The two induced problems of a turn, as a learner of one's own meets them: environments, and what may be seen in them.

`l_learner=` and `g_learner=` of `solve` take functions of a problem and a policy to start from. The problem makes
environments of `envs` (extra `envs`): of the k-agent game, in which k agents are all there are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.games.game import Game
from altmarl_torch.operators.words import Objective

if TYPE_CHECKING:  # an extra, which a solver without functions does not need
    from altmarl_torch.envs import DispatcherEnv, LocalEnv, SystemVectorEnv

__all__ = ["GlobalFunction", "GlobalProblem", "LocalFunction", "LocalProblem"]


@dataclass(frozen=True, eq=False)
class LocalProblem:
    """L-LEARN's problem (Definition 4.3): one tagged agent against a fixed pi_g and companions who play pi_l.

    Calling it makes a `LocalEnv`; `vector` makes many systems at once.

    Attributes:
        game: the game, on the CPU.
        pi_g: `[sg, N, ag]`, what the coordinator plays.
        pi_l: `[sl, sg, al]`, what the companions play.
        k: number of agents, the tagged one among them.
        objective: what the tagged agent earns, "team" or "own".
        seed: for this turn's chance, another one each turn; it follows from that of `solve`.
    """

    game: Game
    pi_g: Tensor
    pi_l: Tensor
    k: int
    objective: Objective = "team"
    seed: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the policy that is asked for, `[sl, sg, al]`."""
        return self.game.num_sl, self.game.num_sg, self.game.num_al

    def __call__(self, *, difference: bool = False, horizon: int = 100) -> "LocalEnv":
        """One system."""
        from altmarl_torch.envs import LocalEnv

        asked: dict[str, Any] = {"objective": self.objective, "difference": difference, "horizon": horizon}
        return LocalEnv(self.game, self.pi_g, self.pi_l, self.k, **asked)

    def vector(self, num_envs: int = 1024, *, difference: bool = False, horizon: int = 100) -> "SystemVectorEnv":
        """`num_envs` systems at once."""
        from altmarl_torch.envs import local_vector_env

        asked: dict[str, Any] = {"objective": self.objective, "difference": difference, "horizon": horizon}
        return local_vector_env(self.game, self.pi_g, self.pi_l, self.k, num_envs=num_envs, **asked)

    def observations(self) -> dict[str, Any]:
        """Everything that can be seen, in the order of the policy's rows: s_l and s_g, `[sl sg]` each."""
        s_l, s_g = np.indices(self.shape[:2]).reshape(2, -1)
        return {"s_l": s_l, "s_g": s_g}


@dataclass(frozen=True, eq=False)
class GlobalProblem:
    """G-LEARN's problem: the coordinator of k agents, all of whom it sees, and who play a fixed pi_l.

    Calling it makes a `DispatcherEnv`; `vector` makes many systems at once.

    Attributes:
        game: the game, on the CPU.
        pi_l: `[sl, sg, al]`, what the local agents play.
        k: how many of them there are.
        seed: for this turn's chance, another one each turn; it follows from that of `solve`.
    """

    game: Game
    pi_l: Tensor
    k: int
    seed: int = 0

    @property
    def simplex(self) -> CountSimplex:
        """The counts, whose rank is the second axis of the policy that is asked for."""
        return CountSimplex(self.k, self.game.num_sl)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the policy that is asked for, `[sg, N, ag]`."""
        return self.game.num_sg, self.simplex.size, self.game.num_ag

    def __call__(self, *, horizon: int = 100) -> "DispatcherEnv":
        """One system."""
        from altmarl_torch.envs import DispatcherEnv

        return DispatcherEnv(self.game, self.pi_l, self.k, self.k, horizon=horizon)

    def vector(self, num_envs: int = 1024, *, horizon: int = 100) -> "SystemVectorEnv":
        """`num_envs` systems at once."""
        from altmarl_torch.envs import vector_env

        return vector_env(self.game, self.pi_l, self.k, self.k, num_envs=num_envs, horizon=horizon)

    def observations(self) -> dict[str, Any]:
        """Everything that can be seen, in the order of the policy's rows: s_g `[sg N]` and counts `[sg N, sl]`."""
        counts = self.simplex.counts.to(torch.int64).cpu().numpy()
        s_g = np.repeat(np.arange(self.game.num_sg), len(counts))
        return {"s_g": s_g, "counts": np.tile(counts, (self.game.num_sg, 1))}


LocalFunction = Callable[[LocalProblem, Tensor], Tensor | ArrayLike]
"""A learner of one's own for the local agents: (problem, present pi_l) to pi_l `[sl, sg, al]`."""

GlobalFunction = Callable[[GlobalProblem, Tensor], Tensor | ArrayLike]
"""A learner of one's own for the coordinator: (problem, present pi_g) to pi_g `[sg, N, ag]`."""
