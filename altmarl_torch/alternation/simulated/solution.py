"""What is learned of a simulator: a pair of policies, what it is worth, and how it was found.

A file holds the weights of both networks, the frames they were scaled to, the history and the scalars, as arrays and
JSON text. The game's functions are the user's: `load` is given the game again, and a network of the user's own.
"""

import copy
import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.solution import history_columns, solution_html
from altmarl_torch.alternation.solution_files import read_update
from altmarl_torch.errors import FileFormatError
from altmarl_torch.learners.simulated.features import Frame, frame_of
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork
from altmarl_torch.learners.simulated.policies import (
    GreedyGlobal,
    GreedyLocal,
    PlayedPair,
    UniformGlobal,
    UniformLocal,
)
from altmarl_torch.simulators.game import SimulatedGame, check_simulated
from altmarl_torch.simulators.pairs import SampleDispatcher, number_of_actions
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.showing import as_plain
from altmarl_torch.support.snapshots import Arrays, load_module, module_arrays, reading, tensor_of

__all__ = ["SimulatedObservation", "SimulatedSolution", "pack_pair", "unpack_pair"]

SimulatedObservation = Literal["population", "surrogate"]
"""What the sample is taken for: k of a population of agents, or (the paper's) the population itself."""

FILE_FORMAT, FILE_VERSION = "altmarl-simulated-solution", 1
RECORD = ("k", "value", "eta", "converged", "seed", "game_name", "interrupted", "observation", "population")


