"""Algorithm 4 (online execution) on counts: exact for any number of agents, at a cost that does not depend on it.

The process
-----------
At each step t = 0, .., T-1, with the k-subset Delta drawn uniformly from the n local agents (without replacement):

    look      h(z) = #{i in Delta : s_i = z}
    act       a_g ~ pi_g(. | s_g, h),     a_i ~ pi_l(. | s_i, s_g) for all i
    collect   R += gamma^t ( r_g(s_g, a_g) + (1/n) sum_i r_l(s_i, s_g, a_i) )                                   (Eq. 1)
    move      s_g' ~ P_g(. | s_g, a_g),   s_i' ~ P_l(. | s_i, s_g, a_i) for all i, under the *current* s_g   (Eq. 2, 3)

Counts are enough
-----------------
Write c(z) = #{i : s_i = z} for the whole population. Relabelling the agents changes none of the laws above, so (s_g, c)
is a Markov chain by itself and carries everything that is collected. Its moves have closed forms:

* Next counts: the c(u) agents in state u move independently with the law P_l_pi(. | u, s_g) of Eq. 5, so
  c' = sum_u Multinomial(c(u), P_l_pi(. | u, s_g)).
* The sample: h is multivariate hypergeometric, k balls out of an urn with c(z) of colour z. Both are drawn in
  `support.sampling`, at a cost that does not depend on n.
* The reward: given the counts, sum_i r_l has conditional mean sum_z c(z) r_l_pi(z, s_g) (Eq. 6). This mean is collected
  instead of a draw, so a stochastic pi_l earns the same expected return; a deterministic one, exactly what it earns.
  Where the game has laws of stochastic rewards (`games.reward_laws`) draws are collected: of r_g where that
  has a law, and where r_l has one, of the actions of pi_l, given where the agents go, and of the sum of r_l over
  those of each state and action.

Where agents do not answer, are replaced, or their number changes, `evaluation.fleet` says what comes in between.

The law of (s_g, c, a_g) is exactly that of simulating n agents one by one (the tests do so and compare). Per step and
episode the cost is O(|S_l|^2 + k log k), for n = 10 as for n = 10^9.

Estimates
---------
Episodes are independent: `mean` has standard error `sem` = std / sqrt(episodes). Stopping at T leaves out at most
gamma^T max|r| / (1 - gamma) of the infinite-horizon value. The start, the sampling, the moves of s_g, the moves of the
local agents and the dispatcher draw from five streams of their own (stochastic rewards, answers and turnover from
three more, which leave the others as they are), all derived from `seed`: two policies, or two n, under one seed meet
the same starts and, as far as their laws allow, the same luck, so that differences of returns have less noise than the
returns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from numpy.typing import ArrayLike
from torch import Tensor

from altmarl_torch.errors import ArgumentError, PolicyError, SizeError
from altmarl_torch.evaluation.fleet import Fleet, Sizes
from altmarl_torch.evaluation.records import Record, Rollouts
from altmarl_torch.games.crowd import crowd_rewards_along
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.games.reward_draws import RewardSampler
from altmarl_torch.games.tables import InducedTables
from altmarl_torch.policies.base import PolicyPair, check_pair, cumulative, draw
from altmarl_torch.support.sampling import Dealer, count_labels, distinct_labels, split, split_shares
from altmarl_torch.support.tables import as_integer, refuse_first
from altmarl_torch.support.threads import one_thread
from altmarl_torch.support.torch_state import door

__all__ = ["require_memory", "rollout", "visits"]

LABELS_PER_BLOCK = 2**20  # how many agents' numbers are drawn at once: 8 MiB of them
LARGEST_ROLLOUT = 10**8
"""Numbers that a rollout may keep at once: 800 MB of them."""


@one_thread()
@door
def rollout(
    game: Game,
    pair: PolicyPair,
    *,
    episodes: int = 750,
    horizon: int = 100,
    n: Sizes = None,
    seed: int = 0,
    answer_rate: float = 1.0,
    turnover: float = 0.0,
    newcomers: ArrayLike | Tensor | None = None,
) -> Rollouts:
    """Run Algorithm 4: `episodes` independent systems of `n` local agents for `horizon` steps.

    Args:
        game: the tables, gamma, the initial law, and n unless given.
        pair: k, pi_l [sl, sg, al] and a dispatcher that sees the counts of k sampled agents.
        episodes: number of independent episodes, at least 1.
        horizon: number of steps T, at least 1.
        n: population size instead of `game.n`, up to 10^9 and beyond at the same cost; or one for each step, of at
            least k agents (`evaluation.fleet`).
        seed: non-negative; equal seeds give identical results.
        answer_rate: chance in [0, 1] that an asked agent answers; each does so independently of the others.
        turnover: chance in [0, 1] that an agent leaves after a step, and is replaced.
        newcomers: law `[sl]` of those who join, by turnover or by schedule; None for the initial law's mean.

    Returns:
        Returns, their mean and standard error, how often the dispatcher chose the true mode, and the first episode.
        For a stochastic pi_l, the local part of each reward is its expectation given the counts (Eq. 6), unless r_l has
        a law: rewards with laws are drawn.

    Raises:
        GameError: a law of the caller's own draws a reward outside its bounds, or cannot draw sums of many; or r_g_mu
            raised, or is no finite number somewhere.
        ArgumentError: k > n, at one step of a schedule, or a number or law is out of range.
        PolicyError: the pair is no pair, pi_l is no local policy of this game, or pi_g has other states or actions.
        SizeError: more episodes or steps than fit in memory (`require_memory`).
    """
    check_game(game)
    check_pair("pair", pair)
    for name, value, least in (("episodes", episodes, 1), ("horizon", horizon, 1), ("seed", seed, 0)):
        as_integer(name, value, least, math.inf, ArgumentError)
    fleet = Fleet.of(game, pair.k, horizon, n, answer_rate, turnover, newcomers)
    require_memory(game.replace(n=fleet.largest), pair.k, episodes, horizon)
    game = game.replace(n=fleet.n)
    _check_pi_g(game, pair)
    induced, record = game.induced(pair.pi_l), Record.empty(game, episodes, horizon)
    tables, earn = _Tables.of(game, induced), _Earnings.of(game, pair.pi_l, induced, seed)
    for t, (s_g, counts, a_g, flows) in enumerate(_steps(game, pair, tables, fleet, episodes, seed)):
        record.add(t, s_g, a_g, counts, *earn(s_g, a_g, counts, flows))
    return record.finish(game, pair.k, seed)


@one_thread()
def visits(
    game: Game, pair: PolicyPair, *, episodes: int = 300, horizon: int = 100, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The states that the n-agent system goes through: s_g `[T, episodes]`, counts `[T, episodes, sl]` (float64).

    Arguments and errors as in `rollout`; the episodes are the same as there.
    """
    fleet = Fleet.of(game, pair.k, horizon, None, 1.0, 0.0, None)
    met = list(_steps(game, pair, _Tables.of(game, game.induced(pair.pi_l)), fleet, episodes, seed))
    return torch.stack([s_g for s_g, *_ in met]), torch.stack([counts for _, counts, *_ in met])


