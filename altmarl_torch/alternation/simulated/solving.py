"""`solve` for every kind of game: tables go to `alternation.solving`, simulators are solved here.

The same loop alternates (`alternation.loop`), the same UPDATE decides, on paired episodes with their standard error.
"""

import functools
import inspect
import json
import logging
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from altmarl_torch.alternation import solving as tables
from altmarl_torch.alternation.checkpoints import CheckpointFolder, RunCheckpoint
from altmarl_torch.alternation.loop import (
    Alternation,
    Curve,
    PhaseProgress,
    Players,
    Rules,
    Update,
    alternate,
    automatic_eta,
)
from altmarl_torch.alternation.simulated.building import (
    Turns,
    first_pairs,
    number_played,
    objective_of,
    own_learner,
    players_of,
)
from altmarl_torch.alternation.simulated.own_learners import SimulatedLocalFunction
from altmarl_torch.alternation.simulated.players import (
    SimulatedMemory,
    Study,
    as_pair,
)
from altmarl_torch.alternation.simulated.policy_files import pack_pair, unpack_pair
from altmarl_torch.alternation.simulated.solution import (
    SimulatedObservation,
    SimulatedSolution,
    asdict,
)
from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solution_files import read_update
from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.operators.joint_value import JointValue
from altmarl_torch.operators.words import Objective
from altmarl_torch.simulators.game import SimulatedGame, check_simulated, unchecked
from altmarl_torch.simulators.pairs import RulePair
from altmarl_torch.support.digests import known_as
from altmarl_torch.support.kinds import typed_as
from altmarl_torch.support.snapshots import Arrays, pack, reading, tensor_of, under, unpack
from altmarl_torch.support.tables import as_device, as_integer, as_number, as_seed, check_callable
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["solve", "solve_simulator"]

logger = logging.getLogger(__name__)


