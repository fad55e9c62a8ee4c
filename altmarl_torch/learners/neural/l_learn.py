r"""L-LEARN without tables: the derivative of the value in pi_l, sampled.

The mathematics is that of the model-based learner over tables. Single one agent out, in state z, with companions
h - e_z that move by P_l_pi. With V the value of the pair on the k-agent game and h'' where the companions go, its
action a is worth

    q(z, a | s_g, h) = r_l(z, s_g, a) + gamma k sum_y P_l(y | z, s_g, a) E V(s_g', h'' + e_y),

and gains A = q(z, a | s_g, h) - sum_a' pi_l(a' | z, s_g) q(z, a' | s_g, h) over pi_l, in units of the whole
population's reward. Its mean over the discounted occupancy of (s_g, h), the agent drawn at random among the k, is the
policy gradient. Here occupancy and companions are *drawn*, and V is a network's (`fitting.fit` under the fixed pi_g).
One draw of h'' serves all landing places y, so the differences between actions, O(1/k) of V, do not drown in the noise
of V; and every mean carries a standard error, so that pi_l turns only where the gain is sure.

**Where pi_g sees j of the k agents** (`BatchSurrogate.shown`), V is that of all k, and the agent is among the j with
the chance j/k. With g and g' fresh samples of j - 1 and of j companions,

    E V(s_g', h'' + e_y) = E sum_a [ j/k pi_g(a | s_g', g + e_y) + (1 - j/k) pi_g(a | s_g', g') ] Q(s_g', h'' + e_y, a),

whose two cases are taken with their weights: drawn, the rare one would drown all differences in noise.

**The search.** Turn pi_l to the best action in every (z, s_g) whose gain is positive by two standard errors; where
paired episodes do not confirm a higher value, try the half of the turns that promise most, and so on, as long as they
promise anything that is worth the episodes. Refit V, and repeat until nothing is gained. With a `LocalNetwork` the
turns are what it is taught: it also says what to do in states that no draw has met, by what it does in similar ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from altmarl_torch.games.game import Game
from altmarl_torch.learners.neural.grid import TablePolicy
from altmarl_torch.learners.neural.networks import LocalNetwork
from altmarl_torch.learners.neural.policies import BatchPolicy, NetworkPolicy
from altmarl_torch.learners.neural.sampled import ShownValues, in_rows
from altmarl_torch.learners.neural.surrogate import BatchSurrogate, Values
from altmarl_torch.learners.settings import Settings
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.policies.tabular import one_hot
from altmarl_torch.support.native.mover import CountMover
from altmarl_torch.support.showing import brief

__all__ = [
    "Gains",
    "NetworkTurns",
    "expected_seconds",
    "local_gains",
    "network_values",
    "sure_turns",
    "table_turns",
]

VISITS, EPISODES, CHUNK = 2**13, 1024, 2**13
"""Pairs (s_g, h) drawn from the occupancy; episodes that they come from; landings that are worked on at once."""

VISITS_PER_CELL = 32
"""Pairs per (z, s_g) where there are many of these, as long as no more landings are worked on than `VISITS` pairs have
that land anywhere: what is met twice or three times is never sure, and L-LEARN would turn a few cells a round."""

SURE = 2.0
"""Standard errors by which a gain must be positive."""

SINGLE_CHANGES = 24
"""Games with at most so many single changes of pi_l have each of them measured where no turn helps."""

MOST_TRIES = 4
"""Proposals per round: all turns, half of them, a quarter, an eighth."""

TEACHING_STEPS, TEACHING_RATE = 300, 1e-2
"""Gradient steps, and their size, by which a local network learns one set of turns."""


@dataclass(frozen=True, eq=False)
class Gains:
    """What one agent's actions gain over pi_l, by its state and s_g."""

    mean: Tensor  # [sl, sg, al] per visit, units of reward of the whole population
    error: Tensor  # [sl, sg, al] standard error; infinite where a state was met less than twice
    share: Tensor  # [sl, sg] how often an agent is there, discounted; sums to one

    __repr__ = brief

    @property
    def sure(self) -> Tensor:
        """Whether the best action is better than pi_l for sure: `[sl, sg]`."""
        best, action = self.mean.max(-1, keepdim=True)
        return (best > SURE * self.error.gather(-1, action)).squeeze(-1)


def network_values(surrogate: BatchSurrogate, network: nn.Module, baseline: Tensor, policy: BatchPolicy) -> Values:
    """V(., h) of a pair, but for a common offset, from its continuation values: a network and `baseline [sg, ag]`."""
    is_greedy = isinstance(policy, NetworkPolicy) and policy.network is network  # then the average is the maximum

    def values(counts: Tensor) -> Tensor:
        Q = surrogate.network_action_values(network, baseline, counts)
        return Q.amax(-1) if is_greedy else policy.average(counts, Q)

    return values if surrogate.grid is None else surrogate.grid.looked_up(values)


