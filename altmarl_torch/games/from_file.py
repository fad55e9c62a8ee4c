"""A game of one's own on the command line: `--game path/to/my_game.py:build`.

The part before the last colon is a Python file, the part behind it a function in it that takes no arguments (or only
such as have defaults) and returns a `Game` or a `SimulatedGame`. The file is run as `python my_game.py` would
run it, but for `__name__`: its folder comes first on the import path meanwhile, so that it may import its neighbours.

This is the one place where the library runs code that it is pointed at, and only a word on the command line points
there. A run folder holds the game itself (`game.npz`), so that resuming, evaluating and certifying a run, also
somebody else's, run nothing. (A simulator is functions, and in no file: they are asked for again.)

What goes wrong in the file is told in one line: the file, the line in it, and what Python said.
"""

import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from altmarl_torch.errors import ArgumentError

if TYPE_CHECKING:
    from altmarl_torch.games.game import Game
    from altmarl_torch.simulators.game import SimulatedGame

__all__ = ["call_function", "is_function"]

SUFFIX = ".py"


def is_function(name: str) -> bool:
    """Whether a game is named by a file and a function, or meant to be: `my_game.py:build`, `my_game.py`."""
    return Path(name.rpartition(":")[0] or name).suffix == SUFFIX


def call_function(name: str) -> "Game | SimulatedGame":
    """The game that the function in `path.py:function` returns.

    Raises:
        ArgumentError: there is no such file or function, it raised, or returned something else.
    """
    from altmarl_torch.games.game import Game
    from altmarl_torch.simulators.game import SimulatedGame

    file, _, function = name.rpartition(":")
    if not file or not function:
        raise ArgumentError(f"game {name!r} names no function; write {name.rstrip(':')}:build, for instance")
    path = Path(file).resolve()
    if not path.is_file():
        raise ArgumentError(f"game {name!r}: there is no file {file}")
    with _module(path) as module:
        build = getattr(module, function, None)
        if not callable(build):
            there = [word for word, value in vars(module).items() if callable(value) and not word.startswith("_")]
            raise ArgumentError(f"{file} has no function {function}; it has {', '.join(there) or 'none'}")
        game = _told(path, build)
    if not isinstance(game, Game | SimulatedGame):
        raise ArgumentError(f"{name} returned {type(game).__name__}; expected an altmarl_torch.Game or SimulatedGame")
    return game


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
