"""The learners and the evaluator of a simulator, as the alternation loop knows them.

Thin adapters: the mathematics is in `learners.simulated`. Each player remembers the network of its last turn, from
which the next one starts, and draws from a generator of its own (`SimulatedMemory`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Curve, PhaseProgress, Player, Proposal
from altmarl_torch.learners.simulated.actors import ActorGlobal, ActorLocal
from altmarl_torch.learners.simulated.experience import Experience, collect
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.g_learn import GlobalBatches
from altmarl_torch.learners.simulated.l_learn import LocalBatches
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import LocalValues
from altmarl_torch.learners.simulated.pathwise import Paths, ascend
from altmarl_torch.learners.simulated.policies import GreedyGlobal, GreedyLocal, PlayedPair
from altmarl_torch.learners.simulated.training import regress
from altmarl_torch.learners.simulated.units import Units
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.base import Pair
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.play import blocks, play
from altmarl_torch.support.threads import run

__all__ = [
    "PathwiseLearner",
    "Refreshed",
    "SimulatedEvaluator",
    "SimulatedGlobalLearner",
    "SimulatedLocalLearner",
    "SimulatedMemory",
    "Study",
    "Taught",
    "as_pair",
    "played",
]

Network = TypeVar("Network", bound=nn.Module)
Made = TypeVar("Made")

GLOBAL_STEPS, GLOBAL_REFRESH = (800, 1250), 200
LOCAL_STEPS, LOCAL_REFRESH = 2000, 500
"""Gradient steps of a turn (the global agent takes fewer for larger samples), and between new sets of states."""

LOOKED_AT = 40_000
"""Agents per row of a batch that a turn of the global agent looks at, within those bounds."""

PATH_STEPS, PATH_RATE = 300, 5
"""Of continuous actions: gradient steps of a turn, and the step size in units of the learning rate."""

LATER = 0.5
"""Part of those steps that later turns take: they start from what the turn before has learned."""

EPISODES, TAIL, LONGEST = 1024, 1e-2, 2000
"""Of UPDATE: common episodes, and how much of an infinite return they may leave to an estimate."""


def as_pair(pi_g: Any, pi_l: Any) -> Pair[Any]:
    """Both policies; pi_l is no table here, and the loop never looks inside."""
    return Pair(pi_g, cast(Tensor, pi_l))


def played(k: int, pair: Pair[Any]) -> PlayedPair:
    """The pair as a rollout takes it."""
    return PlayedPair(k, pair.pi_g, cast(Any, pair.pi_l))


@dataclass(frozen=True, eq=False)
class Study:
    """What is learned, for both players.

    Attributes:
        game: with the N agents that are played.
        k: how many of them the dispatcher sees.
        leader, local: where states lie.
        units: in what the rewards are learned.
        deviation: standard deviation of the rewards that were met.
        learning_rate: of Adam.
        objective: what a local agent maximises.
        belief: of a dispatcher that remembers; None without.
        curve, progress: listeners.
    """

    game: SimulatedGame
    k: int
    leader: Frame
    local: Frame
    units: Units
    deviation: float
    learning_rate: float
    objective: Objective = "own"
    belief: RunningMeans | None = None
    curve: Curve | None = None
    progress: PhaseProgress | None = None

    @cached_property
    def centred(self) -> SimulatedGame:
        """The game with its rewards around zero: what players and episodes are given."""
        return self.units.centre(self.game)

    def monitor(self, phase: str, before: int) -> Callable[[int, dict[str, float]], None]:
        """Tell the listeners how a network learns."""

        def told(steps: int, numbers: dict[str, float]) -> None:
            if self.progress:
                self.progress(phase, steps, math.sqrt(numbers["loss"]) * self.units.scale)
            if self.curve:
                shown = numbers | {"loss": numbers["loss"] * self.units.scale**2}
                self.curve(before + steps, {f"{phase}/{name}": number for name, number in shown.items()})

        return told

    def ascent(self, phase: str, before: int) -> Callable[[int, float, float], None]:
        """Tell the listeners how an actor learns: its loss is the return with its sign changed."""

        def told(steps: int, earned: float, gradient: float) -> None:
            if self.progress:
                self.progress(phase, steps, gradient)
            if self.curve:
                self.curve(before + steps, {f"{phase}/loss": -earned})

        return told


@dataclass(frozen=True, eq=False)
class Taught(Generic[Network]):
    """A network that a player has fitted, the generator of its draws, and its gradient steps so far."""

    network: Network
    generator: torch.Generator
    steps: int = 0


class Refreshed(Generic[Made]):
    """What gradient steps learn from, made anew for every so many of them."""

    def __init__(self, every: int) -> None:
        self._every, self._steps = every, 0

    def now(self, make: Callable[[], Made]) -> Made:
        """That of this step."""
        if self._steps % self._every == 0:
            self._made = make()
        self._steps += 1
        return self._made


@dataclass(frozen=True, eq=False)
class SimulatedMemory:
    """What the turns of a simulator leave for later ones."""

    leader: Taught[nn.Module]
    local: Taught[nn.Module]


@dataclass(frozen=True, eq=False)
class SimulatedGlobalLearner:
    """Proposes the greedy policy of fitted continuation values (G-LEARN on samples)."""

    study: Study
    player: Player = "global"
    phase: str = "g_learn"

    def propose(
        self, pair: Pair[Any], value: JointValue, memory: SimulatedMemory
    ) -> tuple[Proposal[Any], SimulatedMemory]:
        """The best response to `pair.pi_l`."""
        study, pi_l, before = self.study, cast(Any, pair.pi_l), memory.leader
        generator = before.generator.clone_state()
        batches = GlobalBatches(study.centred, study.k, pi_l, study.units.scale, generator, study.belief)
        met = Refreshed[Experience](GLOBAL_REFRESH)

        def play(average: nn.Module) -> Experience:
            now = PlayedPair(study.k, GreedyGlobal(study.game, average, study.units, study.belief), pi_l)
            return collect(study.game, now, study.leader, generator, exploring=True, belief=study.belief)

        def draw(online: nn.Module, average: nn.Module) -> tuple[Tensor, Tensor]:
            return batches.draw(online, average, met.now(lambda: play(average)))

        monitor, (fewest, most) = study.monitor(self.phase, before.steps), GLOBAL_STEPS
        steps = _turn(min(most, max(fewest, LOOKED_AT // study.k)), before.steps)
        network = regress(before.network, draw, steps, study.learning_rate, monitor, self.phase)
        proposed = as_pair(GreedyGlobal(study.game, network, study.units, study.belief), pi_l)
        left = replace(memory, leader=Taught(network, generator, before.steps + steps))
        return Proposal(proposed, None, None, steps, {"g_learn/steps": steps}), left


@dataclass(frozen=True, eq=False)
class SimulatedLocalLearner:
    """Proposes the greedy policy of one agent's fitted continuation values (L-LEARN, its own objective)."""

    study: Study
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Any], value: JointValue, memory: SimulatedMemory
    ) -> tuple[Proposal[Any], SimulatedMemory]:
        """The best response of one agent to `pair`."""
        study, before = self.study, memory.local
        generator = before.generator.clone_state()
        batches = LocalBatches(study.centred, study.local, study.units.scale, generator)
        met = Refreshed[Experience](LOCAL_REFRESH)

        def play() -> Experience:
            return collect(study.game, played(study.k, pair), study.leader, generator, exploring=False)

        def draw(online: LocalValues, average: LocalValues) -> tuple[Tensor, Tensor]:
            return batches.draw(online, average, met.now(play))

        monitor, steps = study.monitor(self.phase, before.steps), _turn(LOCAL_STEPS, before.steps)
        network = regress(cast(LocalValues, before.network), draw, steps, study.learning_rate, monitor, self.phase)
        pi_l = GreedyLocal(study.game, network, study.units, study.leader, study.local)
        proposal = Proposal(as_pair(pair.pi_g, pi_l), None, None, steps, {"l_learn/steps": steps})
        return proposal, replace(memory, local=Taught(network, generator, before.steps + steps))


