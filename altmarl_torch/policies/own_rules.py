"""A rule of one's own as a yardstick: `--rule my_rules.py:follow`, measured beside what is learned.

The file holds a function of the global agent, and perhaps one of the local agents:

    def follow(s_g, counts):            # an int, and the sampled agents in each local state, a list of ints
        return 1 if counts[2] > counts[0] else 0                # an action a_g, or a law of all actions

    def work(s_l, s_g):                                         # an action a_l, or a law of all actions
        return 0

=====================================  ================================================================================
`my_rules.py:follow`                   `follow` next to the *learned* local policy: what the learned coordinator adds
`my_rules.py:follow + work`            next to the function `work` of the same file
`my_rules.py:follow + stay`            next to a walker of `policies.walkers`: uniform, stay, greedy, walk
=====================================  ================================================================================

Several stand with commas between them. A rule has no memory: it is asked once for each (s_g, counts) that occurs.
"""

import functools
import numbers
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from altmarl_torch.errors import AltMarlError, ArgumentError
from altmarl_torch.games.from_file import is_function, own_functions
from altmarl_torch.games.game import Game
from altmarl_torch.policies.rules import HeuristicPair
from altmarl_torch.policies.tabular import uniform_local
from altmarl_torch.policies.walkers import WALKERS
from altmarl_torch.support.tables import as_law, as_table

__all__ = ["LEARNED", "check_rules", "own_pairs", "parts_of"]

LEARNED = "learned"
KEPT = 2**16
"""Answers of a rule that are kept."""


def own_pairs(words: str, game: Game, k: int, pi_l: Tensor) -> dict[str, HeuristicPair]:
    """The pairs that `words` name, by name ("follow + learned"); `pi_l [sl, sg, al]` is the learned local policy.

    Raises:
        ArgumentError: there is no such file or function, or what it returns is no action and no law.
    """
    pairs = [_own_pair(word.strip(), game, k, pi_l) for word in words.split(",")]
    found = {pair.name: pair for pair in pairs}
    if len(found) < len(pairs):
        raise ArgumentError(f"rule {words!r} names one pair twice")
    return found


def check_rules(words: str, game: Game, k: int) -> None:
    """Ask every rule once, so that what is wrong is said before anything is learned; errors as of `own_pairs`."""
    counts = torch.zeros(1, game.num_sl, dtype=torch.int64, device=game.device)
    counts[0, 0] = k
    for pair in own_pairs(words, game, k, uniform_local(game)).values():
        pair.rule(counts[:, 0] * 0, counts)


def parts_of(word: str) -> tuple[str, str]:
    """The function that a rule is, and the word for the local policy next to it."""
    name, _, walker = (part.strip() for part in word.partition("+"))
    if not is_function(name):
        raise ArgumentError(f"rule {word.strip()!r} is no function in a file, as my_rules.py:follow is")
    return name, walker or LEARNED


def _own_pair(word: str, game: Game, k: int, pi_l: Tensor) -> HeuristicPair:
    """One rule, and the local policy next to it."""
    name, walker = parts_of(word)
    own = [] if walker in (LEARNED, *WALKERS) else [walker]
    functions = own_functions(name, "rule", *own)
    if own:
        pi_l = _local_table(game, walker, functions[1])
    elif walker in WALKERS:
        pi_l = WALKERS[walker](game)
    title = name.rpartition(":")[2]
    return HeuristicPair(f"{title} + {walker}", k, _rule(game, title, functions[0]), pi_l)


def _rule(game: Game, title: str, function: Callable[..., Any]) -> Callable[[Tensor, Tensor], Tensor]:
    """The function as a law of a_g `[..., ag]` given s_g `[...]` and counts `[..., sl]`."""

    @functools.lru_cache(KEPT)
    def asked(s_g: int, *counts: int) -> Tensor:
        call = f"{title}(s_g={s_g}, counts={list(counts)})"
        return _as_law(call, function(s_g, list(counts)), game.num_ag)

    def rule(s_g: Tensor, counts: Tensor) -> Tensor:
        rows = torch.cat([s_g.unsqueeze(-1), counts.to(torch.int64)], -1).reshape(-1, 1 + counts.shape[-1])
        distinct, which = torch.unique(rows, dim=0, return_inverse=True)
        laws = torch.stack([asked(*row) for row in distinct.tolist()]).to(counts.device)
        return laws[which].reshape(*s_g.shape, -1)

    return rule


def _local_table(game: Game, title: str, function: Callable[..., Any]) -> Tensor:
    """The function as pi_l `[sl, sg, al]`."""
    rows = [
        [_as_law(f"{title}(s_l={s_l}, s_g={s_g})", function(s_l, s_g), game.num_al) for s_g in range(game.num_sg)]
        for s_l in range(game.num_sl)
    ]
    return torch.stack([torch.stack(row) for row in rows]).to(game.device)


def _as_law(call: str, answer: object, actions: int) -> Tensor:
    """What a rule answered as a law of its actions `[a]`."""
    wrong = f"{call} returned {answer!r}; expected an action in 0..{actions - 1}, or a law of {actions} numbers"
    if isinstance(answer, Tensor) or hasattr(answer, "tolist"):
        answer = answer.tolist()
    if isinstance(answer, numbers.Integral) and not isinstance(answer, bool):
        if not 0 <= int(answer) < actions:
            raise ArgumentError(wrong)
        law = torch.zeros(actions, dtype=torch.float64)
        law[int(answer)] = 1.0
        return law
    if not isinstance(answer, Sequence) or isinstance(answer, str) or len(answer) != actions:
        raise ArgumentError(wrong)
    try:
        return as_law("law", as_table("law", answer, "a", ArgumentError), "a", ArgumentError)
    except AltMarlError as cause:
        raise ArgumentError(f"{wrong}: {cause}") from cause
