"""What the lifted learners remember from one turn to the next: a degree, points, and the values that were fitted last.

The memory is a value, `LiftedMemory`; a `LiftedWorkspace` is where a turn takes it up,
works on it, and leaves the next.
Points and episodes are drawn from the same seeds in every turn, so that a memory that was laid down and taken up goes
on to the same bits, and so that values are compared in pairs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.alternation.loop import AUTO_ETA, PhaseProgress
from altmarl_torch.counts.lifted import Basis
from altmarl_torch.counts.prior import Prior
from altmarl_torch.games.game import Game
from altmarl_torch.learners.lifted.episodes import EPISODES, Contender
from altmarl_torch.learners.lifted.fitting import LiftedFit, fit_value
from altmarl_torch.learners.lifted.judging import Judged, judge, laws_at
from altmarl_torch.learners.lifted.points import Points
from altmarl_torch.learners.lifted.surrogate import LiftedSurrogate
from altmarl_torch.learners.lifted.walk import Rule, visit
from altmarl_torch.operators.joint_value import JointValue, value_span
from altmarl_torch.policies.base import Pair
from altmarl_torch.support.digests import digest

__all__ = ["LiftedMemories", "LiftedMemory", "LiftedWorkspace", "fits_of", "of_coefficients"]

SMALL_GAIN, STILL = 2 * AUTO_ETA, 3e-4
"""Gains, relative to the span of values: below the first UPDATE finds none, below the second a degree is not higher."""

VISITS = 5_000
"""Counts that points are chosen from."""

FINE = 4 * EPISODES
"""Episodes that tell apart what a first look leaves open."""


@dataclass(frozen=True, eq=False)
class LiftedMemory:
    """What was fitted last, and for which pair.

    Attributes:
        place: on the ladder of degrees.
        settled: whether the ladder's end, for this run, has been found.
        counts: where the last fit was made, `[points, sl]`.
        coefficients: `[sg, N_J]`, of its values.
        fitted_to: digest of the pair whose values they are.
    """

    place: int = 0
    settled: bool = False
    counts: Tensor | None = None
    coefficients: Tensor | None = None
    fitted_to: str | None = None


@dataclass(frozen=True, eq=False)
class LiftedMemories:
    """Those of the joint values, and of the local agents' own, where these are their objective."""

    team: LiftedMemory = LiftedMemory()
    own: LiftedMemory = LiftedMemory()


