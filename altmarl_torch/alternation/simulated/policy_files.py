"""Both policies of a simulator as entries of a file, and back.

Weights and frames are arrays; the words that say which networks they fill are looked up here, never imported. Rules
that a solution began from are functions of the user's: a file says that they were there, and they are handed in again.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from altmarl_torch.errors import FileFormatError
from altmarl_torch.learners.simulated.actors import ActorGlobal, ActorLocal, GlobalActor, LocalActor
from altmarl_torch.learners.simulated.features import Frame, frame_of
from altmarl_torch.learners.simulated.memory import RunningMeans
from altmarl_torch.learners.simulated.networks import LocalValues, SetNetwork
from altmarl_torch.learners.simulated.policies import (
    FOUND,
    GIVEN,
    GlobalPolicy,
    GreedyGlobal,
    GreedyLocal,
    LocalPolicy,
    NamedLocal,
    UniformGlobal,
    UniformLocal,
)
from altmarl_torch.learners.simulated.starts import local_starts
from altmarl_torch.learners.simulated.units import Units
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.spaces import Box, Discrete
from altmarl_torch.support.snapshots import Arrays, load_module, module_arrays, tensor_of

__all__ = ["pack_pair", "unpack_pair"]

UNIFORM, ACTOR = "uniform", "actor"
"""Policies beside rules, and the greedy ones, whose word is the class of their network."""

Policies = tuple[GlobalPolicy, LocalPolicy]


def pack_pair(pi_g: GlobalPolicy, pi_l: LocalPolicy) -> dict[str, Any]:
    """Both policies as entries of a file."""
    spec: dict[str, Any] = {"pi_g": _word(pi_g), "pi_l": _word(pi_l)}
    entries: dict[str, Any] = {}
    if isinstance(pi_g, GreedyGlobal | ActorGlobal):
        spec |= {"remembers": None if pi_g.belief is None else pi_g.belief.octaves}
        entries |= module_arrays("pi_g/", pi_g.network)
    if isinstance(pi_g, GreedyGlobal):
        spec |= {"global_scale": pi_g.units.scale, "global_middles": pi_g.units.middles}
    if isinstance(pi_l, GreedyLocal | ActorLocal):
        entries |= module_arrays("pi_l/network/", pi_l.network)
    if isinstance(pi_l, GreedyLocal):
        spec |= {"local_scale": pi_l.units.scale, "local_middles": pi_l.units.middles}
        spec |= {"local_is_whole": pi_l.is_whole}
        for name, frame in (("leader", pi_l.leader), ("local", pi_l.local)):
            entries |= {f"pi_l/{name}/low": frame.low.numpy(), f"pi_l/{name}/high": frame.high.numpy()}
    return {"policies": json.dumps(spec), **entries}


def _word(policy: object) -> str:
    if isinstance(policy, NamedLocal):
        return policy.name
    if isinstance(policy, UniformGlobal | UniformLocal):
        return UNIFORM
    if isinstance(policy, ActorGlobal | ActorLocal):
        return ACTOR
    return type(policy.network).__name__ if isinstance(policy, GreedyGlobal | GreedyLocal) else GIVEN


def unpack_pair(
    arrays: Arrays,
    game: SimulatedGame,
    network: nn.Module | None,
    device: torch.device | str = "cpu",
    given: Policies | None = None,
) -> Policies:
    """The policies that `pack_pair` made into `arrays`.

    Args:
        arrays: of a file.
        game: the simulator.
        network: of the user's own, to be filled.
        device: where the weights shall lie.
        given: the rules that were begun from.

    Raises:
        FileFormatError: a network or a rule of the user's own is needed and not there.
    """
    spec: Mapping[str, Any] = json.loads(str(arrays["policies"]))
    words = spec["pi_g"], spec["pi_l"]
    if FOUND in words or (given is None and GIVEN in words):
        raise FileFormatError("one of its policies is a rule of your own, which is in no file")
    rules = given or (UniformGlobal(game), UniformLocal(game))
    pi_g = {UNIFORM: UniformGlobal(game), GIVEN: rules[0]}.get(words[0]) or _global(arrays, spec, game, network, device)
    pi_l = (local_starts(game) | {GIVEN: rules[1]}).get(words[1]) or _local(arrays, spec, game, device)
    return pi_g, pi_l


def _global(
    arrays: Arrays, spec: Mapping[str, Any], game: SimulatedGame, network: nn.Module | None, device: torch.device | str
) -> GlobalPolicy:
    word, weights, space = spec["pi_g"], torch.Generator(), game.global_action
    filled: nn.Module
    belief: RunningMeans | None = None
    if network is not None:
        filled = copy.deepcopy(network)
    elif word == SetNetwork.__name__ and isinstance(space, Discrete):
        frames = _frames(arrays, "pi_g/", game)
        belief, width = _belief(spec, frames[1])
        filled = SetNetwork(*frames, space.num, weights, width)
    elif word == ACTOR and isinstance(space, Box):
        frames = _frames(arrays, "pi_g/", game)
        belief, width = _belief(spec, frames[1])
        filled = GlobalActor(*frames, space, weights, width)
    else:
        raise FileFormatError(f"its network is a {word}: hand in one of that architecture to be filled")
    load_module("pi_g/", filled, arrays)
    filled = filled.to(device).eval()
    if word == ACTOR:
        return ActorGlobal(filled, belief)
    return GreedyGlobal(game, filled, _units(spec, "global"), belief)


def _belief(spec: Mapping[str, Any], local: Frame) -> tuple[RunningMeans | None, int]:
    """The memory of a policy, and its width; none of files that know of none."""
    if spec.get("remembers") is None:
        return None, 0
    belief = RunningMeans(local, int(spec["remembers"]))
    return belief, belief.width


def _local(arrays: Arrays, spec: Mapping[str, Any], game: SimulatedGame, device: torch.device | str) -> LocalPolicy:
    weights, space = torch.Generator(), game.local_action
    if isinstance(space, Box):
        actor = LocalActor(*_frames(arrays, "pi_l/network/", game), space, weights)
        load_module("pi_l/network/", actor, arrays)
        return ActorLocal(actor.to(device).eval())
    spaces = ("leader", game.global_state), ("local", game.local_state)
    leader, local = (_frame(arrays, f"pi_l/{name}/", space) for name, space in spaces)
    values = LocalValues(leader, local, space.num, weights)
    load_module("pi_l/network/", values, arrays)
    whole = bool(spec.get("local_is_whole", False))  # unknown to older files
    return GreedyLocal(game, values.to(device).eval(), _units(spec, "local"), leader, local, whole)


def _units(spec: Mapping[str, Any], player: str) -> Units:
    """In what a policy's values are; files that know of no middles have rewards as they are."""
    of_global, of_local = spec.get(f"{player}_middles", (0.0, 0.0))
    return Units(float(spec[f"{player}_scale"]), (float(of_global), float(of_local)))


def _frames(arrays: Arrays, prefix: str, game: SimulatedGame) -> tuple[Frame, Frame]:
    """The frames that a network of both states was scaled to: buffers of its features."""
    parts = ("psi", game.global_state), ("phi", game.local_state)
    leader, local = (_frame(arrays, f"{prefix}{part}.", space) for part, space in parts)
    return leader, local


def _frame(arrays: Arrays, prefix: str, space: Any) -> Frame:
    """A stored frame."""
    low, high = (tensor_of(arrays[prefix + end]).float() for end in ("low", "high"))
    return frame_of((low, high), space)
