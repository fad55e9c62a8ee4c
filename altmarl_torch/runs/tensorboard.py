"""What a run tells TensorBoard: a closed list of tags, written by one class.

A tag is `group/snake_case`. `Tag` lists all of them, `docs/tensorboard-tags.md` gives the formula of each,
and a test holds the two together. The groups:

    alternation   Algorithm 3, one point per proposal           x = number of the proposal, from 1
    g_learn       what the global agent's best response took    x = number of the proposal
    l_learn       what the local agents' best response took     x = number of the proposal
    theory        what the paper's formulas say                 x = number of the proposal
    time          wall seconds, per proposal and per phase      x = number of the proposal; phases: x = the last one
    eval          Algorithm 4 on n agents, once, at the end     x = number of the last proposal
    certificate   what a deviation gains, once, at the end      x = number of the last proposal
    sweep         the figures of a sweep, in a file of its own  x = how many cells were finished

**Learning curves** are the tags of g_learn and l_learn in `CURVE_TAGS`: what a network does while it learns, many
points per proposal, at x = gradient steps taken since the run began; and what UCFH has certified, at x = episodes since
the run began. Only `Tracker.curve` writes them; a proposal's details of the same name go to metrics.jsonl alone,
so that no tag has two x axes.

**Hyper-parameters** go into the same event file as everything else. `SummaryWriter.add_hparams` would open a second
run in a sub-folder instead, so the three protocol messages that it consists of are written here one by one: what the
experiment is and with which values the run starts, at the start; that it ended, at the end.
"""

import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams as untyped_hparams

from altmarl_torch.alternation.loop import Decision, Update
from altmarl_torch.errors import ArgumentError
from altmarl_torch.evaluation.any_game import AnyRollouts
from altmarl_torch.evaluation.certificate import Certificate
from altmarl_torch.games.game import Game
from altmarl_torch.policies.rules import pair_word
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.plots import pixels
from altmarl_torch.simulators.game import SimulatedGame

__all__ = ["Tag", "Tracker", "track_certificate", "track_images"]

_hparams: Any = untyped_hparams


