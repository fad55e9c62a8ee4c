"""The neural learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `surrogate`, `fitting` and `l_learn`. What passes from one turn to the next is a
`Memory`: the network of the last fit, from which the next one starts, and for which pair it holds the values (after
G-LEARN, for the proposal itself: a greedy policy's values are the maximum it was read from, so the local agents'
turn needs no fit of its own). Each player draws from a generator of its own.
"""

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Curve, Evaluator, PhaseProgress, Player, Players, Proposal
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.fitting import Fit, Monitor, Settings, fit
from altmarl_torch.learners.neural.l_learn import Gains, NetworkTurns, Turns, local_gains, network_values, table_turns
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork, check_network
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.storage import pack_network
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, centred
from altmarl_torch.operators.joint_value import JointValue, gain_error
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.snapshots import (
    Arrays,
    WorkInProgress,
    load_module,
    module_arrays,
    random_state,
    set_random_state,
    tensor_of,
    under,
)

__all__ = ["Memory", "NeuralGlobalLearner", "NeuralLocalLearner", "neural_players"]

logger = logging.getLogger(__name__)

MAX_ROUNDS = 20
"""A cap on the improvements of pi_l in one turn; one or two are usual."""

SMALL_GAIN = 1e-3
"""A round that gains less, relative to V_max, is the last of its turn: UPDATE would call it nothing to gain."""


@dataclass
class Memory:
    """The network that was fitted last, and for what.

    Raises:
        ArgumentError: the network could not be stored, or values do not fit into float32.
    """

    game: Game  # with the rewards that are judged
    k: int
    network: nn.Module
    settings: Settings
    prior: Prior | None = None  # of the posterior correction
    baseline: Tensor | None = None  # [sg, ag] added to the network's answers
    pair: Pair[BatchPolicy] | None = None  # whose values it holds
    steps: int = 0  # gradient steps since the start
    curve: Curve | None = None
    progress: PhaseProgress | None = None
    work: WorkInProgress | None = None
    xi: int | None = None  # draws of the rewards in each target; None for their means

    def __post_init__(self) -> None:
        self.centred, _ = centred(self.game)
        pack_network(self.network)  # what cannot be stored is refused before it is trained

    def surrogate(self, pi_l: Tensor) -> BatchSurrogate:
        """The k-agent MDP under `pi_l [sl, sg, al]`."""
        surrogate = BatchSurrogate.build(self.centred, pi_l, self.k, self.prior)
        if self.xi is None or not self.game.has_random_rewards:
            return surrogate
        return replace(surrogate, rewards=self.game.reward_sampler(pi_l), xi=self.xi)

    def fit(self, surrogate: BatchSurrogate, policy: BatchPolicy | None, generator: torch.Generator, phase: str) -> Fit:
        """Fit on from the last network."""
        before = self.steps
        found = fit(
            surrogate,
            self.network,
            policy,
            self.settings,
            generator,
            baseline=self.baseline,
            phase=phase,
            gentle=before > 0,
            monitor=self._monitor(phase),
            work=self.work,
        )
        self.network, self.baseline, self.steps = found.network, found.baseline, before + found.steps
        return found

    def state(self, pair: Pair[BatchPolicy]) -> dict[str, NDArray[np.generic]]:
        """The network, its baseline, and whether it holds the values of `pair`'s pi_g, and under which pi_l."""
        arrays = {"memory/steps": np.asarray(self.steps), **module_arrays("memory/network/", self.network)}
        if self.baseline is not None:
            arrays["memory/baseline"] = self.baseline.cpu().numpy()
        if self.pair is not None and self.pair.pi_g is pair.pi_g:
            arrays["memory/pi_l"] = self.pair.pi_l.cpu().numpy()
        return arrays

    def restore(self, state: Arrays, pair: Pair[BatchPolicy]) -> None:
        """Go on from what `state` returned. Values of another pi_g than the current one will never be asked for."""
        device, stored = self.game.device, under("memory/", state)
        self.network = copy.deepcopy(self.network).eval()  # as a fit leaves it
        load_module("network/", self.network, stored)
        self.steps = int(stored["steps"])
        self.baseline = tensor_of(stored["baseline"], device) if "baseline" in stored else None
        self.pair = Pair(pair.pi_g, tensor_of(stored["pi_l"], device)) if "pi_l" in stored else None

    def _monitor(self, phase: str) -> Monitor:
        before = self.steps

        def monitor(steps: int, residual: float, numbers: Mapping[str, float]) -> None:
            if self.progress:
                self.progress(phase, steps, residual)
            if self.curve:
                self.curve(before + steps, {f"{phase}/{name}": number for name, number in numbers.items()})

        return monitor


