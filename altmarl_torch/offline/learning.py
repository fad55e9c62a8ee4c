"""A pair of policies from data alone: off-policy Q-hat_k learning (Appendix E), packed like any other solution.

The global agent's policy is greedy in the Q that was learned from the trajectories, by tables
(`offline.q_learning`, Eq. 46) or by a network (`offline.fitted_q`). The local
policy is the one *that was logged*,

    pi_l(a_l | s_l, s_g) = how often a_l was taken among the times that an agent was in s_l under s_g,

uniform where an agent never was: Eq. 46 does not change it, and learns the best response **to it**.  If local agents
explored, then pi_g is the best response to exploring local agents, and these are what the pair plays.

The greedy action is taken among those that the data try in (s_g, h); where a state was never left, every action is
alike, since nothing is known of them. A network answers everywhere.

**How long tables learn.** By default until nothing is left to learn: to what replay of the data tends, the fixed point
of the game counted from them (`replay`). With a step size or a number of passes Eq. 46 is followed as printed; where
the bound on what is left to this fixed point is more than 5 % of the span of values, a warning tells it. Q starts at
the mean of the rewards, for ever (at 0 in `q_learning`), and a state that no step left is worth that: an offset of the
rewards changes nothing.

**What the pair is worth.**  `value` is the mean of max_a Q over the first states of the log, in units of value: an
estimate, of the k-agent game, with a bias upwards where data are few (a maximum of noisy numbers). What it earns with
n agents can be measured in a game only. `game_of_data` counts one from the same data; its kernels are estimates,
filled in by a weak prior where the data show nothing, and returns in it are returns *in the game counted from the log*.
"""

import dataclasses
import logging
import time
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.alternation.solution_files import table_of
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.offline.fitted_game import estimate
from altmarl_torch.offline.fitted_q import LEARNING_RATE, FittedQ, fitted_q
from altmarl_torch.offline.q_learning import Learned, Polynomial, StepSize, q_learning, replay_to_the_end
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.policies.tabular import greedy_actions, one_hot
from altmarl_torch.support.tables import as_seed, check_entries, check_kind
from altmarl_torch.support.torch_state import door

__all__ = ["SMOOTHING", "check_same_sizes", "game_of_data", "learn_from_data", "logged_policy"]

SMOOTHING = 1e-3
"""Pseudo-counts per next state of the game that is counted from data."""

PASSES = 5
"""How often tables go through the data where a step size is given, and no number of passes."""

NEAR = 0.05
"""Error of a table, relative to the span of its values, from which on a warning tells of it."""

logger = logging.getLogger(__name__)

Learner = Literal["tabular", "neural"]


@door
def learn_from_data(
    data: Trajectories,
    *,
    solver: Learner = "tabular",
    step_size: StepSize | None = None,
    passes: int | None = None,
    seed: int = 0,
) -> Solution:
    """Learn the global agent's best response to the logged local policy, without a game (module docstring).

    Args:
        data: what a behaviour policy did, with k agents followed.
        solver: tables over the counts (Eq. 46), or a network on them.
        step_size: of tables, a constant alpha or a schedule of Eq. 46 (None: Polynomial()); of networks, Adam's (None:
            2e-3).
        passes: how often the data are gone through. None: tables until replay changes nothing any more, or 5 times
            where a step size is given; networks as often as 2000 gradient steps do.
        seed: of the network's training. Tables draw nothing.

    Raises:
        ArgumentError: an argument is outside its range.
        LearningError: a network's loss is not finite.
        SizeError: the counts of k agents are too many for tables.

    Examples:
        >>> import altmarl_torch as am
        >>> data = am.collect(am.games.steer(), k=2, steps=2_000)
        >>> am.learn_from_data(data).sample_size
        2
    """
    check_kind("data", data, Trajectories, "`collect` makes them")
    seed, started = as_seed(seed), time.perf_counter()
    if solver == "tabular":
        learned = _learn_table(data, step_size, passes)
        return _solution(data, solver, seed, started, _mean_best(data, learned), pi_g=_greedy_where_tried(learned))
    if solver != "neural":
        raise ArgumentError(f"solver must be one of tabular, neural; not {solver!r}")
    if step_size is None:
        step_size = LEARNING_RATE
    if isinstance(step_size, bool) or not isinstance(step_size, int | float):
        raise ArgumentError(f"step_size of networks must be a number, Adam's step size, not {step_size!r}")
    found = fitted_q(data, learning_rate=step_size, passes=passes, seed=seed)
    return _solution(data, solver, seed, started, _mean_best_fitted(data, found), fitted=found)


