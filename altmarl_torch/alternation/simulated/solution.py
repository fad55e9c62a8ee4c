"""What is learned of a simulator: a pair of policies, what it is worth, and how it was found.

A file holds the weights of both networks, the frames they were scaled to, the history and the scalars, as arrays and
JSON text. The game's functions are the user's: `load` is given the game again, and a network of the user's own.
"""

import dataclasses
import json
import math
import os
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from altmarl_torch.alternation.loop import Update
from altmarl_torch.alternation.simulated.policy_files import pack_pair, unpack_pair
from altmarl_torch.alternation.solution import history_columns, solution_html
from altmarl_torch.alternation.solution_files import read_update
from altmarl_torch.errors import FileFormatError
from altmarl_torch.learners.simulated.policies import GlobalPolicy, LocalPolicy, PlayedPair
from altmarl_torch.simulators.game import SimulatedGame, check_simulated
from altmarl_torch.simulators.pairs import SampleDispatcher
from altmarl_torch.support.npz import read_npz, write_npz
from altmarl_torch.support.showing import as_plain
from altmarl_torch.support.snapshots import reading

__all__ = ["SimulatedObservation", "SimulatedSolution"]

SimulatedObservation = Literal["population", "surrogate", "filter"]
"""What the sample is taken for: k of a population of agents, (the paper's) the population itself, or one of many looks
at a population that are remembered.
"""

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
    pi_g: GlobalPolicy
    pi_l: LocalPolicy
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
        """The deployable global agent: `act(s_g [batch, dg], sample [batch, k, dl])` answers `[batch]` (or
        `[batch, ug]`).
        """
        return PlayedPair(self.k, self.pi_g, self.pi_l).dispatcher(seed)

    def local_actions(self, s_l: Tensor, s_g: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Actions `[...]` (or `[..., ul]`) of agents s_l `[..., dl]` under s_g `[..., dg]`.

        Raises:
            ArgumentError: pi_l is still uniform, and there is no generator to draw from.
        """
        with torch.no_grad():
            near = s_g.float().expand(*s_l.shape[:-1], s_g.shape[-1])
            return self.pi_l.actions(s_l.float(), near, generator)

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
