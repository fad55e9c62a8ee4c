r"""L-LEARN for the team: what one agent's move is worth to everybody, by the derivative of the value in the crowd.

With W(s_g, mu) the value of the pair for a population of law mu, one agent of N that lands at y in place of another
place changes it by 1/N of the first variation of W there. So in units of its own reward an action a is worth

    r_l(s_l, s_g, a) + gamma E[ dW(s_g', mu'; y) ],        y = move_l(s_l, s_g, a),

where (s_g', mu') is where the play goes: its own later rewards, what its place tells the dispatcher, and what it does
to moves and rewards that see the crowd. This is the policy gradient of the joint value (tables take it exactly), and
the greedy policy in it one step of policy improvement: turns of the alternation repeat it, and UPDATE judges each.

W is a set network (`networks`) of s_g and agents drawn from the crowd, fitted to

    W(s_g, mu) = E[ r_g + mean r_l + gamma W(s_g', mu') ]

on states that the pair goes through. With z the mean of its learned features phi, dW(y) = phi(y) . grad_z W.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.learners.simulated.experience import broad_play
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork
from altmarl_torch.learners.simulated.policies import PlayedPair, local_action_rewards
from altmarl_torch.learners.simulated.training import common_draws
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import number_of
from altmarl_torch.simulators.play import draw_subsets, take

__all__ = ["Played", "TeamBatches", "watch"]

VALUE_BATCH, BATCH, ANYWHERE = 256, 1024, 0.4
"""States of a gradient step of W; agents of one of the agent's values, and the share of them that stand anywhere."""

DRAWN = 64
"""Agents of a crowd that W looks at."""


@dataclass(frozen=True, eq=False)
class Played:
    """Episodes of a pair, step by step."""

    s_g: Tensor  # [T, episodes, dg]
    crowd: Tensor  # [T, episodes, N, dl]
    reward: Tensor  # [T, episodes]
    mu: Tensor | None  # [T, episodes, p], where the game sees the crowd


def watch(game: SimulatedGame, pair: PlayedPair, leader: Frame, generator: torch.Generator) -> Played:
    """What happens in `broad_play`."""
    steps = broad_play(game, pair, leader, generator)
    s_g, crowd, reward = (torch.stack([getattr(step, name) for step in steps]) for name in ("s_g", "s_l", "reward"))
    mu = [step.mu for step in steps if step.mu is not None]
    return Played(s_g, crowd, reward.float(), torch.stack(mu) if mu else None)


@dataclass
class TeamBatches:
    """Batches of both regressions.

    Attributes:
        game: with the N agents that are played.
        local: where local states lie.
        scale: units of value per unit of the networks.
        generator: of every draw.
    """

    game: SimulatedGame
    local: Frame
    scale: float
    generator: torch.Generator

    def values(self, online: SetNetwork, average: SetNetwork, met: Played) -> tuple[Tensor, Tensor]:
        """The online network's W `[b, 1]` and its targets, in its units."""
        time, episode = self._when(VALUE_BATCH, met)
        with torch.no_grad():
            later = average(met.s_g[time + 1, episode], self._some(met.crowd[time + 1, episode]))
            target = met.reward[time, episode].unsqueeze(-1) / self.scale + self.game.gamma * later
        return online(met.s_g[time, episode], self._some(met.crowd[time, episode])), target

    def agents(self, online: LocalValues, value: SetNetwork, met: Played) -> tuple[Tensor, Tensor]:
        """One agent's answers `[b, al]` and their targets, in units of the networks, less their mean over actions."""
        time, episode = self._when(BATCH, met)
        game, s_g = self.game, met.s_g[time, episode]
        s_l = self._who(met.crowd[time, episode])
        laws = game.under(None if met.mu is None else met.mu[time, episode])
        whole = torch.zeros(BATCH, dtype=torch.int64, device=s_l.device)
        num_al = number_of("local_action", game)
        landed = common_draws(lambda a: laws.move_l(s_l, s_g, whole + a, self.generator), num_al, self.generator)
        worth = self._variation(value, met.s_g[time + 1, episode], met.crowd[time + 1, episode], landed)
        if "r_l" in game.sees:
            worth = local_action_rewards(game, s_l, s_g, laws.mu) / self.scale + game.gamma * worth
        answers = online(s_l, s_g)
        return answers - answers.mean(-1, keepdim=True), worth - worth.mean(-1, keepdim=True)

    def _variation(self, value: SetNetwork, s_g: Tensor, crowd: Tensor, landed: Tensor) -> Tensor:
        """dW(s_g, mu; y) at landing places `[b, al, dl]`: `[b, al]`."""
        with torch.no_grad():
            pooled = value.pool(self._some(crowd))
        with torch.enable_grad():
            pooled.requires_grad_()
            (slope,) = torch.autograd.grad(value.heads(s_g, pooled).sum(), pooled)
        with torch.no_grad():
            worth: Tensor = (value.agent(value.phi(landed)) * slope.unsqueeze(1)).sum(-1)
            return worth

    def _when(self, rows: int, met: Played) -> tuple[Tensor, Tensor]:
        """Times, each with one to follow, and episodes: `[rows]` each."""
        generator, (steps, episodes) = self.generator, met.reward.shape
        device = met.reward.device
        time = torch.randint(steps - 1, (rows,), generator=generator, device=device)
        return time, torch.randint(episodes, (rows,), generator=generator, device=device)

    def _some(self, crowd: Tensor) -> Tensor:
        """Agents drawn from crowds `[b, N, dl]`: `[b, DRAWN, dl]`, or all."""
        rows, n, _ = crowd.shape
        return crowd if n <= DRAWN else take(crowd, draw_subsets(rows, DRAWN, n, self.generator))

    def _who(self, crowd: Tensor) -> Tensor:
        """An agent of each crowd, or one that stands anywhere: `[b, dl]`."""
        (rows, n, _), generator, device = crowd.shape, self.generator, crowd.device
        own = crowd[torch.arange(rows, device=device), torch.randint(n, (rows,), generator=generator, device=device)]
        return self.local.scattered(own, ANYWHERE, generator)
