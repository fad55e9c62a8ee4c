"""One dataclass is the configuration, the command line, the record of a run, and its table of hyper-parameters.

Every field of `TrainConfig` carries its default and its help text, and everything else follows from the fields:

    field `runs_dir`   ->  flag `--runs-dir` with help and default          (`runs.flags`)
                         ->  the key `"runs_dir"` of the run's config.json    (`TrainConfig.as_dict`)
                         ->  a column of TensorBoard's HPARAMS page             (`runs.tensorboard`)

so that the four cannot drift apart. What the solver is asked is contained as the solver's own records, which check
themselves (`TrainConfig.options`, `alternation.options`): their fields take the values of the fields of the same names
here. A new option is a field of a record, and, where the command line shall have it, a field here with its help.

In a configuration that exists, numbers are in their ranges and words among the choices. What depends on the machine and
the game (is the device there, is k <= n) is asked by `TrainConfig.build_game`, so that records can be read elsewhere.
Nothing at the top imports torch: the command line shows its help and refuses a wrong option at once.
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from altmarl_torch.alternation.options import Eta, Keeping, Learning, LLearner, Nested, Options, Problem, Stopping
from altmarl_torch.alternation.words import Observation, Select, Solver
from altmarl_torch.games import simulators
from altmarl_torch.learners.settings import ChainSettings, Settings
from altmarl_torch.operators.words import Acceptance, Objective
from altmarl_torch.runs.flags import (
    add_flags,
    check_names,
    check_word,
    flag,
    name_and_value,
    or_word,
    whole,
    whole_or_range,
)
from altmarl_torch.runs.named_game import (
    HORIZONS,
    Preset,
    asked_sizes,
    check_data,
    named_game,
    settle,
    split_range,
    tables_of,
)

if TYPE_CHECKING:
    from altmarl_torch.evaluation.any_game import AnyGame
    from altmarl_torch.games.game import Game

__all__ = ["TrainConfig", "add_arguments", "from_arguments"]

Certify = Literal["auto", "always", "never"]
Record = TypeVar("Record", Problem, Learning, Stopping)


@dataclass(frozen=True)
class TrainConfig:
    """What `altmarl train` is told, checked; each field's meaning is its help text.

    Raises:
        ArgumentError: a field is outside its range or choices; the message names both.
    """

    game: str = field(
        default=None,  # type: ignore[assignment]  # replaced by a name; readers always find that
        metadata=flag(
            "a named game (`altmarl games` lists them), a file that Game.save wrote (*.npz), or a function in a file "
            "of your own, which is run and returns a Game (my_game.py:build)",
            also={
                "simulator": ", or a SimulatedGame",
                "from_data": "; with --from-data, the game counted from the data",
            },
            unset="warehouse",
        ),
    )
    game_option: dict[str, Any] | None = field(
        default=None,
        metadata=flag(
            "an argument of the named game's function or of your own: num_zones=10; may be given several times",
            name_and_value,
            unset="the function's own",
        ),
    )
    k: int = field(
        default=20, metadata=flag("how many agents are seen at a step, 1..n; 1:50 is --fewest 1 --k 50", whole_or_range)
    )
    fewest: int | None = field(
        default=None, metadata=flag("one network for every k from this one to --k", whole, unset="k alone")
    )
    n: int | None = field(default=None, metadata=flag("how many local agents there are", whole, unset="the game's own"))
    gamma: float | None = field(
        default=None, metadata=flag("discount factor per macro step, in [0, 1)", float, unset="the game's own")
    )
    preset: Preset = field(
        default="paper",
        metadata=flag(
            "which experiment: the paper's text (Appendix G.2), or the authors' public code (of the warehouse alone: "
            "r_g = 1 and 50 steps)",
            choices=get_args(Preset),
        ),
    )
    solver: Solver = field(
        default="auto",  # type: ignore[arg-type]  # replaced by one of them; readers always find that
        metadata=flag(
            "networks on counts, of any size, exact tables over them, or lifted functions, for any k; auto: tables for "
            "--l-learner ucfh, networks otherwise",
            also={"from_data": ", tables for --from-data"},
            choices=("auto", *get_args(Solver)),
        ),
    )
    l_learner: LLearner = field(
        default="auto",
        metadata=flag(
            "how the local agents' best response is found: model-based (dp, which is auto), by UCFH on a chained MDP "
            "(tabular solver, small games), or model-based with a network for pi_l (neural solver)",
            choices=get_args(LLearner),
        ),
    )
    objective: Objective = field(
        default=None,  # type: ignore[arg-type]  # replaced by one of them, at the latest when the game is known
        metadata=flag(
            "what a local agent maximises: the joint reward or its own",
            also={"simulator": ", the default of simulators with finitely many local actions"},
            choices=get_args(Objective),
            unset="team",
        ),
    )
    observation: Observation = field(
        default=None,  # type: ignore[arg-type]  # replaced by one of them, at the latest when the game is known
        metadata=flag(
            "what the sample is taken for: the population (surrogate, the paper's), evidence about it (posterior), one "
            "look of many (filter: a dispatcher with memory), or, with networks, some of n that are played "
            "(population)",
            also={"simulator": ", the default of simulators"},
            choices=get_args(Observation),
            unset="surrogate",
        ),
    )
    m: int | None = field(
        default=None,
        metadata=flag("draws per Bellman update of G-LEARN", whole, unset="exact expectations; networks: 1"),
    )
    xi: int | Literal["lemma"] | None = field(
        default=None,
        metadata=flag(
            "draws of stochastic rewards that G-LEARN averages (Algorithm 10), or 'lemma' for Lemma F.4's number",
            or_word(int),
            unset="the mean rewards",
        ),
    )
    epsilon: float | Literal["paper"] = field(
        default=ChainSettings.epsilon,
        metadata=flag("UCFH's accuracy, relative, in (0, 1]; 'paper': 1/sqrt(k) in units of value", or_word(float)),
    )
    delta: float = field(
        default=ChainSettings.delta, metadata=flag("UCFH's failure probability in each response, in (0, 1]", float)
    )
    confidence: float = field(
        default=ChainSettings.confidence,
        metadata=flag("scale of UCFH's confidence, in (0, 1]; below 1 its bounds are heuristic", float),
    )
    eta: Eta = field(
        default="auto",
        metadata=flag("UPDATE's tolerance: 'auto', 'paper' (Algorithm 3's formula) or a number >= 0", or_word(float)),
    )
    accept: Acceptance = field(
        default="mean",
        metadata=flag("UPDATE compares means over the initial law, or every state", choices=get_args(Acceptance)),
    )
    starts: int = field(
        default=1,
        metadata=flag("local policies to begin from: uniform, walk to s_g, greedy for r_l, then random ones", whole),
    )
    nested: Nested = field(
        default="on",
        metadata=flag(
            "whether large tables begin from what is found for few agents, networks from lifted functions, and a run "
            "that ends with the uniform pi_l again elsewhere (off: from uniform policies, as printed)",
            choices=get_args(Nested),
        ),
    )
    select: Select = field(
        default="value",
        metadata=flag(
            "what decides: the joint value, between starts, or what n agents earn (rollout), between starts, the "
            "observation models up to --observation, and a pair that looks at nothing",
            choices=get_args(Select),
        ),
    )
    steps: int = field(default=10, metadata=flag("alternations at most; each proposes one policy per player", whole))
    certify: Certify = field(
        default="auto",
        metadata=flag(
            "certify the equilibrium at the end; auto: those parts that cost less than the training did",
            choices=get_args(Certify),
        ),
    )
    episodes: int = field(
        default=750, metadata=flag("episodes of the final evaluation (what they keep must fit in 800 MB)", whole)
    )
    horizon: int = field(
        default=None,  # type: ignore[assignment]  # replaced by the preset's; readers always find a number
        metadata=flag(
            "steps per episode of the final evaluation (likewise)",
            int,
            unset=" or ".join(f"{steps} ({name})" for name, steps in HORIZONS.items()),
        ),
    )
    answer_rate: float = field(
        default=1.0, metadata=flag("chance that an asked agent answers, in the final evaluation, in [0, 1]", float)
    )
    turnover: float = field(
        default=0.0, metadata=flag("chance that an agent leaves after a step and is replaced, likewise", float)
    )
    rule: str | None = field(
        default=None,
        metadata=flag(
            "rules of your own to compare with, which are run: my_rules.py:follow, 'my_rules.py:follow + stay'",
            unset="none",
        ),
    )
    seed: int = field(default=0, metadata=flag("seed of everything random", whole))
    device: str = field(
        default="auto", metadata=flag("where tensors live: cpu, cuda, cuda:0, ...; auto: a GPU if there is one")
    )
    learning_rate: float = field(
        default=Settings.learning_rate, metadata=flag("step size of the networks' optimiser", float)
    )
    compile: bool = field(default=False, metadata=flag("pass networks through torch.compile", bool))
    degree: int | None = field(default=None, metadata=flag("of lifted functions", whole, unset="by their accuracy"))
    from_data: str | None = field(
        default=None,
        metadata=flag(
            "learn from trajectories alone (a file of `altmarl collect`), off-policy; k is theirs, and --game is only "
            "where the pair is measured",
            unset="learn from the game",
        ),
    )
    step_size: float | None = field(
        default=None,
        metadata=flag(
            "with --from-data and tables: a constant step size of Eq. 46, in (0, 1]",
            float,
            unset="decaying, (1 + updates of the entry)^-0.6, where passes are given",
        ),
    )
    passes: int | None = field(
        default=None,
        metadata=flag(
            "with --from-data: how often the data are gone through",
            int,
            unset="tables until replay changes nothing, or 5 with a step size; networks 2000 gradient steps",
        ),
    )
    runs_dir: str = field(default="runs", metadata=flag("folder that receives the run's folder"))
    quiet: bool = field(
        default=False, metadata=flag("print the results alone: no configuration, no updates, no bar", bool)
    )

    def __post_init__(self) -> None:
        split_range(self)
        for option in dataclasses.fields(self):
            check_word(option, getattr(self, option.name))
        settle(self)
        check_data(self)
        self._options  # noqa: B018  # which checks itself

    @cached_property
    def _options(self) -> Options:
        """The records, which check themselves."""
        chain = ChainSettings(self.epsilon, self.delta, self.confidence)
        learning = self._record(Learning, chain=chain if self.l_learner == "ucfh" else None)
        asked_later = self.observation is None or self.game in simulators()
        observed = "surrogate" if asked_later else self.observation
        objective = self.objective or "team"
        problem = self._record(Problem, observation=observed, objective=objective, sizes=asked_sizes(self))
        return Options(problem, learning, self._record(Stopping))

    def _record(self, kind: type[Record], **given: object) -> Record:
        """A record, its fields from `given` or from those of the same name here."""
        mine = {option.name for option in dataclasses.fields(self)}
        shared = [option.name for option in dataclasses.fields(kind) if option.name in mine]
        return kind(**{name: getattr(self, name) for name in shared} | given)

    @property
    def chain(self) -> ChainSettings | None:
        """How UCFH is run; None where it is not."""
        return self._options.learning.chain

    def options(self, keeping: Keeping) -> Options:
        """What the solver is asked, by whoever keeps the run."""
        return dataclasses.replace(self._options, keeping=keeping)

    def build_game(self, named: "AnyGame | None" = None) -> "Game":
        """The game of tables that the configuration names, with its n and gamma, on its device; `named`: as built.

        Raises:
            ArgumentError: no such game, file or device (the message lists what there is), k is outside 1..n, or xi is
                given for rewards that are deterministic.
            SizeError: the counts of k agents are too many to list, or episodes and horizon too many to keep.
            AltMarlError: the game refuses n or gamma, or the file holds no game.
        """
        from altmarl_torch.alternation.run import fit
        from altmarl_torch.evaluation.rollouts import require_memory

        game = fit(self._options, tables_of(self.game, named or self.named_game()))
        require_memory(game, self.k, self.episodes, self.horizon)
        return game

    def named_game(self) -> "AnyGame":
        """The game that the configuration names, tables or a simulator, on the CPU; `named_game` tells its errors."""
        return named_game(self.game, self.n, self.gamma, self.preset, self.from_data, self.game_option)

    def evaluation(self) -> dict[str, Any]:
        """How the pair is measured: arguments of `measure`."""
        return {name: getattr(self, name) for name in ("episodes", "horizon", "seed", "answer_rate", "turnover")}

    def as_dict(self) -> dict[str, Any]:
        """Fields by name, in order: the content of config.json."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrainConfig":
        """The configuration with these fields, others by default; an ArgumentError where a key or value is none."""
        check_names(cls, values)
        return cls(**values)


def add_arguments(parser: argparse.ArgumentParser, without: Sequence[str] = ()) -> None:
    """Give `parser` one flag per field of `TrainConfig`, but for those `without`, which the command has of its own."""
    add_flags(parser, TrainConfig, without)


def from_arguments(arguments: argparse.Namespace) -> TrainConfig:
    """The configuration that a parser of `add_arguments` read; fields without a flag take their defaults.

    Raises:
        ArgumentError: a value is outside its range.
    """
    given = vars(arguments)
    return TrainConfig(**{o.name: given[o.name] for o in dataclasses.fields(TrainConfig) if o.name in given})