def expected_seconds(game: Game, k: int, played: int) -> float:
    """About how long L-LEARN takes in one alternation, in seconds of a core; an order of size.

    Two turns, each with a fit of some five hundred gradient steps of four passes, the landings of `local_gains`, and
    two pairs that are played for so many steps; what one pair (s_g, h) costs was measured.
    """
    places = _places(game.P_l).shape[-1]
    pairs = 500 * 4 * Settings.batch + _wanted_visits(game, places) * places + 2 * played
    heads = game.num_sg * game.num_ag
    return 2 * pairs * (6e-9 * (128 + heads) + 1.6e-8 * game.num_sl + 1e-8 * k)


@torch.no_grad()
def local_gains(
    surrogate: BatchSurrogate,
    pi_l: Tensor,
    policy: BatchPolicy,
    values: Values | ShownValues,
    generator: torch.Generator,
) -> Gains:
    """Sample the derivative of the value in pi_l.

    Args:
        surrogate: the k-agent game under `pi_l`.
        pi_l: `[sl, sg, al]`.
        policy: the fixed pi_g.
        values: V of the pair on counts with sum k; a common offset does not matter. Of a surrogate of which a sample is
            shown, `ShownValues`.
        generator: of all draws.
    """
    game = surrogate.game
    if surrogate.grid is not None:
        policy = TablePolicy(surrogate.grid, policy.laws(surrogate.grid.counts))
    companions = CountMover(
        rearrange(surrogate.P_l_pi, "l g L -> g l L"), surrogate.k - 1, fixed=not surrogate.samples.several
    )
    worth_of_turn = _turn_tables(surrogate, pi_l)
    total = torch.zeros(3, game.num_sl * game.num_sg, game.num_al, dtype=torch.float64, device=game.device)
    places = _places(game.P_l)
    s_g, counts = _visits(surrogate, policy, _wanted_visits(game, places.shape[-1]), generator)
    part = max(1, CHUNK // places.shape[-1])
    for states, h in zip(torch.split(s_g, part), torch.split(counts, part), strict=True):
        moving = surrogate.movers(states, h, generator)
        z = torch.multinomial(moving, 1, generator=generator).squeeze(-1)
        others = companions(states, moving - _unit(z, game.num_sl), generator)
        reached = places[z]
        laws = policy(states, surrogate.show(h, generator))
        landing = _landing_values(surrogate, laws, values, states, others, reached)
        reward, moves = worth_of_turn[0][z, states], worth_of_turn[1][z, states]
        moves = moves.gather(-1, reached[:, None].expand(-1, game.num_al, -1))
        gain = reward + game.gamma * surrogate.samples.of_rows(h) * einsum(moves, landing.double(), "b a L, b L -> b a")
        total.index_add_(1, z * game.num_sg + states, torch.stack([torch.ones_like(gain), gain, gain.square()]))
    return _gains(total, game.num_sg)


def _wanted_visits(game: Game, places: int) -> int:
    """How many pairs (s_g, h) are drawn, where an agent can land in so many places."""
    wanted = min(VISITS_PER_CELL * game.num_sl * game.num_sg, VISITS * game.num_sl // places)
    return max(VISITS, wanted)


def _turn_tables(surrogate: BatchSurrogate, pi_l: Tensor) -> tuple[Tensor, Tensor]:
    """What an action changes against pi_l: reward `[sl, sg, al]`, and the law of the next state `[sl, sg, al, sl']`."""
    game = surrogate.game
    reward = game.r_l - (pi_l * game.r_l).sum(-1, keepdim=True)
    return reward, game.P_l - rearrange(surrogate.P_l_pi, "l g L -> l g 1 L")


def _places(P_l: Tensor) -> Tensor:
    """Where an agent can land from each state, whatever it does: `[sl, y]`.

    Rows with fewer places than others are filled up with states that it cannot reach. Where half of all can be reached
    from somewhere, all are listed.
    """
    reachable = (P_l > 0).flatten(1, 2).any(1)
    num_sl = len(reachable)
    most = int(reachable.sum(-1).max())
    if 2 * most > num_sl:
        return torch.arange(num_sl, device=P_l.device).expand(num_sl, -1)
    return (~reachable).to(torch.uint8).argsort(stable=True)[:, :most]


def _landing_values(
    surrogate: BatchSurrogate,
    laws: Tensor,
    values: Values | ShownValues,
    s_g: Tensor,
    others: Tensor,
    reached: Tensor,
) -> Tensor:
    """E V(s_g', others + e_y) over s_g' for the landing places y that are `reached [b, y]`, less its mean: `[b, y]`.

    The law of a_g, which moves s_g, is `laws [b, ag]`.
    """
    units = _unit(reached, others.shape[-1]).to(others.dtype)
    if isinstance(values, ShownValues):
        worth = values.landed(others, units)
    else:
        worth = rearrange(values(in_rows(others.unsqueeze(1) + units)), "(b y) G -> b y G", y=reached.shape[-1])
    to_sg = einsum(laws.float(), surrogate.P_g[s_g], "b a, b a G -> b G")
    expected = einsum(worth, to_sg, "b y G, b G -> b y")
    return expected - expected.mean(-1, keepdim=True)


def _visits(
    surrogate: BatchSurrogate, policy: BatchPolicy, number: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Pairs (s_g, h) from the discounted occupancy: `[number]` and `[number, sl]`.

    The age of a pair is geometric; it is cut at the age that all but e^-3 of the occupancy is younger than, and at
    1,000 steps, so that one set of short episodes serves all draws.
    """
    gamma, device = surrogate.game.gamma, surrogate.game.device
    longest = min(1000, max(1, round(3 / (1 - gamma))))
    s_g, counts = surrogate.draw_start(EPISODES, generator)
    met = []
    for _ in range(longest):
        met.append((s_g, counts))
        a_g = draw(cumulative(policy(s_g, surrogate.show(counts, generator))), generator)
        _, s_g, counts = surrogate.step(s_g, counts, a_g, generator, generator)
    weights = gamma ** torch.arange(longest, device=device, dtype=torch.float64)
    age = torch.multinomial(weights, number, replacement=True, generator=generator)
    episode = torch.randint(EPISODES, (number,), generator=generator, device=device)
    all_sg, all_counts = (torch.stack(parts) for parts in zip(*met, strict=True))
    return all_sg[age, episode], all_counts[age, episode]


def _unit(states: Tensor, size: int) -> Tensor:
    return torch.nn.functional.one_hot(states, size).float()


def _gains(total: Tensor, num_sg: int) -> Gains:
    """Means and standard errors from sums of 1, x and x^2 by cell, `[3, (sl sg), al]`."""
    number = total[0, :, :1]
    mean = total[1] / number.clamp_min(1)
    variance = (total[2] / number.clamp_min(1) - mean.square()).clamp_min(0) / (number - 1).clamp_min(1)
    error = torch.where(number > 1, variance.sqrt(), torch.inf)
    share = number.squeeze(-1) / number.sum()

    def cells(table: Tensor) -> Tensor:
        return table.reshape(-1, num_sg, *table.shape[1:])

    return Gains(cells(mean), cells(error), cells(share))


def table_turns(pi_l: Tensor, gains: Gains, least: float = 0.0) -> Iterator[Tensor]:
    """Turn pi_l to its best actions, then, in small games, change it in single states.

    First wherever the gain is sure, then in the best half of these, and so on. A derivative says what a small change
    does, but a deterministic pi_l changes all the way; so where there are at most `SINGLE_CHANGES` of them, every
    change of one state is tried as well, those that are met most often first.
    """
    yield from sure_turns(pi_l, gains, least)
    flat = rearrange(pi_l, "l g a -> (l g) a")
    changes = (flat < 1).nonzero()
    if len(changes) > SINGLE_CHANGES:
        return
    for row, action in changes[gains.share.flatten()[changes[:, 0]].argsort(descending=True, stable=True)].tolist():
        changed = flat.clone()
        changed[row] = one_hot(torch.tensor(action, device=flat.device), pi_l.shape[-1])
        yield changed.reshape(pi_l.shape)


def sure_turns(pi_l: Tensor, gains: Gains, least: float = 0.0) -> Iterator[Tensor]:
    """Turn pi_l to its best actions wherever the gain is sure, then in the best half of these, and so on.

    As long as the turns promise `least` in all: their gains, weighed by the shares.
    """
    best, action = rearrange(gains.mean, "l g a -> (l g) a").max(-1)
    promise, order = torch.where(gains.sure.flatten(), best * gains.share.flatten(), -torch.inf).sort(
        descending=True, stable=True
    )
    count = int(gains.sure.sum())
    for _ in range(MOST_TRIES):
        if count == 0 or float(promise[:count].sum()) < least:
            return
        turned = rearrange(pi_l, "l g a -> (l g) a").clone()
        turned[order[:count]] = one_hot(action[order[:count]], pi_l.shape[-1])
        yield turned.reshape(pi_l.shape)
        count //= 2


@dataclass(frozen=True, eq=False)
class NetworkTurns:
    """Teach a local network the turns of the table, by cross-entropy, and try its most probable actions.

    Each (z, s_g) counts alike: weights by occupancy would leave the rare ones to chance.
    """

    network: LocalNetwork
    optimizer: torch.optim.Optimizer

    @classmethod
    def of(cls, network: LocalNetwork) -> "NetworkTurns":
        """Teach `network`."""
        return cls(network, torch.optim.Adam(network.parameters(), lr=TEACHING_RATE))

    def __call__(self, pi_l: Tensor, gains: Gains, least: float = 0.0) -> Iterator[Tensor]:
        """Policies to try in place of pi_l `[sl, sg, al]`, where they promise `least`."""
        for turned in sure_turns(pi_l, gains, least):
            _teach(self.network, self.optimizer, turned.float())
            with torch.no_grad():
                taught = one_hot(self.network().argmax(-1), pi_l.shape[-1])
            yield taught


@torch.enable_grad()
def _teach(network: LocalNetwork, optimizer: torch.optim.Optimizer, law: Tensor) -> None:
    """Lower the cross-entropy between the network's law and `law [sl, sg, al]`."""
    for _ in range(TEACHING_STEPS):
        loss = -(law * network().log_softmax(-1)).sum(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
