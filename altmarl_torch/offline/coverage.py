r"""Coverage: does a behaviour policy show what off-policy learning needs to see (Assumption E.1)?

The assumption asks of pi_b that every action is possible everywhere, and that the chain of the states it visits is
irreducible and aperiodic, with stationary law mu and mixing time

    t_delta = min{ t >= 0 : max_x TV( P^t(x, .), mu ) <= delta }.

Here a state is x = (s_g, h), h the counts of the k agents: the rows of the table that Eq. 46 fills. (The paper's chain
is on tuples of states; counting the agents is a function of it, so that what mixes or comes back in tuples does so in
counts, and the time in counts is no longer.)

**From a game** (`coverage_of_game`), where the chain can be written down: P((s_g, h) -> (s_g', h')) is the sum over a
of pi_b(a | s_g, h) P_g(s_g' | s_g, a), times the law of h' given h under s_g (`kernels`). Everything is then exact:

* *irreducible*: one strongly connected component of the graph of positive entries;
* *period*: the greatest common divisor of level(x) + 1 - level(y) over edges x -> y, levels by breadth-first search
  (Denardo 1977); aperiodic is period 1;
* *mu*: the solution of mu P = mu, sum mu = 1;
* *t_delta*: the distance never grows with t, so P is squared until it is small enough, and t found bit by bit.

**From data alone** (`coverage_of_data`): the same questions of the chain of the frequencies, on the states that were
left at least once; and how often each (s_g, h, a_g) was tried. Data cannot know what they do not show: a state that was
never visited may still be reachable, rare transitions may connect what looks apart, and a mixing time far longer than
the log looks short. What is reported is what the log says, no bound.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components
from torch import Tensor

from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.games.game import Game
from altmarl_torch.offline.behaviour import Behaviour, BehaviourPolicy
from altmarl_torch.offline.trajectories import Trajectories
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.surrogate import Surrogate
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_number, check_kind
from altmarl_torch.support.torch_state import door

__all__ = ["Chain", "Coverage", "coverage_of_data", "coverage_of_game", "examine"]

LARGEST_CHAIN = 2000
"""States up to which a chain's stationary law and mixing time are computed: seconds, and 32 MB a matrix."""

LONGEST = 62
"""A mixing time is looked for up to 2^62 steps."""

