r"""Behaviour policies, and `collect`: trajectories of the k-agent game that off-policy learning reads (Appendix E).

A behaviour policy is any pair of policies, made to explore: with probability epsilon (`explore`) the global agent,
and each local agent by itself, draws one of its actions uniformly instead. As laws,

    pi_b(a_g | s_g, h)  = (1 - epsilon) pi_g(a_g | s_g, h)  + epsilon / |A_g|,
    pi_b(a_l | s_l, s_g) = (1 - epsilon) pi_l(a_l | s_l, s_g) + epsilon / |A_l|,

so that epsilon > 0 makes every action possible, as Assumption E.1 asks (`coverage` checks the rest of it).

**What is learned from it.** pi_g is learned as the best response to the local policy *that was logged*, exploration
included: what local agents did is part of the environment of Eq. 46.

**How it is drawn.** All trajectories advance together; in each step an agent's (a_l, s_l') is one draw from their
joint law given (s_l, s_g), and a_g one from its table (or from the pair's dispatcher, where it has memory or no table
that fits). Uniform numbers are drawn in blocks; the draws depend on the seed and on the number of trajectories.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from einops import einsum
from numpy.typing import NDArray
from torch import Tensor

from altmarl_torch.alternation.solution import Solution
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, PolicyError
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.games.reward_base import RewardLaw
from altmarl_torch.offline.trajectories import Trajectories, check_data_size
from altmarl_torch.policies.base import Dispatcher, PolicyPair, check_pair, cumulative
from altmarl_torch.policies.rules import HeuristicPair, table
from altmarl_torch.policies.tabular import TabularPair, check_pi_g, check_pi_l, uniform_local
from altmarl_torch.support.tables import as_integer, as_number, as_seed
from altmarl_torch.support.torch_state import door

__all__ = ["Behaviour", "BehaviourPolicy", "collect"]

LARGEST_LOOKUP = 10**7
"""Entries of pi_g [sg, N, ag] up to which a pair's law is tabulated."""

BLOCK = 2**20
"""Uniform numbers that are drawn at once."""

BehaviourPolicy = Literal["uniform"] | PolicyPair

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Behaviour:
    """A behaviour policy of a game, exploration included.

    Attributes:
        k: how many agents the global agent sees.
        pi_l: `[sl, sg, al]`, law of a_l given (s_l, s_g).
        pi_g: `[sg, N, ag]`, law of a_g given (s_g, h); `[sg, 1, ag]` where it does not look at h; None where the
            pair has a memory, or too large a table.
        pair: that acts where it does not explore; None for the uniform policy.
        explore: epsilon.
        name: a word for the log.
    """

    k: int
    pi_l: Tensor
    pi_g: Tensor | None
    pair: PolicyPair | None
    explore: float
    name: str

    @classmethod
    def of(cls, game: Game, k: int, behaviour: BehaviourPolicy = "uniform", explore: float = 0.0) -> "Behaviour":
        """The behaviour policy that plays `behaviour` and explores with probability `explore`.

        Raises:
            ArgumentError: k is outside 1..n, `explore` outside [0, 1], or the word is not "uniform".
            PolicyError: the pair does not fit the game, or sees another number of agents.
        """
        check_game(game, "a log")
        k, game = game.check_k(k), game.to("cpu")
        explore = as_number("explore", explore, "[0, 1]", lambda x: 0 <= x <= 1, ArgumentError)
        if isinstance(behaviour, str):
            if behaviour != "uniform":
                raise ArgumentError(f"behaviour must be 'uniform' or a pair of policies, not {behaviour!r}")
            law = torch.full((game.num_sg, 1, game.num_ag), 1 / game.num_ag, dtype=torch.float64)
            return cls(k, uniform_local(game), law, None, explore, "uniform")
        check_pair("behaviour", behaviour)
        if behaviour.k != k:
            raise PolicyError(f"behaviour sees k = {behaviour.k} agents, the trajectories follow k = {k}")
        pi_l = _mixed(check_pi_l(game, behaviour.pi_l.cpu()), explore)
        pi_g = _law_of(game, behaviour)
        name = str(getattr(behaviour, "name", "a learned pair"))
        more = f", exploring {explore:g}" if explore else ""
        return cls(k, pi_l, None if pi_g is None else _mixed(pi_g, explore), behaviour, explore, name + more)


