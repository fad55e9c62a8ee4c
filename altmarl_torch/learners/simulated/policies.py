r"""Policies of both players in a simulator: greedy in fitted continuation values, or uniform.

    pi_g = argmax_a  r_g(s_g, a) + gamma C(s_g, sample, a), pi_l = argmax_a  r_l(s_l, s_g, a) + gamma C_l(s_l, s_g, a).

A reward that sees the crowd is not known to whoever chooses: the network has it as well then, Q in place of gamma C
(`known_rewards`).

A greedy local policy of few, bounded features is read from a grid, at the nearest node: that *is* the policy, in
training as in use, and costs a fifteenth of its network.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn

from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import LocalValues
from altmarl_torch.learners.simulated.units import Units
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import LocalRule, RulePair, SampleDispatcher, number_of
from altmarl_torch.simulators.spaces import Box, random_actions

__all__ = [
    "FOUND",
    "GIVEN",
    "GivenGlobal",
    "GlobalPolicy",
    "GreedyGlobal",
    "GreedyLocal",
    "LocalPolicy",
    "NamedLocal",
    "PlayedPair",
    "UniformGlobal",
    "UniformLocal",
]

GIVEN, FOUND = "given", "found"
"""Rules of the user's own: one to begin from, which the same call is given again, and one that a learner has found."""

CHUNK = 2**16
NODES_LOCAL, NODES_LEADER, MOST_NODES = 401, 161, 10**6
"""Nodes of the grid by feature, and all in all."""


class GlobalPolicy(Protocol):
    """pi_g on samples."""

    def actions(self, s_g: Tensor, sample: Tensor, generator: torch.Generator) -> Tensor:
        """a_g `[b]` for s_g `[b, dg]` and samples `[b, k, dl]`."""


class LocalPolicy(Protocol):
    """pi_l."""

    def actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None) -> Tensor:
        """a_l `[...]` for s_l `[..., dl]` and s_g `[..., dg]`."""


class UniformGlobal:
    """Every global action alike."""

    def __init__(self, game: SimulatedGame) -> None:
        self.space = game.global_action

    def actions(self, s_g: Tensor, sample: Tensor, generator: torch.Generator) -> Tensor:
        """Drawn uniformly."""
        return random_actions(self.space, s_g.shape[:-1], generator)


class UniformLocal:
    """Every local action alike."""

    def __init__(self, game: SimulatedGame) -> None:
        self.space = game.local_action

    def actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None) -> Tensor:
        """Drawn uniformly."""
        if generator is None:
            raise ArgumentError("this local policy is uniform: give local_actions a torch.Generator to draw from")
        return random_actions(self.space, s_l.shape[:-1], generator)


class GivenGlobal:
    """A rule of the user's own."""

    def __init__(self, pair: RulePair) -> None:
        self.pair = pair

    def actions(self, s_g: Tensor, sample: Tensor, generator: torch.Generator) -> Tensor:
        """What the rule says."""
        return self.pair.rule_g(s_g, sample)


