"""Policies that need no learning: the yardsticks of the result table.

A learned pair is worth its training only if it beats what one would write down by hand. This module holds such hands,
for the global agent (rules) and for the local agents (walkers), and a few pairs of them.

Rules: laws of a_g given (s_g, h), h the counts of the k sampled agents
-----------------------------------------------------------------------
=========  ============================================================================================================
uniform    every action with probability 1 / |A_g|: Algorithm 3's start
hold       argmax_a P_g(s_g | s_g, a): keeps s_g where it is; looks at no sample, so it earns the same at every k
greedy     argmax_a r_g(s_g, a): the best reward now, blind to where it leads; looks at no sample either
mode       (argmax_z h(z)) mod |A_g|: steer to where most of the sampled agents are (Figure 4's "true mode", estimated)
sticky     as `hold`, until max_z h(z) >= 2 h(s_g mod |S_l|); then as `mode`: follows a crowd that is clearly larger
=========  ============================================================================================================

`mode`, `sticky` and the walker `walk` read s_g and a_g as local states. Where these are not the same things
(`games.naming`: places) they mean nothing, and the result table has "hold + greedy" and "greedy + greedy" in their
place. (`policies.walkers` has the laws of a_l.)

`sticky` is what a good dispatcher of the warehouse does in one line: a switch costs the walk to the new zone, and a
sample of k shows majorities that are not there. Its factor was chosen among 1 (which is `mode`), 1.5, 2 and 3 by the
return of "sticky + walk" on warehouses (750 episodes, seed 0, standard errors 0.3 to 0.5):

=====  ====  =====  =====  ========  =====  =====
zones  k     hold   mode   1.5       2      3
=====  ====  =====  =====  ========  =====  =====
5      20    160.4  153.7  165.6     168.0  168.6
5      50    160.4  166.4  170.4     170.7  169.9
10     50    130.1  134.8  141.3     141.9  141.2
20     100   108.9  114.3  118.7     119.1  118.7
=====  ====  =====  =====  ========  =====  =====

At k of 10 and less a majority of 2 to 1 is noise still (five zones, k = 5: 134.7, and 153.1 with the factor 3); at
k = 1 every factor gives `mode`.

The best fixed actions
----------------------
"constant + constant" is the one pair of actions (a_g, a_l) that earns most when everybody repeats it for ever: the best
fixed schedule, and the yardstick of games whose states are no places to walk to. Nobody looks at anything, so that an
agent's state and s_g are a Markov chain, whatever n is. Its law rho_t [sg, sl] is pushed forward from the initial law,

    J(a_g, a_l) = sum_t gamma^t sum_{sg, sl} rho_t(sg, sl) (r_g(sg, a_g) + r_l(sl, sg, a_l)),

for all pairs, until gamma^t is below 1e-4, or `MOST_STEPS` or `MOST_WORK` is reached.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.games.types import fold_types
from altmarl_torch.policies.answers import RuleDispatcher
from altmarl_torch.policies.base import Dispatcher, Rule, Sight
from altmarl_torch.policies.tabular import greedy_actions, one_hot
from altmarl_torch.policies.walkers import WALKERS
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_integer, check_indices, refuse_booleans

__all__ = [
    "NEVER_LOOK",
    "RULES",
    "WALKERS",
    "ActionRule",
    "HeuristicPair",
    "Rule",
    "RuleDispatcher",
    "constant_pair",
    "constant_values",
    "heuristic_pair",
    "heuristic_pairs",
    "pair_word",
    "table",
]

CLEARLY_MORE = 2
"""How many times the agents at s_g mod |S_l| the sample's mode must hold before `sticky` follows it."""

MOST_STEPS = 10_000
"""How many steps ahead fixed actions are compared at most: gamma close to 1 would ask for more."""

MOST_WORK = 10**11
"""Multiplications at most for the same: about a minute's. Games of hundreds of states reach it first."""


