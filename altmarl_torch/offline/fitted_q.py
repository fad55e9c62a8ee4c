r"""Off-policy Q-hat_k learning with a network, where no table holds the counts: fitted Q on stored transitions.

The network is the one of the neural solver (`networks.CountNetwork`, on the frequencies h/k); Eq. 46 is followed on
minibatches of stored transitions, drawn anew in each step, instead of one by one (replay):

    target    y = r + gamma max_a Q-(s_g', h', a),      Q- the running average of the network
    loss      mean square of y - Q(s_g, h, a_g) - d,      d its mean over the batch

and the running average, which no gradient moves, is what is returned: it is the target network too. A common offset of
all values, which takes 1/(1-gamma) sweeps to climb, is never learned (as in `fitting`): d takes it out of every target,
and at the end the mean of y - Q over all transitions, divided by 1 - gamma, is put back. Squares, not a loss milder to
outliers: Q is a mean, and where rewards are rare and large, outliers are what it is made of. Rewards are measured in
units of their standard deviation times the horizon.

The greedy policy maximises over *all* actions, and a network answers for those that the data never show as well: with
little exploration it may be drawn to what it has not seen. There is no guard against that; `coverage` tells.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from altmarl_torch.errors import ArgumentError, LearningError
from altmarl_torch.learners.neural.networks import CountNetwork
from altmarl_torch.learners.neural.policies import NetworkPolicy
from altmarl_torch.learners.neural.surrogate import LARGEST_VALUE, check_count
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.support.tables import as_integer, as_number, as_seed, check_entries, check_kind
from altmarl_torch.support.threads import one_thread

__all__ = ["FittedQ", "fitted_q"]

BATCH, AVERAGING = 512, 0.02
"""Transitions per gradient step; weight of the newest network in the running average."""

LEARNING_RATE, LAST_RATE = 2e-3, 0.02
"""Adam's step size, and what part of it is left at the end, to which it falls along a cosine."""

LEAST_STEPS = 2000
"""Gradient steps at least, however few the data."""

MOST_STEPS = 10**6


@dataclass(frozen=True, eq=False)
class FittedQ:
    """What was fitted.

    Attributes:
        policy: greedy in the network; ready to be a Solution's.
        offset: what all values lack: Q = offset + gamma scale network(h/k), gamma and scale the policy's.
        steps: gradient steps.
        loss: mean of the loss over the last tenth of them, in the network's units.
    """

    policy: NetworkPolicy
    offset: float
    steps: int
    loss: float

    @torch.no_grad()
    def values(self, counts: Tensor) -> Tensor:
        """Q `[b, sg, ag]`, float64, at counts `[b, sl]`."""
        unit = self.policy.gamma * self.policy.scale
        answers: Tensor = self.policy.network(self.policy.samples.inputs(counts.float()))
        return self.offset + unit * answers.double()


