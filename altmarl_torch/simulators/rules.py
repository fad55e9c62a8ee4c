"""Rules written by hand for simulators: what a learned pair is measured beside.

The global ones read a `Binning` and take action j as "steer to cell j"; the local one reads by how much each action
moves an agent. A game that has `zones` and `offsets` gets the pairs of them (`heuristic_pairs`).
"""

import torch
from torch import Tensor

from altmarl_torch.errors import ArgumentError
from altmarl_torch.simulators.binning import Binning
from altmarl_torch.simulators.game import SimulatedGame
from altmarl_torch.simulators.pairs import GlobalRule, LocalRule, RulePair, SimulatedPair, uniform_pair
from altmarl_torch.support.tables import as_float64

__all__ = ["heuristic_pairs", "hold", "mode", "sticky", "walk"]


def hold(binning: Binning) -> GlobalRule:
    """Steer to the cell where s_g is: action j steers to cell j. Looks at no sample."""
    return lambda s_g, sample: binning.cell(s_g)


def mode(binning: Binning) -> GlobalRule:
    """Steer to the fullest cell of the sample, the smallest on ties."""
    return lambda s_g, sample: binning.counts(sample).argmax(-1)


def sticky(binning: Binning, factor: float = 2.0) -> GlobalRule:
    """Hold, unless the fullest cell of the sample has more than `factor` times the agents of the present one."""

    def rule(s_g: Tensor, sample: Tensor) -> Tensor:
        counts, here = binning.counts(sample), binning.cell(s_g)
        fullest = counts.argmax(-1)
        present = counts.gather(-1, here.unsqueeze(-1)).squeeze(-1)
        return torch.where(counts.amax(-1) > factor * present, fullest, here)

    return rule


def walk(offsets: object, feature: int = 0) -> LocalRule:
    """Walk to s_g: the action whose offset takes the agent's feature nearest to that of s_g, the first on ties.

    Args:
        offsets: `[al]`, by how much each action moves the agent on average.
        feature: which feature of both states is meant.
    """
    edges, actions = _nearest(as_float64("offsets", offsets, ArgumentError).float())

    def rule(s_l: Tensor, s_g: Tensor) -> Tensor:
        gap = s_g[..., feature] - s_l[..., feature]
        return actions.to(gap.device).take(torch.bucketize(gap, edges.to(gap.device)))

    return rule


def _nearest(steps: Tensor) -> tuple[Tensor, Tensor]:
    """Offsets `[al]` as edges, between which one of them is nearest, and its action in each cell; ties to the first.

    A cell holds its upper edge, so that an edge whose tie goes to the cell above lies a little lower.
    """
    ordered, actions = steps.sort(stable=True)
    first = torch.cat([steps.new_ones(1), ordered.diff()]) > 0  # of actions that move alike
    ordered, actions = ordered[first], actions[first]
    middles = (ordered[1:] + ordered[:-1]) / 2
    lower = torch.nextafter(middles, torch.full_like(middles, -torch.inf))
    return torch.where(actions[:-1] < actions[1:], middles, lower), actions


def heuristic_pairs(game: SimulatedGame, k: int) -> dict[str, SimulatedPair]:
    """The pairs of rules that can be written for a game, by name: "uniform + uniform", and, where the game has `zones`
    and `offsets`, "hold + walk", "mode + walk" and "sticky + walk".
    """
    pairs: dict[str, SimulatedPair] = {"uniform + uniform": uniform_pair(game, k)}
    if game.zones is not None and game.offsets is not None:
        follow = walk(game.offsets, game.zones.feature)
        leaders = {"hold": hold, "mode": mode, "sticky": sticky}
        pairs |= {f"{name} + walk": RulePair(k, rule(game.zones), follow) for name, rule in leaders.items()}
    return pairs
