"""The game that a configuration names: a named one, a file, a function of one's own, or the one counted from data.

A function of one's own may return a simulator, and two of the named games are simulators. A game whose reward sees the
crowd has a function, r_g_mu, that no file holds: who reads one has it from the game that the configuration names.
"""

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from altmarl_torch import games
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.from_file import call_function, is_function
from altmarl_torch.support.scalars import LARGEST_COUNT, as_integer, as_number

if TYPE_CHECKING:
    from altmarl_torch.evaluation.any_game import AnyGame
    from altmarl_torch.games.game import Game

__all__ = [
    "COUNTED",
    "HORIZONS",
    "Preset",
    "as_of_tables",
    "asked_sizes",
    "check_data",
    "named_game",
    "read_game",
    "require_known",
    "settle",
    "split_range",
    "tables_of",
    "write_game",
]

logger = logging.getLogger(__name__)

Preset = Literal["paper", "code"]
HORIZONS: dict[Preset, int] = {"paper": 100, "code": 50}
"""Steps per episode of either experiment."""

GAME_FILE, CROWD = ".npz", "crowd.json"

COUNTED = "counted"
"""The word for the game that is counted from the data that are learned from."""

OF_DATA = ("step_size", "passes")
"""Options that learning from data has alone."""

INTEGERS = (("n", 1, LARGEST_COUNT), ("passes", 1, 10**6), ("episodes", 1, math.inf), ("horizon", 1, math.inf))
"""Fields with whole numbers that are the run's own, and the range of each."""

NOT_OF_DATA = (
    "gamma",
    "fewest",
    "preset",
    "objective",
    "observation",
    "m",
    "xi",
    "starts",
    "nested",
    "select",
    "degree",
)
"""Options that it does not have: of the game, and of the alternation."""


def named_game(
    word: str,
    n: int | None,
    gamma: float | None,
    preset: Preset,
    from_data: str | None,
    options: Mapping[str, Any] | None = None,
) -> "AnyGame":
    """The game of a configuration's fields, on the CPU, before anything is asked of it.

    `options` are arguments of the named game's function, or of the function in a file.

    Raises:
        ArgumentError: no such game or file (the message lists what there is), or a preset or option that it has not.
        AltMarlError: the game refuses n or gamma, or the file holds no game.
    """
    require_known(word)
    given = {"n": n, "gamma": gamma}
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options and (word == COUNTED or word.endswith(GAME_FILE)):
        raise ArgumentError(f"game {word!r} is made already: --game-option is for named games and functions in files")
    if word == COUNTED and from_data is not None:
        from altmarl_torch.offline.learning import game_of_data
        from altmarl_torch.offline.trajectories import Trajectories

        return game_of_data(Trajectories.load(from_data)).replace(**chosen)
    if is_function(word):
        _refuse_preset(word, preset, [])
        return call_function(word, options).replace(**chosen)
    if word.endswith(GAME_FILE):
        from altmarl_torch.games.game import Game

        _refuse_preset(word, preset, [])
        return Game.load(word).replace(**chosen)
    if preset != "paper":
        _refuse_preset(word, preset, games.arguments(word))
        chosen["preset"] = preset
    for name, value in (options or {}).items():
        if name in ("n", "gamma", "preset"):
            raise ArgumentError(f"{name} has an option of its own: --{name} {value}")
        chosen[name] = value
    return games.make(word, **chosen)


def write_game(path: Path, game: "Game") -> None:
    """Write a run's game to `path`, and where r_g_mu is not in it, which function it is to crowd.json beside it."""
    from altmarl_torch.support.digests import known_as
    from altmarl_torch.support.files import write_json

    game.replace(r_g_mu=None).save(path)
    if game.r_g_mu is not None:
        write_json(path.with_name(CROWD), {"r_g_mu": known_as(game.r_g_mu)})


def read_game(path: Path, config: Any, word: str | None) -> "Game":
    """The game that `write_game` wrote for a `TrainConfig`; r_g_mu is that of the named game.

    `word` is a function of the user's own that makes the game, which is called in its place. Where r_g_mu is not the
    one that crowd.json names, the log says so: what it earns is of another game.

    Raises:
        ArgumentError: r_g_mu is a function of the user's and none is given, or it is of another game.
        FileFormatError: the file holds no game.
    """
    from altmarl_torch.games.game import Game
    from altmarl_torch.support.digests import digest, known_as
    from altmarl_torch.support.files import read_json

    game = Game.load(path)
    if not path.with_name(CROWD).is_file():
        return game
    if word is None and is_function(config.game):
        raise ArgumentError(f"r_g_mu of the game in {path.parent} is in none of its files: add --game {config.game}")
    built = dataclasses.replace(config, game=config.game if word is None else word).named_game()
    if not isinstance(built, Game) or built.r_g_mu is None:
        raise ArgumentError(f"{built!r} has no r_g_mu; the game of the run in {path.parent} has one")
    for name in ("P_g", "P_l", "r_g", "r_l", "gamma", "n"):
        if digest(getattr(built, name)) != digest(getattr(game, name)):
            raise ArgumentError(f"{built!r} has another {name} than the game of the run in {path.parent}")
    if known_as(built.r_g_mu) != read_json(path.with_name(CROWD)).get("r_g_mu"):
        logger.warning("r_g_mu of %r is not, to the letter, that of the run in %s", built.name, path.parent)
    return game.replace(r_g_mu=built.r_g_mu)


