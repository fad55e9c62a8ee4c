"""The content of summary.json: what a run is worth, in numbers."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from altmarl_torch.alternation.simulated.solution import SimulatedSolution
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.evaluation.any_game import AnyRollouts
from altmarl_torch.evaluation.certificate import Certificate
from altmarl_torch.games.game import Game
from altmarl_torch.runs.config import TrainConfig
from altmarl_torch.runs.folder import peak_memory, versions
from altmarl_torch.runs.measuring import Measurement
from altmarl_torch.simulators.game import SimulatedGame

__all__ = ["summary_of"]


def summary_of(
    config: TrainConfig,
    game: Game | SimulatedGame,
    solution: Solution | SimulatedSolution,
    certificate: Certificate | None,
    measured: Measurement | None,
    started: float,
    by_k: Mapping[int, AnyRollouts] | None = None,
) -> dict[str, Any]:
    """The content of summary.json, null where something was not measured."""
    learned = measured.learned if measured else None
    heuristics = measured.heuristics if measured else {}
    more_seconds = {
        "rollout": measured.seconds if measured else 0.0,
        "certificate": certificate.seconds if certificate else 0.0,
    }
    return {
        "game": game.name,
        "names": _names(game),
        "k": solution.k,
        "n": game.n,
        "solver": solution.solver,
        "seed": solution.seed,
        "episodes": config.episodes,
        "horizon": config.horizon,
        "return_mean": learned.mean if learned else None,
        "return_sem": learned.sem if learned else None,
        "mode_accuracy": learned.mode_accuracy if learned else None,
        "types": _types(learned) if learned else None,
        "heuristics": {name: {"return_mean": r.mean, "return_sem": r.sem} for name, r in heuristics.items()},
        "lead": _lead(measured),
        "returns_by_k": {str(k): [one.mean, one.sem] for k, one in by_k.items()} if by_k else None,
        "value": solution.value,
        "nash_gap": certificate.nash_gap if certificate else None,
        "eta": solution.eta,
        "eta_paper": solution.eta_paper,
        "updates": len(solution.history),
        "converged": solution.converged,
        "interrupted": measured is None,
        "wall_seconds": time.perf_counter() - started,
        "phase_seconds": {**solution.phase_seconds, **more_seconds},
        "update_seconds": [update.seconds for update in solution.history],
        "peak_memory_bytes": peak_memory(),
        "versions": versions(),
    }


def _lead(measured: Measurement | None) -> dict[str, Any] | None:
    """The learned pair beside the best rule, on the same episodes; null where nothing was compared."""
    if measured is None or measured.lead is None:
        return None
    return {"over": measured.best_rule, **dataclasses.asdict(measured.lead)}


def _names(game: Game | SimulatedGame) -> dict[str, list[str]] | None:
    """The names of states and actions, by set; null where nothing is named."""
    named = game.names if isinstance(game, Game) else {}
    return {word: list(names) for word, names in named.items()} or None


def _types(learned: AnyRollouts) -> list[dict[str, Any]] | None:
    """What summary.json says of each type of agents; null where there is one."""
    types = learned.types
    if types is None:
        return None
    columns = (types.shares, types.mean, types.sem, types.occupation)
    words = ("share", "return_mean", "return_sem", "occupation")
    return [dict(zip(words, row, strict=True)) for row in zip(*(column.tolist() for column in columns), strict=True)]
