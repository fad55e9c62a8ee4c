"""The local agents' turn for the team, as the alternation loop knows it (`learners.simulated.team`)."""

from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Player, Proposal
from altmarl_torch.alternation.simulated.players import Refreshed, SimulatedMemory, Study, Taught, as_pair, played
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork
from altmarl_torch.learners.simulated.policies import GreedyLocal
from altmarl_torch.learners.simulated.team import Played, TeamBatches, watch
from altmarl_torch.learners.simulated.training import regress
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair
from altmarl_torch.simulators.play import fresh_seed

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
        met, shown = Refreshed[Played](REFRESH), played(study.k, pair)
        monitor, rate = study.monitor(self.phase, before.steps), study.learning_rate
        weights = torch.Generator().manual_seed(fresh_seed(generator))
        blank = SetNetwork(study.leader, study.local, 1, weights).to(generator.device)

        def play() -> Played:
            return watch(study.centred, shown, study.leader, generator)

        def fit_value(online: SetNetwork, average: SetNetwork) -> tuple[Tensor, Tensor]:
            return batches.values(online, average, met.now(play))

        crowd = regress(blank, fit_value, VALUE_STEPS, rate, monitor, self.phase)

        def fit_agent(online: LocalValues, average: LocalValues) -> tuple[Tensor, Tensor]:
            return batches.agents(online, crowd, met.now(play))

        told = study.monitor(self.phase, before.steps + VALUE_STEPS)
        network = regress(cast(LocalValues, before.network), fit_agent, STEPS, rate, told, self.phase)
        pi_l = GreedyLocal(study.game, network, study.units, study.leader, study.local)
        steps = VALUE_STEPS + STEPS
        left = replace(memory, local=Taught(network, generator, before.steps + steps))
        return Proposal(as_pair(pair.pi_g, pi_l), None, None, steps, {"l_learn/steps": steps}), left
