"""A learned pair against fixed schedules, in the real federation.

The game was counted from logs, and a pair that is good in it may be bad in what it stands for. So the pair is put
back: in every round the server sees k clients, drawn at random, and announces the next mode by pi_g; every client takes
its steps by pi_l. Against it play all nine constant schedules, and five that look at the clock, as people write them:

    every p      many steps and all averaged in every p-th round, p = 2, 3, 5; nothing in between
    fade-steps   all are averaged in each round; many steps for `EARLY` rounds, few for as many again, then none
    fade-sync    many steps and all averaged for `EARLY` rounds; then few steps, and a quarter is averaged

Each seed is a federation that nobody has seen: another split, other untrained models, other leavers. All schedules
under one seed meet the same, so their differences are paired: the standard error of a mean difference is that of the
differences, over seeds.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.rollouts import rollout
from altmarl_torch.federated.episodes import Controller, Episode, play
from altmarl_torch.federated.simulation import Digits, Federation, Setting, load_digits
from altmarl_torch.federated.situations import MODES, STEPS, Observer
from altmarl_torch.games.game import Game
from altmarl_torch.policies.base import PolicyPair, cumulative, draw
from altmarl_torch.policies.rules import constant_pair
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = ["MEASURES", "Comparison", "PairController", "Schedule", "compare", "figure", "schedules"]

EARLY = 10
"""Rounds after which the decaying schedules change."""

PERIODS = (2, 3, 5)

LAST = 10
"""Rounds at the end over which losses and accuracies are averaged."""

GAMES = 750
"""Episodes by which a return in the counted game is estimated."""

LEARNED = "learned"
Floats = NDArray[np.float64]
CONSTANT = tuple(itertools.product(range(len(MODES)), range(len(STEPS))))
ALL = "100% averaged, 16 steps"
MEASURES = ("return", "client loss", "server loss", "accuracy", "steps", "averaged")
"""What is compared: discounted return; in the last rounds the mean validation loss of the clients' models, and loss and
accuracy of the server's; local steps of a client per round; share of the clients averaged per round."""


@dataclass(frozen=True)
class Schedule:
    """A controller that looks at the clock only.

    Attributes:
        name: what tables call it.
        a_g: the next mode, by round.
        a_l: everybody's steps, by round.
    """

    name: str
    a_g: Callable[[int], int]
    a_l: Callable[[int], int]

    def begin(self, seed: int) -> None:
        """Nothing to draw."""

    def mode(self, time: int, s_g: int, s_l: Tensor) -> int:
        """What the clock says."""
        return self.a_g(time)

    def steps(self, time: int, s_g: int, s_l: Tensor) -> Tensor:
        """What the clock says, for everybody."""
        return torch.full_like(s_l, self.a_l(time))


class PairController:
    """A learned pair at work: `pair.dispatcher()` sees k clients in each round, and clients act by pi_l.

    Raises:
        ArgumentError: the pair is not for this game.
    """

    name = LEARNED

    def __init__(self, pair: PolicyPair, observer: Observer) -> None:
        sizes, wanted = tuple(pair.pi_l.shape), (observer.num_sl, len(MODES), len(STEPS))
        if sizes != wanted:
            raise ArgumentError(f"pi_l is of [sl, sg, al] = {list(sizes)}; the federated game has {list(wanted)}")
        self._pair, self._num_sl = pair, observer.num_sl
        self.begin(0)

    def begin(self, seed: int) -> None:
        """A new run: the dispatcher forgets, and all draws begin again."""
        self._generator = torch.Generator().manual_seed(as_seed(seed))
        self._dispatcher = self._pair.dispatcher(as_seed(seed))
        self._dispatcher.reset(1)

    def mode(self, time: int, s_g: int, s_l: Tensor) -> int:
        """What the dispatcher says, who sees k of the clients."""
        sample = torch.randperm(len(s_l), generator=self._generator)[: self._pair.k]
        counts = torch.bincount(s_l[sample], minlength=self._num_sl)
        return int(self._dispatcher.act(torch.tensor([s_g]), counts[None]))

    def steps(self, time: int, s_g: int, s_l: Tensor) -> Tensor:
        """A draw from pi_l for every client."""
        return draw(cumulative(self._pair.pi_l[s_l, s_g]), self._generator)


