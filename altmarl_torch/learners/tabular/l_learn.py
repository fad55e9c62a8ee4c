r"""L-LEARN, model-based (`l_learner="dp"`): the best shared local policy against a fixed global one.

All n local agents play one policy pi_l(s_l, s_g), but none of them sees h, on which pi_g acts: pi_l controls the
surrogate through a keyhole, and dynamic programming on (s_g, h) does not apply. What does is the derivative of the
value. Let V be the joint value of the pair, d its discounted occupancy of (s_g, h), and single one agent out. In state
z, with companions h - e_z that move by P_l_pi, its action a is worth

    q(z, a | s_g, h) = r_l(z, s_g, a)/k + gamma E V(s_g', h'' + e_{z'}),        z' ~ P_l(. | z, s_g, a),

h'' being where the companions go. Weighing by how often an agent is in z, and summing over the h it cannot see,

    Q(z, s_g, a) = sum_h d(s_g, h) h_z q(z, a | s_g, h)        is the derivative of the value in pi_l(a | z, s_g):

the policy gradient, exactly (Sutton et al., NeurIPS 1999). In each round pi_l turns to its best actions wherever that
promises a gain; the value is evaluated exactly, and where turning everywhere does not raise it, the half of the turns
that promise most is tried, and so on. The value rises in every round, so the rounds end; they end where no turn has a
positive derivative. Then single changes of pi_l (`turns.single_changes`) are judged, by bounds on what they gain
(`single`) and then by their value, and the search goes on from any that raises the value. What remains is a policy that
no single change improves by more than the tolerance.

With many agents the search starts from its own result for fewer, to whom pi_g is shown on scaled counts: what is
proposed there is cheap, and still only accepted if the exact value rises. The derivative hardly depends on how many
agents there are: where it says for fewer that every change clearly loses, it is not taken again for all k.

**Objectives.** `"team"` judges by the reward of the game, r_g + mean r_l; `"own"`, the paper's, by mean r_l alone,
which by exchangeability is the expected reward of one tagged agent. (The paper's factor 1/n changes no policy and is
left out.)
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import get_args

import torch
from einops import einsum
from torch import Tensor

from altmarl_torch.counts.kernels import make_kernels
from altmarl_torch.counts.pair_moves import PairPlan
from altmarl_torch.counts.prior import Prior
from altmarl_torch.counts.simplex import scale_up
from altmarl_torch.errors import ArgumentError
from altmarl_torch.games.crowd import without_global_rewards
from altmarl_torch.games.game import Game, check_game
from altmarl_torch.learners.tabular.single import gaining
from altmarl_torch.learners.turns import all_lose_clearly, single_changes, turns
from altmarl_torch.operators.bellman import next_sg_law
from altmarl_torch.operators.fixed_point import LARGE_TABLE, Progress
from altmarl_torch.operators.joint_value import JointValue, joint_value, span_tolerance, value_tolerance
from altmarl_torch.operators.occupancy import occupancy
from altmarl_torch.operators.surrogate import Surrogate, SurrogateCache
from altmarl_torch.operators.words import Objective
from altmarl_torch.policies.tabular import check_pi_g
from altmarl_torch.support.scalars import check_word
from altmarl_torch.support.showing import brief
from altmarl_torch.support.tables import as_tolerance, check_kind
from altmarl_torch.support.threads import one_thread

__all__ = ["LocalResponse", "agent_values", "expected_seconds", "l_learn"]

logger = logging.getLogger(__name__)

MAX_ROUNDS = 200
"""A cap on accepted improvements; a handful is usual."""

OCCUPANCY_ERROR = 1e-2
"""Relative error of the occupancy, in the 1-norm."""

EVERY_CHANGE = 1_000
"""Of chains of at most so many states every single change is judged, not those alone that the derivative leaves open;
unless values are coarser than `value_tolerance`, as where another search goes on from what is found."""

COARSE_FROM, COARSE_TOLERANCE = 2_000, 1e-5
"""Above so many counts, the search is first carried out with fewer agents; and the error of its values, relative to
their span."""


@dataclass(frozen=True)
class LocalResponse:
    """What L-LEARN proposes."""

    pi_l: Tensor  # [sl, sg, al]
    value: float  # its value under the objective, averaged over the initial law
    joint: JointValue  # the same from each state, with the bound on its error
    rounds: int  # accepted improvements
    sweeps: int  # Bellman updates
    law: Tensor | None  # [sg, N] discounted occupancy under the last policy whose derivative was taken
    changes_tried: int  # single changes that were judged in the last pass, by their value or a bound on it
    gains: Tensor | None  # [sl, sg, al] what turning pi_l promises; None where it was known without

    __repr__ = brief

    @property
    def is_clear(self) -> bool:
        """Whether the response would hardly be another one for more agents."""
        return self.gains is not None and all_lose_clearly(self.pi_l, self.gains)


@dataclass(frozen=True)
class Candidate:
    """A local policy with everything that its value rests on."""

    pi_l: Tensor
    surrogate: Surrogate
    value: JointValue


def expected_seconds(game: Game, plan: PairPlan) -> float:
    """About how long the search of single changes takes in one alternation, in seconds of a core; an order of size.

    Some ten passes look at a quarter of all changes in a few sweeps each; a core makes some 5e9 multiplications.
    """
    size, changes = plan.simplex.size, game.num_sl * game.num_sg * (game.num_al - 1)
    if size * game.num_sg <= EVERY_CHANGE or size * game.num_sg >= LARGE_TABLE:
        return 0.0
    moves = min(size, (game.num_sl - 1) * plan.simplex.k)
    return 10 * changes / 4 * 5 * game.num_sg**2 * size * moves / 5e9


def agent_values(surrogate: Surrogate, pi_g: Tensor, law: Tensor, values: Tensor) -> Tensor:
    """The derivative of the value in pi_l, `[sl, sg, al]`.

    Args:
        surrogate: the k-agent MDP under pi_l.
        pi_g: `[sg, N, ag]`.
        law: discounted occupancy d, `[sg, N]`.
        values: joint value V, `[sg, N]`.

    Raises:
        PolicyError: pi_g is no policy over the counts of the surrogate.
        ArgumentError: the occupancy or the values are of other counts.
    """
    check_pi_g(surrogate.game, pi_g, surrogate.simplex)
    for name, given in (("law", law), ("values", values)):
        if given.shape != pi_g.shape[:2]:
            raise ArgumentError(f"{name} must have the shape [sg, N] = {list(pi_g.shape[:2])}, not {list(given.shape)}")
    game, companions = surrogate.game, surrogate.plan.companions
    _, joined = companions.simplex.add_one()
    weight = (companions.simplex.counts + 1).to(values.dtype)
    kernels = make_kernels(surrogate.P_l_pi, companions, surrogate.moves)
    to_sg = next_sg_law(surrogate, pi_g.to(law.dtype))
    landing = values.T[joined]  # [companions, z', sg'], value where the agent lands in z'

    def onward(sg: int) -> Tensor:
        arrived = kernels[sg].expect(landing)
        flow = surrogate.movers(sg, law[sg, :, None] * to_sg[sg])
        leaving = flow[joined] * weight.unsqueeze(-1)
        return einsum(leaving, arrived, "h l G, h z G -> l z").to(game.P_l.dtype)

    share = surrogate.occupation(law)
    moved = einsum(game.P_l, torch.stack(surrogate.map_sg(onward)), "l g a z, g l z -> l g a")
    return share.unsqueeze(-1) * game.r_l + game.gamma * moved


@one_thread()
def l_learn(
    game: Game,
    pi_g: Tensor,
    pi_l: Tensor,
    plan: PairPlan,
    *,
    objective: Objective = "team",
    tolerance: float | None = None,
    value: JointValue | None = None,
    start_law: Tensor | None = None,
    surrogates: SurrogateCache | None = None,
    prior: Prior | None = None,
    progress: Progress | None = None,
) -> LocalResponse:
    """Best-respond to `pi_g [sg, N, ag]`, starting from `pi_l [sl, sg, al]`.

    Args:
        game: the game.
        pi_g: the fixed global policy, on the counts of `plan.simplex`.
        pi_l: where the search starts; it is returned unchanged if no change raises the value.
        plan: simplex of the k agents.
        objective: "team" or "own".
        tolerance: smallest gain that counts, in units of value; by default `value_tolerance`.
        value: the value of `pi_l` under the objective, where it is known.
        start_law: occupancy `[sg, N]` to start the first occupancy from.
        surrogates: where surrogates under the objective's rewards come from; its own by default.
        prior: of the posterior correction.
        progress: called as progress(sweeps, error) in every evaluation.
    """
    check_game(game)
    check_kind("plan", plan, PairPlan)
    tolerance = tolerance if tolerance is None else as_tolerance(tolerance)
    check_word("objective", objective, get_args(Objective))
    judged = game if objective == "team" else without_global_rewards(game)
    search = _Search(surrogates or SurrogateCache(judged, plan, prior), pi_g, tolerance, start_law, progress)
    best = search.evaluate(pi_l, None) if value is None else Candidate(pi_l, search.surrogates(pi_l), value)
    rounds, tried, gains = 0, 0, None
    is_coarse = tolerance is not None and tolerance > value_tolerance(best.surrogate)
    every = not is_coarse and plan.simplex.size * game.num_sg <= EVERY_CHANGE
    if plan.simplex.size > COARSE_FROM:
        coarse = _coarse_response(search, best)
        best = search.better(best, [coarse.pi_l])
        if coarse.is_clear and torch.equal(coarse.pi_l, best.pi_l):
            return LocalResponse(best.pi_l, best.value.mean, best.value, rounds, search.sweeps, search.law, tried, None)
    while rounds < MAX_ROUNDS:
        gains = search.gains(best)
        improved = search.better(best, turns(best.pi_l, gains))
        if improved is best:
            changes = single_changes(best.pi_l, gains, every=every)
            improved, tried = search.better(best, search.gaining(best, changes)), len(changes)
        if improved is best:
            break
        best, rounds = improved, rounds + 1
    else:
        logger.warning("L-LEARN still gains after %d improvements of pi_l, the most that are made", MAX_ROUNDS)
    return LocalResponse(best.pi_l, best.value.mean, best.value, rounds, search.sweeps, search.law, tried, gains)


class _Search:
    """Evaluates local policies against one global policy."""

    def __init__(
        self,
        surrogates: SurrogateCache,
        pi_g: Tensor,
        tolerance: float | None,
        law: Tensor | None,
        progress: Progress | None,
    ) -> None:
        self.surrogates, self.pi_g, self.tolerance = surrogates, pi_g, tolerance
        self.law, self.progress, self.sweeps = law, progress, 0

    def evaluate(self, pi_l: Tensor, start: Tensor | None) -> Candidate:
        """The exact joint value of a local policy, from `start`."""
        surrogate = self.surrogates(pi_l)
        value = joint_value(surrogate, self.pi_g, start=start, tolerance=self.tolerance, progress=self.progress)
        self.sweeps += value.sweeps
        return Candidate(pi_l, surrogate, value)

    def better(self, best: Candidate, policies: Iterable[Tensor]) -> Candidate:
        """The first of the policies whose value exceeds the best by more than the tolerance, or the best itself."""
        margin = self.margin(best)
        for pi_l in policies:
            if torch.equal(pi_l, best.pi_l):
                continue
            candidate = self.evaluate(pi_l, best.value.values)
            if candidate.value.mean > best.value.mean + margin:
                return candidate
        return best

    def margin(self, candidate: Candidate) -> float:
        """The smallest gain that counts."""
        return 2 * (self.tolerance or value_tolerance(candidate.surrogate))

    def gaining(self, best: Candidate, changes: list[Tensor]) -> Iterator[Tensor]:
        """The single changes of the best policy that may gain more than the margin."""
        values, margin = best.value.values, self.margin(best)
        if values.numel() >= LARGE_TABLE:  # where few changes are left, and each bound costs a kernel of its own
            return iter(changes)
        return gaining(best.surrogate, self.pi_g, values, self.law, changes, margin)

    def gains(self, candidate: Candidate) -> Tensor:
        """What turning pi_l to each action promises: derivatives less their mean under pi_l, `[sl, sg, al]`."""
        values = candidate.value.values - candidate.value.mean
        law = occupancy(candidate.surrogate, self.pi_g, relative_error=OCCUPANCY_ERROR, start=self.law)
        self.law = law
        if values.numel() >= LARGE_TABLE:
            values, law = values.float(), law.float()
        worth = agent_values(candidate.surrogate, self.pi_g, law, values)
        return worth - (candidate.pi_l * worth).sum(-1, keepdim=True)


def _coarse_response(search: _Search, best: Candidate) -> LocalResponse:
    """The response to the same pi_g seen by fewer agents, from the same pi_l, as a first proposal.

    Half as many agents, whose kernels are known, where these are not much fewer than could be had.
    """
    surrogates, surrogate = search.surrogates, best.surrogate
    few, half = surrogate.simplex.coarser(COARSE_FROM), surrogate.simplex.k // 2
    is_half = few.k > 1 and 3 * few.k <= 4 * half <= 4 * few.k
    plan, known = (surrogate.plan.half, surrogate.half) if is_half else (PairPlan(few), None)
    cache = SurrogateCache(surrogates.game, plan, surrogates.prior, known)
    shown = scale_up(plan.simplex, surrogate.simplex)
    pi_g, values = search.pi_g[:, shown], best.value.values[:, shown]
    tolerance = span_tolerance(surrogates.game, COARSE_TOLERANCE)
    value = joint_value(cache(best.pi_l), pi_g, start=values, tolerance=tolerance)
    return l_learn(
        surrogates.game,
        pi_g,
        best.pi_l,
        plan,
        tolerance=tolerance,
        value=value,
        surrogates=cache,
        prior=surrogates.prior,
    )