@dataclass(frozen=True, eq=False)
class PathwiseLearner:
    """Proposes an actor for a player of continuous actions, learned through the derivative of episodes."""

    study: Study
    player: Player
    phase: str

    def propose(
        self, pair: Pair[Any], value: JointValue, memory: SimulatedMemory
    ) -> tuple[Proposal[Any], SimulatedMemory]:
        """The best response to the other policy of `pair`."""
        study, leads = self.study, self.player == "global"
        before: Taught[nn.Module] = memory.leader if leads else memory.local
        generator = before.generator.clone_state()
        paths = Paths(study.centred, study.k, not leads and study.objective == "own", generator)

        def with_actor(network: nn.Module) -> Pair[Any]:
            if leads:
                return as_pair(ActorGlobal(network, study.belief), pair.pi_l)
            return as_pair(pair.pi_g, ActorLocal(network))

        def mean_return(network: nn.Module) -> Tensor:
            proposed = with_actor(network)
            return paths.mean_return(proposed.pi_g, proposed.pi_l)

        steps = _turn(PATH_STEPS, before.steps)
        rate, scale = PATH_RATE * study.learning_rate, study.units.scale / (1 - study.game.gamma)
        told = study.ascent(self.phase, before.steps)
        network = ascend(before.network, mean_return, steps, rate, scale, told, self.phase)
        taught = Taught(network, generator, before.steps + steps)
        left = replace(memory, leader=taught) if leads else replace(memory, local=taught)
        return Proposal(with_actor(network), None, None, steps, {f"{self.phase}/steps": steps}), left


