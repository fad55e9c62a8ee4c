r"""The Bellman operators of the k-agent surrogate (Definitions B.1-B.3), as pure functions of Q.

Freeze the shared local policy pi_l. Then k agents moving by P_l_pi (Eq. 5) and the global agent form an MDP, the
*surrogate*: its state is (s_g, h), its action a_g, its reward that of Eq. 6,

    r_Delta(s_g, h, a_g) = r_g(s_g, a_g) + sum_z (h_z / k) r_l_pi(z, s_g),

and the next state has s_g' ~ P_g(. | s_g, a_g) and, independently, h' from the kernel under the *current* s_g (Eq. 3).
The operators on Q(s_g, h, a_g) differ only in the expectation they take:

    T-hat_k      (B.2)  r + gamma E max_a' Q(s_g', h', a')            exact           `adapted_bellman`
    T-hat_{k,m}  (B.3)  r + gamma/m sum_j max_a' Q(s_g^j, h^j, a')    m frozen draws  `empirical_adapted_bellman`
    T            (B.1)  T-hat_k with k = n, every agent seen
    T-hat^random (F.2)  either of the first two, with draws of r      Xi frozen draws `randomized_adapted_bellman`

and each is a gamma-contraction in the supremum norm (Lemmas B.6, B.7). With rewards in [0, r~] its iterates from zero
stay below r~/(1-gamma) (Lemma B.4), and T-hat_k^T 0 is Lipschitz in the histogram (Theorem B.18).

Special cases, which are tests: gamma = 0 gives r; k = n gives T; for k = 1 the counts are one-hot and the surrogate is
the MDP of a single agent; as m grows, T-hat_{k,m} tends to T-hat_k.

**Stochastic rewards.** Algorithm 10 averages Xi draws of R_Delta (Eq. 53) in place of r_Delta, and as printed it draws
anew in every iteration. Here they are drawn once, for every (s_g, h, a_g), and frozen like the m draws: only then is
there one operator, a contraction with a fixed point. It depends on the draws through their averages alone, and an
average that is off by at most e moves the fixed point by at most e / (1 - gamma).

The same operators act on tables over k-tuples of local states, [sg, sl^k, ag] (`adapted_bellman_tuples`), which is what
the paper uses where sl^k <= sl k^sl (Algorithm 1); folding tuples onto their counts maps one to the other.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from einops import einsum, rearrange
from torch import Tensor

from altmarl_torch.counts.kernels import Kernel, SampledCountKernel, make_kernels
from altmarl_torch.counts.pair_moves import MANY_COUNTS, PairPlan
from altmarl_torch.counts.resampling import PosteriorKernel, Prior
from altmarl_torch.counts.simplex import CountSimplex, list_tuples, tuples_to_counts
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.game import Game
from altmarl_torch.support.threads import one_thread, run

__all__ = [
    "Draws",
    "Surrogate",
    "SurrogateCache",
    "action_values",
    "adapted_bellman",
    "adapted_bellman_tuples",
    "draw_next",
    "draw_next_tuples",
    "empirical_adapted_bellman",
    "max_backup",
    "next_sg_law",
    "policy_backup",
    "push_law",
    "randomized_adapted_bellman",
    "reward_noise",
    "surrogate_reward",
    "tuple_reward",
    "uses_tuples",
]


STATES_AT_ONCE = 2**14
"""Count vectors at which rewards are drawn together."""


@dataclass(frozen=True)
class Surrogate:
    """The k-agent MDP under a frozen pi_l, in counts."""

    game: Game
    plan: PairPlan  # the simplex of counts and its layouts
    P_l_pi: Tensor  # [sl, sg, sl'] law of an agent's next state (Eq. 5)
    r_l_pi: Tensor  # [sl, sg] an agent's expected reward (Eq. 6)
    kernels: tuple[Kernel, ...]  # law of the next counts under each s_g
    local_reward: Tensor  # [sg, N] sum_z mean_z r_l_pi(z, s_g), the mean that of `frequencies`
    prior: Prior | None = None  # of the posterior correction (`posterior`); None: the k agents are the population
    pi_l: Tensor | None = None  # [sl, sg, al], where it is known; draws of rewards need it

    @classmethod
    def build(cls, game: Game, pi_l: Tensor, plan: PairPlan, prior: Prior | None = None) -> "Surrogate":
        """Form the surrogate of `plan.simplex.k` agents under `pi_l [sl, sg, al]`; with a prior, the corrected one."""
        return replace(cls.from_tables(game, *game.induced(pi_l), plan, prior), pi_l=pi_l)

    @classmethod
    def from_tables(
        cls,
        game: Game,
        P_l_pi: Tensor,
        r_l_pi: Tensor,
        plan: PairPlan,
        prior: Prior | None = None,
        moves: tuple[Kernel, ...] | None = None,
    ) -> "Surrogate":
        """Form the surrogate from the induced tables of Eq. 5 and 6, with `make_kernels` for its moves by default."""
        moves = make_kernels(P_l_pi, plan) if moves is None else moves
        if prior is None:
            local_reward = einsum(plan.simplex.frequencies, r_l_pi, "h l, l g -> g h")
            return cls(game, plan, P_l_pi, r_l_pi, moves, local_reward)
        kernels = tuple(map(PosteriorKernel, prior.kernels(plan.simplex), moves))
        local_reward = einsum(prior.mean(plan.simplex.counts, plan.simplex.k), r_l_pi, "g h l, l g -> g h")
        return cls(game, plan, P_l_pi, r_l_pi, kernels, local_reward, prior)

    def occupation(self, law: Tensor) -> Tensor:
        """How many of all agents are in z while s_g, for a law `[sg, N]`, as shares: `[sl, sg]`, in its type."""
        if self.prior is None:
            return einsum(law, self.simplex.frequencies.to(law.dtype), "g h, h l -> l g")
        return einsum(law, self.prior.mean(self.simplex.counts, self.simplex.k).to(law.dtype), "g h, g h l -> l g")

    def movers(self, sg: int, law: Tensor) -> Tensor:
        """The law of the counts that move, `[N, ...]`, where those that are seen under sg have the given law."""
        return law if self.prior is None else self.prior.kernels(self.simplex)[sg].push(law)

    @property
    def simplex(self) -> CountSimplex:
        """The simplex of the surrogate's counts."""
        return self.plan.simplex

    def map_sg(self, function: Callable[[int], Tensor]) -> list[Tensor]:
        """`function(s_g)` for every s_g, in order; where the tables are large, by several workers (`parallel`)."""
        states = range(self.game.num_sg)
        with one_thread():
            return run(function, states) if self.simplex.size >= MANY_COUNTS else [function(sg) for sg in states]

    @property
    def start(self) -> Tensor:
        """A first guess of the values, `[sg, N]`: zero, where the paper starts."""
        return torch.zeros_like(self.local_reward)

    @property
    def initial_law(self) -> Tensor:
        """The law rho of (s_g, h) at the start, `[sg, N]`: that of the game, with k agents."""
        law = self.game.initial
        return einsum(law.sg, law.count_law(self.simplex.counts), "g, h -> g h")