def fitted_q(
    data: Trajectories, *, learning_rate: float = LEARNING_RATE, passes: int | None = None, seed: int = 0
) -> FittedQ:
    """Fit Q-hat_k to trajectories (module docstring).

    Args:
        data: what a behaviour policy did.
        learning_rate: of Adam, at the beginning.
        passes: how often each transition is drawn, on average; None: as often as 2000 gradient steps draw it.
        seed: of the network's start and of the minibatches.

    Raises:
        ArgumentError: a number is outside its range, or rewards are too large for float32.
        LearningError: the loss is not finite.
        SizeError: the counts are too many to keep, float32 does not count to k, or the network would be too large.
    """
    check_kind("data", data, Trajectories, "`collect` makes them")
    check_count(data.k)
    check_entries("what a network reads of a batch", BATCH, data.num_sl)
    check_entries("what a network answers to a batch", BATCH, data.num_sg, data.num_ag)
    largest = float(np.abs(data.rewards - data.rewards.mean()).max()) / (1 - data.gamma)
    if not largest <= LARGEST_VALUE:
        raise ArgumentError(
            f"values of these data differ by up to {largest:.3g}; networks compute in float32 and need at most "
            f"{LARGEST_VALUE:g}: express the rewards in a larger unit"
        )
    rate = as_number("step_size", learning_rate, "(0, inf)", lambda x: 0 < x < math.inf, ArgumentError)
    steps = LEAST_STEPS
    if passes is not None:
        passes = as_integer("passes", passes, 1, max(1, MOST_STEPS * BATCH // data.a_g.size), ArgumentError)
        steps = -(-passes * data.a_g.size // BATCH)
    seeds = np.random.SeedSequence(as_seed(seed)).generate_state(2).tolist()
    weights, draws = (torch.Generator().manual_seed(number) for number in seeds)
    network = CountNetwork(data.num_sl, data.num_sg, data.num_ag, generator=weights)
    with one_thread():  # the tables are small: threads cost more than they give
        replay = _Replay(data)
    average, loss = _fit(network, replay, rate, steps, draws)
    return _result(data, average, replay.offset(average), steps, loss)


class _Replay:
    """The transitions, one per row, with rewards in the network's units."""

    def __init__(self, data: Trajectories) -> None:
        counts = torch.from_numpy(data.counts).float() / data.k  # [E, T + 1, sl]
        s_g = torch.from_numpy(data.s_g).long()
        self.gamma = data.gamma
        self.samples, kinds = torch.unique(counts.flatten(0, 1), dim=0, return_inverse=True)  # [kinds, sl]
        kinds = kinds.reshape(s_g.shape)
        self.before, self.after = kinds[:, :-1].flatten(), kinds[:, 1:].flatten()
        self.sg, self.sg_next = s_g[:, :-1].flatten(), s_g[:, 1:].flatten()
        self.ag = torch.from_numpy(data.a_g).long().flatten()
        mean, unit = _units(data)
        self.rewards = torch.from_numpy((data.rewards.ravel() - mean) / unit).float()

    def errors(self, network: nn.Module, target: nn.Module, rows: Tensor) -> Tensor:
        """y - Q(s_g, h, a_g) on some transitions `[b]`: the same."""
        with torch.no_grad():
            best = self._rows(target, self.after[rows], self.sg_next[rows]).amax(-1)
        found = self._rows(network, self.before[rows], self.sg[rows])
        errors: Tensor = self.rewards[rows] + self.gamma * best - found.gather(-1, self.ag[rows, None]).squeeze(-1)
        return errors

    def _rows(self, network: nn.Module, kinds: Tensor, s_g: Tensor) -> Tensor:
        """Answers `[b, ag]` to samples `[b]`; of few kinds each is asked about once, however many rows show it."""
        if len(self.samples) < len(kinds):
            few: Tensor = network(self.samples)
            return few[kinds, s_g]
        many: Tensor = network(self.samples[kinds])
        return many[torch.arange(len(s_g)), s_g]

    @torch.no_grad()
    def offset(self, network: nn.Module) -> float:
        """What all values of a network lack, if its errors are the same everywhere."""
        rows = torch.split(torch.arange(len(self.ag)), BATCH)
        errors = torch.cat([self.errors(network, network, part) for part in rows])
        return float(errors.double().mean()) / (1 - self.gamma)

    def loss(self, network: nn.Module, target: nn.Module, rows: Tensor) -> Tensor:
        """The loss on some transitions."""
        error = self.errors(network, target, rows)
        loss: Tensor = error.sub(error.detach().mean()).square().mean()
        return loss


def _fit(
    network: nn.Module, replay: _Replay, rate: float, steps: int, generator: torch.Generator
) -> tuple[nn.Module, float]:
    """Take the gradient steps: the running average, and the loss towards the end."""
    average = copy.deepcopy(network).eval()
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, LAST_RATE * rate)
    losses = []
    for step in range(steps):
        rows = torch.randint(len(replay.ag), (BATCH,), generator=generator)
        loss = replay.loss(network, average, rows)
        if not torch.isfinite(loss):
            raise LearningError(f"the loss is {loss.item()} after {step} gradient steps; use a smaller step size")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, AVERAGING)
        losses.append(loss.detach())
    return average, float(torch.stack(losses[-max(1, steps // 10) :]).mean())


def _units(data: Trajectories) -> tuple[float, float]:
    """The mean reward, and the unit of the network's values."""
    rewards = data.rewards
    spread = float(rewards.std())
    return float(rewards.mean()), spread / (1 - data.gamma) if spread > 0 else 1.0


def _result(data: Trajectories, network: nn.Module, offset: float, steps: int, loss: float) -> FittedQ:
    """The greedy policy: in r_g + gamma C with r_g = 0 and the network as C, whose unit leaves the order alone."""
    mean, unit = _units(data)
    gamma = data.gamma or 0.5  # any positive number: at gamma = 0 the network holds the rewards alone
    r_g = torch.zeros(data.num_sg, data.num_ag, dtype=torch.float32)
    policy = NetworkPolicy(network, r_g, gamma, unit / gamma, data.k)
    return FittedQ(policy, mean / (1 - data.gamma) + unit * offset, steps, loss)