class Tag(StrEnum):
    """Every tag there is."""

    VALUE = "alternation/value"
    POTENTIAL = "alternation/potential"
    VALUE_PROPOSED = "alternation/value_proposed"
    ACCEPTED = "alternation/accepted"
    ADOPTED = "alternation/adopted"
    ETA = "alternation/eta"
    ERROR = "alternation/error"
    STANDARD_ERROR = "alternation/standard_error"
    VALUE_HISTORY = "alternation/value_history"
    POLICY_SLICE = "alternation/policy_slice"
    ETA_PAPER = "theory/eta_paper"
    G_LEARN_SWEEPS = "g_learn/sweeps"
    G_LEARN_ERROR = "g_learn/error"
    G_LEARN_DEGREE = "g_learn/degree"
    G_LEARN_COEFFICIENTS = "g_learn/coefficients"
    G_LEARN_HELD_OUT_RESIDUAL = "g_learn/held_out_residual"
    G_LEARN_PROVEN_ERROR = "g_learn/proven_error"
    G_LEARN_STEPS = "g_learn/steps"
    G_LEARN_LOSS = "g_learn/loss"
    G_LEARN_RESIDUAL = "g_learn/residual"
    G_LEARN_NOISE = "g_learn/noise"
    G_LEARN_GREEDY_CHANGES = "g_learn/greedy_changes"
    G_LEARN_LEARNING_RATE = "g_learn/learning_rate"
    G_LEARN_SAMPLES_PER_SECOND = "g_learn/samples_per_second"
    L_LEARN_ROUNDS = "l_learn/rounds"
    L_LEARN_CHANGES_TRIED = "l_learn/changes_tried"
    L_LEARN_OBJECTIVE_VALUE = "l_learn/objective_value"
    L_LEARN_EPISODES = "l_learn/episodes"
    L_LEARN_PLANS = "l_learn/plans"
    L_LEARN_CERTIFIED = "l_learn/certified"
    L_LEARN_CHAIN_STATES = "l_learn/chain_states"
    L_LEARN_CHAIN_VALUE = "l_learn/chain_value"
    L_LEARN_LOST_BY_PROJECTION = "l_learn/lost_by_projection"
    L_LEARN_GIVEN_UP = "l_learn/given_up"
    L_LEARN_VALUE_LOWER = "l_learn/value_lower"
    L_LEARN_VALUE_UPPER = "l_learn/value_upper"
    L_LEARN_STEPS = "l_learn/steps"
    L_LEARN_LOSS = "l_learn/loss"
    L_LEARN_RESIDUAL = "l_learn/residual"
    L_LEARN_NOISE = "l_learn/noise"
    L_LEARN_LEARNING_RATE = "l_learn/learning_rate"
    L_LEARN_SAMPLES_PER_SECOND = "l_learn/samples_per_second"
    GLOBAL_GAP = "certificate/global_gap"
    LOCAL_GAP = "certificate/local_gap"
    LOCAL_GAP_LOWER = "certificate/local_gap_lower"
    NASH_GAP = "certificate/nash_gap"
    SINGLE_TEAM_GAP = "certificate/single_team_gap"
    SINGLE_OWN_GAP = "certificate/single_own_gap"
    RETURN_MEAN = "eval/return_mean"
    RETURN_SEM = "eval/return_sem"
    MODE_ACCURACY = "eval/mode_accuracy"
    RETURN_UNIFORM_UNIFORM = "eval/return_uniform_uniform"
    RETURN_HOLD_WALK = "eval/return_hold_walk"
    RETURN_MODE_WALK = "eval/return_mode_walk"
    RETURN_STICKY_WALK = "eval/return_sticky_walk"
    RETURN_HOLD_GREEDY = "eval/return_hold_greedy"
    RETURN_GREEDY_GREEDY = "eval/return_greedy_greedy"
    RETURN_CONSTANT_CONSTANT = "eval/return_constant_constant"
    RETURN_NEVER_THERMOSTAT = "eval/return_never_thermostat"
    RETURN_ALERT_THERMOSTAT = "eval/return_alert_thermostat"
    RETURN_EMERGENCY_THERMOSTAT = "eval/return_emergency_thermostat"
    RETURN_SPARING_THERMOSTAT = "eval/return_sparing_thermostat"
    RETURN_ALTERNATE_ALTERNATE = "eval/return_alternate_alternate"
    OCCUPATION = "eval/occupation"
    TIME_UPDATE = "time/update"
    TIME_G_LEARN = "time/g_learn"
    TIME_L_LEARN = "time/l_learn"
    TIME_EVALUATION = "time/evaluation"
    TIME_ROLLOUT = "time/rollout"
    TIME_CERTIFICATE = "time/certificate"
    TIME_TOTAL = "time/total"
    SWEEP_RETURN = "sweep/return_against_k"
    SWEEP_SECONDS = "sweep/seconds_against_k"
    SWEEP_ACCURACY = "sweep/mode_accuracy_against_k"
    SWEEP_OCCUPATION = "sweep/occupation"
    SWEEP_ALTERNATION = "sweep/alternation"

    @classmethod
    def of_heuristic(cls, name: str) -> str:
        """The tag of a heuristic pair's return, `"hold + walk"` is `eval/return_hold_walk`; also of the user's own."""
        return f"eval/return_{pair_word(name)}"


IMAGES = (Tag.VALUE_HISTORY, Tag.POLICY_SLICE, Tag.OCCUPATION)
"""What a run draws."""

SWEEP_IMAGES = (Tag.SWEEP_RETURN, Tag.SWEEP_SECONDS, Tag.SWEEP_ACCURACY, Tag.SWEEP_OCCUPATION, Tag.SWEEP_ALTERNATION)
"""What a sweep draws."""

CERTIFICATE_SUFFIX = ".certificate"
"""How the name of the event file of a later certificate ends."""

SWEEP_SUFFIX = ".figures"
"""How the name of a sweep's own event file ends."""