@one_thread()
@door
def solve_simulator(
    game: SimulatedGame,
    k: int,
    *,
    observation: SimulatedObservation = "population",
    population: int | None = None,
    objective: Objective | None = None,
    start: RulePair | None = None,
    starts: int = 1,
    turns: Turns = "both",
    network: nn.Module | None = None,
    l_learner: Literal["auto"] | SimulatedLocalFunction = "auto",
    eta: float | Literal["auto"] = "auto",
    steps: int = 10,
    seed: int = 0,
    device: str = "cpu",
    learning_rate: float = 2e-3,
    callback: Callable[[Update], None] | None = None,
    progress: PhaseProgress | None = None,
    curve: Curve | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
) -> SimulatedSolution:
    """Learn an approximate Nash equilibrium of a simulator by ALTERNATING-MARL; `solve` calls it.

    Players with finitely many actions fit continuation values (`learners.simulated.g_learn`, `l_learn`); for continuous
    ones episodes are differentiated (`learners.simulated.pathwise`), so that moves and rewards must be differentiable.
    UPDATE judges by the joint value.

    Args:
        game: the simulator.
        k: how many of the n local agents the global agent sees, in 1..n.
        observation: "population" plays many agents and shows k of them; "surrogate", the paper's, takes the k for all
            there are; "filter" plays many as well, and lets the dispatcher remember what it has seen
            (`learners.simulated.memory`). On n agents the first is better than the second wherever k is small, and the
            default; the third helps where agents stay what they are.
        population: how many agents are played, in k..n; None for min(n, 512) (with continuous actions min(n, 64), or
            20 k of them), or k if that is more.
        objective: what a local agent maximises, its "own" reward, as in the paper, or the "team"'s. None is "own" for
            finitely many local actions and "team" for continuous ones.
        start: rules to begin from; None for uniform actions.
        starts: how many local policies to begin from: uniform, walk to s_g (of games with `offsets`), greedy for r_l.
            The pair with the best joint value wins.
        turns: whose policies are learned: "both", or those of the "global" or "local" agents alone, the others' kept
            as they start.
        network: a module of one's own, s_g `[b, dg]` and sample `[b, k, dl]` to `[b, ag]`, to be trained in place
            of the set network (`learners.simulated.networks`); it is left as it was.
        l_learner: "auto", or a function of one's own `(problem, pi_l)`, for finitely many local actions: calling the
            problem, a `SimulatedLocalProblem`, makes the environment of one tagged agent, and what comes back is
            `problem.network()`, trained, or a rule of (s_l, s_g). (`docs/simulators.md`)
        eta: UPDATE's tolerance in units of value, or "auto".
        steps: at most so many proposals of each player.
        seed: of every random number.
        device: where states and networks lie: "auto" (a GPU if there is one), "cpu", "cuda", ...
        learning_rate: of the networks' optimiser, Adam.
        callback: told every update.
        progress: told (phase, gradient steps, error) while networks are trained.
        curve: told (gradient steps, numbers by tag) while networks are trained.
        checkpoints: a folder; the same call with the same folder goes on where an earlier one was broken off, to the
            same result (on the CPU, bit for bit).

    Returns:
        The pair with its history. A KeyboardInterrupt returns what has been learned so far, with `interrupted` set.

    Raises:
        ArgumentError: an argument is outside its range, the network does not fit, or actions are continuous and moves
            and rewards cannot be differentiated.
        GameError: a function of the game fails, or a reward is not finite.
        LearningError: a network's training diverged.
    """
    check_simulated(game)
    for name, function in (("callback", callback), ("progress", progress), ("curve", curve)):
        check_callable(name, function)
    k, steps, seed = game.check_k(k), as_integer("steps", steps, 1, 10**6, ArgumentError), as_seed(seed)
    rate = as_number("learning_rate", learning_rate, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
    if eta != "auto":
        as_number("eta", eta, "[0, inf) or auto", lambda x: 0 <= x < math.inf, ArgumentError)
    agents, place = number_played(game, k, observation, population), as_device(device)
    told = {"curve": curve, "progress": progress, "objective": objective_of(game, objective)}
    firsts = first_pairs(game, start, starts, turns)
    remembers, own, folder = observation == "filter", own_learner(game, l_learner), None
    if checkpoints is not None:
        asked = {"game": game.name, "n": game.n, "gamma": game.gamma, "k": k, "agents": agents, "seed": seed}
        asked |= {"learning_rate": rate, "eta": eta, "steps": steps, "turns": turns, "observation": observation}
        asked |= {"objective": told["objective"], "l_learner": known_as(l_learner), "starts": len(firsts)}
        folder = CheckpointFolder(Path(checkpoints), asked)
        folder.check()
    tells, found = callback if len(firsts) == 1 else None, list[tuple[str, Alternation[Any, SimulatedMemory], Rules]]()
    for name, first in firsts.items():
        small = unchecked(game, n=agents)
        players, study = players_of(small, k, network, seed, place, rate, first, turns, remembers, own, **told)
        rules = _rules(study, eta)
        found.append((name, _alternate(players, rules, steps, tells, folder, game, network, place), rules))
        if found[-1][1].interrupted:
            break
    result, rules = _best(found, callback if len(firsts) > 1 else None)
    return SimulatedSolution(
        k=k,
        pi_g=result.pair.pi_g,
        pi_l=result.pair.pi_l,  # type: ignore[arg-type]  # no table here
        value=result.value.mean,
        eta=result.history[-1].eta if result.history else rules.eta(result.value, result.value),
        history=tuple(result.history),
        converged=result.converged,
        seed=seed,
        game_name=game.name,
        observation=observation,
        population=agents,
        phase_seconds=result.seconds,
        interrupted=any(other.interrupted for _, other, _ in found),
    )


def _alternate(
    players: Players[Any, SimulatedMemory],
    rules: Rules,
    steps: int,
    callback: Callable[[Update], None] | None,
    folder: CheckpointFolder | None,
    game: SimulatedGame,
    network: nn.Module | None,
    device: torch.device,
) -> Alternation[Any, SimulatedMemory]:
    """One run of the alternation, from where the folder's next checkpoint has left it."""
    if folder is None:
        return alternate(players, rules, steps=steps, callback=callback)
    checkpoint = folder.next_run()
    reached = _reached(checkpoint, players, game, network, device)
    for update in reached.history if reached and callback else ():
        callback(update)  # type: ignore[misc]  # asked in the same line
    save = partial(_save, checkpoint)
    return alternate(players, rules, steps=steps, callback=callback, reached=reached, save=save)


def _best(
    found: list[tuple[str, Alternation[Any, SimulatedMemory], Rules]], callback: Callable[[Update], None] | None
) -> tuple[Alternation[Any, SimulatedMemory], Rules]:
    """The run with the best joint value, and its rules; its listener is told its updates."""
    name, result, rules = max(found, key=lambda run: run[1].value.mean)
    if len(found) > 1:
        worth = ", ".join(f"{other} {run.value.mean:.6g}" for other, run, _ in found)
        logger.info("of the starts %s, %s is taken", worth, name)
    for update in result.history if callback else ():
        callback(update)  # type: ignore[misc]  # asked in the same line
    return result, rules


@typed_as(solve_simulator, tables.solve)
@functools.wraps(tables.solve)
def solve(game: Game | SimulatedGame, k: Any, **options: Any) -> Solution | SimulatedSolution:
    """For simulators as `solve_simulator`, for tables as `alternation.solving.solve`, whose docstring it takes."""
    if not isinstance(game, SimulatedGame):
        return tables.solve(game, k, **options)
    known = [name for name in inspect.signature(solve_simulator).parameters if name not in ("game", "k")]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ArgumentError(f"{unknown[0]} is no option for a SimulatedGame; there are {', '.join(known)}")
    return solve_simulator(game, k, **options)


def _rules(study: Study, eta: float | Literal["auto"]) -> Rules:
    """UPDATE by means. The span of values is unknown: a standard deviation of the rewards that were met, at every step,
    stands for it; Algorithm 3's eta has no formula here.
    """
    if eta == "auto":
        automatic = partial(automatic_eta, study.deviation / (1 - study.game.gamma))
        return Rules("mean", automatic, 0.0, adopt_better=True)
    return Rules("mean", lambda proposed, current: float(eta), 0.0)


def _save(checkpoint: RunCheckpoint, state: Alternation[Any, SimulatedMemory]) -> None:
    """Keep where the alternation stands."""
    value = state.value
    record = {
        "history": [asdict(update) for update in state.history],
        "seconds": state.seconds,
        "content": state.content,
        "converged": state.converged,
        "value": {name: getattr(value, name) for name in ("mean", "error", "sweeps", "standard_error")},
    }
    entries: dict[str, Any] = {"record": json.dumps(record), "values": value.values.cpu().numpy()}
    entries |= {f"pair/{name}": array for name, array in pack_pair(state.pair.pi_g, cast(Any, state.pair.pi_l)).items()}
    entries |= {f"memory/{name}": array for name, array in pack(state.memory).items()}
    checkpoint.save(entries, len(state.history))


def _reached(
    checkpoint: RunCheckpoint,
    players: Players[Any, SimulatedMemory],
    game: SimulatedGame,
    network: nn.Module | None,
    device: torch.device,
) -> Alternation[Any, SimulatedMemory] | None:
    """Where an earlier call had come: the newest checkpoint that can be used."""
    for arrays in checkpoint.newest():
        try:
            return _unpacked(arrays, players, game, network, device)
        except AltMarlError as cause:
            logger.warning("a checkpoint is passed over: %s", cause)
    return None


def _unpacked(
    arrays: Arrays,
    players: Players[Any, SimulatedMemory],
    game: SimulatedGame,
    network: nn.Module | None,
    device: torch.device,
) -> Alternation[Any, SimulatedMemory]:
    with reading():
        record = json.loads(str(arrays["record"]))
        given = players.start.pi_g, cast(Any, players.start.pi_l)
        pair = as_pair(*unpack_pair(under("pair/", arrays), game, network, device, given))
        values: Tensor = tensor_of(arrays["values"], device)
        value = JointValue(values, returns=values.unsqueeze(-1), **record["value"])
        memory = unpack(players.memory, under("memory/", arrays), device)
        facts = {name: record[name] for name in ("seconds", "content", "converged")}
        return Alternation(pair, value, memory, [read_update(line) for line in record["history"]], **facts)