class NamedLocal:
    """A rule, of which files have the name alone: `GIVEN` and `FOUND` are the user's, any other is the game's own."""

    def __init__(self, name: str, rule: LocalRule) -> None:
        self.name, self.rule = name, rule

    def actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What the rule says."""
        return self.rule(s_l, s_g)


class GreedyGlobal:
    """Greedy in r_g + gamma scale C, or scale Q, with rewards around zero; `belief` is None without a memory."""

    def __init__(
        self, game: SimulatedGame, network: nn.Module, units: Units, belief: RunningMeans | None = None
    ) -> None:
        self.game, self.network, self.units, self.belief = units.centre(game), network, units, belief

    @torch.no_grad()
    def actions(self, s_g: Tensor, sample: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The action of largest value, the first on ties; a memory comes behind s_g."""
        size = max(1, CHUNK // sample.shape[1])
        parts = zip(torch.split(s_g, size), torch.split(sample, size), strict=True)
        values = torch.cat([self.network(own, seen).float() for own, seen in parts])
        plain = s_g[:, : self.game.global_state.d]
        known, weight = known_rewards(self.game, plain)
        return torch.add(known, values, alpha=weight * self.units.scale).argmax(-1)


class GreedyLocal:
    """Greedy in r_l + gamma scale C_l, or scale Q_l, with rewards around zero.

    `is_whole`: in the network's answers alone, whatever they are.
    """

    def __init__(
        self,
        game: SimulatedGame,
        network: LocalValues,
        units: Units,
        leader: Frame,
        local: Frame,
        is_whole: bool = False,
    ) -> None:
        self.game, self.network, self.units, self.is_whole = units.centre(game), network, units, is_whole
        self.leader, self.local = leader, local
        self.table = self._table() if self._is_small() else None

    def _is_small(self) -> bool:
        frames = self.local, self.leader
        bounded = all(not isinstance(frame.space, Box) or frame.space.is_bounded for frame in frames)
        return bounded and math.prod(nodes for _, each in self._axes() for nodes in each) <= MOST_NODES

    def _axes(self) -> list[tuple[Frame, list[int]]]:
        """Both frames, with the number of nodes of each feature."""
        numbers = (self.local, NODES_LOCAL), (self.leader, NODES_LEADER)
        return [
            (frame, [nodes] * frame.space.d if isinstance(frame.space, Box) else [frame.space.num])
            for frame, nodes in numbers
        ]

    @torch.no_grad()
    def _table(self) -> Tensor:
        """The greedy action at each node, flat: local features first."""
        device = next(self.network.parameters()).device
        axes = []
        for frame, each in self._axes():
            bounds = zip(frame.low.tolist(), frame.high.tolist(), each, strict=True)
            axes += [
                torch.linspace(low, high, nodes, dtype=torch.float32, device=device) for low, high, nodes in bounds
            ]
        points = torch.cartesian_prod(*axes)
        dl = self.local.space.d
        return self._greedy(points[:, :dl], points[:, dl:])

    def _greedy(self, s_l: Tensor, s_g: Tensor) -> Tensor:
        """The action of largest value, of states `[m, d]`: `[m]`."""
        chosen = []
        for own, leader in zip(torch.split(s_l, CHUNK), torch.split(s_g, CHUNK), strict=True):
            values = self.network(own, leader)
            if not self.is_whole:
                known, weight = known_local_rewards(self.game, own, leader)
                values = torch.add(known, values, alpha=weight * self.units.scale)
            chosen.append(values.argmax(-1))
        return torch.cat(chosen)

    @torch.no_grad()
    def actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """a_l `[...]` for s_l `[..., dl]` and s_g `[..., dg]`."""
        if self.table is None:
            flat = self._greedy(s_l.reshape(-1, s_l.shape[-1]), s_g.reshape(-1, s_g.shape[-1]))
            return flat.reshape(s_l.shape[:-1])
        index: Tensor | None = None
        for (frame, each), states in zip(self._axes(), (s_l, s_g), strict=True):
            for feature, nodes in enumerate(each):
                low, high = float(frame.low[feature]), float(frame.high[feature])
                width = high - low or 1.0  # of a single state
                node = ((states[..., feature] - low) * ((nodes - 1) / width) + 0.5).clamp_(0, nodes - 0.5).int()
                index = node if index is None else index * nodes + node
        assert index is not None  # there is a feature
        return self.table[index.long()] if index.ndim == 0 else self.table.take(index.long())


class PlayedPair:
    """Two policies as a `SimulatedPair`."""

    def __init__(self, k: int, pi_g: GlobalPolicy, pi_l: LocalPolicy) -> None:
        self.k, self.pi_g, self.pi_l = k, pi_g, pi_l

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """The global policy in use."""
        return _Dispatcher(self.pi_g, seed)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The local policy's actions."""
        return self.pi_l.actions(s_l, s_g, generator)


class _Dispatcher:
    def __init__(self, pi_g: GlobalPolicy, seed: int) -> None:
        self._pi_g, self._seed = pi_g, seed
        self._belief: RunningMeans | None = getattr(pi_g, "belief", None)
        self._memory: Tensor | None = None
        self._generator: torch.Generator | None = None

    def reset(self, batch: int) -> None:
        self._memory = None

    def act(self, s_g: Tensor, sample: Tensor) -> Tensor:
        if self._generator is None:
            self._generator = torch.Generator(s_g.device).manual_seed(self._seed)
        s_g, sample = s_g.float(), sample.float()  # whatever numbers a user's control loop is made of
        if self._belief is not None:
            if self._memory is None:
                self._memory = self._belief.first(len(s_g), s_g.device)
            elif len(self._memory) != len(s_g):
                raise PolicyError(f"the dispatcher remembers {len(self._memory)} systems; call reset({len(s_g)}) first")
            self._memory = self._belief.seen(self._memory, sample)
            s_g = torch.cat([s_g, self._memory], -1)
        with torch.no_grad():
            return self._pi_g.actions(s_g, sample, self._generator)


def action_rewards(game: SimulatedGame, s_g: Tensor, mu: Tensor | None = None) -> Tensor:
    """r_g of every global action: s_g `[b, .., dg]` and the crowd `[b, p]` to `[b, .., ag]`, float32."""
    num = number_of("global_action", game)
    each = torch.arange(num, device=s_g.device).expand(*s_g.shape[:-1], num)
    return game.under(mu).r_g(s_g.unsqueeze(-2).expand(*each.shape, s_g.shape[-1]), each).float()


def local_action_rewards(game: SimulatedGame, s_l: Tensor, s_g: Tensor, mu: Tensor | None = None) -> Tensor:
    """r_l of every local action: s_l `[b, .., dl]`, s_g `[b, .., dg]`, the crowd `[b, p]` to `[b, .., al]`, float32."""
    num = number_of("local_action", game)
    each = torch.arange(num, device=s_l.device).expand(*s_l.shape[:-1], num)
    own, leader = (state.unsqueeze(-2).expand(*each.shape, state.shape[-1]) for state in (s_l, s_g))
    return game.under(mu).r_l(own, leader, each).float()


def known_rewards(game: SimulatedGame, s_g: Tensor) -> tuple[Tensor, float]:
    """r_g of every action, as far as it does not depend on the crowd, and by how much values of the network count."""
    if "r_g" in game.sees:
        return s_g.new_zeros(*s_g.shape[:-1], number_of("global_action", game)), 1.0
    return action_rewards(game, s_g), game.gamma


def known_local_rewards(game: SimulatedGame, s_l: Tensor, s_g: Tensor) -> tuple[Tensor, float]:
    """As `known_rewards`, of one local agent."""
    if "r_l" in game.sees:
        return s_l.new_zeros(*s_l.shape[:-1], number_of("local_action", game)), 1.0
    return local_action_rewards(game, s_l, s_g), game.gamma
