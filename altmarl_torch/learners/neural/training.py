"""One training of a network: gradient steps, the pairs they are taken on, and the checks in between.

`fitting` says what is learned, and when a training ends; a `Training` is the network on its way, and can be laid down
and taken up again to the last bit.
"""

import copy
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from altmarl_torch.errors import LearningError
from altmarl_torch.learners.neural.policies import BatchPolicy
from altmarl_torch.learners.neural.started import own_heads
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.settings import Settings
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.support.sampling import broad_laws
from altmarl_torch.support.showing import brief

__all__ = ["KEPT", "Fit", "Monitor", "Training"]

Monitor = Callable[[int, float, Mapping[str, float]], None]
"""Told (gradient steps so far, residual, numbers by name) at every check."""

CHECK_EVERY, CHECKS_IN_A_ROW, IMPROVEMENT = 50, 3, 0.95
"""Gradient steps between checks; how many end the first phase; what part of the lowest residual is no fall."""

KEPT = (
    *("steps", "offset", "residual", "noise", "idle", "lows", "begun", "baseline", "before", "pairs", "shares"),
    *("held_out", "online", "average", "optimizer", "generator", "torch_generator"),
)
"""The attributes of a training that the next gradient step follows from."""

REFRESH_EVERY = 200
"""Gradient steps between new sets of pairs."""

HELD_OUT, HELD_OUT_DRAWS = 512, 16
EPISODES, EPISODE_STEPS, EXPLORATION, BROAD = 512, 40, 0.1, 0.5
"""The pairs: episodes, their length, share of random actions, counts from all over relative to those visited."""


@dataclass(frozen=True, eq=False)
class Fit:
    """Continuation values, and how far to trust them."""

    network: nn.Module  # in units of `reward_scale`, the running average
    baseline: Tensor  # [sg, ag] b: C is the network plus b, units of value
    offset: float  # c: C + c are the continuation values, in units of value
    residual: float  # root mean square Bellman residual on held-out pairs, units of value
    noise: float  # root mean square deviation of one draw's target, units of value
    greedy_changes: float  # share of held-out (s_g, h) whose greedy action the annealing changed
    steps: int  # gradient steps

    __repr__ = brief


