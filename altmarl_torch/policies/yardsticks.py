"""What a learned pair has to beat: the heuristics of every game, and the rules that people write by hand for this one.

`heuristic_pairs` knows nothing of a game but its tables. Where the states have a meaning, people who run such
systems have rules of their own, and a learned pair that loses to them is worth nothing. `OWN` keeps those rules by the
name of the game; `yardsticks` puts both together, for the result table of a run.

**smart_grid** (`games.smart_grid`; s_g = 2 x + e, stress x, curtailment e). All loads follow a thermostat: on while
they are warmer than the comfort band. The coordinator

=========  ============================================================================================================
never      never interrupts them
alert      interrupts them while there is any stress, x > 0
emergency  interrupts them while stress is at its highest level
sparing    as `emergency`, unless more than half of the sampled loads are in the two hottest bands
=========  ============================================================================================================

`sparing` was chosen by its return among twelve of its kind: from x > 0 on, or at the highest level only; hot when in
the hottest band, or in one of the two; hot loads more than a quarter, half or three quarters (51.76 at k = 10, the next
51.75 and 51.73, standard error 0.10; the best from x > 0 on 50.68; `python benchmarks/smart_grid.py rules --k 10
--episodes 2000`). A thermostat that begins within the comfort band earns 0.05 to 0.12 less with all that wait for the
highest level.

**federated** (`games.federated`; s_g: nobody, a quarter or all are averaged in a round; local steps: none, few, many):

=========  ============================================================================================================
alternate  everybody makes many steps and all are averaged in every second round, and nothing is done in between
=========  ============================================================================================================
"""

from collections.abc import Callable

import torch
from torch import Tensor

from altmarl_torch.games.game import Game
from altmarl_torch.games.named.smart_grid import COMFORT_BAND
from altmarl_torch.policies.rules import HeuristicPair, Rule, heuristic_pairs
from altmarl_torch.policies.tabular import deterministic_local, one_hot

__all__ = ["OWN", "yardsticks"]

HOT_BANDS = 2
"""How many of the hottest bands `sparing` counts."""


def yardsticks(game: Game, k: int) -> dict[str, HeuristicPair]:
    """The heuristic pairs that see k local agents, by name, and the game's own rules after them.

    A game that only has the name of one in `OWN`, and other sizes, has no rules of its own.

    Raises:
        ArgumentError: `game` is none, or k is outside 1..n.
    """
    pairs = heuristic_pairs(game, k)
    own = OWN[game.name](game, k) if game.name in OWN else []
    return pairs | {pair.name: pair for pair in own}


def _smart_grid(game: Game, k: int) -> list[HeuristicPair]:
    """Thermostats, and a coordinator who looks at the stress."""
    if game.num_ag != 2 or game.num_al != 2 or game.num_sg % 2 or game.num_sl <= COMFORT_BAND + 1:
        return []
    highest = game.num_sg // 2 - 1
    rules: dict[str, Rule] = {
        "never": lambda s_g, counts: _curtail(torch.zeros_like(s_g, dtype=torch.bool)),
        "alert": lambda s_g, counts: _curtail(s_g // 2 > 0),
        "emergency": lambda s_g, counts: _curtail(s_g // 2 == highest),
        "sparing": lambda s_g, counts: _curtail((s_g // 2 == highest) & ~_mostly_hot(counts)),
    }
    warmer = torch.arange(game.num_sl, device=game.device) > COMFORT_BAND
    thermostat = deterministic_local(warmer[:, None].expand(-1, game.num_sg).long(), 2)
    return [HeuristicPair(f"{name} + thermostat", k, rule, thermostat) for name, rule in rules.items()]


def _federated(game: Game, k: int) -> list[HeuristicPair]:
    """Work and average in every second round; s_g tells which it is."""
    if (game.num_sg, game.num_ag, game.num_al) != (3, 3, 3):
        return []
    most = 2  # of the three modes, and of the three numbers of steps
    works = torch.arange(3, device=game.device) == most
    steps = deterministic_local((most * works.long()).expand(game.num_sl, -1), 3)
    return [HeuristicPair("alternate + alternate", k, lambda s_g, counts: one_hot(most * (s_g == 0).long(), 3), steps)]


def _curtail(when: Tensor) -> Tensor:
    """The law of a_g `[..., ag]` that interrupts `when [...]` says so."""
    return one_hot(when.long(), 2)


def _mostly_hot(counts: Tensor) -> Tensor:
    """Whether more than half of `counts [..., sl]` are in the hottest bands."""
    return 2 * counts[..., -HOT_BANDS:].sum(-1) > counts.sum(-1)


OWN: dict[str, Callable[[Game, int], list[HeuristicPair]]] = {"smart_grid": _smart_grid, "federated": _federated}
"""The rules that belong to one game, by its name."""