@dataclass(frozen=True, eq=False, repr=False)
class SimulatedSolution:
    """A pair of policies of a simulated game, and its record.

    Attributes:
        k: how many local agents the dispatcher sees.
        pi_g, pi_l: the policies.
        value: joint value on the agents that were played, averaged over starts; its standard error is in the history.
        eta: UPDATE's tolerance in the last update.
        history: every proposal, in order.
        converged: whether the alternation ended by itself, with nothing left to gain.
        seed, game_name: how and for what it was found.
        observation: what the sample was taken for.
        population: how many agents were played: k for the surrogate.
        phase_seconds: wall seconds by phase; empty in one that was loaded.
        interrupted: whether the run was broken off.
    """

    k: int
    pi_g: GreedyGlobal | UniformGlobal
    pi_l: GreedyLocal | UniformLocal
    value: float
    eta: float
    history: tuple[Update, ...]
    converged: bool
    seed: int
    game_name: str
    observation: SimulatedObservation
    population: int
    phase_seconds: dict[str, float]
    interrupted: bool = False

    def __repr__(self) -> str:
        end = "converged" if self.converged else "interrupted" if self.interrupted else "not converged"
        return (
            f"SimulatedSolution({self.game_name!r}, k={self.k}: value {self.value:.6g} after {len(self.history)} "
            f"updates, {end})"
        )

    @property
    def solver(self) -> str:
        """How it was found: networks."""
        return "neural"

    @property
    def eta_paper(self) -> float:
        """Algorithm 3's tolerance: nan, since its formula asks for the largest reward, which no simulator tells."""
        return math.nan

    def dispatcher(self, seed: int = 0) -> SampleDispatcher:
        """The deployable global agent: `act(s_g [batch, dg], sample [batch, k, dl])` answers `[batch]`."""
        return PlayedPair(self.k, self.pi_g, self.pi_l).dispatcher(seed)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions `[...]` of agents s_l `[..., dl]` under s_g `[..., dg]`.

        Raises:
            ArgumentError: pi_l is still uniform, and there is no generator to draw from.
        """
        return self.pi_l.actions(s_l, s_g.expand(*s_l.shape[:-1], s_g.shape[-1]), generator)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the policies as JSON's types: numbers and words by name, updates as records."""
        return dict(as_plain({name: getattr(self, name) for name in (*RECORD, "phase_seconds", "history")}))

    def to_columns(self) -> dict[str, list[Any]]:
        """The history as columns of equal length, as data frames take them; a learner's own numbers by their tag."""
        return history_columns(self.history)

    def _repr_html_(self) -> str:
        return solution_html(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the solution to exactly `path`, atomically; nothing is pickled."""
        history = [asdict(update) | {"seconds": 0.0} for update in self.history]
        record = {name: getattr(self, name) for name in RECORD} | {"history": history}
        entries: dict[str, Any] = {"record": json.dumps(record), **pack_pair(self.pi_g, self.pi_l)}
        write_npz(path, FILE_FORMAT, FILE_VERSION, entries)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], game: SimulatedGame, network: nn.Module | None = None
    ) -> "SimulatedSolution":
        """Read a solution that `save` wrote, onto the CPU, without running code from the file.

        Args:
            path: the file.
            game: the simulator that it was learned for; its functions are in no file.
            network: where pi_g was learned with a module of one's own, one of that architecture, which is filled.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is damaged, of another format or version, or not of this game or network.
        """
        check_simulated(game)
        arrays = read_npz(path, FILE_FORMAT, FILE_VERSION, ("record",), ("pi_g/", "pi_l/", "policies"))
        try:
            with reading():
                record = json.loads(str(arrays["record"]))
                history = tuple(read_update(line) for line in record.pop("history"))
                pi_g, pi_l = unpack_pair(arrays, game, network)
                facts = {name: record[name] for name in RECORD}
                if facts["game_name"] != game.name:
                    raise FileFormatError(f"it was learned for {facts['game_name']!r}, and the game is {game.name!r}")
                return cls(pi_g=pi_g, pi_l=pi_l, history=history, phase_seconds={}, **facts)
        except FileFormatError as cause:
            raise FileFormatError(f"{path} holds no solution of this game: {cause}") from cause


def asdict(update: Update) -> dict[str, Any]:
    """An update as JSON takes it."""
    return dataclasses.asdict(update) | {"decision": update.decision.value}


def pack_pair(pi_g: Any, pi_l: Any) -> dict[str, Any]:
    """Both policies as entries of a file."""
    spec: dict[str, Any] = {"pi_g": "uniform", "pi_l": "uniform"}
    entries: dict[str, Any] = {}
    if isinstance(pi_g, GreedyGlobal):
        spec |= {"pi_g": type(pi_g.network).__name__, "global_scale": pi_g.scale}
        entries |= module_arrays("pi_g/", pi_g.network)
    if isinstance(pi_l, GreedyLocal):
        spec |= {"pi_l": "LocalValues", "local_scale": pi_l.scale}
        entries |= module_arrays("pi_l/network/", pi_l.network)
        for name, frame in (("leader", pi_l.leader), ("local", pi_l.local)):
            entries |= {f"pi_l/{name}/low": frame.low.numpy(), f"pi_l/{name}/high": frame.high.numpy()}
    return {"policies": json.dumps(spec), **entries}


def unpack_pair(
    arrays: Arrays, game: SimulatedGame, network: nn.Module | None, device: torch.device | str = "cpu"
) -> tuple[GreedyGlobal | UniformGlobal, GreedyLocal | UniformLocal]:
    """The policies that `pack_pair` made into `arrays`."""
    spec: Mapping[str, Any] = json.loads(str(arrays["policies"]))
    num_ag, num_al = number_of_actions(game)
    weights = torch.Generator(device)
    pi_g: GreedyGlobal | UniformGlobal = UniformGlobal(game)
    if spec["pi_g"] != "uniform":
        filled: nn.Module
        if network is not None:
            filled = copy.deepcopy(network).to(device)
        elif spec["pi_g"] == "SetNetwork":
            frames = (_frame(arrays, f"pi_g/{part}.", space) for part, space in _global_parts(game))
            leader, local = frames
            filled = SetNetwork(leader, local, num_ag, weights).to(device)
        else:
            raise FileFormatError(f"its network is a {spec['pi_g']}: hand in one of that architecture to be filled")
        load_module("pi_g/", filled, arrays)
        pi_g = GreedyGlobal(game, filled.eval(), float(spec["global_scale"]))
    pi_l: GreedyLocal | UniformLocal = UniformLocal(game)
    if spec["pi_l"] != "uniform":
        leader, local = (_frame(arrays, f"pi_l/{name}/", space) for name, space in _local_parts(game))
        values = LocalValues(leader, local, num_al, weights).to(device)
        load_module("pi_l/network/", values, arrays)
        pi_l = GreedyLocal(game, values.eval(), float(spec["local_scale"]), leader, local)
    return pi_g, pi_l


def _global_parts(game: SimulatedGame) -> list[tuple[str, Any]]:
    return [("psi", game.global_state), ("phi", game.local_state)]


def _local_parts(game: SimulatedGame) -> list[tuple[str, Any]]:
    return [("leader", game.global_state), ("local", game.local_state)]


def _frame(arrays: Arrays, prefix: str, space: Any) -> Frame:
    """A stored frame."""
    low, high = (tensor_of(arrays[prefix + end]).float() for end in ("low", "high"))
    return frame_of((low, high), space)
