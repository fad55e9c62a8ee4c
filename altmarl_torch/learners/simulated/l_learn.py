r"""L-LEARN by fitted Q of one singled-out agent, who maximises what it earns itself.

Among many, one agent moves nothing but itself: s_g goes its way under the dispatcher and the others, as it was met in
play (s_g, s_g'). So the agent's continuation values obey

    C_l(s_l, s_g, a) = E[ max_a' ( r_l(s_l', s_g', a') + gamma C_l(s_l', s_g', a') ) ],     s_l' = move_l(s_l, s_g, a),

the paper's own objective for L-LEARN, as n grows. All actions move under the same random numbers, so that their
*difference* is learned from the difference of what they do. Some agents start anywhere in the box.

Where r_l sees the crowd, an agent that does not see it is fitted Q_l = E[ r_l + gamma max_a' Q_l' ] in place of C_l,
the crowd being that of the play: one agent among many does not change it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.learners.simulated.experience import Experience
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.networks import LocalValues
from altmarl_torch.learners.simulated.policies import known_local_rewards, local_action_rewards
from altmarl_torch.learners.simulated.training import common_draws
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import number_of

__all__ = ["LocalBatches"]

BATCH = 1024
ANYWHERE = 0.4
"""Share of the agents that stand anywhere."""


@dataclass
class LocalBatches:
    """Batches of L-LEARN's regression.

    Attributes:
        game: the simulator.
        local: where local states lie.
        scale: units of value per unit of the network.
        generator: of every draw.
    """

    game: SimulatedGame
    local: Frame
    scale: float
    generator: torch.Generator

    def draw(self, online: LocalValues, average: LocalValues, met: Experience) -> tuple[Tensor, Tensor]:
        """The online network's answers `[b, al]` and their targets, in its units."""
        generator, device = self.generator, met.s_g.device
        rows = torch.randint(len(met.s_g), (BATCH,), generator=generator, device=device)
        who = torch.randint(met.crowd.shape[1], (BATCH,), generator=generator, device=device)
        s_l = self.local.scattered(met.crowd[rows, who], ANYWHERE, generator)
        return online(s_l, met.s_g[rows]), self._targets(average, s_l, met, rows)

    @torch.no_grad()
    def _targets(self, average: LocalValues, s_l: Tensor, met: Experience, rows: Tensor) -> Tensor:
        game, generator = self.game, self.generator
        s_g, next_s_g, mu = met.s_g[rows], met.next_s_g[rows], None if met.mu is None else met.mu[rows]
        laws = game.under(mu)
        num_al = number_of("local_action", game)
        whole = torch.zeros(len(s_l), dtype=torch.int64, device=s_l.device)
        moved = common_draws(lambda a: laws.move_l(s_l, s_g, whole + a, generator), num_al, generator)
        near = next_s_g.unsqueeze(1).expand(*moved.shape[:-1], next_s_g.shape[-1])
        known, weight = known_local_rewards(game, moved, near)
        best = torch.add(known, average(moved, near), alpha=weight * self.scale).amax(-1)
        if "r_l" in game.sees:
            best = local_action_rewards(game, s_l, s_g, mu) + game.gamma * best
        return best / self.scale
