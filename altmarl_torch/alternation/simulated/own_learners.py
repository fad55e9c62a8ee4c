"""A learner of one's own for the local agents of a simulator: `l_learner=` of `solve`.

It is a function of a problem and the present pi_l. What it returns is judged by UPDATE like any other proposal:

* a `LocalValues` network, as `problem.network()` makes one, whose largest answer is the action: kept in files;
* or a rule, (s_l `[..., dl]`, s_g `[..., dg]`) to a_l `[...]`, which is in no file: a run that is broken off after such
  a turn goes on from before it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from altmarl_torch.alternation.loop import Player, Proposal
from altmarl_torch.alternation.simulated.players import SimulatedMemory, Study, Taught, as_pair, played
from altmarl_torch.errors import ArgumentError
from altmarl_torch.learners.simulated.features import Frame
from altmarl_torch.learners.simulated.networks import LocalValues
from altmarl_torch.learners.simulated.policies import FOUND, GreedyLocal, LocalPolicy, NamedLocal
from altmarl_torch.learners.simulated.units import Units
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.policies.base import Pair
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import LocalRule, SimulatedPair, number_of
from altmarl_torch.simulators.spaces import outside

if TYPE_CHECKING:  # an extra, which nobody needs who has no learner of his own
    from altmarl_torch.envs import SimulatedLocalEnv, SystemVectorEnv

__all__ = ["OwnLocalLearner", "SimulatedLocalFunction", "SimulatedLocalProblem"]


@dataclass(frozen=True, eq=False)
class SimulatedLocalProblem:
    """L-LEARN's problem in a simulator: one tagged agent among a crowd that plays pi_l, under a fixed pi_g.

    It earns its own reward, as among many agents one moves nothing but itself. Calling the problem makes a
    `SimulatedLocalEnv`; `vector` makes many tagged agents at once.

    Attributes:
        game: with as many agents as are played.
        pair: what the dispatcher and the crowd play.
        leader, local: where states lie.
        seed: for this turn's chance, another one each turn; it follows from that of `solve`.
    """

    game: SimulatedGame
    pair: SimulatedPair
    leader: Frame
    local: Frame
    seed: int = 0

    def __call__(self, *, horizon: int = 40) -> "SimulatedLocalEnv":
        """One tagged agent."""
        from altmarl_torch.envs import SimulatedLocalEnv

        return SimulatedLocalEnv(self.game, self.pair, horizon=horizon)

    def vector(self, num_envs: int = 1024, *, horizon: int = 40) -> "SystemVectorEnv":
        """`num_envs` tagged agents at once."""
        from altmarl_torch.envs import simulated_local_vector_env

        return simulated_local_vector_env(self.game, self.pair, num_envs=num_envs, horizon=horizon)

    def network(self) -> LocalValues:
        """A new network of (s_l, s_g) with an answer for each action."""
        generator = torch.Generator().manual_seed(self.seed)
        return LocalValues(self.leader, self.local, number_of("local_action", self.game), generator)


SimulatedLocalFunction = Callable[[SimulatedLocalProblem, LocalPolicy], LocalValues | LocalRule]
"""A learner of one's own: (problem, present pi_l) to a network or a rule."""


@dataclass(frozen=True, eq=False)
class OwnLocalLearner:
    """Proposes what a function of the user's finds."""

    study: Study
    function: SimulatedLocalFunction
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[Any], value: JointValue, memory: SimulatedMemory
    ) -> tuple[Proposal[Any], SimulatedMemory]:
        """The best response of one agent to `pair`, as far as the function finds it."""
        study, before = self.study, memory.local
        generator = before.generator.clone_state()
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        problem = SimulatedLocalProblem(study.game, played(study.k, pair), study.leader, study.local, seed)
        pi_l = self._policy(self.function(problem, cast(Any, pair.pi_l)))
        left = replace(memory, local=Taught(before.network, generator, before.steps))
        return Proposal(as_pair(pair.pi_g, pi_l), None, None, 0), left

    def _policy(self, found: object) -> LocalPolicy:
        """What was found, as pi_l; an ArgumentError where it is none."""
        study = self.study
        if isinstance(found, LocalValues):
            network = copy.deepcopy(found).to(study.local.low.device).eval()  # the user may train his own further
            return GreedyLocal(study.game, network, Units(1.0), study.leader, study.local, is_whole=True)
        if not callable(found):
            raise ArgumentError(
                f"l_learner returned a {type(found).__name__}; expected problem.network(), trained, or a function of "
                "s_l and s_g"
            )
        rule = cast(LocalRule, found)
        self._check_rule(rule)
        return NamedLocal(FOUND, rule)

    def _check_rule(self, rule: LocalRule) -> None:
        """Raise an ArgumentError unless a rule answers a few states with actions of the game's."""
        generator = torch.Generator().manual_seed(0)
        s_l, s_g = (frame.draw((3, 2), generator) for frame in (self.study.local, self.study.leader))
        answer, space = rule(s_l, s_g), self.study.game.local_action
        fits = isinstance(answer, Tensor) and answer.shape[:2] == (3, 2) and not bool(outside(space, answer).any())
        if not fits:
            told = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise ArgumentError(
                f"l_learner's rule answers states of [3, 2, {s_l.shape[-1]}] with {told}; expected "
                f"[3, 2], actions of {space}"
            )