@dataclass(frozen=True)
class SimulatedEvaluator:
    """Scores pairs by the mean return of episodes that all pairs share.

    An episode lasts until gamma^T <= 1/100; the rest is estimated by the mean reward of the last quarter of the steps,
    and the value's `error` is what the rest would change by if it were estimated by the quarter before.
    """

    study: Study
    seed: int
    device: torch.device

    def evaluate(self, pair: Pair[Any], start: Tensor | None) -> JointValue:
        """The joint value of the pair; `start` is of no use here."""
        game = self.study.centred
        horizon = 1 if game.gamma == 0 else min(LONGEST, math.ceil(math.log(TAIL) / math.log(game.gamma)))
        sizes = blocks(EPISODES, game.n)
        seeds = np.random.SeedSequence(self.seed).spawn(len(sizes))
        pairs = played(self.study.k, pair)

        def block(index: int) -> Tensor:
            steps = play(game, pairs, sizes[index], horizon, seeds[index], self.device)
            return torch.stack([step.reward for step in steps])

        rewards = torch.cat(run(block, range(len(sizes))), 1)
        discounts = game.gamma ** torch.arange(horizon, dtype=torch.float64, device=rewards.device)
        quarter, tail = max(1, horizon // 4), game.gamma**horizon / (1 - game.gamma)
        last, before = rewards[-quarter:].mean(), rewards[-2 * quarter :][:quarter].mean()
        values = (discounts.unsqueeze(-1) * rewards).sum(0) + tail * last
        values += self.study.units.lowered / (1 - game.gamma)
        standard_error = float(values.std()) / len(values) ** 0.5
        error = float((tail * (last - before)).abs())
        return JointValue(values, float(values.mean()), error, 0, standard_error, values.unsqueeze(-1))


def _turn(steps: int, before: int) -> int:
    """Gradient steps of a turn, after `before` in earlier ones."""
    return steps if before == 0 else max(1, int(LATER * steps))
