"""The neural learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `surrogate`, `fitting` and `l_learn`. What passes from one turn to the next is a
`NeuralMemory`: the network of the last fit, from which the next one starts, and for which pair it holds the values
(after G-LEARN, for the proposal itself: no fit is needed in the local agents' turn). Each draws from its own generator.
"""

import copy
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Evaluator, Player, Players, Proposal, Update
from altmarl_torch.alternation.players.announcing import announce
from altmarl_torch.alternation.players.fitted import FittedValues, Trainer, fitted
from altmarl_torch.alternation.players.lifted_start import Interrupted, LiftedStart, lifted_start
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.exact_evaluator import ExactEvaluator
from altmarl_torch.learners.neural.grid import few_counts
from altmarl_torch.learners.neural.l_learn import (
    Gains,
    NetworkTurns,
    expected_seconds,
    local_gains,
    network_values,
    table_turns,
)
from altmarl_torch.learners.neural.networks import CountNetwork, LocalNetwork, check_network
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy
from altmarl_torch.learners.neural.rollout_evaluator import RolloutEvaluator
from altmarl_torch.learners.neural.sampled import ShownValues
from altmarl_torch.learners.neural.started import StartedNetwork
from altmarl_torch.learners.neural.storage import pack_network
from altmarl_torch.operators.joint_value import JointValue, gain_error
from altmarl_torch.operators.words import Acceptance
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.digests import digest

__all__ = ["FittedValues", "NeuralGlobalLearner", "NeuralLocalLearner", "NeuralMemory", "Trainer", "neural_players"]

logger = logging.getLogger(__name__)

MOVED_ONE_BY_ONE = 1024
"""Beyond so many agents a move costs no more."""

MAX_ROUNDS = 20
"""A cap on the improvements of pi_l in one turn; one or two are usual."""

SMALL_GAIN, WORTH_PLAYING = 1e-3, 0.1
"""A round that gains less, relative to V_max, is the last of its turn: UPDATE would call it nothing to gain; and what
turns of pi_l must promise to be played, relative to such a gain: the derivative is that good a guess."""


@dataclass(frozen=True, eq=False)
class NeuralMemory:
    """What the turns on networks leave for later ones.

    Attributes:
        team: the joint values.
        last: those before the newest fit of the global agent, for where its proposal is not taken.
        own: those of the local agents' own reward, where that is their objective; and, where k of a population are
            seen, of the population's counts, which G-LEARN's are not.
        for_g, for_l: generators of either player's draws.
        turns: the local network, where pi_l is one.
    """

    team: FittedValues
    last: FittedValues
    own: FittedValues
    for_g: torch.Generator
    for_l: torch.Generator
    turns: NetworkTurns | None = None


@dataclass(frozen=True, eq=False)
class NeuralGlobalLearner:
    """Proposes the greedy policy of fitted continuation values (G-LEARN, Algorithm 1)."""

    trainer: Trainer
    player: Player = "global"
    phase: str = "g_learn"

    def propose(
        self, pair: Pair[BatchPolicy], value: JointValue, memory: NeuralMemory
    ) -> tuple[Proposal[BatchPolicy], NeuralMemory]:
        """The best response to `pair.pi_l`."""
        trainer, generator = self.trainer, memory.for_g.clone_state()
        surrogate = trainer.surrogate(pair.pi_l)
        found = trainer.fit(memory.team, surrogate, None, generator, self.phase)
        r_g = surrogate.r_g + trainer.game.gamma * found.baseline
        pi_g = NetworkPolicy(
            found.network, r_g, trainer.game.gamma, surrogate.reward_scale, trainer.k.plain, trainer.nobody
        )
        proposed: Pair[BatchPolicy] = Pair(pi_g, pair.pi_l)
        details: dict[str, float | int | str] = {
            "g_learn/steps": found.steps,
            "g_learn/residual": found.residual,
            "g_learn/noise": found.noise,
            "g_learn/greedy_changes": found.greedy_changes,
        }
        left = replace(memory, last=memory.team, team=fitted(memory.team, found, proposed), for_g=generator)
        return Proposal(proposed, None, None, found.steps, details), left