class SurrogateCache:
    """Builds surrogates of one game and plan, and remembers the last: the players take turns on the same pi_l."""

    def __init__(self, game: Game, plan: PairPlan, prior: Prior | None = None) -> None:
        self.game, self.plan, self.prior = game, plan, prior
        self._last: tuple[Tensor, Surrogate] | None = None

    def __call__(self, pi_l: Tensor) -> Surrogate:
        """The surrogate under `pi_l [sl, sg, al]`."""
        if self._last is None or not torch.equal(self._last[0], pi_l):
            self._last = pi_l, Surrogate.build(self.game, pi_l, self.plan, self.prior)
        return self._last[1]


def surrogate_reward(surrogate: Surrogate) -> Tensor:
    """r_Delta of Eq. 6 on counts: `[sg, N, ag]`."""
    return surrogate.game.r_g[:, None, :] + surrogate.local_reward[:, :, None]


def _global_values(surrogate: Surrogate, sg: int, values: Tensor) -> Tensor:
    """r_g(s_g, a) + gamma E V(s_g', h') in one global state: values `[N, sg']` to `[N, ag]`, in their type."""
    game, dtype = surrogate.game, values.dtype
    expected = surrogate.kernels[sg].expect(values)
    return torch.addmm(game.r_g[sg].to(dtype), expected, game.P_g[sg].to(dtype).T, alpha=game.gamma)


