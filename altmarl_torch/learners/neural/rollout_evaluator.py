r"""The joint value of a pair without tables: paired episodes of the k-agent game.

UPDATE compares values, so what must be small is the error of a *difference*. Every pair is played from the same starts
and with the same random numbers (one stream each for the local agents, s_g, a randomised pi_g, and samples), episode by
episode; where two pairs act alike their returns are equal, and the error of the difference is that of the episodes in
which they do not (`operators.joint_value.gain_error`).

An episode lasts until gamma^T <= `TAIL`, or for `LONGEST` steps. The rest is estimated by the mean reward of the last
quarter of the steps, as if it went on. The `error` of the value is an estimate too: what the rest would change by if it
were estimated by the quarter before. The local agents' reward is its expectation given the counts (Eq. 6).
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex, rank_known
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.listed import look_up_small
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy, tabulate
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, centred
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.operators.words import Acceptance
from altmarl_torch.policies.base import Pair, Rule, player
from altmarl_torch.support.digests import digest
from altmarl_torch.support.showing import brief
from altmarl_torch.support.threads import one_thread, run

__all__ = ["RolloutEvaluator"]

TAIL = 1e-3
"""What is left of the discounted steps where an episode ends; they are taken to earn what its last quarter does."""

LONGEST = 10_000
"""Steps of an episode at most: gamma up to 0.9993 is followed to its tail."""

EPISODES, STEPS, FEWEST = 4096, 1_000_000, 128
"""Episodes of one evaluation; fewer, but not fewer than the last, where they would take more steps than this."""

BLOCKS, TRIAL = 2, 1
"""The episodes are played in so many blocks, each with its own random numbers, by as many workers as there are; after
so many of them a rival that has gained nothing is given up."""

FEWER = 8
"""How many times as many steps are played as there are counts where a policy is listed before."""

REPEATS = 32
"""Episodes from each start where UPDATE compares state by state."""


@dataclass
class RolloutEvaluator:
    """Scores pairs by the mean return of k-agent episodes that all pairs share.

    Attributes:
        game: the game, its rewards those that are judged.
        k: number of agents; of several, each episode has one that is drawn.
        accept: UPDATE's rule: by "mean" every episode has a start of its own; for "all-states" a few starts are
            each played many times.
        seed: of the episodes.
        prior: of the posterior correction.
        shown: how many of the k agents pi_g is shown, a fresh sample at every step; None: all.
        horizon, starts, repeats: steps of an episode; starts in each block; episodes from each start.
    """

    game: Game
    k: int | SampleSizes
    accept: Acceptance
    seed: int
    prior: Prior | None = None
    shown: int | None = None
    _last: tuple[str, JointValue] | None = field(default=None, init=False, repr=False)

    __repr__ = brief

    def __post_init__(self) -> None:
        gamma = self.game.gamma
        self.game, lowered = centred(self.game)
        self._offset = lowered / (1 - gamma)
        self.horizon = 1 if gamma == 0 else min(LONGEST, math.ceil(math.log(TAIL) / math.log(gamma)))
        episodes = max(FEWEST, min(EPISODES, STEPS // self.horizon))
        self.repeats = 1 if self.accept == "mean" else REPEATS
        self.starts = episodes // (self.repeats * BLOCKS)

    @property
    def steps(self) -> int:
        """Steps of all episodes."""
        return self.starts * self.repeats * BLOCKS * self.horizon

    def evaluate(self, pair: Pair[BatchPolicy], start: Tensor | None) -> JointValue:
        """The joint value of the pair; `start` is of no use here. The last one is remembered."""
        if (known := self._known(pair)) is None:
            known = self._remember(pair, self._blocks(pair, 0, BLOCKS))
        return known

    def evaluate_rival(self, pair: Pair[BatchPolicy], value: JointValue) -> JointValue | None:
        """As `evaluate`, where the pair may earn more than another one's `value`; None where half the episodes deny it.

        A gain of which they show nothing would hardly be one of two standard errors over all: the rest is not played.
        """
        if (known := self._known(pair)) is not None or value.returns is None:
            return known or self.evaluate(pair, None)
        half = self._blocks(pair, 0, TRIAL)
        returns = self._returns(half)
        if not float((returns - value.returns[: len(returns)]).mean()) > 0:
            return None
        return self._remember(pair, half + self._blocks(pair, TRIAL, BLOCKS))

    def _known(self, pair: Pair[BatchPolicy]) -> JointValue | None:
        """The value of the pair where it was the last one."""
        return self._last[1] if self._last is not None and self._last[0] == digest(pair) else None

    def _remember(self, pair: Pair[BatchPolicy], blocks: list[tuple[Tensor, Tensor]]) -> JointValue:
        """The value that all blocks make."""
        returns, drifts = self._returns(blocks), [drift for _, drift in blocks]
        values = returns.mean(-1)
        standard_error = float(values.std()) / len(values) ** 0.5
        error = float(torch.stack(drifts).mean().abs())
        value = JointValue(values, float(values.mean()), error, 0, standard_error, returns)
        self._last = digest(pair), value
        return value

    def _returns(self, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The returns of blocks, `[states, repeats]`."""
        return torch.cat([returns for returns, _ in blocks]).reshape(-1, self.repeats) + self._offset

    def _blocks(self, pair: Pair[BatchPolicy], first: int, last: int) -> list[tuple[Tensor, Tensor]]:
        """Play blocks first..last-1, side by side."""
        surrogate = BatchSurrogate.build(self.game, pair.pi_l, self.k, self.prior, self.shown)
        pi_g = self._listed(pair.pi_g)
        seeds = np.random.SeedSequence(self.seed).spawn(BLOCKS)[first:last]
        with one_thread():
            return run(lambda seed: self._play(surrogate, pi_g, seed), seeds)

    def _listed(self, pi_g: BatchPolicy) -> Rule:
        """What a network chooses, looked up where the counts are far fewer than the steps that are played."""
        samples, most = SampleSizes.of(self.shown or self.k), self.steps / FEWER
        if not isinstance(pi_g, NetworkPolicy):
            return pi_g
        if samples.several:
            return look_up_small(pi_g, samples, self.game.num_sl, most)
        simplex = CountSimplex(samples.largest, self.game.num_sl, self.game.device)
        if simplex.log10_size > math.log10(most):
            return pi_g
        table = tabulate(pi_g, simplex)
        return lambda s_g, counts: table[s_g, rank_known(simplex, counts.long())].double()

    @torch.no_grad()
    def _play(self, surrogate: BatchSurrogate, pi_g: Rule, block: np.random.SeedSequence) -> tuple[Tensor, Tensor]:
        """Discounted returns of one block of episodes, `[starts * repeats]`, and how far their tail drifts, `[]`."""
        device = self.game.device
        streams = (torch.Generator(device).manual_seed(seed) for seed in block.generate_state(5).tolist())
        begin, moves, global_moves, acts, looks = streams
        s_g, counts = (part.repeat_interleave(self.repeats, 0) for part in surrogate.draw_start(self.starts, begin))
        returns, means, play = torch.zeros(len(s_g), dtype=torch.float64, device=device), [], player(pi_g)
        for t in range(self.horizon):
            a_g = play(s_g, surrogate.show(counts, looks), acts)
            reward, s_g, counts = surrogate.step(s_g, counts, a_g, moves, global_moves)
            returns += self.game.gamma**t * reward
            means.append(reward.double().mean())
        last, before = _last_quarters(torch.stack(means))
        tail = self.game.gamma**self.horizon / (1 - self.game.gamma)
        return returns + tail * last, tail * (last - before)


def _last_quarters(means: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of the last quarter of the steps, and of the quarter before."""
    quarter = max(1, len(means) // 4)
    return means[-quarter:].mean(), means[-2 * quarter :][:quarter].mean()