class Training:
    """The network on its way."""

    improvement, least_averaging = IMPROVEMENT, 0.0

    def __init__(
        self,
        surrogate: BatchSurrogate,
        network: nn.Module,
        baseline: Tensor | None,
        policy: BatchPolicy | None,
        settings: Settings,
        generator: torch.Generator,
        phase: str,
        monitor: Monitor | None,
    ) -> None:
        self.surrogate, self.policy, self.settings = surrogate, policy, settings
        self.generator, self.phase, self.monitor = generator, phase, monitor
        self.torch_generator = torch.default_generator  # which layers like dropout draw from
        self.scale = surrogate.reward_scale
        self.online, self.average = copy.deepcopy(network).train(), copy.deepcopy(network).eval()
        if settings.compile:
            self.online.compile()
            self.average.compile()
        self.steps, self.offset, self.residual, self.noise = 0, 0.0, math.inf, 0.0
        self.idle = 0  # checks in a row in which the residual could not be told from zero
        self.lows: list[float] = []  # the lowest residual so far, check by check
        self.begun = 0  # when annealing began
        self.before: Tensor | None = None  # [b, sg] greedy actions of that time
        self.baseline = torch.zeros_like(surrogate.r_g) if baseline is None else baseline.clone()
        self.pairs: tuple[Tensor, Tensor]  # s_g [N] and counts [N, sl]
        self.shares: Tensor | None = None  # [N] of the pairs, where they do not count alike
        self._draw_pairs()
        self.held_out = self._hold_out()

    def _hold_out(self) -> tuple[Tensor, Tensor]:
        """The pairs on which residuals are measured."""
        s_g, counts = (part[:HELD_OUT] for part in self.pairs)
        order = counts.sum(-1).argsort(stable=True)  # rows of one size are read together
        return s_g[order], counts[order]

    @property
    def read(self) -> BatchSurrogate:
        """That of the agents whose counts the network reads."""
        return self.surrogate

    @property
    def rows(self) -> int:
        """Pairs in a gradient step."""
        return self.settings.batch

    @property
    def settled(self) -> bool:
        """Whether the residual vanishes, or its lowest value has not fallen over the last third of the checks."""
        lows, window = self.lows, max(CHECKS_IN_A_ROW, len(self.lows) // 3)
        return self.idle >= CHECKS_IN_A_ROW or (len(lows) > window and lows[-1] >= self.improvement * lows[-1 - window])

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Adam; made when it is needed, since torch imports a second's worth of compiler with the first one."""
        return torch.optim.Adam(self.online.parameters(), lr=self.settings.learning_rate)

    def advance(self, end: int, rate: Callable[[int], float]) -> bool:
        """Take up to `CHECK_EVERY` gradient steps, then check; False where `end` of them have been taken already."""
        steps = min(CHECK_EVERY, end - self.steps)
        if steps > 0:
            self._run(steps, rate)
        return steps > 0

    def _run(self, steps: int, rate: Callable[[int], float]) -> None:
        started, total = time.perf_counter(), torch.zeros((), dtype=torch.float32, device=self.surrogate.game.device)
        for _ in range(steps):
            if self.steps % REFRESH_EVERY == REFRESH_EVERY - 1:
                self._draw_pairs()
            self.optimizer.param_groups[0]["lr"] = rate(self.steps)
            total += self._step()
            self.steps += 1
        loss = float(total) / steps * self.scale**2
        if not math.isfinite(loss):
            raise LearningError(
                f"{self.phase}: the loss is not finite after {self.steps} gradient steps at a learning rate of "
                f"{self.settings.learning_rate:g}; use a smaller one, or a network whose outputs stay bounded"
            )
        elapsed = time.perf_counter() - started
        self._check()
        if self.monitor:
            numbers = {
                "loss": loss,
                "residual": self.residual,
                "noise": self.noise,
                "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
                "samples_per_second": steps * self.rows / elapsed,
            }
            self.monitor(self.steps, self.residual, numbers)

    def _step(self) -> Tensor:
        """One gradient step; its loss in units of the network."""
        loss = self._loss()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self._average()
        return loss.detach()

    def _loss(self) -> Tensor:
        """The mean square error at a batch of the pairs, in units of the network."""
        chosen = torch.randint(
            len(self.pairs[0]), (self.settings.batch,), generator=self.generator, device=self.surrogate.game.device
        )
        s_g, counts = (part[chosen] for part in self.pairs)
        known = self._known(counts, self.generator)
        with torch.no_grad():
            target = self.surrogate.targets(self.values, s_g, counts, self.settings.draws, self.generator) / self.scale
        error = target - self._heads(self.online, s_g, known)
        loss: Tensor = error.sub(self.read.samples.offsets(known, error.detach())).square().mean()
        return loss

    @torch.no_grad()
    def _average(self) -> None:
        """Move the running average; buffers, of layers that keep statistics, are taken over as they are."""
        ours, newest = (
            [parameter.detach() for parameter in network.parameters() if parameter.is_floating_point()]
            for network in (self.average, self.online)
        )
        torch._foreach_lerp_(ours, newest, max(self.settings.averaging, self.least_averaging))
        for buffer, new in zip(self.average.buffers(), self.online.buffers(), strict=True):
            buffer.copy_(new)

    def _known(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """What the network reads, where these are the counts: all of them."""
        return counts

    def values(self, counts: Tensor) -> Tensor:
        """V(., h) by the running average, without its offset: counts `[b, sl]` to `[b, sg]`."""
        Q = self._action_values(self._known(counts, self.generator))
        if self.policy is None:
            return Q.amax(-1)
        return self.policy.average(self.surrogate.show(counts, self.generator), Q)

    def _action_values(self, known: Tensor) -> Tensor:
        """Q by the running average, without its offset: `[b, sg, ag]`."""
        return self.read.network_action_values(self.average, self.baseline, known)

    def _heads(self, network: nn.Module, s_g: Tensor, known: Tensor) -> Tensor:
        """C(s_g, h, .) in units of the network: `[b, ag]`."""
        inputs = self.read.samples.inputs(known)
        return own_heads(network, inputs, s_g, is_compiled=self.settings.compile) + self.baseline[s_g] / self.scale

    @torch.no_grad()
    def _check(self) -> None:
        """Measure the running average, and carry on what its residual shows."""
        first, second = self.measure()
        if not self.idle:
            self._carry_on((first + second) / 2)

    @torch.no_grad()
    def measure(self) -> tuple[Tensor, Tensor]:
        """Measure residual, noise and offset of the running average on the held-out pairs: errors there, `[b, ag]`."""
        first, second = self._held_out_errors()
        self.offset = float(self._mean(first + second)) / 2
        product = self.product(first, second)
        self.residual = math.sqrt(max(self.mean_square(product)[0], 0.0))
        halves = float((first - second).square().mean()) / 2
        self.noise = self.surrogate.game.gamma * math.sqrt(halves * HELD_OUT_DRAWS / 2)
        self.idle = self.idle + 1 if self._vanishes(product) else 0
        return first, second

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        """Products of two independent errors less their offsets, whose mean is the mean square error, `[b, ag]`."""
        counts, offsets = self.held_out[1], self.surrogate.samples.offsets
        return (first - offsets(counts, first, self.shares)) * (second - offsets(counts, second, self.shares))

    def _held_out_errors(self) -> tuple[Tensor, Tensor]:
        """Target less C at the held-out pairs, by two independent halves of the draws: `[b, ag]`."""
        s_g, counts = self.held_out
        values = self.surrogate.draw_values(self.values, s_g, counts, HELD_OUT_DRAWS, self.generator)
        halves = rearrange(values, "(half j) b G -> half j b G", half=2).mean(1)
        own = self.scale * self._heads(self.average, s_g, self._known(counts, _common(counts)))
        first, second = (self.surrogate.spread(half, s_g) - own for half in halves)
        return first, second

    def _mean(self, rows: Tensor) -> Tensor:
        """The mean of `[b, ag]` over pairs and actions."""
        return rows.mean() if self.shares is None else self.shares @ rows.mean(-1)

    def mean_square(self, product: Tensor) -> tuple[float, float]:
        """The residual's square by products of errors `[b, ag]`, and its standard error, in squared units of value."""
        factor, per_pair = self.surrogate.game.gamma**2, product.mean(-1)
        error = float(per_pair.std()) / math.sqrt(len(per_pair))
        return factor * float(self._mean(product)), factor * error

    def _vanishes(self, product: Tensor) -> bool:
        """Whether products of errors `[b, ag]` cannot be told from zero."""
        square, error = self.mean_square(product)
        return square <= 2 * error

    def _carry_on(self, residual: Tensor) -> None:
        """Move the baseline by what the residual `[b, ag]` at the held-out pairs will do to later values, through s_g.

        With e the mean residual under the policy in each s_g, less their common mean, and P the chain of s_g under it,
        delta = gamma (e + P delta) is the change of V that is constant in h, and P_g delta that of C.
        """
        s_g, counts = self.held_out
        num_sg, gamma = len(self.baseline), self.surrogate.game.gamma
        law = self._laws(counts)[torch.arange(len(s_g), device=s_g.device), s_g]
        share = torch.nn.functional.one_hot(s_g, num_sg).double()
        if self.shares is not None:
            share *= HELD_OUT * self.shares.unsqueeze(-1)
        number = share.sum(0)
        own = residual - self.surrogate.samples.offsets(counts, residual)
        mean = share.T @ (law * own).sum(-1).double() / number.clamp_min(1)
        moves = einsum(law, self.surrogate.P_g[s_g], "b a, b a G -> b G").double()
        P = share.T @ moves / number.clamp_min(1).unsqueeze(-1)
        eye = torch.eye(num_sg, dtype=torch.float64, device=P.device)
        delta = gamma * torch.linalg.solve(eye - gamma * P, mean)
        later = einsum(self.surrogate.P_g, (delta - delta.mean()).float(), "g a G, G -> g a")
        self.baseline += later

    def _laws(self, counts: Tensor) -> Tensor:
        """The law of a_g in every global state, of the policy or the greedy one: `[b, sg, ag]`."""
        if self.policy is not None:
            return self.policy.laws(self.surrogate.show(counts, _common(counts)))
        Q = self._action_values(self._known(counts, _common(counts)))
        return torch.nn.functional.one_hot(Q.argmax(-1), Q.shape[-1]).float()

    @torch.no_grad()
    def greedy(self) -> Tensor:
        """Greedy actions of the running average at the held-out counts, in every global state: `[b, sg]`."""
        counts = self.held_out[1]
        return self._action_values(self._known(counts, _common(counts))).argmax(-1)

    def finish(self) -> Fit:
        """What has been learned."""
        assert self.before is not None  # annealing has begun
        changes = float(self.greedy().ne(self.before).float().mean())
        offset = self.offset / (1 - self.surrogate.game.gamma)
        return Fit(self.average, self.baseline, offset, self.residual, self.noise, changes, self.steps)

    @torch.no_grad()
    def _draw_pairs(self) -> None:
        """Set `pairs`, s_g `[N]` and counts `[N, sl]`: those that the current policy meets, and some from all over."""
        surrogate, generator, device = self.surrogate, self.generator, self.surrogate.game.device
        s_g, counts = surrogate.draw_start(EPISODES, generator)
        visited = [(s_g, counts)]
        for _ in range(EPISODE_STEPS):
            a_g = self._explore(s_g, counts)
            _, s_g, counts = surrogate.step(s_g, counts, a_g, generator, generator)
            visited.append((s_g, counts))
        everywhere = int(len(visited) * EPISODES * BROAD)
        broad_sg = torch.randint(surrogate.game.num_sg, (everywhere,), generator=generator, device=device)
        broad = surrogate.draw_counts(broad_laws(everywhere, surrogate.game.num_sl, generator), generator)
        all_sg, all_counts = (torch.cat(parts) for parts in zip(*visited, (broad_sg, broad), strict=True))
        order = torch.randperm(len(all_sg), generator=generator, device=device)
        self.pairs = all_sg[order], all_counts[order]

    def _explore(self, s_g: Tensor, counts: Tensor) -> Tensor:
        """The action of the policy (by default the greedy one) in each pair, or now and then any other: `[b]`."""
        generator, num_ag = self.generator, self.surrogate.game.num_ag
        if self.policy is None:
            known = self._known(counts, generator)
            chosen = self._action_values(known).argmax(-1).gather(-1, s_g.unsqueeze(-1)).squeeze(-1)
        else:
            chosen = draw(cumulative(self.policy(s_g, self.surrogate.show(counts, generator))), generator)
        other = torch.randint(num_ag, s_g.shape, generator=generator, device=s_g.device)
        astray = torch.rand(s_g.shape, generator=generator, dtype=torch.float64, device=s_g.device) < EXPLORATION
        return torch.where(astray, other, chosen)


def _common(counts: Tensor) -> torch.Generator:
    """For draws from held-out counts: the same sample of each of them at every check."""
    return torch.Generator(counts.device).manual_seed(0)