QUARTER = 0.25
"""delta of the usual mixing time."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Chain:
    """What a Markov chain does in the long run.

    Attributes:
        classes: strongly connected components; 1 is irreducible.
        period: of an irreducible chain; None of another.
        mu: `[states]`, the stationary law; None where the chain is not irreducible, or too large.
        mixing_steps: t_delta; None where the chain is not aperiodic, or too large, or mixes in more than 2^62 steps.
    """

    classes: int
    period: int | None
    mu: Floats | None
    mixing_steps: int | None

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Coverage:
    """What is known of Assumption E.1, exactly (from a game) or as far as data tell.

    Attributes:
        exact: whether it was computed from a game.
        chain: of (s_g, h); of data, that of the frequencies.
        states, entries: how many (s_g, h) and (s_g, h, a_g) there are.
        visited: of a game, `states`; of data, how many states the chain has: those that were left at least once.
        least_action: the smallest pi_b(a_g | s_g, h); of data, the smallest share among what was visited.
        visits: `[sg, N, ag]`, how often each entry was tried; None of a game.
        mu_min: the smallest mu(s_g, h) pi_b(a_g | s_g, h), how rarely the rarest entry is met; None without mu.
        delta: of the mixing time.
        steps: how many transitions the data have; 0 of a game.
    """

    exact: bool
    chain: Chain
    states: int
    entries: int
    visited: int
    least_action: float
    visits: Tensor | None
    mu_min: float | None
    delta: float
    steps: int

    __repr__ = brief

    @property
    def problems(self) -> list[str]:
        """What speaks against Assumption E.1, in words."""
        found, chain = [], self.chain
        if self.visited < self.states:
            found.append(f"{self.states - self.visited:,} of {self.states:,} states (s_g, h) were never left")
        if self.least_action <= 0:
            found.append(
                "an action was never tried somewhere" if not self.exact else "an action is never tried somewhere"
            )
        if chain.classes > 1:
            found.append(f"the chain is not irreducible: {chain.classes:,} classes of states")
        if chain.period is not None and chain.period > 1:
            found.append(f"the chain has period {chain.period}")
        return found

    @property
    def satisfied(self) -> bool:
        """Whether Assumption E.1 holds; from data, whether nothing in them speaks against it."""
        return not self.problems

    def text(self) -> str:
        """The report, to print."""
        source = "exactly, from the game" if self.exact else f"as far as {self.steps:,} transitions tell"
        lines = [
            f"Assumption E.1, {source}",
            f"  states      {self.visited:,} of {self.states:,} (s_g, h)" + ("" if self.exact else " were left"),
        ]
        if self.visits is not None:
            seen, fewest = int((self.visits > 0).sum()), int(self.visits.min())
            lines.append(f"  entries     {seen:,} of {self.entries:,} (s_g, h, a_g) tried, the rarest {fewest:,} times")
        lines += [
            f"  actions     the least likely has probability {self.least_action:.3g}",
            f"  chain       {self._chain_words()}",
            f"  rarest      {'-' if self.mu_min is None else f'{self.mu_min:.3g} of the time'}, the smallest mu pi_b",
        ]
        verdict = "holds" if self.exact else "nothing seen speaks against it"
        return "\n".join([*lines, f"  verdict     {verdict if self.satisfied else '; '.join(self.problems)}"])

    def _chain_words(self) -> str:
        chain = self.chain
        if chain.classes > 1:
            return f"{chain.classes:,} classes of states: not irreducible"
        period = "aperiodic" if chain.period == 1 else f"of period {chain.period}"
        mixing = "not computed" if chain.mixing_steps is None else f"{chain.mixing_steps:,} steps"
        return f"irreducible, {period}, mixing time {mixing} (to {self.delta:g})"


@door
def coverage_of_game(
    game: Game, k: int, *, behaviour: BehaviourPolicy = "uniform", explore: float = 0.0, delta: float = QUARTER
) -> Coverage:
    """Check Assumption E.1 for a behaviour policy in the k-agent game, exactly.

    Args:
        game: the game.
        k: how many agents are followed.
        behaviour, explore: as for `collect`.
        delta: of the mixing time, in (0, 1).

    Raises:
        ArgumentError: a number is outside its range, or the pair has no table of pi_g.
        PolicyError: the pair does not fit the game.
        SizeError: the chain has more than 2000 states.

    Examples:
        >>> import altmarl_torch as am
        >>> round(am.coverage_of_game(am.games.steer(), k=2).mu_min, 4)
        0.0625
    """
    policy, delta = Behaviour.of(game, k, behaviour, explore), _as_delta(delta)
    game = game.to("cpu")
    if policy.pi_g is None:
        raise ArgumentError(f"{policy.name!r} has no table of pi_g; collect data and use coverage_of_data")
    simplex = CountSimplex(policy.k, game.num_sl)
    states = game.num_sg * simplex.size
    if states > LARGEST_CHAIN:
        raise SizeError(f"the chain has {states:,} states; at most {LARGEST_CHAIN:,}: use coverage_of_data")
    pi_g = policy.pi_g.expand(-1, simplex.size, -1)
    surrogate = Surrogate.build(game, policy.pi_l, PairPlan(simplex))
    chain = examine(_matrix(surrogate, pi_g), delta)
    rarest = None if chain.mu is None else float((chain.mu[:, None] * pi_g.flatten(0, 1).numpy()).min())
    least, entries = float(pi_g.min()), states * game.num_ag
    return Coverage(True, chain, states, entries, states, least, None, rarest, delta, 0)


@door
def coverage_of_data(data: Trajectories, *, delta: float = QUARTER) -> Coverage:
    """Look for Assumption E.1 in trajectories: what they visit, and the chain of the frequencies.

    Args:
        data: what a behaviour policy did.
        delta: of the mixing time, in (0, 1).

    Raises:
        ArgumentError: delta is outside its range.
        SizeError: the counts are too many to list.
    """
    check_kind("data", data, Trajectories, "`collect` makes them")
    delta, states = _as_delta(delta), data.states
    shape = (data.num_sg, data.simplex.size, data.num_ag)
    before, after = states[:, :-1].ravel(), states[:, 1:].ravel()
    visits = np.bincount(before * data.num_ag + data.a_g.ravel(), minlength=math.prod(shape)).reshape(-1, data.num_ag)
    left = np.flatnonzero(visits.sum(-1))  # the chain's states; what was reached at an end alone leads nowhere
    shares = visits[left] / visits[left].sum(-1, keepdims=True)
    chain = examine(_frequencies(before, after, left, len(visits)), delta)
    rarest = None if chain.mu is None else float((chain.mu[:, None] * shares).min())
    counted = torch.from_numpy(visits.reshape(shape))
    facts = (len(visits), visits.size, len(left), float(shares.min()), counted, rarest, delta, before.size)
    return Coverage(False, chain, *facts)


def examine(P: "Floats | csr_array", delta: float = QUARTER) -> Chain:
    """What the chain with the transition matrix P `[states, states]` does in the long run.

    Stationary law and mixing time are those of an irreducible chain with at most 2000 states.
    """
    sparse = csr_array(P)
    classes = int(connected_components(sparse, directed=True, connection="strong")[0])
    if classes > 1:
        return Chain(classes, None, None, None)
    period = _period(sparse)
    if sparse.shape[0] > LARGEST_CHAIN:
        return Chain(1, period, None, None)
    dense = sparse.toarray()
    mu = _stationary(dense)
    return Chain(1, period, mu, _mixing_steps(dense, mu, delta) if period == 1 else None)


def _as_delta(delta: object) -> float:
    return as_number("delta", delta, "(0, 1)", lambda x: 0 < x < 1, ArgumentError)


def _matrix(surrogate: Surrogate, pi_g: Tensor) -> Floats:
    """P((s_g, h) -> (s_g', h')), flat, under `pi_g [sg, N, ag]`: `[states, states]`."""
    size, num_sg = surrogate.simplex.size, surrogate.game.num_sg
    identity = torch.eye(size, dtype=torch.float64)
    moves = torch.stack([kernel.expect(identity) for kernel in surrogate.kernels])  # [sg, h, h']
    matrix = torch.einsum("ghG,ghH->ghGH", next_sg_law(surrogate, pi_g), moves)
    flat: Floats = matrix.reshape(num_sg * size, num_sg * size).numpy()
    return flat


def _frequencies(before: NDArray[np.int64], after: NDArray[np.int64], left: NDArray[np.int64], size: int) -> csr_array:
    """How often each state that was left was followed by each of these, row by row of sum 1."""
    place = np.full(size, -1)
    place[left] = np.arange(len(left))
    kept = place[after] >= 0
    ones = np.ones(int(kept.sum()))
    counts = csr_array((ones, (place[before[kept]], place[after[kept]])), shape=(len(left), len(left)))
    total = np.asarray(counts.sum(axis=1)).ravel()
    rows = np.repeat(np.arange(len(left)), np.diff(counts.indptr))
    return csr_array((counts.data / total[rows], counts.indices, counts.indptr), shape=counts.shape)


def _period(P: csr_array) -> int:
    """The period of an irreducible chain."""
    order, parents = breadth_first_order(P, 0, directed=True)
    level = np.zeros(P.shape[0], np.int64)
    for x in order[1:].tolist():
        level[x] = level[parents[x]] + 1
    start, end = P.nonzero()
    return max(1, int(np.gcd.reduce(level[start] + 1 - level[end]))) if len(start) else 1


def _stationary(P: Floats) -> Floats:
    """mu with mu P = mu and sum 1, of an irreducible chain: one of the equations is replaced by the sum."""
    equations = P.T - np.eye(len(P))
    equations[-1] = 1.0
    right = np.zeros(len(P))
    right[-1] = 1.0
    mu: Floats = np.linalg.solve(equations, right).clip(min=0.0)
    mu /= mu.sum()
    return mu


def _mixing_steps(P: Floats, mu: Floats, delta: float) -> int | None:
    """t_delta: the first power whose rows are all within delta of mu, by squaring and then bit by bit."""

    def far(power: Floats) -> bool:
        return float(np.abs(power - mu).sum(-1).max()) / 2 > delta

    if not far(np.eye(len(P))):
        return 0
    powers = [P]
    while far(powers[-1]):
        if len(powers) > LONGEST:
            return None
        powers.append(powers[-1] @ powers[-1])
    # the last power of 2 suffices, the one before (or no step at all) does not: add what bits leave it too short
    steps, reached = 0, np.eye(len(P))
    for bit in range(len(powers) - 2, -1, -1):
        longer = reached @ powers[bit]
        if far(longer):
            steps, reached = steps + 2**bit, longer
    return steps + 1
