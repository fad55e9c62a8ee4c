r"""The chained MDPs of L-LEARN (Algorithms 8 and 9) as sparse finite-horizon MDPs over reachable states.

    chained_mdp(game, pi_g, k, form="tuple", objective="team", horizon=10).optimal_value()

An episode has H macro steps, the rounds of an `EpisodicMDP`; the stages of a round, and what a state is, are those of
`chain_forms`. Here they are listed: from the start law on, stage by stage, the states that can follow are collected,
until a macro step adds none. Nothing is looped over but stages.

**Objectives.** In macro step t, with the factor gamma^t,

    own    r_l(s, s_g, a) of replica 1, or of the tagged agent, in stage 0: the paper's, without its factor 1/n, which
           changes no policy
    team   E r_g(s_g, a_g) in stage 0, and r_l(s, s_g, a)/k of whoever acts in each stage, times their number: their sum
           is the stage reward of the k-agent surrogate

**What the two forms share.** For k <= 2 their optimal values agree. For k >= 3 neither is always the larger: in
Algorithm 9 all companions in a bin take one action, which costs, but they act in the order of the bins, and who acts
last knows more, which may be worth more. (A *random* pi_l means different things, too: a bin draws once for all.) For a
deterministic pi_l both give its value on the surrogate, up to what the horizon cuts off (Lemma C.1).

A policy of the chain knows more than pi_l(s_l, s_g): the time, who has acted before, where everybody is. How it becomes
a pi_l is told in `projection`.
"""

import math
from dataclasses import dataclass
from typing import get_args

import torch
from torch import Tensor

from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import SizeError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.games.initial import InitialLaw
from altmarl_torch.learners.chains.episodic import EpisodicMDP, check_horizon, distinct, powers, starts_of
from altmarl_torch.learners.chains.forms import NOTHING_PENDING, Actors, ChainForm, MeanFieldForm, TupleForm
from altmarl_torch.learners.chains.literal_form import LiteralForm
from altmarl_torch.learners.chains.policies import pi_g_on_counts, pi_g_on_tuples
from altmarl_torch.learners.settings import Form
from altmarl_torch.operators.tuples import uses_tuples
from altmarl_torch.operators.words import Objective
from altmarl_torch.support.scalars import check_kind, check_word
from altmarl_torch.support.showing import brief
from altmarl_torch.theory import horizon_algorithm_2

__all__ = [
    "MOST_TRANSITIONS",
    "NOTHING_PENDING",
    "ChainedMDP",
    "about",
    "chain_form",
    "chained_mdp",
    "read_episode",
    "require_listed",
    "require_planned",
]

MOST_TRANSITIONS = 3 * 10**7
"""Chains of more transitions are not listed: 16 bytes each, and several times that while they are made."""

MOST_ROUNDS, MOST_POLICY_ENTRIES = 20_000, 10**8
"""Longer episodes take minutes for each plan, and larger policies a gigabyte."""


@dataclass(frozen=True, eq=False)
class ChainedMDP(EpisodicMDP):
    """An `EpisodicMDP` whose states are moments within a macro step.

    Attributes:
        form: "tuple" (Algorithm 8) or "mean-field" (Algorithm 9).
        objective: "team" or "own".
        stage: `[states]` int64, the stage pointer j.
        sg: `[states]` int64, the current global state.
        pending: `[states]` int64, the next global state once it is drawn, `NOTHING_PENDING` before.
        acting: `[states]` int64, the local state of whoever acts.
        acting_number: `[states]` int64, how many agents act: 1, or those in the bin.
        coordinates: for each stage, `[states of the stage, coordinates]` int64, as `chain_forms` tells.
    """

    form: str = ""
    objective: Objective = "team"
    stage: Tensor = None  # type: ignore[assignment]  # [states]
    sg: Tensor = None  # type: ignore[assignment]  # [states]
    pending: Tensor = None  # type: ignore[assignment]  # [states]
    acting: Tensor = None  # type: ignore[assignment]  # [states]
    acting_number: Tensor = None  # type: ignore[assignment]  # [states]
    coordinates: tuple[Tensor, ...] = ()

    __repr__ = brief

    def spread(self, pi_l: Tensor) -> Tensor:
        """The local policy `pi_l [sl, sg, al]` as a policy of the chain: laws `[states, actions]`."""
        return pi_l[self.acting, self.sg]