def require_known(word: str) -> None:
    """Raise an ArgumentError where a word names no game: no file, and no name (the message lists what there is)."""
    if not word:
        raise ArgumentError("game must not be empty")
    if word.endswith(GAME_FILE):
        if not Path(word).is_file():
            raise ArgumentError(f"game {word!r}: there is no such file")
    elif not is_function(word) and word != COUNTED:
        games.require_known(word)


def _refuse_preset(word: str, preset: Preset, arguments: Sequence[str]) -> None:
    """Raise an ArgumentError where a preset is asked of a game that has none."""
    if preset != "paper" and "preset" not in arguments:
        raise ArgumentError(f"preset must be paper for game {word!r}; {preset!r} is of the warehouse")


def settle(config: Any) -> None:
    """Replace what a `TrainConfig` leaves open by what that means; `observation` and `objective` of a game that only
    its function knows stay None.
    """
    game = config.game or ("warehouse" if config.from_data is None else COUNTED)
    simulated, told_later = game in games.simulators(), is_function(game)
    tables = config.l_learner == "ucfh" or config.from_data is not None
    usual = {
        "game": game,
        "observation": None if told_later else "population" if simulated else "surrogate",
        "objective": None if told_later or simulated else "team",
        "horizon": HORIZONS[config.preset],
    }
    for name, value in usual.items():
        if getattr(config, name) is None:
            object.__setattr__(config, name, value)
    if config.solver == "auto":
        object.__setattr__(config, "solver", "tabular" if tables else "neural")


def as_of_tables(config: Any) -> Any:
    """A `TrainConfig` of a game that is of tables: what was open until that was known is said."""
    known = {"observation": config.observation or "surrogate", "objective": config.objective or "team"}
    return dataclasses.replace(config, **known)


def tables_of(word: str, named: "AnyGame") -> "Game":
    """The game, if it is one of tables; else an ArgumentError."""
    from altmarl_torch.simulators.game import SimulatedGame

    if isinstance(named, SimulatedGame):
        raise ArgumentError(f"{word} is a simulator: `altmarl train`, `evaluate` and `certify` alone take one")
    return named


def check_data(config: Any) -> None:
    """Refuse options of a `TrainConfig` that do not go with `from_data`, or with its absence; it is on the CPU.

    Numbers of the run's own are in their ranges.
    """
    _check_numbers(config)
    defaults = {option.name: option.default for option in dataclasses.fields(config)}
    defaults |= {"observation": "surrogate", "objective": "team"}
    refused = OF_DATA if config.from_data is None else NOT_OF_DATA
    given = [name for name in refused if getattr(config, name) != defaults[name]]
    if given:
        why = "goes with from_data alone" if config.from_data is None else "does not go with from_data"
        raise ArgumentError(f"{given[0]} = {getattr(config, given[0])!r} {why}")
    if config.from_data is None:
        return
    if config.l_learner not in ("auto", "dp") or config.device not in ("auto", "cpu") or config.solver == "lifted":
        raise ArgumentError(
            "from_data keeps the logged local policy, computes on the CPU, and knows no game's tables: leave out "
            "l_learner, device and solver='lifted'"
        )
    object.__setattr__(config, "device", "cpu")
    if config.step_size is not None:
        as_number("step_size", config.step_size, "(0, 1]", lambda x: 0 < x <= 1, ArgumentError)
        if config.solver == "neural":
            raise ArgumentError("step_size is of tables; networks have learning_rate")


def split_range(config: Any) -> None:
    """Where k of a `TrainConfig` is a range as text, 1:50, make that `fewest` and k, or raise an ArgumentError."""
    if not isinstance(config.k, str):
        return
    fewest, colon, k = config.k.partition(":")
    if not (colon and fewest.isdecimal() and k.isdecimal() and int(fewest) <= int(k)) or config.fewest is not None:
        raise ArgumentError(f"k must be an integer, or a range as 1:50, not {config.k!r}")
    for name, number in (("fewest", int(fewest)), ("k", int(k))):
        object.__setattr__(config, name, number)


def asked_sizes(config: Any) -> tuple[int, ...] | None:
    """Every k from `fewest` on, where a `TrainConfig` asks for several."""
    if config.fewest is None:
        return None
    k = as_integer("k", config.k, 1, math.inf, ArgumentError)
    return tuple(range(as_integer("fewest", config.fewest, 1, k, ArgumentError), k + 1))


def _check_numbers(config: Any) -> None:
    """Raise an ArgumentError unless the numbers of a `TrainConfig` that are the run's own are in their ranges."""
    for name, low, high in INTEGERS:
        value = getattr(config, name)
        if value is not None or name not in ("n", "passes"):
            as_integer(name, value, low, high, ArgumentError)
    for name in ("answer_rate", "turnover"):
        as_number(name, getattr(config, name), "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
    if config.gamma is not None:
        as_number("gamma", config.gamma, "[0, 1)", lambda x: 0 <= x < 1, ArgumentError)
