"""The game of a command that learns nothing into a run folder: its flags, and the game that they name."""

import argparse
from typing import TYPE_CHECKING

from altmarl_torch.runs.config import TrainConfig, add_arguments

if TYPE_CHECKING:
    from altmarl_torch.games.game import Game

__all__ = ["add_game", "game_of"]

FLAGS = ("game", "game_option", "n", "gamma")


def add_game(parser: argparse.ArgumentParser, game: str = "warehouse") -> None:
    """The flags of `train` that say which game it is; `game` is the one unless told."""
    others = [name for name in TrainConfig.__dataclass_fields__ if name not in FLAGS]
    add_arguments(parser, without=[*others, "simulator"])
    parser.set_defaults(game=game)
    for action in parser._actions:
        if action.dest == "game":
            action.help = "as for train (default: %(default)s)"


def game_of(arguments: argparse.Namespace, k: int = 1) -> "Game":
    """The game of tables that the flags of `add_game` name, on the CPU, for k agents; errors as of `build_game`."""
    given = {name: getattr(arguments, name) for name in FLAGS}
    return TrainConfig(k=k, device="cpu", **given).build_game()
