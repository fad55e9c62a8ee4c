r"""The Bellman operators of the k-agent surrogate on batches of (s_g, counts): no table, no list of the simplex.

The operators are those of `operators.bellman` (Definitions B.1-B.3). What changes is what they are applied to: a
function of the counts, a network or a look-up in a table, evaluated where it is asked for. For a batch of (s_g, h),

    Q(s_g, h, a) = r_g(s_g, a) + sum_z (h_z / k) r_l_pi(z, s_g) + gamma C(s_g, h, a),
    C(s_g, h, a) = E_{s_g' ~ P_g(. | s_g, a)}  E_{h' | h, s_g}  V(s_g', h'),          V = max_a Q or sum_a pi_g(a) Q.

Rewards are known, so only the **continuation value** C is ever learned. Of its two expectations the outer one is taken
exactly, through P_g; the inner one is replaced by m draws of h' (`CountMover`: the law of the next counts does not
depend on a, so one draw serves every action, and differences between actions share its luck):

    target(s_g, h, a) = sum_{s_g'} P_g(s_g' | s_g, a)  1/m sum_j V(s_g', h^j).

**Why draws do not bias it.** The maximum in V is taken at a state, h^j, before the average over draws. So a target is
unbiased for C, and least squares on fresh draws converges to T-hat_k itself, for every m, one included. (T-hat_{k,m}
differs because its draws are frozen: Definition B.3.) m only buys less noise per gradient step.

**Stochastic rewards** (Algorithm 10, `xi`). The network learns Q as r + gamma C with the mean reward r, so Xi draws of
the reward at (s_g, h, a), drawn afresh in every gradient step, enter the target of C as (their average - r) / gamma.
This has mean 0, and it too is averaged after the maximum: the fixed point is T-hat_k's for every Xi, and Xi buys less
noise. That rewards are centred (`centred`) makes no difference to it.

**A sample of a population** (`shown`). The counts are those of a population, and the global agent sees `shown` of its
agents, a fresh uniform sample at every step: the n-agent system of Algorithm 4 itself, on counts. `show` draws what is
seen; everything else is as if all were.

Given a table in place of the network (`table_values`), the same functions are the tabular operators; a test says so.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from einops import einsum, rearrange
from torch import Tensor, nn

from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import CountSimplex
from altmarl_torch.errors import ArgumentError, SizeError
from altmarl_torch.games.centring import centre_rewards
from altmarl_torch.games.game import Game
from altmarl_torch.games.reward_draws import RewardSampler
from altmarl_torch.learners.neural.grid import CountGrid
from altmarl_torch.learners.neural.samples import SampleSizes
from altmarl_torch.policies.base import cumulative, draw
from altmarl_torch.support.native.mover import CountMover
from altmarl_torch.support.sampling import draw_sample, split, split_shares
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import check_indices

__all__ = ["LARGEST_COUNTED", "BatchSurrogate", "Values", "centred", "check_count", "table_values"]

LARGEST_COUNTED, LARGEST_VALUE, SMALLEST_VALUE = 2**24, 1e15, 1e-15
"""How far float32 counts one by one; values whose squares it holds with room to spare."""

Values = Callable[[Tensor], Tensor]
"""V(., h) for every global state: counts `[b, sl]` to `[b, sg]`."""


@dataclass(frozen=True, eq=False)
class BatchSurrogate:
    """The k-agent MDP under a frozen pi_l, in batches. Counts are whole numbers in float32, `[b, sl]` with sum k.

    Its methods raise an ArgumentError where a row of counts is none of k agents, or a global state none of the game's.

    Attributes:
        game: the game.
        samples: how many agents there are: one number, or several (`learners.neural.samples`).
        P_l_pi: `[sl, sg, sl']`, law of an agent's next state (Eq. 5).
        local_means: `[sg, sl]`, r_l_pi of Eq. 6 with a row for each s_g, float32.
        P_g: `[sg, ag, sg']`, float32.
        r_g: `[sg, ag]`, float32.
        mover: draws the next counts.
        P_g_sums: `[sg, ag, sg']`, running sums of P_g, for draws of s_g'.
        prior: of the posterior correction (`counts.resampling`); None: the k agents are the population.
        rewards: draws of the rewards, for targets; None: their means.
        xi: how many of them are averaged.
        shown: how many of the agents the global agent sees, a fresh sample at every step; None: all.
    """

    game: Game
    samples: SampleSizes
    P_l_pi: Tensor
    local_means: Tensor
    P_g: Tensor
    r_g: Tensor
    mover: CountMover
    P_g_sums: Tensor
    prior: Prior | None = None
    rewards: RewardSampler | None = None
    xi: int = 1
    shown: int | None = None

    __repr__ = brief

    @classmethod
    def build(
        cls,
        game: Game,
        pi_l: Tensor,
        k: int | SampleSizes,
        prior: Prior | None = None,
        shown: int | None = None,
    ) -> "BatchSurrogate":
        """Form the surrogate of k agents under `pi_l [sl, sg, al]`; SizeError where float32 cannot count to k."""
        samples = SampleSizes.of(k)
        check_count(samples.largest)
        P_l_pi, r_l_pi = game.induced(pi_l)
        mover = CountMover(rearrange(P_l_pi, "l g L -> g l L"), samples.largest, fixed=not samples.several)
        local_means = rearrange(r_l_pi, "l g -> g l").float().contiguous()
        tables = game.P_g.float(), game.r_g.float(), mover, cumulative(game.P_g)
        return cls(game, samples, P_l_pi, local_means, *tables, prior, shown=shown)

    @cached_property
    def grid(self) -> CountGrid | None:
        """Every count vector with its exact kernel, where the pairs (s_g, h) are few and all agents are seen."""
        if self.shown is not None:
            return None
        return CountGrid.of(self.game, (self.P_l_pi, self.local_means.T.double()), self.samples, self.prior)

    @property
    def k(self) -> int:
        """The number of agents; of several, the largest."""
        return self.samples.largest

    @property
    def reward_scale(self) -> float:
        """How far rewards lie apart: the unit in which networks express values (1 where all are equal)."""
        spread = sum(float(table.max() - table.min()) for table in (self.game.r_g, self.game.r_l))
        return spread or 1.0

    def action_values(self, counts: Tensor, continuation: Tensor) -> Tensor:
        """Q(s_g, h, a) from C `[b, sg, ag]`, for every global state: `[b, sg, ag]`."""
        self.samples.check(counts)
        local = self._local_rewards(counts)
        return self.r_g + local.unsqueeze(-1) + self.game.gamma * continuation

    def network_action_values(self, network: nn.Module, baseline: Tensor, counts: Tensor) -> Tensor:
        """The same from a network's C in units of `reward_scale`, and `baseline [sg, ag]`, which is added to it."""
        continuation = self.reward_scale * network(self.samples.inputs(counts)).float() + baseline
        return self.action_values(counts, continuation)

    def _local_rewards(self, counts: Tensor) -> Tensor:
        """Expected reward of a local agent in every global state, of counts that have been checked: `[b, sg]`."""
        if self.prior is None:
            return einsum(counts.float(), self.local_means, "b l, g l -> b g") / self.samples.of_rows(counts)
        return einsum(self.prior.mean(counts, self.k).float(), self.local_means, "g b l, g l -> b g")

    def sample(self) -> "BatchSurrogate":
        """The same laws for as many agents as are shown, who are all seen: rewards and inputs of what is seen."""
        return self if self.shown is None else replace(self, samples=SampleSizes.of(self.shown), shown=None)

    def show(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """What the global agent sees of counts `[b, sl]`: a draw without replacement, `[b, sl]`, or all."""
        self.samples.check(counts)
        return counts if self.shown is None else draw_sample(counts, self.shown, self.k, generator)

    def movers(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """The counts that move, where those that are seen are given: the same, or a fresh sample."""
        check_indices("s_g", s_g, self.game.num_sg)
        self.samples.check(counts)
        return counts if self.prior is None else self.prior.resample(s_g, counts, self.k, generator)

    def next_counts(self, s_g: Tensor, counts: Tensor, generator: torch.Generator) -> Tensor:
        """A draw of the next counts `[b, sl]`, given s_g `[b]` and counts `[b, sl]`."""
        return self.mover(s_g, self.movers(s_g, counts, generator), generator)

    def targets(self, values: Values, s_g: Tensor, counts: Tensor, m: int, generator: torch.Generator) -> Tensor:
        """Targets of C at the pairs (s_g `[b]`, counts `[b, sl]`), by m draws of the next counts: `[b, ag]`."""
        target = self.spread(self.draw_values(values, s_g, counts, m, generator).mean(0), s_g)
        if self.rewards is None:
            return target
        return target + self.reward_noise(s_g, counts, 1, generator)

    def reward_noise(self, s_g: Tensor, counts: Tensor, draws: int, generator: torch.Generator) -> Tensor:
        """What the average of `draws` times xi draws of the rewards adds to a target of C: `[b, ag]`."""
        self.samples.check(counts)
        if self.rewards is None or self.game.gamma == 0:  # where nothing follows, C is of no account
            return self.r_g.new_zeros(len(s_g), self.r_g.shape[1])
        return self.rewards.noise(s_g, counts, draws * self.xi, generator).float() / self.game.gamma

    def draw_values(self, values: Values, s_g: Tensor, counts: Tensor, m: int, generator: torch.Generator) -> Tensor:
        """V(s_g', h^j) at m draws of the next counts: `[m, b, sg']`."""
        following = self.next_counts(s_g.repeat_interleave(m), counts.repeat_interleave(m, 0), generator)
        return rearrange(values(following), "(b m) G -> m b G", m=m)

    def spread(self, values: Tensor, s_g: Tensor) -> Tensor:
        """The expectation over s_g' of values `[b, sg']`, for every action: `[b, ag]`."""
        check_indices("s_g", s_g, self.game.num_sg)
        return einsum(self.P_g[s_g], values, "b a G, b G -> b a")

    def step(
        self, s_g: Tensor, counts: Tensor, a_g: Tensor, moves: torch.Generator, global_moves: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One step of the k-agent game: reward `[b]` (its local part expected, Eq. 6), next s_g, next counts."""
        check_indices("s_g", s_g, self.game.num_sg)
        check_indices("a_g", a_g, self.game.num_ag)
        following = self.next_counts(s_g, counts, moves)  # under the current s_g (Eq. 3)
        local = self._local_rewards(counts).gather(-1, s_g.unsqueeze(-1)).squeeze(-1)
        reward = self.r_g[s_g, a_g] + local
        return reward, draw(self.P_g_sums[s_g, a_g], global_moves), following

    def draw_start(self, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """(s_g, counts) from the initial law: `[b]` and `[b, sl]`."""
        s_g = self.game.initial.sample_sg(batch, generator)
        mu = self.game.initial.sample_mu(batch, generator)
        return s_g, self.draw_counts(mu, generator)

    def draw_counts(self, mu: Tensor, generator: torch.Generator) -> Tensor:
        """Counts of k independent agents, Multinomial(k, mu) for each row of mu `[b, sl]`; of several k, one drawn."""
        everyone = self.samples.draw(len(mu), generator).unsqueeze(-1)
        return split(everyone, split_shares(mu).unsqueeze(1), generator).float()


def check_count(k: int) -> None:
    """Raise a SizeError where float32 cannot count to k."""
    if k > LARGEST_COUNTED:
        raise SizeError(f"k = {k:,}: networks see counts in float32, exact up to {LARGEST_COUNTED:,}; use a smaller k")


def centred(game: Game) -> tuple[Game, float]:
    """The game with rewards around zero, and by how much each step's reward was lowered.

    A common offset of all rewards changes no policy, but in float32 it would drown the differences.

    Raises:
        ArgumentError: values of the centred rewards lie so far apart, or so close together, that float32 cannot square
            them.
    """
    moved, lowered = centre_rewards(game)
    if not moved.v_max <= LARGEST_VALUE:
        raise ArgumentError(
            f"values of this game differ by up to {moved.v_max:.3g}; networks compute in float32 and need at most "
            f"{LARGEST_VALUE:g}: express the rewards in a larger unit"
        )
    if 0 < moved.v_max < SMALLEST_VALUE:
        raise ArgumentError(
            f"values of this game differ by at most {moved.v_max:.3g}; networks compute in float32 and need at least "
            f"{SMALLEST_VALUE:g}: express the rewards in a smaller unit"
        )
    return moved, lowered


def table_values(table: Tensor, simplex: CountSimplex) -> Values:
    """A table of values `[sg, N]` as a function of counts, float32."""
    return lambda counts: rearrange(table[:, simplex.rank(counts.long())], "g b -> b g").float()