@dataclass(frozen=True, eq=False)
class ActionRule:
    """A rule whose action is certain (`CertainRule`).

    Attributes:
        choose: from s_g `[...]` and counts `[..., sl]` to a_g `[...]`, int64.
        num_ag: how many actions there are.
    """

    choose: Callable[[Tensor, Tensor], Tensor]
    num_ag: int

    def __call__(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The law, one-hot: `[..., ag]`, float64."""
        return one_hot(self.choose(s_g, counts), self.num_ag)


def _check_arguments(game: Game, s_g: Tensor, counts: Tensor) -> None:
    """Refuse states and counts that are none of the game's: a state -1 is not the last one."""
    check_indices("s_g", s_g, game.num_sg)
    refuse_booleans("counts", counts, ArgumentError)
    if counts.shape != (*s_g.shape, game.num_sl) or bool((counts < 0).any()):
        shape = f"[..., {game.num_sl}] with the axes of s_g {list(s_g.shape)}"
        raise ArgumentError(f"counts must be numbers of at least 0, {shape}; not of shape {list(counts.shape)}")


def _choosing(make: Callable[[Game], Rule]) -> Callable[[Game], ActionRule]:
    """The rules that are certain of the actions that `make` gives, with their arguments checked."""

    @functools.wraps(make)
    def made(game: Game) -> ActionRule:
        inner = make(game)

        def choose(s_g: Tensor, counts: Tensor) -> Tensor:
            _check_arguments(game, s_g, counts)
            return inner(s_g, counts)

        return ActionRule(choose, game.num_ag)

    return made


def uniform_rule(game: Game) -> Rule:
    """Every global action alike."""
    law = torch.full((game.num_ag,), 1.0 / game.num_ag, dtype=torch.float64, device=game.device)

    def rule(s_g: Tensor, counts: Tensor) -> Tensor:
        _check_arguments(game, s_g, counts)
        return law.expand(*s_g.shape, -1)

    return rule


@_choosing
def hold_rule(game: Game) -> Rule:
    """Keep s_g: argmax_a P_g(s_g | s_g, a)."""
    actions = greedy_actions(game.P_g.diagonal(dim1=0, dim2=2).T)  # diagonal [ag, sg] -> P_g(s_g | s_g, a) as [sg, ag]
    return lambda s_g, counts: actions[s_g]


@_choosing
def greedy_rule(game: Game) -> Rule:
    """Take the best reward now: argmax_a r_g(s_g, a)."""
    actions = greedy_actions(game.r_g)
    return lambda s_g, counts: actions[s_g]


@_choosing
def mode_rule(game: Game) -> Rule:
    """Go to the most frequent state of the sample, ties to the smallest index, modulo |A_g|."""
    return lambda s_g, counts: fold_types(counts, game.num_types).argmax(-1) % game.num_ag


@_choosing
def sticky_rule(game: Game) -> Rule:
    """Keep s_g, until the sample's mode holds `CLEARLY_MORE` times as many agents as s_g mod |S_l|; then go there."""
    hold = hold_rule(game).choose

    def choose(s_g: Tensor, counts: Tensor) -> Tensor:
        places = fold_types(counts, game.num_types)
        here = places.gather(-1, (s_g % places.shape[-1]).unsqueeze(-1)).squeeze(-1)
        most, mode = places.max(-1).values, places.argmax(-1)
        return torch.where(most >= CLEARLY_MORE * here, mode % game.num_ag, hold(s_g, counts))

    return choose


RULES: dict[str, Callable[[Game], Rule]] = {
    "uniform": uniform_rule,
    "hold": hold_rule,
    "greedy": greedy_rule,
    "mode": mode_rule,
    "sticky": sticky_rule,
}
FOR_PLACES = (("uniform", "uniform"), ("hold", "walk"), ("mode", "walk"), ("sticky", "walk"))
FOR_ANY = (("uniform", "uniform"), ("hold", "greedy"), ("greedy", "greedy"))
"""Rules and walkers of the result table, where states are places and elsewhere."""

NEVER_LOOK = ("hold + walk", "hold + greedy", "greedy + greedy", "constant + constant")
"""Those that need no sample: they earn the same at every k."""


@dataclass(frozen=True, eq=False)
class HeuristicPair:
    """A named rule next to a named walker; a `PolicyPair`.

    Attributes:
        name: "rule + walker", for instance "mode + walk".
        k: how many local agents the rule sees.
        rule: law of a_g given (s_g, counts).
        pi_l: [sl, sg, al], the walker's table.
    """

    name: str
    k: int
    rule: Rule
    pi_l: Tensor  # [sl, sg, al]

    __repr__ = brief

    def dispatcher(self, seed: int = 0) -> Dispatcher:
        """A new dispatcher that plays `rule`."""
        num_sl, num_sg, _ = self.pi_l.shape
        return RuleDispatcher(self.rule, Sight(self.k, num_sg, num_sl, self.pi_l.device), seed)


def heuristic_pair(game: Game, k: int, rule: str, walker: str) -> HeuristicPair:
    """The pair "rule + walker" of the two registries, seeing k local agents.

    Raises:
        ArgumentError: no such rule or walker (the message lists them), or k outside 1..n.
    """
    check_game(game, "a rule written by hand")
    game.check_k(k)
    if str(rule) not in RULES or str(walker) not in WALKERS:
        raise ArgumentError(f"no pair '{rule} + {walker}': rules are {', '.join(RULES)}; walkers {', '.join(WALKERS)}")
    return HeuristicPair(f"{rule} + {walker}", k, RULES[rule](game), WALKERS[walker](game))


def heuristic_pairs(game: Game, k: int) -> dict[str, HeuristicPair]:
    """The yardsticks of the result table, by name: chance, what means something in this game, and the best constants.

    Where states are places: two that never look, two that follow their sample; elsewhere two that see the next reward.
    """
    check_game(game)
    chosen = FOR_PLACES if game.has_places else FOR_ANY
    pairs = [heuristic_pair(game, k, rule, walker) for rule, walker in chosen] + [constant_pair(game, k)]
    return {pair.name: pair for pair in pairs}


def constant_pair(game: Game, k: int, actions: tuple[int, int] | None = None) -> HeuristicPair:
    """Everybody repeats one action for ever: the pair (a_g, a_l) given, or the best one (module docstring).

    Raises:
        ArgumentError: k is outside 1..n, or an action is none of the game's.
    """
    check_game(game, "a rule written by hand")
    best = divmod(int(constant_values(game).argmax()), game.num_al) if actions is None else actions
    a_g = as_integer("a_g", best[0], 0, game.num_ag - 1, ArgumentError)
    a_l = as_integer("a_l", best[1], 0, game.num_al - 1, ArgumentError)
    always = torch.full_like(game.r_l[..., 0], a_l)
    rule = ActionRule(lambda s_g, counts: torch.full_like(s_g, a_g), game.num_ag)
    name = "constant + constant" if actions is None else f"constant {a_g} + constant {a_l}"
    pi_l = one_hot(always.long(), game.num_al)
    return HeuristicPair(name, game.check_k(k), rule, pi_l)


def constant_values(game: Game) -> Tensor:
    """What every pair of actions earns that is repeated for ever: `[ag, al]`, for any n (module docstring)."""
    P_g, P_l = game.P_g.transpose(0, 1), game.P_l.permute(2, 1, 0, 3)  # [ag, sg, sg'], [al, sg, sl, sl']
    reward = game.r_g.T[:, None, :, None] + game.r_l.permute(2, 1, 0)[None]  # [ag, al, sg, sl]
    law = game.initial.sg[:, None] * game.initial.local_mean  # [sg, sl]
    law = law.expand(game.num_ag, game.num_al, -1, -1)
    total, discount = torch.zeros_like(reward[..., 0, 0]), 1.0
    steps = MOST_WORK // (reward.numel() * (game.num_sl + game.num_sg))
    for _ in range(min(MOST_STEPS, max(1, steps))):
        total = total + discount * (law * reward).sum((-1, -2))
        discount *= game.gamma
        if discount < 1e-4:
            break
        moved = torch.einsum("axgl,xglL->axgL", law, P_l)
        law = torch.einsum("axgL,agG->axGL", moved, P_g)
    return total


def pair_word(name: str) -> str:
    """A pair's name as part of a tag or a column: `"hold + walk"` is `hold_walk`."""
    return name.replace(" + ", "_")


def table(game: Game, rule: Rule, simplex: CountSimplex) -> Tensor:
    """A rule as pi_g [sg, N, ag] over the counts of `simplex`, for exact evaluation."""
    s_g = torch.arange(game.num_sg, device=game.device).unsqueeze(-1).expand(-1, simplex.size)
    counts = simplex.counts.to(game.device).expand(game.num_sg, -1, -1)
    return rule(s_g, counts).contiguous()