class NeuralEvaluator(Evaluator[BatchPolicy], Protocol):
    """May give up what is no rival."""

    def evaluate_rival(self, pair: Pair[BatchPolicy], value: JointValue) -> JointValue | None:
        """As `evaluate`; None where it is seen earlier that no sure gain over `value` is to be expected."""


@dataclass(frozen=True, eq=False)
class NeuralLocalLearner:
    """Proposes by the sampled derivative of the value (L-LEARN, model-based).

    Attributes:
        trainer: of the objective's values.
        evaluator: of the objective.
        is_team: whether the objective is the joint value.
        shares: whether values of it are those that G-LEARN fits, functions of the same counts.
    """

    trainer: Trainer
    evaluator: NeuralEvaluator
    is_team: bool
    shares: bool
    player: Player = "local"
    phase: str = "l_learn"

    def propose(
        self, pair: Pair[BatchPolicy], value: JointValue, memory: NeuralMemory
    ) -> tuple[Proposal[BatchPolicy], NeuralMemory]:
        """The best response to `pair.pi_g`, from `pair.pi_l`."""
        best, best_value = pair, value if self.is_team else self.evaluator.evaluate(pair, None)
        before, rounds, tried, is_over = self._values(memory).steps, 0, 0, False
        left = replace(memory, for_l=memory.for_l.clone_state(), turns=copy.deepcopy(memory.turns))
        small = SMALL_GAIN * self.trainer.centred.v_max
        least = WORTH_PLAYING * small * (1 - self.trainer.game.gamma)  # for each step, as the derivative has it
        while not is_over and rounds < MAX_ROUNDS:
            left, gains = self._gains(best, left)
            better, tries = self._first_better(best, best_value, (left.turns or table_turns)(best.pi_l, gains, least))
            tried += tries
            if better is None:
                is_over = True
            else:
                is_over = better[1].mean - best_value.mean < small
                (best, best_value), rounds = better, rounds + 1
        if not is_over:
            logger.warning("L-LEARN still gains after %d improvements of pi_l; it is left there", rounds)
        steps = self._values(left).steps - before
        details: dict[str, float | int | str] = {
            "l_learn/rounds": rounds,
            "l_learn/changes_tried": tried,
            "l_learn/objective_value": best_value.mean,
            "l_learn/steps": steps,
        }
        return Proposal(best, None, best_value if self.is_team else None, steps, details), left

    def _values(self, memory: NeuralMemory) -> FittedValues:
        """Those of the objective."""
        return memory.team if self.shares else memory.own

    def _first_better(
        self, pair: Pair[BatchPolicy], value: JointValue, turns: Iterator[Tensor]
    ) -> tuple[tuple[Pair[BatchPolicy], JointValue] | None, int]:
        """The first pair whose turn of pi_l gains for sure, with its value, or None; and how many were tried."""
        tried = 0
        for pi_l in turns:
            tried += 1
            candidate: Pair[BatchPolicy] = Pair(pair.pi_g, pi_l)
            proposed = self.evaluator.evaluate_rival(candidate, value)
            if proposed is not None and proposed.mean - value.mean > 2 * gain_error(proposed, value, of_mean=True):
                return (candidate, proposed), tried
        return None, tried

    def _gains(self, pair: Pair[BatchPolicy], memory: NeuralMemory) -> tuple[NeuralMemory, Gains]:
        """The derivative at the pair, its values fitted first where they are not at hand."""
        values, surrogate = self._values(memory), self.trainer.surrogate(pair.pi_l)
        if self.shares and memory.last.fitted_to == digest(pair):
            values = memory.last
        if values.fitted_to != digest(pair):
            found = self.trainer.fit(values, surrogate, pair.pi_g, memory.for_l, self.phase)
            values = fitted(values, found, pair)
            memory = replace(memory, team=values) if self.shares else replace(memory, own=values)
        assert values.baseline is not None  # it was fitted
        parts = surrogate, values.network, values.baseline, pair.pi_g
        worth = network_values(*parts) if surrogate.shown is None else ShownValues(*parts, memory.for_l)
        return memory, local_gains(surrogate, pair.pi_l, pair.pi_g, worth, memory.for_l)


