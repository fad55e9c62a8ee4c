"""What a simulator promises, tried on a few episodes, and what is wrong with it, in one line.

Each promise is tried where breaking it would go unnoticed otherwise: a reward of shape `[b, 1]` broadcasts to
`[b, b]`, a draw from the global generator makes two runs of one seed differ, an agent that looks at the others
makes the sample of k agents say something else than the n.
"""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError, GameError
from altmarl_torch.simulators.spaces import Space, outside, random_actions
from altmarl_torch.support.tables import as_integer, as_seed

__all__ = ["check_rewards", "check_simulator", "check_states"]

LARGEST_REWARD = 1e30
"""Beyond, a float32 return has lost the differences that learning lives on."""

REPEATED = "two calls under one seed differ: it draws from elsewhere, or remembers"

DEPENDENT = (
    "an agent's answer changes with the state or action of another: agents must not depend on each other, but through "
    "s_g, and mu where there is a population"
)

CROWD = 32
"""Agents in one and the same state: do they draw for themselves?"""


@torch.no_grad()
def check_simulator(game: Any, *, episodes: int = 8, agents: int = 16, steps: int = 100, seed: int = 0) -> None:
    """Try what a simulator promises, under random actions, on the CPU.

    Shapes for several numbers of leading dimensions, devices, numbers that are finite and within the spaces at every
    step, rewards that are no larger than 1e12, random numbers from the given generator alone, agents that move
    and earn independently of each other, and functions that leave their arguments alone.

    Args:
        game: a `SimulatedGame`.
        episodes, agents, steps: how much is played; each at least 2.
        seed: of the starts, actions and moves.

    Raises:
        GameError: a promise is broken; the message names the function, the step, and what would be right.
        ArgumentError: a number is out of range, or `game` is no SimulatedGame.
    """
    if not hasattr(game, "move_l"):
        raise ArgumentError(f"game must be a SimulatedGame, not {type(game).__name__}")
    sizes = {"episodes": episodes, "agents": agents, "steps": steps}
    episodes, agents, steps = (as_integer(name, size, 2, 10**6, ArgumentError) for name, size in sizes.items())
    trial = _Trial(game, torch.Generator().manual_seed(as_seed(seed)))
    s_g, s_l = trial.start(episodes, agents)
    trial.functions(s_g, s_l)
    for step in range(steps):
        s_g, s_l = trial.step(s_g, s_l, f"at step {step}")


def check_states(name: str, space: Space, states: Tensor, where: str) -> None:
    """Raise a GameError where states `[..., d]` are not of the space, naming the first that is not."""
    wrong = outside(space, states)
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        value = float(states[tuple(place)])
        raise GameError(f"{name}{place} is {value:g} {where}; its space is {space}")


def check_rewards(name: str, rewards: Tensor, where: str) -> None:
    """Raise a GameError where rewards `[...]` are not finite, or beyond 1e30: float32 holds them."""
    wrong = ~(rewards.abs() <= LARGEST_REWARD)
    if bool(wrong.any()):
        place = wrong.nonzero()[0].tolist()
        value = float(rewards[tuple(place)])
        raise GameError(f"{name}{place} is {value:g} {where}; rewards must be finite, and at most 1e30 in size")