def schedules() -> list[Schedule]:
    """Every constant mode with every constant number of steps, the periodic and the decaying ones."""
    constant = [Schedule(_name(g, a), _always(g), _always(a)) for g, a in CONSTANT]
    fade_steps = Schedule("fade-steps", _always(2), lambda time: max(2 - time // EARLY, 0))
    fade_sync = Schedule("fade-sync", lambda time: 2 if time < EARLY else 1, lambda time: 2 if time < EARLY else 1)
    return [*constant, *map(_periodic, PERIODS), fade_steps, fade_sync]


def _periodic(period: int) -> Schedule:
    """All work and are averaged in rounds 0, p, 2p, ..; the mode of a round is announced one before."""
    return Schedule(
        f"every {period}",
        lambda time: 0 if (time + 1) % period else 2,
        lambda time: 0 if time % period else 2,
    )


def _name(g: int, a: int) -> str:
    return f"{MODES[g]:.0%} averaged, {STEPS[a]} steps"


def _always(action: int) -> Callable[[int], int]:
    return lambda time: action


@dataclass(frozen=True, eq=False)
class Comparison:
    """What controllers came to, seed by seed.

    Attributes:
        numbers: `[seeds, measures]` by controller, the learned pair first.
        promised: the mean return in the counted game, of the learned pair and the constant schedules.
        episodes: of the first seed, by controller.
    """

    numbers: dict[str, Floats]
    promised: dict[str, float]
    episodes: dict[str, Episode]

    @property
    def best_schedule(self) -> str:
        """The schedule with the highest mean return on these very seeds."""
        return max((name for name in self.numbers if name != LEARNED), key=lambda name: self.numbers[name][:, 0].mean())

    def table(self) -> str:
        """Means and standard errors, and the learned pair's paired differences, in Markdown."""
        head = ["controller", *MEASURES, "return in the game", "learned pair earns more by"]
        lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        ranked = sorted(self.numbers.items(), key=lambda item: -item[1][:, 0].mean())
        for name, numbers in ranked:
            cells = [f"{mean:.3f} +- {sem:.3f}" for mean, sem in map(_mean_sem, numbers.T)]
            cells.append(f"{self.promised[name]:.3f}" if name in self.promised else "")
            mean, sem = _mean_sem(self.numbers[LEARNED][:, 0] - numbers[:, 0])
            cells.append("" if name == LEARNED else f"{mean:.3f} +- {sem:.3f}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)


def _mean_sem(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def compare(
    game: Game,
    pair: PolicyPair,
    observer: Observer,
    *,
    setting: Setting | None = None,
    seeds: Sequence[int] = range(5),
    rounds: int = 40,
    digits: Digits | None = None,
) -> Comparison:
    """Run the pair and all schedules on the federations of `seeds`, `rounds` rounds each, and in `game` as well.

    Raises:
        ArgumentError: the pair is not for this game, or a number is out of range.
    """
    as_integer("rounds", rounds, 1, 10**6, ArgumentError)
    if not seeds:
        raise ArgumentError("seeds must name at least one")
    digits = load_digits() if digits is None else digits
    controllers: list[Controller] = [PairController(pair, observer), *schedules()]
    runs = {
        controller.name: [
            play(Federation(setting or Setting(), seed, digits), observer, controller, rounds) for seed in seeds
        ]
        for controller in controllers
    }
    numbers = {name: np.array([_measures(run, game.gamma) for run in episodes]) for name, episodes in runs.items()}
    pairs = {LEARNED: pair} | {_name(*actions): constant_pair(game, pair.k, actions) for actions in CONSTANT}
    promised = {name: rollout(game, each, episodes=GAMES, horizon=rounds).mean for name, each in pairs.items()}
    return Comparison(numbers, promised, {name: episodes[0] for name, episodes in runs.items()})


def _measures(run: Episode, gamma: float) -> list[float]:
    """The numbers that `MEASURES` names."""
    late = [column[-LAST:].mean() for column in (run.client_loss, run.server_loss, run.accuracy)]
    work = torch.tensor(STEPS, dtype=torch.float64)[run.a_l].mean(), torch.tensor(MODES)[run.s_g[:-1]].mean()
    return [run.discounted(gamma), *map(float, (*late, *work))]


def figure(comparison: Comparison) -> Figure:
    """The first seed, round by round: loss, communication and work so far, of learned pair, best schedule and `ALL`."""
    drawn = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = drawn.subplots(1, 3)
    styles = {ALL: ("#595959", ":"), comparison.best_schedule: ("#D55E00", "--"), LEARNED: ("#0072B2", "-")}
    for name, (colour, style) in styles.items():
        run = comparison.episodes[name]
        averaged, steps = (
            torch.tensor(MODES)[run.s_g[:-1]].cumsum(0),
            torch.tensor(STEPS)[run.a_l].double().mean(1).cumsum(0),
        )
        for place, column in zip(axes, (run.client_loss, averaged, steps), strict=True):
            place.plot(column.numpy(), color=colour, ls=style, label=name)
    titles = "mean validation loss (nats)", "averages so far, per client", "local steps so far, per client"
    for place, title in zip(axes, titles, strict=True):
        place.set(title=title, xlabel="round")
    axes[0].legend(frameon=False, fontsize=8)
    return drawn
