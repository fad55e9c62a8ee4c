r"""G-LEARN on samples: what the n-agent system pays to a dispatcher that sees k of n.

For a frozen pi_l, continuation values of a dispatcher without memory are fitted to

    C(s_g, sample, a) = E[ rbar_l' + max_a' ( r_g(s_g', a') + gamma C(s_g', sample', a') ) | s_g, sample, a ],

the sample a fresh k-subset of a *population* of N agents that is kept, sample' a fresh k-subset of the population
after its move, and rbar_l' the mean local reward of the next state (that of the present one does not depend on a).
So the sample is evidence about the population, as it is for whoever deploys the policy, and a regression finds how
much to believe it: no prior is needed. With N = k the sample *is* the population, and this is G-LEARN on the paper's
surrogate. One draw of the moved agents serves all actions, and all actions move s_g under the same random numbers. Only
the agents that are looked at are moved, so a step costs no more for a large N.

Where the game sees the crowd, its mean is that of the population that was met, before and after its move: the sample
is of the same. (The agents' moves do not depend on a_g.) If r_g sees it, Q = E[ r_g + gamma (rbar_l' + max Q') ] is
fitted in place of C.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from altmarl_torch.learners.simulated.experience import Experience
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import values_at
from altmarl_torch.learners.simulated.policies import LocalPolicy, action_rewards, known_rewards
from altmarl_torch.learners.simulated.training import common_draws
from altmarl_torch.simulators.game import SimulatedGame, beside
from altmarl_torch.simulators.pairs import number_of
from altmarl_torch.simulators.play import draw_subsets, take

__all__ = ["GlobalBatches"]

BATCH = 256
PAID = 32
"""Agents whose mean reward stands for that of all."""

EARLY, BEGINNING = 0.5, 0.2
"""Share of the states that are from the first part of episodes, and how much of them that is: a crowd that gathers, or
that does not move any more, looks alike at all later ones.
"""

SUBSETS = 4096
"""Drawn once for a turn; which of them a row of a batch looks at is drawn anew."""


@dataclass
class GlobalBatches:
    """Batches of G-LEARN's regression.

    Attributes:
        game: with N agents.
        k: how many the dispatcher sees.
        pi_l: the frozen local policy.
        scale: units of value per unit of the network.
        generator: of every draw.
        belief: of a dispatcher that remembers.
        subsets: that are looked at.
    """

    game: SimulatedGame
    k: int
    pi_l: LocalPolicy
    scale: float
    generator: torch.Generator
    belief: RunningMeans | None = None
    subsets: Tensor = field(init=False)  # [SUBSETS, max(k, PAID)], or fewer where n is smaller

    def __post_init__(self) -> None:
        n, generator = self.game.n, self.generator
        drawn = draw_subsets(SUBSETS, min(n, max(self.k, PAID)), n, generator)
        order = torch.rand(drawn.shape, generator=generator, dtype=torch.float32, device=generator.device).argsort(-1)
        self.subsets = drawn.gather(-1, order)

    def draw(self, online: nn.Module, average: nn.Module, met: Experience) -> tuple[Tensor, Tensor]:
        """The online network's answers `[b, ag]` and their targets, in its units."""
        rows = self._rows(met)
        s_g, crowd = met.s_g[rows], met.crowd[rows]
        sample, memory = self._some(crowd)[:, : self.k], None
        if self.belief is not None and met.memory is not None:
            memory = self.belief.seen(met.memory[rows], sample)
        known = s_g if memory is None else torch.cat([s_g, memory], -1)
        return online(known, sample).float(), self._targets(average, met, rows, memory)

    def _rows(self, met: Experience) -> Tensor:
        """States of a batch `[b]`: half of them from the beginnings of episodes, which come first."""
        early = torch.arange(BATCH, device=met.s_g.device) < EARLY * BATCH
        last = torch.where(early, max(1, int(BEGINNING * len(met.s_g))), len(met.s_g))
        chance = torch.rand(BATCH, generator=self.generator, device=met.s_g.device, dtype=torch.float64)
        return (chance * last).long()

    def _some(self, crowd: Tensor) -> Tensor:
        """Fresh agents `[b, max(k, PAID), dl]` of populations `[b, N, dl]`, in random order."""
        rows = torch.randint(len(self.subsets), (len(crowd),), generator=self.generator, device=crowd.device)
        return take(crowd, self.subsets[rows])

    @torch.no_grad()
    def _targets(self, average: nn.Module, met: Experience, rows: Tensor, memory: Tensor | None) -> Tensor:
        game, generator, s_g = self.game, self.generator, met.s_g[rows]
        mu, next_mu = (None if crowd is None else crowd[rows] for crowd in (met.mu, met.next_mu))
        moved, num_ag = self._moved(met, rows), number_of("global_action", game)
        whole, laws = torch.zeros(len(s_g), dtype=torch.int64, device=s_g.device), game.under(mu)
        next_s_g = common_draws(lambda a: laws.move_g(s_g, whole + a, generator), num_ag, generator)
        continued = values_at(average, self._known(next_s_g, memory, moved[:, : self.k]), moved[:, : self.k]).float()
        known, weight = known_rewards(game, next_s_g)
        best = torch.add(known, continued, alpha=weight * self.scale).amax(-1)
        later = best + self._paid(moved[:, :PAID], next_s_g, next_mu)
        if "r_g" in game.sees:
            later = action_rewards(game, s_g, mu) + game.gamma * later
        return later / self.scale

    def _moved(self, met: Experience, rows: Tensor) -> Tensor:
        """Agents after their move, `[b, max(k, PAID), dl]`: moved anew, or some of those whose mean is known."""
        if met.next_crowd is not None:
            return self._some(met.next_crowd[rows])
        agents, generator = self._some(met.crowd[rows]), self.generator
        near = beside(met.s_g[rows], agents)
        return self.game.move_l(agents, near, self.pi_l.actions(agents, near, generator), generator)

    def _known(self, s_g: Tensor, memory: Tensor | None, sample: Tensor) -> Tensor:
        """What is known at each of s_g `[b, a, dg]` when the sample is seen: s_g, and the memory behind it."""
        if self.belief is None or memory is None:
            return s_g
        return torch.cat([s_g, self.belief.seen(memory, sample).unsqueeze(1).expand(-1, s_g.shape[1], -1)], -1)

    def _paid(self, agents: Tensor, s_g: Tensor, mu: Tensor | None) -> Tensor:
        """The mean reward of agents `[b, m, dl]` under each of s_g `[b, a, dg]`: `[b, a]`."""
        every = agents.unsqueeze(1).expand(-1, s_g.shape[1], -1, -1)
        near = beside(s_g, every)
        return self.game.under(mu).r_l(every, near, self.pi_l.actions(every, near, self.generator)).float().mean(-1)
