r"""The k-agent surrogate as an explicit MDP: arrays for any solver, and a file for model checkers.

The MDP of `operators.bellman` under a frozen pi_l, written out: its states are (s_g, h), numbered s_g N + rank(h), and

    P(s_g', h' | s_g, h, a) = P_g(s_g' | s_g, a) K_{s_g}(h' | h),      r(s_g, h, a) = r_Delta(s_g, h, a)  (Eq. 6).

Everything else here keeps the two factors apart, which is what makes it fast; this module is for the eyes of others:
QuantEcon's `DiscreteDP(mdp.r, mdp.P, mdp.gamma)`, and Storm, which reads `to_drn` (`docs/partners.md`).

**DRN** is Storm's explicit text format. Numbers are written with all their digits, so that what `from_drn` reads is
the same to the bit; the discount, of which the format knows nothing, stands in a comment of the file.
"""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import FileFormatError, GameError, SizeError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.operators.surrogate import Surrogate, surrogate_reward
from altmarl_torch.support.native.binomials import Floats
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_law, as_number, as_table

__all__ = ["ExplicitMDP", "surrogate_mdp"]

LARGEST_MDP = 2**27
"""Entries of the largest transition table: 1 GB."""

GAMMA = "// gamma: "


@dataclass(frozen=True, eq=False)
class ExplicitMDP:
    """A discounted MDP in arrays.

    Attributes:
        P: `[s, a, s']`, law of the next state.
        r: `[s, a]`, expected reward.
        gamma: discount factor.
        initial: `[s]`, law of the first state; None where nobody said.
    """

    P: Floats
    r: Floats
    gamma: float
    initial: Floats | None = None

    __repr__ = brief

    def __post_init__(self) -> None:
        P = as_law("P", as_table("P", self.P, "s a s'"), "s a s'")
        r = as_table("r", self.r, "s a")
        if P.shape[0] != P.shape[2] or r.shape != P.shape[:2]:
            raise GameError(f"P [s, a, s'] has shape {list(P.shape)} and r [s, a] {list(r.shape)}; they do not fit")
        gamma = as_number("gamma", self.gamma, "[0, 1)", lambda x: 0 <= x < 1, GameError)
        for name, value in (("P", P.numpy()), ("r", r.numpy()), ("gamma", gamma)):
            object.__setattr__(self, name, value)

    def to_drn(self, path: str | os.PathLike[str]) -> None:
        """Write Storm's explicit format: one reward model `r`, choices in the order of actions, every state initial."""
        states, actions, _ = self.P.shape
        with Path(path).open("w", encoding="ascii") as file:
            file.write(f"{GAMMA}{self.gamma!r}\n@type: MDP\n@parameters\n\n@reward_models\nr\n")
            file.write(f"@nr_states\n{states}\n@nr_choices\n{states * actions}\n@model\n")
            for s in range(states):
                file.write(f"state {s} [0] init\n")
                for a in range(actions):
                    row = self.P[s, a]
                    file.write(f"\taction {a} [{float(self.r[s, a])!r}]\n")
                    file.writelines(f"\t\t{t} : {float(row[t])!r}\n" for t in np.flatnonzero(row))

    @classmethod
    def from_drn(cls, path: str | os.PathLike[str], gamma: float | None = None) -> "ExplicitMDP":
        """Read what `to_drn` wrote, or another MDP with one reward model and equally many choices in each state.

        Args:
            path: of the file.
            gamma: discount factor; None takes that of the file's comment.

        Raises:
            FileNotFoundError: there is no such file.
            FileFormatError: the file is no such MDP, a row is no law, or nobody says gamma; the message names the line.
        """
        reader = _Reader(path)
        for number, line in enumerate(Path(path).read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            reader.read(number, line.strip())
        return reader.finish(gamma)


class _Reader:
    """A DRN file, line by line."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path, self._section, self._gamma = path, "", math.nan
        self._size, self._rewards, self._rows = 0, list[list[float]](), list[list[tuple[int, float]]]()
        self._state_reward = 0.0

    def read(self, number: int, line: str) -> None:
        """Take in one line."""
        try:
            if line.startswith(GAMMA):
                self._gamma = float(line.removeprefix(GAMMA))
            elif line.startswith("@"):
                self._open(line)
            elif line and not line.startswith("//"):
                self._add(line)
        except (ValueError, IndexError) as cause:
            raise FileFormatError(
                f"{self._path}, line {number}: {line!r:.60} is not as in an MDP's DRN file"
            ) from cause

    def _open(self, line: str) -> None:
        self._section = line
        if line.startswith("@type") and line.split(":")[1].strip() != "MDP":
            raise ValueError

    def _add(self, line: str) -> None:
        words = line.replace("[", " [").split()
        if self._section == "@nr_states":
            self._size = int(line)
        elif self._section == "@model" and words[0] == "state":
            if int(words[1]) != len(self._rewards):
                raise ValueError
            self._state_reward = _reward(words)
            self._rewards.append([])
        elif self._section == "@model" and words[0] == "action":
            self._rewards[-1].append(self._state_reward + _reward(words))
            self._rows.append([])
        elif self._section == "@model":
            target, chance = line.split(":")
            if not 0 <= int(target) < self._size:
                raise ValueError
            self._rows[-1].append((int(target), float(chance)))

    def finish(self, gamma: float | None) -> ExplicitMDP:
        """The MDP."""
        widths = {len(rewards) for rewards in self._rewards}
        if len(self._rewards) != self._size or len(widths) != 1 or 0 in widths:
            found = f"{len(self._rewards)} states of {self._size} with {sorted(widths)} choices"
            raise FileFormatError(f"{self._path} holds {found}; an ExplicitMDP has equally many choices in each state")
        P = np.zeros((len(self._rows), self._size))
        for row, entries in zip(P, self._rows, strict=True):
            for target, chance in entries:
                row[target] = chance
        try:
            shape = (self._size, *widths, self._size)
            return ExplicitMDP(P.reshape(shape), np.array(self._rewards), self._gamma if gamma is None else gamma)
        except GameError as cause:
            raise FileFormatError(f"{self._path} holds no discounted MDP: {cause}") from cause


def _reward(words: list[str]) -> float:
    """`[1.5]` among the words of a line, or 0."""
    return sum(float(word[1:-1]) for word in words if word.startswith("["))


def surrogate_mdp(game: Game, pi_l: Tensor, k: int) -> ExplicitMDP:
    """The k-agent game under `pi_l [sl, sg, al]` as an explicit MDP (module docstring).

    Its optimal value, averaged over `initial`, is what G-LEARN finds.

    Raises:
        SizeError: the transition table has more than 2^27 entries.
        PolicyError: pi_l is no local policy of this game.

    Examples:
        >>> import altmarl_torch as am
        >>> game = am.games.steer()
        >>> mdp = am.surrogate_mdp(game, am.policies.uniform_local(game), k=3)
        >>> mdp.P.shape, mdp.r.shape
        ((8, 2, 8), (8, 2))
    """
    check_game(game)
    game = game.to("cpu")
    simplex = CountSimplex(game.check_k(k), game.num_sl)
    states = game.num_sg * simplex.size
    if states**2 * game.num_ag > LARGEST_MDP:
        raise SizeError(
            f"an explicit MDP of {states:,} states has more than {LARGEST_MDP:,} transitions; use a smaller k"
        )
    surrogate = Surrogate.build(game, torch.as_tensor(pi_l).cpu(), PairPlan(simplex))
    eye = torch.eye(simplex.size, dtype=torch.float64)
    moves = torch.stack([kernel.expect(eye) for kernel in surrogate.kernels])
    P = rearrange(einsum(game.P_g, moves, "g a G, g h H -> g h a G H"), "g h a G H -> (g h) a (G H)")
    P = P / P.sum(-1, keepdim=True)  # the sums are 1 but for rounding
    r = rearrange(surrogate_reward(surrogate), "g h a -> (g h) a")
    return ExplicitMDP(P.numpy(), r.numpy(), game.gamma, surrogate.initial_law.flatten().numpy())
