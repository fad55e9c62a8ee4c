"""The neural learners, as the alternation loop knows them.

Thin adapters: the mathematics is in `surrogate`, `fitting` and `l_learn`. What passes from one turn to the next is a
`NeuralMemory`: the network of the last fit, from which the next one starts, and for which pair it holds the values
(after G-LEARN, for the proposal itself: no fit is needed in the local agents' turn). Each draws from its own generator.
"""

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Curve, Evaluator, PhaseProgress, Player, Players, Proposal, Update
from altmarl_torch.alternation.players.announcing import announce
from altmarl_torch.alternation.players.lifted_start import Interrupted, LiftedStart, lifted_start
from altmarl_torch.alternation.run import AlternationRun
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.exact_evaluator import ExactEvaluator
from altmarl_torch.learners.neural.fitting import Fit, Monitor, fit
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
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.started import StartedNetwork
from altmarl_torch.learners.neural.storage import pack_network
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, centred
from altmarl_torch.learners.settings import Settings
from altmarl_torch.operators.joint_value import JointValue, gain_error
from altmarl_torch.operators.words import Acceptance
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.digests import digest
from altmarl_torch.support.snapshots import WorkInProgress

__all__ = ["FittedValues", "NeuralGlobalLearner", "NeuralLocalLearner", "NeuralMemory", "Trainer", "neural_players"]

logger = logging.getLogger(__name__)

MAX_ROUNDS = 20
"""A cap on the improvements of pi_l in one turn; one or two are usual."""

SMALL_GAIN, WORTH_PLAYING = 1e-3, 0.1
"""A round that gains less, relative to V_max, is the last of its turn: UPDATE would call it nothing to gain; and what
turns of pi_l must promise to be played, relative to such a gain: the derivative is that good a guess."""


@dataclass(frozen=True, eq=False)
class FittedValues:
    """The continuation values that were fitted last, and for what.

    Attributes:
        network: from which the next fit starts.
        baseline: `[sg, ag]`, added to its answers; None before the first fit.
        fitted_to: digest of the pair whose values they are; None for none.
        steps: gradient steps since the start.
    """

    network: nn.Module
    baseline: Tensor | None = None
    fitted_to: str | None = None
    steps: int = 0


@dataclass(frozen=True, eq=False)
class NeuralMemory:
    """What the turns on networks leave for later ones.

    Attributes:
        team: the joint values.
        last: those before the newest fit of the global agent, for where its proposal is not taken.
        own: those of the local agents' own reward, where that is their objective.
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
class Trainer:
    """How values of one game are fitted.

    Raises:
        ArgumentError: values do not fit into float32.
    """

    game: Game  # with the rewards that are judged
    k: SampleSizes
    settings: Settings
    prior: Prior | None = None  # of the posterior correction
    curve: Curve | None = None
    progress: PhaseProgress | None = None
    work: WorkInProgress | None = None
    xi: int | None = None  # draws of the rewards in each target; None for their means

    def __post_init__(self) -> None:
        _ = self.centred  # what does not fit is refused before anything is trained

    @cached_property
    def centred(self) -> Game:
        """The game with its rewards around zero."""
        return centred(self.game)[0]

    @property
    def nobody(self) -> Tensor | None:
        """What stands for a sample of nobody, where samples may be of any size: the mean of the initial law."""
        return self.game.initial.local_mean if self.k.several else None

    def surrogate(self, pi_l: Tensor) -> BatchSurrogate:
        """The k-agent MDP under `pi_l [sl, sg, al]`."""
        surrogate = BatchSurrogate.build(self.centred, pi_l, self.k, self.prior)
        if self.xi is None or not self.game.has_random_rewards:
            return surrogate
        return replace(surrogate, rewards=self.game.reward_sampler(pi_l), xi=self.xi)

    def fit(
        self,
        values: FittedValues,
        surrogate: BatchSurrogate,
        policy: BatchPolicy | None,
        generator: torch.Generator,
        phase: str,
    ) -> Fit:
        """Fit on from the last network; those of `policy`, or of the best response where it is None."""
        return fit(
            surrogate,
            values.network,
            policy,
            self.settings,
            generator,
            baseline=values.baseline,
            phase=phase,
            gentle=values.baseline is not None,
            monitor=self._monitor(phase, values.steps),
            work=self.work,
        )

    def _monitor(self, phase: str, before: int) -> Monitor:
        def monitor(steps: int, residual: float, numbers: Mapping[str, float]) -> None:
            if self.progress:
                self.progress(phase, steps, residual)
            if self.curve and (steps or not before):  # a later start that is left as it is would tell a step again
                self.curve(before + steps, {f"{phase}/{name}": number for name, number in numbers.items()})

        return monitor


def _fitted(values: FittedValues, found: Fit, pair: Pair[BatchPolicy]) -> FittedValues:
    """What a fit leaves: the values of `pair`."""
    return FittedValues(found.network, found.baseline, digest(pair), values.steps + found.steps)


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
        left = replace(memory, last=memory.team, team=_fitted(memory.team, found, proposed), for_g=generator)
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
    """

    trainer: Trainer
    evaluator: NeuralEvaluator
    is_team: bool
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
        return memory.team if self.is_team else memory.own

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
        if self.is_team and memory.last.fitted_to == digest(pair):
            values = memory.last
        if values.fitted_to != digest(pair):
            found = self.trainer.fit(values, surrogate, pair.pi_g, memory.for_l, self.phase)
            values = _fitted(values, found, pair)
            memory = replace(memory, team=values) if self.is_team else replace(memory, own=values)
        assert values.baseline is not None  # it was fitted
        continuation = network_values(surrogate, values.network, values.baseline, pair.pi_g)
        return memory, local_gains(surrogate, pair.pi_l, pair.pi_g, continuation, memory.for_l)


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
    trainer = Trainer(game, run.samples, run.training, run.prior, run.curve, progress, run.work, run.reward_draws)
    evaluator = _evaluator(run, game, options.stopping.accept, episodes)
    if isinstance(evaluator, RolloutEvaluator):  # else there are few pairs (s_g, h)
        seconds = expected_seconds(game, run.k, evaluator.steps)
        announce(run, seconds, f"episodes of k = {run.k:,} agents", "fewer local states take less")
    locally = trainer, evaluator
    if options.problem.objective == "own":
        own = game.replace(r_g=torch.zeros_like(game.r_g))
        locally = replace(trainer, game=own), _evaluator(run, own, "mean", episodes)
    learners = NeuralGlobalLearner(trainer), NeuralLocalLearner(*locally, options.problem.objective == "team")
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
    if few_counts(game, run.samples):
        return ExactEvaluator(game, run.samples, run.prior)
    return RolloutEvaluator(game, run.samples, accept, seed, run.prior)
