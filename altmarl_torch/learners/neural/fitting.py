r"""Fitted value iteration: a network learns the continuation values of one surrogate, for one way to act.

One gradient step draws a batch of pairs (s_g, h), one next count vector for each (or m of them), and moves the network
C towards

    target(s_g, h, a) - d,        d = mean over the batch of (target - C),

by Adam on the mean square. The targets come from a second network, the running average of the first (Polyak and
Juditsky, 1992), which is also what is returned.

**No drift.** Values of a discounted problem climb to r/(1-gamma) before they are right, and that climb is all that
plain iteration does for most of its 1/(1-gamma) steps. A common offset changes no action, so it is never learned: d
takes it out of every target, as in relative value iteration, and what is left converges as fast as the process forgets
where it started. At the fixed point C + c solves the equation with c = d / (1 - gamma) (`Fit.offset`).

**What goes around in s_g.** What the network does not yet know of one s_g travels on to all that lead there, one
iteration a step; where s_g hardly changes or never comes back, that takes 1/(1-gamma) of them. The part that is
constant in h is carried on at once, by a solve in the states s_g (`_carry_on`): a *baseline* b(s_g, a), added to the
network.

**When to stop.** The Bellman residual on held-out pairs, e = target - C - d, is measured with two independent halves
of the draws: their product has the mean e^2, without the variance of the draws. The step size stays until e^2 is within
two standard errors of zero `CHECKS_IN_A_ROW`, or has not fallen over the last third of all checks; then it is annealed
to zero along a cosine, for half as many steps again, which averages the noise away. A warning says so where `max_steps`
ends a fit that still gains. A start at which the residual cannot be told from zero, or is below 2e-3 of the span of
the rewards (1e-2 where it is that of lifted functions), is left as it is: it stays, to the last bit, the pair whose
value is known. A look at a residual near that border would decide by luck whether hundreds of steps are taken, so there
are as many looks as it takes to be sure (`weigh_start`).

**Where.** The pairs are those that the current policy meets in the k-agent game, some actions taken at random, mixed
with counts from all over the simplex under every global state (`_draw_pairs`); they are drawn anew from time to time.
"""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from altmarl_torch.learners.neural.full_batch import kind_of_training
from altmarl_torch.learners.neural.policies import BatchPolicy
from altmarl_torch.learners.neural.surrogate import BatchSurrogate
from altmarl_torch.learners.neural.training import CHECKS_IN_A_ROW, KEPT, Fit, Monitor, Training
from altmarl_torch.learners.settings import Settings
from altmarl_torch.support.snapshots import WorkInProgress, pack_attributes, reading, set_attributes

__all__ = ["NEARLY", "NEARLY_LIFTED", "Fit", "Monitor", "Settings", "fit", "weigh_start"]

logger = logging.getLogger(__name__)

NEARLY, NEARLY_LIFTED = 2e-3, 1e-2
"""A residual that is nothing to learn for a start, relative to the span of the rewards. The first moves values by this
much of their span, which is what UPDATE takes for no gain. Lifted functions have weighed by episodes what a higher
degree would gain: from their starts below the second, gradient steps changed no value by 1e-5 of its span (ten games).
"""

MOST_LOOKS = 24
"""By then what remains unsure makes no difference."""

WARM_UP, LEAST_ANNEAL = 50, 200
"""Gradient steps until the step size is reached, and that it is annealed for at least."""


def fit(
    surrogate: BatchSurrogate,
    network: nn.Module,
    policy: BatchPolicy | None,
    settings: Settings,
    generator: torch.Generator,
    *,
    baseline: Tensor | None = None,
    phase: str,
    nearly: float | None = None,
    monitor: Monitor | None = None,
    work: WorkInProgress | None = None,
) -> Fit:
    """Fit the continuation values of `surrogate`, starting from `network`, which is left as it was.

    Args:
        surrogate: the k-agent MDP.
        network: `[b, sl]` to `[b, sg, ag]`.
        policy: the pi_g to be evaluated; None for the best response, V = max_a Q.
        settings: of the training.
        generator: of all draws.
        baseline: `[sg, ag]`, added to the answers of `network`; zero by default.
        phase: what is learned, for messages.
        nearly: given where the network starts from the solution of a similar problem, or of this very one: up to this
            residual, relative to the span of the rewards, no step is taken; steps are half as long.
        monitor: told every check.
        work: where the training is kept every few minutes, to be taken up after the process was killed.

    Raises:
        LearningError: the loss is no longer finite.
    """
    with torch.enable_grad(), _seeded(generator):
        kind = kind_of_training(surrogate, network, policy)
        training = kind(surrogate, network, baseline, policy, settings, generator, phase, monitor)
        if work and (kept := work.resume()):
            with reading():
                set_attributes(training, KEPT, kept, surrogate.game.device)
        elif nearly is not None:
            weigh_start(training, nearly)
        if nearly is not None and not training.steps and training.idle:
            logger.info("%s: nothing is left to learn, as far as can be measured; no gradient step is taken", phase)
            training.before = training.greedy()
            return training.finish()
        rate, limit = settings.learning_rate / (1 if nearly is None else 2), 2 * settings.max_steps // 3
        while training.before is None and not training.settled:
            if work:
                work.keep(lambda: pack_attributes(training, KEPT))
            if not training.advance(limit, lambda step: rate * _warm(step)):
                break
            training.lows.append(min([training.residual, *training.lows[-1:]]))
        if training.before is None:
            if training.steps >= limit and not training.idle:
                logger.warning("%s: the residual still falls after %d steps; it is annealed all the same", phase, limit)
            training.begun, training.before = training.steps, training.greedy()
        begun = training.begun
        end = min(settings.max_steps, begun + max(LEAST_ANNEAL, begun // 2))
        while training.advance(end, lambda step: rate * _annealed((step - begun) / (end - begun))):
            if work:
                work.keep(lambda: pack_attributes(training, KEPT))
        return training.finish()


def weigh_start(training: Training, nearly: float) -> None:
    """Measure the network that is begun with a few times; `training.idle` then says whether nothing is left to learn.

    So it is where the first measurements all say so, or the mean square residual is as good as nothing: `nearly` of the
    span of the rewards. They go on until that is sure by two standard errors.
    """
    most, products = (nearly * training.scale) ** 2, list[Tensor]()
    while len(products) < MOST_LOOKS:
        products.append(training.product(*training.measure()))
        square, error = training.mean_square(torch.stack(products).mean(0))
        vanishes = training.idle == len(products)
        if len(products) >= CHECKS_IN_A_ROW and (vanishes or abs(square - most) > 2 * error):
            break
    training.idle = CHECKS_IN_A_ROW if vanishes or square <= most else 0
    training.residual = math.sqrt(max(square, 0.0))
    if training.idle and training.monitor:
        training.monitor(0, training.residual, {"residual": training.residual, "noise": training.noise})


def _warm(step: int) -> float:
    return min(1.0, (step + 1) / WARM_UP)


def _annealed(done: float) -> float:
    return (1 + math.cos(math.pi * done)) / 2


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """Within the block torch's own random state, which layers like dropout draw from, follows the generator.

    Outside it, that state is as it was.
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    devices = [generator.device] if generator.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
