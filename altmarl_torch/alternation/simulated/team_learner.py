"""The local agents' turn for the team, as the alternation loop knows it (`learners.simulated.team`)."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Player, Proposal
from altmarl_torch.alternation.simulated.players import SimulatedMemory, Study, Taught, as_pair, played
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork
from altmarl_torch.learners.simulated.policies import GreedyLocal
from altmarl_torch.learners.simulated.team import Played, TeamBatches, watch
from altmarl_torch.learners.simulated.training import regress
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair

__all__ = ["TeamLocalLearner"]

VALUE_STEPS, STEPS, REFRESH = 800, 1000, 200
"""Gradient steps of the crowd's value and of one agent's, and between new sets of episodes."""


@dataclass(frozen=True, eq=False)
class TeamLocalLearner:
    """Proposes the greedy policy in what one agent's move is worth to everybody: a step of policy improvement."""

    study: Study
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Any], value: JointValue, memory: SimulatedMemory
    ) -> tuple[Proposal[Any], SimulatedMemory]:
        """An improvement of `pair.pi_l` under `pair.pi_g`."""
        study, before = self.study, memory.local
        generator = before.generator.clone_state()
        batches = TeamBatches(study.centred, study.local, study.units.scale, generator)
        met = _Episodes(study, pair, generator)
        monitor, rate = study.monitor(self.phase, before.steps), study.learning_rate
        weights = torch.Generator().manual_seed(before.steps)
        blank = SetNetwork(study.leader, study.local, 1, weights).to(generator.device)

        def fit_value(online: SetNetwork, average: SetNetwork) -> tuple[Tensor, Tensor]:
            return batches.values(online, average, met.now())

        crowd = regress(blank, fit_value, VALUE_STEPS, rate, monitor, self.phase)

        def fit_agent(online: LocalValues, average: LocalValues) -> tuple[Tensor, Tensor]:
            return batches.agents(online, crowd, met.now())

        told = study.monitor(self.phase, before.steps + VALUE_STEPS)
        network = regress(cast(LocalValues, before.network), fit_agent, STEPS, rate, told, self.phase)
        pi_l = GreedyLocal(study.game, network, study.units, study.leader, study.local)
        steps = VALUE_STEPS + STEPS
        left = replace(memory, local=Taught(network, generator, before.steps + steps))
        return Proposal(as_pair(pair.pi_g, pi_l), None, None, steps, {"l_learn/steps": steps}), left


class _Episodes:
    """Episodes of a pair, played anew from time to time."""

    def __init__(self, study: Study, pair: Pair[Any], generator: torch.Generator) -> None:
        self._study, self._pair, self._generator = study, played(study.k, pair), generator
        self._taken, self._met = 0, list[Played]()

    def now(self) -> Played:
        """Those of this gradient step."""
        if self._taken % REFRESH == 0:
            self._met[:] = [watch(self._study.centred, self._pair, self._study.leader, self._generator)]
        self._taken += 1
        return self._met[0]
