"""How values are fitted, for both players: of which game, from where, and whom it is told."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Curve, PhaseProgress
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.fitting import NEARLY, NEARLY_LIFTED, Fit, Monitor, fit
from altmarl_torch.learners.neural.policies import BatchPolicy
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, centred
from altmarl_torch.learners.settings import Settings
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.digests import digest
from altmarl_torch.support.snapshots import WorkInProgress

__all__ = ["FittedValues", "Trainer", "fitted"]


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
    population: int | None = None  # agents of whom k are seen; None: the k are all there are

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
        """The k-agent MDP under `pi_l [sl, sg, al]`, or the population's of whom k are seen."""
        if self.population is not None:
            return BatchSurrogate.build(self.centred, pi_l, self.population, shown=self.k.largest)
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
            nearly=None if values.baseline is None else NEARLY if values.steps else NEARLY_LIFTED,
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


def fitted(values: FittedValues, found: Fit, pair: Pair[BatchPolicy]) -> FittedValues:
    """What a fit leaves: the values of `pair`."""
    return FittedValues(found.network, found.baseline, digest(pair), values.steps + found.steps)