CURVE_TAGS = frozenset(
    (
        *(Tag.G_LEARN_LOSS, Tag.G_LEARN_RESIDUAL, Tag.G_LEARN_NOISE),
        *(Tag.G_LEARN_LEARNING_RATE, Tag.G_LEARN_SAMPLES_PER_SECOND),
        *(Tag.L_LEARN_LOSS, Tag.L_LEARN_RESIDUAL, Tag.L_LEARN_NOISE),
        *(Tag.L_LEARN_LEARNING_RATE, Tag.L_LEARN_SAMPLES_PER_SECOND),
        *(Tag.L_LEARN_VALUE_LOWER, Tag.L_LEARN_VALUE_UPPER),
    )
)
"""The learning curves: x = gradient steps, or episodes, by `Tracker.curve` alone."""

LEARNER_TAGS = frozenset(tag for tag in Tag if tag.startswith(("g_learn/", "l_learn/"))) - CURVE_TAGS
"""The details of a proposal that are drawn, x = number of the proposal; metrics.jsonl has all of them."""

RESULTS = (Tag.RETURN_MEAN, Tag.NASH_GAP, Tag.VALUE)
"""The metrics beside the hyper-parameters."""

FIRST_COLUMNS = ("game", "k", "observation", "seed", "solver")
"""HPARAMS opens on these: TensorBoard shows columns that are marked as differing first, by name, and ticks five."""

NUMBERS = ("k", "seed", "n", "gamma", "steps", "starts", "episodes", "horizon", "delta", "confidence", "learning_rate")
"""Options that are numbers in every run. The others are shown as text, "-" where nothing was given."""

NO_COLUMN = ("runs_dir", "quiet")
"""Options that change nothing of what is learned."""


class Tracker:
    """Writes one run's events into `folder`; a context manager, so that nothing is left in a buffer.

    Args:
        folder: the run folder.
        config: the hyper-parameters; n and gamma are shown as the game has them.
        game: the game that is solved.
    """

    def __init__(self, folder: str | os.PathLike[str], config: TrainConfig, game: Game | SimulatedGame) -> None:
        self._writer = SummaryWriter(log_dir=str(folder))
        self._count = 0
        values = _columns(config.as_dict() | {"n": game.n, "gamma": game.gamma})
        experiment, start, self._end = _hparams(values, dict.fromkeys(map(str, RESULTS)))
        self._summary(_marked(experiment))
        self._summary(start)

    def __enter__(self) -> "Tracker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._summary(self._end)
        self._writer.close()

    def update(self, update: Update) -> None:
        """One proposal of one player: the groups alternation, g_learn, l_learn, theory and time."""
        self._count += 1
        self._scalar(Tag.VALUE, update.value)
        self._scalar(Tag.POTENTIAL, update.value)
        self._scalar(Tag.VALUE_PROPOSED, update.value_proposed)
        self._scalar(Tag.ACCEPTED, float(update.decision is Decision.ACCEPT))
        self._scalar(Tag.ADOPTED, float(update.adopted))
        self._scalar(Tag.ETA, update.eta)
        self._scalar(Tag.ERROR, update.error)
        self._scalar(Tag.STANDARD_ERROR, update.standard_error)
        self._scalar(Tag.ETA_PAPER, update.eta_paper)
        self._scalar(Tag.TIME_UPDATE, update.seconds)
        for key, value in update.details.items():
            if key in LEARNER_TAGS and not isinstance(value, str):
                self._scalar(Tag(key), value)

    def curve(self, step: int, metrics: Mapping[str, float]) -> None:
        """Points of the learning curves: a number for each of some tags of `CURVE_TAGS`.

        Args:
            step: gradient steps taken since the run began, over all proposals of both players; or UCFH's episodes.
            metrics: values by tag, for instance `{"g_learn/loss": 0.1}`.

        Raises:
            ArgumentError: a key is no curve; nothing is written then.
        """
        strangers = sorted(metrics.keys() - CURVE_TAGS)
        if strangers:
            raise ArgumentError(
                f"no learning curve: {', '.join(strangers)}; curves are {', '.join(sorted(CURVE_TAGS))}"
            )
        for key, value in metrics.items():
            self._writer.add_scalar(str(Tag(key)), value, step)

    def evaluation(self, learned: AnyRollouts, heuristics: Mapping[str, AnyRollouts]) -> None:
        """What the pair earns on the n-agent system, and what the heuristics do."""
        self._scalar(Tag.RETURN_MEAN, learned.mean)
        if len(learned.returns) > 1:
            self._scalar(Tag.RETURN_SEM, learned.sem)
        if learned.mode_accuracy is not None:
            self._scalar(Tag.MODE_ACCURACY, learned.mode_accuracy)
        for name, rollouts in heuristics.items():
            self._scalar(Tag.of_heuristic(name), rollouts.mean)

    def certificate(self, certificate: Certificate) -> None:
        """What a deviation gains, where it was computed: the group certificate."""
        for tag, number in _gaps(certificate).items():
            self._scalar(tag, number)

    def seconds(self, phases: dict[str, float]) -> None:
        """Wall seconds by phase: the group time."""
        for phase, seconds in phases.items():
            self._scalar(Tag(f"time/{phase}"), seconds)

    def image(self, tag: Tag, picture: NDArray[np.uint8]) -> None:
        """A figure as it was drawn, `[height, width, 3]`."""
        self._writer.add_image(str(tag), picture, self._count, dataformats="HWC")

    def _summary(self, message: object) -> None:
        file: Any = self._writer.file_writer  # torch types it as None
        file.add_summary(message)

    def _scalar(self, tag: str, value: float) -> None:
        self._writer.add_scalar(str(tag), value, self._count)