@door
def collect(
    game: Game,
    k: int,
    *,
    behaviour: BehaviourPolicy = "uniform",
    explore: float = 0.0,
    steps: int,
    trajectories: int = 1,
    seed: int = 0,
) -> Trajectories:
    """Play a behaviour policy in the k-agent game and write down what happens.

    Args:
        game: the game; of its n agents, k are followed (which is all that matters to them, whatever n is).
        k: how many local agents are followed and seen.
        behaviour: "uniform", or a pair that sees k agents, like a Solution or a heuristic pair.
        explore: probability that an agent draws its action uniformly, of the global and of each local agent.
        steps: T, the length of each trajectory.
        trajectories: E, how many there are, each from a fresh start; they are played side by side.
        seed: of everything random.

    Raises:
        ArgumentError: a number is outside its range, or the word is not "uniform".
        PolicyError: the pair does not fit the game, or sees another number of agents.
        SizeError: the trajectories would hold more than 10^8 numbers.

    Examples:
        >>> import altmarl_torch as am
        >>> data = am.collect(am.games.steer(), k=2, steps=1_000)
        >>> data.steps, data.k
        (1000, 2)
    """
    policy = Behaviour.of(game, k, behaviour, explore)
    steps = as_integer("steps", steps, 1, math.inf, ArgumentError)
    trajectories = as_integer("trajectories", trajectories, 1, math.inf, ArgumentError)
    check_data_size(trajectories, steps, policy.k)
    return _Collector(game.to("cpu"), policy, trajectories, as_seed(seed)).run(steps)


def _mixed(law: Tensor, explore: float) -> Tensor:
    """The law of an agent that draws uniformly with probability `explore`."""
    return law if explore == 0 else (1 - explore) * law + explore / law.shape[-1]


def _law_of(game: Game, pair: PolicyPair) -> Tensor | None:
    """pi_g as a table, where the pair's global agent has one that is not too large."""
    simplex = CountSimplex(pair.k, game.num_sl)
    if not simplex.can_be_listed or game.num_sg * simplex.size * game.num_ag > LARGEST_LOOKUP:
        return None
    if isinstance(pair, TabularPair):
        return check_pi_g(game, pair.pi_g.cpu(), simplex)
    if isinstance(pair, HeuristicPair):
        return check_pi_g(game, table(game, pair.rule, simplex), simplex)
    if isinstance(pair, Solution) and pair.belief is None:
        return check_pi_g(game, table(game, pair.law, simplex), simplex)
    return None