def _backup(surrogate: Surrogate, values: Tensor, reduce: Callable[[Tensor, int], Tensor]) -> Tensor:
    """reduce(Q(s_g, ., .), s_g) for every s_g: `[sg, N]`; the local reward, the same for all a_g, is added last."""
    columns = rearrange(values, "g h -> h g").contiguous()
    reduced = surrogate.map_sg(lambda sg: reduce(_global_values(surrogate, sg, columns), sg))
    return torch.stack(reduced).add_(surrogate.local_reward)


def action_values(surrogate: Surrogate, values: Tensor) -> Tensor:
    """Q(s_g, h, a_g) = r + gamma E V(s_g', h'), for values `[sg, N]`: `[sg, N, ag]`."""
    columns = rearrange(values, "g h -> h g").contiguous()
    tables = surrogate.map_sg(lambda sg: _global_values(surrogate, sg, columns))
    return torch.stack(tables).add_(surrogate.local_reward.unsqueeze(-1))


def adapted_bellman(Q: Tensor, surrogate: Surrogate) -> Tensor:
    """T-hat_k Q (Definition B.2, Eq. 14), Q `[sg, N, ag]`, with the surrogate's own kernels."""
    return action_values(surrogate, Q.amax(-1))


def max_backup(surrogate: Surrogate, values: Tensor) -> Tensor:
    """max_a (r + gamma E V): `[sg, N]` to `[sg, N]`; the operator T-hat_k on values instead of Q."""
    return _backup(surrogate, values, lambda Q, sg: Q.amax(-1))


def policy_backup(surrogate: Surrogate, pi_g: Tensor, values: Tensor) -> Tensor:
    """sum_a pi_g(a | s_g, h) (r + gamma E V), for `pi_g [sg, N, ag]`, in its type: `[sg, N]` to `[sg, N]`."""
    return _backup(surrogate, values.to(pi_g.dtype), lambda Q, sg: Q.mul_(pi_g[sg]).sum(-1))


def next_sg_law(surrogate: Surrogate, pi_g: Tensor) -> Tensor:
    """The law of s_g' given (s_g, h) under `pi_g [sg, N, ag]`: `[sg, N, sg']`."""
    return einsum(pi_g, surrogate.game.P_g.to(pi_g.dtype), "g h a, g a G -> g h G")


def push_law(surrogate: Surrogate, to_sg: Tensor, law: Tensor) -> Tensor:
    """The law of (s_g', h') when (s_g, h) has the given law `[sg, N]` and s_g' follows `to_sg [sg, N, sg']`."""
    arrivals = surrogate.map_sg(lambda sg: surrogate.kernels[sg].push(law[sg, :, None] * to_sg[sg]))
    total = arrivals[0]
    for more in arrivals[1:]:
        total += more
    return rearrange(total, "h G -> G h").contiguous()


@dataclass(frozen=True)
class Draws:
    """The m frozen draws of T-hat_{k,m} at each state: those of h' are shared by the actions, those of s_g' are not."""

    sg: Tensor  # [sg, states, ag, m] next global states
    local: Tensor  # [sg, states, m] next counts or tuples, by rank


def draw_next(game: Game, P_l_pi: Tensor, plan: PairPlan, m: int, generator: torch.Generator) -> Draws:
    """Draw m next states from each (s_g, h, a_g) (Definition B.3)."""
    local = [
        SampledCountKernel(P_l_pi[:, s], plan.simplex.k, m, generator, plan=plan).draws for s in range(game.num_sg)
    ]
    return Draws(_draw_next_sg(game, plan.simplex.size, m, generator), torch.stack(local))


def draw_next_tuples(game: Game, P_l_pi: Tensor, k: int, m: int, generator: torch.Generator) -> Draws:
    """Draw m next states from each (s_g, s_1..s_k, a_g) (Definition B.3)."""
    tuples = list_tuples(k, game.num_sl, game.device)
    place = game.num_sl ** torch.arange(k - 1, -1, -1, device=game.device)
    drawn = [
        rearrange(
            torch.multinomial(P_l_pi[:, s], len(tuples) * m * k, True, generator=generator),
            "l (t j i) -> t j i l",
            j=m,
            i=k,
        )
        for s in range(game.num_sg)
    ]
    index = rearrange(tuples, "t i -> t 1 i 1").expand(-1, m, -1, 1)
    local = torch.stack([(states.gather(-1, index)[..., 0] * place).sum(-1) for states in drawn])
    return Draws(_draw_next_sg(game, len(tuples), m, generator), local)