def _learn_table(data: Trajectories, step_size: StepSize | None, passes: int | None) -> Learned:
    """Q by Eq. 46 as asked for, or what it tends to; a warning tells of a table that is far from that.

    It is learned from rewards less their mean, so that what was not met is worth the mean, whatever their offset.
    """
    mean = float(data.rewards.mean())
    centred = dataclasses.replace(data, r_g=data.r_g - mean)
    if step_size is None and passes is None:
        return _lifted(replay_to_the_end(centred), mean / (1 - data.gamma))
    size = Polynomial() if step_size is None else step_size
    learned = q_learning(centred, step_size=size, passes=PASSES if passes is None else passes)
    learned = _lifted(learned, mean / (1 - data.gamma))
    met = learned.Q[learned.visits > 0]
    if learned.error > NEAR * float(met.max() - met.min()):
        told = "Q may be %.3g off the fixed point of these data, whose Q is now %.3g to %.3g: %s"
        more = "make more passes, or leave passes and step_size to their defaults, which go to the end"
        logger.warning(told, learned.error, met.min(), met.max(), more)
    return learned


def _lifted(learned: Learned, by: float) -> Learned:
    """The same, with values of entries that were met higher by a number."""
    return dataclasses.replace(learned, Q=torch.where(learned.visits > 0, learned.Q + by, learned.Q))


def logged_policy(data: Trajectories) -> Tensor:
    """The local policy of the data, `[sl, sg, al]`: frequencies of a_l given (s_l, s_g), uniform where never seen."""
    shape = (data.num_sl, data.num_sg, data.num_al)
    check_entries("pi_l", *shape)
    sg = np.broadcast_to(data.s_g[:, :-1, None], data.a_l.shape)
    place = np.ravel_multi_index((data.s_l[:, :-1].ravel(), sg.ravel(), data.a_l.ravel()), shape)
    counts = torch.from_numpy(np.bincount(place, minlength=int(np.prod(shape))).reshape(shape)).double()
    total = counts.sum(-1, keepdim=True)
    return torch.where(total > 0, counts / total.clamp_min(1), 1 / data.num_al)


def game_of_data(data: Trajectories) -> Game:
    """The game counted from the data, with a weak prior where they show nothing (`offline.fitted_game`)."""
    sizes = {name: getattr(data, name) for name in ("num_sg", "num_sl", "num_ag", "num_al")}
    return estimate(
        data.transitions(), gamma=data.gamma, n=data.n, smoothing=SMOOTHING, name=f"{data.name}, counted", **sizes
    ).game


def check_same_sizes(data: Trajectories, game: Game) -> None:
    """Raise an ArgumentError unless the game has as many states and actions as the data."""
    for name in ("num_sg", "num_sl", "num_ag", "num_al"):
        if getattr(data, name) != getattr(game, name):
            raise ArgumentError(f"the data have {name} = {getattr(data, name)}, the game {getattr(game, name)}")


def _greedy_where_tried(learned: Learned) -> Tensor:
    """Greedy among the actions that were tried, uniform in states that were never left: `[sg, N, ag]`."""
    tried = learned.visits > 0
    known = tried.any(-1, keepdim=True)
    lowest = learned.Q.min() - 1.0
    actions = greedy_actions(torch.where(tried, learned.Q, lowest))
    return torch.where(known, one_hot(actions, tried.shape[-1]), 1 / tried.shape[-1])


def _mean_best(data: Trajectories, learned: Learned) -> float:
    """The mean over the first states of max Q, over the actions that were tried there: each was left at least once."""
    best = learned.Q.masked_fill(learned.visits == 0, -torch.inf).amax(-1)
    return float(best.flatten()[torch.from_numpy(data.states[:, 0])].mean())


def _mean_best_fitted(data: Trajectories, fitted: FittedQ) -> float:
    Q = fitted.values(torch.from_numpy(data.counts[:, 0]))
    return float(Q[torch.arange(len(Q)), torch.from_numpy(data.s_g[:, 0]).long()].amax(-1).mean())


def _solution(
    data: Trajectories,
    solver: Learner,
    seed: int,
    started: float,
    value: float,
    pi_g: Tensor | None = None,
    fitted: FittedQ | None = None,
) -> Solution:
    """The pair: there was one proposal and nothing to compare it with, so the history is empty and no eta was used."""
    if fitted is not None:
        pi_g = table_of(fitted.policy, CountSimplex(data.k, data.num_sl))
    return Solution(
        k=data.k,
        pi_g=pi_g,
        pi_l=logged_policy(data),
        value=value,
        eta=0.0,
        eta_paper=0.0,
        history=(),
        converged=False,
        solver=solver,
        seed=seed,
        game_name=data.name,
        phase_seconds={"g_learn": time.perf_counter() - started},
        policy=None if fitted is None else fitted.policy,
    )