@dataclass
class NeuralGlobalLearner:
    """Proposes the greedy policy of fitted continuation values (G-LEARN, Algorithm 1)."""

    memory: Memory
    generator: torch.Generator
    player: Player = "global"
    phase: str = "g_learn"

    def propose(self, pair: Pair[BatchPolicy], value: JointValue) -> Proposal[BatchPolicy]:
        """The best response to `pair.pi_l`."""
        surrogate = self.memory.surrogate(pair.pi_l)
        found = self.memory.fit(surrogate, None, self.generator, self.phase)
        game, scale = self.memory.game, surrogate.reward_scale
        r_g = surrogate.r_g + game.gamma * found.baseline
        pi_g = NetworkPolicy(found.network, r_g, game.gamma, scale, self.memory.k)
        proposed: Pair[BatchPolicy] = Pair(pi_g, pair.pi_l)
        self.memory.pair = proposed
        details: dict[str, float | int | str] = {
            "g_learn/steps": found.steps,
            "g_learn/residual": found.residual,
            "g_learn/noise": found.noise,
            "g_learn/greedy_changes": found.greedy_changes,
        }
        return Proposal(proposed, None, None, found.steps, details)

    def state(self, pair: Pair[BatchPolicy]) -> Arrays:
        """The memory, and the random state."""
        return {"generator": random_state(self.generator), **self.memory.state(pair)}

    def restore(self, state: Arrays, pair: Pair[BatchPolicy]) -> None:
        """Go on from what `state` returned."""
        set_random_state(self.generator, state["generator"])
        self.memory.restore(state, pair)