def chained_mdp(
    game: Game,
    pi_g: Tensor,
    k: int,
    form: Form = "paper",
    objective: Objective = "team",
    horizon: int | None = None,
    *,
    literal: bool = False,
    initial: InitialLaw | None = None,
) -> ChainedMDP:
    """The chain in which the local agents best-respond to `pi_g`.

    Args:
        game: the game.
        pi_g: law of a_g given (s_g, h), `[sg, N, ag]` over the counts of k agents in the order of `CountSimplex`; or
            given (s_g, s_1..s_k), `[sg, sl^k, ag]` in the order of `list_tuples`.
        k: how many local agents pi_g sees.
        form: "tuple" (Algorithm 8), "mean-field" (Algorithm 9), "paper" (its switch rule, |S_l|^k <= |S_l| k^|S_l|), or
            "auto" (fewer states).
        objective: "team", the reward of the game, or "own", that of one agent.
        horizon: H macro steps; that of Algorithm 2 by default.
        literal: whether Algorithm 9 keeps what it does not use again, as printed.
        initial: law of the first macro state; uniform (s_g, s_1..s_k) by default.

    Raises:
        ArgumentError: k, form, objective or horizon is none of these.
        PolicyError: pi_g has another shape, a row that is no law, or depends on the order of the agents.
        SizeError: the chain has more than `MOST_TRANSITIONS` transitions, or its episodes too many rounds.
    """
    rounds, start = read_episode(game, k, objective, horizon, initial)
    kind = chain_form(game, k, form, literal=literal)
    require_listed(kind, game, k)
    read = pi_g_on_tuples if kind is TupleForm else pi_g_on_counts
    return _chain(kind(game, read(game, pi_g, k), k), objective, rounds, start)


def read_episode(
    game: Game, k: int, objective: Objective, horizon: int | None, initial: InitialLaw | None
) -> tuple[int, InitialLaw]:
    """H and the law of the first macro state, for the arguments of `chained_mdp`, which are checked."""
    check_game(game, "the chained MDP")
    CountSimplex(game.check_k(k), game.num_sl).require_listed()
    check_word("objective", objective, get_args(Objective))
    rounds = check_horizon(horizon_algorithm_2(game, k) if horizon is None else horizon)
    if initial is not None:
        check_kind("initial", initial, InitialLaw)
    return rounds, (initial or InitialLaw.uniform(game.num_sg, game.num_sl)).to(game.device)


def chain_form(game: Game, k: int, form: Form, *, literal: bool = False) -> type[TupleForm] | type[MeanFieldForm]:
    """Which form a chain takes.

    Raises:
        ArgumentError: there is no such form.
    """
    check_word("form", form, get_args(Form))
    mean_field = LiteralForm if literal else MeanFieldForm
    if form == "auto":
        tuples = TupleForm.size(game, k)[0] <= mean_field.size(game, k)[0]
    else:
        tuples = uses_tuples(game.num_sl, k) if form == "paper" else form == "tuple"
    return TupleForm if tuples else mean_field


def require_listed(kind: type[TupleForm] | type[MeanFieldForm], game: Game, k: int) -> None:
    """Raise a SizeError, with its size, for a chain too large to list."""
    states, transitions = kind.size(game, k)
    if transitions > MOST_TRANSITIONS:
        raise SizeError(
            f"the {kind.name} chain of k = {k} agents has {about(states)} states and {about(transitions)} transitions; "
            f"at most {MOST_TRANSITIONS:,} transitions are listed: use a smaller k, another form, ChainSimulator, or "
            "l_learner='dp'"
        )


def require_planned(kind: type[TupleForm] | type[MeanFieldForm], game: Game, k: int) -> None:
    """Raise a SizeError for a chain too large to list, or, at Algorithm 2's H, too long to plan time and again."""
    require_listed(kind, game, k)
    rounds = horizon_algorithm_2(game, k)
    entries = rounds * kind.size(game, k)[0]
    if rounds > MOST_ROUNDS or entries > MOST_POLICY_ENTRIES:
        raise SizeError(
            f"the chain of k = {k} agents has H = {rounds:,} macro steps at gamma = {game.gamma:g}, and policies of "
            f"{about(entries)} entries; at most {MOST_ROUNDS:,} and {MOST_POLICY_ENTRIES:,} are planned: use a smaller "
            "gamma or k, or l_learner='dp'"
        )


def about(size: float) -> str:
    """A number of any size, to three digits."""
    return f"{size:.3g}" if size < 10**300 else f"about 10^{math.log10(size):,.0f}"


@dataclass(frozen=True, eq=False)
class _Links:
    """Where the states of one stage lead, in keys."""

    parents: Tensor  # [R] state within the stage
    keys: Tensor  # [R, C]
    law: Tensor  # [R, actions, C]