class _Trial:
    """A game under trial."""

    def __init__(self, game: Any, generator: torch.Generator) -> None:
        self.game, self.generator = game, generator

    def call(self, name: str, arguments: Sequence[Any], generator: torch.Generator | None = None) -> Any:
        """What the function returns; errors and draws from elsewhere are told."""
        given = [argument.clone() if isinstance(argument, Tensor) else argument for argument in arguments]
        drawn = [] if generator is None else [generator]
        seen = {"mu": given[-1]} if name in self.game.sees else {}
        before = _global_states()
        try:
            result = getattr(self.game, name)(*given[: len(given) - len(seen)], *drawn, **seen)
        except Exception as cause:
            shapes = ", ".join(str(list(a.shape)) for a in arguments if isinstance(a, Tensor)) or str(arguments)
            said = " ".join(str(cause).split())
            raise GameError(f"{name} raised {type(cause).__name__} for arguments {shapes}: {said}") from cause
        for library, old, new in zip(("torch", "numpy", "Python"), before, _global_states(), strict=True):
            if old != new:
                raise GameError(f"{name} draws from {library}'s global generator; draw from the one it is given")
        for argument, copy in zip(arguments, given, strict=True):
            if isinstance(argument, Tensor) and not torch.equal(argument, copy):
                raise GameError(f"{name} changes its arguments in place; return new tensors")
        return result

    def tensor(self, name: str, result: Any, shape: Sequence[int], device: torch.device) -> Tensor:
        """The result, if it is a tensor of this shape and place."""
        if not isinstance(result, Tensor):
            raise GameError(f"{name} returned {type(result).__name__}; expected a tensor of shape {list(shape)}")
        if tuple(result.shape) != tuple(shape):
            raise GameError(f"{name} returned shape {list(result.shape)}; expected {list(shape)}")
        if result.device != device:
            raise GameError(f"{name} returned a tensor on {result.device}; its arguments lie on {device}")
        if result.dtype == torch.float64 and name not in ("r_g", "r_l", "population"):
            raise GameError(f"{name} returned float64; states are float32 (or whole numbers): use .float()")
        return result

    def start(self, episodes: int, agents: int) -> tuple[Tensor, Tensor]:
        """First states, the same for the same seed."""
        game, seed = self.game, self.generator.initial_seed()
        drawn = []
        for _ in range(2):
            result = self.call("start", (episodes, agents), torch.Generator().manual_seed(seed))
            if not isinstance(result, tuple) or len(result) != 2:
                raise GameError("start must return two tensors: s_g [episodes, dg] and s_l [episodes, n, dl]")
            shapes = (episodes, game.global_state.d), (episodes, agents, game.local_state.d)
            parts = zip(("s_g of start", "s_l of start"), result, shapes, strict=True)
            s_g, s_l = (self.tensor(name, part, shape, torch.device("cpu")) for name, part, shape in parts)
            drawn.append((s_g, s_l))
        _same("start", REPEATED, drawn[0], drawn[1])
        check_states("s_g", game.global_state, s_g, "at the start")
        check_states("s_l", game.local_state, s_l, "at the start")
        return s_g, s_l

    def step(self, s_g: Tensor, s_l: Tensor, where: str) -> tuple[Tensor, Tensor]:
        """Earn and move under random actions, everything checked."""
        game, g = self.game, self.generator
        a_g = random_actions(game.global_action, s_g.shape[:-1], g)
        a_l = random_actions(game.local_action, s_l.shape[:-1], g)
        given = self.arguments(s_g, s_l, a_g, a_l, where)
        for name, shape in (("r_g", s_g.shape), ("r_l", s_l.shape)):
            check_rewards(name, self.tensor(name, self.call(name, given[name]), shape[:-1], s_g.device), where)
        next_s_l = self.tensor("move_l", self.call("move_l", given["move_l"], g), s_l.shape, s_l.device)
        next_s_g = self.tensor("move_g", self.call("move_g", given["move_g"], g), s_g.shape, s_g.device)
        check_states("s_g", game.global_state, next_s_g, f"{where}, after move_g")
        check_states("s_l", game.local_state, next_s_l, f"{where}, after move_l")
        return next_s_g, next_s_l

    def arguments(
        self, s_g: Tensor, s_l: Tensor, a_g: Tensor, a_l: Tensor, where: str
    ) -> dict[str, tuple[Tensor, ...]]:
        """What each of the four functions is given, mu behind it where the function takes it."""
        beside = s_g.unsqueeze(1).expand(*s_l.shape[:-1], s_g.shape[-1]).contiguous()
        leader, local = (s_g, a_g), (s_l, beside, a_l)
        given: dict[str, tuple[Tensor, ...]] = {"r_g": leader, "move_g": leader, "r_l": local, "move_l": local}
        mu = self.crowd(s_l, where)
        if mu is not None:
            near = mu.unsqueeze(1).expand(*s_l.shape[:-1], mu.shape[-1]).contiguous()
            given |= {name: (*given[name], mu if name.endswith("_g") else near) for name in self.game.sees}
        return given

    def crowd(self, s_l: Tensor, where: str) -> Tensor | None:
        """The mean of the population's features, which must be finite and of one agent each."""
        if self.game.population is None:
            return None
        features = self.call("population", (s_l,))
        wide = features.shape[-1] if isinstance(features, Tensor) and features.ndim else 1
        features = self.tensor("population", features, (*s_l.shape[:-1], wide), s_l.device)
        if not bool(features.isfinite().all()):
            raise GameError(f"population returned a number that is not finite {where}")
        alone = self.call("population", (s_l[:, :1],))
        _same("population", DEPENDENT, [features[:, :1]], [alone])
        return features.float().mean(-2)

    def functions(self, s_g: Tensor, s_l: Tensor) -> None:
        """Each function by itself, for other leading dimensions, and for agents that differ in one."""
        game, g = self.game, self.generator
        a_g = random_actions(game.global_action, s_g.shape[:-1], g)
        a_l = random_actions(game.local_action, s_l.shape[:-1], g)
        given = self.arguments(s_g, s_l, a_g, a_l, "at the start")
        for name in ("r_g", "move_g"):
            self._any_layout(name, given[name], s_g.shape)
        for name in ("r_l", "move_l"):
            self._any_layout(name, given[name], s_l.shape)
            self._independent(name, given[name])
        self._own_draws([argument[0, 0] for argument in given["move_l"]])

    def _any_layout(self, name: str, arguments: Sequence[Tensor], shape: torch.Size) -> None:
        """The same answers for `[..., d]` with one, two and three leading dimensions, and under one seed."""
        moves, rows = name.startswith("move"), shape[:-1]
        total, layouts = rows.numel(), (rows, (rows.numel(),), (1, rows.numel(), 1))
        answers = []
        for layout in (*layouts, rows):
            given = [argument.reshape(*layout, *argument.shape[len(rows) :]) for argument in arguments]
            generator = torch.Generator().manual_seed(self.generator.initial_seed()) if moves else None
            wanted = (*layout, shape[-1]) if moves else tuple(layout)
            result = self.tensor(name, self.call(name, given, generator), wanted, arguments[0].device)
            answers.append(result.reshape(total, -1))
        _same(name, REPEATED, answers[:1], answers[3:])
        if not moves:
            _same(name, "its answers depend on the leading dimensions", answers[:1] * 2, answers[1:3])

    def _independent(self, name: str, arguments: Sequence[Tensor]) -> None:
        """What the last agent is and does makes no difference to the others."""
        others = [argument.clone() for argument in arguments]
        for argument in (others[0], others[2]):
            argument[-1, -1] = argument[0, 0]
        seed = self.generator.initial_seed()
        outcomes = []
        for given in (arguments, others):
            generator = torch.Generator().manual_seed(seed) if name == "move_l" else None
            outcomes.append(self.call(name, given, generator).flatten(0, 1)[:-1])
        _same(name, DEPENDENT, outcomes[:1], outcomes[1:])

    def _own_draws(self, agent: Sequence[Tensor]) -> None:
        """Agents in one state do not share their luck."""
        given = [argument.expand(CROWD, CROWD, *argument.shape).contiguous() for argument in agent]
        moved = self.call("move_l", given, self.generator)
        spread = moved != moved[:1, :1]
        within = moved != moved[:, :1]
        if bool(spread.any()) and not bool(within.any()):
            raise GameError("move_l draws one number for all agents of an episode; each agent moves by its own")


def _same(name: str, why: str, ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for left, right in zip(ours, theirs, strict=True):
        features = right.shape[-1] if right.ndim > 1 else 1
        one, other = (part.double().reshape(-1, features) for part in (left, right))
        size = other.abs().nan_to_num(0, posinf=0).amax(0)  # a simulator may count in any unit
        unit = torch.where(size > 0, size, 1.0)
        if not torch.allclose(one / unit, other / unit, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise GameError(f"{name}: {why}")


def _global_states() -> tuple[bytes, Any, int]:
    """Where the global generators stand."""
    numpy_state: Callable[[], Any] = np.random.get_state
    state = numpy_state()
    known = (state[1].tobytes(), state[2:]) if isinstance(state, tuple) else str(state)  # printing it takes 16 ms
    return torch.get_rng_state().numpy().tobytes(), known, hash(random.getstate())