@dataclass
class NeuralLocalLearner:
    """Proposes by the sampled derivative of the value (L-LEARN, model-based).

    Attributes:
        memory: networks of the objective's values; the global learner's own for the team's.
        evaluator: of the objective.
        turns: what to try in place of pi_l.
        generator: of its draws.
        is_team: whether the objective is the joint value.
    """

    memory: Memory
    evaluator: Evaluator[BatchPolicy]
    turns: Turns
    generator: torch.Generator
    is_team: bool
    player: Player = "local"
    phase: str = "l_learn"

    def propose(self, pair: Pair[BatchPolicy], value: JointValue) -> Proposal[BatchPolicy]:
        """The best response to `pair.pi_g`, from `pair.pi_l`."""
        best, best_value = pair, value if self.is_team else self.evaluator.evaluate(pair, None)
        before, rounds, tried, is_over = self.memory.steps, 0, 0, False
        while not is_over and rounds < MAX_ROUNDS:
            better, tries = self._first_better(best, best_value)
            tried += tries
            if better is None:
                is_over = True
            else:
                is_over = better[1].mean - best_value.mean < SMALL_GAIN * self.memory.centred.v_max
                (best, best_value), rounds = better, rounds + 1
        if not is_over:
            logger.warning("L-LEARN still gains after %d improvements of pi_l; it is left there", rounds)
        details: dict[str, float | int | str] = {
            "l_learn/rounds": rounds,
            "l_learn/changes_tried": tried,
            "l_learn/objective_value": best_value.mean,
            "l_learn/steps": self.memory.steps - before,
        }
        joint = best_value if self.is_team else None
        return Proposal(best, None, joint, self.memory.steps - before, details)

    def _first_better(
        self, pair: Pair[BatchPolicy], value: JointValue
    ) -> tuple[tuple[Pair[BatchPolicy], JointValue] | None, int]:
        """The first pair whose turn of pi_l gains for sure, with its value, or None; and how many were tried."""
        tried = 0
        for pi_l in self.turns(pair.pi_l, self._gains(self.memory.surrogate(pair.pi_l), pair)):
            tried += 1
            candidate: Pair[BatchPolicy] = Pair(pair.pi_g, pi_l)
            proposed = self.evaluator.evaluate(candidate, None)
            if proposed.mean - value.mean > 2 * gain_error(proposed, value, of_mean=True):
                return (candidate, proposed), tried
        return None, tried

    def state(self, pair: Pair[BatchPolicy]) -> Arrays:
        """The random state, the local network, and the memory, where it is not the global learner's."""
        own = {} if self.is_team else self.memory.state(pair)
        taught = self.turns.state() if isinstance(self.turns, NetworkTurns) else {}
        return {"generator": random_state(self.generator), **own, **taught}

    def restore(self, state: Arrays, pair: Pair[BatchPolicy]) -> None:
        """Go on from what `state` returned."""
        set_random_state(self.generator, state["generator"])
        if not self.is_team:
            self.memory.restore(state, pair)
        if isinstance(self.turns, NetworkTurns):
            self.turns.restore(state)

    def _gains(self, surrogate: BatchSurrogate, pair: Pair[BatchPolicy]) -> Gains:
        """The derivative at the pair, its values fitted first where they are not at hand."""
        memory = self.memory
        if memory.pair is None or memory.pair.pi_g is not pair.pi_g or not torch.equal(memory.pair.pi_l, pair.pi_l):
            memory.fit(surrogate, pair.pi_g, self.generator, self.phase)
            memory.pair = pair
        assert memory.baseline is not None  # it was fitted
        values = network_values(surrogate, memory.network, memory.baseline, pair.pi_g)
        return local_gains(surrogate, pair.pi_l, pair.pi_g, values, self.generator)


def neural_players(run: AlternationRun) -> Players[BatchPolicy]:
    """Learners, evaluator and start on networks.

    Under the own objective the local learner has a memory of its own: its values are of other rewards.
    """
    game, k, options = run.game, run.k, run.options
    sizes, accept, team = (game.num_sl, game.num_sg, game.num_ag), options.stopping.accept, True
    *seeds, episodes = np.random.SeedSequence(options.learning.seed).generate_state(5).tolist()
    weights, local_weights, for_g, for_l = (torch.Generator(game.device).manual_seed(number) for number in seeds)
    network = CountNetwork(*sizes, generator=weights) if run.network is None else run.network
    check_network(network, *sizes, game.device)
    memory = Memory(
        game,
        k,
        network,
        run.training,
        run.prior,
        curve=run.curve,
        progress=options.keeping.progress,
        work=run.work,
        xi=run.reward_draws,
    )
    evaluator = RolloutEvaluator(game, k, accept, episodes, run.prior)
    turns: Turns = table_turns
    if options.learning.l_learner == "neural":
        turns = NetworkTurns(LocalNetwork(game.num_sl, game.num_sg, game.num_al, generator=local_weights))
    judged, values = evaluator, memory
    if options.problem.objective == "own":
        own, team = game.replace(r_g=torch.zeros_like(game.r_g)), False
        judged, values = RolloutEvaluator(own, k, "mean", episodes, run.prior), replace(memory, game=own)
    learners = NeuralGlobalLearner(memory, for_g), NeuralLocalLearner(values, judged, turns, for_l, team)
    return Players(learners, evaluator, run.first_pair)