def neural_players(run: AlternationRun) -> Players[BatchPolicy, NeuralMemory]:
    """Learners, evaluator and start on networks.

    Raises:
        ArgumentError: the network could not be stored, or does not fit the game.
    """
    game, options = run.game, run.options
    *seeds, episodes = np.random.SeedSequence(options.learning.seed).generate_state(5).tolist()
    weights, local_weights, for_g, for_l = (torch.Generator(game.device).manual_seed(number) for number in seeds)
    network, turns = _network(run, weights), None
    if options.learning.l_learner == "neural":
        turns = NetworkTurns.of(LocalNetwork(game.num_sl, game.num_sg, game.num_al, generator=local_weights))
    progress = options.keeping.progress
    drawn = run.reward_draws, run.population
    trainer = Trainer(game, run.samples, run.training, run.prior, run.curve, progress, run.work, *drawn)
    evaluator = _evaluator(run, game, options.stopping.accept, episodes)
    if isinstance(evaluator, RolloutEvaluator):  # else there are few pairs (s_g, h)
        agents = run.population or run.k
        seconds = expected_seconds(game, min(agents, run.k + MOVED_ONE_BY_ONE), evaluator.steps)
        announce(run, seconds, f"episodes of {agents:,} agents", "fewer local states take less")
    locally = trainer, evaluator
    if options.problem.objective == "own":
        own = game.replace(r_g=torch.zeros_like(game.r_g))
        locally = replace(trainer, game=own), _evaluator(run, own, "mean", episodes)
    is_team = options.problem.objective == "team"
    learners = NeuralGlobalLearner(trainer), NeuralLocalLearner(*locally, is_team, is_team and run.population is None)
    values, pair, start = FittedValues(network), run.first_pair, lifted_start(run)
    before: tuple[Update, ...] = ()
    if start is not None:
        (values, pair), before = _begun(trainer, network, start), start.history
    last = replace(values, network=copy.deepcopy(values.network))  # a checkpoint fills each network by itself
    memory = NeuralMemory(values, last, FittedValues(copy.deepcopy(network)), for_g, for_l, turns)
    if start is not None and start.interrupted:
        return Players((Interrupted(),), evaluator, pair, memory, before)
    return Players(learners, evaluator, pair, memory, before)


def _network(run: AlternationRun, generator: torch.Generator) -> nn.Module:
    """The network that is trained, in eval mode: a new one, or a copy of the one that is given."""
    game, extra = run.game, int(run.samples.several)
    sizes = game.num_sl, game.num_sg, game.num_ag
    if run.network is None:
        network: nn.Module = CountNetwork(*sizes, extra=extra, generator=generator)
    else:
        network = copy.deepcopy(run.network)
    check_network(network, *sizes, game.device, extra)
    pack_network(network)  # what cannot be stored is refused before it is trained
    return network.eval()


def _begun(trainer: Trainer, network: nn.Module, start: LiftedStart) -> tuple[FittedValues, Pair[BatchPolicy]]:
    """Values that begin from lifted ones, and the pair whose they are."""
    assert isinstance(network, CountNetwork)  # a network of one's own has no such start
    surrogate = trainer.surrogate(start.pi_l)
    continuation = start.continuation / surrogate.reward_scale
    started = StartedNetwork(copy.deepcopy(network), continuation, start.degree, start.anchors.plain).eval()
    pi_g = NetworkPolicy(
        started, surrogate.r_g, trainer.game.gamma, surrogate.reward_scale, trainer.k.plain, trainer.nobody
    )
    pair: Pair[BatchPolicy] = Pair(pi_g, start.pi_l)
    return FittedValues(started, torch.zeros_like(surrogate.r_g), digest(pair)), pair


def _evaluator(run: AlternationRun, game: Game, accept: Acceptance, seed: int) -> NeuralEvaluator:
    """Who scores pairs by the rewards of `game`: exactly where that is no work, else by episodes."""
    if run.population is not None:
        return RolloutEvaluator(game, run.population, accept, seed, shown=run.k)
    if few_counts(game, run.samples):
        return ExactEvaluator(game, run.samples, run.prior)
    return RolloutEvaluator(game, run.samples, accept, seed, run.prior)