def _chain(form: ChainForm, objective: Objective, rounds: int, initial: InitialLaw) -> ChainedMDP:
    """List the reachable states and their transitions."""
    first, law = form.start(initial)
    first, law = first[law > 0], law[law > 0]
    keys, links = _reach(form, _encode(first, form.radices(0)))
    stage_start = [0]
    for stage in keys:
        stage_start.append(stage_start[-1] + len(stage))
    states = [_decode(key, form.radices(stage)) for stage, key in enumerate(keys)]
    actors = [form.actors(stage, part) for stage, part in enumerate(states)]
    rewards = [_rewards(form, objective, stage, states[stage], actors[stage]) for stage in range(form.num_stages)]
    start_law = law.new_zeros(stage_start[-1])
    start_law[torch.searchsorted(keys[0], _encode(first, form.radices(0)))] = law
    rows, successors, probabilities = _transitions(form.game.num_al, keys, links, stage_start)
    return ChainedMDP(
        row_start=starts_of(rows, stage_start[-1] * form.game.num_al),
        successors=successors,
        probabilities=probabilities,
        rewards=torch.cat(rewards),
        discounts=powers(form.game.gamma, rounds).to(law.device),
        start_law=start_law,
        stage_start=tuple(stage_start),
        form=form.name,
        objective=objective,
        stage=torch.cat([torch.full_like(key, stage) for stage, key in enumerate(keys)]),
        sg=torch.cat([part[:, 0] for part in states]),
        pending=torch.cat([part[:, 1] for part in states]),
        acting=torch.cat([part.sl for part in actors]),
        acting_number=torch.cat([part.number for part in actors]),
        coordinates=tuple(states),
    )


def _reach(form: ChainForm, first: Tensor) -> tuple[list[Tensor], list[list[_Links]]]:
    """The sorted keys of each stage's reachable states, and their links: macro steps, until one adds no state."""
    start = distinct(first)
    while True:
        keys, links = [start], []
        for stage in range(form.num_stages):
            following = form.radices((stage + 1) % form.num_stages)
            branches = form.branch(stage, _decode(keys[stage], form.radices(stage)))
            links.append([_Links(part.parents, _encode(part.following, following), part.law) for part in branches])
            keys.append(distinct(torch.cat([part.keys[(part.law > 0).any(1)] for part in links[stage]])))
        reached = distinct(torch.cat([start, keys.pop()]))
        if len(reached) == len(start):
            return keys, links
        start = reached


def _transitions(
    num_actions: int, keys: list[Tensor], links: list[list[_Links]], stage_start: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Row, successor and probability of every transition, by row and successor."""
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for stage, parts in enumerate(links):
        after = (stage + 1) % len(keys)
        triples = []
        for part in parts:
            parent, action, successor = (part.law > 0).nonzero().unbind(-1)
            rows = (part.parents[parent] + stage_start[stage]) * num_actions + action
            place = torch.searchsorted(keys[after], part.keys) + stage_start[after]
            triples.append((rows, place[parent, successor], part.law[parent, action, successor]))
        rows, successors, law = (torch.cat(column) for column in zip(*triples, strict=True))
        order = (rows * stage_start[-1] + successors).argsort()
        found.append((rows[order], successors[order], law[order]))
    rows, successors, law = (torch.cat(column) for column in zip(*found, strict=True))
    return rows, successors, law


def _rewards(form: ChainForm, objective: Objective, stage: int, states: Tensor, actors: Actors) -> Tensor:
    """R(s, a) in the states of a stage, `[states, actions]`."""
    own = form.game.r_l[actors.sl, actors.sg]
    if objective == "own":
        return own if stage == 0 else torch.zeros_like(own)
    share = own * (actors.number.double() / form.k).unsqueeze(-1)
    return share + form.global_reward(states).unsqueeze(-1) if stage == 0 else share


def _encode(states: Tensor, radices: tuple[int, ...]) -> Tensor:
    """One number for each state: its coordinates from `NOTHING_PENDING` on, in a mixed radix."""
    key = torch.zeros_like(states[..., 0])
    for column, radix in enumerate(radices):
        key = key * (radix + 1) + states[..., column] - NOTHING_PENDING
    return key


def _decode(keys: Tensor, radices: tuple[int, ...]) -> Tensor:
    """The states that have these numbers."""
    columns = []
    for radix in reversed(radices):
        columns.append(keys % (radix + 1) + NOTHING_PENDING)
        keys = keys // (radix + 1)
    return torch.stack(columns[::-1], -1)
