"""Named games: functions that build a `Game`, and a registry to find them by name.

    >>> from altmarl_torch import games
    >>> games.warehouse(num_zones=10)
    Game('warehouse': 10 x 10 states, 10 x 3 actions (global x local), gamma=0.95, n=1000)
    >>> games.make("steer", gamma=0.9)
    Game('steer': 2 x 2 states, 2 x 2 actions (global x local), gamma=0.9, n=100)

Every argument has a default, so that `make(name)` alone gives a game: this is what the command line calls. A game of
your own needs no registration; pass it where a named one would go.
"""

import ast
import difflib
import importlib
import importlib.resources
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from altmarl_torch.errors import ArgumentError
from altmarl_torch.support.lazily import lazy

if TYPE_CHECKING:
    from altmarl_torch.games.game import Game
    from altmarl_torch.games.named.ambulances import ambulances, simulated_ambulances
    from altmarl_torch.games.named.continuous_warehouse import continuous_warehouse
    from altmarl_torch.games.named.federated import federated
    from altmarl_torch.games.named.linear_quadratic import LinearQuadratic, Tracking, linear_quadratic
    from altmarl_torch.games.named.random import random_game
    from altmarl_torch.games.named.smart_grid import AirConditioner, smart_grid
    from altmarl_torch.games.named.thermostats import thermostats
    from altmarl_torch.games.named.toys import (
        beacon,
        beacon_value,
        beacon_value_against_waiting,
        hash_game,
        steer,
        ware,
    )
    from altmarl_torch.games.named.two_speed import two_speed_warehouse
    from altmarl_torch.games.named.warehouse import warehouse
    from altmarl_torch.simulators.game import SimulatedGame

__all__ = [
    "AirConditioner",
    "LinearQuadratic",
    "Tracking",
    "ambulances",
    "arguments",
    "beacon",
    "beacon_value",
    "beacon_value_against_waiting",
    "continuous_warehouse",
    "describe",
    "federated",
    "hash_game",
    "linear_quadratic",
    "make",
    "names",
    "random_game",
    "simulated_ambulances",
    "simulators",
    "smart_grid",
    "steer",
    "thermostats",
    "two_speed_warehouse",
    "ware",
    "warehouse",
]

_HOMES = {
    "named.ambulances": ("ambulances", "simulated_ambulances"),
    "named.continuous_warehouse": ("continuous_warehouse",),
    "named.federated": ("federated",),
    "named.linear_quadratic": ("LinearQuadratic", "Tracking", "linear_quadratic"),
    "named.random": ("random_game",),
    "named.smart_grid": ("AirConditioner", "smart_grid"),
    "named.thermostats": ("thermostats",),
    "named.toys": ("beacon", "beacon_value", "beacon_value_against_waiting", "hash_game", "steer", "ware"),
    "named.two_speed": ("two_speed_warehouse",),
    "named.warehouse": ("warehouse",),
}
"""The modules of the public names."""

_TABLES = {
    "warehouse": "warehouse",
    "steer": "steer",
    "ware": "ware",
    "hash": "hash_game",
    "beacon": "beacon",
    "random": "random_game",
    "smart_grid": "smart_grid",
    "two_speed_warehouse": "two_speed_warehouse",
    "federated": "federated",
}
"""The functions that build games of tables, by the names that `make` knows."""

_CROWDED = {"ambulances": "ambulances"}
"""Those of tables whose reward sees the crowd, a function that no file holds: some doors refuse them."""

_SIMULATORS = {
    name: name for name in ("continuous_warehouse", "linear_quadratic", "simulated_ambulances", "thermostats")
}
_ALL = _TABLES | _CROWDED | _SIMULATORS

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)


def names() -> list[str]:
    """The names of the games of tables that `make` knows, but for those of `crowded`."""
    return list(_TABLES)


def crowded() -> list[str]:
    """The names of the games of tables that `make` knows whose global reward sees the crowd (r_g_mu)."""
    return list(_CROWDED)


def simulators() -> list[str]:
    """The names of the simulators that `make` knows."""
    return list(_SIMULATORS)


def describe() -> dict[str, str]:
    """One line per named game, tables first: the first line of its function's docstring, read without importing it."""
    lines: dict[str, str] = {}
    for home in _HOMES:
        source = (importlib.resources.files(__name__) / f"{home.replace('.', '/')}.py").read_text(encoding="utf-8")
        functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
        lines |= {one.name: (ast.get_docstring(one) or "").partition("\n")[0] for one in functions}
    return {name: lines[function] for name, function in _ALL.items()}


def make(name: str, **kwargs: Any) -> "Game | SimulatedGame":
    """Build a named game: `make("warehouse", preset="code")` is `warehouse(preset="code")`.

    Raises:
        ArgumentError: the name is unknown (the message lists all names and the closest), or the game has no such
        argument.
    """
    known = arguments(name)
    unknown = [argument for argument in kwargs if argument not in known]
    if unknown:
        raise ArgumentError(f"game {name!r} takes {', '.join(known)}; not {', '.join(unknown)}")
    return _builder(name)(**kwargs)


def arguments(name: str) -> list[str]:
    """What the named game's function takes, in order.

    Raises:
        ArgumentError: the name is unknown; the message lists all names and the closest.
    """
    return list(inspect.signature(_builder(name)).parameters)


def require_known(name: str) -> None:
    """Raise an ArgumentError unless `make` knows the name; the message lists all names and the closest."""
    if not isinstance(name, str) or name not in _ALL:
        close = difflib.get_close_matches(str(name), _ALL, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ArgumentError(f"no game is named {name!r}; the names are {', '.join(_ALL)}{hint}")


def _builder(name: str) -> "Callable[..., Game | SimulatedGame]":
    """The function that builds a named game."""
    require_known(name)
    home = next(home for home, public in _HOMES.items() if _ALL[name] in public)
    built: Callable[..., Game | SimulatedGame] = getattr(importlib.import_module(f"{__name__}.{home}"), _ALL[name])
    return built
