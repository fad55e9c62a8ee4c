"""The n-agent system of Algorithm 4, agent by agent: what the counts of `evaluation.rollouts` are checked against.

`simulate` keeps the state of every agent of every episode, draws each agent's own action, collects the rewards of
those actions and samples Delta by shuffling the agents; they may be silent, be replaced, or come and go (`Life`).
`exact_return` enumerates every tuple (s_g, s_1, .., s_n), every Delta and every action. Both are numpy, and share no
code with the library. `new_sg=True` is the slip to guard against: agents that move under the s_g that was just drawn,
where Eq. 3 has the current one.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from altmarl_torch.games.game import Game

Law = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""s_g [E], counts [E, sl] -> law of a_g [E, ag]."""


@dataclass(frozen=True)
class Simulation:
    returns: np.ndarray  # [E]
    counts: np.ndarray  # [E, T, sl]
    sampled: np.ndarray  # [E, T, sl]


@dataclass(frozen=True)
class Life:
    """What happens to agents besides their moves."""

    newcomers: np.ndarray  # [sl]
    answer_rate: float = 1.0
    turnover: float = 0.0
    sizes: tuple[int, ...] | None = None  # n at each step

    def answer(self, rng: np.random.Generator, states: np.ndarray, num_sl: int) -> np.ndarray:
        """Counts [E, sl] of those of states [E, k] who answer, one toss for each."""
        answered = rng.random(states.shape) < self.answer_rate
        return ((states[..., None] == np.arange(num_sl)) & answered[..., None]).sum(-2)

    def go_on(self, rng: np.random.Generator, s: np.ndarray, t: int) -> np.ndarray:
        """The agents [E, n'] after step t: some are replaced, then some leave, or join."""
        new = _choose(rng, np.broadcast_to(self.newcomers, (*s.shape, len(self.newcomers))))
        s = np.where(rng.random(s.shape) < self.turnover, new, s)
        n = s.shape[1] if self.sizes is None or t + 1 == len(self.sizes) else self.sizes[t + 1]
        if n < s.shape[1]:
            return np.take_along_axis(s, rng.random(s.shape).argsort(1)[:, :n], 1)
        shape = (len(s), n - s.shape[1], len(self.newcomers))
        return np.concatenate([s, _choose(rng, np.broadcast_to(self.newcomers, shape))], 1)


def simulate(
    game: Game,
    law: Law,
    pi_l,
    *,
    k: int,
    n: int,
    episodes: int,
    horizon: int,
    seed: int,
    new_sg: bool = False,
    life: Life | None = None,
) -> Simulation:
    rng = np.random.default_rng(seed)
    P_g, P_l, r_g, r_l = (np.asarray(table) for table in (game.P_g, game.P_l, game.r_g, game.r_l))
    pi_l = np.asarray(pi_l)
    s_g, s = _start(game, rng, episodes, n)
    returns, counts, sampled = np.zeros(episodes), [], []
    for t in range(horizon):
        delta = rng.random(s.shape).argsort(1)[:, :k]
        asked = np.take_along_axis(s, delta, 1)
        seen = life.answer(rng, asked, game.num_sl) if life else _count(asked, game.num_sl)
        a_g = _choose(rng, law(s_g, seen))
        here = np.repeat(s_g[:, None], s.shape[1], 1)
        a = _choose(rng, pi_l[s, here])
        returns += game.gamma**t * (r_g[s_g, a_g] + r_l[s, here, a].mean(1))
        counts.append(_count(s, game.num_sl))
        sampled.append(seen)
        s_g = _choose(rng, P_g[s_g, a_g])
        s = _choose(rng, P_l[s, np.repeat(s_g[:, None], s.shape[1], 1) if new_sg else here, a])
        s = life.go_on(rng, s, t) if life else s
    return Simulation(returns, np.stack(counts, 1), np.stack(sampled, 1))


def exact_return(game: Game, law: Law, pi_l, *, k: int, n: int, horizon: int) -> float:
    """The expected return, averaged over the initial law, by backward induction on all (s_g, s_1, .., s_n)."""
    P_g, P_l, r_g, r_l = (np.asarray(table) for table in (game.P_g, game.P_l, game.r_g, game.r_l))
    pi_l = np.asarray(pi_l)
    P, r = np.einsum("zsa,zsay->zsy", pi_l, P_l), np.einsum("zsa,zsa->zs", pi_l, r_l)
    tuples = list(itertools.product(range(game.num_sl), repeat=n))
    V = np.zeros((game.num_sg, len(tuples)))
    for _ in range(horizon):
        new = np.zeros_like(V)
        for g, (i, s) in itertools.product(range(game.num_sg), enumerate(tuples)):
            subsets = list(itertools.combinations(s, k))
            seen = _count(np.array(subsets), game.num_sl)
            a_law = law(np.full(len(subsets), g), seen).mean(0)  # averaged over Delta
            moves = np.ones(1)
            for state in s:
                moves = np.kron(moves, P[state, g])  # law of the tuple (s_1', .., s_n')
            later = P_g[g] @ (V @ moves)  # [ag]
            new[g, i] = a_law @ (r_g[g] + game.gamma * later) + np.mean([r[state, g] for state in s])
        V = new
    start = np.array([_tuple_probability(game, s) for s in tuples])
    return float(np.asarray(game.initial.sg) @ V @ start)


def assert_same_law(first: np.ndarray, second: np.ndarray) -> None:
    """Two samples of count vectors [E, sl] come from one law: chi-square on all cells, p-value above 1e-4."""
    cells = np.unique(np.concatenate([first, second]), axis=0)
    seen = np.array([[(sample == cell).all(1).sum() for cell in cells] for sample in (first, second)])
    common = seen.sum(0) >= 20
    pooled = np.column_stack([seen[:, common], seen[:, ~common].sum(1)])
    assert stats.chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue > 1e-4


def _tuple_probability(game: Game, s: tuple[int, ...]) -> float:
    """P(s_1, .., s_n) when mu ~ Dirichlet(A m): agent by agent, by the Polya urn."""
    strength, mean = game.initial.strength, np.asarray(game.initial.local_mean)
    if np.isinf(strength):
        return float(np.prod(mean[list(s)]))
    chances = [(strength * mean[z] + s[:i].count(z)) / (strength + i) for i, z in enumerate(s)]
    return float(np.prod(chances))


def _start(game: Game, rng: np.random.Generator, episodes: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    sg, mean, strength = np.asarray(game.initial.sg), np.asarray(game.initial.local_mean), game.initial.strength
    mu = np.tile(mean, (episodes, 1)) if np.isinf(strength) else rng.dirichlet(strength * mean, episodes)
    return rng.choice(game.num_sg, episodes, p=sg), _choose(rng, np.repeat(mu[:, None], n, 1))


def _count(states: np.ndarray, num_sl: int) -> np.ndarray:
    return (states[..., None] == np.arange(num_sl)).sum(-2)


def _choose(rng: np.random.Generator, law: np.ndarray) -> np.ndarray:
    return np.minimum((rng.random(law.shape[:-1])[..., None] >= law.cumsum(-1)).sum(-1), law.shape[-1] - 1)