def _draw_next_sg(game: Game, states: int, m: int, generator: torch.Generator) -> Tensor:
    rows = rearrange(game.P_g, "g a G -> (g a) G")
    drawn = torch.multinomial(rows, states * m, replacement=True, generator=generator)
    return rearrange(drawn, "(g a) (h j) -> g h a j", g=game.num_sg, j=m)


def empirical_adapted_bellman(Q: Tensor, reward: Tensor, draws: Draws, gamma: float) -> Tensor:
    """T-hat_{k,m} Q (Definition B.3, Eq. 15) on counts or tuples: Q and reward `[sg, states, ag]`."""
    values = Q.amax(-1)
    total = torch.zeros_like(reward, dtype=Q.dtype)
    for j in range(draws.local.shape[-1]):
        total += values[draws.sg[..., j], draws.local[..., j].unsqueeze(-1)]
    return reward.to(Q.dtype) + gamma * total / draws.local.shape[-1]


def randomized_adapted_bellman(Q: Tensor, surrogate: Surrogate, noise: Tensor, draws: Draws | None = None) -> Tensor:
    """T-hat^random_{k,m} Q averaged over Xi frozen draws of the rewards (Definition F.2, Eq. 54), on counts.

    Q and `noise` are `[sg, N, ag]`, the latter from `reward_noise`; without `draws`, the next state is expected.
    """
    if draws is None:
        return adapted_bellman(Q, surrogate).add_(noise)
    return empirical_adapted_bellman(Q, surrogate_reward(surrogate) + noise, draws, surrogate.game.gamma)


def reward_noise(surrogate: Surrogate, counts: Tensor, xi: int, generator: torch.Generator) -> Tensor:
    """The average of `xi` draws of R_Delta (Eq. 53), less its mean: `[sg, states, ag]` at counts `[states, sl]`.

    A table over tuples hands in the counts of every tuple, and each has draws of its own.

    Raises:
        ArgumentError: the rewards are not random, or the surrogate does not know its pi_l.
    """
    game = surrogate.game
    if not game.has_random_rewards or surrogate.pi_l is None:
        raise ArgumentError("draws of rewards need a game with a reward law, and a surrogate made by Surrogate.build")
    sampler = game.reward_sampler(surrogate.pi_l)
    tables = []
    for sg in range(game.num_sg):
        parts = torch.split(counts, STATES_AT_ONCE)
        rows = [torch.full((len(part),), sg, device=counts.device) for part in parts]
        noise = [sampler.noise(s_g, part, xi, generator) for s_g, part in zip(rows, parts, strict=True)]
        tables.append(torch.cat(noise))
    return torch.stack(tables)


def adapted_bellman_tuples(Q: Tensor, reward: Tensor, game: Game, P_l_pi: Tensor, k: int) -> Tensor:
    """T-hat_k Q (Definition B.2) on k-tuples: Q and reward `[sg, sl^k, ag]`, the agents' states in `list_tuples` order.

    E over (s_1', ..., s_k') is taken agent by agent: P_l_pi is applied along each of the k axes in turn.
    """
    backed_up = []
    P_g, P_l_pi = game.P_g.to(Q.dtype), P_l_pi.to(Q.dtype)
    for sg in range(game.num_sg):
        values = rearrange(Q.amax(-1), "G t -> t G")
        for _ in range(k):
            agent_first = rearrange(values, "(l rest) G -> l (rest G)", l=game.num_sl)
            moved = P_l_pi[:, sg] @ agent_first
            values = rearrange(moved, "l (rest G) -> (rest l) G", G=game.num_sg)
        backed_up.append(einsum(P_g[sg], values, "a G, t G -> t a"))
    return reward.to(Q.dtype) + game.gamma * torch.stack(backed_up)


def tuple_reward(game: Game, r_l_pi: Tensor, k: int) -> Tensor:
    """r_Delta of Eq. 6 on k-tuples: `[sg, sl^k, ag]`."""
    frequencies = tuples_to_counts(list_tuples(k, game.num_sl, game.device), game.num_sl).to(r_l_pi.dtype) / k
    return game.r_g[:, None, :] + einsum(frequencies, r_l_pi, "t l, l g -> g t").unsqueeze(-1)


def uses_tuples(num_sl: int, k: int) -> bool:
    """The paper's switch rule (Algorithms 1 and 2): tables over tuples where sl^k <= sl k^sl, over counts elsewhere."""
    return bool(num_sl**k <= num_sl * k**num_sl)
