"""Rules of one's own beside a pair of a simulator: `--rule my_rules.py:follow`.

The file holds a function of the global agent, and perhaps one of the local agents, on tensors as `RulePair` takes them:

    def follow(s_g, sample):            # [b, dg] and [b, k, dl] to actions [b], or [b, ug]
        return (sample.mean(1) > s_g).squeeze(-1).long()

    def work(s_l, s_g):                 # [..., dl] and [..., dg] to actions [...], or [..., ul]
        return (s_l < s_g).squeeze(-1).long()

`my_rules.py:follow` is played next to the learned local policy, `my_rules.py:follow + work` next to the function `work`
of the same file, and `follow + walk` next to the local side of a rule that the game has (`simulators.heuristic_pairs`).
Several stand with commas between them. (Those of tables: `policies.own_rules`.)
"""

import numpy as np
import torch

from altmarl_torch.errors import AltMarlError, ArgumentError, PolicyError
from altmarl_torch.games.from_file import own_functions
from altmarl_torch.policies.own_rules import LEARNED, parts_of
from altmarl_torch.simulators.game import SimulatedGame, beside, unchecked
from altmarl_torch.simulators.pairs import MixedPair, RulePair, SimulatedPair, uniform_pair
from altmarl_torch.simulators.play import play
from altmarl_torch.simulators.rules import heuristic_pairs
from altmarl_torch.simulators.spaces import outside

__all__ = ["check_simulated_rules", "own_simulated_pairs"]

TRIED = 50
"""Agents that try a rule before anything is learned, or the k that are seen."""


def own_simulated_pairs(words: str, game: SimulatedGame, learned: SimulatedPair) -> dict[str, SimulatedPair]:
    """The pairs that `words` name, by name ("follow + learned"); `learned` is the pair that they stand beside.

    Raises:
        ArgumentError: there is no such file or function, or one pair is named twice.
    """
    known = {name.partition(" + ")[2]: pair for name, pair in heuristic_pairs(game, learned.k).items()}
    known[LEARNED] = learned
    found: dict[str, SimulatedPair] = {}
    for word in words.split(","):
        name, walker = parts_of(word)
        functions = own_functions(name, "rule", *([] if walker in known else [walker]))
        leader = RulePair(learned.k, functions[0], functions[-1])
        title = f"{name.rpartition(':')[2]} + {walker}"
        if title in found:
            raise ArgumentError(f"rule {words!r} names one pair twice")
        found[title] = MixedPair(leader, known.get(walker, leader))
    return found


def check_simulated_rules(words: str, game: SimulatedGame, k: int) -> None:
    """Play every rule for a step, so that what is wrong is said before anything is learned.

    Raises:
        ArgumentError: as of `own_simulated_pairs`; or what a rule returns is no action.
    """
    few = unchecked(game, n=min(game.n, max(k, TRIED)))
    for title, pair in own_simulated_pairs(words, few, uniform_pair(few, k)).items():
        try:
            _try(few, pair)
        except AltMarlError as cause:
            raise ArgumentError(f"rule {title}: {cause}") from cause


def _try(game: SimulatedGame, pair: SimulatedPair) -> None:
    """Play a step; local actions are looked at before moves and rewards read them."""
    luck = torch.Generator().manual_seed(0)
    s_g, s_l = game.start(2, game.n, luck)
    a_l = pair.local_actions(s_l, beside(s_g, s_l), luck)
    if isinstance(a_l, torch.Tensor) and bool(outside(game.local_action, a_l).any()):
        raise PolicyError(f"a_l holds an action that is not of {game.local_action}")
    list(play(game, pair, 2, 1, np.random.SeedSequence(0)))