def _steps(
    game: Game, pair: PolicyPair, tables: "_Tables", fleet: Fleet, episodes: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """s_g [episodes], counts [episodes, sl], a_g [episodes], and the moves [episodes, sl, sl'], or None."""
    streams = _Streams.of(seed, game.device)
    dispatcher = pair.dispatcher(streams.dispatcher_seed)
    dispatcher.reset(episodes)
    s_g, counts = _start(game, episodes, streams.start)
    for t, labels in enumerate(_labels(fleet, episodes, pair.k, streams.sample)):
        seen = fleet.answers(count_labels(labels, counts, pair.k), streams.answers)
        a_g = _check_actions(game, dispatcher.act(s_g, seen))
        # Eq. 3: the agents move under the s_g they saw, not under the one that P_g is about to draw.
        flows = tables.dealer.flows(s_g, counts, streams.local_moves) if tables.keeps_flows else None
        yield s_g, counts, a_g, flows
        moved = tables.dealer.arrivals(s_g, counts, streams.local_moves) if flows is None else flows.sum(-2)
        counts = fleet.after(t, moved, streams.turnover)
        s_g = draw(tables.P_g_sums.index_select(0, s_g * game.num_ag + a_g), streams.global_moves)


def require_memory(game: Game, k: int, episodes: int, horizon: int) -> None:
    """Raise a SizeError where a rollout would keep more than 10^8 numbers at once.

    These are, for each episode, the counts, a return and the numbers of the sampled agents, and the trace at each step:
    episodes (min(k, n-k) + |S_l| + 1) + horizon (|S_l| + 3).
    """
    per_episode, per_step = min(k, game.n - k) + game.num_sl + 1, game.num_sl + 3
    if episodes * per_episode + horizon * per_step > LARGEST_ROLLOUT:
        raise SizeError(
            f"episodes = {episodes} and horizon = {horizon} are too many to keep: {per_episode} numbers per episode "
            f"and {per_step} per step make more than {LARGEST_ROLLOUT:,}; use fewer"
        )


def _check_pi_g(game: Game, pair: PolicyPair) -> None:
    """Where the pair shows its policy's sizes, or its table pi_g [sg, h, ag], these are the game's."""
    policy = getattr(pair, "policy", None)
    if policy is not None and hasattr(policy, "sizes"):  # whose table need not be made
        sizes = tuple(policy.sizes)
    elif isinstance(pi_g := getattr(pair, "pi_g", None), Tensor):
        sizes = pi_g.shape[0], pi_g.shape[-1]
    else:
        return
    if sizes != (game.num_sg, game.num_ag):
        wanted = f"[{game.num_sg}, h, {game.num_ag}]"
        raise PolicyError(f"pi_g has shape [{sizes[0]}, h, {sizes[1]}]; this game needs [sg, h, ag] = {wanted}")


def _check_actions(game: Game, a_g: Tensor) -> Tensor:
    """Refuse a dispatcher that answers with an action that the game does not have."""
    rule = f"the game's global actions are 0..{game.num_ag - 1}"
    refuse_first("a_g", a_g, "episode", (a_g < 0) | (a_g >= game.num_ag), rule, PolicyError)
    return a_g


def _seeds(seed: int) -> list[int]:
    """One for each source of chance: start, sample, either mover, dispatcher, rewards, answers, turnover."""
    seeds: list[int] = np.random.SeedSequence(seed).generate_state(8).tolist()  # the first six are those of (6)
    return seeds


@dataclass(frozen=True, eq=False)
class _Streams:
    """One generator per source of chance, so that a change in one leaves the others' draws alone."""

    start: torch.Generator
    sample: torch.Generator
    global_moves: torch.Generator
    local_moves: torch.Generator
    answers: torch.Generator
    turnover: torch.Generator
    dispatcher_seed: int

    @classmethod
    def of(cls, seed: int, device: torch.device) -> "_Streams":
        seeds = _seeds(seed)
        names = ("start", "sample", "global_moves", "local_moves", "dispatcher", "rewards", "answers", "turnover")
        streams = {
            name: torch.Generator(device=device).manual_seed(one)
            for name, one in zip(names, seeds, strict=True)
            if name not in ("dispatcher", "rewards")
        }
        return cls(dispatcher_seed=seeds[4], **streams)


@dataclass(frozen=True, eq=False)
class _Tables:
    """The game under pi_l, laid out so that one row per episode is what a step needs.

    Rows are fetched by `index_select`: advanced indexing wakes all threads for tables this small, which costs little
    on an idle machine and fifty times the step on a busy one.
    """

    P_g_sums: Tensor  # [(sg ag), sg'], running sums over s_g'
    dealer: Dealer  # of P_l_pi
    keeps_flows: bool  # whether rewards that are drawn ask who went where

    @classmethod
    def of(cls, game: Game, induced: InducedTables) -> "_Tables":
        dealer = Dealer(rearrange(induced.P_l_pi, "sl sg L -> sg sl L"))
        return cls(cumulative(game.P_g).flatten(0, 1), dealer, game.has_random_rewards)


@dataclass(frozen=True, eq=False)
class _Earnings:
    """What a step earns: expectations, or where the game has laws, draws."""

    game: Game
    local_means: Tensor  # [sg, sl], r_l_pi with a row for each s_g
    sampler: RewardSampler | None
    generator: torch.Generator

    @classmethod
    def of(cls, game: Game, pi_l: Tensor, induced: InducedTables, seed: int) -> "_Earnings":
        generator = torch.Generator(game.device).manual_seed(_seeds(seed)[5])
        sampler = game.reward_sampler(pi_l, induced) if game.has_random_rewards else None
        return cls(game, induced.r_l_pi.T.contiguous(), sampler, generator)

    def __call__(self, s_g: Tensor, a_g: Tensor, counts: Tensor, flows: Tensor | None) -> tuple[Tensor, Tensor]:
        """r_g `[episodes]`, and (1/n) sum r_l over the agents of each state `[episodes, sl]`."""
        occupation = counts / counts.sum(-1, keepdim=True)
        if self.sampler is None or flows is None:
            return self.globally(s_g, a_g, occupation), occupation * self.local_means.index_select(0, s_g)
        drawn = self.sampler.draw_moved(s_g, flows, self.generator) / counts.sum(-1, keepdim=True)
        seen = self.crowd(s_g, a_g, occupation)
        return self.sampler.draw_global(s_g, a_g, self.generator) + seen, drawn

    def globally(self, s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor:
        """r_g, and r_g_mu at frequencies mu `[episodes, sl]`: `[episodes]`."""
        return self.game.r_g[s_g, a_g] + self.crowd(s_g, a_g, mu)

    def crowd(self, s_g: Tensor, a_g: Tensor, mu: Tensor) -> Tensor | float:
        """r_g_mu; nothing where the game has none."""
        return 0.0 if self.game.r_g_mu is None else crowd_rewards_along(self.game.r_g_mu, s_g, a_g, mu)


def _start(game: Game, episodes: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """s_g(0) [episodes] and counts(0) [episodes, sl] ~ Multinomial(n, mu), with s_g(0) and mu from the initial law."""
    s_g = game.initial.sample_sg(episodes, generator)
    mu = game.initial.sample_mu(episodes, generator)
    everyone = torch.full((episodes, 1), float(game.n), dtype=torch.float64, device=game.device)
    return s_g, split(everyone, split_shares(mu).unsqueeze(1), generator)


def _labels(fleet: Fleet, episodes: int, k: int, generator: torch.Generator) -> Iterator[Tensor]:
    """The numbers of the sampled agents, step by step, whatever n is there."""
    for n, steps in fleet.runs():
        yield from _label_blocks(episodes, steps, k, n, generator)


def _label_blocks(episodes: int, horizon: int, k: int, n: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Sorted distinct agent numbers [episodes, min(k, n-k)], one tensor per step, drawn for many steps at once.

    Beyond n/2 the numbers of the agents *not* sampled are drawn: there are fewer of them, and collisions stay rare.
    """
    size = min(k, n - k)
    longest = max(1, LABELS_PER_BLOCK // (episodes * max(size, 1)))
    for start in range(0, horizon, longest):
        steps = min(longest, horizon - start)
        yield from distinct_labels(steps * episodes, size, n, generator).view(steps, episodes, size)
