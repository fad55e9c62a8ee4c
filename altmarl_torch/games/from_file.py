"""What is one's own on the command line: a game, `--game path/to/my_game.py:build`, or a rule (`policies.own_rules`).

The part before the last colon is a Python file, the part behind it a function in it. That of a game takes no arguments,
or such as have defaults or are given as options (`--game-option rows=4`), and returns a `Game` or a `SimulatedGame`.
The file is run as `python my_game.py` would
run it, but for `__name__`: its folder comes first on the import path meanwhile, so that it may import its neighbours.

This is the one place where the library runs code that it is pointed at, and only a word on the command line points
there. A run folder holds the game itself (`game.npz`), so that resuming, evaluating and certifying a run, also
somebody else's, run nothing. (A simulator is functions, and in no file: they are asked for again.)

What goes wrong in the file is told in one line: the file, the line in it, and what Python said.
"""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

from altmarl_torch.errors import ArgumentError

if TYPE_CHECKING:
    from altmarl_torch.games.game import Game
    from altmarl_torch.simulators.game import SimulatedGame

__all__ = ["call_function", "is_function", "own_functions"]

SUFFIX = ".py"


def is_function(name: str) -> bool:
    """Whether a game is named by a file and a function, or meant to be: `my_game.py:build`, `my_game.py`."""
    return Path(name.rpartition(":")[0] or name).suffix == SUFFIX


def call_function(name: str, options: Mapping[str, Any] | None = None) -> "Game | SimulatedGame":
    """The game that the function in `path.py:function` returns, called with `options` by name.

    Raises:
        ArgumentError: there is no such file or function, it has no such argument, it raised, or returned something
            else.
    """
    from altmarl_torch.games.game import Game
    from altmarl_torch.simulators.game import SimulatedGame

    file, function = _parts(name, "game", "build")
    path = Path(file).resolve()
    with _module(path) as module:
        build = _function(module, file, function)
        _check_options(name, build, options or {})
        game = _told(path, lambda: build(**options or {}))
    if not isinstance(game, Game | SimulatedGame):
        raise ArgumentError(f"{name} returned {type(game).__name__}; expected an altmarl_torch.Game or SimulatedGame")
    return game


def own_functions(name: str, what: str, *more: str) -> list[Callable[..., Any]]:
    """The function in `path.py:function`, and `more` of the same file; what they raise is told in one line.

    Args:
        name: the file and the function.
        what: messages call it that.
        more: names of other functions.

    Raises:
        ArgumentError: there is no such file or function, or the file raised.
    """
    file, function = _parts(name, what, "function")
    path = Path(file).resolve()
    with _module(path) as module:
        found = [_function(module, file, one) for one in (function, *more)]
    return [_telling(path, one) for one in found]


def _telling(path: Path, function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments: _told(path, lambda: function(*arguments))


def _parts(name: str, what: str, example: str) -> tuple[str, str]:
    """File and function of `path.py:function`."""
    file, _, function = name.rpartition(":")
    if not file or not function:
        raise ArgumentError(f"{what} {name!r} names no function; write {name.rstrip(':')}:{example}, for instance")
    if not Path(file).resolve().is_file():
        raise ArgumentError(f"{what} {name!r}: no such file: {file}")
    return file, function


def _function(module: ModuleType, file: str, function: str) -> Callable[..., Any]:
    found = getattr(module, function, None)
    if not callable(found):
        there = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
        raise ArgumentError(f"{file} has no function {function}; it has {', '.join(there) or 'none'}")
    return cast(Callable[..., Any], found)


def _check_options(name: str, build: Callable[..., Any], options: Mapping[str, Any]) -> None:
    """Refuse options that the function does not take."""
    try:
        takes = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # it does not tell
        return
    known = [one.name for one in takes if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
    unknown = [option for option in options if option not in known]
    if unknown and not any(one.kind is one.VAR_KEYWORD for one in takes):
        raise ArgumentError(f"{name} takes {', '.join(known) or 'no arguments'}; not {', '.join(unknown)}")


@contextmanager
def _module(path: Path) -> Iterator[ModuleType]:
    """The file as a module, which the interpreter knows within the block only."""
    word = f"altmarl_user_{path.stem}"
    spec = importlib.util.spec_from_file_location(word, path)
    assert spec is not None
    assert spec.loader is not None
    module, folder = importlib.util.module_from_spec(spec), str(path.parent)
    sys.modules[word] = module  # dataclasses look their module up
    sys.path.insert(0, folder)
    try:
        _told(path, lambda: spec.loader.exec_module(module))  # type: ignore[union-attr]  # asked above
        yield module
    finally:
        sys.path.remove(folder)
        del sys.modules[word]


def _told(path: Path, call: Callable[[], Any]) -> Any:
    """What the user's code returns, its exceptions told in one line."""
    try:
        return call()
    except (Exception, SystemExit) as cause:
        said = " ".join(str(cause).split())
        raise ArgumentError(f"{path}{_line(cause, path)}: {type(cause).__name__}: {said}") from cause


def _line(cause: BaseException, path: Path) -> str:
    """The last line of the file that the exception went through, as words."""
    if isinstance(cause, SyntaxError) and cause.filename == str(path):
        return f", line {cause.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(cause.__traceback__) if frame.filename == str(path)]
    return f", line {lines[-1]}" if lines else ""