class _Collector:
    """All trajectories on their way, in numpy: tables for each step, and the states reached."""

    def __init__(self, game: Game, policy: Behaviour, trajectories: int, seed: int) -> None:
        self.game, self.policy, self.trajectories = game, policy, trajectories
        self.simplex = CountSimplex(policy.k, game.num_sl)
        start, moves, acts, pays = np.random.SeedSequence(seed).generate_state(4).tolist()
        self.start, self.pays = torch.Generator().manual_seed(start), torch.Generator().manual_seed(pays)
        self.uniforms = np.random.default_rng(moves)
        joint = einsum(policy.pi_l, game.P_l, "sl sg al, sl sg al sl_next -> sl sg al sl_next")
        self.local_sums = _sums(joint.flatten(0, 1).flatten(1))  # [(sl sg), (al sl')]
        self.global_sums = _sums(game.P_g.flatten(0, 1))  # [(sg ag), sg']
        self.choose = self._chooser(acts)

    def run(self, steps: int) -> Trajectories:
        """Play `steps` steps."""
        game, (E, k) = self.game, (self.trajectories, self.policy.k)
        s_g, s_l = np.empty((steps + 1, E), np.int32), np.empty((steps + 1, E, k), np.int32)
        a_g, a_l = np.empty((steps, E), np.int32), np.empty((steps, E, k), np.int32)
        s_g[0], s_l[0] = sg, sl = self._first()
        for t, uniform in enumerate(self._blocks(steps)):
            a_g[t] = action = self.choose(sg, sl, uniform[:, 0], uniform[:, 1])
            drawn = _draw(self.local_sums, sl * game.num_sg + sg[:, None], uniform[:, 3:])
            sg = _draw(self.global_sums, sg * game.num_ag + action, uniform[:, 2])
            a_l[t], sl = np.divmod(drawn, game.num_sl)
            s_g[t + 1], s_l[t + 1] = sg, sl
        return self._pack(*(np.ascontiguousarray(np.moveaxis(array, 0, 1)) for array in (s_g, s_l, a_g, a_l)))

    def _pack(
        self, s_g: NDArray[np.int32], s_l: NDArray[np.int32], a_g: NDArray[np.int32], a_l: NDArray[np.int32]
    ) -> Trajectories:
        """The trajectories with what they earned."""
        game = self.game
        r_g = self._earned("r_g", s_g[:, :-1], a_g)
        r_l = self._earned("r_l", s_l[:, :-1], s_g[:, :-1, None], a_l)
        sizes = {f"num_{word}": getattr(game, f"num_{word}") for word in ("sg", "sl", "ag", "al")}
        facts = {"name": game.name, "behaviour": self.policy.name}
        return Trajectories(s_g, s_l, a_g, a_l, r_g, r_l, gamma=game.gamma, n=game.n, **sizes, **facts)  # type: ignore[arg-type]

    def _earned(self, name: str, *indices: NDArray[np.int32]) -> Floats:
        """The rewards of entries of `r_g` or `r_l`: draws, where they have a law."""
        entries = tuple(torch.from_numpy(np.ascontiguousarray(index)).long() for index in indices)
        law: RewardLaw | None = getattr(self.game, f"{name}_law")
        table: Tensor = getattr(self.game, name)
        earned: Floats = (table[entries] if law is None else law.draw(*entries, generator=self.pays)).numpy()
        return earned

    def _first(self) -> tuple[Integers, Integers]:
        """s_g [E] and s_l [E, k] from the game's initial law: k of its agents."""
        initial = self.game.initial
        sg = initial.sample_sg(self.trajectories, self.start)
        mu = initial.sample_mu(self.trajectories, self.start)
        sl = torch.multinomial(mu, self.policy.k, replacement=True, generator=self.start)
        return sg.numpy(), sl.numpy()

    def _blocks(self, steps: int) -> Iterator[Floats]:
        """Uniform numbers for each step, `[E, 3 + k]`: explore or act, a_g, s_g', and one per agent."""
        width = 3 + self.policy.k
        longest = max(1, BLOCK // (self.trajectories * width))
        for begin in range(0, steps, longest):
            yield from self.uniforms.random((min(longest, steps - begin), self.trajectories, width))

    def _chooser(self, seed: int) -> Callable[[Integers, Integers, Floats, Floats], Integers]:
        """How a_g [E] is chosen from s_g [E], s_l [E, k] and two uniform numbers each."""
        policy, num_sg, size = self.policy, self.game.num_sg, self.simplex.size
        if policy.pi_g is None:
            assert policy.pair is not None
            return self._asker(policy.pair.dispatcher(seed))
        if bool((policy.pi_g == policy.pi_g[:, :1]).all()):  # it does not look: no counts need be ranked
            sums = _sums(policy.pi_g[:, 0])
            return lambda sg, sl, _, uniform: _draw(sums, sg, uniform)
        sums, rank = _sums(policy.pi_g.reshape(num_sg * size, -1)), _ranker(policy.k, self.game.num_sl)
        return lambda sg, sl, _, uniform: _draw(sums, sg * size + rank(sl), uniform)

    def _asker(self, dispatcher: Dispatcher) -> Callable[[Integers, Integers, Floats, Floats], Integers]:
        """Ask the pair's dispatcher in every step, and explore instead now and then."""
        dispatcher.reset(self.trajectories)
        explore, num_ag = self.policy.explore, self.game.num_ag

        def choose(sg: Integers, sl: Integers, which: Floats, uniform: Floats) -> Integers:
            acted = dispatcher.act(torch.from_numpy(sg), self._counts(sl)).numpy()
            if acted.shape != sg.shape or acted.min() < 0 or acted.max() >= num_ag:
                raise PolicyError(f"behaviour must answer {len(sg)} actions in 0..{num_ag - 1}")
            return np.where(which < explore, (uniform * num_ag).astype(np.int64), acted)

        return choose

    def _counts(self, sl: Integers) -> Tensor:
        """How many of the k agents are in each state: `[E, sl]`."""
        return torch.from_numpy((sl[:, :, None] == np.arange(self.game.num_sl)).sum(1))


def _ranker(k: int, num_sl: int) -> Callable[[Integers], Integers]:
    """The rank of the counts of agents in the states `[E, k]`, by the formula of `simplex`: `[E]`.

    Its t_i is how many agents are in states above i, which needs no counts; with a few rows per call it is what time
    goes to.
    """
    last, columns = num_sl - 1, np.arange(num_sl - 1)
    rows = [[math.comb(t + last - 1 - i, last - i) for i in range(last)] for t in range(k + 1)]
    terms = np.array(rows, dtype=np.int64).reshape(k + 1, last)

    def rank(sl: Integers) -> Integers:
        above = (sl[:, :, None] > columns).sum(1)
        ranks: Integers = terms[above, columns].sum(-1)
        return ranks

    return rank


def _sums(laws: Tensor) -> Floats:
    """Running sums of laws `[rows, outcomes]` without the last: what `_draw` compares with."""
    sums: Floats = cumulative(laws)[:, :-1].contiguous().numpy()
    return sums


def _draw(sums: Floats, rows: Integers, uniform: Floats) -> Integers:
    """One outcome for each row: how many of its running sums the uniform number has reached."""
    drawn: Integers = (uniform[..., None] >= sums[rows]).sum(-1)
    return drawn