def _columns(values: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of HPARAMS: the same for every run, since TensorBoard takes the list of the run it finds first."""
    names = [*FIRST_COLUMNS, *(name for name in values if name not in FIRST_COLUMNS + NO_COLUMN)]
    text = {name: "-" if values[name] is None else str(values[name]) for name in values.keys() - set(NUMBERS)}
    return {name: text.get(name, values[name]) for name in names}


def _marked(summary: Any) -> Any:
    """The summary of the columns, the first of them marked as differing."""
    data = summary.value[0].metadata.plugin_data
    record = HParamsPluginData.FromString(data.content)
    for column in record.experiment.hparam_infos:
        column.differs = column.name in FIRST_COLUMNS
    data.content = record.SerializeToString()
    return summary


def track_certificate(folder: Path, certificate: Certificate, step: int) -> None:
    """Write the gaps of a run that was certified later, in place of those of an earlier time.

    Args:
        folder: the run's.
        certificate: of its pair.
        step: the number of its proposals, where the gaps are drawn.
    """
    old = list(folder.glob(f"events.out.tfevents.*{CERTIFICATE_SUFFIX}"))
    with SummaryWriter(log_dir=str(folder), filename_suffix=CERTIFICATE_SUFFIX) as writer:
        for tag, number in _gaps(certificate).items():
            writer.add_scalar(str(tag), number, step)
    for file in old:
        file.unlink()


def _gaps(certificate: Certificate) -> dict[Tag, float]:
    """The numbers of a certificate that were computed, by tag."""
    shared, team, own = certificate.shared_deviation, certificate.single_team, certificate.single_own
    numbers = {
        Tag.GLOBAL_GAP: certificate.global_gap,
        Tag.LOCAL_GAP: certificate.local_gap,
        Tag.LOCAL_GAP_LOWER: None if shared is None else shared.lower,
        Tag.NASH_GAP: certificate.nash_gap,
        Tag.SINGLE_TEAM_GAP: None if team is None else team.upper,
        Tag.SINGLE_OWN_GAP: None if own is None else own.upper,
    }
    return {tag: number for tag, number in numbers.items() if number is not None}


def track_images(folder: Path, figures: Mapping[Tag, Figure], step: int) -> None:
    """Write the figures of a sweep into an event file in `folder`, in place of those that were there.

    Args:
        folder: the sweep's; the event files of its cells, in folders of their own, are left alone.
        figures: by tag.
        step: how many cells they show.
    """
    old = list(folder.glob(f"events.out.tfevents.*{SWEEP_SUFFIX}"))
    with SummaryWriter(log_dir=str(folder), filename_suffix=SWEEP_SUFFIX) as writer:
        for tag, figure in figures.items():
            writer.add_image(str(tag), pixels(figure), step, dataformats="HWC")
    for file in old:
        file.unlink()
