"""The run folder of a simulator: `simulator.json` in place of `game.npz`.

A simulator is functions, and in no file. The folder says which one it was (name, n, gamma, spaces); whoever goes on
with the run, or measures its pair again, builds it again: by its name, or by `--game my_sim.py:build` on the command
line, never by a word that a folder holds.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from altmarl_torch.alternation.simulated.solution import SimulatedSolution
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.from_file import is_function
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import (
    CONFIG,
    METRICS,
    POLICY,
    SUMMARY,
    RunFolder,
    folder_with,
    read_config,
    read_summary,
)
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.support.files import read_json, write_json

__all__ = ["SimulatedRun", "is_of_simulator", "open_simulated_run", "reopen_simulated", "write_simulator"]

SIMULATOR = "simulator.json"


@dataclass(frozen=True, eq=False)
class SimulatedRun:
    """A run of a simulator that is over, read back.

    Attributes:
        config: what was asked.
        game: the simulator, built again.
        solution: what was learned; a pair of policies.
        summary: what it was worth, by the keys of summary.json.
    """

    config: TrainConfig
    game: SimulatedGame
    solution: SimulatedSolution
    summary: dict[str, Any]


def write_simulator(folder: Path, game: SimulatedGame) -> None:
    """Write simulator.json: all of a simulator but its functions."""
    write_json(folder / SIMULATOR, _facts(game))


def is_of_simulator(path: str | os.PathLike[str]) -> bool:
    """Whether the folder of a run holds one of a simulator."""
    return (Path(path) / SIMULATOR).is_file()


def reopen_simulated(path: str | os.PathLike[str], word: str | None) -> tuple[TrainConfig, SimulatedGame, RunFolder]:
    """What was asked of a run, its simulator, built again, and its folder.

    Args:
        path: the run's folder.
        word: the game on the command line, `my_sim.py:build`; None for a named one.

    Raises:
        ArgumentError: the simulator is a function of the user's, and none is given; it is another one; or the run is
            finished.
        FileFormatError: there is no such folder, or it is broken.
    """
    folder = folder_with((CONFIG, SIMULATOR), path, "cannot be resumed; train anew")
    if (folder / SUMMARY).is_file() and not read_summary(folder)["interrupted"]:
        raise ArgumentError(f"{folder} is finished; `altmarl evaluate` simulates it again")
    config, game = _built(folder, word)
    return dataclasses.replace(config, runs_dir=str(folder.parent)), game, RunFolder(folder)


def open_simulated_run(path: str | os.PathLike[str], word: str | None = None) -> SimulatedRun:
    """Read a finished run of a simulator; arguments and errors are those of `reopen_simulated`."""
    needed = (CONFIG, SIMULATOR, METRICS, POLICY, SUMMARY)
    folder = folder_with(needed, path, "is not the folder of a finished run")
    config, game = _built(folder, word)
    return SimulatedRun(config, game, SimulatedSolution.load(folder / POLICY, game), read_summary(folder))


def _built(folder: Path, word: str | None) -> tuple[TrainConfig, SimulatedGame]:
    config, facts = read_config(folder / CONFIG), read_json(folder / SIMULATOR)
    if word is None and is_function(config.game):
        raise ArgumentError(f"the simulator of {folder} is in none of its files: add --game {config.game}")
    config = dataclasses.replace(config, game=config.game if word is None else word)
    game = config.named_game()
    if not isinstance(game, SimulatedGame):
        raise ArgumentError(f"{config.game} is {game!r}; the run in {folder} is of a simulator")
    changed = [name for name, fact in _facts(game).items() if facts.get(name) != fact]
    if changed:
        name = changed[0]
        raise ArgumentError(f"{config.game} has another {name} than the run in {folder}: {_facts(game)[name]}")
    return config, game


def _facts(game: SimulatedGame) -> dict[str, Any]:
    spaces = ("global_state", "local_state", "global_action", "local_action")
    facts = {name: str(getattr(game, name)) for name in spaces}
    return {"name": game.name, "n": game.n, "gamma": game.gamma, **facts}