@dataclass
class LiftedWorkspace:
    """Where turns work on a memory: the surrogates, bases and points that it speaks of.

    Attributes:
        game: with the rewards that are judged, around zero.
        lowered: by how much each step's reward was lowered for that.
        k: number of agents, or infinity.
        degrees: the ladder.
        seed: of points and episodes, which are the same in every turn.
        by_state: whether UPDATE compares state by state.
        prior: of the posterior correction.
        place, settled, coefficients, fitted_to: as in `LiftedMemory`.
        points: where the last fit was made.
    """

    game: Game
    k: float
    degrees: list[int]
    seed: int
    by_state: bool = False
    prior: Prior | None = None
    progress: PhaseProgress | None = None
    lowered: float = 0.0
    place: int = 0
    settled: bool = False
    points: Points | None = None
    coefficients: Tensor | None = None
    fitted_to: str | None = None
    _bases: dict[int, Basis] = field(default_factory=dict)
    _judged: tuple[Tensor, Judged] | None = None  # of which coefficients
    _visited_by: tuple[int, str] | None = None  # the place and the pair that the points at hand were chosen for

    def __post_init__(self) -> None:
        self.seeds: list[int] = np.random.SeedSequence(self.seed).generate_state(5).tolist()

    @property
    def span(self) -> float:
        """How far apart values can lie: the unit of what counts as a gain."""
        return value_span(self.game)

    def take_up(self, memory: LiftedMemory) -> None:
        """Go on from what an earlier turn has left."""
        self.place, self.settled, self.fitted_to = memory.place, memory.settled, memory.fitted_to
        self.coefficients = memory.coefficients
        if memory.counts is None:
            self.points = None
        elif self.points is None or self.points.counts is not memory.counts:
            self.points, self._visited_by = Points(self.basis(self.place), self.k, memory.counts), None

    def leave(self) -> LiftedMemory:
        """What later turns go on from."""
        counts = None if self.points is None else self.points.counts
        return LiftedMemory(self.place, self.settled, counts, self.coefficients, self.fitted_to)

    def basis(self, place: int) -> Basis:
        """The functions of a place on the ladder."""
        if place not in self._bases:
            self._bases[place] = Basis(self.degrees[place], self.game.num_sl, self.game.device)
        return self._bases[place]

    def surrogate(self, pi_l: Tensor) -> LiftedSurrogate:
        """The k-agent MDP under `pi_l`, in the present degree."""
        return LiftedSurrogate.build(self.game, pi_l, self.k, self.basis(self.place), self.prior)

    @property
    def ends(self) -> bool:
        """Whether no higher degree is to be tried."""
        return self.settled or self.place + 1 == len(self.degrees)

    def climb(self) -> None:
        """Go to the next degree, with everything that is known."""
        if self.coefficients is not None:
            lower, higher = self.basis(self.place), self.basis(self.place + 1)
            self.coefficients = lower.elevate(self.coefficients, higher)
        self.place, self.points = self.place + 1, None

    def choose_points(self, surrogate: LiftedSurrogate, pair: Pair[Rule]) -> Points:
        """Points for the next fit, some of them where a pair goes; those at hand, if they are these."""
        wanted = self.place, digest(pair)
        if self.points is None or self._visited_by != wanted:
            generator = torch.Generator(self.game.device).manual_seed(self.seeds[0])
            exact = surrogate.basis.degree == self.k
            visited = None if exact else visit(surrogate, pair.pi_g, self.seeds[1], VISITS)
            self.points, self._visited_by = Points.draw(surrogate.basis, self.k, generator, visited), wanted
        return self.points

    def fitted(self, pair: Pair[Rule], phase: str) -> tuple[LiftedSurrogate, LiftedFit]:
        """A fit to the values of a pair: the one at hand, or a new one."""
        surrogate = self.surrogate(pair.pi_l)
        if not self._knows(pair) or self.coefficients is None or self.points is None:
            points = self.choose_points(surrogate, pair)
            laws = laws_at(pair.pi_g, points, self.game.num_sg)
            found = fit_value(surrogate, points, laws, self.coefficients, self.watch(phase))
            self.coefficients, self.fitted_to = found.coefficients, digest(pair)
            return surrogate, found
        return surrogate, of_coefficients(surrogate, self.coefficients)

    def known(self, pair: Pair[Rule], surrogate: LiftedSurrogate, fit: LiftedFit) -> Judged:
        """The value of the pair that was fitted, and its moments; played once."""
        if self._judged is None or self._judged[0] is not fit.coefficients:
            self._judged = fit.coefficients, self.judged([Contender(surrogate, pair.pi_g, fit)])[0]
        return self._judged[1]

    def remember(self, pair: Pair[Rule], judged: Judged) -> None:
        """Take the fit at hand for that of a pair, whose value has been found with it."""
        if self.coefficients is not None:
            self.fitted_to, self._judged = digest(pair), (self.coefficients, judged)

    def judged(self, contenders: Sequence[Contender], *, moments: bool = True, finely: bool = False) -> list[Judged]:
        """The values of pairs near those of their fits; finely, on `FINE` episodes of their own."""
        assert self.points is not None
        seed, episodes = (self.seeds[3], FINE) if finely else (self.seeds[2], EPISODES)
        found = judge(contenders, self.points, seed, by_state=self.by_state, moments=moments, episodes=episodes)
        return [replace(one, value=self.told(one.value)) for one in found]

    def told(self, value: JointValue) -> JointValue:
        """A value of the centred game as one of the game that is learned."""
        raised = self.lowered / (1 - self.game.gamma)
        returns = None if value.returns is None else value.returns + raised
        return replace(value, values=value.values + raised, mean=value.mean + raised, returns=returns)

    def watch(self, phase: str) -> Callable[[int, float], None] | None:
        """Told sweeps and errors."""
        told = self.progress
        return None if told is None else lambda sweeps, error: told(phase, sweeps, error)

    def _knows(self, pair: Pair[Rule]) -> bool:
        return self.fitted_to is not None and self.fitted_to == digest(pair)


def of_coefficients(surrogate: LiftedSurrogate, coefficients: Tensor) -> LiftedFit:
    """Values that were fitted before, with the Q that follows from them under the surrogate's pi_l."""
    return LiftedFit(coefficients, surrogate.action_coefficients(coefficients), math.nan, 0)


def fits_of(surrogates: Sequence[LiftedSurrogate], coefficients: Tensor) -> list[LiftedFit]:
    """The same for several pi_l, which differ in a few states."""
    first = of_coefficients(surrogates[0], coefficients)
    return [first] + [
        replace(
            first, action_coefficients=one.changed_coefficients(surrogates[0], first.action_coefficients, coefficients)
        )
        for one in surrogates[1:]
    ]
